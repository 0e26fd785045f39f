# SPDX-License-Identifier: Apache-2.0
"""One reading of a question for all faces: URL parameters (Table 6.4.3.2-1) or a Query body (Table 5.2.23-1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from madang.base.errors import BadRequestData, TooComplexQuery
from madang.base.limits import ENTITY_IDS_PER_QUERY_MAX, JOIN_LEVELS_MAX, QUERY_TERMS_MAX
from madang.model.entity import Json
from madang.model.query import csf as csf_language
from madang.model.query import geo, order, projection, q, regex, scope, types
from madang.model.query.model import EntityQuery, EntitySelector
from madang.model.query.names import CORE_MEMBERS, Names, canonical, canonical_list, is_iri
from madang.model.query.projection import Projection
from madang.model.query.q_tree import Node

# URL parameters that `parse_query` reads; a face allows these beside its own.
PARAMETERS: Final = frozenset(
    {
        *("id", "type", "idPattern", "q", "csf", "scopeQ", "attrs", "pick", "omit", "datasetId", "expandValues"),
        *("jsonKeys", "georel", "geometry", "coordinates", "geoproperty", "orderBy", "orderFrom", "orderGeometry"),
        *("collation", "join", "joinLevel", "containedBy", "local", "splitEntities"),
    }
)

_GEO_PARAMETERS: Final = ("georel", "geometry", "coordinates", "geoproperty")


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A question and what is to be done with its answers. The face sets the page: `dataclasses.replace(query, …)`."""

    query: EntityQuery
    projection: Projection = projection.EVERYTHING
    join: str | None = None  # "flat" or "inline"
    join_level: int = 1
    contained_by: tuple[str, ...] = ()
    csf: Node | None = None
    local: bool | None = None  # True also when type=* implies it
    lang: str | None = None  # of a Query body only
    split_entities: bool | None = None
    entity_map: bool = False  # of a Query body only
    entity_map_lifetime: str | None = None  # of a Query body only
    temporal: Mapping[str, Json] | None = None  # temporalQ of a Query body, unread
    aggregation: Mapping[str, Json] | None = None  # aggrParams of a Query body, unread
    geometry_property: str | None = None  # of a Query body only

    def require_narrow(self) -> None:
        """Refuse a question that would select every entity of every hub (clause 5.7.2.4).

        Raises: BadRequestData: no type, attribute, q or geoquery, and the question is not local.
        """
        query = self.query
        if self.local or query.geo is not None or (query.q is not None and q.names_attribute(query.q)):
            return
        attributes = self.projection.attributes or ()
        if any(name not in CORE_MEMBERS for name in attributes):
            return
        if query.selectors and all(selector.types is not None for selector in query.selectors):
            return
        raise BadRequestData(
            "The query is too wide; at least one of type, attrs, q (with an attribute that is no system attribute), "
            "a geoquery or local=true is needed"
        )


def parse_query(parameters: Mapping[str, str], context: Names, *, temporal: bool = False) -> ParsedQuery:
    """Return the question of URL parameters; parameters of other matters are not looked at.

    With `temporal` the rules for Query Temporal Evolution of Entities hold (clause 5.7.4.4).

    Raises: BadRequestData, TooComplexQuery, Unsupported: as the languages do.
    """
    return _parse(_Source(dict(parameters)), _selectors_of_parameters(parameters, context), context, temporal=temporal)


def parse_query_body(
    data: Json, context: Names, *, local: bool | None = None, temporal: bool = False, where: str = ""
) -> ParsedQuery:
    """Return the question of a Query (Table 5.2.23-1), the body of POST entityOperations/query.

    `local` is the URL parameter; `where` is a JSON pointer to the data in a larger body.

    Raises: BadRequestData, TooComplexQuery, Unsupported: as the languages do.
    """
    if not isinstance(data, dict):
        raise BadRequestData("The body is not a JSON object; allowed is a Query", where=where or "/")
    if data.get("type") != "Query":
        raise BadRequestData(f'type is {data.get("type")!r:.40}; allowed is "Query"', where=f"{where}/type")
    source = _Source(_flatten(data, where), body=True)
    if local is not None:
        source.values["local"] = local
    if not temporal:
        for name in ("temporalQ", "aggrParams"):
            if name in data:
                raise BadRequestData(
                    f"{name} stands in a query for the present state; allowed is it for temporal queries only",
                    where=f"{where}/{name}",
                )
    elif "containedBy" in data:
        raise BadRequestData("containedBy is not for temporal queries", where=f"{where}/containedBy")
    return _parse(source, _selectors_of_body(data, context, where), context, temporal=temporal)


