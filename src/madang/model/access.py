# SPDX-License-Identifier: Apache-2.0
"""Who may do what: rights, grants, roles and callers as pure values; deny by default (issue 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
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
