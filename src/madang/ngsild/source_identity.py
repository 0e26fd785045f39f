# SPDX-License-Identifier: Apache-2.0
"""Who this hub is (ETSI CIM 009 clauses 5.2.40, 5.15): id, alias in Via headers, uptime, time."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from madang.base.times import format_date_time
from madang.ngsild.manners import Parameters, answer, link_context, negotiate, tenant_of
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core

_NAMESPACE: Final = uuid.UUID("b2a5b6cf-8a1e-4b4e-a9a5-1f4f0c1d6a0e")


def routes(core: Core, *, hub_id: str) -> list[Route]:
    """Return the routes of /info; `hub_id` tells this hub from every other one and stays the same over restarts."""
    started_us = core.clock.now_us()

    async def retrieve(request: Request) -> Response:
        media = negotiate(request)
        Parameters.read(request, ())
        tenant = tenant_of(request)
        context = await link_context(request, core, tenant)
        now_us = core.clock.now_us()
        # The alias names the tenant too: two tenants of one hub may be sources of each other without being a loop.
        identity = uuid.uuid5(_NAMESPACE, f"{hub_id}\n{tenant}")
        body = {
            "id": f"urn:ngsi-ld:ContextSourceIdentity:{identity}",
            "type": "ContextSourceIdentity",
            "contextSourceAlias": f"madang-{identity.hex[:20]}",
            "contextSourceUptime": duration(now_us - started_us),
            "contextSourceTimeAt": format_date_time(now_us),
        }
        return answer(200, body, context=context, media=media)

    return [Route(("GET",), "/info/sourceIdentity", retrieve)]


def duration(microseconds: int) -> str:
    """Return the ISO 8601 text of a duration in days, hours, minutes and whole seconds."""
    minutes, seconds = divmod(max(0, microseconds) // 1_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"P{days}DT{hours}H{minutes}M{seconds}S"
