# SPDX-License-Identifier: Apache-2.0
"""What every store must do with history: a suite that each back-end passes unchanged, beside `StoreContract`.

The pure functions of `madang.model.temporal` are the truth; random histories are written and read back.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madang.base.times import format_date_time, parse_date_time, try_date_time
from madang.core.history import History
from madang.core.writer import View
from madang.model.change import Change, Operation
from madang.model.entity import Document, Instance
from madang.model.query.model import EntitySelector, TypeSelection
from madang.model.temporal.aggregation import Result, Span, aggregate, point
from madang.model.temporal.duration import DAY_US, SECOND_US, Duration
from madang.model.temporal.evolution import StoredInstance, instance_id, is_tombstone
from madang.model.temporal.history import HistoryQuestion, HistoryReading, HistoryTest
from madang.model.temporal.query import METHODS, Aggregation, Window
from madang.testing.store_contract import Opened, Opener, opened

START_US = parse_date_time("2026-01-01T00:00:00Z")
NOW = "2027-01-01T00:00:00Z"
TENANT = ""
ALL = HistoryReading(Window(), now=NOW)

_number = itertools.count(1)

moments = st.integers(0, 40 * 24).map(lambda hours: START_US + hours * 3600 * SECOND_US)
numbers = st.integers(-1_000, 1_000) | st.floats(-1e6, 1e6, allow_subnormal=False)
odd_values = st.sampled_from([True, "text", [1, 2], {"a": 1}, "urn:ngsi-ld:null"])
datasets = st.sampled_from([None, None, "urn:d:1"])
windows = st.one_of(
    st.just(Window()),
    st.just(Window(named=True)),
    st.builds(lambda at: Window(relation="after", start_us=at), moments),
    st.builds(lambda at: Window(relation="before", end_us=at), moments),
    st.builds(lambda at, length: Window(relation="between", start_us=at, end_us=at + length), moments, moments),
    st.builds(lambda at: Window("modifiedAt", True, "after", start_us=at), moments),
)
lengths = st.sampled_from(
    [Duration(), Duration(0, DAY_US), Duration(0, 7 * 3600 * SECOND_US), Duration(1), Duration(1, 3 * DAY_US)]
)


@st.composite
def series(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> list[Instance]:
    """Return instances of one attribute, most of them observed."""
    found = []
    for value in draw(st.lists(values, min_size=1, max_size=25)):
        instance: Instance = {"type": "Property", "value": value}
        if draw(st.integers(0, 9)):
            instance["observedAt"] = format_date_time(draw(moments))
        dataset = draw(datasets)
        if dataset is not None:
            instance["datasetId"] = dataset
        found.append(instance)
    return found


def fresh_id() -> str:
    return f"urn:x:{next(_number)}"


def row(id: str, name: str, instance: Instance) -> Change:
    operation = Operation.ATTRIBUTE_DELETED if is_tombstone(instance) else Operation.ATTRIBUTE_UPDATED
    return Change(operation, id, name, instance.get("datasetId"), try_date_time(instance.get("observedAt")), instance)


async def write(hub: Opened, created: dict[str, Any], rows: dict[str, Sequence[Instance]], type: str = "T") -> str:
    """Create an entity with attributes, then log instances one after the other; return its id."""
    id = fresh_id()
    now = format_date_time(hub.clock.now_us())
    document: Document = {"id": id, "type": type, "createdAt": now, "modifiedAt": now, **created}
    await hub.writer.write(TENANT, [id], lambda view: view.create(document), create_tenant=True)
    for name, instances in rows.items():
        for instance in instances:
            hub.clock.advance(1)
            change = row(id, name, instance)
            await hub.writer.write(TENANT, [id], partial(_log, change))
    return id


async def instances(hub: Opened, id: str, reading: HistoryReading, name: str = "speed") -> list[StoredInstance]:
    page = await hub.store.history_read(TENANT, [id], reading)
    return page.evolutions[0].attributes.get(name, []) if page.evolutions else []


def bucketed(rows: Sequence[StoredInstance], aggregation: Aggregation, window: Window) -> dict[str | None, Result]:
    """Aggregate as the model does."""
    alive = [each for each in rows if not is_tombstone(each.value)]
    if not alive:
        return {}
    times = [each.moment_us for each in alive]
    span = Span(
        min(times) if window.start_us is None else window.start_us,
        max(times) if window.end_us is None else window.end_us,
    )
    by_dataset: dict[str | None, list[StoredInstance]] = {}
    for each in alive:
        by_dataset.setdefault(each.value.get("datasetId"), []).append(each)
    return {
        dataset: aggregate([point(each.moment_us, each.value) for each in found], aggregation, span)
        for dataset, found in by_dataset.items()
    }


def same(left: Any, right: Any) -> bool:
    """Tell whether two results are the same but for the last digits of sums."""
    if isinstance(left, float) or isinstance(right, float):
        return bool(left == pytest.approx(right, rel=1e-9, abs=1e-6))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left, right, strict=True))
    return bool(left == right)


# One suite for several back-ends: what failed on one of them may well be tried on the others.
lasting = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.differing_executors,
    ],
)


class HistoryContract:
    """The promises of `madang.store.history`."""

    @pytest.fixture
    def opener(self) -> Opener:
        raise NotImplementedError

    # ------------------------------------------------------------------ reading

    async def test_creation_and_changes_make_one_series(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            speed = {"type": "Property", "value": 1, "observedAt": "2026-01-02T00:00:00Z"}
            later = {**speed, "value": 2, "observedAt": "2026-01-01T00:00:00Z"}
            id = await write(hub, {"speed": speed}, {"speed": [later]})
            found = await instances(hub, id, ALL)
            assert [each.value["value"] for each in found] == [2, 1]
            assert len({each.instance for each in found}) == 2

    @lasting
    @given(series(numbers | odd_values), series(numbers), windows, st.data())
    async def test_a_window_shows_what_lies_in_it(
        self, opener: Opener, created: list[Instance], rows: list[Instance], window: Window, data: st.DataObject
    ) -> None:
        first = {each.get("datasetId"): each for each in created if not is_tombstone(each)}
        async with opened(opener) as hub:
            id = await write(hub, {"speed": list(first.values())} if first else {}, {"speed": rows})
            everything = await instances(hub, id, ALL)
            assert len(everything) == len(first) + len(rows)
            last_n = data.draw(st.none() | st.integers(1, 30))
            found = await instances(hub, id, replace(ALL, window=replace(window, last_n=last_n)))
            if window.time_property == "modifiedAt":
                expected = [each._replace(moment_us=each.modified_us) for each in everything]
            else:
                expected = [each for each in everything if window.free or "observedAt" in each.value]
            expected = sorted(
                (each for each in expected if window.holds(each.moment_us)),
                key=lambda each: (each.moment_us, each.instance),
            )
            assert found == (expected if last_n is None else expected[-last_n:])

    @lasting
    @given(series(numbers), series(numbers), st.integers(1, 8), st.booleans())
    async def test_pages_hold_everything_once(
        self, opener: Opener, speed: list[Instance], heading: list[Instance], most: int, backwards: bool
    ) -> None:
        window = Window(named=True, last_n=10**6 if backwards else None)
        reading = HistoryReading(window, instances_max=most, now=NOW)
        async with opened(opener) as hub:
            id = await write(hub, {}, {"speed": speed, "heading": heading})
            seen: dict[int, StoredInstance] = {}
            for _ in range(200):
                page = await hub.store.history_read(TENANT, [id], reading)
                for evolution in page.evolutions:
                    for rows in evolution.attributes.values():
                        seen.update({each.instance: each for each in rows})
                if page.cut_us is None:
                    break
                following = (
                    replace(reading.window, relation="before", end_us=page.cut_us)
                    if backwards
                    else replace(reading.window, relation="after", start_us=page.cut_us)
                )
                reading = replace(reading, window=following)
            else:
                pytest.fail("the pages do not come to an end")
            observed = [each for each in (*speed, *heading) if "observedAt" in each]
            assert len(seen) == len(observed)

    async def test_a_page_cuts_all_attributes_at_one_moment(self, opener: Opener) -> None:
        def hourly(day: int) -> list[Instance]:
            return [
                {"type": "Property", "value": hour, "observedAt": f"2026-01-{day:02}T{hour:02}:00:00Z"}
                for hour in range(10)
            ]

        async with opened(opener) as hub:
            id = await write(hub, {}, {"speed": hourly(1), "heading": hourly(2)})
            forwards = await hub.store.history_read(TENANT, [id], replace(ALL, instances_max=4))
            assert len(forwards.evolutions[0].attributes["speed"]) == 4
            assert forwards.evolutions[0].attributes["heading"] == []
            assert forwards.evolutions[0].attribute_types == {"heading": "Property"}
            backwards = replace(ALL, instances_max=4, window=Window(last_n=8))
            page = await hub.store.history_read(TENANT, [id], backwards)
            assert page.evolutions[0].attributes["speed"] == []
            assert [each.value["value"] for each in page.evolutions[0].attributes["heading"]] == [6, 7, 8, 9]
            whole = await hub.store.history_read(TENANT, [id], replace(ALL, instances_max=10))
            assert whole.cut_us is None

    async def test_what_has_expired_is_gone(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            brief = {"type": "Property", "value": 1, "expiresAt": "2026-06-01T00:00:00Z"}
            id = await write(hub, {"speed": brief, "name": {"type": "Property", "value": "n"}}, {"speed": [brief]})
            before = replace(ALL, now="2026-05-31T00:00:00Z")
            assert len(await instances(hub, id, before)) == 2
            assert await instances(hub, id, ALL) == []
            assert len(await instances(hub, id, ALL, "name")) == 1

    async def test_an_unknown_tenant_has_no_history(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            await write(hub, {"speed": {"type": "Property", "value": 1}}, {})
            assert (await hub.store.history_find("nobody", HistoryQuestion(Window()))).ids == []
            assert (await hub.store.history_read("nobody", ["urn:x:1"], ALL)).evolutions == []
            assert await hub.store.history_state("nobody", "urn:x:1") is None

    # ------------------------------------------------------------------ aggregation

    @lasting
    @given(
        st.none() | numbers,
        st.one_of(series(numbers), series(numbers | odd_values)),
        windows,
        lengths,
        st.permutations(METHODS),
    )
    async def test_aggregation_agrees_with_the_model(
        self,
        opener: Opener,
        created: float | None,
        rows: list[Instance],
        window: Window,
        duration: Duration,
        methods: list[str],
    ) -> None:
        first = {"type": "Property", "value": created, "observedAt": "2026-01-05T12:00:00Z"}
        aggregation = Aggregation(tuple(methods), duration)
        async with opened(opener) as hub:
            id = await write(hub, {} if created is None else {"speed": first}, {"speed": rows})
            reading = replace(ALL, window=window)
            found = await hub.store.history_aggregate(TENANT, [id], reading, aggregation)
            expected = bucketed(await instances(hub, id, reading), aggregation, window)
            series = found[0].attributes.get("speed", []) if found else []
            assert same({each.dataset: each.result for each in series}, expected)

    async def test_only_the_datasets_asked_for_are_aggregated(self, opener: Opener) -> None:
        rows = [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}]
        aggregation = Aggregation(("sum",), Duration())
        async with opened(opener) as hub:
            id = await write(hub, {}, {"speed": rows})
            for wanted, expected in ((("@none",), [1.0]), (("urn:d:1",), [2.0]), (("urn:d:9",), [])):
                reading = replace(ALL, datasets=wanted)
                found = await hub.store.history_aggregate(TENANT, [id], reading, aggregation)
                series = found[0].attributes["speed"] if found else []
                assert [each.result["sum"][0][0] for each in series] == expected

    async def test_periods_begin_with_the_datasets_asked_for(self, opener: Opener) -> None:
        def speed(dataset: str, day: int) -> Instance:
            at = f"2026-01-{day:02}T00:00:00Z"
            return {"type": "Property", "value": day, "observedAt": at, "datasetId": dataset}

        async with opened(opener) as hub:
            id = await write(hub, {}, {"speed": [speed("urn:d:1", 1), speed("urn:d:2", 5), speed("urn:d:3", 9)]})
            aggregation = Aggregation(("max",), Duration())
            found = await hub.store.history_aggregate(TENANT, [id], replace(ALL, datasets=("urn:d:2",)), aggregation)
            at = "2026-01-05T00:00:00Z"
            assert [each.result for each in found[0].attributes["speed"]] == [{"max": [[5.0, at, at]]}]
            found = await hub.store.history_aggregate(TENANT, [id], ALL, aggregation)
            assert [each.dataset for each in found[0].attributes["speed"]] == ["urn:d:1", "urn:d:2", "urn:d:3"]

    # ------------------------------------------------------------------ questions

    async def test_what_was_never_observed_is_found_without_a_window(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            id = await write(hub, {"name": {"type": "Property", "value": "n"}}, {})
            question = HistoryQuestion(Window(), now=NOW)
            assert (await hub.store.history_find(TENANT, question)).ids == [id]
            assert (await hub.store.history_find(TENANT, replace(question, window=Window(named=True)))).ids == []

    async def test_entities_are_found_by_what_they_had(self, opener: Opener) -> None:
        def speed(value: Any, day: int) -> Instance:
            return {"type": "Property", "value": value, "observedAt": f"2026-01-{day:02}T00:00:00Z"}

        january = Window(relation="between", start_us=START_US, end_us=START_US + 10 * DAY_US)
        cars = (EntitySelector(types=TypeSelection((("Car",),))),)

        async with opened(opener) as hub:
            slow = await write(hub, {"speed": speed(1, 5)}, {}, "Car")
            fast = await write(hub, {}, {"speed": [speed(9, 6), speed(2, 20)]}, "Car")
            late = await write(hub, {"speed": speed(9, 20)}, {}, "Car")
            bus = await write(hub, {"speed": speed(9, 5)}, {}, "Bus")

            async def ids(**more: Any) -> list[str]:
                found = await hub.store.history_find(TENANT, HistoryQuestion(january, now=NOW, **more))
                return found.ids

            assert await ids() == [slow, fast, bus]
            assert await ids(selectors=cars) == [slow, fast]
            assert await ids(selectors=cars, descending=True) == sorted([slow, fast], reverse=True)
            assert await ids(selectors=(EntitySelector(id_pattern=f"{fast}$"),)) == [fast]
            assert await ids(selectors=(EntitySelector(ids=(fast, late, "urn:none")),)) == [fast]
            assert await ids(only=frozenset({slow, late})) == [slow]
            assert await ids(attributes=("heading",)) == []
            assert await ids(attributes=("heading", "speed")) == [slow, fast, bus]
            assert await ids(excluded=("speed",)) == []
            assert await ids(datasets=("urn:d:1",)) == []

            def is_fast(document: Document) -> bool:
                return any(each["value"] > 5 for each in document.get("speed", ()))

            quick = HistoryTest(is_fast, frozenset({"speed"}))
            assert await ids(test=quick, selectors=cars) == [fast]
            found = await hub.store.history_find(
                TENANT, HistoryQuestion(january, now=NOW, limit=1, offset=1, count=True)
            )
            assert (found.ids, found.count, found.more) == ([fast], 3, True)
            await hub.writer.write(TENANT, [fast], lambda view: _delete(view, fast))
            assert await ids(selectors=cars) == [slow, fast]
            assert await ids(selectors=cars, test=quick) == [fast]

    async def test_several_selectors_keep_their_ids_and_types_apart(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            speed = {"speed": {"type": "Property", "value": 1, "observedAt": "2026-01-05T00:00:00Z"}}
            one, two = await write(hub, speed, {}, "Car"), await write(hub, speed, {}, "Bus")
            car, bus = (TypeSelection(((name,),)) for name in ("Car", "Bus"))
            crossed = (EntitySelector(ids=(one,), types=bus), EntitySelector(ids=(two,), types=car))
            assert (
                await hub.store.history_find(TENANT, HistoryQuestion(Window(named=True), crossed, now=NOW))
            ).ids == []
            selectors = (EntitySelector(ids=(one,), types=bus), EntitySelector(ids=(two,), types=bus))
            question = HistoryQuestion(Window(named=True), selectors=selectors, now=NOW)
            assert (await hub.store.history_find(TENANT, question)).ids == [two]
            both = replace(question, selectors=(EntitySelector(types=car), EntitySelector(types=bus)))
            assert (await hub.store.history_find(TENANT, both)).ids == [one, two]

    async def test_an_attribute_without_evolution_holds_all_the_time(self, opener: Opener) -> None:
        window = Window(relation="after", start_us=START_US)
        async with opened(opener) as hub:
            speed = {"type": "Property", "value": 1, "observedAt": "2026-01-05T00:00:00Z"}
            brand = {"type": "Property", "value": "A"}
            id = await write(hub, {"speed": speed, "brand": brand}, {"brand": [{**brand, "value": "B"}]})

            def is_brand(value: str) -> HistoryTest:
                return HistoryTest(
                    lambda document: [each["value"] for each in document.get("brand", ())] == [value],
                    frozenset({"brand"}),
                )

            question = HistoryQuestion(window, now=NOW)
            assert (await hub.store.history_find(TENANT, replace(question, test=is_brand("B")))).ids == [id]
            assert (await hub.store.history_find(TENANT, replace(question, test=is_brand("A")))).ids == []

    # ------------------------------------------------------------------ writing, through the core

    async def test_instances_are_modified_and_deleted_for_good(self, opener: Opener) -> None:
        async with opened(opener) as hub:
            history = History(hub.store, hub.writer, hub.clock)
            speed = {"type": "Property", "value": 1, "observedAt": "2026-01-05T00:00:00Z"}
            id = await write(hub, {"speed": speed}, {"speed": [{**speed, "value": 2}]})
            first, second = await instances(hub, id, ALL)
            hub.clock.advance(60)
            for each, value in ((first, 10), (second, 20), (first, 11)):
                changed = {**speed, "value": value}
                await history.modify_instance(TENANT, id, "speed", instance_id(each.instance), changed)
            found = {each.instance: each for each in await instances(hub, id, ALL)}
            assert {number: each.value["value"] for number, each in found.items()} == {
                first.instance: 11,
                second.instance: 20,
            }
            assert found[first.instance].created_us == first.created_us
            assert found[first.instance].modified_us == hub.clock.now_us()
            await history.delete_instance(TENANT, id, "speed", instance_id(first.instance))
            assert [each.instance for each in await instances(hub, id, ALL)] == [second.instance]
            assert await hub.store.history_version(TENANT, id, "speed", first.instance) is None
            assert await hub.store.check() == []

    async def test_a_state_that_only_history_wrote_goes_with_it(self, opener: Opener) -> None:
        instance = {"type": "Property", "value": 1, "observedAt": "2026-01-05T00:00:00Z"}
        async with opened(opener) as hub:
            history = History(hub.store, hub.writer, hub.clock)
            shadow: Document = {"id": "urn:shadow", "type": "T", "speed": instance}
            assert await history.upsert(TENANT, shadow) is True
            assert await history.upsert(TENANT, shadow) is False
            assert len(await instances(hub, "urn:shadow", ALL)) == 1
            real = await write(hub, {"speed": instance}, {})
            assert await history.upsert(TENANT, {**shadow, "id": real, "type": ["T", "U"]}) is False
            for id in ("urn:shadow", real):
                await history.delete(TENANT, id)
                assert await hub.store.history_state(TENANT, id) is None
            current = await hub.store.documents(TENANT, ["urn:shadow", real])
            assert list(current) == [real]
            assert current[real]["type"] == ["T", "U"]
            assert await hub.store.check() == []


def _log(change: Change, view: View) -> None:
    view.log(change.entity, [change])


def _delete(view: View, id: str) -> None:
    before = view.entity(id)
    assert before is not None
    view.delete(before, [Change(Operation.ENTITY_DELETED, id)])
