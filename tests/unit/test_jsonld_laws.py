# SPDX-License-Identifier: Apache-2.0
"""Laws of parsing and rendering, tried on entities and JSON nobody thought of."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.errors import InvalidInput
from madang.model.entity import NGSI_LD_NULL
from madang.model.jsonld.context import CORE, Context, MissingContextDocument, compile_context
from madang.model.jsonld.core_context import CORE_IRIS
from madang.model.jsonld.expand import parse_attribute, parse_entity, parse_fragment, parse_simplified, parse_temporal
from madang.model.jsonld.render import Representation, render

PREFIXES = {"ex": "https://example.org/", "odd": "https://example.org/a#", "ngsi": "https://uri.etsi.org/ngsi-ld/"}
OWN = {
    "speed": "ex:speed",
    "가속도": "ex:acceleration",
    "name": "https://schema.org/name",
    "label": "https://schema.org/name",
    "home": "ngsi-ld:default-context/house",
    "mine": "ngsi-ld:location",
    "value": "https://evil.example/value",
    "A": "odd:A",
}
CONTEXTS = [
    CORE,
    compile_context("own", [PREFIXES, OWN], {}),
    compile_context("swapped", [{"speed": "https://x.org/name", "name": "https://x.org/speed"}], {}),
]

plain_names = st.sampled_from(
    ["speed", "name", "label", "home", "house", "mine2", "가속도", "A", "b_1", "status", "title"]
)
names = plain_names | st.sampled_from(["https://example.org/other", "https://example.org/a#b", "p:q"])
uris = st.sampled_from(["urn:ngsi-ld:T:1", "urn:a:b", "https://a.org/x?y=z", "urn:도시:대전"])
times = st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S").zfill(19) + "Z")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda text: text != NGSI_LD_NULL)
scalars = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts
keys = names | st.sampled_from(["type", "value", "unitCode", "datasetId", "coordinates", "@type", "object"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
numbers = st.floats(-80, 80).map(lambda number: round(number, 4))
positions = st.tuples(numbers, numbers).map(list)
geometries = st.builds(lambda position: {"type": "Point", "coordinates": position}, positions) | st.builds(
    lambda line: {"type": "LineString", "coordinates": line}, st.lists(positions, min_size=2, max_size=3)
)
language_maps = st.dictionaries(
    st.sampled_from(["ko", "en-GB", "@none"]), texts | st.lists(texts, max_size=2), min_size=1
)


def with_members(base: st.SearchStrategy[dict[str, Any]], *, unit: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    extras: dict[str, st.SearchStrategy[Any]] = {"observedAt": times}
    if unit:
        extras |= {"unitCode": st.just("KMH"), "valueType": st.sampled_from(["xsd:double", "speed"])}
    return st.builds(lambda first, rest: first | rest, base, st.fixed_dictionaries({}, optional=extras))


def kind(name: str, member: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(name), member: value})


simple = st.one_of(
    with_members(kind("Property", "value", values | geometries), unit=True),
    with_members(kind("GeoProperty", "value", geometries)),
    with_members(kind("Relationship", "object", uris | st.lists(uris, min_size=1, max_size=2))),
    with_members(kind("LanguageProperty", "languageMap", language_maps)),
    with_members(kind("VocabProperty", "vocab", names | st.lists(names, min_size=1, max_size=2))),
    with_members(kind("JsonProperty", "json", st.dictionaries(texts, st.none() | scalars, max_size=3))),
    with_members(kind("ListProperty", "valueList", st.lists(values, max_size=3))),
    with_members(kind("ListRelationship", "objectList", st.lists(uris, max_size=3))),
)
instances = st.builds(lambda base, subs: base | subs, simple, st.dictionaries(names, simple, max_size=2))
attributes = instances | st.builds(
    lambda found, ids: [each | {"datasetId": id} for each, id in zip(found, ids, strict=False)],
    st.lists(instances, min_size=1, max_size=3),
    st.permutations(["@none", "urn:d:1", "urn:d:2"]),
)
entities = st.builds(
    lambda head, body: head | body,
    st.fixed_dictionaries(
        {"id": uris, "type": names | st.lists(names, min_size=1, max_size=3)},
        optional={"scope": st.sampled_from(["/a/b", ["/a", "b_1"]])},
    ),
    st.dictionaries(names, attributes, max_size=4),
)
contexts = st.sampled_from(CONTEXTS)


def parsed(entity: Any, context: Context) -> Any:
    """Two of the drawn names may mean one IRI, and a drawn value may claim to be a time: no entity then."""
    with contextlib.suppress(InvalidInput):
        return parse_entity(entity, context)
    return None


@settings(max_examples=150, deadline=None)
@given(entities, contexts, contexts, st.sampled_from(["normalized", "concise"]))
def test_lossless_representations(entity: Any, first: Context, second: Context, format: Any) -> None:
    document = parsed(entity, first)
    if document is None:
        return
    shown = render(document, second, Representation(format=format))
    assert parse_entity(orjson.loads(orjson.dumps(shown)), second) == document


@settings(max_examples=100, deadline=None)
@given(entities, contexts)
def test_canonical_documents_are_fixed_points(entity: Any, context: Context) -> None:
    document = parsed(entity, context)
    if document is not None:
        assert parse_entity(document, CORE) == document


@settings(max_examples=100, deadline=None)
@given(entities, contexts)
def test_simplified_geojson_and_languages_never_fail(entity: Any, context: Context) -> None:
    document = parsed(entity, context)
    if document is None:
        return
    for geojson in (False, True):
        for format in ("normalized", "concise", "simplified"):
            orjson.dumps(render(document, context, Representation(format=format, geojson=geojson, lang="ko")))


iris = st.builds(
    lambda start, rest: start + rest,
    st.sampled_from(
        [*PREFIXES.values(), "https://uri.etsi.org/ngsi-ld/default-context/", "https://schema.org/", "urn:x:"]
    ),
    st.text("ab/#:" + "speed", min_size=1, max_size=6) | plain_names | st.sampled_from(sorted(CORE_IRIS)),
)


@settings(max_examples=200, deadline=None)
@given(iris | st.sampled_from(sorted(CORE_IRIS.values())), contexts)
def test_compaction_undoes_expansion(iri: str, context: Context) -> None:
    name = CORE.expand(iri)
    assert CORE.expand(name) == name
    assert CORE.iri(name) == iri
    assert context.expand(context.compact(name)) == name


json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([NGSI_LD_NULL, "Property", "GeoProperty", "Point", "urn:a:b", "@none", "2026-01-31T08:30:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=4)
            | st.sampled_from(
                [
                    *(
                        "id",
                        "type",
                        "@type",
                        "@id",
                        "value",
                        "object",
                        "languageMap",
                        "vocab",
                        "json",
                        "valueList",
                        "objectList",
                    ),
                    *(
                        "datasetId",
                        "observedAt",
                        "unitCode",
                        "scope",
                        "location",
                        "coordinates",
                        "ngsildproof",
                        "dataset",
                    ),
                    *("@value", "@context", "valueType", "objectType", "expiresAt", "previousValue", "values", "speed"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(json, contexts)
def test_hostile_json_is_invalid_input_at_worst(data: Any, context: Context) -> None:
    entity = {"id": "urn:a:b", "type": "T", "speed": data}
    current = {"id": "urn:a:b", "type": "T", "speed": {"type": "Relationship", "object": "urn:a:b"}}
    for read in (
        lambda: parse_entity(data, context),
        lambda: parse_entity(entity, context),
        lambda: parse_fragment(entity, context, nulls=True),
        lambda: parse_fragment(data, context, nulls=True, merge=False),
        lambda: parse_fragment(data, context, nulls=False),
        lambda: parse_attribute("speed", data, context, nulls=True, partial=True),
        lambda: parse_attribute("location", data, context, nulls=False, partial=False),
        lambda: parse_simplified(entity, context, current),
        lambda: parse_simplified(entity, context, {"id": "urn:a:b", "type": "T"}),
        lambda: parse_temporal(entity, context, fragment=False),
        lambda: parse_temporal(data, context, fragment=True),
    ):
        with contextlib.suppress(InvalidInput):
            read()


@settings(max_examples=150, deadline=None)
@given(json)
def test_hostile_contexts_are_invalid_input_at_worst(source: Any) -> None:
    for candidate in (source, {"a": source}, [source, {"a": "urn:x:1"}]):
        with contextlib.suppress(InvalidInput, MissingContextDocument):
            context = compile_context("k", candidate, {"https://a.org/": {"@context": source}})
            assert context.expand("location") == "location"


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=3), st.text(max_size=5) | st.sampled_from(["@id", "ngsi-ld:x", "urn:x:1"]), max_size=4
    )
)
def test_hostile_terms_keep_the_core_context_intact(terms: dict[str, str]) -> None:
    with contextlib.suppress(InvalidInput):
        context = compile_context("k", terms, {})
        for term in ("id", "type", "value", "observedAt", "Property", "location"):
            assert context.expand(term) == term == context.compact(term)
