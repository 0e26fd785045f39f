# SPDX-License-Identifier: Apache-2.0
"""For whom a subscription tells: its owner is written down with it, and what he may see now bounds what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from madang.core.caller import caller
from madang.core.permits import is_free
from madang.model.access import SYSTEM, Caller, Grant, Right
from madang.model.access_form import stored_grant, write_grant
from madang.model.permit import ALL, NOTHING, Permit

if TYPE_CHECKING:
    from madang.core.permits import Permits
    from madang.model.entity import Json

# Gives the grants that somebody has now; None: none, as his token was revoked or has expired.
GrantsOf = Callable[[Caller], tuple[Grant, ...] | None]


def owner_record() -> Json | None:
    """Return who calls, for a record; None when he has no limits."""
    who = caller()
    if is_free(who):
        return None
    return {"id": who.id, "kind": who.kind, "grants": [write_grant(grant) for grant in who.grants]}


def owner_in(record: dict[str, Any]) -> Caller | None:
    """Return the owner that stands in a record; None when it is the hub's own."""
    owner = record.get("owner")
    if owner is None:
        return None
    return Caller(owner["id"], owner["kind"], tuple(stored_grant(grant) for grant in owner["grants"]))


class Tellers:
    """What owners may be told now.

    Args:
        grants_of: looks up the grants an owner has now; without it those count that he had when he subscribed.
    """

    def __init__(self, permits: Permits, grants_of: GrantsOf | None = None) -> None:
        self._permits = permits
        self._grants_of = grants_of

    def teller(self, owner: Caller | None) -> Caller:
        """Return for whom the work for a subscription is done."""
        if owner is None:
            return SYSTEM
        grants = owner.grants if self._grants_of is None else self._grants_of(owner)
        return owner if grants is owner.grants else replace(owner, grants=grants or ())

    def permit(self, tenant: str, owner: Caller | None) -> Permit:
        """Return what the owner may be told in a tenant; equal ones are the same object."""
        if owner is None:
            return ALL
        grants = owner.grants if self._grants_of is None else self._grants_of(owner)
        if not grants:
            return NOTHING
        made = self._permits.made(grants, Right.READ, tenant)
        if made.none or self._permits.made(grants, Right.SUBSCRIBE, tenant).none:
            return NOTHING
        return ALL if made.unrestricted else made
