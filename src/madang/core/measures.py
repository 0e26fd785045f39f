# SPDX-License-Identifier: Apache-2.0
"""How large the city's data are and how far the readers of the change log have come: what an operator watches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from madang.base.limits import METRICS_SIZES_S
from madang.core.changes import first_told

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.store.port import Store, StoreSize

_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a reader is behind the end of the change log."""

    rows: int
    seconds: float  # the age of the oldest change it has not dealt with; 0 when there is none


class Measures:
    """Asks the store, so that every worker gives the same answer, whichever of them does the reading."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._size: StoreSize | None = None
        self._size_until_s = 0.0

    async def lag(self, reader: str) -> Lag:
        """Return how far a reader's bookmark is behind. Raises: StoreFailed."""
        bookmark = await self._store.bookmark(reader)
        last = await self._store.last_sequence()
        if last <= bookmark:
            return Lag(0, 0.0)
        first = await first_told(self._store, bookmark)
        if first is None:
            return Lag(0, 0.0)
        age_us = self._clock.now_us() - first.time_us
        return Lag(last - first.sequence + 1, max(0.0, age_us / _MICROSECONDS))

    async def size(self) -> StoreSize:
        """Return how much the store holds, of all tenants, as it was within METRICS_SIZES_S. Raises: StoreFailed."""
        now_s = asyncio.get_running_loop().time()
        if self._size is None or now_s >= self._size_until_s:
            self._size = await self._store.size()
            self._size_until_s = now_s + METRICS_SIZES_S
        return self._size
