# SPDX-License-Identifier: Apache-2.0
"""A question as SQL that never loses an answer, and mostly finds the answers alone.

The statement starts at the smallest set at hand (given ids, an index over values, a type) and looks into documents only
for what that does not decide. `madang.model.query.match.matches` is the truth it agrees with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection
from madang.model.query.order import OrderKey
from madang.model.query.q_tree import And, Node
from madang.store.sqlite.functions import register
from madang.store.sqlite.narrow_index import Found, find_in_index, find_place
from madang.store.sqlite.narrow_order import CREATION, direction, order_sql, order_value
from madang.store.sqlite.narrow_q import condition, place_condition, scope_condition
from madang.store.sqlite.sql import TRUE, UNKNOWN, Sql, all_of, any_of, json_path, kind_of
from madang.store.sqlite.value_index import FIRST, NO_NUMBER

__all__ = ["Narrowed", "narrow", "register"]


@dataclass(frozen=True, slots=True)
class _Arm:
    """One part of an order that the value index has."""

    source: Sql
    where: Sql
    order: Sql


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Pieces of a statement over `e`, a row of `entity` (of `entity_type` when no document is needed).

    `exact`: the rows are the answers; otherwise each has still to be asked. `order` ends with the order of creation.
    """

    source: Sql
    where: Sql
    exact: bool
    order: str | None
    order_parameters: tuple[Any, ...]
    with_documents: Sql  # the source when a column of the document is selected
    arms: tuple[_Arm, ...] = ()

    def select(
        self, columns: str, *, order: str | None = None, limit: int | None = None, offset: int = 0
    ) -> tuple[str, tuple[Any, ...]]:
        """Return a statement and its parameters. `order` is `self.order`, or another order of `e`; without it, any."""
        if order is not None and order == self.order and self.arms and limit is not None:
            return self._select_by_arms(columns, limit, offset)
        source = self.with_documents if "e.body" in columns else self.source
        text = f"SELECT {columns} FROM {source.text} WHERE {self.where.text}"  # noqa: S608 - built of our own pieces
        parameters = (*source.parameters, *self.where.parameters)
        if order is not None:
            text += f" ORDER BY {order}"
            parameters += self.order_parameters if order == self.order else ()
        if limit is not None:
            text += " LIMIT ? OFFSET ?"
            parameters += (limit, offset)
        return text, parameters

    def _select_by_arms(self, columns: str, limit: int, offset: int) -> tuple[str, tuple[Any, ...]]:
        """Numbers, other values and absent ones lie apart; the later arms run only for a page that reaches them."""
        texts: list[str] = []
        parameters: list[Any] = []
        for arm in self.arms:
            texts.append(
                f"SELECT * FROM (SELECT {columns} FROM {arm.source.text} WHERE {arm.where.text} "  # noqa: S608
                f"ORDER BY {arm.order.text} LIMIT ?)"
            )
            parameters += [*arm.source.parameters, *arm.where.parameters, *arm.order.parameters, limit + offset]
        return " UNION ALL ".join(texts) + " LIMIT ? OFFSET ?", (*parameters, limit, offset)


def narrow(query: EntityQuery, tenant_key: int, indexed: Mapping[str, int]) -> Narrowed:
    """Return the statement for a question; `indexed` is what `ValueIndex.declared` gives for the tenant."""
    parts: list[Node] = [] if query.q is None else list(query.q.terms) if isinstance(query.q, And) else [query.q]
    selector = query.selectors[0] if len(query.selectors) == 1 else None
    ids = selector.ids if selector is not None else ()
    start, decided = (None, None) if ids else _start(query, parts, indexed)
    where = all_of(
        [
            *_selector_conditions(query, selector, tenant_key),
            *(condition(part) for index, part in enumerate(parts) if index != decided),
            *_other_conditions(query),
        ]
    )
    order = order_sql(query.order)
    place = _Place(tenant_key, selector.types if selector is not None else None, ids)
    begin = (
        None if start is None else Sql(f"(SELECT DISTINCT entity FROM ({start.keys.text})) v", start.keys.parameters)
    )
    bodies = "e.body" in where.text or (order is not None and "e.body" in order.text)
    source, fixed = place.source(begin, bodies=bodies)
    arms: tuple[_Arm, ...] = ()
    if start is None and not ids and len(query.order) == 1:
        arms = _arms(query.order[0], place, where, indexed)
    return Narrowed(
        source=source,
        where=all_of((fixed, where)),
        exact=where.exact,
        order=None if order is None else order.text,
        order_parameters=() if order is None else order.parameters,
        with_documents=place.source(begin, bodies=True)[0],
        arms=arms,
    )


