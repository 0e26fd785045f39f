# SPDX-License-Identifier: Apache-2.0
"""The verbs of subscriptions (clause 5.8): create, retrieve, query, update, delete; what became of their notices."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from madang.base.errors import AlreadyExists, Denied, HubError, NotFound, TenantNotFound, Upstream
from madang.base.limits import SUBSCRIPTION_COUNTERS_WRITTEN_MAX
from madang.base.logs import mark
from madang.core.addresses import check_host
from madang.core.caller import caller
from madang.core.permits import owner_of
from madang.core.tellers import GrantsOf, Tellers, owner_in, owner_record
from madang.model.access import ANONYMOUS, Caller, Right
from madang.model.jsonld.expand import check_uri
from madang.model.permit import NOTHING, Permit
from madang.model.subscription import Subscription
from madang.model.subscription_body import Definition, merge, read_fragment, read_subscription
from madang.model.subscription_form import Counters, build, render

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.contexts import Contexts
    from madang.core.writer import View, Writer
    from madang.model.entity import Json
    from madang.model.jsonld.context import Context
    from madang.store.port import Store

KIND: Final = "subscription"
COUNTERS: Final = "subscription_counters"
log = logging.getLogger(__name__)

# Told of every subscription that came, changed or went: (what it was, what it is now).
Listener = Callable[[Subscription | None, Subscription | None], None]


class Page(NamedTuple):
    """Subscriptions in order of creation, the number of all, and whether more lie behind."""

    subscriptions: list[dict[str, Json]]
    total: int
    more: bool


@dataclass(slots=True)
class Entry:
    """A subscription at hand. Its counters are the truth in the worker that delivers, which writes them down often."""

    subscription: Subscription
    counters: Counters = field(default_factory=Counters)
    owner: Caller | None = None  # None: the hub's own


class Subscriptions:
    """Keeps every subscription of every tenant at hand, as all of them are matched with every change.

    What is at hand follows the log, whichever worker wrote it. One worker delivers: it calls `take_over` first.

    A subscription is its owner's, and the administrators'; for others it is not there. It tells what its owner may see
    at the time of the telling. All verbs may raise Denied.

    Args:
        allow_private_addresses: let notifications go to addresses that are not on the public internet.
        grants_of: looks up the grants an owner has now; without it those count that he had when he subscribed.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        clock: Clock,
        contexts: Contexts,
        *,
        allow_private_addresses: bool = False,
        grants_of: GrantsOf | None = None,
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._contexts = contexts
        self._allow_private = allow_private_addresses
        self._permits = writer.permits
        self._tellers = Tellers(writer.permits, grants_of)
        self._entries: dict[str, dict[str, Entry]] = {}
        self._dirty: dict[tuple[str, str], None] = {}
        self._held: dict[tuple[str, str], None] = {}
        self._listeners: list[Listener] = []
        self._counts = not writer.tail.follows  # whether the counters at hand are the truth
        writer.tail.on_records(KIND, self._written)

    async def start(self) -> None:
        """Read what is stored; to be called before anything else."""
        # Nothing is told meanwhile: whatever comes after what is read here is told on top of it.
        async with self._writer.tail.lock:
            for tenant, id, body in await self._store.records(KIND):
                subscription = _usable(tenant, id, body)
                if subscription is not None:
                    self._entries.setdefault(tenant, {})[id] = Entry(subscription, owner=owner_in(body))
            await self._read_counters()

    async def take_over(self) -> None:
        """Begin to count what becomes of the notifications, from where the worker before left it."""
        await self._read_counters()
        self._counts = True

    def hand_over(self) -> None:
        """Leave delivering and counting to another worker, where others serve this hub too."""
        self._dirty.clear()
        self._held.clear()
        self._counts = not self._writer.tail.follows

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def all(self) -> Iterator[Subscription]:
        """Yield every subscription, paused and expired ones too."""
        for entries in self._entries.values():
            for entry in entries.values():
                yield entry.subscription

    def entry(self, tenant: str, id: str) -> Entry | None:
        """Return a subscription with its counters; None when there is none (any more)."""
        return self._entries.get(tenant, {}).get(id)

    # ---- whom it tells

    def teller(self, tenant: str, id: str) -> Caller:
        """Return for whom the work for a subscription is done: its owner, with the grants he has now."""
        entry = self.entry(tenant, id)
        return ANONYMOUS if entry is None else self._tellers.teller(entry.owner)

    def permit(self, tenant: str, id: str) -> Permit:
        """Return what the owner of a subscription may be told now; equal ones are the same object."""
        entry = self.entry(tenant, id)
        return NOTHING if entry is None else self._tellers.permit(tenant, entry.owner)

    def _is_known(self, tenant: str, owner: Caller | None, who: Caller | None = None) -> bool:
        return self._permits.owns(None if owner is None else owner_of(owner), tenant, who)

    def _mine(self, tenant: str, id: str) -> Entry:
        """Return a subscription of the caller's. Raises: NotFound."""
        entry = self.entry(tenant, id)
        if entry is None or not self._is_known(tenant, entry.owner):
            raise _unknown(id)
        return entry

    # ---- the verbs

    async def create(self, tenant: str, body: Json, context: Context) -> str:
        """Store a subscription and return its id (clause 5.8.1).

        The context of the request gives its names and, without a jsonldContext, is that of the notifications.

        Raises:
            BadRequestData: a rule of clause 5.2.12 is broken. AlreadyExists: the id is taken.
            ContextNotAvailable: the jsonldContext cannot be had. Unsupported: an endpoint of another protocol.
        """
        self._permits.require(Right.SUBSCRIBE, tenant)
        definition = read_subscription(body, context, self._clock.now_us())
        definition.setdefault("id", uuid.uuid4().urn)
        await self._check_endpoint(definition)
        url = await self._context_url(tenant, definition, context)
        id: str = definition["id"]
        owner, who = owner_record(), caller()

        def decide(view: View) -> None:
            there = view.record(KIND, id)
            if there is not None:
                if not self._is_known(tenant, owner_in(there), who):
                    raise Denied("Your grants do not let you make a subscription with this id")
                raise AlreadyExists(f"There is a subscription with the id {id} already", where="/id")
            record = {
                "definition": definition,
                "context": url,
                "createdAt": view.now,
                "modifiedAt": view.now,
                "since": view.now_us,
            }
            if owner is not None:
                record["owner"] = owner
            _built(tenant, record)  # what cannot be used is not stored
            view.put_record(KIND, id, record)

        await self._writer.write(tenant, (), decide, records=[(KIND, id)], create_tenant=True)
        return id

    async def retrieve(self, tenant: str, id: str, context: Context, *, sys_attrs: bool = False) -> dict[str, Json]:
        """Return one subscription in the terms of the context (clause 5.8.3).

        Raises: BadRequestData: the id is no URI. NotFound. TenantNotFound.
        """
        check_uri(id, "subscriptionId")
        self._check_tenant(tenant)
        self._mine(tenant, id)
        shown = await self._shown(tenant, id, context, sys_attrs=sys_attrs)
        if shown is None:
            raise _unknown(id)
        return shown

    async def query(self, tenant: str, context: Context, *, limit: int, offset: int, sys_attrs: bool = False) -> Page:
        """Return a page of subscriptions (clause 5.8.4).

        Raises: TenantNotFound.
        """
        self._check_tenant(tenant)
        entries = self._entries.get(tenant, {})
        ids = [id for id, entry in entries.items() if self._is_known(tenant, entry.owner)]
        page = ids[offset : offset + limit]
        if not page and limit and ids:
            page = ids[-1:]  # 6.3.10: behind the end stands the last one
        shown = [await self._shown(tenant, id, context, sys_attrs=sys_attrs) for id in page]
        return Page([one for one in shown if one is not None], len(ids), offset + limit < len(ids))

    async def update(self, tenant: str, id: str, body: Json, context: Context) -> None:
        """Change members of a subscription (clause 5.8.2).

        Raises: BadRequestData, ContextNotAvailable, Unsupported: as for create. NotFound. TenantNotFound.
        """
        check_uri(id, "subscriptionId")
        self._check_tenant(tenant)
        self._mine(tenant, id)
        fragment = read_fragment(body, context)
        await self._check_endpoint(fragment)
        if fragment.get("jsonldContext") is not None:
            await self._contexts.resolve(tenant, fragment["jsonldContext"])

        def decide(view: View) -> None:
            record = view.record(KIND, id)
            if record is None:
                raise _unknown(id)
            before = _built(tenant, record)
            changed = {
                **record,
                "definition": merge(record["definition"], _with_status(fragment, before, view.now_us), view.now_us),
                "modifiedAt": view.now,
            }
            if fragment.get("jsonldContext"):
                changed["context"] = fragment["jsonldContext"]
            after = _built(tenant, changed)
            if after.status(view.now_us) == "active" and before.status(view.now_us) != "active":
                # What happened while it slept is none of its business.
                changed["since"] = view.now_us
            view.put_record(KIND, id, changed)

        await self._writer.write(tenant, (), decide, records=[(KIND, id)])

    async def delete(self, tenant: str, id: str) -> None:
        """Take a subscription away (clause 5.8.5). Raises: BadRequestData: the id is no URI. NotFound."""
        check_uri(id, "subscriptionId")
        self._check_tenant(tenant)
        self._mine(tenant, id)

        def decide(view: View) -> None:
            if view.record(KIND, id) is None:
                raise _unknown(id)
            view.delete_record(KIND, id)
            if view.record(COUNTERS, id) is not None:
                view.delete_record(COUNTERS, id, logged=False)

        await self._writer.write(tenant, (), decide, records=[(KIND, id), (COUNTERS, id)])

    # ---- what became of the notifications

    def touched(self, tenant: str, id: str, *, held: bool = False) -> None:
        """Remember that a subscription's counters changed; `held` ones have to be written before any bookmark."""
        (self._held if held else self._dirty)[tenant, id] = None

    async def flush(self, *, reader: str | None = None, bookmark: int = 0) -> bool:
        """Write the counters that changed, up to a limit, and the reader's bookmark; tell whether some are left."""
        keys = dict.fromkeys((*self._held, *list(self._dirty)[:SUBSCRIPTION_COUNTERS_WRITTEN_MAX]))
        self._held.clear()
        by_tenant: dict[str, dict[str, Json]] = {}
        for tenant, id in keys:
            self._dirty.pop((tenant, id), None)
            entry = self.entry(tenant, id)
            if entry is not None:
                by_tenant.setdefault(tenant, {})[id] = entry.counters.as_json()
        for tenant, bodies in by_tenant.items():
            await self._write_counters(tenant, bodies)
        if reader is not None:
            await self._writer.write("", (), lambda view: view.bookmark(reader, bookmark), create_tenant=True)
        return bool(self._dirty)

    async def _write_counters(self, tenant: str, bodies: dict[str, Json]) -> None:
        def decide(view: View) -> None:
            for id, body in bodies.items():
                if view.record(KIND, id) is not None:  # it may have gone meanwhile
                    view.put_record(COUNTERS, id, body, logged=False)

        try:
            await self._writer.write(tenant, (), decide, records=[(KIND, id) for id in bodies])
        except TenantNotFound:
            return

    # ---- inside

    def _written(self, tenant: str, id: str, body: Json | None) -> None:
        """Follow a record of this or another worker."""
        entry = self.entry(tenant, id)
        before = None if entry is None else entry.subscription
        after = None if body is None else _usable(tenant, id, body)
        if after is None:
            self._entries.get(tenant, {}).pop(id, None)
            self._dirty.pop((tenant, id), None)
            self._held.pop((tenant, id), None)
        elif entry is None:
            self._entries.setdefault(tenant, {})[id] = Entry(after, owner=owner_in(body or {}))
        elif after == before:
            return  # it was read at the start already
        else:
            entry.subscription = after
        if before is not None or after is not None:
            self._tell(before, after)

    async def _read_counters(self) -> None:
        for tenant, id, body in await self._store.records(COUNTERS):
            entry = self.entry(tenant, id)
            if entry is not None:
                entry.counters = Counters.from_json(body)

    async def _counters(self, tenant: str, id: str, entry: Entry) -> Counters:
        if self._counts:
            return entry.counters
        body = await self._store.record(tenant, COUNTERS, id)
        return Counters() if body is None else Counters.from_json(body)

    def _tell(self, before: Subscription | None, after: Subscription | None) -> None:
        for listener in self._listeners:
            listener(before, after)

    def _check_tenant(self, tenant: str) -> None:
        if self._permits.of(Right.ADMINISTER, tenant).none:
            self._permits.require(Right.SUBSCRIBE, tenant)
        if tenant and not self._writer.has_tenant(tenant):
            raise TenantNotFound(f"There is no tenant {tenant!r:.80}; a creating operation makes one")

    async def _shown(self, tenant: str, id: str, context: Context, *, sys_attrs: bool) -> dict[str, Json] | None:
        entry = self.entry(tenant, id)
        record = await self._store.record(tenant, KIND, id) if entry is not None else None
        if entry is None or record is None:
            return None
        return render(
            record["definition"],
            context,
            await self._counters(tenant, id, entry),
            status=entry.subscription.status(self._clock.now_us()),
            context_url=record["context"],
            times=(record["createdAt"], record["modifiedAt"]) if sys_attrs else None,
        )

    async def _context_url(self, tenant: str, definition: Definition, context: Context) -> str | None:
        """Return the URL of the context for the notifications, which must be there (clause 5.8.1.4)."""
        given: str | None = definition.get("jsonldContext")
        if given is None:
            if context.link is None and tenant and not self._writer.has_tenant(tenant):
                # The inline context becomes a resource of the tenant, which this subscription brings into being.
                await self._writer.write(tenant, (), lambda _: None, create_tenant=True)
            return (await self._contexts.linked(tenant, context)).link
        await self._contexts.resolve(tenant, given)
        return given

    async def _check_endpoint(self, definition: Definition) -> None:
        """Refuse an endpoint that this hub must not call; one whose name is not known yet may come later."""
        notification: dict[str, Any] | None = definition.get("notification")
        if notification is None or self._allow_private:
            return
        host, port = _host_of(notification["endpoint"]["uri"])
        try:
            await check_host(host, port, self._allow_private, where="/notification/endpoint/uri")
        except Upstream:
            return


def _host_of(uri: str) -> tuple[str, int]:
    parts = urlsplit(uri)
    return parts.hostname or "", parts.port or 0


def _with_status(fragment: Definition, before: Subscription, now_us: int) -> Definition:
    """Return the fragment with what it says about the status between the lines (clause 5.8.2.4).

    A new expiresAt on its own revives an expired subscription, even one that was paused before it expired.
    """
    revived = before.status(now_us) == "expired" and fragment.get("expiresAt") is not None
    if revived and "isActive" not in fragment and not before.active:
        return {**fragment, "isActive": True}
    return fragment


def _built(tenant: str, record: dict[str, Any]) -> Subscription:
    return build(tenant, record["definition"], context_url=record["context"], since_us=record["since"])


def _usable(tenant: str, id: str, record: dict[str, Any]) -> Subscription | None:
    try:
        return _built(tenant, record)
    except HubError as error:
        # A limit that became stricter must not keep the hub from starting; the record is kept as it is.
        log.warning("the stored subscription %s cannot be used: %s", mark(tenant, id), type(error).__name__)
        return None


def _unknown(id: str) -> NotFound:
    return NotFound(f"There is no subscription with the id {id:.200}")
