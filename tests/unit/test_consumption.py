# SPDX-License-Identifier: Apache-2.0
"""Reading entities through the core: what is found, what is cached, and that it is never stale."""

from __future__ import annotations

import asyncio

import pytest

from madang.base.clock import FixedClock
from madang.base.errors import NotFound, TenantNotFound
from madang.base.times import format_date_time
from madang.core.consumption import Consumption
from madang.model.jsonld.context import CORE
from madang.model.query import q
from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection
from madang.testing.memory import Commits, Memory, entity, relationship


@pytest.fixture
def store() -> Memory:
    return Memory()


@pytest.fixture
def writer(store: Memory) -> Commits:
    return Commits(store)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def consumption(store: Memory, writer: Commits, clock: FixedClock) -> Consumption:
    return Consumption(store, clock, writer)


async def test_an_entity_is_read_once_and_then_known(store: Memory, writer: Commits, consumption: Consumption) -> None:
    writer.put(entity("urn:a", p=1))
    assert await consumption.retrieve("", "urn:a") == entity("urn:a", p=1)
    assert await consumption.retrieve("", "urn:a") == entity("urn:a", p=1)
    assert store.calls["documents"] == 1


async def test_a_commit_is_seen_at_once(writer: Commits, consumption: Consumption) -> None:
    writer.put(entity("urn:a", p=1))
    await consumption.retrieve("", "urn:a")
    writer.put(entity("urn:a", p=2))
    assert (await consumption.retrieve("", "urn:a"))["p"]["value"] == 2
    writer.delete("urn:a")
    with pytest.raises(NotFound):
        await consumption.retrieve("", "urn:a")


async def test_a_read_that_a_commit_overtakes_is_not_kept(
    store: Memory, writer: Commits, consumption: Consumption
) -> None:
    writer.put(entity("urn:a", p=1))
    store.gate = asyncio.Event()
    reading = asyncio.create_task(consumption.retrieve("", "urn:a"))
    await store.waiting.wait()
    writer.put(entity("urn:a", p=2))
    store.gate.set()
    await reading
    store.gate = None
    assert (await consumption.retrieve("", "urn:a"))["p"]["value"] == 2


async def test_a_store_that_others_write_to_is_always_asked() -> None:
    store = Memory(exclusive=False)
    writer = Commits(store)
    consumption = Consumption(store, FixedClock(), writer)
    writer.put(entity("urn:a", p=1))
    await consumption.retrieve("", "urn:a")
    store.entities[""]["urn:a"] = entity("urn:a", p=2)
    assert (await consumption.retrieve("", "urn:a"))["p"]["value"] == 2


async def test_the_cache_is_bounded(store: Memory, writer: Commits, clock: FixedClock) -> None:
    consumption = Consumption(store, clock, writer, cache_bytes_max=20_000)
    for number in range(100):
        writer.put(entity(f"urn:{number}", p="x" * 50))
        await consumption.retrieve("", f"urn:{number}")
    assert 0 < len(consumption._cache) < 20
    assert consumption._cache_bytes <= 20_000
    assert consumption._cache_bytes == sum(cached.weight_bytes for cached in consumption._cache.values())


async def test_unknown_tenants_and_ids(consumption: Consumption, writer: Commits) -> None:
    with pytest.raises(TenantNotFound):
        await consumption.retrieve("nobody", "urn:a")
    with pytest.raises(TenantNotFound):
        await consumption.find("nobody", EntityQuery())
    with pytest.raises(NotFound):
        await consumption.retrieve("", "urn:a")
    writer.put(entity("urn:a"), tenant="nobody")
    assert (await consumption.retrieve("nobody", "urn:a"))["id"] == "urn:a"
    with pytest.raises(NotFound):
        await consumption.retrieve("", "urn:a")


async def test_what_expires_while_it_is_cached_is_left_out(
    writer: Commits, consumption: Consumption, clock: FixedClock
) -> None:
    soon = format_date_time(clock.now_us() + 5_000_000)
    writer.put({**entity("urn:a", p=1), "expiresAt": soon})
    writer.put(entity("urn:b", p=1, q={"type": "Property", "value": 2, "expiresAt": soon}))
    assert (await consumption.find("", EntityQuery())).documents != []
    clock.advance(5)
    with pytest.raises(NotFound):
        await consumption.retrieve("", "urn:a")
    assert await consumption.retrieve("", "urn:b") == entity("urn:b", p=1)


