"""Signals, profiles, series and the demo's time: what is due when, worked out by hand."""

from __future__ import annotations

from array import array
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.ingest.profiles import DAY_S, Generator, Profile, is_day_off
from madang.ingest.series import Series
from madang.ingest.signals import SignalPlan, plan_of
from madang.ingest.source import AttributeRule, ReadingRule, TimeRule
from madang.ingest.timeline import Timeline
from madang.ingest.values import TimeForm, Unfit

HOUR_S = 3_600

PLAN = """
<trafficSignal nodeID="1">
  <schedule offset="5" id="1">
    <phase state="rr" duration="35"/><phase state="Gr" duration="42"/><phase state="yr" duration="3"/>
    <phase state="rG" duration="17"/><phase state="ry" duration="3"/>
  </schedule>
  <schedule offset="58" id="5"><phase state="Gr" duration="90"/><phase state="rG" duration="60"/></schedule>
  <TODPlan offset="5" defaultPlan="1">
    <plan offset="58" schedule="5" startTime="25200"/><plan offset="15" schedule="1" startTime="75600"/>
  </TODPlan>
</trafficSignal>
"""


def plan(*change: str) -> SignalPlan:
    text = PLAN.replace(change[0], change[1]) if change else PLAN
    return plan_of(ElementTree.fromstring(text))  # noqa: S314 (our own text)


