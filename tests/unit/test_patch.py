# SPDX-License-Identifier: Apache-2.0
"""What each writing operation makes of an entity, example by example."""

from __future__ import annotations

from typing import Any

import pytest

from madang.base.errors import BadRequestData, NotFound
from madang.base.times import parse_date_time
from madang.model import patch
from madang.model.change import Operation, creation_changes
from madang.model.transient import live

NULL = "urn:ngsi-ld:null"
T0 = "2026-01-01T00:00:00Z"
T1 = "2026-01-01T00:00:01Z"
ID = "urn:ngsi-ld:Vehicle:1"


def stored(**members: Any) -> dict[str, Any]:
    return patch.create({"id": ID, "type": "Vehicle", **members}, T0)


def prop(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **more}


def bare(thing: Any) -> Any:
    """The same without createdAt and modifiedAt."""
    if isinstance(thing, dict):
        return {name: bare(value) for name, value in thing.items() if name not in ("createdAt", "modifiedAt")}
    return [bare(each) for each in thing] if isinstance(thing, list) else thing


def rows(changes: Any) -> list[tuple[Operation, str | None, str | None]]:
    return [(change.operation, change.attribute, change.dataset) for change in changes]


class TestCreate:
    def test_the_entity_comes_first_and_each_instance_has_a_row(self) -> None:
        document = {
            "id": ID,
            "type": ["Vehicle", "Car"],
            "scope": "/a",
            "speed": [prop(1), prop(2, datasetId="urn:d:1", observedAt="2026-01-01T00:00:00.5Z")],
            "brand": prop("x", source=prop("y")),
        }
        after = patch.create(document, T0)
        changes = creation_changes(after)
        assert rows(changes) == [
            (Operation.ENTITY_CREATED, None, None),
            (Operation.SCOPE_CHANGED, "scope", None),
            (Operation.ATTRIBUTE_CREATED, "speed", None),
            (Operation.ATTRIBUTE_CREATED, "speed", "urn:d:1"),
            (Operation.ATTRIBUTE_CREATED, "brand", None),
        ]
        assert [change.observed_us for change in changes] == [None, None, None, parse_date_time(T0) + 500_000, None]
        assert bare(after) == document
        assert after["brand"]["source"] == prop("y", createdAt=T0, modifiedAt=T0)
        assert after["createdAt"] == after["modifiedAt"] == after["speed"][1]["createdAt"] == T0

    def test_a_time_with_a_comma_and_nine_digits_is_understood(self) -> None:
        observed = prop(1, observedAt="2026-01-01T00:00:00,123456789Z")
        changes = patch.update(stored(), {"a": observed}, T1).changes
        assert changes[0].observed_us == parse_date_time(T0) + 123_456


