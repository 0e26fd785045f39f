# SPDX-License-Identifier: Apache-2.0
"""GET /me: who am I to this hub, and what may I do?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.administration.manners import answer, context_of, who_calls
from madang.model.access_form import write_grant
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.access import Access
    from madang.core.contexts import Contexts
    from madang.model.entity import Json


def routes(access: Access, contexts: Contexts) -> list[Route]:
    """Return the route of the caller's own view of itself."""

    async def tell(request: Request) -> Response:
        who = who_calls()
        context = await context_of(request, contexts)
        said: dict[str, Json] = {
            "id": who.id,
            "kind": who.kind,
            "grants": [
                write_grant(grant, type_of=context.compact, attribute_of=context.compact) for grant in who.grants
            ],
        }
        rate_per_s, quota_per_day = access.limits_of(who)
        if rate_per_s:
            said["ratePerSecond"] = rate_per_s
        if quota_per_day:
            said["quotaPerDay"] = quota_per_day
        return answer(200, said)

    return [Route(("GET",), "/me", tell, tenantless=True)]
