# SPDX-License-Identifier: Apache-2.0
"""The temporal query (ETSI CIM 009 clause 4.11) and the parameters that go with it, parsed into values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from madang.base.errors import BadRequestData
from madang.base.times import parse_date_time
from madang.model.temporal.duration import Duration, parse_duration

TIME_PROPERTIES: Final = ("observedAt", "createdAt", "modifiedAt", "deletedAt")
RELATIONS: Final = ("before", "after", "between")
METHODS: Final = ("avg", "distinctCount", "max", "min", "stddev", "sum", "sumsq", "totalCount")

LAST_N_MAX: Final = 10**12


@dataclass(frozen=True, slots=True)
class Window:
    """Which attribute instances are asked for.

    A moment lies inside when start_us <= moment < end_us; None is open. Without a relation everything is
    inside, and only when the time property was named must an instance have it.
    """

    time_property: str = "observedAt"
    named: bool = False
    relation: str | None = None
    start_us: int | None = None
    end_us: int | None = None
    last_n: int | None = None

    @property
    def free(self) -> bool:
        """Whether instances without the time property belong to it."""
        return self.relation is None and not self.named

    def holds(self, moment_us: int) -> bool:
        return (self.start_us is None or self.start_us <= moment_us) and (
            self.end_us is None or moment_us < self.end_us
        )


@dataclass(frozen=True, slots=True)
class Aggregation:
    """Which methods over which periods (clause 4.5.19)."""

    methods: tuple[str, ...]
    duration: Duration


def parse_window(given: Mapping[str, Any], *, required: bool) -> Window:
    """Return the window that timerel, timeAt, endTimeAt, timeproperty and lastN describe.

    Args:
        given: the members of a TemporalQuery (clause 5.2.21), or the URL parameters of the same names, which are texts.
        required: whether timerel and timeAt must be there (queries) or may be left out (retrieval).

    Raises: BadRequestData: one is missing or has a value that is not allowed.
    """
    time_property = given.get("timeproperty")
    if time_property is not None and time_property not in TIME_PROPERTIES:
        raise _not_allowed("timeproperty", time_property, f"one of {', '.join(TIME_PROPERTIES)}")
    relation = given.get("timerel")
    if relation is None and required:
        raise BadRequestData("A temporal query is missing; give timerel and timeAt", where="timerel")
    if relation is not None and relation not in RELATIONS:
        raise _not_allowed("timerel", relation, f"one of {', '.join(RELATIONS)}")
    start_us, end_us = _bounds(relation, given.get("timeAt"), given.get("endTimeAt"))
    return Window(
        time_property or "observedAt",
        time_property is not None,
        relation,
        start_us,
        end_us,
        _last_n(given.get("lastN")),
    )


def _bounds(relation: str | None, time_at: object, end_time_at: object) -> tuple[int | None, int | None]:
    if relation is None:
        if time_at is not None or end_time_at is not None:
            raise BadRequestData("timeAt and endTimeAt need timerel: before, after or between", where="timerel")
        return None, None
    if time_at is None:
        raise BadRequestData(f"timerel={relation} needs timeAt, a DateTime", where="timeAt")
    time_us = parse_date_time(time_at, where="timeAt")
    if relation != "between":
        if end_time_at is not None:
            raise BadRequestData(f"endTimeAt goes with timerel=between, not with {relation}", where="endTimeAt")
        return (time_us, None) if relation == "after" else (None, time_us)
    if end_time_at is None:
        raise BadRequestData("timerel=between needs endTimeAt, a DateTime", where="endTimeAt")
    return time_us, parse_date_time(end_time_at, where="endTimeAt")


def _last_n(value: object) -> int | None:
    """Return lastN: a positive integer, in a URL as digits."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LAST_N_MAX:
        raise _not_allowed("lastN", value, "a positive integer")
    return value


def parse_aggregation(given: Mapping[str, Any]) -> Aggregation:
    """Return the methods and the period of aggrMethods and aggrPeriodDuration.

    Raises: BadRequestData: aggrMethods is missing or names an unknown method, or the duration is not one.
    """
    value = given.get("aggrMethods")
    if value is None:
        raise BadRequestData(f"aggrMethods is missing; allowed are {', '.join(METHODS)}", where="aggrMethods")
    names: Sequence[Any] = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    methods: list[str] = []
    for name in names:
        method = name.strip() if isinstance(name, str) else name
        if method not in METHODS:
            raise _not_allowed("aggrMethods", name, f"any of {', '.join(METHODS)}, separated by commas")
        if method not in methods:
            methods.append(method)
    if not methods:
        raise _not_allowed("aggrMethods", value, f"at least one of {', '.join(METHODS)}")
    duration = given.get("aggrPeriodDuration")
    return Aggregation(
        tuple(methods), Duration() if duration is None else parse_duration(duration, where="aggrPeriodDuration")
    )


def _not_allowed(name: str, value: object, allowed: str) -> BadRequestData:
    return BadRequestData(f"{name} {value!r:.60} is not allowed; allowed is {allowed}", where=name)