class TestUpdate:
    def test_the_whole_instance_is_replaced_and_keeps_createdat(self) -> None:
        before = stored(temperature=prop(25, unitCode="CEL", observedAt=T0, accuracy=prop(1), depth=prop(2)))
        after, changes, updated, _ = patch.update(before, {"temperature": prop(100, accuracy=prop(3))}, T1)
        assert bare(after["temperature"]) == prop(100, accuracy=prop(3))
        assert (after["temperature"]["createdAt"], after["temperature"]["modifiedAt"]) == (T0, T1)
        assert after["temperature"]["accuracy"]["createdAt"] == T0
        assert (after["createdAt"], after["modifiedAt"]) == (T0, T1)
        assert rows(changes) == [(Operation.ATTRIBUTE_UPDATED, "temperature", None)]
        assert changes[0].previous is before["temperature"]
        assert changes[0].value is after["temperature"]
        assert updated == ["temperature"]

    def test_an_equal_value_has_a_row_too(self) -> None:
        assert rows(patch.update(stored(a=prop(1)), {"a": prop(1)}, T1).changes) == [
            (Operation.ATTRIBUTE_UPDATED, "a", None)
        ]

    def test_only_the_named_instance_is_touched(self) -> None:
        before = stored(speed=[prop(1), prop(2, datasetId="urn:d:1")])
        after = patch.update(before, {"speed": prop(3, datasetId="urn:d:1")}, T1).document
        assert after["speed"][0] is before["speed"][0]
        assert bare(after["speed"][1]) == prop(3, datasetId="urn:d:1")

    def test_a_new_default_instance_comes_first(self) -> None:
        before = stored(speed=prop(2, datasetId="urn:d:1"))
        after, changes, _, _ = patch.update(before, {"speed": prop(3)}, T1)
        assert bare(after["speed"]) == [prop(3), prop(2, datasetId="urn:d:1")]
        assert rows(changes) == [(Operation.ATTRIBUTE_CREATED, "speed", None)]

    @pytest.mark.parametrize(
        ("instance", "null"),
        [
            (prop(1), prop(NULL)),
            (prop(1), NULL),
            ({"type": "Relationship", "object": "urn:a"}, {"type": "Relationship", "object": NULL}),
            (
                {"type": "LanguageProperty", "languageMap": {"ko": "가"}},
                {"type": "LanguageProperty", "languageMap": {"@none": NULL}},
            ),
            ({"type": "ListProperty", "valueList": [1]}, {"type": "ListProperty", "valueList": [NULL]}),
            ({"type": "JsonProperty", "json": {"a": 1}}, {"type": "JsonProperty", "json": NULL}),
            ({"type": "VocabProperty", "vocab": "a"}, {"type": "VocabProperty", "vocab": NULL}),
        ],
    )
    def test_a_null_deletes_the_default_instance(self, instance: Any, null: Any) -> None:
        before = stored(a=[instance, {**instance, "datasetId": "urn:d:1"}], b=prop(2))
        after, changes, _, _ = patch.update(before, {"a": null}, T1)
        assert bare(after["a"]) == {**instance, "datasetId": "urn:d:1"}
        assert rows(changes) == [(Operation.ATTRIBUTE_DELETED, "a", None)]
        assert changes[0].value is not None
        assert changes[0].value["type"] == instance["type"]
        assert changes[0].value["deletedAt"] == T1
        assert changes[0].previous is before["a"][0]
        gone = patch.update(stored(a=instance, b=prop(2)), {"a": null}, T1).document
        assert bare(gone) == {"id": ID, "type": "Vehicle", "b": prop(2)}

    def test_nulls_within_a_replaced_instance_are_not_kept(self) -> None:
        before = stored(a=prop(1, unitCode="X", sub=prop(1), other=prop(2)))
        after = patch.update(before, {"a": prop(2, unitCode=NULL, sub=NULL, other=prop(NULL))}, T1).document
        assert bare(after["a"]) == prop(2)

    @pytest.mark.parametrize(
        "sent",
        [
            prop({"x": NULL}),
            prop({"x": [{"y": NULL}]}),
            {"type": "LanguageProperty", "languageMap": {"ko": NULL}},
            prop(1, sub=prop({"x": NULL})),
        ],
    )
    def test_a_null_inside_a_value_is_for_merges_only(self, sent: Any) -> None:
        before = stored(a={name: value for name, value in sent.items() if name != "sub"})
        with pytest.raises(BadRequestData):
            patch.update(before, {"a": sent}, T1)
        with pytest.raises(BadRequestData):
            patch.partial_update(before, "a", [sent], T1)

    def test_a_null_for_what_is_not_there_changes_nothing(self) -> None:
        before = stored(a=prop(1))
        after, changes, _, _ = patch.update(before, {"b": NULL, "a": prop(NULL, datasetId="urn:d:1")}, T1)
        assert after is before
        assert changes == []

    def test_types_are_added(self) -> None:
        after, changes, _, _ = patch.update(stored(), {"type": ["Car", "Vehicle"]}, T1)
        assert after["type"] == ["Vehicle", "Car"]
        assert rows(changes) == [(Operation.TYPE_CHANGED, None, None)]
        assert changes[0].value == {"type": ["Vehicle", "Car"]}
        assert patch.update(after, {"type": "Vehicle"}, T1).changes == []

    def test_scope_is_replaced_only_where_there_is_one(self) -> None:
        left = patch.update(stored(), {"scope": "/b"}, T1)
        assert (left.changes, [name for name, _ in left.not_updated]) == ([], ["scope"])
        after, changes, _, _ = patch.update(stored(scope="/a"), {"scope": "/b"}, T1)
        assert after["scope"] == "/b"
        assert rows(changes) == [(Operation.SCOPE_CHANGED, "scope", None)]
        gone, changes, _, _ = patch.update(after, {"scope": NULL}, T1)
        assert "scope" not in gone
        assert changes[0].value == {"type": "Property", "value": NULL, "deletedAt": T1}


