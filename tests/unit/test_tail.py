"""The tail: no request sees less than what was acknowledged before it came, and looks are shared."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.clock import FixedClock
from madang.base.errors import StoreFailed
from madang.core.consumption import Consumption
from madang.core.discovery import Discovery
from madang.core.tail import Tail
from madang.core.writer import Writer
from madang.model.change import Change, Operation
from madang.model.entity import Json
from madang.ngsild.rendered import Rendered
from madang.store.port import Capabilities, EntityWrite, RecordWrite, Seen, Store, Touched, TouchedRecord, Writes
from madang.testing.memory import Commits, Memory, entity
from madang.wire.http import Response

SHARED = Capabilities(exclusive=False, durable=True, workers_many=True)
ALONE = Capabilities(exclusive=True, durable=True, workers_many=False)
Row = tuple[str, str, str, Json | None]  # tenant, kind ("" for an entity), id, body


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@dataclass
class Log:
    """A store of which only the log is there. Each answer takes as many turns of the loop as `turns` says."""

    capabilities: Capabilities = SHARED
    rows: list[Row] = field(default_factory=list)
    generation: int = 0
    turns: list[int] = field(default_factory=list)
    looks: int = 0
    fails: bool = False
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)  # the turn of writers

    async def _wait(self) -> None:
        await steps(self.turns.pop() if self.turns else 1)

    async def seen(self) -> Seen:
        self.looks += 1
        await self._wait()
        seen = Seen(len(self.rows), self.generation)
        await self._wait()
        if self.fails:
            raise StoreFailed("away")
        return seen

    async def touched(self, after: int, up_to: int, *, entities_max: int) -> Touched:
        await self._wait()
        rows = self.rows[after:up_to]
        entities = list(dict.fromkeys((tenant, id) for tenant, kind, id, _ in rows if not kind))
        records = [TouchedRecord(tenant, kind, id, body) for tenant, kind, id, body in rows if kind]
        return Touched(entities if len(entities) <= entities_max else None, records)

    async def tenants(self) -> list[str]:
        await self._wait()
        return ["", *(f"t{number}" for number in range(self.generation))]

    async def records(self, kind: str, *, tenant: str | None = None) -> list[tuple[str, str, Json]]:  # noqa: ARG002
        return []

    # what another process does

    async def write_elsewhere(self, *rows: Row) -> None:
        async with self.busy:
            await self._wait()
            self.rows += rows
            await self._wait()

    # what this process's writer needs

    async def begin(self) -> Turn:
        await self.busy.acquire()
        await self._wait()
        return Turn(self)


class Turn:
    def __init__(self, log: Log) -> None:
        self._log = log
        self._rows: list[Row] = []
        self.seen = self.reached = Seen(len(log.rows), log.generation)

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Json]:  # noqa: ARG002
        return {}

    async def record(self, tenant: str, kind: str, id: str) -> Json | None:
        found = [body for one, what, name, body in self._log.rows if (one, what, name) == (tenant, kind, id)]
        return found[-1] if found else None

    async def apply(self, writes: Writes) -> int:
        await self._log._wait()
        for write in writes.entities:
            self._rows += [(write.tenant, "", write.entity, None)] * len(write.changes or ())
        self._rows += [(each.tenant, each.kind, each.id, each.body) for each in writes.records if each.logged]
        self.reached = Seen(self.seen.sequence + len(self._rows), self.seen.generation)
        return self.seen.sequence + 1

    async def commit(self) -> None:
        await self._log._wait()
        self._log.rows += self._rows
        await self._log._wait()
        self._log.busy.release()

    async def rollback(self) -> None:
        self._log.busy.release()


@dataclass
class Copy:
    """What a room keeps of the records of a kind, and of which entities it was told."""

    records: dict[str, Json] = field(default_factory=dict)
    told: list[tuple[str, Json | None]] = field(default_factory=list)
    entities: list[tuple[str, str]] = field(default_factory=list)
    everything: int = 0

    def follow(self, tail: Tail) -> Copy:
        tail.on_records("k", self.on_record)
        tail.on_entities(self.on_entities)
        return self

    def on_record(self, tenant: str, id: str, body: Json | None) -> None:
        assert tenant == ""
        self.told.append((id, body))
        self.records[id] = body

    def on_entities(self, entities: Sequence[tuple[str, str]] | None) -> None:
        if entities is None:
            self.everything += 1
        else:
            self.entities += entities


def tail_of(log: Log) -> Tail:
    return Tail(cast("Store", log))


async def within(work: Any) -> Any:
    """No deadlock: whatever it is, it ends."""
    async with asyncio.timeout(10):
        return await work


@settings(deadline=None, max_examples=150)
@given(
    actions=st.lists(st.tuples(st.sampled_from(["write", "elsewhere", "read"]), st.integers(0, 6)), max_size=40),
    turns=st.lists(st.integers(0, 5), max_size=80),
)
def test_a_request_sees_all_that_was_acknowledged_before_it_came(
    actions: list[tuple[str, int]], turns: list[int]
) -> None:
    async def work() -> None:
        log = Log(turns=turns)
        writer = Writer(cast("Store", log), FixedClock())
        copy = Copy().follow(writer.tail)
        await writer.start()
        acknowledged = 0  # numbers of the writes that have been answered, the highest of them
        begun = 0

        async def write() -> None:
            nonlocal acknowledged, begun
            begun += 1
            number = begun
            await writer.write("", (), lambda view: view.put_record("k", str(number), number))
            acknowledged = max(acknowledged, number)
            assert copy.records[str(number)] == number, "what we wrote ourselves is told before the answer"
            answered.add(number)

        async def elsewhere() -> None:
            nonlocal begun
            begun += 1
            number = begun
            await log.write_elsewhere(("", "k", str(number), number))
            answered.add(number)

        async def read() -> None:
            expected = set(answered)
            await writer.tail.current()
            assert expected <= {int(id) for id in copy.records}

        answered: set[int] = set()
        verbs = {"write": write, "elsewhere": elsewhere, "read": read}
        tasks = []
        for verb, pause in actions:
            tasks.append(asyncio.create_task(verbs[verb]()))
            await steps(pause)
        await within(asyncio.gather(*tasks))
        await within(read())
        assert copy.told == [(id, body) for _, _, id, body in log.rows], "each record once, in the order of the log"
        await within(writer.close())

    asyncio.run(work())


async def test_those_who_come_together_look_together() -> None:
    log = Log()
    tail = tail_of(log)
    await tail.start()
    log.looks = 0
    await within(asyncio.gather(*(tail.current() for _ in range(100))))
    assert log.looks <= 2
    await within(tail.current())
    assert log.looks <= 3


async def test_who_comes_while_a_look_is_under_way_waits_for_the_next() -> None:
    log = Log(turns=[])
    tail = tail_of(log)
    copy = Copy().follow(tail)
    await tail.start()
    log.turns = [1, 1, 0, 30]  # the answer of the first look is on its way for long
    first = asyncio.create_task(tail.current())
    await steps(10)
    await log.write_elsewhere(("", "k", "x", 1))
    await within(asyncio.gather(first, tail.current()))
    assert copy.records == {"x": 1}


async def test_a_failure_is_told_to_all_who_wait_and_to_nobody_after() -> None:
    log = Log()
    tail = tail_of(log)
    copy = Copy().follow(tail)
    await tail.start()
    log.fails = True
    answers = await within(asyncio.gather(*(tail.current() for _ in range(5)), return_exceptions=True))
    assert all(isinstance(answer, StoreFailed) for answer in answers)
    log.fails = False
    await log.write_elsewhere(("", "k", "x", 1))
    await within(tail.current())
    assert copy.records == {"x": 1}


async def test_somebody_who_leaves_does_not_take_the_look_along() -> None:
    log = Log()
    tail = tail_of(log)
    copy = Copy().follow(tail)
    await tail.start()
    await log.write_elsewhere(("", "k", "x", 1))
    leaving = asyncio.create_task(tail.current())
    staying = asyncio.create_task(tail.current())
    await steps(1)
    leaving.cancel()
    await within(staying)
    assert copy.records == {"x": 1}


async def test_too_many_entities_are_told_as_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madang.core.tail.TAIL_ENTITIES_MAX", 3)
    log = Log()
    tail = tail_of(log)
    copy = Copy().follow(tail)
    await tail.start()
    await log.write_elsewhere(*(("", "", f"urn:{number}", None) for number in range(3)))
    await within(tail.current())
    assert (len(copy.entities), copy.everything) == (3, 0)
    await log.write_elsewhere(*(("", "", f"urn:{number}", None) for number in range(4)))
    await within(tail.current())
    assert copy.everything == 1


async def test_tenants_are_told_when_their_number_has_changed() -> None:
    log = Log()
    tail = tail_of(log)
    told: list[Sequence[str]] = []
    tail.on_tenants(told.append)
    await tail.start()
    await within(tail.current())
    assert told == []
    log.generation = 1
    await within(tail.current())
    assert told == [["", "t0"]]


async def test_a_listeners_mistake_neither_stops_the_others_nor_repeats_the_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log()
    writer = Writer(cast("Store", log), FixedClock())

    def broken(*_: object) -> None:
        raise ValueError("broken")

    writer.tail.on_records("k", broken)
    copy = Copy().follow(writer.tail)
    await writer.start()
    with caplog.at_level(logging.CRITICAL):
        await within(writer.write("", (), lambda view: view.put_record("k", "x", 1)))
        await log.write_elsewhere(("", "k", "y", 2))
        await within(writer.tail.current())
    assert copy.records == {"x": 1, "y": 2}
    assert len(log.rows) == 2
    await within(writer.close())


async def test_nobody_is_asked_in_an_exclusive_store_but_own_records_are_told() -> None:
    log = Log(capabilities=ALONE)
    writer = Writer(cast("Store", log), FixedClock())
    copy = Copy().follow(writer.tail)
    await writer.start()
    log.looks = 0
    await within(writer.tail.current())
    await within(writer.write("", (), lambda view: view.put_record("k", "x", 1)))
    await within(writer.write("", (), lambda view: view.put_record("k", "y", 1, logged=False)))
    assert (log.looks, copy.records) == (0, {"x": 1})
    await within(writer.close())


# ------------------------------------------------------------------ what is kept of entities


class Elsewhere(Commits):
    """A Memory that another process writes to, and the tail that tells of it."""

    def __init__(self) -> None:
        self.store = Memory(exclusive=False)
        super().__init__(self.store)
        self.log = Log()
        self.tail = tail_of(self.log)

    async def write(self, document: Json) -> None:
        self.store.entities[""][document["id"]] = document
        await self.log.write_elsewhere(("", "", document["id"], None))
        await self.tail.current()


async def test_a_document_is_kept_until_another_process_writes_it() -> None:
    other = Elsewhere()
    await other.tail.start()
    consumption = Consumption(other.store, FixedClock(), other, tail=other.tail)
    await other.write(entity("urn:1", speed=1))
    for _ in range(3):
        assert (await consumption.retrieve("", "urn:1"))["speed"]["value"] == 1
    assert other.store.calls["documents"] == 1
    await other.write(entity("urn:1", speed=2))
    assert (await consumption.retrieve("", "urn:1"))["speed"]["value"] == 2


async def test_what_was_read_before_a_foreign_write_is_not_kept_after_it() -> None:
    other = Elsewhere()
    await other.tail.start()
    consumption = Consumption(other.store, FixedClock(), other, tail=other.tail)
    await other.write(entity("urn:1", speed=1))
    other.store.gate = asyncio.Event()
    slow = asyncio.create_task(consumption.retrieve("", "urn:1"))
    await other.store.waiting.wait()
    await other.write(entity("urn:1", speed=2))
    other.store.gate.set()
    assert (await slow)["speed"]["value"] == 1, "it was asked before"
    assert (await consumption.retrieve("", "urn:1"))["speed"]["value"] == 2


async def test_answers_and_entity_bytes_fall_with_a_foreign_write_of_any_type() -> None:
    other = Elsewhere()
    await other.tail.start()
    rendered = Rendered(other, exclusive=False, tail=other.tail)

    def key(path: str) -> tuple[str | None, ...]:
        return (path, "", None, None, None, None, None, None)

    kept = rendered.entity("", "urn:1")
    rendered.put(kept, "v", b"1")
    rendered.keep(key("one"), Response(200, b"1"), kept)
    rendered.keep(key("untouched"), Response(200, b"2"), rendered.entity("", "urn:2"))
    for number, types in enumerate([("Car",), ()]):
        rendered.keep(key(f"list{number}"), Response(200, b"1"), rendered.stamp("", types))
        rendered.keep(key(f"other{number}"), Response(200, b"1"), rendered.stamp("north", types))
    early = rendered.stamp("", ("Car",))
    await other.write(entity("urn:1", "Bus"))
    assert not kept.valid
    for gone in ("one", "list0", "list1"):
        assert rendered.answer(key(gone)) is None
    for there in ("untouched", "other0", "other1"):
        assert rendered.answer(key(there)) is not None
    rendered.keep(key("mixed"), Response(200, b"1"), early)
    assert rendered.answer(key("mixed")) is None, "put together from what was read before and after"


async def test_everything_may_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madang.core.tail.TAIL_ENTITIES_MAX", 0)
    other = Elsewhere()
    await other.tail.start()
    consumption = Consumption(other.store, FixedClock(), other, tail=other.tail)
    rendered = Rendered(other, exclusive=False, tail=other.tail)
    discovery = Discovery(other.store, consumption, other, tail=other.tail)
    await other.write(entity("urn:1", speed=1))
    await consumption.retrieve("", "urn:1")
    kept, stamp = rendered.entity("", "urn:1"), rendered.stamp("", ("Car",))
    assert [each.name for each in await discovery.attributes("")] == ["speed"]
    await other.write(entity("urn:1", pace=1))
    assert not kept.valid
    assert not stamp.holds()
    assert "pace" in await consumption.retrieve("", "urn:1")
    assert [each.name for each in await discovery.attributes("")] == ["pace"]


async def test_counts_are_made_anew_after_a_foreign_write_even_while_they_are_made() -> None:
    other = Elsewhere()
    await other.tail.start()
    discovery = Discovery(
        other.store, Consumption(other.store, FixedClock(), other, tail=other.tail), other, tail=other.tail
    )
    await other.write(entity("urn:1", speed=1))
    other.store.gate = asyncio.Event()
    slow = asyncio.create_task(discovery.attributes(""))
    await other.store.waiting.wait()
    await other.write(entity("urn:2", pace=1))
    waiting = asyncio.create_task(discovery.attributes(""))
    await steps(3)
    other.store.gate.set()
    assert [each.name for each in await slow] == ["speed"], "it was asked before"
    assert [each.name for each in await waiting] == ["pace", "speed"]
    assert [each.name for each in await discovery.attributes("")] == ["pace", "speed"]


def test_the_log_of_these_tests_counts_as_a_store_does() -> None:
    async def work() -> None:
        log = Log()
        turn = await log.begin()
        rows = (Change(Operation.ENTITY_CREATED, "urn:1"), Change(Operation.ATTRIBUTE_CREATED, "urn:1", "a"))
        writes = Writes(
            entities=[EntityWrite("", "urn:1", None, entity("urn:1"), 0, rows)],
            records=[RecordWrite("", "k", "x", 1, 0), RecordWrite("", "k", "y", 1, 0, logged=False)],
        )
        assert await turn.apply(writes) == 1
        await turn.commit()
        assert (await log.seen()).sequence == 3

    asyncio.run(work())
