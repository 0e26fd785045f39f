# SPDX-License-Identifier: Apache-2.0
"""How often each attribute is used, by entity types and attribute type: one pass over the current state."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import asyncpg
import orjson

from madang.model.entity import ENTITY_MEMBERS, attributes_of, types_of
from madang.store.postgres.names import Names

AttributeUses = list[tuple[tuple[str, ...], str, str, int]]

_ROWS: Final = 500
# U+0000 cannot be cast, and an entity of several types counts under all of them together: those go to Python.
_ASIDE: Final = r"""(strpos(e.body, '\u0000') > 0 OR strpos(e.body, '"type":["') > 0)"""
_INSTANCES: Final = f"""
    SELECT t.type, j.key, coalesce(i.value, j.value) ->> 'type' AS kind, count(*)
    FROM entity_type t JOIN entity e ON e.tenant = t.tenant AND e.id = t.id
    CROSS JOIN LATERAL jsonb_each(CASE WHEN NOT {_ASIDE} THEN e.body::jsonb END) j
    LEFT JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(j.value) WHEN 'array' THEN j.value END) i ON true
    WHERE t.tenant = $1 AND e.body IS NOT NULL AND jsonb_typeof(coalesce(i.value, j.value)) = 'object'
    GROUP BY 1, 2, 3"""  # noqa: S608 - our own pieces
_BODIES_ASIDE: Final = f"SELECT e.body FROM entity e WHERE e.tenant = $1 AND e.body IS NOT NULL AND {_ASIDE}"  # noqa: S608


async def attribute_uses(connection: asyncpg.Connection, tenant: int, names: Names) -> tuple[int, AttributeUses]:
    """Return the sequence of the last change counted, and rows (entity types, attribute, attribute type, instances).

    An entity of several types counts once, under all of them together. The connection is in a transaction of one
    snapshot, so that the sequence and the rows belong to the same state.
    """
    sequence: int = await connection.fetchval("SELECT sequence FROM log_position WHERE id = 1")
    counted: Counter[tuple[tuple[str, ...], str, str]] = Counter()
    rows = await connection.fetch(_INSTANCES, tenant)
    types = await names.texts({row[0] for row in rows})
    for type_, attribute, kind, instances in rows:
        if attribute not in ENTITY_MEMBERS:
            counted[(types[type_],), attribute, kind] += instances
    cursor = await connection.cursor(_BODIES_ASIDE, tenant)
    while bodies := await cursor.fetch(_ROWS):
        counted += await asyncio.to_thread(_count, [body for (body,) in bodies])
    return sequence, [(*use, instances) for use, instances in counted.items()]


def _count(bodies: Sequence[str]) -> Counter[tuple[tuple[str, ...], str, str]]:
    counted: Counter[tuple[tuple[str, ...], str, str]] = Counter()
    for body in bodies:
        document = orjson.loads(body)
        types = tuple(types_of(document))
        for name, instances in attributes_of(document):
            for instance in instances:
                counted[types, name, instance["type"]] += 1
    return counted
