# SPDX-License-Identifier: Apache-2.0
"""Aggregated values of entities: plain numbers out of the index alone, everything else by looking at the instances.

PostgreSQL gives the numbers and Python adds them up: exactly, and the same whatever way the server went through them.
"""

# ruff: noqa: S608 - statements are put together from constants of this package; every value is bound

from __future__ import annotations

import asyncio
import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from madang.model.change import Operation
from madang.model.temporal.aggregation import NumberBucket, Point, Span, aggregate, from_buckets
from madang.model.temporal.duration import period_index, period_start_us
from madang.model.temporal.evolution import Interval
from madang.model.temporal.history import AggregatedEvolution, AggregatedSeries, HistoryReading
from madang.model.temporal.query import Aggregation
from madang.store.history_rules import (
    OBSERVED_WINDOW,
    UNOBSERVED_WINDOW,
    Meta,
    holds,
    in_order,
    moments_of,
    parts_for,
    plain_numbers,
    points_of,
)
from madang.store.postgres.history_reading import AttributeReader, Conditions, Snapshot, chosen_attributes

# So many numbers are taken from the connection at a time.
_NUMBERS_PER_FETCH: Final = 5_000


@dataclass(slots=True)
class _Numbers:
    """Numbers of one series beside their moments, in any order."""

    moments_us: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[float] = field(default_factory=lambda: array("d"))

    def add(self, moment_us: int, number: float) -> None:
        self.moments_us.append(moment_us)
        self.numbers.append(number)

    def in_time(self) -> tuple[Sequence[int], Sequence[float]]:
        """Return moments and numbers in the order of time."""
        moments_us = self.moments_us
        if all(map(int.__le__, moments_us, moments_us[1:])):
            return moments_us, self.numbers
        order = sorted(range(len(moments_us)), key=moments_us.__getitem__)
        return [moments_us[index] for index in order], [self.numbers[index] for index in order]


@dataclass(slots=True)
class _Attribute:
    """What is aggregated of an attribute of one entity: numbers by dataset if there is nothing else, or points."""

    numbers: dict[str | None, _Numbers] = field(default_factory=dict)
    points: dict[tuple[str, str | None], list[Point]] = field(default_factory=dict)

    def range_us(self) -> Iterable[int]:
        for each in self.numbers.values():
            yield min(each.moments_us)
            yield max(each.moments_us)
        yield from moments_of(self.points)


