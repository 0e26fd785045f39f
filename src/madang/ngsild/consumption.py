# SPDX-License-Identifier: Apache-2.0
"""Reading entities: GET /entities, GET /entities/{id}, POST /entityOperations/query (clauses 6.4, 6.5, 6.23)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, cast

from madang.base.errors import BadRequestData, NotFound
from madang.base.limits import QUERY_PLAN_CHARACTERS_MAX, QUERY_PLAN_CONTEXTS_MAX, QUERY_PLANS_MAX
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
    Header,
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
    from madang.core.consumption import Page as Found
    from madang.core.hub import Core
    from madang.model.entity import Document
    from madang.model.jsonld.context import Context
    from madang.model.query.model import EntityQuery

_RENDERED_AT_ONCE: Final = 100
_OFFERED: Final = (JSON, LD_JSON, GEO_JSON)
_MAP_PARAMETERS: Final = frozenset({"entityMap", "entityMapLifetime"})
_RETRIEVE_PARAMETERS: Final = REPRESENTATION_PARAMETERS | {
    *("attrs", "pick", "omit", "datasetId", "join", "joinLevel", "containedBy", "type", "local", *_MAP_PARAMETERS)
}
_QUERY_PARAMETERS: Final = PARAMETERS | PAGE_PARAMETERS | REPRESENTATION_PARAMETERS | _MAP_PARAMETERS
_BODY_PARAMETERS: Final = PAGE_PARAMETERS | REPRESENTATION_PARAMETERS | {"local"}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a request asks for, read once: the same question in the same context need not be read again."""

    parsed: ParsedQuery
    query: EntityQuery  # with the page
    page: Page
    form: Form
    types: tuple[str, ...]  # entities in the answer have one of these; empty when others matter too
    map_wanted: bool
    map_lifetime_s: float | None


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = ConsumptionFace(core)
    return [
        Route(("GET",), "/entities", face.query),
        Route(("GET",), "/entities/{entity_id}", face.retrieve),
        Route(("POST",), "/entityOperations/query", face.query_by_body),
    ]


