"""Two whole workers over one PostgreSQL database: what one acknowledged the other one knows at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from madang.app import Hub, open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.core import snapshots
from madang.core.entity_map_records import HEAD, PART, TOTAL
from madang.testing.client import Client, ClientResponse
from madang.testing.postgres import Cluster
from madang.testing.receiver import Receiver

Json = dict[str, Any]
CAR, CAR_TYPE = "urn:ngsi-ld:Car:1", "Car"
TAKEN_OVER_S = 10.0


def car(number: int, speed: float, **more: Any) -> Json:
    id = f"urn:ngsi-ld:Car:{number}"
    return {"id": id, "type": CAR_TYPE, "speed": {"type": "Property", "value": speed}, **more}


def speed(value: float) -> Json:
    return {"speed": {"type": "Property", "value": value}}


@dataclass
class Pair:
    """Two workers, and a client of each."""

    hubs: tuple[Hub, Hub]
    clients: tuple[Client, Client]

    @property
    def a(self) -> Client:
        return self.clients[0]

    @property
    def b(self) -> Client:
        return self.clients[1]


@contextlib.asynccontextmanager
async def worker(url: str, folder: Path, clock: FixedClock | None = None) -> AsyncIterator[Hub]:
    settings = Settings(access="open", data=folder, store=url, allow_private_addresses=True)
    async with open_hub(settings, url="http://hub.example", clock=clock) as hub:
        yield hub


@pytest.fixture
def url(cluster: Cluster) -> str:
    return cluster.database()


@pytest.fixture
async def pair(url: str, tmp_path: Path) -> AsyncIterator[Pair]:
    async with worker(url, tmp_path) as one, worker(url, tmp_path) as two:
        yield Pair((one, two), (Client(one.application), Client(two.application)))


def status(response: ClientResponse, wanted: int) -> ClientResponse:
    assert response.status == wanted, response.content
    return response


# ------------------------------------------------------------------ entities and what is told about them


async def test_an_entity_and_every_kept_answer_about_it(pair: Pair) -> None:
    status(await pair.a.post("/entities", json=car(1, 1)), 201)
    for value in range(2, 30):
        writer, reader = pair.clients if value % 2 else reversed(pair.clients)
        status(await writer.patch(f"/entities/{CAR}", json=speed(value)), 204)
        for client in (reader, writer, reader):  # the second time from what was kept
            one = status(await client.get(f"/entities/{CAR}?format=simplified"), 200).json()
            assert one["speed"] == value
            [found] = status(await client.get("/entities?type=Car&format=simplified"), 200).json()
            assert found["speed"] == value
            assert status(await client.get(f"/entities?type=Car&q=speed=={value}"), 200).json() != []
    status(await pair.b.delete(f"/entities/{CAR}"), 204)
    status(await pair.a.get(f"/entities/{CAR}"), 404)
    assert status(await pair.a.get("/entities?type=Car"), 200).json() == []


async def test_entities_of_other_types_break_no_less(pair: Pair) -> None:
    assert status(await pair.b.get("/entities?type=Car"), 200).json() == []
    status(await pair.a.post("/entities", json={**car(1, 1), "type": ["Bus", "Car"]}), 201)
    assert len(status(await pair.b.get("/entities?type=Car"), 200).json()) == 1
    assert len(status(await pair.b.get("/entities?type=Bus"), 200).json()) == 1


async def test_writes_at_the_same_time_through_both_are_all_there(pair: Pair) -> None:
    numbers = range(60)
    await asyncio.gather(*(pair.clients[n % 2].post("/entities", json=car(n, n)) for n in numbers))
    paths = [f"/entities/urn:ngsi-ld:Car:{n}" for n in numbers]
    await asyncio.gather(*(pair.clients[n % 2].patch(path, json=speed(-n)) for n, path in enumerate(paths)))
    for client in pair.clients:
        found = status(await client.get("/entities?type=Car&limit=100&format=simplified"), 200).json()
        assert {one["id"]: one["speed"] for one in found} == {f"urn:ngsi-ld:Car:{n}": -n for n in numbers}


async def test_whoever_wrote_reads_it_anywhere_while_much_goes_on(pair: Pair) -> None:
    async def owner(number: int) -> None:
        path = f"/entities/urn:ngsi-ld:Car:{number}"
        kind = f"Car{number % 3}"
        status(await pair.clients[number % 2].post("/entities", json={**car(number, 0), "type": kind}), 201)
        for value in range(1, 25):
            writer, reader = pair.clients[value * number % 2], pair.clients[value % 2]
            status(await writer.patch(path, json=speed(value)), 204)
            one = status(await reader.get(f"{path}?format=simplified"), 200).json()
            assert one["speed"] == value
            found = status(await reader.get(f"/entities?type={kind}&format=simplified&limit=50"), 200).json()
            assert [each["speed"] for each in found if each["id"] == one["id"]] == [value]

    await asyncio.gather(*(owner(number) for number in range(12)))


async def test_an_entity_that_another_worker_deleted_with_its_history_can_be_created_again(pair: Pair) -> None:
    for number in range(3):
        status(await pair.a.post("/entities", json=car(1, number)), 201)
        assert status(await pair.b.get("/entities/urn:ngsi-ld:Car:1"), 200)
        status(await pair.b.delete("/entities/urn:ngsi-ld:Car:1"), 204)
        status(await pair.b.delete("/temporal/entities/urn:ngsi-ld:Car:1"), 204)
        status(await pair.a.get("/entities/urn:ngsi-ld:Car:1"), 404)


async def test_types_and_attributes(pair: Pair) -> None:
    for client in pair.clients:
        assert status(await client.get("/types?details=true"), 200).json() == []
    status(await pair.a.post("/entities", json=car(1, 1)), 201)
    status(await pair.b.post("/entities", json=car(2, 1, brand={"type": "Property", "value": "x"})), 201)
    for client in pair.clients:
        [one] = status(await client.get("/types?details=true"), 200).json()
        assert sorted(one["attributeNames"]) == ["brand", "speed"]
        assert status(await client.get("/attributes/speed"), 200).json()["attributeCount"] == 2
    status(await pair.a.delete("/entities/urn:ngsi-ld:Car:2"), 204)
    assert status(await pair.b.get("/types/Car"), 200).json()["entityCount"] == 1
    assert status(await pair.b.get("/attributes"), 200).json()["attributeList"] == ["speed"]


async def test_a_tenant_that_the_other_one_made(pair: Pair) -> None:
    tenant = {"NGSILD-Tenant": "north"}
    status(await pair.b.get("/entities?type=Car", headers=tenant), 404)
    status(await pair.a.post("/entities", json=car(1, 1), headers=tenant), 201)
    assert len(status(await pair.b.get("/entities?type=Car", headers=tenant), 200).json()) == 1
    status(await pair.b.patch(f"/entities/{CAR}", json=speed(2), headers=tenant), 204)
    assert status(await pair.a.get(f"/entities/{CAR}", headers=tenant), 200).json()["speed"]["value"] == 2


# ------------------------------------------------------------------ subscriptions


def subscription(uri: str = "http://127.0.0.1:9/x", **more: Any) -> Json:
    notification = {"endpoint": {"uri": uri}, **more.pop("notification", {})}
    return {"type": "Subscription", "entities": [{"type": CAR_TYPE}], "notification": notification, **more}


async def test_subscriptions_come_change_and_go(pair: Pair) -> None:
    location = status(await pair.a.post("/subscriptions", json=subscription()), 201).headers["location"]
    [listed] = status(await pair.b.get("/subscriptions"), 200).json()
    assert location.endswith(listed["id"])
    status(await pair.b.patch(location, json={"description": "changed", "watchedAttributes": ["speed"]}), 204)
    assert status(await pair.a.get(location), 200).json()["watchedAttributes"] == ["speed"]
    status(await pair.b.post("/subscriptions", json={**subscription(), "id": listed["id"]}), 409)
    status(await pair.b.delete(location), 204)
    status(await pair.a.get(location), 404)
    assert status(await pair.a.get("/subscriptions"), 200).json() == []


async def test_each_change_is_told_once_whoever_took_it(pair: Pair) -> None:
    async with Receiver() as receiver:
        status(await pair.b.post("/subscriptions", json=subscription(receiver.url())), 201)
        for number in range(40):
            status(await pair.clients[number % 2].post("/entities", json=car(number, number)), 201)
        await pair.a.patch(f"/entities/{CAR}", json=speed(100))
        told = await told_until(receiver, lambda one: one["speed"]["value"] == 100)
        ids = [one["id"] for one in told]
        assert sorted(ids) == sorted([*(f"urn:ngsi-ld:Car:{number}" for number in range(40)), CAR])
        assert ids.index(CAR) < len(ids) - 1 - ids[::-1].index(CAR), "the states of an entity are told in order"


async def told_until(receiver: Receiver, last: Any, *, timeout_s: float = 10.0) -> list[Json]:
    """Return all entities told of, in order, once the last one is among them."""
    count = 0
    while True:
        received = await receiver.wait(count + 1, timeout_s=timeout_s)
        count = len(received)
        told = [one for notification in received for one in notification.body["data"]]
        if any(last(one) for one in told):
            return told


async def test_the_counters_of_a_subscription_are_the_same_everywhere(pair: Pair) -> None:
    async with Receiver() as receiver:
        made = status(await pair.b.post("/subscriptions", json=subscription(receiver.url())), 201)
        status(await pair.b.post("/entities", json=car(1, 1)), 201)
        await receiver.wait(1)
        await pair.hubs[0].core.subscriptions.flush()  # as the deliverer does each second
        for client in pair.clients:
            shown = status(await client.get(made.headers["location"]), 200).json()
            assert shown["notification"]["timesSent"] == 1


@pytest.mark.parametrize("clean", [True, False])
async def test_another_one_delivers_when_the_deliverer_ends(url: str, tmp_path: Path, *, clean: bool) -> None:
    async with Receiver() as receiver, worker(url, tmp_path) as one, worker(url, tmp_path) as two:
        a, b = Client(one.application), Client(two.application)
        assert one.leases.runs("notify")
        assert not two.leases.runs("notify")
        status(await a.post("/subscriptions", json=subscription(receiver.url())), 201)
        status(await a.post("/entities", json=car(1, 1)), 201)
        await receiver.wait(1)
        await (one.leases.close() if clean else one.leases.abandon())
        # What is written while nobody delivers is told by the next one.
        for value in range(2, 12):
            status(await (a if value % 2 else b).patch(f"/entities/{CAR}", json=speed(value)), 204)
        told = await told_until(receiver, lambda car: car["speed"]["value"] == 11, timeout_s=TAKEN_OVER_S)
        values = [car["speed"]["value"] for car in told]
        # After a clean end each is told once; after another end what was not confirmed yet is told again.
        assert (values if clean else list(dict.fromkeys(values))) == list(range(1, 12))
        assert two.leases.runs("notify")


# ------------------------------------------------------------------ the same notifications as in one process

_WISHES: tuple[Json, ...] = (
    subscription(notification={"showChanges": True}),
    subscription(notificationTrigger=["entityCreated", "entityDeleted"], notification={"showChanges": True}),
    subscription(notificationTrigger=["attributeDeleted"], notification={"sysAttrs": True}),
    subscription(notificationTrigger=["attributeUpdated"], watchedAttributes=["speed"]),
    subscription(q="speed>50"),
    subscription(watchedAttributes=["brand"], notification={"format": "simplified"}),
)


def _script() -> list[tuple[str, str, Any]]:
    brand = {"brand": {"type": "Property", "value": "x"}}
    fast = {**speed(80), "brand": {"type": "Property", "value": "y"}}
    many = [{**speed(7)["speed"], "datasetId": "urn:d:1"}, {**speed(8)["speed"]}]
    return [
        ("POST", "/entities", car(1, 10, scope="/a/b")),
        ("PATCH", f"/entities/{CAR}", speed(10)),  # the value stays
        ("PATCH", f"/entities/{CAR}", speed(60)),
        ("POST", f"/entities/{CAR}/attrs", brand),
        ("PATCH", f"/entities/{CAR}", fast),
        ("POST", "/entities", car(2, 55, expiresAt="2099-01-01T00:00:00Z")),
        ("POST", f"/entities/{CAR}/attrs", {"speed": many}),
        ("DELETE", f"/entities/{CAR}/attrs/brand", None),
        ("DELETE", f"/entities/{CAR}/attrs/speed?datasetId=urn:d:1", None),
        ("PUT", f"/entities/{CAR}", car(1, 33)),
        ("PATCH", "/entities/urn:ngsi-ld:Car:2", speed(5)),
        ("POST", "/entityOperations/upsert", [car(1, 34), car(3, 90)]),
        ("DELETE", "/entities/urn:ngsi-ld:Car:2", None),
        ("POST", "/entities", car(2, 56)),
        ("DELETE", f"/entities/{CAR}", None),
        ("PATCH", "/entities/urn:ngsi-ld:Car:3", {"type": ["Car", "Taxi"], **speed(91)}),
    ]


async def _told(clients: list[Client], clock: FixedClock) -> dict[str, list[Json]]:
    """Carry the script out, each step by the next of the clients; return what each wish was told, in order."""
    async with Receiver() as receiver:
        for number, wish in enumerate(_WISHES):
            body = {**wish, "notification": {**wish["notification"], "endpoint": {"uri": receiver.url(f"/{number}")}}}
            status(await clients[0].post("/subscriptions", json=body), 201)
        end = subscription(receiver.url("/end"), entities=[{"type": "End"}])
        status(await clients[0].post("/subscriptions", json=end), 201)
        for number, (method, path, body) in enumerate(_script()):
            clock.advance(1.5)
            response = await clients[number % len(clients)].request(method, path, json=body)
            assert response.status < 300, (method, path, response.content)
            # One step after the other, so that all are told in notifications of their own.
            status(await clients[0].post("/entities", json={"id": f"urn:end:{number}", "type": "End", **speed(0)}), 201)
            while sum(one.path == "/end" for one in receiver.received) <= number:
                await receiver.wait(len(receiver.received) + 1)
        told: dict[str, list[Json]] = {}
        for one in receiver.received:
            if one.path != "/end":
                told.setdefault(one.path, []).extend(one.body["data"])
        return told


async def test_notifications_say_the_same_as_those_of_one_process(url: str, tmp_path: Path) -> None:
    clock = FixedClock()
    async with open_hub(
        Settings(access="open", data=tmp_path / "one", allow_private_addresses=True), clock=clock
    ) as single:
        alone = await _told([Client(single.application)], clock)
    assert len(alone) == len(_WISHES)
    clock = FixedClock()
    async with worker(url, tmp_path, clock) as one, worker(url, tmp_path, clock) as two:
        assert one.leases.runs("notify")
        # The second one takes all steps: the deliverer knows them from the log alone.
        assert await _told([Client(two.application)], clock) == alone


# ------------------------------------------------------------------ contexts


async def test_stored_contexts_come_and_go(pair: Pair) -> None:
    context = {"@context": {"pace": "https://example.org/pace"}}
    location = status(await pair.a.post("/jsonldContexts", json=context), 201).headers["location"]
    assert status(await pair.b.get(location), 200).json() == context
    target = f'<http://hub.example{location}>; rel="http://www.w3.org/ns/json-ld#context"'
    link = {"link": f'{target}; type="application/ld+json"'}
    thing = {"id": "urn:t:1", "type": "T", "https://example.org/pace": {"type": "Property", "value": 1}}
    status(await pair.a.post("/entities", json=thing), 201)
    for _ in range(2):  # the second time it is at hand
        for client in pair.clients:
            assert "pace" in status(await client.get("/entities/urn:t:1", headers=link), 200).json()
    status(await pair.b.delete(location), 204)
    for client in pair.clients:
        status(await client.get(location), 404)
        assert (await client.get("/entities/urn:t:1", headers=link)).status >= 400


async def test_uses_of_a_context_add_up(pair: Pair) -> None:
    context = {"@context": {"pace": "https://example.org/pace"}}
    location = status(await pair.a.post("/jsonldContexts", json=context), 201).headers["location"]
    for _ in range(3):
        for client in pair.clients:
            await client.get(location)
    for hub in pair.hubs:
        await hub.core.contexts.flush()
    for client in pair.clients:
        [listed] = status(await client.get("/jsonldContexts?details=true&kind=Hosted"), 200).json()
        assert listed["numberOfHits"] == 6


# ------------------------------------------------------------------ entity maps


async def test_entity_maps(pair: Pair) -> None:
    for number in range(5):
        status(await pair.a.post("/entities", json=car(number, number)), 201)
    made = status(await pair.a.get("/entityMaps?type=Car&q=speed>0"), 201).json()
    path = f"/entityMaps/{made['id']}"
    assert status(await pair.b.get(path), 200).json() == made
    status(await pair.b.post("/entities", json=car(9, 9)), 201)
    status(await pair.b.patch("/entities/urn:ngsi-ld:Car:3", json=speed(0)), 204)
    query = "/entities?type=Car&q=speed>0&format=simplified"
    header = {"NGSILD-EntityMap": path}
    for client in (pair.b, pair.a):
        found = status(await client.get(query, headers=header), 200).json()
        assert [one["speed"] for one in found] == [1, 2, 4]
    # What no longer fits has left the map, for both.
    status(await pair.a.patch("/entities/urn:ngsi-ld:Car:3", json=speed(3)), 204)
    for client in pair.clients:
        assert list(status(await client.get(path), 200).json()["entityMap"]) == [
            f"urn:ngsi-ld:Car:{number}" for number in (1, 2, 4)
        ]
    status(await pair.a.patch(path, json={"expiresAt": "2031-01-01T00:00:00Z"}), 204)
    assert status(await pair.b.get(path), 200).json() == status(await pair.a.get(path), 200).json()
    status(await pair.b.delete(path), 204)
    status(await pair.a.get(path), 404)


async def test_expired_entity_maps_are_swept(url: str, tmp_path: Path) -> None:
    clock = FixedClock()
    async with worker(url, tmp_path, clock) as one, worker(url, tmp_path, clock) as two:
        a, b = Client(one.application), Client(two.application)
        status(await a.post("/entities", json=car(1, 1)), 201)
        made = status(await a.get("/entityMaps?type=Car&entityMapLifetime=PT1M"), 201).json()
        status(await b.get("/entityMaps?type=Car&entityMapLifetime=PT9M"), 201)
        clock.advance(61)
        status(await b.get(f"/entityMaps/{made['id']}"), 404)
        await two.core.entity_maps.sweep()
        store = two.core.store
        assert len(await store.records(HEAD)) == len(await store.records(PART)) == 1
        assert (await store.record("", *TOTAL) or {})["entities"] == 11


# ------------------------------------------------------------------ snapshots


async def test_snapshots(pair: Pair) -> None:
    status(await pair.a.post("/entities", json=car(1, 1)), 201)
    body = {"type": "Snapshot", "snapshotQueries": [{"type": "Query", "entities": [{"type": CAR_TYPE}]}]}
    location = status(await pair.a.post("/snapshots", json=body), 201).headers["location"]
    id = location.rpartition("/")[2]
    status(await pair.b.post("/snapshots", json={**body, "id": id}), 409)
    await pair.hubs[0].core.snapshots.settle()
    status(await pair.a.patch(f"/entities/{CAR}", json=speed(2)), 204)
    frozen = {"NGSILD-Snapshot": id}
    for client in pair.clients:
        assert status(await client.get(location), 200).json()["snapshotStatus"] == "success"
        assert status(await client.get(f"/entities/{CAR}", headers=frozen), 200).json()["speed"]["value"] == 1
    for hub in pair.hubs:
        await hub.core.snapshots.settle()
    uses = [status(await client.get(location), 200).json()["lastUsedAt"] for client in pair.clients]
    assert uses[0] == uses[1]
    status(await pair.b.patch(location, json={"snapshotPriority": 9}), 200)
    assert status(await pair.a.get(location), 200).json()["snapshotPriority"] == 9
    status(await pair.b.delete(location), 204)
    status(await pair.a.get(location), 404)
    status(await pair.a.get(f"/entities/{CAR}", headers=frozen), 404)
    await pair.hubs[1].core.snapshots.settle()
    assert await pair.hubs[0].core.store.records(snapshots.REMAINS_KIND) == []


async def test_what_a_dead_worker_was_filling_has_failed_and_what_a_living_one_fills_has_not(pair: Pair) -> None:
    one, two = (hub.core.snapshots for hub in pair.hubs)
    wait = asyncio.Event()

    async def source(_: str) -> bool:
        await wait.wait()
        return True

    dead = await two.create("", snapshots.Draft({}, sources=[source]))
    alive = await one.create("", snapshots.Draft({}, sources=[source]))
    await one.sweep()
    for id in (dead, alive):
        assert status(await pair.b.get(f"/snapshots/{id}"), 200).json()["snapshotStatus"] == "preparing"
    await two.close()  # its leases are given back
    await one.sweep()
    assert status(await pair.b.get(f"/snapshots/{dead}"), 200).json()["snapshotStatus"] == "failure"
    assert status(await pair.b.get(f"/snapshots/{alive}"), 200).json()["snapshotStatus"] == "preparing"
    wait.set()
    await one.settle()
    assert status(await pair.b.get(f"/snapshots/{alive}"), 200).json()["snapshotStatus"] == "success"


async def test_one_worker_does_each_job(pair: Pair) -> None:
    one, two = (hub.leases for hub in pair.hubs)
    for job in ("notify", "sweep", "snapshots", "entity-maps"):
        assert one.runs(job)
        assert not two.runs(job)
    await one.close()
    await two.look()
    for job in ("notify", "sweep", "snapshots", "entity-maps"):
        assert two.runs(job)
