# SPDX-License-Identifier: Apache-2.0
"""What every resource of the NGSI-LD face does alike (ETSI CIM 009 clause 6.3): bodies, contexts, headers, answers.

A GET of an entity reads, from top to bottom:

    media = negotiate(request, (JSON, LD_JSON, GEO_JSON))
    parameters = Parameters.read(request, ALLOWED)
    context = await link_context(request, core, tenant_of(request))
    …
    return answer(200, data, context=context, media=media)

The tenant and snapshot headers of a request are repeated by `madang.wire.application` in every answer, and
`Prefer: ngsi-ld=…` is dealt with by `madang.ngsild.conformance`; faces need do neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote, unquote_plus

import orjson

from madang.base.errors import BadRequestData, HubError, InvalidRequest
from madang.base.limits import JSON_DEPTH_MAX
from madang.ngsild.media import GEO_JSON, JSON, LD_JSON, MERGE_PATCH_JSON, content_type_of, negotiate
from madang.ngsild.parameters import PAGE_PARAMETERS, Page, Parameters, read_page
from madang.ngsild.representations import REPRESENTATION_PARAMETERS, read_format, read_options, representation
from madang.wire.http import Request, Response
from madang.wire.links import CONTEXT_RELATION, linked_context
from madang.wire.problems import Refusal, problem_details

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.model.entity import Json
    from madang.model.jsonld.context import Context

__all__ = [
    "GEO_JSON",
    "JSON",
    "LD_JSON",
    "MERGE_PATCH_JSON",
    "PAGE_PARAMETERS",
    "REPRESENTATION_PARAMETERS",
    "Page",
    "Parameters",
    "Refusal",
    "answer",
    "api_location",
    "content_type_of",
    "context_link",
    "count_header",
    "created",
    "link_context",
    "linked_context",
    "negotiate",
    "no_content",
    "page_links",
    "parse_json",
    "plain",
    "prefers_plain_json",
    "problem_details",
    "read_body",
    "read_each",
    "read_format",
    "read_json",
    "read_options",
    "read_page",
    "representation",
    "tenant_of",
]

API_ROOT: Final = "/ngsi-ld/v1"
TENANT_CHARACTERS_MAX: Final = 256
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
_FLAT_ROUNDS: Final = JSON_DEPTH_MAX // 2  # a round takes away at most two levels

Header: TypeAlias = tuple[str, str]

_CONTENT_TYPES: Final = {media: ("content-type", media) for media in (JSON, LD_JSON, GEO_JSON)}


# Requests


def tenant_of(request: Request) -> str:
    """Return the tenant a request is for (clause 6.3.14); "" is the default tenant.

    Raises: BadRequestData: the name is too long or holds something else than printable ASCII characters.
    """
    tenant = request.header("ngsild-tenant")
    if tenant is None:
        return ""
    if len(tenant) > TENANT_CHARACTERS_MAX or " " in tenant or not (tenant.isascii() and tenant.isprintable()):
        raise BadRequestData(
            f"{tenant!r:.80} is no tenant; allowed are up to {TENANT_CHARACTERS_MAX} printable ASCII characters",
            where="NGSILD-Tenant",
        )
    return tenant


async def link_context(request: Request, core: Core, tenant: str) -> Context:
    """Return the @context of a GET or DELETE, or of a JSON body: that of the Link header, or the hub's default."""
    link = request.header("link")
    if link is None:
        return core.contexts.default
    url = linked_context(link)
    if url is None:
        return core.contexts.default
    return core.contexts.known(tenant, url) or await core.contexts.resolve(tenant, url)


async def read_json(request: Request, *, patch: bool = False) -> tuple[str, Json]:
    """Return the media type (JSON or LD_JSON) and the content of a body, the @context untouched.

    Raises: Refusal: 415. InvalidRequest: the body is not JSON. TooLarge: it is larger than the hub reads.
    """
    media = content_type_of(request, patch=patch)
    return media, parse_json(await request.body())


