# SPDX-License-Identifier: Apache-2.0
"""Snapshots: query results frozen into a copy of their own, on which the API works as on live data (clause 5.16).

The entities of a snapshot live in a *namespace*: a tenant with a name nobody can guess, which is never shown. A request
with the header NGSILD-Snapshot is carried out on that tenant.

All workers know all snapshots, as these follow the log. The worker that took the request fills or empties a namespace;
what it leaves undone when it dies is settled by the one that sweeps (`start_sweeping`). Whether it has died shows in
the lease that it keeps while it fills.

A snapshot is its owner's, and the administrators'; for others it is not there. It holds what its owner could read when
it was made. What he may read of it now is what his grants say of types and attributes; areas were looked at then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from madang.base.errors import AlreadyExists, Denied, HubError, NotFound
from madang.base.limits import (
    LEASE_RENEW_S,
    LEASE_S,
    SNAPSHOT_LIFETIME_S_DEFAULT,
    SNAPSHOT_LIFETIME_S_MAX,
    SNAPSHOT_SWEEP_S,
    SNAPSHOT_USE_S,
    SNAPSHOTS_PER_TENANT_MAX,
)
from madang.base.times import format_date_time, parse_date_time
from madang.core.caller import caller
from madang.core.history import History
from madang.core.permits import NAMESPACE_PREFIX, owner_of
from madang.core.snapshot_data import SnapshotData
from madang.model.access import Right
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
_OWNER_MEMBER: Final = "owner"  # not shown; None: whoever has no limits
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

    One worker at a time sweeps, from `start_sweeping` to `stop_sweeping`.

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
        self._permits = writer.permits
        self._permits.origin_by(self.origin)
        self._tell: Tell | None = None
        self._forget = (consumption.forget_tenant, *forget)
        self._snapshots: dict[tuple[str, str], Snapshot] = {}
        self._origins: dict[str, tuple[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._holder = uuid.uuid4().hex
        self._busy: set[str] = set()  # namespaces that are being filled or emptied here
        self._left: set[str] = set()  # namespaces to be emptied, at the last sweep
        self._use_noted_us: dict[tuple[str, str], int] = {}
        writer.tail.on_records(KIND, self._written)

    async def open(self) -> None:
        """Read what is stored; to be called before anything else."""
        # Nothing is told meanwhile: whatever comes after what is read here is told on top of it.
        async with self._writer.tail.lock:
            for tenant, id, body in await self._store.records(KIND):
                self._written(tenant, id, body)

    async def start_sweeping(self) -> None:
        """Begin to remove what has expired, and to settle what stopped workers had not finished."""
        if not self._writer.tail.follows:
            # There was no other worker: all that is unfinished was left behind.
            self._left = {namespace for _, namespace, _ in await self._store.records(REMAINS_KIND)}
            await self._settle_left()
        self._sweeping = asyncio.create_task(_logged(self._sweep_again()), name="snapshots")

    async def stop_sweeping(self) -> None:
        """Leave sweeping to another worker."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            sweeping.cancel()
            await asyncio.wait((sweeping,))

    async def close(self) -> None:
        """Stop filling and sweeping."""
        await self.stop_sweeping()
        tasks = list(self._tasks)
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
        now_us = self._clock.now_us()
        snapshot["lastUsedAt"] = format_date_time(now_us)
        if (
            self._writer.tail.follows
            and now_us >= self._use_noted_us.get((tenant, id), 0) + SNAPSHOT_USE_S * _SECOND_US
        ):
            # Other workers hear of it too, though not of every single use.
            self._use_noted_us[tenant, id] = now_us
            self._start(self._note_use(tenant, id))
        return str(snapshot[_NAMESPACE_MEMBER])

    def origin(self, tenant: str) -> tuple[str, str] | None:
        """Return the tenant and the id of the snapshot whose namespace this is; None for an ordinary tenant."""
        return self._origins.get(tenant)

    def retrieve(self, tenant: str, id: str) -> Snapshot:
        """Return the snapshot's status (clause 5.2.41). Raises: NotFound: there is no such snapshot. Denied."""
        self._check_right(tenant)
        return _shown(self._live(tenant, id))

    def listed(self, tenant: str) -> list[Snapshot]:
        """Return the status of all snapshots of a tenant that the caller may know of, oldest first. Raises: Denied."""
        self._check_right(tenant)
        snapshots = [snapshot for (owner, _), snapshot in self._snapshots.items() if owner == tenant]
        return [_shown(each) for each in snapshots if not self._over(each) and self._is_known(tenant, each)]

    # ---------------------------------------------------------------- changing

    async def create(self, tenant: str, draft: Draft) -> str:
        """Create a snapshot and start to fill it; return its id (clause 5.16.1).

        Raises: AlreadyExists: the id is taken. TenantNotFound. Denied.
        """
        self._check_right(tenant)
        self._permits.require(Right.READ, tenant)
        await self._consumption.check_tenant(tenant)
        snapshot = await self._add(tenant, draft)
        self._start(self._fill(tenant, snapshot["id"], draft))
        return str(snapshot["id"])

    async def clone(self, tenant: str, id: str, draft: Draft) -> str:
        """Copy a snapshot with all its data; return the id of the clone (clause 5.16.2).

        Raises: NotFound: there is no snapshot to clone. AlreadyExists: the id is taken. Denied.
        """
        self._check_right(tenant)
        self._permits.require(Right.READ, tenant)
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

        Raises: NotFound: there is no such snapshot. Denied.
        """
        self._check_right(tenant)
        self._live(tenant, id)
        now_us = self._clock.now_us()

        def change(snapshot: Snapshot) -> Snapshot:
            changed = {**snapshot, **draft.members, "modifiedAt": format_date_time(now_us)}
            if draft.lifetime_s is not None:
                changed["expiresAt"] = self._expiry(now_us, draft.lifetime_s)
            return {name: value for name, value in changed.items() if value is not None}

        changed = await self._change(tenant, id, change)
        if changed is None:
            raise _unknown(id)
        self._notify(tenant, changed)
        return _shown(changed)

    async def delete(self, tenant: str, id: str) -> None:
        """Remove a snapshot and all its data (clause 5.16.5). Raises: NotFound: there is no such snapshot. Denied."""
        self._check_right(tenant)
        if not await self._remove(tenant, self._live(tenant, id)):
            raise _unknown(id)  # another worker was first

    async def purge(self, tenant: str, chosen: Callable[[Snapshot], bool]) -> int:
        """Remove the snapshots that are chosen and return their number (clause 5.16.7)."""
        removed = [snapshot for snapshot in self.listed(tenant) if chosen(snapshot)]
        for snapshot in removed:
            with contextlib.suppress(NotFound):  # another one was first
                await self.delete(tenant, snapshot["id"])
        return len(removed)

    # ---------------------------------------------------------------- filling

    async def _fill(self, tenant: str, id: str, draft: Draft, *, clone: bool = False) -> None:
        namespace = str(self._snapshots[tenant, id][_NAMESPACE_MEMBER])
        async with self._filling(namespace):
            details = [
                [await _run(source, namespace) for source in sources]
                for sources in (draft.sources, draft.temporal_sources)
            ]
            results = [detail["resultStatus"] for part in details for detail in part]

            def change(snapshot: Snapshot) -> Snapshot | None:
                if snapshot[_NAMESPACE_MEMBER] != namespace or snapshot["snapshotStatus"] != "preparing":
                    return None
                changed = {**snapshot, "modifiedAt": format_date_time(self._clock.now_us())}
                if clone:
                    # A clone of an empty snapshot is a success too (clause 5.16.2.4).
                    return {**changed, "snapshotStatus": "failure" if "failure" in results else "success"}
                parts = {name: part for name, part in zip(_DETAILS, details, strict=True) if part}
                return {**changed, "snapshotStatus": _status(results), **parts}

            changed = await self._change(tenant, id, change)
        if changed is not None:
            self._notify(tenant, changed)
        elif namespace not in self._origins:  # removed in the meantime: what was copied after that has to go too
            await self._erase(tenant, namespace)

    @contextlib.asynccontextmanager
    async def _filling(self, namespace: str) -> AsyncIterator[None]:
        """Show other workers that this one lives and is at work, with the lease that `_add` has taken."""
        self._busy.add(namespace)
        renewing = asyncio.create_task(self._renew(namespace))
        try:
            yield
        finally:
            renewing.cancel()
            self._busy.discard(namespace)
            await self._store.release(_lease(namespace), self._holder)

    async def _renew(self, namespace: str) -> None:
        while True:
            await asyncio.sleep(LEASE_RENEW_S)
            with contextlib.suppress(HubError):  # a store that is away may be back for the next time
                await self._store.lease(_lease(namespace), self._holder, LEASE_S)

    # ---------------------------------------------------------------- keeping

    async def _add(self, tenant: str, draft: Draft) -> Snapshot:
        id = draft.members.get("id") or f"urn:ngsi-ld:Snapshot:{uuid.uuid4()}"
        there = self._snapshots.get((tenant, id))
        if there is not None and not self._over(there):
            if not self._is_known(tenant, there):
                raise Denied("Your grants do not let you make a snapshot with this id")
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
            _OWNER_MEMBER: owner_of(caller()),
            _NAMESPACE_MEMBER: f"{NAMESPACE_PREFIX}{uuid.uuid4().hex}",
        }
        await self._make_room(tenant)
        namespace = snapshot[_NAMESPACE_MEMBER]
        await self.data.create(namespace)
        await self._store.lease(_lease(namespace), self._holder, LEASE_S)

        def decide(view: View) -> str | None:
            before: Snapshot | None = view.record(KIND, id)
            if before is not None and not self._over(before):
                raise AlreadyExists(f"There is a snapshot with the id {id} already", where="/id")
            view.put_record(KIND, id, snapshot)
            if before is None:
                return None
            view.put_record(REMAINS_KIND, before[_NAMESPACE_MEMBER], {}, logged=False)
            return str(before[_NAMESPACE_MEMBER])

        expired = await self._writer.write(tenant, (), decide, records=[(KIND, id)])
        if expired is not None:
            self._start(self._erase(tenant, expired))
        return snapshot

    async def _change(self, tenant: str, id: str, change: Callable[[Snapshot], Snapshot | None]) -> Snapshot | None:
        """Rewrite a snapshot as it stands, and return it; None: it is gone, or `change` gave nothing."""

        def decide(view: View) -> Snapshot | None:
            body: Snapshot | None = view.record(KIND, id)
            changed = None if body is None else change(self._used(tenant, id, body))
            if changed is not None:
                view.put_record(KIND, id, changed)
            return changed

        return await self._writer.write(tenant, (), decide, records=[(KIND, id)])

    async def _note_use(self, tenant: str, id: str) -> None:
        await self._change(tenant, id, lambda snapshot: snapshot)

    def _used(self, tenant: str, id: str, body: Snapshot) -> Snapshot:
        """Return the snapshot with the last use that is known here, if that is later."""
        known = self._snapshots.get((tenant, id))
        if known is None or known[_NAMESPACE_MEMBER] != body[_NAMESPACE_MEMBER]:
            return body
        return {**body, "lastUsedAt": max(known["lastUsedAt"], body["lastUsedAt"], key=parse_date_time)}

    def _written(self, tenant: str, id: str, body: Json | None) -> None:
        """Follow a record of this or another worker."""
        before = self._snapshots.get((tenant, id))
        if body is None:
            self._snapshots.pop((tenant, id), None)
            self._use_noted_us.pop((tenant, id), None)
        else:
            # A copy, as uses are noted in it.
            self._snapshots[tenant, id] = {**self._used(tenant, id, body)}
            self._origins[body[_NAMESPACE_MEMBER]] = (tenant, id)
        if before is not None and (body is None or body[_NAMESPACE_MEMBER] != before[_NAMESPACE_MEMBER]):
            namespace = before[_NAMESPACE_MEMBER]
            self._origins.pop(namespace, None)
            for forget in self._forget:
                forget(namespace)

    async def _make_room(self, tenant: str) -> None:
        # Clause 5.5.15: the lowest priority goes first, and of equals the one that would expire first.
        held = [snapshot for (owner, _), snapshot in self._snapshots.items() if owner == tenant]
        surplus = len(held) + 1 - SNAPSHOTS_PER_TENANT_MAX
        if surplus > 0:
            held.sort(key=lambda snapshot: (snapshot["snapshotPriority"], snapshot["expiresAt"]))
            for snapshot in held[:surplus]:
                await self._remove(tenant, snapshot)

    async def _remove(self, tenant: str, snapshot: Snapshot) -> bool:
        """Take a snapshot away; False: somebody else has done so already."""
        id, namespace = snapshot["id"], str(snapshot[_NAMESPACE_MEMBER])

        def decide(view: View) -> bool:
            body = view.record(KIND, id)
            if body is None or body[_NAMESPACE_MEMBER] != namespace:
                return False
            view.delete_record(KIND, id)
            view.put_record(REMAINS_KIND, namespace, {}, logged=False)
            return True

        if not await self._writer.write(tenant, (), decide, records=[(KIND, id)]):
            return False
        now_us = self._clock.now_us()
        # Clause 5.3.4: an expiresAt before notifiedAt says that the snapshot is gone.
        self._notify(tenant, {**snapshot, "expiresAt": format_date_time(now_us - 1)})
        self._start(self._erase(tenant, namespace))
        return True

    async def _erase(self, tenant: str, namespace: str) -> None:
        self._busy.add(namespace)
        try:
            await self.data.erase(namespace)
        finally:
            self._busy.discard(namespace)
        for forget in self._forget:
            forget(namespace)
        await self._writer.write(tenant, (), lambda view: view.delete_record(REMAINS_KIND, namespace, logged=False))

    async def _sweep_again(self) -> None:
        while True:
            await asyncio.sleep(SNAPSHOT_SWEEP_S)
            await _logged(self.sweep())

    async def sweep(self) -> None:
        """Remove the snapshots that have expired, and settle what workers left that have died."""
        await self._writer.tail.current()
        for (tenant, _), snapshot in list(self._snapshots.items()):
            if self._over(snapshot):
                await self._remove(tenant, snapshot)
        await self._settle_left()

    async def _settle_left(self) -> None:
        for (tenant, id), snapshot in list(self._snapshots.items()):
            namespace = snapshot[_NAMESPACE_MEMBER]
            if snapshot["snapshotStatus"] != "preparing" or namespace in self._busy:
                continue
            if await self._store.lease(_lease(namespace), self._holder, LEASE_S):  # whoever filled it has died
                await self._change(tenant, id, lambda body, namespace=namespace: _failed(body, namespace))  # type: ignore[misc]
                await self._store.release(_lease(namespace), self._holder)
        remains = {namespace: tenant for tenant, namespace, _ in await self._store.records(REMAINS_KIND)}
        for namespace, tenant in remains.items():
            # What was there at the sweep before is not being emptied by anybody any more, or at least no harm is done.
            if namespace in self._left and namespace not in self._busy:
                self._start(self._erase(tenant, namespace))
        self._left = set(remains)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _live(self, tenant: str, id: str) -> Snapshot:
        snapshot = self._snapshots.get((tenant, id))
        if snapshot is None or self._over(snapshot) or not self._is_known(tenant, snapshot):
            raise _unknown(id)
        return snapshot

    def _is_known(self, tenant: str, snapshot: Snapshot) -> bool:
        return self._permits.owns(snapshot.get(_OWNER_MEMBER), tenant)

    def _check_right(self, tenant: str) -> None:
        if self._permits.of(Right.ADMINISTER, tenant).none:
            self._permits.require(Right.SNAPSHOT, tenant)

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


def _failed(snapshot: Snapshot, namespace: str) -> Snapshot | None:
    if snapshot["snapshotStatus"] != "preparing" or snapshot[_NAMESPACE_MEMBER] != namespace:
        return None
    return {**snapshot, "snapshotStatus": "failure"}


def _lease(namespace: str) -> str:
    """Return the name of the lease that whoever fills the namespace keeps."""
    return f"fill {namespace}"


def _unknown(id: str) -> NotFound:
    return NotFound(f"There is no snapshot with the id {id}")


def _shown(snapshot: Snapshot) -> Snapshot:
    return {name: value for name, value in snapshot.items() if name not in (_NAMESPACE_MEMBER, _OWNER_MEMBER)}


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
        _LOG.warning("work on a snapshot stopped: %s", type(error).__name__)
    except Exception:  # noqa: BLE001 (nobody waits for this work, so its fault is told here)
        _LOG.exception("work on a snapshot failed")
