# SPDX-License-Identifier: Apache-2.0
"""Snapshots over HTTP: frozen copies on which the API works as on live data (clauses 5.16, 6.3.22, 6.36 to 6.38)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from madang.app import Hub, open_hub
from madang.base.clock import FixedClock
from madang.base.limits import SNAPSHOT_LIFETIME_S_MAX
from madang.base.settings import Settings
from madang.base.times import parse_date_time
from madang.core import snapshots
from madang.notify.snapshot_notices import SnapshotNotices
from madang.testing.client import Client, ClientResponse
from madang.testing.receiver import Receiver

CARS = {"type": "Query", "entities": [{"type": "Car"}]}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


class SnapshotClient(Client):
    """A client that can wait for what goes on behind the answers."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub.application)
        self.settle = hub.core.snapshots.settle


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock) -> AsyncIterator[SnapshotClient]:
    async with open_hub(Settings(access="open", data=tmp_path), clock=clock) as hub:
        client = SnapshotClient(hub)
        for number in (1, 2):
            body = {"id": f"urn:car:{number}", "type": "Car", "speed": 10 * number, "size": 1}
            assert (await client.post("/entities", json=body)).status == 201
        yield client


async def status(client: SnapshotClient, location: str, **headers: str) -> dict[str, Any]:
    """Return the snapshot's status once it is filled."""
    await client.settle()
    response = await client.get(location, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert response.status == 200, response.content
    body: dict[str, Any] = response.json()
    assert body["snapshotStatus"] != "preparing"
    return body


async def create(client: SnapshotClient, *queries: dict[str, Any], **members: Any) -> dict[str, Any]:
    response = await client.post("/snapshots", json={"type": "Snapshot", "snapshotQueries": queries, **members})
    assert (response.status, response.content) == (201, b"")
    return await status(client, response.headers["location"])


def on(snapshot: dict[str, Any]) -> dict[str, str]:
    return {"NGSILD-Snapshot": snapshot["id"]}


def problem(response: ClientResponse) -> tuple[int, str]:
    return response.status, response.json()["type"].rpartition("/")[2]


def ids(response: ClientResponse) -> list[str]:
    assert response.status == 200, response.content
    return [entity["id"] for entity in response.json()]


async def test_a_snapshot_keeps_what_the_live_data_loses(client: SnapshotClient) -> None:
    snapshot = await create(client, {**CARS, "q": "speed>10"})
    assert snapshot["snapshotStatus"] == "success"
    assert snapshot["snapshotPriority"] == 5
    assert snapshot["snapshotQueriesDetails"] == [{"resultStatus": "success"}]
    assert "namespace" not in snapshot
    live = (await client.get("/entities/urn:car:2?options=sysAttrs")).json()
    await client.patch("/entities/urn:car:2/attrs", json={"speed": 0})
    await client.delete("/entities/urn:car:1")
    listed = await client.get("/entities?type=Car", headers=on(snapshot))
    assert ids(listed) == ["urn:car:2"]
    assert listed.headers["ngsild-snapshot"] == snapshot["id"]
    assert "ngsild-tenant" not in listed.headers
    frozen = await client.get("/entities/urn:car:2?options=sysAttrs", headers=on(snapshot))
    assert frozen.json() == live
    assert (await client.get("/types", headers=on(snapshot))).json()["typeList"] == ["Car"]
    assert (await client.get("/temporal/entities/urn:car:2", headers=on(snapshot))).status == 200


async def test_a_snapshot_can_be_changed_without_the_live_data_noticing(client: SnapshotClient) -> None:
    snapshot = await create(client, CARS)
    path = "/entities/urn:car:1?options=keyValues"
    assert (await client.get(path, headers=on(snapshot))).json()["speed"] == 10
    response = await client.patch("/entities/urn:car:1/attrs", json={"speed": 99}, headers=on(snapshot))
    assert response.status == 204
    assert (await client.get(path, headers=on(snapshot))).json()["speed"] == 99
    assert (await client.get(path)).json()["speed"] == 10
    new = {"id": "urn:car:3", "type": "Car"}
    assert (await client.post("/entities", json=new, headers=on(snapshot))).status == 201
    assert ids(await client.get("/entities?type=Car", headers=on(snapshot))) == ["urn:car:1", "urn:car:2", "urn:car:3"]
    assert ids(await client.get("/entities?type=Car")) == ["urn:car:1", "urn:car:2"]


async def test_the_status_says_what_came_of_the_queries(client: SnapshotClient) -> None:
    nothing = {"type": "Query", "entities": [{"type": "Bus"}]}
    partial = await create(client, CARS, nothing)
    assert partial["snapshotStatus"] == "partial"
    assert [each["resultStatus"] for each in partial["snapshotQueriesDetails"]] == ["success", "empty"]
    assert (await create(client, nothing))["snapshotStatus"] == "empty"


async def test_projections_leave_what_an_entity_cannot_do_without(client: SnapshotClient) -> None:
    snapshot = await create(client, {**CARS, "pick": ["speed"]})
    response = await client.get("/entities/urn:car:1?options=keyValues", headers=on(snapshot))
    assert response.json() == {"id": "urn:car:1", "type": "Car", "speed": 10}


async def test_history_is_copied_too(client: SnapshotClient) -> None:
    observed = [
        {"type": "Property", "value": value, "observedAt": f"2026-01-0{value}T00:00:00Z"} for value in (1, 2, 3)
    ]
    await client.post("/temporal/entities", json={"id": "urn:bus:1", "type": "Bus", "load": observed})
    query = {
        "type": "Query",
        "entities": [{"type": "Bus"}],
        "temporalQ": {"timerel": "after", "timeAt": "2026-01-02T00:00:00Z"},
    }
    response = await client.post("/snapshots", json={"type": "Snapshot", "snapshotTemporalQueries": [query]})
    snapshot = await status(client, response.headers["location"])
    assert snapshot["snapshotStatus"] == "success"
    assert snapshot["snapshotTemporalQueriesDetails"] == [{"resultStatus": "success"}]
    response = await client.post(f"/snapshots/{snapshot['id']}/clone", json={"type": "Snapshot"})
    clone = await status(client, response.headers["location"])
    for each in (snapshot, clone):
        evolution = await client.get("/temporal/entities/urn:bus:1", headers=on(each))
        loads = evolution.json()["load"]
        values = sorted(instance["value"] for instance in (loads if isinstance(loads, list) else [loads]))
        assert values == [2, 3]


async def test_a_clone_outlives_its_original(client: SnapshotClient) -> None:
    snapshot = await create(client, CARS)
    await client.patch("/entities/urn:car:1/attrs", json={"speed": 99}, headers=on(snapshot))
    response = await client.post(f"/snapshots/{snapshot['id']}/clone", json={"type": "Snapshot", "snapshotPriority": 9})
    clone = await status(client, response.headers["location"])
    assert (clone["snapshotStatus"], clone["snapshotPriority"]) == ("success", 9)
    assert clone["snapshotQueries"] == snapshot["snapshotQueries"]
    assert (await client.delete(f"/snapshots/{snapshot['id']}")).status == 204
    assert (await client.get("/entities/urn:car:1", headers=on(clone))).json()["speed"]["value"] == 99
    assert problem(await client.get("/entities/urn:car:1", headers=on(snapshot))) == (404, "ResourceNotFound")


async def test_a_deleted_snapshot_is_gone(client: SnapshotClient) -> None:
    snapshot = await create(client, CARS)
    assert (await client.delete(f"/snapshots/{snapshot['id']}")).status == 204
    assert problem(await client.get(f"/snapshots/{snapshot['id']}")) == (404, "ResourceNotFound")
    assert problem(await client.delete(f"/snapshots/{snapshot['id']}")) == (404, "ResourceNotFound")


async def test_snapshots_are_there_after_a_restart(tmp_path: Path) -> None:
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        client = SnapshotClient(hub)
        await client.post("/entities", json={"id": "urn:car:1", "type": "Car", "speed": 1})
        kept, removed = await create(client, CARS), await create(client, CARS)
        namespace = hub.core.snapshots.namespace("", removed["id"])
        await client.delete(f"/snapshots/{removed['id']}")
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        client = SnapshotClient(hub)
        assert (await client.get(f"/snapshots/{kept['id']}")).json()["snapshotStatus"] == "success"
        assert ids(await client.get("/entities?type=Car", headers=on(kept))) == ["urn:car:1"]
        await client.settle()
        assert await hub.core.store.records(snapshots.REMAINS_KIND) == []
        assert await hub.core.store.type_names(namespace) == []


async def test_tenants_have_their_own_snapshots(client: SnapshotClient) -> None:
    tenant = {"NGSILD-Tenant": "two"}
    await client.post("/entities", json={"id": "urn:car:9", "type": "Car"}, headers=tenant)
    response = await client.post("/snapshots", json={"type": "Snapshot", "snapshotQueries": [CARS]}, headers=tenant)
    location = response.headers["location"]
    assert problem(await client.get(location)) == (404, "ResourceNotFound")
    headers = {"NGSILD-Snapshot": (await status(client, location, NGSILD_Tenant="two"))["id"]}
    answer = await client.get("/entities?type=Car", headers={**headers, **tenant})
    assert ids(answer) == ["urn:car:9"]
    assert answer.headers["ngsild-tenant"] == "two"
    assert problem(await client.get("/entities?type=Car", headers=headers)) == (404, "ResourceNotFound")


async def test_snapshots_expire(client: SnapshotClient, clock: FixedClock) -> None:
    now_us = clock.now_us()
    snapshot = await create(client, CARS, snapshotLifetime="PT1H")
    assert parse_date_time(snapshot["expiresAt"]) == now_us + 3_600_000_000
    endless = await create(client, CARS, snapshotLifetime="P900Y")
    assert parse_date_time(endless["expiresAt"]) == now_us + SNAPSHOT_LIFETIME_S_MAX * 1_000_000
    clock.advance(3_600)
    assert problem(await client.get(f"/snapshots/{snapshot['id']}")) == (404, "ResourceNotFound")
    assert problem(await client.get("/entities?type=Car", headers=on(snapshot))) == (404, "ResourceNotFound")


async def test_update(client: SnapshotClient, clock: FixedClock) -> None:
    snapshot = await create(client, CARS, endpoint="http://example.org/told")
    clock.advance(10)
    location = f"/snapshots/{snapshot['id']}"
    change = {"snapshotPriority": 2, "snapshotLifetime": "PT10S", "snapshotStatus": "failure", "expiresAt": "x"}
    changed = (await client.patch(location, json=change)).json()
    assert (changed["snapshotPriority"], changed["snapshotStatus"]) == (2, "success")
    assert parse_date_time(changed["expiresAt"]) == clock.now_us() + 10_000_000
    assert changed["modifiedAt"] > snapshot["modifiedAt"]
    removed = (await client.patch(location, json={"endpoint": "urn:ngsi-ld:null"})).json()
    assert "endpoint" not in removed
    for wrong in ({"snapshotQueries": [CARS]}, {"id": "urn:other"}, {"snapshotPriority": 11}, {"type": "Other"}):
        assert problem(await client.patch(location, json=wrong)) == (400, "BadRequestData")
    assert problem(await client.patch("/snapshots/urn:none", json={})) == (404, "ResourceNotFound")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"type": "Other", "snapshotQueries": [CARS]},
        {"type": "Snapshot"},
        {"type": "Snapshot", "snapshotQueries": []},
        {"type": "Snapshot", "snapshotQueries": {}},
        {"type": "Snapshot", "snapshotQueries": ["x"]},
        {"type": "Snapshot", "snapshotQueries": [{"type": "Query"}]},
        {"type": "Snapshot", "snapshotQueries": [{**CARS, "temporalQ": {}}]},
        {"type": "Snapshot", "snapshotTemporalQueries": [CARS]},
        {"type": "Snapshot", "snapshotTemporalQueries": [{**CARS, "temporalQ": {"timerel": "after"}}]},
        {"type": "Snapshot", "snapshotQueries": [CARS], "id": "no uri"},
        {"type": "Snapshot", "snapshotQueries": [CARS], "id": 5},
        {"type": "Snapshot", "snapshotQueries": [CARS], "snapshotPriority": 0},
        {"type": "Snapshot", "snapshotQueries": [CARS], "snapshotPriority": True},
        {"type": "Snapshot", "snapshotQueries": [CARS], "snapshotLifetime": "long"},
        {"type": "Snapshot", "snapshotQueries": [CARS], "endpoint": "somewhere"},
        {"type": "Snapshot", "snapshotQueries": [CARS], "endpoint": "ftp://example.org/"},
        {"type": "Snapshot", "snapshotQueries": [CARS], "receiverInfo": [{"key": "a"}]},
        {"type": "Snapshot", "snapshotQueries": [CARS], "receiverInfo": [{"key": "a", "value": "b\r\nc: d"}]},
        {"type": "Snapshot", "snapshotQueries": [CARS], "receiverInfo": [{"key": "Host", "value": "a"}]},
    ],
)
async def test_bodies_that_are_no_snapshot(client: SnapshotClient, body: Any) -> None:
    assert problem(await client.post("/snapshots", json=body)) == (400, "BadRequestData")


