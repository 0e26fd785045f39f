# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: /subscriptions and /subscriptions/{subscriptionId} (clauses 5.8, 6.10, 6.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.ngsild.manners import (
    JSON,
    LD_JSON,
    PAGE_PARAMETERS,
    Parameters,
    answer,
    api_location,
    count_header,
    created,
    link_context,
    negotiate,
    no_content,
    page_links,
    read_body,
    read_options,
    read_page,
    tenant_of,
)
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core


def routes(core: Core) -> list[Route]:
    """Return the routes of subscriptions, below the API root."""
    face = SubscriptionsFace(core)
    return [
        Route(("POST",), "/subscriptions", face.create),
        Route(("GET",), "/subscriptions", face.query),
        Route(("GET",), "/subscriptions/{subscription_id}", face.retrieve),
        Route(("PATCH",), "/subscriptions/{subscription_id}", face.update),
        Route(("DELETE",), "/subscriptions/{subscription_id}", face.delete),
    ]


class SubscriptionsFace:
    """HTTP manners around `core.subscriptions`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._subscriptions = core.subscriptions

    async def create(self, request: Request) -> Response:
        Parameters.read(request, ())
        tenant = tenant_of(request)
        body, context = await read_body(request, self._core, tenant)
        id = await self._subscriptions.create(tenant, body, context)
        return created(api_location("subscriptions", id))

    async def retrieve(self, request: Request) -> Response:
        media = negotiate(request, (JSON, LD_JSON))
        sys_attrs = _sys_attrs(Parameters.read(request, ("options",)))
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        data = await self._subscriptions.retrieve(
            tenant, request.parameters["subscription_id"], context, sys_attrs=sys_attrs
        )
        return answer(200, data, context=context, media=media)

    async def query(self, request: Request) -> Response:
        media = negotiate(request, (JSON, LD_JSON))
        parameters = Parameters.read(request, {*PAGE_PARAMETERS, "options"})
        # Up to version 1.3 of the standard the count was asked for as an option; clients in the field still do so.
        options = read_options(parameters, ("sysAttrs", "count"))
        sys_attrs, page = "sysAttrs" in options, read_page(parameters)
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        found = await self._subscriptions.query(
            tenant, context, limit=page.limit, offset=page.offset, sys_attrs=sys_attrs
        )
        headers = page_links(request, page, more=found.more, media=media)
        if page.count or "count" in options:
            headers.append(count_header(found.total))
        return answer(200, found.subscriptions, context=context, media=media, headers=headers)

    async def update(self, request: Request) -> Response:
        Parameters.read(request, ())
        tenant = tenant_of(request)
        body, context = await read_body(request, self._core, tenant, patch=True)
        await self._subscriptions.update(tenant, request.parameters["subscription_id"], body, context)
        return no_content()

    async def delete(self, request: Request) -> Response:
        Parameters.read(request, ())
        await self._subscriptions.delete(tenant_of(request), request.parameters["subscription_id"])
        return no_content()


def _sys_attrs(parameters: Parameters) -> bool:
    return "sysAttrs" in read_options(parameters, ("sysAttrs",))
