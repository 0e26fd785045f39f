# SPDX-License-Identifier: Apache-2.0
"""What may be seen of an entity: laws that hold for any grants, and the cases people will ask about (issue 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.model.access import ANY, EVERYTHING, Grant, Right
from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS, as_list, attributes_of, types_of
from madang.model.permit import ALL, NOTHING, Permit
from madang.model.query.geo import GeoQuery, matches
from madang.model.query.model import EntitySelector, TypeSelection
from tests.permit_samples import AREAS, NAMES, TYPES, documents, grants, personal_names, square

READ = frozenset({Right.READ})
LATER = "2027-01-01T00:00:00Z"


def car(**attributes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "urn:a",
        "type": "Car",
        "createdAt": "2026-01-01T00:00:00Z",
        "modifiedAt": "2026-01-09T00:00:00Z",
    }
    for name, value in attributes.items():
        is_instance = isinstance(value, dict | list)
        made[name] = value if is_instance else {"type": "Property", "value": value, "modifiedAt": made["createdAt"]}
    return made


def at(longitude: float, latitude: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [longitude, latitude]}}


def granted(grant: Grant, document: dict[str, Any]) -> bool:
    """Tell in plain words whether a grant is for an entity."""
    if ANY not in grant.types and not set(types_of(document)) & set(grant.types):
        return False
    if grant.area is None:
        return True
    places = as_list(document.get("location"))
    inside = GeoQuery("within", "Polygon", str(grant.area["coordinates"]))
    border = GeoQuery("intersects", "Polygon", str(grant.area["coordinates"]))
    # A point on the border is not within, but it touches.
    return bool(places) and all(
        matches(inside, {"location": each}) or matches(border, {"location": each}) for each in places
    )


# ---------------------------------------------------------------------- laws


@given(documents(), st.lists(grants(), max_size=4), personal_names())
def test_what_is_visible_is_granted_and_what_is_granted_is_visible(
    document: dict[str, Any], given_grants: list[Grant], personal: frozenset[str]
) -> None:
    visible = Permit(given_grants, personal).visible(document)
    fitting = [grant for grant in given_grants if granted(grant, document)]
    if visible is None:
        assert not fitting
        return
    for name in types_of(document):
        assert (name in types_of(visible)) == any(ANY in grant.types or name in grant.types for grant in fitting)
    for name, _ in attributes_of(document):
        sure = [grant for grant in fitting if ANY in grant.attributes or name in grant.attributes]
        if name in personal:
            sure = [grant for grant in sure if grant.purpose]
        assert (name in visible) == bool(sure)
    assert set(visible) <= set(document)
    assert "urn:d" not in visible


@given(documents(), st.lists(grants(), max_size=4), personal_names())
def test_personal_sub_attributes_are_seen_with_a_purpose_only(
    document: dict[str, Any], given_grants: list[Grant], personal: frozenset[str]
) -> None:
    visible = Permit(given_grants, personal).visible(document)
    purposed = [grant for grant in given_grants if grant.purpose and granted(grant, document)]
    for name, instances in attributes_of(visible or {}):
        for instance in instances:
            for inner in set(instance) - INSTANCE_MEMBERS:
                wanted = {ANY, name, inner}
                assert inner not in personal or any(wanted & set(grant.attributes) for grant in purposed)


@given(documents(), st.lists(grants(areas=False), max_size=4), personal_names())
def test_what_is_visible_is_visible_as_a_whole(
    document: dict[str, Any], given_grants: list[Grant], personal: frozenset[str]
) -> None:
    permit = Permit(given_grants, personal)
    visible = permit.visible(document)
    if visible is not None:
        assert permit.visible(visible) == visible


@given(documents(), st.lists(grants(), max_size=3), grants(), personal_names())
def test_more_grants_never_show_less(
    document: dict[str, Any], few: list[Grant], more: Grant, personal: frozenset[str]
) -> None:
    less_seen = Permit(few, personal).visible(document)
    seen = Permit([*few, more], personal).visible(document)
    if less_seen is None:
        return
    assert seen is not None
    assert set(less_seen) <= set(seen)
    assert set(types_of(less_seen)) <= set(types_of(seen))


@given(documents(), st.lists(grants(), max_size=3), personal_names())
def test_fewer_personal_names_never_show_less(
    document: dict[str, Any], some: list[Grant], personal: frozenset[str]
) -> None:
    strict, loose = Permit(some, personal).visible(document), Permit(some).visible(document)
    assert set(strict or ()) <= set(loose or ())


@given(documents(), st.lists(grants(), max_size=3), st.data())
def test_what_is_hidden_has_no_influence(document: dict[str, Any], some: list[Grant], data: st.DataObject) -> None:
    """Two entities that differ in hidden attributes alone look the same, also in their times."""
    permit = Permit(some, ("phone",))
    lens = permit.lens(document)
    if lens is None:
        return
    other = {name: value for name, value in document.items() if name in ENTITY_MEMBERS or lens.sees(name)}
    if "location" in document:
        other["location"] = document["location"]  # where it is decides what is hidden
    for name in NAMES:
        if name != "location" and not lens.sees(name) and data.draw(st.booleans()):
            other[name] = {"type": "Property", "value": data.draw(st.integers(0, 3)), "modifiedAt": LATER}
    if not lens.whole:
        other["modifiedAt"] = LATER
    assert permit.visible(other) == permit.visible(document)


@given(documents(), st.lists(grants(), max_size=3), personal_names())
def test_a_grant_for_everything_hides_nothing(
    document: dict[str, Any], some: list[Grant], personal: frozenset[str]
) -> None:
    everything = Grant(READ, purpose="care")
    permit = Permit([*some, everything], personal)
    assert permit.unrestricted
    assert permit.visible(document) is document


@given(documents(), st.lists(grants(areas=False), min_size=1, max_size=3), personal_names())
def test_a_name_that_is_seen_everywhere_is_never_hidden(
    document: dict[str, Any], some: list[Grant], personal: frozenset[str]
) -> None:
    permit = Permit(some, personal)
    visible = permit.visible(document)
    for name, _ in attributes_of(document):
        if visible is not None and permit.sees_everywhere(name):
            assert name in visible


@given(documents(), st.lists(grants(), min_size=1, max_size=2))
def test_the_place_that_a_store_is_asked_for_loses_nothing_that_is_visible(
    document: dict[str, Any], some: list[Grant]
) -> None:
    same_area = [replace(grant, area=AREAS[0]) for grant in some]
    permit = Permit(same_area)
    assert permit.place is not None
    if permit.visible(document) is not None:
        assert matches(permit.place, document)
    assert Permit([*same_area, Grant(READ, types=("Car",))]).place is None


@given(documents(), st.lists(grants(), max_size=3), st.lists(st.sampled_from(TYPES), min_size=1, max_size=2))
def test_narrowed_selectors_lose_nothing_that_is_visible(
    document: dict[str, Any], some: list[Grant], asked: list[str]
) -> None:
    from madang.model.query.match import selects

    permit = Permit(some)
    for selectors in ((), (EntitySelector(types=TypeSelection((tuple(asked),))),)):
        visible = permit.visible(document)
        fits = visible is not None and (not selectors or any(selects(each, visible) for each in selectors))
        narrowed = permit.narrow(selectors)
        found = narrowed is not None and (not narrowed or any(selects(each, document) for each in narrowed))
        assert found or not fits


# ---------------------------------------------------------------------- cases


def test_no_grant_shows_nothing() -> None:
    assert NOTHING.none
    assert NOTHING.visible(car(speed=1)) is None
    assert NOTHING.narrow(()) is None


def test_everything_is_everything() -> None:
    document = car(speed=1)
    assert ALL.unrestricted
    assert ALL.visible(document) is document
    assert not Permit((EVERYTHING,), ("speed",)).unrestricted


def test_an_attribute_is_left_out_and_the_time_of_the_entity_with_it() -> None:
    permit = Permit((Grant(READ, attributes=("speed",)),))
    hidden = {"type": "Property", "value": 2, "modifiedAt": "2026-01-09T00:00:00Z"}
    visible = permit.visible(car(speed=1, secret=hidden))
    assert visible is not None
    assert "secret" not in visible
    assert visible["modifiedAt"] == "2026-01-01T00:00:00Z"


def test_an_entity_of_several_types_shows_those_that_are_granted() -> None:
    visible = Permit((Grant(READ, types=("Car",)),)).visible({**car(speed=1), "type": ["Car", "PoliceCar"]})
    assert visible is not None
    assert visible["type"] == "Car"


@pytest.mark.parametrize(
    ("place", "is_seen"),
    [
        (at(5, 5), True),
        (at(0, 0), True),  # the border belongs to the area
        (at(10.001, 5), False),
        ([at(5, 5), {**at(6, 6), "datasetId": "urn:d"}], True),
        ([at(5, 5), {**at(60, 6), "datasetId": "urn:d"}], False),
        ({"type": "Property", "value": "here"}, False),
        ({"type": "GeoProperty", "value": square(1, 1, 3)}, True),
        ({"type": "GeoProperty", "value": square(8, 8, 3)}, False),  # it reaches out of the area
        ({"type": "GeoProperty", "value": {"type": "Point", "coordinates": "nowhere"}}, False),
        (None, False),
    ],
)
def test_an_entity_lies_in_the_area_with_all_of_its_location(place: Any, is_seen: bool) -> None:
    permit = Permit((Grant(READ, area=AREAS[0]),))
    document = car(speed=1) if place is None else car(speed=1, location=place)
    assert (permit.visible(document) is not None) == is_seen


def test_what_is_seen_of_an_entity_of_which_only_history_is_left() -> None:
    permit = Permit((Grant(READ, types=("Car",), area=AREAS[0]), Grant(READ, types=("Bus",), attributes=("speed",))))
    assert permit.lens_of(["Car"]) is None
    lens = permit.lens_of(["Bus"])
    assert lens is not None
    assert lens.sees("speed")
    assert not lens.sees("driver")


def test_areas_do_not_count_where_they_were_looked_at_before() -> None:
    permit = Permit((Grant(READ, area=AREAS[0]),), anywhere=True)
    assert permit.unrestricted


def test_a_selector_for_types_that_must_come_together_needs_all_of_them() -> None:
    permit = Permit((Grant(READ, types=("Car", "Bus")),))
    both = EntitySelector(types=TypeSelection((("Car", "Bus"), ("Car", "Secret"))))
    assert permit.narrow((both,)) == (EntitySelector(types=TypeSelection((("Car", "Bus"),))),)
    assert permit.narrow((EntitySelector(types=TypeSelection((("Secret",),))),)) is None
