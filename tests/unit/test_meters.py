# SPDX-License-Identifier: Apache-2.0
"""Numbers that workers count in shared memory: sums, deaths, successors, other layouts."""

from __future__ import annotations

import mmap
import os
import signal
from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.meters import Meters, shared_bytes

BOUNDS = (1, 10, 100)


def made(memory: mmap.mmap | None = None, *, worker: int = 1, workers: int = 1) -> tuple[Meters, dict[str, int]]:
    """Meters with one of each kind, and where their cells lie."""
    meters = Meters(memory, worker=worker, workers=workers)
    meters.counter("c")
    meters.gauge("g")
    meters.histogram("h", BOUNDS)
    meters.begin()
    return meters, {series.family: series.cell for series in meters.series}


def total(meters: Meters, cell: int) -> int:
    return sum(int(part.cells[cell]) for part in meters.parts())


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1_000)), max_size=60))
def test_whichever_worker_is_asked_gives_the_sum_of_all(steps: list[tuple[int, int]]) -> None:
    memory = mmap.mmap(-1, shared_bytes(3))
    workers = []
    for worker in (1, 2, 3):
        meters = Meters(memory, worker=worker, workers=3)
        parts = meters.counter("c"), meters.histogram("h", BOUNDS)
        meters.begin()
        workers.append((meters, parts))
    for worker, number in steps:
        counter, histogram = workers[worker][1]
        counter.add(number)
        histogram.observe(number)
    expected = Counter(bisect_left(BOUNDS, number) for _, number in steps)
    for meters, _ in workers:
        counter_cell, histogram_cell = (series.cell for series in meters.series)
        assert total(meters, counter_cell) == sum(number for _, number in steps)
        buckets = [total(meters, histogram_cell + bucket) for bucket in range(len(BOUNDS) + 1)]
        assert buckets == [expected[bucket] for bucket in range(len(BOUNDS) + 1)]
        assert total(meters, histogram_cell + len(BOUNDS) + 1) == sum(number for _, number in steps)


def test_what_a_killed_process_counted_is_seen_and_its_successor_counts_on() -> None:
    memory = mmap.mmap(-1, shared_bytes(2))
    meters, cells = made(memory, worker=1, workers=2)
    ready_in, ready_out = os.pipe()
    child = os.fork()
    if child == 0:
        own, _ = made(memory, worker=2, workers=2)
        for _ in range(1_000):
            own.cells[cells["c"]] += 1
        own.cells[cells["g"]] = 7
        os.write(ready_out, b"1")
        signal.pause()
        os._exit(0)
    assert os.read(ready_in, 1) == b"1"
    for _ in range(500):
        meters.cells[cells["c"]] += 1
    try:
        assert {part.process for part in meters.parts()} == {os.getpid(), child}
        assert total(meters, cells["c"]) == 1_500
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready_in)
        os.close(ready_out)
    dead = next(part for part in meters.parts() if part.worker == 2)
    assert dead.process is None
    assert total(meters, cells["c"]) == 1_500
    made(memory, worker=2, workers=2)
    assert total(meters, cells["c"]) == 1_500, "a counter goes on where the one before ended"
    assert total(meters, cells["g"]) == 0, "a gauge is about the process that is there"


def test_an_orderly_end_takes_the_gauges_away() -> None:
    meters, _ = made()
    assert [part.process for part in meters.parts()] == [os.getpid()]
    meters.end()
    assert [part.process for part in meters.parts()] == [None]


def test_a_part_that_means_something_else_is_not_read_and_not_gone_on_with() -> None:
    memory = mmap.mmap(-1, shared_bytes(2))
    meters, cells = made(memory, worker=1, workers=2)
    other = Meters(memory, worker=2, workers=2)
    other.counter("something else").add(5)
    other.begin()
    assert [part.worker for part in meters.parts()] == [1]
    assert [part.worker for part in other.parts()] == [2]
    successor, _ = made(memory, worker=2, workers=2)
    assert [part.worker for part in successor.parts()] == [1, 2]
    assert total(successor, cells["c"]) == 0


def test_meters_are_made_before_they_begin_and_have_room() -> None:
    meters, _ = made()
    with pytest.raises(AssertionError, match="before they begin"):
        meters.counter("late")
    with pytest.raises(AssertionError, match="METERS_BYTES_PER_WORKER"):
        Meters().histogram("huge", tuple(range(100_000)))
    with pytest.raises(AssertionError, match="too small"):
        Meters(mmap.mmap(-1, shared_bytes(1)), worker=1, workers=2)
