# SPDX-License-Identifier: Apache-2.0
"""Aggregated values of entities: plain numbers inside SQLite, everything else by looking at the instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apsw

from madang.model.temporal.aggregation import Point, Span, aggregate, from_buckets
from madang.model.temporal.history import AggregatedEvolution, AggregatedSeries, HistoryReading
from madang.model.temporal.query import Aggregation
from madang.store.history_rules import Meta, in_order, moments_of, parts_for, plain_numbers, points_of
from madang.store.sqlite.history_numbers import NumberReader
from madang.store.sqlite.history_reading import AttributeReader, Names, chosen_attributes


def aggregated(
    connection: apsw.Connection, names: Names, meta: Meta, reading: HistoryReading, aggregation: Aggregation
) -> AggregatedEvolution | None:
    chosen = chosen_attributes(connection, names, meta, reading.attributes, reading.excluded)
    attributes = _Aggregator(connection, names, meta, reading, aggregation).attributes(chosen)
    return AggregatedEvolution(meta.evolution, attributes) if attributes else None


class _Aggregator:
    """Aggregates the attributes of one entity: plain numbers in SQL, everything else by looking at the instances."""

    def __init__(
        self,
        connection: apsw.Connection,
        names: Names,
        meta: Meta,
        reading: HistoryReading,
        aggregation: Aggregation,
    ) -> None:
        self._connection = connection
        self._names = names
        self._meta = meta
        self._reading = reading
        self._aggregation = aggregation
        self._reader = AttributeReader(connection, names, meta, reading, parts_for(reading, meta.evolution.id))
        self._numbers: dict[str, NumberReader] = {}
        self._datasets: dict[str, list[str | None]] = {}
        self._points: dict[str, dict[tuple[str, str | None], list[Point]]] = {}

    def attributes(self, names: Sequence[str]) -> dict[str, list[AggregatedSeries]]:
        moments: list[int] = []
        for name in names:
            moments += [moment_us for moment_us in self._look(name) if moment_us is not None]
        if not moments:
            return {}
        window = self._reading.window
        origin_us = min(moments) if window.start_us is None else window.start_us
        span = Span(origin_us, max(moments) if window.end_us is None else window.end_us)
        found = ((name, self._series(name, span)) for name in names)
        return {name: series for name, series in found if series}

    def _look(self, name: str) -> Iterator[int | None]:
        """Decide how an attribute is aggregated, and yield its first and last moment."""
        window = self._reading.window
        key = self._names.keys.get(name)
        if key is not None and window.last_n is None and self._meta.evolution.id not in self._reading.intervals:
            numbers = NumberReader(self._connection, self._meta.key, key, window)
            datasets = numbers.datasets()
            created = self._reader.created(name, (window.start_us, window.end_us))
            self._points[name] = points_of(created)
            if datasets and plain_numbers(self._points[name]):
                texts = {each: None if each is None else self._names.texts[each] for each in datasets}
                known = {each: text for each, text in texts.items() if self._wanted(text)}
                more = (dataset for _, dataset in self._points[name])
                self._numbers[name] = numbers
                self._datasets[name] = list(dict.fromkeys([*known.values(), *more]))
                for each in known:
                    yield from numbers.range_us(each)
                yield from (row.moment_us for row in created)
                return
        last_n = window.last_n
        rows = self._reader.rows(name, descending=last_n is not None, limit=last_n)
        self._points[name] = points_of(rows[::-1] if last_n is not None else rows)
        yield from moments_of(self._points[name])

    def _wanted(self, dataset: str | None) -> bool:
        return not self._reading.datasets or (dataset or "@none") in self._reading.datasets

    def _series(self, name: str, span: Span) -> list[AggregatedSeries]:
        aggregation = self._aggregation
        numbers = self._numbers.get(name)
        points = self._points[name]
        if numbers is None:
            return in_order(
                AggregatedSeries(type, dataset, aggregate(each, aggregation, span))
                for (type, dataset), each in points.items()
            )
        series = []
        for dataset in self._datasets[name]:
            key = None if dataset is None else self._names.keys.get(dataset, 0)
            more = points.get(("Property", dataset), ())
            buckets = numbers.buckets(key, span, aggregation.duration, aggregation.methods, more)
            series.append(AggregatedSeries("Property", dataset, from_buckets(buckets, aggregation, span)))
        return in_order(series)
