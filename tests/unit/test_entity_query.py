# SPDX-License-Identifier: Apache-2.0
"""One reading of questions from URL parameters and from Query bodies (clauses 5.7.2, 5.2.23, 5.2.33, 5.2.43)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.errors import BadRequestData, HubError
from madang.model.jsonld.context import CORE, compile_context
from madang.model.query import geo, order, q, scope
from madang.model.query.entity_query import PARAMETERS, parse_query, parse_query_body, parse_selector
from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection
from madang.model.query.projection import Member

CITY = compile_context("city", {"Building": "https://example.org/Building"}, {})
BUILDINGS = EntitySelector(types=TypeSelection((("https://example.org/Building",),)))


PARAMETERS_OF_EVERY_KIND = {
    "type": "Building",
    "id": "urn:x:1,urn:x:2",
    "idPattern": "1$",
    "q": "a>1",
    "scopeQ": "/a/#",
    "georel": "within",
    "geometry": "Point",
    "coordinates": "[8,40]",
    "orderBy": "a;desc",
    "datasetId": "@none",
    "pick": "a,b",
    "csf": "endpoint",
    "limit": "5",
}


def test_url_parameters() -> None:
    parsed = parse_query(PARAMETERS_OF_EVERY_KIND, CITY)
    assert parsed.query == EntityQuery(
        selectors=(EntitySelector(("urn:x:1", "urn:x:2"), "1$", BUILDINGS.types),),
        attributes=("a", "b"),
        q=q.parse("a>1", CITY),
        geo=geo.parse({"georel": "within", "geometry": "Point", "coordinates": "[8,40]"}, CITY),
        scope=scope.parse("/a/#"),
        datasets=("@none",),
        order=order.parse("a;desc", CITY),
    )
    assert parsed.projection.pick == (Member("a"), Member("b"))
    assert parsed.csf is not None
    assert parsed.join is None
    assert parsed.local is None


def test_a_body_says_the_same() -> None:
    body = {
        "type": "Query",
        "entities": [{"type": "Building", "id": ["urn:x:1", "urn:x:2"], "idPattern": "1$"}],
        "q": "a>1",
        "scopeQ": "/a/#",
        "geoQ": {"georel": "within", "geometry": "Point", "coordinates": [8, 40]},
        "ordering": {"orderBy": ["a;desc"]},
        "datasetId": ["@none"],
        "pick": ["a", "b"],
        "csf": "endpoint",
    }
    assert parse_query_body(body, CITY) == parse_query(PARAMETERS_OF_EVERY_KIND, CITY)


def test_members_of_a_body_alone() -> None:
    body = {
        "type": "Query",
        "@context": "https://example.org/context",
        "entities": [{"type": "A"}, {"type": "B", "id": "urn:x:1"}],
        "lang": "en",
        "join": "inline",
        "joinLevel": 2,
        "containedBy": ["urn:x:9"],
        "entityMap": True,
        "entityMapLifetime": "PT5M",
        "splitEntities": False,
        "expandValues": "a",
        "jsonKeys": "b",
        "q": "a==X;r{s{t}}==1",
    }
    parsed = parse_query_body(body, CORE, local=True)
    assert len(parsed.query.selectors) == 2
    assert (parsed.lang, parsed.join, parsed.join_level, parsed.contained_by) == ("en", "inline", 2, ("urn:x:9",))
    assert (parsed.entity_map, parsed.entity_map_lifetime, parsed.split_entities) == (True, "PT5M", False)
    assert parsed.local is True


def test_any_type_is_local() -> None:
    assert parse_query({"type": "*"}, CORE).local is True
    assert parse_query({"type": "*"}, CORE).query.selectors == ()
    assert parse_query({"type": "*", "local": "true"}, CORE).local is True
    assert parse_query_body({"type": "Query", "entities": [{"type": "*"}]}, CORE).local is True
    with pytest.raises(BadRequestData):
        parse_query({"type": "*", "local": "false"}, CORE)


@pytest.mark.parametrize(
    ("parameters", "narrow"),
    [
        ({"type": "A"}, True),
        ({"attrs": "a"}, True),
        ({"attrs": "createdAt,a"}, True),
        ({"q": "a"}, True),
        ({"q": 'modifiedAt>"2020-01-01T00:00:00Z"|a'}, True),
        ({"georel": "within", "geometry": "Point", "coordinates": "[8,40]"}, True),
        ({"local": "true"}, True),
        ({"type": "*"}, True),
        ({}, False),
        ({"attrs": "createdAt"}, False),
        ({"q": 'modifiedAt>"2020-01-01T00:00:00Z"'}, False),
        ({"id": "urn:x:1"}, False),
        ({"idPattern": "x"}, False),
        ({"scopeQ": "/a"}, False),
        ({"local": "false"}, False),
        ({"pick": "id"}, False),
    ],
)
def test_a_query_must_not_be_too_wide(parameters: dict[str, str], narrow: bool) -> None:
    parsed = parse_query(parameters, CORE)
    if narrow:
        parsed.require_narrow()
        return
    with pytest.raises(BadRequestData):
        parsed.require_narrow()


@pytest.mark.parametrize(
    "parameters",
    [
        {"q": "r{a}"},
        {"q": "r{a}", "join": "@none"},
        {"q": "r{s{a}}", "join": "inline", "joinLevel": "1"},
        {"pick": "r{a}"},
        {"omit": "r{s{a}}", "join": "flat"},
        {"join": "deep"},
        {"join": "flat", "joinLevel": "0"},
        {"join": "flat", "joinLevel": "11"},
        {"join": "flat", "joinLevel": "x"},
        {"join": "flat", "joinLevel": "9" * 100},
        {"id": "x"},
        {"id": "urn:x:1,"},
        {"id": ""},
        {"type": ""},
        {"idPattern": "("},
        {"local": "yes"},
        {"csf": "))bad(("},
        {"scopeQ": "a//"},
        {"containedBy": "x"},
        {"expandValues": "a,,b"},
        {"jsonKeys": "a b"},
        {"orderBy": "location;dist-asc"},
        {"collation": "!!nope"},
        {"georel": "within"},
        {"datasetId": "x"},
    ],
)
def test_wrong_parameters(parameters: dict[str, str]) -> None:
    with pytest.raises(BadRequestData):
        parse_query(parameters, CORE)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "NotQuery"},
        {"entities": []},
        {"entities": {"type": "A"}},
        {"entities": ["A"]},
        {"entities": [{"id": "urn:x:1"}]},
        {"entities": [{"type": ["A"]}]},
        {"entities": [{"type": "A", "id": "not a uri"}]},
        {"entities": [{"type": "A", "id": ["urn:x:1", 5]}]},
        {"entities": [{"type": "A", "id": []}]},
        {"entities": [{"type": "A", "idPattern": 5}]},
        {"entities": [{"type": "A", "idPattern": "("}]},
        {"attrs": []},
        {"attrs": "a"},
        {"attrs": [5]},
        {"pick": []},
        {"q": 42},
        {"scopeQ": ["/a"]},
        {"csf": 5},
        {"lang": 5},
        {"geoQ": "near"},
        {"geoQ": {}},
        {"geoQ": {"georel": "within"}},
        {"ordering": []},
        {"ordering": {"orderBy": "a"}},
        {"ordering": {"orderBy": ["location;dist-asc"]}},
        {"ordering": {"orderBy": ["location;dist-asc"], "coordinates": "8,40"}},
        {"ordering": {"orderBy": ["id;asc"], "geometry": 5}},
        {"ordering": {"orderBy": ["id;asc"], "collation": "not a bcp47 tag!!"}},
        {"join": "inline", "joinLevel": 0},
        {"join": "inline", "joinLevel": 1.5},
        {"join": "inline", "joinLevel": True},
        {"join": "inline", "joinLevel": "1"},
        {"join": 5},
        {"containedBy": "urn:x:1"},
        {"entityMap": "true"},
        {"splitEntities": 1},
        {"datasetId": "@none"},
        {"temporalQ": {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"}},
        {"aggrParams": {}},
    ],
)
def test_wrong_bodies(change: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData):
        parse_query_body({"type": "Query", "entities": [{"type": "A"}], **change}, CORE)


@pytest.mark.parametrize("data", [None, [], "Query", 5, {}])
def test_a_body_is_an_object(data: Any) -> None:
    with pytest.raises(BadRequestData):
        parse_query_body(data, CORE)


def test_temporal_queries_have_rules_of_their_own() -> None:
    asked = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z"}
    body = {"type": "Query", "entities": [{"type": "A"}], "temporalQ": asked, "aggrParams": {"aggrMethods": ["avg"]}}
    parsed = parse_query_body(body, CORE, temporal=True)
    assert parsed.temporal == asked
    assert parsed.aggregation == {"aggrMethods": ["avg"]}
    assert parse_query({"type": "A", "orderBy": "id;desc"}, CORE, temporal=True).query.order
    for wrong in ("name", "id,name", "createdAt"):
        with pytest.raises(BadRequestData):
            parse_query({"type": "A", "orderBy": wrong}, CORE, temporal=True)
    with pytest.raises(BadRequestData):
        parse_query_body({**body, "containedBy": ["urn:x:1"]}, CORE, temporal=True)
    with pytest.raises(BadRequestData):
        parse_query_body({**body, "temporalQ": 5}, CORE, temporal=True)


def test_selectors() -> None:
    assert parse_selector({"type": "Building"}, CITY, "/entities/0") == BUILDINGS
    assert parse_selector({"type": "*", "id": "urn:x:1"}, CITY, "/e").ids == ("urn:x:1",)
    with pytest.raises(BadRequestData) as caught:
        parse_selector({"type": "(A"}, CITY, "/entities/0")
    assert caught.value.where == "/entities/0/type"


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
members = st.sampled_from(
    [
        *("entities", "q", "geoQ", "scopeQ", "temporalQ", "attrs", "omit", "pick", "aggrParams", "csf", "containedBy"),
        *("datasetId", "expandValues", "entityMap", "entityMapLifetime", "jsonKeys", "join", "joinLevel", "lang"),
        *("ordering", "splitEntities", "coordinates", "orderBy", "orderFrom", "local", "type"),
    ]
)


@settings(deadline=None)
@given(st.dictionaries(members, junk, max_size=4), st.booleans())
def test_any_body_is_read_or_refused(body: dict[str, Any], temporal: bool) -> None:
    with suppress(HubError):
        parse_query_body({"type": "Query", **body}, CORE, temporal=temporal)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(PARAMETERS)), st.text(max_size=8), max_size=3))
def test_any_parameters_are_read_or_refused(parameters: dict[str, str]) -> None:
    with suppress(HubError):
        parse_query(parameters, CORE)
