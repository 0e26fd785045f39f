# SPDX-License-Identifier: Apache-2.0
"""What somebody with limits hears of a commit: visible states, visible rows, and what comes into sight or leaves it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from madang.model import patch
from madang.model.access import Grant, Right
from madang.model.change import Change, EntityCommit, Operation
from madang.model.permit import ALL, Permit
from madang.model.permit_commits import seen
from madang.model.subscription_matching import delta_of
from tests.permit_samples import AREAS, documents, grants, personal_names

READ = frozenset({Right.READ})
NOW = "2026-02-01T00:00:00Z"


def commit(
    before: dict[str, Any] | None, after: dict[str, Any] | None, changes: Any, *, replayed: bool = False
) -> EntityCommit:
    return EntityCommit(5, 9, "", 7, "urn:a", before, after, changes, replayed=replayed)


def at(longitude: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [longitude, 5]}}


def car(**members: Any) -> dict[str, Any]:
    return {"id": "urn:a", "type": "Car", "createdAt": NOW, "modifiedAt": NOW, **members}


@given(documents(), documents(), st.lists(grants(), max_size=3), personal_names())
def test_a_commit_holds_only_what_is_visible(
    before: dict[str, Any], other: dict[str, Any], some: list[Grant], personal: frozenset[str]
) -> None:
    permit = Permit(some, personal)
    patched = patch.replace(before, other, NOW)
    visible = seen(permit, commit(before, patched.document, tuple(patched.changes)))
    if visible is None:
        return
    assert visible.before == permit.visible(before) or visible.before is None
    assert visible.after == permit.visible(patched.document)
    lenses = [lens for lens in (permit.lens(before), permit.lens(patched.document)) if lens is not None]
    for change in visible.changes:
        if change.attribute not in (None, "scope"):
            assert any(lens.sees(change.attribute or "") for lens in lenses)
            for value in (change.value, change.previous):
                assert value is None or any(lens.show_value(change.attribute or "", value) == value for lens in lenses)
    assert (visible.commit, visible.sequence_last) == (5, 9)


@given(documents(), documents())
def test_without_limits_it_is_the_commit_itself(before: dict[str, Any], other: dict[str, Any]) -> None:
    patched = patch.replace(before, other, NOW)
    whole = commit(before, patched.document, tuple(patched.changes))
    assert seen(ALL, whole) is whole


def test_a_change_of_a_hidden_attribute_is_no_news() -> None:
    permit = Permit((Grant(READ, attributes=("speed",)),))
    before = car(speed={"type": "Property", "value": 1}, secret={"type": "Property", "value": 1})
    patched = patch.append(before, {"secret": {"type": "Property", "value": 2}}, NOW)
    assert seen(permit, commit(before, patched.document, tuple(patched.changes))) is None


def test_what_comes_into_the_area_was_created_and_what_leaves_it_deleted() -> None:
    permit = Permit((Grant(READ, area=AREAS[0]),))
    inside, outside = car(location=at(5)), car(location=at(50))
    moved = (Change(Operation.ATTRIBUTE_UPDATED, "urn:a", "location", value=at(5), previous=at(50)),)
    came, went = seen(permit, commit(outside, inside, moved)), seen(permit, commit(inside, outside, moved))
    assert came is not None
    assert went is not None
    created, deleted = delta_of(came), delta_of(went)
    assert created is not None
    assert deleted is not None
    assert created.entity_created
    assert created.document == inside
    assert deleted.entity_deleted
    assert went.after is None
    assert seen(permit, commit(outside, outside, moved)) is None


def test_a_deletion_that_is_heard_of_after_a_restart_is_told_by_types_alone() -> None:
    gone = (Change(Operation.ENTITY_DELETED, "urn:a", value={"type": ["Car", "Secret"]}),)
    told = seen(Permit((Grant(READ, types=("Car",)),)), commit(None, None, gone, replayed=True))
    assert told is not None
    assert told.changes[0].value == {"type": "Car"}
    assert seen(Permit((Grant(READ, types=("Bus",)),)), commit(None, None, gone, replayed=True)) is None
    assert seen(Permit((Grant(READ, area=AREAS[0]),)), commit(None, None, gone, replayed=True)) is None


def test_a_creation_is_told_with_visible_attributes() -> None:
    permit = Permit((Grant(READ, attributes=("speed",)),))
    after = car(speed={"type": "Property", "value": 1}, secret={"type": "Property", "value": 1})
    told = seen(permit, commit(None, after, None))
    assert told is not None
    assert [change.attribute for change in told.changes] == [None, "speed"]
    assert told.after is not None
    assert "secret" not in told.after
