# SPDX-License-Identifier: Apache-2.0
"""What may be sent as an entity, a fragment of one, an attribute by itself, and an evolution, with the clauses."""

from __future__ import annotations

from typing import Any

import pytest

from madang.base.errors import BadRequestData
from madang.model.entity import NGSI_LD_NULL
from madang.model.jsonld.context import CORE, compile_context
from madang.model.jsonld.expand import (
    parse_attribute,
    parse_entity,
    parse_fragment,
    parse_simplified,
    parse_temporal,
)

ID = "urn:ngsi-ld:Vehicle:1"
POINT = {"type": "Point", "coordinates": [127.4, 36.3]}
SEOUL = {"type": "Point", "coordinates": [126.98, 37.57]}
USER = compile_context(
    "user",
    {
        "ex": "https://example.org/",
        "Car": "ex:Car",
        "speed": "ex:speed",
        "colour": "ex:colour",
        "red": "ex:red",
        "street": "ex:street",
    },
    {},
)


def attribute(sent: Any, name: str = "probe", context: Any = CORE) -> Any:
    return parse_entity({"id": ID, "type": "Vehicle", name: sent}, context).get(name)


def anything(*values: Any) -> tuple[Any, ...]:
    return values


@pytest.mark.parametrize(
    "entity",
    [
        {"type": "Vehicle"},
        {"id": ID},
        {"id": "no uri", "type": "Vehicle"},
        {"id": NGSI_LD_NULL, "type": "Vehicle"},
        {"id": ID, "@id": ID, "type": "Vehicle"},
        {"id": ID, "type": "Vehicle", "@type": "Vehicle"},
        {"id": ID, "type": []},
        {"id": ID, "type": ["Vehicle", 5]},
        {"id": ID, "type": 5},
        {"id": ID, "type": None},
        {"id": ID, "type": "type"},
        {"id": ID, "type": "@id"},
        {"id": ID, "type": "9Vehicle"},
        {"id": ID, "type": NGSI_LD_NULL},
        *(
            {"id": ID, "type": "T", "scope": s}
            for s in ("9bad", "/a//b", "a-b", "", "/", NGSI_LD_NULL, ["/ok", "9bad"], [], 5, [["/a"]], {"a": 1})
        ),
        {"id": ID, "type": "T", "expiresAt": "soon"},
        {"id": ID, "type": "T", "expiresAt": NGSI_LD_NULL},
        {"id": ID, "type": "T", "location": {"type": "Property", "value": 7}},
        {
            "id": ID,
            "type": "T",
            "observationSpace": [{"type": "GeoProperty", "value": POINT}, {"value": 1, "datasetId": "urn:a:b"}],
        },
        {"id": ID, "type": "T", "ngsildproof": {"type": "Property", "value": "not a proof"}},
        {"id": ID, "type": "T", "ngsildproof": {"type": "Property", "value": {}, "entityTypeSealed": 42}},
        {"id": ID, "type": "T", "ngsildproof": {"type": "Relationship", "object": ID}},
        [],
        5,
        None,
        "x",
    ],
)
def test_entities_that_are_refused(entity: Any) -> None:
    with pytest.raises(BadRequestData):
        parse_entity(entity, CORE)


def test_members_of_an_entity() -> None:
    entity = {
        "@id": ID,
        "@type": ["Car", "Vehicle", "ex:Car"],
        "scope": ["/a/b", "c", "/a/b"],
        "expiresAt": "2030-01-01T00:00:00Z",
        "createdAt": "ignored",
        "@context": "ignored",
        "speed": 5,
    }
    assert parse_entity(entity, USER) == {
        "id": ID,
        "type": ["https://example.org/Car", "Vehicle"],
        "scope": ["/a/b", "c"],
        "expiresAt": "2030-01-01T00:00:00Z",
        "https://example.org/speed": {"type": "Property", "value": 5},
    }
    assert parse_entity({"id": ID, "type": ["Car"], "scope": ["/a"]}, USER)["scope"] == "/a"


