# SPDX-License-Identifier: Apache-2.0
"""A question as SQL that never loses an answer, and mostly finds the answers alone.

The statement starts at the smallest set at hand (given ids, an index over values, a type) and looks into documents only
for what that does not decide. `madang.model.query.match.matches` is the truth it agrees with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import apsw
import orjson

from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection
from madang.model.query.order import OrderKey
from madang.model.query.q_tree import And, Node
from madang.store.index_lookups import Found, find_in_index, find_place
from madang.store.index_rows import FIRST, NO_NUMBER
from madang.store.sqlite.functions import register
from madang.store.sqlite.narrow_index import keys_of
from madang.store.sqlite.narrow_order import CREATION, direction, order_sql, order_value
from madang.store.sqlite.narrow_q import condition, place_condition, scope_condition
from madang.store.sqlite.sql import TRUE, UNKNOWN, Sql, all_of, any_of, json_path, kind_of
from madang.store.sqlite.value_index import TEXT_CHARACTERS_MAX

__all__ = ["Narrowed", "narrow", "register"]

_MANY_ROWS: Final = 2_000
_SQL_CHARACTERS_MAX: Final = 50_000
_SQL_PARAMETERS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Rows:
    """FROM and WHERE of rows named `e`; `creation` is their order of creation, None when they come in it anyway."""

    source: Sql
    where: Sql
    creation: str | None = CREATION

    def also(self, where: Sql) -> _Rows:
        return _Rows(self.source, all_of((self.where, where)), self.creation)


@dataclass(frozen=True, slots=True)
class _Arm:
    """One part of an order that the value index has."""

    rows: _Rows
    order: Sql


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Pieces of a statement over `e`, a row of `entity` (of `entity_type` when no document is needed).

    `exact`: the rows are the answers; otherwise each has still to be asked. `order` ends with the order of creation.
    """

    rows: _Rows
    documents: _Rows  # the same rows when a column of the document is selected
    exact: bool
    order: str | None
    order_parameters: tuple[Any, ...] = ()
    arms: tuple[_Arm, ...] = ()

    def select(
        self, columns: str, *, order: str | None = None, limit: int | None = None, offset: int = 0
    ) -> tuple[str, tuple[Any, ...]]:
        """Return a statement and its parameters; `order` is `self.order` or `CREATION`, without it there is none."""
        if order is not None and order == self.order and self.arms and limit is not None:
            return self._select_by_arms(columns, limit, offset)
        rows = self.documents if "e.body" in columns else self.rows
        text = f"SELECT {columns} FROM {rows.source.text} WHERE {rows.where.text}"  # noqa: S608 - our own pieces
        parameters = (*rows.source.parameters, *rows.where.parameters)
        ordered = rows.creation if order == CREATION else order
        if ordered is not None:
            text += f" ORDER BY {ordered}"
            parameters += self.order_parameters if ordered == self.order else ()
        if limit is not None:
            text += " LIMIT ? OFFSET ?"
            parameters += (limit, offset)
        return text, parameters

    def _select_by_arms(self, columns: str, limit: int, offset: int) -> tuple[str, tuple[Any, ...]]:
        """Numbers, other values and absent ones lie apart; the later arms run only for a page that reaches them."""
        texts: list[str] = []
        parameters: list[Any] = []
        for arm in self.arms:
            rows = arm.rows
            texts.append(
                f"SELECT * FROM (SELECT {columns} FROM {rows.source.text} WHERE {rows.where.text} "  # noqa: S608
                f"ORDER BY {arm.order.text} LIMIT ?)"
            )
            parameters += [*rows.source.parameters, *rows.where.parameters, *arm.order.parameters, limit + offset]
        return " UNION ALL ".join(texts) + " LIMIT ? OFFSET ?", (*parameters, limit, offset)


