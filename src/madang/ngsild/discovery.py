# SPDX-License-Identifier: Apache-2.0
"""GET /types and GET /attributes: which entity types and attributes exist (clauses 5.7.5 to 5.7.10, 6.25 to 6.28)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from madang.model.query.names import canonical
from madang.ngsild.manners import Parameters, answer, link_context, negotiate, tenant_of
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.discovery import AttributeSummary, TypeSummary
    from madang.core.hub import Core
    from madang.model.entity import Json
    from madang.model.jsonld.context import Context

_LIST_PARAMETERS: Final = frozenset({"details", "local"})
_ONE_PARAMETERS: Final = frozenset({"local"})


def routes(core: Core) -> list[Route]:
    """Return the routes of /types and /attributes."""
    face = DiscoveryFace(core)
    return [
        Route(("GET",), "/types", face.types),
        Route(("GET",), "/types/{type}", face.type),
        Route(("GET",), "/attributes", face.attributes),
        Route(("GET",), "/attributes/{attribute}", face.attribute),
    ]


class DiscoveryFace:
    """HTTP manners around `core.discovery`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._discovery = core.discovery

    async def types(self, request: Request) -> Response:
        """Retrieve Available Entity Types, with or without details (5.7.5, 5.7.6)."""
        media, tenant, details, context = await self._read(request, _LIST_PARAMETERS)
        body: Json
        if details:
            body = [_type(summary, context) for summary in await self._discovery.types(tenant)]
        else:
            names = [context.compact(name) for name in await self._discovery.type_names(tenant)]
            body = {"id": f"urn:ngsi-ld:EntityTypeList:{uuid.uuid4()}", "type": "EntityTypeList", "typeList": names}
        return answer(200, body, context=context, media=media)

    async def type(self, request: Request) -> Response:
        """Retrieve Available Entity Type Information (5.7.7)."""
        media, tenant, _, context = await self._read(request, _ONE_PARAMETERS)
        summary = await self._discovery.type(tenant, canonical(request.parameters["type"], context, "type"))
        return answer(200, _type_information(summary, context), context=context, media=media)

    async def attributes(self, request: Request) -> Response:
        """Retrieve Available Attributes, with or without details (5.7.8, 5.7.9)."""
        media, tenant, details, context = await self._read(request, _LIST_PARAMETERS)
        summaries = await self._discovery.attributes(tenant)
        body: Json
        if details:
            body = [_attribute(summary, context) for summary in summaries]
        else:
            names = [context.compact(summary.name) for summary in summaries]
            body = {"id": f"urn:ngsi-ld:AttributeList:{uuid.uuid4()}", "type": "AttributeList", "attributeList": names}
        return answer(200, body, context=context, media=media)

    async def attribute(self, request: Request) -> Response:
        """Retrieve Available Attribute Information (5.7.10)."""
        media, tenant, _, context = await self._read(request, _ONE_PARAMETERS)
        name = canonical(request.parameters["attribute"], context, "attribute")
        summary = await self._discovery.attribute(tenant, name)
        body = {
            **_attribute(summary, context),
            "attributeCount": summary.instances,
            "attributeTypes": summary.attribute_types,
        }
        return answer(200, body, context=context, media=media)

    async def _read(self, request: Request, allowed: frozenset[str]) -> tuple[str, str, bool, Context]:
        """Return the media type, the tenant, whether details are wanted, and the context."""
        media = negotiate(request)
        parameters = Parameters.read(request, allowed)
        # Nothing is distributed yet, so both values of `local` mean the same; others are refused.
        parameters.flag("local")
        tenant = tenant_of(request)
        return media, tenant, parameters.flag("details"), await link_context(request, self._core, tenant)


def _type(summary: TypeSummary, context: Context) -> dict[str, Json]:
    """Return the EntityType of clause 5.2.25."""
    return {
        "id": context.iri(summary.name),
        "type": "EntityType",
        "typeName": context.compact(summary.name),
        "attributeNames": [context.compact(name) for name in summary.attributes],
    }


def _type_information(summary: TypeSummary, context: Context) -> dict[str, Json]:
    """Return the EntityTypeInfo of clause 5.2.26."""
    details = [
        {
            "id": context.iri(name),
            "type": "Attribute",
            "attributeName": context.compact(name),
            "attributeTypes": attribute_types,
        }
        for name, attribute_types in summary.attributes.items()
    ]
    return {
        "id": context.iri(summary.name),
        "type": "EntityTypeInfo",
        "typeName": context.compact(summary.name),
        "entityCount": summary.entities,
        "attributeDetails": details,
    }


def _attribute(summary: AttributeSummary, context: Context) -> dict[str, Json]:
    """Return the Attribute of clause 5.2.28 with the members that clause 5.7.9.4 names."""
    return {
        "id": context.iri(summary.name),
        "type": "Attribute",
        "attributeName": context.compact(summary.name),
        "typeNames": [context.compact(name) for name in summary.type_names],
    }
