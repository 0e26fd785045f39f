# SPDX-License-Identifier: Apache-2.0
"""Aggregation of plain numbers inside SQLite: one walk along the index of the history, no instance is looked at."""

# ruff: noqa: S608 - statements are put together from constants of this package; every value is bound

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import apsw
import orjson

from madang.model.change import Operation
from madang.model.temporal.aggregation import NumberBucket, Point, Span
from madang.model.temporal.duration import Duration, period_index, period_start_us
from madang.model.temporal.evolution import Interval
from madang.model.temporal.query import Window
from madang.store.history_rules import narrow
from madang.store.sqlite.history_reading import OBSERVED, Condition, in_window, moment_of

# Up to so many periods are read one by one, which needs no sorting.
_STEPS_MAX = 500


class NumberReader:
    """Aggregates the numbers of one attribute of one entity, for one interval and without lastN.

    Every row must have a number, else the caller has to look at the instances themselves: booleans, texts, tombstones
    and instances that expire have none.
    """

    def __init__(self, connection: apsw.Connection, entity: int, attribute: int, window: Window) -> None:
        self._execute = connection.execute
        if window.free and self._all_observed(entity, attribute):
            window = Window(named=True)  # says the same, and the index alone has all that is needed
        self._window = window
        self._moment = moment_of(window)
        self._of = (entity, attribute)
        self._where = "c.entity = ? AND c.attribute = ? AND c.hidden = 0"
        if window.free or window.time_property != "observedAt":
            self._where += f" AND c.operation <> {int(Operation.ATTRIBUTE_DELETED)}"
        self._from, self._parameters = self._rows()

    def _rows(self, part: Interval = (None, None)) -> Condition:
        """Return FROM and WHERE for the rows of the window, or of a part of it.

        SQLite starts at one lower bound only, so the two of window and part must be one.
        """
        window = self._window
        narrowed = narrow((window.start_us, window.end_us), part) or (0, 0)
        inside = in_window(window, narrowed)
        return Condition(f"FROM change c WHERE {self._where} AND {inside.sql}", (*self._of, *inside.parameters))

    def _all_observed(self, entity: int, attribute: int) -> bool:
        sql = "SELECT 1 FROM change WHERE entity = ? AND attribute = ? AND hidden = 0 AND observed_us IS NULL LIMIT 1"
        return self._execute(sql, (entity, attribute)).get is None

    def datasets(self) -> list[int | None] | None:
        """Return the datasets (keys) of the series, none without rows; None when some row is no plain number."""
        odd = f"SELECT 1 {self._from} AND (c.number IS NULL OR c.dataset IS NOT NULL) LIMIT 1"
        if self._execute(odd, self._parameters).get is None:
            return [None] if self._execute(f"SELECT 1 {self._from} LIMIT 1", self._parameters).get else []
        sql = f"SELECT c.dataset, count(*) = count(c.number) {self._from} GROUP BY c.dataset"
        rows: list[Any] = self._execute(sql, self._parameters).fetchall()
        found: dict[int | None, int] = dict(rows)
        return list(found) if all(found.values()) else None

    def range_us(self, dataset: int | None) -> Interval:
        """Return the first and the last moment of a series; None when it has no row."""
        # Two statements, as SQLite goes to the end of the index for min or max only when it is asked for one of them.
        rows, parameters = f"{self._from} AND c.dataset IS ?", (*self._parameters, dataset)
        first = self._execute(f"SELECT min({self._moment}) {rows}", parameters).get
        last = self._execute(f"SELECT max({self._moment}) {rows}", parameters).get
        return first, last

    def buckets(
        self, dataset: int | None, span: Span, duration: Duration, methods: Sequence[str], more: Sequence[Point] = ()
    ) -> list[NumberBucket]:
        """Return each period that has numbers; `more` are points of the series that have no rows of their own."""
        if duration.whole:
            found = self._whole(dataset, 0, methods)
        elif duration.months or self._are_few(span, duration):
            found = self._by_steps(dataset, span, duration, methods)
        else:
            found = self._by_groups(dataset, span, duration, methods)
        return self._with(found, more, dataset, span, duration) if more else found

    def _are_few(self, span: Span, duration: Duration) -> bool:
        # Only the index knows where a period starts; without it each step would look at every row.
        indexed = self._moment == OBSERVED
        return indexed and (span.end_us - span.origin_us) // duration.microseconds <= _STEPS_MAX

    def _whole(
        self, dataset: int | None, index: int, methods: Sequence[str], part: Interval = (None, None)
    ) -> list[NumberBucket]:
        """Return the numbers of a part of the window as one period."""
        rows, parameters = self._rows(part)
        found: list[Any] = self._execute(
            f"SELECT {_columns(methods)} {rows} AND c.dataset IS ?", (*parameters, dataset)
        ).fetchall()
        count, low, high, mean, total, squares, distinct = found[0]
        if not count:
            return []
        deviation = None
        if "stddev" in methods:
            # A second look at the numbers: with squares of sums digits would cancel out.
            sql = f"SELECT sqrt(avg((c.number - ?) * (c.number - ?))) {rows} AND c.dataset IS ?"
            deviation = self._execute(sql, (mean, mean, *parameters, dataset)).get
        return [NumberBucket(index, count, low, high, mean, total, squares, deviation, distinct)]

    def _by_steps(
        self, dataset: int | None, span: Span, duration: Duration, methods: Sequence[str]
    ) -> list[NumberBucket]:
        """Go from period to period that has a number: months differ in length, and few periods need no sorting."""
        found: list[NumberBucket] = []
        moment_us = self._first_from(span.origin_us, dataset)
        while moment_us is not None:
            index = period_index(span.origin_us, duration, moment_us)
            start_us, end_us = _bounds(span, duration, index)
            found += self._whole(dataset, index, methods, (start_us, end_us))
            moment_us = self._first_from(end_us, dataset) if end_us > moment_us else None
        return found

    def _first_from(self, start_us: int, dataset: int | None) -> int | None:
        rows, parameters = self._rows((start_us, None))
        sql = f"SELECT min({self._moment}) {rows} AND c.dataset IS ?"
        first: int | None = self._execute(sql, (*parameters, dataset)).get
        return first

    def _by_groups(
        self, dataset: int | None, span: Span, duration: Duration, methods: Sequence[str]
    ) -> list[NumberBucket]:
        index = f"({self._moment} - ?) / ?"
        given = (span.origin_us, duration.microseconds)
        where = f"{self._from} AND c.dataset IS ?"
        sql = f"SELECT {index}, {_columns(methods)} {where} GROUP BY 1 ORDER BY 1"
        rows: list[Any] = self._execute(sql, (*given, *self._parameters, dataset)).fetchall()
        deviations: dict[int, float] = {}
        if "stddev" in methods:
            means = orjson.dumps([[row[0], row[4]] for row in rows]).decode()
            sql = (
                "WITH mean AS MATERIALIZED (SELECT value ->> 0 AS bucket, value ->> 1 AS mean FROM json_each(?)), "
                f"point AS (SELECT {index} AS bucket, c.number AS number {where}) "
                "SELECT p.bucket, sqrt(avg((p.number - m.mean) * (p.number - m.mean))) "
                "FROM point p JOIN mean m ON m.bucket = p.bucket GROUP BY 1"
            )
            second: list[Any] = self._execute(sql, (means, *given, *self._parameters, dataset)).fetchall()
            deviations = dict(second)
        return [
            NumberBucket(number, count, low, high, mean, total, squares, deviations.get(number), distinct)
            for number, count, low, high, mean, total, squares, distinct in rows
        ]

    # ------------------------------------------------------------------ points beside the rows

    def _with(
        self,
        buckets: list[NumberBucket],
        more: Sequence[Point],
        dataset: int | None,
        span: Span,
        duration: Duration,
    ) -> list[NumberBucket]:
        merged = {bucket.index: bucket for bucket in buckets}
        seen: set[tuple[int, float]] = set()
        for each in more:
            index = 0 if duration.whole else period_index(span.origin_us, duration, each.moment_us)
            number: float = each.order
            bucket = merged.get(index)
            if bucket is None:
                seen.add((index, number))
                merged[index] = NumberBucket(index, 1, number, number, number, number, number * number, 0.0, 1)
                continue
            is_new = (index, number) not in seen and not self._has(number, dataset, span, duration, index)
            seen.add((index, number))
            merged[index] = _joined(bucket, number, is_new=is_new)
        return [merged[index] for index in sorted(merged)]

    def _has(self, number: float, dataset: int | None, span: Span, duration: Duration, index: int) -> bool:
        part: Interval = (None, None) if duration.whole else _bounds(span, duration, index)
        rows, parameters = self._rows(part)
        sql = f"SELECT 1 {rows} AND c.dataset IS ? AND c.number = ? LIMIT 1"
        return self._execute(sql, (*parameters, dataset, number)).get is not None


def _columns(methods: Sequence[str]) -> str:
    squares = "sum(c.number * c.number)" if "sumsq" in methods else "NULL"
    distinct = "count(DISTINCT c.number)" if "distinctCount" in methods else "NULL"
    return f"count(*), min(c.number), max(c.number), avg(c.number), sum(c.number), {squares}, {distinct}"


def _bounds(span: Span, duration: Duration, index: int) -> tuple[int, int]:
    origin_us = span.origin_us
    return period_start_us(origin_us, duration, index), period_start_us(origin_us, duration, index + 1)


def _joined(bucket: NumberBucket, number: float, *, is_new: bool) -> NumberBucket:
    """Return a bucket with one number more."""
    count = bucket.count + 1
    distance = number - bucket.average
    mean = bucket.average + distance / count
    deviation = bucket.deviation
    if deviation is not None:
        deviation = math.sqrt((deviation * deviation * bucket.count + distance * (number - mean)) / count)
    return NumberBucket(
        bucket.index,
        count,
        min(bucket.minimum, number),
        max(bucket.maximum, number),
        mean,
        bucket.total + number,
        None if bucket.squares is None else bucket.squares + number * number,
        deviation,
        None if bucket.distinct is None else bucket.distinct + is_new,
    )
