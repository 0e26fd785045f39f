# SPDX-License-Identifier: Apache-2.0
"""A question as SQL that never loses an answer; `madang.model.query.match.matches` has the last word (decision 0005).

Every statement is about one tenant and joins tables by (tenant, id) alone, so that it goes to one shard or to all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from madang.model.query.model import EntityQuery, EntitySelector
from madang.model.query.order import Order, OrderKey
from madang.model.query.q_tree import And, Node
from madang.store.index_lookups import Found as FoundInIndex
from madang.store.index_lookups import find_in_index, find_place, is_sendable
from madang.store.index_rows import FIRST
from madang.store.postgres.narrow_body import attributes_condition, place_condition, q_condition, scope_condition
from madang.store.postgres.narrow_index import ids_of
from madang.store.postgres.sql import TRUE, Sql, all_of, any_of, parameters_of
from madang.store.postgres.value_index import TEXT_CHARACTERS_MAX

Groups = tuple[tuple[int, ...], ...]  # keys of types: an entity has all of at least one group


@dataclass(frozen=True, slots=True)
class Rows:
    """FROM and WHERE. The table named `alias` has tenant, id and key of the entities; `e`, if asked for, the body."""

    source: str
    where: Sql
    alias: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where the entities of one tenant, with those types and ids, are to be found; None does not restrict."""

    tenant: int
    groups: Groups | None = None
    ids: tuple[str, ...] | None = None

    def rows(self, *, bodies: bool, numbers: Sql | None = None) -> Rows:
        """Return the rows; `numbers` is a condition over rows `v` of the index of numbers, which come along."""
        group = self.groups[0] if self.groups is not None and len(self.groups) == 1 and self.ids is None else None
        alias, table = ("e", "entity") if group is None else ("x", "entity_type")
        text = f"{table} {alias}"
        where = [] if numbers is None else [numbers]
        if numbers is not None:
            text = f"value_number v JOIN {text} ON {alias}.tenant = v.tenant AND {alias}.id = v.id"
        if group is None:
            where += self._of_any_group()
        else:
            # Without documents the row of the type index, which has key and id too, stands for the entity.
            text += " JOIN entity e ON e.tenant = x.tenant AND e.id = x.id" if bodies else ""
            where.append(Sql("x.tenant = ? AND x.type = ?", (self.tenant, group[0])))
            where += [_has_one_of((key,), alias) for key in group[1:]]
        return Rows(text, all_of(where), alias)

    def _of_any_group(self) -> list[Sql]:
        where = [Sql("e.tenant = ? AND e.body IS NOT NULL", (self.tenant,))]
        if self.ids is not None:
            where.append(Sql("e.id = ANY(?::text[])", (list(self.ids),)))
        if self.groups is not None:
            where.append(_has_types(self.groups, "e"))
        return where


def _has_types(groups: Groups, alias: str) -> Sql:
    singles = tuple(group[0] for group in groups if len(group) == 1)
    pieces = [_has_one_of(singles, alias)] if singles else []
    pieces += [all_of(_has_one_of((key,), alias) for key in group) for group in groups if len(group) > 1]
    return any_of(pieces)


def _has_one_of(keys: tuple[int, ...], alias: str) -> Sql:
    same = f"y.tenant = {alias}.tenant AND y.id = {alias}.id"
    asked, parameter = ("= ?", keys[0]) if len(keys) == 1 else ("= ANY(?::integer[])", list(keys))
    text = f"EXISTS (SELECT 1 FROM entity_type y WHERE {same} AND y.type {asked})"  # noqa: S608 - our own pieces
    return Sql(text, (parameter,))


