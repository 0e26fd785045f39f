# SPDX-License-Identifier: Apache-2.0
"""Durations are read strictly, and periods follow each other without gap or overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.errors import BadRequestData
from madang.base.times import format_date_time, parse_date_time
from madang.model.temporal.duration import DAY_US, SECOND_US, Duration, parse_duration, period_index, period_start_us

durations = st.builds(Duration, st.integers(0, 40), st.integers(0, 400 * DAY_US)).filter(lambda each: not each.whole)
moments = st.integers(parse_date_time("1900-01-01T00:00:00Z"), parse_date_time("2200-01-01T00:00:00Z"))


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("PT0S", Duration()),
        ("P0D", Duration()),
        ("PT1H", Duration(0, 3600 * SECOND_US)),
        ("P1D", Duration(0, DAY_US)),
        ("P2W", Duration(0, 14 * DAY_US)),
        ("P1Y2M", Duration(14, 0)),
        ("PT0.5S", Duration(0, 500_000)),
        ("PT0,000001S", Duration(0, 1)),
        ("P3Y6M4DT12H30M5S", Duration(42, 4 * DAY_US + (12 * 3600 + 30 * 60 + 5) * SECOND_US)),
    ],
)
def test_what_the_standard_allows_is_read(text: str, duration: Duration) -> None:
    assert parse_duration(text, "aggrPeriodDuration") == duration


@pytest.mark.parametrize(
    "text",
    [
        *("", "P", "PT", "P1", "1D", "bogus", "P1H", "PT1D", "P1DT", "PT1H ", " PT1H", "-P1D", "P-1D", "+P1D", "p1d"),
        *("P1W1D", "P1D1M", "PT1S1M", "P1.5D", "PT1.5H", "PT.5S", "P0001-01-01T00:00:00", "P\u0661D", "PT1H\n"),
        *("P99999Y", "PT" + "9" * 30 + "S", None, 5, ["PT1H"], {}),
    ],
)
def test_everything_else_is_refused(text: object) -> None:
    with pytest.raises(BadRequestData, match="aggrPeriodDuration"):
        parse_duration(text, "aggrPeriodDuration")


@given(st.text(alphabet="PT0123456789YMDHSW.,", max_size=20))
def test_no_text_is_read_in_two_ways(text: str) -> None:
    try:
        duration = parse_duration(text, "x")
    except BadRequestData:
        return
    assert duration.months >= 0
    assert duration.microseconds >= 0
    assert text[0] == "P"


@given(moments, durations, st.integers(0, 2_000))
def test_each_moment_lies_in_the_period_of_its_number(origin_us: int, duration: Duration, index: int) -> None:
    start_us = period_start_us(origin_us, duration, index)
    end_us = period_start_us(origin_us, duration, index + 1)
    if start_us == end_us:  # behind the last year that a DateTime can name
        return
    assert start_us < end_us
    assert period_index(origin_us, duration, start_us) == index
    assert period_index(origin_us, duration, end_us - 1) == index


def test_months_start_on_the_day_of_the_origin_or_the_last_of_the_month() -> None:
    origin_us = parse_date_time("2023-12-31T08:00:00Z")
    starts = [format_date_time(period_start_us(origin_us, Duration(1), index)) for index in range(4)]
    assert starts == ["2023-12-31T08:00:00Z", "2024-01-31T08:00:00Z", "2024-02-29T08:00:00Z", "2024-03-31T08:00:00Z"]


def test_periods_end_with_the_calendar() -> None:
    last_us = parse_date_time("9999-12-31T23:59:59Z")
    assert period_start_us(last_us, Duration(1), 5) >= last_us
    assert period_start_us(last_us, Duration(0, DAY_US), 5) >= last_us