def test_names_inside_values_are_canonical_too() -> None:
    name = "https://example.org/colour"
    assert attribute({"value": {"street": {"street": 1}, "type": "x"}}, "probe", USER)["value"] == {
        "https://example.org/street": {"https://example.org/street": 1},
        "type": "x",
    }
    entity = {"id": ID, "type": "Car", "colour": {"vocab": ["red", "ex:blue", "green"]}}
    assert parse_entity(entity, USER)[name]["vocab"] == ["https://example.org/red", "https://example.org/blue", "green"]
    entity = {"id": ID, "type": "Car", "colour": {"object": ID, "objectType": "Car"}}
    assert parse_entity(entity, USER)[name]["objectType"] == "https://example.org/Car"
    entity = {"id": ID, "type": "Car", "colour": {"json": {"street": 1}}}
    assert parse_entity(entity, USER)[name]["json"] == {"street": 1}


def test_proof_keeps_its_own_vocabulary() -> None:
    proof = {
        "type": "Property",
        "entityIdSealed": ID,
        "entityTypeSealed": "Car",
        "value": {"type": "DataIntegrityProof", "street": 1},
    }
    entity = parse_entity({"id": ID, "type": "Car", "speed": {"value": 1, "ngsildproof": proof}}, USER)
    assert entity["https://example.org/speed"]["ngsildproof"] == {
        **proof,
        "entityTypeSealed": "https://example.org/Car",
    }


def test_deep_nesting_is_refused_not_fatal() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    subs: Any = {"value": 1}
    for _ in range(200):
        subs = {"value": 1, "sub": subs}
    for sent in (
        deep,
        {"value": {"a": deep}},
        {"json": {"a": deep}},
        {"valueList": deep},
        subs,
        {"type": "GeoProperty", "value": {"type": "Point", "coordinates": deep}},
    ):
        with pytest.raises(BadRequestData):
            attribute(sent)


def test_where_is_a_pointer() -> None:
    with pytest.raises(BadRequestData) as refusal:
        attribute([{"value": 1}, {"value": 1, "datasetId": "urn:a:b", "a~b": 1}], "speed")
    assert refusal.value.where == "/speed/1/a~0b"
    with pytest.raises(BadRequestData) as refusal:
        parse_entity({"id": ID, "type": "T", "speed": {"value": 1, "sub": {"value": 1, "observedAt": 5}}}, CORE)
    assert refusal.value.where == "/speed/sub/observedAt"
    with pytest.raises(BadRequestData) as refusal:
        parse_entity({"id": ID}, CORE)
    assert refusal.value.where == "/type"


def test_fragments_may_delete() -> None:
    fragment = {
        "speed": NGSI_LD_NULL,
        "scope": NGSI_LD_NULL,
        "expiresAt": NGSI_LD_NULL,
        "a": {"type": "Property", "value": NGSI_LD_NULL, "datasetId": "urn:d:1"},
        "b": {"type": "LanguageProperty", "languageMap": {"@none": NGSI_LD_NULL}},
        "c": {"value": {"country": NGSI_LD_NULL}, "unitCode": NGSI_LD_NULL, "by": NGSI_LD_NULL},
        "d": {"type": "ListProperty", "valueList": [NGSI_LD_NULL]},
        "e": {"type": "ListRelationship", "objectList": [{"object": NGSI_LD_NULL}]},
        "f": {"unitCode": "KMH"},
        "g": {"value": NGSI_LD_NULL},
        "location": NGSI_LD_NULL,
        "h": None,
    }
    assert parse_fragment(fragment, CORE, nulls=True) == {
        "speed": NGSI_LD_NULL,
        "scope": NGSI_LD_NULL,
        "expiresAt": NGSI_LD_NULL,
        "a": {"type": "Property", "value": NGSI_LD_NULL, "datasetId": "urn:d:1"},
        "b": {"type": "LanguageProperty", "languageMap": {"@none": NGSI_LD_NULL}},
        "c": {
            "type": "Property",
            "value": {"country": NGSI_LD_NULL},
            "unitCode": NGSI_LD_NULL,
            "by": NGSI_LD_NULL,
        },
        "d": {"type": "ListProperty", "valueList": [NGSI_LD_NULL]},
        "e": {"type": "ListRelationship", "objectList": [NGSI_LD_NULL]},
        "f": {"unitCode": "KMH"},
        "g": {"value": NGSI_LD_NULL},
        "location": NGSI_LD_NULL,
    }


