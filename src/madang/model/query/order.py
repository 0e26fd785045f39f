# SPDX-License-Identifier: Apache-2.0
"""The entity ordering language of clause 4.23: `name`, `name;desc`, `address[city]`, `location;dist-asc`."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson

from madang.base.errors import BadRequestData, TooComplexQuery
from madang.base.limits import ORDER_KEYS_MAX
from madang.base.times import is_date, try_date_time
from madang.model.entity import Document, Json
from madang.model.query import collation as collations
from madang.model.query import geometry as geometries
from madang.model.query.collation import Collation
from madang.model.query.names import Names
from madang.model.query.q_parse import parse_path
from madang.model.query.q_tree import Path
from madang.model.query.values import Shape, Target, plain_value, targets, try_time

_INTEGER_EXACT: Final = 1 << 63  # larger integers compare as doubles
_DIRECTIONS: Final = ("asc", "desc", "dist-asc", "dist-desc")

# The order of data types (clause 4.23.2); numbers come before all of these.
_NUMBER, _TEXT, _OBJECT, _ARRAY, _BOOLEAN, _TIME, _DATE, _DATE_TIME, _NULL = range(9)
_NULL_ASCENDING: Final = bytes((_NULL,))
_NULL_DESCENDING: Final = -math.inf

# What a member is compared by: numbers first, then bytes whose first one is the data type; None when it is absent.
# A store may compare the same values itself.
Comparable: TypeAlias = int | float | bytes | None


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One member to order by; `reference` (geometry type and JSON of its coordinates) makes it an order by distance."""

    path: Path
    descending: bool = False
    reference: tuple[str, str] | None = None
    collation: Collation = collations.ROOT

    @property
    def backwards(self) -> bool:
        """Whether `comparable` is to be sorted from high to low; distances carry their direction in the sign."""
        return self.descending and self.reference is None


Order: TypeAlias = tuple[OrderKey, ...]


def parse(
    order_by: str | Iterable[str] | None,
    context: Names,
    *,
    collation: str | None = None,
    order_from: object = None,
    order_geometry: object = None,
) -> Order:
    """Return the keys in order of weight; empty when there is no order.

    `order_by` is a comma list, or the list of texts of OrderingParams (Table 5.2.43-1); `order_from` is an array or the
    text of one.

    Raises:
        BadRequestData: a part is wrong, or an order by distance has no place to measure from. Unsupported: the
        collation is not at hand. TooComplexQuery: too many keys.
    """
    chosen = collations.parse(collation)
    reference = _reference(order_from, order_geometry)
    if order_by is None:
        return ()
    terms = order_by.split(",") if isinstance(order_by, str) else list(order_by)
    if len(terms) > ORDER_KEYS_MAX:
        raise TooComplexQuery(f"orderBy names {len(terms)} members; allowed are {ORDER_KEYS_MAX}", where="orderBy")
    return tuple(_order_key(term.strip(), context, chosen, reference) for term in terms)


def _reference(order_from: object, order_geometry: object) -> tuple[str, str] | None:
    geometry_type = "Point" if order_geometry is None else order_geometry
    if order_from is None:
        if not isinstance(geometry_type, str) or geometry_type not in geometries.DEPTHS:
            raise BadRequestData(
                f"orderGeometry: {geometry_type!r:.60} is not a geometry type; allowed are "
                f"{', '.join(geometries.DEPTHS)}",
                where="orderGeometry",
            )
        return None
    coordinates = geometries.parse_coordinates(order_from, "orderFrom")
    geometries.check(geometry_type, coordinates, "orderFrom")
    return str(geometry_type), orjson.dumps(coordinates).decode()


def _order_key(term: str, context: Names, chosen: Collation, reference: tuple[str, str] | None) -> OrderKey:
    name, separator, direction = term.partition(";")
    if separator and direction not in _DIRECTIONS:
        raise BadRequestData(
            f"orderBy: {direction!r:.40} is not a direction; allowed are {', '.join(_DIRECTIONS)}", where="orderBy"
        )
    path = parse_path(name, context, where="orderBy")
    by_distance = direction.startswith("dist-")
    if by_distance and reference is None:
        raise BadRequestData(
            "orderBy asks for an order by distance, but there is no orderFrom (coordinates); "
            "allowed is for example orderFrom=[8,40]",
            where="orderFrom",
        )
    return OrderKey(path, direction.endswith("desc"), reference if by_distance else None, chosen)


# ---------------------------------------------------------------------- comparing documents


@dataclass(frozen=True, slots=True)
class _Reversed:
    """A value that compares the other way round."""

    value: Any

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.value < self.value)


