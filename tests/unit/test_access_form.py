# SPDX-License-Identifier: Apache-2.0
"""Grants, roles and tokens as values and as JSON: what is allowed, what is refused and why, what survives storing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.errors import BadRequestData
from madang.core.hub_token import hash_of, is_well_typed, new_token
from madang.model.access import (
    ANONYMOUS_ROLE,
    ANY,
    EVERYTHING,
    OPEN,
    ROLES_BUILT_IN,
    Caller,
    Grant,
    Right,
    administers,
    granted,
    is_for,
    narrowed,
    reaches,
    split_role,
)
from madang.model.access_form import read_grant, read_role, read_token, stored_grant, write_grant
from madang.model.jsonld.context import CORE

NOW_US = 1_700_000_000_000_000
SQUARE = {"type": "Polygon", "coordinates": [[[127.0, 36.0], [127.1, 36.0], [127.1, 36.1], [127.0, 36.0]]]}
NAMES: dict[str, Any] = {
    "type_of": CORE.type_names.__getitem__,
    "attribute_of": CORE.attribute_names.__getitem__,
}


def grant_of(data: Any) -> Grant:
    return read_grant(data, "/grants/0", **NAMES)


def wrong_place(error: pytest.ExceptionInfo[BadRequestData]) -> str | None:
    assert error.value.detail
    return error.value.where


# ---- grants


def test_a_grant_of_one_right_is_for_everything() -> None:
    assert grant_of({"rights": ["read"]}) == Grant(frozenset({Right.READ}))


def test_a_grant_may_be_narrowed_in_every_way() -> None:
    grant = grant_of(
        {
            "rights": ["write", "read", "read"],
            "tenants": ["", "songpa"],
            "types": ["Vehicle", "https://a.example/Bus"],
            "attributes": ["speed"],
            "area": SQUARE,
            "purpose": "traffic planning",
        }
    )
    assert grant.rights == {Right.READ, Right.WRITE}
    assert grant.tenants == ("", "songpa")
    assert grant.types == (CORE.expand("Vehicle"), "https://a.example/Bus")
    assert grant.attributes == (CORE.expand("speed"),)
    assert grant.area == SQUARE
    assert grant.purpose == "traffic planning"


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (None, "/grants/0"),
        ([], "/grants/0"),
        ({}, "/grants/0/rights"),
        ({"rights": []}, "/grants/0/rights"),
        ({"rights": "read"}, "/grants/0/rights"),
        ({"rights": ["read", "root"]}, "/grants/0/rights/1"),
        ({"rights": [["read"]]}, "/grants/0/rights/0"),
        ({"rights": ["read"], "tenant": "a"}, "/grants/0/tenant"),
        ({"rights": ["read"], "tenants": []}, "/grants/0/tenants"),
        ({"rights": ["read"], "tenants": ["a b"]}, "/grants/0/tenants/0"),
        ({"rights": ["read"], "tenants": ["*", "a"]}, "/grants/0/tenants"),
        ({"rights": ["read"], "tenants": ["a" * 300]}, "/grants/0/tenants/0"),
        ({"rights": ["read"], "tenants": [1]}, "/grants/0/tenants/0"),
        ({"rights": ["read"], "types": ["no name"]}, "/grants/0/types/0"),
        ({"rights": ["read"], "types": "Vehicle"}, "/grants/0/types"),
        ({"rights": ["read"], "types": ["A"] * 2_000}, "/grants/0/types"),
        ({"rights": ["read"], "attributes": ["a", "<x>"]}, "/grants/0/attributes/1"),
        ({"rights": ["read"], "area": {"type": "Point", "coordinates": [1, 2]}}, "/grants/0/area"),
        ({"rights": ["read"], "area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}, "/grants/0/area"),
        ({"rights": ["read"], "area": {**SQUARE, "crs": "x"}}, "/grants/0/area"),
        ({"rights": ["read"], "area": {"type": "Polygon"}}, "/grants/0/area"),
        ({"rights": ["read"], "area": {"type": ["Polygon"], "coordinates": []}}, "/grants/0/area"),
        ({"rights": ["read"], "purpose": ""}, "/grants/0/purpose"),
        ({"rights": ["read"], "purpose": "a\nb"}, "/grants/0/purpose"),
        ({"rights": ["administer"], "types": ["Vehicle"]}, "/grants/0/rights"),
        ({"rights": ["administer"], "attributes": ["speed"]}, "/grants/0/rights"),
        ({"rights": ["administer"], "area": SQUARE}, "/grants/0/rights"),
    ],
)
def test_what_is_no_grant_is_refused_with_its_place(data: Any, where: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        grant_of(data)
    assert wrong_place(refused) == where


names = st.one_of(st.just((ANY,)), st.lists(st.text(min_size=1).filter(lambda t: t != ANY), min_size=1).map(tuple))
grants = st.builds(
    Grant,
    rights=st.frozensets(st.sampled_from(list(Right)), min_size=1),
    tenants=names,
    types=names,
    attributes=names,
    area=st.sampled_from([None, SQUARE]),
    purpose=st.one_of(st.none(), st.text(min_size=1)),
)


@given(grants)
def test_a_grant_survives_being_stored(grant: Grant) -> None:
    assert stored_grant(orjson.loads(orjson.dumps(write_grant(grant)))) == grant


def test_a_right_of_a_later_version_grants_nothing_here() -> None:
    body = {**write_grant(Grant(frozenset({Right.READ}))), "rights": ["read", "teleport"]}
    assert stored_grant(body).rights == {Right.READ}


@given(st.lists(grants, max_size=4), st.text(max_size=3))
def test_what_is_narrowed_to_a_tenant_reaches_no_other(found: list[Grant], tenant: str) -> None:
    left = narrowed(found, tenant)
    assert len(left) == sum(is_for(grant, tenant) for grant in found)
    assert all(grant.tenants == (tenant,) for grant in left)
    if tenant != ANY:
        assert not reaches(Caller("a", "token", left), tenant + "x")


# ---- roles


def test_the_built_in_roles() -> None:
    assert ROLES_BUILT_IN["administrator"] == (EVERYTHING,)
    editor, reader = ROLES_BUILT_IN["editor"][0].rights, ROLES_BUILT_IN["reader"][0].rights
    assert editor == set(Right) - {Right.ADMINISTER}
    assert reader == {Right.READ, Right.SUBSCRIBE}
    assert administers(OPEN, None)


@pytest.mark.parametrize(
    ("role", "expected"),
    [("reader", ("reader", None)), ("reader@", ("reader", "")), ("reader@a@b", ("reader", "a@b")), ("", ("", None))],
)
def test_a_role_may_name_a_tenant(role: str, expected: tuple[str, str | None]) -> None:
    assert split_role(role) == expected


def test_roles_add_up_and_unknown_ones_grant_nothing() -> None:
    found = granted(["reader@songpa", "nobody", "editor@", "reader@a@b"], ROLES_BUILT_IN)
    assert [grant.tenants for grant in found] == [("songpa",), ("",), ("a@b",)]
    assert granted(["nobody", "", "@songpa"], ROLES_BUILT_IN) == ()


def test_a_role_that_is_for_one_tenant_cannot_be_narrowed_to_another() -> None:
    known = {"local": (Grant(frozenset({Right.READ}), tenants=("songpa",)),)}
    assert granted(["local@mapo"], known) == ()


def test_an_administrator_of_a_tenant_does_not_administer_the_hub() -> None:
    who = Caller("a", "token", granted(["administrator@songpa"], ROLES_BUILT_IN))
    assert administers(who, "songpa")
    assert not administers(who, "mapo")
    assert not administers(who, None)


@pytest.mark.parametrize(
    ("name", "data", "where"),
    [
        ("a b", {"grants": [{"rights": ["read"]}]}, "role"),
        ("a@b", {"grants": [{"rights": ["read"]}]}, "role"),
        ("", {"grants": [{"rights": ["read"]}]}, "role"),
        ("r" * 64, {"grants": [{"rights": ["read"]}]}, "role"),
        ("ok", [], ""),
        ("ok", {}, "/grants"),
        ("ok", {"grants": []}, "/grants"),
        ("ok", {"grants": [{"rights": ["read"]}] * 101}, "/grants"),
        ("ok", {"grants": [{"rights": ["read"]}], "name": "x"}, "/name"),
        ("ok", {"grants": [{"rights": ["read"]}], "description": 1}, "/description"),
        (ANONYMOUS_ROLE, {"grants": [{"rights": ["read", "administer"]}]}, "/grants"),
    ],
)
def test_what_is_no_role_is_refused(name: str, data: Any, where: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        read_role(data, name, **NAMES)
    assert wrong_place(refused) == where


# ---- tokens


def test_a_token_may_have_roles_grants_an_end_and_limits() -> None:
    wanted = read_token(
        {
            "label": "송파 신호등",
            "roles": ["reader", "editor@songpa", "reader"],
            "grants": [{"rights": ["read"]}],
            "expires": "2030-01-01T00:00:00Z",
            "ratePerSecond": 2,
            "quotaPerDay": 0,
        },
        NOW_US,
        **NAMES,
    )
    assert wanted.roles == ("reader", "editor@songpa")
    assert (wanted.rate_per_s, wanted.quota_per_day) == (2.0, 0)
    assert wanted.expires_us == 1_893_456_000_000_000
    assert len(wanted.grants) == 1


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ([], ""),
        ({}, "/roles"),
        ({"roles": ["reader"]}, "/label"),
        ({"roles": ["reader"], "label": " "}, "/label"),
        ({"roles": ["reader"], "label": "a" * 201}, "/label"),
        ({"roles": ["reader"], "label": "a\x00"}, "/label"),
        ({"label": "a"}, "/roles"),
        ({"label": "a", "roles": []}, "/roles"),
        ({"label": "a", "roles": "reader"}, "/roles"),
        ({"label": "a", "roles": [1]}, "/roles/0"),
        ({"label": "a", "roles": ["rea der"]}, "/roles/0"),
        ({"label": "a", "roles": ["reader@a b"]}, "/roles/0"),
        ({"label": "a", "roles": ["reader"], "grants": [{}]}, "/grants/0/rights"),
        ({"label": "a", "roles": ["reader"], "expires": "tomorrow"}, "/expires"),
        ({"label": "a", "roles": ["reader"], "expires": "2020-01-01T00:00:00Z"}, "/expires"),
        ({"label": "a", "roles": ["reader"], "expires": 5}, "/expires"),
        ({"label": "a", "roles": ["reader"], "ratePerSecond": -1}, "/ratePerSecond"),
        ({"label": "a", "roles": ["reader"], "ratePerSecond": True}, "/ratePerSecond"),
        ({"label": "a", "roles": ["reader"], "ratePerSecond": "1"}, "/ratePerSecond"),
        ({"label": "a", "roles": ["reader"], "quotaPerDay": 1.5}, "/quotaPerDay"),
        ({"label": "a", "roles": ["reader"], "quotaPerDay": 10**12}, "/quotaPerDay"),
        ({"label": "a", "roles": ["reader"], "secret": "x"}, "/secret"),
    ],
)
def test_what_is_no_token_is_refused(data: Any, where: str) -> None:
    with pytest.raises(BadRequestData) as refused:
        read_token(data, NOW_US, **NAMES)
    assert wrong_place(refused) == where


def test_a_token_is_new_each_time_and_well_typed() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(len(token) == 53 and is_well_typed(token) for token in made)
    assert len({hash_of(token) for token in made}) == 100


@given(st.integers(0, 52), st.characters(codec="ascii"))
def test_one_wrong_character_is_told(place: int, character: str) -> None:
    token = new_token()
    if token[place] != character:
        assert not is_well_typed(token[:place] + character + token[place + 1 :])


@given(st.integers(4, 51))
def test_two_characters_in_the_wrong_order_are_told(place: int) -> None:
    token = new_token()
    if token[place] != token[place + 1]:
        assert not is_well_typed(token[:place] + token[place + 1] + token[place] + token[place + 2 :])
