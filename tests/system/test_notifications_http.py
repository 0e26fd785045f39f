# SPDX-License-Identifier: Apache-2.0
"""Notifications over HTTP, from a change to a receiver on the loopback address (clauses 5.8.6, 6.3.8)."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from madang.base.errors import BadRequestData
from madang.model.jsonld.context import compile_context
from madang.testing.notifying import pm10, rig, station
from madang.testing.receiver import Received, Receiver

SUITE_LINK = '<{}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
CORE_URL = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"


def states(received: list[Received]) -> list[tuple[str, Any]]:
    """Return every state told, in order."""
    return [(one["id"], one["pm10"]["value"]) for request in received for one in request.body["data"]]


async def test_a_change_is_told(tmp_path: Path) -> None:
    async with Receiver() as receiver, rig(tmp_path) as hub:
        id = await hub.subscribe(receiver.url("/n?a=b"), endpoint={"receiverInfo": [{"key": "X-Key", "value": "v"}]})
        await hub.create(station(1, 40))
        request = (await receiver.wait(1))[0]
        assert request.path == "/n?a=b"
        assert request.headers["Content-Type"] == "application/json"
        assert request.headers["Link"] == SUITE_LINK.format(CORE_URL)
        assert request.headers["X-Key"] == "v"
        assert "NGSILD-Tenant" not in request.headers
        assert set(request.body) == {"id", "type", "subscriptionId", "notifiedAt", "data"}
        assert request.body["type"] == "Notification"
        assert request.body["subscriptionId"] == id
        assert request.body["data"] == [station(1, 40)]
        await hub.notifier.drain()
        counters = await hub.notification_of(id)
        assert (counters["timesSent"], counters["status"]) == (1, "ok")
        assert "timesFailed" not in counters
        assert counters["lastNotification"] <= counters["lastSuccess"]


async def test_tenants_do_not_hear_of_each_other(tmp_path: Path) -> None:
    async with Receiver() as receiver, rig(tmp_path) as hub:
        await hub.subscribe(receiver.url("/seoul"), tenant="seoul")
        await hub.subscribe(receiver.url("/default"))
        await hub.create(station(1, 40), tenant="seoul")
        await hub.notifier.drain()
        assert [(one.path, one.headers.get("NGSILD-Tenant")) for one in receiver.received] == [("/seoul", "seoul")]


async def test_json_ld_and_geo_json(tmp_path: Path) -> None:
    place = {"location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.3, 36.3]}}}
    async with Receiver() as receiver, rig(tmp_path) as hub:
        await hub.subscribe(receiver.url("/ld"), endpoint={"accept": "application/ld+json"})
        await hub.subscribe(receiver.url("/geo"), endpoint={"accept": "application/geo+json"})
        await hub.subscribe(
            receiver.url("/geo-link"),
            endpoint={"accept": "application/geo+json", "receiverInfo": [{"key": "Prefer", "value": "body=json"}]},
        )
        await hub.create({**station(1, 40), **place})
        await hub.notifier.drain()
        by_path = {one.path: one for one in receiver.received}
        linked = by_path["/ld"]
        assert linked.headers["Content-Type"] == "application/ld+json"
        assert "Link" not in linked.headers
        assert linked.body["data"][0]["@context"] == CORE_URL
        features = by_path["/geo"].body["data"]
        assert by_path["/geo"].headers["Content-Type"] == "application/geo+json"
        assert features["type"] == "FeatureCollection"
        assert features["@context"] == CORE_URL
        assert features["features"][0]["geometry"]["coordinates"] == [127.3, 36.3]
        assert "Link" not in by_path["/geo"].headers
        assert "@context" not in by_path["/geo-link"].body["data"]
        assert "Link" in by_path["/geo-link"].headers


async def test_notifications_speak_the_names_of_the_subscription(tmp_path: Path) -> None:
    context = compile_context("city", {"dust": "https://uri.etsi.org/ngsi-ld/default-context/pm10"}, {})
    async with Receiver() as receiver, rig(tmp_path) as hub:
        own = await hub.core.contexts.resolve("", dict(context.source))
        await hub.subscribe(receiver.url(), context=own, watchedAttributes=["dust"], q="dust>30")
        await hub.create(station(1, 40))
        request = (await receiver.wait(1))[0]
        assert request.body["data"][0]["dust"]["value"] == 40
        assert "/jsonldContexts/" in request.headers["Link"]


async def test_every_state_in_order_and_gathered(tmp_path: Path) -> None:
    async with Receiver() as receiver, rig(tmp_path) as hub:
        await hub.subscribe(receiver.url(), watchedAttributes=["pm10"])
        await asyncio.gather(*(hub.create(station(number, 0)) for number in range(50)))
        for value in range(1, 6):
            await asyncio.gather(*(hub.update(f"urn:ngsi-ld:Station:{number}", pm10(value)) for number in range(50)))
        await hub.notifier.drain()
        told = states(receiver.received)
        assert len(told) == 300
        for number in range(50):
            assert [value for id, value in told if id == f"urn:ngsi-ld:Station:{number}"] == [0, 1, 2, 3, 4, 5]
        assert len(receiver.received) < 300, "changes that wait together go together"
        for request in receiver.received:
            ids = [one["id"] for one in request.body["data"]]
            assert len(ids) == len(set(ids)), "no two states of an entity in one notification"
        assert receiver.connections == 1, "the connection is kept"
        assert hub.notifier.lag() == 0


async def test_equal_values_paused_expired_and_deleted_subscriptions_tell_nothing(tmp_path: Path) -> None:
    async with Receiver() as receiver, rig(tmp_path) as hub:
        await hub.create(station(1, 40))
        id = await hub.subscribe(receiver.url())
        subscriptions = hub.core.subscriptions
        one = "urn:ngsi-ld:Station:1"
        await hub.update(one, pm10(40))
        context = await hub.core.contexts.resolve("", None)
        await subscriptions.update("", id, {"isActive": False}, context)
        await hub.update(one, pm10(41))
        await subscriptions.update("", id, {"isActive": True}, context)
        await hub.update(one, pm10(42))
        await hub.notifier.drain()
        assert states(receiver.received) == [(one, 42)]
        await subscriptions.delete("", id)
        await hub.update(one, pm10(43))
        await hub.notifier.drain()
        assert len(receiver.received) == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_failure_that_passes_is_tried_again(tmp_path: Path) -> None:
    answers = iter([503, None, 200])
    async with Receiver(lambda _: next(answers)) as receiver, rig(tmp_path) as hub:
        id = await hub.subscribe(receiver.url())
        await hub.create(station(1, 40))
        await receiver.wait(3)
        await hub.notifier.drain()
        assert len({one.body["id"] for one in receiver.received}) == 1, "it is the same notification"
        counters = await hub.notification_of(id)
        assert (counters["timesSent"], counters["timesFailed"], counters["status"]) == (1, 1, "ok")


@pytest.mark.parametrize("status", [400, 404, 301])
async def test_a_refusal_is_final(tmp_path: Path, status: int) -> None:
    async with Receiver(lambda _: status) as receiver, rig(tmp_path) as hub:
        id = await hub.subscribe(receiver.url())
        await hub.create(station(1, 40))
        await hub.notifier.drain()
        counters = await hub.notification_of(id)
        assert (counters["timesSent"], counters["timesFailed"], counters["status"]) == (1, 1, "failed")
        assert "lastSuccess" not in counters
        assert "lastFailure" in counters
        assert len(receiver.received) == 1
        assert hub.notifier.lag() == 0


@pytest.mark.usefixtures("quick_retries")
async def test_a_receiver_that_is_not_there_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with Receiver() as receiver, rig(tmp_path) as hub:
        async with Receiver() as gone:
            dead = gone.url()
        id = await hub.subscribe(dead)
        await hub.subscribe(receiver.url())
        await hub.create(station(1, 40))
        await receiver.wait(1)
        await hub.notifier.drain()
        counters = await hub.notification_of(id)
        assert (counters["timesSent"], counters["timesFailed"], counters["status"]) == (1, 1, "failed")


async def test_a_receiver_that_comes_back_gets_everything(tmp_path: Path) -> None:
    """Nothing is given up while a receiver is away for less time than the attempts take."""
    async with rig(tmp_path) as hub:
        receiver = Receiver()
        await receiver.start()
        port = receiver.port
        await hub.subscribe(receiver.url())
        await receiver.stop()
        for number in range(5):
            await hub.create(station(number, number))
        again = Receiver()
        await again.start(port)
        await hub.notifier.drain()
        assert sorted(value for _, value in states(again.received)) == [0, 1, 2, 3, 4]
        await again.stop()


@pytest.mark.usefixtures("quick_retries")
async def test_a_slow_receiver_runs_into_the_time_out(tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await waiting.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with rig(tmp_path) as hub:
        id = await hub.subscribe(f"http://127.0.0.1:{port}/", endpoint={"timeout": 20})
        await hub.create(station(1, 40))
        await hub.notifier.drain()
        assert (await hub.notification_of(id))["status"] == "failed"
    waiting.set()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n", "ok"),  # no length: it ends with the connection
        (b"HTTP/1.1 204 No Content\r\n\r\n", "ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"),
        (b"HTTP/1.0 500 Oh\r\n\r\n", "failed"),
        (b"HTTP/1.1", "failed"),
        (b"", "failed"),
        (b"SSH-2.0-OpenSSH\r\n", "failed"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000, "failed"),
    ],
)
@pytest.mark.usefixtures("quick_retries")
async def test_answers_of_all_kinds(tmp_path: Path, answer: bytes, status: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with rig(tmp_path) as hub:
        id = await hub.subscribe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await hub.create(station(1, 40))
        await hub.notifier.drain()
        assert (await hub.notification_of(id))["status"] == status
    server.close()
    await server.wait_closed()


async def test_cooldown(tmp_path: Path) -> None:
    answers = iter([500, 200])
    async with Receiver(lambda _: next(answers)) as receiver, rig(tmp_path) as hub:
        await hub.subscribe(receiver.url(), endpoint={"cooldown": 150})
        await hub.create(station(1, 40))
        await hub.notifier.drain()
        await hub.create(station(2, 41))  # within the cooldown: no notification is sent
        await hub.notifier.drain()
        assert len(receiver.received) == 1
        await asyncio.sleep(0.2)
        await hub.create(station(3, 42))
        await hub.notifier.drain()
        assert states(receiver.received[1:]) == [("urn:ngsi-ld:Station:3", 42)]


async def test_throttling_tells_the_newest_state_when_the_period_is_over(tmp_path: Path) -> None:
    async with Receiver() as receiver, rig(tmp_path) as hub:
        id = await hub.subscribe(receiver.url(), throttling=0.4)
        await hub.create(station(1, 1))
        await hub.notifier.drain()
        for value in (2, 3):
            await hub.update("urn:ngsi-ld:Station:1", pm10(value))
        await hub.create(station(2, 9))
        await hub.notifier.drain()
        assert len(receiver.received) == 1
        await receiver.wait(2)
        await hub.notifier.drain()
        assert sorted(states(receiver.received[1:])) == [("urn:ngsi-ld:Station:1", 3), ("urn:ngsi-ld:Station:2", 9)]
        assert len(receiver.received) == 2
        assert (await hub.notification_of(id))["timesSent"] == 2


async def test_time_interval(tmp_path: Path) -> None:
    async with Receiver() as receiver, rig(tmp_path) as hub:
        await hub.create(station(1, 40))
        await hub.create(station(2, 50))
        await hub.create({"id": "urn:a:b", "type": "Other"})
        id = await hub.subscribe(receiver.url(), timeInterval=0.1, q="pm10>45")
        await receiver.wait(2)
        assert set(states(receiver.received)) == {("urn:ngsi-ld:Station:2", 50)}
        await hub.core.subscriptions.delete("", id)
        await hub.subscribe(receiver.url("/none"), timeInterval=0.05, q="pm10>99")
        await asyncio.sleep(0.2)
        assert "/none" not in {one.path for one in receiver.received}, "nothing matches: no notification is sent"


async def test_linked_entities_in_q_and_join(tmp_path: Path) -> None:
    def station_in(number: int, city: str) -> dict[str, Any]:
        return {**station(number, 1), "in": {"type": "Relationship", "object": f"urn:ngsi-ld:City:{city}"}}

    async with Receiver() as receiver, rig(tmp_path) as hub:
        for city, people in (("Daejeon", 1_400_000), ("Sejong", 390_000)):
            people_now = {"type": "Property", "value": people}
            await hub.create({"id": f"urn:ngsi-ld:City:{city}", "type": "City", "people": people_now})
        inline = {"join": "inline", "format": "simplified", "pick": ["id", "in{people}"]}
        await hub.subscribe(receiver.url("/inline"), q="in{people}>1000000", notification=inline)
        await hub.subscribe(receiver.url("/flat"), notification={"join": "flat", "format": "simplified"})
        await hub.create(station_in(1, "Daejeon"))
        await hub.create(station_in(2, "Sejong"))
        await hub.notifier.drain()
        inline_told = [one.body["data"] for one in receiver.received if one.path == "/inline"]
        assert inline_told == [[{"id": "urn:ngsi-ld:Station:1", "in": {"people": 1_400_000}}]]
        flat = [[one["id"] for one in got.body["data"]] for got in receiver.received if got.path == "/flat"]
        assert flat == [
            ["urn:ngsi-ld:Station:1", "urn:ngsi-ld:City:Daejeon"],
            ["urn:ngsi-ld:Station:2", "urn:ngsi-ld:City:Sejong"],
        ]


async def test_receivers_of_an_earlier_version(tmp_path: Path) -> None:
    async with Receiver() as receiver, rig(tmp_path) as hub:
        await hub.subscribe(receiver.url(), ngsildConformance="1.3")
        await hub.create({**station(1, 40), "note": {"type": "JsonProperty", "json": {"a": 1}}, "scope": "/a"})
        told = (await receiver.wait(1))[0].body["data"][0]
        assert told["note"] == {"type": "Property", "value": {"a": 1}}
        assert "scope" not in told


async def test_private_addresses_are_refused(tmp_path: Path) -> None:
    async with rig(tmp_path, allow_private=False) as hub:
        for uri in ("http://127.0.0.1:9/", "http://localhost/", "http://[::1]/", "mqtt://10.0.0.1/t"):
            with pytest.raises(BadRequestData, match="public internet"):
                await hub.subscribe(uri)


@pytest.mark.usefixtures("quick_retries")
async def test_what_waits_keeps_its_form_when_the_subscription_changes(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    async with Receiver() as receiver, rig(tmp_path) as hub:
        id = await hub.subscribe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", endpoint={"timeout": 50})
        await hub.create(station(1, 1))
        context = await hub.core.contexts.resolve("", None)
        notification = {"endpoint": {"uri": receiver.url("/new")}, "format": "simplified"}
        await hub.core.subscriptions.update("", id, {"notification": notification}, context)
        await hub.create(station(2, 2))
        await hub.notifier.drain()
        assert [one.body["data"] for one in receiver.received] == [
            [{"id": "urn:ngsi-ld:Station:2", "type": "Station", "pm10": 2, "name": "Yuseong"}]
        ]
        gate.set()
    server.close()
    await server.wait_closed()
