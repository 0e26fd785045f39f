# SPDX-License-Identifier: Apache-2.0
"""Documents and questions by chance, small enough to meet each other often."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from madang.model.entity import Document
from madang.model.jsonld.context import CORE
from madang.model.query import geo, q, scope
from madang.model.query.geo import GeoQuery
from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection
from madang.model.query.order import Order, OrderKey
from madang.model.query.order import parse as parse_order
from madang.model.query.q import And, Expression, Kind, Link, Literal, Node, Or, Path, Range, Term
from madang.model.query.regex import compile as compile_regex

NAMES = ("a", "b", "https://example.org/c")
TYPES = ("T", "U", "https://example.org/V")
TEXTS = (
    *("", "a", "ab", "B", "é", "가", "z" * 130, "z" * 130 + "y", "x\0y", "urn:x:1", "urn:x:2", "https://example.org/V"),
    *("2026-01-01", "10:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00,25Z"),
    *("2026-02-30T00:00:00Z", "2026-01-02T00:00:00Z"),
)
NUMBERS = (-2, -1, 0, 1, 2, 0.5, 1.0, 1.5, 1e300, 2**53, 2**53 + 1, 2**63 + 5)
MOMENTS = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.500000Z", "2026-01-01T00:00:01Z", "2026-01-02T00:00:00Z")
URIS = ("urn:x:1", "urn:x:2")
MEMBERS = ("k", "m")
POSITIONS = ([0, 0], [1, 1], [0.001, 0.0005], [179.999, 0], [-179.999, 0.001], [10, 89.9], [0.5, 0.25, 7])

scalars = st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.booleans())
values = st.one_of(
    scalars,
    scalars,
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(st.sampled_from(MEMBERS), st.one_of(scalars, st.fixed_dictionaries({"k": scalars})), max_size=2),
    st.builds(lambda value: {"@type": "X", "@value": value}, scalars),
)
positions = st.sampled_from(POSITIONS)
RINGS = (
    [[0, 0], [1, 0], [1, 1], [0, 0]],
    [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]],
    [[-1, -1], [2, -1], [2, 2], [-1, 2], [-1, -1]],
)
geometries: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(lambda point: {"type": "Point", "coordinates": point}, positions),
    st.builds(lambda point: {"type": "Point", "coordinates": point}, positions),
    st.builds(lambda line: {"type": "LineString", "coordinates": line}, st.lists(positions, min_size=2, max_size=3)),
    st.builds(
        lambda points: {"type": "MultiPoint", "coordinates": points}, st.lists(positions, min_size=1, max_size=2)
    ),
    st.builds(lambda ring: {"type": "Polygon", "coordinates": [ring]}, st.sampled_from(RINGS)),
)
texts_or_lists = st.one_of(st.sampled_from(TEXTS), st.lists(st.sampled_from(TEXTS), max_size=2))


def instances(depth: int = 1) -> st.SearchStrategy[dict[str, Any]]:
    """One instance of an attribute, of any type, with sub-attributes down to a depth."""
    extras: dict[str, st.SearchStrategy[Any]] = {
        "observedAt": st.sampled_from(MOMENTS),
        "unitCode": st.sampled_from(("KMH", "a")),
    }
    if depth:
        extras["b"] = instances(depth - 1)
    uris = st.one_of(st.sampled_from(URIS), st.lists(st.sampled_from(URIS), min_size=1, max_size=2))
    languages = st.dictionaries(st.sampled_from(("en", "fr", "de-AT")), texts_or_lists, max_size=2)
    kinds: list[tuple[str, str, st.SearchStrategy[Any]]] = [
        ("Property", "value", values),
        ("Property", "value", scalars),
        ("GeoProperty", "value", geometries),
        ("Relationship", "object", uris),
        ("LanguageProperty", "languageMap", languages),
        ("VocabProperty", "vocab", st.one_of(st.sampled_from(TYPES), st.lists(st.sampled_from(TYPES), max_size=2))),
        ("JsonProperty", "json", st.one_of(values, st.none())),
        ("ListProperty", "valueList", st.lists(scalars, max_size=3)),
        ("ListRelationship", "objectList", st.lists(st.sampled_from(URIS), max_size=2)),
    ]
    return st.one_of(
        [
            st.fixed_dictionaries({"type": st.just(type_), member: held}, optional=extras)
            for type_, member, held in kinds
        ]
    )


nested_instances = instances()


@st.composite
def attributes(draw: st.DrawFn) -> Any:
    """One instance, or a list of instances with datasetIds."""
    count = draw(st.sampled_from((1, 1, 1, 2, 3)))
    found = [draw(nested_instances) for _ in range(count)]
    if count == 1:
        return found[0]
    default = draw(st.booleans())
    return [
        item if default and number == 0 else {**item, "datasetId": f"urn:d:{number}"}
        for number, item in enumerate(found)
    ]


documents: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {
        "id": st.sampled_from([f"urn:x:{number}" for number in range(50)]),
        "type": st.one_of(st.sampled_from(TYPES), st.just(["T", "U"])),
        "createdAt": st.sampled_from(MOMENTS),
        "modifiedAt": st.sampled_from(MOMENTS),
    },
    optional={
        "scope": st.one_of(st.sampled_from(("/a", "/a/b", "/c")), st.just(["/a/b/c", "/d"])),
        **{name: attributes() for name in NAMES},
    },
)
# At least one attribute, mostly a plain one: what a city has.
plain_attributes = st.one_of(
    st.builds(lambda value: {"type": "Property", "value": value}, scalars),
    st.builds(lambda value: {"type": "GeoProperty", "value": value}, geometries),
    attributes(),
)
lively_documents: st.SearchStrategy[Document] = st.builds(
    lambda document, held: {**document, "a": held}, documents, plain_attributes
)


def literal_of(text: str) -> Literal:
    """The literal that a text in a query stands for."""
    node = q.parse(f"a=={text}", CORE)
    assert isinstance(node, Term)
    assert isinstance(node.value, tuple)
    return node.value[0]


TEXT_LITERALS = [literal_of(json.dumps(text)) for text in TEXTS]
NUMBER_LITERALS = [literal_of(repr(number)) for number in (*NUMBERS, 2**70)]
BARE = ("true", "false", "urn:x:1", "https://example.org/V", "2026-01-01", "10:00:00Z", "word", *MOMENTS)
BARE_LITERALS = [literal_of(text) for text in BARE]
literals = st.one_of(st.sampled_from(TEXT_LITERALS), st.sampled_from(NUMBER_LITERALS), st.sampled_from(BARE_LITERALS))
ORDERED = (Kind.NUMBER, Kind.TEXT, Kind.DATE_TIME, Kind.DATE, Kind.TIME)
by_kind = {
    kind: st.sampled_from(
        [literal for literal in (*TEXT_LITERALS, *NUMBER_LITERALS, *BARE_LITERALS) if literal.kind is kind]
    )
    for kind in ORDERED
}
ordered_literals = st.one_of(list(by_kind.values()))
expressions = st.sampled_from(
    [Expression(text, compile_regex(text, "q")) for text in ("^a", "a|b", "(1|2)$", "\\d", '"', "")]
)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    low = draw(ordered_literals)
    return Range(low, draw(by_kind[low.kind]))


BELOW: tuple[tuple[str, ...], ...] = (
    *((), (), (), ("b",), ("observedAt",), ("unitCode",), ("b", "observedAt"), ("datasetId",)),
)
INSIDE: tuple[tuple[str, ...], ...] = ((), (), ("k",), ("m", "k"), ("en",), ("*",), ("de-AT",))
compared = st.one_of(st.lists(literals, min_size=1, max_size=3).map(tuple), ranges())


@st.composite
def paths(draw: st.DrawFn, *, links: bool = False) -> Path:
    first = draw(st.sampled_from((*NAMES, *NAMES, "createdAt", "id", "type", "scope")))
    found: tuple[Link, ...] = ()
    if links:
        found = tuple(
            Link(draw(st.sampled_from(NAMES)), tuple(draw(st.lists(st.sampled_from(TYPES), max_size=2, unique=True))))
            for _ in range(draw(st.integers(0, 2)))
        )
    if first not in NAMES:
        return Path((first,), links=found)
    below = draw(st.sampled_from(BELOW))
    members = draw(st.sampled_from(INSIDE))
    return Path((first, *below), members, members, found)


@st.composite
def terms(draw: st.DrawFn, *, links: bool = False) -> Term:
    path = draw(paths(links=links))
    operator = draw(st.sampled_from((None, "!", "==", "==", "!=", "<", "<=", ">", ">=", "~=", "!~=")))
    if operator in (None, "!"):
        return Term(path, operator)
    if operator in ("~=", "!~="):
        return Term(path, operator, draw(expressions))
    if operator in ("==", "!="):
        return Term(path, operator, draw(compared))
    return Term(path, operator, (draw(ordered_literals),))


def _nodes(*, links: bool) -> st.SearchStrategy[Node]:
    def several(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        parts = st.lists(children, min_size=2, max_size=3).map(tuple)
        return st.one_of(parts.map(lambda found: And(_flat(And, found))), parts.map(lambda found: Or(_flat(Or, found))))

    return st.recursive(terms(links=links), several, max_leaves=4)


def _flat(kind: type[And] | type[Or], parts: tuple[Node, ...]) -> tuple[Node, ...]:
    """A text cannot say that an AND stands inside an AND without parentheses, so neither do the samples."""
    flat: list[Node] = []
    for part in parts:
        flat.extend(part.terms if isinstance(part, kind) else (part,))
    return tuple(flat)


nodes = _nodes(links=False)
linked_nodes = _nodes(links=True)


@st.composite
def geo_queries(draw: st.DrawFn) -> GeoQuery:
    reference = draw(geometries)
    relation = draw(
        st.sampled_from(
            (
                *("near;maxDistance==1000", "near;maxDistance==200000", "near;minDistance==1000", "within"),
                *("contains", "overlaps", "intersects", "equals", "disjoint"),
            )
        )
    )
    parameters = {
        "georel": relation,
        "geometry": reference["type"],
        "coordinates": json.dumps(reference["coordinates"]),
        "geoproperty": draw(st.sampled_from(NAMES)),
    }
    found = geo.parse(parameters, CORE)
    assert found is not None
    return found


orders: st.SearchStrategy[Order] = st.one_of(
    st.lists(
        st.builds(
            OrderKey,
            st.one_of(paths(), st.sampled_from([Path((name,)) for name in NAMES])),
            st.booleans(),
            st.sampled_from((None, None, ("Point", "[0.5,0.5]"))),
        ),
        max_size=2,
    ).map(tuple),
    st.just(parse_order("a;desc", CORE)),
)
selections = st.sampled_from(
    (
        TypeSelection((("T",),)),
        TypeSelection((("T",), ("U",))),
        TypeSelection((("T", "U"),)),
        TypeSelection((("T", "U"), ("https://example.org/V",))),
    )
)
selectors = st.builds(
    EntitySelector,
    st.one_of(
        st.just(()), st.lists(st.sampled_from([f"urn:x:{n}" for n in range(9)]), min_size=1, max_size=6).map(tuple)
    ),
    st.sampled_from((None, None, "[12]$")),
    st.one_of(st.none(), selections, selections),
)
scopes = st.sampled_from([scope.parse(text) for text in ("/a", "/a/#", "/#", "(/a/b/c;/d)|/c", "/+/b")])
attribute_filters = st.sampled_from([("a",), ("b", "https://example.org/c")])
# Most questions ask for one thing, so that they have answers and do not have all of them.
queries: st.SearchStrategy[EntityQuery] = st.one_of(
    st.builds(EntityQuery, q=terms()),
    st.builds(EntityQuery, q=terms(), order=orders),
    st.builds(EntityQuery, q=nodes),
    st.builds(EntityQuery, q=nodes, order=orders, selectors=st.tuples(selectors)),
    st.builds(EntityQuery, geo=geo_queries()),
    st.builds(EntityQuery, geo=geo_queries(), order=orders, selectors=st.tuples(selectors)),
    st.builds(EntityQuery, order=orders),
    st.builds(EntityQuery, order=orders),
    st.builds(EntityQuery, selectors=st.lists(selectors, max_size=2).map(tuple), order=orders),
    st.builds(EntityQuery, scope=scopes, attributes=attribute_filters),
)
