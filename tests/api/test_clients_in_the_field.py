# SPDX-License-Identifier: Apache-2.0
"""What clients in the field send though the standard has moved on; found by running their quick starts."""

from __future__ import annotations

from madang.testing.client import Client

ENTITY = {"id": "urn:x:1", "type": "T", "a": 1}


async def test_subscriptions_may_be_counted_by_an_option(client: Client) -> None:
    response = await client.get("/subscriptions/?options=count&limit=1000&count=true")
    assert (response.status, response.headers["ngsild-results-count"]) == (200, "0")
    response = await client.get("/subscriptions?options=count")
    assert (response.status, response.headers["ngsild-results-count"]) == (200, "0")


async def test_entities_may_be_listed_by_a_pattern_alone(client: Client) -> None:
    assert (await client.post("/entities", json=ENTITY)).status == 201
    response = await client.get("/entities/?idPattern=.*&count=true&limit=1000")
    assert (response.status, response.headers["ngsild-results-count"]) == (200, "1")
    assert [entity["id"] for entity in response.json()] == ["urn:x:1"]


async def test_a_pattern_alone_is_no_reason_to_delete(client: Client) -> None:
    assert (await client.post("/entities", json=ENTITY)).status == 201
    assert (await client.delete("/entities?idPattern=.*")).status == 400
    assert (await client.get("/entities/urn:x:1")).status == 200
