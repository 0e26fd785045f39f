# SPDX-License-Identifier: Apache-2.0
"""The gatekeeper: whose grants count, what is kept of them, and what changes it at once."""

from __future__ import annotations

from typing import Any, cast

import pytest

from madang.base.errors import Denied
from madang.core.caller import acting_for
from madang.core.permits import NAMESPACE_PREFIX, PERSONAL_KIND, Permits, owner_of, viewer_of
from madang.core.tail import RecordListener, Tail
from madang.model.access import ANONYMOUS, EVERYTHING, OPEN, SYSTEM, Caller, Grant, Right
from madang.model.permit import ALL
from madang.store.port import Store

READ = Grant(frozenset({Right.READ}), tenants=("a",))
WRITE = Grant(frozenset({Right.WRITE}), tenants=("a",), types=("Car",))


class _Store:
    async def records(self, kind: str) -> list[tuple[str, str, Any]]:
        return [("a", "phone", {})] if kind == PERSONAL_KIND else []


class _Tail:
    def __init__(self) -> None:
        self.tell: RecordListener | None = None

    def on_records(self, kind: str, listener: RecordListener) -> None:
        assert kind == PERSONAL_KIND
        self.tell = listener


def kim(*grants: Grant) -> Caller:
    return Caller("oidc:kim", "oidc", grants)


@pytest.mark.parametrize("who", [SYSTEM, OPEN])
def test_the_hub_itself_and_open_hubs_have_no_limits(who: Caller) -> None:
    permits = Permits()
    with acting_for(who):
        assert permits.require(Right.ADMINISTER, "anything") is ALL
        assert permits.writing("anything") is None
        assert permits.owns("oidc:oidc:kim", "anything")
        assert (owner_of(who), viewer_of(who)) == (None, None)


def test_without_a_grant_for_the_right_and_the_tenant_all_is_denied() -> None:
    permits = Permits()
    for who, right, tenant in (
        (ANONYMOUS, Right.READ, "a"),
        (kim(READ), Right.WRITE, "a"),
        (kim(READ), Right.READ, "b"),
        (kim(READ), Right.READ, ""),
    ):
        with acting_for(who), pytest.raises(Denied) as denied:
            permits.require(right, tenant)
        assert denied.value.detail == f"You need a grant with the right {right} in this tenant"
    with acting_for(kim(READ)), pytest.raises(Denied):
        permits.writing("a")


def test_a_permit_is_made_once_and_again_for_other_grants() -> None:
    permits = Permits()
    first = permits.of(Right.READ, "a", kim(READ))
    assert permits.of(Right.READ, "a", kim(READ)) is first
    assert permits.of(Right.READ, "a", kim(WRITE)).none
    assert permits.of(Right.READ, "a", Caller("oidc:lee", "oidc")).none


def test_equal_grants_of_different_owners_come_to_the_same_permit() -> None:
    permits = Permits()
    one = permits.made((Grant(frozenset(Right)),), Right.READ, "a")
    assert permits.made((Grant(frozenset(Right)),), Right.READ, "a") is one
    assert permits.made((READ,), Right.READ, "a") is not one


async def test_personal_tags_are_read_at_the_start_and_followed() -> None:
    permits, tail = Permits(), _Tail()
    await permits.start(cast("Store", _Store()), cast("Tail", tail))
    assert tail.tell is not None
    who = kim(READ)
    assert permits.personal("a") == {"phone"}
    assert not permits.of(Right.READ, "a", who).unrestricted
    tail.tell("a", "phone", None)
    assert permits.of(Right.READ, "a", who).unrestricted
    tail.tell("b", "phone", {})  # of another tenant
    assert permits.of(Right.READ, "a", who).unrestricted
    tail.tell("a", "driver", {})
    assert not permits.of(Right.READ, "a", who).unrestricted
    assert not permits.made(who.grants, Right.READ, "a").unrestricted


def test_a_writer_may_know_of_what_he_may_read_write_or_delete() -> None:
    permits = Permits()
    with acting_for(kim(READ, WRITE)):
        writing = permits.writing("a")
        assert writing is not None
        assert permits.writing("a") is writing
        assert writing.known.unrestricted
        assert writing.write.types == frozenset({"Car"})
        assert writing.delete.none
    with acting_for(kim(EVERYTHING)):
        assert permits.writing("a") is None


def test_in_a_snapshot_the_grants_of_its_tenant_count_without_areas() -> None:
    permits = Permits()
    namespace = f"{NAMESPACE_PREFIX}1"
    area = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    who = kim(Grant(frozenset({Right.READ}), tenants=("a",), area=area))
    everywhere = kim(EVERYTHING)
    assert permits.of(Right.READ, namespace, everywhere).none  # of no snapshot that is known here
    permits.origin_by({namespace: ("a", "urn:snapshot:1")}.get)
    assert permits.of(Right.READ, namespace, who).unrestricted
    assert not permits.of(Right.READ, "a", who).unrestricted
    assert permits.of(Right.READ, namespace, everywhere).unrestricted


def test_what_belongs_to_whom() -> None:
    permits = Permits()
    officer = kim(Grant(frozenset({Right.ADMINISTER}), tenants=("a",)))
    mine = owner_of(kim())
    with acting_for(kim()):
        assert permits.owns(mine, "a")
        assert not permits.owns("oidc:oidc:lee", "a")
        assert not permits.owns(None, "a")
    with acting_for(officer):
        assert permits.owns("oidc:oidc:lee", "a")
        assert permits.owns(None, "a")
        assert not permits.owns(None, "b")
    assert viewer_of(kim(READ)) != viewer_of(kim(WRITE))
    assert viewer_of(kim(READ)) == viewer_of(kim(READ))
