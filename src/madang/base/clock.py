# SPDX-License-Identifier: Apache-2.0
"""Clocks: the only place where the time of day enters; everything else is handed one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day in microseconds since 1970-01-01T00:00:00Z (UTC, leap seconds ignored)."""

    def now_us(self) -> int: ...


class SystemClock:
    """The machine's clock, made strictly increasing so that two changes never share a time."""

    def __init__(self) -> None:
        self._last_us = 0

    def now_us(self) -> int:
        now = time.time_ns() // 1000
        if now <= self._last_us:
            now = self._last_us + 1
        self._last_us = now
        return now


class FixedClock:
    """A clock for tests: stands still until it is told to move."""

    def __init__(self, start_us: int = 1_700_000_000_000_000) -> None:
        self.current_us = start_us

    def now_us(self) -> int:
        return self.current_us

    def advance(self, seconds: float) -> None:
        self.current_us += round(seconds * 1_000_000)
