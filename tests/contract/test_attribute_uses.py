# SPDX-License-Identifier: Apache-2.0
"""The embedded store counts attributes as a walk through the documents would."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from madang.app import open_hub
from madang.base.settings import Settings
from madang.core.discovery import CountingStore
from madang.store.sqlite.attribute_uses import attribute_uses
from madang.store.sqlite.store import SqliteStore
from madang.testing.client import Client

ENTITIES: list[dict[str, Any]] = [
    {"id": "urn:a:1", "type": "A", "p": 1, "q": {"type": "Relationship", "object": "urn:x"}, "scope": "/a"},
    {"id": "urn:a:2", "type": "A", "p": [{"value": 1}, {"value": 2, "datasetId": "urn:d"}], "scope": ["/a", "/b"]},
    {"id": "urn:b:1", "type": ["B", "A"], "p": {"type": "Point", "coordinates": [1, 2]}, "list": [1, {"a": 2}]},
    {"id": "urn:c:1", "type": "C"},
    {"id": "urn:c:2", "type": "C", "gone": 1},
]


async def test_uses_are_counted(tmp_path: Path) -> None:
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        client = Client(hub.application)
        for entity in ENTITIES:
            assert (await client.post("/entities", json=entity)).status == 201
        await client.post("/entities", json=ENTITIES[0], headers={"NGSILD-Tenant": "other"})
        await client.delete("/entities/urn:c:2")
        store = hub.core.store
        assert isinstance(store, SqliteStore)
        sequence, uses = attribute_uses(store.reader(), store.tenant_keys[""])
        counted = Counter({(frozenset(types), name, kind): number for types, name, kind, number in uses})
        a, both = frozenset({"A"}), frozenset({"A", "B"})
        assert counted == {
            (a, "p", "Property"): 3,
            (a, "q", "Relationship"): 1,
            (both, "p", "GeoProperty"): 1,
            (both, "list", "Property"): 1,
        }
        assert 0 < sequence <= await store.last_sequence()


async def test_the_store_counts_by_itself(tmp_path: Path) -> None:
    assert isinstance(SqliteStore(tmp_path), CountingStore)
