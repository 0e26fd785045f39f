# SPDX-License-Identifier: Apache-2.0
"""Aggregated values of attribute instances per period (ETSI CIM 009 clause 4.5.19).

Stores may aggregate numbers themselves (`NumberBucket`); this module is the truth that they must agree with.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

import orjson

from madang.base.times import format_date_time, is_date, try_date_time
from madang.model.entity import Instance, Json
from madang.model.query.values import try_time
from madang.model.temporal.duration import Duration, period_index, period_start_us
from madang.model.temporal.query import Aggregation

_MIDNIGHT_US: Final = 86_400_000_000


class Kind(Enum):
    """What a value is, in the words of Tables 4.5.19.1-1 to 4.5.19.1-3."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    STRING = "string"
    OBJECT = "object"
    ARRAY = "array"
    DATE_TIME = "DateTime"
    DATE = "Date"
    TIME = "Time"
    URI = "URI"
    RELATIONSHIP = "relationship"


_COUNTS: Final = frozenset({"distinctCount", "totalCount"})
_ALL: Final = frozenset({"avg", "distinctCount", "max", "min", "stddev", "sum", "sumsq", "totalCount"})
# Which methods a kind of value is eligible for; the others are "N/A" in the tables.
ELIGIBLE: Final[dict[Kind, frozenset[str]]] = {
    Kind.NUMBER: _ALL,
    Kind.BOOLEAN: _ALL,
    Kind.STRING: _COUNTS | {"max", "min"},
    Kind.OBJECT: _COUNTS,
    Kind.ARRAY: _COUNTS | {"avg", "max", "min", "sum"},
    Kind.DATE_TIME: _COUNTS | {"max", "min"},
    Kind.DATE: _COUNTS | {"max", "min"},
    Kind.TIME: _COUNTS | {"avg", "max", "min"},
    Kind.URI: _COUNTS,
    Kind.RELATIONSHIP: _COUNTS,
}
_TYPED: Final = {"DateTime": Kind.DATE_TIME, "Date": Kind.DATE, "Time": Kind.TIME, "URI": Kind.URI, "@id": Kind.URI}


class Point(NamedTuple):
    """One value at one moment: `order` is what min, max and the sums work on, `shown` what a minimum is shown as."""

    moment_us: int
    kind: Kind
    order: Any
    shown: Json
    identity: (
        bytes | None
    )  # equal for equal values; None stands for a relationship or number whose order is its identity


@dataclass(frozen=True, slots=True)
class NumberBucket:
    """What a store found out about the numbers of one period; None where a method was not asked for."""

    index: int
    count: int
    minimum: float
    maximum: float
    average: float
    total: float
    squares: float | None = None
    deviation: float | None = None
    distinct: int | None = None


Result = dict[str, list[list[Json]]]  # method → [value, start, end] per period, in the order of time


class Span(NamedTuple):
    """The time range that is cut into periods: where the first starts, and the end of the range as a whole."""

    origin_us: int
    end_us: int


def point(moment_us: int, instance: Instance) -> Point:
    """Return what aggregation sees of an instance."""
    kind, order, shown = _measure(instance)
    identity = None if kind is Kind.NUMBER else orjson.dumps(shown, option=orjson.OPT_SORT_KEYS)
    return Point(moment_us, kind, order, shown, identity)


def _measure(instance: Instance) -> tuple[Kind, Any, Json]:
    type_ = instance.get("type", "Property")
    if type_ in ("Relationship", "ListRelationship"):
        return Kind.RELATIONSHIP, None, instance.get("object", instance.get("objectList"))
    if type_ == "ListProperty":
        return _plain(instance.get("valueList"))
    if type_ == "LanguageProperty":
        return _plain(instance.get("languageMap"))
    if type_ in ("JsonProperty", "VocabProperty"):
        return _plain(instance.get("json" if type_ == "JsonProperty" else "vocab"))
    value = instance.get("value")
    declared = instance.get("valueType")
    if isinstance(value, dict) and "@value" in value:
        declared, value = value.get("@type"), value["@value"]
    kind = _TYPED.get(declared) if isinstance(declared, str) else None
    return _typed(kind, value) if kind is not None and isinstance(value, str) else _plain(value)


def _typed(kind: Kind, value: str) -> tuple[Kind, Any, Json]:
    order: Any = value
    if kind is Kind.DATE_TIME:
        order = try_date_time(value)
    elif kind is Kind.TIME:
        order = try_time(value)
    elif kind is Kind.DATE and not is_date(value):
        order = None
    return (Kind.STRING, value, value) if order is None else (kind, order, value)


def _plain(value: Json) -> tuple[Kind, Any, Json]:
    if isinstance(value, bool):
        return Kind.BOOLEAN, float(value), value
    if isinstance(value, int | float):
        return Kind.NUMBER, float(value), float(value)
    if isinstance(value, str):
        return Kind.STRING, value, value
    if isinstance(value, list):
        return Kind.ARRAY, float(len(value)), value
    return Kind.OBJECT, None, value


# ---------------------------------------------------------------------- periods


