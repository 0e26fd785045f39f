# SPDX-License-Identifier: Apache-2.0
"""The geoquery language of clause 4.10: near, within, contains, overlaps, intersects, equals, disjoint."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from madang.base.errors import BadRequestData
from madang.model.entity import Document, Json, instances_of
from madang.model.query import geometry as geometries
from madang.model.query.names import Names, canonical

RELATIONS: Final = ("near", "within", "contains", "overlaps", "intersects", "equals", "disjoint")
_NEAR: Final = re.compile(r"near;(maxDistance|minDistance)==([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_ALLOWED: Final = "allowed are near;maxDistance==metres, near;minDistance==metres, " + ", ".join(RELATIONS[1:])


@dataclass(frozen=True, slots=True)
class GeoQuery:
    """`coordinates` is the compact JSON of the reference geometry's coordinates, so that queries compare and hash."""

    relation: str
    geometry_type: str
    coordinates: str
    attribute: str = "location"
    distance_m: float = 0.0  # of near
    farther: bool = False  # near with minDistance

    @property
    def reference(self) -> Json:
        """The reference geometry as GeoJSON."""
        return _reference(self.geometry_type, self.coordinates)


def parse(parameters: Mapping[str, object], names: Names) -> GeoQuery | None:
    """Return the geoquery of URL parameters, or of a GeoQuery object (Table 5.2.13-1); None when there is none.

    Raises: BadRequestData: a part is missing or wrong.
    """
    georel, geometry_type, given = (parameters.get(name) for name in ("georel", "geometry", "coordinates"))
    present = {"georel": georel, "geometry": geometry_type, "coordinates": given}
    if all(value is None for value in present.values()):
        return None
    for name, value in present.items():
        if value is None:
            raise BadRequestData(
                f"The geoquery has no {name}; georel, geometry and coordinates are needed together", where=name
            )
    relation, distance_m, farther = _relation(georel)
    coordinates = geometries.parse_coordinates(given, "coordinates")
    geometries.check(geometry_type, coordinates, "coordinates")
    attribute = parameters.get("geoproperty", "location")
    if not isinstance(attribute, str):
        raise BadRequestData("geoproperty is not a text; allowed is the name of a GeoProperty", where="geoproperty")
    if "Polygon" in str(geometry_type):
        _check_polygon(str(geometry_type), coordinates)
    return GeoQuery(
        relation,
        str(geometry_type),
        orjson.dumps(coordinates).decode(),
        canonical(attribute, names, "geoproperty"),
        distance_m,
        farther,
    )


def _check_polygon(geometry_type: str, coordinates: Json) -> None:
    """Refuse a reference that cannot be mended: rings should not cross themselves, but in the field some do."""
    if geometries.shape({"type": geometry_type, "coordinates": coordinates}) is None:
        raise BadRequestData(
            f"coordinates: the rings of the {geometry_type} cross themselves too often; allowed are rings that do not",
            where="coordinates",
        )


def _relation(georel: object) -> tuple[str, float, bool]:
    if isinstance(georel, str) and georel in RELATIONS[1:]:
        return georel, 0.0, False
    found = _NEAR.fullmatch(georel) if isinstance(georel, str) else None
    distance_m = float(found[2]) if found is not None else 0.0
    if found is None or not 0 < distance_m < math.inf:
        raise BadRequestData(f"georel: {georel!r:.60} is not a relation; {_ALLOWED}", where="georel")
    return "near", distance_m, found[1] == "minDistance"


def matches(query: GeoQuery, document: Document) -> bool:
    """Tell whether any instance of the GeoProperty stands in the asked relation to the reference geometry."""
    return any(
        fits(query, instance["value"])
        for instance in instances_of(document, query.attribute)
        if instance.get("type") == "GeoProperty" and isinstance(instance.get("value"), dict)
    )


def fits(query: GeoQuery, geometry: Json) -> bool:
    """Tell whether one GeoJSON geometry stands in the asked relation to the reference geometry."""
    if query.relation == "near":
        distance_m = geometries.distance_m(geometry, query.reference)
        if distance_m is None:
            return False
        return distance_m > query.distance_m if query.farther else distance_m <= query.distance_m
    target = geometries.shape(geometry)
    reference = _prepared(query.geometry_type, query.coordinates)
    if target is None or reference is None:
        return False
    return bool(_TESTS[query.relation](target, reference))


def fits_point(query: GeoQuery, longitude: float, latitude: float) -> bool:
    """Tell whether a Point stands in the asked relation to the reference geometry."""
    place = geometries.point_of(query.geometry_type, query.coordinates) if query.relation == "near" else None
    if place is None:
        return fits(query, {"type": "Point", "coordinates": [longitude, latitude]})
    distance_m = geometries.haversine_m((longitude, latitude), place)
    return distance_m > query.distance_m if query.farther else distance_m <= query.distance_m


# The relation is said of the target: it lies within, contains … the reference. Asked of the reference, which is
# prepared once, each relation is the other way round.
_TESTS: Final[dict[str, Any]] = {
    "within": lambda target, reference: reference.contains(target),
    "contains": lambda target, reference: reference.within(target),
    "overlaps": lambda target, reference: reference.overlaps(target),
    "intersects": lambda target, reference: reference.intersects(target),
    "disjoint": lambda target, reference: reference.disjoint(target),
    "equals": lambda target, reference: reference.equals(target),
}


@lru_cache(maxsize=256)
def _reference(geometry_type: str, coordinates: str) -> Json:
    return {"type": geometry_type, "coordinates": orjson.loads(coordinates)}


@lru_cache(maxsize=64)
def _prepared(geometry_type: str, coordinates: str) -> Any:
    reference = geometries.shape(_reference(geometry_type, coordinates))
    if reference is not None:
        import shapely  # type: ignore[import-untyped]

        shapely.prepare(reference)
    return reference