def _start(query: EntityQuery, parts: list[Node], indexed: Mapping[str, int]) -> tuple[Found | None, int | None]:
    """Return the most promising look-up in the value index, and which part of q it decides altogether."""
    best: Found | None = None
    decided = None
    for index, part in enumerate(parts):
        found = find_in_index(part, indexed)
        if found is not None and (best is None or found.cost < best.cost):
            best, decided = found, index if found.decides else None
    place = find_place(query.geo, indexed) if query.geo is not None else None
    if place is not None and (best is None or place.cost < best.cost):
        return place, None
    return best, decided


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

    def source(self, begin: Sql | None, *, bodies: bool) -> tuple[Sql, Sql]:
        """Return (source, condition); `begin`, named `v`, has the keys of entities of this tenant as `entity`."""
        if self.ids:
            pieces = (Sql("e.tenant = ? AND e.body IS NOT NULL", (self.tenant,)), _by_ids(self.ids))
            return Sql("entity e"), all_of((*pieces, _has_types(self.types, self.tenant)))
        if self.types is not None and len(self.types.any_of) == 1:
            return self._of_one_group(self.types.any_of[0], begin, bodies=bodies)
        if begin is None and self.types is not None:
            # Every entity has the first type of a group; the condition asks for the others.
            begin = self._of_any(tuple(dict.fromkeys(group[0] for group in self.types.any_of)))
        if begin is None:
            return Sql("entity e"), Sql("e.tenant = ? AND e.body IS NOT NULL", (self.tenant,))
        joined = Sql(f"{begin.text} CROSS JOIN entity e ON e.key = v.entity", begin.parameters)
        return joined, _has_types(self.types, self.tenant)

    def _of_any(self, names: tuple[str, ...]) -> Sql:
        marks = ", ".join("?" * len(names))
        keys = f"SELECT DISTINCT key AS entity FROM entity_type WHERE tenant = ? AND type IN ({marks})"  # noqa: S608
        return Sql(f"({keys}) v", (self.tenant, *names))

    def _of_one_group(self, group: tuple[str, ...], begin: Sql | None, *, bodies: bool) -> tuple[Sql, Sql]:
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
        return Sql(text, parameters), where


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
    rows = Sql("value_number v", ())
    numbers = Sql("v.attribute = ? AND v.kind = ? AND v.value < ?", (key, FIRST, NO_NUMBER))
    others = Sql("v.attribute = ? AND v.kind = ? AND v.value = ?", (key, FIRST, NO_NUMBER))
    absent = Sql(f"madang_absent({value.text})", value.parameters)
    with_body = "e.body" in where.text
    number_source, number_fixed = place.source(rows, bodies=with_body)
    source, fixed = place.source(rows, bodies=True)
    rest_source, rest_fixed = place.source(None, bodies=True)
    falling = "DESC" if part.backwards else "ASC"
    by_value = Sql(f"{value.text} {direction(part)}, {CREATION}", value.parameters)
    arms = [
        _Arm(number_source, all_of((numbers, number_fixed, where)), Sql(f"v.value {falling}, v.entity")),
        _Arm(source, all_of((others, fixed, where)), by_value),
    ]
    if part.backwards:
        arms.reverse()
    return (*arms, _Arm(rest_source, all_of((rest_fixed, where, absent)), by_value))
