# SPDX-License-Identifier: Apache-2.0
"""Which writes grants cover: types and places before and after, every attribute that is touched, what expires."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.times import parse_date_time
from madang.model import patch
from madang.model.access import EVERYTHING, Grant, Right
from madang.model.change import Change, Operation, creation_changes
from madang.model.permit import Permit
from madang.model.permit_writing import WritingPermit
from tests.permit_samples import AREAS, documents, grants, personal_names

BOTH = frozenset({Right.WRITE, Right.DELETE})
WRITE = frozenset({Right.WRITE})
NOW = "2026-02-01T00:00:00Z"
NOW_US = parse_date_time(NOW)


def permit(*given_grants: Grant, personal: tuple[str, ...] = ()) -> WritingPermit:
    by_right = {
        right: Permit([grant for grant in given_grants if right in grant.rights], personal)
        for right in (Right.WRITE, Right.DELETE)
    }
    return WritingPermit(Permit(given_grants, personal), by_right[Right.WRITE], by_right[Right.DELETE])


def prop(value: Any, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, "createdAt": NOW, "modifiedAt": NOW, **members}


def place(longitude: float, latitude: float) -> dict[str, Any]:
    return {**prop({"type": "Point", "coordinates": [longitude, latitude]}), "type": "GeoProperty"}


def car(**members: Any) -> dict[str, Any]:
    return {"id": "urn:a", "type": "Car", "createdAt": NOW, "modifiedAt": NOW, **members}


def refusal(limits: WritingPermit, before: dict[str, Any] | None, patched: patch.Patched | None) -> str | None:
    if patched is None:
        assert before is not None
        return limits.refusal(before, None, patch.delete(before), now_us=NOW_US)
    return limits.refusal(before, patched.document, patched.changes, now_us=NOW_US)


def _changing(given_grants: list[Grant]) -> list[Grant]:
    return [replace(grant, rights=BOTH) for grant in given_grants]


# ---------------------------------------------------------------------- laws


@given(documents(), documents(), personal_names())
def test_grants_for_everything_refuse_nothing(
    before: dict[str, Any], other: dict[str, Any], personal: frozenset[str]
) -> None:
    limits = permit(Grant(BOTH, purpose="care"), personal=tuple(personal))
    assert refusal(limits, before, patch.replace(before, other, NOW)) is None
    assert refusal(limits, before, patch.append(before, other, NOW)) is None
    assert refusal(limits, before, None) is None
    assert limits.refusal(None, other, (), now_us=NOW_US) is None


@given(documents(), documents())
def test_without_a_grant_everything_is_refused(before: dict[str, Any], other: dict[str, Any]) -> None:
    limits = permit()
    assert refusal(limits, before, None)
    assert limits.refusal(None, other, creation_changes(other), now_us=NOW_US)
    patched = patch.replace(before, other, NOW)
    assert refusal(limits, before, patched)


@given(documents(), documents(), st.lists(grants(), max_size=3), grants(), personal_names())
def test_more_grants_never_refuse_more(
    before: dict[str, Any], other: dict[str, Any], few: list[Grant], more: Grant, personal: frozenset[str]
) -> None:
    def judged(given_grants: list[Grant], patched: patch.Patched | None) -> str | None:
        both = [
            Grant(BOTH, types=g.types, attributes=g.attributes, area=g.area, purpose=g.purpose) for g in given_grants
        ]
        return refusal(permit(*both, personal=tuple(personal)), before, patched)

    for patched in (patch.replace(before, other, NOW), patch.append(before, other, NOW), None):
        if judged(few, patched) is None:
            assert judged([*few, more], patched) is None


@given(documents(), documents(), st.lists(grants(), max_size=3), personal_names())
def test_a_write_that_is_covered_leaves_what_is_hidden_as_it_was(
    before: dict[str, Any], other: dict[str, Any], some: list[Grant], personal: frozenset[str]
) -> None:
    """Whoever sees what he may write cannot change anything else, whatever he sends."""
    limits = permit(*_changing(some), personal=tuple(personal))
    for patched in (patch.replace(before, other, NOW), patch.append(before, other, NOW)):
        if not patched.changes or refusal(limits, before, patched) is not None:
            continue
        lens = limits.write.lens(before)
        assert lens is not None
        for name in before:
            if name not in ("type", "modifiedAt", "scope") and not (name in other and lens.sees(name)):
                assert lens.sees(name) or patched.document.get(name) == before[name]


# ---------------------------------------------------------------------- cases


def test_an_attribute_that_is_not_granted_is_not_written() -> None:
    limits = permit(Grant(BOTH, attributes=("speed",)))
    before = car(speed=prop(1), brand=prop("x"))
    assert refusal(limits, before, patch.append(before, {"speed": prop(2)}, NOW)) is None
    assert "brand" in str(refusal(limits, before, patch.append(before, {"brand": prop(2)}, NOW)))
    assert "load" in str(limits.refusal(None, car(speed=prop(1), load=prop(1)), (), now_us=NOW_US))


def test_a_replaced_entity_must_not_lose_what_is_not_the_callers() -> None:
    limits = permit(Grant(BOTH, attributes=("speed",)))
    before = car(speed=prop(1), brand=prop("x"))
    assert refusal(limits, before, patch.replace(before, car(speed=prop(2)), NOW)) is not None
    only_speed = car(speed=prop(1))
    assert refusal(limits, only_speed, patch.replace(only_speed, car(speed=prop(2)), NOW)) is None


def test_taking_away_needs_the_right_to_delete() -> None:
    limits = permit(Grant(WRITE))
    before = car(speed=prop(1), brand=prop("x"))
    assert refusal(limits, before, patch.delete_attribute(before, "speed", NOW)) is not None
    assert refusal(limits, before, None) is not None
    assert refusal(limits, before, patch.append(before, {"speed": prop(2)}, NOW)) is None


def test_an_entity_cannot_be_moved_out_of_the_area_or_into_it() -> None:
    limits = permit(Grant(BOTH, area=AREAS[0]))
    inside, outside = car(location=place(5, 5)), car(location=place(50, 5))
    assert refusal(limits, inside, patch.append(inside, {"location": place(6, 6)}, NOW)) is None
    assert refusal(limits, inside, patch.append(inside, {"location": place(50, 5)}, NOW)) is not None
    assert refusal(limits, outside, patch.append(outside, {"location": place(5, 5)}, NOW)) is not None
    assert refusal(limits, inside, patch.delete_attribute(inside, "location", NOW)) is not None
    assert limits.refusal(None, car(), (), now_us=NOW_US) is not None
    assert limits.refusal(None, car(), (), now_us=NOW_US, vague=True) is None


def test_all_types_before_and_after_must_be_granted() -> None:
    limits = permit(Grant(BOTH, types=("Car",)))
    before = {**car(speed=prop(1)), "type": ["Car", "PoliceCar"]}
    assert refusal(limits, before, patch.append(before, {"speed": prop(2)}, NOW)) is not None
    plain = car(speed=prop(1))
    assert refusal(limits, plain, patch.append(plain, {"type": "PoliceCar"}, NOW)) is not None


def test_personal_attributes_need_a_purpose_also_inside_others() -> None:
    limits = permit(Grant(BOTH), personal=("phone",))
    before = car(speed=prop(1, phone=prop("1")), brand=prop("x"))
    assert refusal(limits, before, patch.append(before, {"phone": prop("2")}, NOW)) is not None
    assert refusal(limits, before, patch.append(before, {"speed": prop(2)}, NOW)) is not None  # it would lose the phone
    assert (
        refusal(limits, before, patch.partial_update(before, "speed", [{"type": "Property", "value": 2}], NOW)) is None
    )
    assert refusal(limits, before, patch.append(before, {"brand": prop("y")}, NOW)) is None
    assert refusal(limits, before, None) is not None
    cared = permit(Grant(BOTH, purpose="care"), personal=("phone",))
    assert refusal(cared, before, None) is None


def test_what_has_expired_may_be_taken_away_by_anybody() -> None:
    limits = permit(Grant(WRITE))
    over = car(speed=prop(1), expiresAt="2026-01-01T00:00:00Z")
    assert refusal(limits, over, None) is None
    gone = Change(
        Operation.ATTRIBUTE_DELETED, "urn:a", "speed", value={"type": "Property", "expiresAt": "2026-01-01T00:00:00Z"}
    )
    assert limits.refusal(car(speed=prop(1)), car(), [gone], now_us=NOW_US) is None
    live = gone._replace(value={"type": "Property", "expiresAt": "2027-01-01T00:00:00Z"})
    assert limits.refusal(car(speed=prop(1)), car(), [live], now_us=NOW_US) is not None


def test_only_who_may_write_all_of_an_entity_says_when_it_expires() -> None:
    before, after = car(speed=prop(1)), car(speed=prop(1), expiresAt="2027-01-01T00:00:00Z")
    touched = [Change(Operation.ENTITY_TOUCHED, "urn:a")]
    assert permit(Grant(BOTH, attributes=("speed",))).refusal(before, after, touched, now_us=NOW_US) is not None
    assert permit(Grant(BOTH)).refusal(before, after, touched, now_us=NOW_US) is None


@pytest.mark.parametrize(
    ("operation", "value", "grant", "is_covered"),
    [
        (Operation.HISTORY_ADDED, prop(1), Grant(WRITE, attributes=("speed",)), True),
        (Operation.HISTORY_ADDED, prop(1), Grant(WRITE, attributes=("brand",)), False),
        (Operation.HISTORY_ADDED, prop(1), Grant(WRITE, types=("Bus",)), False),
        (Operation.HISTORY_ADDED, prop(1), Grant(WRITE, area=AREAS[0]), False),  # what is gone lies nowhere
        (Operation.HISTORY_DELETED, {"attribute": "speed"}, Grant(WRITE), False),
        (Operation.HISTORY_DELETED, {"attribute": "speed"}, Grant(BOTH, attributes=("speed",)), True),
        (Operation.HISTORY_DELETED, {"all": True}, Grant(BOTH, attributes=("speed",)), False),
        (Operation.HISTORY_DELETED, {"all": True}, Grant(BOTH, types=("Car",)), True),
    ],
)
def test_history_of_an_entity_that_is_gone(operation: Operation, value: Any, grant: Grant, *, is_covered: bool) -> None:
    name = "speed" if operation is Operation.HISTORY_ADDED else None
    row = Change(operation, "urn:a", name, value=value)
    reason = permit(grant).refusal(None, None, [row], now_us=NOW_US, types=["Car"])
    assert (reason is None) == is_covered


def test_all_history_goes_only_for_who_may_delete_all_of_it() -> None:
    assert permit(EVERYTHING).refusal_of_history(car(), []) is None
    assert permit(EVERYTHING, personal=("phone",)).refusal_of_history(None, ["Car"]) is not None
    assert permit(Grant(BOTH, attributes=("speed",))).refusal_of_history(car(speed=prop(1)), []) is not None
