# SPDX-License-Identifier: Apache-2.0
"""Hub tokens as they are kept: all but their secrets."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from madang.base.times import format_date_time, try_date_time
from madang.core.hub_token import hash_of
from madang.model.access import Grant
from madang.model.access_form import TokenRequest, stored_grant, write_grant

if TYPE_CHECKING:
    from madang.core.writer import View
    from madang.model.entity import Json

TOKEN: Final = "token"  # noqa: S105 (a kind of record)
_NEVER_US: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Token:
    """A hub token as it is kept: all but its secret."""

    id: str
    hash: str
    label: str
    roles: tuple[str, ...]
    grants: tuple[Grant, ...]
    created: str
    created_by: str | None
    expires: str | None
    rate_per_s: float | None
    quota_per_day: int | None
    revoked: str | None

    @property
    def until_us(self) -> int:
        """When it stops to count, in microseconds since 1970 UTC."""
        if self.revoked is not None:
            return 0
        return _NEVER_US if self.expires is None else try_date_time(self.expires) or 0


def put_token(view: View, secret: str, wanted: TokenRequest, by: str | None) -> Token:
    """Write a token in a mutation of the default tenant and return it."""
    id = secrets.token_hex(6)
    body: dict[str, Json] = {
        "hash": hash_of(secret),
        "label": wanted.label,
        "roles": list(wanted.roles),
        "grants": [write_grant(grant) for grant in wanted.grants],
        "created": view.now,
        "createdBy": by,
        "expires": None if wanted.expires_us is None else format_date_time(wanted.expires_us),
        "ratePerSecond": wanted.rate_per_s,
        "quotaPerDay": wanted.quota_per_day,
        "revoked": None,
    }
    view.put_record(TOKEN, id, body)
    return stored_token(id, body)


def stored_token(id: str, body: Mapping[str, Any]) -> Token:
    return Token(
        id=id,
        hash=body["hash"],
        label=body["label"],
        roles=tuple(body["roles"]),
        grants=tuple(stored_grant(each) for each in body["grants"]),
        created=body["created"],
        created_by=body.get("createdBy"),
        expires=body.get("expires"),
        rate_per_s=body.get("ratePerSecond"),
        quota_per_day=body.get("quotaPerDay"),
        revoked=body.get("revoked"),
    )
