# SPDX-License-Identifier: Apache-2.0
"""The geoquery language of clause 4.10."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.errors import BadRequestData
from madang.model.entity import Document
from madang.model.jsonld.context import CORE
from madang.model.query import geo
from madang.model.query.geo import GeoQuery
from madang.model.query.geometry import around, bounds, check, distance_m, haversine_m
from tests.query_samples import documents, geo_queries, geometries

SQUARE = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]
HOLED = [*SQUARE, [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]]
BOW_TIE = [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]


def entity(geometry_type: str, coordinates: Any, name: str = "location") -> Document:
    value = {"type": geometry_type, "coordinates": coordinates}
    return {"id": "urn:x:1", "type": "T", name: {"type": "GeoProperty", "value": value}}


def query(georel: str, geometry_type: str, coordinates: Any, **more: str) -> GeoQuery:
    parameters = {"georel": georel, "geometry": geometry_type, "coordinates": json.dumps(coordinates), **more}
    found = geo.parse(parameters, CORE)
    assert found is not None
    return found


POINT = entity("Point", [5, 5])
CORNER = entity("Point", [2, 2])
LINE = entity("LineString", [[-5, 5], [5, 5]])
BOX = entity("Polygon", [[[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]])


@pytest.mark.parametrize(
    ("georel", "geometry_type", "coordinates", "document", "expected"),
    [
        ("near;maxDistance==2000", "Point", [5, 5.01], POINT, True),
        ("near;maxDistance==1000", "Point", [5, 5.01], POINT, False),
        ("near;minDistance==1000", "Point", [5, 5.01], POINT, True),
        ("near;minDistance==2000", "Point", [5, 5.01], POINT, False),
        ("near;maxDistance==1.2e3", "Point", [5, 5.01], POINT, True),
        # the nearest point counts, of the reference and of the target, in metres
        ("near;maxDistance==2000", "LineString", [[0, 60], [10, 60]], entity("Point", [10, 60.009]), True),
        ("near;maxDistance==2000", "LineString", [[0, 61], [10, 61]], entity("Point", [10, 60.009]), False),
        ("near;maxDistance==20000", "Point", [0, 85], entity("LineString", [[1, 85], [0, 85.6]]), True),
        ("near;maxDistance==5000", "Point", [0, 85], entity("LineString", [[1, 85], [0, 85.6]]), False),
        ("near;maxDistance==1", "Polygon", SQUARE, POINT, True),
        ("near;maxDistance==1000", "Point", [-179.999, 0], entity("Point", [179.999, 0]), True),
        ("near;maxDistance==1000", "Point", [-179.999, 0], entity("LineString", [[179.999, 0], [179, 0]]), True),
        ("within", "Polygon", SQUARE, POINT, True),
        ("within", "Polygon", HOLED, POINT, False),
        ("within", "Polygon", HOLED, CORNER, True),
        ("within", "MultiPolygon", [SQUARE, [[[20, 20], [21, 20], [21, 21], [20, 20]]]], POINT, True),
        ("within", "Polygon", SQUARE, LINE, False),
        ("contains", "Point", [1.5, 1.5], BOX, True),
        ("contains", "Point", [5, 5], POINT, True),
        ("contains", "Point", [5, 6], POINT, False),
        ("intersects", "Polygon", SQUARE, LINE, True),
        ("intersects", "Point", [0, 5], LINE, True),
        ("overlaps", "Polygon", [[[1.5, 1.5], [3, 1.5], [3, 3], [1.5, 1.5]]], BOX, True),
        ("overlaps", "Polygon", SQUARE, BOX, False),
        ("equals", "Point", [5.0, 5.0], POINT, True),
        ("equals", "Polygon", [[[2, 2], [1, 2], [1, 1], [2, 1], [2, 2]]], BOX, True),
        ("equals", "MultiPoint", [[5, 5], [5, 5]], POINT, True),
        ("disjoint", "Polygon", SQUARE, entity("Point", [11, 11]), True),
        ("disjoint", "Polygon", SQUARE, POINT, False),
        ("disjoint", "MultiLineString", [[[0, 0], [1, 0]]], POINT, True),
        # rings that cross themselves are mended
        ("within", "Polygon", BOW_TIE, entity("Point", [1, 5]), True),
        ("within", "Polygon", BOW_TIE, entity("Point", [5, 1]), False),
        ("contains", "Point", [1, 5], entity("Polygon", BOW_TIE), True),
        # altitudes are left aside
        ("equals", "Point", [5, 5, 100], entity("Point", [5, 5, 7]), True),
    ],
)
def test_relations(georel: str, geometry_type: str, coordinates: Any, document: Document, expected: bool) -> None:
    assert geo.matches(query(georel, geometry_type, coordinates), document) is expected


def test_the_attribute_is_location_or_the_one_named() -> None:
    document = entity("Point", [8, 40], "observationSpace")
    assert not geo.matches(query("near;maxDistance==10", "Point", [8, 40]), document)
    assert geo.matches(query("near;maxDistance==10", "Point", [8, 40], geoproperty="observationSpace"), document)


def test_one_of_several_instances_is_enough() -> None:
    both = [entity("Point", [1, 1])["location"], {**entity("Point", [5, 5])["location"], "datasetId": "urn:d:1"}]
    document = {**POINT, "location": both}
    assert geo.matches(query("equals", "Point", [5, 5]), document)
    assert geo.matches(query("disjoint", "Point", [5, 5]), document)


def test_what_is_no_geoproperty_has_no_place() -> None:
    assert not geo.matches(query("disjoint", "Point", [5, 5]), {"id": "urn:x:1", "type": "T"})
    plain = {"type": "Property", "value": {"type": "Point", "coordinates": [5, 5]}}
    assert not geo.matches(query("equals", "Point", [5, 5]), {**POINT, "location": plain})
    broken = {"type": "GeoProperty", "value": {"type": "Polygon", "coordinates": [[1, "x"]]}}
    assert not geo.matches(query("disjoint", "Point", [5, 5]), {**POINT, "location": broken})


def test_no_parameters_are_no_query() -> None:
    assert geo.parse({}, CORE) is None
    assert geo.parse({"geoproperty": "location"}, CORE) is None


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({"georel": "touches"}, "georel"),
        ({"georel": "near"}, "georel"),
        ({"georel": "near;maxDistance==0"}, "georel"),
        ({"georel": "near;maxDistance==-5"}, "georel"),
        ({"georel": "near;maxDistance==inf"}, "georel"),
        ({"georel": "near;maxDistance==1e400"}, "georel"),
        ({"georel": "near;maxDistance==5;minDistance==1"}, "georel"),
        ({"georel": "within;maxDistance==5"}, "georel"),
        ({"georel": 5}, "georel"),
        ({"georel": None}, "georel"),
        ({"geometry": "GeometryCollection"}, "geometry"),
        ({"geometry": "point"}, "geometry"),
        ({"geometry": ["Point"]}, "geometry"),
        ({"geometry": None}, "geometry"),
        ({"coordinates": None}, "coordinates"),
        ({"coordinates": ""}, "coordinates"),
        ({"coordinates": "8,40"}, "coordinates"),
        ({"coordinates": "{}"}, "coordinates"),
        ({"coordinates": "[8]"}, "coordinates"),
        ({"coordinates": "[8,40,1,2,3]"}, "coordinates"),
        ({"coordinates": "[8,91]"}, "coordinates"),
        ({"coordinates": "[181,40]"}, "coordinates"),
        ({"coordinates": "[8,NaN]"}, "coordinates"),
        ({"coordinates": "[8,1e999]"}, "coordinates"),
        ({"coordinates": '["8","40"]'}, "coordinates"),
        ({"coordinates": "[true,false]"}, "coordinates"),
        ({"coordinates": "[[8,40]]"}, "coordinates"),
        ({"coordinates": "[" * 5000}, "coordinates"),
        ({"geometry": "LineString", "coordinates": "[[8,40]]"}, "coordinates"),
        ({"geometry": "MultiPoint", "coordinates": "[]"}, "coordinates"),
        ({"geometry": "Polygon", "coordinates": "[[[0,0],[1,1],[0,0]]]"}, "coordinates"),
        ({"geometry": "Polygon", "coordinates": "[[[0,0],[1,0],[1,1],[0,1]]]"}, "coordinates"),
        ({"geometry": "Polygon", "coordinates": "[[0,0],[1,0],[1,1],[0,0]]"}, "coordinates"),
        ({"geometry": "MultiPoint", "coordinates": [[1, 1]] * 10_001}, "coordinates"),
        ({"geoproperty": 5}, "geoproperty"),
        ({"geoproperty": "a b"}, "geoproperty"),
    ],
)
def test_refusals(parameters: dict[str, Any], where: str) -> None:
    given = {"georel": "within", "geometry": "Point", "coordinates": "[8,40]", **parameters}
    with pytest.raises(BadRequestData) as caught:
        geo.parse({name: value for name, value in given.items() if value is not None}, CORE)
    assert caught.value.where == where


def test_coordinates_may_be_an_array_already() -> None:
    found = geo.parse({"georel": "within", "geometry": "Point", "coordinates": [8, 40]}, CORE)
    assert found == geo.parse({"georel": "within", "geometry": "Point", "coordinates": " [8, 40] "}, CORE)


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.sampled_from(["Point", "LineString", "Polygon", "MultiPolygon", "x"]), junk)
def test_junk_is_refused_and_nothing_else(geometry_type: str, coordinates: Any) -> None:
    try:
        check(geometry_type, coordinates, "coordinates")
    except BadRequestData:
        return
    assert bounds(coordinates) is not None


@settings(deadline=None)
@given(junk, st.sampled_from(["Point", "Polygon", "x", None]), geo_queries())
def test_a_stored_value_that_is_no_geometry_does_no_harm(value: Any, geometry_type: Any, asked: GeoQuery) -> None:
    stored = {"type": "GeoProperty", "value": {"type": geometry_type, "coordinates": value}}
    assert geo.matches(asked, {"id": "urn:x:1", "type": "T", asked.attribute: stored}) in (True, False)


@settings(deadline=None)
@given(geo_queries(), documents)
def test_disjoint_is_the_opposite_of_intersects(asked: GeoQuery, document: Document) -> None:
    values = document.get(asked.attribute, [])
    instances = values if isinstance(values, list) else [values]
    places = [item["value"] for item in instances if item["type"] == "GeoProperty"]
    for place in places:
        apart = geo.fits(GeoQuery("disjoint", asked.geometry_type, asked.coordinates), place)
        meets = geo.fits(GeoQuery("intersects", asked.geometry_type, asked.coordinates), place)
        assert apart is not meets


def test_distance_of_two_cities() -> None:
    seoul, daejeon = (126.978, 37.5665), (127.3845, 36.3504)
    assert math.isclose(haversine_m(seoul, daejeon), 139_900, rel_tol=0.01)


@settings(deadline=None)
@given(geometries, geometries)
def test_distance_is_symmetric(here: dict[str, Any], there: dict[str, Any]) -> None:
    first, second = distance_m(here, there), distance_m(there, here)
    assert first is not None
    assert second is not None
    assert first >= 0
    # Near a pole the plane in which larger shapes are compared depends on which of them is the reference.
    if all(abs(position[1]) < 60 for shape in (here, there) for position in _flat(shape["coordinates"])):
        assert math.isclose(first, second, rel_tol=0.05, abs_tol=1)


def _flat(coordinates: Any) -> list[Any]:
    if not isinstance(coordinates[0], list):
        return [coordinates]
    return [position for item in coordinates for position in _flat(item)]


@settings(deadline=None)
@given(
    st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
    st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
    st.floats(0, 1.0),
)
def test_boxes_around_a_place_hold_all_that_is_near(
    here: tuple[float, float], there: tuple[float, float], more: float
) -> None:
    distance = haversine_m(here, there) * (1 + more) + 0.001
    boxes = around((*here, *here), distance)
    margin = 1e-9
    assert any(
        west - margin <= there[0] <= east + margin and south - margin <= there[1] <= north + margin
        for west, south, east, north in boxes
    )
