# SPDX-License-Identifier: Apache-2.0
"""Every method of every route refuses what is wrong in words and changes nothing, whatever is wrong with it.

The routes are taken from the route table itself, so a new one is tried like all others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madang.app import open_hub
from madang.base.settings import Settings
from madang.testing.client import Client
from tests.api.bad_input import ROOT, Call, Judge, Tokens, calls_of, places, replaced

PARAMETERS = {
    *("attrs", "collation", "containedBy", "coordinates", "count", "csf", "datasetId", "deleteAll", "details"),
    *("entityMap", "entityMapLifetime", "expandValues", "format", "geometry", "geometryProperty", "geoproperty"),
    *("georel", "id", "idPattern", "join", "joinLevel", "jsonKeys", "keep", "kind", "lang", "lastN", "limit"),
    *("local", "observedAt", "offset", "omit", "options", "orderBy", "orderFrom", "orderGeometry", "pick", "q"),
    *("reload", "scopeQ", "splitEntities", "timeAt", "endTimeAt", "timeproperty", "timerel", "type"),
    *("aggrMethods", "aggrPeriodDuration", "firstN", "drop"),
}
VALUES = (
    *(
        "",
        "0",
        "-1",
        "1e3",
        "0x1",
        "9" * 40,
        "٣",
        "1.5",
        "true",
        "TRUE",
        "null",
        "a,b",
        ",",
        "a,,b",
        "(",
        ")",
        "[",
        '"',
    ),
    *(
        "T",
        "n",
        "urn:x:1",
        "*",
        "/a",
        "/#",
        "und",
        "sysAttrs",
        "simplified",
        "keyValues,sysAttrs",
        "normalized,concise",
    ),
    *(
        "near;maxDistance==1",
        "near;maxDistance==1e999",
        "near;maxDistance==-1",
        "within",
        "Point",
        "[1,2]",
        "[1e999,0]",
    ),
    *(
        "[[[[[[]]]]]]",
        "2026-01-01T00:00:00Z",
        "2026-13-45T99:99:99Z",
        "before",
        "between",
        "P1D",
        "PT0S",
        "P9999999999Y",
    ),
    *("n==1", "n>", 'n=="', "n=='a", "(((n)))", "n~=(a+)+$", "'; DROP TABLE entity; --", 'n=="x" OR 1=1', "a" * 5000),
    *(
        "%",
        "\x00",
        "\r\nX: y",
        "가",
        "\U0001f600",
        "%zz",
        "a{b{c{d}}}",
        "!n",
        "avg",
        "totalCount,avg,x",
        "flat",
        "@none",
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1.5, 2**63, -(2**63) - 1, 10**399, 5e-324, *Tokens.RAW]),
    st.sampled_from(
        ["", " ", "T", "n", "urn:x:1", "urn:ngsi-ld:null", "@none", "Property", "GeoProperty", "Point", "/a"]
    ),
    st.sampled_from(
        ["\x00", "\ud800", "가", "http://[", "a b", "2026-99-99T00:00:00Z", "'; DROP TABLE change; --", "(a+)+$"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=4),
)
KEYS = st.sampled_from(
    [
        *(
            "type",
            "id",
            "value",
            "object",
            "@context",
            "@id",
            "@value",
            "datasetId",
            "coordinates",
            "languageMap",
            "n",
            "",
        )
    ]
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
HEADERS = {
    "Accept": [
        "",
        ",",
        ";q=",
        "text/html",
        "*/*;q=0",
        "application/json;q=x",
        "a" * 9000,
        "\x00",
        "application/*",
        "é",
    ],
    "Content-Type": [
        "",
        "garbage",
        "application/json; charset=\x00",
        "application/ld+json",
        "text/plain",
        "é",
        "a/b" * 3000,
    ],
    "Link": [
        *("", "<", "<>", "<>; rel=", '<x>; rel="http://www.w3.org/ns/json-ld#context"', "garbage", "é", ",,,"),
        '<http://127.0.0.1:1/c>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"',
        '<file:///etc/passwd>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"',
        '<http://[::1>; rel="http://www.w3.org/ns/json-ld#context"',
        "<" * 5000,
        '<http://a.invalid/>; rel="http://www.w3.org/ns/json-ld#context", ' * 50,
    ],
    "Prefer": ["", "ngsi-ld=", "ngsi-ld=9.9", "ngsi-ld=1e400", "body=json", "\x00", "é"],
    "NGSILD-Tenant": [
        "",
        " ",
        "a\nb",
        "\x00",
        "é",
        "a" * 300,
        "../..",
        "'; DROP TABLE tenant; --",
        "nobody",
        "madang-snapshot-0",
    ],
    "NGSILD-Snapshot": ["", "x", "urn:nobody", "\x00", "é", "a b"],
    "NGSILD-EntityMap": ["", "x", "urn:nobody", "\x00", "é"],
    "If-Match": ["", "*", "x"],
    "Via": ["", "garbage", "1.1 " + "a" * 5000],
    "Content-Length": ["-1", "x", "1e3", "9" * 30],
}
QUIET = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), database=None)
BODIES = settings(QUIET, max_examples=12)


@pytest.fixture
async def judge(tmp_path: Path) -> AsyncIterator[Judge]:
    async with open_hub(Settings(access="open", data=tmp_path, sweep_s=3600.0, allow_private_addresses=True)) as hub:
        judge = Judge(hub, Client(hub.application))
        await seed(judge)
        yield judge


async def seed(judge: Judge) -> None:
    """Send every valid body once, so that there is something to be damaged."""
    for call in calls_of(judge.hub.application):
        if call.takes_body and "csource" not in call.route:
            await judge.send(call.method, call.path(), Tokens.text(call.body))


async def restore(judge: Judge, call: Call) -> None:
    """Make again what a request that was let through may have taken away."""
    if call.takes_body or call.method == "DELETE":
        for route in ("/entities", "/subscriptions", "/snapshots", "/temporal/entities"):
            making = Call("POST", ROOT + route)
            await judge.send("POST", making.path(), Tokens.text(making.body))


async def test_valid_requests_are_let_through(judge: Judge) -> None:
    """What is tried damaged below is good when it is whole; otherwise nothing would be tried at all."""
    for call in calls_of(judge.hub.application):
        if call.takes_body and "csource" not in call.route:
            response = await judge.send(call.method, call.path(), Tokens.text(call.body))
            without_id = "//" in call.route or (call.method in ("PATCH", "PUT") and call.route.endswith("/entities"))
            assert response.status in (200, 201, 204, 207, 409, 404) or without_id, (call, response)


@QUIET
@given(st.data())
async def test_wrong_parameters(judge: Judge, data: st.DataObject) -> None:
    for call in calls_of(judge.hub.application):
        names = data.draw(st.lists(st.sampled_from([*sorted(PARAMETERS), "unknown"]), min_size=1, max_size=3))
        pairs = [f"{name}={_quoted(data.draw(st.sampled_from(VALUES)), data)}" for name in names]
        content = Tokens.text(call.body) if call.takes_body else None
        await judge.send(call.method, f"{call.path()}?{'&'.join(pairs)}", content)
        if call.method == "DELETE":
            await restore(judge, call)


def _quoted(text: str, data: st.DataObject) -> str:
    return quote(text) if data.draw(st.integers(0, 5)) else quote(text, safe="%") + "%ff%"


async def test_repeated_and_unknown_parameters(judge: Judge) -> None:
    for call in calls_of(judge.hub.application):
        content = Tokens.text(call.body) if call.takes_body else None
        for query in ("limit=1&limit=2", "nobody=1", "%ff=1", "=", "&&&", "local=true&local=true", "a" * 20_000):
            response = await judge.send(call.method, f"{call.path()}?{query}", content)
            if query not in ("=", "&&&") and not call.route.startswith("/health"):
                assert response.status >= 400, (call, query)


@QUIET
@given(st.data())
async def test_wrong_headers(judge: Judge, data: st.DataObject) -> None:
    for call in calls_of(judge.hub.application):
        names = data.draw(st.lists(st.sampled_from(sorted(HEADERS)), min_size=1, max_size=2, unique=True))
        headers = {name: data.draw(st.sampled_from(HEADERS[name])) for name in names}
        content = Tokens.text(call.body) if call.takes_body else None
        await judge.send(call.method, call.path(), content, headers)


@QUIET
@given(st.data())
async def test_wrong_path_values(judge: Judge, data: st.DataObject) -> None:
    hostile = st.one_of(
        st.sampled_from([*VALUES, "..", "../../etc/passwd", "a/b", "http://a.example/b?c=d#e", "\ud800", "a" * 3000]),
        st.text(max_size=5),
    )
    for call in calls_of(judge.hub.application):
        if call.names:
            content = Tokens.text(call.body) if call.takes_body else None
            values = {name: data.draw(hostile).encode("utf-8", "replace").decode() for name in call.names}
            await judge.send(call.method, call.path(**values), content)


async def test_unknown_methods(judge: Judge) -> None:
    for route in {call.route for call in calls_of(judge.hub.application)}:
        for method in (
            "TRACE",
            "CONNECT",
            "PROPFIND",
            "get",
            "PUT",
            "DELETE",
            "POST",
            "PATCH",
            "HEAD",
            "OPTIONS",
            "X" * 300,
        ):
            if not any(call.route == route and call.method == method for call in calls_of(judge.hub.application)):
                response = await judge.send(method, Call(method, route).path())
                assert response.status in (204, 405, 200, 400, 404, 406, 422, 501), (method, route, response)


@BODIES
@given(st.data())
async def test_any_node_of_a_body_replaced(judge: Judge, data: st.DataObject) -> None:
    """Every writing route gets a valid body with something else in one place, or two."""
    for call in calls_of(judge.hub.application):
        if not call.takes_body:
            continue
        body: Any = call.body
        for _ in range(data.draw(st.integers(1, 2))):
            path = data.draw(st.sampled_from(list(places(body))))
            body = replaced(body, path, data.draw(ANYTHING))
        media = "application/json"
        if data.draw(st.integers(0, 3)) == 0 and isinstance(body, dict):
            media = "application/ld+json"
            body.setdefault("@context", data.draw(ANYTHING))
        await judge.send(call.method, call.path(), Tokens.text(body), media=media)
        await restore(judge, call)


async def test_every_truncation_of_a_body(judge: Judge) -> None:
    for call in calls_of(judge.hub.application):
        if call.takes_body:
            whole = Tokens.text(call.body)
            for end in {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
                response = await judge.send(call.method, call.path(), whole[:end])
                assert response.status >= 400, (call, whole[:end])
