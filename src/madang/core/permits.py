# SPDX-License-Identifier: Apache-2.0
"""The gatekeeper: what the caller of the work at hand may do in a tenant, asked by every verb of core (issue 3).

Deny by default. What the hub does by itself, and everybody on a hub that was opened with `--access open`, is free of
all limits, at the cost of one look at who calls. Of everybody else the grants are added up once and kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import orjson

from madang.base.errors import Denied
from madang.core.caller import caller
from madang.model.access import Caller, Grant, Right, administers, is_for
from madang.model.access_form import write_grant
from madang.model.permit import ALL, NO_NAMES, NOTHING, Permit
from madang.model.permit_writing import WritingPermit

if TYPE_CHECKING:
    from madang.core.tail import Tail
    from madang.model.entity import Json
    from madang.store.port import Store

# The records that call attributes personal: one per tenant and canonical name of an attribute.
PERSONAL_KIND: Final = "personal"
# Tenants that hold the data of snapshots.
NAMESPACE_PREFIX: Final = "madang-snapshot-"
_FREE: Final = frozenset({"system", "open"})
_CHANGING: Final = frozenset({Right.READ, Right.WRITE, Right.DELETE})
_KEPT_MAX: Final = 10_000

_Rights = frozenset[Right]


def is_free(who: Caller) -> bool:
    """Tell whether no grant limits what the caller may do."""
    return who.kind in _FREE


class Permits:
    """One per process, with the writer; `start` before anything is asked."""

    def __init__(self) -> None:
        self._personal: dict[str, frozenset[str]] = {}
        self._kept: dict[tuple[str, str, object, str], tuple[tuple[Grant, ...], Permit]] = {}
        self._writing: dict[tuple[str, str, str], WritingPermit] = {}
        self._made: dict[tuple[int, Right, str], tuple[tuple[Grant, ...], Permit]] = {}
        self._same: dict[tuple[object, ...], Permit] = {}
        self._origin: Callable[[str], tuple[str, str] | None] | None = None

    async def start(self, store: Store, tail: Tail) -> None:
        """Read which attributes are personal, and follow what becomes of that."""
        tail.on_records(PERSONAL_KIND, self._tagged)
        for tenant, name, body in await store.records(PERSONAL_KIND):
            self._tagged(tenant, name, body)

    def origin_by(self, origin: Callable[[str], tuple[str, str] | None]) -> None:
        """Take the function that tells the tenant and the id of the snapshot that a namespace belongs to."""
        self._origin = origin

    def personal(self, tenant: str) -> frozenset[str]:
        """Return the canonical names of the attributes that the tenant calls personal."""
        return self._personal.get(tenant, NO_NAMES)

    # ---- asking

    def of(self, right: Right, tenant: str, who: Caller | None = None) -> Permit:
        """Return what the caller (of the work at hand, if none is given) may do by a right in a tenant."""
        who = caller() if who is None else who
        if who.kind in _FREE:
            return ALL
        return self._limited(who, right, frozenset({right}), tenant)

    def require(self, right: Right, tenant: str) -> Permit:
        """Return the permit, if it is not an empty one.

        Raises: Denied: no grant has the right in the tenant; said alike whether there is such a tenant or not.
        """
        who = caller()
        if who.kind in _FREE:
            return ALL
        permit = self._limited(who, right, frozenset({right}), tenant)
        if permit.none:
            raise Denied(f"You need a grant with the right {right} in this tenant")
        return permit

    def writing(self, tenant: str) -> WritingPermit | None:
        """Return what the caller may change in a tenant; None when there are no limits.

        Raises: Denied: nothing at all.
        """
        who = caller()
        if who.kind in _FREE:
            return None
        write, delete = self.of(Right.WRITE, tenant, who), self.of(Right.DELETE, tenant, who)
        if write.none and delete.none:
            raise Denied(f"You need a grant with the right {Right.WRITE} or {Right.DELETE} in this tenant")
        if write.unrestricted and delete.unrestricted:
            return None
        key = (who.id, who.kind, tenant)
        kept = self._writing.get(key)
        known = self._limited(who, "known", _CHANGING, tenant)
        if kept is None or (kept.known, kept.write, kept.delete) != (known, write, delete):
            if len(self._writing) >= _KEPT_MAX:
                self._writing.clear()
            kept = self._writing[key] = WritingPermit(known, write, delete)
        return kept

    def made(self, grants: tuple[Grant, ...], right: Right, tenant: str) -> Permit:
        """Return what grants come to, whoever has them; of equal grants it is the same object."""
        key = (id(grants), right, tenant)
        kept = self._made.get(key)
        if kept is not None and kept[0] is grants:
            return kept[1]
        home, anywhere = self._home(tenant)
        if tenant.startswith(NAMESPACE_PREFIX) and not anywhere:
            return NOTHING
        if len(self._made) >= _KEPT_MAX:
            self._made.clear()
            self._same.clear()
        same = (_fingerprint(grants), right, home, anywhere)
        permit = self._same.get(same)
        if permit is None:
            permit = self._same[same] = self._permit(grants, frozenset({right}), home, anywhere=anywhere)
        self._made[key] = (grants, permit)
        return permit

    def owns(self, owner: str | None, tenant: str, who: Caller | None = None) -> bool:
        """Tell whether what belongs to `owner` (None: to the hub) may be seen and changed by the caller."""
        who = caller() if who is None else who
        if who.kind in _FREE or (owner is not None and owner == owner_of(who)):
            return True
        return administers(who, self._home(tenant)[0])

    # ---- inside

    def _home(self, tenant: str) -> tuple[str, bool]:
        """Return the tenant whose grants count, and whether areas do not count there."""
        if not tenant.startswith(NAMESPACE_PREFIX):
            return tenant, False
        origin = None if self._origin is None else self._origin(tenant)
        return (tenant, False) if origin is None else (origin[0], True)

    def _limited(self, who: Caller, name: object, rights: _Rights, tenant: str) -> Permit:
        key = (who.id, who.kind, name, tenant)
        kept = self._kept.get(key)
        if kept is not None and (kept[0] is who.grants or kept[0] == who.grants):
            return kept[1]
        home, anywhere = self._home(tenant)
        if tenant.startswith(NAMESPACE_PREFIX) and not anywhere:
            return NOTHING  # the namespace of no snapshot, or of one that is not known here yet
        permit = self._permit(who.grants, rights, home, anywhere=anywhere)
        if len(self._kept) >= _KEPT_MAX:
            self._kept.clear()
        self._kept[key] = (who.grants, permit)
        return permit

    def _permit(self, grants: tuple[Grant, ...], rights: _Rights, home: str, *, anywhere: bool) -> Permit:
        fitting = [grant for grant in grants if is_for(grant, home) and not rights.isdisjoint(grant.rights)]
        return Permit(fitting, self.personal(home), anywhere=anywhere)

    def _tagged(self, tenant: str, name: str, body: Json | None) -> None:
        names = self._personal.get(tenant, NO_NAMES)
        self._personal[tenant] = names - {name} if body is None else names | {name}
        for kept in (self._kept, self._writing, self._made, self._same):
            kept.clear()


def owner_of(who: Caller) -> str | None:
    """Return under what name things belong to a caller; None: to the hub, whose things are everybody's who is free."""
    return None if who.kind in _FREE else f"{who.kind}:{who.id}"


def viewer_of(who: Caller) -> str | None:
    """Return what stands for a caller with just these grants; None: for everybody without limits."""
    owner = owner_of(who)
    if owner is None:
        return None
    return f"{owner} {hashlib.blake2b(_fingerprint(who.grants), digest_size=16).hexdigest()}"


def _fingerprint(grants: tuple[Grant, ...]) -> bytes:
    return orjson.dumps([write_grant(grant) for grant in grants], option=orjson.OPT_SORT_KEYS)
