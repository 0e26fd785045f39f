# SPDX-License-Identifier: Apache-2.0
"""Entity maps over HTTP (clauses 5.14, 5.5.9.3, 6.32, 6.34, 6.35)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from madang.app import open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.base.times import format_date_time
from madang.testing.client import Client, ClientResponse


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Client]:
    async with open_hub(Settings(access="open", data=tmp_path), clock=clock) as hub:
        client = Client(hub.application)
        for number in range(5):
            body = {"id": f"urn:car:{number}", "type": "Car", "speed": 10 * number}
            assert (await client.post("/entities", json=body)).status == 201
        yield client


def problem(response: ClientResponse) -> tuple[int, str]:
    return response.status, response.json()["type"].rpartition("/")[2]


def ids(response: ClientResponse) -> list[str]:
    assert response.status in (200, 201), response.content
    return [entity["id"] for entity in response.json()]


async def mapped(client: Client, query: str = "type=Car") -> tuple[str, dict[str, Any]]:
    """Make a map and return its location and what it says."""
    response = await client.get(f"/entityMaps?{query}")
    assert response.status == 201
    return response.headers["ngsild-entitymap"], response.json()


async def test_a_map_of_a_query(client: Client) -> None:
    location, body = await mapped(client, "type=Car&q=speed>20&limit=1")
    assert body["type"] == "EntityMap"
    assert body["entityMap"] == {"urn:car:3": ["@none"], "urn:car:4": ["@none"]}
    assert location == f"/ngsi-ld/v1/entityMaps/{body['id']}"
    assert (await client.get(location)).json() == body
    by_body = {"type": "Query", "entities": [{"type": "Car"}], "q": "speed>20"}
    assert (await client.post("/entityMaps", json=by_body)).json()["entityMap"] == body["entityMap"]


async def test_pages_of_a_map(client: Client) -> None:
    location, _ = await mapped(client)
    headers = {"NGSILD-EntityMap": location}
    await client.post("/entities", json={"id": "urn:car:9", "type": "Car"})
    first = await client.get("/entities?type=Car&limit=2&count=true", headers=headers)
    assert ids(first) == ["urn:car:0", "urn:car:1"]
    assert first.headers["ngsild-results-count"] == "5"
    assert first.headers["ngsild-entitymap"] == location
    assert 'rel="next"' in first.headers["link"]
    await client.delete("/entities/urn:car:1")
    assert ids(await client.get("/entities?type=Car&limit=2", headers=headers)) == ["urn:car:0", "urn:car:2"]
    assert "urn:car:1" not in (await client.get(location)).json()["entityMap"]
    # The bare id of the map will do as well.
    bare = {"NGSILD-EntityMap": location.rpartition("/")[2]}
    assert ids(await client.get("/entities?type=Car&offset=3", headers=bare)) == ["urn:car:4"]


async def test_a_map_on_the_way(client: Client) -> None:
    response = await client.get("/entities?type=Car&entityMap=true&entityMapLifetime=PT1M")
    assert response.status == 201
    assert len(ids(response)) == 5
    location = response.headers["ngsild-entitymap"]
    again = await client.get("/entities?type=Car", headers={"NGSILD-EntityMap": location})
    assert (again.status, again.headers["ngsild-entitymap"]) == (200, location)
    body = {"type": "Query", "entities": [{"type": "Car"}], "entityMap": True}
    posted = await client.post("/entityOperations/query", json=body)
    assert posted.status == 201
    assert posted.headers["ngsild-entitymap"] != location
    dead = await client.get("/entities?type=Car", headers={"NGSILD-EntityMap": "urn:dead"})
    assert dead.status == 201
    assert dead.headers["ngsild-entitymap"] != "urn:dead"


async def test_a_map_of_one_entity(client: Client) -> None:
    response = await client.get("/entities/urn:car:1?entityMap=true")
    assert response.status == 200
    location = response.headers["ngsild-entitymap"]
    assert (await client.get(location)).json()["entityMap"] == {"urn:car:1": ["@none"]}
    again = await client.get("/entities/urn:car:1", headers={"NGSILD-EntityMap": location})
    assert again.headers["ngsild-entitymap"] == location
    # Nothing of that is kept for those who do not ask for a map.
    assert "ngsild-entitymap" not in (await client.get("/entities/urn:car:1")).headers


async def test_lifetimes(client: Client, clock: FixedClock) -> None:
    location, body = await mapped(client, "type=Car&entityMapLifetime=PT10S")
    assert body["expiresAt"] == format_date_time(clock.now_us() + 10_000_000)
    later = format_date_time(clock.now_us() + 60_000_000)
    change = {"expiresAt": later, "entityMap": {"urn:injected": ["@none"]}}
    assert (await client.patch(location, json=change)).status == 204
    found = (await client.get(location)).json()
    assert found["expiresAt"] == later
    assert "urn:injected" not in found["entityMap"]
    clock.advance(60)
    assert problem(await client.get(location)) == (404, "ResourceNotFound")


async def test_delete(client: Client) -> None:
    location, _ = await mapped(client)
    assert (await client.delete(location)).status == 204
    for response in (await client.get(location), await client.delete(location), await client.patch(location, json={})):
        assert problem(response) == (404, "ResourceNotFound")


async def test_other_tenants_do_not_see_a_map(client: Client) -> None:
    location, _ = await mapped(client)
    await client.post("/entities", json={"id": "urn:car:0", "type": "Car"}, headers={"NGSILD-Tenant": "two"})
    for response in (
        await client.get(location, headers={"NGSILD-Tenant": "two"}),
        await client.delete(location, headers={"NGSILD-Tenant": "two"}),
    ):
        assert problem(response) == (404, "ResourceNotFound")
    assert (await client.get(location)).status == 200


@pytest.mark.parametrize(
    "query", ["", "id=urn:car:1", "type=Car&entityMapLifetime=1hour", "type=Car&q=((", "type=Car&pick=a{b}", "limit=x"]
)
async def test_queries_that_cannot_be_mapped(client: Client, query: str) -> None:
    assert problem(await client.get(f"/entityMaps?{query}")) == (400, "BadRequestData")


@pytest.mark.parametrize("body", [[], {"expiresAt": "tomorrow"}, {"type": "Other"}, {"id": "urn:other"}])
async def test_changes_that_are_none(client: Client, body: Any) -> None:
    location, _ = await mapped(client)
    assert problem(await client.patch(location, json=body)) == (400, "BadRequestData")
    assert problem(await client.get("/entityMaps/not a uri")) == (400, "BadRequestData")
