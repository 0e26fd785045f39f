# SPDX-License-Identifier: Apache-2.0
"""Personal attributes of a tenant: they are left out wherever the grant names no purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.administration.manners import answer, context_of, tenant_of, without_body
from madang.base.errors import BadRequestData
from madang.model.access_form import ATTRIBUTE_BYTES_MAX
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.access import Access
    from madang.core.contexts import Contexts


def routes(access: Access, contexts: Contexts) -> list[Route]:
    """Return the routes of the tags."""
    resource = _Personal(access, contexts)
    return [
        Route(("GET",), "/personal-attributes", resource.list),
        Route(("PUT",), "/personal-attributes/{attribute}", resource.tag),
        Route(("DELETE",), "/personal-attributes/{attribute}", resource.untag),
    ]


class _Personal:
    def __init__(self, access: Access, contexts: Contexts) -> None:
        self._access = access
        self._contexts = contexts

    async def list(self, request: Request) -> Response:
        tenant = tenant_of(request)
        found = self._access.personal(tenant)
        context = await context_of(request, self._contexts, tenant)
        return answer(200, [{"attribute": context.compact(name)} for name in found])

    async def tag(self, request: Request) -> Response:
        tenant = tenant_of(request)
        self._access.need_administrator(tenant)
        await without_body(request)
        is_new = await self._access.tag_personal(tenant, await self._attribute(request, tenant))
        return Response(201 if is_new else 204)

    async def untag(self, request: Request) -> Response:
        tenant = tenant_of(request)
        self._access.need_administrator(tenant)
        await self._access.untag_personal(tenant, await self._attribute(request, tenant))
        return Response(204)

    async def _attribute(self, request: Request, tenant: str) -> str:
        context = await context_of(request, self._contexts, tenant)
        name = context.attribute_names[request.parameters["attribute"]]
        if len(name.encode()) > ATTRIBUTE_BYTES_MAX:
            raise BadRequestData(
                f"The name of the attribute is longer than {ATTRIBUTE_BYTES_MAX} bytes, which is the limit",
                where="attribute",
            )
        return name
