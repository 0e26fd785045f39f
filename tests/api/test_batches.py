# SPDX-License-Identifier: Apache-2.0
"""Batch operations over HTTP: what fails the whole request, what fails one entity, and what is there afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from madang.app import open_hub
from madang.base.settings import Settings
from madang.testing.client import Client
from madang.wire.application import Application

ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"
OPERATIONS = ["create", "upsert", "update", "merge"]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def application(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    async with open_hub(Settings(access="open", data=tmp_path_factory.mktemp("data"))) as hub:
        yield hub.application


@pytest_asyncio.fixture(loop_scope="module")
async def client(application: Application) -> AsyncIterator[Client]:
    """A hub without entities; all tests of this file share it, so each uses tenants of its own."""
    client = Client(application)
    yield client
    assert (await client.delete("/entities?local=true")).status == 204


def entity(number: int, **members: Any) -> dict[str, Any]:
    return {"id": f"urn:x:{number}", "type": "T", **members}


async def value(client: Client, number: int, name: str) -> Any:
    return (await client.get(f"/entities/urn:x:{number}?options=keyValues")).json().get(name)


def errors(result: Any) -> list[tuple[str, str]]:
    return [(each["entityId"], each["error"]["type"].removeprefix(ERRORS)) for each in result["errors"]]


@pytest.mark.parametrize("operation", [*OPERATIONS, "delete"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"[", "InvalidRequest"),
        (b"", "InvalidRequest"),
        (b"[]", "BadRequestData"),
        (b"{}", "BadRequestData"),
        (b'"a"', "BadRequestData"),
        (b"null", "BadRequestData"),
        (b"[null]", "BadRequestData"),
        (b'[{"id": "urn:x:9", "type": "T"}, null]', "BadRequestData"),
    ],
)
async def test_what_fails_the_whole_request(client: Client, operation: str, content: bytes, kind: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post(f"/entityOperations/{operation}", content=content, headers=headers)
    assert (response.status, response.json()["type"]) == (400, ERRORS + kind)
    assert (await client.get("/entities/urn:x:9")).status == 404


@pytest.mark.parametrize("operation", [*OPERATIONS, "delete"])
async def test_too_many_entities(client: Client, operation: str) -> None:
    body = [f"urn:x:{number}" if operation == "delete" else entity(number) for number in range(5_001)]
    response = await client.post(f"/entityOperations/{operation}", json=body)
    assert response.status == 413
    assert "5000" in response.json()["detail"]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_fails_one_entity(client: Client, operation: str) -> None:
    await client.post("/entities", json=entity(1))
    good = entity(2) if operation == "create" else entity(1)
    batch = [
        3,
        {"type": "T"},
        {"id": "nowhere", "type": "T"},
        entity(5, **{"@context": "http://example.org/context.jsonld"}),
        entity(6, a={"type": "Property", "value": None}),
        good,
    ]
    response = await client.post(f"/entityOperations/{operation}", json=batch)
    assert (response.status, response.headers["content-type"]) == (207, "application/json")
    assert "link" not in response.headers
    result = response.json()
    assert result["success"] == [good["id"]]
    assert errors(result)[:5] == [
        ("", "BadRequestData"),
        ("", "BadRequestData"),
        ("nowhere", "BadRequestData"),
        ("urn:x:5", "BadRequestData"),
        ("urn:x:6", "BadRequestData"),
    ]
    assert all(each["error"]["title"] and each["error"]["detail"] for each in result["errors"])


async def test_create(client: Client) -> None:
    response = await client.post("/entityOperations/create", json=[entity(1, a=1), entity(2)])
    assert (response.status, response.json()) == (201, ["urn:x:1", "urn:x:2"])
    response = await client.post("/entityOperations/create", json=[entity(3), entity(1), entity(3)])
    assert response.status == 207
    assert response.json()["success"] == ["urn:x:3"]
    assert errors(response.json()) == [("urn:x:1", "AlreadyExists"), ("urn:x:3", "AlreadyExists")]


async def test_upsert(client: Client) -> None:
    first = await client.post("/entityOperations/upsert", json=[entity(1, a=1, b=1), entity(2, a=1)])
    assert (first.status, first.json()) == (201, ["urn:x:1", "urn:x:2"])
    mixed = await client.post("/entityOperations/upsert?options=update", json=[entity(1, a=2), entity(3)])
    assert (mixed.status, mixed.json()) == (201, ["urn:x:3"])
    assert (await value(client, 1, "a"), await value(client, 1, "b")) == (2, 1)
    replaced = await client.post("/entityOperations/upsert", json=[entity(1, a=3), entity(1, c=4)])
    assert (replaced.status, replaced.content) == (204, b"")
    assert [await value(client, 1, name) for name in "abc"] == [None, None, 4]
    wrong = await client.post("/entityOperations/upsert?options=noOverwrite", json=[entity(1)])
    assert (wrong.status, wrong.json()["type"]) == (400, f"{ERRORS}InvalidRequest")


async def test_update(client: Client) -> None:
    await client.post("/entityOperations/create", json=[entity(1, a=1), entity(2, a=1)])
    response = await client.post("/entityOperations/update", json=[entity(1, a=2), {"id": "urn:x:2", "a": 2}])
    assert (response.status, response.content) == (204, b"")
    body = [entity(1, a=3, b=3), entity(2, b=3), entity(3)]
    response = await client.post("/entityOperations/update?options=noOverwrite", json=body)
    assert response.status == 207
    assert response.json()["success"] == ["urn:x:2"]
    assert errors(response.json()) == [("urn:x:1", "AlreadyExists"), ("urn:x:3", "ResourceNotFound")]
    assert [await value(client, 1, name) for name in "ab"] == [2, 3]


async def test_merge(client: Client) -> None:
    await client.post("/entityOperations/create", json=[entity(1, a={"x": 1}, b=1)])
    body = [entity(1, a={"y": 2}), entity(1, b="urn:ngsi-ld:null", a={"x": "urn:ngsi-ld:null"})]
    response = await client.post("/entityOperations/merge", json=body)
    assert (response.status, response.content) == (204, b"")
    assert [await value(client, 1, name) for name in "ab"] == [{"y": 2}, None]


async def test_delete(client: Client) -> None:
    await client.post("/entityOperations/create", json=[entity(1), entity(2)])
    response = await client.post("/entityOperations/delete", json=["urn:x:1"])
    assert (response.status, response.content) == (204, b"")
    response = await client.post("/entityOperations/delete", json=["urn:x:2", "urn:x:2", "nowhere"])
    assert response.status == 207
    assert response.json()["success"] == ["urn:x:2"]
    assert errors(response.json()) == [("nowhere", "BadRequestData"), ("urn:x:2", "ResourceNotFound")]


async def test_each_entity_has_its_own_context(client: Client) -> None:
    contexts = [{"a": "https://example.org/one"}, {"a": "https://example.org/two"}]
    batch = [entity(number, a=1, **{"@context": context}) for number, context in enumerate(contexts)]
    headers = {"Content-Type": "application/ld+json"}
    response = await client.post("/entityOperations/create", json=[*batch, entity(2, a=1)], headers=headers)
    assert response.status == 207
    assert response.json()["success"] == ["urn:x:0", "urn:x:1"]
    assert errors(response.json()) == [("urn:x:2", "BadRequestData")]
    assert await value(client, 0, "https://example.org/one") == 1
    assert await value(client, 1, "https://example.org/two") == 1


async def test_only_create_makes_a_tenant(client: Client) -> None:
    headers = {"NGSILD-Tenant": "seoul"}
    for operation in ("upsert", "update", "merge"):
        response = await client.post(f"/entityOperations/{operation}", json=[entity(1)], headers=headers)
        assert (response.status, response.json()["type"]) == (404, f"{ERRORS}NonexistentTenant")
    response = await client.post("/entityOperations/create", json=[entity(1)], headers=headers)
    assert (response.status, response.headers["ngsild-tenant"]) == (201, "seoul")
