# SPDX-License-Identifier: Apache-2.0
"""GeoJSON geometries as data: their check, their bounds and distances between them in metres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, Final, TypeAlias

import orjson

from madang.base.errors import BadRequestData
from madang.base.limits import GEOMETRY_CROSSINGS_MAX, GEOMETRY_POSITIONS_MAX
from madang.model.entity import Json

_SAMPLE_SEGMENTS: Final = 20
EARTH_RADIUS_M: Final = 6_371_008.8  # mean radius; the standard asks for the haversine formula (clause 4.23.1)

# How deep the positions lie inside "coordinates", by geometry type (RFC 7946 section 3.1; clause 4.7.1 leaves out
# GeometryCollection).
DEPTHS: Final[dict[str, int]] = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
_POSITIONS_MIN: Final[dict[str, int]] = {"LineString": 2, "MultiLineString": 2, "Polygon": 4, "MultiPolygon": 4}

Position: TypeAlias = tuple[float, float]
Bounds: TypeAlias = tuple[float, float, float, float]  # west, south, east, north in degrees


def check(geometry_type: object, coordinates: Json, where: str) -> None:
    """Refuse what is no geometry of RFC 7946.

    Raises: BadRequestData: unknown type, wrong nesting, not numbers, outside the world, too few positions, open rings.
    """
    if not isinstance(geometry_type, str) or geometry_type not in DEPTHS:
        raise BadRequestData(
            f"geometry: {geometry_type!r:.60} is not a geometry type; allowed are {', '.join(DEPTHS)}", where="geometry"
        )
    if sum(1 for _ in islice(positions(coordinates), GEOMETRY_POSITIONS_MAX + 1)) > GEOMETRY_POSITIONS_MAX:
        raise BadRequestData(
            f"{where}: the geometry has more than {GEOMETRY_POSITIONS_MAX} positions, which is the limit", where=where
        )
    _check_nested(geometry_type, coordinates, DEPTHS[geometry_type], where)


def _check_nested(geometry_type: str, coordinates: Json, depth: int, where: str) -> None:
    if depth == 0:
        _check_position(geometry_type, coordinates, where)
        return
    if not isinstance(coordinates, list) or not coordinates:
        raise _wrong(geometry_type, coordinates, where)
    for item in coordinates:
        _check_nested(geometry_type, item, depth - 1, where)
    if depth != 1:
        return
    if len(coordinates) < _POSITIONS_MIN.get(geometry_type, 1):
        raise BadRequestData(
            f"{where}: a part of the {geometry_type} has {len(coordinates)} positions; "
            f"allowed are {_POSITIONS_MIN[geometry_type]} and more",
            where=where,
        )
    if geometry_type.endswith("Polygon") and coordinates[0] != coordinates[-1]:
        raise BadRequestData(
            f"{where}: a ring of the {geometry_type} is open; allowed are rings that end where they begin", where=where
        )


def _check_position(geometry_type: str, position: Json, where: str) -> None:
    if not isinstance(position, list) or not 2 <= len(position) <= 4:
        raise _wrong(geometry_type, position, where)
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in position):
        raise _wrong(geometry_type, position, where)
    if not all(-1e9 < number < 1e9 for number in position) or not -90 <= position[1] <= 90:
        raise BadRequestData(
            f"{where}: {position!r:.80} lies outside the world; allowed are [longitude, latitude] in degrees with a "
            "latitude from -90 to 90",
            where=where,
        )
    if not -180 <= position[0] <= 180:
        raise BadRequestData(
            f"{where}: {position!r:.80} lies outside the world; allowed are longitudes from -180 to 180", where=where
        )


_EXAMPLES: Final[dict[str, str]] = {
    "Point": "[8,40]",
    "MultiPoint": "[[8,40],[9,41]]",
    "LineString": "[[8,40],[9,41]]",
    "MultiLineString": "[[[8,40],[9,41]]]",
    "Polygon": "[[[0,0],[1,0],[1,1],[0,0]]]",
    "MultiPolygon": "[[[[0,0],[1,0],[1,1],[0,0]]]]",
}


def _wrong(geometry_type: str, found: Json, where: str) -> BadRequestData:
    return BadRequestData(
        f"{where}: {found!r:.80} does not fit a {geometry_type}; allowed is for example {_EXAMPLES[geometry_type]}",
        where=where,
    )


def parse_coordinates(text: object, where: str) -> Json:
    """Return coordinates given as a JSON array, or as the text of one (clause 4.7.2).

    Raises: BadRequestData: it is neither.
    """
    if isinstance(text, str):
        try:
            text = orjson.loads(text)
        except orjson.JSONDecodeError:
            text = None
    if not isinstance(text, list):
        raise BadRequestData(f"{where}: this is not a JSON array; allowed is for example [8,40]", where=where)
    return text


def positions(coordinates: Json, depth: int = 3) -> Iterator[Position]:
    """Yield every position of (checked or unchecked) coordinates; what is no position is left out."""
    if not isinstance(coordinates, list) or not coordinates or depth < 0:
        return
    if isinstance(coordinates[0], list):
        for item in coordinates:
            yield from positions(item, depth - 1)
    elif len(coordinates) >= 2 and all(isinstance(number, int | float) for number in coordinates[:2]):
        yield float(coordinates[0]), float(coordinates[1])


@lru_cache(maxsize=256)
def point_of(geometry_type: str, coordinates: str) -> Position | None:
    """Return the place of a Point whose coordinates are JSON text; None for any other geometry."""
    return next(positions(orjson.loads(coordinates)), None) if geometry_type == "Point" else None


def bounds(coordinates: Json) -> Bounds | None:
    """Return the smallest box around all positions; None when there is none."""
    found = list(positions(coordinates))
    if not found:
        return None
    longitudes = [position[0] for position in found]
    latitudes = [position[1] for position in found]
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


def haversine_m(here: Position, there: Position) -> float:
    """Return the great-circle distance in metres."""
    latitude_1, latitude_2 = math.radians(here[1]), math.radians(there[1])
    half_latitude = (latitude_2 - latitude_1) / 2
    half_longitude = math.radians(there[0] - here[0]) / 2
    square = math.sin(half_latitude) ** 2 + math.cos(latitude_1) * math.cos(latitude_2) * math.sin(half_longitude) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, square)))


def around(box: Bounds, distance_m: float) -> list[Bounds]:
    """Return boxes that together hold every point at most that far from the box; two when they cross longitude 180."""
    margin = math.degrees(distance_m * (1 + 1e-9) / EARTH_RADIUS_M) + 1e-9
    south, north = box[1] - margin, box[3] + margin
    if south <= -90 or north >= 90:
        return [(-180.0, max(south, -90.0), 180.0, min(north, 90.0))]
    # At latitude φ a circle of angle δ reaches asin(sin δ / cos φ) in longitude.
    cosine = math.cos(math.radians(max(abs(box[1]), abs(box[3]))))
    reach = math.degrees(math.asin(min(1.0, math.sin(math.radians(min(margin, 90.0))) / cosine))) + 1e-9
    west, east = box[0] - reach, box[2] + reach
    if east - west >= 360:
        return [(-180.0, south, 180.0, north)]
    boxes = [(max(west, -180.0), south, min(east, 180.0), north)]
    if west < -180:
        boxes.append((west + 360, south, 180.0, north))
    if east > 180:
        boxes.append((-180.0, south, east - 360, north))
    return boxes


def distance_m(geometry: Json, reference: Json) -> float | None:
    """Return the smallest distance between two GeoJSON geometries in metres; None when one of them is none.

    Lines are straight in longitude and latitude (RFC 7946 section 3.1.1). Between points this is the haversine formula;
    the nearest points of anything larger are found in the plane around them.
    """
    if geometry.get("type") == "Point" and reference.get("type") == "Point":
        here, there = next(positions(geometry["coordinates"]), None), next(positions(reference["coordinates"]), None)
        return None if here is None or there is None else haversine_m(here, there)
    shapes = shape(geometry), shape(reference)
    if shapes[0] is None or shapes[1] is None:
        return None
    return min(_planar_distance_m(*shapes, shift) for shift in _shifts(*shapes))


def _shifts(geometry: Any, reference: Any) -> tuple[float, ...]:
    """Across longitude 180 one of the two is looked at from the other side of the world."""
    west, _, east, _ = geometry.bounds
    reference_west, _, reference_east, _ = reference.bounds
    if max(east, reference_east) - min(west, reference_west) <= 180:
        return (0.0,)
    return (0.0, 360.0, -360.0)


def _planar_distance_m(geometry: Any, reference: Any, shift: float) -> float:
    from shapely import affinity  # type: ignore[import-untyped]
    from shapely.ops import nearest_points  # type: ignore[import-untyped]

    if shift:
        geometry = affinity.translate(geometry, xoff=shift)
    latitude = reference.centroid.y
    best = math.inf
    # Degrees of longitude shrink with the latitude, and the latitude that counts is that of the nearest points.
    for _ in range(3):
        scale = max(math.cos(math.radians(min(abs(latitude), 89.9))), 1e-3)
        first, second = nearest_points(
            affinity.scale(geometry, xfact=scale, origin=(0, 0)), affinity.scale(reference, xfact=scale, origin=(0, 0))
        )
        best = min(best, haversine_m((first.x / scale, first.y), (second.x / scale, second.y)))
        latitude = (first.y + second.y) / 2
    return best


def shape(geometry: Json) -> Any:
    """Return a valid shapely geometry of GeoJSON, or None when it is none; crossing rings are mended.

    shapely is imported here, on first use, because it takes a tenth of a second and most queries do without it.
    """
    import shapely
    from shapely.geometry import shape as from_geojson  # type: ignore[import-untyped]

    try:
        found = from_geojson({"type": geometry["type"], "coordinates": _flat(geometry["coordinates"])})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, shapely.errors.ShapelyError):
        return None
    if found.is_empty:
        return None
    if found.is_valid:
        return found
    if _crossings_estimate(found) > GEOMETRY_CROSSINGS_MAX:
        return None
    return shapely.make_valid(found, method="structure", keep_collapsed=True)


def _crossings_estimate(geometry: Any) -> float:
    """Return about how often the lines of a geometry cross each other: mending takes the square of that in time.

    A sample of the segments is held against all of them.
    """
    import numpy
    import shapely

    rings = shapely.get_parts(shapely.get_rings(geometry)) if geometry.area else shapely.get_parts(geometry)
    corners = [shapely.get_coordinates(ring) for ring in rings]
    pairs = [numpy.stack((line[:-1], line[1:]), axis=1) for line in corners if len(line) > 1]
    if not pairs:
        return 0.0
    segments = shapely.linestrings(numpy.concatenate(pairs))
    sample = segments[:: max(1, len(segments) // _SAMPLE_SEGMENTS)]
    found = shapely.STRtree(segments).query(sample, predicate="crosses")
    return float(found.shape[1] * len(segments) / len(sample) / 2)


def _flat(coordinates: Json) -> Json:
    """Leave out altitudes, which positions of one geometry may have or not."""
    if isinstance(coordinates[0], list):
        return [_flat(item) for item in coordinates]
    return coordinates[:2]
