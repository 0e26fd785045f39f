# SPDX-License-Identifier: Apache-2.0
"""How canonical documents are shown, format by format."""

from __future__ import annotations

from typing import Any

import pytest

from madang.model.entity import NGSI_LD_NULL
from madang.model.jsonld.context import CORE, compile_context
from madang.model.jsonld.expand import parse_entity
from madang.model.jsonld.languages import best_language, parse_preferences
from madang.model.jsonld.render import (
    Representation,
    expand_names,
    feature_collection,
    render,
    render_instance,
)

ID = "urn:ngsi-ld:Vehicle:1"
POINT = {"type": "Point", "coordinates": [127.4, 36.3]}
TIME = "2026-01-31T08:30:00Z"
USER = compile_context(
    "user", {"ex": "https://example.org/", "Car": "ex:Car", "speed": "ex:speed", "red": "ex:red"}, {}
)
NORMALIZED = Representation()
CONCISE = Representation(format="concise")
SIMPLIFIED = Representation(format="simplified")


def shown(instance: Any, representation: Representation, context: Any = CORE) -> Any:
    return render({"id": ID, "type": "T", "probe": instance}, context, representation)["probe"]


# canonical, normalized, concise, simplified
FORMS = [
    ({"type": "Property", "value": 1}, None, 1, 1),
    ({"type": "Property", "value": "x", "unitCode": "KMH"}, None, {"value": "x", "unitCode": "KMH"}, "x"),
    ({"type": "Property", "value": {"a": [1]}}, None, {"a": [1]}, {"a": [1]}),
    ({"type": "Property", "value": {"value": 1}}, None, {"value": {"value": 1}}, {"value": 1}),
    ({"type": "Property", "value": {"type": "x"}}, None, {"value": {"type": "x"}}, {"type": "x"}),
    ({"type": "Property", "value": {"unitCode": 1}}, None, {"value": {"unitCode": 1}}, {"unitCode": 1}),
    ({"type": "Property", "value": [1, {"a": 1}]}, None, [1, {"a": 1}], [1, {"a": 1}]),
    ({"type": "Property", "value": [{"value": 1}]}, None, {"value": [{"value": 1}]}, [{"value": 1}]),
    ({"type": "Property", "value": POINT}, None, {"type": "Property", "value": POINT}, POINT),
    ({"type": "GeoProperty", "value": POINT}, None, POINT, POINT),
    ({"type": "GeoProperty", "value": POINT, "observedAt": TIME}, None, {"value": POINT, "observedAt": TIME}, POINT),
    (
        {
            "type": "Property",
            "value": 1,
            "sub": {"type": "Property", "value": 2},
            "by": {"type": "Relationship", "object": ID},
        },
        None,
        {"value": 1, "sub": 2, "by": {"object": ID}},
        1,
    ),
    ({"type": "Relationship", "object": ID}, None, {"object": ID}, ID),
    ({"type": "Relationship", "object": [ID, "urn:a:b"]}, None, {"object": [ID, "urn:a:b"]}, [ID, "urn:a:b"]),
    (
        {"type": "ListRelationship", "objectList": [ID]},
        {"type": "ListRelationship", "objectList": [{"object": ID}]},
        {"objectList": [ID]},
        [ID],
    ),
    (
        {"type": "LanguageProperty", "languageMap": {"en": "x"}},
        None,
        {"languageMap": {"en": "x"}},
        {"languageMap": {"en": "x"}},
    ),
    ({"type": "VocabProperty", "vocab": "a"}, None, {"vocab": "a"}, {"vocab": "a"}),
    ({"type": "JsonProperty", "json": {"a": None}}, None, {"json": {"a": None}}, {"json": {"a": None}}),
    ({"type": "ListProperty", "valueList": [1, {"a": 2}]}, None, {"valueList": [1, {"a": 2}]}, [1, {"a": 2}]),
    (
        [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d:1"}],
        None,
        [{"value": 1}, {"value": 2, "datasetId": "urn:d:1"}],
        {"dataset": {"@none": 1, "urn:d:1": 2}},
    ),
    ({"type": "Property", "value": NGSI_LD_NULL}, None, NGSI_LD_NULL, NGSI_LD_NULL),
    (
        {"type": "GeoProperty", "value": NGSI_LD_NULL},
        None,
        {"type": "GeoProperty", "value": NGSI_LD_NULL},
        NGSI_LD_NULL,
    ),
    (NGSI_LD_NULL, None, NGSI_LD_NULL, NGSI_LD_NULL),
]


@pytest.mark.parametrize(("canonical", "normalized", "concise", "simplified"), FORMS)
def test_formats(canonical: Any, normalized: Any, concise: Any, simplified: Any) -> None:
    assert shown(canonical, NORMALIZED) == (canonical if normalized is None else normalized)
    assert shown(canonical, CONCISE) == concise
    assert shown(canonical, SIMPLIFIED) == simplified


def test_system_attributes_at_every_level() -> None:
    system = {"createdAt": TIME, "modifiedAt": TIME, "expiresAt": TIME}
    document = {
        "id": ID,
        "type": "T",
        "probe": {"type": "Property", "value": 1, **system, "sub": {"type": "Property", "value": 2, **system}},
        **system,
    }
    plain = {"id": ID, "type": "T", "probe": {"type": "Property", "value": 1, "sub": {"type": "Property", "value": 2}}}
    assert render(document, CORE, NORMALIZED) == plain
    assert render(document, CORE, Representation(sys_attrs=True)) == document
    assert render(document, CORE, CONCISE)["probe"] == {"value": 1, "sub": 2}
    concise = render(document, CORE, Representation(format="concise", sys_attrs=True))
    assert concise["probe"] == {"value": 1, **system, "sub": {"value": 2, **system}}
    assert render(document, CORE, Representation(format="simplified", sys_attrs=True)) == {
        "id": ID,
        "type": "T",
        "probe": 1,
        **system,
    }


def test_names_of_the_callers_context() -> None:
    entity = {
        "id": ID,
        "type": ["Car", "Van"],
        "speed": {
            "type": "Property",
            "value": {"speed": [{"red": 1}]},
            "valueType": "Car",
            "ex:by": {"type": "Relationship", "object": ID, "objectType": "Car"},
        },
        "colour": {"type": "VocabProperty", "vocab": ["red", "blue"]},
        "raw": {"type": "JsonProperty", "json": {"speed": 1}},
        "place": {"type": "GeoProperty", "value": {**POINT, "speed": 1}},
        "ngsildproof": {"type": "Property", "value": {"speed": 1}, "entityTypeSealed": "Car", "entityIdSealed": ID},
    }
    assert render(parse_entity(entity, USER), USER, NORMALIZED) == entity
    foreign = render(parse_entity(entity, USER), CORE, NORMALIZED)
    assert foreign["type"] == ["https://example.org/Car", "Van"]
    assert foreign["https://example.org/speed"]["value"] == {
        "https://example.org/speed": [{"https://example.org/red": 1}]
    }
    assert foreign["https://example.org/speed"]["https://example.org/by"]["objectType"] == "https://example.org/Car"
    assert foreign["colour"]["vocab"] == ["https://example.org/red", "blue"]
    assert foreign["raw"] == entity["raw"]
    assert foreign["ngsildproof"]["value"] == {"speed": 1}
    assert foreign["ngsildproof"]["entityTypeSealed"] == "https://example.org/Car"
    simplified = render(parse_entity(entity, USER), USER, SIMPLIFIED)
    assert simplified["colour"] == {"vocab": ["red", "blue"]}
    assert simplified["speed"] == {"speed": [{"red": 1}]}
    concise = render(parse_entity(entity, USER), USER, CONCISE)
    assert concise["ngsildproof"] == {"value": {"speed": 1}, "entityTypeSealed": "Car", "entityIdSealed": ID}


def test_names_shown_in_full() -> None:
    document = parse_entity(
        {"id": ID, "type": "Car", "scope": "/a", "speed": 1, "location": POINT, "a": {"b": 1}}, USER
    )
    assert expand_names(document) == {
        "id": ID,
        "type": "https://example.org/Car",
        "scope": "/a",
        "https://example.org/speed": {"type": "Property", "value": 1},
        "https://uri.etsi.org/ngsi-ld/location": {"type": "GeoProperty", "value": POINT},
        "https://uri.etsi.org/ngsi-ld/default-context/a": {
            "type": "Property",
            "value": {"https://uri.etsi.org/ngsi-ld/default-context/b": 1},
        },
    }


def test_projections_lack_members() -> None:
    assert render({"speed": {"type": "Property", "value": 1}}, CORE, NORMALIZED) == {
        "speed": {"type": "Property", "value": 1}
    }
    assert render({}, CORE, SIMPLIFIED) == {}


def test_inline_joins() -> None:
    city = {
        "id": "urn:c:1",
        "type": "City",
        "speed": {"type": "Property", "value": 1, "createdAt": TIME},
        "createdAt": TIME,
    }
    one = {"type": "Relationship", "object": "urn:c:1", "entity": city}
    many = {"type": "Relationship", "object": ["urn:c:1"], "entity": [city]}
    ordered = {"type": "ListRelationship", "objectList": ["urn:c:1"], "entityList": [city]}
    normal = {"id": "urn:c:1", "type": "City", "speed": {"type": "Property", "value": 1}}
    assert shown(one, NORMALIZED) == {"type": "Relationship", "object": "urn:c:1", "entity": normal}
    assert shown(many, NORMALIZED)["entity"] == [normal]
    assert shown(ordered, NORMALIZED)["entityList"] == [normal]
    assert shown(one, CONCISE) == {"object": "urn:c:1", "entity": {"id": "urn:c:1", "type": "City", "speed": 1}}
    simple = {"id": "urn:c:1", "type": "City", "speed": 1}
    assert shown(one, SIMPLIFIED) == simple
    assert shown(many, SIMPLIFIED) == [simple]
    assert shown(ordered, SIMPLIFIED) == [simple]
    assert shown(one, Representation(sys_attrs=True))["entity"] == city
    feature = render({"id": ID, "type": "T", "probe": one}, CORE, Representation(geojson=True))
    assert feature["properties"]["probe"]["entity"] == normal


def test_geojson() -> None:
    located = {"type": "GeoProperty", "value": POINT}
    elsewhere = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [0, 0]}, "datasetId": "urn:d:1"}
    document = {"id": ID, "type": "T", "location": [located, elsewhere], "speed": {"type": "Property", "value": 1}}
    feature = render(document, CORE, Representation(geojson=True))
    assert feature == {
        "id": ID,
        "type": "Feature",
        "geometry": POINT,
        "properties": {"type": "T", "location": [located, elsewhere], "speed": {"type": "Property", "value": 1}},
    }
    assert list(feature) == ["id", "type", "geometry", "properties"]
    simplified = render(document, CORE, Representation(format="simplified", geojson=True))
    assert simplified["geometry"] == POINT
    assert simplified["properties"]["location"]["dataset"].keys() == {"@none", "urn:d:1"}
    assert feature_collection([feature]) == {"type": "FeatureCollection", "features": [feature]}