# ---------------------------------------------------------------------- selectors


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A question, as far as its form tells.

    `selected`: place and pattern say all that the selectors say. `filters`: conditions over the bodies of all answers.
    """

    query: EntityQuery
    place: Place
    pattern: str | None
    selected: bool
    filters: Sql

    @property
    def parts(self) -> tuple[Node, ...]:
        """The conditions of q that all have to be fulfilled."""
        q = self.query.q
        return () if q is None else q.terms if isinstance(q, And) else (q,)

    @property
    def asks_more(self) -> bool:
        """Whether something beside q and the pattern has to be asked of every document."""
        query = self.query
        others = (query.geo, query.scope, query.extra, query.attributes or None)
        return not self.selected or any(other is not None for other in others)

    def within(self, ids: Iterable[str]) -> Narrowed:
        """Return the same question about some entities only."""
        return replace(self, place=replace(self.place, ids=tuple(ids)))


def type_names(query: EntityQuery) -> set[str]:
    """Return the types whose keys the question needs."""
    chosen = [selector.types for selector in query.selectors if selector.types is not None]
    return {name for types in chosen for group in types.any_of for name in group if is_sendable(name)}


def narrow(query: EntityQuery, tenant: int, keys: Mapping[str, int]) -> Narrowed | None:
    """Return the question with the keys of its types; None when nothing can answer it."""
    filters = _filters(query)
    if not query.selectors:
        return Narrowed(query, Place(tenant), None, True, filters)
    resolved = [(selector, _groups(selector, keys)) for selector in query.selectors]
    possible = [(selector, groups) for selector, groups in resolved if groups != () and _has_ids(selector)]
    if not possible:
        return None
    place = Place(tenant, _union_of_groups(possible), _union_of_ids([selector for selector, _ in possible]))
    if len(possible) == 1:
        selector = possible[0][0]
        return Narrowed(query, place, None if selector.ids else selector.id_pattern, True, filters)
    by_types = all(not selector.ids and selector.id_pattern is None for selector, _ in possible)
    by_ids = all(selector.ids and groups is None for selector, groups in possible)
    return Narrowed(query, place, None, by_types or by_ids, filters)


def _filters(query: EntityQuery) -> Sql:
    conditions = []
    if query.q is not None:
        conditions.append(q_condition(query.q))
    if query.attributes:
        conditions.append(attributes_condition(query.attributes))
    if query.scope is not None:
        conditions.append(scope_condition(query.scope))
    if query.geo is not None:
        conditions.append(place_condition(query.geo))
    return all_of(conditions)


def _groups(selector: EntitySelector, keys: Mapping[str, int]) -> Groups | None:
    """Return the groups of types that some entity may have; None when the selector takes any type."""
    if selector.types is None:
        return None
    known = [group for group in selector.types.any_of if all(name in keys for name in group)]
    return tuple(dict.fromkeys(tuple(keys[name] for name in group) for group in known))


def _has_ids(selector: EntitySelector) -> bool:
    return not selector.ids or any(is_sendable(id) for id in selector.ids)


def _union_of_groups(selectors: Sequence[tuple[EntitySelector, Groups | None]]) -> Groups | None:
    found = [groups for _, groups in selectors if groups is not None]
    if len(found) < len(selectors):
        return None
    return tuple(dict.fromkeys(group for groups in found for group in groups))


def _union_of_ids(selectors: Sequence[EntitySelector]) -> tuple[str, ...] | None:
    if not all(selector.ids for selector in selectors):
        return None
    return tuple(dict.fromkeys(id for selector in selectors for id in selector.ids if is_sendable(id)))


# ---------------------------------------------------------------------- the value index


@dataclass(frozen=True, slots=True)
class Start:
    """A look-up in the value index: `ids` selects ids; `part` is the condition of q that it decides, or None."""

    ids: Sql
    part: int | None


def starts(narrowed: Narrowed, indexed: Mapping[str, int]) -> list[Start]:
    """Return every look-up that finds all answers."""
    found: list[tuple[FoundInIndex | None, int]] = [
        (find_in_index(part, indexed, TEXT_CHARACTERS_MAX), number) for number, part in enumerate(narrowed.parts)
    ]
    if narrowed.query.geo is not None:
        found.append((find_place(narrowed.query.geo, indexed), -1))
    tenant = narrowed.place.tenant
    return [Start(ids_of(one, tenant), number if one.decides else None) for one, number in found if one is not None]


# ---------------------------------------------------------------------- order


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order that SQL has: what stands after ORDER BY, for rows with an alias.

    `numbers`: a condition over rows `v` of the index of numbers, in whose order the entities come; those that have no
    number there come after them, and before them when `others` finds a row.
    """

    by: str
    numbers: Sql | None = None
    others: Sql | None = None

    def text(self, alias: str) -> str:
        return self.by.format(alias=alias)


