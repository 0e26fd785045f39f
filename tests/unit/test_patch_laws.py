# SPDX-License-Identifier: Apache-2.0
"""Laws that every writing operation keeps, whatever the entity and the fragment."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from madang.model import patch
from madang.model.change import Operation
from madang.model.entity import ENTITY_MEMBERS, as_list
from madang.model.patch import Patched

NULL = "urn:ngsi-ld:null"
T0 = "2026-01-01T00:00:00Z"
T1 = "2026-01-01T00:00:01Z"
NAMES = ["a", "b", "https://example.org/c"]
DATASETS = [None, "urn:d:1", "urn:d:2"]

values = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 5), st.sampled_from(["x", "y", ""])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("pqr"), inner, max_size=3)),
    max_leaves=6,
)
merged_values = st.recursive(
    st.one_of(st.just(NULL), st.integers(-5, 5), st.sampled_from(["x", "y"])),
    lambda inner: st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=6,
)


def language_maps(*, nulls: bool, merges: bool) -> st.SearchStrategy[Any]:
    texts = st.sampled_from(["x", "y", *([NULL] if merges else [])])
    maps = st.dictionaries(st.sampled_from(["ko", "en"]), texts, min_size=1, max_size=2)
    return st.one_of(maps, st.just({"@none": NULL})) if nulls else maps


def instances(value: st.SearchStrategy[Any], *, nulls: bool, depth: int = 1) -> st.SearchStrategy[Any]:
    def finish(parts: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
        return {**parts[0], **{name: part for name, part in parts[1].items() if part is not None}}

    null = [NULL] if nulls else []
    kinds = st.one_of(
        st.fixed_dictionaries({"type": st.just("Property"), "value": value}),
        st.fixed_dictionaries({"type": st.just("Relationship"), "object": st.sampled_from(["urn:x", "urn:y", *null])}),
        st.fixed_dictionaries(
            {
                "type": st.just("LanguageProperty"),
                "languageMap": language_maps(nulls=nulls, merges=value is merged_values),
            }
        ),
    )
    more: dict[str, st.SearchStrategy[Any]] = {
        "observedAt": st.sampled_from([None, T0, T1, *null]),
        "unitCode": st.sampled_from([None, "CEL", *null]),
    }
    if depth:
        more["sub"] = st.one_of(st.none(), attributes(value, nulls=nulls, depth=depth - 1))
    return st.tuples(kinds, st.fixed_dictionaries(more)).map(finish)


def attributes(value: st.SearchStrategy[Any], *, nulls: bool, depth: int = 1) -> st.SearchStrategy[Any]:
    def join(slots: dict[str | None, Any]) -> Any:
        listed = [
            instance if dataset is None else {**instance, "datasetId": dataset}
            for dataset, instance in sorted(slots.items(), key=lambda item: item[0] or "")
        ]
        return listed[0] if len(listed) == 1 else listed

    slots = st.dictionaries(
        st.sampled_from(DATASETS), instances(value, nulls=nulls, depth=depth), min_size=1, max_size=3
    ).map(join)
    return st.one_of(slots, st.just(NULL)) if nulls else slots


def members(*, nulls: bool) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "type": st.sampled_from(["T", "U", ["T", "U"]]),
        "scope": st.sampled_from(["/a", ["/a", "/b"], *([NULL] if nulls else [])]),
        "expiresAt": st.sampled_from(["2100-01-01T00:00:00Z", *([NULL] if nulls else [])]),
    }


documents = st.tuples(
    st.fixed_dictionaries(
        {"id": st.just("urn:x:1"), "type": members(nulls=False)["type"]},
        optional={"scope": members(nulls=False)["scope"], "expiresAt": members(nulls=False)["expiresAt"]},
    ),
    st.dictionaries(st.sampled_from(NAMES), attributes(values, nulls=False), max_size=3),
).map(lambda parts: {**parts[0], **parts[1]})
entities = documents.map(lambda document: patch.create(document, T0))


def fragments(value: st.SearchStrategy[Any], *, nulls: bool) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(
        st.fixed_dictionaries({}, optional=members(nulls=nulls)),
        st.dictionaries(st.sampled_from(NAMES), attributes(value, nulls=nulls), max_size=3),
    ).map(lambda parts: {**parts[0], **parts[1]})


operations: st.SearchStrategy[tuple[Callable[..., Patched], dict[str, Any]]] = st.one_of(
    st.tuples(st.just(patch.update), fragments(values, nulls=True)),
    st.tuples(st.just(patch.append), fragments(values, nulls=False)),
    st.tuples(
        st.just(lambda *given: patch.append(*given, overwrite=False)),
        fragments(values, nulls=False),
    ),
    st.tuples(st.just(patch.merge), fragments(merged_values, nulls=True)),
    st.tuples(st.just(patch.replace), documents),
    st.tuples(
        st.just(lambda before, names, now: patch.reduce(before, names, now, keep=True)),
        fragments(values, nulls=False),
    ),
)


def slots_of(document: dict[str, Any]) -> dict[tuple[str, str | None], Any]:
    return {
        (name, instance.get("datasetId")): instance
        for name, value in document.items()
        if name not in ENTITY_MEMBERS
        for instance in as_list(value)
    }


def bare(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {name: bare(value) for name, value in thing.items() if name not in ("createdAt", "modifiedAt")}
    return [bare(each) for each in thing] if isinstance(thing, list) else thing


def holds_null(thing: Any) -> bool:
    if isinstance(thing, dict):
        return any(holds_null(value) for value in thing.values())
    return any(holds_null(each) for each in thing) if isinstance(thing, list) else thing == NULL


@given(documents)
def test_what_is_created_is_what_was_sent(document: dict[str, Any]) -> None:
    given_document = copy.deepcopy(document)
    after = patch.create(document, T0)
    assert document == given_document
    assert bare(after) == document
    assert after["createdAt"] == after["modifiedAt"] == T0
    assert all(instance["createdAt"] == instance["modifiedAt"] == T0 for instance in slots_of(after).values())


@given(entities, operations)
def test_the_rows_make_the_new_state_of_the_old_one(
    before: dict[str, Any], operation: tuple[Callable[..., Patched], dict[str, Any]]
) -> None:
    apply, fragment = operation
    after, changes, _, _ = apply(before, fragment, T1)
    slots = slots_of(before)
    entity = {name: before.get(name) for name in ("type", "scope", "expiresAt")}
    for change in changes:
        key = (change.attribute, change.dataset)
        if change.operation is Operation.ATTRIBUTE_DELETED:
            assert change.previous == slots.pop(key)  # type: ignore[arg-type]
        elif change.operation in (Operation.ATTRIBUTE_CREATED, Operation.ATTRIBUTE_UPDATED):
            assert (change.operation is Operation.ATTRIBUTE_UPDATED) == (key in slots)
            assert change.previous is slots.get(key)  # type: ignore[arg-type]
            slots[key] = change.value  # type: ignore[index]
        elif change.operation is Operation.TYPE_CHANGED:
            entity["type"] = change.value["type"]  # type: ignore[index]
        elif change.operation is Operation.SCOPE_CHANGED:
            value = change.value["value"]  # type: ignore[index]
            entity["scope"] = None if value == NULL else value
        elif change.operation is Operation.ENTITY_TOUCHED:
            entity["expiresAt"] = (change.value or {}).get("expiresAt")
    assert slots == slots_of(after)
    assert entity == {name: after.get(name) for name in entity}
    if not changes:
        assert after is before


@given(entities, operations)
def test_nothing_given_is_changed_and_nothing_unnamed_is_touched(
    before: dict[str, Any], operation: tuple[Callable[..., Patched], dict[str, Any]]
) -> None:
    apply, fragment = operation
    copies = copy.deepcopy((before, fragment))
    after, changes, _, _ = apply(before, fragment, T1)
    assert (before, fragment) == copies
    assert after["createdAt"] == T0
    assert after["modifiedAt"] == (T1 if changes else T0)
    written = {(change.attribute, change.dataset) for change in changes}
    now = slots_of(after)
    for slot, instance in slots_of(before).items():
        if slot not in written:
            assert now[slot] is instance


@given(entities, operations)
def test_the_result_is_canonical(
    before: dict[str, Any], operation: tuple[Callable[..., Patched], dict[str, Any]]
) -> None:
    apply, fragment = operation
    after = apply(before, fragment, T1).document
    assert not holds_null(after)
    for name, value in after.items():
        if name not in ENTITY_MEMBERS and isinstance(value, list):
            datasets = [instance.get("datasetId") for instance in value]
            assert len(value) >= 2
            assert None not in datasets[1:]
            assert len(set(datasets)) == len(datasets)
    for instance in slots_of(after).values():
        assert instance["createdAt"] in (T0, T1)
        assert instance["modifiedAt"] in (T0, T1)
        for sub in as_list(instance.get("sub")):
            assert sub["createdAt"] in (T0, T1)


@given(entities, fragments(merged_values, nulls=True))
def test_a_merge_done_twice_is_a_merge_done_once(before: dict[str, Any], fragment: dict[str, Any]) -> None:
    once = patch.merge(before, fragment, T1).document
    assert patch.merge(once, fragment, T1).document == once


@given(entities, fragments(values, nulls=True))
def test_an_update_done_twice_is_an_update_done_once(before: dict[str, Any], fragment: dict[str, Any]) -> None:
    once = patch.update(before, fragment, T1).document
    assert patch.update(once, fragment, T1).document == once


@given(entities, fragments(values, nulls=False))
def test_without_overwrite_no_instance_changes(before: dict[str, Any], fragment: dict[str, Any]) -> None:
    after = slots_of(patch.append(before, fragment, T1, overwrite=False).document)
    for slot, instance in slots_of(before).items():
        assert after[slot] is instance


@given(entities, documents)
def test_a_replaced_entity_has_the_content_sent(before: dict[str, Any], document: dict[str, Any]) -> None:
    assert bare(patch.replace(before, document, T1).document) == document


@given(entities, fragments(values, nulls=False))
def test_partial_update_keeps_what_is_not_sent(before: dict[str, Any], fragment: dict[str, Any]) -> None:
    for (name, dataset), instance in slots_of(before).items():
        for sent in as_list(fragment.get(name)):
            if sent.get("datasetId") != dataset or sent["type"] != instance["type"]:
                continue
            patched = patch.partial_update(before, name, [sent], T1)
            after = slots_of(patched.document)[name, dataset]
            assert {member for member in instance if member not in sent} <= set(after)
            for member, value in sent.items():
                if member != "sub":
                    assert after[member] == value
