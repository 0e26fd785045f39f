# SPDX-License-Identifier: Apache-2.0
"""The whole NGSI-LD face: every resource of ETSI CIM 009 clause 6.2, below /ngsi-ld/v1 and below /."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from madang.ngsild import (
    attributes,
    batch,
    consumption,
    contexts,
    discovery,
    entity_maps,
    provision,
    registrations,
    snapshots,
    source_identity,
    subscriptions,
    temporal,
    temporal_provision,
)
from madang.ngsild.conformance import preferring
from madang.ngsild.manners import API_ROOT
from madang.ngsild.snapshot_scope import scoped
from madang.wire.http import Route
from madang.wire.router import mounted

if TYPE_CHECKING:
    from madang.core.hub import Core

ECHOED_HEADERS: Final = ("ngsild-tenant", "ngsild-snapshot")  # clauses 6.3.14 and 6.3.22

# Resources that answer with entity data, of which earlier versions of the standard have other forms (4.3.6.8).
_ENTITY_DATA: Final = frozenset({"/entities", "/entities/{entity_id}", "/entityOperations/query"})


def routes(core: Core, *, hub_id: str) -> list[Route]:
    """Return the route table of the face; `hub_id` tells this hub from every other one."""
    table = [
        *provision.routes(core),
        *attributes.routes(core),
        *batch.routes(core),
        *consumption.routes(core),
        *discovery.routes(core),
        *entity_maps.routes(core),
        *snapshots.routes(core),
        *temporal.routes(core),
        *temporal_provision.routes(core),
        *subscriptions.routes(core),
        *contexts.routes(core),
        *registrations.routes(core),
        *source_identity.routes(core, hub_id=hub_id),
    ]
    table = [scoped(_with_preference(route), core) for route in table]
    # Clients of the existing national hub use the resources without the API root.
    return [*mounted(API_ROOT, table), *table]


def _with_preference(route: Route) -> Route:
    reads = "GET" in route.methods or route.path.endswith("/query")
    return preferring(route, entities=route.path in _ENTITY_DATA) if reads else route
