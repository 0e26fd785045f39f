# SPDX-License-Identifier: Apache-2.0
"""Subscriptions over HTTP (clauses 5.8, 6.10, 6.11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from madang.app import Hub, open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.base.times import format_date_time
from madang.testing.client import Client, ClientResponse
from madang.testing.receiver import Receiver

ID = "urn:ngsi-ld:Subscription:1"
ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"


def body(**more: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "type": "Subscription",
        "entities": [{"type": "Station"}],
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9/notify"}},
        **more,
    }


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def hub(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Hub]:
    async with open_hub(Settings(access="open", data=tmp_path, allow_private_addresses=True), clock=clock) as hub:
        yield hub


def problem(response: ClientResponse) -> tuple[int, str]:
    return response.status, response.json()["type"].removeprefix(ERRORS)


async def test_create_retrieve_update_delete(client: Client) -> None:
    created = await client.post("/subscriptions/", json=body(watchedAttributes=["pm10"]))
    assert (created.status, created.headers["location"]) == (201, f"/ngsi-ld/v1/subscriptions/{ID}")
    shown = await client.get(f"/subscriptions/{ID}")
    assert shown.status == 200
    assert shown.headers["link"].startswith("<https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context")
    assert shown.json() == {
        "id": ID,
        "type": "Subscription",
        "entities": [{"type": "Station"}],
        "watchedAttributes": ["pm10"],
        "notificationTrigger": ["attributeCreated", "attributeUpdated"],
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9/notify"}},
        "jsonldContext": "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld",
        "status": "active",
    }
    with_times = (await client.get(f"/subscriptions/{ID}?options=sysAttrs")).json()
    assert with_times["createdAt"] == with_times["modifiedAt"]
    updated = await client.patch(f"/subscriptions/{ID}", json={"watchedAttributes": None, "throttling": 5})
    assert (updated.status, updated.content) == (204, b"")
    changed = (await client.get(f"/subscriptions/{ID}", headers={"Accept": "application/ld+json"})).json()
    assert "watchedAttributes" not in changed
    assert changed["throttling"] == 5
    assert "@context" in changed
    assert (await client.delete(f"/subscriptions/{ID}")).status == 204
    assert problem(await client.get(f"/subscriptions/{ID}")) == (404, "ResourceNotFound")


async def test_an_id_is_made_when_none_is_given(client: Client) -> None:
    location = (await client.post("/subscriptions", json=body(id=None))).headers["location"]
    assert location.startswith("/ngsi-ld/v1/subscriptions/urn:uuid:")
    assert (await client.get(location)).status == 200


@pytest.mark.parametrize("method", ["get", "patch", "delete"])
async def test_unknown_and_wrong_ids(client: Client, method: str) -> None:
    options = {"json": {"isActive": True}} if method == "patch" else {}
    send = getattr(client, method)
    assert problem(await send("/subscriptions/nothing", **options)) == (400, "BadRequestData")
    assert problem(await send("/subscriptions/urn:a:b", **options)) == (404, "ResourceNotFound")
    headers = {"NGSILD-Tenant": "nowhere"}
    assert problem(await send("/subscriptions/urn:a:b", headers=headers, **options)) == (404, "NonexistentTenant")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"json": body(q="((")}, (400, "BadRequestData")),
        ({"json": []}, (400, "BadRequestData")),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, (400, "InvalidRequest")),
        ({"json": body(notification={"endpoint": {"uri": "ftp://a/b"}})}, (422, "OperationNotSupported")),
        ({"json": body(jsonldContext="unknownContext")}, (400, "BadRequestData")),
        ({"json": body(jsonldContext="http://127.0.0.1:9/context.jsonld")}, (504, "LdContextNotAvailable")),
    ],
)
async def test_what_cannot_be_created(client: Client, given: dict[str, Any], expected: tuple[int, str]) -> None:
    assert problem(await client.post("/subscriptions", **given)) == expected
    assert (await client.get("/subscriptions")).json() == []


async def test_an_id_is_taken_once(client: Client) -> None:
    assert (await client.post("/subscriptions", json=body())).status == 201
    assert problem(await client.post("/subscriptions", json=body())) == (409, "AlreadyExists")
    assert (await client.post("/subscriptions", json=body(), headers={"NGSILD-Tenant": "seoul"})).status == 201


async def test_pages(client: Client) -> None:
    for number in range(3):
        assert (await client.post("/subscriptions", json=body(id=f"urn:ngsi-ld:Subscription:{number}"))).status == 201
    page = await client.get("/subscriptions?limit=1&offset=1&count=true")
    assert [one["id"] for one in page.json()] == ["urn:ngsi-ld:Subscription:1"]
    assert page.headers["ngsild-results-count"] == "3"
    links = page.headers["link"]
    assert '</ngsi-ld/v1/subscriptions?count=true&limit=1&offset=0>; rel="prev"' in links
    assert '</ngsi-ld/v1/subscriptions?count=true&limit=1&offset=2>; rel="next"' in links
    assert (await client.get("/subscriptions?limit=0&count=true")).json() == []
    assert problem(await client.get("/subscriptions?limit=-1")) == (400, "BadRequestData")
    assert problem(await client.get("/subscriptions?colour=red")) == (400, "InvalidRequest")
    other = await client.get("/subscriptions", headers={"NGSILD-Tenant": "nowhere"})
    assert problem(other) == (404, "NonexistentTenant")


async def test_status_follows_is_active_and_expires_at(client: Client, clock: FixedClock) -> None:
    def at(seconds: float) -> str:
        return format_date_time(clock.now_us() + round(seconds * 1_000_000))

    async def status() -> str:
        return str((await client.get(f"/subscriptions/{ID}")).json()["status"])

    async def update(**fragment: Any) -> int:
        return (await client.patch(f"/subscriptions/{ID}", json=fragment)).status

    await client.post("/subscriptions", json=body(isActive=False))
    assert await status() == "paused"
    assert await update(isActive=True) == 204
    assert await status() == "active"
    assert await update(expiresAt=at(5)) == 204
    clock.advance(6)
    assert await status() == "expired"
    assert await update(isActive=True) == 204
    assert await status() == "expired", "only a new time revives it"
    assert await update(isActive=False) == 204
    assert await status() == "expired"
    assert await update(expiresAt=at(-1)) == 400
    assert await update(expiresAt=at(5)) == 204
    assert await status() == "active"


async def test_subscriptions_survive_a_restart(tmp_path: Path) -> None:
    settings = Settings(access="open", data=tmp_path, allow_private_addresses=True)
    async with Receiver() as receiver:
        async with open_hub(settings) as hub:
            client = Client(hub.application)
            notification = {"endpoint": {"uri": receiver.url()}, "format": "simplified"}
            given = body(notification=notification, q="pm10>5;in{people}>1", geoQ=None)
            assert (await client.post("/subscriptions", json=given)).status == 201
            before = (await client.get("/subscriptions")).json()
        async with open_hub(settings) as hub:
            client = Client(hub.application)
            assert (await client.get("/subscriptions")).json() == before
            await client.post("/entities", json={"id": "urn:c:1", "type": "City", "people": 2})
            link = {"type": "Relationship", "object": "urn:c:1"}
            await client.post("/entities", json={"id": "urn:s:1", "type": "Station", "pm10": 9, "in": link})
            told = await receiver.wait(1)
    assert told[0].body["data"] == [{"id": "urn:s:1", "type": "Station", "pm10": 9, "in": "urn:c:1"}]


async def test_subscriptions_of_a_snapshot(client: Client, hub: Hub) -> None:
    async with Receiver() as receiver:
        await client.post("/entities", json={"id": "urn:s:1", "type": "Station", "pm10": 9})
        query = {"type": "Query", "entities": [{"type": "Station"}]}
        location = (await client.post("/snapshots", json={"type": "Snapshot", "snapshotQueries": [query]})).headers[
            "location"
        ]
        await hub.core.snapshots.settle()
        snapshot = {"NGSILD-Snapshot": location.rsplit("/", 1)[-1]}
        given = body(notification={"endpoint": {"uri": receiver.url()}})
        assert (await client.post("/subscriptions", json=given, headers=snapshot)).status == 201
        assert (await client.get("/subscriptions")).json() == []
        await client.patch("/entities/urn:s:1/attrs", json={"pm10": 10})
        await client.patch("/entities/urn:s:1/attrs", json={"pm10": 11}, headers=snapshot)
        told = await receiver.wait(1)
        assert [one.body["data"][0]["pm10"]["value"] for one in told] == [11]
        assert told[0].headers["NGSILD-Snapshot"] == snapshot["NGSILD-Snapshot"]
        assert "NGSILD-Tenant" not in told[0].headers


async def test_private_endpoints_are_refused_unless_allowed(tmp_path: Path) -> None:
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        client = Client(hub.application)
        refused = await client.post("/subscriptions", json=body())
        assert problem(refused) == (400, "BadRequestData")
        assert "MADANG_ALLOW_PRIVATE_ADDRESSES" in refused.json()["detail"]
        public = body(notification={"endpoint": {"uri": "http://192.0.2.1/"}})
        assert problem(await client.post("/subscriptions", json=public)) == (400, "BadRequestData")
        unknown = body(notification={"endpoint": {"uri": "http://nobody.invalid/notify"}})
        assert (await client.post("/subscriptions", json=unknown)).status == 201