CREATION: Final = Ordered("{alias}.key")


def ordered(order: Order, tenant: int, indexed: Mapping[str, int]) -> Ordered | None:
    """Return the order of a question as SQL has it; None when it does not."""
    if not order:
        return CREATION
    if len(order) > 1 or order[0].reference is not None or order[0].path.links:
        return None
    part = order[0]
    path = part.path
    if len(path.names) > 1 or path.members:
        return None
    if path.names == ("id",):
        return Ordered("{alias}.id" + _direction(part))
    key = indexed.get(path.names[0])
    if key is None:
        return None
    of_attribute = Sql("v.tenant = ? AND v.attribute = ? AND v.kind = ? AND v.value", (tenant, key, FIRST))
    others = f"SELECT 1 FROM value_number v WHERE {of_attribute.text} = 'NaN' LIMIT 1"  # noqa: S608 - our own pieces
    return Ordered(
        f"v.value{_direction(part)}, v.rest{_direction(part)}, {{alias}}.key",
        Sql(of_attribute.text + " < 'NaN'", of_attribute.parameters),
        Sql(others, of_attribute.parameters) if part.backwards else None,
    )


def _direction(part: OrderKey) -> str:
    return " DESC" if part.backwards else ""


# ---------------------------------------------------------------------- statements


def page_sql(rows: Rows, order: Ordered, limit: int, offset: int) -> Sql:
    """Return the statement for the ids of a page."""
    text = f"SELECT {rows.alias}.id FROM {rows.source} WHERE {rows.where.text} "  # noqa: S608 - our own pieces
    parameters = (*rows.where.parameters, limit, offset)
    return Sql(f"{text}ORDER BY {order.text(rows.alias)} LIMIT ?::bigint OFFSET ?::bigint", parameters)


def count_sql(rows: Rows) -> Sql:
    """Return the statement for the number of rows."""
    text = f"SELECT count(*) FROM {rows.source} WHERE {rows.where.text}"  # noqa: S608 - our own pieces
    return Sql(text, rows.where.parameters)


def walk_sql(rows: Rows, filters: Sql, order: Ordered, limit: int, offset: int) -> Sql:
    """Return the statement for (key, id, body) of the next rows in order; the body is NULL where the filters say no."""
    body = "e.body" if filters == TRUE else f"CASE WHEN {filters.text} THEN e.body END"
    text = f"SELECT {rows.alias}.key, {rows.alias}.id, {body} FROM {rows.source} WHERE {rows.where.text} "  # noqa: S608
    parameters = (*parameters_of(filters, rows.where), limit, offset)
    return Sql(f"{text}ORDER BY {order.text(rows.alias)} LIMIT ?::bigint OFFSET ?::bigint", parameters)


def stream_sql(rows: Rows, filters: Sql, *, bodies: bool) -> Sql:
    """Return the statement for (key, id, body) of all rows that the filters let through, in any order."""
    body = "e.body" if bodies else "NULL"
    where = all_of([rows.where, filters])
    text = f"SELECT {rows.alias}.key, {rows.alias}.id, {body} FROM {rows.source} WHERE {where.text}"  # noqa: S608
    return Sql(text, where.parameters)


def also_in(rows: Rows, starts_: Sequence[Start]) -> Rows:
    """Return the rows that every look-up finds."""
    pieces = [Sql(f"{rows.alias}.id IN ({start.ids.text})", start.ids.parameters) for start in starts_]
    return replace(rows, where=all_of([rows.where, *pieces]))
