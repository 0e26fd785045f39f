# SPDX-License-Identifier: Apache-2.0
"""Types and attributes in use, counted once and then followed (clauses 5.7.5 to 5.7.10)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.clock import FixedClock
from madang.base.errors import NotFound, TenantNotFound
from madang.core.consumption import Consumption
from madang.core.discovery import Discovery
from madang.model.entity import ENTITY_MEMBERS, instances_of, types_of
from madang.testing.memory import Commits, Memory, entity, relationship


def opened(*, exclusive: bool = True) -> tuple[Memory, Commits, Discovery]:
    store = Memory(exclusive=exclusive)
    writer = Commits(store)
    return store, writer, Discovery(store, Consumption(store, FixedClock(), writer), writer)


async def described(discovery: Discovery) -> dict[str, Any]:
    return {
        "types": {summary.name: (summary.entities, summary.attributes) for summary in await discovery.types("")},
        "attributes": {
            summary.name: (summary.instances, summary.attribute_types, summary.type_names)
            for summary in await discovery.attributes("")
        },
    }


async def test_types_and_attributes_with_their_counts() -> None:
    _, writer, discovery = opened()
    two = [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d"}]
    writer.put(entity("urn:a", "Car", speed=two, owner=relationship("urn:kim")))
    writer.put(entity("urn:b", ["Bus", "Car"], speed=3))
    writer.put(entity("urn:c", "Bus", speed=relationship("urn:x"), scope="/a"))
    assert await discovery.type_names("") == ["Bus", "Car"]
    assert await described(discovery) == {
        "types": {
            "Bus": (2, {"speed": ["Property", "Relationship"]}),
            "Car": (2, {"owner": ["Relationship"], "speed": ["Property"]}),
        },
        "attributes": {
            "owner": (1, ["Relationship"], ["Car"]),
            "speed": (4, ["Property", "Relationship"], ["Bus", "Car"]),
        },
    }


async def test_the_entities_are_counted_once_only() -> None:
    store, writer, discovery = opened()
    writer.put(entity("urn:a", "Car", speed=1))
    await discovery.attributes("")
    calls = dict(store.calls)
    writer.put(entity("urn:b", "Car", speed=1, size=2))
    assert [summary.name for summary in await discovery.attributes("")] == ["size", "speed"]
    assert store.calls == calls


async def test_what_is_not_in_use_is_not_found() -> None:
    _, writer, discovery = opened()
    writer.put(entity("urn:a", "Car", speed=1))
    assert (await discovery.attribute("", "speed")).instances == 1
    for name in ("id", "type", "createdAt", "size"):
        with pytest.raises(NotFound):
            await discovery.attribute("", name)
    with pytest.raises(NotFound):
        await discovery.type("", "Bus")
    with pytest.raises(TenantNotFound):
        await discovery.types("nobody")


async def test_a_store_that_others_write_to_is_counted_every_time() -> None:
    store, writer, discovery = opened(exclusive=False)
    writer.put(entity("urn:a", "Car", speed=1))
    await discovery.attributes("")
    store.entities[""]["urn:b"] = entity("urn:b", "Car", size=1)
    assert [summary.name for summary in await discovery.attributes("")] == ["size", "speed"]


ids = st.sampled_from(["urn:1", "urn:2", "urn:3"])
types = st.sampled_from(["A", "B", ["A", "B"]])
values = st.sampled_from([1, {"type": "GeoProperty", "value": None}, [{"type": "Property"}, {"type": "Property"}]])
attributes = st.dictionaries(st.sampled_from(["p", "q", "r"]), values)
documents = st.builds(lambda id_, types_, attributes_: entity(id_, types_, **attributes_), ids, types, attributes)


@given(st.lists(st.one_of(documents, ids), max_size=12), st.integers(0, 12))
async def test_following_commits_comes_to_what_counting_would(steps: list[Any], counted_after: int) -> None:
    store, writer, discovery = opened()
    for number, step in enumerate(steps):
        if number == counted_after:
            await discovery.attributes("")
        if isinstance(step, dict):
            before = store.entities[""].get(step["id"], {})
            changed = [name for name in {**before, **step} if before.get(name) != step.get(name)]
            writer.put(step, changed=[name for name in changed if name not in ENTITY_MEMBERS])
        elif step in store.entities[""]:
            writer.delete(step)
    expected: Counter[str] = Counter()
    attributes: dict[str, set[str]] = {}
    for document in store.entities[""].values():
        for name in document:
            if name not in ENTITY_MEMBERS:
                expected[name] += len(instances_of(document, name))
                attributes.setdefault(name, set()).update(types_of(document))
    found = await discovery.attributes("")
    assert {summary.name: summary.instances for summary in found} == dict(expected)
    assert {summary.name: set(summary.type_names) for summary in found} == attributes