class TestAppend:
    def test_without_overwrite_what_exists_stays(self) -> None:
        before = stored(a=prop(1), b=prop(1), scope="/a")
        fragment = {
            "a": prop(2),
            "b": [prop(2), prop(3, datasetId="urn:d:1")],
            "c": prop(4),
            "scope": ["/a", "/b"],
            "type": "Car",
        }
        after, changes, updated, not_updated = patch.append(before, fragment, T1, overwrite=False)
        assert after["a"] is before["a"]
        assert bare(after["b"]) == [prop(1), prop(3, datasetId="urn:d:1")]
        assert after["scope"] == ["/a", "/b"]
        assert after["type"] == ["Vehicle", "Car"]
        assert (updated, [name for name, _ in not_updated]) == (["b", "c"], ["a", "b"])
        assert rows(changes) == [
            (Operation.TYPE_CHANGED, None, None),
            (Operation.SCOPE_CHANGED, "scope", None),
            (Operation.ATTRIBUTE_CREATED, "b", "urn:d:1"),
            (Operation.ATTRIBUTE_CREATED, "c", None),
        ]

    def test_with_overwrite_the_scope_is_set(self) -> None:
        assert patch.append(stored(), {"scope": "/b"}, T1).document["scope"] == "/b"
        assert patch.append(stored(scope="/a"), {"scope": "/b"}, T1).document["scope"] == "/b"

    def test_only_an_expiry_touches_the_entity(self) -> None:
        after, changes, _, _ = patch.append(stored(), {"expiresAt": T1}, T0)
        assert after["expiresAt"] == T1
        assert rows(changes) == [(Operation.ENTITY_TOUCHED, None, None)]


class TestMerge:
    def test_values_and_sub_attributes_are_merged_at_depth(self) -> None:
        before = stored(
            address=prop(
                {"street": "A", "city": "Berlin", "country": "Germany", "geo": {"x": 1, "y": 2}},
                unitCode="X",
                source=prop({"a": 1, "b": 2}),
                other=prop(1),
            )
        )
        sent = prop(
            {"street": "B", "country": NULL, "geo": {"y": 3}, "new": {"z": NULL}},
            source=prop({"b": NULL, "c": 3}),
            other=NULL,
        )
        after, changes, _, _ = patch.merge(before, {"address": sent}, T1)
        assert bare(after["address"]) == prop(
            {"street": "B", "city": "Berlin", "geo": {"x": 1, "y": 3}, "new": {}},
            unitCode="X",
            source=prop({"a": 1, "c": 3}),
        )
        assert after["address"]["source"]["createdAt"] == T0
        assert rows(changes) == [(Operation.ATTRIBUTE_UPDATED, "address", None)]

    def test_a_new_attribute_carries_no_nulls(self) -> None:
        after = patch.merge(stored(), {"a": prop({"x": 1, "y": NULL}, sub=NULL, other=prop(NULL), unitCode=NULL)}, T1)
        assert bare(after.document["a"]) == prop({"x": 1})

    def test_a_language_is_added_and_one_removed(self) -> None:
        before = stored(name={"type": "LanguageProperty", "languageMap": {"ko": "가", "en": "a"}})
        sent = {"type": "LanguageProperty", "languageMap": {"en": NULL, "fr": "b"}}
        after = patch.merge(before, {"name": sent}, T1).document
        assert after["name"]["languageMap"] == {"ko": "가", "fr": "b"}

    def test_a_geometry_is_replaced_as_a_whole(self) -> None:
        polygon = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]], "bbox": [0, 0, 1, 1]}
        point = {"type": "Point", "coordinates": [0, 0]}
        before = stored(location={"type": "GeoProperty", "value": polygon})
        after = patch.merge(before, {"location": {"type": "GeoProperty", "value": point}}, T1).document
        assert after["location"]["value"] == point

    def test_another_type_takes_its_value_with_it(self) -> None:
        before = stored(a=prop(1, unitCode="X", observedAt=T0))
        after = patch.merge(before, {"a": {"type": "Relationship", "object": "urn:a"}}, T1).document
        assert bare(after["a"]) == {"type": "Relationship", "object": "urn:a", "observedAt": T0}

    def test_a_new_attribute_without_a_value_is_refused(self) -> None:
        with pytest.raises(BadRequestData):
            patch.merge(stored(), {"a": {"observedAt": T0}}, T1)

    def test_a_common_time_goes_to_those_that_had_one(self) -> None:
        before = stored(a=prop(1, observedAt=T0), b=prop(1), c=prop(1, observedAt=T0), d=prop(1, observedAt=T0))
        fragment = {"a": prop(2), "b": prop(2), "c": prop(2, observedAt="2020-01-01T00:00:00Z"), "e": prop(1)}
        after, changes, _, _ = patch.merge(before, fragment, T1, observed_at=T1)
        times = {name: after[name].get("observedAt") for name in "abcde"}
        assert times == {"a": T1, "b": None, "c": "2020-01-01T00:00:00Z", "d": T0, "e": None}
        assert changes[0].observed_us == parse_date_time(T1)

    def test_text_goes_to_the_common_language(self) -> None:
        before = stored(name={"type": "LanguageProperty", "languageMap": {"ko": "가", "en": "a"}}, b=prop("x"))
        after = patch.merge(before, {"name": prop("b"), "b": prop("y")}, T1, lang="en").document
        assert bare(after["name"]) == {"type": "LanguageProperty", "languageMap": {"ko": "가", "en": "b"}}
        assert bare(after["b"]) == prop("y")

    @pytest.mark.parametrize(
        ("target", "change", "result"),
        [  # the examples of RFC 7396 appendix A that apply, with NGSI-LD Null for null
            ({"a": "b"}, {"a": "c"}, {"a": "c"}),
            ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
            ({"a": "b"}, {"a": NULL}, {}),
            ({"a": "b", "b": "c"}, {"a": NULL}, {"b": "c"}),
            ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
            ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
            ({"a": {"b": "c"}}, {"a": {"b": "d", "c": NULL}}, {"a": {"b": "d"}}),
            ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
            (["a", "b"], ["c", "d"], ["c", "d"]),
            ({"a": "b"}, ["c"], ["c"]),
            ({"a": "foo"}, "bar", "bar"),
            ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
            ([1, 2], {"a": "b", "c": NULL}, {"a": "b"}),
            ({}, {"a": {"bb": {"ccc": NULL}}}, {"a": {"bb": {}}}),
        ],
    )
    def test_json_merge_patch(self, target: Any, change: Any, result: Any) -> None:
        assert patch.merge_json(target, change) == result


