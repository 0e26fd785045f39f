# SPDX-License-Identifier: Apache-2.0
"""The whole hub watched: its metrics, its request ids, and a log that names nobody whatever is sent."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from madang.app import Hub, open_hub
from madang.base.clock import FixedClock
from madang.base.errors import StoreFailed
from madang.base.logs import REQUEST, JsonFormatter, TextFormatter
from madang.base.settings import Settings
from madang.core.measures import Lag, Measures
from madang.core.writer import View
from madang.testing.client import Client
from tests.scraped import Scraped

DASHBOARD = Path(__file__).parents[2] / "deploy/grafana/madang.json"
OPERATING = Path(__file__).parents[2] / "docs/how-to/operate.md"
METRIC = re.compile(r"\bmadang_\w+")
CANARY = "kimminsu"
URN = f"urn:ngsi-ld:Person:{CANARY}"


async def scrape(client: Client) -> Scraped:
    response = await client.get("/metrics")
    assert response.status == 200
    return Scraped(response.content.decode())


def vehicle(id: str = "urn:ngsi-ld:Vehicle:1") -> dict[str, Any]:
    return {"id": id, "type": "Vehicle", "speed": {"type": "Property", "value": 1}}


async def test_what_was_done_is_seen(client: Client) -> None:
    before = await scrape(client)
    assert (await client.post("/entities", json=vehicle())).status == 201
    assert (await client.post("/entities", json=vehicle())).status == 409
    for _ in range(3):
        assert (await client.get("/entities/urn:ngsi-ld:Vehicle:1")).status == 200
    page = await scrape(client)
    route = "/ngsi-ld/v1/entities/{entity_id}"
    assert page.number("madang_http_requests_total", route=route, method="GET", status="2xx") == 3
    assert page.number("madang_http_requests_total", route="/ngsi-ld/v1/entities", method="POST", status="4xx") == 1
    assert page.number("madang_http_requests_total", route="/metrics") == 1
    assert page.number("madang_http_requests_under_way") == 1, "the scrape itself"
    name = "madang_write_group_size_sum"
    assert page.number(name) == before.number(name) + 2
    assert page.number("madang_cache_hits_total", cache="answers") == 2
    assert page.number("madang_cache_misses_total", cache="answers") == 1
    assert page.number("madang_cache_bytes", cache="answers") > 0
    assert page.number("madang_store_up") == 1
    assert page.number("madang_store_bytes") > 0
    assert page.number("madang_workers") == 1
    assert page.number("madang_build_info", store="sqlite") == 1
    assert page.number("madang_lease_held", lease="notify", worker="1") == 1


async def test_a_hub_in_which_only_records_are_written_is_not_behind(client: Client) -> None:
    body = {
        "type": "Subscription",
        "entities": [{"type": "X"}],
        "notification": {"endpoint": {"uri": "http://x.example/"}},
    }
    assert (await client.post("/subscriptions", json=body)).status == 201
    page = await scrape(client)
    assert page.number("madang_store_changes") >= 1
    assert page.number("madang_log_reader_lag_rows", reader="notify") == 0
    assert page.number("madang_log_reader_lag_seconds", reader="notify") == 0


async def test_the_lag_of_a_reader_begins_with_the_first_change_it_has_to_deal_with(tmp_path: Path) -> None:
    clock = FixedClock()
    async with open_hub(Settings(data=tmp_path / "data", access="open"), clock=clock) as hub:
        client, measures = Client(hub.application), Measures(hub.core.store, clock)
        assert await measures.lag("new") == Lag(0, 0.0), "what the hub writes about itself concerns no reader"
        first = await hub.core.store.last_sequence() + 1
        assert (await client.post("/entities", json=vehicle())).status == 201
        clock.advance(30)
        assert (await client.post("/entities", json=vehicle("urn:ngsi-ld:Vehicle:2"))).status == 201
        clock.advance(12)
        last = await hub.core.store.last_sequence()
        assert await measures.lag("new") == Lag(last - first + 1, 42.0)

        def pass_over(view: View) -> None:
            view.bookmark("new", last)

        await hub.core.writer.write("", (), pass_over)
        assert await measures.lag("new") == Lag(0, 0.0)


async def test_failed_notifications_are_counted(client: Client) -> None:
    body = {
        "type": "Subscription",
        "entities": [{"type": "Vehicle"}],
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9/"}},
    }
    assert (await client.post("/subscriptions", json=body)).status == 201
    assert (await client.post("/entities", json=vehicle())).status == 201
    for _ in range(2_000):
        page = await scrape(client)
        if page.number("madang_notifications_total", outcome="failed"):
            break
        await asyncio.sleep(0)
    assert page.number("madang_notifications_total", outcome="failed") >= 1
    assert page.number("madang_notifications_total", outcome="delivered") == 0


async def test_a_hub_whose_store_cannot_be_read_lives_but_is_not_ready(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get("/health/ready")).status == 200

    async def fail(*_: object, **__: object) -> None:
        raise StoreFailed(CANARY)

    monkeypatch.setattr(hub.core.store, "bookmark", fail)
    response = await client.get("/health/ready")
    assert (response.status, response.json()["status"]) == (503, "not ready")
    assert CANARY not in response.content.decode()
    assert (await client.get("/health/live")).status == 200
    assert (await scrape(client)).number("madang_store_up") == 0


async def test_the_metrics_can_be_taken_away(tmp_path: Path) -> None:
    async with open_hub(Settings(data=tmp_path / "data", access="open", metrics="off")) as hub:
        assert (await Client(hub.application).get("/metrics")).status == 404


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a.B-c_9", True),
        ("x" * 64, True),
        *((bad, False) for bad in ("", "x" * 65, "a b", "a/b", "é", "a\n", "한")),
    ],
)
async def test_every_answer_bears_the_id_of_its_request(client: Client, sent: str, kept: bool) -> None:
    response = await client.get("/types", headers={"X-Request-Id": sent})
    assert (response.headers["x-request-id"] == sent) is kept
    others = [await client.get(path) for path in ("/types", "/nowhere", "/entities", "/health/live")]
    ids = {response.headers["x-request-id"] for response in others}
    assert len(ids) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", id) for id in ids)


async def test_a_ready_answer_bears_only_the_id_of_its_own_request(client: Client) -> None:
    await client.post("/entities", json=vehicle())
    seen = [await client.get("/entities/urn:ngsi-ld:Vehicle:1", headers={"x-request-id": f"r{n}"}) for n in range(4)]
    assert [response.headers["x-request-id"] for response in seen] == ["r0", "r1", "r2", "r3"]


class Log:
    """All that the hub logs, in both forms, and what each record says by itself."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.lines: list[dict[str, Any]] = []

    def handle(self, record: logging.LogRecord) -> None:
        line = JsonFormatter(1).format(record)
        self.lines.append(json.loads(line))
        own = record.getMessage() if record.name.startswith("madang") else ""
        self.text.write(f"{line}\n{TextFormatter().format(record)}\n{own}\n")


