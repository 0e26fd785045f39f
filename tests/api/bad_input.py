# SPDX-License-Identifier: Apache-2.0
"""What the tests of bad input share: every route with a valid request, what may be done to it, and what must hold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import orjson

from madang.app import Hub
from madang.testing.client import Client, ClientResponse
from madang.wire.application import Application

Json = Any
SECONDS_MAX: Final = 2.0
ROOT: Final = "/ngsi-ld/v1"
ENTITY: Final[Json] = {
    "id": "urn:x:1",
    "type": ["T", "U"],
    "scope": ["/a/b", "/c"],
    "n": {"type": "Property", "value": 1, "unitCode": "C62", "observedAt": "2026-01-01T00:00:00Z", "s": {"value": 2}},
    "many": [
        {"type": "Property", "value": {"deep": [1, {"er": None}]}},
        {"type": "Property", "value": True, "datasetId": "urn:d:1"},
    ],
    "at": {"type": "Relationship", "object": "urn:x:2", "objectType": "T"},
    "name": {"type": "LanguageProperty", "languageMap": {"en": "a", "ko": ["b", "c"]}},
    "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.4, 36.3]}},
    "area": {"type": "GeoProperty", "value": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}},
    "word": {"type": "VocabProperty", "vocab": ["v", "w"]},
    "opaque": {"type": "JsonProperty", "json": {"id": 1, "@context": 2}},
    "list": {"type": "ListProperty", "valueList": [1, "a", {"b": 2}]},
    "targets": {"type": "ListRelationship", "objectList": [{"object": "urn:x:3"}]},
    "short": 5,
    "until": {"type": "Property", "value": 1, "expiresAt": "2099-01-01T00:00:00Z"},
}
FRAGMENT: Final[Json] = {name: value for name, value in ENTITY.items() if name != "id"}
TEMPORAL: Final[Json] = {
    **{name: value for name, value in ENTITY.items() if name not in ("scope", "short", "until")},
    "n": [
        {"type": "Property", "value": 1, "observedAt": "2026-01-01T00:00:00Z"},
        {"type": "Property", "value": 2, "observedAt": "2026-01-01T01:00:00Z"},
    ],
}
QUERY: Final[Json] = {
    "type": "Query",
    "entities": [{"type": "T", "idPattern": "urn:.*"}, {"type": "(T;U)", "id": "urn:x:1"}],
    "attrs": ["n", "name"],
    "q": 'n>0;name[en]=="a"|at=="urn:x:2"',
    "geoQ": {"georel": "near;maxDistance==1000", "geometry": "Point", "coordinates": [127.4, 36.3]},
    "scopeQ": "/a/#,/c",
    "datasetId": ["@none", "urn:d:1"],
    "lang": "en",
}
TEMPORAL_QUERY: Final[Json] = {
    "type": "Query",
    "entities": [{"type": "T"}],
    "temporalQ": {"timerel": "between", "timeAt": "2026-01-01T00:00:00Z", "endTimeAt": "2026-02-01T00:00:00Z"},
}
SUBSCRIPTION: Final[Json] = {
    "id": "urn:s:1",
    "type": "Subscription",
    "description": "a",
    "entities": [{"type": "T", "idPattern": "urn:.*"}],
    "watchedAttributes": ["n"],
    "notificationTrigger": ["entityCreated", "attributeUpdated"],
    "q": "n>0",
    "geoQ": {"georel": "within", "geometry": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]},
    "scopeQ": "/a",
    "isActive": False,
    "expiresAt": "2099-01-01T00:00:00Z",
    "throttling": 5,
    "notification": {
        "attributes": ["n"],
        "format": "keyValues",
        "endpoint": {
            "uri": "http://127.0.0.1:9/n",
            "accept": "application/json",
            "receiverInfo": [{"key": "X-A", "value": "b"}],
            "timeout": 1000,
            "cooldown": 1000,
        },
    },
}
SNAPSHOT: Final[Json] = {
    "id": "urn:snap:1",
    "type": "Snapshot",
    "snapshotQueries": [QUERY],
    "snapshotTemporalQueries": [TEMPORAL_QUERY],
    "snapshotLifetime": "PT1H",
    "snapshotPriority": 3,
}
CONTEXT: Final[Json] = {
    "@context": {
        "T": "https://a.example/T",
        "n": {"@id": "https://a.example/n", "@type": "@id", "@container": "@set"},
        "pre": "https://a.example/p#",
        "x": "pre:x",
        "again": {"@id": "pre:y", "@type": "@vocab"},
    }
}
# The bodies of writing routes, by what follows the API root; a new route without one is tried with an entity.
BODIES: Final[Mapping[str, Json]] = {
    "POST /entities": ENTITY,
    "PUT /entities/{entity_id}": FRAGMENT,
    "PATCH /entities/{entity_id}": FRAGMENT,
    "POST /entities/{entity_id}/attrs": FRAGMENT,
    "PATCH /entities/{entity_id}/attrs": FRAGMENT,
    "PATCH /entities/{entity_id}/attrs/{attribute}": {"type": "Property", "value": 3, "s": {"value": 4}},
    "PUT /entities/{entity_id}/attrs/{attribute}": {"type": "Property", "value": 3},
    "POST /entityOperations/delete": ["urn:x:8", "urn:x:9"],
    "POST /entityOperations/query": QUERY,
    "POST /entityOperations": [ENTITY, {"id": "urn:x:2", "type": "T", "n": 2}],
    "POST /entityMaps": QUERY,
    "PATCH /entityMaps": {"type": "EntityMap", "expiresAt": "2099-01-01T00:00:00Z"},
    "POST /temporal/entityMaps": TEMPORAL_QUERY,
    "POST /temporal/entityOperations/query": TEMPORAL_QUERY,
    "POST /temporal/entities": TEMPORAL,
    "PATCH /temporal/entities": {"n": [{"type": "Property", "value": 3, "observedAt": "2026-01-01T00:00:00Z"}]},
    "POST /subscriptions": SUBSCRIPTION,
    "PATCH /subscriptions": {name: value for name, value in SUBSCRIPTION.items() if name != "id"},
    "POST /snapshots": SNAPSHOT,
    "PATCH /snapshots": {"type": "Snapshot", "snapshotPriority": 2, "snapshotLifetime": "PT2H"},
    "POST /snapshots/{snapshot_id}/clone": {"type": "Snapshot", "id": "urn:snap:2"},
    "POST /jsonldContexts": CONTEXT,
    "POST /indexes": {"attribute": "n"},
    "POST /tokens": {
        "label": "a",
        "roles": ["reader@a", "editor"],
        "grants": [{"rights": ["read"], "types": ["T"], "attributes": ["n"], "purpose": "b"}],
        "expires": "2099-01-01T00:00:00Z",
        "ratePerSecond": 1.5,
        "quotaPerDay": 9,
    },
    "PUT /roles/{role}": {
        "description": "a",
        "grants": [
            {
                "rights": ["read", "write"],
                "tenants": ["", "a"],
                "types": ["T"],
                "area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
            }
        ],
    },
}
# Writing routes that take no body.
BODYLESS: Final = (
    "/madang/v1/personal-attributes/{attribute}",
    "/madang/v1/first-administrator/{secret}",
)
PATH_VALUES: Final = {
    "role": "watcher",
    "attribute": "n",
    "subscription_id": "urn:s:1",
    "snapshot_id": "urn:snap:1",
    "type": "T",
}


@dataclass(frozen=True)
class Call:
    """A method of a route, with a body that it takes where it takes one."""

    method: str
    route: str

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    def path(self, **values: str) -> str:
        """Return the path with the parameters filled in; values that are not given are valid ones."""
        parts = [
            quote(values.get(part[1:-1], PATH_VALUES.get(part[1:-1], "urn:x:1")), safe=":")
            if part.startswith("{")
            else part
            for part in self.route.split("/")
        ]
        return "/".join(parts)

    @property
    def names(self) -> list[str]:
        return [part[1:-1] for part in self.route.split("/") if part.startswith("{")]

    @property
    def takes_body(self) -> bool:
        return self.method in ("POST", "PUT", "PATCH") and self.route not in BODYLESS

    @property
    def body(self) -> Json:
        """Return the body of the longest entry that fits; they are copies, which may be changed."""
        bare = self.route.removeprefix(ROOT).removeprefix("/madang/v1")
        key = f"{self.method} {bare}"
        fitting = [entry for entry in BODIES if key == entry or key.startswith(entry + "/")]
        return json.loads(json.dumps(BODIES[max(fitting, key=len)] if fitting else ENTITY))


def calls_of(application: Application) -> list[Call]:
    """Return every method of every route, the second mount of the API at "/" apart."""
    found = [Call(method, route.path) for route in application.routes for method in route.methods]
    return sorted((call for call in found if call.route.startswith((ROOT, "/madang", "/health"))), key=str)


class Tokens:
    """JSON that no serializer writes: stands for itself in a value until `text` puts it in."""

    RAW: Final = {
        "@@1e400": "1e400",
        "@@-1e400": "-1e400",
        "@@long": "9" * 400,
        "@@NaN": "NaN",
        "@@Infinity": "-Infinity",
        "@@surrogate": '"\\ud800"',
        "@@zero": "-0.0",
        "@@leading": "007",
        "@@hex": "0x10",
    }

    @classmethod
    def text(cls, value: Json) -> bytes:
        text = json.dumps(value)
        for name, raw in cls.RAW.items():
            text = text.replace(f'"{name}"', raw)
        return text.encode()


def places(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every node of a JSON value, the root first."""
    yield path
    if isinstance(value, dict):
        for name, member in value.items():
            yield from places(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from places(member, (*path, index))


def replaced(value: Json, path: tuple[Any, ...], new: Json) -> Json:
    """Return the value with another one at a place."""
    if not path:
        return new
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = new
    return value


@dataclass
class Judge:
    """Sends requests and holds every answer against what the project promises."""

    hub: Hub
    client: Client
    statuses: dict[int, int] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        media: str = "application/json",
    ) -> ClientResponse:
        sent = {"Content-Type": media, **(headers or {})} if content is not None else dict(headers or {})
        await self.hub.core.snapshots.settle()
        before = await self.hub.core.store.last_sequence()
        began = time.process_time()
        response = await self.client.request(method, path, content=content, headers=sent)
        seconds = time.process_time() - began
        about = (method, path[:300], (content or b"")[:600], sent, response.status, response.content[:600])
        assert seconds < SECONDS_MAX, (seconds, about)
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        if method != "HEAD":
            assert_answer(response, about)
        if response.status >= 400:
            assert await self.hub.core.store.last_sequence() == before, ("a refused request wrote something", about)
        return response


def assert_answer(response: ClientResponse, about: object) -> None:
    """Hold an answer against the rules: no fault, a problem that says what is wrong, nothing odd in the headers."""
    for name, value in response.headers.items():
        assert value.isprintable(), (name, value, about)
    if response.content:
        orjson.loads(response.content)
    if response.status < 400:
        return
    problem = response.json() if response.content else {}
    # Clause 6.3.2: a context that cannot be had is 504; 503 says that a limit was reached.
    unavailable = problem.get("type", "").endswith("LdContextNotAvailable") and response.status in (503, 504)
    assert response.status < 500 or unavailable, about
    if response.status in (411, 415):
        assert not response.content  # clause 6.3.4 wants them bare
        return
    assert response.headers["content-type"] == "application/json", about
    for member in ("type", "title", "detail"):
        assert isinstance(problem[member], str), about
        assert problem[member], about