class TestPartialUpdate:
    def test_members_that_are_not_sent_stay(self) -> None:
        before = stored(temperature=prop({"a": 1, "b": 2}, unitCode="CEL", observedAt=T0, sub=prop(1), other=prop(1)))
        sent = {"value": {"a": 2}, "observedAt": T1, "sub": prop(2), "other": NULL}
        after, changes, _, _ = patch.partial_update(before, "temperature", [sent], T1)
        assert bare(after["temperature"]) == prop({"a": 2}, unitCode="CEL", observedAt=T1, sub=prop(2))
        assert after["temperature"]["createdAt"] == T0
        assert rows(changes) == [(Operation.ATTRIBUTE_UPDATED, "temperature", None)]

    def test_a_null_deletes_the_instance(self) -> None:
        before = stored(a=[prop(1), prop(2, datasetId="urn:d:1")])
        after, changes, _, _ = patch.partial_update(before, "a", [{"value": NULL, "datasetId": "urn:d:1"}], T1)
        assert bare(after["a"]) == prop(1)
        assert rows(changes) == [(Operation.ATTRIBUTE_DELETED, "a", "urn:d:1")]

    @pytest.mark.parametrize(
        "sent", [{"type": "Relationship", "object": "urn:a"}, {"object": "urn:a"}, {"languageMap": {"en": "a"}}, {}]
    )
    def test_the_type_cannot_change(self, sent: Any) -> None:
        with pytest.raises(BadRequestData):
            patch.partial_update(stored(a=prop(1)), "a", [sent], T1)

    @pytest.mark.parametrize(("name", "sent"), [("a", prop(1, datasetId="urn:d:1")), ("b", prop(1)), ("c", prop(1))])
    def test_the_instance_has_to_exist(self, name: str, sent: Any) -> None:
        before = stored(a=prop(1), b=prop(1, datasetId="urn:d:1"))
        for operation in (patch.partial_update, patch.replace_attribute):
            with pytest.raises(NotFound):
                operation(before, name, [sent], T1)


def test_replace_attribute_may_change_the_type() -> None:
    before = stored(a=prop(1, unitCode="X"))
    after = patch.replace_attribute(before, "a", [{"type": "Relationship", "object": "urn:a"}], T1).document
    assert bare(after["a"]) == {"type": "Relationship", "object": "urn:a"}
    assert (after["a"]["createdAt"], after["a"]["modifiedAt"]) == (T0, T1)


