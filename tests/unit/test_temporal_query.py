# SPDX-License-Identifier: Apache-2.0
"""Windows and aggregations are read from URL texts and from JSON alike, and whatever is wrong is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.errors import BadRequestData, InvalidInput
from madang.base.times import parse_date_time
from madang.model.temporal.duration import Duration
from madang.model.temporal.query import METHODS, Aggregation, Window, parse_aggregation, parse_window

AT = "2026-01-01T00:00:00Z"
END = "2026-01-02T00:00:00.5Z"
AT_US, END_US = parse_date_time(AT), parse_date_time(END)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("given_", "window"),
    [
        ({}, Window()),
        ({"timeproperty": "createdAt"}, Window("createdAt", True)),
        ({"timerel": "before", "timeAt": AT}, Window(relation="before", end_us=AT_US)),
        ({"timerel": "after", "timeAt": AT}, Window(relation="after", start_us=AT_US)),
        (
            {"timerel": "between", "timeAt": AT, "endTimeAt": END},
            Window(relation="between", start_us=AT_US, end_us=END_US),
        ),
        ({"lastN": "3"}, Window(last_n=3)),
        ({"lastN": 3}, Window(last_n=3)),
    ],
)
def test_a_window_is_read(given_: dict[str, Any], window: Window) -> None:
    assert parse_window(given_, required=False) == window


@pytest.mark.parametrize(
    "given_",
    [
        {"timerel": "during", "timeAt": AT},
        {"timerel": "after"},
        {"timerel": "after", "timeAt": "2026-01-01"},
        {"timerel": "after", "timeAt": "2026-01-01T00:00:00+01:00"},
        {"timerel": "after", "timeAt": 5},
        {"timerel": "after", "timeAt": AT, "endTimeAt": END},
        {"timerel": "between", "timeAt": AT},
        {"timeAt": AT},
        {"endTimeAt": AT},
        {"timeproperty": "expiresAt"},
        {"timeproperty": ["createdAt"]},
        *(dict[str, Any](lastN=text) for text in ("0", "-1", "1.5", "", "x", "\u0661", "9" * 40)),
        *(dict[str, Any](lastN=number) for number in (0, -1, 2.5, True)),
    ],
)
def test_a_wrong_window_is_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData):
        parse_window(given_, required=False)


def test_a_query_needs_a_window() -> None:
    with pytest.raises(BadRequestData, match="timerel"):
        parse_window({"lastN": 3}, required=True)


def test_the_bounds_are_inclusive_below_and_exclusive_above() -> None:
    window = Window(relation="between", start_us=10, end_us=20)
    assert [moment for moment in (9, 10, 19, 20) if window.holds(moment)] == [10, 19]


@pytest.mark.parametrize("methods", ["avg,max", ["avg", "max"], "avg, max,avg"])
def test_methods_come_as_text_or_list(methods: object) -> None:
    expected = Aggregation(("avg", "max"), Duration())
    assert parse_aggregation({"aggrMethods": methods}) == expected
    assert parse_aggregation({"aggrMethods": methods, "aggrPeriodDuration": "PT0S"}) == expected


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"aggrPeriodDuration": "PT1H"},
        *({"aggrMethods": value} for value in ("", "mean", "avg,", [], ["avg", 3], [["avg"]], {"avg": 1}, 5, True)),
    ],
)
def test_wrong_methods_are_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(BadRequestData, match="aggrMethods"):
        parse_aggregation(given_)


@given(
    st.dictionaries(
        st.sampled_from(
            ["timerel", "timeAt", "endTimeAt", "timeproperty", "lastN", "aggrMethods", "aggrPeriodDuration"]
        ),
        json_values | st.sampled_from([*METHODS, "before", "between", AT, "PT1H"]),
    ),
    st.booleans(),
)
def test_no_input_raises_anything_else(given_: dict[str, Any], required: bool) -> None:
    for parse in (lambda: parse_window(given_, required=required), lambda: parse_aggregation(given_)):
        with suppress(InvalidInput):
            parse()
