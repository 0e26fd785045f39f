# SPDX-License-Identifier: Apache-2.0
"""Entity maps as records, for a store that several workers share: any of them serves a map, whoever made it.

A map is a head and parts with the ids; all lie in the default tenant, beside a record that counts what they hold
together. They are not logged: a map is neither history nor news. The heads are read each time, so that an expiry or a
deletion counts at once everywhere; the ids are kept in memory while the version in the head stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from madang.base.limits import ENTITY_MAP_PART_ENTITIES, ENTITY_MAPS_REMOVED_AT_ONCE
from madang.core.entity_map import EntityMap, cost
from madang.model.query.kept import query_as_json, query_from_json

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.writer import View, Writer
    from madang.store.port import Store

HEAD: Final = "entity-map"
PART: Final = "entity-map-part"
TOTAL: Final = ("entity-map-total", "all")
# How full it is after room was made: so that not every new map has to look at all others.
_ROOM_LEFT: Final = 0.9


class EntityMapRecords:
    """The shelf of entity maps in the store."""

    def __init__(self, store: Store, writer: Writer, clock: Clock, entities_max: int) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._entities_max = entities_max
        self._known: dict[str, tuple[int, EntityMap]] = {}  # by record id, with the version

    async def put(self, tenant: str, made: EntityMap) -> None:
        key = _key(tenant, made.id)
        ids = list(made.ids)
        parts = [ids[at : at + ENTITY_MAP_PART_ENTITIES] for at in range(0, len(ids), ENTITY_MAP_PART_ENTITIES)]
        head: dict[str, Any] = {
            "tenant": tenant,
            "id": made.id,
            "expires_us": made.expires_us,
            "cost": cost(len(ids)),
            "parts": len(parts),
            "version": 0,
            "query": None if made.query is None else query_as_json(made.query),
            "owner": made.owner,
        }

        def decide(view: View) -> int:
            view.put_record(HEAD, key, head, logged=False)
            for number, part in enumerate(parts):
                view.put_record(PART, f"{key} {number}", part, logged=False)
            return _count(view, head["cost"])

        if await self._writer.write("", (), decide, records=[TOTAL]) > self._entities_max:
            await self._make_room(key)
        self._remember(key, 0, made)

    async def get(self, tenant: str, id: str) -> EntityMap | None:
        key = _key(tenant, id)
        head = await self._store.record("", HEAD, key)
        if head is None:
            self._known.pop(key, None)
            return None
        version, known = self._known.get(key, (-1, None))
        if known is None or version != head["version"]:
            ids: dict[str, None] = {}
            for number in range(head["parts"]):
                part = await self._store.record("", PART, f"{key} {number}")
                if part is None:
                    return None  # removed just now
                ids.update(dict.fromkeys(part))
            query = None if head["query"] is None else query_from_json(head["query"])
            known = EntityMap(id, head["expires_us"], ids, query, head.get("owner"))
            self._remember(key, head["version"], known)
        known.expires_us = head["expires_us"]
        return known

    async def prolong(self, tenant: str, found: EntityMap) -> None:
        key = _key(tenant, found.id)

        def decide(view: View) -> None:
            head = view.record(HEAD, key)
            if head is not None:
                view.put_record(HEAD, key, {**head, "expires_us": found.expires_us}, logged=False)

        await self._writer.write("", (), decide, records=[(HEAD, key)])

    async def prune(self, tenant: str, found: EntityMap, out: Sequence[str]) -> None:
        key = _key(tenant, found.id)
        head = await self._store.record("", HEAD, key)
        if head is None:
            return
        parts = [(PART, f"{key} {number}") for number in range(head["parts"])]
        leaving = frozenset(out)

        def decide(view: View) -> int | None:
            now = view.record(HEAD, key)
            if now is None:
                return None
            for kind, id in parts:
                part = view.record(kind, id) or []
                if not leaving.isdisjoint(part):
                    view.put_record(kind, id, [each for each in part if each not in leaving], logged=False)
            changed = {**now, "version": now["version"] + 1}
            view.put_record(HEAD, key, changed, logged=False)
            return int(changed["version"])

        version = await self._writer.write("", (), decide, records=[(HEAD, key), *parts])
        known = self._known.get(key)
        if known is not None and known[1] is found and version == known[0] + 1:
            self._known[key] = (version, found)

    async def remove(self, tenant: str, id: str) -> None:
        key = _key(tenant, id)
        head = await self._store.record("", HEAD, key)
        if head is not None:
            await self._remove({key: head})

    def forget_tenant(self, tenant: str) -> None:
        """Drop what is in memory; the records go when they expire."""
        for key in [key for key in self._known if key.startswith(_key(tenant, ""))]:
            del self._known[key]

    async def sweep(self) -> None:
        heads = await self._heads()
        await self._remove({key: head for key, head in heads.items() if head["expires_us"] <= self._clock.now_us()})

    async def _make_room(self, newest: str) -> None:
        heads = await self._heads()
        now_us = self._clock.now_us()
        held = sum(head["cost"] for head in heads.values())
        wanted = max(self._entities_max * _ROOM_LEFT, heads[newest]["cost"] if newest in heads else 0)
        leaving: dict[str, Any] = {}
        for key in sorted(heads, key=lambda key: heads[key]["expires_us"]):
            if key != newest and (held > wanted or heads[key]["expires_us"] <= now_us):
                leaving[key] = heads[key]
                held -= heads[key]["cost"]
        await self._remove(leaving)

    async def _heads(self) -> dict[str, Any]:
        return {key: head for _, key, head in await self._store.records(HEAD, tenant="")}

    async def _remove(self, heads: dict[str, Any]) -> None:
        keys = list(heads)
        for start in range(0, len(keys), ENTITY_MAPS_REMOVED_AT_ONCE):
            some = keys[start : start + ENTITY_MAPS_REMOVED_AT_ONCE]

            def decide(view: View, some: Sequence[str] = tuple(some)) -> None:
                gone = 0
                for key in some:
                    if view.record(HEAD, key) is None:
                        continue  # another worker was first
                    gone += heads[key]["cost"]
                    view.delete_record(HEAD, key, logged=False)
                    for number in range(heads[key]["parts"]):
                        view.delete_record(PART, f"{key} {number}", logged=False)
                _count(view, -gone)

            await self._writer.write("", (), decide, records=[TOTAL, *((HEAD, key) for key in some)])
        for key in keys:
            self._known.pop(key, None)

    def _remember(self, key: str, version: int, found: EntityMap) -> None:
        self._known.pop(key, None)
        self._known[key] = (version, found)
        held = sum(cost(len(each.ids)) for _, each in self._known.values())
        while held > self._entities_max and len(self._known) > 1:
            _, oldest = self._known.pop(next(iter(self._known)))
            held -= cost(len(oldest.ids))


def _count(view: View, more: int) -> int:
    """Add to what all maps hold together, and return it."""
    total = int((view.record(*TOTAL) or {"entities": 0})["entities"]) + more
    view.put_record(*TOTAL, {"entities": total}, logged=False)
    return total


def _key(tenant: str, id: str) -> str:
    return f"{tenant} {id}"
