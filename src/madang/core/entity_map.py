# SPDX-License-Identifier: Apache-2.0
"""One entity map, and what it is counted as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from madang.base.times import format_date_time

if TYPE_CHECKING:
    from madang.model.entity import Json
    from madang.model.query.model import EntityQuery

_LOCAL: Final = "@none"  # clause 5.2.39: the key of what is held by this hub
# What a map costs by itself, counted in entities.
_EMPTY_MAP_ENTITIES: Final = 10


@dataclass(slots=True)
class EntityMap:
    """The candidates of a query. `query` None: it came from a temporal query, whose filters are not checked again.

    `owner` is the only one who may use it (`madang.core.permits.viewer_of`); None: whoever has no limits.
    """

    id: str
    expires_us: int
    ids: dict[str, None]  # in the order of the query
    query: EntityQuery | None = None
    owner: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the members of clause 5.2.39."""
        return {
            "id": self.id,
            "type": "EntityMap",
            "expiresAt": format_date_time(self.expires_us),
            "entityMap": {id: [_LOCAL] for id in self.ids},
            "linkedMaps": {},
        }


def cost(entities: int) -> int:
    """Return what a map of so many entities costs, counted in entities."""
    return entities + _EMPTY_MAP_ENTITIES
