# SPDX-License-Identifier: Apache-2.0
"""Look-ups in the value index as SQL: ids of the entities in question, without looking at documents."""

from __future__ import annotations

import math
from typing import Final

from madang.model.query.geometry import Bounds
from madang.store.index_lookups import Found, Lookup
from madang.store.index_rows import BOX, NUMBER, TIME
from madang.store.postgres.sql import Sql, any_of, parameters_of

_BAND_DEGREES: Final = 1_000.0  # so far apart lie the worlds of two attributes in the one tree of places
_MARGIN: Final = 1e-9  # degrees
_TYPES: Final = {NUMBER: "double precision", TIME: "bigint"}


def ids_of(found: Found, tenant: int) -> Sql:
    """Return what selects `id`, each once or more often."""
    pieces = [_ids(lookup, tenant) for lookup in found.lookups]
    return Sql(" UNION ALL ".join(piece.text for piece in pieces), parameters_of(*pieces))


def _ids(lookup: Lookup, tenant: int) -> Sql:
    where = Sql("v.tenant = ? AND v.attribute = ?", (tenant, lookup.attribute))
    condition = _places(lookup) if lookup.table == BOX else _values(lookup)
    text = f"SELECT v.id FROM {lookup.table} v WHERE {where.text} AND {condition.text}"  # noqa: S608 - our own names
    return Sql(text, parameters_of(where, condition))


def _values(lookup: Lookup) -> Sql:
    table, _, operator, values, low, high = lookup
    type_ = _TYPES.get(table, "text")
    if table == NUMBER:
        values = tuple(float(value) for value in values)
    if operator == "IN":
        return Sql(f"v.value = ANY(?::{type_}[]) AND v.kind BETWEEN ? AND ?", (list(values), low, high))
    # Texts that U+0000 has cut are of kind -1: they are found wherever their beginning lies.
    if operator == "BETWEEN":
        return Sql(f"v.value BETWEEN ?::{type_} AND ?::{type_} AND v.kind <= ?", (*values, high))
    numbers = " AND v.value < 'NaN'" if table == NUMBER and operator[0] == ">" else ""
    return Sql(f"v.value {operator} ?::{type_}{numbers} AND v.kind <= ?", (*values, high))


def _places(lookup: Lookup) -> Sql:
    boxes = []
    for box in lookup.values:
        west, south, east, north = moved(box, lookup.attribute)
        margin = _MARGIN + 2 * math.ulp(abs(east) + abs(west))
        bounds = (west - margin, south - margin, east + margin, north + margin)
        text = "box(point(?::float8, ?::float8), point(?::float8, ?::float8))"
        boxes.append(Sql(f"v.place && {text}", bounds))
    found = any_of(boxes)
    return Sql(f"({found.text})", found.parameters)


def moved(box: Bounds, attribute: int) -> Bounds:
    """Return where the box of an attribute lies in the tree of all attributes."""
    west, south, east, north = box
    shift = _BAND_DEGREES * attribute
    return west + shift, south, east + shift, north
