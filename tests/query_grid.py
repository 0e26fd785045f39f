# SPDX-License-Identifier: Apache-2.0
"""Every form of an attribute, and every operator that may be asked of it: what each store must answer alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

from madang.model.entity import Document
from madang.model.jsonld.context import CORE
from madang.model.query import order
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery
from madang.model.query.order import Order

PLAIN: list[Any] = [
    *(-1, 0, 1, 2, 1.0, 1.5, 2**53 + 1, 2**63 + 5, 1e300, True, False),
    *("", "a", "ab", "B", "é", "z" * 128, "z" * 130, "z" * 131, "x\0y", "urn:x:1", "1"),
    *(
        "2026-01-01",
        "2026-01-02",
        "10:00:00Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.5Z",
        "2026-13-01T00:00:00Z",
    ),
    *([], [1, "a"], ["urn:x:1", 2.5], [{"@value": 1}], {}, {"k": 1}, {"k": "a"}, {"k": [1]}, {"k": {"k": 1}}),
    *({"@type": "X", "@value": 1}, {"@type": "DateTime", "@value": "2026-01-01T00:00:00Z"}),
]
MOMENTS = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.500000Z", "2026-01-01T00:00:01Z", "2025-12-31T23:59:59Z"]
PLACES: list[tuple[str, Any]] = [
    ("Point", [0, 0]),
    ("Point", [1, 1]),
    ("Point", [0.5, 0.2]),
    ("Point", [0.001, 0.001]),
    ("Point", [179.9999, 0]),
    ("Point", [-179.9999, 0]),
    ("Point", [10, 89.9]),
    ("Point", [1, 1, 7]),
    ("LineString", [[0, 0], [1, 1]]),
    ("MultiPoint", [[0, 0], [5, 5]]),
    ("Polygon", [[[0, 0], [1, 0], [1, 1], [0, 0]]]),
    ("Polygon", [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]),
    ("MultiPolygon", [[[[0, 0], [1, 0], [1, 1], [0, 0]]], [[[5, 5], [6, 5], [6, 6], [5, 5]]]]),
]


def attributes() -> Iterator[Any]:
    """Each form of an attribute, alone and among several instances."""
    single: list[dict[str, Any]] = [{"type": "Property", "value": value} for value in PLAIN]
    single += [
        {"type": "Relationship", "object": "urn:x:1"},
        {"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]},
        {"type": "ListRelationship", "objectList": ["urn:x:2"]},
        {"type": "LanguageProperty", "languageMap": {"en": "a", "fr": ["B", "ab"]}},
        {"type": "LanguageProperty", "languageMap": {"fr": "2026-01-01T00:00:00Z"}},
        {"type": "LanguageProperty", "languageMap": {}},
        {"type": "VocabProperty", "vocab": "a"},
        {"type": "VocabProperty", "vocab": ["https://example.org/V", "a"]},
        {"type": "JsonProperty", "json": 1},
        {"type": "JsonProperty", "json": None},
        {"type": "JsonProperty", "json": {"k": "a"}},
        {"type": "ListProperty", "valueList": [1, "a"]},
    ]
    single += [{"type": "GeoProperty", "value": {"type": kind, "coordinates": where}} for kind, where in PLACES]
    # looks like a place, but is none
    single += [{"type": "Property", "value": {"type": "Point", "coordinates": where}} for where in ([9, 9], [1, 1])]
    yield from single
    for first, second in itertools.pairwise(single[::3]):
        yield [first, {**second, "datasetId": "urn:x:2"}]
    for first, second, third in zip(single[::7], single[3::7], single[5::7], strict=False):
        yield [first, {**second, "datasetId": "urn:x:1"}, {**third, "datasetId": "urn:x:2"}]
    for value in (1, "a", 2, [1], {"k": 1}):
        below = {"type": "Property", "value": value}
        yield {"type": "Property", "value": 5, "b": below}
        yield {"type": "Property", "value": 5, "b": [below, {**below, "value": 7, "datasetId": "urn:x:1"}]}
        yield [{"type": "Property", "value": 5}, {"type": "Property", "value": 6, "b": below, "datasetId": "urn:x:1"}]
    for moment in MOMENTS:
        observed = {"type": "Property", "value": 5, "observedAt": moment, "unitCode": "a"}
        yield observed
        yield [observed, {"type": "Property", "value": 6, "observedAt": MOMENTS[0], "datasetId": "urn:x:1"}]


def made() -> list[Document]:
    types: list[Any] = ["T", "U", ["T", "U"]]
    found: list[Document] = [
        {
            "id": f"urn:x:{number}",
            "type": types[number % 3],
            "createdAt": MOMENTS[number % 4],
            "modifiedAt": MOMENTS[0],
            "a": attribute,
        }
        for number, attribute in enumerate(attributes())
    ]
    return [*found, {"id": "urn:x:none", "type": "T", "createdAt": MOMENTS[0], "modifiedAt": MOMENTS[1]}]


DOCUMENTS = made()
LITERALS = [
    *("0", "1", "1.5", "2", str(2**53 + 1), str(2**63 + 5), "1e300", '""', '"a"', '"ab"', '"é"', '"urn:x:1"', '"1"'),
    *(f'"{"z" * 128}"', f'"{"z" * 130}"', '"x\\u0000y"', '"2026-01-01T00:00:00Z"', '"https://example.org/V"'),
    *("2026-01-01", "10:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z"),
]
EQUAL_ONLY = [
    *("true", "false", "urn:x:1", "word", "https://example.org/V", "0..1", "1.5..2", '"a".."b"', '1,"a",true'),
    *(
        "2026-01-01T00:00:00Z..2026-01-01T00:00:00.7Z",
        "2026-01-01..2026-01-03",
        "2026-01-01T00:00:00Z,1",
        '"a",urn:x:1',
    ),
    "https://uri.etsi.org/ngsi-ld/default-context/a",
]
PATHS = [
    "a",
    "a.b",
    "a[k]",
    "a[k.k]",
    "a[en]",
    "a[*]",
    "a.observedAt",
    "a.unitCode",
    "a.b[k]",
    "createdAt",
    "id",
    "type",
]


def texts(path: str) -> Iterator[str]:
    yield path
    yield f"!{path}"
    literals = LITERALS if path == "a" else LITERALS[1::2]
    for operator, literal in itertools.product(("==", "!=", "<", "<=", ">", ">="), literals):
        yield path + operator + literal
    for operator, literal in itertools.product(("==", "!="), EQUAL_ONLY):
        yield path + operator + literal
    for operator, pattern in itertools.product(("~=", "!~="), ('"^a"', '"b|1"', '""')):
        yield path + operator + pattern


def orders() -> Iterator[Order]:
    for path, direction in itertools.product(PATHS, ("asc", "desc")):
        yield order.parse(f"{path};{direction}", CORE)
    yield order.parse("a;desc,createdAt;desc", CORE)
    yield order.parse("createdAt,a", CORE)
    yield order.parse("a", CORE, collation="und-u-ks-level1")
    for direction, (kind, coordinates) in itertools.product(("asc", "desc"), PLACES[::3]):
        yield order.parse(f"a;dist-{direction}", CORE, order_from=coordinates, order_geometry=kind)


@cache
def answers(query: EntityQuery) -> list[str]:
    found = [document for document in DOCUMENTS if matches(query, document)]
    return [document["id"] for document in order.sort(query.order, found)]
