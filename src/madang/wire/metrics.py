# SPDX-License-Identifier: Apache-2.0
"""What an operator can watch: every metric of the hub by name, and who counts it.

Each worker counts in shared memory (`madang.base.meters`); whichever is asked adds all of them up and asks the store
for what only that knows. No label holds anything that comes from outside: no tenant, no id, no name.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from madang.base.limits import METERS_SAMPLE_S

if TYPE_CHECKING:
    from madang.base.meters import Meters
    from madang.core.caches import CacheCounts
    from madang.wire.http import Route

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

NANOSECONDS: Final = 1_000_000_000
UNMATCHED: Final = "unmatched"  # the route of a path that the hub does not have
OTHER: Final = "other"  # a method that the route does not have by itself

SECONDS_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
GROUP_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_BOUNDS_NS: Final = tuple(round(bound * NANOSECONDS) for bound in SECONDS_BOUNDS)
_STATUSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name and labels as Prometheus has them; `scale` is how many of a cell's units make one of it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    scale: int = 1
    by_worker: bool = False  # one line for each worker, in place of a sum
    always: bool = True  # shown while it is zero; else only once something was counted
    bounds: tuple[float, ...] = ()  # of a histogram

    @property
    def shown_labels(self) -> tuple[str, ...]:
        """The labels of a line."""
        return (*self.labels, "worker") if self.by_worker else self.labels


REQUESTS: Final = Family(
    *("madang_http_requests_total", "counter", "Requests answered, by route, method and class of status."),
    ("route", "method", "status"),
    always=False,
)
DURATIONS: Final = Family(
    *("madang_http_request_duration_seconds", "histogram", "From the look at a request until its answer was ready."),
    ("route", "method"),
    scale=NANOSECONDS,
    always=False,
    bounds=SECONDS_BOUNDS,
)
UNDER_WAY: Final = Family("madang_http_requests_under_way", "gauge", "Requests that are being worked on.")
REFUSED: Final = Family(
    *("madang_http_requests_refused_total", "counter", "Requests refused: 401, 403 and 429."),
    ("reason",),
)
GROUPS: Final = Family(
    *("madang_write_group_size", "histogram", "Writes that went to disk in one transaction."), bounds=GROUP_BOUNDS
)
COMMITS: Final = Family(
    *("madang_write_commit_duration_seconds", "histogram", "From the beginning of a transaction until it was on disk."),
    scale=NANOSECONDS,
    bounds=SECONDS_BOUNDS,
)
WRITES_WAITING: Final = Family("madang_write_queue_length", "gauge", "Writes that wait for their transaction.")
NOTIFICATIONS: Final = Family(
    *("madang_notifications_total", "counter", "Notifications delivered, attempts failed, changes given up."),
    ("outcome",),
)
NOTIFICATIONS_WAITING: Final = Family("madang_notifications_waiting", "gauge", "Changes that wait to be notified.")
CACHE_BYTES: Final = Family("madang_cache_bytes", "gauge", "Memory that a cache holds, as it estimates.", ("cache",))
CACHE_HITS: Final = Family("madang_cache_hits_total", "counter", "Questions that a cache answered.", ("cache",))
CACHE_MISSES: Final = Family(
    "madang_cache_misses_total", "counter", "Questions that a cache had no answer to.", ("cache",)
)
LEASE_HELD: Final = Family(
    *("madang_lease_held", "gauge", "1 at the worker that does a job which one worker at a time may do."),
    ("lease",),
    by_worker=True,
)
STORE_UP: Final = Family("madang_store_up", "gauge", "1 when the store answered this scrape.")
STORE_ENTITIES: Final = Family("madang_store_entities", "gauge", "Entities with a current state, of all tenants.")
STORE_CHANGES: Final = Family("madang_store_changes", "gauge", "Change rows, estimated by the sequences given.")
STORE_BYTES: Final = Family("madang_store_bytes", "gauge", "Room that the store takes on disk.")
LAG_ROWS: Final = Family(
    *("madang_log_reader_lag_rows", "gauge", "Change rows that a reader of the log has not dealt with."), ("reader",)
)
LAG_SECONDS: Final = Family(
    *(
        "madang_log_reader_lag_seconds",
        "gauge",
        "Age of the oldest change that a reader of the log has not dealt with.",
    ),
    ("reader",),
)
WORKERS: Final = Family("madang_workers", "gauge", "Serving processes that run.")
WORKER_MEMORY: Final = Family(
    *("madang_worker_resident_memory_bytes", "gauge", "Memory of a worker that is in RAM."), by_worker=True
)
WORKER_CPU: Final = Family(
    *("madang_worker_cpu_seconds_total", "counter", "Processor time of a worker since it started."), by_worker=True
)
BUILD: Final = Family("madang_build_info", "gauge", "Always 1.", ("version", "python", "store"))

FAMILIES: Final = (
    *(REQUESTS, DURATIONS, UNDER_WAY, REFUSED),
    *(GROUPS, COMMITS, WRITES_WAITING),
    *(NOTIFICATIONS, NOTIFICATIONS_WAITING, LAG_ROWS, LAG_SECONDS),
    *(STORE_UP, STORE_ENTITIES, STORE_CHANGES, STORE_BYTES),
    *(CACHE_BYTES, CACHE_HITS, CACHE_MISSES, LEASE_HELD),
    *(WORKERS, WORKER_MEMORY, WORKER_CPU, BUILD),
)


class RequestMeters:
    """Counts requests. On the way of every request, so its cells are looked up once and for all at the start."""

    def __init__(self, meters: Meters, routes: Iterable[Route]) -> None:
        self._cells = meters.cells
        self._under_way = meters.gauge(UNDER_WAY.name).cell
        self._refused = {
            status: meters.counter(REFUSED.name, reason)
            for status, reason in ((401, "unauthenticated"), (403, "denied"), (429, "rate_limited"))
        }
        # Where the cells of a route and method begin: a counter for each class of status, then the histogram.
        self._series: dict[tuple[str, str], int] = {}
        known: dict[str, dict[str, None]] = {UNMATCHED: {}}
        for route in routes:
            known.setdefault(route.path, {}).update(dict.fromkeys(route.methods))
        for path, methods in known.items():
            for method in (*methods, OTHER):
                counters = [meters.counter(REQUESTS.name, path, method, status) for status in _STATUSES]
                meters.histogram(DURATIONS.name, _BOUNDS_NS, path, method)
                self._series[path, method] = counters[0].cell

    def begin(self) -> None:
        """Note that a request has come."""
        self._cells[self._under_way] += 1

    def abandon(self) -> None:
        """Note that it will not be answered: whoever asked has gone away."""
        self._cells[self._under_way] -= 1

    def end(self, route: str, method: str, status: int, duration_ns: int) -> None:
        """Note that it was answered; `route` is the template of the path."""
        cells = self._cells
        cells[self._under_way] -= 1
        first = self._series.get((route, method)) or self._series[route, OTHER]
        cells[first + status // 100 - 1] += 1
        first += len(_STATUSES)
        cells[first + bisect_left(_BOUNDS_NS, duration_ns)] += 1
        cells[first + len(_BOUNDS_NS) + 1] += duration_ns
        if status in self._refused:
            self._refused[status].add()


class Metrics:
    """The meters of everything but requests. Rooms know nothing of it: the roof says what is looked at.

    Call `watch…` for all there is to watch, then `begin`, then run `sample` as a task.
    """

    def __init__(self, meters: Meters) -> None:
        self.meters = meters
        self._watched: list[Callable[[], None]] = []
        self._groups = meters.histogram(GROUPS.name, GROUP_BOUNDS)
        self._commits = meters.histogram(COMMITS.name, _BOUNDS_NS)

    def wrote(self, mutations: int, duration_ns: int) -> None:
        """Note a group of writes that is on disk."""
        self._groups.observe(mutations)
        self._commits.observe(duration_ns)

    def watch(self, family: Family, read: Callable[[], int], *labels: str) -> None:
        """Look, each second and at each scrape, how much there is of something now."""
        assert family.kind == "gauge"
        meter = self.meters.gauge(family.name, *labels)
        self._watched.append(lambda: meter.set(int(read())))

    def watch_total(self, family: Family, read: Callable[[], int], *labels: str) -> None:
        """Look, each second and at each scrape, how often something has happened since the process began."""
        assert family.kind == "counter"
        meter = self.meters.counter(family.name, *labels)
        before = 0

        def look() -> None:
            nonlocal before
            now = int(read())
            meter.add(now - before)
            before = now

        self._watched.append(look)

    def watch_cache(self, name: str, counts: CacheCounts) -> None:
        """Look at a cache."""
        self.watch(CACHE_BYTES, counts.size_bytes, name)
        self.watch_total(CACHE_HITS, lambda: counts.hits, name)
        self.watch_total(CACHE_MISSES, lambda: counts.misses, name)

    def look(self) -> None:
        """Look at everything that is watched."""
        for look in self._watched:
            look()

    async def sample(self) -> None:
        """Look again and again, so that other workers can tell what goes on in this one."""
        try:
            while True:
                self.look()
                await asyncio.sleep(METERS_SAMPLE_S)
        finally:
            self.look()
