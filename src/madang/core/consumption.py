# SPDX-License-Identifier: Apache-2.0
"""Reading entities: one by id, many by query; never anything that has expired (clauses 5.7.1, 5.7.2, 4.22).

Every verb gives the documents as the caller may see them, and looks at nothing else (`madang.core.visible`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from madang.base.errors import NotFound, TenantNotFound
from madang.base.limits import DOCUMENT_CACHE_BYTES_MAX, LINKED_CANDIDATES_MAX, PAGE_ENTITIES_MAX
from madang.core.caches import CacheCounts
from madang.core.caller import caller
from madang.core.linked import targets_named
from madang.core.permits import is_free
from madang.core.visible import VisibleFind, store_may_answer, too_many_linked
from madang.model.access import Right
from madang.model.entity import Document
from madang.model.query import q_tree
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery, Found
from madang.model.query.q_match import matches as q_matches
from madang.model.transient import expires_us, live

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.permits import Permits
    from madang.core.tail import Tail
    from madang.model.change import EntityCommit
    from madang.store.port import Capabilities

# What a document costs in memory beside the length of its JSON text, from measurements of parsed documents.
_BYTES_PER_CHARACTER = 6
_BYTES_PER_DOCUMENT = 600


class CurrentState(Protocol):
    """The part of the Store that readers of current state need."""

    capabilities: Capabilities

    async def tenants(self) -> list[str]: ...

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]: ...

    async def find(self, tenant: str, query: EntityQuery) -> Found: ...

    async def type_names(self, tenant: str) -> list[tuple[str, int]]: ...

    async def last_sequence(self) -> int: ...


class Commits(Protocol):
    """The part of the Writer that readers need."""

    permits: Permits

    def subscribe(self, listener: Callable[[Sequence[EntityCommit]], None]) -> None: ...


class Page(NamedTuple):
    """Documents in order, the number of all matches when it was asked for, and whether more lie behind."""

    documents: list[Document]
    total: int | None
    more: bool


class Cached(NamedTuple):
    document: Document
    expires_us: int | None
    weight_bytes: int


class Consumption:
    """The verbs that read current state.

    A bounded cache of documents is kept true by the writer's commits, and by the tail where others write as well;
    without a tail such a store is read every time. Documents handed out are shared: they must not be changed.

    Args:
        tail: tells what other processes wrote.
        sweep: removes what has expired from the store; called when an answer would have held such a thing.
    """

    def __init__(
        self,
        store: CurrentState,
        clock: Clock,
        writer: Commits,
        *,
        tail: Tail | None = None,
        cache_bytes_max: int = DOCUMENT_CACHE_BYTES_MAX,
        sweep: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._permits = writer.permits
        self._visible = VisibleFind(store.find, self._walked, self._targets)
        self._tenants: set[str] = {""}
        self._sweep = sweep
        self.counts = CacheCounts(lambda: self._cache_bytes)
        self._cache: dict[tuple[str, str], Cached] = {}
        self._cache_bytes = 0
        followed = store.capabilities.exclusive or tail is not None
        self._cache_bytes_max = cache_bytes_max if followed else 0
        # Which read of a key may fill the cache: a commit takes the key out, so that no older state is ever kept.
        self._loading: dict[tuple[str, str], object] = {}
        if self._cache_bytes_max:
            writer.subscribe(self._committed)
            if tail is not None:
                tail.on_entities(self._written_elsewhere)

    async def check_tenant(self, tenant: str) -> None:
        """Do nothing when the tenant exists.

        Raises: TenantNotFound: it does not (clause 5.5.10).
        """
        if tenant not in self._tenants:
            self._tenants.update(await self._store.tenants())
            if tenant not in self._tenants:
                raise TenantNotFound(
                    f"There is no tenant {tenant!r}; a tenant comes into being with its first entity or subscription"
                )

    def forget_tenant(self, tenant: str) -> None:
        """Look the tenant up again the next time: it may have been removed."""
        if tenant:
            self._tenants.discard(tenant)

    def sees_all(self, tenant: str) -> bool:
        """Tell whether the caller may see everything in the tenant, so that answers made for others are his too.

        Raises: Denied: he may see nothing.
        """
        return is_free(caller()) or self._permits.require(Right.READ, tenant).unrestricted

    async def retrieve(self, tenant: str, id: str) -> Document:
        """Return the entity as it stands.

        Raises: NotFound: there is none, it has expired, or the caller may see nothing of it. TenantNotFound. Denied.
        """
        permit = self._permits.require(Right.READ, tenant)
        cached = self._cache.get((tenant, id))
        if cached is not None:
            self.counts.hits += 1
            document = self._live(cached.document, cached.expires_us)
        else:
            await self.check_tenant(tenant)
            document = (await self._load(tenant, [id])).get(id)
        if document is not None and not permit.unrestricted:
            document = permit.visible(document)
        if document is None:
            raise NotFound(f"There is no entity with the id {id}")
        return document

    async def documents(self, tenant: str, ids: Sequence[str], *, keep: bool = True) -> dict[str, Document]:
        """Return the entities of those ids that exist and have not expired.

        `keep` lets them push others out of the cache; whoever walks through many should not.

        Raises: Denied: the caller may see nothing in the tenant.
        """
        permit = self._permits.require(Right.READ, tenant)
        documents = await self._stored(tenant, ids, keep=keep)
        if permit.unrestricted:
            return documents
        seen = ((id, permit.visible(document)) for id, document in documents.items())
        return {id: document for id, document in seen if document is not None}

    async def _stored(self, tenant: str, ids: Sequence[str], *, keep: bool) -> dict[str, Document]:
        result: dict[str, Document] = {}
        missing = []
        for id in ids:
            cached = self._cache.get((tenant, id))
            if cached is None:
                missing.append(id)
            else:
                document = self._live(cached.document, cached.expires_us)
                if document is not None:
                    result[id] = document
        self.counts.hits += len(ids) - len(missing)
        if missing:
            result.update(await self._load(tenant, missing, keep=keep))
        return result

    async def find_ids(self, tenant: str, query: EntityQuery) -> Found:
        """Return the page of ids that match; of an offset behind the end, the last match (clause 6.3.10).

        Raises: TenantNotFound. Denied: the caller may see nothing in the tenant.
        """
        permit = self._permits.require(Right.READ, tenant)
        await self.check_tenant(tenant)
        find = self._store.find if q_tree.link_depth(query.q) == 0 else self._find_linked
        if not permit.unrestricted:
            selectors = permit.narrow(query.selectors)
            if selectors is None:
                return Found([], 0 if query.count else None)
            query = replace(query, selectors=selectors)
            find = self._store.find if store_may_answer(query, permit) else partial(self._visible.find, permit)
        found = await find(tenant, query)
        if found.ids or not query.offset or not query.limit:
            return found
        total = found.count
        if total is None:
            total = (await find(tenant, replace(query, offset=0, limit=0, count=True))).count or 0
        if total == 0:
            return found
        last = await find(tenant, replace(query, offset=total - 1, limit=1, count=False))
        return Found(ids=last.ids, count=found.count, more=False)

    async def find(self, tenant: str, query: EntityQuery) -> Page:
        """Return a page of the entities that match.

        Raises: TenantNotFound. Denied: the caller may see nothing in the tenant.
        """
        found = await self.find_ids(tenant, query)
        documents = await self.documents(tenant, found.ids)
        if len(documents) < len(found.ids) and self._sweep is not None:
            # Something on the page has expired: with it gone the page is filled and the count is right.
            await self._sweep()
            found = await self.find_ids(tenant, query)
            documents = await self.documents(tenant, found.ids)
        return Page([documents[id] for id in found.ids if id in documents], found.count, found.more)

    async def filter(self, tenant: str, query: EntityQuery, ids: Sequence[str]) -> list[Document]:
        """Return, in the given order, the entities of those ids that (still) match; page and order do not count."""
        documents = await self.documents(tenant, ids, keep=False)
        local, linked = _parts(query.q)
        if linked is None:
            return [documents[id] for id in ids if id in documents and matches(query, documents[id])]
        query = replace(query, q=local)
        found = [documents[id] for id in ids if id in documents and matches(query, documents[id])]
        targets = await self._targets(tenant, linked, found)
        return [document for document in found if q_matches(linked, document, targets.get)]

    async def _find_linked(self, tenant: str, query: EntityQuery) -> Found:
        """Look through what the store finds for the terms that need no linked entity."""
        local, linked = _parts(query.q)
        assert linked is not None
        wanted = query.offset + query.limit
        ids: list[str] = []
        looked_at = 0
        more = True
        while more and (query.count or len(ids) <= wanted):
            if looked_at >= LINKED_CANDIDATES_MAX:
                raise too_many_linked()
            step = replace(query, q=local, limit=PAGE_ENTITIES_MAX, offset=looked_at, count=False)
            found = await self._store.find(tenant, step)
            looked_at += len(found.ids)
            more = found.more
            documents = await self.documents(tenant, found.ids, keep=False)
            targets = await self._targets(tenant, linked, list(documents.values()))
            ids += [id for id in found.ids if id in documents and q_matches(linked, documents[id], targets.get)]
        return Found(ids[query.offset : wanted], len(ids) if query.count else None, len(ids) > wanted)

    async def _walked(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]:
        return await self.documents(tenant, ids, keep=False)

    async def _targets(self, tenant: str, node: q_tree.Node, documents: Sequence[Document]) -> dict[str, Document]:
        """Return the linked entities that the query may look at, starting from these documents."""
        known: dict[str, Document] = {}
        for links in {term.path.links for term in q_tree.terms_of(node)}:
            front = documents
            for link in links:
                ids = list(dict.fromkeys(id for document in front for id in targets_named(document, link.relationship)))
                for start in range(0, len(ids), PAGE_ENTITIES_MAX):
                    missing = [id for id in ids[start : start + PAGE_ENTITIES_MAX] if id not in known]
                    known.update(await self.documents(tenant, missing, keep=False))
                front = [known[id] for id in ids if id in known]
        return known

    def _live(self, document: Document, expires: int | None) -> Document | None:
        if expires is None:
            return document
        now_us = self._clock.now_us()
        return document if expires > now_us else live(document, now_us)

    async def _load(self, tenant: str, ids: Sequence[str], *, keep: bool = True) -> dict[str, Document]:
        token = object()
        self.counts.misses += len(ids)
        if keep and self._cache_bytes_max:
            for id in ids:
                self._loading[tenant, id] = token
        try:
            stored = await self._store.documents(tenant, ids)
            result: dict[str, Document] = {}
            for id, document in stored.items():
                expires = expires_us(document)
                if self._loading.get((tenant, id)) is token:
                    self._keep((tenant, id), document, expires)
                valid = self._live(document, expires)
                if valid is not None:
                    result[id] = valid
            return result
        finally:
            for id in ids:
                if self._loading.get((tenant, id)) is token:
                    del self._loading[tenant, id]

    def _keep(self, key: tuple[str, str], document: Document, expires: int | None) -> None:
        weight = len(orjson.dumps(document)) * _BYTES_PER_CHARACTER + _BYTES_PER_DOCUMENT
        if weight > self._cache_bytes_max // 8:
            return
        before = self._cache.pop(key, None)
        if before is not None:
            self._cache_bytes -= before.weight_bytes
        self._cache[key] = Cached(document, expires, weight)
        self._cache_bytes += weight
        while self._cache_bytes > self._cache_bytes_max:
            oldest = next(iter(self._cache))
            self._cache_bytes -= self._cache.pop(oldest).weight_bytes

    def _committed(self, commits: Sequence[EntityCommit]) -> None:
        for commit in commits:
            key = (commit.tenant, commit.entity)
            self._loading.pop(key, None)
            cached = self._cache.pop(key, None)
            if cached is None:
                continue
            self._cache_bytes -= cached.weight_bytes
            if commit.after is not None:
                self._keep(key, commit.after, expires_us(commit.after))

    def _written_elsewhere(self, entities: Sequence[tuple[str, str]] | None) -> None:
        """Forget what others wrote (None: everything); reads under way must not put an older state in its place."""
        if entities is None:
            self._loading.clear()
            self._cache.clear()
            self._cache_bytes = 0
            return
        for key in entities:
            self._loading.pop(key, None)
            cached = self._cache.pop(key, None)
            if cached is not None:
                self._cache_bytes -= cached.weight_bytes


def _parts(node: q_tree.Node | None) -> tuple[q_tree.Node | None, q_tree.Node | None]:
    """Return what the store can answer, and what needs the linked entities."""
    return (None, None) if node is None else q_tree.separate_links(node)