@pytest.mark.parametrize(
    ("document", "geometry_property"),
    [
        ({"location": {"type": "GeoProperty", "value": POINT}}, "operationSpace"),
        ({"location": {"type": "Property", "value": POINT}}, "location"),
        ({"speed": {"type": "Property", "value": 1}}, "speed"),
        ({"location": {"type": "GeoProperty", "value": NGSI_LD_NULL}}, "location"),
        ({"location": NGSI_LD_NULL}, "location"),
        (
            {"location": [{"type": "GeoProperty", "value": POINT, "datasetId": f"urn:d:{n}"} for n in (1, 2)]},
            "location",
        ),
        ({"scope": "/a"}, "scope"),
    ],
)
def test_no_geometry_is_null(document: Any, geometry_property: str) -> None:
    whole = {"id": ID, "type": "T", **document}
    assert render(whole, CORE, Representation(geojson=True, geometry_property=geometry_property))["geometry"] is None


def test_only_instance_gives_the_geometry() -> None:
    document = {"id": ID, "type": "T", "location": {"type": "GeoProperty", "value": POINT, "datasetId": "urn:d:1"}}
    assert render(document, CORE, Representation(geojson=True))["geometry"] == POINT


@pytest.mark.parametrize(
    ("texts", "lang", "expected"),
    [
        ({"fr": "a", "nl": "b"}, "fr;q=0.2,nl;q=0.9", "nl"),
        ({"fr": "a", "nl": "b"}, "FR", "fr"),
        ({"fr": "a", "nl": "b"}, "nl-BE", "nl"),
        ({"en-US": "a", "de": "b"}, "en", "en-US"),
        ({"fr": "a", "nl": "b"}, "pt", "fr"),
        ({"fr": "a", "nl": "b"}, "*", "fr"),
        ({"fr": "a", "nl": "b"}, "fr;q=0,nl;q=0.1", "nl"),
        ({"fr": "a", "nl": "b"}, "pt,*;q=0.5,nl;q=0.1", "fr"),
        ({"fr": "a", "nl": "b"}, "", "fr"),
        ({"fr": "a", "nl": "b"}, ";;,nl;q=x", "nl"),
        ({"zh-Hant-TW": "a", "zh": "b"}, "zh-Hant", "zh"),
        ({"@none": "a"}, "ko", "@none"),
        ({}, "ko", None),
    ],
)
def test_languages(texts: dict[str, Any], lang: str, expected: str | None) -> None:
    assert best_language(texts, parse_preferences(lang)) == expected


