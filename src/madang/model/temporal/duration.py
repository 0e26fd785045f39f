# SPDX-License-Identifier: Apache-2.0
"""Durations of ISO 8601 as ETSI CIM 009 clause 4.5.19.1 wants them, and the periods they cut time into."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from madang.base.errors import BadRequestData

# P[n]Y[n]M[n]DT[n]H[n]M[n]S or P[n]W; only the seconds may have a fraction, as only they do in a DateTime.
_DURATION = re.compile(
    r"P(?:(?P<weeks>\d{1,6})W"
    r"|(?=.)(?:(?P<years>\d{1,4})Y)?(?:(?P<months>\d{1,5})M)?(?:(?P<days>\d{1,7})D)?"
    r"(?:T(?=.)(?:(?P<hours>\d{1,8})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,11})(?:[.,](?P<fraction>\d{1,9}))?S)?)?)",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


@dataclass(frozen=True, slots=True)
class Duration:
    """Calendar months and, apart from them, microseconds; both zero spans the whole time range of a query."""

    months: int = 0
    microseconds: int = 0

    @property
    def whole(self) -> bool:
        return not self.months and not self.microseconds


def parse_duration(text: object, where: str) -> Duration:
    """Return the duration.

    Raises: BadRequestData: the text is not of the form that clause 4.5.19.1 allows.
    Source: ETSI CIM 009 clause 4.5.19.1.
    """
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise BadRequestData(
            f"{where} {text!r:.60} is not a duration; allowed is P[n]Y[n]M[n]DT[n]H[n]M[n]S or P[n]W, such as PT15M, "
            "P1D, or PT0S for the whole time range",
            where=where,
        )
    number = {name: int(digits) for name, digits in found.groupdict("0").items() if name != "fraction"}
    seconds = number["hours"] * 3600 + number["minutes"] * 60 + number["seconds"]
    fraction = int(((found["fraction"] or "") + "000000")[:6])
    days = number["weeks"] * 7 + number["days"]
    return Duration(number["years"] * 12 + number["months"], days * DAY_US + seconds * SECOND_US + fraction)


def period_start_us(origin_us: int, duration: Duration, index: int) -> int:
    """Return the start of period number `index`, in microseconds since 1970 UTC; period 0 starts at `origin_us`.

    Months are added to the origin's date, so that P1M from 31 January gives the last days of the months. The result is
    kept inside the years that a DateTime can name.
    """
    if not duration.months:
        return max(_FIRST_US, min(_LAST_US, origin_us + index * duration.microseconds))
    origin = _EPOCH + timedelta(microseconds=origin_us)
    year, month = divmod(origin.year * 12 + origin.month - 1 + duration.months * index, 12)
    if not 1 <= year <= 9999:
        return _LAST_US if year > 9999 else _FIRST_US
    day = min(origin.day, monthrange(year, month + 1)[1])
    moved = origin.replace(year=year, month=month + 1, day=day)
    moved_us = (moved - _EPOCH) // timedelta(microseconds=1)
    return max(_FIRST_US, min(_LAST_US, moved_us + index * duration.microseconds))


def period_index(origin_us: int, duration: Duration, moment_us: int) -> int:
    """Return the number of the period that a moment at or after the origin lies in.

    The duration must not be whole.
    """
    if not duration.months:
        return (moment_us - origin_us) // duration.microseconds
    length_us = duration.months * 31 * DAY_US + duration.microseconds  # the longest a period can be: never too late
    index = (moment_us - origin_us) // length_us
    while period_start_us(origin_us, duration, index + 1) <= moment_us and index < 9999 * 12:
        # Go on by as many of the longest periods as surely fit, so that long ranges take few steps.
        index += max(1, (moment_us - period_start_us(origin_us, duration, index)) // length_us)
    return index
