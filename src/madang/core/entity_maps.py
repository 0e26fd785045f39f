# SPDX-License-Identifier: Apache-2.0
"""Entity maps: the set of entities that a sequence of requests is about, fixed by the first (clauses 5.14, 5.5.9.3)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from madang.base.errors import NotFound, TooManyResults
from madang.base.limits import (
    ENTITY_MAP_ENTITIES_MAX,
    ENTITY_MAP_LIFETIME_S_DEFAULT,
    ENTITY_MAP_LIFETIME_S_MAX,
)
from madang.base.times import format_date_time
from madang.core.consumption import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from madang.base.clock import Clock
    from madang.core.consumption import Consumption
    from madang.model.entity import Document, Json
    from madang.model.query.model import EntityQuery

_LOCAL: Final = "@none"  # clause 5.2.39: the key of what is held by this hub
_SECOND_US: Final = 1_000_000
_WALK_ENTITIES: Final = 500


@dataclass(slots=True)
class EntityMap:
    """The candidates of a query. `query` None: it came from a temporal query, whose filters are not checked again."""

    id: str
    expires_us: int
    ids: dict[str, None]  # in the order of the query
    query: EntityQuery | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the members of clause 5.2.39."""
        return {
            "id": self.id,
            "type": "EntityMap",
            "expiresAt": format_date_time(self.expires_us),
            "entityMap": {id: [_LOCAL] for id in self.ids},
            "linkedMaps": {},
        }


class EntityMaps:
    """Keeps entity maps in memory until they expire.

    Clause 5.14.1.1 leaves it to the hub where they are held, and clause 5.5.14 what follows when one is gone: a new one
    is made. All maps together hold up to ENTITY_MAP_ENTITIES_MAX entities; when that is full, the one that would expire
    first goes.
    """

    def __init__(self, clock: Clock, consumption: Consumption, *, entities_max: int = ENTITY_MAP_ENTITIES_MAX) -> None:
        self._clock = clock
        self._consumption = consumption
        self._entities_max = entities_max
        self._maps: dict[tuple[str, str], EntityMap] = {}

    async def create(self, tenant: str, query: EntityQuery, *, lifetime_s: float | None = None) -> EntityMap:
        """Make the map of a query: all entities that match, whatever page was asked for.

        Raises: TooManyResults: they are more than a map may hold. TenantNotFound.
        """
        whole = replace(query, limit=self._entities_max + 1, offset=0, count=False)
        found = await self._consumption.find_ids(tenant, whole)
        return self.keep(tenant, found.ids, query=query, lifetime_s=lifetime_s)

    def keep(
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
        made = EntityMap(id, self._bounded(lifetime_s), dict.fromkeys(ids), query)
        self._make_room(len(ids))
        self._maps[tenant, id] = made
        return made

    def find(self, tenant: str, id: str) -> EntityMap | None:
        """Return a map that has not expired, or None."""
        found = self._maps.get((tenant, id))
        if found is not None and found.expires_us <= self._clock.now_us():
            del self._maps[tenant, id]
            return None
        return found

    def retrieve(self, tenant: str, id: str) -> EntityMap:
        """Return a map. Raises: NotFound: there is none, or it has expired."""
        found = self.find(tenant, id)
        if found is None:
            raise NotFound(f"There is no entity map with the id {id}")
        return found

    def update(self, tenant: str, id: str, *, expires_us: int | None) -> None:
        """Move the expiry of a map, the one thing that others may change, as far as the hub allows (clause 5.5.14).

        Raises: NotFound: there is none.
        """
        found = self.retrieve(tenant, id)
        if expires_us is not None:
            found.expires_us = min(expires_us, self._clock.now_us() + ENTITY_MAP_LIFETIME_S_MAX * _SECOND_US)

    def delete(self, tenant: str, id: str) -> None:
        """Remove a map. Raises: NotFound: there is none."""
        self.retrieve(tenant, id)
        del self._maps[tenant, id]

    def forget_tenant(self, tenant: str) -> None:
        """Drop all maps of a tenant that is removed."""
        for key in [key for key in self._maps if key[0] == tenant]:
            del self._maps[key]

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
        if out and entity_map.query is not None:
            # A request may narrow the map by ids: what that leaves out stays a candidate.
            still.update(document["id"] for document in await self._consumption.filter(tenant, entity_map.query, out))
        elif out:
            still.update(await self._consumption.documents(tenant, out, keep=False))
        for id in out:
            if id not in still:
                entity_map.ids.pop(id, None)

    def _bounded(self, lifetime_s: float | None) -> int:
        seconds = ENTITY_MAP_LIFETIME_S_DEFAULT if lifetime_s is None else min(lifetime_s, ENTITY_MAP_LIFETIME_S_MAX)
        return self._clock.now_us() + round(seconds * _SECOND_US)

    def _make_room(self, entities: int) -> None:
        now_us = self._clock.now_us()
        for key in [key for key, kept in self._maps.items() if kept.expires_us <= now_us]:
            del self._maps[key]
        held = entities + sum(len(kept.ids) + _EMPTY_MAP_ENTITIES for kept in self._maps.values())
        for key in sorted(self._maps, key=lambda key: self._maps[key].expires_us):
            if held <= self._entities_max:
                return
            held -= len(self._maps.pop(key).ids) + _EMPTY_MAP_ENTITIES


# What a map costs by itself, counted in entities.
_EMPTY_MAP_ENTITIES: Final = 10
