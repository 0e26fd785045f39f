# SPDX-License-Identifier: Apache-2.0
"""Madang's own resources about data, below /madang/v1: declared indexes."""

from __future__ import annotations

from typing import Final

import orjson

from madang.base.errors import BadRequestData, InvalidRequest
from madang.core.indexes import Indexes
from madang.model.jsonld.context import CORE
from madang.wire.http import Request, Response, Route
from madang.wire.parameters import without_parameters

_JSON: Final = [("content-type", "application/json")]


def routes(indexes: Indexes) -> list[Route]:
    """Return the route table of the catalogue room."""
    return without_parameters(
        [
            Route(("GET",), "/indexes", lambda request: _list(indexes, request)),
            Route(("POST",), "/indexes", lambda request: _declare(indexes, request)),
            Route(("DELETE",), "/indexes/{attribute}", lambda request: _drop(indexes, request)),
        ]
    )


async def _list(indexes: Indexes, request: Request) -> Response:
    listed = await indexes.listed(_tenant(request))
    return Response(200, orjson.dumps([{"attribute": name} for name in listed]), list(_JSON))


async def _declare(indexes: Indexes, request: Request) -> Response:
    """Take {"attribute": name}: a term of the core context or a full IRI."""
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from None
    name = body.get("attribute") if isinstance(body, dict) else None
    if not isinstance(name, str) or not name:
        raise BadRequestData('The body names no attribute; allowed is {"attribute": "NO2"}', where="/attribute")
    await indexes.declare(_tenant(request), CORE.expand(name))
    return Response(204)


async def _drop(indexes: Indexes, request: Request) -> Response:
    await indexes.drop(_tenant(request), CORE.expand(request.parameters["attribute"]))
    return Response(204)


def _tenant(request: Request) -> str:
    return request.header("ngsild-tenant") or ""
