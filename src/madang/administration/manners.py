# SPDX-License-Identifier: Apache-2.0
"""What the resources of this room do alike: bodies, @contexts, answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from madang.base.errors import BadRequestData, InvalidRequest
from madang.core.caller import caller
from madang.model.access import OPEN, SYSTEM, Caller
from madang.model.access_form import check_tenant
from madang.wire.http import Request, Response
from madang.wire.links import linked_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from madang.core.contexts import Contexts
    from madang.model.entity import Json
    from madang.model.jsonld.context import Context

ROOT: Final = "/madang/v1"
# Nothing that is said here belongs into a cache.
_HEADERS: Final = (("content-type", "application/json"), ("cache-control", "no-store"))


def tenant_of(request: Request) -> str:
    """Return the tenant a request is for; "" is the default one. Raises: BadRequestData: it is no name of a tenant."""
    return check_tenant(request.header("ngsild-tenant") or "")


async def context_of(request: Request, contexts: Contexts, tenant: str = "") -> Context:
    """Return the @context that the Link header names, or the hub's default. Raises: BadRequestData. Upstream."""
    link = request.header("link")
    url = None if link is None else linked_context(link)
    return contexts.default if url is None else await contexts.resolve(tenant, url)


async def read_body(request: Request, contexts: Contexts) -> tuple[Json, Context]:
    """Return a body without its "@context", and the @context for its names: that one, or else that of the Link header.

    Raises: InvalidRequest: it is not JSON. BadRequestData, Upstream: the @context cannot be used or had.
    """
    try:
        data = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadRequestData("The body is not a JSON object", where="")
    if "@context" in data:
        return data, await contexts.resolve("", data.pop("@context"))
    return data, await context_of(request, contexts)


async def without_body(request: Request) -> None:
    """Return if there is no body, or one that says nothing. Raises: BadRequestData: it would not be looked at."""
    if (await request.body()).strip() not in (b"", b"{}"):
        raise BadRequestData("This request takes no body; allowed is none, or {}", where="")


def answer(status: int, data: Json, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """Return an answer with a JSON body."""
    return Response(status, orjson.dumps(data), [*_HEADERS, *headers])


def who_calls() -> Caller:
    """Return who calls; on an open hub it is everybody."""
    who = caller()
    return OPEN if who is SYSTEM else who
