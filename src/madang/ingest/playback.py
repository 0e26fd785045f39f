# SPDX-License-Identifier: Apache-2.0
"""The city's day goes by: what is due in demo time is written, step by step, and remembered.

Whatever is written is observed at a moment of the demo's time; what was really recorded says when, in `recordedAt`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from madang.base.times import format_date_time
from madang.ingest.city import City
from madang.ingest.loading import Loaded
from madang.ingest.mapping import NOTE, ORIGIN
from madang.ingest.profiles import Generator
from madang.ingest.seed import State, batches
from madang.ingest.signals import Phase
from madang.ingest.source import GeneratorRule, PlanRule
from madang.ingest.timeline import Timeline
from madang.ingest.values import moment_us, wall_s
from madang.model.jsonld.expand import parse_fragment

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.model.entity import Document
    from madang.model.jsonld.context import Context

SECOND_US: Final = 1_000_000
CATCH_UP_US: Final = 24 * 3_600 * SECOND_US  # of the demo's time; what lies longer back is left out
BOOKMARK_S: Final = 5
BACKFILL_STEP_S: Final = 3_600
BACKFILL_GENERATED_H: Final = 2  # many things, so every second hour is enough for a chart
PROFILE_ORIGIN: Final = "profile of another city"
GENERATED_ORIGIN: Final = "generated"
PLAN_ORIGIN: Final = "recorded plan"


@dataclass(slots=True)
class _Things:
    """The generated entities of one source: their ids, capacities, and the second of the step at which each is due."""

    rule: GeneratorRule
    generator: Generator
    context: Context
    capacities: dict[str, int]
    places: dict[str, int]
    last: dict[str, tuple[int, bool]] = field(default_factory=dict)


class Player:
    """Plays a loaded city into a hub.

    Args:
        core: the hub.
        city: whose recordings, profiles and plans.
        loaded: what the sources gave, by their ids.
        state: keeps how far it has played.
        speed: how fast the days go by.
    """

    def __init__(self, core: Core, city: City, loaded: dict[str, Loaded], state: State, *, speed: float = 1.0) -> None:
        self._core = core
        self._city = city
        self._state = state
        self._series = [each for each in loaded.values() if each.series is not None]
        self._plans = [each for each in loaded.values() if each.plans]
        self._things = [_things(each, loaded, city) for each in loaded.values() if each.source.generator is not None]
        self._phases: dict[str, tuple[str, int]] = {}
        clock_us = core.clock.now_us()
        self.timeline = Timeline.begin(clock_us, speed, state.played_us)
        self._played_us = max(state.played_us or self.timeline.demo_us, self.timeline.demo_us - CATCH_UP_US)
        self._saved_us = clock_us

    @property
    def demo_us(self) -> int:
        """The present of the demo."""
        return self.timeline.at(self._core.clock.now_us())

    async def backfill(self, progress: Callable[[int, int], None]) -> int:
        """Write the day before the beginning, once, so that there is a history to look at; return the writes.

        Args: progress: told how many hours are done, of how many.
        """
        if self._state.backfilled:
            return 0
        hours = self._city.backfill_h
        end_us, written = self._played_us // SECOND_US * SECOND_US, 0
        for hour in range(hours):
            until_us = end_us - (hours - 1 - hour) * BACKFILL_STEP_S * SECOND_US
            after_us = until_us - BACKFILL_STEP_S * SECOND_US
            written += await self._write(list(self._recorded(after_us, until_us)))
            if (hours - 1 - hour) % BACKFILL_GENERATED_H == 0:
                full = [each for things in self._things for each in _full(things, until_us, self._city)]
                written += await self._write(full)
            progress(hour + 1, hours)
        # Signals have no past, but somebody may look at one before the first step.
        written += await self._write(list(self._changed_phases(end_us)))
        self._state.backfilled = True
        await self._bookmark()
        return written

    async def tick(self) -> int:
        """Write everything that has become due since the last tick; return how many entities were written."""
        after_us, until_us = self._played_us, self.demo_us
        if until_us <= after_us:
            return 0
        documents = list(self._recorded(max(after_us, until_us - CATCH_UP_US), until_us))
        for things in self._things:
            documents += _due(things, after_us, until_us, self._city)
        documents += self._changed_phases(until_us)
        written = await self._write(documents)
        self._played_us = until_us
        if self._core.clock.now_us() - self._saved_us >= BOOKMARK_S * SECOND_US:
            await self._bookmark()
        return written

    async def close(self) -> None:
        """Play up to this moment and remember it, so that the next start does not go back."""
        await self.tick()
        await self._bookmark()

    async def _bookmark(self) -> None:
        self._state.played_us = self._played_us
        await self._state.save(self._core, self._city)
        self._saved_us = self._core.clock.now_us()

    def _recorded(self, after_us: int, until_us: int) -> Iterator[Document]:
        for each in self._series:
            series = each.series
            assert series is not None
            for time_s, index in series.due(wall_s(after_us, self._city.zone), wall_s(until_us, self._city.zone)):
                observed_at = format_date_time(moment_us(time_s, self._city.zone))
                recorded_at = format_date_time(series.recorded_us(index))
                for fragment in series.fragments(index, observed_at, recorded_at):
                    yield parse_fragment(fragment, each.context, nulls=False)

    def _changed_phases(self, until_us: int) -> Iterator[Document]:
        for each in self._plans:
            rule = each.source.plan
            assert rule is not None
            time_s = wall_s(until_us, rule.zone)
            for id, plan in each.plans.items():
                phase = plan.phase(time_s)
                if self._phases.get(id) != (phase.schedule, phase.number):
                    self._phases[id] = (phase.schedule, phase.number)
                    since_us = until_us // SECOND_US * SECOND_US - phase.since_s * SECOND_US
                    yield parse_fragment(_phase_fragment(id, rule, phase, since_us), each.context, nulls=False)

    async def _write(self, documents: list[Document]) -> int:
        """Write fragments in order: an entity that stands in a batch twice gets both values, one after the other."""
        written = 0
        for batch in batches(documents):
            result = await self._core.provision.batch_update(self._city.tenant, batch)
            written += len(result.updated)
        return written


def _things(loaded: Loaded, all_loaded: dict[str, Loaded], city: City) -> _Things:
    rule = loaded.source.generator
    assert rule is not None
    profile = all_loaded[rule.profile].profile
    assert profile is not None
    name = loaded.context.expand(rule.capacity)
    capacities = {
        id: int(instance["value"]) for id, document in loaded.documents.items() if (instance := document.get(name))
    }
    loaded.documents = {}
    generator = Generator(f"{city.seed}|{loaded.source.id}", profile, rule.swing, rule.against)
    places = {id: zlib.crc32(id.encode()) % rule.every_s for id in capacities}
    return _Things(rule, generator, loaded.context, capacities, places)


def _due(things: _Things, after_us: int, until_us: int, city: City) -> Iterator[Document]:
    """Yield the entities whose turn came in (after, until] and whose value has changed."""
    every_s = things.rule.every_s
    after_s, until_s = after_us // SECOND_US, until_us // SECOND_US
    for id, place_s in things.places.items():
        turn = (until_s - place_s) // every_s
        if turn == (after_s - place_s) // every_s:
            continue
        time_us = (turn * every_s + place_s) * SECOND_US
        value = things.generator.taken(id, things.capacities[id], wall_s(time_us, city.zone))
        if things.last.get(id) != value:
            things.last[id] = value
            yield _taken(things, id, value, time_us)


def _full(things: _Things, time_us: int, city: City) -> Iterator[Document]:
    """Yield all entities with their values of one moment."""
    time_s = wall_s(time_us, city.zone)
    for id, capacity in things.capacities.items():
        things.last[id] = value = things.generator.taken(id, capacity, time_s)
        yield _taken(things, id, value, time_us)


def _taken(things: _Things, id: str, value: tuple[int, bool], time_us: int) -> Document:
    taken, recorded = value
    rule = things.rule
    about = {
        "type": "Property",
        "observedAt": format_date_time(time_us),
        ORIGIN: {"type": "Property", "value": PROFILE_ORIGIN if recorded else GENERATED_ORIGIN},
        NOTE: {"type": "Property", "value": rule.note if recorded else rule.note_outside},
    }
    fragment = {
        "id": id,
        rule.taken: {**about, "value": taken},
        rule.free: {**about, "value": things.capacities[id] - taken},
    }
    return parse_fragment(fragment, things.context, nulls=False)


def _phase_fragment(id: str, rule: PlanRule, phase: Phase, since_us: int) -> dict[str, Any]:
    return {
        "id": id,
        rule.attribute: {
            "type": "Property",
            "value": phase.state,
            "observedAt": format_date_time(since_us),
            "phase": {"type": "Property", "value": phase.number},
            "duration": {"type": "Property", "value": phase.duration_s, "unitCode": "SEC"},
            "signalSchedule": {"type": "Property", "value": phase.schedule},
            ORIGIN: {"type": "Property", "value": PLAN_ORIGIN},
        },
    }
