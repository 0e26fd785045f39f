# SPDX-License-Identifier: Apache-2.0
"""GET /types and /attributes (clauses 5.7.5 to 5.7.10, 6.25 to 6.28)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from madang.app import open_hub
from madang.base.settings import Settings
from madang.testing.client import Client

VOCABULARY = "https://uri.etsi.org/ngsi-ld/default-context/"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        client = Client(hub.application)
        await client.post("/entities", json={"id": "urn:car:1", "type": "Car", "speed": 1, "at": _point()})
        await client.post("/entities", json={"id": "urn:bus:1", "type": ["Bus", "Car"], "speed": {"object": "urn:x"}})
        yield client


def _point() -> dict[str, object]:
    return {"type": "Point", "coordinates": [1, 2]}


async def test_lists(client: Client) -> None:
    types = (await client.get("/types")).json()
    assert types.pop("id").startswith("urn:")
    assert types == {"type": "EntityTypeList", "typeList": ["Bus", "Car"]}
    attributes = (await client.get("/attributes/")).json()
    assert attributes.pop("id").startswith("urn:")
    assert attributes == {"type": "AttributeList", "attributeList": ["at", "speed"]}


async def test_details(client: Client) -> None:
    assert (await client.get("/types?details=true")).json() == [
        {"id": f"{VOCABULARY}Bus", "type": "EntityType", "typeName": "Bus", "attributeNames": ["speed"]},
        {"id": f"{VOCABULARY}Car", "type": "EntityType", "typeName": "Car", "attributeNames": ["at", "speed"]},
    ]
    assert (await client.get("/attributes?details=true")).json() == [
        {"id": f"{VOCABULARY}at", "type": "Attribute", "attributeName": "at", "typeNames": ["Car"]},
        {"id": f"{VOCABULARY}speed", "type": "Attribute", "attributeName": "speed", "typeNames": ["Bus", "Car"]},
    ]


async def test_one_type_and_one_attribute(client: Client) -> None:
    kinds = ["Property", "Relationship"]
    for name in ("Car", f"{VOCABULARY}Car"):
        assert (await client.get(f"/types/{name}")).json() == {
            "id": f"{VOCABULARY}Car",
            "type": "EntityTypeInfo",
            "typeName": "Car",
            "entityCount": 2,
            "attributeDetails": [
                {
                    "id": f"{VOCABULARY}at",
                    "type": "Attribute",
                    "attributeName": "at",
                    "attributeTypes": ["GeoProperty"],
                },
                {"id": f"{VOCABULARY}speed", "type": "Attribute", "attributeName": "speed", "attributeTypes": kinds},
            ],
        }
    assert (await client.get("/attributes/speed")).json() == {
        "id": f"{VOCABULARY}speed",
        "type": "Attribute",
        "attributeName": "speed",
        "attributeCount": 2,
        "attributeTypes": kinds,
        "typeNames": ["Bus", "Car"],
    }


async def test_changes_are_seen_at_once(client: Client) -> None:
    await client.get("/attributes")
    await client.post("/entities/urn:car:1/attrs", json={"size": 1})
    assert (await client.get("/attributes")).json()["attributeList"] == ["at", "size", "speed"]
    await client.delete("/entities/urn:car:1/attrs/at")
    assert (await client.get("/attributes")).json()["attributeList"] == ["size", "speed"]
    await client.delete("/entities/urn:car:1")
    assert (await client.get("/types/Car")).json()["entityCount"] == 1
    assert (await client.get("/attributes")).json()["attributeList"] == ["speed"]
    await client.delete("/entities/urn:bus:1")
    assert (await client.get("/types")).json()["typeList"] == []


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/types/Tram", 404, "ResourceNotFound"),
        ("/attributes/size", 404, "ResourceNotFound"),
        ("/attributes/createdAt", 404, "ResourceNotFound"),
        ("/types/not a name", 400, "BadRequestData"),
        ("/types?details=maybe", 400, "InvalidRequest"),
        ("/types?limit=1", 400, "InvalidRequest"),
        ("/types/Car?details=true", 400, "InvalidRequest"),
    ],
)
async def test_errors(client: Client, path: str, status: int, kind: str) -> None:
    response = await client.get(path)
    assert (response.status, response.json()["type"].rpartition("/")[2]) == (status, kind)
    other = await client.get("/types", headers={"NGSILD-Tenant": "nobody"})
    assert other.json()["type"].endswith("/NonexistentTenant")
