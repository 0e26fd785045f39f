# SPDX-License-Identifier: Apache-2.0
"""Each aggregation method does to each kind of value what Tables 4.5.19.1-1 to 4.5.19.1-3 say."""

from __future__ import annotations

from statistics import pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.times import parse_date_time
from madang.model.entity import Instance
from madang.model.temporal.aggregation import NumberBucket, Result, Span, aggregate, from_buckets, point
from madang.model.temporal.duration import SECOND_US, Duration
from madang.model.temporal.query import METHODS, Aggregation

ORIGIN_US = parse_date_time("2026-01-01T00:00:00Z")
WHOLE = Duration()
SPAN = Span(ORIGIN_US, ORIGIN_US + 3600 * SECOND_US)
BOUNDS = ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"]


def of(*instances: Instance, methods: tuple[str, ...] = METHODS, duration: Duration = WHOLE) -> Result:
    """Aggregate instances that follow each other by a second."""
    points = [point(ORIGIN_US + number * SECOND_US, instance) for number, instance in enumerate(instances)]
    return aggregate(points, Aggregation(methods, duration), SPAN)


def values(*given_: Any, **more: Any) -> list[Instance]:
    return [{"type": "Property", "value": value, **more} for value in given_]


def whole(result: Result) -> dict[str, Any]:
    """Return the one value of each method, after a look at the bounds of its one period."""
    assert all(len(periods) == 1 and periods[0][1:] == BOUNDS for periods in result.values())
    return {method: periods[0][0] for method, periods in result.items()}


def test_numbers() -> None:
    assert whole(of(*values(1, 2, 2, 5.0))) == {
        "avg": 2.5,
        "distinctCount": 3,
        "max": 5.0,
        "min": 1.0,
        "stddev": 1.5,
        "sum": 10.0,
        "sumsq": 34.0,
        "totalCount": 4,
    }


def test_booleans_count_as_one_and_zero() -> None:
    result = whole(of(*values(True, False, True, True)))
    assert (result["avg"], result["sum"], result["min"], result["max"]) == (0.75, 3.0, 0.0, 1.0)
    assert (result["distinctCount"], result["totalCount"]) == (2, 4)


def test_texts_have_an_order_but_no_sum() -> None:
    assert whole(of(*values("b", "a", "c", "a"))) == {"max": "c", "min": "a", "distinctCount": 3, "totalCount": 4}


def test_objects_can_only_be_counted() -> None:
    assert whole(of(*values({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}))) == {"distinctCount": 2, "totalCount": 3}


def test_of_arrays_the_sizes_count() -> None:
    result = whole(of(*values([], ["a", "b"], ["c"], ["a", "b"])))
    assert result == {"avg": 1.25, "max": 2.0, "min": 0.0, "sum": 5.0, "distinctCount": 3, "totalCount": 4}


@pytest.mark.parametrize(
    ("kind", "given_", "low", "high"),
    [
        ("DateTime", ["2026-01-01T10:00:00.5Z", "2026-01-01T10:00:00Z"], 1, 0),
        ("Date", ["2026-01-02", "2026-01-01"], 1, 0),
    ],
)
def test_moments_have_an_order(kind: str, given_: list[str], low: int, high: int) -> None:
    for instances in (values(*given_, valueType=kind), values(*({"@type": kind, "@value": each} for each in given_))):
        result = whole(of(*instances))
        assert set(result) == {"max", "min", "distinctCount", "totalCount"}
        assert (result["min"], result["max"]) == (given_[low], given_[high])


def test_times_of_day_have_an_average() -> None:
    result = whole(of(*values("08:00:00Z", "09:00:00Z", valueType="Time")))
    assert (result["avg"], result["min"], result["max"]) == ("08:30:00Z", "08:00:00Z", "09:00:00Z")
    assert "sum" not in result


def test_relationships_can_only_be_counted() -> None:
    instances = [{"type": "Relationship", "object": f"urn:x:{number}"} for number in (1, 2, 1)]
    assert whole(of(*instances)) == {"distinctCount": 2, "totalCount": 3}


def test_the_other_types_of_attributes() -> None:
    assert whole(of({"type": "ListProperty", "valueList": [1, 2, 3]}))["max"] == 3.0
    assert whole(of({"type": "VocabProperty", "vocab": "b"}, {"type": "VocabProperty", "vocab": "a"}))["min"] == "a"
    assert set(whole(of({"type": "LanguageProperty", "languageMap": {"ko": "말"}}))) == {"distinctCount", "totalCount"}
    geometry = {"type": "Point", "coordinates": [1, 2]}
    assert set(whole(of({"type": "GeoProperty", "value": geometry}))) == {"distinctCount", "totalCount"}


def test_one_and_true_are_different_values() -> None:
    assert whole(of(*values(1, True, "1"), methods=("distinctCount",))) == {"distinctCount": 3}


def test_mixed_values_are_summed_up_by_the_commonest_kind() -> None:
    result = whole(of(*values("x", 1, 2, 3), methods=("avg", "max", "totalCount")))
    assert result == {"avg": 2.0, "max": 3.0, "totalCount": 4}


def test_only_periods_with_values_appear() -> None:
    instances = [(0, 1), (59, 3), (180, 7)]
    points = [point(ORIGIN_US + at * SECOND_US, value) for at, number in instances for value in values(number)]
    result = aggregate(points, Aggregation(("avg",), Duration(0, 60 * SECOND_US)), SPAN)
    assert result == {
        "avg": [
            [2.0, "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"],
            [7.0, "2026-01-01T00:03:00Z", "2026-01-01T00:04:00Z"],
        ]
    }


def test_what_is_too_large_is_null() -> None:
    assert whole(of(*values(1e308, 1e308), methods=("sum", "sumsq", "max"))) == {
        "sum": None,
        "sumsq": None,
        "max": 1e308,
    }
    bucket = NumberBucket(0, 2, 1e308, 1e308, float("inf"), float("inf"), float("inf"))
    assert whole(from_buckets([bucket], Aggregation(("sum", "avg"), WHOLE), SPAN)) == {"sum": None, "avg": None}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_numbers_agree_with_the_definition(numbers: list[float]) -> None:
    result = whole(of(*values(*numbers)))
    assert result["avg"] == pytest.approx(sum(numbers) / len(numbers), abs=1e-6)
    assert result["stddev"] == pytest.approx(pstdev(numbers), abs=1e-6)
    assert (result["min"], result["max"]) == (min(numbers), max(numbers))
    assert result["distinctCount"] == len(set(numbers))
