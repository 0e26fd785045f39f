# SPDX-License-Identifier: Apache-2.0
"""Conditions that a value index can look up, whichever back-end keeps it: what to look for, in which table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

from madang.model.query import geometry
from madang.model.query.geo import GeoQuery
from madang.model.query.q_tree import TEXT_KINDS, And, Expression, Kind, Literal, Node, Or, Range, Term
from madang.store.index_rows import BOX, FIRST, MEMBER, NAME, NUMBER, OTHER, TEXT, TIME


class Cost(IntEnum):
    """How many rows a look-up is likely to find, as far as its form tells."""

    EQUAL = 0
    BOUNDED = 1
    PLACE = 2
    OPEN = 3


class Lookup(NamedTuple):
    """The rows of one attribute in one table whose value compares so with `values`, and whose kind is one of a range.

    `operator` is IN (any of the values), BETWEEN (both ends belong to it), <, <=, >, >=, or MEETS: `values` are boxes
    (west, south, east, north in degrees) of which a row's box has to meet one.
    """

    table: str
    attribute: int
    operator: str
    values: tuple[Any, ...]
    kind_low: int
    kind_high: int


@dataclass(frozen=True, slots=True)
class Found:
    """Every entity in question is found by at least one look-up; `decides`: those are exactly the right ones."""

    lookups: tuple[Lookup, ...]
    cost: Cost
    decides: bool


INTEGER_MAX: Final = 1 << 53  # beyond it a database and Python may see different numbers
_UNION_MAX: Final = 50  # SQLite joins 500 selects at most
_TABLES: Final[dict[Kind, str]] = {Kind.NUMBER: NUMBER, Kind.DATE_TIME: TIME, **dict.fromkeys(TEXT_KINDS, TEXT)}


def find_in_index(node: Node, indexed: Mapping[str, int], text_characters_max: int) -> Found | None:
    """Return the look-ups of a condition, or None when the index cannot help; the index has texts up to that length."""
    if isinstance(node, Term):
        return _find_term(node, indexed, text_characters_max)
    found = [find_in_index(child, indexed, text_characters_max) for child in node.terms]
    if isinstance(node, And):
        usable = [one for one in found if one is not None]
        best = min(usable, key=lambda one: one.cost, default=None)
        return None if best is None else Found(best.lookups, best.cost, False)
    assert isinstance(node, Or)
    every = [one for one in found if one is not None]
    return None if len(every) < len(found) else _union(every)


def _union(found: list[Found]) -> Found | None:
    lookups = tuple(lookup for one in found for lookup in one.lookups)
    if len(lookups) > _UNION_MAX:
        return None
    return Found(lookups, max(one.cost for one in found), all(one.decides for one in found))


def _find_term(term: Term, indexed: Mapping[str, int], text_characters_max: int) -> Found | None:
    path, value, operator = term.path, term.value, term.operator
    key = indexed.get(path.names[0])
    if key is None or len(path.names) > 1 or path.members or path.links or value is None:
        return None
    if isinstance(value, Expression) or operator in (None, "!", "!="):
        return None
    if isinstance(value, Range):
        return _find_range(value, key, text_characters_max)
    if operator == "==":
        return _find_equal(value, key, text_characters_max)
    return _find_ordered(str(operator), value[0], key, text_characters_max)


def _find_equal(literals: tuple[Literal, ...], key: int, text_characters_max: int) -> Found | None:
    tables = [_table(literal) for literal in literals]
    found: list[Found] = []
    for table in dict.fromkeys(tables):
        if table is None:
            return None
        wanted = [literal for literal, place in zip(literals, tables, strict=True) if place == table]
        values = tuple(literal.value for literal in wanted)
        found.append(_find_one_of(Lookup(table, key, "IN", values, FIRST, MEMBER), text_characters_max))
        names = tuple(literal.vocabulary for literal in wanted if literal.vocabulary is not None)
        if table == TEXT and names:
            found.append(_find_one_of(Lookup(table, key, "IN", names, NAME, NAME), text_characters_max))
    return _union(found)


def _find_one_of(lookup: Lookup, text_characters_max: int) -> Found:
    long = lookup.table == TEXT and max(len(value) for value in lookup.values) >= text_characters_max
    values = tuple(_cut(value, text_characters_max) for value in lookup.values)
    return Found((lookup._replace(values=values),), Cost.EQUAL, not long)


def _find_ordered(operator: str, literal: Literal, key: int, text_characters_max: int) -> Found | None:
    table = _table(literal)
    if table is None or literal.kind in (Kind.URI, Kind.WORD):
        return None
    if table == TEXT:
        # The beginning of a text is not greater than the text, and not less than the beginning of a lesser one.
        operator = operator[0] + "="
    value = _cut(literal.value, text_characters_max)
    return Found((Lookup(table, key, operator, (value,), FIRST, OTHER),), Cost.OPEN, table != TEXT)


def _find_range(value: Range, key: int, text_characters_max: int) -> Found | None:
    table = _table(value.low)
    if table is None or _table(value.high) is None:
        return None
    ends = (_cut(value.low.value, text_characters_max), _cut(value.high.value, text_characters_max))
    return Found((Lookup(table, key, "BETWEEN", ends, FIRST, MEMBER),), Cost.BOUNDED, table != TEXT)


def _table(literal: Literal) -> str | None:
    if literal.kind is Kind.NUMBER and isinstance(literal.value, int | float) and abs(literal.value) >= INTEGER_MAX:
        return None
    if isinstance(literal.value, str) and not is_sendable(literal.value):
        return None
    return _TABLES.get(literal.kind)


def is_sendable(text: str) -> bool:
    """Tell whether a database takes the text as a parameter: it has neither U+0000 nor half a surrogate pair."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cut(value: int | float | str, text_characters_max: int) -> int | float | str:
    return value[:text_characters_max] if isinstance(value, str) else value


def find_place(query: GeoQuery, indexed: Mapping[str, int]) -> Found | None:
    """Return the look-up of places whose box meets the reference; None where being apart is asked for."""
    key = indexed.get(query.attribute)
    if key is None or query.farther or query.relation == "disjoint":
        return None
    boxes = tuple(reference_boxes(query))
    return Found((Lookup(BOX, key, "MEETS", boxes, FIRST, FIRST),), Cost.PLACE, False)


def reference_boxes(query: GeoQuery) -> list[geometry.Bounds]:
    """Return boxes outside of which a point has nothing in common with the reference, or lies too far from it."""
    box = geometry.bounds(query.reference["coordinates"])
    assert box is not None, "a parsed geoquery has positions"
    return geometry.around(box, query.distance_m) if query.relation == "near" else [box]
