# SPDX-License-Identifier: Apache-2.0
"""Grants, roles and tokens as JSON: what an administrator sends, what is stored, what is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from madang.base.errors import BadRequestData
from madang.base.limits import GRANT_NAMES_MAX, GRANTS_MAX, QUOTA_MAX, RATE_MAX, ROLES_OF_TOKEN_MAX
from madang.base.times import parse_date_time
from madang.model.access import ANONYMOUS_ROLE, ANY, Grant, Right, split_role
from madang.model.entity import Json
from madang.model.jsonld.geometry import check_geometry
from madang.model.query import geometry

ROLE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}", re.ASCII)
TENANT_CHARACTERS_MAX: Final = 256
LABEL_CHARACTERS_MAX: Final = 200
PURPOSE_CHARACTERS_MAX: Final = 200
ATTRIBUTE_BYTES_MAX: Final = 2_000

_RIGHTS: Final = ", ".join(Right)
_GRANT: Final = ("rights", "tenants", "types", "attributes", "area", "purpose")
_ROLE: Final = ("description", "grants")
_TOKEN: Final = ("label", "roles", "grants", "expires", "ratePerSecond", "quotaPerDay")
_AREAS: Final = ("Polygon", "MultiPolygon")

# How the terms of a request become canonical names.
Expand = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a new token shall be. `expires_us` None: until it is revoked; limits None: those of the settings."""

    label: str
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    expires_us: int | None = None
    rate_per_s: float | None = None
    quota_per_day: int | None = None


# ---- read


def read_role(data: Json, name: str, *, type_of: Expand, attribute_of: Expand) -> tuple[str, tuple[Grant, ...]]:
    """Return description and grants of a role from the body {"description": …, "grants": […]}.

    Raises: BadRequestData: what was sent is not allowed.
    """
    check_role_name(name, "role")
    body = _members(data, "", _ROLE)
    description = _text(body.get("description", ""), "/description", PURPOSE_CHARACTERS_MAX, may_be_empty=True)
    grants = read_grants(body.get("grants"), "/grants", type_of=type_of, attribute_of=attribute_of)
    if name == ANONYMOUS_ROLE and any(Right.ADMINISTER in grant.rights for grant in grants):
        raise BadRequestData(
            f"The role {ANONYMOUS_ROLE} is everybody's who has no token; it cannot grant {Right.ADMINISTER}",
            where="/grants",
        )
    return description, grants


def read_token(data: Json, now_us: int, *, type_of: Expand, attribute_of: Expand) -> TokenRequest:
    """Return what a token shall be from the body of a request; whether its roles exist is not looked at.

    Raises: BadRequestData: what was sent is not allowed.
    """
    body = _members(data, "", _TOKEN)
    roles = _list(body.get("roles", []), "/roles", ROLES_OF_TOKEN_MAX, "role names")
    for index, role in enumerate(roles):
        check_role(role, f"/roles/{index}")
    grants = (
        read_grants(body["grants"], "/grants", type_of=type_of, attribute_of=attribute_of) if body.get("grants") else ()
    )
    if not roles and not grants:
        raise BadRequestData(
            'A token needs a role or a grant, as without one it allows nothing; allowed is {"roles": ["reader"]}',
            where="/roles",
        )
    return TokenRequest(
        label=_text(body.get("label"), "/label", LABEL_CHARACTERS_MAX),
        roles=tuple(dict.fromkeys(roles)),
        grants=grants,
        expires_us=_expiry(body.get("expires"), now_us),
        rate_per_s=_number(body.get("ratePerSecond"), "/ratePerSecond", RATE_MAX),
        quota_per_day=_whole(body.get("quotaPerDay"), "/quotaPerDay", QUOTA_MAX),
    )


