# SPDX-License-Identifier: Apache-2.0
"""What attribute instances were at an earlier point of the log: what readers of the log show as previous values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import orjson

from madang.model.change import Operation
from madang.model.entity import Instance, instances_of

if TYPE_CHECKING:
    from madang.store.postgres.connections import Connections
    from madang.store.postgres.names import Names, Tenants

# The columns of the first are all in the index of the history, so a long history costs no look at its rows.
_LATEST: Final = """
    SELECT entity, attribute, dataset, max(sequence) AS sequence FROM change
    WHERE tenant = $1 AND entity = ANY($2::text[]) AND attribute = ANY($3::integer[]) AND sequence <= $4 AND NOT hidden
    GROUP BY entity, attribute, dataset"""
_ROWS: Final = """
    SELECT entity, attribute, dataset, operation, value FROM change
    WHERE tenant = $1 AND entity = ANY($2::text[]) AND sequence = ANY($3::bigint[])"""
_CREATIONS: Final = f"""
    SELECT DISTINCT ON (entity) entity, sequence, value FROM change
    WHERE tenant = $1 AND entity = ANY($2::text[]) AND attribute IS NULL AND sequence <= $3 AND NOT hidden
    AND operation = {int(Operation.ENTITY_CREATED)} ORDER BY entity, sequence DESC"""  # noqa: S608 - a constant
_WRITTEN: Final = (Operation.ATTRIBUTE_CREATED, Operation.ATTRIBUTE_UPDATED)


class PostgresEarlier:
    """The part of the store that tells earlier values."""

    connections: Connections
    names: Names
    tenant_names: Tenants

    async def instances_at(
        self, tenant: str, attributes: Iterable[tuple[str, str]], sequence: int
    ) -> dict[tuple[str, str, str | None], Instance]:
        """Return the instances of attributes, each named as (entity, attribute), as they were after that change.

        Returns: by entity, attribute and datasetId; what was not there, or was written through the temporal API, is
            left out.
        """
        wanted = set(attributes)
        tenant_key = await self.tenant_names.key(tenant)
        keys = await self.names.keys({name for _, name in wanted})
        if tenant_key is None or not wanted:
            return {}
        entities = list({entity for entity, _ in wanted})
        latest = await self.connections.fetch(_LATEST, tenant_key, entities, list(keys.values()), sequence)
        creations = {
            row["entity"]: (row["sequence"], orjson.loads(row["value"]))
            for row in await self.connections.fetch(_CREATIONS, tenant_key, entities, sequence)
        }
        found: dict[tuple[str, str, str | None], Instance] = {}
        for entity, name in wanted & {(entity, name) for entity in creations for _, name in wanted}:
            for instance in instances_of(creations[entity][1], name):
                found[entity, name, instance.get("datasetId")] = instance
        newer = [row["sequence"] for row in latest if row["sequence"] > creations.get(row["entity"], (0, None))[0]]
        rows = await self.connections.fetch(_ROWS, tenant_key, entities, newer) if newer else []
        texts = await self.names.texts({row[column] for row in rows for column in _NAMED if row[column] is not None})
        for row in rows:
            dataset = None if row["dataset"] is None else texts[row["dataset"]]
            place = (row["entity"], texts[row["attribute"]], dataset)
            found.pop(place, None)
            if place[:2] in wanted and row["operation"] in _WRITTEN and row["value"] is not None:
                found[place] = orjson.loads(row["value"])
        return found


_NAMED: Final = ("attribute", "dataset")
