# SPDX-License-Identifier: Apache-2.0
"""Date and time text to microseconds since 1970 UTC and back (ETSI CIM 009 clause 4.6.3)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from madang.base.errors import BadRequestData

# Clause 4.6.3: always UTC with a trailing Z; a fraction may follow a dot or a comma.
DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_date_time(text: object, *, where: str | None = None) -> int:
    """Return microseconds since 1970-01-01T00:00:00Z for a DateTime of clause 4.6.3.

    Raises: BadRequestData: it is not a string, not of that form, or no such moment exists.
    """
    moment = try_date_time(text)
    if moment is None:
        raise BadRequestData(
            f"{text!r:.80} is not a DateTime; allowed is UTC with a trailing Z, such as 2026-01-31T08:30:00.5Z",
            where=where,
        )
    return moment


def try_date_time(text: object) -> int | None:
    """Return microseconds since 1970 UTC, or None when the text is not a DateTime of clause 4.6.3."""
    if not isinstance(text, str):
        return None
    found = DATE_TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        return None
    microsecond = int((fraction + "00000")[:6]) if fraction else 0
    return (moment - _EPOCH) // _MICROSECOND + microsecond


def format_date_time(moment_us: int) -> str:
    """Return the DateTime text for microseconds since 1970 UTC; the fraction is left out when it is zero."""
    # isoformat says UTC as +00:00; unlike strftime it is quick, and writes early years with four digits.
    return (_EPOCH + timedelta(microseconds=moment_us)).isoformat()[:-6] + "Z"


def is_date(text: str) -> bool:
    """Tell whether the text is a calendar date YYYY-MM-DD."""
    try:
        return len(text) == 10 and date.fromisoformat(text) is not None
    except ValueError:
        return False
