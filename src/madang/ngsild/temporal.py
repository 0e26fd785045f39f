# SPDX-License-Identifier: Apache-2.0
"""Reading history: /temporal/entities, /temporal/entityOperations/query, /temporal/entityMaps (6.18 to 6.24, 6.35)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from madang.base.errors import InvalidRequest, NotFound
from madang.base.limits import ENTITY_MAP_ENTITIES_MAX
from madang.base.times import format_date_time
from madang.model.jsonld.expand import check_uri
from madang.model.query.entity_query import PARAMETERS, ParsedQuery, parse_query, parse_query_body
from madang.model.temporal.history import HistoryReading
from madang.model.temporal.query import Aggregation, Window, parse_aggregation, parse_window
from madang.model.temporal.question import question_of, reading_of
from madang.model.temporal.representation import TemporalForm, show, show_aggregated
from madang.ngsild.entity_maps import MAP_HEADER, created_map, map_id, map_lifetime_s, map_location
from madang.ngsild.manners import (
    PAGE_PARAMETERS,
    Header,
    Page,
    Parameters,
    answer,
    count_header,
    link_context,
    negotiate,
    page_links,
    read_body,
    read_page,
    tenant_of,
)
from madang.ngsild.representations import SYS_ATTRS, read_options
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.entity_map import EntityMap
    from madang.core.history import History
    from madang.core.hub import Core
    from madang.model.entity import Json
    from madang.model.jsonld.context import Context
    from madang.model.temporal.history import HistoryPage, HistoryQuestion

_FORMATS: Final = ("temporalValues", "aggregatedValues")
_WINDOW: Final = frozenset(
    {"timerel", "timeAt", "endTimeAt", "timeproperty", "lastN", "aggrMethods", "aggrPeriodDuration"}
)
_SHOWN: Final = frozenset({"format", "options", "lang"})
_MAPPED: Final = frozenset({"entityMap", "entityMapLifetime"})
_RETRIEVE: Final = _WINDOW | _SHOWN | _MAPPED | {"attrs", "pick", "omit", "datasetId", "local"}
# Entities are not joined in temporal queries (clause 5.7.4.4).
_QUERY: Final = (PARAMETERS - {"join", "joinLevel", "containedBy", "orderFrom", "orderGeometry"}) | (
    _WINDOW | _SHOWN | _MAPPED | PAGE_PARAMETERS
)
_BODY_QUERY: Final = _SHOWN | PAGE_PARAMETERS | {"local"}

# As the conformance suite of the standard writes it; clause 6.3.10 has "DateTime".
_RANGE_UNIT: Final = "date-time"


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a request wants to know, and how it wants it shown."""

    reading: HistoryReading
    form: TemporalForm
    media: str
    aggregation: Aggregation | None

    @property
    def window(self) -> Window:
        return self.reading.window


@dataclass(frozen=True, slots=True)
class _MapWish:
    """What a request says about entity maps: the location of one, or that it wants one made."""

    location: str | None = None
    wanted: bool = False
    lifetime_s: float | None = None


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = TemporalFace(core)
    return [
        Route(("GET",), "/temporal/entities", face.query),
        Route(("GET",), "/temporal/entities/{entity_id}", face.retrieve),
        Route(("POST",), "/temporal/entityOperations/query", face.query_by_body),
        Route(("GET",), "/temporal/entityMaps", face.create_map),
        Route(("POST",), "/temporal/entityMaps", face.create_map_by_body),
    ]


