# SPDX-License-Identifier: Apache-2.0
"""Entity maps: /entityMaps, /entityMaps/{id} and /temporal/entityMaps (clauses 5.14, 6.32, 6.34, 6.35)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from madang.base.errors import BadRequestData
from madang.base.times import parse_date_time
from madang.model.jsonld.expand import check_uri
from madang.model.query.entity_query import PARAMETERS, ParsedQuery, parse_query, parse_query_body
from madang.model.temporal.duration import DAY_US, SECOND_US, parse_duration
from madang.ngsild.manners import (
    GEO_JSON,
    JSON,
    LD_JSON,
    PAGE_PARAMETERS,
    Parameters,
    answer,
    api_location,
    link_context,
    negotiate,
    no_content,
    read_body,
    read_page,
    tenant_of,
)
from madang.ngsild.representations import REPRESENTATION_PARAMETERS, representation
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.entity_map import EntityMap
    from madang.core.hub import Core
    from madang.model.jsonld.context import Context

MAP_HEADER: Final = "ngsild-entitymap"
_COLLECTION: Final = "entityMaps"
# Of the parameters of a query those that only say how entities are given out are accepted and ignored (5.14.4.3).
_PARAMETERS: Final = PARAMETERS | PAGE_PARAMETERS | REPRESENTATION_PARAMETERS | {"entityMap", "entityMapLifetime"}
_BODY_PARAMETERS: Final = PAGE_PARAMETERS | REPRESENTATION_PARAMETERS | {"local"}


def map_location(id: str) -> str:
    """Return the resource URI of an entity map, as it stands in the NGSILD-EntityMap header."""
    return api_location(_COLLECTION, id)


def map_id(location: str) -> str:
    """Return the id of the map that a header names, by its resource URI or by the bare id."""
    _, found, last = location.rpartition(f"/{_COLLECTION}/")
    return unquote(last) if found else location


def map_lifetime_s(text: str | None) -> float | None:
    """Return the seconds of an entityMapLifetime. Raises: BadRequestData: it is no duration."""
    if text is None:
        return None
    duration = parse_duration(text, "entityMapLifetime")
    # Only a suggestion, so a month may count as 30 days.
    return (duration.months * 30 * DAY_US + duration.microseconds) / SECOND_US


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = EntityMapsFace(core)
    return [
        Route(("GET",), "/entityMaps", face.create),
        Route(("POST",), "/entityMaps", face.create_by_body),
        Route(("GET",), "/entityMaps/{entity_map_id}", face.retrieve),
        Route(("PATCH",), "/entityMaps/{entity_map_id}", face.update),
        Route(("DELETE",), "/entityMaps/{entity_map_id}", face.delete),
    ]


class EntityMapsFace:
    """HTTP manners around `core.entity_maps`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._maps = core.entity_maps

    async def create(self, request: Request) -> Response:
        """Create EntityMap for Query Entities (5.14.4) by GET."""
        media = negotiate(request, (JSON, LD_JSON, GEO_JSON))
        parameters = Parameters.read(request, _PARAMETERS)
        read_page(parameters)
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        representation(parameters, media, context)
        parsed = parse_query(parameters.values, context)
        return await self._create(tenant, parsed, map_lifetime_s(parameters.get("entityMapLifetime")), context, media)

    async def create_by_body(self, request: Request) -> Response:
        """Create EntityMap for Query Entities (5.14.4) by POST."""
        media = negotiate(request, (JSON, LD_JSON, GEO_JSON))
        parameters = Parameters.read(request, _BODY_PARAMETERS)
        read_page(parameters)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant)
        local = parameters.flag("local") if "local" in parameters else None
        parsed = parse_query_body(data, context, local=local)
        return await self._create(tenant, parsed, map_lifetime_s(parsed.entity_map_lifetime), context, media)

    async def _create(
        self, tenant: str, parsed: ParsedQuery, lifetime_s: float | None, context: Context, media: str
    ) -> Response:
        parsed.require_narrow()
        made = await self._maps.create(tenant, parsed.query, lifetime_s=lifetime_s)
        return created_map(made, context, media)

    async def retrieve(self, request: Request) -> Response:
        """Retrieve EntityMap (5.14.1)."""
        media = negotiate(request)
        Parameters.read(request, ())
        tenant, id = tenant_of(request), _target(request)
        context = await link_context(request, self._core, tenant)
        return answer(200, (await self._maps.retrieve(tenant, id)).as_json(), context=context, media=media)

    async def update(self, request: Request) -> Response:
        """Update EntityMap (5.14.2): only its expiry can be changed, other members are ignored."""
        Parameters.read(request, ())
        tenant, id = tenant_of(request), _target(request)
        data, _ = await read_body(request, self._core, tenant, patch=True)
        await self._maps.retrieve(tenant, id)
        if not isinstance(data, dict):
            raise BadRequestData("The body has to be an object with the members of an EntityMap", where="")
        if data.get("type", "EntityMap") != "EntityMap" or data.get("id", id) != id:
            raise BadRequestData("The type has to be EntityMap and the id that of the path", where="/type")
        expires = data.get("expiresAt")
        moment = None if expires is None else parse_date_time(expires, where="/expiresAt")
        await self._maps.update(tenant, id, expires_us=moment)
        return no_content()

    async def delete(self, request: Request) -> Response:
        """Delete EntityMap (5.14.3)."""
        Parameters.read(request, ())
        await self._maps.delete(tenant_of(request), _target(request))
        return no_content()


def created_map(made: EntityMap, context: Context, media: str) -> Response:
    """Return the 201 answer with a new map (6.34.3.1)."""
    headers = [(MAP_HEADER, map_location(made.id))]
    media = JSON if media == GEO_JSON else media
    return answer(201, made.as_json(), context=context, media=media, headers=headers)


def _target(request: Request) -> str:
    return check_uri(request.parameters["entity_map_id"], "entityMapId")