def read_grants(data: Json, where: str, *, type_of: Expand, attribute_of: Expand) -> tuple[Grant, ...]:
    """Return the grants of a JSON array. Raises: BadRequestData."""
    found = _list(data, where, GRANTS_MAX, "grants")
    if not found:
        raise BadRequestData('There is no grant; allowed is for example [{"rights": ["read"]}]', where=where)
    return tuple(
        read_grant(each, f"{where}/{index}", type_of=type_of, attribute_of=attribute_of)
        for index, each in enumerate(found)
    )


def read_grant(data: Json, where: str, *, type_of: Expand, attribute_of: Expand) -> Grant:
    """Return one grant. Raises: BadRequestData: with the place in the body, and what is allowed there."""
    body = _members(data, where, _GRANT)
    grant = Grant(
        rights=_rights(body.get("rights"), f"{where}/rights"),
        tenants=_names(body, "tenants", where, lambda name: check_tenant(name)),
        types=_names(body, "types", where, type_of),
        attributes=_names(body, "attributes", where, attribute_of),
        area=_area(body.get("area"), f"{where}/area"),
        purpose=None
        if body.get("purpose") is None
        else _text(body["purpose"], f"{where}/purpose", PURPOSE_CHARACTERS_MAX),
    )
    is_narrow = grant.types != (ANY,) or grant.attributes != (ANY,) or grant.area is not None
    if Right.ADMINISTER in grant.rights and is_narrow:
        raise BadRequestData(
            f"The right {Right.ADMINISTER} is for whole tenants; types, attributes and area cannot narrow it",
            where=f"{where}/rights",
        )
    return grant


def check_tenant(tenant: str) -> str:
    """Return the name of a tenant if it may be one. Raises: BadRequestData."""
    if len(tenant) > TENANT_CHARACTERS_MAX or " " in tenant or not (tenant.isascii() and tenant.isprintable()):
        raise BadRequestData(
            f"{tenant!r:.80} is no tenant; allowed are up to {TENANT_CHARACTERS_MAX} printable ASCII characters"
        )
    return tenant


def check_role_name(name: str, where: str) -> str:
    """Return the name if a role may have it. Raises: BadRequestData."""
    if ROLE_NAME.fullmatch(name) is None:
        raise BadRequestData(
            f"{name!r:.80} is no name of a role; allowed are up to 63 ASCII letters, digits and . _ : -,"
            " beginning with a letter or digit",
            where=where,
        )
    return name


def check_role(role: Json, where: str) -> str:
    """Return a role as a token has it, "reader" or "reader@songpa", if it is written well. Raises: BadRequestData."""
    if not isinstance(role, str):
        raise BadRequestData('A role is a text such as "reader" or "reader@songpa"', where=where)
    name, tenant = split_role(role)
    check_role_name(name, where)
    if tenant:
        try:
            check_tenant(tenant)
        except BadRequestData as error:
            raise BadRequestData(error.detail, where=where) from None
    return role


def _members(data: Json, where: str, allowed: tuple[str, ...]) -> dict[str, Json]:
    if not isinstance(data, dict):
        raise BadRequestData(f"An object is needed here; allowed members are {', '.join(allowed)}", where=where)
    for name in data:
        if name not in allowed:
            raise BadRequestData(
                f"The member {name!r:.80} is not known; allowed are {', '.join(allowed)}", where=f"{where}/{name:.80}"
            )
    return data


def _list(data: Json, where: str, count_max: int, what: str) -> list[Json]:
    if not isinstance(data, list) or len(data) > count_max:
        raise BadRequestData(f"An array is needed here; allowed are up to {count_max} {what}", where=where)
    return data


def _text(data: Json, where: str, characters_max: int, *, may_be_empty: bool = False) -> str:
    is_text = isinstance(data, str) and len(data) <= characters_max and data.isprintable()
    if not is_text or not (data.strip() or may_be_empty):
        raise BadRequestData(
            f"A text is needed here; allowed are 1 to {characters_max} printable characters", where=where
        )
    return str(data)