class TemporalFace:
    """HTTP manners around the reading half of `core.history`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._history: History = core.history

    async def retrieve(self, request: Request) -> Response:
        """Retrieve Temporal Evolution of an Entity (5.7.3)."""
        media = negotiate(request)
        parameters = Parameters.read(request, _RETRIEVE)
        id = check_uri(request.parameters["entity_id"], "entityId")
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        parsed = parse_query(parameters.values, context, temporal=True)
        window = parse_window(parameters.values, required=False)
        reading = reading_of(parsed, window, self._history.now)
        wish = _wish(parameters, reading, parsed, context, media, parameters.values)
        mapped = _map_wish(request, parameters)
        shown, headers, status = await self._shown(tenant, [id], wish, {})
        if not shown:
            raise NotFound(f"There is no temporal evolution of {id} with what is asked for")
        headers += await self._map_header(tenant, id, mapped)
        return answer(status, shown[0], context=context, media=media, headers=headers)

    async def query(self, request: Request) -> Response:
        """Query Temporal Evolution of Entities (5.7.4) by GET."""
        media = negotiate(request)
        parameters = Parameters.read(request, _QUERY)
        page = read_page(parameters)
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        parsed = parse_query(parameters.values, context, temporal=True)
        window = parse_window(parameters.values, required=True)
        parsed.require_narrow()
        reading = reading_of(parsed, window, self._history.now)
        wish = _wish(parameters, reading, parsed, context, media, parameters.values)
        return await self._answer(request, tenant, parsed, wish, page, _map_wish(request, parameters))

    async def query_by_body(self, request: Request) -> Response:
        """Query Temporal Evolution of Entities (5.7.4) by POST, with a Query (5.2.23) as the body."""
        media = negotiate(request)
        parameters = Parameters.read(request, _BODY_QUERY)
        page = read_page(parameters)
        tenant = tenant_of(request)
        parsed, context = await self._read_query(request, parameters, tenant)
        window = parse_window(parsed.temporal or {}, required=True)
        parsed.require_narrow()
        reading = reading_of(parsed, window, self._history.now)
        wish = _wish(parameters, reading, parsed, context, media, _aggregation_members(parsed))
        mapped = _MapWish(request.header(MAP_HEADER), parsed.entity_map, map_lifetime_s(parsed.entity_map_lifetime))
        return await self._answer(request, tenant, parsed, wish, page, mapped)

    async def create_map(self, request: Request) -> Response:
        """Create EntityMap for Query Temporal Evolution of Entities (5.14.5) by GET."""
        media = negotiate(request)
        parameters = Parameters.read(request, _QUERY)
        read_page(parameters)
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        parsed = parse_query(parameters.values, context, temporal=True)
        window = parse_window(parameters.values, required=True)
        parsed.require_narrow()
        lifetime_s = map_lifetime_s(parameters.get("entityMapLifetime"))
        made = await self._make_map(tenant, question_of(parsed, window, self._history.now), lifetime_s)
        return created_map(made, context, media)

    async def create_map_by_body(self, request: Request) -> Response:
        """Create EntityMap for Query Temporal Evolution of Entities (5.14.5) by POST."""
        media = negotiate(request)
        parameters = Parameters.read(request, _BODY_QUERY)
        read_page(parameters)
        tenant = tenant_of(request)
        parsed, context = await self._read_query(request, parameters, tenant)
        window = parse_window(parsed.temporal or {}, required=True)
        parsed.require_narrow()
        lifetime_s = map_lifetime_s(parsed.entity_map_lifetime)
        made = await self._make_map(tenant, question_of(parsed, window, self._history.now), lifetime_s)
        return created_map(made, context, media)

    # ------------------------------------------------------------------ answers

    async def _read_query(self, request: Request, parameters: Parameters, tenant: str) -> tuple[ParsedQuery, Context]:
        data, context = await read_body(request, self._core, tenant)
        local = parameters.flag("local") if "local" in parameters else None
        return parse_query_body(data, context, local=local, temporal=True), context

    async def _answer(
        self, request: Request, tenant: str, parsed: ParsedQuery, wish: _Wish, page: Page, mapped: _MapWish
    ) -> Response:
        question = question_of(parsed, wish.window, self._history.now)
        status, headers = 200, []
        if mapped.wanted or mapped.location is not None:
            location = mapped.location
            entity_map = None if location is None else await self._core.entity_maps.find(tenant, map_id(location))
            if entity_map is None:
                entity_map = await self._make_map(tenant, question, mapped.lifetime_s)
                location, status = map_location(entity_map.id), 201
            headers.append((MAP_HEADER, cast("str", location)))
            question = replace(question, only=frozenset(entity_map.ids))
        found = await self._history.find(
            tenant, replace(question, limit=page.limit, offset=page.offset, count=page.count)
        )
        shown, more_headers, partial = await self._shown(tenant, found.ids, wish, found.intervals)
        headers += more_headers
        headers += page_links(request, page, more=found.more, media=wish.media)
        if page.count:
            headers.append(count_header(found.count or 0))
        status = status if partial == 200 else partial
        return answer(status, shown, context=wish.form.context, media=wish.media, headers=headers)

    async def _shown(
        self, tenant: str, ids: Sequence[str], wish: _Wish, intervals: Mapping[str, Any]
    ) -> tuple[list[dict[str, Json]], list[Header], int]:
        """Return entities as they are shown, the headers that go with them, and the status."""
        form = wish.form
        reading = replace(wish.reading, instances_max=self._history.instances_max, intervals=intervals)
        if wish.aggregation is not None:
            aggregated = await self._history.aggregate(tenant, ids, reading, wish.aggregation)
            each_shown = (show_aggregated(evolution, series, form) for evolution, series in aggregated)
            return [each for each in each_shown if each is not None], [], 200
        page = await self._history.read(tenant, ids, reading)
        shown = [each for evolution in page.evolutions if (each := show(evolution, form)) is not None]
        if page.cut_us is None:
            return shown, [], 200
        return shown, [("content-range", _content_range(wish.window, page))], 206

    # ------------------------------------------------------------------ entity maps

    async def _make_map(self, tenant: str, question: HistoryQuestion, lifetime_s: float | None) -> EntityMap:
        found = await self._history.find(tenant, replace(question, limit=ENTITY_MAP_ENTITIES_MAX + 1))
        return await self._core.entity_maps.keep(tenant, found.ids, lifetime_s=lifetime_s)

    async def _map_header(self, tenant: str, id: str, mapped: _MapWish) -> list[Header]:
        if mapped.location is None and not mapped.wanted:
            return []
        maps = self._core.entity_maps
        if mapped.location is not None and await maps.find(tenant, map_id(mapped.location)) is not None:
            return [(MAP_HEADER, mapped.location)]
        return [(MAP_HEADER, map_location((await maps.keep(tenant, [id], lifetime_s=mapped.lifetime_s)).id))]


def _map_wish(request: Request, parameters: Parameters) -> _MapWish:
    lifetime_s = map_lifetime_s(parameters.get("entityMapLifetime"))
    return _MapWish(request.header(MAP_HEADER), parameters.flag("entityMap"), lifetime_s)


def _wish(
    parameters: Parameters,
    reading: HistoryReading,
    parsed: ParsedQuery,
    context: Context,
    media: str,
    aggregation: Mapping[str, Any],
) -> _Wish:
    """Return what is wanted; `format` goes before `options` (clause 6.3.12).

    Raises: InvalidRequest: an unknown format or option, or two formats. BadRequestData: a wrong aggregation.
    """
    options = read_options(parameters, (*_FORMATS, SYS_ATTRS))
    formats = [option for option in options if option in _FORMATS]
    if len(formats) > 1:
        raise InvalidRequest(f"{' and '.join(formats)} exclude each other; allowed is one of them", where="options")
    format = parameters.one_of("format", _FORMATS) or (formats[0] if formats else None)
    if format is None and aggregation is not parameters.values and aggregation.get("aggrMethods") is not None:
        format = "aggregatedValues"  # in a Query body the parameters of an aggregation say that one is wanted
    form = TemporalForm(
        context,
        cast("Literal['normalized', 'temporalValues', 'aggregatedValues']", format or "normalized"),
        sys_attrs=SYS_ATTRS in options,
        lang=parsed.lang or parameters.get("lang"),
        projection=parsed.projection,
    )
    wanted = parse_aggregation(aggregation) if format == "aggregatedValues" else None
    return _Wish(reading, form, media, wanted)


def _aggregation_members(parsed: ParsedQuery) -> Mapping[str, Any]:
    """Return aggrMethods and aggrPeriodDuration, which a Query has in temporalQ or in aggrParams."""
    given = {**(parsed.temporal or {}), **(parsed.aggregation or {})}
    return {name: given[name] for name in ("aggrMethods", "aggrPeriodDuration") if name in given}


def _content_range(window: Window, page: HistoryPage) -> str:
    """Return which part of the window an answer holds (clause 6.3.10): backwards with lastN, else forwards."""
    moments = [row.moment_us for evolution in page.evolutions for rows in evolution.attributes.values() for row in rows]
    oldest, newest = (min(moments), max(moments)) if moments else (page.cut_us or 0, page.cut_us or 0)
    if window.last_n is not None:
        start_us, end_us, size = newest if window.end_us is None else window.end_us, oldest, str(window.last_n)
    else:
        start_us, end_us, size = oldest if window.start_us is None else window.start_us, newest, "*"
    return f"{_RANGE_UNIT} {format_date_time(start_us)}-{format_date_time(end_us)}/{size}"