@pytest.mark.parametrize(
    "fragment",
    [
        {"speed": NGSI_LD_NULL},
        {"speed": {"value": NGSI_LD_NULL}},
        {"scope": NGSI_LD_NULL},
        {"speed": {"unitCode": "KMH"}},
    ],
)
def test_fragments_that_only_add_cannot_delete(fragment: Any) -> None:
    with pytest.raises(BadRequestData):
        parse_fragment(fragment, CORE, nulls=False)


def test_update_fragments_replace_whole_attributes() -> None:
    assert parse_fragment({"speed": NGSI_LD_NULL}, CORE, nulls=True, merge=False) == {"speed": NGSI_LD_NULL}
    for fragment in ({"speed": {"value": {"a": NGSI_LD_NULL}}}, {"speed": {"unitCode": "KMH"}}, {"type": NGSI_LD_NULL}):
        with pytest.raises(BadRequestData):
            parse_fragment(fragment, CORE, nulls=True, merge=False)


def test_attribute_bodies() -> None:
    def partial(data: Any, name: str = "speed") -> Any:
        return parse_attribute(name, data, CORE, nulls=True, partial=True)

    assert partial({"value": 5}) == [{"type": "Property", "value": 5}]
    assert partial({"unitCode": "KMH", "@context": "x"}) == [{"unitCode": "KMH"}]
    assert partial({"type": "Property", "value": NGSI_LD_NULL}) == [{"type": "Property", "value": NGSI_LD_NULL}]
    assert partial({"value": NGSI_LD_NULL, "datasetId": "urn:d:1"}) == [{"value": NGSI_LD_NULL, "datasetId": "urn:d:1"}]
    assert partial({"value": POINT}, "location") == [{"type": "GeoProperty", "value": POINT}]
    assert partial({"observedAt": "2026-01-01T00:00:00Z"}, "location") == [{"observedAt": "2026-01-01T00:00:00Z"}]
    for data in anything(
        {"value": {"country": NGSI_LD_NULL}}, {}, [], 5, "x", None, {"@context": 1}, {"previousValue": 1}
    ):
        with pytest.raises(BadRequestData):
            partial(data)
    with pytest.raises(BadRequestData):
        partial({"value": 5}, "location")
    with pytest.raises(BadRequestData):
        parse_attribute("speed", {"unitCode": "KMH"}, CORE, nulls=False, partial=False)
    with pytest.raises(BadRequestData):
        parse_attribute("speed", {"type": "Property", "value": NGSI_LD_NULL}, CORE, nulls=False, partial=False)
    instances = parse_attribute(
        "speed", [{"value": 1, "datasetId": "urn:d:1"}, {"value": 2}], CORE, nulls=False, partial=False
    )
    assert [instance["value"] for instance in instances] == [2, 1]


CURRENT = {
    "id": ID,
    "type": "Vehicle",
    "speed": [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}],
    "owner": {"type": "Relationship", "object": "urn:a:1"},
    "location": {"type": "GeoProperty", "value": POINT},
    "name": {"type": "LanguageProperty", "languageMap": {"en": "x"}},
    "kind": {"type": "VocabProperty", "vocab": "a"},
    "raw": {"type": "JsonProperty", "json": {}},
    "list": {"type": "ListProperty", "valueList": [1]},
    "route": {"type": "ListRelationship", "objectList": []},
}


