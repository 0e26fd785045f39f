"""A store of records, a writer and a fetcher that do as they are told, for tests of contexts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from madang.base.clock import FixedClock
from madang.base.errors import ContextNotAvailable, TenantNotFound
from madang.core.context_fetch import FetchedContext
from madang.core.contexts import Contexts
from madang.core.permits import Permits
from madang.core.writer import Writer
from madang.model.entity import Json
from madang.store.port import Store

T = TypeVar("T")


@dataclass
class Told:
    """Tells those who follow records of what was written, as the tail does."""

    follows: bool = False
    listeners: list[tuple[str, Callable[[str, str, Json | None], None]]] = field(default_factory=list)

    def on_records(self, kind: str, listener: Callable[[str, str, Json | None], None]) -> None:
        self.listeners.append((kind, listener))

    def tell(self, tenant: str, kind: str, id: str, body: Json | None) -> None:
        for wanted, listener in self.listeners:
            if wanted == kind:
                listener(tenant, id, body)


@dataclass
class Records:
    """Store and writer of records in one, as far as contexts need them."""

    clock: FixedClock
    bodies: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    tenants: set[str] = field(default_factory=lambda: {""})
    permits: Permits = field(default_factory=Permits)
    logged: list[str] = field(default_factory=list)
    tail: Told = field(default_factory=Told)

    def has_tenant(self, tenant: str) -> bool:
        return tenant in self.tenants

    async def record(self, tenant: str, kind: str, id: str) -> Json | None:
        return self.bodies.get((tenant, kind, id))

    async def records(self, kind: str, *, tenant: str | None = None) -> list[tuple[str, str, Json]]:
        return [(t, i, body) for (t, k, i), body in self.bodies.items() if k == kind and tenant in {None, t}]

    async def write(
        self,
        tenant: str,
        _keys: Sequence[str],
        decide: Callable[[Any], T],
        *,
        records: Sequence[tuple[str, str]] = (),
        create_tenant: bool = False,
    ) -> T:
        if create_tenant:
            self.tenants.add(tenant)
        elif tenant not in self.tenants:
            raise TenantNotFound("there is none")
        view = RecordView(self, tenant, records)
        result = decide(view)
        for kind, id, body in view.told:
            self.tail.tell(tenant, kind, id, body)
        return result


@dataclass
class RecordView:
    records: Records
    tenant: str
    declared: Sequence[tuple[str, str]]
    told: list[tuple[str, str, Json | None]] = field(default_factory=list)

    def record(self, kind: str, id: str) -> Json | None:
        assert (kind, id) in self.declared
        return self.records.bodies.get((self.tenant, kind, id))

    @property
    def now_us(self) -> int:
        return self.records.clock.now_us()

    def put_record(self, kind: str, id: str, body: Json, *, logged: bool = True) -> None:
        self.records.bodies[self.tenant, kind, id] = body
        if logged:
            self.records.logged.append(kind)
            self.told.append((kind, id, body))

    def delete_record(self, kind: str, id: str, *, logged: bool = True) -> None:
        self.records.bodies.pop((self.tenant, kind, id), None)
        if logged:
            self.records.logged.append(kind)
            self.told.append((kind, id, None))


@dataclass
class Fetcher:
    """Answers from `pages`; a URL that is not there cannot be had."""

    pages: dict[str, FetchedContext | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def put(self, url: str, source: Json, *, fresh_s: float = 3_600, stale_allowed: bool = True) -> None:
        self.pages[url] = FetchedContext({"@context": source}, fresh_s, stale_allowed)

    async def fetch(self, url: str, *, now_us: int) -> FetchedContext:
        assert now_us > 0
        self.asked.append(url)
        if self.gate is not None:
            await self.gate.wait()
        page = self.pages.get(url, ContextNotAvailable(f"{url} is down"))
        if isinstance(page, Exception):
            raise page
        return page

    async def close(self) -> None:
        return


@dataclass
class Hub:
    contexts: Contexts
    clock: FixedClock
    fetcher: Fetcher
    records: Records

    def again(self) -> Contexts:
        """The same store after a restart."""
        return Contexts(cast(Store, self.records), cast(Writer, self.records), self.clock, self.fetcher)

    async def hits(self, tenant: str, id: str) -> int | None:
        [description] = [one for one in await self.contexts.listing(tenant, None) if id in {one.id, one.url}]
        return description.hits


@asynccontextmanager
async def context_hub() -> AsyncIterator[Hub]:
    clock = FixedClock()
    records, fetcher = Records(clock), Fetcher()
    made = Contexts(cast(Store, records), cast(Writer, records), clock, fetcher, public_url="http://hub.example:8080")
    yield Hub(made, clock, fetcher, records)
    await made.close()
