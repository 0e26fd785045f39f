# SPDX-License-Identifier: Apache-2.0
"""Hub tokens: made, listed, revoked. What a token says is told once, when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.administration.manners import ROOT, answer, context_of, read_body
from madang.model.access_form import read_token, write_grant
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.access import Access
    from madang.core.contexts import Contexts
    from madang.core.tokens import Token
    from madang.model.entity import Json
    from madang.model.jsonld.context import Context


def routes(access: Access, contexts: Contexts, clock: Clock) -> list[Route]:
    """Return the routes of tokens."""
    resource = _Tokens(access, contexts, clock)
    return [
        Route(("GET",), "/tokens", resource.list, tenantless=True),
        Route(("POST",), "/tokens", resource.create, tenantless=True),
        Route(("DELETE",), "/tokens/{token_id}", resource.revoke, tenantless=True),
    ]


class _Tokens:
    def __init__(self, access: Access, contexts: Contexts, clock: Clock) -> None:
        self._access = access
        self._contexts = contexts
        self._clock = clock

    async def list(self, request: Request) -> Response:
        found = self._access.tokens()
        context = await context_of(request, self._contexts)
        now_us = self._clock.now_us()
        return answer(200, [shown(token, context, now_us) for token in found])

    async def create(self, request: Request) -> Response:
        self._access.need_administrator()
        data, context = await read_body(request, self._contexts)
        now_us = self._clock.now_us()
        wanted = read_token(
            data,
            now_us,
            type_of=context.type_names.__getitem__,
            attribute_of=context.attribute_names.__getitem__,
        )
        secret, token = await self._access.create_token(wanted)
        said = {"token": secret, **shown(token, context, now_us)}
        return answer(201, said, [("location", f"{ROOT}/tokens/{token.id}")])

    async def revoke(self, request: Request) -> Response:
        await self._access.revoke(request.parameters["token_id"])
        return Response(204)


def shown(token: Token, context: Context, now_us: int) -> dict[str, Json]:
    """Return what an administrator sees of a token: all but its secret and its hash."""
    state = "valid" if now_us < token.until_us else "expired" if token.revoked is None else "revoked"
    said: dict[str, Json] = {
        "id": token.id,
        "label": token.label,
        "state": state,
        "roles": list(token.roles),
        "grants": [write_grant(grant, type_of=context.compact, attribute_of=context.compact) for grant in token.grants],
        "created": token.created,
        "createdBy": token.created_by,
        "expires": token.expires,
        "revoked": token.revoked,
        "ratePerSecond": token.rate_per_s,
        "quotaPerDay": token.quota_per_day,
    }
    return {name: value for name, value in said.items() if value is not None}