def parse_selector(data: Json, context: Names, where: str) -> EntitySelector:
    """Return an EntitySelector (Table 5.2.33-1), of a Query or a Subscription.

    Raises: BadRequestData: no type, an id that is no URI, a wrong pattern or a member of the wrong JSON type.
    """
    if not isinstance(data, dict):
        raise BadRequestData("An entity selector is a JSON object with a type", where=where)
    selected = data.get("type", data.get("@type"))
    if not isinstance(selected, str):
        raise BadRequestData(
            "An entity selector needs a type; allowed is a type selection such as A,B or (A;B), or *",
            where=f"{where}/type",
        )
    given = data.get("id", data.get("@id"))
    ids = [] if given is None else given if isinstance(given, list) else [given]
    if given == []:
        raise BadRequestData("An empty list of ids is not allowed", where=f"{where}/id")
    pattern = data.get("idPattern")
    if pattern is not None and not isinstance(pattern, str):
        raise BadRequestData("idPattern is not a text; allowed is a regular expression", where=f"{where}/idPattern")
    if pattern is not None:
        regex.compile(pattern, f"{where}/idPattern")
    return EntitySelector(_ids(ids, f"{where}/id"), pattern, types.parse(selected, context, where=f"{where}/type"))


# ---------------------------------------------------------------------- where the values come from


class _Source:
    """Values by parameter name; of a body they have JSON types, of a URL they are texts."""

    def __init__(self, values: dict[str, Json], *, body: bool = False) -> None:
        self.values = values
        self.body = body

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise BadRequestData(f"{name} is not a text: {value!r:.60}; allowed is a text", where=name)
        return value

    def listed(self, name: str) -> str | list[str] | None:
        """Return a comma list of a URL, or the array of texts of a body."""
        value = self.values.get(name)
        if value is None or (isinstance(value, str) and not self.body):
            return value
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise BadRequestData(f"{name} is {value!r:.60}; allowed is an array with at least one text", where=name)
        return value

    def flag(self, name: str) -> bool | None:
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return value
        if value in ("true", "false") and not self.body:
            return bool(value == "true")
        raise BadRequestData(f"{name} is {value!r:.40}; allowed are true and false", where=name)

    def integer(self, name: str) -> int | None:
        value = self.values.get(name)
        if isinstance(value, str) and not self.body and value.isascii() and value.isdigit():
            return int(value[:12])
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise BadRequestData(f"{name} is {value!r:.40}; allowed is a positive integer", where=name)

    def object(self, name: str) -> Mapping[str, Json] | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise BadRequestData(f"{name} is {value!r:.60}; allowed is a JSON object", where=name)
        return value


def _flatten(data: dict[str, Json], where: str) -> dict[str, Json]:
    """Give the members of geoQ and ordering the names of the URL parameters, which the body itself does not have."""
    url_only = {"local", *_GEO_PARAMETERS, *_ORDERING.values()}
    values = {name: value for name, value in data.items() if value is not None and name not in url_only}
    for name, renamed in (("geoQ", dict(zip(_GEO_PARAMETERS, _GEO_PARAMETERS, strict=True))), ("ordering", _ORDERING)):
        inner = values.pop(name, None)
        if inner is None:
            continue
        if not isinstance(inner, dict) or not inner:
            raise BadRequestData(
                f"{name} is {inner!r:.60}; allowed is a JSON object with members", where=f"{where}/{name}"
            )
        for member, parameter in renamed.items():
            if inner.get(member) is not None:
                values[parameter] = inner[member]
    if not isinstance(values.get("orderFrom", []), list):
        raise BadRequestData(
            "The coordinates of ordering are no array; allowed is for example [8,40]",
            where=f"{where}/ordering/coordinates",
        )
    return values


_ORDERING: Final = {
    "orderBy": "orderBy",
    "collation": "collation",
    "coordinates": "orderFrom",
    "geometry": "orderGeometry",
}

Selectors = tuple[tuple[EntitySelector, ...], bool]  # and whether one of them asks for any type (`*`)


def _selectors_of_parameters(parameters: Mapping[str, str], context: Names) -> Selectors:
    ids = _ids(parameters["id"].split(","), "id") if "id" in parameters else ()
    pattern = parameters.get("idPattern")
    if pattern is not None:
        regex.compile(pattern, "idPattern")
    selected = parameters.get("type")
    selection = None if selected is None else types.parse(selected, context)
    any_type = selected is not None and selection is None
    if not ids and pattern is None and selection is None:
        return (), any_type
    return (EntitySelector(ids, pattern, selection),), any_type


def _selectors_of_body(data: dict[str, Json], context: Names, where: str) -> Selectors:
    given = data.get("entities")
    if given is None:
        return (), False
    if not isinstance(given, list) or not given:
        raise BadRequestData("entities is not an array with at least one entity selector", where=f"{where}/entities")
    if len(given) > QUERY_TERMS_MAX:
        raise TooComplexQuery(f"entities holds more than {QUERY_TERMS_MAX} selectors", where=f"{where}/entities")
    selectors = tuple(parse_selector(item, context, f"{where}/entities/{index}") for index, item in enumerate(given))
    return selectors, any(selector.types is None for selector in selectors)


