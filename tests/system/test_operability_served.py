# SPDX-License-Identifier: Apache-2.0
"""A served hub watched from outside: its metrics outlive its workers and are those of all, its log is JSON lines."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from madang.testing.postgres import Cluster
from madang.testing.served import WAIT_S, Served, alive, wait_until
from tests.scraped import Scraped

ENTITY = {"id": "urn:ngsi-ld:T:1", "type": "T", "x": {"type": "Property", "value": 1}}
ROUTE = "/ngsi-ld/v1/entities/{entity_id}"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Served]:
    served = Served.start(
        *(tmp_path / "data", "--port", "0", "--access", "open"), MADANG_LOG="info", MADANG_LOG_FORMAT="json"
    )
    try:
        served.await_ready()
        yield served
    finally:
        served.end()


def scrape(hub: Served) -> Scraped:
    with urllib.request.urlopen(hub.url + "/metrics", timeout=WAIT_S) as response:  # noqa: S310
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        return Scraped(response.read().decode())


def test_what_a_worker_counted_outlives_it(hub: Served) -> None:
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    for _ in range(5):
        assert hub.request("GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:T:1")[0] == 200
    before = scrape(hub)
    assert before.number("madang_http_requests_total", route=ROUTE, method="GET", status="2xx") == 5
    assert before.number("madang_worker_resident_memory_bytes", worker="1") > 10_000_000
    child = hub.child()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not alive(child), "the child lives on")
    assert hub.request("GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:T:1")[0] == 200
    after = scrape(hub)
    assert after.number("madang_http_requests_total", route=ROUTE, method="GET", status="2xx") == 6
    assert after.number("madang_http_request_duration_seconds_count", route=ROUTE) == 6
    assert after.number("madang_http_requests_under_way") == 1
    assert after.number("madang_workers") == 1


def test_each_request_has_a_line_with_the_id_that_its_answer_bears(hub: Served) -> None:
    request = urllib.request.Request(hub.url + "/ngsi-ld/v1/types", headers={"X-Request-Id": "probe-1"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=WAIT_S) as response:  # noqa: S310
        assert response.headers["x-request-id"] == "probe-1"
    assert hub.stop() == 0
    lines = [json.loads(line) for line in hub.errors().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "probe-1"]
    assert (line["route"], line["status"], line["worker"], line["caller"]) == ("/ngsi-ld/v1/types", 200, 1, "open")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster().start()
    yield cluster
    cluster.close()


def test_whichever_worker_is_asked_tells_of_all(cluster: Cluster, tmp_path: Path) -> None:
    hub = Served.start(tmp_path / "data", "--port", "0", "--workers", "2", MADANG_STORE=cluster.database())
    try:
        hub.await_ready()
        # Each request comes on a connection of its own, so both workers get some.
        for answered in range(1, 101):
            assert hub.request("GET", "/ngsi-ld/v1/types")[0] == 200
            page = scrape(hub)
            assert page.number("madang_http_requests_total", route="/ngsi-ld/v1/types") == answered
            assert page.number("madang_http_requests_total", route="/metrics") == answered - 1
        assert page.number("madang_workers") == 2
        assert page.number("madang_lease_held", lease="notify") == 1, "one of the two delivers"
        for worker in ("1", "2"):
            assert page.number("madang_worker_cpu_seconds_total", worker=worker) > 0
        assert page.number("madang_store_up") == 1
        assert page.number("madang_build_info", store="postgresql") == 1
    finally:
        hub.end()