class Aggregator:
    """Aggregates the attributes of some entities."""

    def __init__(
        self, log: Snapshot, metas: Mapping[str, Meta], reading: HistoryReading, aggregation: Aggregation
    ) -> None:
        self._log = log
        self._metas = metas
        self._reading = reading
        self._aggregation = aggregation
        self._reader = AttributeReader(log, reading)
        self._found: dict[str, dict[str, _Attribute]] = {}  # by entity and attribute

    async def run(self) -> list[AggregatedEvolution]:
        reading = self._reading
        if not self._metas:
            return []
        chosen = await chosen_attributes(self._log, self._metas, reading.attributes, reading.excluded)
        for name, ids in chosen.items():
            looked_at = reading.window.last_n is not None or reading.window.time_property == "deletedAt"
            await self._read_points(name, ids if looked_at else await self._read_numbers(name, ids))
        return await asyncio.to_thread(self._aggregated)

    async def _read_points(self, name: str, ids: Sequence[str]) -> None:
        if not ids:
            return
        last_n = self._reading.window.last_n
        metas = [self._metas[id] for id in ids]
        found = await self._reader.rows(name, metas, descending=last_n is not None, limit=last_n)
        for id, rows in found.items():
            points = points_of(rows[::-1] if last_n is not None else rows)
            self._found.setdefault(id, {})[name] = _Attribute(points=points)

    # ------------------------------------------------------------------ numbers

    async def _read_numbers(self, name: str, ids: Sequence[str]) -> list[str]:
        """Read the numbers of an attribute; return the entities of which it has other values too."""
        found: dict[str, dict[int | None, _Numbers]] = {id: {} for id in ids}
        key = await self._log.key(name)
        if key is not None:
            await self._read_rows(key, found)
        texts = await self._log.texts({of for some in found.values() for of in some if of is not None})
        odd = [id for id in ids if id not in found]
        for id, some in found.items():
            numbers = {None if of is None else texts[of]: each for of, each in some.items()}
            if not self._add_created(name, id, numbers):
                odd.append(id)
            elif numbers:
                self._found.setdefault(id, {})[name] = _Attribute(numbers)
        return odd

    async def _read_rows(self, key: int, found: dict[str, dict[int | None, _Numbers]]) -> None:
        """Read the numbers in rows into `found`; an entity that has other rows too is taken out of it."""
        reading = self._reading
        window = reading.window
        starts = [part[0] for id in found for part in parts_for(reading, id)]
        ends = [part[1] for id in found for part in parts_for(reading, id)]
        whole: Interval = (_bound(min, starts), _bound(max, ends))
        ids = list(found)
        odd: set[str] = set()
        # Two reads, of which the first needs nothing but the index.
        for each in (OBSERVED_WINDOW, UNOBSERVED_WINDOW) if window.free else (window,):
            given = Conditions(ids, key)
            if each is UNOBSERVED_WINDOW:
                given.add("c.observed_us IS NULL")
            elif each.time_property != "observedAt":
                given.add(f"c.operation <> {int(Operation.ATTRIBUTE_DELETED)}")  # a tombstone has no value to aggregate
            moment = given.window(each, whole)
            given.datasets(reading.datasets, await self._log.keys(reading.datasets))
            cursor = await self._log.cursor(
                f"SELECT c.entity, c.dataset, {moment}, c.number FROM change c WHERE c.tenant = $1 "
                f"AND c.entity = ANY($2::text[]) AND c.attribute = $3 AND NOT c.hidden{given.sql}",
                *given.parameters,
            )
            while rows := await cursor.fetch(_NUMBERS_PER_FETCH):
                odd.update(_take(rows, found, reading))
        for id in odd:
            del found[id]

    def _add_created(self, name: str, id: str, numbers: dict[str | None, _Numbers]) -> bool:
        """Add the numbers that the attribute was created with; tell whether there was nothing else."""
        meta = self._metas[id]
        created = (
            each for part in parts_for(self._reading, id) for each in self._reader.viewpoint.created(meta, name, part)
        )
        points = points_of(created)
        if not plain_numbers(points):
            return False
        for (_, dataset), some in points.items():
            series = numbers.setdefault(dataset, _Numbers())
            for each in some:
                series.add(each.moment_us, each.order)
        return True

    # ------------------------------------------------------------------ values

    def _aggregated(self) -> list[AggregatedEvolution]:
        found = []
        for id, meta in self._metas.items():
            attributes = self._entity(self._found.get(id, {}))
            if attributes:
                found.append(AggregatedEvolution(meta.evolution, attributes))
        return found

    def _entity(self, attributes: Mapping[str, _Attribute]) -> dict[str, list[AggregatedSeries]]:
        moments = [moment_us for each in attributes.values() for moment_us in each.range_us()]
        if not moments:
            return {}
        window = self._reading.window
        origin_us = min(moments) if window.start_us is None else window.start_us
        span = Span(origin_us, max(moments) if window.end_us is None else window.end_us)
        found = ((name, in_order(self._series(each, span))) for name, each in attributes.items())
        return {name: series for name, series in found if series}

    def _series(self, attribute: _Attribute, span: Span) -> Iterator[AggregatedSeries]:
        aggregation = self._aggregation
        for dataset, numbers in attribute.numbers.items():
            buckets = _buckets(numbers, aggregation, span)
            yield AggregatedSeries("Property", dataset, from_buckets(buckets, aggregation, span))
        for (type, dataset), points in attribute.points.items():
            yield AggregatedSeries(type, dataset, aggregate(points, aggregation, span))


def _bound(function: Callable[[list[int]], int], moments: Sequence[int | None]) -> int | None:
    known = [moment_us for moment_us in moments if moment_us is not None]
    return function(known) if len(known) == len(moments) else None


def _take(rows: Sequence[Any], found: dict[str, dict[int | None, _Numbers]], reading: HistoryReading) -> set[str]:
    """Add the numbers in rows to `found`; return the entities that have other rows."""
    odd = set()
    for id, dataset, moment_us, number in rows:
        if number is None:
            odd.add(id)
        elif id not in reading.intervals or any(holds(part, moment_us) for part in parts_for(reading, id)):
            of = found[id]
            series = of.get(dataset)
            if series is None:
                series = of[dataset] = _Numbers()
            series.add(moment_us, number)
    return odd


def _buckets(series: _Numbers, aggregation: Aggregation, span: Span) -> list[NumberBucket]:
    """Return each period that has numbers, as `madang.model.temporal.aggregation` would find them."""
    duration, methods = aggregation.duration, aggregation.methods
    moments_us, numbers = series.in_time()
    found = []
    start, count = 0, len(moments_us)
    while start < count:
        index, end = 0, count
        if not duration.whole:
            index = period_index(span.origin_us, duration, moments_us[start])
            end_us = period_start_us(span.origin_us, duration, index + 1)
            # The last of all periods ends with the years that have a name, and holds what is left.
            end = bisect_left(moments_us, end_us, start) if end_us > moments_us[start] else count
        found.append(_bucket(index, numbers[start:end], methods))
        start = end
    return found


def _bucket(index: int, numbers: Sequence[float], methods: Sequence[str]) -> NumberBucket:
    count = len(numbers)
    total = _sum(numbers)
    mean = total / count
    return NumberBucket(
        index,
        count,
        min(numbers),
        max(numbers),
        mean,
        total,
        _sum(number * number for number in numbers) if "sumsq" in methods else None,
        math.sqrt(_sum((number - mean) * (number - mean) for number in numbers) / count)
        if "stddev" in methods and math.isfinite(mean)
        else None,
        len(set(numbers)) if "distinctCount" in methods else None,
    )


def _sum(numbers: Iterable[float]) -> float:
    """Return the sum, rounded once; infinity when it is too large for a number."""
    try:
        return math.fsum(numbers)
    except OverflowError:
        return math.inf
