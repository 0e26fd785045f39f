# SPDX-License-Identifier: Apache-2.0
"""Reading entities: GET /entities, GET /entities/{id}, POST /entityOperations/query (clauses 6.4, 6.5, 6.23)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, cast

from madang.base.errors import BadRequestData, NotFound
from madang.core.linked import Join, LinkedEntities, View
from madang.model.entity import types_of
from madang.model.jsonld.expand import check_uri
from madang.model.query.entity_query import PARAMETERS, ParsedQuery, parse_query, parse_query_body
from madang.model.query.q import link_depth
from madang.model.transient import expires_us
from madang.ngsild.entity_answers import EMPTY, Form
from madang.ngsild.entity_maps import MAP_HEADER, map_id, map_lifetime_s, map_location
from madang.ngsild.manners import (
    GEO_JSON,
    JSON,
    LD_JSON,
    PAGE_PARAMETERS,
    Page,
    Parameters,
    count_header,
    link_context,
    linked_context,
    negotiate,
    page_links,
    prefers_plain_json,
    read_body,
    read_page,
    tenant_of,
)
from madang.ngsild.rendered import Rendered
from madang.ngsild.representations import REPRESENTATION_PARAMETERS, representation
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.model.entity import Document
    from madang.model.jsonld.context import Context
    from madang.model.query.model import EntityQuery

_OFFERED: Final = (JSON, LD_JSON, GEO_JSON)
_MAP_PARAMETERS: Final = frozenset({"entityMap", "entityMapLifetime"})
_RETRIEVE_PARAMETERS: Final = REPRESENTATION_PARAMETERS | {
    *("attrs", "pick", "omit", "datasetId", "join", "joinLevel", "containedBy", "type", "local", *_MAP_PARAMETERS)
}
_QUERY_PARAMETERS: Final = PARAMETERS | PAGE_PARAMETERS | REPRESENTATION_PARAMETERS | _MAP_PARAMETERS
_BODY_PARAMETERS: Final = PAGE_PARAMETERS | REPRESENTATION_PARAMETERS | {"local"}


@dataclass(frozen=True, slots=True)
class _MapRequest:
    """What a request says about entity maps: the location of one, or that it wants one made."""

    location: str | None
    wanted: bool
    lifetime_s: float | None

    def __bool__(self) -> bool:
        return self.wanted or self.location is not None


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = ConsumptionFace(core)
    return [
        Route(("GET",), "/entities", face.query),
        Route(("GET",), "/entities/{entity_id}", face.retrieve),
        Route(("POST",), "/entityOperations/query", face.query_by_body),
    ]


class ConsumptionFace:
    """HTTP manners around `core.consumption`, with answers kept ready (`madang.ngsild.rendered`)."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._consumption = core.consumption

        def context_of(tenant: str, link: str) -> object | None:
            url = linked_context(link)
            return None if url is None else core.contexts.known(tenant, url)

        self._rendered = Rendered(core.writer, exclusive=core.store.capabilities.exclusive, context_of=context_of)

    async def retrieve(self, request: Request) -> Response:
        """Retrieve Entity (5.7.1)."""
        key = self._rendered.key(request)
        kept = self._rendered.answer(key)
        if kept is not None:
            return kept
        media = negotiate(request, _OFFERED)
        parameters = Parameters.read(request, _RETRIEVE_PARAMETERS)
        tenant = tenant_of(request)
        id = check_uri(request.parameters["entity_id"], "entityId")
        context = await link_context(request, self._core, tenant)
        parsed = parse_query(parameters.values, context)
        form = _form(request, parameters, media, context, parsed)
        mapped = _map_request(request, parameters)

        entity = self._rendered.entity(tenant, id)
        try:
            document = await self._consumption.retrieve(tenant, id)
            _require(document, parsed)
        except NotFound:
            self._rendered.drop(tenant, id)
            raise
        headers = self._mapped(tenant, id, mapped)
        if parsed.join is not None:
            return await self._retrieve_linked(tenant, document, parsed, form, headers)
        body = entity.variants.get(form.variant) or form.entity(document)
        if body == EMPTY:
            raise NotFound(f"The entity {id} has none of the members asked for")
        response = form.one(body, headers)
        if not mapped and expires_us(document) is None:
            self._rendered.put(entity, form.variant, body)
            self._rendered.keep(key, response, entity)
        return response

    async def query(self, request: Request) -> Response:
        """Query Entities (5.7.2) by GET."""
        key = self._rendered.key(request)
        kept = self._rendered.answer(key)
        if kept is not None:
            return kept
        media = negotiate(request, _OFFERED)
        parameters = Parameters.read(request, _QUERY_PARAMETERS)
        tenant = tenant_of(request)
        page = read_page(parameters)
        context = await link_context(request, self._core, tenant)
        parsed = parse_query(parameters.values, context)
        parsed.require_narrow()
        form = _form(request, parameters, media, context, parsed)
        mapped = _map_request(request, parameters)

        stamp = self._rendered.stamp(tenant, _types(parsed))
        response, keepable = await self._answer(request, tenant, parsed, page, form, mapped)
        if keepable:
            self._rendered.keep(key, response, stamp)
        return response

    async def query_by_body(self, request: Request) -> Response:
        """Query Entities (5.7.2) by POST, with a Query (5.2.23) as the body."""
        media = negotiate(request, _OFFERED)
        parameters = Parameters.read(request, _BODY_PARAMETERS)
        tenant = tenant_of(request)
        page = read_page(parameters)
        local = parameters.flag("local") if "local" in parameters else None
        data, context = await read_body(request, self._core, tenant)
        parsed = parse_query_body(data, context, local=local)
        parsed.require_narrow()
        form = _form(request, parameters, media, context, parsed)
        mapped = _MapRequest(request.header(MAP_HEADER), parsed.entity_map, map_lifetime_s(parsed.entity_map_lifetime))
        response, _ = await self._answer(request, tenant, parsed, page, form, mapped)
        return response

    async def _answer(
        self, request: Request, tenant: str, parsed: ParsedQuery, page: Page, form: Form, mapped: _MapRequest
    ) -> tuple[Response, bool]:
        """Return the answer to a query, and whether the same question may be answered by it again."""
        query = replace(parsed.query, limit=page.limit, offset=page.offset, count=page.count)
        status, headers = 200, []
        keepable = not mapped and parsed.join is None
        if mapped:
            entity_map = (
                None if mapped.location is None else self._core.entity_maps.find(tenant, map_id(mapped.location))
            )
            location = mapped.location
            if entity_map is None or location is None:
                entity_map = await self._core.entity_maps.create(tenant, parsed.query, lifetime_s=mapped.lifetime_s)
                location, status = map_location(entity_map.id), 201
            documents, count, more = await self._core.entity_maps.page(tenant, entity_map, query)
            headers.append((MAP_HEADER, location))
            bodies = await self._bodies(tenant, documents, parsed, form)
        elif parsed.join is not None:
            documents, count, more = await self._consumption.find(tenant, query)
            bodies = await self._bodies(tenant, documents, parsed, form)
        else:
            bodies, count, more, keepable = await self._page(tenant, query, form)
        headers += page_links(request, page, more=more, media=form.media)
        if page.count:
            headers.append(count_header(count or 0))
        return form.many(bodies, headers, status), keepable

    async def _page(self, tenant: str, query: EntityQuery, form: Form) -> tuple[list[bytes], int | None, bool, bool]:
        """Return a page as entity bytes, most of them ready; and whether nothing on it expires."""
        found = await self._consumption.find_ids(tenant, query)
        rendered, variant = self._rendered, form.variant
        entities = [rendered.entity(tenant, id) for id in found.ids]
        missing = [id for id, entity in zip(found.ids, entities, strict=True) if variant not in entity.variants]
        if not missing:
            return _visible([entity.variants[variant] for entity in entities]), found.count, found.more, True
        documents = await self._consumption.documents(tenant, missing)
        if len(documents) < len(missing):
            # Something has expired or was deleted since: ask again for a page without it.
            everything, count, more = await self._consumption.find(tenant, query)
            return _visible([form.entity(document) for document in everything]), count, more, False
        bodies, lasting = [], True
        for id, entity in zip(found.ids, entities, strict=True):
            body = entity.variants.get(variant)
            if body is None:
                body = form.entity(documents[id])
                if expires_us(documents[id]) is None:
                    rendered.put(entity, variant, body)
                else:
                    lasting = False
            bodies.append(body)
        return _visible(bodies), found.count, found.more, lasting

    async def _bodies(self, tenant: str, documents: Sequence[Document], parsed: ParsedQuery, form: Form) -> list[bytes]:
        if parsed.join is None:
            return _visible([form.entity(document) for document in documents])
        shown = await self._linked(tenant, parsed, form.view).collect(documents)
        return [form.shown(document, document) for document in shown if document]

    def _linked(self, tenant: str, parsed: ParsedQuery, view: View) -> LinkedEntities:
        join = Join(cast("Literal['inline', 'flat']", parsed.join), parsed.join_level, frozenset(parsed.contained_by))
        return LinkedEntities(lambda ids: self._consumption.documents(tenant, ids), view, join)

    async def _retrieve_linked(
        self, tenant: str, document: Document, parsed: ParsedQuery, form: Form, headers: Sequence[tuple[str, str]]
    ) -> Response:
        bodies = await self._bodies(tenant, [document], parsed, form)
        if not bodies:
            raise NotFound(f"The entity {document['id']} has none of the members asked for")
        # Where no linked entity is stored here there is nothing to flatten, and the entity is given as without join.
        if parsed.join == "flat" and (len(bodies) > 1 or form.media == GEO_JSON):
            return form.many(bodies, headers)
        return form.one(bodies[0], headers)

    def _mapped(self, tenant: str, id: str, mapped: _MapRequest) -> list[tuple[str, str]]:
        """Return the header that says where the entity map of a retrieval is (clause 5.7.1.4)."""
        if not mapped:
            return []
        maps = self._core.entity_maps
        if mapped.location is not None and maps.find(tenant, map_id(mapped.location)) is not None:
            return [(MAP_HEADER, mapped.location)]
        made = maps.keep(tenant, [id], lifetime_s=mapped.lifetime_s)
        return [(MAP_HEADER, map_location(made.id))]