@pytest.mark.parametrize(
    ("second", "schedule", "number", "state", "since", "duration"),
    [
        (5, "1", 1, "rr", 0, 35),  # the offset is where the first cycle begins
        (0, "1", 4, "rG", 15, 17),  # five seconds before it: (0 - 5) mod 100 = 95, in 80 to 97
        (39, "1", 1, "rr", 34, 35),
        (40, "1", 2, "Gr", 0, 42),
        (82, "1", 3, "yr", 0, 3),
        (85, "1", 4, "rG", 0, 17),
        (102, "1", 5, "ry", 0, 3),
        (25_199, "1", 4, "rG", 14, 17),  # (25199 - 5) mod 100 = 94
        (25_200, "5", 2, "rG", 2, 60),  # another schedule: (25200 - 58) mod 150 = 92, in 90 to 150
        (75_599, "5", 2, "rG", 1, 60),  # (75599 - 58) mod 150 = 91
        (75_600, "1", 4, "rG", 5, 17),  # the same schedule with another offset: (75600 - 15) mod 100 = 85
        (86_400 + 40, "1", 2, "Gr", 0, 42),  # the next day
    ],
)
def test_the_phase_follows_from_plan_and_time_of_day(
    second: int, schedule: str, number: int, state: str, since: int, duration: int
) -> None:
    phase = plan().phase(second)
    assert (phase.schedule, phase.number, phase.state, phase.since_s, phase.duration_s) == (
        schedule,
        number,
        state,
        since,
        duration,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('defaultPlan="1"', 'defaultPlan="9"'), "names what is not there"),
        (('duration="35"', 'duration="0"'), "without duration"),
        (('duration="35"', 'duration="x"'), "no whole number"),
        (('startTime="25200"', 'startTime="80000"'), "not in order"),
        (("TODPlan", "Other"), "no plan for the day"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_unfit(change: tuple[str, str], reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        plan(*change)


@given(st.integers(0, 10 * DAY_S))
def test_a_phase_is_always_on(second: int) -> None:
    phase = plan().phase(second)
    assert 0 <= phase.since_s < phase.duration_s


# ---- profiles

MORNING = Profile(tuple(float(hour) / 10 if 7 <= hour <= 16 else None for hour in range(24)), (0.5,) * 24)
MONDAY_S = 4 * DAY_S  # 1970-01-05


def test_days_off_are_saturday_and_sunday() -> None:
    assert [is_day_off(MONDAY_S + day * DAY_S) for day in range(7)] == [False] * 5 + [True] * 2


def test_between_the_middles_of_hours_lies_a_straight_line() -> None:
    assert MORNING.level(MONDAY_S + 9 * HOUR_S + 1_800).value == pytest.approx(0.9)
    assert MORNING.level(MONDAY_S + 10 * HOUR_S).value == pytest.approx(0.95)
    assert MORNING.level(MONDAY_S + 5 * DAY_S).value == pytest.approx(0.5)


def test_hours_that_nobody_recorded_say_so() -> None:
    assert MORNING.level(MONDAY_S + 12 * HOUR_S).recorded
    assert not MORNING.level(MONDAY_S + 3 * HOUR_S).recorded
    assert 0.7 < MORNING.level(MONDAY_S + 3 * HOUR_S).value < 1.6  # between 16 h and 7 h


times = st.integers(0, 400 * DAY_S)


@given(st.text(max_size=20), st.integers(1, 400), times, st.booleans())
def test_a_generator_says_the_same_twice_and_respects_the_capacity(
    thing: str, capacity: int, time_s: int, against: bool
) -> None:
    first = Generator("s", MORNING, 0.7, against).taken(thing, capacity, time_s)
    assert first == Generator("s", MORNING, 0.7, against).taken(thing, capacity, time_s)
    assert 0 <= first[0] <= capacity


def test_another_seed_is_another_day() -> None:
    one, other = (
        [Generator(seed, MORNING, 0.7, against=False).taken(f"t{n}", 100, MONDAY_S)[0] for n in range(20)]
        for seed in ("a", "b")
    )
    assert one != other


def test_what_goes_against_the_profile_falls_when_it_rises() -> None:
    calm, busy = MONDAY_S + 7 * HOUR_S + 1_800, MONDAY_S + 16 * HOUR_S + 1_800
    fuller = Generator("s", MORNING, 0.7, against=False)
    emptier = Generator("s", MORNING, 0.7, against=True)
    things = [f"t{n}" for n in range(200)]
    assert sum(fuller.taken(t, 100, busy)[0] for t in things) > sum(fuller.taken(t, 100, calm)[0] for t in things)
    assert sum(emptier.taken(t, 100, busy)[0] for t in things) < sum(emptier.taken(t, 100, calm)[0] for t in things)


# ---- series

RULE = ReadingRule(
    "urn:a", TimeRule(("t",), TimeForm.of("YYYYMMDDHH"), "Asia/Seoul"), (AttributeRule("p", "P", "number"),)
)


def series(*times_s: int) -> Series:
    return Series(RULE, ["urn:a"], list(times_s), [array("d", [float(number)]) for number in range(len(times_s))])


def hourly(days: int) -> Series:
    """From Monday 01:00 to the midnight that ends the last day, as the air stations."""
    return series(*(MONDAY_S + hour * HOUR_S for hour in range(1, days * 24 + 1)))


def test_a_loop_is_whole_weeks_else_whole_days() -> None:
    assert hourly(92).loop_s == 91 * DAY_S
    assert hourly(6).loop_s == 6 * DAY_S
    assert series(MONDAY_S + 7 * HOUR_S, MONDAY_S + 10 * HOUR_S).loop_s == DAY_S


def test_what_was_recorded_at_an_hour_of_a_weekday_is_played_then() -> None:
    recorded = hourly(92)
    years_later_s = MONDAY_S + 52 * 40 * 7 * DAY_S
    due = list(recorded.due(years_later_s, years_later_s + 7 * DAY_S))
    assert len(due) == 7 * 24
    for time_s, index in due:
        assert (recorded.times_s[index] - time_s) % (7 * DAY_S) == 0


def test_steps_that_meet_give_everything_once() -> None:
    recorded = hourly(14)
    start_s = MONDAY_S + 1_000 * DAY_S
    whole = list(recorded.due(start_s, start_s + 30 * DAY_S))
    parts = [each for n in range(60) for each in recorded.due(start_s + n * DAY_S // 2, start_s + (n + 1) * DAY_S // 2)]
    assert parts == whole
    assert len(whole) == 30 * 24
    assert list(recorded.due(start_s, start_s)) == []


def test_a_morning_is_played_every_morning() -> None:
    morning = series(*(MONDAY_S + 7 * HOUR_S + n * 300 for n in range(1, 37)))
    due = list(morning.due(MONDAY_S + 10 * DAY_S, MONDAY_S + 12 * DAY_S))
    assert len(due) == 72
    assert all(7 * HOUR_S < time_s % DAY_S <= 10 * HOUR_S for time_s, _ in due)


def test_a_value_that_was_not_recorded_is_not_played() -> None:
    recorded = Series(RULE, ["urn:a", "urn:b"], [0], [array("d", [float("nan"), 2.5])])
    assert list(recorded.fragments(0, "2026-01-01T00:00:00Z", "2024-01-01T00:00:00Z")) == [
        {
            "id": "urn:b",
            "p": {
                "type": "Property",
                "value": 2.5,
                "observedAt": "2026-01-01T00:00:00Z",
                "recordedAt": {"type": "Property", "value": {"@type": "DateTime", "@value": "2024-01-01T00:00:00Z"}},
            },
        }
    ]


# ---- the demo's time


def test_demo_time_runs_with_the_clock_or_faster_and_never_backwards() -> None:
    assert Timeline.begin(1_000, 1.0, None).at(1_500) == 1_500
    assert Timeline.begin(1_000, 60.0, None).at(1_500) == 31_000
    assert Timeline.begin(1_000, 1.0, 500).at(1_000) == 1_000  # a pause: the present is the clock's
    assert Timeline.begin(1_000, 1.0, 9_000).at(1_001) == 9_001  # an earlier run was faster than the clock
