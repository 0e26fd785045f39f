# SPDX-License-Identifier: Apache-2.0
"""Snapshots: query results frozen into a copy of their own, on which the API works as on live data (clause 5.16).

The entities of a snapshot live in a *namespace*: a tenant with a name nobody can guess, which is never shown. A request
with the header NGSILD-Snapshot is carried out on that tenant.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from madang.base.errors import AlreadyExists, HubError, NotFound
from madang.base.limits import (
    SNAPSHOT_LIFETIME_S_DEFAULT,
    SNAPSHOT_LIFETIME_S_MAX,
    SNAPSHOT_SWEEP_S,
    SNAPSHOTS_PER_TENANT_MAX,
)
from madang.base.times import format_date_time, parse_date_time
from madang.core.history import History
from madang.core.snapshot_data import SnapshotData
from madang.model.entity import Json
from madang.model.query.entity_query import ParsedQuery
from madang.model.query.model import EntityQuery

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.consumption import Consumption
    from madang.core.writer import View, Writer
    from madang.store.port import Store

Snapshot: TypeAlias = dict[str, Any]
Notice: TypeAlias = dict[str, Json]
# Puts one query's results into the namespace; returns whether there were any.
Source: TypeAlias = Callable[[str], Awaitable[bool]]
# Sends a notice to a snapshot's endpoint: (tenant, snapshot, notice). Must not raise.
Tell: TypeAlias = Callable[[str, Snapshot, Notice], Awaitable[None]]

KIND: Final = "snapshot"
REMAINS_KIND: Final = "snapshot-remains"  # a namespace that is still to be emptied
PRIORITY_DEFAULT: Final = 5
_NAMESPACE_MEMBER: Final = "namespace"
_NAMESPACE_PREFIX: Final = "madang-snapshot-"
_SECOND_US: Final = 1_000_000
_DETAILS: Final = ("snapshotQueriesDetails", "snapshotTemporalQueriesDetails")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a client asks for: the members it may give (clause 5.2.41), checked, and where the data comes from.

    In an update a member that is None is taken out.
    """

    members: Mapping[str, Json]
    lifetime_s: float | None = None
    sources: Sequence[Source] = ()
    temporal_sources: Sequence[Source] = ()


