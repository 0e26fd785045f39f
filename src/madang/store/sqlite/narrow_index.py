# SPDX-License-Identifier: Apache-2.0
"""Look-ups in the value index as SQL: keys of the entities in question, without looking at documents."""

from __future__ import annotations

from madang.store.index_lookups import Found, Lookup
from madang.store.index_rows import NUMBER
from madang.store.sqlite.sql import Sql


def keys_of(found: Found) -> Sql:
    """Return what selects `entity`, each once or more often."""
    pieces = [_keys(lookup) for lookup in found.lookups]
    return Sql(
        " UNION ".join(piece.text for piece in pieces),
        tuple(parameter for piece in pieces for parameter in piece.parameters),
    )


def _keys(lookup: Lookup) -> Sql:
    table, key, operator, values, low, high = lookup
    if operator == "MEETS":
        return _places(lookup)
    if operator == "IN":
        condition = f"value IN ({', '.join('?' * len(values))})"
    elif operator == "BETWEEN":
        condition = "value BETWEEN ? AND ?"
    else:
        condition = f"value {operator} ?"
        if table == NUMBER and operator[0] == ">":
            # A blob, which comes after all numbers, stands for a value that is none.
            condition += " AND value < x''"
    kinds = "kind = ?" if low == high else "kind <= ?"
    sql = f"SELECT entity FROM {table} WHERE attribute = ? AND {condition} AND {kinds}"  # noqa: S608 - our own names
    return Sql(sql, (key, *values, high))


def _places(lookup: Lookup) -> Sql:
    key = lookup.attribute
    text = (
        "SELECT entity FROM value_box WHERE attribute_low <= ? AND attribute_high >= ? "
        "AND west <= ? AND east >= ? AND south <= ? AND north >= ?"
    )
    parameters = (bound for west, south, east, north in lookup.values for bound in (key, key, east, west, north, south))
    return Sql(" UNION ".join([text] * len(lookup.values)), tuple(parameters))