class _Periods:
    """Gives periods their start and end as DateTime texts; the end of one is often the start of the next."""

    def __init__(self, span: Span, duration: Duration) -> None:
        self._span = span
        self._duration = duration
        self._index = -1
        self._end = ""

    def bounds(self, index: int) -> list[Json]:
        span, duration = self._span, self._duration
        if duration.whole:
            return [format_date_time(span.origin_us), format_date_time(span.end_us)]
        start = self._end
        if index != self._index:
            start = format_date_time(period_start_us(span.origin_us, duration, index))
        self._index = index + 1
        self._end = format_date_time(period_start_us(span.origin_us, duration, index + 1))
        return [start, self._end]


def eligible(kinds: Iterable[Kind], methods: Sequence[str]) -> list[str]:
    """Return those of the methods that at least one of the kinds of values is eligible for."""
    usable = frozenset[str]().union(*(ELIGIBLE[kind] for kind in kinds))
    return [method for method in methods if method in usable]


def aggregate(points: Sequence[Point], aggregation: Aggregation, span: Span) -> Result:
    """Return the aggregated values of one attribute; methods that no value is eligible for are left out.

    Only periods in which there are values appear. In a period with values of several kinds a method looks at those of
    the commonest kind that is eligible for it, but the counts look at all.
    """
    methods = eligible({point.kind for point in points}, aggregation.methods)
    periods: dict[int, list[Point]] = {}
    for each in points:
        index = 0 if aggregation.duration.whole else period_index(span.origin_us, aggregation.duration, each.moment_us)
        periods.setdefault(index, []).append(each)
    result: Result = {method: [] for method in methods}
    named = _Periods(span, aggregation.duration)
    for index in sorted(periods):
        bounds = named.bounds(index)
        for method in methods:
            chosen = _chosen(periods[index], method)
            if chosen:
                result[method].append([_METHODS[method](chosen), *bounds])
    return result


def from_buckets(buckets: Sequence[NumberBucket], aggregation: Aggregation, span: Span) -> Result:
    """Return the aggregated values of an attribute that has nothing but numbers, from what a store found out."""
    result: Result = {method: [] for method in aggregation.methods}
    named = _Periods(span, aggregation.duration)
    for bucket in buckets:
        bounds = named.bounds(bucket.index)
        found = {
            "avg": _finite(bucket.average),
            "distinctCount": bucket.distinct,
            "max": bucket.maximum,
            "min": bucket.minimum,
            "stddev": _finite(bucket.deviation),
            "sum": _finite(bucket.total),
            "sumsq": _finite(bucket.squares),
            "totalCount": bucket.count,
        }
        for method in aggregation.methods:
            result[method].append([found[method], *bounds])
    return result


def _chosen(points: Sequence[Point], method: str) -> Sequence[Point]:
    if method in _COUNTS:
        return points
    kinds = Counter(point.kind for point in points if method in ELIGIBLE[point.kind])
    if not kinds:
        return ()
    common = kinds.most_common(1)[0][0]
    return points if len(kinds) == 1 and kinds[common] == len(points) else [p for p in points if p.kind is common]


# ---------------------------------------------------------------------- methods


def _average(points: Sequence[Point]) -> Json:
    mean = _sum(points)
    if mean is None:
        return None
    mean /= len(points)
    return _time_text(round(mean)) if points[0].kind is Kind.TIME else mean


def _distinct(points: Sequence[Point]) -> Json:
    return len({(point.kind, point.order if point.identity is None else point.identity) for point in points})


def _maximum(points: Sequence[Point]) -> Json:
    return _extreme(max(points, key=lambda point: point.order))


def _minimum(points: Sequence[Point]) -> Json:
    return _extreme(min(points, key=lambda point: point.order))


def _extreme(found: Point) -> Json:
    return found.order if isinstance(found.order, float) else found.shown


def _sum(points: Sequence[Point]) -> float | None:
    try:
        return _finite(math.fsum(point.order for point in points))
    except OverflowError:
        return None


def _squares(points: Sequence[Point]) -> float | None:
    try:
        return _finite(math.fsum(point.order * point.order for point in points))
    except OverflowError:
        return None


def _deviation(points: Sequence[Point]) -> float | None:
    """Return the standard deviation of the values themselves, not an estimate for a population they were drawn from."""
    total = _sum(points)
    if total is None:
        return None
    mean = total / len(points)
    try:
        return _finite(
            math.sqrt(math.fsum((point.order - mean) * (point.order - mean) for point in points) / len(points))
        )
    except OverflowError:
        return None


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: a sum that is too large is null."""
    return value if value is not None and math.isfinite(value) else None


def _time_text(time_us: int) -> str:
    return format_date_time(time_us % _MIDNIGHT_US)[11:]


_METHODS: Final[dict[str, Callable[[Sequence[Point]], Json]]] = {
    "avg": _average,
    "distinctCount": _distinct,
    "max": _maximum,
    "min": _minimum,
    "stddev": _deviation,
    "sum": _sum,
    "sumsq": _squares,
    "totalCount": len,
}
