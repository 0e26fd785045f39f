# SPDX-License-Identifier: Apache-2.0
"""Writing whole entities: POST and DELETE /entities, PATCH, PUT and DELETE /entities/{id} (clauses 6.4 and 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from madang.base.errors import BadRequestData, InvalidRequest
from madang.base.times import parse_date_time
from madang.model.entity import NGSI_LD_NULL, VALUE_MEMBERS, Document, Json
from madang.model.jsonld.expand import check_uri, parse_entity, parse_fragment, parse_simplified
from madang.model.jsonld.values import NO_LANGUAGE
from madang.model.query import types
from madang.model.query.entity_query import parse_query
from madang.model.query.model import EntityQuery, TypeSelection
from madang.model.query.names import CORE_MEMBERS, canonical
from madang.model.query.q_tree import link_depth
from madang.ngsild.entity_maps import MAP_HEADER, map_id
from madang.ngsild.manners import (
    api_location,
    created,
    link_context,
    no_content,
    plain,
    read_body,
    tenant_of,
)
from madang.ngsild.parameters import Parameters
from madang.ngsild.representations import read_format, read_options
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.core.provision import UpdateResult
    from madang.model.jsonld.context import Context

LOCAL: Final = frozenset({"local"})
TYPE: Final = frozenset({"local", "type"})
_MERGE: Final = frozenset({"local", "type", "format", "lang", "observedAt", "options"})
_SIMPLIFIED: Final = frozenset({"simplified", "keyValues"})
_PURGE: Final = frozenset(
    {
        *("local", "type", "id", "idPattern", "attrs", "q", "csf", "scopeQ", "keep", "drop"),
        *("georel", "geometry", "coordinates", "geoproperty", "geometryProperty"),
    }
)
_VALUES: Final = tuple(dict.fromkeys(VALUE_MEMBERS.values()))
_SYSTEM_NAMES: Final = CORE_MEMBERS - {"scope"}


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = _Face(core)
    return [
        Route(("POST",), "/entities", face.create),
        Route(("DELETE",), "/entities", face.purge),
        Route(("PATCH",), "/entities/{entity_id}", face.merge),
        Route(("PUT",), "/entities/{entity_id}", face.replace),
        Route(("DELETE",), "/entities/{entity_id}", face.delete),
        # An empty id leaves a path without it: the standard wants BadRequestData (5.6.17.4, 5.6.18.4).
        Route(("PATCH", "PUT"), "/entities", without_id),
    ]


async def without_id(_: Request) -> Response:
    """Refuse a request whose path has no entity id."""
    raise BadRequestData("The id of the entity is missing in the path; it has to be a URI", where="entityId")


class _Face:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def create(self, request: Request) -> Response:
        """Create Entity (5.6.1, 6.4.3.1)."""
        if request.query_string:
            _check(Parameters.read(request, LOCAL))
        tenant = tenant_of(request)
        try:
            data, context = await read_body(request, self._core, tenant)
            document = parse_entity(data, context)
        except BadRequestData as error:
            # What is no object cannot be read as an entity at all (5.5.2: "syntactically invalid").
            if not (await request.body()).lstrip().startswith(b"{"):
                raise InvalidRequest("The body has to be one entity, a JSON object", where="") from error
            raise
        await self._core.provision.create(tenant, document)
        return created(api_location("entities", document["id"]))

    async def merge(self, request: Request) -> Response:
        """Merge Entity (5.6.17, 6.5.3.4)."""
        parameters = Parameters.read(request, _MERGE)
        id = target_id(request)
        observed_at = parameters.get("observedAt")
        if observed_at is not None:
            parse_date_time(observed_at, where="observedAt")
        format = read_format(parameters, _SIMPLIFIED, read_options(parameters, _SIMPLIFIED))
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant, patch=True)
        check_same_id(data, id)
        if format is None:
            refuse_null_values(data)

        def simplified(current: Document) -> Document:
            return parse_simplified(data, context, current)

        result = await self._core.provision.merge(
            tenant,
            id,
            parse_fragment(data, context, nulls=True) if format is None else simplified,
            types=selection(parameters, context),
            observed_at=observed_at,
            # A bare text for a LanguageProperty whose language nobody tells has none.
            lang=parameters.get("lang") or (None if format is None else NO_LANGUAGE),
        )
        return updated(result, context)

    async def replace(self, request: Request) -> Response:
        """Replace Entity (5.6.18, 6.5.3.3)."""
        parameters = Parameters.read(request, TYPE)
        id = target_id(request)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant)
        check_same_id(data, id)
        if "id" not in data and "@id" not in data:
            data = {"id": id, **data}
        document = parse_entity(data, context)
        types = selection(parameters, context)
        return updated(await self._core.provision.replace(tenant, id, document, types=types), context)

    async def delete(self, request: Request) -> Response:
        """Delete Entity (5.6.6, 6.5.3.2)."""
        parameters = Parameters.read(request, TYPE)
        id = target_id(request)
        tenant = tenant_of(request)
        types = None
        if "type" in parameters:
            types = selection(parameters, await link_context(request, self._core, tenant))
        await self._core.provision.delete(tenant, id, types=types)
        return no_content()

    async def purge(self, request: Request) -> Response:
        """Purge Entities (5.6.21, 6.4.3.3)."""
        parameters = Parameters.read(request, _PURGE)
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        query = _purged(parameters, context)
        if "keep" in parameters and "drop" in parameters:
            raise BadRequestData("keep and drop exclude each other; send one of them", where="drop")
        keep, drop = _members(parameters, "keep", context), _members(parameters, "drop", context)
        location = request.header(MAP_HEADER)
        if location is None:
            await self._core.provision.purge(tenant, query, keep=keep, drop=drop)
            return no_content()
        # Without the map more would be deleted than was meant, so it has to be there.
        ids = list((await self._core.entity_maps.retrieve(tenant, map_id(location))).ids)
        await self._core.provision.purge(tenant, query, among=ids, keep=keep, drop=drop)
        return no_content([(MAP_HEADER, location)])


def target_id(request: Request) -> str:
    """Return the entity id in the path. Raises: BadRequestData: it is no URI."""
    return check_uri(request.parameters["entity_id"], "entityId")


def selection(parameters: Parameters, context: Context) -> TypeSelection | None:
    """Return what `type` selects (4.17); None when every type fits. Raises: BadRequestData."""
    text = parameters.get("type")
    _check(parameters)
    return types.parse(text, context) if text is not None else None


def _check(parameters: Parameters) -> None:
    # Nothing is distributed yet, so both values of `local` mean the same; others are refused.
    parameters.flag("local")


def check_same_id(data: Json, id: str) -> None:
    """Raise BadRequestData when the body is no object or names another entity than the path (5.4)."""
    if not isinstance(data, dict):
        raise BadRequestData("The body has to be an object", where="")
    given = data.get("id", data.get("@id", id))
    if given != id:
        raise BadRequestData(f"The body has the id {given!r:.200}, the path the id {id!r:.200}", where="/id")


def refuse_null_values(data: Json) -> None:
    """Raise BadRequestData when an attribute has a JSON null as its value (4.5.0).

    A fragment may leave the value out, so that a null, which JSON-LD drops, would pass for a value that was not sent.
    """
    for name, attribute in data.items():
        for instance in attribute if isinstance(attribute, list) else (attribute,):
            if isinstance(instance, dict) and any(instance.get(member, 0) is None for member in _VALUES):
                raise BadRequestData(f"null is no value; send {NGSI_LD_NULL} to delete", where=f"/{name}")


def updated(result: UpdateResult, context: Context) -> Response:
    """Return 204, or 207 with an UpdateResult when some attributes were left as they are (5.2.18)."""
    if not result.not_updated:
        return no_content()
    left = [{"attributeName": context.iri(name), "reason": reason} for name, reason in result.not_updated]
    return plain(207, {"updated": [context.iri(name) for name in result.updated], "notUpdated": left})


def _purged(parameters: Parameters, context: Context) -> EntityQuery:
    """Return which entities a purge is about.

    Raises: BadRequestData: a filter cannot be read, follows links, or all of them together are too wide (5.6.21.4).
    """
    parsed = parse_query(parameters.values, context)
    parsed.require_narrow()
    if parsed.query.q is not None and link_depth(parsed.query.q):
        raise BadRequestData("The query of a purge cannot follow links to other entities", where="q")
    return parsed.query


def _members(parameters: Parameters, name: str, context: Context) -> frozenset[str] | None:
    if name not in parameters:
        return None
    listed = parameters.listed(name)
    if not listed:
        raise InvalidRequest(f"{name} lists nothing; allowed are names of attributes, and scope", where=name)
    members = frozenset(canonical(each, context, name) for each in listed)
    if name == "drop" and members & _SYSTEM_NAMES:
        raise BadRequestData("Only attributes and the scope can be dropped from an entity", where=name)
    return members
