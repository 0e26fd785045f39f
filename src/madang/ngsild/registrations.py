# SPDX-License-Identifier: Apache-2.0
"""Context source registrations and their subscriptions: not offered yet, and said so as the standard wants (5.5.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.base.errors import Unsupported
from madang.ngsild.manners import link_context, negotiate, read_body, tenant_of
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core


def routes(core: Core) -> list[Route]:
    """Return the routes of /csourceRegistrations and /csourceSubscriptions."""

    async def refuse(request: Request) -> Response:
        # What is wrong with the request itself is told first, as everywhere (clause 6.3.4).
        tenant = tenant_of(request)
        if request.method in ("GET", "HEAD"):
            negotiate(request)
            await link_context(request, core, tenant)
        elif request.method != "DELETE":
            await read_body(request, core, tenant, patch=request.method == "PATCH")
        raise Unsupported("This hub works with its own data only; it does not take registrations of other sources yet")

    collections = ("/csourceRegistrations", "/csourceSubscriptions")
    return [
        route
        for path in collections
        for route in (
            Route(("GET", "POST"), path, refuse),
            Route(("GET", "PATCH", "DELETE"), path + "/{id}", refuse),
        )
    ]
