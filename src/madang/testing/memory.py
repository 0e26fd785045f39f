# SPDX-License-Identifier: Apache-2.0
"""A store of dictionaries and a writer of one line, for tests of what reads from the store and follows the commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from madang.core.permits import Permits
from madang.model.change import Change, EntityCommit, Operation
from madang.model.entity import Document, types_of
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery, Found
from madang.store.port import Capabilities


class Memory:
    """The reading half of a store. `calls` counts reads by name; `gate`, when set, holds back `documents`."""

    def __init__(self, *, exclusive: bool = True) -> None:
        self.capabilities = Capabilities(exclusive=exclusive, durable=False, workers_many=not exclusive)
        self.entities: dict[str, dict[str, Document]] = {"": {}}
        self.calls: dict[str, int] = {}
        self.gate: asyncio.Event | None = None
        self.waiting = asyncio.Event()
        self.sequence = 0

    def _called(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1

    async def tenants(self) -> list[str]:
        return list(self.entities)

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]:
        self._called("documents")
        held = self.entities.get(tenant, {})
        found = {id: held[id] for id in ids if id in held}
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        return found

    async def find(self, tenant: str, query: EntityQuery) -> Found:
        self._called("find")
        ids = [id for id, document in self.entities.get(tenant, {}).items() if matches(query, document)]
        page = ids[query.offset : query.offset + query.limit]
        return Found(page, len(ids) if query.count else None, len(ids) > query.offset + query.limit)

    async def type_names(self, tenant: str) -> list[tuple[str, int]]:
        counts: dict[str, int] = {}
        for document in self.entities.get(tenant, {}).values():
            for name in types_of(document):
                counts[name] = counts.get(name, 0) + 1
        return sorted(counts.items())

    async def last_sequence(self) -> int:
        return self.sequence


class Commits:
    """Writes into a Memory and tells the listeners, as the writer does."""

    def __init__(self, store: Memory) -> None:
        self.permits = Permits()
        self._store = store
        self._listeners: list[Callable[[Sequence[EntityCommit]], None]] = []

    def subscribe(self, listener: Callable[[Sequence[EntityCommit]], None]) -> None:
        self._listeners.append(listener)

    def put(self, document: Document, *, tenant: str = "", changed: Sequence[str] | None = None) -> None:
        entities = self._store.entities.setdefault(tenant, {})
        before = entities.get(document["id"])
        entities[document["id"]] = document
        names = [name for name in document if name not in ("id", "type")] if changed is None else changed
        operation = Operation.ATTRIBUTE_CREATED if before is None else Operation.ATTRIBUTE_UPDATED
        rows = tuple(Change(operation, document["id"], name) for name in names)
        self._tell(tenant, document["id"], before, document, rows)

    def delete(self, id: str, *, tenant: str = "") -> None:
        before = self._store.entities[tenant].pop(id)
        self._tell(tenant, id, before, None, (Change(Operation.ENTITY_DELETED, id),))

    def _tell(
        self, tenant: str, id: str, before: Document | None, after: Document | None, rows: tuple[Change, ...]
    ) -> None:
        self._store.sequence += 1
        sequence = self._store.sequence
        commit = EntityCommit(sequence, sequence, tenant, 0, id, before, after, rows)
        for listener in self._listeners:
            listener([commit])


def entity(id: str, type: Any = "T", **values: Any) -> Document:
    """Return a document whose attributes are Properties with these values, or the given instances."""
    document: Document = {"id": id, "type": type}
    for name, value in values.items():
        is_instance = isinstance(value, (dict, list))
        document[name] = value if is_instance else {"type": "Property", "value": value}
    return document


def relationship(*ids: str) -> dict[str, Any]:
    return {"type": "Relationship", "object": ids[0] if len(ids) == 1 else list(ids)}