def narrow(
    query: EntityQuery, tenant_key: int, indexed: Mapping[str, int], connection: apsw.Connection | None = None
) -> Narrowed:
    """Return the statement for a question; `indexed` is what `ValueIndex.declared` gives for the tenant.

    With a connection, look-ups in the index are chosen by the number of rows they find, without one by their form.
    """
    parts: list[Node] = [] if query.q is None else list(query.q.terms) if isinstance(query.q, And) else [query.q]
    selector = query.selectors[0] if len(query.selectors) == 1 else None
    ids = selector.ids if selector is not None else ()
    start, decided = (None, None) if ids or not indexed else _start(query, parts, indexed, connection)
    where = all_of(
        [
            *_selector_conditions(query, selector, tenant_key),
            *(condition(part) for index, part in enumerate(parts) if index != decided),
            *_other_conditions(query),
        ]
    )
    if len(where.text) > _SQL_CHARACTERS_MAX or len(where.parameters) > _SQL_PARAMETERS_MAX:
        start = None
        where = _by_function(query, exact=where.exact)
    order = order_sql(query.order)
    place = _Place(tenant_key, selector.types if selector is not None else None, ids)
    begin = None
    if start is not None:
        keys = keys_of(start)
        begin = Sql(f"(SELECT DISTINCT entity FROM ({keys.text})) v", keys.parameters)  # noqa: S608 - our own pieces
    bodies = "e.body" in where.text or (order is not None and "e.body" in order.text)
    return Narrowed(
        rows=place.rows(begin, bodies=bodies).also(where),
        documents=place.rows(begin, bodies=True).also(where),
        exact=where.exact,
        order=None if order is None else order.text,
        order_parameters=() if order is None else order.parameters,
        arms=_arms(query.order[0], place, where, indexed) if len(query.order) == 1 and not ids and not begin else (),
    )


def _by_function(query: EntityQuery, *, exact: bool) -> Sql:
    """Ask for the whole document at once: SQLite has its limits, and reading a very long statement takes time too."""
    if not exact:
        return UNKNOWN
    return Sql("madang_answers(?, json(e.body))", (apsw.pyobject(query),))


def _start(
    query: EntityQuery, parts: list[Node], indexed: Mapping[str, int], connection: apsw.Connection | None
) -> tuple[Found | None, int | None]:
    """Return the most promising look-up in the value index, and which part of q it decides altogether.

    A page is filled sooner by walking through entities in order than by collecting very many keys first.
    """
    found = [(find_in_index(part, indexed, TEXT_CHARACTERS_MAX), number) for number, part in enumerate(parts)]
    if query.geo is not None:
        found.append((find_place(query.geo, indexed), len(parts)))
    usable = [(one, number) for one, number in found if one is not None]
    if not usable:
        return None, None
    if connection is None:
        best, number = min(usable, key=lambda pair: pair[0].cost)
    else:
        rows, best, number = min(
            ((_rows_up_to(connection, one), one, number) for one, number in usable), key=lambda triple: triple[0]
        )
        if rows >= _MANY_ROWS and not query.count:
            return None, None
    return best, number if best.decides else None


def _rows_up_to(connection: apsw.Connection, found: Found) -> int:
    keys = keys_of(found)
    sql = f"SELECT count(*) FROM (SELECT 1 FROM ({keys.text}) LIMIT {_MANY_ROWS})"  # noqa: S608 - our own pieces
    return int(connection.execute(sql, keys.parameters).get)


# ---------------------------------------------------------------------- conditions beside q


def _selector_conditions(query: EntityQuery, selector: EntitySelector | None, tenant: int) -> list[Sql]:
    """Return what selectors ask for; ids and types of a single one are dealt with by `_Place`."""
    if selector is None:
        return [any_of(_selected(item, tenant) for item in query.selectors)] if query.selectors else []
    if selector.id_pattern is None or selector.ids:
        return []
    return [_fits(selector.id_pattern)]


def _selected(selector: EntitySelector, tenant: int) -> Sql:
    pieces = [_has_types(selector.types, tenant)]
    if selector.ids:
        pieces.append(_by_ids(selector.ids))
    elif selector.id_pattern is not None:
        pieces.append(_fits(selector.id_pattern))
    return all_of(pieces)


def _other_conditions(query: EntityQuery) -> list[Sql]:
    conditions = []
    if query.attributes:
        conditions.append(any_of(_has(name) for name in query.attributes))
    if query.scope is not None:
        conditions.append(scope_condition(query.scope))
    if query.geo is not None:
        conditions.append(place_condition(query.geo))
    if query.extra is not None:
        conditions.append(UNKNOWN)
    return conditions


def _by_ids(ids: tuple[str, ...]) -> Sql:
    if len(ids) == 1:
        return Sql("e.id = ?", ids)
    return Sql("e.id IN (SELECT value FROM json_each(?))", (orjson.dumps(ids).decode(),))


def _has_types(types: TypeSelection | None, tenant: int) -> Sql:
    if types is None:
        return TRUE
    text = "EXISTS (SELECT 1 FROM entity_type x WHERE x.tenant = ? AND x.type = ? AND x.key = e.key)"
    return any_of(all_of(Sql(text, (tenant, name)) for name in group) for group in types.any_of)


def _fits(pattern: str) -> Sql:
    return Sql("madang_id_finds(?, e.id)", (pattern,))


