# SPDX-License-Identifier: Apache-2.0
"""Writing entities: the verbs of ETSI CIM 009 clause 5.6 over the one writer.

Each verb declares the entities it may touch and hands the writer a pure decision; what the decision makes of a
document is worked out in `madang.model.patch`. All verbs take documents and names in canonical form. Whether the
caller may do it is judged by the writer: every verb may raise Denied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from madang.base.errors import AlreadyExists, HubError, NotFound
from madang.base.limits import PURGE_ENTITIES_PER_FIND, PURGE_ENTITIES_PER_WRITE
from madang.model import patch
from madang.model.access import Right
from madang.model.change import Change
from madang.model.entity import Document, Instance, types_of
from madang.model.patch import NotUpdated, Patched
from madang.model.permit import Permit
from madang.model.query import match
from madang.model.query.model import EntityQuery, Found, TypeSelection
from madang.model.transient import live, may_expire

if TYPE_CHECKING:
    from madang.core.writer import View, Writer

Find: TypeAlias = Callable[[str, EntityQuery], Awaitable[Found]]
# A fragment, or how to read it once the entity is known (a simplified fragment has no types of its own).
Fragment: TypeAlias = "Document | Callable[[Document], Document]"
Operation: TypeAlias = Callable[[Document, str], Patched]


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """Canonical names of the attributes that were written, and those left as they are with the reason (5.2.18)."""

    updated: tuple[str, ...]
    not_updated: tuple[NotUpdated, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchError:
    """Why one entity of a batch was not written (5.2.17)."""

    entity: str
    error: HubError


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of the entities of a batch, each group in the order of the input and an id in it but once."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()  # existed before: replaced, updated, merged or deleted
    errors: tuple[BatchError, ...] = ()


class Provision:
    """The verbs that write entities.

    Args:
        find: pages of the ids that match a query, as `Store.find` gives them.
    """

    def __init__(self, writer: Writer, find: Find) -> None:
        self._writer = writer
        self._find = find

    # Entities

    async def create(self, tenant: str, document: Document) -> None:
        """Create an entity, and the tenant when it is new (5.6.1, 5.5.10). Raises: AlreadyExists."""

        def decide(view: View) -> None:
            _create(view, document)

        await self._writer.write(tenant, (document["id"],), decide, create_tenant=True)

    async def replace(
        self, tenant: str, id: str, document: Document, *, types: TypeSelection | None = None
    ) -> UpdateResult:
        """Give an entity wholly new content (5.6.18). Raises: NotFound."""
        return await self._change(tenant, id, types, lambda before, now: patch.replace(before, document, now))

    async def merge(
        self,
        tenant: str,
        id: str,
        fragment: Fragment,
        *,
        types: TypeSelection | None = None,
        observed_at: str | None = None,
        lang: str | None = None,
    ) -> UpdateResult:
        """Merge a fragment into an entity at every depth (5.6.17). Raises: NotFound, BadRequestData."""

        def operation(before: Document, now: str) -> Patched:
            sent = fragment(before) if callable(fragment) else fragment
            return patch.merge(before, sent, now, observed_at=observed_at, lang=lang)

        return await self._change(tenant, id, types, operation)

    async def delete(self, tenant: str, id: str, *, types: TypeSelection | None = None) -> None:
        """Delete an entity; its history stays (5.6.6). Raises: NotFound."""
        await self._writer.write(tenant, (id,), lambda view: _delete(view, id, types))

    async def purge(
        self,
        tenant: str,
        query: EntityQuery,
        *,
        among: Sequence[str] | None = None,
        keep: Collection[str] | None = None,
        drop: Collection[str] | None = None,
    ) -> int:
        """Delete all entities that match, or only some members of them, and return how many were written (5.6.21).

        Args:
            tenant: whose entities.
            query: which entities; its page is ignored.
            among: ids of the only entities to look at, as those of an entity map.
            keep: names of the members that stay, all others go, but the entities stay.
            drop: names of the members that go, but the entities stay.

        Raises: TenantNotFound. Denied: the caller may not take away what he chose, or not read at all.
        """
        self._writer.permits.writing(tenant)
        # Whoever could choose by what he may not see would learn it from what is gone.
        seen = self._writer.permits.require(Right.READ, tenant)

        def decide_for(ids: Sequence[str]) -> Callable[[View], int]:
            return lambda view: sum(_purge(view, id, query, keep, drop, seen) for id in ids)

        narrow = query
        if not seen.unrestricted:
            # What else is asked for is looked for in what the caller may see of each of these.
            selectors = seen.narrow(query.selectors)
            narrow = EntityQuery(query.selectors if selectors is None else selectors)
            among = [] if selectors is None else among
        ids = await self._all_ids(tenant, narrow) if among is None else among
        written = 0
        for start in range(0, max(1, len(ids)), PURGE_ENTITIES_PER_WRITE):
            some = ids[start : start + PURGE_ENTITIES_PER_WRITE]
            written += await self._writer.write(tenant, some, decide_for(some))
        return written

    # Attributes

    async def append(
        self,
        tenant: str,
        id: str,
        fragment: Document,
        *,
        overwrite: bool = True,
        types: TypeSelection | None = None,
    ) -> UpdateResult:
        """Add attributes to an entity (5.6.3); without `overwrite`, existing ones stay. Raises: NotFound."""
        return await self._change(
            tenant, id, types, lambda before, now: patch.append(before, fragment, now, overwrite=overwrite)
        )

    async def update(
        self, tenant: str, id: str, fragment: Document, *, types: TypeSelection | None = None
    ) -> UpdateResult:
        """Replace, add or delete attributes of an entity (5.6.2). Raises: NotFound."""
        return await self._change(tenant, id, types, lambda before, now: patch.update(before, fragment, now))

    async def partial_update(
        self, tenant: str, id: str, name: str, instances: Sequence[Instance], *, types: TypeSelection | None = None
    ) -> UpdateResult:
        """Replace members of one attribute (5.6.4). Raises: NotFound, BadRequestData."""
        return await self._change(
            tenant, id, types, lambda before, now: patch.partial_update(before, name, instances, now)
        )

    async def replace_attribute(
        self, tenant: str, id: str, name: str, instances: Sequence[Instance], *, types: TypeSelection | None = None
    ) -> UpdateResult:
        """Replace an attribute instance as a whole (5.6.19). Raises: NotFound."""
        return await self._change(
            tenant, id, types, lambda before, now: patch.replace_attribute(before, name, instances, now)
        )

    async def delete_attribute(
        self,
        tenant: str,
        id: str,
        name: str,
        *,
        dataset: str | None = None,
        delete_all: bool = False,
        types: TypeSelection | None = None,
    ) -> UpdateResult:
        """Delete one instance of an attribute, or all of them (5.6.5). Raises: NotFound."""
        return await self._change(
            tenant,
            id,
            types,
            lambda before, now: patch.delete_attribute(before, name, now, dataset=dataset, delete_all=delete_all),
        )

    # Batches: one mutation each, so that all or nothing is durable; errors of single entities are in the result.

    async def batch_create(self, tenant: str, documents: Sequence[Document]) -> BatchResult:
        """Create entities (5.6.7)."""

        def one(view: View, document: Document) -> bool:
            _create(view, document)
            return True

        return await self._batch(tenant, documents, one, create_tenant=True)

    async def batch_upsert(self, tenant: str, documents: Sequence[Document], *, update: bool = False) -> BatchResult:
        """Create entities, or replace (with `update`: update) those that exist (5.6.8)."""
        combine = patch.update if update else patch.replace

        def one(view: View, document: Document) -> bool:
            state = _state(view, document["id"])
            if state is None:
                _create(view, document)
                return True
            _apply(view, state, combine(state.valid, document, view.now))
            return False

        return await self._batch(tenant, documents, one)

    async def batch_update(self, tenant: str, documents: Sequence[Document], *, overwrite: bool = True) -> BatchResult:
        """Append attributes to entities; what is not overwritten makes an error of its entity (5.6.9, 5.6.3)."""

        def one(view: View, document: Document) -> bool:
            state = _target(view, document["id"])
            patched = patch.append(state.valid, document, view.now, overwrite=overwrite)
            _apply(view, state, patched)
            if patched.not_updated:
                names = ", ".join(name for name, _ in patched.not_updated)
                raise AlreadyExists(f"The entity has these attributes already, and noOverwrite keeps them: {names}")
            return False

        return await self._batch(tenant, documents, one)

    async def batch_merge(self, tenant: str, documents: Sequence[Document]) -> BatchResult:
        """Merge fragments, each with the id of its entity (5.6.20)."""

        def one(view: View, document: Document) -> bool:
            state = _target(view, document["id"])
            _apply(view, state, patch.merge(state.valid, document, view.now))
            return False

        return await self._batch(tenant, documents, one)

    async def batch_delete(self, tenant: str, ids: Sequence[str]) -> BatchResult:
        """Delete entities (5.6.10)."""

        def decide(view: View) -> BatchResult:
            return _collect(view, ((id, partial(_delete, view, id, None)) for id in ids))

        return await self._writer.write(tenant, ids, decide, itemised=True)

    # Upkeep

    async def remove_expired(self, tenant: str, ids: Sequence[str]) -> int:
        """Take what has expired out of these entities, or take them away, and return how many were touched (4.22)."""

        def decide(view: View) -> int:
            return sum(_remove_expired(view, id) for id in ids)

        return await self._writer.write(tenant, ids, decide)

    # How it is done

    async def _change(self, tenant: str, id: str, types: TypeSelection | None, operation: Operation) -> UpdateResult:
        def decide(view: View) -> UpdateResult:
            state = _target(view, id, types)
            patched = operation(state.valid, view.now)
            _apply(view, state, patched)
            return UpdateResult(tuple(patched.updated), tuple(patched.not_updated))

        return await self._writer.write(tenant, (id,), decide)

    async def _batch(
        self,
        tenant: str,
        documents: Sequence[Document],
        one: Callable[[View, Document], bool],
        *,
        create_tenant: bool = False,
    ) -> BatchResult:
        def decide(view: View) -> BatchResult:
            return _collect(view, ((document["id"], partial(one, view, document)) for document in documents))

        ids = [document["id"] for document in documents]
        return await self._writer.write(tenant, ids, decide, create_tenant=create_tenant, itemised=True)

    async def _all_ids(self, tenant: str, query: EntityQuery) -> list[str]:
        ids: list[str] = []
        more = True
        while more:
            page = replace(query, limit=PURGE_ENTITIES_PER_FIND, offset=len(ids), count=False)
            found = await self._find(tenant, page)
            ids += found.ids
            more = found.more and bool(found.ids)
        return ids


class _State(NamedTuple):
    """An entity as stored, what of it is valid at this moment, and the rows that tell of the difference (4.22)."""

    stored: Document
    valid: Document
    changes: Sequence[Change]


def _state(view: View, id: str) -> _State | None:
    """Return the entity; None when there is none or when it has expired."""
    stored = view.entity(id)
    if stored is None:
        return None
    if not may_expire(stored):
        return _State(stored, stored, ())
    valid = live(stored, view.now_us)
    if valid is None:
        return None
    if valid == stored:
        return _State(stored, stored, ())
    return _State(stored, *patch.expire(stored, valid, view.now))


def _target(view: View, id: str, types: TypeSelection | None = None) -> _State:
    """Return the entity with that id and of those types. Raises: NotFound."""
    state = _state(view, id)
    if state is None:
        raise NotFound(f"There is no entity with the id {id}")
    if types is not None and not types.fits(types_of(state.valid)):
        raise NotFound(f"There is no entity with the id {id} of the types that were asked for", where="type")
    return state


def _apply(view: View, state: _State, patched: Patched) -> None:
    changes = [*state.changes, *patched.changes] if state.changes else patched.changes
    if changes:
        view.put(state.stored, patched.document, changes)


def _create(view: View, document: Document) -> None:
    stored = view.entity(document["id"])
    if stored is not None:
        if live(stored, view.now_us) is not None:
            raise AlreadyExists(f"There is an entity with the id {document['id']} already")
        view.delete(stored, patch.delete(stored))
    view.create(patch.create(document, view.now))


def _delete(view: View, id: str, types: TypeSelection | None) -> bool:
    state = _target(view, id, types)
    view.delete(state.stored, patch.delete(state.stored))
    return False


def _purge(
    view: View,
    id: str,
    query: EntityQuery,
    keep: Collection[str] | None,
    drop: Collection[str] | None,
    seen: Permit,
) -> bool:
    # Between the search and this moment the entity may have changed or gone.
    state = _state(view, id)
    shown = None if state is None else seen.visible(state.valid)
    if state is None or shown is None or not match.matches(query, shown):
        return False
    if keep is None and drop is None:
        view.delete(state.stored, patch.delete(state.stored))
    elif keep is not None:
        _apply(view, state, patch.reduce(state.valid, keep, view.now, keep=True))
    elif drop is not None:
        _apply(view, state, patch.reduce(state.valid, drop, view.now, keep=False))
    return True


def _remove_expired(view: View, id: str) -> bool:
    stored = view.entity(id)
    if stored is None:
        return False
    state = _state(view, id)
    if state is None:
        view.delete(stored, patch.delete(stored))
    elif state.changes:
        view.put(stored, state.valid, state.changes)
    else:
        return False
    return True


def _collect(view: View, items: Iterable[tuple[str, Callable[[], bool]]]) -> BatchResult:
    """Do one after the other; an error of the tree is the result of its entity only."""
    created: dict[str, None] = {}
    updated: dict[str, None] = {}
    errors = []
    for id, act in items:
        try:
            if view.attempt(act):
                created[id] = None
            elif id not in created:
                updated[id] = None
        except HubError as error:
            errors.append(BatchError(id, error))
    return BatchResult(tuple(created), tuple(updated), tuple(errors))
