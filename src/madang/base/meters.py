# SPDX-License-Identifier: Apache-2.0
"""Numbers that the workers of one hub count in shared memory: each in its own part, and any of them can read all.

A number is one cell of eight bytes. Counting is one addition in memory, with no lock, no file and no message: each part
has one worker that writes it, on one thread. The memory belongs to the parent of the workers, so what a worker counted
outlives it, even when it was killed, and the worker that follows it counts on.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from madang.base.limits import METERS_BYTES_PER_WORKER

if TYPE_CHECKING:
    from mmap import mmap

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_CELL_BYTES: Final = 8
_LAYOUT: Final = 0  # what the cells mean; a part with another layout is not read
_PROCESS: Final = 1  # who counts there; 0 after an orderly end
_FIRST: Final = 2


@dataclass(frozen=True, slots=True)
class Series:
    """One line of numbers: its family, its labels, and where its cells lie.

    A histogram has a cell for each bound, one for what is above them all, and one for the sum.
    """

    family: str
    kind: Kind
    labels: tuple[str, ...]
    cell: int
    bounds: tuple[int, ...] = ()


class Meter:
    """A counter or a gauge."""

    __slots__ = ("_cells", "cell")

    def __init__(self, cells: memoryview, cell: int) -> None:
        self._cells = cells
        self.cell = cell

    def add(self, number: int = 1) -> None:
        self._cells[self.cell] += number

    def set(self, number: int) -> None:
        self._cells[self.cell] = number


class Histogram:
    """Counts how many observations lie at or below each bound."""

    __slots__ = ("_bounds", "_cell", "_cells", "_sum")

    def __init__(self, cells: memoryview, cell: int, bounds: tuple[int, ...]) -> None:
        self._cells = cells
        self._cell = cell
        self._bounds = bounds
        self._sum = cell + len(bounds) + 1

    def observe(self, number: int) -> None:
        cells = self._cells
        cells[self._cell + bisect_left(self._bounds, number)] += 1
        cells[self._sum] += number


@dataclass(frozen=True, slots=True)
class Part:
    """What one worker counted; `process` is None when it does not run."""

    worker: int
    process: int | None
    cells: memoryview


def shared_bytes(workers: int) -> int:
    """Return how much memory the meters of so many workers need."""
    return workers * METERS_BYTES_PER_WORKER


class Meters:
    """The meters of one worker. All are made at the start, in an order that is the same in every worker; then `begin`.

    Args:
        memory: `shared_bytes(workers)` bytes, zero at first, that all workers of the hub see; None: this process counts
            for itself.
        worker: which of the workers this is, from 1.
    """

    def __init__(self, memory: mmap | None = None, *, worker: int = 1, workers: int = 1) -> None:
        assert 1 <= worker <= workers
        whole = memoryview(memory if memory is not None else bytearray(shared_bytes(workers)))
        assert len(whole) >= shared_bytes(workers), "the shared memory is too small"
        size = METERS_BYTES_PER_WORKER
        self._parts = [whole[first * size : (first + 1) * size].cast("q") for first in range(workers)]
        self.worker = worker
        self.cells: memoryview = self._parts[worker - 1]
        self.series: list[Series] = []
        self._free = _FIRST
        self._layout = 0

    def counter(self, family: str, *labels: str) -> Meter:
        """Return a meter that only grows, over all lives of the worker."""
        return Meter(self.cells, self._take(family, "counter", labels))

    def gauge(self, family: str, *labels: str) -> Meter:
        """Return a meter of how things are now; it counts as long as its worker runs."""
        return Meter(self.cells, self._take(family, "gauge", labels))

    def histogram(self, family: str, bounds: Sequence[int], *labels: str) -> Histogram:
        """Return a histogram with these upper bounds, in growing order."""
        return Histogram(self.cells, self._take(family, "histogram", labels, tuple(bounds)), tuple(bounds))

    def begin(self) -> None:
        """Take over what the worker before counted, if it counted the same things; gauges begin at zero."""
        digest = blake2b(digest_size=7)
        for series in self.series:
            digest.update(repr((series.family, series.kind, series.labels, series.bounds)).encode())
        self._layout = int.from_bytes(digest.digest(), "big") or 1
        cells = self.cells
        if cells[_LAYOUT] not in (0, self._layout):
            for cell in range(_FIRST, self._free):
                cells[cell] = 0
        for series in self.series:
            if series.kind == "gauge":
                cells[series.cell] = 0
        cells[_PROCESS] = os.getpid()
        cells[_LAYOUT] = self._layout

    def end(self) -> None:
        """Say that this worker ends in order: its gauges count no more."""
        self.cells[_PROCESS] = 0

    def parts(self) -> Iterator[Part]:
        """Yield what each worker of the same layout has counted, this one included."""
        for worker, cells in enumerate(self._parts, start=1):
            if cells[_LAYOUT] == self._layout != 0:
                process = cells[_PROCESS]
                yield Part(worker, process if process and _runs(process) else None, cells)

    def _take(self, family: str, kind: Kind, labels: tuple[str, ...], bounds: tuple[int, ...] = ()) -> int:
        assert not self._layout, "meters are made before they begin"
        first = self._free
        self._free += len(bounds) + 2 if kind == "histogram" else 1
        assert self._free * _CELL_BYTES <= METERS_BYTES_PER_WORKER, "METERS_BYTES_PER_WORKER is too small"
        self.series.append(Series(family, kind, labels, first, bounds))
        return first


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
