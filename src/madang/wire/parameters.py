# SPDX-License-Identifier: Apache-2.0
"""Resources that take no URL parameters say so, rather than pass over what somebody meant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import unquote_plus

from madang.base.errors import InvalidRequest
from madang.wire.http import Handler, Request, Response, Route


def without_parameters(routes: Iterable[Route]) -> list[Route]:
    """Return the routes with every URL parameter refused."""
    return [replace(route, handler=_refusing(route.handler)) for route in routes]


def _refusing(handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        for pair in request.query_string.split("&"):
            name = unquote_plus(pair.partition("=")[0])
            if name:
                raise InvalidRequest(f"The parameter {name!r:.80} is not known here; allowed are none", where=name[:80])
        return await handler(request)

    return handle
