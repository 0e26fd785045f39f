# SPDX-License-Identifier: Apache-2.0
"""Who may do what: rights, grants, roles and callers as pure values; deny by default (issue 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

ANY: Final = "*"


class Right(StrEnum):
    """What a grant allows. The numbers of rights are few, so that an officer can tell them apart."""

    READ = "read"  # entities, their history, types, attributes, entity maps
    WRITE = "write"  # create and change entities and their history
    DELETE = "delete"  # take entities, attributes and history away
    SUBSCRIBE = "subscribe"  # keep subscriptions; what they tell is bounded by READ
    SNAPSHOT = "snapshot"  # freeze what may be read
    CONTEXTS = "contexts"  # keep @contexts
    ADMINISTER = "administer"  # tenants, tokens, roles, indexes, personal tags


@dataclass(frozen=True, slots=True)
class Grant:
    """One sentence of the access list: these rights, in these tenants, on this part of the data.

    Types and attributes are canonical names (IRIs); (ANY,) means all. `area` is a GeoJSON Polygon or MultiPolygon
    (WGS 84, longitude first): only entities whose `location` lies in it. `purpose` is why personal attributes are
    needed; without one they are left out.
    """

    rights: frozenset[Right]
    tenants: tuple[str, ...] = (ANY,)
    types: tuple[str, ...] = (ANY,)
    attributes: tuple[str, ...] = (ANY,)
    area: Any = None
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `id` is what the change log keeps as `who` and what limits are counted by; it names no person.

    `kind` is "system" (the hub itself), "open" (--access open), "token", "oidc" or "anonymous".
    """

    id: str
    kind: str
    grants: tuple[Grant, ...] = ()
    rate_per_s: float | None = None  # None: the setting's
    quota_per_day: int | None = None


EVERYTHING: Final = Grant(frozenset(Right))
SYSTEM: Final = Caller("system", "system", (EVERYTHING,))
OPEN: Final = Caller("open", "open", (EVERYTHING,))
ANONYMOUS: Final = Caller("anonymous", "anonymous")


# The role whose grants callers without a token or a log-in have, if an administrator made it.
ANONYMOUS_ROLE: Final = "anonymous"
_CHANGING: Final = frozenset({Right.READ, Right.WRITE, Right.DELETE, Right.SUBSCRIBE, Right.SNAPSHOT, Right.CONTEXTS})

# Roles that are always there and cannot be changed.
ROLES_BUILT_IN: Final[Mapping[str, tuple[Grant, ...]]] = MappingProxyType(
    {
        "administrator": (EVERYTHING,),
        "editor": (Grant(_CHANGING),),
        "reader": (Grant(frozenset({Right.READ, Right.SUBSCRIBE})),),
    }
)


def is_for(grant: Grant, tenant: str) -> bool:
    """Tell whether a grant counts in a tenant ("" is the default one)."""
    return tenant in grant.tenants or ANY in grant.tenants


def reaches(who: Caller, tenant: str) -> bool:
    """Tell whether the caller has any grant at all in a tenant."""
    return any(is_for(grant, tenant) for grant in who.grants)


def administers(who: Caller, tenant: str | None) -> bool:
    """Tell whether the caller may administer a tenant, or with None the whole hub: every tenant, also those to come."""
    return any(
        Right.ADMINISTER in grant.rights and (ANY in grant.tenants if tenant is None else is_for(grant, tenant))
        for grant in who.grants
    )


def narrowed(grants: Iterable[Grant], tenant: str) -> tuple[Grant, ...]:
    """Return what is left of grants in one tenant."""
    return tuple(replace(grant, tenants=(tenant,)) for grant in grants if is_for(grant, tenant))


def split_role(text: str) -> tuple[str, str | None]:
    """Return name and tenant of "reader@songpa"; the tenant is None for "reader" and "" for "reader@"."""
    name, at, tenant = text.partition("@")
    return name, tenant if at else None


def granted(roles: Iterable[str], known: Mapping[str, tuple[Grant, ...]]) -> tuple[Grant, ...]:
    """Return what roles such as "reader" and "editor@songpa" grant; a role that is not known grants nothing."""
    found: list[Grant] = []
    for role in roles:
        name, tenant = split_role(role)
        grants = known.get(name, ())
        found += grants if tenant is None else narrowed(grants, tenant)
    return tuple(found)
