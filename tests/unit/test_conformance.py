# SPDX-License-Identifier: Apache-2.0
"""Answers in the form of earlier versions of the standard (clause 4.3.6.8)."""

from __future__ import annotations

import pytest

from madang.model.entity import Json
from madang.ngsild.conformance import Version, amend, preferred_version, preferring
from madang.testing.client import Client
from madang.wire.application import Application
from madang.wire.authentication import everybody
from madang.wire.http import Request, Response, Route

ENTITY = {
    "id": "urn:a",
    "type": ["A", "B"],
    "scope": "/x",
    "expiresAt": "2030-01-01T00:00:00Z",
    "vocab": {"type": "VocabProperty", "vocab": "x", "datasetId": "urn:d"},
    "name": {"type": "LanguageProperty", "languageMap": {"en": "a"}},
    "list": {"type": "ListRelationship", "objectList": [{"object": "urn:b"}, {"object": "urn:c"}], "objectType": "T"},
    "speed": [
        {"type": "Property", "value": 1, "datasetId": "urn:d"},
        {"type": "Property", "value": 2, "unitCode": "KMH", "sub": {"type": "JsonProperty", "json": {"a": None}}},
    ],
}


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ("ngsi-ld=1.0", (1, 0)),
        ("NGSI-LD=1.0", (1, 0)),
        ('ngsi-ld="1.6"', (1, 6)),
        ("ngsi-ld=1.0;q=0.1", (1, 0)),
        ("respond-async, ngsi-ld=1.8", (1, 8)),
        ("respond-async", None),
        ("ngsi-ld=one", None),
        ("ngsi-ld=1", None),
    ],
)
def test_the_version_is_found_in_the_header(prefer: str, expected: Version | None) -> None:
    assert preferred_version(prefer) == expected


def test_an_answer_of_1_5_has_no_types_of_1_8() -> None:
    amended = amend(ENTITY, (1, 5))
    assert amended == {
        "id": "urn:a",
        "type": ["A", "B"],
        "scope": "/x",
        "vocab": {"type": "Property", "value": "x", "datasetId": "urn:d"},
        "name": {"type": "LanguageProperty", "languageMap": {"en": "a"}},
        "list": {"type": "Relationship", "object": ["urn:b", "urn:c"]},
        "speed": [
            {"type": "Property", "value": 1, "datasetId": "urn:d"},
            {"type": "Property", "value": 2, "unitCode": "KMH", "sub": {"type": "Property", "value": {"a": None}}},
        ],
    }


def test_an_answer_of_1_0_has_one_of_everything() -> None:
    amended = amend([ENTITY], (1, 0))[0]
    assert amended["type"] == "A"
    assert "scope" not in amended
    assert amended["speed"] == {"type": "Property", "value": 2, "sub": {"type": "Property", "value": {"a": None}}}
    assert amended["name"] == {"type": "Property", "value": {"en": "a"}}


def test_geojson_and_concise_forms_are_amended_too() -> None:
    feature = {"type": "Feature", "id": "urn:a", "properties": {"type": "A", "v": {"vocab": "x"}}}
    assert amend({"type": "FeatureCollection", "features": [feature]}, (1, 5))["features"][0]["properties"] == {
        "type": "A",
        "v": {"value": "x"},
    }


@pytest.mark.parametrize(
    ("prefer", "status", "applied"),
    [
        ("ngsi-ld=1.5", 203, "ngsi-ld=1.5"),
        ("ngsi-ld=1.9", 200, "ngsi-ld=1.9"),
        ("ngsi-ld=2.3", 200, "ngsi-ld=1.9"),
        ("x", 200, None),
    ],
)
async def test_the_preference_is_applied_and_told(prefer: str, status: int, applied: str | None) -> None:
    async def handler(_: Request) -> Response:
        return Response(200, b'{"id":"urn:a","type":"A","v":{"type":"VocabProperty","vocab":"x"}}')

    route = preferring(Route(("GET",), "/a", handler), entities=True)
    response = await Client(Application([route], admit=everybody), root="").get("/a", headers={"prefer": prefer})
    assert response.status == status
    assert response.headers.get("preference-applied") == applied


@pytest.mark.parametrize("data", [None, 5, "x", [], [1], {}, {"a": {"type": 5}}, {"type": "Feature", "properties": 3}])
def test_strange_json_passes_through(data: Json) -> None:
    assert amend(data, (1, 0)) == data