@pytest.fixture
def log() -> Iterator[Log]:
    kept = Log()
    handler = logging.Handler(logging.DEBUG)
    handler.emit = kept.handle  # type: ignore[method-assign]
    root, levels = logging.getLogger(), {}
    for logger in (root, logging.getLogger("madang")):
        levels[logger] = logger.level
        logger.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield kept
    root.removeHandler(handler)
    for logger, level in levels.items():
        logger.setLevel(level)
    REQUEST.set(None)


def canaries() -> list[tuple[str, str, dict[str, Any]]]:
    """Requests with a name in every place."""
    headers = {
        "Authorization": f"Bearer {CANARY}",
        "NGSILD-Tenant": CANARY,
        "User-Agent": CANARY,
        "X-Forwarded-For": CANARY,
        "X-Request-Id": f"{CANARY} is none",
        "Cookie": CANARY,
    }
    person = {"id": URN, "type": CANARY, CANARY: {"type": "Property", "value": CANARY}}
    subscription = {
        "id": f"urn:ngsi-ld:Subscription:{CANARY}",
        "type": "Subscription",
        "entities": [{"type": CANARY}],
        "notification": {
            "endpoint": {
                "uri": f"http://{CANARY}:{CANARY}@127.0.0.1:9/{CANARY}?{CANARY}",
                "receiverInfo": [{"key": CANARY, "value": CANARY}],
            }
        },
    }
    link = f'<http://127.0.0.1:9/{CANARY}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
    given = {"headers": headers}
    return [
        ("POST", "/entities", {"json": person, **given}),
        ("POST", "/entities", {"json": person, **given}),
        ("POST", "/entities", {"content": f'{{"id": {CANARY}'.encode(), **given}),
        ("POST", "/entities", {"json": {**person, "@context": f"http://127.0.0.1:9/{CANARY}"}, **given}),
        ("POST", "/subscriptions", {"json": subscription, **given}),
        ("PATCH", f"/entities/{URN}/attrs/{CANARY}", {"json": {"value": CANARY + "2"}, **given}),
        ("GET", f"/entities/{URN}", given),
        ("GET", f"/entities/{URN}", {"headers": {**headers, "Link": link}}),
        ("GET", f"/entities?type={CANARY}&q={CANARY}==%22{CANARY}%22&attrs={CANARY}", given),
        ("GET", f"/entities?q={CANARY}((&{CANARY}={CANARY}", given),
        ("GET", f"/temporal/entities/{URN}?timerel=after&timeAt={CANARY}", given),
        ("GET", f"/temporal/entities/{URN}", given),
        ("GET", f"/{CANARY}", given),
        (CANARY.upper(), f"/entities/{URN}", given),
        ("POST", "/entityOperations/create", {"json": [person, {"id": CANARY}], **given}),
        ("POST", "/snapshots", {"json": {"type": "Snapshot", "id": CANARY}, **given}),
        ("DELETE", f"/entities/{URN}", given),
        ("DELETE", f"/subscriptions/{subscription['id']}", given),
    ]


