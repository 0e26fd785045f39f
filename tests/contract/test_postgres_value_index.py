# SPDX-License-Identifier: Apache-2.0
"""Declared indexes of the PostgreSQL store, with several workers; counting; and questions to many entities."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from madang.base.errors import BadRequestData, TenantNotFound
from madang.base.limits import POSTGRES_KEY_BYTES_MAX
from madang.core.discovery import CountingStore
from madang.model.entity import Document, attributes_of, types_of
from madang.model.jsonld.context import CORE
from madang.model.query import geo, order, q
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery, EntitySelector, Found, TypeSelection
from madang.store.port import EntityWrite, Writes
from madang.store.postgres.connections import Connections
from madang.store.postgres.store import PostgresStore
from madang.testing.postgres import Cluster
from madang.testing.store_contract import Opener, create, entity, of_type, opened, set_speed

MANY = 6_000  # more than any walk, look-up or list of what is kept


def opener_of(url: str) -> Opener:
    async def open_store() -> PostgresStore:
        store = PostgresStore(url)
        await store.open()
        return store

    return open_store


@asynccontextmanager
async def workers(cluster: Cluster) -> AsyncIterator[tuple[Any, Any]]:
    """Two workers on one database."""
    url = cluster.database()
    async with opened(opener_of(url)) as first, opened(opener_of(url)) as second:
        yield first, second


def faster_than(speed: float, **members: Any) -> EntityQuery:
    return EntityQuery(q=q.parse(f"speed>{speed}", CORE), **members)


async def rows_of_index(store: PostgresStore) -> int:
    tables = ("value_number", "value_text", "value_time", "value_box")
    return sum([await store.connections.value(f"SELECT count(*) FROM {table}") for table in tables])  # noqa: S608


async def test_an_index_that_another_worker_dropped_is_not_asked(cluster: Cluster) -> None:
    async with workers(cluster) as (first, second):
        await first.create(entity("urn:v:1", speed=1), entity("urn:v:2", speed=9))
        await first.store.declare_index("", "speed")
        await second.store.seen()
        assert await second.store.indexes("") == ["speed"]
        await first.store.drop_index("", "speed")
        assert await rows_of_index(first.store) == 0
        assert second.store.value_index.declared(1) != {}, "it has not heard of it yet"
        assert (await second.store.find("", faster_than(5))).ids == ["urn:v:2"]
        assert (await second.store.find("", EntityQuery(order=order.parse("speed;desc", CORE)))).ids[0] == "urn:v:2"
        await second.store.seen()
        assert await second.store.indexes("") == []


async def test_every_worker_writes_an_index_that_one_of_them_declares(cluster: Cluster) -> None:
    async with workers(cluster) as (first, second):
        await second.create(entity("urn:v:1", speed=1), entity("urn:v:2", speed=9))

        async def write() -> None:
            for number in range(40):
                await second.writer.write("", ["urn:v:1"], set_speed("urn:v:1", number))
                await second.writer.write("", [f"urn:n:{number}"], create(entity(f"urn:n:{number}", speed=number)))

        writing = asyncio.create_task(write())
        await second.store.documents("", ["urn:v:1"])
        await first.store.declare_index("", "speed")
        await writing
        assert await rows_of_index(first.store) == 42
        found = await first.store.find("", faster_than(38, count=True))
        assert found == Found(["urn:v:1", "urn:n:39"], 2, False)
        generations = (await first.store.seen()).generation
        await second.store.declare_index("", "speed")  # it is there already
        await second.store.drop_index("", "nothing")
        assert (await first.store.seen()).generation == generations


async def test_what_cannot_be_declared(cluster: Cluster) -> None:
    async with opened(opener_of(cluster.database())) as hub:
        for name in ("a\0b", "\ud800"):
            with pytest.raises(BadRequestData):
                await hub.store.declare_index("", name)
            await hub.store.drop_index("", name)
        with pytest.raises(TenantNotFound):
            await hub.store.declare_index("nowhere", "speed")
        assert await hub.store.indexes("nowhere") == []
        await hub.create(entity("urn:v:1", speed=1))  # nobody holds the log


async def test_the_longest_ids_and_texts_fit_into_the_index(cluster: Cluster) -> None:
    long = "urn:v:" + "x" * (POSTGRES_KEY_BYTES_MAX - 6)
    async with opened(opener_of(cluster.database())) as hub:
        await hub.store.declare_index("", "name")
        for number, text in enumerate(("\U0001f68c" * 200, "가" * 200, "z" * 200)):
            document = entity(long[:-1] + str(number), name=text)
            await hub.create(document)
            for compared in ("==", ">=", "<="):
                query = EntityQuery(q=q.parse(f'name{compared}"{text}"', CORE))
                assert document["id"] in (await hub.store.find("", query)).ids


# ---------------------------------------------------------------------- counting


async def test_uses_are_counted_with_the_sequence_of_their_state(cluster: Cluster) -> None:
    several = entity("urn:v:3", speed=3, mixed="\0", note='"type":["')
    several["type"] = ["Vehicle", "Bus"]
    dataset = entity("urn:v:4", text="x\0y")
    dataset["speed"] = [{"type": "Property", "value": 1}, {"type": "GeoProperty", "value": {}, "datasetId": "urn:d"}]
    bus = entity("urn:b:1", "Bus", speed=1, name={"type": "Property"})
    documents = [entity("urn:v:1", speed=1), bus, several, dataset]
    async with opened(opener_of(cluster.database())) as hub:
        assert isinstance(hub.store, CountingStore)
        await hub.create(*documents)
        await hub.create(entity("urn:v:1", other=1), tenant="neighbour")
        sequence, uses = await hub.store.attribute_uses("")
        assert sequence == await hub.store.last_sequence()
        counted = Counter({(types, name, kind): number for types, name, kind, number in uses})
        assert counted == counted_by_walking(documents)
        assert (await hub.store.attribute_uses("nowhere"))[1] == []


def counted_by_walking(documents: list[Document]) -> Counter[tuple[tuple[str, ...], str, str]]:
    return Counter(
        (tuple(types_of(document)), name, instance["type"])
        for document in documents
        for name, instances in attributes_of(document)
        for instance in instances
    )


# ---------------------------------------------------------------------- much


async def test_a_page_of_a_type_is_one_walk_along_an_index(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(opener_of(cluster.database())) as hub:
        await hub.create(*(entity(f"urn:v:{number}", speed=number) for number in range(60)))
        sent: list[str] = []
        look = Connections.observe
        assert look is not None

        def observe(sql: str, *more: Any) -> None:
            sent.append(sql)
            look(sql, *more)

        monkeypatch.setattr(Connections, "observe", staticmethod(observe))
        assert (await hub.store.find("", of_type("Vehicle", offset=10))).ids[0] == "urn:v:10"
        assert len(sent) == 1
        assert isinstance(hub.store, PostgresStore)
        async with hub.store.connections.reading() as connection, connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off")
            await connection.execute("SET LOCAL enable_bitmapscan = off")
            plan = [line for (line,) in await connection.fetch(f"EXPLAIN {sent[0]}", 1, 1, 21, 10)]
        assert any("Index Only Scan using entity_type_page" in line for line in plan), plan
        assert not any("Sort" in line for line in plan), plan


def place(longitude: float, latitude: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [longitude, latitude]}}


def city() -> list[Document]:
    documents = []
    for number in range(MANY):
        document = entity(f"urn:v:{number:05}", ("Vehicle", "Bus", "Tram")[number % 3], speed=(number * 37) % 1000)
        document["location"] = place(126.8 + (number % 80) * 0.005, 37.4 + (number // 80) * 0.004)
        if number % 10 == 0:
            document["speed"] = {"type": "Property", "value": f"text {number}"}
        if number % 10 == 1:
            del document["speed"]
        documents.append(document)
    return documents


def near(distance_m: int) -> Any:
    asked = {"georel": f"near;maxDistance=={distance_m}", "geometry": "Point", "coordinates": "[127,37.5]"}
    return geo.parse(asked, CORE)


def questions() -> list[EntityQuery]:
    bus = (EntitySelector(types=TypeSelection((("Bus",),))),)
    up, down = order.parse("speed", CORE), order.parse("speed;desc", CORE)
    by_place = order.parse("location;dist-asc", CORE, order_from=[127, 37.5])
    texts = (
        "speed>990",
        "speed>100",
        "speed==5000",
        "speed<10|speed>990",
        "speed>100;speed<900",
        'speed>=0|speed~="9"',
    )
    found = [EntityQuery(q=q.parse(text, CORE)) for text in texts]
    found += [EntityQuery(q=q.parse(text, CORE), selectors=bus, order=down) for text in texts]
    found += [EntityQuery(geo=near(distance_m)) for distance_m in (300, 5_000, 50_000)]
    found += [EntityQuery(geo=near(5_000), q=q.parse("speed>500", CORE), order=keys) for keys in (up, by_place)]
    found += [EntityQuery(order=keys, selectors=selectors) for keys in (up, down, by_place) for selectors in ((), bus)]
    found += [EntityQuery(selectors=(EntitySelector(id_pattern=pattern),)) for pattern in ("99$", "^nothing", "5")]
    return found


async def check_all(store: Any, documents: list[Document], ask: Callable[[EntityQuery], EntityQuery]) -> None:
    for query in questions():
        answering = [document for document in documents if matches(query, document)]
        wanted = [document["id"] for document in order.sort(query.order, answering)]
        asked = ask(query)
        end = asked.offset + asked.limit
        count = len(wanted) if asked.count else None
        assert await store.find("", asked) == Found(wanted[asked.offset : end], count, len(wanted) > end), asked


async def test_questions_to_a_city(cluster: Cluster) -> None:
    documents = city()
    async with opened(opener_of(cluster.database())) as hub:
        transaction = await hub.store.begin()
        await transaction.documents("", [document["id"] for document in documents])
        written = [EntityWrite("", document["id"], None, document, 0, None) for document in documents]
        await transaction.apply(Writes(entities=written))
        await transaction.commit()
        asking = [
            lambda query: replace(query, limit=20, offset=0),
            lambda query: replace(query, limit=10, offset=1_500, count=True),
            lambda query: replace(query, limit=1_000, offset=5_500),
        ]
        for ask in asking:
            await check_all(hub.store, documents, ask)
        await give_up_early(hub.store)
        for name in ("speed", "location"):
            await hub.store.declare_index("", name)
        for ask in asking:
            await check_all(hub.store, documents, ask)


async def give_up_early(store: Any) -> None:
    """Ask and go away, sooner and later: no connection stays busy with what nobody waits for."""
    for turns in range(0, 120, 5):
        asking = asyncio.create_task(store.find("", faster_than(100, count=True)))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    found = await asyncio.gather(*(store.find("", of_type("Bus", count=True)) for _ in range(20)))
    assert {page.count for page in found} == {MANY // 3}
