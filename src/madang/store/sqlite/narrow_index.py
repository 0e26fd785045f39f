# SPDX-License-Identifier: Apache-2.0
"""Conditions that the value index can look up: keys of the entities in question, without looking at documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from madang.model.query.geo import GeoQuery
from madang.model.query.q_tree import TEXT_KINDS, And, Expression, Kind, Literal, Node, Or, Range, Term
from madang.store.sqlite.narrow_q import INTEGER_MAX, reference_boxes
from madang.store.sqlite.sql import Sql
from madang.store.sqlite.value_index import MEMBER, NAME, NUMBER, OTHER, TEXT, TEXT_CHARACTERS_MAX, TIME


class Cost(IntEnum):
    """How many rows a look-up is likely to find, as far as its form tells."""

    EQUAL = 0
    BOUNDED = 1
    PLACE = 2
    OPEN = 3


@dataclass(frozen=True, slots=True)
class Found:
    """`keys` selects `entity`, each once or more often; `decides`: exactly those that fulfil the condition."""

    keys: Sql
    cost: Cost
    decides: bool


_UNION_MAX: Final = 50  # SQLite joins 500 selects at most
_TABLES: Final[dict[Kind, str]] = {Kind.NUMBER: NUMBER, Kind.DATE_TIME: TIME, **dict.fromkeys(TEXT_KINDS, TEXT)}


def find_in_index(node: Node, indexed: Mapping[str, int]) -> Found | None:
    """Return the look-up of a condition, or None when the index cannot help."""
    if isinstance(node, Term):
        return _find_term(node, indexed)
    found = [find_in_index(child, indexed) for child in node.terms]
    if isinstance(node, And):
        usable = [one for one in found if one is not None]
        best = min(usable, key=lambda one: one.cost, default=None)
        return None if best is None else Found(best.keys, best.cost, False)
    assert isinstance(node, Or)
    every = [one for one in found if one is not None]
    return None if len(every) < len(found) else _union(every)


def _union(found: list[Found]) -> Found | None:
    if sum(one.keys.text.count("SELECT") for one in found) > _UNION_MAX:
        return None
    return Found(
        Sql(
            " UNION ".join(one.keys.text for one in found),
            tuple(parameter for one in found for parameter in one.keys.parameters),
        ),
        max(one.cost for one in found),
        all(one.decides for one in found),
    )


def _find_term(term: Term, indexed: Mapping[str, int]) -> Found | None:
    path, value, operator = term.path, term.value, term.operator
    key = indexed.get(path.names[0])
    if key is None or len(path.names) > 1 or path.members or path.links or value is None:
        return None
    if isinstance(value, Expression) or operator in (None, "!", "!="):
        return None
    if isinstance(value, Range):
        return _find_range(value, key)
    if operator == "==":
        return _find_equal(value, key)
    return _find_ordered(str(operator), value[0], key)


def _find_equal(literals: tuple[Literal, ...], key: int) -> Found | None:
    tables = [_table(literal) for literal in literals]
    found: list[Found] = []
    for table in dict.fromkeys(tables):
        if table is None:
            return None
        wanted = [literal for literal, place in zip(literals, tables, strict=True) if place == table]
        found.append(_find_one_of(table, [literal.value for literal in wanted], MEMBER, "<=", key))
        names = [literal.vocabulary for literal in wanted if literal.vocabulary is not None]
        if table == TEXT and names:
            found.append(_find_one_of(table, names, NAME, "=", key))
    return _union(found)


def _find_one_of(table: str, values: Sequence[int | float | str], kind: int, compare: str, key: int) -> Found:
    marks = ", ".join("?" * len(values))
    keys = _rows(table, key, f"value IN ({marks}) AND kind {compare} ?", (*map(_cut, values), kind))
    long = table == TEXT and max(len(str(value)) for value in values) >= TEXT_CHARACTERS_MAX
    return Found(keys, Cost.EQUAL, not long)


def _find_ordered(operator: str, literal: Literal, key: int) -> Found | None:
    table = _table(literal)
    if table is None or literal.kind in (Kind.URI, Kind.WORD):
        return None
    if table == TEXT:
        # The beginning of a text is not greater than the text, and not less than the beginning of a lesser one.
        operator = operator[0] + "="
    # A blob, which comes after all numbers, stands for a value that is none.
    extra = " AND value < x''" if table == NUMBER and operator[0] == ">" else ""
    keys = _rows(table, key, f"value {operator} ?{extra} AND kind <= ?", (_cut(literal.value), OTHER))
    return Found(keys, Cost.OPEN, table != TEXT)


def _find_range(value: Range, key: int) -> Found | None:
    table = _table(value.low)
    if table is None or _table(value.high) is None:
        return None
    bounds = (_cut(value.low.value), _cut(value.high.value), MEMBER)
    keys = _rows(table, key, "value BETWEEN ? AND ? AND kind <= ?", bounds)
    return Found(keys, Cost.BOUNDED, table != TEXT)


def _table(literal: Literal) -> str | None:
    if literal.kind is Kind.NUMBER and isinstance(literal.value, int | float) and abs(literal.value) >= INTEGER_MAX:
        return None
    if isinstance(literal.value, str) and "\0" in literal.value:
        return None
    return _TABLES.get(literal.kind)


def _cut(value: int | float | str) -> int | float | str:
    return value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value


def _rows(table: str, key: int, condition: str, parameters: tuple[Any, ...]) -> Sql:
    return Sql(f"SELECT entity FROM {table} WHERE attribute = ? AND {condition}", (key, *parameters))  # noqa: S608


def find_place(query: GeoQuery, indexed: Mapping[str, int]) -> Found | None:
    """Return the look-up of places whose box meets the reference; None where being apart is asked for."""
    key = indexed.get(query.attribute)
    if key is None or query.farther or query.relation == "disjoint":
        return None
    texts, parameters = [], []
    for west, south, east, north in reference_boxes(query):
        texts.append(
            "SELECT entity FROM value_box WHERE attribute_low <= ? AND attribute_high >= ? "
            "AND west <= ? AND east >= ? AND south <= ? AND north >= ?"
        )
        parameters += [key, key, east, west, north, south]
    return Found(Sql(" UNION ".join(texts), tuple(parameters)), Cost.PLACE, False)
