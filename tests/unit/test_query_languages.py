# SPDX-License-Identifier: Apache-2.0
"""The smaller languages: types (4.17), scopes (4.19), projection (4.21), dataset filter, regular expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.errors import BadRequestData, LimitExceeded, TooComplexQuery
from madang.model.entity import Document
from madang.model.jsonld.context import CORE, compile_context
from madang.model.query import projection, regex, scope, types
from madang.model.query.projection import Member, Projection
from madang.model.query.scope import ScopeAnd, ScopeOr, ScopePattern, ScopeQuery

CITY = compile_context("city", {"Building": "https://example.org/Building", "name": "https://example.org/name"}, {})

# ---------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("House", (("House",),)),
        ("Building|House", (("https://example.org/Building",), ("House",))),
        ("Building,House", (("https://example.org/Building",), ("House",))),
        ("(Home;Vehicle)", (("Home", "Vehicle"),)),
        ("(Home;Vehicle)|Motorhome", (("Home", "Vehicle"), ("Motorhome",))),
        ("A,(B;C),A", (("A",), ("B", "C"))),
        ("A;B", (("A", "B"),)),
        ("https://example.org/x#Y", (("https://example.org/x#Y",),)),
        ("https://uri.etsi.org/ngsi-ld/default-context/A", (("A",),)),
    ],
)
def test_type_selections(text: str, expected: tuple[tuple[str, ...], ...]) -> None:
    selection = types.parse(text, CITY)
    assert selection is not None
    assert selection.any_of == expected


def test_a_star_selects_every_type() -> None:
    assert types.parse("*", CITY) is None


def test_a_selection_fits_entities_with_more_types() -> None:
    selection = types.parse("(A;B)|C", CORE)
    assert selection is not None
    assert selection.fits(["B", "X", "A"])
    assert selection.fits(["C"])
    assert not selection.fits(["A"])


@pytest.mark.parametrize(
    "text", ["", ",", "A,", ",A", "A,,B", "(A", "A)", "()", "(A;)", "(A,B)", "((A;B))", "A B", '"A"', "A*"]
)
def test_wrong_type_selections(text: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        types.parse(text, CORE)
    assert caught.value.where == "type"


def test_too_many_types() -> None:
    with pytest.raises(TooComplexQuery):
        types.parse(",".join(f"A{number}" for number in range(201)), CORE)


# ---------------------------------------------------------------------- scopes

SCOPED: Document = {"scope": ["/Madrid/Gardens/ParqueNorte", "/CompanyA/OrganizationB/UnitC"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/Madrid/Gardens/ParqueNorte", True),
        ("/Madrid/Gardens", False),
        ("/Madrid/+/ParqueNorte", True),
        ("/+/Gardens/+", True),
        ("/+", False),
        ("/Madrid/#", True),
        ("/Madrid/Gardens/ParqueNorte/#", True),
        ("/Madrid/+/#", True),
        ("/Gardens/#", False),
        ("/#", True),
        ("/Madrid/#;/CompanyA/#", True),
        ("/Madrid/#;/CompanyB/#", False),
        ("/CompanyB,/Madrid/#", True),
        ("(/Madrid/#;/CompanyA/#)|/X", True),
        ("(/Madrid/#;/X)|/Y", False),
        ("/X;/Y|/Madrid/#", True),
        ("/X;(/Y|/Madrid/#)", False),
        ("Madrid/Gardens/ParqueNorte", True),
    ],
)
def test_scope_queries(text: str, expected: bool) -> None:
    query = scope.parse(text)
    assert scope.matches(query, SCOPED) is expected
    assert scope.parse(scope.render(query)) == query


def test_one_scope_is_not_a_list() -> None:
    assert scope.matches(scope.parse("/a"), {"scope": "/a"})
    assert not scope.matches(scope.parse("/#"), {})


@pytest.mark.parametrize(
    "text", ["", "/", "#", "/a/", "//a", "/a/#/b", "/a#", "/1", "/a-b", "(/a", "/a)", "/a;", "|/a", "/a b", "()"]
)
def test_wrong_scope_queries(text: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        scope.parse(text)
    assert caught.value.where == "scopeQ"


@pytest.mark.parametrize("text", ["(" * 40 + "/a" + ")" * 40, ",".join(["/a"] * 201), "/a" * 10_000])
def test_limits_of_scope_queries(text: str) -> None:
    with pytest.raises(TooComplexQuery):
        scope.parse(text)


levels = st.lists(st.sampled_from(["a", "B", "+", "가_1"]), min_size=1, max_size=3).map(tuple)
patterns = st.one_of(st.builds(ScopePattern, levels, st.booleans()), st.just(ScopePattern((), below=True)))


def _several(children: st.SearchStrategy[ScopeQuery]) -> st.SearchStrategy[ScopeQuery]:
    parts = st.lists(children, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(ScopeAnd, parts), st.builds(ScopeOr, parts))


@given(st.recursive(patterns, _several, max_leaves=5))
def test_a_scope_query_survives_text(query: ScopeQuery) -> None:
    assert scope.parse(scope.render(query)) == query


# ---------------------------------------------------------------------- projection

BUILDING: Document = {
    "id": "urn:x:1",
    "type": "https://example.org/Building",
    "scope": "/a",
    "createdAt": "2026-01-01T00:00:00Z",
    "https://example.org/name": {"type": "Property", "value": "x"},
    "rel": {"type": "Relationship", "object": "urn:x:2"},
}


def names_of(document: Document | None) -> list[str]:
    return sorted(document or ())


@pytest.mark.parametrize(
    ("pick", "omit", "attrs", "expected"),
    [
        ("name", None, None, ["https://example.org/name"]),
        ("id|name", None, None, ["https://example.org/name", "id"]),
        ("id,type,scope", None, None, ["id", "scope", "type"]),
        ("rel{name,id}", None, None, ["rel"]),
        ("https://example.org/name", None, None, ["https://example.org/name"]),
        ("nothing", None, None, []),
        (None, "name,id", None, ["createdAt", "rel", "scope", "type"]),
        (None, "rel{name}", None, ["createdAt", "https://example.org/name", "id", "rel", "scope", "type"]),
        ("id,name", "rel", None, ["https://example.org/name", "id"]),
        (None, None, "rel", ["createdAt", "id", "rel", "scope", "type"]),
        (None, None, "nothing", ["createdAt", "id", "scope", "type"]),
        (None, None, None, sorted(BUILDING)),
    ],
)
def test_projections(pick: str | None, omit: str | None, attrs: str | None, expected: list[str]) -> None:
    found = projection.parse(pick=pick, omit=omit, attrs=attrs, context=CITY)
    assert names_of(projection.apply(BUILDING, found)) == expected


def test_nothing_left_is_none() -> None:
    assert projection.apply(BUILDING, projection.parse(pick="nothing", context=CITY)) is None


def test_linked_entities_have_a_projection_of_their_own() -> None:
    found = projection.parse(pick=["id", "rel{id,far{name}}"], context=CITY)
    assert found.depth == 2
    assert found.linked("rel").pick == (Member("id"), Member("far", (Member("https://example.org/name"),)))
    assert found.linked("rel").linked("far").pick == (Member("https://example.org/name"),)
    assert found.linked("other") == Projection()
    omitted = projection.parse(omit="type,rel{name}", context=CITY)
    assert omitted.linked("rel").omit == (Member("https://example.org/name"),)


def test_which_attributes_select_entities() -> None:
    assert projection.parse(attrs="a,b", context=CORE).required_attributes() == ("a", "b")
    assert projection.parse(pick="a,b", context=CORE).required_attributes() == ("a", "b")
    # With a member that every entity has, something of every entity is left.
    assert projection.parse(pick="id,a", context=CORE).required_attributes() == ()
    assert projection.parse(omit="a", context=CORE).required_attributes() == ()


@pytest.mark.parametrize(
    "given",
    [
        *(
            {"pick": text}
            for text in ("", "id;name", "id,", ",id", "id,,name", "rel{name", "rel{{name}", "rel{}", "rel{,a}")
        ),
        *({"pick": text} for text in ("rel}", "a b", "a.b", "1a", "id,id", "rel{a},rel{b}", "rel{a,a}", '"a"')),
        {"pick": "name", "omit": "name"},
        {"pick": "name", "attrs": "a"},
        {"omit": "name", "attrs": "a"},
        {"attrs": ""},
        {"attrs": "a,,b"},
        {"attrs": "a b"},
    ],
)
def test_wrong_projections(given: dict[str, str]) -> None:
    with pytest.raises(BadRequestData) as caught:
        projection.parse(**given, context=CORE)
    assert caught.value.where in ("pick", "omit", "attrs")


@pytest.mark.parametrize("text", ["a{" * 40 + "a" + "}" * 40, ",".join(f"a{number}" for number in range(201))])
def test_limits_of_projections(text: str) -> None:
    with pytest.raises(TooComplexQuery):
        projection.parse(pick=text, context=CORE)


@given(st.text(alphabet="ab,|{}. :/é1", max_size=20))
def test_a_projection_survives_text(text: str) -> None:
    try:
        found = projection.parse(pick=text, context=CORE)
    except (BadRequestData, LimitExceeded):
        return
    assert found.pick is not None
    assert projection.parse(pick=projection.render(found.pick, CORE), context=CORE) == found


# ---------------------------------------------------------------------- datasets


SEVERAL: Document = {
    "id": "urn:x:1",
    "type": "T",
    "a": [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 2, "datasetId": "urn:d:2"},
        {"type": "Property", "value": 3, "datasetId": "urn:d:3"},
    ],
    "b": {"type": "Property", "value": 4},
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {"a": [1, 2, 3], "b": [4]}),
        ("@none", {"a": [1], "b": [4]}),
        ("urn:d:3", {"a": [3]}),
        ("urn:d:2,@none", {"a": [1, 2], "b": [4]}),
        (["urn:d:9"], {}),
    ],
)
def test_datasets(given: str | list[str] | None, expected: dict[str, list[int]]) -> None:
    selected = projection.select_datasets(SEVERAL, projection.parse_datasets(given))
    held = {
        name: [item["value"] for item in (value if isinstance(value, list) else [value])]
        for name, value in selected.items()
        if name not in ("id", "type")
    }
    assert held == expected
    # One instance is never a list.
    assert all(not isinstance(value, list) or len(value) > 1 for value in selected.values())


def test_a_dataset_is_a_uri() -> None:
    with pytest.raises(BadRequestData):
        projection.parse_datasets("x")


# ---------------------------------------------------------------------- regular expressions


def test_expressions_are_found_anywhere() -> None:
    pattern = regex.compile("x:[0-9]+$", "idPattern")
    assert regex.found(pattern, "urn:x:12")
    assert not regex.found(pattern, "urn:x:12a")
    assert not regex.found(pattern, "\ud800")


@pytest.mark.parametrize("text", ["(", "(?=a)", r"(a)\1", "a{1001}", "x" * 513, "\ud800", "[", "*"])
def test_wrong_expressions(text: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        regex.compile(text, "idPattern")
    assert caught.value.where == "idPattern"


def test_a_bomb_takes_linear_time() -> None:
    assert not regex.found(regex.compile("(a*)*b", "q"), "a" * 100_000)
