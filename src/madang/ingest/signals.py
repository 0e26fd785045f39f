# SPDX-License-Identifier: Apache-2.0
"""Signal plans: schedules of phases that repeat, and which of them is in force at what time of day.

A schedule's cycle begins anew every `sum of durations` seconds, counted from midnight plus its offset. The time-of-day
plan names the schedule in force from each start time on; before the first one the default schedule is. At a change the
next schedule begins where its own count from midnight stands.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from xml.etree.ElementTree import Element

from madang.ingest.values import Unfit


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases that follow each other. `states` holds a letter a movement: G, g go; y clearing; r stop."""

    id: str
    offset_s: int
    states: tuple[str, ...]
    ends_s: tuple[int, ...]  # of the phases, counted from the beginning of the cycle

    @property
    def cycle_s(self) -> int:
        return self.ends_s[-1]


@dataclass(frozen=True, slots=True)
class Phase:
    """The phase that is on: its number from 1, and how long it has been and will be on."""

    schedule: str
    number: int
    state: str
    since_s: int
    duration_s: int


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """One intersection. `starts_s` are seconds of the day, ascending; `in_force` has one schedule more, for before."""

    starts_s: tuple[int, ...]
    in_force: tuple[Schedule, ...]

    def phase(self, wall_s: int) -> Phase:
        """Return the phase at a wall-clock time (seconds; only the time of day counts)."""
        day_s = wall_s % 86_400
        schedule = self.in_force[bisect_right(self.starts_s, day_s)]
        position_s = (day_s - schedule.offset_s) % schedule.cycle_s
        index = bisect_right(schedule.ends_s, position_s)
        began_s = schedule.ends_s[index - 1] if index else 0
        return Phase(
            schedule.id, index + 1, schedule.states[index], position_s - began_s, schedule.ends_s[index] - began_s
        )


def plan_of(element: Element) -> SignalPlan:
    """Return the plan of a trafficSignal element. Raises: Unfit: it cannot be followed."""
    try:
        schedules = {each.attrib["id"]: _schedule(each) for each in element.findall("schedule")}
        days = element.find("TODPlan")
        if days is None:
            raise Unfit("the signal has no plan for the day")
        starts = [(int(each.attrib["startTime"]), each.attrib["schedule"], int(each.attrib["offset"])) for each in days]
        default = _with_offset(schedules[days.attrib["defaultPlan"]], int(days.attrib["offset"]))
        in_force = [default, *(_with_offset(schedules[id], offset) for _, id, offset in starts)]
    except KeyError as error:
        raise Unfit("the plan names what is not there", value=str(error)) from None
    except ValueError as error:
        raise Unfit("the plan has a time that is no whole number", value=str(error)) from None
    starts_s = tuple(start for start, _, _ in starts)
    if list(starts_s) != sorted(starts_s):
        raise Unfit("the plan's start times are not in order")
    return SignalPlan(starts_s, tuple(in_force))


def _schedule(element: Element) -> Schedule:
    durations = [int(phase.attrib["duration"]) for phase in element]
    if not durations or min(durations) <= 0:
        raise Unfit("a schedule has no phases, or one without duration", value=element.attrib["id"])
    states = tuple(phase.attrib["state"] for phase in element)
    return Schedule(element.attrib["id"], int(element.attrib["offset"]), states, tuple(accumulate(durations)))


def _with_offset(schedule: Schedule, offset_s: int) -> Schedule:
    return Schedule(schedule.id, offset_s, schedule.states, schedule.ends_s)