def _form(request: Request, parameters: Parameters, media: str, context: Context, parsed: ParsedQuery) -> Form:
    body_context = media != GEO_JSON or not prefers_plain_json(request)
    if media != GEO_JSON and ("geometryProperty" in parameters or parsed.geometry_property is not None):
        raise BadRequestData(
            f"geometryProperty is for GeoJSON answers only; allowed is it with Accept: {GEO_JSON}",
            where="geometryProperty",
        )
    wanted = representation(parameters, media, context, body_context=body_context)
    if parsed.lang is not None:
        wanted = replace(wanted, lang=parsed.lang)
    if parsed.geometry_property is not None:
        wanted = replace(wanted, geometry_property=context.expand(parsed.geometry_property))
    return Form(context, media, wanted, View(parsed.projection, parsed.query.datasets), body_context)


def _map_request(request: Request, parameters: Parameters) -> _MapRequest:
    location = request.header(MAP_HEADER)
    if location is None and not parameters.values:
        return _NO_MAP
    return _MapRequest(location, parameters.flag("entityMap"), map_lifetime_s(parameters.get("entityMapLifetime")))


_NO_MAP: Final = _MapRequest(None, wanted=False, lifetime_s=None)


def _require(document: Document, parsed: ParsedQuery) -> None:
    """Raise NotFound when the entity is not of the type, or has none of the attributes, asked for (clause 5.7.1.4)."""
    for selector in parsed.query.selectors:
        if selector.types is not None and not selector.types.fits(types_of(document)):
            raise NotFound(f"The entity {document['id']} is not of the type asked for")
    attributes = parsed.projection.attributes
    if attributes is not None and not any(name in document for name in attributes):
        raise NotFound(f"The entity {document['id']} has none of the attributes asked for")


def _types(parsed: ParsedQuery) -> tuple[str, ...]:
    """Return types of which an entity in the answer has one; none when it may be any, or others matter too."""
    query = parsed.query
    if not query.selectors or link_depth(query.q):
        return ()
    names: dict[str, None] = {}
    for selector in query.selectors:
        if selector.types is None:
            return ()
        names.update(dict.fromkeys(group[0] for group in selector.types.any_of))
    return tuple(names)


def _visible(bodies: list[bytes]) -> list[bytes]:
    """Leave out entities of which a projection has left nothing."""
    return [body for body in bodies if body != EMPTY] if EMPTY in bodies else bodies
