# SPDX-License-Identifier: Apache-2.0
"""Terms of q, geoqueries and scopes as SQL conditions over the JSONB of a document.

The common case, one instance with a plain value, is decided by SQLite; every other form of an attribute (several
instances, arrays, languages, typed values …) goes through a function that asks `madang.model.query`.
"""

from __future__ import annotations

from typing import Final

import apsw

from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS
from madang.model.query import geometry
from madang.model.query.geo import GeoQuery
from madang.model.query.q_match import literal_moment
from madang.model.query.q_tree import TEXT_KINDS, And, Expression, Kind, Literal, Node, Path, Range, Term, Value
from madang.model.query.scope import ScopeQuery
from madang.store.sqlite.sql import FALSE, TRUE, UNKNOWN, Sql, all_of, any_of, json_of, json_path, kind_of, member

_MOMENTS: Final = frozenset({"createdAt", "modifiedAt", "deletedAt", "observedAt", "expiresAt"})
_NUMBERS: Final = frozenset({Kind.NUMBER})
_BOOLEANS: Final = frozenset({Kind.BOOLEAN})
_TEMPORAL: Final = frozenset({Kind.DATE_TIME, Kind.DATE, Kind.TIME})
_MARGIN: Final = 1e-9  # degrees, a tenth of a millimetre
INTEGER_MAX: Final = 1 << 53  # beyond it SQLite and Python may see different numbers


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
    if path.names[0] in ENTITY_MEMBERS and (len(path.names) > 1 or path.members):
        return FALSE
    decided_by_function = Sql(f"madang_fulfils(?, {json_of(root)})", (apsw.pyobject(term),))
    if term.operator is None or term.value is None:
        if len(path.names) == 1 and not path.members:
            return Sql(f"{kind_of(root)} IS NOT NULL")
        return _where_present(path, decided_by_function)
    return _comparison(path, term.operator, term.value, decided_by_function)


def _comparison(path: Path, operator: str, value: Value, otherwise: Sql) -> Sql:
    last = path.names[-1]
    if path.names[0] in ENTITY_MEMBERS or (last in INSTANCE_MEMBERS and len(path.names) > 1 and not path.members):
        place = json_path(*path.names)
        if place is None or last == "type":
            return _where_present(path, otherwise)
        if last in _MOMENTS:
            return _decide_moment(operator, value, place, path, otherwise)
        return _decide_plain(operator, value, (place, None), path, otherwise)
    value_place = json_path(*path.names, "value", *path.keys)
    if value_place is None:
        return _where_present(path, otherwise)
    object_place = None if path.members else json_path(*path.names, "object")
    return _decide_plain(operator, value, (value_place, object_place), path, otherwise)


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


def _where_present(path: Path, decided_by_function: Sql) -> Sql:
    """Ask the function only where the first attribute is there at all."""
    root = json_path(path.names[0])
    assert root is not None
    return Sql(f"{kind_of(root)} IS NOT NULL AND {decided_by_function.text}", decided_by_function.parameters)


# ---------------------------------------------------------------------- plain values


def _decide_plain(operator: str, value: Value, places: tuple[str, str | None], path: Path, otherwise: Sql) -> Sql:
    """Decide by the JSON type of the value; a relationship with one object is decided too."""
    comparisons = _comparisons(operator, value, member(places[0]), otherwise)
    if comparisons is None:
        return _where_present(path, otherwise)
    branches: list[str] = []
    parameters: list[object] = []
    for types, comparison in comparisons.items():
        branches += [f"WHEN '{json_type}' THEN {comparison.text}" for json_type in types]
        parameters += comparison.parameters * len(types)
    rest = _where_present(path, otherwise)
    if places[1] is not None:
        rest = _decide_object(operator, value, places[1], rest)
    text = f"CASE {kind_of(places[0])} {' '.join(branches)} ELSE {rest.text} END"
    return Sql(text, (*parameters, *rest.parameters))


def _decide_object(operator: str, value: Value, place: str, otherwise: Sql) -> Sql:
    if operator not in ("==", "!=") or isinstance(value, Expression):
        decided = FALSE
    elif isinstance(value, Range):
        decided = FALSE if operator == "==" else TRUE
    else:
        decided = _equality(value, TEXT_KINDS, member(place))
        decided = decided if operator == "==" else _negated(decided)
    return Sql(
        f"CASE {kind_of(place)} WHEN 'text' THEN {decided.text} ELSE {otherwise.text} END",
        (*decided.parameters, *otherwise.parameters),
    )


