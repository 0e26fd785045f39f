# SPDX-License-Identifier: Apache-2.0
"""The metrics: what is counted, added up over workers, written down, and who may see it."""

from __future__ import annotations

import asyncio
import mmap
import re
from pathlib import Path
from typing import Any, cast

import pytest

from madang.base.errors import Denied, StoreFailed
from madang.base.limits import METRICS_SIZES_S
from madang.base.meters import Meters, shared_bytes
from madang.core.caller import acting_for
from madang.core.measures import Lag, Measures
from madang.model.access import ANONYMOUS, EVERYTHING, OPEN, ROLES_BUILT_IN, Caller, Grant, Right
from madang.store.port import Store, StoreSize
from madang.testing.client import Client
from madang.wire import exposition
from madang.wire import metrics as known
from madang.wire.application import Application
from madang.wire.authentication import everybody
from madang.wire.exposition import Exposition, sees_all
from madang.wire.http import Request, Response, Route
from madang.wire.metrics import FAMILIES, Metrics, RequestMeters
from tests.scraped import Scraped

CONVENTION = re.compile(r"madang(_[a-z]+)+")


class FakeMeasures:
    """Stands for `Measures`."""

    def __init__(self) -> None:
        self.fault: Exception | None = None

    async def lag(self, reader: str) -> Lag:
        assert reader == "notify"
        if self.fault is not None:
            raise self.fault
        return Lag(3, 1.5)

    async def size(self) -> StoreSize:
        return StoreSize(10, 20, 30)


async def handler(request: Request) -> Response:
    return Response(int(request.parameters.get("status", "200")))


TABLE = [
    Route(("GET", "POST"), "/things", handler),
    Route(("GET",), "/things/{status}", handler),
]


class Worker:
    """One worker of a hub with nothing but its metrics."""

    def __init__(self, memory: mmap.mmap | None = None, worker: int = 1, workers: int = 1) -> None:
        self.meters = Meters(memory, worker=worker, workers=workers)
        self.metrics = Metrics(self.meters)
        self.measures = FakeMeasures()
        self.waiting = 0
        self.delivered = 0
        self.metrics.watch(known.WRITES_WAITING, lambda: self.waiting)
        self.metrics.watch_total(known.NOTIFICATIONS, lambda: self.delivered, "delivered")
        self.metrics.watch(known.LEASE_HELD, lambda: 1, "notify")
        self.client = Client(Application(TABLE, admit=everybody, meters=RequestMeters(self.meters, TABLE)), root="")
        self.exposition = Exposition(
            self.metrics, cast("Measures", self.measures), about=("1.2", "sqlite"), readers=("notify",)
        )
        self.meters.begin()

    async def scrape(self) -> Scraped:
        return Scraped((await self.exposition.text()).decode())


async def test_requests_are_counted_by_template_method_and_class_of_status() -> None:
    worker = Worker()
    for method, path in (
        *(("GET", "/things"), ("GET", "/things"), ("POST", "/things"), ("HEAD", "/things"), ("PATCH", "/things")),
        *(("GET", "/things/404"), ("GET", "/things/403"), ("GET", "/things/429"), ("GET", "/kim-minsu"), ("KIM", "/x")),
    ):
        await worker.client.request(method, path)
    page = await worker.scrape()
    counted = {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for sample in page.samples
        if sample.name == "madang_http_requests_total"
    }
    assert counted == {
        ("/things", "GET", "2xx"): 2,
        ("/things", "POST", "2xx"): 1,
        ("/things", "other", "2xx"): 1,
        ("/things", "other", "4xx"): 1,
        ("/things/{status}", "GET", "4xx"): 3,
        ("unmatched", "other", "4xx"): 2,
    }
    assert page.number("madang_http_request_duration_seconds_count") == 10
    assert page.number("madang_http_request_duration_seconds_bucket", le="+Inf") == 10
    assert 0 < page.number("madang_http_request_duration_seconds_sum") < 60
    assert page.number("madang_http_requests_refused_total", reason="denied") == 1
    assert page.number("madang_http_requests_refused_total", reason="rate_limited") == 1
    assert page.number("madang_http_requests_under_way") == 0


async def test_a_request_that_is_given_up_is_not_under_way_any_more() -> None:
    reached, under_way = asyncio.Event(), []
    meters = Meters()

    async def hang(_: Request) -> Response:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    table = [Route(("GET",), "/hang", hang)]
    counting = RequestMeters(meters, table)
    meters.begin()
    cell = next(series.cell for series in meters.series if series.family == known.UNDER_WAY.name)
    task = asyncio.create_task(Client(Application(table, admit=everybody, meters=counting), root="").get("/hang"))
    await reached.wait()
    under_way.append(meters.cells[cell])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    under_way.append(meters.cells[cell])
    assert under_way == [1, 0]


