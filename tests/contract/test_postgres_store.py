"""The PostgreSQL store keeps the contract of stores, and what is its own: versions, turns, leases, partitions."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from madang.base.errors import BadRequestData, LimitExceeded, StoreFailed, Unsupported
from madang.store.port import EntityWrite, Seen, Writes
from madang.store.postgres.schema import STEPS
from madang.store.postgres.store import PostgresStore
from madang.testing.postgres import Cluster
from madang.testing.store_contract import Opener, StoreContract, create, entity, opened, set_speed

MONTH_US = 31 * 24 * 3_600 * 1_000_000


def opener_of(url: str) -> Opener:
    async def open_store() -> PostgresStore:
        store = PostgresStore(url)
        await store.open()
        return store

    return open_store


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def opener(self, cluster: Cluster) -> Opener:
        return opener_of(cluster.database())


@pytest.fixture
def opener(cluster: Cluster) -> Opener:
    return opener_of(cluster.database())


async def test_a_newer_schema_is_refused_and_left_as_it_is(cluster: Cluster) -> None:
    url = cluster.database()
    async with opened(opener_of(url)) as hub:
        await hub.create(entity("urn:v:1"))
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE madang.version SET schema = $1", len(STEPS) + 1)
    with pytest.raises(Unsupported, match="newer version of Madang"):
        await opener_of(url)()
    assert await connection.fetchval("SELECT count(*) FROM madang.entity") == 1
    await connection.close()


async def test_workers_that_start_together_make_the_tables_once(cluster: Cluster) -> None:
    opener = opener_of(cluster.database())
    stores = await asyncio.gather(*(opener() for _ in range(5)))
    assert {await store.last_sequence() for store in stores} == {0}
    for store in stores:
        await store.close()


async def test_a_database_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(StoreFailed) as failure:
        await opener_of("postgresql://madang:s3cret@127.0.0.1:1/none")()
    assert "s3cret" not in failure.value.detail


async def test_a_write_by_another_worker_is_seen_by_the_next(opener: Opener) -> None:
    async with opened(opener) as one, opened(opener) as other:
        await one.create(entity("urn:v:1", speed=1))
        assert await other.writer.write("", ["urn:v:1"], set_speed("urn:v:1", 2)) == 1
        assert await one.writer.write("", ["urn:v:1"], set_speed("urn:v:1", 3)) == 2
        assert await other.writer.write("", ["urn:v:1"], set_speed("urn:v:1", 4)) == 3


async def test_writers_at_the_same_time_leave_no_gap_and_lose_nothing(opener: Opener) -> None:
    async with opened(opener) as one, opened(opener) as other:
        await one.create(entity("urn:v:1", speed=0))
        start = await one.store.last_sequence()

        def count(view: object) -> None:
            document = view.entity("urn:v:1")  # type: ignore[attr-defined]
            set_speed("urn:v:1", document["speed"]["value"] + 1)(view)  # type: ignore[arg-type]

        writes = [hub.writer.write("", ["urn:v:1"], count) for _ in range(40) for hub in (one, other)]
        await asyncio.gather(*writes)
        document = (await one.store.documents("", ["urn:v:1"]))["urn:v:1"]
        assert document["speed"]["value"] == 80
        rows = await other.store.changes(start, limit=1_000)
        assert [row.sequence for row in rows] == list(range(start + 1, start + 81))


async def test_a_tenant_made_by_another_worker_can_be_written_to(opener: Opener) -> None:
    async with opened(opener) as one, opened(opener) as other:
        await one.create(entity("urn:v:1"), tenant="songpa")
        await other.writer.tail.current()
        assert other.writer.has_tenant("songpa")
        await other.writer.write("songpa", ["urn:v:2"], create(entity("urn:v:2")))
        assert await one.store.tenants() == ["", "songpa"]


async def test_each_month_has_a_partition(opener: Opener) -> None:
    async with opened(opener) as hub:
        for month in range(3):
            await hub.create(entity(f"urn:v:{month}"))
            hub.clock.advance(MONTH_US / 1_000_000)
        assert isinstance(hub.store, PostgresStore)
        sql = "SELECT count(DISTINCT tableoid) FROM change"
        assert await hub.store.connections.value(sql) == 3
        assert len(await hub.store.changes(0, limit=10)) == 3
        assert await hub.store.check() == []


async def test_a_partition_of_a_group_that_failed_is_made_again(opener: Opener) -> None:
    async with opened(opener) as hub:
        transaction = await hub.store.begin()
        write = EntityWrite("", "urn:v:1", None, entity("urn:v:1"), hub.clock.now_us(), None)
        await transaction.documents("", ["urn:v:1"])
        await transaction.apply(Writes([write]))
        await transaction.rollback()
        await hub.create(entity("urn:v:1"))
        assert (await hub.store.seen()).sequence == 1


async def test_a_lease_has_one_holder_until_it_ends_or_is_given_back(opener: Opener) -> None:
    async with opened(opener) as one, opened(opener) as other:
        assert await one.store.lease("notify", "a", 30.0)
        assert not await other.store.lease("notify", "b", 30.0)
        assert await one.store.lease("notify", "a", 30.0)
        await other.store.release("notify", "b")
        assert not await other.store.lease("notify", "b", 30.0)
        await one.store.release("notify", "a")
        assert await other.store.lease("notify", "b", -1.0)
        assert await one.store.lease("notify", "a", 30.0)


async def test_ids_that_no_index_can_hold_are_refused(opener: Opener) -> None:
    async with opened(opener) as hub:
        with pytest.raises(LimitExceeded, match="bytes"):
            await hub.create(entity("urn:v:" + "가" * 1_000))
        await hub.create(entity("urn:v:" + "a" * 2_300))
        assert await hub.store.check() == []


async def test_a_name_with_u0000_is_refused_and_a_value_with_it_is_kept(opener: Opener) -> None:
    async with opened(opener) as hub:
        with pytest.raises(BadRequestData, match=r"U\+0000"):
            await hub.create(entity("urn:v:1", type="a\0b"))
        document = entity("urn:v:2", note="a\0b", large=10**18, small=1e-300)
        await hub.create(document)
        assert await hub.store.documents("", ["urn:v:2", "urn:v:\0"]) == {"urn:v:2": document}


async def test_what_was_touched_is_told(opener: Opener) -> None:
    async with opened(opener) as hub:
        await hub.create(entity("urn:v:1"), entity("urn:v:2"))
        await hub.writer.write(
            "", (), lambda view: view.put_record("subscription", "s:1", {"n": 1}), records=[("subscription", "s:1")]
        )
        seen = await hub.store.seen()
        assert seen == Seen(3, 0)
        touched = await hub.store.touched(0, 3, entities_max=10)
        assert touched.entities == [("", "urn:v:1"), ("", "urn:v:2")]
        assert [record[1:] for record in touched.records] == [("subscription", "s:1", {"n": 1})]
        many = await hub.store.touched(0, 3, entities_max=1)
        assert many.entities is None
        assert len(many.records) == 1