def test_one_language_makes_a_property() -> None:
    instance = {
        "type": "LanguageProperty",
        "languageMap": {"fr": "Place", "nl": ["Markt", "Plein"]},
        "observedAt": TIME,
    }
    fr, nl = Representation(lang="fr"), Representation(lang="nl")
    assert shown(instance, fr) == {"type": "Property", "value": "Place", "lang": "fr", "observedAt": TIME}
    assert shown(instance, nl)["value"] == ["Markt", "Plein"]
    assert shown(instance, Representation(format="concise", lang="fr")) == {
        "value": "Place",
        "lang": "fr",
        "observedAt": TIME,
    }
    assert shown(instance, Representation(format="simplified", lang="fr")) == "Place"
    sub = {"type": "Property", "value": 1, "label": instance}
    assert shown(sub, fr)["label"]["lang"] == "fr"


def test_single_instances() -> None:
    instance = {"type": "Property", "value": 1, "createdAt": TIME}
    assert render_instance(instance, CORE, NORMALIZED) == {"type": "Property", "value": 1}
    assert render_instance(instance, CORE, CONCISE) == 1
    assert render_instance(instance, CORE, SIMPLIFIED) == 1


def test_changes_are_shown_in_the_callers_names() -> None:
    instance: Any = {
        "type": "VocabProperty",
        "vocab": "https://example.org/red",
        "previousVocab": "https://example.org/speed",
    }
    assert shown(instance, NORMALIZED, USER) == {"type": "VocabProperty", "vocab": "red", "previousVocab": "speed"}
    instance = {"type": "Property", "value": 1, "previousValue": {"https://example.org/speed": 1}}
    assert shown(instance, NORMALIZED, USER)["previousValue"] == {"speed": 1}
    instance = {"type": "ListRelationship", "objectList": [NGSI_LD_NULL], "previousObjectList": [ID], "deletedAt": TIME}
    assert shown(instance, Representation(sys_attrs=True)) == {
        "type": "ListRelationship",
        "objectList": [NGSI_LD_NULL],
        "previousObjectList": [{"object": ID}],
        "deletedAt": TIME,
    }
