"""Leases: one worker at a time does a job, and another one takes over in time, whatever fails."""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.errors import StoreFailed
from madang.base.limits import LEASE_RENEW_S, LEASE_S
from madang.core.leases import Leases
from madang.store.port import Capabilities

SHARED = Capabilities(exclusive=False, durable=True, workers_many=True)
HANDOVER_S = 10.0  # what is promised


class _NoWaiting(selectors.DefaultSelector):
    """Nothing ever arrives from outside: where others wait, the time jumps to the next thing that is due."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for ever"
        self.loop.now_s += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is made by the test."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        selector = _NoWaiting()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now_s


def in_virtual_time(work: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work())  # type: ignore[arg-type]


def now_s() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Shelf:
    """The leases of a store: one clock for all. `away` is when it does not answer, `slow_s` how long it takes to."""

    capabilities: Capabilities = SHARED
    rows: dict[str, tuple[str, float]] = field(default_factory=dict)
    away: Callable[[str], bool] = lambda _: False
    slow_s: float = 0.001
    asked: int = 0

    async def lease(self, name: str, holder: str, lifetime_s: float) -> bool:
        self.asked += 1
        if self.away(holder):
            raise StoreFailed("away")
        # What is asked for is done somewhere within the time that the answer takes.
        await asyncio.sleep(self.slow_s / 2)
        known, until_s = self.rows.get(name, ("", 0.0))
        got = known == holder or until_s < now_s()
        if got:
            self.rows[name] = (holder, now_s() + lifetime_s)
        await asyncio.sleep(self.slow_s / 2)
        return got

    async def release(self, name: str, holder: str) -> None:
        if self.rows.get(name, ("", 0.0))[0] == holder:
            del self.rows[name]


@dataclass
class Job:
    """Does nothing, and says when."""

    spans: list[list[float]]  # of all workers: [from, to]
    stop_s: float = 0.0
    starts: int = 0
    broken: bool = False
    current: list[float] | None = None

    async def start(self) -> None:
        self.starts += 1
        if self.broken:
            raise StoreFailed("broken")
        assert self.current is None
        self.current = [now_s(), float("inf")]
        self.spans.append(self.current)

    async def stop(self) -> None:
        await asyncio.sleep(self.stop_s)
        await self.abort()

    async def abort(self) -> None:
        if self.current is not None:
            self.current[1] = now_s()
            self.current = None


class Worker:
    def __init__(self, store: Shelf, name: str, spans: list[list[float]]) -> None:
        self.leases = Leases(store, name)
        self.job = Job(spans)

    async def open(self) -> Worker:
        await self.leases.add("job", self.job.start, self.job.stop, self.job.abort)
        return self


def apart(spans: list[list[float]]) -> bool:
    return all(one[1] <= two[0] for one, two in itertools.pairwise(sorted(spans)))


@settings(deadline=None, max_examples=60)
@given(
    outages=st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 60), st.floats(0.1, 15)),  # who, from and for how many seconds
        max_size=8,
    ),
    slow_s=st.floats(0.001, 2.0),
)
def test_two_workers_never_do_the_job_at_once_and_somebody_soon_does(
    outages: list[tuple[str, float, float]], slow_s: float
) -> None:
    async def work() -> None:
        begin_s = now_s()
        store = Shelf(slow_s=slow_s)
        store.away = lambda holder: any(
            holder == who and from_s <= now_s() - begin_s < from_s + lasts_s for who, from_s, lasts_s in outages
        )
        spans: list[list[float]] = []
        workers = [await Worker(store, name, spans).open() for name in "abc"]
        await asyncio.sleep(90)
        assert apart(spans)
        # The last outage ended at 75 s at the latest; an answer that takes longer than a look waits is no answer.
        if slow_s < LEASE_RENEW_S / 2:
            assert sum(worker.job.current is not None for worker in workers) == 1
        for worker in workers:
            await worker.leases.close()
        assert apart(spans)
        assert all(worker.job.current is None for worker in workers)

    in_virtual_time(work)


@given(died_after_s=st.floats(0, 20))
@settings(deadline=None, max_examples=30)
def test_what_a_dead_worker_did_is_taken_over_in_time(died_after_s: float) -> None:
    async def work() -> None:
        store, spans = Shelf(), list[list[float]]()
        one, two = await Worker(store, "one", spans).open(), await Worker(store, "two", spans).open()
        await asyncio.sleep(died_after_s)
        assert one.leases.runs("job")
        assert not two.leases.runs("job")
        died_s = now_s()
        await one.leases.abandon()
        await asyncio.sleep(HANDOVER_S)
        assert two.leases.runs("job")
        assert LEASE_S - LEASE_RENEW_S - 1 < spans[-1][0] - died_s < HANDOVER_S
        await two.leases.close()

    in_virtual_time(work)


def test_a_worker_that_stops_gives_its_leases_back_at_once() -> None:
    async def work() -> None:
        store, spans = Shelf(), list[list[float]]()
        one, two = await Worker(store, "one", spans).open(), await Worker(store, "two", spans).open()
        one.job.stop_s = 12.0  # stopping in good order may take longer than a lease lives
        await one.leases.close()
        stopped_s = now_s()
        assert spans[0][1] - spans[0][0] >= 12.0
        await asyncio.sleep(LEASE_RENEW_S + 0.1)
        assert two.leases.runs("job")
        assert spans[1][0] - stopped_s <= LEASE_RENEW_S + 0.1
        assert apart(spans)
        await two.leases.close()

    in_virtual_time(work)


def test_who_looks_at_once_need_not_wait_for_the_next_renewal() -> None:
    async def work() -> None:
        store, spans = Shelf(), list[list[float]]()
        one, two = await Worker(store, "one", spans).open(), await Worker(store, "two", spans).open()
        await one.leases.close()
        await asyncio.gather(two.leases.look(), two.leases.look())
        assert two.leases.runs("job")
        assert two.job.starts == 1
        await two.leases.close()

    in_virtual_time(work)


def test_a_job_that_cannot_start_is_tried_again() -> None:
    async def work() -> None:
        worker = Worker(Shelf(), "one", [])
        worker.job.broken = True
        await worker.open()
        assert not worker.leases.runs("job")
        worker.job.broken = False
        await asyncio.sleep(2 * LEASE_RENEW_S)
        assert worker.leases.runs("job")
        assert worker.job.starts >= 2
        await worker.leases.close()

    in_virtual_time(work)


def test_a_slow_start_keeps_the_lease() -> None:
    async def work() -> None:
        store, spans = Shelf(), list[list[float]]()
        worker = Worker(store, "one", spans)

        async def start() -> None:
            await asyncio.sleep(3 * LEASE_S)
            await worker.job.start()

        await worker.leases.add("job", start, worker.job.stop, worker.job.abort)
        other = await Worker(store, "two", spans).open()
        assert worker.leases.runs("job")
        assert other.job.starts == 0
        await worker.leases.close()
        await other.leases.close()

    in_virtual_time(work)


def test_in_an_exclusive_store_a_job_starts_at_once_and_nobody_is_asked() -> None:
    async def work() -> None:
        store = Shelf(capabilities=Capabilities(exclusive=True, durable=True, workers_many=False))
        worker = await Worker(store, "one", []).open()
        assert worker.leases.runs("job")
        await worker.leases.close()
        assert worker.job.current is None
        assert store.asked == 0
        broken = Worker(store, "one", [])
        broken.job.broken = True
        with pytest.raises(StoreFailed):
            await broken.open()

    in_virtual_time(work)
