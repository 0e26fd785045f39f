# SPDX-License-Identifier: Apache-2.0
"""Whatever is asked, the answer is an answer: never a fault of the hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madang.app import open_hub
from madang.base.settings import Settings
from madang.testing.client import Client, ClientResponse

PARAMETERS = (
    *("id", "type", "idPattern", "attrs", "q", "georel", "geometry", "coordinates", "geoproperty", "scopeQ", "csf"),
    *("lang", "pick", "omit", "join", "joinLevel", "containedBy", "orderBy", "collation", "orderFrom"),
    *("orderGeometry", "datasetId", "expandValues", "jsonKeys", "local", "count", "limit", "offset", "options"),
    *("format", "geometryProperty", "entityMap", "entityMapLifetime", "splitEntities"),
)
PATHS = (
    "/entities",
    "/entities/urn:a",
    "/entityMaps",
    "/types",
    "/attributes",
    "/snapshots/urn:a",
    "/entityMaps/urn:a",
)
WORDS = (
    *(
        "",
        "T",
        "*",
        "a",
        "a{b}",
        "a,b",
        "(",
        "a;b",
        "a==1",
        'a{b{c}}=="x"',
        "true",
        "false",
        "0",
        "-1",
        "1e400",
        "9" * 30,
    ),
    *("flat", "inline", "@none", "urn:a", "near;maxDistance==1", "within", "Point", "[1,2]", "[[1,2]]", "[1e999,0]"),
    *(
        "und",
        "de-u-co-phonebk",
        "a;dist-asc",
        "sysAttrs",
        "simplified",
        "P1D",
        "(a+)+$",
        "\x00",
        "\ud800",
        "가",
        "null",
    ),
)
words = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
MEMBERS = (
    *(
        "type",
        "entities",
        "q",
        "geoQ",
        "scopeQ",
        "attrs",
        "pick",
        "omit",
        "csf",
        "containedBy",
        "datasetId",
        "entityMap",
    ),
    *("entityMapLifetime", "join", "joinLevel", "lang", "ordering", "splitEntities", "temporalQ", "aggrParams"),
    *("snapshotQueries", "snapshotTemporalQueries", "snapshotLifetime", "snapshotPriority", "endpoint", "id"),
)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        client = Client(hub.application)
        await client.post(
            "/entities", json={"id": "urn:a", "type": "T", "a": {"type": "Relationship", "object": "urn:a"}}
        )
        yield client


def fine(response: ClientResponse) -> None:
    assert response.status < 500, response.content
    if response.status >= 400:
        assert response.headers["content-type"] == "application/json"
        assert response.json()["detail"]


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"))


@MANY
@given(
    st.sampled_from(PATHS),
    st.dictionaries(st.sampled_from(PARAMETERS), words, max_size=4),
    st.sampled_from(["application/json", "application/ld+json", "application/geo+json"]),
)
async def test_any_parameters(client: Client, path: str, parameters: dict[str, str], accept: str) -> None:
    query = "&".join(f"{name}={encoded(value)}" for name, value in parameters.items())
    fine(await client.get(f"{path}?{query}", headers={"Accept": accept}))


def bodies(kind: str) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda members: {"type": kind, "entities": [{"type": "T"}], **members},
        st.dictionaries(st.sampled_from(MEMBERS), values, max_size=4),
    )


@MANY
@given(
    st.sampled_from(["/entityOperations/query", "/entityMaps", "/snapshots", "/snapshots/urn:s/clone"]),
    st.one_of(bodies("Query"), bodies("Snapshot"), values),
)
async def test_any_body(client: Client, path: str, body: Any) -> None:
    try:
        content = orjson.dumps(body)
    except TypeError:  # no JSON can say it
        return
    fine(await client.post(path, content=content, headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"5", b'"x"', b"[" * 100_000, b'{"a":' * 1000, b'{"type":NaN}', b'{"type":"\\ud800"}'],
)
@pytest.mark.parametrize("path", ["/entityOperations/query", "/entityMaps", "/snapshots"])
async def test_bodies_that_are_no_json_object(client: Client, path: str, content: bytes) -> None:
    response = await client.post(path, content=content, headers={"Content-Type": "application/json"})
    fine(response)
    assert response.status == 400


async def test_ids_of_every_kind(client: Client) -> None:
    for id in ("a", "%00", "%F0%9F%9A%97", "urn:x%20y", "http://a/b/c", "urn:" + "x" * 20_000, "..", "%2e%2e%2f"):
        for path in ("/entities/", "/types/", "/attributes/", "/entityMaps/", "/snapshots/"):
            fine(await client.get(path + id))
