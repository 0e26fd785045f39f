# SPDX-License-Identifier: Apache-2.0
"""NGSILD-Snapshot: a request is carried out on a snapshot instead of the live data (clauses 5.5.15 and 6.3.22)."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Final

from madang.ngsild.manners import tenant_of
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core

# Resources that are never those of a snapshot: snapshots themselves, and what belongs to the hub as a whole.
_OUTSIDE: Final = ("/snapshots", "/jsonldContexts", "/info")


def scoped(route: Route, core: Core) -> Route:
    """Return the route with the header honoured; faces see the snapshot as if it were a tenant."""
    if route.path.startswith(_OUTSIDE):
        return route
    handler = route.handler

    def handle(request: Request) -> Awaitable[Response]:
        snapshot = request.header("ngsild-snapshot")
        if snapshot is None:
            return handler(request)
        return handler(_Scoped(request, core.snapshots.namespace(tenant_of(request), snapshot)))

    return Route(route.methods, route.path, handle)


class _Scoped:
    """A request for another tenant than the one its header names."""

    def __init__(self, request: Request, tenant: str) -> None:
        self._request = request
        self._tenant = tenant
        self.method: str = request.method
        self.path: str = request.path
        self.query_string: str = request.query_string
        self.parameters: Mapping[str, str] = request.parameters
        self.address = request.address

    def header(self, name: str) -> str | None:
        return self._tenant if name == "ngsild-tenant" else self._request.header(name)

    async def body(self) -> bytes:
        return await self._request.body()
