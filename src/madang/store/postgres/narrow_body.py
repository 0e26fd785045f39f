# SPDX-License-Identifier: Apache-2.0
"""Conditions over the JSON text of a document that never lose an answer; what they let through is asked in Python.

A document is stored as orjson writes it: without spaces, with one way to write each text and number. So a name that is
there stands in the text as `"name":`, and no text can look like that, because its quotation marks are escaped. The
commonest form of an attribute, one instance beginning with its type and a plain value, is compared with numbers; every
other form is let through. This takes less than half of the time of casting the text to jsonb, and cannot fail, as casts
do over U+0000.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

import orjson

from madang.model.entity import ENTITY_MEMBERS
from madang.model.query.geo import GeoQuery
from madang.model.query.q_match import literal_moment
from madang.model.query.q_tree import TEXT_KINDS, And, Expression, Kind, Literal, Node, Range, Term
from madang.model.query.scope import ScopeAnd, ScopePattern, ScopeQuery
from madang.store.index_lookups import INTEGER_MAX, reference_boxes
from madang.store.postgres.sql import FALSE, TRUE, Sql, all_of, any_of

_MARGIN: Final = 1e-9  # degrees, a tenth of a millimetre
_PIECES_MAX: Final = 60  # of a longer condition too much would be read for too little
_OPERATORS: Final = ("<", "<=", ">", ">=")


def q_condition(node: Node) -> Sql:
    """Return what every document that fulfils the query has in its text."""
    found = _of_node(node)
    return TRUE if len(found.parameters) > _PIECES_MAX else found


def attributes_condition(names: tuple[str, ...]) -> Sql:
    """Return what documents with at least one of the attributes have in their text."""
    return any_of(has_name(name) for name in names if name not in ENTITY_MEMBERS)


def has_name(name: str) -> Sql:
    """Return the condition that some object in the document has a member of that name."""
    text = _json(name)
    return FALSE if text is None else _has(text + ":")


def _has(part: str) -> Sql:
    return Sql("strpos(e.body, ?) > 0", (part,))


def _json(text: str) -> str | None:
    """Return the text as it stands in a document; None when none can have it."""
    try:
        return orjson.dumps(text).decode()
    except orjson.JSONEncodeError:  # half a surrogate pair
        return None


def _of_node(node: Node) -> Sql:
    if isinstance(node, Term):
        return _of_term(node)
    pieces = [_of_node(child) for child in node.terms]
    return all_of(pieces) if isinstance(node, And) else any_of(pieces)


def _of_term(term: Term) -> Sql:
    path = term.path
    if path.links:
        # What lies behind a link is not looked at here.
        return TRUE if term.operator == "!" else has_name(path.links[0].relationship)
    if term.operator == "!" or path.names[0] in ENTITY_MEMBERS:
        return TRUE
    return all_of([*(has_name(name) for name in path.names), _of_value(term)])


def _of_value(term: Term) -> Sql:
    value, operator = term.value, term.operator
    if value is None or isinstance(value, Expression) or operator in (None, "!="):
        return TRUE
    plain = term.path.names[0] if len(term.path.names) == 1 and not term.path.members else None
    if isinstance(value, Range):
        if plain is None or not (_is_exact(value.low) and _is_exact(value.high)):
            return TRUE
        return _number(plain, Sql("BETWEEN ? AND ?", (float(value.low.value), float(value.high.value))))
    if operator == "==":
        return any_of(_equal(literal, plain) for literal in value)
    if plain is None or operator not in _OPERATORS or not _is_exact(value[0]):
        return TRUE
    return _number(plain, Sql(f"{operator} ?", (float(value[0].value),)))


def _equal(literal: Literal, plain: str | None) -> Sql:
    if plain is not None and _is_exact(literal):
        return _number(plain, Sql("= ?", (float(literal.value),)))
    if literal.kind not in TEXT_KINDS or literal_moment(literal) is not None:
        return TRUE
    texts = [_json(text) for text in (str(literal.value), literal.vocabulary) if text is not None]
    return any_of(_has(text) for text in texts if text is not None)


def _is_exact(literal: Literal) -> bool:
    """Tell whether it is a number on whose side of it a double always lies where the number lies that it stands for."""
    return literal.kind is Kind.NUMBER and isinstance(literal.value, int | float) and abs(literal.value) < INTEGER_MAX


def _number(name: str, comparison: Sql) -> Sql:
    """Compare the number of an attribute whose only instance begins with its type and a plain number."""
    key = _json(name)
    assert key is not None, "the name was looked for first"
    opening = f'{key}:{{"type":"Property","value":'
    rest = Sql("split_part(e.body, ?, 2)", (opening,))
    number = Sql(f"split_part(split_part({rest.text}, ',', 1), '}}', 1)", rest.parameters)
    # The name twice: several instances, or one attribute below another. The opening is not there: another form.
    # The first character is neither a digit nor a minus: another type of value.
    text = (
        f"CASE WHEN split_part(e.body, ?, 3) <> '' OR strpos(e.body, ?) = 0 THEN true "
        f"WHEN ascii({rest.text}) BETWEEN 45 AND 57 THEN {number.text}::float8 {comparison.text} ELSE true END"
    )
    return Sql(text, (key + ":", opening, *rest.parameters, *number.parameters, *comparison.parameters))


def place_condition(query: GeoQuery) -> Sql:
    """Return what documents with the asked place have in their text: for a Point, numbers within the boxes."""
    here = has_name(query.attribute)
    if here == FALSE or query.farther or query.relation == "disjoint":
        return here
    key = _json(query.attribute)
    opening = f'{key}:{{"type":"GeoProperty","value":{{"type":"Point","coordinates":['
    position = Sql("split_part(split_part(e.body, ?, 2), ']', 1)", (opening,))
    longitude = f"split_part({position.text}, ',', 1)::float8"
    latitude = f"split_part({position.text}, ',', 2)::float8"
    # Longitudes beyond 180 stand for places on the other side.
    inside = [Sql(f"abs({longitude}) > 180", (opening,))]
    for west, south, east, north in reference_boxes(query):
        bounds = (opening, west - _MARGIN, east + _MARGIN, opening, south - _MARGIN, north + _MARGIN)
        inside.append(Sql(f"{longitude} BETWEEN ? AND ? AND {latitude} BETWEEN ? AND ?", bounds))
    fits = any_of(inside)
    # Two numbers and not more: what else there may be (a text, a third number) goes to Python.
    text = (
        "CASE WHEN split_part(e.body, ?, 3) <> '' OR strpos(e.body, ?) = 0 THEN true "
        f"WHEN {position.text} ~ '^[-0-9][-+.0-9eE]*,[-0-9][-+.0-9eE]*$' THEN {fits.text} ELSE true END"
    )
    decided = Sql(text, (f"{key}:", opening, *position.parameters, *fits.parameters))
    return all_of([here, decided])


def scope_condition(query: ScopeQuery) -> Sql:
    """Return what documents with the asked scope have in their text."""
    return all_of([has_name("scope"), _of_scope(query)])


def _of_scope(query: ScopeQuery) -> Sql:
    if not isinstance(query, ScopePattern):
        pieces = [_of_scope(part) for part in query.parts]
        return all_of(pieces) if isinstance(query, ScopeAnd) else any_of(pieces)
    # Levels that follow each other stand in the scope as they are asked for.
    grouped = groupby(query.levels, lambda level: level == "+")
    runs = ["/".join(levels) for any_level, levels in grouped if not any_level]
    text = _json(max(runs, key=len)) if runs else None
    return TRUE if text is None else _has(text[1:-1])