class ConsumptionFace:
    """HTTP manners around `core.consumption`, with answers and readings of requests kept ready.

    Answers and entity bytes are kept of, and for, callers who see everything in the tenant; the others go without.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._consumption = core.consumption
        self._plans: dict[Context, dict[tuple[object, ...], _Plan]] = {}

        def context_of(tenant: str, link: str) -> object | None:
            url = linked_context(link)
            return None if url is None else core.contexts.known(tenant, url)

        self._rendered = Rendered(
            core.writer, exclusive=core.store.capabilities.exclusive, tail=core.writer.tail, context_of=context_of
        )
        core.caches["answers"] = self._rendered.counts

    # ---------------------------------------------------------------- operations

    async def retrieve(self, request: Request) -> Response:
        """Retrieve Entity (5.7.1)."""
        shared = self._consumption.sees_all(request.header("ngsild-tenant") or "")
        key = self._rendered.key(request)
        kept = self._rendered.answer(key) if shared else None
        if kept is not None:
            return kept
        tenant = tenant_of(request)
        id = check_uri(request.parameters["entity_id"], "entityId")
        plan = await self._plan(request, tenant, _RETRIEVE_PARAMETERS)

        entity = self._rendered.entity(tenant, id)
        try:
            document = await self._consumption.retrieve(tenant, id)
            _require(document, plan.parsed)
        except NotFound:
            self._rendered.drop(tenant, id)
            raise
        location = request.header(MAP_HEADER)
        headers = await self._map_of_one(tenant, id, plan, location)
        if plan.parsed.join is not None:
            return await self._retrieve_linked(tenant, document, plan, headers)
        body = (entity.variants.get(plan.form.variant) if shared else None) or plan.form.entity(document)
        if body == EMPTY:
            raise NotFound(f"The entity {id} has none of the members asked for")
        response = plan.form.one(body, headers)
        if shared and not headers and expires_us(document) is None:
            self._rendered.put(entity, plan.form.variant, body)
            self._rendered.keep(key, response, entity)
        return response

    async def query(self, request: Request) -> Response:
        """Query Entities (5.7.2) by GET."""
        shared = self._consumption.sees_all(request.header("ngsild-tenant") or "")
        key = self._rendered.key(request)
        kept = self._rendered.answer(key) if shared else None
        if kept is not None:
            return kept
        tenant = tenant_of(request)
        plan = await self._plan(request, tenant, _QUERY_PARAMETERS)
        stamp = self._rendered.stamp(tenant, plan.types)
        response, keepable = await self._answer(request, tenant, plan)
        if shared and keepable:
            self._rendered.keep(key, response, stamp)
        return response

    async def query_by_body(self, request: Request) -> Response:
        """Query Entities (5.7.2) by POST, with a Query (5.2.23) as the body."""
        media = negotiate(request, _OFFERED)
        parameters = Parameters.read(request, _BODY_PARAMETERS)
        tenant = tenant_of(request)
        local = parameters.flag("local") if "local" in parameters else None
        data, context = await read_body(request, self._core, tenant)
        parsed = parse_query_body(data, context, local=local)
        parsed.require_narrow()
        plan = _planned(request, parameters, media, context, parsed)
        plan = replace(plan, map_wanted=parsed.entity_map, map_lifetime_s=map_lifetime_s(parsed.entity_map_lifetime))
        response, _ = await self._answer(request, tenant, plan)
        return response

    # ---------------------------------------------------------------- reading requests

    async def _plan(self, request: Request, tenant: str, allowed: frozenset[str]) -> _Plan:
        """Return what a GET asks for."""
        context = await link_context(request, self._core, tenant)
        text = request.query_string
        # The context itself, not its key: equal maps may have come from different places, which an answer names.
        plans = self._plans.get(context)
        if plans is None:
            plans = self._plans[context] = {}
            # Plans keep their contexts in memory, so there are few of these.
            if len(self._plans) > QUERY_PLAN_CONTEXTS_MAX:
                del self._plans[next(iter(self._plans))]
        key = (allowed is _QUERY_PARAMETERS, text, request.header("accept"), request.header("prefer"))
        plan = plans.get(key)
        if plan is None:
            media = negotiate(request, _OFFERED)
            parameters = Parameters.read(request, allowed)
            parsed = parse_query(parameters.values, context)
            # 5.7.2.4 does not count idPattern as narrow, but clients in the field list entities with it alone, and
            # while this hub asks no others every question of it is local.
            if allowed is _QUERY_PARAMETERS and not parameters.get("idPattern"):
                parsed.require_narrow()
            plan = _planned(request, parameters, media, context, parsed)
            if len(text) <= QUERY_PLAN_CHARACTERS_MAX:
                if len(plans) >= QUERY_PLANS_MAX:
                    del plans[next(iter(plans))]
                plans[key] = plan
        return plan

    # ---------------------------------------------------------------- giving answers

    async def _answer(self, request: Request, tenant: str, plan: _Plan) -> tuple[Response, bool]:
        """Return the answer to a query, and whether the same question may be answered by it again."""
        status, headers, keepable = 200, [], False
        location = request.header(MAP_HEADER)
        if plan.map_wanted or location is not None:
            status, location, found = await self._mapped(tenant, plan, location)
            headers.append((MAP_HEADER, location))
            bodies, total, more = await self._bodies(tenant, found.documents, plan), found.total, found.more
        elif plan.parsed.join is not None:
            documents, total, more = await self._consumption.find(tenant, plan.query)
            bodies = await self._bodies(tenant, documents, plan)
        else:
            bodies, total, more, keepable = await self._page(tenant, plan)
        headers += page_links(request, plan.page, more=more, media=plan.form.media)
        if plan.page.count:
            headers.append(count_header(total or 0))
        return plan.form.many(bodies, headers, status), keepable

    async def _page(self, tenant: str, plan: _Plan) -> tuple[list[bytes], int | None, bool, bool]:
        """Return a page as entity bytes, most of them ready; and whether nothing on it expires."""
        form, rendered, variant = plan.form, self._rendered, plan.form.variant
        if not self._consumption.sees_all(tenant):
            # What is kept ready was made for those who see everything.
            documents_seen, total, more = await self._consumption.find(tenant, plan.query)
            return _visible([form.entity(document) for document in documents_seen]), total, more, False
        found = await self._consumption.find_ids(tenant, plan.query)
        entities = [rendered.entity(tenant, id) for id in found.ids]
        missing = [id for id, entity in zip(found.ids, entities, strict=True) if variant not in entity.variants]
        documents = await self._consumption.documents(tenant, missing) if missing else {}
        if len(documents) < len(missing):
            # Something has expired or was deleted since: ask again for a page without it.
            everything, total, more = await self._consumption.find(tenant, plan.query)
            return _visible([form.entity(document) for document in everything]), total, more, False
        bodies: list[bytes] = []
        lasting = True
        for id, entity in zip(found.ids, entities, strict=True):
            body = entity.variants.get(variant)
            if body is None:
                if len(bodies) % _RENDERED_AT_ONCE == 0:
                    await asyncio.sleep(0)  # a long page must not hold up everybody else
                document = documents[id]
                body = form.entity(document)
                if expires_us(document) is None:
                    rendered.put(entity, variant, body)
                else:
                    lasting = False
            bodies.append(body)
        return _visible(bodies), found.count, found.more, lasting

    async def _bodies(self, tenant: str, documents: Sequence[Document], plan: _Plan) -> list[bytes]:
        parsed, form = plan.parsed, plan.form
        if parsed.join is None:
            return _visible([form.entity(document) for document in documents])
        # A Feature has its id whatever is picked (clause 5.2.29).
        view = form.view.keeping(("id",)) if form.media == GEO_JSON else form.view
        join = Join(cast("Literal['inline', 'flat']", parsed.join), parsed.join_level, frozenset(parsed.contained_by))
        linked = LinkedEntities(lambda ids: self._consumption.documents(tenant, ids), view, join)
        return [form.shown(shown) for shown in await linked.collect(documents) if shown]

    async def _retrieve_linked(
        self, tenant: str, document: Document, plan: _Plan, headers: Sequence[Header]
    ) -> Response:
        bodies = await self._bodies(tenant, [document], plan)
        if not bodies:
            raise NotFound(f"The entity {document['id']} has none of the members asked for")
        # Where no linked entity is stored here there is nothing to flatten, and the entity is given as without join.
        if plan.parsed.join == "flat" and (len(bodies) > 1 or plan.form.media == GEO_JSON):
            return plan.form.many(bodies, headers)
        return plan.form.one(bodies[0], headers)

    # ---------------------------------------------------------------- entity maps

    async def _mapped(self, tenant: str, plan: _Plan, location: str | None) -> tuple[int, str, Found]:
        """Return the page of an entity map, with its location; 201 when the map had to be made (clause 5.7.2.4)."""
        maps, status = self._core.entity_maps, 200
        entity_map = None if location is None else await maps.find(tenant, map_id(location))
        if entity_map is None or location is None:
            entity_map = await maps.create(tenant, plan.parsed.query, lifetime_s=plan.map_lifetime_s)
            status, location = 201, map_location(entity_map.id)
        return status, location, await maps.page(tenant, entity_map, plan.query)

    async def _map_of_one(self, tenant: str, id: str, plan: _Plan, location: str | None) -> list[Header]:
        """Return the header that says where the entity map of a retrieval is (clause 5.7.1.4)."""
        if location is None and not plan.map_wanted:
            return []
        maps = self._core.entity_maps
        if location is not None and await maps.find(tenant, map_id(location)) is not None:
            return [(MAP_HEADER, location)]
        made = await maps.keep(tenant, [id], lifetime_s=plan.map_lifetime_s)
        return [(MAP_HEADER, map_location(made.id))]


def _planned(request: Request, parameters: Parameters, media: str, context: Context, parsed: ParsedQuery) -> _Plan:
    page = read_page(parameters)
    return _Plan(
        parsed,
        replace(parsed.query, limit=page.limit, offset=page.offset, count=page.count),
        page,
        _form(request, parameters, media, context, parsed),
        _types(parsed),
        parameters.flag("entityMap"),
        map_lifetime_s(parameters.get("entityMapLifetime")),
    )


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