async def test_whatever_is_sent_the_log_names_nobody(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madang.notify.lanes.NOTIFICATION_RETRY_FIRST_S", 0.001)
    monkeypatch.setattr("madang.notify.lanes.NOTIFICATION_RETRY_LONGEST_S", 0.002)
    settings = Settings(data=tmp_path / "data", access="open", allow_private_addresses=True)
    sent = canaries()
    async with open_hub(settings, url="http://hub.example") as hub:
        client = Client(hub.application)
        for method, path, options in sent:
            await client.request(method, path, **options)

        # A mistake of the hub's own, with the name in its words, and one of the store's.
        async def fail(*_: object, **__: object) -> None:
            raise KeyError(CANARY)

        monkeypatch.setattr(hub.core.consumption, "retrieve", fail)
        assert (await client.get("/entities/urn:ngsi-ld:Vehicle:9")).status == 500
        monkeypatch.setattr(hub.core.store, "begin", fail)
        assert (await client.post("/entities", json=vehicle(URN))).status >= 500
        monkeypatch.undo()
    said = log.text.getvalue()
    assert CANARY not in said.lower()
    requests = [line for line in log.lines if line["message"] == "request"]
    assert len(requests) == len(sent) + 2
    for line in requests:
        assert line.keys() == {
            *("time", "level", "logger", "message", "worker", "request_id"),
            *("method", "route", "status", "seconds", "bytes", "caller"),
        }
    assert {line["route"] for line in requests} <= {route.path for route in hub.application.routes} | {"unmatched"}
    assert len([line for line in log.lines if line["level"] == "error"]) >= 2
    faults = [line for line in log.lines if line["logger"] == "madang.wire"]
    assert faults[0]["request_id"] in {line["request_id"] for line in requests}


def asked_for(text: str) -> set[str]:
    return set(METRIC.findall(text))


async def test_the_dashboard_and_the_page_ask_only_for_what_there_is(client: Client) -> None:
    await client.get("/types")
    await client.get("/nowhere")
    known = (await scrape(client)).names()
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [each["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    assert len(expressions) > 15
    for expression in expressions:
        assert asked_for(expression), expression
        assert asked_for(expression) <= known, expression
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")
    alerts = re.findall(r"^\| `([^`]+)` \|", OPERATING.read_text("utf-8"), re.MULTILINE)
    alerts = [alert for alert in alerts if "madang_" in alert]
    assert len(alerts) >= 5
    for alert in alerts:
        assert asked_for(alert) <= known, alert
