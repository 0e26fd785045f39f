# SPDX-License-Identifier: Apache-2.0
"""Entity maps: the set of entities that a sequence of requests is about, fixed by the first (clauses 5.14, 5.5.9.3)."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from madang.base.errors import NotFound, TooManyResults
from madang.base.limits import (
    ENTITY_MAP_ENTITIES_MAX,
    ENTITY_MAP_LIFETIME_S_DEFAULT,
    ENTITY_MAP_LIFETIME_S_MAX,
)
from madang.core.caller import caller
from madang.core.consumption import Page
from madang.core.entity_map import EntityMap, cost
from madang.core.entity_map_records import EntityMapRecords
from madang.core.permits import viewer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from madang.base.clock import Clock
    from madang.core.consumption import Consumption
    from madang.core.writer import Writer
    from madang.model.entity import Document
    from madang.model.query.model import EntityQuery
    from madang.store.port import Store

_SECOND_US: Final = 1_000_000
_WALK_ENTITIES: Final = 500


class Shelf(Protocol):
    """Where maps are held until they expire. All together hold up to a limit; of more, the first to expire goes."""

    async def put(self, tenant: str, made: EntityMap) -> None: ...

    async def get(self, tenant: str, id: str) -> EntityMap | None:
        """Return a map, which may have expired."""

    async def prolong(self, tenant: str, found: EntityMap) -> None:
        """Keep a map until its new expiry."""

    async def prune(self, tenant: str, found: EntityMap, out: Sequence[str]) -> None:
        """Keep a map without entities that have been taken out of it."""

    async def remove(self, tenant: str, id: str) -> None: ...

    def forget_tenant(self, tenant: str) -> None: ...

    async def sweep(self) -> None:
        """Remove what has expired."""


class EntityMaps:
    """Keeps entity maps until they expire: in memory, or in the store where several workers share it.

    Clause 5.14.1.1 leaves it to the hub where they are held, and clause 5.5.14 what follows when one is gone: a new one
    is made. All maps together hold up to ENTITY_MAP_ENTITIES_MAX entities; when that is full, the one that would expire
    first goes.
    """

    def __init__(
        self,
        clock: Clock,
        consumption: Consumption,
        *,
        entities_max: int = ENTITY_MAP_ENTITIES_MAX,
        shared: tuple[Store, Writer] | None = None,
    ) -> None:
        self._clock = clock
        self._consumption = consumption
        self._entities_max = entities_max
        self._shelf: Shelf = (
            _Memory(clock, entities_max) if shared is None else EntityMapRecords(*shared, clock, entities_max)
        )

    async def create(self, tenant: str, query: EntityQuery, *, lifetime_s: float | None = None) -> EntityMap:
        """Make the map of a query: all entities that match, whatever page was asked for.

        Raises: TooManyResults: they are more than a map may hold. TenantNotFound.
        """
        whole = replace(query, limit=self._entities_max + 1, offset=0, count=False)
        found = await self._consumption.find_ids(tenant, whole)
        return await self.keep(tenant, found.ids, query=query, lifetime_s=lifetime_s)

    async def keep(
        self,
        tenant: str,
        ids: Sequence[str],
        *,
        query: EntityQuery | None = None,
        lifetime_s: float | None = None,
    ) -> EntityMap:
        """Make a map of known entities.

        Raises: TooManyResults: they are more than a map may hold.
        """
        if len(ids) > self._entities_max:
            raise TooManyResults(
                f"An entity map holds up to {self._entities_max} entities; narrow the query", where="entityMap"
            )
        id = f"urn:ngsi-ld:EntityMap:{uuid.uuid4()}"
        made = EntityMap(id, self._bounded(lifetime_s), dict.fromkeys(ids), query, viewer_of(caller()))
        await self._shelf.put(tenant, made)
        return made

    async def find(self, tenant: str, id: str) -> EntityMap | None:
        """Return a map of the caller's that has not expired, or None.

        What it holds was found with the grants the caller had then: with others, it is not there.
        """
        self._consumption.sees_all(tenant)
        found = await self._shelf.get(tenant, id)
        if found is None or found.expires_us <= self._clock.now_us() or found.owner != viewer_of(caller()):
            return None
        return found

    async def retrieve(self, tenant: str, id: str) -> EntityMap:
        """Return a map. Raises: NotFound: there is none, or it has expired."""
        found = await self.find(tenant, id)
        if found is None:
            raise NotFound(f"There is no entity map with the id {id}")
        return found

    async def update(self, tenant: str, id: str, *, expires_us: int | None) -> None:
        """Move the expiry of a map, the one thing that others may change, as far as the hub allows (clause 5.5.14).

        Raises: NotFound: there is none.
        """
        found = await self.retrieve(tenant, id)
        if expires_us is not None:
            found.expires_us = min(expires_us, self._clock.now_us() + ENTITY_MAP_LIFETIME_S_MAX * _SECOND_US)
            await self._shelf.prolong(tenant, found)

    async def delete(self, tenant: str, id: str) -> None:
        """Remove a map. Raises: NotFound: there is none."""
        await self.retrieve(tenant, id)
        await self._shelf.remove(tenant, id)

    def forget_tenant(self, tenant: str) -> None:
        """Drop all maps of a tenant that is removed."""
        self._shelf.forget_tenant(tenant)

    async def sweep(self) -> None:
        """Remove what has expired; to be called now and then."""
        await self._shelf.sweep()

    async def page(self, tenant: str, entity_map: EntityMap, query: EntityQuery) -> Page:
        """Return a page of the map's entities that match the query now.

        Pages are filled from the candidates that still match; an entity that no longer fits the query the map was made
        for leaves the map (clause 5.5.9.3).
        """
        documents: list[Document] = []
        position = 0
        end = query.offset + query.limit
        ids = list(entity_map.ids)
        for start in range(0, len(ids), _WALK_ENTITIES):
            part = ids[start : start + _WALK_ENTITIES]
            matching = await self._consumption.filter(tenant, query, part)
            await self._prune(tenant, entity_map, part, matching)
            for document in matching:
                if query.offset <= position < end:
                    documents.append(document)
                position += 1
            if position > end and not query.count:
                break
        return Page(documents, position if query.count else None, position > end)

    async def _prune(
        self, tenant: str, entity_map: EntityMap, ids: Sequence[str], matching: Sequence[Document]
    ) -> None:
        still = {document["id"] for document in matching}
        out = [id for id in ids if id not in still]
        # What leaves the map tells of what it is held against: that is what its owner, who asks, may see.
        if out and entity_map.query is not None:
            # A request may narrow the map by ids: what that leaves out stays a candidate.
            fitting = await self._consumption.filter(tenant, entity_map.query, out)
            still.update(document["id"] for document in fitting)
        elif out:
            still.update(await self._consumption.documents(tenant, out, keep=False))
        leaving = [id for id in out if id not in still]
        if leaving:
            for id in leaving:
                entity_map.ids.pop(id, None)
            await self._shelf.prune(tenant, entity_map, leaving)

    def _bounded(self, lifetime_s: float | None) -> int:
        seconds = ENTITY_MAP_LIFETIME_S_DEFAULT if lifetime_s is None else min(lifetime_s, ENTITY_MAP_LIFETIME_S_MAX)
        return self._clock.now_us() + round(seconds * _SECOND_US)


class _Memory:
    """The shelf of a hub of one process."""

    def __init__(self, clock: Clock, entities_max: int) -> None:
        self._clock = clock
        self._entities_max = entities_max
        self._maps: dict[tuple[str, str], EntityMap] = {}

    async def put(self, tenant: str, made: EntityMap) -> None:
        await self.sweep()
        held = cost(len(made.ids)) + sum(cost(len(kept.ids)) for kept in self._maps.values())
        for key in sorted(self._maps, key=lambda key: self._maps[key].expires_us):
            if held <= self._entities_max:
                break
            held -= cost(len(self._maps.pop(key).ids))
        self._maps[tenant, made.id] = made

    async def get(self, tenant: str, id: str) -> EntityMap | None:
        return self._maps.get((tenant, id))

    async def prolong(self, tenant: str, found: EntityMap) -> None:
        """Nothing to do: the map is the one that is held."""

    async def prune(self, tenant: str, found: EntityMap, out: Sequence[str]) -> None:
        """Nothing to do: the map is the one that is held."""

    async def remove(self, tenant: str, id: str) -> None:
        self._maps.pop((tenant, id), None)

    def forget_tenant(self, tenant: str) -> None:
        for key in [key for key in self._maps if key[0] == tenant]:
            del self._maps[key]

    async def sweep(self) -> None:
        now_us = self._clock.now_us()
        for key in [key for key, kept in self._maps.items() if kept.expires_us <= now_us]:
            del self._maps[key]