def _comparisons(operator: str, value: Value, found: str, otherwise: Sql) -> dict[tuple[str, ...], Sql] | None:
    """Return a condition for each JSON type of a plain value; None when SQLite can decide none of them."""
    if isinstance(value, Expression):
        finds = Sql(f"madang_finds(?, {found})", (apsw.pyobject(value),))
        decided = finds if operator == "~=" else Sql(f"NOT {finds.text}", finds.parameters)
        return {("text",): decided, ("integer", "real", "true", "false", "null"): FALSE}
    literals = (value.low, value.high) if isinstance(value, Range) else value
    if any(_beyond_sqlite(literal) for literal in literals):
        return None
    if isinstance(value, Range):
        numbers, texts, booleans = _range(value, found)
    elif operator in ("==", "!="):
        numbers, texts, booleans = (_equality(value, kinds, found) for kinds in (_NUMBERS, TEXT_KINDS, _BOOLEANS))
    else:
        numbers, texts, booleans = _order(operator, value[0], found)
    if operator == "!=":
        numbers, texts, booleans = (_negated(piece) for piece in (numbers, texts, booleans))
    if any(literal.kind in _TEMPORAL for literal in literals):
        # A text is one of these only if it can be read as one; the function knows the whole term, negation included.
        texts = otherwise
    return {
        ("real", "integer"): numbers,
        ("text",): texts,
        ("true", "false"): booleans,
        ("null",): TRUE if operator == "!=" else FALSE,
    }


def _beyond_sqlite(literal: Literal) -> bool:
    if isinstance(literal.value, str):
        return "\0" in literal.value
    return literal.kind is Kind.NUMBER and abs(literal.value) >= INTEGER_MAX


def _negated(piece: Sql) -> Sql:
    return Sql(f"NOT ({piece.text})", piece.parameters)


def _equality(literals: tuple[Literal, ...], kinds: frozenset[Kind], found: str) -> Sql:
    values = tuple(literal.value for literal in literals if literal.kind in kinds)
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


# ---------------------------------------------------------------------- moments of the hub


def _decide_moment(operator: str, value: Value, place: str, path: Path, otherwise: Sql) -> Sql:
    """Compare DateTime text that the hub itself has checked: as text up to the second, by the function within one."""
    asked = _where_present(path, otherwise)
    if operator not in ("<", "<=", ">", ">=") or not isinstance(value, tuple) or literal_moment(value[0]) is None:
        return asked
    second = value[0].text[:19]
    found = member(place)
    # Text of the same second goes on with a dot, a comma or Z, so it lies between the two.
    beyond = Sql(f"{found} > ?", (second + "Z",)) if operator in (">", ">=") else Sql(f"{found} < ?", (second,))
    within = Sql(f"{found} BETWEEN ? AND ?", (second, second + "Z"))
    decided = any_of((beyond, all_of((within, otherwise))))
    # An attribute with several instances has several moments.
    return Sql(
        f"CASE {kind_of(place)} WHEN 'text' THEN {decided.text} ELSE {asked.text} END",
        (*decided.parameters, *asked.parameters),
    )


# ---------------------------------------------------------------------- places and scopes


def place_condition(query: GeoQuery) -> Sql:
    """Return the condition of a geoquery: for a Point by its box first, for anything else by the function."""
    root = json_path(query.attribute)
    if root is None:
        return UNKNOWN
    decided_by_function = Sql(f"madang_place(?, {json_of(root)})", (apsw.pyobject(query),))
    asked = Sql(f"{kind_of(root)} IS NOT NULL AND {decided_by_function.text}", decided_by_function.parameters)
    apart = query.farther or query.relation == "disjoint"
    boxes = reference_boxes(query)
    longitude, latitude = f"{root}.value.coordinates[0]", f"{root}.value.coordinates[1]"
    inside = any_of(
        Sql(
            f"{member(longitude)} BETWEEN ? AND ? AND {member(latitude)} BETWEEN ? AND ?",
            (west - _MARGIN, east + _MARGIN, south - _MARGIN, north + _MARGIN),
        )
        for west, south, east, north in boxes
    )
    if apart:
        outside = _negated(inside)
        decided = any_of((outside, decided_by_function))
    else:
        decided = all_of((inside, decided_by_function))
    return Sql(
        f"CASE WHEN {kind_of(longitude)} IN ('real', 'integer') AND abs({member(longitude)}) <= 180 "
        f"THEN {decided.text} ELSE {asked.text} END",
        (*decided.parameters, *asked.parameters),
    )


def reference_boxes(query: GeoQuery) -> list[geometry.Bounds]:
    """Return boxes outside of which a point has nothing in common with the reference, or lies too far from it."""
    box = geometry.bounds(query.reference["coordinates"])
    assert box is not None, "a parsed geoquery has positions"
    return geometry.around(box, query.distance_m) if query.relation == "near" else [box]


def scope_condition(query: ScopeQuery) -> Sql:
    """Return the condition of a scope query."""
    return Sql(f"{kind_of('$.scope')} IS NOT NULL AND madang_scope(?, {json_of('$.scope')})", (apsw.pyobject(query),))
