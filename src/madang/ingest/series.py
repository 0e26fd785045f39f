# SPDX-License-Identifier: Apache-2.0
"""Recorded values at recorded times, kept small: an array of numbers a moment, NaN where nothing was recorded."""

from __future__ import annotations

import math
import statistics
from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from madang.ingest.mapping import NOTE, RECORDED_AT, attribute_value, check_row, instance
from madang.ingest.profiles import DAY_S
from madang.ingest.quarantine import Quarantine
from madang.ingest.source import AttributeRule, ReadingRule, Reject
from madang.ingest.values import Row, Unfit, filled, moment_us, text_of, wall_time_s

WEEK_DAYS: Final = 7
_NOTHING: Final = math.nan


@dataclass(slots=True)
class Series:
    """Readings of many things. Times are wall-clock seconds, for a loop of days keeps the hours of the wall."""

    rule: ReadingRule
    entities: list[str] = field(default_factory=list)
    times_s: list[int] = field(default_factory=list)
    values: list[array[float]] = field(default_factory=list)

    @property
    def loop_s(self) -> int:
        """The length of what is played again and again: whole weeks where there are any, else whole days."""
        days = max(1, (self.times_s[-1] - self._first_midnight_s - 1) // DAY_S + 1)
        return (days // WEEK_DAYS * WEEK_DAYS or days) * DAY_S

    @property
    def _first_midnight_s(self) -> int:
        return self.times_s[0] // DAY_S * DAY_S

    def due(self, after_s: int, until_s: int) -> Iterator[tuple[int, int]]:
        """Yield (wall-clock time of the demo, index) of what is to be played in (after_s, until_s], in order.

        What was recorded at an hour of a weekday is played at that hour of that weekday, where a loop of whole weeks
        allows it; a midnight belongs to the day that it ends.
        """
        if not self.times_s:
            return
        loop_s, start_s = self.loop_s, self._first_midnight_s
        stop = bisect_right(self.times_s, start_s + loop_s)
        turn = (after_s - start_s) // loop_s
        while start_s + turn * loop_s < until_s:
            shift_s = turn * loop_s
            first = bisect_right(self.times_s, after_s - shift_s, 0, stop)
            last = bisect_right(self.times_s, until_s - shift_s, 0, stop)
            for index in range(first, last):
                yield self.times_s[index] + shift_s, index
            turn += 1

    def fragments(self, index: int, observed_at: str, recorded_at: str) -> Iterator[dict[str, Any]]:
        """Yield what was recorded at one time as NGSI-LD fragments with id; things without a value are left out."""
        rules = self.rule.attributes
        row = self.values[index]
        for number, id in enumerate(self.entities):
            cells = row[number * len(rules) : (number + 1) * len(rules)]
            found = {
                rule.name: _played(rule, value, observed_at, recorded_at)
                for rule, value in zip(rules, cells, strict=False)
                if not math.isnan(value)
            }
            if found:
                yield {"id": id, **found}

    def recorded_us(self, index: int) -> int:
        """Return the moment at which the values of an index were really observed."""
        return moment_us(self.times_s[index], self.rule.time.zone)


def _played(rule: AttributeRule, value: float, observed_at: str, recorded_at: str) -> dict[str, Any]:
    number: float | int = int(value) if rule.form == "integer" or rule.aggregate == "count" else value
    played = instance(rule, number)
    played["observedAt"] = observed_at
    played[RECORDED_AT] = {"type": "Property", "value": {"@type": "DateTime", "@value": recorded_at}}
    # The note does not change from value to value: it stands once, in the entity.
    played.pop(NOTE, None)
    return played


class SeriesReader:
    """Collects readings row by row.

    Args:
        known: ids of the entities that rows may speak of; None: any.
    """

    def __init__(self, rule: ReadingRule, rejects: tuple[Reject, ...], known: Collection[str] | None) -> None:
        self._rule = rule
        self._rejects = rejects
        self._known = known
        self._numbers: dict[str, int] = {}
        self._cells: dict[int, dict[int, list[tuple[float, ...]]]] = {}

    def read(self, rows: Iterable[Row], quarantine: Quarantine, see: Callable[[Row], None] | None = None) -> Series:
        """Return the series of a table; `see` is shown every row, whether it fits or not."""
        report = quarantine.report
        for row in rows:
            report.rows += 1
            if see is not None:
                see(row)
            try:
                self._add(row)
            except Unfit as unfit:
                quarantine.put(unfit, row)
            else:
                report.used += 1
        return self._made()

    def _add(self, row: Row) -> None:
        check_row(row, self._rejects)
        rule = self._rule
        time_s = wall_time_s(rule.time.form.read(" ".join(text_of(row, column) for column in rule.time.columns)))
        id = filled(rule.entity, row)
        if self._known is not None and id not in self._known:
            raise Unfit("the row speaks of something that no source knows", value=id)
        values = [attribute_value(row, attribute) for attribute in rule.attributes]
        if all(value is None for value in values):
            raise Unfit("every value of the row is blank")
        if rule.window_s:
            time_s = -(-time_s // rule.window_s) * rule.window_s  # the end of the window it falls in
        number = self._numbers.setdefault(id, len(self._numbers))
        windows = self._cells.setdefault(time_s, {})
        if number in windows and not rule.window_s:
            raise Unfit("the same thing has another row at that time", value=id)
        cells = tuple(_NOTHING if value is None else float(value) for value in values)
        windows.setdefault(number, []).append(cells)

    def _made(self) -> Series:
        rules = self._rule.attributes
        series = Series(self._rule, list(self._numbers))
        width = len(rules)
        for time_s in sorted(self._cells):
            row = array("d", [_NOTHING] * (width * len(self._numbers)))
            for number, cells in self._cells.pop(time_s).items():
                for place, rule in enumerate(rules):
                    row[number * width + place] = _together(rule, [each[place] for each in cells])
            series.times_s.append(time_s)
            series.values.append(row)
        return series


def _together(rule: AttributeRule, cells: list[float]) -> float:
    values = [value for value in cells if not math.isnan(value)]
    if not values:
        return _NOTHING
    if rule.aggregate == "count":
        return len(values)
    if rule.aggregate == "median":
        return statistics.median(values)
    return values[0] if len(values) == 1 else statistics.fmean(values)