class TestDelete:
    def test_one_instance_or_all(self) -> None:
        before = stored(a=[prop(1), prop(2, datasetId="urn:d:1"), prop(3, datasetId="urn:d:2")], b=prop(1))
        after, changes, _, _ = patch.delete_attribute(before, "a", T1)
        assert [each["value"] for each in after["a"]] == [2, 3]
        assert rows(changes) == [(Operation.ATTRIBUTE_DELETED, "a", None)]
        after = patch.delete_attribute(before, "a", T1, dataset="urn:d:1").document
        assert [each["value"] for each in after["a"]] == [1, 3]
        assert patch.delete_attribute(before, "a", T1, dataset="@none").changes == changes
        after, changes, _, _ = patch.delete_attribute(before, "a", T1, delete_all=True)
        assert "a" not in after
        assert len(changes) == 3

    @pytest.mark.parametrize(
        ("name", "dataset", "delete_all"),
        [("b", None, False), ("b", None, True), ("a", "urn:d:1", False), ("scope", None, False)],
    )
    def test_what_is_not_there_is_not_found(self, name: str, dataset: str | None, delete_all: bool) -> None:
        with pytest.raises(NotFound):
            patch.delete_attribute(stored(a=prop(1)), name, T1, dataset=dataset, delete_all=delete_all)

    def test_the_scope(self) -> None:
        after, changes, _, _ = patch.delete_attribute(stored(scope="/a"), "scope", T1)
        assert "scope" not in after
        assert rows(changes) == [(Operation.SCOPE_CHANGED, "scope", None)]
        assert changes[0].previous == {"type": "Property", "value": "/a"}

    def test_the_entity(self) -> None:
        assert rows(patch.delete(stored(a=prop(1)))) == [(Operation.ENTITY_DELETED, None, None)]


class TestReplace:
    def test_the_content_is_new_and_createdat_stays(self) -> None:
        before = stored(a=[prop(1), prop(2, datasetId="urn:d:1")], b=prop(1), scope="/a", expiresAt=T1)
        document = {"id": ID, "type": "Car", "a": prop(3), "c": prop(1)}
        after, changes, _, _ = patch.replace(before, document, T1)
        assert bare(after) == document
        assert (after["createdAt"], after["modifiedAt"], after["a"]["createdAt"]) == (T0, T1, T1)
        assert rows(changes) == [
            (Operation.TYPE_CHANGED, None, None),
            (Operation.SCOPE_CHANGED, "scope", None),
            (Operation.ENTITY_TOUCHED, None, None),
            (Operation.ATTRIBUTE_UPDATED, "a", None),
            (Operation.ATTRIBUTE_DELETED, "a", "urn:d:1"),
            (Operation.ATTRIBUTE_CREATED, "c", None),
            (Operation.ATTRIBUTE_DELETED, "b", None),
        ]

    def test_of_nothing_by_nothing_still_tells(self) -> None:
        assert rows(patch.replace(stored(), {"id": ID, "type": "Vehicle"}, T1).changes) == [
            (Operation.ENTITY_TOUCHED, None, None)
        ]


def test_reduce_keeps_or_drops_members() -> None:
    before = stored(a=prop(1), b=[prop(1), prop(2, datasetId="urn:d:1")], scope="/a")
    dropped, changes, _, _ = patch.reduce(before, {"b", "x"}, T1, keep=False)
    assert bare(dropped) == {"id": ID, "type": "Vehicle", "a": prop(1), "scope": "/a"}
    assert len(changes) == 2
    kept, changes, _, _ = patch.reduce(before, {"a"}, T1, keep=True)
    assert bare(kept) == {"id": ID, "type": "Vehicle", "a": prop(1)}
    assert len(changes) == 3
    assert patch.reduce(before, {"x"}, T1, keep=False).document is before


def test_expire_tells_of_what_went() -> None:
    before = stored(
        a=[prop(1), prop(2, datasetId="urn:d:1", expiresAt=T0)],
        b=prop(1, expiresAt=T0),
        c=prop(1, expiresAt="2100-01-01T00:00:00Z"),
        d=prop(1, sub=prop(1, expiresAt=T0)),
    )
    valid = live(before, parse_date_time(T1))
    assert valid is not None
    after, changes = patch.expire(before, valid, T1)
    assert bare(after) == {
        "id": ID,
        "type": "Vehicle",
        "a": prop(1),
        "c": prop(1, expiresAt="2100-01-01T00:00:00Z"),
        "d": prop(1),
    }
    assert rows(changes) == [
        (Operation.ATTRIBUTE_DELETED, "a", "urn:d:1"),
        (Operation.ATTRIBUTE_DELETED, "b", None),
    ]
    assert all(change.value is not None and change.value["expiresAt"] == T0 for change in changes)
