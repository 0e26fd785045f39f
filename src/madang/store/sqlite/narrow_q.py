# SPDX-License-Identifier: Apache-2.0
"""Terms of q, geoqueries and scopes as SQL conditions over the JSONB of a document.

Plain values of an attribute with one or two instances are decided by SQLite; every other form (arrays, languages, typed
values …) goes through a function that asks `madang.model.query`. Conditions are nested in CASE, because SQLite computes
both sides of an AND outside of WHERE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import apsw

from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS
from madang.model.query import geometry
from madang.model.query.geo import GeoQuery
from madang.model.query.q_match import literal_moment
from madang.model.query.q_tree import TEXT_KINDS, And, Expression, Kind, Literal, Node, Range, Term, Value
from madang.model.query.scope import ScopeQuery
from madang.store.index_lookups import INTEGER_MAX, reference_boxes
from madang.store.sqlite.sql import FALSE, TRUE, UNKNOWN, Sql, all_of, any_of, json_of, json_path, kind_of, member

_MOMENTS: Final = frozenset({"createdAt", "modifiedAt", "deletedAt", "observedAt", "expiresAt"})
_NUMBERS: Final = frozenset({Kind.NUMBER})
_BOOLEANS: Final = frozenset({Kind.BOOLEAN})
_TEMPORAL: Final = frozenset({Kind.DATE_TIME, Kind.DATE, Kind.TIME})
_NULL: Final = Sql("NULL")
_MARGIN: Final = 1e-9  # degrees, a tenth of a millimetre


def condition(node: Node) -> Sql:
    """Return the condition of a query."""
    if isinstance(node, Term):
        return _term(node)
    pieces = [condition(child) for child in node.terms]
    return all_of(pieces) if isinstance(node, And) else any_of(pieces)


def _term(term: Term) -> Sql:
    path = term.path
    root = json_path(path.names[0])
    if path.links or root is None:
        return UNKNOWN
    if path.names == ("id",) and not path.members:
        return _id(term)
    if term.operator == "!":
        return _negated(_term(Term(path)))
    of_entity = path.names[0] in ENTITY_MEMBERS
    if of_entity and (len(path.names) > 1 or path.members):
        return FALSE
    asked = Sql(f"madang_fulfils(?, {json_of(root)})", (apsw.pyobject(term),))
    if term.operator is None or term.value is None:
        if len(path.names) == 1 and not path.members:
            return Sql(f"{kind_of(root)} IS NOT NULL")
        return when((Sql(f"{kind_of(root)} IS NOT NULL"), asked), otherwise=FALSE)
    if of_entity:
        decided = _decide(term, path.names[0], root)
        # `type` is a list of names, which only the function can compare.
        decided = _NULL if path.names == ("type",) else decided
        return when((Sql(f"{kind_of(root)} IS NOT NULL"), _or_else(decided, asked)), otherwise=FALSE)
    return _over_instances(term, root, asked)


def _id(term: Term) -> Sql:
    if term.operator in (None, "!"):
        return TRUE if term.operator is None else FALSE
    if isinstance(term.value, Range):
        return TRUE if term.operator == "!=" else FALSE
    if term.operator not in ("==", "!=") or not isinstance(term.value, tuple):
        return FALSE
    texts = [literal.value for literal in term.value if literal.kind in TEXT_KINDS]
    marks = ", ".join("?" * len(texts))
    return Sql(f"e.id {'IN' if term.operator == '==' else 'NOT IN'} ({marks})", tuple(texts))


def when(*branches: tuple[Sql, Sql], otherwise: Sql) -> Sql:
    """Return CASE WHEN … THEN … ELSE … END."""
    texts = [f"WHEN {test.text} THEN {result.text}" for test, result in branches]
    parameters = [parameter for test, result in branches for parameter in (*test.parameters, *result.parameters)]
    return Sql(f"CASE {' '.join(texts)} ELSE {otherwise.text} END", (*parameters, *otherwise.parameters))


def _negated(piece: Sql) -> Sql:
    return Sql(f"NOT ({piece.text})", piece.parameters)


def _or_else(decided: Sql, asked: Sql) -> Sql:
    return Sql(f"ifnull({decided.text}, {asked.text})", (*decided.parameters, *asked.parameters))


# ---------------------------------------------------------------------- instances of an attribute


def _over_instances(term: Term, root: str, asked: Sql) -> Sql:
    """Decide one instance, or an array of two, by SQLite; more, and what SQLite cannot decide, by the function."""
    name = term.path.names[0]
    only = _decide(term, name, root)
    if only == _NULL:
        return when((Sql(f"{kind_of(root)} IS NOT NULL"), asked), otherwise=FALSE)
    first, second = _decide(term, name, f"{root}[0]"), _decide(term, name, f"{root}[1]")
    undecided = Sql(
        f"({first.text}) + ({second.text}) IS NULL OR {kind_of(root + '[2]')} IS NOT NULL",
        (*first.parameters, *second.parameters),
    )
    several = when((first, TRUE), (second, TRUE), (undecided, asked), otherwise=FALSE)
    rest = Sql(
        f"CASE {kind_of(root)} WHEN 'object' THEN {asked.text} WHEN 'array' THEN {several.text} ELSE 0 END",
        (*asked.parameters, *several.parameters),
    )
    return _or_else(only, rest)


def _decide(term: Term, name: str, instance: str) -> Sql:
    """Return the condition for one instance (or member of the entity) at a JSON path; NULL where SQL cannot tell."""
    path, operator, value = term.path, str(term.operator), term.value
    assert value is not None
    last = path.names[-1]
    below = json_path(*path.names[1:])
    if below is None:
        return _NULL
    place = instance + below[1:]
    if name in ENTITY_MEMBERS or (last in INSTANCE_MEMBERS and len(path.names) > 1 and not path.members):
        if last in _MOMENTS:
            return _decide_moment(term, place)
        return _by_kind(place, _comparisons(term, member(place)))
    members = json_path("value", *path.keys)
    if members is None:
        return _NULL
    comparisons = _comparisons(term, member(place + members[1:]))
    decided = _by_kind(place + members[1:], comparisons)
    if path.members or decided == _NULL:
        return decided
    return _decide_object(operator, value, f"{place}.object", decided)


def _by_kind(place: str, comparisons: dict[str, Sql]) -> Sql:
    if not comparisons:
        return _NULL
    branches = " ".join(f"WHEN '{json_type}' THEN {piece.text}" for json_type, piece in comparisons.items())
    parameters = tuple(parameter for piece in comparisons.values() for parameter in piece.parameters)
    return Sql(f"CASE {kind_of(place)} {branches} END", parameters)


def _decide_object(operator: str, value: Value, place: str, decided: Sql) -> Sql:
    """Where there is no value there may be the one object of a relationship."""
    if operator not in ("==", "!=") or isinstance(value, Expression):
        objects = FALSE
    elif isinstance(value, Range):
        objects = FALSE if operator == "==" else TRUE
    else:
        objects = _equality(value, TEXT_KINDS, member(place))
        objects = objects if operator == "==" else _negated(objects)
    text = decided.text.removesuffix(" END")
    return Sql(
        f"{text} ELSE CASE {kind_of(place)} WHEN 'text' THEN {objects.text} END END",
        (*decided.parameters, *objects.parameters),
    )


# ---------------------------------------------------------------------- plain values


def _comparisons(term: Term, found: str) -> dict[str, Sql]:
    """Return a condition for each JSON type that SQLite can decide."""
    operator, value = term.operator, term.value
    assert value is not None
    if isinstance(value, Expression):
        finds = Sql(f"madang_finds(?, {found})", (apsw.pyobject(value),))
        decided = finds if operator == "~=" else _negated(finds)
        return {"text": decided, **dict.fromkeys(("integer", "real", "true", "false", "null"), FALSE)}
    literals = (value.low, value.high) if isinstance(value, Range) else value
    if any(_beyond_sqlite(literal) for literal in literals):
        return {}
    if isinstance(value, Range):
        numbers, texts, booleans = _range(value, found)
    elif operator in ("==", "!="):
        numbers, texts, booleans = (_equality(value, kinds, found) for kinds in (_NUMBERS, TEXT_KINDS, _BOOLEANS))
    else:
        numbers, texts, booleans = _order(str(operator), value[0], found)
    nulls = FALSE
    if operator == "!=":
        numbers, texts, booleans, nulls = (_negated(piece) for piece in (numbers, texts, booleans, nulls))
    decided_types = {"real": numbers, "integer": numbers, "true": booleans, "false": booleans, "null": nulls}
    if any(literal.kind in _TEMPORAL for literal in literals):
        # A text is one of these only if it can be read as one.
        return decided_types
    return {**decided_types, "text": texts}


def _beyond_sqlite(literal: Literal) -> bool:
    if isinstance(literal.value, str):
        return "\0" in literal.value
    return literal.kind is Kind.NUMBER and abs(literal.value) >= INTEGER_MAX


def _equality(literals: tuple[Literal, ...], kinds: frozenset[Kind], found: str) -> Sql:
    values = tuple(literal.value for literal in literals if literal.kind in kinds)
    if len(values) == 1:
        return Sql(f"{found} = ?", values)
    return Sql(f"{found} IN ({', '.join('?' * len(values))})", values) if values else FALSE


def _order(operator: str, literal: Literal, found: str) -> tuple[Sql, Sql, Sql]:
    compared = Sql(f"{found} {operator} ?", (literal.value,))
    if literal.kind is Kind.NUMBER:
        return compared, FALSE, FALSE
    return FALSE, compared if literal.kind is Kind.TEXT else FALSE, FALSE


def _range(value: Range, found: str) -> tuple[Sql, Sql, Sql]:
    between = Sql(f"{found} BETWEEN ? AND ?", (value.low.value, value.high.value))
    if value.low.kind is Kind.NUMBER:
        return between, FALSE, FALSE
    return FALSE, between if value.low.kind is Kind.TEXT else FALSE, FALSE


def _decide_moment(term: Term, place: str) -> Sql:
    """Compare DateTime text that the hub itself has checked: as text up to the second; within one it is undecided."""
    operator, value = term.operator, term.value
    if operator not in ("<", "<=", ">", ">=") or not isinstance(value, tuple) or literal_moment(value[0]) is None:
        return _NULL
    second = value[0].text[:19]
    found = member(place)
    # Text of the same second goes on with a dot, a comma or Z, so it lies between the two.
    later, earlier = Sql(f"{found} > ?", (second + "Z",)), Sql(f"{found} < ?", (second,))
    greater = operator in (">", ">=")
    return when((later, TRUE if greater else FALSE), (earlier, FALSE if greater else TRUE), otherwise=_NULL)


# ---------------------------------------------------------------------- places and scopes


@dataclass(frozen=True, slots=True)
class _Point:
    """The numbers of a Point in the only instance of a GeoProperty."""

    root: str

    @property
    def longitude(self) -> str:
        return member(f"{self.root}.value.coordinates[0]")

    @property
    def latitude(self) -> str:
        return member(f"{self.root}.value.coordinates[1]")

    @property
    def is_place(self) -> Sql:
        return Sql(f"{member(self.root + '.type')} = 'GeoProperty'")

    @property
    def present(self) -> Sql:
        return Sql(
            f"{kind_of(f'{self.root}.value.coordinates[0]')} IN ('real', 'integer') AND abs({self.longitude}) <= 180"
        )


def place_condition(query: GeoQuery) -> Sql:
    """Return the condition of a geoquery: for a Point by its box first, for anything else by the function."""
    root = json_path(query.attribute)
    if root is None:
        return UNKNOWN
    point = _Point(root)
    asked = Sql(f"madang_place(?, {json_of(root)})", (apsw.pyobject(query),))
    asked_of_point = Sql(f"madang_point(?, {point.longitude}, {point.latitude})", (apsw.pyobject(query),))
    inside = any_of(_inside(point, box) for box in reference_boxes(query))
    if query.farther or query.relation == "disjoint":
        # Everything outside the boxes answers, but only if it is a place at all.
        decided = when((_negated(point.is_place), FALSE), (_negated(inside), TRUE), otherwise=asked_of_point)
    else:
        decided = when((inside, when((point.is_place, asked_of_point), otherwise=FALSE)), otherwise=FALSE)
    return when((point.present, decided), (Sql(f"{kind_of(root)} IS NOT NULL"), asked), otherwise=FALSE)


def _inside(point: _Point, box: geometry.Bounds) -> Sql:
    west, south, east, north = box
    bounds: tuple[Any, ...] = (west - _MARGIN, east + _MARGIN, south - _MARGIN, north + _MARGIN)
    return Sql(f"{point.longitude} BETWEEN ? AND ? AND {point.latitude} BETWEEN ? AND ?", bounds)


def scope_condition(query: ScopeQuery) -> Sql:
    """Return the condition of a scope query."""
    asked = Sql(f"madang_scope(?, {json_of('$.scope')})", (apsw.pyobject(query),))
    return when((Sql(f"{kind_of('$.scope')} IS NOT NULL"), asked), otherwise=FALSE)