@pytest.mark.parametrize(
    ("name", "sent", "expected"),
    [
        ("speed", 5, {"type": "Property", "value": 5}),
        ("speed", NGSI_LD_NULL, NGSI_LD_NULL),
        ("speed", {"dataset": {"urn:d:1": 7, "@none": 8}},
         [{"type": "Property", "value": 8}, {"type": "Property", "value": 7, "datasetId": "urn:d:1"}]),
        ("owner", "urn:a:2", {"type": "Relationship", "object": "urn:a:2"}),
        ("location", SEOUL, {"type": "GeoProperty", "value": SEOUL}),
        ("name", {"languageMap": {"ko": "y"}}, {"type": "LanguageProperty", "languageMap": {"ko": "y"}}),
        ("name", "y", {"type": "Property", "value": "y"}),
        ("kind", {"vocab": "b"}, {"type": "VocabProperty", "vocab": "b"}),
        ("kind", "b", {"type": "VocabProperty", "vocab": "b"}),
        ("raw", {"json": {"a": 1}}, {"type": "JsonProperty", "json": {"a": 1}}),
        ("list", [1, 2], {"type": "ListProperty", "valueList": [1, 2]}),
        ("route", ["urn:a:1"], {"type": "ListRelationship", "objectList": ["urn:a:1"]}),
        ("fresh", 5, {"type": "Property", "value": 5}),
        ("fresh", POINT, {"type": "GeoProperty", "value": POINT}),
        ("fresh", {"vocab": "x"}, {"type": "VocabProperty", "vocab": "x"}),
        ("fresh", {"a": 1}, {"type": "Property", "value": {"a": 1}}),
    ],
)  # fmt: skip
def test_simplified_values_take_the_type_that_is_there(name: str, sent: Any, expected: Any) -> None:
    assert parse_simplified({name: sent}, CORE, CURRENT) == {name: expected}


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("owner", "no uri"),
        ("owner", 5),
        ("location", 5),
        ("route", 5),
        ("raw", 5),
        ("speed", {"dataset": {"no uri": 5}}),
    ],
)
def test_simplified_values_of_another_type_are_refused(name: str, sent: Any) -> None:
    with pytest.raises(BadRequestData):
        parse_simplified({name: sent}, CORE, CURRENT)


def test_temporal_evolutions() -> None:
    first, second = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    data = {
        "id": ID,
        "type": "Vehicle",
        "scope": [
            {"type": "Property", "value": ["/a", "/b"], "observedAt": first},
            {"type": "Property", "value": NGSI_LD_NULL},
        ],
        "speed": [{"value": 1, "observedAt": first}, {"type": "Property", "value": NGSI_LD_NULL, "observedAt": second}],
        "name": {"type": "LanguageProperty", "languageMaps": [[{"languageMap": {"en": "x"}}, first]]},
        "fuel": {"type": "Property", "values": [[5, first], [6, second]]},
        "empty": [],
    }
    assert parse_temporal(data, CORE, fragment=False) == {
        "id": ID,
        "type": "Vehicle",
        "scope": [
            {"type": "Property", "value": ["/a", "/b"], "observedAt": first},
            {"type": "Property", "value": NGSI_LD_NULL},
        ],
        "speed": [
            {"type": "Property", "value": 1, "observedAt": first},
            {"type": "Property", "value": NGSI_LD_NULL, "observedAt": second},
        ],
        "name": {"type": "LanguageProperty", "languageMap": {"en": "x"}, "observedAt": first},
        "fuel": [
            {"type": "Property", "value": 5, "observedAt": first},
            {"type": "Property", "value": 6, "observedAt": second},
        ],
    }
    assert parse_temporal({"scope": "/a"}, CORE, fragment=True) == {"scope": "/a"}


@pytest.mark.parametrize(
    "data",
    [
        {"id": ID, "type": "T", "expiresAt": NGSI_LD_NULL},
        {"id": ID, "type": "T", "speed": NGSI_LD_NULL},
        {"id": ID, "type": "T", "speed": [1, 2]},
        {"id": ID, "type": "T", "speed": {"type": "Property", "values": [[1]]}},
        {"id": ID, "type": "T", "speed": {"type": "Property", "values": [[1, "soon"]]}},
        {"id": ID, "type": "T", "scope": [{"type": "Property", "value": 5}]},
        {"id": ID, "type": "T", "scope": [{"type": "Property"}]},
        {"id": ID, "type": "T", "scope": ["/a", {"type": "Property", "value": "/b"}]},
        {"type": "T"},
    ],
)
def test_temporal_evolutions_that_are_refused(data: Any) -> None:
    with pytest.raises(BadRequestData):
        parse_temporal(data, CORE, fragment=False)
