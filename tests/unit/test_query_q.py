# SPDX-License-Identifier: Apache-2.0
"""The query language of clause 4.9: what is read, what is refused, what matches."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.errors import BadRequestData, HubError, LimitExceeded, TooComplexQuery
from madang.model.entity import Document, Json
from madang.model.jsonld.context import CORE, compile_context
from madang.model.query import csf, q
from madang.model.query.q import And, Node, Or, Term
from tests.query_samples import documents, linked_nodes, nodes

CITY = compile_context(
    "city",
    {
        "Male": "https://example.org/Male",
        "speed": "https://example.org/vocab#speed",
        "Device": "https://example.org/vocab#Device",
        "ex": "https://example.org/vocab#",
        "city": "https://example.org/vocab#city",
    },
    {},
)
CAR: Document = {
    "id": "urn:ngsi-ld:Vehicle:1",
    "type": "Vehicle",
    "scope": ["/a/b", "/c"],
    "createdAt": "2026-01-01T00:00:00Z",
    "modifiedAt": "2026-01-02T00:00:00.250000Z",
    "speed": {
        "type": "Property",
        "value": 55,
        "unitCode": "KMH",
        "observedAt": "2026-01-01T00:00:00.5Z",
        "accuracy": {"type": "Property", "value": 0.5},
    },
    "gear": [
        {"type": "Property", "value": 3},
        {"type": "Property", "value": 5, "datasetId": "urn:d:1"},
    ],
    "name": {"type": "Property", "value": "Eiffel Tower"},
    "open": {"type": "Property", "value": False},
    "tags": {"type": "Property", "value": ["red", "blue", 3]},
    "address": {"type": "Property", "value": {"city": "Berlin", "place": {"room": 4}}},
    "color": {"type": "LanguageProperty", "languageMap": {"en": "red", "fr": ["rouge", "chat"]}},
    "rel": {"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]},
    "one": {"type": "Relationship", "object": "urn:x:1"},
    "gender": {"type": "VocabProperty", "vocab": "https://example.org/Male"},
    "category": {"type": "VocabProperty", "vocab": "commercial"},
    "raw": {"type": "JsonProperty", "json": {"id": "1", "value": "Overstay", "nothing": None}},
    "series": {"type": "ListProperty", "valueList": [1, 2]},
    "stops": {"type": "ListRelationship", "objectList": ["urn:x:1"]},
    "built": {"type": "Property", "value": "1889-03-31"},
    "opens": {"type": "Property", "value": "09:30:00Z"},
    "made": {"type": "Property", "value": {"@type": "DateTime", "@value": "2020-01-01T00:00:00Z"}},
    "place": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [8, 40]}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # existence and absence
        ("speed", True),
        ("rpm", False),
        ("!rpm", True),
        ("!speed", False),
        ("!rpm;speed>25", True),
        # numbers
        ("speed==55", True),
        ("speed==5.5e1", True),
        ("speed!=55", False),
        ("speed>50;speed<60", True),
        ("speed>=55;speed<=55", True),
        ("speed>55", False),
        ("speed==50..60", True),
        ("speed!=50..60", False),
        ("speed==1,2,55", True),
        ("speed!=1,2", True),
        # a value of another data type: == and order never match, != does
        ('speed=="55"', False),
        ('speed!="55"', True),
        ('speed>"1"', False),
        ("open==0", False),
        ("open==false", True),
        ("open!=true", True),
        # absent attributes match no comparison
        ("rpm!=3", False),
        ("rpm==3", False),
        ('rpm!~="a"', False),
        # texts and patterns
        ('name=="Eiffel Tower"', True),
        ('name>"A"', True),
        ('name=="A".."F"', True),
        ('name~="^Eiffel"', True),
        ("name~=Tow.r$", True),
        ("name~=(Big|Eiffel);speed", True),
        ('name!~="^Eiffel"', False),
        ('name!~="^Pisa"', True),
        ('speed~="5"', False),
        ('speed!~="5"', False),
        # several instances: any of them
        ("gear==5", True),
        ("gear==3;gear==5", True),
        ("gear!=5", True),
        ("gear==4", False),
        ("gear.datasetId==urn:d:1", True),
        # arrays by membership
        ('tags=="blue"', True),
        ("tags==3,4", True),
        ('tags!="blue"', False),
        ('tags!="green"', True),
        ("tags>1", False),
        ("series==2", True),
        # paths
        ("speed.accuracy<=0.5", True),
        ("speed.observedAt>2026-01-01T00:00:00Z", True),
        ("speed.observedAt==2026-01-01T00:00:00.500Z", True),
        ('speed.observedAt>"2026-01-01T00:00:00Z"', True),
        ('speed.unitCode=="KMH"', True),
        ("speed.rpm", False),
        ("createdAt==2026-01-01T00:00:00.000Z", True),
        ("modifiedAt<2026-01-02T00:00:00.3Z", True),
        ("id==urn:ngsi-ld:Vehicle:1", True),
        ('scope=="/c"', True),
        # members of compound values
        ('address[city]=="Berlin"', True),
        ("address[place.room]==4", True),
        ("address[street]", False),
        ('address[street]!="x"', False),
        ("address[city.name]", False),
        ('raw[value]=="Overstay"', True),
        ("raw[nothing]", True),
        ("raw[absent]", False),
        # languages
        ('color[en]=="red"', True),
        ('color[EN]=="red"', True),
        ('color[en]=="rouge"', False),
        ('color[*]=="rouge"', True),
        ('color=="chat"', True),
        ('color[*]!="red"', False),
        ('color[en]!="rouge"', True),
        ('color[de]!="red"', False),
        ('color~="^r"', True),
        # relationships
        ("rel==urn:x:2", True),
        ('one=="urn:x:1"', True),
        ("one!=urn:x:1", False),
        ("rel!=urn:x:3", True),
        ('one>"urn:a"', False),
        ('one~="urn"', False),
        ("stops==urn:x:1", True),
        # vocabularies
        ('gender=="https://example.org/Male"', True),
        ("gender==Male", False),
        ("category==commercial", False),
        ('category=="https://uri.etsi.org/ngsi-ld/default-context/commercial"', True),
        # dates and times
        ("built<1900-01-01", True),
        ("built==1889-01-01..1889-12-31", True),
        ("opens>=09:30:00Z;opens<09:30:00.5Z", True),
        ("name>2020-01-01", False),
        ("made<2020-01-01T00:00:01Z", True),
        # geometries are values too
        ('place!="x"', True),
        ('place[type]=="Point"', True),
        # combination: AND before OR
        ("speed>90;rpm|name", True),
        ("speed>90;(rpm|name)", False),
        ("(speed>50|rpm>3000);open==false", True),
        ("((speed>50|rpm>3000);open==true)", False),
    ],
)
def test_matches(text: str, expected: bool) -> None:
    node = q.parse(text, CORE)
    assert q.matches(node, CAR) is expected
    assert q.parse(q.render(node, CORE), CORE) == node


def test_values_of_a_vocabulary_are_expanded_where_asked_for() -> None:
    assert q.matches(q.parse("gender==Male", CITY, expand_values=["gender"]), CAR)
    assert q.matches(q.parse("category==commercial", CORE, expand_values=["category"]), CAR)
    assert not q.matches(q.parse("gender==Female", CITY, expand_values=["gender"]), CAR)


def test_members_are_canonical_names_unless_the_attribute_is_opaque() -> None:
    document = {
        "id": "urn:x:1",
        "type": "T",
        "address": {"type": "Property", "value": {"https://example.org/vocab#city": "Berlin", "city": "Paris"}},
    }
    assert q.matches(q.parse('address[city]=="Berlin"', CITY), document)
    assert q.matches(q.parse('address[city]=="Paris"', CITY, json_keys=["address"]), document)


def test_names_are_those_of_the_context() -> None:
    for text in (
        "speed>50",
        "ex:speed>50",
        "https://example.org/vocab#speed>50",
        "<https://example.org/vocab#speed>>50",
    ):
        node = q.parse(text, CITY)
        assert isinstance(node, Term)
        assert node.path.names == ("https://example.org/vocab#speed",)
        assert q.render(node, CITY) == "speed>50"
        assert q.parse(q.render(node, CORE), CORE) == node


LINKED: dict[str, Document] = {
    "urn:x:1": {"id": "urn:x:1", "type": "Room", "humidity": {"type": "Property", "value": 40}},
    "urn:x:2": {
        "id": "urn:x:2",
        "type": "https://example.org/vocab#Device",
        "owner": {"type": "Relationship", "object": "urn:x:1"},
    },
}


@pytest.mark.parametrize(
    ("text", "expected", "depth"),
    [
        ("rel{humidity}==40", True, 1),
        ("rel{humidity}!=40", False, 1),
        ("rel{Room:humidity}==40", True, 1),
        ("rel{Device:humidity}==40", False, 1),
        ("rel{Device,Room:humidity}==40", True, 1),
        ("rel{Device:owner{Room:humidity}}==40", True, 2),
        ("rel{owner{humidity}}", True, 2),
        ("one{owner{humidity}}", False, 2),
        ("stops{humidity}>39;speed", True, 1),
        ("!rel{rpm}", True, 1),
    ],
)
def test_linked_queries(text: str, expected: bool, depth: int) -> None:
    node = q.parse(text, CITY)
    renamed = {**CAR, "https://example.org/vocab#speed": CAR["speed"]}
    assert q.matches(node, renamed, LINKED.get) is expected
    assert q.link_depth(node) == depth
    assert q.parse(q.render(node, CITY), CITY) == node
    # Without the other entities nothing is known of them.
    assert q.matches(node, CAR) is text.startswith("!")


def test_what_needs_linked_entities_can_be_told_apart() -> None:
    plain, linked = q.separate_links(q.parse("a;b{c};(d|e{f})", CORE))
    assert plain == q.parse("a", CORE)
    assert linked == q.parse("b{c};(d|e{f})", CORE)
    assert q.separate_links(q.parse("a", CORE)) == (q.parse("a", CORE), None)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "speed>", "speed==", "(speed", "speed)", "()", "speed;", "|speed", "a;;b", "a b", "9a", "a.", ".a"),
        *("a[b][c]", "a[b", "a[]", "a[b].c", "a{b", "a{}", "a{b}c", "a{:b}", "a==1..", "a==1..x", "a==1..2..3"),
        *("a>1..2", "a>true", "a>urn:x:1", "a>word", "a==1,", "a==1..2,3", 'a=="x', 'a=="\\ud800"', "a==1e999"),
        *("a==-", "a==01", "a==1a", "a==<b>", "a=3", "a===3", "a~=", 'a~="', 'a~="("', 'a~="(?=b)"', "a~=\\1"),
        *('a=="x".."', 'a==1.."x"', "a==2026-01-01..10:00:00Z", "))bad((", "a=='x'", "a==\x00", "<a>", "<urn:x", "!"),
        *("a==true..false", "http://", "a==1;b==", "é.", "a\ud800", "a==" + "9" * 5000),
    ],
)
def test_refusals_say_where_and_what_is_allowed(text: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        q.parse(text, CORE)
    assert caught.value.where == "q"
    assert re.search(r"q(, character \d+|:)", caught.value.detail)
    assert "allowed" in caught.value.detail


@pytest.mark.parametrize(
    "text",
    [
        "a" * 20_000,
        ";".join("a" * 201),
        "(" * 40 + "a" + ")" * 40,
        "a{" * 40 + "a" + "}" * 40,
        "a==" + "1," * 300 + "1",
    ],
)
def test_limits(text: str) -> None:
    with pytest.raises(TooComplexQuery):
        q.parse(text, CORE)


@settings(deadline=None)
@given(nodes)
def test_a_tree_survives_text(node: Node) -> None:
    assert q.parse(q.render(node, CORE), CORE) == node


@settings(deadline=None)
@given(linked_nodes)
def test_a_tree_with_links_survives_text_in_another_context(node: Node) -> None:
    text = q.render(node, CITY)
    assert q.render(q.parse(text, CITY), CITY) == text


@settings(deadline=None)
@given(st.text(alphabet='ab.[]{}()<>=!~;|,:"\\ -019eZT*é\ud800\x00', max_size=40))
def test_garbage_is_refused_and_nothing_else(text: str) -> None:
    with suppress(BadRequestData, LimitExceeded):
        node = q.parse(text, CORE)
        q.matches(node, CAR)
        assert q.render(node, CORE)
        csf.matches(csf.parse(text), {"a": {"b": 1}, "b": ["a", 1, None]})


@settings(deadline=None)
@given(st.text())
def test_any_text_is_refused_or_read(text: str) -> None:
    with suppress(HubError):
        q.parse(text, CORE)


@settings(deadline=None)
@given(nodes, documents)
def test_evaluation_keeps_the_laws_of_logic(node: Node, document: Document) -> None:
    result = q.matches(node, document)
    assert q.matches(And((node, node)), document) is result
    assert q.matches(Or((node, node)), document) is result
    if isinstance(node, Term) and node.operator == "!":
        assert q.matches(Term(node.path), document) is not result
    if isinstance(node, Term) and node.operator not in (None, "!"):
        # Whoever fulfils a comparison has the attribute.
        assert not result or q.matches(Term(node.path), document)


plain = st.one_of(st.integers(-2, 2), st.sampled_from(["", "a", "b"]), st.booleans())


def naive(value: Json, operator: str, wanted: Json) -> bool:
    """The comparisons of clause 4.9 on plain values, written the simplest way."""
    same_type = type(value) is type(wanted)
    table: dict[str, Any] = {
        "==": lambda: same_type and value == wanted,
        "!=": lambda: not same_type or value != wanted,
        "<": lambda: same_type and value < wanted,
        "<=": lambda: same_type and value <= wanted,
        ">": lambda: same_type and value > wanted,
        ">=": lambda: same_type and value >= wanted,
    }
    return bool(table[operator]())


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(plain, min_size=1, max_size=2), max_size=3),
    st.sampled_from("abc"),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    plain,
)
def test_comparisons_agree_with_a_naive_model(
    held: dict[str, list[Json]], name: str, operator: str, wanted: Json
) -> None:
    document = {
        key: [{"type": "Property", "value": item, "datasetId": f"urn:d:{number}"} for number, item in enumerate(items)]
        for key, items in held.items()
    }
    if isinstance(wanted, bool) and operator not in ("==", "!="):
        return
    text = f'"{wanted}"' if isinstance(wanted, str) else str(wanted).lower()
    expected = any(naive(value, operator, wanted) for value in held.get(name, []))
    assert q.matches(q.parse(f"{name}{operator}{text}", CORE), document) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('endpoint~="^https"', True),
        ("management.timeout>5", True),
        ("management[timeout]>50", False),
        ("tenant", False),
        ("!tenant", True),
        ('information.entities.type=="Vehicle"', True),
        ("quality==3", True),
        ("quality.unit", False),
    ],
)
def test_context_source_filter(text: str, expected: bool) -> None:
    registration = {
        "id": "urn:r:1",
        "endpoint": "https://example.org",
        "management": {"timeout": 10},
        "information": [{"entities": [{"type": "Vehicle"}]}],
        "quality": {"type": "Property", "value": 3},
    }
    assert csf.matches(csf.parse(text), registration) is expected


def test_which_attributes_a_query_looks_at() -> None:
    node = q.parse("a.b;(c{d}|createdAt>2026-01-01T00:00:00Z)", CORE)
    assert q.attribute_names(node) == {"a", "c"}
    assert q.names_attribute(node)
    assert not q.names_attribute(q.parse("createdAt", CORE))
