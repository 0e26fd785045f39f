# SPDX-License-Identifier: Apache-2.0
"""How often a caller may ask: the bucket by a clock that stands still, the day's quota across restarts and workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.clock import FixedClock
from madang.base.errors import StoreFailed, TooManyRequests
from madang.base.settings import Settings
from madang.core.rates import USAGE, Rates
from madang.core.writer import Writer
from madang.model.access import ANONYMOUS, Caller
from madang.store.sqlite.store import SqliteStore

MIDNIGHT_US = 1_700_006_400_000_000  # 2023-11-15T00:00:00Z
KIM, LEE = Caller("token:kim", "token"), Caller("token:lee", "token")


class World:
    def __init__(self, store: SqliteStore, writer: Writer, clock: FixedClock) -> None:
        self.store = store
        self.writer = writer
        self.clock = clock

    def rates(self, **settings: Any) -> Rates:
        return Rates(self.store, self.writer, self.clock, Settings(**settings))

    async def stored(self) -> dict[str, Any]:
        return {id: body["count"] for _, id, body in await self.store.records(USAGE)}


@asynccontextmanager
async def world_in(folder: Path) -> AsyncIterator[World]:
    clock = FixedClock(MIDNIGHT_US)
    async with AsyncExitStack() as closing:
        store = SqliteStore(folder)
        await store.open()
        closing.push_async_callback(store.close)
        writer = Writer(store, clock)
        await writer.start()
        closing.push_async_callback(writer.close)
        yield World(store, writer, clock)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path) as world:
        yield world


def admitted(count: Callable[[], None], tries: int) -> int:
    done = 0
    for _ in range(tries):
        try:
            count()
        except TooManyRequests:
            continue
        done += 1
    return done


def refused(rates: Rates, who: Caller, address: str = "") -> float:
    with pytest.raises(TooManyRequests) as error:
        rates.count(who, address)
    assert error.value.retry_after_s is not None
    return error.value.retry_after_s


# ---- the bucket


async def test_without_limits_nothing_is_counted(world: World) -> None:
    rates = world.rates()
    assert admitted(partial(rates.count, KIM), 10_000) == 10_000
    assert await world.stored() == {}


async def test_a_bucket_is_full_at_first_and_fills_steadily(world: World) -> None:
    rates = world.rates(rate_per_s=2.0, rate_burst=5)
    assert admitted(partial(rates.count, KIM), 20) == 5
    assert refused(rates, KIM) == 1
    world.clock.advance(0.5)
    assert admitted(partial(rates.count, KIM), 20) == 1
    world.clock.advance(1_000)
    assert admitted(partial(rates.count, KIM), 20) == 5


async def test_everybody_has_a_bucket_of_his_own(world: World) -> None:
    rates = world.rates(rate_per_s=1.0)
    assert admitted(partial(rates.count, KIM), 3) == 1
    assert admitted(partial(rates.count, LEE), 3) == 1


async def test_a_token_may_have_limits_of_its_own(world: World) -> None:
    rates = world.rates(rate_per_s=1.0)
    fast, free = Caller("token:fast", "token", rate_per_s=7.0), Caller("token:free", "token", rate_per_s=0.0)
    assert admitted(partial(rates.count, fast), 20) == 7
    assert admitted(partial(rates.count, free), 1_000) == 1_000


async def test_each_worker_gives_its_share(world: World) -> None:
    settings: dict[str, Any] = {"workers": 4, "store": "postgresql://h/d", "rate_per_s": 8.0, "rate_burst": 20}
    workers = [world.rates(**settings) for _ in range(4)]
    assert sum(admitted(partial(each.count, KIM), 100) for each in workers) == 20
    world.clock.advance(1)
    assert sum(admitted(partial(each.count, KIM), 100) for each in workers) == 8


@pytest.mark.parametrize(("rate_per_s", "expected_s"), [(0.1, 10), (1e-6, 1_000_000), (5e-324, 1_000_000)])
async def test_a_slow_rate_says_when_to_come_again(world: World, rate_per_s: float, expected_s: float) -> None:
    rates = world.rates(rate_per_s=rate_per_s)
    rates.count(KIM)
    wait_s = refused(rates, KIM)
    assert wait_s == expected_s
    world.clock.advance(wait_s)
    rates.count(KIM)


@given(
    rate=st.floats(0.1, 50),
    burst=st.integers(1, 20),
    pauses_s=st.lists(st.floats(0, 5), max_size=60),
)
async def test_never_more_than_the_burst_and_what_has_flowed_in(rate: float, burst: int, pauses_s: list[float]) -> None:
    clock = FixedClock(MIDNIGHT_US)
    nothing: Any = None
    rates = Rates(nothing, nothing, clock, Settings(rate_per_s=rate, rate_burst=burst))
    done, passed_s = 0, 0.0
    for pause_s in pauses_s:
        clock.advance(pause_s)
        passed_s += pause_s
        done += admitted(partial(rates.count, KIM), 3)
        assert done <= burst + passed_s * rate + 1e-3


async def test_the_anonymous_are_told_apart_by_their_address(world: World) -> None:
    rates = world.rates(rate_per_s=1.0)
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", ""):
        assert admitted(partial(rates.count, ANONYMOUS, address), 3) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("fe80::1%eth0", "fe80::2%eth1"),
        ("", "no address"),
    ],
)
async def test_one_subscriber_is_one_caller(world: World, one: str, other: str) -> None:
    rates = world.rates(rate_per_s=1.0)
    rates.count(ANONYMOUS, one)
    refused(rates, ANONYMOUS, other)


async def test_many_addresses_do_not_fill_the_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madang.core.rates.ADDRESSES_COUNTED_MAX", 100)
    rates = world.rates(rate_per_s=1.0, quota_per_day=5)
    for number in range(1_000):
        rates.count(ANONYMOUS, f"192.0.{number // 250}.{number % 250}")
    assert len(rates._buckets) == 100
    assert len(rates._addresses) == 100


# ---- the day


async def test_a_quota_ends_with_the_day(world: World) -> None:
    rates = world.rates(quota_per_day=3)
    world.clock.advance(3_600)
    assert admitted(partial(rates.count, KIM), 10) == 3
    assert refused(rates, KIM) == 23 * 3_600
    assert admitted(partial(rates.count, LEE), 10) == 3
    world.clock.advance(23 * 3_600 - 1)
    assert refused(rates, KIM) == 1
    world.clock.advance(1)
    assert admitted(partial(rates.count, KIM), 10) == 3


async def test_a_restart_does_not_give_a_new_quota(world: World) -> None:
    rates = world.rates(quota_per_day=5)
    await rates.start()
    assert admitted(partial(rates.count, KIM), 3) == 3
    await rates.close()
    assert await world.stored() == {KIM.id: 3}
    again = world.rates(quota_per_day=5)
    await again.start()
    assert admitted(partial(again.count, KIM), 10) == 2
    await again.close()


async def test_workers_add_up_what_they_counted(world: World) -> None:
    first, second = world.rates(quota_per_day=10), world.rates(quota_per_day=10)
    assert admitted(partial(first.count, KIM), 4) == 4
    assert admitted(partial(second.count, KIM), 4) == 4
    await first.flush()
    await second.flush()  # now it knows of all eight
    assert await world.stored() == {KIM.id: 8}
    assert admitted(partial(second.count, KIM), 10) == 2
    await second.flush()
    await second.flush()
    assert await world.stored() == {KIM.id: 10}


async def test_yesterdays_counts_are_forgotten(world: World) -> None:
    rates = world.rates(quota_per_day=5)
    await rates.start()
    rates.count(KIM)
    await rates.close()
    world.clock.advance(86_400)
    again = world.rates(quota_per_day=5)
    await again.start()
    assert await world.stored() == {}
    assert admitted(partial(again.count, KIM), 10) == 5
    await again.close()
    assert await world.stored() == {KIM.id: 5}


async def test_of_the_anonymous_nothing_is_written_down(world: World) -> None:
    rates = world.rates(quota_per_day=2)
    await rates.start()
    assert admitted(partial(rates.count, ANONYMOUS, "192.0.2.1"), 5) == 2
    assert admitted(partial(rates.count, ANONYMOUS, "192.0.2.2"), 5) == 2
    await rates.close()
    assert await world.stored() == {}


async def test_what_could_not_be_written_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = world.rates(quota_per_day=5)
    rates.count(KIM)

    async def fail(*_: Any, **__: Any) -> Any:
        raise OSError

    with monkeypatch.context() as broken:
        broken.setattr(world.writer, "write", fail)
        with pytest.raises(OSError):  # noqa: PT011 (it is the one above)
            await rates.flush()
    rates.count(KIM)
    await rates.flush()
    assert await world.stored() == {KIM.id: 2}


async def test_a_store_that_is_away_does_not_keep_a_hub_from_stopping(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreFailed("The disk is full")

    rates = world.rates(quota_per_day=5)
    await rates.start()
    rates.count(KIM)
    monkeypatch.setattr(world.writer, "write", fail)
    await rates.close()
    assert await world.stored() == {}