def _has(name: str) -> Sql:
    path = json_path(name)
    return UNKNOWN if path is None else Sql(f"{kind_of(path)} IS NOT NULL")


# ---------------------------------------------------------------------- from where


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the entities of one tenant, with those types or ids, are to be found."""

    tenant: int
    types: TypeSelection | None
    ids: tuple[str, ...]

    def rows(self, begin: Sql | None, *, bodies: bool) -> _Rows:
        """Return the rows; `begin`, named `v`, has the keys of entities of this tenant as `entity`."""
        if self.ids:
            pieces = (Sql("e.tenant = ? AND e.body IS NOT NULL", (self.tenant,)), _by_ids(self.ids))
            return _Rows(Sql("entity e"), all_of((*pieces, _has_types(self.types, self.tenant))))
        if self.types is not None and len(self.types.any_of) == 1:
            return self._of_one_group(self.types.any_of[0], begin, bodies=bodies)
        creation: str | None = CREATION
        if begin is None and self.types is not None:
            # Every entity has the first type of a group; the condition asks for the others.
            begin = self._of_any(tuple(dict.fromkeys(group[0] for group in self.types.any_of)))
            creation = None
        if begin is None:
            return _Rows(Sql("entity e"), Sql("e.tenant = ? AND e.body IS NOT NULL", (self.tenant,)))
        joined = Sql(f"{begin.text} CROSS JOIN entity e ON e.key = v.entity", begin.parameters)
        simple = creation is None and self.types is not None and all(len(group) == 1 for group in self.types.any_of)
        return _Rows(joined, TRUE if simple else _has_types(self.types, self.tenant), creation)

    def _of_any(self, names: tuple[str, ...]) -> Sql:
        """Return the keys of several types in order of creation, merged from as many walks along the type index."""
        one = "SELECT key AS entity FROM entity_type WHERE tenant = ? AND type = ?"
        # The limit keeps SQLite from taking the order for needless.
        text = f"({' UNION '.join([one] * len(names))} ORDER BY 1 LIMIT -1) v"
        return Sql(text, tuple(part for name in names for part in (self.tenant, name)))

    def _of_one_group(self, group: tuple[str, ...], begin: Sql | None, *, bodies: bool) -> _Rows:
        # Without documents the row of the type index, which has key and id too, stands for the entity.
        first = "t" if bodies else "e"
        where = Sql(f"{first}.tenant = ? AND {first}.type = ?", (self.tenant, group[0]))
        text = f"entity_type {first}"
        parameters: tuple[Any, ...] = ()
        if begin is not None:
            text = f"{begin.text} CROSS JOIN {text} ON {first}.key = v.entity"
            parameters = begin.parameters
        for number, name in enumerate(group[1:]):
            text += f" CROSS JOIN entity_type t{number} ON t{number}.tenant = ? AND t{number}.type = ?"
            text += f" AND t{number}.key = {first}.key"
            parameters += (self.tenant, name)
        if bodies:
            text += f" CROSS JOIN entity e ON e.key = {first}.key"
        return _Rows(Sql(text, parameters), where, f"{first}.key")


# ---------------------------------------------------------------------- an order that the value index has


def _arms(part: OrderKey, place: _Place, where: Sql, indexed: Mapping[str, int]) -> tuple[_Arm, ...]:
    """Return the parts of the order one after the other; empty when the index does not have it.

    Rising, numbers come first, then all other values, which have one row each; falling, the other way round. Entities
    without the attribute, or with null, have no row and come last.
    """
    key = indexed.get(part.path.names[0])
    value = order_value(part)
    if key is None or value is None or part.reference is not None or len(part.path.names) > 1 or part.path.members:
        return ()
    rows = Sql("value_number v")
    of_kind = "v.attribute = ? AND v.kind = ? AND v.value {} ?"
    numbers = Sql(of_kind.format("<"), (key, FIRST, NO_NUMBER))
    others = Sql(of_kind.format("="), (key, FIRST, NO_NUMBER))
    absent = Sql(f"madang_absent({value.text})", value.parameters)
    by_index = Sql(f"v.value {'DESC' if part.backwards else 'ASC'}, v.entity")
    by_value = Sql(f"{value.text} {direction(part)}, {CREATION}", value.parameters)
    arms = [
        _Arm(place.rows(rows, bodies="e.body" in where.text).also(all_of((numbers, where))), by_index),
        _Arm(place.rows(rows, bodies=True).also(all_of((others, where))), by_value),
    ]
    if part.backwards:
        arms.reverse()
    return (*arms, _Arm(place.rows(None, bodies=True).also(all_of((where, absent))), by_value))
