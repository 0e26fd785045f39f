# SPDX-License-Identifier: Apache-2.0
"""The @contexts this hub stores: /jsonldContexts and /jsonldContexts/{contextId} (clauses 5.13, 6.29, 6.30)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.base.errors import BadRequestData, InvalidRequest
from madang.base.times import format_date_time
from madang.core.context_records import KINDS
from madang.ngsild.manners import api_location, created, no_content, plain, read_json, tenant_of
from madang.ngsild.media import JSON, LD_JSON, negotiate
from madang.ngsild.parameters import Parameters
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.context_records import Kind
    from madang.core.contexts import ContextDescription
    from madang.core.hub import Core
    from madang.model.entity import Json


def routes(core: Core) -> list[Route]:
    """Return the routes of stored @contexts, below the API root."""
    face = ContextsFace(core)
    return [
        Route(("POST",), "/jsonldContexts", face.add),
        Route(("GET",), "/jsonldContexts", face.list),
        Route(("GET",), "/jsonldContexts/{context_id}", face.serve),
        Route(("DELETE",), "/jsonldContexts/{context_id}", face.delete),
    ]


class ContextsFace:
    """HTTP manners around `core.contexts`."""

    def __init__(self, core: Core) -> None:
        self._contexts = core.contexts

    async def add(self, request: Request) -> Response:
        Parameters.read(request, ())
        _, body = await read_json(request)
        if not isinstance(body, dict) or "@context" not in body:
            raise InvalidRequest('The body has to be a JSON object with the member "@context"', where="/@context")
        id = await self._contexts.add(tenant_of(request), body["@context"])
        return created(api_location("jsonldContexts", id))

    async def list(self, request: Request) -> Response:
        negotiate(request, (JSON,))
        parameters = Parameters.read(request, ("details", "kind"))
        found = await self._contexts.listing(tenant_of(request), _kind(parameters))
        if _flag(parameters, "details"):
            return plain(200, [_metadata(description) for description in found])
        return plain(200, [description.url for description in found])

    async def serve(self, request: Request) -> Response:
        media = negotiate(request, (JSON, LD_JSON))
        parameters = Parameters.read(request, ("details",))
        tenant, id = tenant_of(request), request.parameters["context_id"]
        if _flag(parameters, "details"):
            return plain(200, _metadata(await self._contexts.describe(tenant, id)))
        answer = plain(200, await self._contexts.serve(tenant, id))
        answer.headers[0] = ("content-type", media)
        return answer

    async def delete(self, request: Request) -> Response:
        parameters = Parameters.read(request, ("reload",))
        tenant, id = tenant_of(request), request.parameters["context_id"]
        if _flag(parameters, "reload"):
            await self._contexts.reload(tenant, id)
        else:
            await self._contexts.delete(tenant, id)
        return no_content()


def _metadata(description: ContextDescription) -> dict[str, Json]:
    """Return the members of clause 5.13.3.5."""
    data: dict[str, Json] = {
        "URL": description.url,
        "localId": description.id,
        "kind": description.kind,
        "createdAt": format_date_time(description.created_us),
    }
    if description.expires_us is not None:
        data["expiresAt"] = format_date_time(description.expires_us)
    if description.last_usage_us is not None:
        data["lastUsage"] = format_date_time(description.last_usage_us)
    if description.hits is not None:
        data["numberOfHits"] = description.hits
    if description.built_in:
        data["extraInfo"] = "built in"
    return data


def _kind(parameters: Parameters) -> Kind | None:
    text = parameters.values.get("kind")
    if text is None:
        return None
    for kind in KINDS:
        if kind == text:
            return kind
    raise BadRequestData(f"{text!r:.80} is no kind of @context; allowed are {', '.join(KINDS)}", where="kind")


def _flag(parameters: Parameters, name: str) -> bool:
    # The suite and clause 6.29.3.2 speak of data here, where Parameters.flag would call the request unreadable.
    text = parameters.values.get(name)
    if text in {None, "false"}:
        return False
    if text == "true":
        return True
    raise BadRequestData(f"{text!r:.80} is not a Boolean; allowed are true and false", where=name)