def _rights(data: Json, where: str) -> frozenset[Right]:
    found = _list(data, where, len(Right), "rights")
    known = set(Right)
    for index, each in enumerate(found):
        if not isinstance(each, str) or each not in known:
            raise BadRequestData(f"{each!r:.80} is no right; allowed are {_RIGHTS}", where=f"{where}/{index}")
    if not found:
        raise BadRequestData(f"A grant needs a right; allowed are {_RIGHTS}", where=where)
    return frozenset(Right(each) for each in found)


def _names(body: Mapping[str, Json], member: str, where: str, read: Expand) -> tuple[str, ...]:
    where = f"{where}/{member}"
    found = _list(body.get(member, [ANY]), where, GRANT_NAMES_MAX, member)
    if not found:
        raise BadRequestData(f'The list is empty; allowed are names, or ["{ANY}"] for all', where=where)
    if ANY in found:
        if len(found) > 1:
            raise BadRequestData(f'"{ANY}" means all, so nothing else may stand beside it', where=where)
        return (ANY,)
    names: dict[str, None] = {}
    for index, each in enumerate(found):
        if not isinstance(each, str):
            raise BadRequestData(f"{each!r:.80} is no name; allowed are texts", where=f"{where}/{index}")
        try:
            names[read(each)] = None
        except BadRequestData as error:
            raise BadRequestData(error.detail, where=f"{where}/{index}") from None
    return tuple(names)


def _area(data: Json, where: str) -> Any:
    if data is None:
        return None
    if not isinstance(data, dict) or data.get("type") not in _AREAS or set(data) - {"type", "coordinates"}:
        raise BadRequestData(
            'An area is a GeoJSON Polygon or MultiPolygon; allowed is {"type": "Polygon", "coordinates": […]}',
            where=where,
        )
    try:
        check_geometry(data)
        geometry.check(data["type"], data["coordinates"], where)
    except BadRequestData as error:
        raise BadRequestData(error.detail, where=where) from None
    return {"type": data["type"], "coordinates": data["coordinates"]}


def _expiry(data: Json, now_us: int) -> int | None:
    if data is None:
        return None
    moment_us = parse_date_time(data, where="/expires")
    if moment_us <= now_us:
        raise BadRequestData("The token would have expired already; allowed are moments to come", where="/expires")
    return moment_us


def _number(data: Json, where: str, number_max: float) -> float | None:
    if data is None:
        return None
    is_number = isinstance(data, int | float) and not isinstance(data, bool) and isfinite(data)
    if not is_number or not 0 <= data <= number_max:
        raise BadRequestData(f"{data!r:.80} is not allowed; allowed are numbers from 0 to {number_max:g}", where=where)
    return float(data)


def _whole(data: Json, where: str, number_max: int) -> int | None:
    if data is None:
        return None
    if not isinstance(data, int) or isinstance(data, bool) or not 0 <= data <= number_max:
        raise BadRequestData(
            f"{data!r:.80} is not allowed; allowed are whole numbers from 0 to {number_max}", where=where
        )
    return data


# ---- stored and shown


def write_grant(grant: Grant, *, type_of: Expand = str, attribute_of: Expand = str) -> dict[str, Json]:
    """Return a grant as JSON; `type_of` and `attribute_of` may shorten names for a reader."""
    found: dict[str, Json] = {
        "rights": [right.value for right in Right if right in grant.rights],
        "tenants": list(grant.tenants),
        "types": [each if each == ANY else type_of(each) for each in grant.types],
        "attributes": [each if each == ANY else attribute_of(each) for each in grant.attributes],
    }
    if grant.area is not None:
        found["area"] = grant.area
    if grant.purpose is not None:
        found["purpose"] = grant.purpose
    return found


def stored_grant(data: Mapping[str, Any]) -> Grant:
    """Return a grant that `write_grant` wrote; a right that this version does not know is left out."""
    known = set(Right)
    return Grant(
        rights=frozenset(Right(each) for each in data["rights"] if each in known),
        tenants=tuple(data["tenants"]),
        types=tuple(data["types"]),
        attributes=tuple(data["attributes"]),
        area=data.get("area"),
        purpose=data.get("purpose"),
    )
