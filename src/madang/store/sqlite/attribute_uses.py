# SPDX-License-Identifier: Apache-2.0
"""How often each attribute is used, by entity types and attribute type: one pass over the current state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    import apsw

AttributeUses = list[tuple[tuple[str, ...], str, str, int]]

# Grouping by one short text is four times as fast as grouping by its parts; neither of them has a space in it.
_INSTANCES: Final = """
    SELECT {types} j.key || ' ' || (coalesce(i.value, j.value) ->> '$.type') AS use, count(*)
    FROM {entities} CROSS JOIN entity e ON e.key = x.key CROSS JOIN jsonb_each(e.body) j
    LEFT JOIN jsonb_each(CASE j.type WHEN 'array' THEN j.value END) i
    WHERE e.body IS NOT NULL AND json_type(e.body, '$.type') = '{kind}'
      AND (j.type = 'object' OR i.type = 'object')
    GROUP BY {groups}"""
_ONE_TYPE: Final = _INSTANCES.format(
    types="", entities="(SELECT key FROM entity_type WHERE tenant = ? AND type = ?) x", kind="text", groups="use"
)
_MANY_TYPES: Final = _INSTANCES.format(
    types="e.body ->> '$.type' AS types,",
    entities="(SELECT key FROM entity_type WHERE tenant = ? GROUP BY key HAVING count(*) > 1) x",
    kind="array",
    groups="types, use",
)


def attribute_uses(connection: apsw.Connection, tenant: int) -> tuple[int, AttributeUses]:
    """Return the sequence of the last change counted, and rows (entity types, attribute, attribute type, instances).

    An entity of several types counts once, under all of them together.
    """
    with connection:  # one transaction: the sequence and the rows belong to the same state
        sequence: int = connection.execute("SELECT ifnull(max(sequence), 0) FROM change").get
        types = connection.execute("SELECT DISTINCT type FROM entity_type WHERE tenant = ?", (tenant,)).fetchall()
        uses: AttributeUses = []
        for (name,) in types:
            for use, instances in connection.execute(_ONE_TYPE, (tenant, name)):
                attribute, _, kind = use.rpartition(" ")
                uses.append(((str(name),), attribute, kind, instances))
        for names, use, instances in connection.execute(_MANY_TYPES, (tenant,)):
            attribute, _, kind = use.rpartition(" ")
            uses.append((tuple(orjson.loads(names)), attribute, kind, instances))
    return sequence, uses