async def read_body(request: Request, core: Core, tenant: str, *, patch: bool = False) -> tuple[Json, Context]:
    """Return the content of a body without "@context", and the @context it is to be read with (clauses 6.3.4, 6.3.5).

    Raises: what read_json raises. BadRequestData: @context and Link are not where the media type wants them.
        ContextNotAvailable.
    """
    media, data = await read_json(request, patch=patch)
    if media == JSON:
        _refuse_context(data)
        return data, await link_context(request, core, tenant)
    _refuse_link(request)
    return await _embedded(data, core, tenant)


async def read_each(request: Request, core: Core, tenant: str) -> list[tuple[Json, Context | HubError]]:
    """Return the elements of a body that is an array, each with its own @context or why there is none.

    The whole request fails only where the standard says so; what is wrong with one element stands beside it, for the
    207 answer (clause 5.6.7.4).
    """
    media, data = await read_json(request)
    if not isinstance(data, list):
        raise BadRequestData("The body has to be an array", where="")
    if media == JSON:
        context = await link_context(request, core, tenant)
        return [(item, _misplaced(item) or context) for item in data]
    _refuse_link(request)
    return [await _embedded_or_error(item, core, tenant) for item in data]


def parse_json(body: bytes) -> Json:
    """Return the JSON value of a body; of a member that comes twice the last counts.

    Raises: InvalidRequest: it is not JSON (RFC 8259: no NaN, no lone surrogates, no number beyond a double), or is
        nested more deeply than JSON_DEPTH_MAX.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from error
    # Each level takes a bracket, so a body with few of them needs no look, nor one whose brackets soon pair off.
    if (
        body.count(b"{") + body.count(b"[") > JSON_DEPTH_MAX
        and not _surely_flat(body)
        and _deeper_than(data, JSON_DEPTH_MAX)
    ):
        raise InvalidRequest(f"The body is nested more deeply than the {JSON_DEPTH_MAX} levels this hub reads")
    return data


def prefers_plain_json(request: Request) -> bool:
    """Tell whether the client wants the @context of a GeoJSON answer in the Link header (clause 6.3.6)."""
    prefer = request.header("prefer")
    return prefer is not None and any(part.strip() == "body=json" for part in prefer.replace(";", ",").split(","))


def _refuse_context(data: Json) -> None:
    for item in data if isinstance(data, list) else (data,):
        error = _misplaced(item)
        if error is not None:
            raise error


def _misplaced(item: Json) -> BadRequestData | None:
    if isinstance(item, dict) and "@context" in item:
        return BadRequestData(
            f"A body of type {JSON} has no @context; send it in a Link header, or send {LD_JSON}", where="/@context"
        )
    return None


def _refuse_link(request: Request) -> None:
    link = request.header("link")
    if link is not None and linked_context(link) is not None:
        raise BadRequestData(
            f"A request of type {LD_JSON} has its @context in the body; a Link header beside it is not allowed",
            where="Link",
        )


async def _embedded(data: Json, core: Core, tenant: str) -> tuple[Json, Context]:
    if not isinstance(data, dict) or "@context" not in data:
        raise BadRequestData(f"A body of type {LD_JSON} has to have a member @context", where="/@context")
    source = data.pop("@context")
    return data, await core.contexts.resolve(tenant, source)


async def _embedded_or_error(data: Json, core: Core, tenant: str) -> tuple[Json, Context | HubError]:
    try:
        return await _embedded(data, core, tenant)
    except HubError as error:
        return data, error


def _surely_flat(body: bytes) -> bool:
    """Tell whether the brackets of a body pair off within a few rounds, which bounds its depth; quick for large bodies.

    Brackets inside texts may spoil this; then the answer is False and the value itself is looked at.
    """
    brackets = body.translate(None, delete=_NO_BRACKETS)
    for _ in range(_FLAT_ROUNDS):
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if not brackets:
            return True
    return False


def _deeper_than(data: Json, levels: int) -> bool:
    """Tell whether arrays and objects stand more than so many levels inside each other."""
    level = [data]
    for _ in range(levels):
        below: list[Json] = []
        for item in level:
            members = item.values() if isinstance(item, dict) else item
            below += [member for member in members if isinstance(member, (dict, list))]
        if not below:
            return False
        level = below
    return True


# Answers


def answer(
    status: int,
    data: Json,
    *,
    context: Context,
    media: str = JSON,
    headers: Sequence[Header] = (),
    body_context: bool = True,
) -> Response:
    """Return an answer with a body and its @context where the media type wants it (clause 6.3.6).

    `data` is an object, a list of objects, or ready bytes. Ready bytes go out as they are: for LD_JSON (and GEO_JSON
    with `body_context`) their "@context" is already inside. For GEO_JSON, `body_context` False puts the @context into
    the Link header (see `prefers_plain_json`). A context that is not one URL gets no Link header here: its URL comes
    from `Contexts.link`, its header from `context_link`.
    """
    embedded = media == LD_JSON or (media == GEO_JSON and body_context)
    if isinstance(data, bytes):
        body = data
    elif not embedded:
        body = orjson.dumps(data)
    elif isinstance(data, dict):
        body = orjson.dumps({**data, "@context": context.source})
    else:
        body = orjson.dumps([{**item, "@context": context.source} for item in data])
    url = None if embedded else context.link
    if url is None:
        return Response(status, body, [_CONTENT_TYPES[media], *headers])
    return Response(status, body, [_CONTENT_TYPES[media], context_link(url), *headers])


def plain(status: int, data: Json, headers: Sequence[Header] = ()) -> Response:
    """Return application/json without any @context: 207 answers and what is not JSON-LD at all."""
    body = data if isinstance(data, bytes) else orjson.dumps(data)
    return Response(status, body, [_CONTENT_TYPES[JSON], *headers])


def no_content(headers: Sequence[Header] = ()) -> Response:
    """Return a 204."""
    return Response(204, b"", list(headers))


def created(location: str, headers: Sequence[Header] = ()) -> Response:
    """Return a 201 without body; `location` is the path of the new resource (see `api_location`)."""
    return Response(201, b"", [("location", location), *headers])


def api_location(collection: str, id: str) -> str:
    """Return the path of a resource, such as "/ngsi-ld/v1/entities/urn:a:b"."""
    return f"{API_ROOT}/{collection}/{quote(id, safe=_PATH_SAFE)}"


def count_header(count: int) -> Header:
    """Return the header with the number of all results (clause 6.3.13)."""
    return ("ngsild-results-count", str(count))


def page_links(request: Request, page: Page, *, more: bool, media: str = JSON) -> list[Header]:
    """Return the Link headers to the previous page and, if there is `more` behind this one, the next (6.3.10)."""
    if page.limit == 0 or not (more or page.offset):
        return []
    links = []
    if page.offset:
        links.append(_page_link(request, page, max(0, page.offset - page.limit), "prev", media))
    if more:
        links.append(_page_link(request, page, page.offset + page.limit, "next", media))
    return links


@lru_cache(maxsize=1024)
def context_link(url: str) -> Header:
    """Return the Link header that names the @context of a JSON answer."""
    return ("link", f'<{url}>; rel="{CONTEXT_RELATION}"; type="{LD_JSON}"')


def _page_link(request: Request, page: Page, offset: int, relation: str, media: str) -> Header:
    given = (part.partition("=") for part in request.query_string.split("&") if part)
    parameters = {unquote_plus(name): unquote_plus(value) for name, _, value in given}
    parameters |= {"limit": str(page.limit), "offset": str(offset)}
    query = "&".join(f"{name}={quote(value, safe=_QUERY_SAFE)}" for name, value in sorted(parameters.items()))
    path = quote(request.path.rstrip("/"), safe=_PATH_SAFE)
    return ("link", f'<{path}?{query}>; rel="{relation}"; type="{media}"')


# What RFC 3986 lets stand in a path or a query, but the comma, which some clients take for the end of a Link value.
_PATH_SAFE = "/:@!$&'()*+;=~"
_QUERY_SAFE = "/:@!$'()*;=~?"
