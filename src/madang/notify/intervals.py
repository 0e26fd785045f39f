# SPDX-License-Identifier: Apache-2.0
"""When subscriptions with a timeInterval are due; nothing is stored, as the last notification says it all."""

from __future__ import annotations

import heapq
from typing import TypeAlias

from madang.model.subscription import Subscription

Key: TypeAlias = tuple[str, str]  # tenant, id


class Intervals:
    """The subscriptions that are notified by the clock. Times in microseconds since 1970 UTC."""

    def __init__(self) -> None:
        self._due: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []

    def put(self, subscription: Subscription, last_us: int | None, now_us: int) -> None:
        """Plan the next notification: one interval after the last one, or at once when that has passed by."""
        self.remove(subscription)
        if subscription.interval_us:
            since_us = max(last_us or 0, subscription.since_us)
            self._plan((subscription.tenant, subscription.id), max(since_us + subscription.interval_us, now_us))

    def again(self, subscription: Subscription, now_us: int) -> None:
        """Plan the one after the notification that is due now; what was missed is not made up for."""
        key = (subscription.tenant, subscription.id)
        due_us = self._due.get(key, now_us) + subscription.interval_us
        self._plan(key, due_us if due_us > now_us else now_us + subscription.interval_us)

    def remove(self, subscription: Subscription) -> None:
        self._due.pop((subscription.tenant, subscription.id), None)

    @property
    def next_us(self) -> int | None:
        """When the next subscription is due; None when there is none."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def due(self, now_us: int) -> list[Key]:
        """Return the subscriptions that are due; call `again` or `remove` for each."""
        found = []
        while (next_us := self.next_us) is not None and next_us <= now_us:
            found.append(heapq.heappop(self._heap)[1])
        return found

    def _plan(self, key: Key, due_us: int) -> None:
        self._due[key] = due_us
        heapq.heappush(self._heap, (due_us, key))

    def _clean(self) -> None:
        """Drop plans that were changed meanwhile."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
