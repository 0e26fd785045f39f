# SPDX-License-Identifier: Apache-2.0
"""The whole NGSI-LD face: every resource of ETSI CIM 009 clause 6.2, below /ngsi-ld/v1 and below /."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Final

from madang.ngsild import registrations, source_identity
from madang.ngsild.conformance import preferring
from madang.ngsild.manners import API_ROOT
from madang.ngsild.snapshot_scope import scoped
from madang.wire.http import Route
from madang.wire.router import mounted

if TYPE_CHECKING:
    from madang.core.hub import Core

ECHOED_HEADERS: Final = ("ngsild-tenant", "ngsild-snapshot")  # clauses 6.3.14 and 6.3.22

_FACES: Final = (
    *("provision", "attributes", "batch", "consumption", "discovery", "entity_maps", "snapshots"),
    *("temporal", "temporal_provision", "subscriptions", "contexts"),
)
# Resources that answer with entity data, of which earlier versions of the standard have other forms (4.3.6.8).
_ENTITY_DATA: Final = frozenset({"/entities", "/entities/{entity_id}", "/entityOperations/query"})


def routes(core: Core, *, hub_id: str) -> list[Route]:
    """Return the route table of the face; `hub_id` tells this hub from every other one."""
    table = [*source_identity.routes(core, hub_id=hub_id), *registrations.routes(core)]
    for name in _FACES:
        module = f"madang.ngsild.{name}"
        if importlib.util.find_spec(module) is not None:
            table += importlib.import_module(module).routes(core)
    table = [scoped(_with_preference(route), core) for route in table]
    # Clients of the existing national hub use the resources without the API root.
    return [*mounted(API_ROOT, table), *table]


def _with_preference(route: Route) -> Route:
    reads = "GET" in route.methods or route.path.endswith("/query")
    return preferring(route, entities=route.path in _ENTITY_DATA) if reads else route