async def test_an_id_is_taken_once(client: SnapshotClient) -> None:
    assert (await create(client, CARS, id="urn:s:1"))["id"] == "urn:s:1"
    body = {"type": "Snapshot", "snapshotQueries": [CARS], "id": "urn:s:1"}
    assert problem(await client.post("/snapshots", json=body)) == (409, "AlreadyExists")
    clone = {"type": "Snapshot", "id": "urn:s:1"}
    assert problem(await client.post("/snapshots/urn:s:1/clone", json=clone)) == (409, "AlreadyExists")
    assert problem(await client.post("/snapshots/urn:s:2/clone", json=clone)) == (404, "ResourceNotFound")
    headers = {"NGSILD-Tenant": "nobody"}
    assert problem(await client.post("/snapshots", json=body, headers=headers)) == (404, "NonexistentTenant")


async def test_purge_by_query(client: SnapshotClient) -> None:
    low, high = await create(client, CARS, snapshotPriority=2), await create(client, CARS, snapshotPriority=8)
    for query in ("", "?q=speed>5", "?q=a{snapshotPriority}>5", "?q=((", "?foo=1"):
        assert (await client.delete(f"/snapshots{query}")).status == 400
    assert (await client.delete("/snapshots?q=snapshotPriority<5;snapshotStatus==%22success%22")).status == 204
    assert (await client.get(f"/snapshots/{low['id']}")).status == 404
    assert (await client.get(f"/snapshots/{high['id']}")).status == 200
    assert problem(await client.delete("/snapshots?q=snapshotPriority<5")) == (404, "ResourceNotFound")
    assert (await client.delete("/snapshots?q=expiresAt>2000-01-01T00:00:00Z")).status == 204


