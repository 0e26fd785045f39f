# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent to the writing resources, the answer is a 2xx or a 4xx problem, and what is stored can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madang.app import open_hub
from madang.base.settings import Settings
from madang.testing.client import Client

ID = "urn:x:1"
WORDS = [
    *("id", "type", "scope", "@id", "@type", "@value", "@none", "@context", "value", "object", "languageMap", "vocab"),
    *("json", "valueList", "objectList", "datasetId", "observedAt", "unitCode", "expiresAt", "createdAt", "modifiedAt"),
    *("Property", "Relationship", "LanguageProperty", "GeoProperty", "JsonProperty", "VocabProperty", "ListProperty"),
    *("Point", "Polygon", "coordinates", "location", "ngsildproof", "urn:ngsi-ld:null", ID, "urn:d:1", "T", "a", "b"),
    *("2026-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "/a", "", "a b", "http://127.0.0.1:9/a", "%", "\x00", "가"),
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**63, -(2**63), 1e308, 5e-324]),
    st.sampled_from(WORDS),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)),
    max_leaves=12,
)
VALID: list[dict[str, Any]] = [
    {"type": "Property", "value": {"a": 1, "b": ["x"]}, "unitCode": "CEL", "observedAt": "2026-01-01T00:00:00Z"},
    {"type": "Property", "value": 2, "datasetId": "urn:d:1", "a": {"type": "Property", "value": 1}},
    {"type": "Property", "value": "x", "expiresAt": "2020-01-01T00:00:00Z"},
    {"type": "Relationship", "object": ["urn:x:2"], "objectType": "T"},
    {"type": "LanguageProperty", "languageMap": {"ko": "가", "en": "a"}},
    {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2]}},
    {"type": "JsonProperty", "json": {"a": None}},
    {"type": "VocabProperty", "vocab": ["a"]},
    {"type": "ListProperty", "valueList": [1, {"a": 2}]},
    {"type": "ListRelationship", "objectList": ["urn:x:2"]},
]
# A valid attribute with at most one thing wrong or missing gets further than noise does.
attribute = st.one_of(
    anything,
    st.sampled_from(VALID),
    st.tuples(st.sampled_from(VALID), st.sampled_from(WORDS), anything).map(lambda it: {**it[0], it[1]: it[2]}),
    st.sampled_from(VALID).flatmap(
        lambda valid: st.sampled_from(list(valid)).map(
            lambda gone: {name: value for name, value in valid.items() if name != gone}
        )
    ),
)
attributes = st.one_of(attribute, attribute, st.lists(attribute, max_size=3))
entity = st.one_of(
    anything,
    st.tuples(
        st.dictionaries(st.sampled_from([*WORDS, *"cdefg"]), attributes, max_size=3),
        st.sampled_from([{"id": ID, "type": "T"}, {"id": "urn:x:2", "type": ["T", "U"]}]),
    ).map(lambda parts: {**parts[0], **parts[1]}),
    st.dictionaries(st.sampled_from("abcdefg"), attributes, max_size=3),
)
requests = st.one_of(
    st.tuples(st.just("POST"), st.just("/entities"), entity),
    st.tuples(st.sampled_from(["PATCH", "PUT"]), st.just(f"/entities/{ID}"), entity),
    st.tuples(
        st.just("PATCH"),
        st.sampled_from(
            [f"/entities/{ID}?format=simplified", f"/entities/{ID}?lang=en&observedAt=2026-01-01T00:00:00Z"]
        ),
        entity,
    ),
    st.tuples(
        st.sampled_from(["POST", "PATCH"]),
        st.sampled_from([f"/entities/{ID}/attrs", f"/entities/{ID}/attrs?options=noOverwrite"]),
        entity,
    ),
    st.tuples(
        st.sampled_from(["PATCH", "PUT", "DELETE"]),
        st.sampled_from([*WORDS, *"cdefg"]).map(lambda word: f"/entities/{ID}/attrs/{word.replace('%', '%25')}"),
        attributes,
    ),
    st.tuples(
        st.just("POST"),
        st.sampled_from(["create", "upsert", "upsert?options=update", "update", "merge", "delete"]).map(
            lambda name: f"/entityOperations/{name}"
        ),
        st.one_of(anything, st.lists(entity, max_size=3)),
    ),
)
media = st.sampled_from([*["application/json"] * 6, "application/ld+json", "application/merge-patch+json"])


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        yield Client(hub.application)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(requests, media), min_size=1, max_size=8))
async def test_the_answer_is_never_a_fault(client: Client, sent: list[tuple[tuple[str, str, Any], str]]) -> None:
    await client.delete("/entities?local=true")
    base = {"id": ID, "type": "T", "scope": "/a", **dict(zip("abcdefghi", VALID, strict=False))}
    assert (await client.post("/entities", json=base)).status == 201
    for (method, path, body), content_type in sent:
        response = await client.request(
            method, path, content=orjson.dumps(body), headers={"Content-Type": content_type}
        )
        problem = response.json() if response.status >= 400 and response.content else {}
        # A context that cannot be had is 504 by the standard (6.3.2).
        is_context = problem.get("type", "").endswith("LdContextNotAvailable")
        assert response.status < 500 or is_context, (method, path, body, problem)
        read = await client.get(f"/entities/{ID}?options=sysAttrs")
        assert read.status in (200, 404)
    found = await client.get("/entities?local=true&limit=1000")
    assert found.status == 200
