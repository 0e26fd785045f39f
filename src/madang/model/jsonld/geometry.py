# SPDX-License-Identifier: Apache-2.0
"""Which GeoJSON geometries are valid (RFC 7946; ETSI CIM 009 clauses 4.6.3 and 4.7)."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Final

from madang.base.errors import BadRequestData
from madang.model.entity import Json
from madang.model.jsonld.values import check_depth

_MEMBERS_OF_ALL: Final = 2  # type and coordinates; what else there is stays as it came
_RING_POSITIONS_MIN: Final = 4
_LINE_POSITIONS_MIN: Final = 2
_LONGITUDE_MAX: Final = 180
_LATITUDE_MAX: Final = 90


def check_geometry(value: Json, where: str | None = None) -> dict[str, Json]:
    """Return the value if it is a GeoJSON geometry of a type that NGSI-LD supports: any but GeometryCollection.

    Rings that cross themselves are accepted: producers make them, and stores answer what they can about them.

    Raises: BadRequestData: the type, the nesting, the count or the range of the coordinates is not that of GeoJSON.
    """
    if value.__class__ is not dict:
        raise BadRequestData("A GeoProperty needs a GeoJSON geometry, an object with type and coordinates", where=where)
    type = value.get("type")
    check = _CHECKS.get(type) if type.__class__ is str else None
    if check is None:
        allowed = ", ".join(_CHECKS)
        raise BadRequestData(f"{type!r:.80} is not a supported GeoJSON geometry; allowed are {allowed}", where=where)
    fault = check(value.get("coordinates"))
    if fault is not None:
        raise BadRequestData(f"The coordinates of the {type} are not valid: {fault}", where=where)
    if len(value) > _MEMBERS_OF_ALL:
        check_depth(value)
    geometry: dict[str, Json] = value
    return geometry


def is_geometry(value: Json) -> bool:
    """Tell whether the value is a GeoJSON geometry of a supported type with valid coordinates."""
    if value.__class__ is not dict or value.get("type").__class__ is not str or value["type"] not in _CHECKS:
        return False
    return _CHECKS[value["type"]](value.get("coordinates")) is None


def is_geometry_type(name: Json) -> bool:
    """Tell whether a name is that of a GeoJSON geometry, GeometryCollection included."""
    return name.__class__ is str and (name in _CHECKS or name == "GeometryCollection")


def _position(position: Json) -> str | None:
    if position.__class__ is not list or not 2 <= len(position) <= 4:
        return "a position is a list of longitude, latitude and optionally altitude"
    for number in position:
        if number.__class__ is float:
            if not isfinite(number):
                return "a coordinate is not a finite number"
        elif number.__class__ is not int:
            return "a coordinate is not a number"
    if not -_LONGITUDE_MAX <= position[0] <= _LONGITUDE_MAX:
        return f"the longitude {position[0]!r:.40} is not between -180 and 180 degrees"
    if not -_LATITUDE_MAX <= position[1] <= _LATITUDE_MAX:
        return f"the latitude {position[1]!r:.40} is not between -90 and 90 degrees"
    return None


def _all(items: Json, check: Callable[[Json], str | None], what: str) -> str | None:
    if items.__class__ is not list or not items:
        return f"a list of {what} is needed"
    for item in items:
        fault = check(item)
        if fault is not None:
            return fault
    return None


def _positions(positions: Json) -> str | None:
    return _all(positions, _position, "positions")


def _line(positions: Json) -> str | None:
    fault = _positions(positions)
    if fault is None and len(positions) < _LINE_POSITIONS_MIN:
        return "a line has at least two positions"
    return fault


def _ring(positions: Json) -> str | None:
    fault = _positions(positions)
    if fault is not None:
        return fault
    if len(positions) < _RING_POSITIONS_MIN:
        return "a ring has at least four positions"
    return None if positions[0] == positions[-1] else "a ring ends where it starts"


def _lines(lines: Json) -> str | None:
    return _all(lines, _line, "lines")


def _rings(rings: Json) -> str | None:
    return _all(rings, _ring, "rings")


def _polygons(polygons: Json) -> str | None:
    return _all(polygons, _rings, "polygons")


_CHECKS: Final[dict[str, Callable[[Json], str | None]]] = {
    "Point": _position,
    "MultiPoint": _positions,
    "LineString": _line,
    "MultiLineString": _lines,
    "Polygon": _rings,
    "MultiPolygon": _polygons,
}