class Snapshots:
    """Creates, fills, clones and removes snapshots. `open` and `close` belong to the roof's start and stop.

    `data` copies into namespaces.

    Args:
        forget: called with a namespace when it is removed, for what others keep about tenants.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        writer: Writer,
        consumption: Consumption,
        *,
        forget: Sequence[Callable[[str], object]] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._writer = writer
        self._consumption = consumption
        self.data = SnapshotData(store, writer, consumption, History(store, writer, clock))
        self._tell: Tell | None = None
        self._forget = (consumption.forget_tenant, *forget)
        self._snapshots: dict[tuple[str, str], Snapshot] = {}
        self._origins: dict[str, tuple[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what is stored. What a stopped hub had not finished filling has failed, removals go on."""
        for tenant, id, body in await self._store.records(KIND):
            self._snapshots[tenant, id] = body
            self._origins[body[_NAMESPACE_MEMBER]] = (tenant, id)
            if body["snapshotStatus"] == "preparing":
                await self._save(tenant, {**body, "snapshotStatus": "failure"})
        for tenant, namespace, _ in await self._store.records(REMAINS_KIND):
            self._start(self._erase(tenant, namespace))
        self._sweeping = asyncio.create_task(_logged(self._sweep_again()), name="snapshots")

    async def close(self) -> None:
        """Stop filling and sweeping."""
        tasks = [*self._tasks, *([] if self._sweeping is None else [self._sweeping])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def tell_with(self, tell: Tell) -> None:
        """Have SnapshotNotifications (clause 5.16.6) delivered by this; without it none are sent."""
        self._tell = tell

    async def settle(self) -> None:
        """Return when no snapshot is being filled, removed or told about."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---------------------------------------------------------------- finding

    def namespace(self, tenant: str, id: str) -> str:
        """Return the tenant on which operations on the snapshot are carried out, and note that it was used.

        Raises: NotFound: there is no such snapshot.
        """
        snapshot = self._live(tenant, id)
        snapshot["lastUsedAt"] = format_date_time(self._clock.now_us())
        return str(snapshot[_NAMESPACE_MEMBER])

    def origin(self, tenant: str) -> tuple[str, str] | None:
        """Return the tenant and the id of the snapshot whose namespace this is; None for an ordinary tenant."""
        return self._origins.get(tenant)

    def retrieve(self, tenant: str, id: str) -> Snapshot:
        """Return the snapshot's status (clause 5.2.41). Raises: NotFound: there is no such snapshot."""
        return _shown(self._live(tenant, id))

    def listed(self, tenant: str) -> list[Snapshot]:
        """Return the status of all snapshots of a tenant, oldest first."""
        ids = [id for owner, id in self._snapshots if owner == tenant]
        return [_shown(self._snapshots[tenant, id]) for id in ids if not self._over(self._snapshots[tenant, id])]

    # ---------------------------------------------------------------- changing

    async def create(self, tenant: str, draft: Draft) -> str:
        """Create a snapshot and start to fill it; return its id (clause 5.16.1).

        Raises: AlreadyExists: the id is taken. TenantNotFound.
        """
        await self._consumption.check_tenant(tenant)
        snapshot = await self._add(tenant, draft)
        self._start(self._fill(tenant, snapshot["id"], draft))
        return str(snapshot["id"])

    async def clone(self, tenant: str, id: str, draft: Draft) -> str:
        """Copy a snapshot with all its data; return the id of the clone (clause 5.16.2).

        Raises: NotFound: there is no snapshot to clone. AlreadyExists: the id is taken.
        """
        original = self._live(tenant, id)
        namespace = str(original[_NAMESPACE_MEMBER])
        kept: Snapshot = {
            name: original[name] for name in ("snapshotQueries", "snapshotTemporalQueries") if name in original
        }

        async def copy(target: str) -> bool:
            everything = ParsedQuery(EntityQuery())
            some = await self.data.copy(namespace, everything, target)
            # What was never said to be observed is in the history of the clone already, with the entity itself.
            return await self.data.copy_evolution(namespace, everything, target, observed_only=True) or some

        snapshot = await self._add(tenant, Draft({**kept, **draft.members}, draft.lifetime_s))
        self._start(self._fill(tenant, snapshot["id"], Draft({}, sources=[copy]), clone=True))
        return str(snapshot["id"])

    async def update(self, tenant: str, id: str, draft: Draft) -> Snapshot:
        """Change the members that may change and return the new status (clause 5.16.4).

        Raises: NotFound: there is no such snapshot.
        """
        now_us = self._clock.now_us()
        changed = {**self._live(tenant, id), **draft.members, "modifiedAt": format_date_time(now_us)}
        changed = {name: value for name, value in changed.items() if value is not None}
        if draft.lifetime_s is not None:
            changed["expiresAt"] = self._expiry(now_us, draft.lifetime_s)
        await self._save(tenant, changed)
        self._notify(tenant, changed)
        return _shown(changed)

    async def delete(self, tenant: str, id: str) -> None:
        """Remove a snapshot and all its data (clause 5.16.5). Raises: NotFound: there is no such snapshot."""
        await self._remove(tenant, self._live(tenant, id))

    async def purge(self, tenant: str, chosen: Callable[[Snapshot], bool]) -> int:
        """Remove the snapshots that are chosen and return their number (clause 5.16.7)."""
        removed = [snapshot for snapshot in self.listed(tenant) if chosen(snapshot)]
        for snapshot in removed:
            await self.delete(tenant, snapshot["id"])
        return len(removed)

    # ---------------------------------------------------------------- filling

    async def _fill(self, tenant: str, id: str, draft: Draft, *, clone: bool = False) -> None:
        namespace = str(self._snapshots[tenant, id][_NAMESPACE_MEMBER])
        details = [
            [await _run(source, namespace) for source in sources] for sources in (draft.sources, draft.temporal_sources)
        ]
        results = [detail["resultStatus"] for part in details for detail in part]
        snapshot = self._snapshots.get((tenant, id))
        if snapshot is None:  # removed in the meantime: what was copied after that has to go too
            await self._erase(tenant, namespace)
            return
        changed = {**snapshot, "modifiedAt": format_date_time(self._clock.now_us())}
        if clone:
            # A clone of an empty snapshot is a success too (clause 5.16.2.4).
            changed["snapshotStatus"] = "failure" if "failure" in results else "success"
        else:
            changed["snapshotStatus"] = _status(results)
            changed |= {name: part for name, part in zip(_DETAILS, details, strict=True) if part}
        await self._save(tenant, changed)
        self._notify(tenant, changed)

    # ---------------------------------------------------------------- keeping

    async def _add(self, tenant: str, draft: Draft) -> Snapshot:
        id = draft.members.get("id") or f"urn:ngsi-ld:Snapshot:{uuid.uuid4()}"
        if (tenant, id) in self._snapshots and not self._over(self._snapshots[tenant, id]):
            raise AlreadyExists(f"There is a snapshot with the id {id} already", where="/id")
        now_us = self._clock.now_us()
        now = format_date_time(now_us)
        snapshot = {
            "id": id,
            "type": "Snapshot",
            "snapshotPriority": PRIORITY_DEFAULT,
            **draft.members,
            "snapshotStatus": "preparing",
            "createdAt": now,
            "modifiedAt": now,
            "lastUsedAt": now,
            "expiresAt": self._expiry(now_us, draft.lifetime_s),
            _NAMESPACE_MEMBER: f"{_NAMESPACE_PREFIX}{uuid.uuid4().hex}",
        }
        await self._make_room(tenant)
        await self.data.create(snapshot[_NAMESPACE_MEMBER])
        self._snapshots[tenant, id] = snapshot
        self._origins[snapshot[_NAMESPACE_MEMBER]] = (tenant, id)
        await self._save(tenant, snapshot)
        return snapshot

    async def _save(self, tenant: str, snapshot: Snapshot) -> None:
        id = snapshot["id"]
        self._snapshots[tenant, id] = snapshot
        await self._writer.write(tenant, (), lambda view: view.put_record(KIND, id, snapshot, logged=False))

    async def _make_room(self, tenant: str) -> None:
        # Clause 5.5.15: the lowest priority goes first, and of equals the one that would expire first.
        held = [snapshot for (owner, _), snapshot in self._snapshots.items() if owner == tenant]
        surplus = len(held) + 1 - SNAPSHOTS_PER_TENANT_MAX
        if surplus > 0:
            held.sort(key=lambda snapshot: (snapshot["snapshotPriority"], snapshot["expiresAt"]))
            for snapshot in held[:surplus]:
                await self._remove(tenant, snapshot)

    async def _remove(self, tenant: str, snapshot: Snapshot) -> None:
        id, namespace = snapshot["id"], str(snapshot[_NAMESPACE_MEMBER])
        self._snapshots.pop((tenant, id), None)
        self._origins.pop(namespace, None)

        def decide(view: View) -> None:
            view.delete_record(KIND, id, logged=False)
            view.put_record(REMAINS_KIND, namespace, {}, logged=False)

        await self._writer.write(tenant, (), decide)
        now_us = self._clock.now_us()
        # Clause 5.3.4: an expiresAt before notifiedAt says that the snapshot is gone.
        self._notify(tenant, {**snapshot, "expiresAt": format_date_time(now_us - 1)})
        self._start(self._erase(tenant, namespace))

    async def _erase(self, tenant: str, namespace: str) -> None:
        await self.data.erase(namespace)
        for forget in self._forget:
            forget(namespace)
        await self._writer.write(tenant, (), lambda view: view.delete_record(REMAINS_KIND, namespace, logged=False))

    async def _sweep_again(self) -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_SWEEP_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Remove the snapshots that have expired."""
        for (tenant, _), snapshot in list(self._snapshots.items()):
            if self._over(snapshot):
                await self._remove(tenant, snapshot)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _live(self, tenant: str, id: str) -> Snapshot:
        snapshot = self._snapshots.get((tenant, id))
        if snapshot is None or self._over(snapshot):
            raise NotFound(f"There is no snapshot with the id {id}")
        return snapshot

    def _over(self, snapshot: Snapshot) -> bool:
        return parse_date_time(snapshot["expiresAt"]) <= self._clock.now_us()

    def _expiry(self, now_us: int, lifetime_s: float | None) -> str:
        seconds = SNAPSHOT_LIFETIME_S_DEFAULT if lifetime_s is None else min(lifetime_s, SNAPSHOT_LIFETIME_S_MAX)
        return format_date_time(now_us + round(seconds * _SECOND_US))

    def _notify(self, tenant: str, snapshot: Snapshot) -> None:
        if self._tell is not None and "endpoint" in snapshot:
            self._start(self._tell(tenant, _shown(snapshot), notice(snapshot, self._clock.now_us())))


def notice(snapshot: Snapshot, now_us: int) -> Notice:
    """Return the SnapshotNotification about a snapshot's status (clause 5.3.4)."""
    body: Notice = {
        "id": f"urn:ngsi-ld:SnapshotNotification:{uuid.uuid4()}",
        "type": "SnapshotNotification",
        "snapshotId": snapshot["id"],
        "notifiedAt": format_date_time(now_us),
        "expiresAt": snapshot["expiresAt"],
        "snapshotPriority": snapshot["snapshotPriority"],
        "snapshotStatus": snapshot["snapshotStatus"],
    }
    for name in _DETAILS:
        if name in snapshot:
            body[name] = snapshot[name]
    return body


def _shown(snapshot: Snapshot) -> Snapshot:
    return {name: value for name, value in snapshot.items() if name != _NAMESPACE_MEMBER}


def _status(results: Sequence[str]) -> str:
    if all(result == "success" for result in results):
        return "success"
    if "success" in results:
        return "partial"
    return "empty" if "empty" in results else "failure"


async def _run(source: Source, namespace: str) -> dict[str, Json]:
    try:
        return {"resultStatus": "success" if await source(namespace) else "empty"}
    except HubError as error:
        return {"resultStatus": "failure", "problemDetails": {"title": error.title, "detail": error.detail}}
    except Exception:  # noqa: BLE001 (whatever it is, the snapshot must not stay unfinished)
        _LOG.exception("a query of a snapshot failed")
        return {"resultStatus": "failure", "problemDetails": {"title": HubError.title}}


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except HubError as error:
        _LOG.warning("work on a snapshot stopped: %s", error.detail)
    except Exception:  # noqa: BLE001 (nobody waits for this work, so its fault is told here)
        _LOG.exception("work on a snapshot failed")