def _ids(given: list[Any], where: str) -> tuple[str, ...]:
    if len(given) > ENTITY_IDS_PER_QUERY_MAX:
        raise TooComplexQuery(f"{where} lists more than {ENTITY_IDS_PER_QUERY_MAX} ids", where=where)
    ids = []
    for id in given:
        text = id.strip() if isinstance(id, str) else None
        if text is None or not is_iri(text):
            raise BadRequestData(
                f"{where}: {id!r:.80} is not a URI; allowed are URIs such as urn:ngsi-ld:A:1", where=where
            )
        ids.append(text)
    return tuple(dict.fromkeys(ids))


# ---------------------------------------------------------------------- the question itself


def _parse(source: _Source, selected: Selectors, context: Names, *, temporal: bool) -> ParsedQuery:
    selectors, any_type = selected
    local = source.flag("local")
    if any_type:
        if local is False:
            raise BadRequestData(
                "type=* asks for entities of this hub only, so local=false contradicts it; "
                "allowed are local=true or no local",
                where="local",
            )
        local = True
    projected = projection.parse(
        pick=source.listed("pick"), omit=source.listed("omit"), attrs=source.listed("attrs"), context=context
    )
    join, join_level, contained_by = _join(source)
    query = EntityQuery(
        selectors=selectors,
        attributes=projected.required_attributes(),
        q=_q(source, context),
        geo=geo.parse({name: source.values[name] for name in _GEO_PARAMETERS if name in source.values}, context),
        scope=_given(source.text("scopeQ"), scope.parse),
        datasets=projection.parse_datasets(source.listed("datasetId")),
        order=_order(source, context, temporal=temporal),
    )
    _check_depth("q", q.link_depth(query.q), join, join_level)
    _check_depth("pick" if projected.pick is not None else "omit", projected.depth, join, join_level)
    return ParsedQuery(
        query,
        projected,
        join,
        join_level,
        contained_by,
        _given(source.text("csf"), csf_language.parse),
        local,
        source.text("lang") if source.body else None,
        source.flag("splitEntities"),
        bool(source.flag("entityMap")) if source.body else False,
        source.text("entityMapLifetime") if source.body else None,
        source.object("temporalQ") if source.body else None,
        source.object("aggrParams") if source.body else None,
        source.text("geometryProperty") if source.body else None,
    )


def _given(text: str | None, parse: Callable[[str], Any]) -> Any:
    return None if text is None else parse(text)


def _q(source: _Source, context: Names) -> Node | None:
    text = source.text("q")
    expanded, opaque = source.text("expandValues"), source.text("jsonKeys")
    expand_values = () if expanded is None else canonical_list(expanded, context, "expandValues")
    json_keys = () if opaque is None else canonical_list(opaque, context, "jsonKeys")
    if text is None:
        return None
    return q.parse(text, context, json_keys=json_keys, expand_values=expand_values)


def _order(source: _Source, context: Names, *, temporal: bool) -> order.Order:
    keys = order.parse(
        source.listed("orderBy"),
        context,
        collation=source.text("collation"),
        order_from=source.values.get("orderFrom"),
        order_geometry=source.values.get("orderGeometry"),
    )
    if temporal and any(key.path.names != ("id",) for key in keys):
        raise BadRequestData("A temporal query can be ordered by id only (clause 5.7.4.4)", where="orderBy")
    return keys


def _join(source: _Source) -> tuple[str | None, int, tuple[str, ...]]:
    join = source.text("join")
    if join not in (None, "flat", "inline", "@none"):
        raise BadRequestData(f"join is {join!r:.40}; allowed are flat, inline and @none", where="join")
    if join == "@none":
        join = None
    level = source.integer("joinLevel")
    if level is not None and not 1 <= level <= JOIN_LEVELS_MAX:
        raise BadRequestData(f"joinLevel is {level}; allowed are 1 to {JOIN_LEVELS_MAX}", where="joinLevel")
    contained = source.listed("containedBy")
    if contained is None:
        return join, level or 1, ()
    return join, level or 1, _ids(contained.split(",") if isinstance(contained, str) else contained, "containedBy")


def _check_depth(where: str, depth: int, join: str | None, join_level: int) -> None:
    """Refuse what reaches for more linked entities than are retrieved (clause 5.7.2.4)."""
    if depth == 0:
        return
    if join is None:
        raise BadRequestData(
            f"{where} asks for linked entities, but there is no join; allowed is it with join=flat or join=inline",
            where=where,
        )
    if depth > join_level:
        raise BadRequestData(
            f"{where} follows {depth} relationships, but joinLevel is {join_level}; allowed are at most that many",
            where=where,
        )


def type_of_parameter(name: str, context: Names) -> str:
    """Return the canonical name of a single type or attribute given in a path, such as /types/{type}."""
    return canonical(name, context, "the name in the path")
