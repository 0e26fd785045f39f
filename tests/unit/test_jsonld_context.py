# SPDX-License-Identifier: Apache-2.0
"""Contexts: the core one, user ones, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from madang.base.errors import BadRequestData
from madang.base.limits import JSON_DEPTH_MAX
from madang.model.jsonld.context import CORE, MissingContextDocument, canonical_name, compile_context
from madang.model.jsonld.core_context import CORE_CONTEXT_URL, CORE_IRIS, core_document, core_version

CORE_18 = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld"
URL = "https://example.org/context.jsonld"
DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"
TERMS = {
    "ex": "https://example.org/",
    "Car": "https://example.org/Car",
    "speed": "https://example.org/speed",
    "velocity": "https://example.org/speed",
    "testedAt": {"@id": "ex:testedAt", "@type": "DateTime"},
    "plain": "ngsi-ld:default-context/normal",
    "notPrefix": {"@id": "https://example.org/deep/"},
    "location": "https://evil.example/location",
    "Property": "https://evil.example/Property",
    "id": "@id",
    "nothing": None,
}


def user(source: Any = TERMS, **documents: Any) -> Any:
    return compile_context("k", source, {f"https://example.org/{name}": body for name, body in documents.items()})


# --- The core context -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3, 10))
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_core_documents(scheme: str, version: int) -> None:
    document = core_document(f"{scheme}://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.{version}.jsonld")
    assert document is not None
    terms = document["@context"]
    assert terms["id"] == "@id"
    assert terms["@vocab"] == DEFAULT
    assert terms["observedAt"] == {"@id": "ngsi-ld:observedAt", "@type": "DateTime"}
    assert terms["coordinates"] == {"@id": "geojson:coordinates", "@container": "@list"}
    assert ("languageMap" in terms, "deletedAt" in terms, "vocab" in terms, "json" in terms, "pick" in terms) == (
        version >= 5,
        version >= 6,
        version >= 7,
        version >= 8,
        version >= 9,
    )
    assert terms.get("@protected", False) is (version >= 8)


def test_core_document_without_a_version_is_the_newest() -> None:
    url = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld"
    assert core_document(url) == core_document(CORE_CONTEXT_URL)
    assert core_version(url) == 9


@pytest.mark.parametrize(
    "url",
    [
        "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-non-existing.jsonld",
        "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.2.jsonld",
        "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.10.jsonld",
        "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld\n",
        "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld?x=1",
        "https://uri.etsi.org.evil.example/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld",
        "https://uri.etsi.org/ngsi-ld/v2/ngsi-ld-core-context-v1.9.jsonld",
        "",
    ],
)
def test_other_urls_are_no_core_context(url: str) -> None:
    assert core_document(url) is None


def test_core_terms_are_one_to_one() -> None:
    assert len(set(CORE_IRIS.values())) == len(CORE_IRIS)
    for term, iri in CORE_IRIS.items():
        assert CORE.expand(term) == CORE.expand(iri) == term
        assert CORE.compact(term) == term
        assert CORE.iri(term) == iri
        assert canonical_name(iri) == term


def test_core_context_names() -> None:
    assert CORE.key == "core"
    assert CORE.link == CORE_CONTEXT_URL
    assert CORE.expand("speed") == "speed"
    assert CORE.iri("speed") == DEFAULT + "speed"
    assert CORE.expand(DEFAULT + "speed") == "speed"
    assert CORE.expand("ngsi-ld:location") == "location"
    assert CORE.expand("ngsi-ld:own") == "https://uri.etsi.org/ngsi-ld/own"
    assert CORE.compact("https://uri.etsi.org/ngsi-ld/own") == "ngsi-ld:own"
    assert CORE.compact("https://example.org/x") == "https://example.org/x"
    # A name of the default vocabulary that the core @context took for something else stays a whole IRI.
    assert CORE.expand(DEFAULT + "value") == DEFAULT + "value"
    assert CORE.compact(DEFAULT + "value") == "ngsi-ld:default-context/value"
    assert CORE.expand("@type") == "type"
    assert CORE.expand("@value") == "@value"


# --- User contexts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "name", "compacted"),
    [
        ("Car", "https://example.org/Car", "Car"),
        ("speed", "https://example.org/speed", "speed"),
        ("velocity", "https://example.org/speed", "speed"),
        ("ex:other", "https://example.org/other", "ex:other"),
        ("https://example.org/other", "https://example.org/other", "ex:other"),
        ("testedAt", "https://example.org/testedAt", "testedAt"),
        ("plain", "normal", "plain"),
        ("normal", "normal", "plain"),
        ("other", "other", "other"),
        ("location", "location", "location"),
        ("Property", "Property", "Property"),
        ("https://evil.example/location", "https://evil.example/location", "https://evil.example/location"),
        (DEFAULT + "speed", "speed", "ngsi-ld:default-context/speed"),
        ("notPrefix:x", "notPrefix:x", "notPrefix:x"),
        ("https://example.org/deep/x", "https://example.org/deep/x", "ex:deep/x"),
        ("nothing", "nothing", "nothing"),
        ("urn:ngsi-ld:x", "urn:ngsi-ld:x", "urn:ngsi-ld:x"),
        ("ex://x", "ex://x", "ex://x"),
        ("id", "id", "id"),
    ],
)
def test_names_of_a_user_context(term: str, name: str, compacted: str) -> None:
    context = user()
    assert context.expand(term) == name
    assert context.compact(name) == compacted


def test_the_core_context_comes_last() -> None:
    for source in (TERMS, [TERMS, CORE_CONTEXT_URL], [CORE_CONTEXT_URL, TERMS]):
        context = user(source)
        assert context.expand("location") == "location"
        assert context.expand("Car") == "https://example.org/Car"
    # Its @vocab too (clause 4.4): a user's @vocab counts inside the user's own definitions only.
    context = user({"@vocab": "https://example.org/", "a": {"@type": "@id"}})
    assert context.expand("a") == "https://example.org/a"
    assert context.expand("b") == "b"


def test_later_contexts_win_over_earlier_ones() -> None:
    assert user([{"a": "urn:x:1"}, {"a": "urn:x:2"}]).expand("a") == "urn:x:2"
    assert user([{"a": "urn:x:1"}, None, {"b": "urn:x:2"}]).expand("a") == "a"
    assert user([{"a": "urn:x:1"}, {"a": None}]).expand("a") == "a"


def test_remote_contexts() -> None:
    documents = {
        "all.jsonld": {"@context": ["one.jsonld", "https://example.org/two.jsonld", CORE_18]},
        "one.jsonld": {"@context": {"a": "urn:x:1", "b": "urn:x:2"}},
        "two.jsonld": {"@context": {"b": "urn:x:3"}},
    }
    context = user("https://example.org/all.jsonld", **documents)
    assert (context.expand("a"), context.expand("b")) == ("urn:x:1", "urn:x:3")
    assert context.link == "https://example.org/all.jsonld"
    imported = user({"@version": 1.1, "@import": "https://example.org/one.jsonld", "b": "urn:x:4"}, **documents)
    assert (imported.expand("a"), imported.expand("b")) == ("urn:x:1", "urn:x:4")


def test_a_missing_document_is_asked_for() -> None:
    with pytest.raises(MissingContextDocument) as missing:
        user([{"a": "urn:x:1"}, URL])
    assert missing.value.url == URL
    with pytest.raises(MissingContextDocument) as missing:
        user("https://example.org/all.jsonld", **{"all.jsonld": {"@context": "../deep/one.jsonld"}})
    assert missing.value.url == "https://example.org/deep/one.jsonld"
    with pytest.raises(MissingContextDocument):
        user("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-non-existing.jsonld")


@pytest.mark.parametrize(
    ("source", "link"),
    [
        (CORE_18, CORE_18),
        ([CORE_18], CORE_18),
        ([], CORE_CONTEXT_URL),
        ({}, None),
        (TERMS, None),
        ([TERMS, CORE_18], None),
    ],
)
def test_links(source: Any, link: str | None) -> None:
    assert user(source).link == link
    assert user(source).source == source
    assert user(source).with_link(URL).link == URL


def test_a_lone_url_beside_the_core_context_is_the_link() -> None:
    documents = {URL: {"@context": TERMS}}
    assert compile_context("k", [URL, CORE_18], documents).link == URL
    assert compile_context("k", [CORE_18, URL], documents).link == URL
    assert compile_context("k", [URL, URL], documents).link is None


@pytest.mark.parametrize(
    "source",
    [
        5,
        True,
        [5],
        [[TERMS]],
        "no url",
        "",
        {"Car": {"@id": "urn:x:1", "@context": {"speed": "urn:x:2"}}},  # scoped (5.5.7)
        {"a": 5},
        {"a": ["urn:x:1"]},
        {"a": {"@id": 5}},
        {"a": {"@id": {"b": 1}}},
        {"a": {"@unknown": 1}},
        {"a": {"@id": "b"}, "b": {"@id": "a"}},  # refer to each other
        {"a": "b:x", "b": "a:x"},
        {"": "urn:x:1"},
        {"@version": 1.0},
        {"@version": "1.1"},
        {"@vocab": 5},
        {"@base": 5},
        {"@language": 5},
        {"@import": 5},
        {"@protected": True, "a": {"@id": "urn:x:1", "@type": {"b": 1}}},
        [{"@protected": True, "a": "urn:x:1"}, {"a": "urn:x:2"}],
        {"a": {"@container": {"b": 1}}},
        {"a": {"@id": "urn:x:1", "@prefix": 5}},
        {"a": {"@reverse": 5}},
        {f"p{n}": f"p{n + 1}:x" for n in range(5_000)},  # a chain
        {f"p:{n}": "urn:x:1" for n in range(5_000)},
    ],
)
def test_invalid_contexts(source: Any) -> None:
    with pytest.raises(BadRequestData):
        user(source)


def test_remote_contexts_that_are_none() -> None:
    documents: list[Any] = [[], {}, "x", {"@context": 5}, {"@context": {"a": {"@context": {}}}}, {"context": {}}]
    for document in documents:
        with pytest.raises(BadRequestData):
            compile_context("k", URL, {URL: document})


def test_contexts_that_refer_to_themselves() -> None:
    for documents in (
        {URL: {"@context": URL}},
        {URL: {"@context": [TERMS, "https://example.org/b"]}, "https://example.org/b": {"@context": [URL]}},
        {URL: {"@context": {"@import": URL}}},
        {f"https://example.org/{n}": {"@context": f"https://example.org/{n + 1}"} for n in range(50)}
        | {URL: {"@context": "/0"}},
        {URL: {"@context": ["https://example.org/b"] * 1_000}, "https://example.org/b": {"@context": {}}},
    ):
        with pytest.raises(BadRequestData):
            compile_context("k", URL, documents)


def test_reserved_and_unusable_terms_are_left_out() -> None:
    context = user({"@later": "urn:x:1", "parent": {"@reverse": "urn:x:2"}, "key": "@id", "a": "@later"})
    assert context.expand("parent") == "parent"
    assert context.expand("a") == "a"
    assert context.expand("@later") == "@later"


def test_values_of_a_user_context() -> None:
    context = user()
    value = {"speed": [{"Car": 1, "@value": 2}, None, [None]], "type": "Car", "gone": None}
    expanded = context.expand_value(value)
    assert expanded == {
        "https://example.org/speed": [{"https://example.org/Car": 1, "@value": 2}, []],
        "type": "Car",
    }
    assert context.compact_value(expanded) == {"speed": [{"Car": 1, "@value": 2}, []], "type": "Car"}
    for scalar in (1, 1.5, "speed", True, None):
        assert context.expand_value(scalar) is scalar
    with pytest.raises(BadRequestData):
        context.expand_value({"speed": 1, "velocity": 2})


def test_deep_values_are_refused() -> None:
    deep: Any = {}
    for _ in range(JSON_DEPTH_MAX + 2):
        deep = {"a": deep}
    with pytest.raises(BadRequestData):
        CORE.expand_value(deep)


def test_caches_are_bounded() -> None:
    for number in range(10_000):
        assert CORE.expand(f"term{number}") == f"term{number}"
    assert len(CORE.compact_names) < 5_000
    assert len(CORE.attribute_names) < 5_000


def test_a_large_context_is_compiled_in_reasonable_time() -> None:
    started = time.perf_counter()
    context = user({f"term{number}": f"https://example.org/{number}" for number in range(10_000)})
    assert context.expand("term9999") == "https://example.org/9999"
    assert time.perf_counter() - started < 10
