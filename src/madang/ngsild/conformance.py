# SPDX-License-Identifier: Apache-2.0
"""`Prefer: ngsi-ld=1.5`: answers in the form of an earlier version of the standard (clauses 4.3.6.8 and 6.3.6)."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Final

import orjson

from madang.model.conformance import NATIVE, Version, amend
from madang.wire.http import Handler, Request, Response, Route

__all__ = ["NATIVE", "Version", "amend", "preferred_version", "preferring"]

_PREFERENCE: Final = re.compile(r"\s*ngsi-ld\s*=\s*\"?(\d{1,3})\.(\d{1,3})\"?\s*(?:;.*)?", re.IGNORECASE | re.ASCII)


def preferring(route: Route, *, entities: bool) -> Route:
    """Return the route with the version preference honoured.

    `entities` tells whether its answers are entity data, the only thing that has older forms; others stay as they are.
    """
    handler = route.handler

    def handle(request: Request) -> Awaitable[Response]:
        prefer = request.header("prefer")
        return handler(request) if prefer is None else _handle_preferring(handler, request, prefer, entities=entities)

    return Route(route.methods, route.path, handle)


async def _handle_preferring(handler: Handler, request: Request, prefer: str, *, entities: bool) -> Response:
    response = await handler(request)
    wanted = preferred_version(prefer)
    if wanted is None or response.status not in (200, 206):
        return response
    given = min(wanted, NATIVE)
    headers = [*response.headers, ("preference-applied", f"ngsi-ld={given[0]}.{given[1]}")]
    if given == NATIVE or not entities:
        return Response(response.status, response.body, headers)
    data = orjson.loads(response.body)
    amended = amend(data, given)
    if amended == data:
        return Response(response.status, response.body, headers)
    # RFC 9110 clause 15.3.4: the payload is no longer what the resource says.
    return Response(203, orjson.dumps(amended), headers)


def preferred_version(prefer: str) -> Version | None:
    """Return the version a Prefer header asks for (RFC 7240); None when it asks for none."""
    for preference in prefer.split(","):
        found = _PREFERENCE.fullmatch(preference)
        if found is not None:
            return int(found[1]), int(found[2])
    return None
