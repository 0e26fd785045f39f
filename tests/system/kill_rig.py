# SPDX-License-Identifier: Apache-2.0
"""Clients that write to a hub that is killed under their hands, and remember exactly what they were promised."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from madang.testing.receiver import Received

Json = Any
TYPE = "Counter"
ENTITIES_PER_CLIENT_MAX = 6
VERSIONS_PER_ENTITY_MAX = 12  # so that the whole history fits into one answer
BUSY_EVERY = 20  # notifications


class Gone(Exception):
    """The connection broke before the answer was there: nobody knows what became of the request."""


class Wire:
    """One kept connection to a hub."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: Json = None) -> tuple[int, Json]:
        """Return status and JSON of the answer. Raises: Gone."""
        content = b"" if body is None else orjson.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\n"
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            text = await reader.readexactly(int(headers.get("content-length", "0")))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise Gone from None
        return int(lines[0].split(" ")[1]), orjson.loads(text) if text else None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Entity:
    """What one entity's only writer knows about it; a version is a number that both its attributes carry."""

    id: str
    versions: list[int] = field(default_factory=list)  # known to be on disk, in order
    gone: bool = False
    pending: int | None = None  # the version that was under way when the hub died; 0 for a deletion

    def body(self, version: int) -> Json:
        return {"id": self.id, "type": TYPE, **fragment(version)}

    def settle(self) -> None:
        """Take what was under way as done."""
        if self.pending == 0:
            self.gone = True
        elif self.pending is not None:
            self.versions.append(self.pending)
        self.pending = None


def fragment(version: int) -> Json:
    """Return two attributes of one value: a write that is half there shows in their difference."""
    return {"n": {"type": "Property", "value": version}, "twin": {"type": "Property", "value": version}}


@dataclass
class Ledger:
    """All that was promised to all clients."""

    acknowledged: Callable[[], None]
    entities: dict[str, Entity] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    _version: int = 0

    def version(self) -> int:
        self._version += 1
        return self._version

    def count(self, kind: str) -> None:
        self.requests[kind] = self.requests.get(kind, 0) + 1
        self.acknowledged()

    def changes(self) -> set[tuple[str, int]]:
        """Return every (entity, version) that is on disk, and (entity, 0) for every deletion."""
        told = {(entity.id, version) for entity in self.entities.values() for version in entity.versions}
        return told | {(entity.id, 0) for entity in self.entities.values() if entity.gone}


