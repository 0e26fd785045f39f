# SPDX-License-Identifier: Apache-2.0
"""The verbs of subscriptions (clause 5.8): create, retrieve, query, update, delete; what became of their notices."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from madang.base.errors import AlreadyExists, HubError, NotFound, TenantNotFound, Upstream
from madang.base.limits import SUBSCRIPTION_COUNTERS_WRITTEN_MAX
from madang.core.addresses import check_host
from madang.model.jsonld.expand import check_uri
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
    """A subscription at hand. The counters are the truth while the hub runs; they are written down now and then."""

    subscription: Subscription
    counters: Counters = field(default_factory=Counters)


class Subscriptions:
    """Keeps every subscription of every tenant at hand, as all of them are matched with every change.

    Args:
        allow_private_addresses: let notifications go to addresses that are not on the public internet.
    """

    def __init__(
        self, store: Store, writer: Writer, clock: Clock, contexts: Contexts, *, allow_private_addresses: bool = False
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._contexts = contexts
        self._allow_private = allow_private_addresses
        self._entries: dict[str, dict[str, Entry]] = {}
        self._dirty: dict[tuple[str, str], None] = {}
        self._held: dict[tuple[str, str], None] = {}
        self._listeners: list[Listener] = []

    async def start(self) -> None:
        """Read what is stored; to be called before anything else."""
        counters = {(tenant, id): body for tenant, id, body in await self._store.records(COUNTERS)}
        for tenant, id, body in await self._store.records(KIND):
            try:
                entry = Entry(_built(tenant, body))
            except HubError as error:
                # A limit that became stricter must not keep the hub from starting; the record is kept as it is.
                log.warning("the stored subscription %s cannot be used: %s", id, error.detail)
                continue
            known = counters.get((tenant, id))
            if known is not None:
                entry.counters = Counters.from_json(known)
            self._entries.setdefault(tenant, {})[id] = entry

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

    # ---- the verbs

    async def create(self, tenant: str, body: Json, context: Context) -> str:
        """Store a subscription and return its id (clause 5.8.1).

        The context of the request gives its names and, without a jsonldContext, is that of the notifications.

        Raises:
            BadRequestData: a rule of clause 5.2.12 is broken. AlreadyExists: the id is taken.
            ContextNotAvailable: the jsonldContext cannot be had. Unsupported: an endpoint of another protocol.
        """
        definition = read_subscription(body, context, self._clock.now_us())
        definition.setdefault("id", uuid.uuid4().urn)
        await self._check_endpoint(definition)
        url = await self._context_url(tenant, definition, context)
        id: str = definition["id"]

        def decide(view: View) -> Subscription:
            if view.record(KIND, id) is not None:
                raise AlreadyExists(f"There is a subscription with the id {id} already", where="/id")
            record = {
                "definition": definition,
                "context": url,
                "createdAt": view.now,
                "modifiedAt": view.now,
                "since": view.now_us,
            }
            subscription = _built(tenant, record)
            view.put_record(KIND, id, record)
            return subscription

        subscription = await self._writer.write(tenant, (), decide, records=[(KIND, id)], create_tenant=True)
        self._entries.setdefault(tenant, {})[id] = Entry(subscription)
        self._tell(None, subscription)
        return id

    async def retrieve(self, tenant: str, id: str, context: Context, *, sys_attrs: bool = False) -> dict[str, Json]:
        """Return one subscription in the terms of the context (clause 5.8.3).

        Raises: BadRequestData: the id is no URI. NotFound. TenantNotFound.
        """
        check_uri(id, "subscriptionId")
        self._check_tenant(tenant)
        shown = await self._shown(tenant, id, context, sys_attrs=sys_attrs)
        if shown is None:
            raise _unknown(id)
        return shown

    async def query(self, tenant: str, context: Context, *, limit: int, offset: int, sys_attrs: bool = False) -> Page:
        """Return a page of subscriptions (clause 5.8.4).

        Raises: TenantNotFound.
        """
        self._check_tenant(tenant)
        ids = list(self._entries.get(tenant, ()))
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
        if self.entry(tenant, id) is None:
            raise _unknown(id)
        fragment = read_fragment(body, context)
        await self._check_endpoint(fragment)
        if fragment.get("jsonldContext") is not None:
            await self._contexts.resolve(tenant, fragment["jsonldContext"])

        def decide(view: View) -> Subscription:
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
                after = replace(after, since_us=view.now_us)
            view.put_record(KIND, id, changed)
            return after

        subscription = await self._writer.write(tenant, (), decide, records=[(KIND, id)])
        entry = self.entry(tenant, id)
        if entry is not None:
            before, entry.subscription = entry.subscription, subscription
            self._tell(before, subscription)

    async def delete(self, tenant: str, id: str) -> None:
        """Take a subscription away (clause 5.8.5). Raises: BadRequestData: the id is no URI. NotFound."""
        check_uri(id, "subscriptionId")
        self._check_tenant(tenant)

        def decide(view: View) -> None:
            if view.record(KIND, id) is None:
                raise _unknown(id)
            view.delete_record(KIND, id)
            if view.record(COUNTERS, id) is not None:
                view.delete_record(COUNTERS, id, logged=False)

        await self._writer.write(tenant, (), decide, records=[(KIND, id), (COUNTERS, id)])
        entry = self._entries.get(tenant, {}).pop(id, None)
        self._dirty.pop((tenant, id), None)
        self._held.pop((tenant, id), None)
        if entry is not None:
            self._tell(entry.subscription, None)

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

    def _tell(self, before: Subscription | None, after: Subscription | None) -> None:
        for listener in self._listeners:
            listener(before, after)

    def _check_tenant(self, tenant: str) -> None:
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
            entry.counters,
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


def _unknown(id: str) -> NotFound:
    return NotFound(f"There is no subscription with the id {id:.200}")
