# SPDX-License-Identifier: Apache-2.0
"""How often a caller may ask: a bucket that fills steadily, and a count for each day that a restart does not forget.

Each worker has its own bucket with its share of the rate. What is counted for the day is added up in the store every
few seconds, so that a quota may be overrun by what all workers admit in that time. Of anonymous callers, who are told
apart by their address, nothing is written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from madang.base.errors import HubError, TooManyRequests
from madang.base.limits import ADDRESSES_COUNTED_MAX, USAGE_FLUSH_S, WRITE_GROUP_MUTATIONS_MAX
from madang.model.access import ANONYMOUS, Caller

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.base.settings import Settings
    from madang.core.writer import View, Writer
    from madang.store.port import Store

USAGE: Final = "usage"
_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
_RATE_MIN_PER_S: Final = 1e-6
_IPV6_PREFIX: Final = 64  # what one subscriber has
_LOG = logging.getLogger("madang.access")


@dataclass(slots=True)
class _Bucket:
    """What a caller may still ask at once, as of a moment."""

    left: float
    moment_us: int


@dataclass(slots=True)
class _Usage:
    """What a caller asked today: what the store knows, and what it does not know yet."""

    stored: int = 0
    unstored: int = 0


class Rates:
    """Counts the requests of each caller, and refuses those that are too many."""

    def __init__(self, store: Store, writer: Writer, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._workers = settings.workers
        self._rate_per_s = settings.rate_per_s
        self._burst = settings.rate_burst
        self._quota_per_day = settings.quota_per_day
        # The one that was used last stands last.
        self._buckets: dict[str, _Bucket] = {}
        self._usages: dict[str, _Usage] = {}
        self._addresses: dict[str, _Usage] = {}
        self._day = clock.now_us() // _DAY_US
        self._flushing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Learn what was counted today, and write down what is counted from now on."""
        past = []
        for _, id, body in await self._store.records(USAGE, tenant=""):
            if body["day"] == self._day:
                self._usages[id] = _Usage(stored=body["count"])
            else:
                past.append(id)
        for first in range(0, len(past), WRITE_GROUP_MUTATIONS_MAX):
            await self._forget(past[first : first + WRITE_GROUP_MUTATIONS_MAX])
        self._flushing = asyncio.create_task(self._flush_again_and_again(), name="usage")

    async def close(self) -> None:
        """Write down what is not written yet."""
        if self._flushing is not None:
            # Never cancelled: what is being written would be counted twice.
            self._stopping.set()
            await self._flushing
            try:
                await self.flush()
            except HubError:
                _LOG.warning("what callers asked in the last seconds is lost, as it could not be written down")

    def count(self, who: Caller, address: str = "") -> None:
        """Count one request. Raises: TooManyRequests: it is one too many; `retry_after_s` says when to come again."""
        rate = self._rate_per_s if who.rate_per_s is None else who.rate_per_s
        quota = self._quota_per_day if who.quota_per_day is None else who.quota_per_day
        if not rate and not quota:
            return
        is_anonymous = who.kind == ANONYMOUS.kind
        name = f"address {_block(address)}" if is_anonymous else who.id
        now_us = self._clock.now_us()
        if rate:
            self._take(
                name,
                max(rate / self._workers, _RATE_MIN_PER_S),
                max(1.0, (self._burst or rate) / self._workers),
                now_us,
            )
        if quota:
            self._spend(name, quota, now_us, self._addresses if is_anonymous else self._usages)

    async def flush(self) -> None:
        """Add what was counted to what is stored. Raises: StoreFailed."""
        day = self._day
        due = [(id, usage) for id, usage in self._usages.items() if usage.unstored]
        for first in range(0, len(due), WRITE_GROUP_MUTATIONS_MAX):
            part = {id: usage.unstored for id, usage in due[first : first + WRITE_GROUP_MUTATIONS_MAX]}
            totals = await self._add(day, part)
            if day != self._day:
                return
            for id, added in part.items():
                usage = self._usages[id]
                usage.stored, usage.unstored = totals[id], usage.unstored - added

    def _take(self, name: str, rate_per_s: float, burst: float, now_us: int) -> None:
        bucket = self._buckets.pop(name, None)
        if bucket is None:
            if len(self._buckets) >= ADDRESSES_COUNTED_MAX:
                del self._buckets[next(iter(self._buckets))]
            bucket = _Bucket(burst, now_us)
        self._buckets[name] = bucket
        passed_us = max(0, now_us - bucket.moment_us)
        bucket.left = min(burst, bucket.left + passed_us * rate_per_s / _SECOND_US)
        bucket.moment_us = now_us
        if bucket.left < 1.0:
            wait_s = ceil((1.0 - bucket.left) / rate_per_s)
            raise TooManyRequests(
                f"You ask more often than you may; come again in {wait_s} s, or ask your administrator for more",
                retry_after_s=wait_s,
            )
        bucket.left -= 1.0

    def _spend(self, name: str, quota: int, now_us: int, usages: dict[str, _Usage]) -> None:
        day, of_day_us = divmod(now_us, _DAY_US)
        if day != self._day:
            self._day = day
            self._usages.clear()
            self._addresses.clear()
        usage = usages.get(name)
        if usage is None:
            if usages is self._addresses and len(usages) >= ADDRESSES_COUNTED_MAX:
                del usages[next(iter(usages))]
            usage = usages[name] = _Usage()
        if usage.stored + usage.unstored >= quota:
            wait_s = ceil((_DAY_US - of_day_us) / _SECOND_US)
            raise TooManyRequests(
                f"Your {quota} requests of today are used up; the next day (UTC) begins in {wait_s} s",
                retry_after_s=wait_s,
            )
        usage.unstored += 1

    async def _add(self, day: int, counts: dict[str, int]) -> dict[str, int]:
        def decide(view: View) -> dict[str, int]:
            totals = {}
            for id, count in counts.items():
                known = view.record(USAGE, id)
                before = known["count"] if known is not None and known["day"] == day else 0
                totals[id] = before + count
                view.put_record(USAGE, id, {"day": day, "count": totals[id]}, logged=False)
            return totals

        return await self._writer.write("", (), decide, records=[(USAGE, id) for id in counts])

    async def _forget(self, ids: list[str]) -> None:
        def decide(view: View) -> None:
            for id in ids:
                known = view.record(USAGE, id)
                if known is not None and known["day"] != self._day:
                    view.delete_record(USAGE, id, logged=False)

        await self._writer.write("", (), decide, records=[(USAGE, id) for id in ids])

    async def _flush_again_and_again(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), USAGE_FLUSH_S)
            if self._stopping.is_set():
                return
            try:
                await self.flush()
            except Exception:  # noqa: BLE001 (what was counted is kept, and the next time may succeed)
                _LOG.exception("what callers asked today could not be written down; the next try is in 5 s")


def _block(address: str) -> str:
    """Return an address, or of IPv6 the block that one subscriber has, as whoever has it has many addresses."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False).network_address)
