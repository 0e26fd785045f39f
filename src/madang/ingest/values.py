# SPDX-License-Identifier: Apache-2.0
"""From the cells of strangers' tables to values: numbers, positions, and times with hour 24."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

Row: TypeAlias = Mapping[str, Any]
FORMS: Final = ("text", "number", "integer")
_TOKENS: Final = {"YYYY": 4, "MM": 2, "DD": 2, "HH": 2, "mm": 2, "ss": 2, "M": 0, "D": 0, "H": 0}
_TOKEN = re.compile("|".join(_TOKENS))
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (wall-clock time, whose zone is beside it)


class Unfit(Exception):
    """A row that does not fit; `reason` is the same for all rows with this fault, so that they can be counted."""

    def __init__(self, reason: str, *, column: str = "", value: object = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
        self.value = value


def text_of(row: Row, column: str) -> str:
    """Return a cell as trimmed text; a whole number of a spreadsheet has no ".0"; missing cells are empty."""
    if column not in row:
        raise Unfit(f"there is no column {column}", column=column)
    value = row[column]
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def number_of(row: Row, column: str) -> float | None:
    """Return a cell as a number, None when it is blank. Raises: Unfit: it is something else, or not finite."""
    text = text_of(row, column)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        raise Unfit(f"{column} is not a number", column=column, value=text) from None
    if not math.isfinite(number):
        raise Unfit(f"{column} is not a finite number", column=column, value=text)
    return number


def filled(template: str, row: Row) -> str:
    """Return a text with {column} replaced by cells."""
    return re.sub(r"\{([^{}]+)\}", lambda found: text_of(row, found[1]), template)


def position_of(row: Row, latitude: str, longitude: str, bounds: tuple[float, ...]) -> list[float]:
    """Return (lon, lat) in degrees, WGS 84.

    Args:
        row: the row.
        latitude: the column that holds the latitude, whatever it is called.
        longitude: the column that holds the longitude.
        bounds: west, south, east and north of the city.

    Raises: Unfit: blank, zero, the wrong way round, or outside of the city.
    """
    north, east = number_of(row, latitude), number_of(row, longitude)
    if north is None or east is None:
        raise Unfit("no position: latitude or longitude is blank", column=latitude if north is None else longitude)
    if north == 0 or east == 0:
        raise Unfit("no position: latitude or longitude is 0", column=latitude if north == 0 else longitude)
    if _inside(east, north, bounds):
        return [east, north]
    if _inside(north, east, bounds):
        raise Unfit("latitude and longitude are the wrong way round", column=latitude, value=f"{north}, {east}")
    raise Unfit("the position is outside of the city", column=latitude, value=f"{north}, {east}")


def _inside(east: float, north: float, bounds: tuple[float, ...]) -> bool:
    return bounds[0] <= east <= bounds[2] and bounds[1] <= north <= bounds[3]


@dataclass(frozen=True, slots=True)
class TimeForm:
    """How a time is written, such as YYYYMMDDHH or D/M/YYYY (M, D and H without leading zeros)."""

    form: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]

    @classmethod
    def of(cls, form: str) -> TimeForm:
        """Read a form. Raises: ValueError: it has no year, month and day, or one thing twice."""
        names = tuple(token.group() for token in _TOKEN.finditer(form))
        kinds = {_kind(name) for name in names}
        if not {"year", "month", "day"} <= kinds or len(kinds) != len(names):
            raise ValueError(f"is {form!r}; it needs YYYY, MM and DD, and each only once")
        pattern, end = "", 0
        for token in _TOKEN.finditer(form):
            width = _TOKENS[token.group()]
            pattern += re.escape(form[end : token.start()]) + (rf"(\d{{{width}}})" if width else r"(\d{1,2})")
            end = token.end()
        return cls(form, re.compile(pattern + re.escape(form[end:]), re.ASCII), tuple(_kind(name) for name in names))

    def read(self, text: str) -> datetime:
        """Return the wall-clock time. Hour 24 is the midnight that ends the day. Raises: Unfit."""
        found = self.pattern.fullmatch(text)
        if found is None:
            raise Unfit(f"the time is not written as {self.form}", value=text)
        parts = dict(zip(self.names, (int(group) for group in found.groups()), strict=True))
        hour, minute, second = parts.get("hour", 0), parts.get("minute", 0), parts.get("second", 0)
        later = timedelta(0)
        if hour == 24 and minute == 0 and second == 0:
            hour, later = 0, timedelta(days=1)
        try:
            moment = datetime(parts["year"], parts["month"], parts["day"], hour, minute, second)  # noqa: DTZ001
        except ValueError:
            raise Unfit("there is no such time", value=text) from None
        return moment + later


def _kind(token: str) -> str:
    return {
        "YYYY": "year",
        **dict.fromkeys(("MM", "M"), "month"),
        **dict.fromkeys(("DD", "D"), "day"),
        **dict.fromkeys(("HH", "H"), "hour"),
        "mm": "minute",
        "ss": "second",
    }[token]


@cache
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name."""
    return ZoneInfo(name)


def wall_s(moment_us: int, zone: str) -> int:
    """Return the wall-clock time in a zone as seconds since 1970-01-01T00:00:00 on that wall."""
    local = datetime.fromtimestamp(moment_us // 1_000_000, UTC).astimezone(zone_of(zone))
    return (local.replace(tzinfo=None) - _EPOCH) // _SECOND


def wall_time_s(local: datetime) -> int:
    """Return a wall-clock time as seconds since 1970-01-01T00:00:00 on that wall."""
    return (local - _EPOCH) // _SECOND


def moment_us(wall: int, zone: str) -> int:
    """Return the moment, in microseconds since 1970 UTC, at which a wall-clock time is shown in a zone."""
    local = (_EPOCH + timedelta(seconds=wall)).replace(tzinfo=zone_of(zone))
    return round(local.timestamp()) * 1_000_000