class Client:
    """Writes entities that are its own, one request after the other, until the hub dies."""

    def __init__(self, name: int, ledger: Ledger, chance: random.Random) -> None:
        self._name = name
        self._ledger = ledger
        self._chance = chance
        self._made = 0
        self.own: list[Entity] = []

    async def run(self, url: str) -> None:
        wire = Wire(url)
        try:
            while True:
                await self._step(wire)
        except Gone:
            self._ledger.unknown += 1
        finally:
            wire.close()

    async def look(self, wire: Wire) -> None:
        """Find out after a crash what became of the request that was under way; it may be done or not, but not half."""
        for entity in self.own:
            if entity.pending is None:
                continue
            status, body = await wire.request("GET", f"/ngsi-ld/v1/entities/{entity.id}?options=keyValues")
            assert status in (200, 404), body
            found = body["n"] if status == 200 else 0
            assert status == 404 or body["twin"] == found, f"half a write: {body}"
            before = entity.versions[-1] if entity.versions else 0
            assert found in (before, entity.pending), f"{entity.id} is {found}; it was {before} or {entity.pending}"
            if found == entity.pending and found != before:
                entity.settle()
            entity.pending = None
        self.own = [entity for entity in self.own if entity.versions and not entity.gone]

    async def _step(self, wire: Wire) -> None:
        kinds = ["create", "upsert"]
        if self.own:
            kinds += ["patch"] * 4 + ["upsert"] * 2 + ["delete"]
        kind = self._chance.choice(kinds)
        if len(self.own) >= ENTITIES_PER_CLIENT_MAX:
            kind = self._chance.choice(["patch", "delete"])
        await getattr(self, f"_{kind}")(wire)
        self._ledger.count(kind)
        self.own = [entity for entity in self.own if len(entity.versions) < VERSIONS_PER_ENTITY_MAX]

    def _new(self) -> Entity:
        self._made += 1
        entity = Entity(f"urn:ngsi-ld:{TYPE}:{self._name}:{self._made}")
        self._ledger.entities[entity.id] = entity
        self.own.append(entity)
        return entity

    async def _create(self, wire: Wire) -> None:
        entity = self._new()
        entity.pending = version = self._ledger.version()
        status, answer = await wire.request("POST", "/ngsi-ld/v1/entities", entity.body(version))
        assert status == 201, answer
        entity.settle()

    async def _patch(self, wire: Wire) -> None:
        entity = self._chance.choice(self.own)
        entity.pending = version = self._ledger.version()
        status, answer = await wire.request("PATCH", f"/ngsi-ld/v1/entities/{entity.id}/attrs", fragment(version))
        assert status == 204, answer
        entity.settle()

    async def _upsert(self, wire: Wire) -> None:
        chosen = [*self._chance.sample(self.own, min(2, len(self.own))), self._new(), self._new()]
        for entity in chosen:
            entity.pending = self._ledger.version()
        body = [entity.body(entity.pending or 0) for entity in chosen]
        status, answer = await wire.request("POST", "/ngsi-ld/v1/entityOperations/upsert?options=update", body)
        assert status == 201, answer
        for entity in chosen:
            entity.settle()

    async def _delete(self, wire: Wire) -> None:
        entity = self._chance.choice(self.own)
        entity.pending = 0
        status, answer = await wire.request("DELETE", f"/ngsi-ld/v1/entities/{entity.id}")
        assert status == 204, answer
        entity.settle()
        self.own.remove(entity)


async def inspect(wire: Wire, entity: Entity) -> None:
    """Compare what the hub has with what it promised: the current state and every version in the history."""
    path = f"/ngsi-ld/v1/entities/{entity.id}?options=keyValues"
    status, body = await wire.request("GET", path)
    if entity.gone or not entity.versions:
        assert status == 404, f"{entity.id} is there after it was deleted: {body}"
    else:
        last = entity.versions[-1]
        assert status == 200, f"{entity.id} is lost: {body}"
        assert (body["n"], body["twin"]) == (last, last), f"{entity.id}: {body}, promised was {last}"
    status, body = await wire.request("GET", f"/ngsi-ld/v1/temporal/entities/{entity.id}?options=temporalValues")
    if not entity.versions:
        assert status == 404, body
        return
    assert status == 200, f"the history of {entity.id} is lost: {body}"
    for name in ("n", "twin"):
        numbers = [pair[0] for pair in body[name]["values"] if not isinstance(pair[0], str)]
        assert sorted(numbers) == entity.versions, f"{entity.id}/{name}: {body[name]}, promised were {entity.versions}"


@dataclass
class Listener:
    """A subscriber that is now and then too busy, so that notifications wait when the hub is killed."""

    heard: set[tuple[str, int]] = field(default_factory=set)
    requests: int = 0

    def answer(self, received: Received) -> int:
        self.requests += 1
        if self.requests % BUSY_EVERY == 0:
            return 503
        for entity in received.body["data"]:
            gone = "deletedAt" in entity
            assert gone or entity["n"]["value"] == entity["twin"]["value"], entity
            self.heard.add((entity["id"], 0 if gone else entity["n"]["value"]))
        return 200


async def subscribe(wire: Wire, url: str) -> None:
    """Have every change of a counter told to the address."""
    body = {
        "type": "Subscription",
        "entities": [{"type": TYPE}],
        "notificationTrigger": ["entityCreated", "attributeCreated", "attributeUpdated", "entityDeleted"],
        "notification": {"endpoint": {"uri": url, "accept": "application/json"}},
    }
    status, answer = await wire.request("POST", "/ngsi-ld/v1/subscriptions", body)
    assert status == 201, answer
    wire.close()