async def test_when_there_are_too_many_the_least_important_goes(
    client: SnapshotClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "SNAPSHOTS_PER_TENANT_MAX", 2)
    first = await create(client, CARS, snapshotPriority=3)
    second = await create(client, CARS, snapshotPriority=1)
    third = await create(client, CARS, snapshotPriority=1)
    found = [(await client.get(f"/snapshots/{each['id']}")).status for each in (first, second, third)]
    assert found == [200, 404, 200]


async def test_those_who_asked_are_told(tmp_path: Path) -> None:
    async with Receiver() as receiver, open_hub(Settings(access="open", data=tmp_path)) as hub:
        notices = SnapshotNotices(allow_private_addresses=True)
        hub.core.snapshots.tell_with(notices.tell)
        client = SnapshotClient(hub)
        await client.post("/entities", json={"id": "urn:car:1", "type": "Car"}, headers={"NGSILD-Tenant": "two"})
        body = {
            "type": "Snapshot",
            "snapshotQueries": [CARS],
            "endpoint": receiver.url("/told"),
            "receiverInfo": [{"key": "X-Key", "value": "secret"}],
        }
        tenant = {"NGSILD-Tenant": "two"}
        location = (await client.post("/snapshots", json=body, headers=tenant)).headers["location"]
        snapshot = await status(client, location, NGSILD_Tenant="two")
        await client.delete(location, headers=tenant)
        filled, gone = await receiver.wait(2)
        await notices.close()
    assert filled.path == "/told"
    assert (filled.headers["X-Key"], filled.headers["NGSILD-Tenant"]) == ("secret", "two")
    told = filled.body
    assert (told["type"], told["snapshotId"], told["snapshotStatus"]) == (
        "SnapshotNotification",
        snapshot["id"],
        "success",
    )
    assert told["expiresAt"] > told["notifiedAt"]
    assert gone.body["expiresAt"] < gone.body["notifiedAt"]


async def test_an_endpoint_that_cannot_be_reached_changes_nothing(tmp_path: Path) -> None:
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        notices = SnapshotNotices(allow_private_addresses=False)
        hub.core.snapshots.tell_with(notices.tell)
        client = SnapshotClient(hub)
        await client.post("/entities", json={"id": "urn:car:1", "type": "Car"})
        snapshot = await create(client, CARS, endpoint="http://127.0.0.1:9/private")
        assert snapshot["snapshotStatus"] == "success"
        await client.settle()
        await notices.close()
