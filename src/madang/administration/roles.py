# SPDX-License-Identifier: Apache-2.0
"""Roles: named lists of grants. Some are built in; an administrator makes others."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from madang.administration.manners import ROOT, answer, context_of, read_body
from madang.model.access_form import read_role, write_grant
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.access import Access, Role
    from madang.core.contexts import Contexts
    from madang.model.entity import Json
    from madang.model.jsonld.context import Context


def routes(access: Access, contexts: Contexts) -> list[Route]:
    """Return the routes of roles."""
    resource = _Roles(access, contexts)
    return [
        Route(("GET",), "/roles", resource.list, tenantless=True),
        Route(("GET",), "/roles/{role}", resource.show, tenantless=True),
        Route(("PUT",), "/roles/{role}", resource.put, tenantless=True),
        Route(("DELETE",), "/roles/{role}", resource.delete, tenantless=True),
    ]


class _Roles:
    def __init__(self, access: Access, contexts: Contexts) -> None:
        self._access = access
        self._contexts = contexts

    async def list(self, request: Request) -> Response:
        found = self._access.roles()
        context = await context_of(request, self._contexts)
        return answer(200, [_shown(role, context) for role in found])

    async def show(self, request: Request) -> Response:
        role = self._access.role(request.parameters["role"])
        return answer(200, _shown(role, await context_of(request, self._contexts)))

    async def put(self, request: Request) -> Response:
        self._access.need_administrator()
        name = request.parameters["role"]
        data, context = await read_body(request, self._contexts)
        description, grants = read_role(
            data,
            name,
            type_of=context.type_names.__getitem__,
            attribute_of=context.attribute_names.__getitem__,
        )
        is_new = await self._access.put_role(name, description, grants)
        return Response(201, headers=[("location", f"{ROOT}/roles/{quote(name)}")]) if is_new else Response(204)

    async def delete(self, request: Request) -> Response:
        await self._access.delete_role(request.parameters["role"])
        return Response(204)


def _shown(role: Role, context: Context) -> dict[str, Json]:
    return {
        "name": role.name,
        "description": role.description,
        "builtIn": role.built_in,
        "grants": [write_grant(grant, type_of=context.compact, attribute_of=context.compact) for grant in role.grants],
    }