async def test_a_page_with_something_expired_is_swept_and_filled(
    store: Memory, writer: Commits, clock: FixedClock
) -> None:
    async def sweep() -> int:
        writer.delete("urn:a")
        return 1

    consumption = Consumption(store, clock, writer, sweep=sweep)
    writer.put({**entity("urn:a"), "expiresAt": format_date_time(clock.now_us())})
    for id in ("urn:b", "urn:c", "urn:d"):
        writer.put(entity(id))
    page = await consumption.find("", EntityQuery(limit=2, count=True))
    assert [document["id"] for document in page.documents] == ["urn:b", "urn:c"]
    assert (page.total, page.more) == (3, True)


async def test_an_offset_behind_the_end_gives_the_last_match(writer: Commits, consumption: Consumption) -> None:
    for id in ("urn:a", "urn:b"):
        writer.put(entity(id))
    assert (await consumption.find_ids("", EntityQuery(offset=7))).ids == ["urn:b"]
    nothing = EntityQuery(selectors=(EntitySelector(ids=("urn:x",)),), offset=7)
    assert (await consumption.find_ids("", nothing)).ids == []


class TestQueriesAboutLinkedEntities:
    @pytest.fixture(autouse=True)
    def entities(self, writer: Commits) -> None:
        writer.put(entity("urn:house:1", "House", owner=relationship("urn:person:1"), size=1))
        writer.put(entity("urn:house:2", "House", owner=relationship("urn:person:2"), size=2))
        writer.put(entity("urn:house:3", "House", owner=relationship("urn:gone", "urn:person:1"), size=3))
        writer.put(entity("urn:house:4", "House", size=4))
        writer.put(entity("urn:person:1", "Person", name="Kim", lives=relationship("urn:city:1")))
        writer.put(entity("urn:person:2", "Person", name="Lee", lives=relationship("urn:city:1")))
        writer.put(entity("urn:city:1", "City", name="Daejeon"))

    async def _ids(self, consumption: Consumption, text: str, *, limit: int = 20, offset: int = 0) -> list[str]:
        houses = (EntitySelector(types=TypeSelection((("House",),))),)
        query = EntityQuery(selectors=houses, q=q.parse(text, CORE), limit=limit, offset=offset)
        return (await consumption.find_ids("", query)).ids

    async def test_one_relationship(self, consumption: Consumption) -> None:
        assert await self._ids(consumption, 'owner{name}=="Kim"') == ["urn:house:1", "urn:house:3"]

    async def test_two_relationships(self, consumption: Consumption) -> None:
        found = await self._ids(consumption, 'owner{lives{name}}=="Daejeon"')
        assert found == ["urn:house:1", "urn:house:2", "urn:house:3"]

    async def test_together_with_terms_of_the_entity_itself(self, consumption: Consumption) -> None:
        assert await self._ids(consumption, 'owner{name}=="Kim";size>1') == ["urn:house:3"]
        assert await self._ids(consumption, 'owner{name}=="Kim"|size==4') == [
            "urn:house:1",
            "urn:house:3",
            "urn:house:4",
        ]

    async def test_pages_and_counts(self, consumption: Consumption) -> None:
        assert await self._ids(consumption, 'owner{lives{name}}=="Daejeon"', limit=1, offset=1) == ["urn:house:2"]
        query = EntityQuery(q=q.parse('owner{name}=="Kim"', CORE), limit=1, count=True)
        found = await consumption.find_ids("", query)
        assert (found.ids, found.count, found.more) == (["urn:house:1"], 2, True)

    async def test_known_candidates_are_filtered_in_their_order(self, consumption: Consumption) -> None:
        query = EntityQuery(q=q.parse('owner{name}=="Kim";size<9', CORE))
        ids = ["urn:house:3", "urn:house:2", "urn:missing", "urn:house:1"]
        found = await consumption.filter("", query, ids)
        assert [document["id"] for document in found] == ["urn:house:3", "urn:house:1"]
