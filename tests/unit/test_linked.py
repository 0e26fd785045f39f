# SPDX-License-Identifier: Apache-2.0
"""Linked entity retrieval (clause 4.5.23)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from madang.base.errors import TooManyResults
from madang.core import linked
from madang.core.linked import Join, LinkedEntities, View
from madang.model.entity import Document
from madang.model.jsonld.context import CORE
from madang.model.query import projection
from madang.testing.memory import entity, relationship

ENTITIES = {
    document["id"]: document
    for document in (
        entity("urn:house", "House", owner=relationship("urn:kim"), size=3),
        entity("urn:kim", "Person", name="Kim", home=relationship("urn:house"), lives=relationship("urn:city")),
        entity("urn:lee", "Person", name="Lee", lives=relationship("urn:city")),
        entity("urn:city", "City", name="Daejeon"),
        entity("urn:bus", "Bus", riders=relationship("urn:kim", "urn:nobody", "urn:lee")),
        entity("urn:line", "Line", stops={"type": "ListRelationship", "objectList": ["urn:city", "urn:house"]}),
    )
}


async def fetch(ids: Sequence[str]) -> Mapping[str, Document]:
    return {id: ENTITIES[id] for id in ids if id in ENTITIES}


async def collect(
    id: str, form: Literal["inline", "flat"], level: int = 1, *, contained_by: Sequence[str] = (), **members: str
) -> list[Document]:
    view = View(projection.parse(**members, context=CORE)) if members else View()
    return await LinkedEntities(fetch, view, Join(form, level, frozenset(contained_by))).collect([ENTITIES[id]])


def ids(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    return [document["id"] for document in documents]


async def test_inline_puts_the_entity_into_the_relationship() -> None:
    [house] = await collect("urn:house", "inline")
    assert house["owner"]["entity"] == ENTITIES["urn:kim"]
    assert "entity" not in ENTITIES["urn:house"]["owner"]


async def test_inline_goes_as_deep_as_asked_and_never_in_circles() -> None:
    [house] = await collect("urn:house", "inline", 5)
    kim = house["owner"]["entity"]
    assert kim["lives"]["entity"] == ENTITIES["urn:city"]
    assert "entity" not in kim["home"]


async def test_inline_of_several_targets_gives_those_that_are_here() -> None:
    [bus] = await collect("urn:bus", "inline")
    assert ids(bus["riders"]["entity"]) == ["urn:kim", "urn:lee"]
    [line] = await collect("urn:line", "inline")
    assert ids(line["stops"]["entityList"]) == ["urn:city", "urn:house"]


async def test_flat_gives_each_entity_once_nearest_first() -> None:
    assert ids(await collect("urn:bus", "flat", 2)) == ["urn:bus", "urn:kim", "urn:lee", "urn:house", "urn:city"]
    assert ids(await collect("urn:bus", "flat", 1)) == ["urn:bus", "urn:kim", "urn:lee"]


@pytest.mark.parametrize("form", ["inline", "flat"])
async def test_entities_encountered_before_are_not_given_again(form: Literal["inline", "flat"]) -> None:
    found = await collect("urn:house", form, contained_by=["urn:kim"])
    assert found == [ENTITIES["urn:house"]]


async def test_only_what_is_picked_is_followed() -> None:
    [house] = await collect("urn:house", "inline", 2, pick="id,owner{name,lives{name}}")
    assert house == {
        "id": "urn:house",
        "owner": {
            **relationship("urn:kim"),
            "entity": {
                "name": ENTITIES["urn:kim"]["name"],
                "lives": {**relationship("urn:city"), "entity": {"name": ENTITIES["urn:city"]["name"]}},
            },
        },
    }
    assert len(await collect("urn:house", "flat", 2, pick="id,size")) == 1


async def test_omitted_members_are_left_out_at_their_level_only() -> None:
    documents = await collect("urn:house", "flat", 2, omit="type,owner{name}")
    assert [sorted(document) for document in documents] == [
        ["id", "owner", "size"],
        ["home", "id", "lives", "type"],
        ["id", "name", "type"],
    ]


async def test_an_answer_holds_a_bounded_number_of_linked_entities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked, "JOIN_ENTITIES_MAX", 20)
    # Each of ten entities points at all ten: 10^level paths.
    names = [f"urn:{number}" for number in range(10)]
    graph = {id: entity(id, all=relationship(*names)) for id in names}

    async def fetch_graph(ids: Sequence[str]) -> Mapping[str, Document]:
        return {id: graph[id] for id in ids}

    flat = await LinkedEntities(fetch_graph, View(), Join("flat", 10)).collect([graph["urn:0"]])
    assert len(flat) == 10
    with pytest.raises(TooManyResults):
        await LinkedEntities(fetch_graph, View(), Join("inline", 10)).collect([graph["urn:0"]])
