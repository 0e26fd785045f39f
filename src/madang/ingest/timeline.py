# SPDX-License-Identifier: Apache-2.0
"""The demo's own time: it runs with the clock or faster, and never backwards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeline:
    """Demo time as a line over the clock's time; all in microseconds since 1970 UTC."""

    clock_us: int
    demo_us: int
    speed: float

    @classmethod
    def begin(cls, clock_us: int, speed: float, played_us: int | None) -> Timeline:
        """Return the line from now on: at the clock's time, or where an earlier run, played faster, left off."""
        return cls(clock_us, max(clock_us, played_us or 0), speed)

    def at(self, clock_us: int) -> int:
        """Return the demo's time."""
        return self.demo_us + round((clock_us - self.clock_us) * self.speed)