def key(order: Order, document: Document) -> tuple[Any, ...]:
    """Return what documents are sorted by; equal keys stay in the order in which they were.

    Null and absent come last whatever the direction is, as clause 4.23.2 says of null without a condition.
    """
    return tuple(_component(part, comparable(part, document)) for part in order)


def sort(order: Order, documents: Iterable[Document]) -> list[Document]:
    """Return the documents in order."""
    return sorted(documents, key=lambda document: key(order, document))


def _component(part: OrderKey, value: Comparable) -> tuple[Any, ...]:
    if value is None:
        return (2,)
    is_bytes = isinstance(value, bytes)
    if part.backwards:
        return (0 if is_bytes else 1, _Reversed(value))
    return (1 if is_bytes else 0, value)


def comparable(part: OrderKey, document: Document) -> Comparable:
    """Return what the member of the document is compared by; of several instances the first one counts."""
    target = next(targets(document, part.path), None)
    if target is None:
        return None
    if part.reference is not None:
        distance_m = distance(part, target.value) if target.shape is Shape.PLAIN else None
        if distance_m is not None:
            return distance_m
        return _encode(target.value, _text_key(target, part.collation))
    value = target.value
    if target.shape is Shape.LANGUAGES:
        value = value[0] if value else None
    value = plain_value(value)
    if value is None:
        return _NULL_DESCENDING if part.descending else _NULL_ASCENDING
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) < _INTEGER_EXACT else _double(value)
    return _encode(value, _text_key(target, part.collation))


def is_last(value: Comparable) -> bool:
    """Tell whether a comparable stands for null or for an absent member."""
    return value is None or value in (_NULL_ASCENDING, _NULL_DESCENDING)


def comparable_text(part: OrderKey, text: str) -> bytes:
    """Return what a plain text, as the value of the member, is compared by."""
    return _encode(text, lambda words: collations.sort_key(words, part.collation))


def _text_key(target: Target, collation: Collation) -> Callable[[str], bytes]:
    if target.shape in (Shape.PLAIN, Shape.LANGUAGES):
        return lambda text: collations.sort_key(text, collation)
    # URIs, names and moments are no texts of a language: they compare by code point.
    return lambda text: text.encode("utf-8", "surrogatepass")


def distance(part: OrderKey, geometry: Json) -> float | None:
    """Return the distance of a GeoJSON geometry, negative for an order from far to near; None when it is none."""
    if part.reference is None or not isinstance(geometry, dict):
        return None
    if geometry.get("type") not in geometries.DEPTHS or "coordinates" not in geometry:
        return None
    distance_m = geometries.distance_m(geometry, _geojson(*part.reference))
    return -distance_m if part.descending and distance_m is not None else distance_m


def distance_of_point(part: OrderKey, longitude: float, latitude: float) -> float | None:
    """Return what `distance` says of a Point."""
    assert part.reference is not None
    place = geometries.point_of(*part.reference)
    if place is None:
        return distance(part, {"type": "Point", "coordinates": [longitude, latitude]})
    distance_m = geometries.haversine_m((longitude, latitude), place)
    return -distance_m if part.descending else distance_m


@lru_cache(maxsize=64)
def _geojson(geometry_type: str, coordinates: str) -> Json:
    return {"type": geometry_type, "coordinates": orjson.loads(coordinates)}


def _encode(value: Json, text_key: Callable[[str], bytes]) -> bytes:
    """Return bytes that compare as values of any data type do."""
    if isinstance(value, str):
        return _encode_text(value, text_key)
    if value is None:
        return _NULL_ASCENDING
    if isinstance(value, bool):
        return bytes((_BOOLEAN, value))
    if isinstance(value, int | float):
        return bytes((_NUMBER,)) + _encode_number(value)
    if isinstance(value, list):
        # Element by element: inside an element 0 is escaped, so that 0 0 can end it.
        encoded = (_encode(item, text_key).replace(b"\0", b"\0\xff") for item in value)
        return bytes((_ARRAY,)) + b"".join(element + b"\0\0" for element in encoded)
    return bytes((_OBJECT,)) + orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _encode_text(text: str, text_key: Callable[[str], bytes]) -> bytes:
    if text[-1:] == "Z":
        moment = try_date_time(text)
        if moment is not None:
            return bytes((_DATE_TIME,)) + _encode_number(moment)
        time_us = try_time(text)
        if time_us is not None:
            return bytes((_TIME,)) + _encode_number(time_us)
    if is_date(text):
        return bytes((_DATE,)) + text.encode()
    return bytes((_TEXT,)) + text_key(text)


def _encode_number(number: float) -> bytes:
    """Return the eight bytes of a double, changed so that they compare as the numbers do."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", _double(number) + 0.0))
    return struct.pack(">Q", bits ^ (0xFFFFFFFFFFFFFFFF if bits >> 63 else 1 << 63))


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
