# SPDX-License-Identifier: Apache-2.0
"""Input made to break a hub: what is no JSON, too deep, too big, hostile contexts and geometries, bombs in queries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from madang.app import open_hub
from madang.base import limits
from madang.base.settings import Settings
from madang.testing.client import Client
from madang.testing.http_server import LoopbackServer, Page, loopback_server
from tests.api.bad_input import Judge

LD = "application/ld+json"
DEEP = 100_000


@pytest.fixture
async def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Judge]:
    """A hub that may call private addresses, for contexts served by the test; it stops without a farewell."""
    monkeypatch.setattr("madang.notify.notifier.SHUTDOWN_DRAIN_S", 0.1)
    async with open_hub(Settings(access="open", data=tmp_path, allow_private_addresses=True)) as hub:
        yield Judge(hub, Client(hub.application))


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Judge]:
    async with open_hub(Settings(access="open", data=tmp_path / "guarded")) as hub:
        yield Judge(hub, Client(hub.application))


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as server:
        yield server


def entity(value: bytes, name: str = "a") -> bytes:
    return b'{"id":"urn:x:1","type":"T","%s":{"type":"Property","value":%s}}' % (name.encode(), value)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"}", b'{"id"', b'{"id":}', b"[", b"nul", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}{}", b"{} x"),
        *(b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP, b'{"a":' * DEEP),
        *(entity(b"[" * 70 + b"]" * 70), entity(b'{"a":' * 500 + b"1" + b"}" * 500)),
        *(entity(b"NaN"), entity(b"Infinity"), entity(b"-Infinity"), entity(b"1e400"), entity(b"-1e400")),
        *(entity(b'"\\ud800"'), entity(b'{"\\udfff":1}'), entity(b"01"), entity(b"0x1"), entity(b"1."), entity(b"'a'")),
        *(b"{'id':'urn:x:1'}", b'{"id":"urn:x:1","type":"T",}', b"\x00", b'"' + b"a" * 100_000),
    ],
    ids=lambda body: repr(body[:40]) + str(len(body)),
)
async def test_what_is_no_json_is_refused(judge: Judge, body: bytes) -> None:
    for path in (
        "/entities",
        "/entityOperations/upsert",
        "/subscriptions",
        "/temporal/entities",
        "/entityOperations/query",
    ):
        assert (await judge.send("POST", path, body)).status == 400


async def test_a_whole_number_of_400_digits_is_refused_or_kept(judge: Judge) -> None:
    response = await judge.send("POST", "/entities", entity(b"9" * 400))
    if response.status == 201:
        read = await judge.send("GET", "/entities/urn:x:1")
        assert read.json()["a"]["value"] == pytest.approx(float("9" * 300) * 1e100)
    else:
        assert response.status == 400


async def test_a_body_of_10_megabytes_is_refused(judge: Judge) -> None:
    response = await judge.send("POST", "/entities", entity(b'"' + b"a" * 10_000_000 + b'"'))
    assert response.status == 413
    assert str(limits.BODY_BYTES_MAX) in response.json()["detail"]


async def test_a_body_just_within_the_limit_is_taken(judge: Judge) -> None:
    body = entity(b'"' + b"a" * (limits.BODY_BYTES_MAX - 1000) + b'"')
    assert (await judge.send("POST", "/entities", body)).status == 201


@pytest.mark.parametrize("operation", ["create", "upsert", "update", "merge", "delete"])
async def test_a_batch_of_10_000_is_answered_whole_or_refused_whole(judge: Judge, operation: str) -> None:
    batch: list[Any] = [{"id": f"urn:x:{number}", "type": "T", "a": number} for number in range(10_000)]
    if operation == "delete":
        batch = [item["id"] for item in batch]
    response = await judge.send("POST", f"/entityOperations/{operation}", orjson.dumps(batch))
    if response.status >= 400:
        assert str(limits.BATCH_ENTITIES_MAX) in response.json()["detail"]
    else:
        found = await judge.client.get("/entities?type=T&limit=0&count=true")
        made = 10_000 if response.status == 201 else 0
        assert int(found.headers["ngsild-results-count"]) == made


async def test_an_entity_of_very_many_attributes(judge: Judge) -> None:
    many = {"id": "urn:x:1", "type": "T", **{f"a{number}": number for number in range(20_000)}}
    assert (await judge.send("POST", "/entities", orjson.dumps(many))).status in (201, 400)
    read = await judge.send("GET", "/entities/urn:x:1")
    assert read.status in (200, 404)


HOSTILE_CONTEXTS: dict[str, Any] = {
    "a private address": "http://127.0.0.1:1/c",
    "a private address inside": ["http://10.0.0.1/c", {"a": "urn:a"}],
    "metadata of a cloud": "http://169.254.169.254/latest/meta-data",
    "a decimal address": "http://2130706433/c",
    "IPv6": "http://[::1]/c",
    "IPv4 in IPv6": "http://[::ffff:127.0.0.1]/c",
    "a file": "file:///etc/passwd",
    "another scheme": "ftp://a.example/c",
    "no address": "not a url",
    "a number": 5,
    "a nested list": [[[["urn:a"]]]],
    "a term that is a number": {"a": 5},
    "a cycle": {"a": "b:x", "b": "a:x"},
    "a term of itself": {"a": {"@id": "a:b"}},
    "a keyword": {"@type": "urn:a"},
    "an unknown keyword": {"@nothing": 1},
    "a wrong container": {"a": {"@id": "urn:a", "@container": "@wrong"}},
    "a wrong vocabulary": {"@vocab": 7},
    "a wrong base": {"@base": {}},
    "version 9": {"@version": 9},
    "import of itself": {"@import": "http://127.0.0.1:1/c"},
    "protected, then changed": [{"@protected": True, "a": "urn:a"}, {"a": "urn:b"}],
    "core terms changed": {"id": "urn:a", "type": "urn:b", "value": "urn:c"},
    "scoped, deep": {"a": {"@id": "urn:a", "@context": {"b": {"@id": "urn:b", "@context": {"a": {"@id": "urn:c"}}}}}},
    "reversed": {"a": {"@reverse": "urn:a"}},
    "a surrogate pair": {"\U0001f600": "urn:a"},
    "very many terms": {f"t{number}": f"urn:t:{number}" for number in range(50_000)},
    "very many prefixes": {**{f"p{number}": f"p{number + 1}:a" for number in range(5_000)}, "p5000": "urn:p"},
    "very many contexts": [{"a": "urn:a"}] * 20_000,
    "very deep": None,
    "very long": "http://a.example/" + "a" * 100_000,
}
_DEEP: Any = {"a": "urn:a"}
for _ in range(60):
    _DEEP = {"a": {"@id": "urn:a", "@context": _DEEP}}
HOSTILE_CONTEXTS["very deep"] = _DEEP


@pytest.mark.parametrize("name", HOSTILE_CONTEXTS)
async def test_hostile_contexts(guarded: Judge, name: str) -> None:
    body = {
        "@context": HOSTILE_CONTEXTS[name],
        "id": "urn:x:1",
        "type": "T",
        "a": 1,
        "b": {"type": "Property", "value": 2},
    }
    await guarded.send("POST", "/entities", orjson.dumps(body), media=LD)
    await guarded.send("POST", "/jsonldContexts", orjson.dumps({"@context": HOSTILE_CONTEXTS[name]}), media=LD)
    await guarded.send("POST", "/entityOperations/upsert", orjson.dumps([body]), media=LD)
    await guarded.send("PATCH", "/entities/urn:x:1/attrs", orjson.dumps(body), media=LD)


async def test_private_addresses_are_refused_by_name(guarded: Judge) -> None:
    for name in ("a private address", "IPv6", "IPv4 in IPv6", "a decimal address", "metadata of a cloud"):
        body = {"@context": HOSTILE_CONTEXTS[name], "id": "urn:x:1", "type": "T"}
        response = await guarded.send("POST", "/entities", orjson.dumps(body), media=LD)
        assert (response.status, "public" in response.json()["detail"]) == (400, True), (name, response)


async def send_context(judge: Judge, url: str) -> int:
    link = {"Link": f'<{url}>; rel="http://www.w3.org/ns/json-ld#context"; type="{LD}"'}
    loop = asyncio.get_running_loop()
    began = loop.time()
    response = await judge.send("GET", "/entities?type=T", headers=link)
    body = {"@context": url, "id": "urn:x:1", "type": "T"}
    created = await judge.send("POST", "/entities", orjson.dumps(body), media=LD)
    assert loop.time() - began < 2 * (limits.CONTEXT_WAIT_S + 1.0)
    assert created.status == response.status or created.status == 201
    await judge.send("DELETE", "/entities/urn:x:1")
    status: int = response.status
    return status


async def test_contexts_that_lead_in_circles(judge: Judge, server: LoopbackServer) -> None:
    server.put("/one", {"@context": f"{server.url}/two"})
    server.put("/two", {"@context": [f"{server.url}/one", {"a": "urn:a"}]})
    assert await send_context(judge, f"{server.url}/one") in (400, 504)
    server.put("/self", {"@context": f"{server.url}/self"})
    assert await send_context(judge, f"{server.url}/self") in (400, 504)
    server.redirect("/r", f"{server.url}/r")
    assert await send_context(judge, f"{server.url}/r") == 504
    for number in range(10):
        server.redirect(f"/r{number}", f"{server.url}/r{number + 1}")
    assert await send_context(judge, f"{server.url}/r0") == 504
    for number in range(40):
        server.put(f"/chain{number}", {"@context": f"{server.url}/chain{number + 1}"})
    assert await send_context(judge, f"{server.url}/chain0") in (400, 504)


async def test_contexts_that_are_no_contexts(judge: Judge, server: LoopbackServer) -> None:
    pages = {
        "/huge": Page(b'{"@context":{"a":"' + b"a" * limits.CONTEXT_BYTES_MAX + b'"}}'),
        "/html": Page(b"<html>", headers={"content-type": "text/html"}),
        "/none": Page(b"{}"),
        "/list": Page(b"[]"),
        "/deep": Page(b"[" * DEEP),
        "/deep2": Page(b'{"@context":' * 5000 + b"1" + b"}" * 5000),
        "/bad": Page(b'{"@context":{"a":{"@id":5}}}'),
        "/nan": Page(b'{"@context":NaN}'),
        "/500": Page(b"", status=500),
        "/empty": Page(b""),
        "/bytes": Page(b"\xff\xfe\x00"),
    }
    for path, page in pages.items():
        server.pages[path] = page
        assert await send_context(judge, server.url + path) in (400, 503, 504), path


async def test_a_context_that_never_comes(
    judge: Judge, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("madang.core.contexts.CONTEXT_WAIT_S", 0.2)
    monkeypatch.setattr("madang.core.context_fetch.CONTEXT_FETCH_S", 0.3)
    held = asyncio.Event()
    server.pages["/slow"] = Page(b'{"@context":{}}', held=held)
    assert await send_context(judge, f"{server.url}/slow") == 504
    held.set()


GEOMETRIES: list[Any] = [
    *(None, 5, "Point", [], {}, {"type": "Point"}, {"type": "Nothing", "coordinates": [0, 0]}),
    *(
        {"type": "Point", "coordinates": value}
        for value in list[Any](([], [0], [0, 0, 0, 0, 0], ["a", "b"], [None, 0], [[0, 0]], {}))
    ),
    *(
        {"type": "Point", "coordinates": value}
        for value in ([1e308, 1e308], [181, 0], [0, 91], [True, False], [1e30, 0])
    ),
    {"type": "LineString", "coordinates": [[0, 0]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
    {"type": "Polygon", "coordinates": []},
    {"type": "Polygon", "coordinates": [[]]},
    {"type": "MultiPolygon", "coordinates": [[[[0, 0]]]]},
    {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [0, 0]}]},
    {"type": "Polygon", "coordinates": [[[number / 1e5, number % 7] for number in range(50_000)] + [[0, 0]]]},
    {"type": "LineString", "coordinates": [[0, 0]] * 100_000},
]


@pytest.mark.parametrize("number", range(len(GEOMETRIES)))
async def test_impossible_geometries(judge: Judge, number: int) -> None:
    geometry = GEOMETRIES[number]
    body = {"id": "urn:x:1", "type": "T", "location": {"type": "GeoProperty", "value": geometry}}
    await judge.send("POST", "/entities", orjson.dumps(body))
    point = {
        "id": "urn:x:2",
        "type": "T",
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [0, 0]}},
    }
    await judge.send("POST", "/entities", orjson.dumps(point))
    kind, coordinates = (
        (geometry.get("type"), geometry.get("coordinates")) if isinstance(geometry, dict) else (geometry, 0)
    )
    for georel in ("near;maxDistance==5", "near;minDistance==0.001", "within", "intersects", "overlaps", "equals", "x"):
        query = {"type": "Query", "entities": [{"type": "T"}]}
        query |= {"geoQ": {"georel": georel, "geometry": kind, "coordinates": coordinates}}  # type: ignore[dict-item]
        await judge.send("POST", "/entityOperations/query", orjson.dumps(query))
        text = quote(orjson.dumps(coordinates).decode()[:16_000])
        await judge.send(
            "GET", f"/entities?type=T&georel={quote(georel)}&geometry={quote(str(kind))}&coordinates={text}"
        )


BOMBS = [
    *(
        "a~=(a+)+$",
        "a~=(a|a)*b",
        "a~=^(([a-z])+.)+[A-Z]([a-z])+$",
        "a~=" + "(" * 1000,
        "a~=a{1000}{1000}",
        "a~=.*" * 100,
    ),
    *("a!~=(.*)*(.*)*(.*)*$", "a~=[", "a~=\\", "a~=(?P<x", "a~=(?=a)", "a~=\\1", 'a=="\\', "a~=" + "x*" * 200),
    *(
        "'; DROP TABLE entity; --",
        "a==1;DELETE FROM change",
        "a==\"x' OR '1'='1\"",
        "a[b'c]==1",
        'a["b]==1',
        "a.b'c==1",
    ),
    *("(" * 5000, "(" * 30 + "a" + ")" * 30, ";".join(["a==1"] * 5000), "|".join(["a"] * 190), "a" + ".b" * 2000),
    *(
        "a" + "{b" * 1000,
        "a==" + ",".join(map(str, range(3000))),
        "a==1..",
        "a==1..2..3",
        "a==1e999",
        "a==" + "9" * 400,
    ),
    *(
        "a==2026-99-99",
        "a>=2026-01-01T00:00:00Z",
        "!",
        "!a==1",
        "a==\x00",
        "a==\ud800",
        "a[0][0]==1",
        "a[]==1",
        "==",
        "%",
    ),
]


@pytest.mark.parametrize("number", range(len(BOMBS)))
async def test_bombs_in_queries(judge: Judge, number: int) -> None:
    bomb = BOMBS[number]
    for item in range(20):
        await judge.client.post(
            "/entities", json={"id": f"urn:x:{item}", "type": "T", "a": "a" * 5000, "b": {"value": 1}}
        )
    encoded = quote(bomb, errors="replace")
    pattern = quote(bomb.removeprefix("a~="), errors="replace")
    for path in (
        f"/entities?type=T&q={encoded}",
        f"/entities?type=T&idPattern={pattern}",
        f"/entities?type=T&scopeQ={encoded}",
        f"/entities?type={encoded}",
        f"/entities?type=T&attrs={encoded}",
        f"/entities?type=T&pick={encoded}",
        f"/entities?type=T&orderBy={encoded}",
        f"/temporal/entities?type=T&timerel=before&timeAt=2030-01-01T00:00:00Z&q={encoded}",
        f"/entities?type=T&csf={encoded}",
        f"/types/{pattern}",
    ):
        await judge.send("GET", path)
    text = bomb.encode("utf-8", "replace").decode()
    for member in ("q", "scopeQ", "csf"):
        await judge.send(
            "POST",
            "/entityOperations/query",
            orjson.dumps({"type": "Query", "entities": [{"type": "T"}], member: text}),
        )
    subscription = {
        "type": "Subscription",
        "entities": [{"type": "T", "idPattern": text.removeprefix("a~=")}],
        "q": text,
        "notification": {"endpoint": {"uri": "http://127.0.0.1:1/"}},
    }
    await judge.send("POST", "/subscriptions", orjson.dumps(subscription))
    await judge.send("PATCH", "/entities/urn:x:1/attrs", orjson.dumps({"a": "b" * 5000}))
    left = await judge.send("GET", "/entities?type=T&limit=0&count=true")
    assert left.headers["ngsild-results-count"] == "20"
