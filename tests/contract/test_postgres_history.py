# SPDX-License-Identifier: Apache-2.0
"""The PostgreSQL store keeps the contract of histories, and answers as the embedded store does."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.errors import NotFound
from madang.base.times import format_date_time
from madang.core.history import History
from madang.core.writer import View
from madang.model.change import Change, Operation
from madang.model.entity import Document, Instance, as_list
from madang.model.query.model import EntitySelector, TypeSelection
from madang.model.temporal.duration import SECOND_US, Duration
from madang.model.temporal.evolution import instance_id, is_tombstone, tombstone
from madang.model.temporal.history import HistoryQuestion, HistoryReading, HistoryTest
from madang.model.temporal.query import METHODS, Aggregation, Window
from madang.store.postgres.connections import Connections
from madang.store.postgres.history_reading import AttributeReader, attribute_names, read_metas, snapshot
from madang.store.postgres.store import PostgresStore
from madang.store.sqlite.store import SqliteStore
from madang.testing.history_contract import (
    ALL,
    START_US,
    TENANT,
    HistoryContract,
    lasting,
    row,
    same,
    write,
)
from madang.testing.history_contract import instances as instances_of
from madang.testing.postgres import Cluster
from madang.testing.store_contract import Opened, Opener, opened

IDS = ("urn:x:a", "urn:x:b", "urn:x:c")
NAMES = ("speed", "level", "label")
DATASETS = (None, None, "urn:d:1", "urn:d:2")
EXPIRES = ("2023-12-15T00:00:00Z", "2026-06-01T00:00:00.5Z")
NOWS = ("2024-01-01T00:00:00Z", "2027-01-01T00:00:00Z")

_tenants = itertools.count(1)

moments = st.integers(0, 60).map(lambda hours: START_US + hours * 3600 * SECOND_US)
values = st.one_of(
    st.integers(-5, 5),
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.sampled_from([True, "text\u0000\ud55c", [1, 2], {"a": 1}, 1e308, 2**63 - 1]),
)
scopes = st.sampled_from(["/a", "/b", ["/a", "/a/c"]])


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    """Return an attribute instance with or without a time, a dataset, an end, and a sub-attribute that ends."""
    kind = draw(st.sampled_from(["Property", "Property", "Property", "Property", "Relationship", "JsonProperty"]))
    instance: Instance = {"type": kind}
    if kind == "Relationship":
        instance["object"] = "urn:x:a"
    else:
        instance["json" if kind == "JsonProperty" else "value"] = draw(values)
    if draw(st.integers(0, 3)):
        instance["observedAt"] = format_date_time(draw(moments))
    dataset = draw(st.sampled_from(DATASETS))
    if dataset is not None:
        instance["datasetId"] = dataset
    if not draw(st.integers(0, 9)):
        instance["expiresAt"] = draw(st.sampled_from(EXPIRES))
    if not draw(st.integers(0, 9)):
        instance["unit"] = {"type": "Property", "value": 1, "expiresAt": draw(st.sampled_from(EXPIRES))}
    return instance


@st.composite
def fragments(draw: st.DrawFn, *, scoped: bool = False) -> Document:
    """Return attributes, at most one instance for each dataset."""
    document: Document = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1)):
        found = {each.get("datasetId"): each for each in draw(st.lists(instances(), min_size=1, max_size=3))}
        document[name] = list(found.values())
    if draw(st.booleans()):
        scope: Any = draw(scopes)
        if scoped:
            scope = [{"type": "Property", "value": scope, "observedAt": format_date_time(draw(moments))}]
        document["scope"] = scope
    return document


@dataclass(frozen=True)
class Step:
    """One write, with what it needs; `pick` chooses among what is there."""

    verb: str
    id: str
    fragment: Document
    temporal: Document
    name: str
    dataset: str | None
    pick: int
    days: int


_verbs = ("create", "create", "update", "update", "update", "deletion", "scope", "delete")
_temporal_verbs = ("upsert", "add", "add", "modify", "modify", "remove_instance", "remove_attribute", "forget")
steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(_verbs + _temporal_verbs),
        st.sampled_from(IDS),
        fragments(),
        fragments(scoped=True),
        st.sampled_from(NAMES),
        st.sampled_from(DATASETS),
        st.integers(0, 1_000),
        st.sampled_from([0, 0, 1, 40]),
    ),
    min_size=4,
    max_size=14,
)

windows = st.builds(
    replace,
    st.one_of(
        st.just(Window()),
        st.just(Window(named=True)),
        st.builds(lambda at: Window(relation="after", start_us=at), moments),
        st.builds(lambda at: Window(relation="before", end_us=at), moments),
        st.builds(
            lambda at, hours: Window(relation="between", start_us=at, end_us=at + hours * 3600 * SECOND_US),
            moments,
            st.integers(1, 60),
        ),
        st.builds(
            lambda name, days: Window(name, True, "after", 1_700_000_000_000_000 + days * 86_400 * SECOND_US),
            st.sampled_from(["createdAt", "modifiedAt", "deletedAt"]),
            st.integers(-1, 60),
        ),
        st.sampled_from([Window(name, True) for name in ("createdAt", "modifiedAt", "deletedAt")]),
    ),
    last_n=st.sampled_from([None, None, 1, 3]),
)
some_names = st.lists(st.sampled_from([*NAMES, "scope", "none"]), unique=True, max_size=3).map(tuple)
some_datasets = st.lists(st.sampled_from(["@none", "urn:d:1", "urn:d:9"]), unique=True, max_size=2).map(tuple)
selectors = st.lists(
    st.builds(
        EntitySelector,
        st.sampled_from([(), (), IDS[:1], (*IDS[1:], "urn:none")]),
        st.sampled_from([None, None, "[ab]$"]),
        st.sampled_from(
            [None, TypeSelection((("T",),)), TypeSelection((("T", "U"), ("V",))), TypeSelection((("?",),))]
        ),
    ),
    max_size=2,
).map(tuple)


def _is_large(document: Document) -> bool:
    return any(
        isinstance(each.get("value"), int | float) and each["value"] > 0
        for name in NAMES
        for each in as_list(document.get(name, []))
    )


questions = st.builds(
    HistoryQuestion,
    windows,
    selectors=selectors,
    only=st.sampled_from([None, None, frozenset(IDS[1:])]),
    attributes=some_names,
    excluded=st.sampled_from([(), (), ("speed",)]),
    datasets=some_datasets,
    test=st.sampled_from([None, None, HistoryTest(_is_large, frozenset(NAMES))]),
    scope=st.sampled_from([None, None, lambda found: "/a" in found]),
    limit=st.sampled_from([1, 2, 20]),
    offset=st.sampled_from([0, 0, 1]),
    count=st.booleans(),
    descending=st.sampled_from([None, False, True]),
    now=st.sampled_from(NOWS),
)
readings = st.builds(
    HistoryReading,
    windows,
    attributes=st.none() | some_names,
    excluded=st.sampled_from([(), (), ("speed",)]),
    datasets=some_datasets,
    scopes=st.booleans(),
    instances_max=st.sampled_from([None, 1, 2, 5]),
    now=st.sampled_from(NOWS),
)
aggregations = st.builds(
    Aggregation,
    st.permutations(METHODS).map(tuple),
    st.sampled_from([Duration(), Duration(0, 7 * 3600 * SECOND_US), Duration(1)]),
)


class World:
    """One store that the steps are taken in."""

    def __init__(self, hub: Opened, tenant: str) -> None:
        self.hub = hub
        self.tenant = tenant
        self.history = History(hub.store, hub.writer, hub.clock)

    async def take(self, step: Step) -> None:
        self.hub.clock.advance(1 + step.days * 86_400)
        # A step that finds nothing to work on is left out, in both stores alike.
        with contextlib.suppress(NotFound):
            await getattr(self, f"_{step.verb}")(step)

    async def end(self) -> None:
        """Write a last row that stays: the embedded store counts on from the last that is there."""
        last: Document = {"id": "urn:x:last", "type": "Last", "createdAt": NOWS[0], "modifiedAt": NOWS[0]}
        await self.hub.writer.write(self.tenant, [last["id"]], lambda view: view.create(last), create_tenant=True)

    async def _write(self, id: str, decide: Any) -> None:
        await self.hub.writer.write(self.tenant, [id], decide, create_tenant=True)

    async def _create(self, step: Step) -> None:
        def decide(view: View) -> None:
            if view.entity(step.id) is None:
                attributes = {name: _one(value) for name, value in step.fragment.items()}
                types = [["T"], ["T", "U"], ["V"]][step.pick % 3]
                type = types[0] if len(types) == 1 else types
                view.create({"id": step.id, "type": type, "createdAt": view.now, "modifiedAt": view.now, **attributes})

        await self._write(step.id, decide)

    async def _update(self, step: Step) -> None:
        def decide(view: View) -> None:
            before = view.entity(step.id)
            given = {name: value for name, value in step.fragment.items() if name != "scope"}
            changes = [row(step.id, name, each) for name, some in given.items() for each in some]
            if before is not None:
                after = {**before, **{name: _one(some) for name, some in given.items()}, "modifiedAt": view.now}
                view.put(before, after, changes)

        await self._write(step.id, decide)

    async def _deletion(self, step: Step) -> None:
        def decide(view: View) -> None:
            before = view.entity(step.id)
            if before is not None and step.name in before:
                gone = tombstone("Property", view.now, step.dataset)
                after = {name: value for name, value in before.items() if name != step.name}
                view.put(before, after, [row(step.id, step.name, gone)])

        await self._write(step.id, decide)

    async def _scope(self, step: Step) -> None:
        def decide(view: View) -> None:
            before = view.entity(step.id)
            if before is not None:
                value = ["/a", "/b", ["/b", "/a"]][step.pick % 3]
                change = Change(Operation.SCOPE_CHANGED, step.id, "scope", value={"type": "Property", "value": value})
                view.put(before, {**before, "scope": value}, [change])

        await self._write(step.id, decide)

    async def _delete(self, step: Step) -> None:
        def decide(view: View) -> None:
            before = view.entity(step.id)
            if before is not None:
                view.delete(before, [Change(Operation.ENTITY_DELETED, step.id)])

        await self._write(step.id, decide)

    async def _upsert(self, step: Step) -> None:
        document = {"id": step.id, "type": ["T", "V"][step.pick % 2], **step.temporal}
        await self.history.upsert(self.tenant, document)

    async def _add(self, step: Step) -> None:
        await self.history.add(self.tenant, step.id, dict(step.temporal))

    async def _modify(self, step: Step) -> None:
        name, instance = await self._instance(step)
        value = next(each for some in step.fragment.values() for each in as_list(some) if isinstance(each, dict))
        await self.history.modify_instance(self.tenant, step.id, name, instance, dict(value))

    async def _remove_instance(self, step: Step) -> None:
        name, instance = await self._instance(step)
        await self.history.delete_instance(self.tenant, step.id, name, instance)

    async def _remove_attribute(self, step: Step) -> None:
        await self.history.delete_attribute(
            self.tenant, step.id, step.name, dataset=step.dataset, delete_all=step.pick % 2 == 0
        )

    async def _forget(self, step: Step) -> None:
        await self.history.delete(self.tenant, step.id)

    async def _instance(self, step: Step) -> tuple[str, str]:
        """Return name and instanceId of one of the instances that are there."""
        page = await self.hub.store.history_read(self.tenant, [step.id], HistoryReading(Window(), now=NOWS[0]))
        there = [
            (name, each.instance)
            for evolution in page.evolutions
            for name, rows in sorted(evolution.attributes.items())
            for each in rows
            if not is_tombstone(each.value)
        ]
        if not there:
            raise NotFound("nothing is there")
        name, instance = there[step.pick % len(there)]
        return name, instance_id(instance)


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


class TestPostgresHistory(HistoryContract):
    @pytest.fixture
    def opener(self, cluster: Cluster) -> Opener:
        url = cluster.database()

        async def open_store() -> PostgresStore:
            store = PostgresStore(url)
            await store.open()
            return store

        return open_store

    @pytest.fixture
    def embedded(self, tmp_path: Path) -> Opener:
        async def open_store() -> SqliteStore:
            store = SqliteStore(tmp_path)
            await store.open()
            return store

        return open_store

    @settings(lasting, max_examples=25)
    @given(steps, st.lists(st.tuples(questions, readings, aggregations), min_size=4, max_size=8))
    async def test_the_same_writes_give_the_same_answers(
        self,
        opener: Opener,
        embedded: Opener,
        taken: Sequence[Step],
        asked: Sequence[tuple[HistoryQuestion, HistoryReading, Aggregation]],
    ) -> None:
        tenant = f"t{next(_tenants)}"
        async with opened(opener) as one, opened(embedded) as other:
            worlds = World(one, tenant), World(other, tenant)
            for step in taken:
                for world in worlds:
                    await world.take(step)
            for world in worlds:
                await world.end()
            for question, reading, aggregation in asked:
                found, expected = [await _answers(world, question, reading, aggregation) for world in worlds]
                assert found[:-1] == expected[:-1]
                assert same(found[-1], expected[-1])
            assert await _known(worlds[0]) == await _known(worlds[1])

    async def test_a_reading_sees_one_state_of_the_log(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            id = await write(hub, {"speed": {"type": "Property", "value": 0}}, {})
            store = hub.store
            assert isinstance(store, PostgresStore)
            key = await store.tenant_names.key(TENANT)
            assert key is not None
            async with snapshot(store.connections, store.names, key) as log:
                metas = await read_metas(log, [id])
                for name in ("speed", "level"):
                    change = row(id, name, {"type": "Property", "value": 1})
                    await hub.writer.write(TENANT, [id], partial(_log, change))
                assert await attribute_names(log, metas) == {id: ["speed"]}
                reader = AttributeReader(log, ALL)
                rows = await reader.rows("speed", metas.values(), descending=False)
                assert [each.value["value"] for each in rows[id]] == [0]
            assert [each.value["value"] for each in await instances_of(hub, id, ALL)] == [0, 1]

    async def test_a_page_of_many_entities_takes_as_many_statements_as_a_page_of_one(
        self, opener: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [{"type": "Property", "value": value, "observedAt": "2026-01-05T00:00:00Z"} for value in (1, 2, 3)]
        async with opened(opener) as hub:
            ids = [await write(hub, {"label": rows[0]}, {"speed": rows, "level": rows}) for _ in range(12)]
            counts = []
            for some in (ids[:1], ids):
                sent: list[str] = []
                monkeypatch.setattr(Connections, "observe", staticmethod(sent.append))
                page = await hub.store.history_read(TENANT, some, replace(ALL, window=Window(last_n=1)))
                assert [evolution.id for evolution in page.evolutions] == some
                counts.append(len(sent))
            assert counts[0] == counts[1]


def _log(change: Change, view: View) -> None:
    view.log(change.entity, [change])


async def _known(world: World) -> list[Any]:
    """Return what writers of history ask before they write."""
    store, tenant = world.hub.store, world.tenant
    found: list[Any] = []
    for id in IDS:
        found.append(await store.history_state(tenant, id))
        page = await store.history_read(tenant, [id], HistoryReading(Window(), now=NOWS[0]))
        for name in ("speed", "scope"):
            for dataset, every in (("urn:d:1", False), (None, True)):
                sequences, known = await store.history_sequences(tenant, id, name, dataset=dataset, all_datasets=every)
                found.append((sorted(sequences), known))
            rows = [row for evolution in page.evolutions for row in evolution.attributes.get(name, ())]
            found += [await store.history_version(tenant, id, name, each.instance) for each in rows[:3]]
            keys = [(name, each.value.get("datasetId"), each.moment_us) for each in rows]
            found.append(sorted(set(await store.history_same(tenant, id, keys))))
    return found


async def _answers(
    world: World, question: HistoryQuestion, reading: HistoryReading, aggregation: Aggregation
) -> tuple[Any, ...]:
    store = world.hub.store
    found = await store.history_find(world.tenant, question)
    page = await store.history_read(world.tenant, [*IDS, "urn:none"], reading)
    inside = replace(reading, window=question.window, intervals=found.intervals)
    scoped = await store.history_read(world.tenant, found.ids, inside)
    aggregated = [
        await store.history_aggregate(world.tenant, ids, of, aggregation)
        for ids, of in (([*IDS, "urn:none"], reading), (found.ids, inside))
    ]
    values = [
        [
            (each.evolution.id, {name: [list(one) for one in some] for name, some in each.attributes.items()})
            for each in some
        ]
        for some in aggregated
    ]
    evolutions = [[each.evolution for each in some] for some in aggregated]
    return found, page, scoped, evolutions, [[list(pair) for pair in some] for some in values]
