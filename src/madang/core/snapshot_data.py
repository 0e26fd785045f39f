# SPDX-License-Identifier: Apache-2.0
"""What a snapshot holds: copies of entities and of history, put into a namespace and erased from it.

What is copied is what the caller may see; that it is put there, and taken away, is the work of the hub itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from madang.base.limits import PAGE_ENTITIES_MAX, SNAPSHOT_ENTITIES_MAX
from madang.core.caller import acting_for
from madang.core.linked import Join, LinkedEntities, View
from madang.model.access import SYSTEM
from madang.model.change import Change, Operation
from madang.model.entity import Document, one_or_list
from madang.model.query.model import EntityQuery
from madang.model.temporal.query import parse_window
from madang.model.temporal.question import question_of, reading_of

if TYPE_CHECKING:
    from madang.core.consumption import Consumption
    from madang.core.history import History
    from madang.core.writer import View as Writing
    from madang.core.writer import Writer
    from madang.model.query.entity_query import ParsedQuery
    from madang.model.temporal.evolution import Evolution
    from madang.store.port import Store

_COPY_ENTITIES: Final = 200
_COPY_EVOLUTIONS: Final = 20
# What an entity is stored with, whatever members a query picks.
_KEPT: Final = ("id", "type", "scope", "createdAt", "modifiedAt", "expiresAt")


class SnapshotData:
    """Copies query results into namespaces (`madang.core.snapshots`)."""

    def __init__(self, store: Store, writer: Writer, consumption: Consumption, history: History) -> None:
        self._store = store
        self._writer = writer
        self._consumption = consumption
        self._history = history

    async def create(self, namespace: str) -> None:
        """Make an empty namespace."""
        await self._writer.write(namespace, (), lambda _: None, create_tenant=True)

    async def copy(self, tenant: str, parsed: ParsedQuery, namespace: str) -> bool:
        """Copy the entities that match (and those linked, where the query joins); return whether there were any.

        Entities copied already are left as they are, so that a snapshot of several queries holds one state of each.
        """
        view = View(parsed.projection, parsed.query.datasets).keeping(_KEPT)
        join = Join("flat", parsed.join_level if parsed.join else 0, frozenset(parsed.contained_by))
        # All ids are fixed by one query; clause 5.16.1.4 has all pages retrieved.
        query = replace(parsed.query, limit=SNAPSHOT_ENTITIES_MAX, offset=0, count=False)
        found = await self._consumption.find_ids(tenant, query)

        async def fetch(ids: Sequence[str]) -> Mapping[str, Document]:
            return await self._consumption.documents(tenant, ids, keep=False)

        some = False
        for start in range(0, len(found.ids), _COPY_ENTITIES):
            ids = found.ids[start : start + _COPY_ENTITIES]
            documents = await fetch(ids)
            linked = LinkedEntities(fetch, view, join)
            shown = await linked.collect([documents[id] for id in ids if id in documents])
            if shown:
                some = True
                await self._put(namespace, shown)
        return some

    async def copy_evolution(
        self, tenant: str, parsed: ParsedQuery, namespace: str, *, observed_only: bool = False
    ) -> bool:
        """Copy the history that a temporal query finds; return whether there was any.

        With `observed_only` instances that say nothing about when they were observed stay behind.
        """
        window = parse_window(parsed.temporal or {}, required=False)
        question = question_of(parsed, window, self._history.now)
        found = await self._history.find(tenant, replace(question, limit=SNAPSHOT_ENTITIES_MAX))
        reading = replace(reading_of(parsed, window, self._history.now), intervals=found.intervals)
        for start in range(0, len(found.ids), _COPY_EVOLUTIONS):
            ids = found.ids[start : start + _COPY_EVOLUTIONS]
            for evolution in (await self._history.read(tenant, ids, reading)).evolutions:
                document = _document(evolution, observed_only=observed_only)
                if document is not None:
                    with acting_for(SYSTEM):
                        await self._history.upsert(namespace, document)
        return bool(found.ids)

    async def erase(self, namespace: str) -> None:
        """Take everything out of a namespace."""
        if not self._writer.has_tenant(namespace):
            return
        with acting_for(SYSTEM):
            while ids := (await self._store.find(namespace, EntityQuery(limit=PAGE_ENTITIES_MAX))).ids:
                await self._writer.write(namespace, ids, lambda view, ids=tuple(ids): _erase(view, ids))  # type: ignore[misc]

    async def _put(self, namespace: str, documents: Sequence[Document]) -> None:
        def decide(view: Writing) -> None:
            for document in documents:
                if view.entity(document["id"]) is None:
                    view.create(document)

        with acting_for(SYSTEM):
            await self._writer.write(namespace, [document["id"] for document in documents], decide)


def _erase(view: Writing, ids: Sequence[str]) -> None:
    for id in ids:
        document = view.entity(id)
        if document is not None:
            view.delete(document, [Change(Operation.ENTITY_DELETED, id)])
            view.drop_history(id)


def _document(evolution: Evolution, *, observed_only: bool) -> Document | None:
    """Return an evolution in the form in which history takes it; None when there is nothing to take."""
    document: Document = {"id": evolution.id, "type": one_or_list(evolution.types)}
    for name, rows in [("scope", evolution.scopes), *evolution.attributes.items()]:
        instances = [row.value for row in rows if not observed_only or "observedAt" in row.value]
        if instances:
            document[name] = one_or_list(instances)
    return document if len(document) > 2 else None
