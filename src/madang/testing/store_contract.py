# SPDX-License-Identifier: Apache-2.0
"""What every store must do: a suite that each back-end passes unchanged.

A back-end's test module makes a class that inherits `StoreContract` and gives the fixture `opener`: a callable that
opens a store over the same data each time it is called (so that a test can close and open it again).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from madang.base.clock import FixedClock
from madang.base.errors import AlreadyExists, BadRequestData, TenantNotFound
from madang.base.times import format_date_time
from madang.core.writer import View, Writer
from madang.model.change import Change, EntityCommit, Operation, creation_changes
from madang.model.entity import Document
from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection
from madang.store.port import Store

Opener = Callable[[], Awaitable[Store]]


def entity(id: str, type: str = "Vehicle", **attributes: object) -> Document:
    """Return a document with one Property for each keyword."""
    document: Document = {
        "id": id,
        "type": type,
        "createdAt": "2026-01-01T00:00:00Z",
        "modifiedAt": "2026-01-01T00:00:00Z",
    }
    for name, value in attributes.items():
        document[name] = {"type": "Property", "value": value}
    return document


def create(document: Document) -> Callable[[View], None]:
    """Return a decision that creates the document and refuses when it is there."""

    def decide(view: View) -> None:
        if view.entity(document["id"]) is not None:
            raise AlreadyExists(f"There is an entity {document['id']} already")
        view.create(document)

    return decide


def set_speed(id: str, value: object) -> Callable[[View], object]:
    """Return a decision that writes the attribute `speed` and gives the value it had."""

    def decide(view: View) -> object:
        before = view.entity(id)
        assert before is not None
        instance = {"type": "Property", "value": value, "modifiedAt": view.now}
        change = Change(Operation.ATTRIBUTE_UPDATED, id, "speed", None, None, instance, before.get("speed"))
        view.put(before, {**before, "speed": instance, "modifiedAt": view.now}, [change])
        return before.get("speed", {}).get("value")

    return decide


def delete(id: str) -> Callable[[View], None]:
    def decide(view: View) -> None:
        before = view.entity(id)
        assert before is not None
        view.delete(before, [Change(Operation.ENTITY_DELETED, id)])

    return decide


def of_type(*names: str, limit: int = 20, offset: int = 0, count: bool = False) -> EntityQuery:
    selector = EntitySelector(types=TypeSelection(tuple((name,) for name in names)))
    return EntityQuery(selectors=(selector,), limit=limit, offset=offset, count=count)


class Opened:
    """A store with its writer."""

    def __init__(self, store: Store, writer: Writer, clock: FixedClock) -> None:
        self.store = store
        self.writer = writer
        self.clock = clock

    async def create(self, *documents: Document, tenant: str = "") -> None:
        for document in documents:
            await self.writer.write(tenant, [document["id"]], create(document), create_tenant=True)


@asynccontextmanager
async def opened(opener: Opener) -> AsyncIterator[Opened]:
    """Open the store with a writer, and close both in order."""
    store = await opener()
    clock = FixedClock()
    writer = Writer(store, clock)
    await writer.start()
    try:
        yield Opened(store, writer, clock)
    finally:
        await writer.close()
        await store.close()


class StoreContract:
    """The promises of `madang.store.port` and of the writer over it."""

    @pytest.fixture
    def opener(self) -> Opener:
        raise NotImplementedError

    async def test_a_written_entity_is_read_back_as_it_was(self, opener: Opener) -> None:
        document = entity("urn:v:1", speed=55.5, name='전기 버스 \u0001 "x"', deep={"a": [1, None, {"b": True}]})
        async with opened(opener) as hub:
            await hub.create(document)
            assert await hub.store.documents("", ["urn:v:1", "urn:v:2"]) == {"urn:v:1": document}

    async def test_what_was_acknowledged_is_there_after_reopening(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            await hub.create(entity("urn:v:1", speed=1))
            assert await hub.writer.write("", ["urn:v:1"], set_speed("urn:v:1", 2)) == 1
            last = await hub.store.last_sequence()
        async with opened(opener) as hub:
            found = await hub.store.documents("", ["urn:v:1"])
            assert found["urn:v:1"]["speed"]["value"] == 2
            assert await hub.store.last_sequence() == last
            assert await hub.writer.write("", ["urn:v:1"], set_speed("urn:v:1", 3)) == 2
            assert await hub.store.last_sequence() == last + 1
            assert await hub.store.check() == []

    async def test_sequences_set_aside_for_a_creation_survive_reopening(self, opener: Opener) -> None:
        document = entity("urn:v:1", a=1, b=2, c=3)
        async with opened(opener) as hub:
            await hub.create(document)
            last = await hub.store.last_sequence()
            assert last == len(creation_changes(document))
        async with opened(opener) as hub:
            assert await hub.store.last_sequence() == last
            await hub.create(entity("urn:v:2"))
            assert [row.sequence for row in await hub.store.changes(last, limit=10)] == [last + 1]

    async def test_a_refused_mutation_writes_nothing_and_its_neighbours_are_written(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            await hub.create(entity("urn:v:1"))
            answers = await asyncio.gather(
                hub.writer.write("", ["urn:v:1"], create(entity("urn:v:1", speed=9))),
                hub.writer.write("", ["urn:v:2"], create(entity("urn:v:2"))),
                return_exceptions=True,
            )
            assert isinstance(answers[0], AlreadyExists)
            assert answers[1] is None
            found = await hub.store.documents("", ["urn:v:1", "urn:v:2"])
            assert "speed" not in found["urn:v:1"]
            assert "urn:v:2" in found

    async def test_a_mutation_that_fails_half_way_leaves_no_trace(self, opener: Opener) -> None:
        def decide(view: View) -> None:
            view.create(entity("urn:v:1"))
            view.put_record("note", "n", {"a": 1})
            raise BadRequestData("second thoughts")

        async with opened(opener) as hub:
            with pytest.raises(BadRequestData):
                await hub.writer.write("", ["urn:v:1"], decide)
            assert await hub.store.documents("", ["urn:v:1"]) == {}
            assert await hub.store.record("", "note", "n") is None
            assert await hub.store.last_sequence() == 0

    async def test_mutations_of_one_group_see_each_other_in_order(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            await hub.create(entity("urn:v:1", speed=0))
            before = await asyncio.gather(
                *(hub.writer.write("", ["urn:v:1"], set_speed("urn:v:1", number)) for number in range(1, 51))
            )
            assert before == list(range(50))
            rows = await hub.store.changes(0, limit=1_000)
            values = [row.change.value["value"] for row in rows if row.change.attribute == "speed" and row.change.value]
            assert values == list(range(51))

    async def test_delete_then_create_again_keeps_the_log_and_the_page_true(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            await asyncio.gather(
                hub.writer.write("", ["urn:v:1"], create(entity("urn:v:1"))),
                hub.writer.write("", ["urn:v:1"], delete("urn:v:1")),
            )
            assert (await hub.store.find("", of_type("Vehicle", count=True))).count == 0
            assert await hub.store.documents("", ["urn:v:1"]) == {}
            await hub.create(entity("urn:v:1", "Bus"))
            assert (await hub.store.find("", of_type("Vehicle"))).ids == []
            assert (await hub.store.find("", of_type("Bus"))).ids == ["urn:v:1"]
            operations = [row.change.operation for row in await hub.store.changes(0, limit=10)]
            assert operations == [Operation.ENTITY_CREATED, Operation.ENTITY_DELETED, Operation.ENTITY_CREATED]
            assert await hub.store.check() == []

    async def test_the_log_gives_the_changes_that_the_listeners_were_handed(self, opener: Opener) -> None:
        heard: list[EntityCommit] = []
        async with opened(opener) as hub:
            hub.writer.subscribe(heard.extend)
            await hub.create(entity("urn:v:1", speed=1, brand="현대"), entity("urn:v:2", speed=5))
            await hub.writer.write("", ["urn:v:1"], set_speed("urn:v:1", 2))
            rows = await hub.store.changes(0, limit=100)
            assert [(row.sequence, row.commit) for row in rows] == [
                (commit.commit + number, commit.commit) for commit in heard for number in range(len(commit.changes))
            ]
            assert [row.change for row in rows] == [
                change._replace(previous=None) for commit in heard for change in commit.changes
            ]
            assert heard[-1].sequence_last == rows[-1].sequence

    async def test_a_listener_that_fails_neither_undoes_nor_repeats_a_write(self, opener: Opener) -> None:
        def fail(_: object) -> None:
            raise ValueError("a listener's mistake")

        heard: list[EntityCommit] = []
        async with opened(opener) as hub:
            hub.writer.subscribe(fail)
            hub.writer.subscribe(heard.extend)
            await asyncio.gather(hub.create(entity("urn:v:1")), hub.create(entity("urn:v:2")))
            assert sorted(commit.entity for commit in heard) == ["urn:v:1", "urn:v:2"]
            assert len(await hub.store.changes(0, limit=10)) == 2

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    async def test_the_log_can_be_read_in_pieces_of_any_size(self, opener: Opener, limit: int) -> None:
        async with opened(opener) as hub:
            await hub.create(*(entity(f"urn:v:{number}", a=number, b=number) for number in range(4)))
            whole = await hub.store.changes(0, limit=1_000)
            pieces = []
            after = 0
            while piece := await hub.store.changes(after, limit=limit):
                pieces += piece
                after = piece[-1].sequence
            assert pieces == whole
            assert [row.sequence for row in whole] == list(range(1, len(whole) + 1))

    async def test_tenants_are_apart(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            await hub.create(entity("urn:v:1", speed=1))
            await hub.create(entity("urn:v:1", speed=2), tenant="songpa")
            assert await hub.store.tenants() == ["", "songpa"]
            assert (await hub.store.documents("songpa", ["urn:v:1"]))["urn:v:1"]["speed"]["value"] == 2
            assert (await hub.store.documents("", ["urn:v:1"]))["urn:v:1"]["speed"]["value"] == 1
            assert (await hub.store.find("nowhere", of_type("Vehicle"))).ids == []
            with pytest.raises(TenantNotFound):
                await hub.writer.write("nowhere", ["urn:v:1"], create(entity("urn:v:1")))
            assert await hub.store.tenants() == ["", "songpa"]

    async def test_pages_follow_the_order_of_creation_and_say_whether_more_comes(self, opener: Opener) -> None:
        ids = [f"urn:v:{number}" for number in (5, 3, 9, 1, 7)]
        async with opened(opener) as hub:
            await hub.create(*(entity(id) for id in ids), entity("urn:b:1", "Bus"))
            first = await hub.store.find("", of_type("Vehicle", limit=2))
            assert (first.ids, first.more) == (ids[:2], True)
            last = await hub.store.find("", of_type("Vehicle", limit=2, offset=4, count=True))
            assert (last.ids, last.more, last.count) == (ids[4:], False, 5)
            nothing = await hub.store.find("", of_type("Vehicle", limit=0, count=True))
            assert (nothing.ids, nothing.count) == ([], 5)
            assert await hub.store.type_names("") == [("Bus", 1), ("Vehicle", 5)]

    async def test_several_types_give_an_entity_once(self, opener: Opener) -> None:
        document = entity("urn:v:1")
        document["type"] = ["Vehicle", "Bus"]
        async with opened(opener) as hub:
            await hub.create(document, entity("urn:v:2", "Bus"))
            found = await hub.store.find("", of_type("Vehicle", "Bus", count=True))
            assert (found.ids, found.count) == (["urn:v:1", "urn:v:2"], 2)

    async def test_records_are_kept_replaced_listed_and_deleted(self, opener: Opener) -> None:
        def put(id: str, body: object, *, logged: bool = True) -> Callable[[View], None]:
            return lambda view: view.put_record("subscription", id, body, logged=logged)

        async with opened(opener) as hub:
            await hub.writer.write("", [], put("s:2", {"n": 1}))
            await hub.writer.write("seoul", [], put("s:1", {"n": 2}), create_tenant=True)
            last = await hub.store.last_sequence()
            await hub.writer.write("", [], put("s:2", {"n": 3}, logged=False))
            assert await hub.store.last_sequence() == last
            assert await hub.store.records("subscription") == [("", "s:2", {"n": 3}), ("seoul", "s:1", {"n": 2})]
            assert await hub.store.records("subscription", tenant="seoul") == [("seoul", "s:1", {"n": 2})]
            rows = await hub.store.changes(0, limit=10)
            assert [(row.change.operation, row.change.entity, row.change.attribute) for row in rows] == [
                (Operation.RECORD_PUT, "s:2", "subscription"),
                (Operation.RECORD_PUT, "s:1", "subscription"),
            ]
            await hub.writer.write(
                "", [], lambda view: view.delete_record("subscription", "s:2"), records=[("subscription", "s:2")]
            )
            assert await hub.store.record("", "subscription", "s:2") is None

    async def test_bookmarks_move_and_survive(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            assert await hub.store.bookmark("notify") == 0
            await hub.writer.write("", [], lambda view: view.bookmark("notify", 17))
        async with opened(opener) as hub:
            assert await hub.store.bookmark("notify") == 17

    async def test_expired_entities_are_found(self, opener: Opener) -> None:
        soon = format_date_time(2_000_000)
        later = format_date_time(9_000_000)
        attribute = entity("urn:v:2", speed=1)
        attribute["speed"]["expiresAt"] = soon
        async with opened(opener) as hub:
            await hub.create({**entity("urn:v:1"), "expiresAt": later}, attribute, entity("urn:v:3"))
            below = entity("urn:v:4", speed=1)
            below["speed"]["accuracy"] = {"type": "Property", "value": 1, "expiresAt": format_date_time(10_000_000)}
            await hub.create(below)
            assert await hub.store.expired(1_999_999, limit=10) == []
            assert await hub.store.expired(2_000_000, limit=10) == [("", "urn:v:2")]
            assert await hub.store.expired(9_000_000, limit=10) == [("", "urn:v:2"), ("", "urn:v:1")]
            assert [id for _, id in await hub.store.expired(10_000_000, limit=10)][2:] == ["urn:v:4"]

    async def test_the_size_is_that_of_what_is_there_now(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            empty = await hub.store.size()
            assert empty.entities == 0
            await hub.create(entity("urn:v:1", speed=1), entity("urn:v:2"))
            full = await hub.store.size()
            assert full.entities == 2
            assert full.changes == await hub.store.last_sequence() > empty.changes
            assert full.size_bytes > 0

            def delete(view: View) -> None:
                before = view.entity("urn:v:1")
                assert before is not None
                view.delete(before, [Change(Operation.ENTITY_DELETED, "urn:v:1")])

            await hub.writer.write("", ["urn:v:1"], delete)
            assert (await hub.store.size()).entities == 1

    async def test_many_readers_see_whole_groups_only(self, opener: Opener) -> None:
        """Two entities are always written together; no reader may see one without the other."""

        def both(number: int) -> Callable[[View], None]:
            def decide(view: View) -> None:
                for id in ("urn:v:1", "urn:v:2"):
                    set_speed(id, number)(view)

            return decide

        async with opened(opener) as hub:
            await hub.create(entity("urn:v:1", speed=0), entity("urn:v:2", speed=0))

            async def write() -> None:
                for number in range(100):
                    await hub.writer.write("", ["urn:v:1", "urn:v:2"], both(number))

            async def read() -> None:
                for _ in range(100):
                    found = await hub.store.documents("", ["urn:v:1", "urn:v:2"])
                    assert found["urn:v:1"]["speed"]["value"] == found["urn:v:2"]["speed"]["value"]
                    await asyncio.sleep(0)

            await asyncio.gather(write(), read(), read())
