# SPDX-License-Identifier: Apache-2.0
"""GET /metrics: what all workers have counted, in the text format of Prometheus."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from madang.base.errors import Denied, HubError
from madang.base.limits import METRICS_STORE_S
from madang.core.caller import caller
from madang.model.access import ANY, Caller, Right, administers
from madang.wire.http import Request, Response, Route
from madang.wire.metrics import (
    BUILD,
    FAMILIES,
    LAG_ROWS,
    LAG_SECONDS,
    STORE_BYTES,
    STORE_CHANGES,
    STORE_ENTITIES,
    STORE_UP,
    WORKER_CPU,
    WORKER_MEMORY,
    WORKERS,
    Family,
    Metrics,
)

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

    from madang.base.meters import Part, Series
    from madang.core.measures import Measures

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")

# The numbers of a line in cells' units, by its labels: one, or those of all cells of a histogram.
Lines: TypeAlias = dict[tuple[str, ...], list[float]]


def routes(
    metrics: Metrics, measures: Measures, *, about: Sequence[str], readers: Sequence[str], is_public: bool
) -> list[Route]:
    """Return the route of the metrics, which needs the right to see everything, unless it is public.

    `about` is the version and the store of this hub; the bookmarks of the `readers` are compared with the log's end.
    """
    exposition = Exposition(metrics, measures, about=about, readers=readers)

    async def scrape(_: Request) -> Response:
        if not is_public and not sees_all(caller()):
            raise Denied("The metrics tell of all tenants: they need the right to administer, or to read everything")
        return Response(200, await exposition.text(), [("content-type", exposition.content_type)])

    return [Route(("GET",), "/metrics", scrape, public=is_public, tenantless=True)]


def sees_all(who: Caller) -> bool:
    """Tell whether numbers about everything tell the caller nothing it could not find out by itself."""
    return administers(who, None) or any(
        Right.READ in grant.rights
        and all(ANY in names for names in (grant.tenants, grant.types, grant.attributes))
        and grant.area is None
        for grant in who.grants
    )


class Exposition:
    """Adds up what the workers counted, asks the store for the rest, and writes it down."""

    content_type: Final = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(
        self, metrics: Metrics, measures: Measures, *, about: Sequence[str] = ("", ""), readers: Sequence[str] = ()
    ) -> None:
        self._metrics = metrics
        self._measures = measures
        version, store = about
        self._about = (version, platform.python_version(), store)
        self._readers = tuple(readers)

    async def text(self) -> bytes:
        """Return the whole page."""
        from prometheus_client import generate_latest  # as heavy as the rest of the wire, and few hubs are scraped

        self._metrics.look()
        lines: dict[str, Lines] = {family.name: {} for family in FAMILIES}
        self._count(lines)
        await self._ask(lines)
        lines[BUILD.name][self._about] = [1]
        return generate_latest(
            _ready([_metric(family, lines[family.name]) for family in FAMILIES if lines[family.name]])
        )

    def _count(self, lines: dict[str, Lines]) -> None:
        parts = list(self._metrics.meters.parts())
        by_name = {family.name: family for family in FAMILIES}
        for series in self._metrics.meters.series:
            family = by_name[series.family]
            for part in parts:
                if series.kind == "gauge" and part.process is None:
                    continue
                labels = (*series.labels, str(part.worker)) if family.by_worker else series.labels
                _add(lines[family.name], labels, _numbers(part, series))
        for part in parts:
            used = None if part.process is None else _used(part.process)
            if used is not None:
                lines[WORKER_MEMORY.name][str(part.worker),] = [used[0]]
                lines[WORKER_CPU.name][str(part.worker),] = [used[1]]
        lines[WORKERS.name][()] = [sum(part.process is not None for part in parts)]

    async def _ask(self, lines: dict[str, Lines]) -> None:
        """Add what only the store knows; when it does not answer, say only that."""
        try:
            async with asyncio.timeout(METRICS_STORE_S):
                for reader in self._readers:
                    lag = await self._measures.lag(reader)
                    lines[LAG_ROWS.name][reader,] = [lag.rows]
                    lines[LAG_SECONDS.name][reader,] = [lag.seconds]
                size = await self._measures.size()
        except (HubError, TimeoutError):
            lines[STORE_UP.name][()] = [0]
            return
        lines[STORE_UP.name][()] = [1]
        lines[STORE_ENTITIES.name][()] = [size.entities]
        lines[STORE_CHANGES.name][()] = [size.changes]
        lines[STORE_BYTES.name][()] = [size.size_bytes]


def _numbers(part: Part, series: Series) -> list[float]:
    count = len(series.bounds) + 2 if series.kind == "histogram" else 1
    return [float(number) for number in part.cells[series.cell : series.cell + count]]


def _add(lines: Lines, labels: tuple[str, ...], numbers: list[float]) -> None:
    before = lines.get(labels)
    lines[labels] = numbers if before is None else [a + b for a, b in zip(before, numbers, strict=True)]


def _metric(family: Family, lines: Lines) -> Metric:
    """Return the family as the library has it."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    labels = family.shown_labels
    shown = {key: numbers for key, numbers in lines.items() if family.always or any(numbers)}
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=labels)
        for key, numbers in shown.items():
            *counts, total = numbers
            bounds = [*(repr(bound) for bound in family.bounds), "+Inf"]
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            histogram.add_metric(key, buckets, total / family.scale)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=labels)
    for key, (number,) in shown.items():
        metric.add_metric(key, number / family.scale)
    return metric


def _ready(metrics: Iterable[Metric]) -> Collector:
    from prometheus_client.registry import Collector

    class Ready(Collector):
        def collect(self) -> Iterable[Metric]:
            return metrics

    return Ready()


def _used(process: int) -> tuple[float, float] | None:
    """Return the resident bytes and the processor seconds of a process, where the system tells them."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text("ascii").split()[1]
        fields = Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except (OSError, IndexError):
        return None
    # Of what follows the name: fields 14 and 15 of proc(5), user and system time in ticks.
    return float(int(pages) * _PAGE_BYTES), (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
