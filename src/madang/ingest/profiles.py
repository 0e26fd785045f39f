# SPDX-License-Identifier: Apache-2.0
"""The shape of a day as another city recorded it, and a generator that follows it: the same seed, the same values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from madang.ingest.mapping import check_row
from madang.ingest.quarantine import Quarantine
from madang.ingest.source import ProfileRule, Reject
from madang.ingest.values import Row, Unfit, number_of, text_of

Day: TypeAlias = tuple[float | None, ...]
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday
_SATURDAY: Final = 5
_NOISE_S: Final = 5_400


@dataclass(frozen=True, slots=True)
class Level:
    """How busy it is, 0 to 1, and whether the profile has it or it was interpolated between hours that it has."""

    value: float
    recorded: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """Means by hour of the day, of working days and of days off; None where nothing was recorded."""

    working: Day
    off: Day

    def level(self, wall_s: int) -> Level:
        """Return the level at a wall-clock time, between the middles of the hours on a straight line."""
        position = (wall_s % DAY_S) / HOUR_S - 0.5
        hour = int(position // 1)
        before, after = self._at(wall_s, hour), self._at(wall_s, hour + 1)
        share = position - hour
        return Level(before.value * (1 - share) + after.value * share, before.recorded and after.recorded)

    def _at(self, wall_s: int, hour: int) -> Level:
        day = self.off if is_day_off(wall_s) else self.working
        value = day[hour % 24]
        if value is not None:
            return Level(value, recorded=True)
        back = next((n for n in range(1, 24) if day[(hour - n) % 24] is not None), None)
        on = next((n for n in range(1, 24) if day[(hour + n) % 24] is not None), None)
        if back is None or on is None:
            return Level(0.0, recorded=False)
        first, last = day[(hour - back) % 24], day[(hour + on) % 24]
        assert first is not None
        assert last is not None
        return Level(first + (last - first) * back / (back + on), recorded=False)


def is_day_off(wall_s: int) -> bool:
    """Tell whether a wall-clock time is on a Saturday or Sunday."""
    return (wall_s // DAY_S + _EPOCH_WEEKDAY) % 7 >= _SATURDAY


def profile_of(rows: Iterable[Row], rule: ProfileRule, rejects: tuple[Reject, ...], quarantine: Quarantine) -> Profile:
    """Return the means of a table; counts scaled so that the busiest hour is 1, shares of a capacity as they are."""
    sums: dict[tuple[bool, int], tuple[float, int]] = {}
    report = quarantine.report
    for row in rows:
        report.rows += 1
        try:
            check_row(row, rejects)
            local = rule.time.form.read(" ".join(text_of(row, column) for column in rule.time.columns))
            hour = int(text_of(row, rule.hour)) if rule.hour else local.hour
            value = _needed(row, rule.value)
            if rule.over:
                value /= _needed(row, rule.over)
        except Unfit as unfit:
            quarantine.put(unfit, row)
            continue
        report.used += 1
        key = (local.weekday() >= _SATURDAY, hour % 24)
        total, count = sums.get(key, (0.0, 0))
        sums[key] = (total + value, count + 1)
    means = {key: total / count for key, (total, count) in sums.items()}
    top = 1.0 if rule.over else max(means.values(), default=1.0) or 1.0
    working, off = (
        tuple(means[is_off, hour] / top if (is_off, hour) in means else None for hour in range(24))
        for is_off in (False, True)
    )
    return Profile(working, off)


def _needed(row: Row, column: str) -> float:
    value = number_of(row, column)
    if value is None:
        raise Unfit(f"{column} is blank", column=column)
    return value


@dataclass(frozen=True, slots=True)
class Generator:
    """How full things are at any time, from a seed and a profile alone: nothing needs to be remembered.

    Args:
        seed: another seed, another city day.
        swing: how much of the capacity follows the profile.
        against: the busier the profile, the emptier (bikes are out) instead of fuller (cars are in).
    """

    seed: str
    profile: Profile
    swing: float
    against: bool

    def taken(self, thing: str, capacity: int, wall_s: int) -> tuple[int, bool]:
        """Return how many places of a thing are taken, 0 to capacity, and whether the profile has this hour."""
        level = self.profile.level(wall_s)
        habit = 0.7 + 0.6 * self._random(thing, "habit")
        busy = min(1.0, level.value * habit)
        base = 0.15 + 0.7 * self._random(thing, "base")
        share = base + self.swing * (0.5 - busy if self.against else busy - 0.5) + self._noise(thing, wall_s)
        return max(0, min(capacity, round(capacity * share))), level.recorded

    def _noise(self, thing: str, wall_s: int) -> float:
        bucket, inside = divmod(wall_s, _NOISE_S)
        share = inside / _NOISE_S
        before, after = self._random(thing, str(bucket)), self._random(thing, str(bucket + 1))
        return 0.3 * (before * (1 - share) + after * share - 0.5)

    def _random(self, thing: str, what: str) -> float:
        """Return a number from 0 to 1 that only the seed, the thing and the matter decide."""
        digest = hashlib.blake2b(f"{self.seed}|{thing}|{what}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") / 0xFFFFFFFF
