# SPDX-License-Identifier: Apache-2.0
"""Stored @contexts: the records of hosted, implicitly created and cached ones, and how often each was used."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, TypeVar

from madang.base.errors import HubError, LimitExceeded
from madang.base.limits import CONTEXTS_CACHED_MAX, CONTEXTS_STORED_PER_TENANT_MAX
from madang.core.context_fetch import FetchedContext
from madang.core.writer import View, Writer
from madang.model.entity import Json
from madang.store.port import Store

T = TypeVar("T")
Kind: TypeAlias = Literal["Cached", "Hosted", "ImplicitlyCreated"]
KINDS: Final[tuple[Kind, ...]] = ("Cached", "Hosted", "ImplicitlyCreated")

# Kinds of records. Documents are apart from what is known about them, so that a list need not read them.
STORED = "context"  # hosted and implicitly created ones, of the tenant that made them
STORED_DOCUMENT = "context_document"
CACHED = "context_cached"  # copies of remote ones, one for all tenants, kept in the default tenant
CACHED_DOCUMENT = "context_cached_document"
USAGE = "context_usage"  # of a tenant; for a cached one this is also what makes it visible to the tenant
OWNER = "context_owner"  # in the default tenant: which tenant an implicitly created one belongs to

# Ids that follow from what they name: a copy from its URL, an implicitly created one from its tenant and content.
_NAMESPACE = uuid.UUID("3f0d6c1e-6a0e-4b7e-9d4a-52f1c6a1f0b7")


def cached_id(url: str) -> str:
    return uuid.uuid5(_NAMESPACE, url).urn


def implicit_id(tenant: str, content: str) -> str:
    return uuid.uuid5(_NAMESPACE, f"{tenant}\n{content}").urn


@dataclass(slots=True)
class Usage:
    """How often a tenant used a stored @context, and when last.

    What is held in memory is only what this worker has not added to the record yet, which it does now and then.
    """

    hits: int = 0
    last_us: int | None = None

    def count(self, now_us: int) -> None:
        self.hits += 1
        self.last_us = now_us

    def plus(self, body: Json | None) -> Usage:
        """Return both together, this and what a record says."""
        if body is None:
            return Usage(self.hits, self.last_us)
        last_us = max((moment for moment in (self.last_us, body["last_us"]) if moment is not None), default=None)
        return Usage(self.hits + body["hits"], last_us)


@dataclass(frozen=True, slots=True)
class StoredContext:
    """What is known about one stored @context; `owner` is the tenant whose record it is."""

    id: str
    kind: Kind
    created_us: int
    owner: str
    url: str | None = None  # of a cached one
    expires_us: int | None = None
    stale_allowed: bool = False


@dataclass(slots=True)
class ContextRecords:
    """Reads and writes the records. The store is the truth; only the counters live here in memory."""

    store: Store
    writer: Writer
    _usages: dict[tuple[str, str], Usage] = field(default_factory=dict)
    _stored_counts: dict[str, int] = field(default_factory=dict)
    _cached_count: int | None = None
    _adding: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while counts go from memory into the records

    async def stored(self, tenant: str, id: str) -> StoredContext | None:
        """Return what is known about a hosted or implicitly created one of the tenant."""
        body = await self.store.record(tenant, STORED, id)
        return None if body is None else _stored(tenant, id, body)

    async def cached(self, id: str) -> StoredContext | None:
        body = await self.store.record("", CACHED, id)
        return None if body is None else _cached(id, body)

    async def document(self, entry: StoredContext) -> dict[str, Json] | None:
        """Return the object with the one member "@context"; None when it was deleted in the meantime."""
        kind = CACHED_DOCUMENT if entry.kind == "Cached" else STORED_DOCUMENT
        document: dict[str, Json] | None = await self.store.record(entry.owner, kind, entry.id)
        return document

    async def implicit_owner(self, id: str) -> str | None:
        """Return the tenant of an implicitly created one, whoever asks: its id is handed out as a link."""
        body = await self.store.record("", OWNER, id)
        return None if body is None else str(body["tenant"])

    async def add(self, tenant: str, id: str, kind: Kind, document: dict[str, Json]) -> None:
        """Store a hosted or implicitly created one; the tenant is created when it is new.

        Raises: LimitExceeded: the tenant has as many as are allowed.
        """
        count = None if self.writer.tail.follows else self._stored_counts.get(tenant)
        if count is None:
            count = len(await self.store.records(STORED, tenant=tenant))
        if count >= CONTEXTS_STORED_PER_TENANT_MAX:
            raise LimitExceeded(
                f"This tenant stores {count} @contexts; allowed are {CONTEXTS_STORED_PER_TENANT_MAX}, so delete some"
            )

        def decide(view: View) -> None:
            view.put_record(STORED, id, {"kind": kind, "created_us": view.now_us})
            view.put_record(STORED_DOCUMENT, id, document, logged=False)

        await self.writer.write(tenant, (), decide, create_tenant=True)
        self._stored_counts[tenant] = count + 1
        if kind == "ImplicitlyCreated" and tenant:
            await self._write("", lambda view: view.put_record(OWNER, id, {"tenant": tenant}, logged=False))

    async def remove(self, entry: StoredContext) -> None:
        """Delete a hosted or implicitly created one."""

        def decide(view: View) -> None:
            view.delete_record(STORED, entry.id)
            view.delete_record(STORED_DOCUMENT, entry.id, logged=False)
            view.delete_record(USAGE, entry.id, logged=False)

        await self.writer.write(entry.owner, (), decide)
        self._usages.pop((entry.owner, entry.id), None)
        self._stored_counts.pop(entry.owner, None)
        if entry.kind == "ImplicitlyCreated" and entry.owner:
            await self._write("", lambda view: view.delete_record(OWNER, entry.id, logged=False))

    async def keep_copy(self, url: str, fetched: FetchedContext, *, asked: bool = False) -> StoredContext:
        """Store a copy of a remote document in place of an older one; when somebody `asked`, all workers are told."""
        id = cached_id(url)
        old = await self.cached(id)
        if self._cached_count is None or self.writer.tail.follows:
            self._cached_count = len(await self.store.records(CACHED, tenant=""))
        if old is None and self._cached_count >= CONTEXTS_CACHED_MAX:
            await self._drop_oldest_copies()

        def decide(view: View) -> StoredContext:
            body = {
                "url": url,
                "created_us": view.now_us,
                "expires_us": view.now_us + round(fetched.fresh_s * 1_000_000),
                "stale_allowed": fetched.stale_allowed,
            }
            view.put_record(CACHED, id, body, logged=asked)
            view.put_record(CACHED_DOCUMENT, id, fetched.document, logged=False)
            return _cached(id, body)

        entry = await self._write("", decide)
        if old is None:
            self._cached_count += 1
        return entry

    async def remove_copy(self, tenant: str, entry: StoredContext) -> None:
        """Take a copy from a tenant; it is deleted when no other tenant uses it. All workers are told."""
        self._usages.pop((tenant, entry.id), None)
        await self._write(tenant, lambda view: view.delete_record(USAGE, entry.id))
        in_store = any(id == entry.id for _, id, _ in await self.store.records(USAGE))
        if in_store or any(id == entry.id for _, id in self._usages):
            return
        await self._delete_copies([entry.id])

    async def usage(self, tenant: str, id: str) -> Usage | None:
        """Return how often the tenant used one @context; None when it never did."""
        async with self._adding:
            body = await self.store.record(tenant, USAGE, id)
            here = self._usages.get((tenant, id))
        return None if body is None and here is None else (here or Usage()).plus(body)

    async def counter(self, tenant: str, id: str) -> Usage:
        """Return where this worker counts the tenant's uses of one @context."""
        found = self._usages.get((tenant, id))
        if found is None:
            if self.writer.tail.follows and await self.store.record(tenant, USAGE, id) is None:
                await self._add(tenant, {id: Usage()})  # by this record other workers know that the tenant uses it
            found = self._usages.setdefault((tenant, id), Usage())
        return found

    def forget_usage(self, tenant: str, id: str) -> None:
        """Drop what was counted of a @context that is gone."""
        self._usages.pop((tenant, id), None)

    async def visible(self, tenant: str) -> list[StoredContext]:
        """Return the tenant's own, and the copies it used, each in order of creation."""
        own = [_stored(tenant, id, body) for _, id, body in await self.store.records(STORED, tenant=tenant)]
        used = {id for _, id, _ in await self.store.records(USAGE, tenant=tenant)}
        used.update(id for owner, id in self._usages if owner == tenant)
        copies = [_cached(id, body) for _, id, body in await self.store.records(CACHED, tenant="") if id in used]
        return own + copies

    async def flush(self, keep: set[tuple[str, str]]) -> None:
        """Add what was counted to the records; forget the counters that are not in `keep`."""
        async with self._adding:
            by_tenant: dict[str, dict[str, Usage]] = {}
            for (tenant, id), usage in self._usages.items():
                if usage.hits:
                    by_tenant.setdefault(tenant, {})[id] = usage
            for tenant, usages in by_tenant.items():
                counts = {id: Usage(usage.hits, usage.last_us) for id, usage in usages.items()}
                if await self._add(tenant, counts):
                    for id, usage in usages.items():
                        usage.hits -= counts[id].hits
        has_tenant = self.writer.has_tenant
        for key in [key for key, one in self._usages.items() if not one.hits or (key[0] and not has_tenant(key[0]))]:
            if key not in keep:
                del self._usages[key]

    async def _add(self, tenant: str, counts: dict[str, Usage]) -> bool:
        """Add to the records, to which other workers add as well; tell whether they took it."""

        def decide(view: View) -> None:
            for id, usage in counts.items():
                total = usage.plus(view.record(USAGE, id))
                view.put_record(USAGE, id, {"hits": total.hits, "last_us": total.last_us}, logged=False)

        try:
            await self.writer.write(tenant, (), decide, records=[(USAGE, id) for id in counts])
        except HubError:
            return False  # a tenant that is only being created, or a store that cannot write now
        return True

    async def _drop_oldest_copies(self) -> None:
        """Make room: a tenth of the copies goes, those made first."""
        entries = [_cached(id, body) for _, id, body in await self.store.records(CACHED, tenant="")]
        entries.sort(key=lambda entry: entry.created_us)
        await self._delete_copies([entry.id for entry in entries[: max(1, len(entries) // 10)]])
        self._cached_count = None
        self._cached_count = len(await self.store.records(CACHED, tenant=""))

    async def _delete_copies(self, ids: list[str]) -> None:
        def decide(view: View) -> None:
            for id in ids:
                view.delete_record(CACHED, id, logged=False)
                view.delete_record(CACHED_DOCUMENT, id, logged=False)

        await self._write("", decide)
        if self._cached_count is not None:
            self._cached_count -= len(ids)

    async def _write(self, tenant: str, decide: Callable[[View], T]) -> T:
        return await self.writer.write(tenant, (), decide)


def _stored(tenant: str, id: str, body: Json) -> StoredContext:
    return StoredContext(id, body["kind"], body["created_us"], tenant)


def _cached(id: str, body: Json) -> StoredContext:
    return StoredContext(id, "Cached", body["created_us"], "", body["url"], body["expires_us"], body["stale_allowed"])
