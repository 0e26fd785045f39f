# SPDX-License-Identifier: Apache-2.0
"""The entity ordering language of clause 4.23."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.errors import BadRequestData, HubError, TooComplexQuery, Unsupported
from madang.model.entity import Document, Json
from madang.model.jsonld.context import CORE
from madang.model.query import collation, order
from madang.model.query.order import Order
from tests.query_samples import documents, orders


def entity(number: int, value: Json = None, **attributes: Json) -> Document:
    document: Document = {"id": f"urn:x:{number}", "type": "T"}
    if value is not None:
        document["a"] = {"type": "Property", "value": value}
    for name, held in attributes.items():
        document[name] = {"type": "Property", "value": held}
    return document


def ids(found: list[Document]) -> list[int]:
    return [int(document["id"].rpartition(":")[2]) for document in found]


def test_data_types_have_an_order() -> None:
    mixed = [3, -1.5, "text", {"k": 1}, [1], False, "10:00:00Z", "2026-01-01", "2026-01-01T00:00:00Z", None]
    listed = [entity(number, value) for number, value in enumerate(mixed)]
    null = {**entity(20), "a": {"type": "JsonProperty", "json": None}}
    rising = [1, 0, 2, 3, 4, 5, 6, 7, 8, 20, 9]
    assert ids(order.sort(order.parse("a", CORE), [*reversed(listed), null])) == rising
    # Falling, what is not there comes last all the same.
    assert ids(order.sort(order.parse("a;desc", CORE), [*listed, null])) == [8, 7, 6, 5, 4, 3, 2, 0, 1, 20, 9]


def test_several_keys_apply_in_turn() -> None:
    listed = [entity(1, "x", b=2), entity(2, "x", b=1), entity(3, "w", b=1)]
    assert ids(order.sort(order.parse("a,b", CORE), listed)) == [3, 2, 1]
    assert ids(order.sort(order.parse("a;desc,b;asc", CORE), listed)) == [2, 1, 3]
    assert ids(order.sort(order.parse(["b", "a;desc"], CORE), listed)) == [2, 3, 1]


def test_equal_ones_stay_as_they_were() -> None:
    listed = [entity(3, 1), entity(1, 1), entity(2, 1)]
    assert ids(order.sort(order.parse("a;desc", CORE), listed)) == [3, 1, 2]


def test_members_sub_attributes_and_parts_of_values() -> None:
    listed = [
        {**entity(1, {"city": "Berlin"}), "createdAt": "2026-01-02T00:00:00Z"},
        {**entity(2, {"city": "Amsterdam"}), "createdAt": "2026-01-01T00:00:00.5Z"},
    ]
    listed[0]["a"]["b"] = {"type": "Property", "value": 1}
    listed[1]["a"]["b"] = {"type": "Property", "value": 2}
    assert ids(order.sort(order.parse("a[city]", CORE), listed)) == [2, 1]
    assert ids(order.sort(order.parse("a.b", CORE), listed)) == [1, 2]
    assert ids(order.sort(order.parse("createdAt", CORE), listed)) == [2, 1]
    assert ids(order.sort(order.parse("id;desc", CORE), listed)) == [2, 1]


def test_the_first_instance_counts() -> None:
    several = entity(1)
    several["a"] = [{"type": "Property", "value": 5}, {"type": "Property", "value": 0, "datasetId": "urn:d:1"}]
    assert ids(order.sort(order.parse("a", CORE), [several, entity(2, 3)])) == [2, 1]


def place(number: int, geometry_type: str, coordinates: Any) -> Document:
    value = {"type": geometry_type, "coordinates": coordinates}
    return {"id": f"urn:x:{number}", "type": "T", "location": {"type": "GeoProperty", "value": value}}


def test_distance() -> None:
    listed = [
        {**entity(5), "location": {"type": "Property", "value": 3}},
        {**entity(4), "location": {"type": "Property", "value": 1}},
        entity(6),
        place(3, "Point", [10, 45]),
        place(1, "Point", [8.01, 40.01]),
        place(2, "LineString", [[9, 41], [12, 60]]),
    ]
    near = order.parse("location;dist-asc", CORE, order_from="[8,40]")
    assert ids(order.sort(near, listed)) == [1, 2, 3, 4, 5, 6]
    far = order.parse("location;dist-desc", CORE, order_from=[8, 40])
    assert ids(order.sort(far, listed)) == [3, 2, 1, 4, 5, 6]
    line = order.parse("location;dist-asc", CORE, order_from="[[10,44],[10,46]]", order_geometry="LineString")
    assert ids(order.sort(line, listed))[0] == 3


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"order_by": ""}, "orderBy"),
        ({"order_by": "a,"}, "orderBy"),
        ({"order_by": "a;up"}, "orderBy"),
        ({"order_by": "a;"}, "orderBy"),
        ({"order_by": "a;asc;desc"}, "orderBy"),
        ({"order_by": "a b"}, "orderBy"),
        ({"order_by": "a{b}"}, "orderBy"),
        ({"order_by": "a==1"}, "orderBy"),
        ({"order_by": "location;dist-asc"}, "orderFrom"),
        ({"order_by": "location;dist-asc", "order_from": "8,40"}, "orderFrom"),
        ({"order_by": "location;dist-asc", "order_from": "[8,400]"}, "orderFrom"),
        ({"order_by": "a", "order_geometry": 5}, "orderGeometry"),
        ({"order_by": "a", "order_geometry": "Circle"}, "orderGeometry"),
        ({"order_by": "location;dist-asc", "order_from": "[8,40]", "order_geometry": "Circle"}, "geometry"),
        ({"order_by": "a", "collation": "!!nope"}, "collation"),
        ({"order_by": "a", "collation": ""}, "collation"),
        ({"order_by": "a", "collation": "not a tag"}, "collation"),
        ({"order_by": "a", "collation": "und-u-ks-level9"}, "collation"),
        ({"order_by": "a", "collation": "u" * 2000}, "collation"),
    ],
)
def test_refusals(given: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        order.parse(context=CORE, **given)
    assert caught.value.where == where


def test_limit_of_keys() -> None:
    with pytest.raises(TooComplexQuery):
        order.parse(",".join(f"a{number}" for number in range(17)), CORE)


@settings(deadline=None)
@given(orders, st.lists(documents, max_size=6))
def test_every_pair_can_be_compared(keys: Order, found: list[Document]) -> None:
    ordered = order.sort(keys, found)
    assert sorted(map(id, ordered)) == sorted(map(id, found))
    for first, second in pairwise(ordered):
        assert not order.key(keys, second) < order.key(keys, first)


# ---------------------------------------------------------------------- collation


def words(tag: str | None, listed: list[str]) -> list[str]:
    chosen = collation.parse(tag)
    return sorted(listed, key=lambda word: collation.sort_key(word, chosen))


@pytest.mark.parametrize(
    ("tag", "listed", "expected"),
    [
        (None, ["b", "á", "A", "a"], ["a", "A", "á", "b"]),
        ("und", ["b", "á", "A"], ["A", "á", "b"]),
        ("und-x-icu", ["Zebra", "Ähre"], ["Ähre", "Zebra"]),
        ("de-u-co-phonebk", ["Azur", "Ähre", "Ader"], ["Ader", "Ähre", "Azur"]),
        ("und", ["Azur", "Ähre", "Ahorn"], ["Ahorn", "Ähre", "Azur"]),
        ("und-u-kn-true", ["b10", "b9", "b010", "b1"], ["b1", "b9", "b10", "b010"]),
        ("und-u-kn", ["10", "9"], ["9", "10"]),
        ("und-u-kf-upper", ["a", "A", "b", "B"], ["A", "a", "B", "b"]),
        ("ko", ["하", "가", "나", "각"], ["가", "각", "나", "하"]),
        ("en-US", ["b", "A"], ["A", "b"]),
    ],
)
def test_collations(tag: str | None, listed: list[str], expected: list[str]) -> None:
    assert words(tag, listed) == expected


def test_strength() -> None:
    def same(tag: str, first: str, second: str) -> bool:
        chosen = collation.parse(tag)
        return collation.sort_key(first, chosen) == collation.sort_key(second, chosen)

    assert same("und-u-ks-level1", "a", "Á")
    assert same("und-u-ks-level2", "a", "A")
    assert not same("und-u-ks-level2", "a", "á")
    assert not same("und", "a", "A")
    # Characters without weight count for nothing but identity.
    assert same("und", "ab", "a\u0000b")
    assert not same("und-u-ks-identic", "ab", "a\u0000b")


@pytest.mark.parametrize("tag", ["sv", "zh-u-co-pinyin", "und-u-ka-shifted", "en-u-co-phonebk"])
def test_orders_that_are_not_at_hand_are_not_faked(tag: str) -> None:
    with pytest.raises(Unsupported):
        collation.parse(tag)


simple = st.text(alphabet="aAbBzZ 019-_.가각나힣áÄé漢", max_size=5)


@settings(deadline=None)
@given(simple, simple)
def test_the_short_way_gives_the_same_order(first: str, second: str) -> None:
    from pyuca import Collator  # type: ignore[import-untyped]

    whole = _collator(Collator)
    by_table = collation.sort_key(first) < collation.sort_key(second)
    assert by_table is (whole.sort_key(first) < whole.sort_key(second))


_made: list[Any] = []


def _collator(kind: Any) -> Any:
    if not _made:
        _made.append(kind())
    return _made[0]


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_tag_is_read_or_refused(tag: str) -> None:
    with suppress(HubError):
        collation.parse(tag)