async def test_any_worker_tells_the_sum_of_all_and_what_is_each_ones_own() -> None:
    memory = mmap.mmap(-1, shared_bytes(3))
    workers = [Worker(memory, number, 3) for number in (1, 2, 3)]
    for number, worker in enumerate(workers, start=1):
        worker.waiting = worker.delivered = number
        worker.metrics.wrote(number, number * 1_000_000_000)
        for _ in range(number):
            await worker.client.get("/things")
        worker.metrics.look()
    for worker in workers:
        page = await worker.scrape()
        assert page.number("madang_http_requests_total", route="/things") == 6
        assert page.number("madang_write_queue_length") == 6
        assert page.number("madang_notifications_total", outcome="delivered") == 6
        assert page.number("madang_write_group_size_sum") == 6
        assert page.number("madang_write_group_size_bucket", le="2") == 2
        assert page.number("madang_write_commit_duration_seconds_sum") == 6
        assert page.number("madang_workers") == 3
        held = {s.labels["worker"] for s in page.samples if s.name == "madang_lease_held"}
        assert held == {"1", "2", "3"}
        assert page.number("madang_worker_resident_memory_bytes", worker="2") > 1_000_000
    workers[1].meters.end()
    page = await workers[0].scrape()
    assert page.number("madang_workers") == 2
    assert page.number("madang_write_queue_length") == 4, "what a worker that ended had waiting waits no more"
    assert page.number("madang_http_requests_total", route="/things") == 6, "what it counted has happened"


async def test_a_total_is_not_counted_twice_and_goes_on_after_a_restart() -> None:
    memory = mmap.mmap(-1, shared_bytes(1))
    first = Worker(memory)
    first.delivered = 5
    first.metrics.look()
    assert (await first.scrape()).number("madang_notifications_total", outcome="delivered") == 5
    second = Worker(memory)
    second.delivered = 2
    assert (await second.scrape()).number("madang_notifications_total", outcome="delivered") == 7


async def test_what_only_the_store_knows_is_left_out_when_it_does_not_answer() -> None:
    worker = Worker()
    page = await worker.scrape()
    assert page.number("madang_store_up") == 1
    assert page.number("madang_store_entities") == 10
    assert page.number("madang_store_changes") == 20
    assert page.number("madang_store_bytes") == 30
    assert page.number("madang_log_reader_lag_rows", reader="notify") == 3
    assert page.number("madang_log_reader_lag_seconds", reader="notify") == 1.5
    worker.measures.fault = StoreFailed("away")
    page = await worker.scrape()
    assert page.number("madang_store_up") == 0
    assert not {"madang_store_entities", "madang_log_reader_lag_seconds"} & page.names()
    assert page.number("madang_workers") == 1


async def test_a_size_is_asked_for_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    class Counting:
        async def size(self) -> StoreSize:
            nonlocal asked
            asked += 1
            return StoreSize(asked, 0, 0)

    measures = Measures(cast("Store", Counting()), cast("Any", None))
    assert [(await measures.size()).entities for _ in range(3)] == [1, 1, 1]
    loop = asyncio.get_running_loop()
    later = loop.time() + METRICS_SIZES_S + 1
    monkeypatch.setattr(type(loop), "time", lambda _: later, raising=False)
    assert (await measures.size()).entities == 2


def test_names_are_as_prometheus_wants_them() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert CONVENTION.fullmatch(family.name), family.name
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert not {"tenant", "id", "entity", "path", "user", "address"} & {*family.labels}, family.name
        assert (family.kind == "histogram") == bool(family.bounds), family.name
        assert list(family.bounds) == sorted(set(family.bounds))


def test_the_reference_names_each_metric() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text("utf-8")
    assert re.findall(r"^\| `(madang_\w+)` \|", page, re.MULTILINE) == [family.name for family in FAMILIES]


def grants(**limits: Any) -> Caller:
    return Caller("x", "token", (Grant(frozenset({Right.READ}), **limits),))


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (OPEN, True),
        (Caller("x", "token", (EVERYTHING,)), True),
        (Caller("x", "token", ROLES_BUILT_IN["reader"]), True),
        (ANONYMOUS, False),
        (grants(tenants=("songpa",)), False),
        (grants(types=("urn:t",)), False),
        (grants(attributes=("urn:a",)), False),
        (grants(area={"type": "Polygon"}), False),
        (Caller("x", "token", (Grant(frozenset({Right.WRITE})),)), False),
        (Caller("x", "token", (Grant(frozenset({Right.ADMINISTER}), tenants=("songpa",)),)), False),
    ],
)
def test_who_may_see_or_administer_everything_may_see_the_metrics(who: Caller, expected: bool) -> None:
    assert sees_all(who) is expected


@pytest.mark.parametrize("is_public", [False, True])
async def test_the_route_refuses_whoever_may_not(is_public: bool) -> None:
    meters = Meters()
    table = exposition.routes(
        Metrics(meters), cast("Measures", FakeMeasures()), about=("1", "sqlite"), readers=(), is_public=is_public
    )
    meters.begin()
    client = Client(Application(table, admit=everybody), root="")
    with acting_for(OPEN):
        response = await client.get("/metrics")
        assert (response.status, response.headers["content-type"]) == (200, Exposition.content_type)
    with acting_for(ANONYMOUS):
        if is_public:
            assert (await client.get("/metrics")).status == 200
        else:
            with pytest.raises(Denied):
                await table[0].handler(cast("Request", None))
            assert (await client.get("/metrics")).status == 403
