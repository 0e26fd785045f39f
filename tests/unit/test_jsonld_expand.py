# SPDX-License-Identifier: Apache-2.0
"""What may be sent as an attribute, as tables of accepted and refused parts, with the clause behind each."""

from __future__ import annotations

import math
from typing import Any

import pytest

from madang.base.errors import BadRequestData
from madang.model.entity import NGSI_LD_NULL
from madang.model.jsonld.context import CORE
from madang.model.jsonld.expand import check_name, check_uri, parse_entity

ID = "urn:ngsi-ld:Vehicle:1"
POINT = {"type": "Point", "coordinates": [127.4, 36.3]}
RING = [[0, 0], [1, 0], [1, 1], [0, 0]]


def attribute(sent: Any, name: str = "probe", context: Any = CORE) -> Any:
    return parse_entity({"id": ID, "type": "Vehicle", name: sent}, context).get(name)


def anything(*values: Any) -> tuple[Any, ...]:
    return values


ACCEPTED = [
    # Property, normalized and concise (4.5.2)
    ({"type": "Property", "value": 1}, {"type": "Property", "value": 1}),
    (1.5, {"type": "Property", "value": 1.5}),
    ("text", {"type": "Property", "value": "text"}),
    (False, {"type": "Property", "value": False}),
    ({"value": "x"}, {"type": "Property", "value": "x"}),
    ({"@type": "Property", "value": 1}, {"type": "Property", "value": 1}),
    ({"type": "https://uri.etsi.org/ngsi-ld/Property", "value": 1}, {"type": "Property", "value": 1}),
    ({"type": ["Property"], "value": 1}, {"type": "Property", "value": 1}),
    ([1, "a", None], {"type": "Property", "value": [1, "a"]}),
    ([], {"type": "Property", "value": []}),
    ([{"a": 1}, {"b": [None, {"c": None}]}], {"type": "Property", "value": [{"a": 1}, {"b": [{}]}]}),
    ({"city": "Daejeon", "zip": None}, {"type": "Property", "value": {"city": "Daejeon"}}),
    ({"type": "Property", "value": POINT}, {"type": "Property", "value": POINT}),
    ({"value": 1, "unitCode": "KMH", "observedAt": "2026-01-31T08:30:00,5Z"}, None),
    ({"type": "Property", "value": 1, "createdAt": "x", "instanceId": 5}, {"type": "Property", "value": 1}),
    ({"type": "Property", "value": 1, "valueType": "xsd:double"}, None),
    ({"type": "Property", "value": "2026-02-28", "valueType": "Date"}, None),
    ({"type": "Property", "value": {"@type": "DateTime", "@value": "2024-02-29T00:00:00Z"}}, None),
    ({"type": "Property", "value": {"@type": "Time", "@value": "08:30:00.25Z"}}, None),
    # Sub-attributes to any depth, concise too
    ({"value": 1, "accuracy": 0.5}, {"type": "Property", "value": 1, "accuracy": {"type": "Property", "value": 0.5}}),
    (
        {"value": 1, "by": {"object": ID}},
        {"type": "Property", "value": 1, "by": {"type": "Relationship", "object": ID}},
    ),
    ({"value": 1, "gone": None}, {"type": "Property", "value": 1}),
    # a GeoProperty (clause 4.7)
    ({"type": "GeoProperty", "value": POINT}, {"type": "GeoProperty", "value": POINT}),
    (POINT, {"type": "GeoProperty", "value": POINT}),
    ({"value": POINT}, {"type": "GeoProperty", "value": POINT}),
    (
        {"type": "GeoProperty", "value": '{"type": "Point", "coordinates": [127.4, 36.3]}'},
        {"type": "GeoProperty", "value": POINT},
    ),
    ({"type": "LineString", "coordinates": [[0, 0], [1, 1, 5.0]]}, None),
    ({"type": "Polygon", "coordinates": [RING]}, None),
    ({"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}, None),  # crosses itself
    ({"type": "MultiPoint", "coordinates": [[0, 0]]}, None),
    ({"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]]]}, None),
    ({"type": "MultiPolygon", "coordinates": [[RING, RING]]}, None),
    # Relationship (4.5.3) and ListRelationship (4.5.22)
    ({"type": "Relationship", "object": ID}, {"type": "Relationship", "object": ID}),
    (
        {"object": [ID, "urn:x:2"], "objectType": ["Car", "Car"]},
        {"type": "Relationship", "object": [ID, "urn:x:2"], "objectType": "Car"},
    ),
    ({"object": "urn:ngsi-ld:Ciudad:París"}, {"type": "Relationship", "object": "urn:ngsi-ld:Ciudad:París"}),
    (
        {"type": "ListRelationship", "objectList": [ID, {"object": "urn:x:2"}]},
        {"type": "ListRelationship", "objectList": [ID, "urn:x:2"]},
    ),
    ({"objectList": []}, {"type": "ListRelationship", "objectList": []}),
    # LanguageProperty (4.5.18, 4.6.5)
    (
        {
            "type": "LanguageProperty",
            "languageMap": {"ko": "마당", "en-GB": ["yard", "court"], "@none": "x", "fr": None},
        },
        {"type": "LanguageProperty", "languageMap": {"ko": "마당", "en-GB": ["yard", "court"], "@none": "x"}},
    ),
    ({"languageMap": {"en": "x"}, "valueType": "langString"}, None),
    # VocabProperty, JsonProperty, ListProperty
    ({"type": "VocabProperty", "vocab": "non-commercial"}, {"type": "VocabProperty", "vocab": "non-commercial"}),
    ({"vocab": ["a", "b"]}, {"type": "VocabProperty", "vocab": ["a", "b"]}),
    (
        {"type": "JsonProperty", "json": {"id": None, "@context": 1}},
        {"type": "JsonProperty", "json": {"id": None, "@context": 1}},
    ),
    ({"json": [{"a": NGSI_LD_NULL}]}, {"type": "JsonProperty", "json": [{"a": NGSI_LD_NULL}]}),
    (
        {"type": "ListProperty", "valueList": [1, {"a": 1}, [2]]},
        {"type": "ListProperty", "valueList": [1, {"a": 1}, [2]]},
    ),
    ({"valueList": []}, {"type": "ListProperty", "valueList": []}),
    # Several instances (4.5.5): the default one first
    (
        [{"value": 1, "datasetId": "urn:d:1"}, {"value": 2, "datasetId": "@none"}],
        [{"type": "Property", "value": 2}, {"type": "Property", "value": 1, "datasetId": "urn:d:1"}],
    ),
    ([{"type": "Property", "value": 1}], {"type": "Property", "value": 1}),
    ({"type": "Property", "value": 1, "datasetId": "@none"}, {"type": "Property", "value": 1}),
    (None, None),
]


@pytest.mark.parametrize(("sent", "expected"), ACCEPTED)
def test_accepted_attributes(sent: Any, expected: Any) -> None:
    found = attribute(sent)
    if sent is None:
        assert found is None
    else:
        assert found is not None
        assert expected is None or found == expected


REFUSED = [
    # no value, or one of another type (4.2.2, 4.5.2 to 4.5.24)
    {"type": "Property"},
    {"type": "Property", "value": None},
    {"type": "Relationship"},
    {"type": "LanguageProperty"},
    {"type": "JsonProperty", "value": 1},
    {"observedAt": "2026-01-31T08:30:00Z"},
    {"value": None, "unitCode": "KMH"},
    {"type": "Property", "value": 1, "object": ID},
    {"type": "Property", "value": 1, "languageMap": {"en": "x"}},
    {"type": "Property", "value": 1, "valueList": [1]},
    {"type": "Property", "value": 1, "previousValue": 0},
    {"type": "Property", "value": 1, "entityIdSealed": ID},
    {"type": "Property", "value": 1, "entity": {}},
    {"type": "Property", "value": 1, "objectType": "Car"},
    {"type": "Property", "value": 1, "@context": {"a": "urn:a"}},
    {"type": "Property", "value": {"@context": {"a": "urn:a"}}},
    {"type": "Property", "value": 1, "id": ID},
    {"type": "Property", "value": 1, "@value": 2},
    {"type": "Property", "value": 1, "unitCode": 5},
    {"type": "Property", "value": 1, "datasetId": "no uri"},
    {"type": "Property", "value": 1, "datasetId": NGSI_LD_NULL},
    {"type": "Property", "value": 1, "@type": "Relationship"},
    {"type": "Property", "value": math.nan},
    {"type": "Property", "value": math.inf},
    {"type": "ListProperty", "valueList": [math.nan]},
    {"value": 1, "object": ID},
    {"type": "Car", "value": 1},
    {"type": 5, "value": 1},
    {"type": ["Property", "Property"], "value": 1},
    {"type": None, "observedAt": "2026-01-31T08:30:00Z"},
    # times (4.6.3, 4.8)
    *(
        {"type": "Property", "value": 1, "observedAt": time}
        for time in anything(
            "yesterday",
            "2026-08-10T12:00:00+02:00",
            "2026-08-10",
            "2026-02-30T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2026-08-10T24:00:00Z",
            {"type": "Property", "value": "2026-08-10T12:00:00Z"},
            5,
            [],
            "",
        )
    ),
    {"type": "Property", "value": 1, "expiresAt": "soon"},
    {"type": "Property", "value": {"@type": "DateTime", "@value": "soon"}},
    {"type": "Property", "value": {"a": [{"type": "Date", "@value": "2026-02-30"}]}},
    {"type": "Property", "value": "noon", "valueType": "Time"},
    # geometry (4.6.3, 4.7)
    {"type": "GeometryCollection", "geometries": [POINT]},
    {"type": "GeoProperty", "value": {"type": "GeometryCollection", "geometries": [POINT]}},
    {"type": "GeoProperty", "value": "not a geometry"},
    {"type": "GeoProperty", "value": "[1"},
    {"type": "GeoProperty", "value": 5},
    *(
        {"type": "GeoProperty", "value": {"type": type, "coordinates": coordinates}}
        for type, coordinates in (
            ("Point", None),
            ("Point", []),
            ("Point", [1]),
            ("Point", ["1", 2]),
            ("Point", [True, 2]),
            ("Point", [181, 0]),
            ("Point", [0, -90.1]),
            ("Point", [math.inf, 0]),
            ("Point", [1, 2, 3, 4, 5]),
            ("Point", {"a": 1}),
            ("LineString", [[0, 0]]),
            ("LineString", [0, 0]),
            ("Polygon", [[[0, 0], [1, 0], [1, 1], [0, 1]]]),
            ("Polygon", [[[0, 0], [1, 0], [0, 0]]]),
            ("Polygon", []),
            ("Polygon", RING),
            ("MultiPolygon", [RING]),
            ("MultiPoint", []),
            (["Point"], [0, 0]),
            (None, [0, 0]),
            ("point", [0, 0]),
        )
    ),
    # relationships
    *({"object": object} for object in ("no uri", 5, [], [None], [5], ["urn:a:1", NGSI_LD_NULL], {"a": 1}, True)),
    {"type": "Relationship", "object": ID, "unitCode": "MTR"},
    {"type": "Relationship", "object": ID, "value": 1},
    {"type": "Relationship", "object": ID, "previousObject": ID},
    {"type": "Relationship", "object": ID, "valueType": "Date"},
    {"type": "Relationship", "object": ID, "objectType": []},
    {"type": "Relationship", "object": ID, "objectType": "9Car"},
    *(
        {"type": "ListRelationship", "objectList": value}
        for value in anything(
            ID, ["not a uri"], [{"object": ID, "a": 1}], [{}], [[ID]], [5], [NGSI_LD_NULL], {"object": ID}
        )
    ),
    # language, vocabulary, JSON, lists
    *(
        {"type": "LanguageProperty", "languageMap": value}
        for value in anything(
            {"en": 5},
            {"en": ["a", 5]},
            {"": "x"},
            {"@none": NGSI_LD_NULL},
            {"en": {"a": 1}},
            {},
            "x",
            ["x"],
            {"e n": "x"},
        )
    ),
    {"type": "LanguageProperty", "languageMap": {"en": "x"}, "valueType": "xsd:string"},
    {"type": "LanguageProperty", "languageMap": {"en": "x"}, "unitCode": "KMH"},
    {"type": "LanguageProperty", "languageMap": {"en": "x"}, "value": 1},
    *(
        {"type": "VocabProperty", "vocab": value}
        for value in anything(5, [], "", ["a", 5], {"a": 1}, [["a"]], NGSI_LD_NULL)
    ),
    {"type": "VocabProperty", "vocab": "a", "unitCode": "KMH"},
    *({"type": "JsonProperty", "json": value} for value in anything(5, "x", True, None)),
    {"type": "JsonProperty", "json": {}, "unitCode": "KMH"},
    {"type": "JsonProperty", "json": {}, "value": 1},
    {"type": "ListProperty", "valueList": 5},
    {"type": "ListProperty", "valueList": [1], "value": 3},
    {"type": "ListProperty", "valueList": [NGSI_LD_NULL]},
    # NGSI-LD Null where nothing can be deleted (5.5.4)
    NGSI_LD_NULL,
    {"type": "Property", "value": NGSI_LD_NULL},
    {"type": "Relationship", "object": NGSI_LD_NULL},
    {"type": "GeoProperty", "value": NGSI_LD_NULL},
    {"type": "Property", "value": 1, "sub": {"type": "Property", "value": NGSI_LD_NULL}},
    {"type": "Property", "value": 1, "sub": NGSI_LD_NULL},
    {"type": "Property", "value": 1, "unitCode": NGSI_LD_NULL},
    {"type": "Property", "value": {"country": NGSI_LD_NULL}},
    {"type": "Property", "value": {"geo": [{"country": NGSI_LD_NULL}]}},
    {"country": NGSI_LD_NULL},
    # instances (4.5.5)
    [{"value": 1}, {"value": 2, "datasetId": "@none"}],
    [{"value": 1, "datasetId": "urn:d:a"}, {"value": 2, "datasetId": "urn:d:a"}],
    [{"value": 1}, 5],
    # names (4.5.1, 4.6.2)
    {"value": 1, "my attr": 5},
    {"value": 1, "9a": 5},
    {"value": 1, "": 5},
    {"value": 1, "probe": 1, "https://uri.etsi.org/ngsi-ld/default-context/probe": 2},
    {"a": 1, "https://uri.etsi.org/ngsi-ld/default-context/a": 2},
    {"value": 1, "https://uri.etsi.org/ngsi-ld/hasObject": ID},
]


@pytest.mark.parametrize("sent", REFUSED)
def test_refused_attributes(sent: Any) -> None:
    with pytest.raises(BadRequestData) as refusal:
        attribute(sent)
    assert (refusal.value.where or "").startswith("/probe")


@pytest.mark.parametrize(
    "name",
    [
        *("my attr", "9lives", "_a", "a-b", "", "a:", ":a", "pre fix:x", "@foo", "a.b", "a\u200bb", "\ud800", "²a"),
        *("datasetId", "instanceId", "observedAt", "unitCode", "objectType", "valueType", "lang", "deletedAt2 "),
        *(
            "previousValue",
            "entityIdSealed",
            "https://uri.etsi.org/ngsi-ld/observedAt",
            "https://a.b/c d",
            "@value",
            "@graph",
        ),
    ],
)
def test_names_that_attributes_cannot_have(name: str) -> None:
    with pytest.raises(BadRequestData):
        parse_entity({"id": ID, "type": "Vehicle", name: {"type": "Property", "value": 1}}, CORE)


@pytest.mark.parametrize(
    "name", ["vocab", "value", "entity", "výška_1", "속도", "p:name", "status", "title", "https://a.b/c#d", "A", "x²"]
)
def test_names_that_attributes_can_have(name: str) -> None:
    assert attribute(1, name) == {"type": "Property", "value": 1}
    assert check_name(name) == name


@pytest.mark.parametrize(
    "code",
    [
        0x202E,
        0x200B,
        0xFEFF,
        0x2028,
        0xA0,
        0x3C,
        0xFE0F,
        0xE0100,
        0xFDD0,
        0xFFFE,
        0x115F,
        0x3164,
        0xFFA0,
        0x2800,
        0x20,
        0xD800,
    ],
)
def test_characters_that_no_uri_has(code: int) -> None:
    with pytest.raises(BadRequestData):
        check_uri(f"urn:ngsi-ld:Vehicle:a{chr(code)}b")


@pytest.mark.parametrize("text", ["", "a", "urn:", ":a", "no uri", "1a:b", None, 5, [], {}, "urn:a\n", "\nurn:a:b"])
def test_texts_that_are_no_uri(text: Any) -> None:
    with pytest.raises(BadRequestData):
        check_uri(text)
