# SPDX-License-Identifier: Apache-2.0
"""Writing attributes of one entity: /entities/{id}/attrs and /entities/{id}/attrs/{attribute} (clauses 6.6 and 6.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from madang.base.errors import BadRequestData
from madang.model.jsonld.expand import check_uri, parse_attribute, parse_fragment
from madang.model.query.names import CORE_MEMBERS, canonical
from madang.ngsild.manners import link_context, read_body, tenant_of
from madang.ngsild.parameters import Parameters
from madang.ngsild.provision import (
    TYPE,
    check_same_id,
    refuse_null_values,
    selection,
    target_id,
    updated,
    without_id,
)
from madang.ngsild.representations import read_options
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.model.jsonld.context import Context

_APPEND: Final = TYPE | {"options"}
_DELETE: Final = TYPE | {"datasetId", "deleteAll"}
_NO_OVERWRITE: Final = "noOverwrite"


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = _Face(core)
    attributes, attribute = "/entities/{entity_id}/attrs", "/entities/{entity_id}/attrs/{attribute}"
    return [
        Route(("POST",), attributes, face.append),
        Route(("PATCH",), attributes, face.update),
        Route(("PATCH",), attribute, face.partial_update),
        Route(("PUT",), attribute, face.replace),
        Route(("DELETE",), attribute, face.delete),
        # An empty id: the standard wants BadRequestData (5.6.2.4 and its siblings).
        Route(("POST", "PATCH"), "/entities//attrs", without_id),
        Route(("PATCH", "PUT", "DELETE"), "/entities//attrs/{attribute}", without_id),
    ]


class _Face:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def append(self, request: Request) -> Response:
        """Append Attributes (5.6.3, 6.6.3.1)."""
        parameters = Parameters.read(request, _APPEND)
        overwrite = _NO_OVERWRITE not in read_options(parameters, (_NO_OVERWRITE,))
        id = target_id(request)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant)
        check_same_id(data, id)
        fragment = parse_fragment(data, context, nulls=False)
        types = selection(parameters, context)
        result = await self._core.provision.append(tenant, id, fragment, overwrite=overwrite, types=types)
        return updated(result, context)

    async def update(self, request: Request) -> Response:
        """Update Attributes (5.6.2, 6.6.3.2)."""
        parameters = Parameters.read(request, TYPE)
        id = target_id(request)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant, patch=True)
        check_same_id(data, id)
        fragment = parse_fragment(data, context, nulls=True, merge=False)
        types = selection(parameters, context)
        return updated(await self._core.provision.update(tenant, id, fragment, types=types), context)

    async def partial_update(self, request: Request) -> Response:
        """Partial Attribute update (5.6.4, 6.7.3.1)."""
        parameters = Parameters.read(request, TYPE)
        id = target_id(request)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant, patch=True)
        name = _attribute_name(request, context)
        instances = parse_attribute(name, data, context, nulls=True, partial=True)
        refuse_null_values({name: data})
        types = selection(parameters, context)
        result = await self._core.provision.partial_update(tenant, id, name, instances, types=types)
        return updated(result, context)

    async def replace(self, request: Request) -> Response:
        """Replace Attribute (5.6.19, 6.7.3.3)."""
        parameters = Parameters.read(request, TYPE)
        id = target_id(request)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant)
        name = _attribute_name(request, context)
        instances = parse_attribute(name, data, context, nulls=False, partial=False)
        types = selection(parameters, context)
        result = await self._core.provision.replace_attribute(tenant, id, name, instances, types=types)
        return updated(result, context)

    async def delete(self, request: Request) -> Response:
        """Delete Attribute (5.6.5, 6.7.3.2)."""
        parameters = Parameters.read(request, _DELETE)
        id = target_id(request)
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        name = _attribute_name(request, context, or_scope=True)
        dataset = parameters.get("datasetId")
        if dataset is not None and dataset != "@none":
            check_uri(dataset, "datasetId")
        result = await self._core.provision.delete_attribute(
            tenant,
            id,
            name,
            dataset=dataset,
            delete_all=parameters.flag("deleteAll"),
            types=selection(parameters, context),
        )
        return updated(result, context)


def _attribute_name(request: Request, context: Context, *, or_scope: bool = False) -> str:
    """Return the canonical name of the attribute in the path.

    Raises: BadRequestData: it is no name, or that of a member of the entity itself (5.6.4.4, 5.6.19.4).
    """
    name = canonical(request.parameters["attribute"], context, "attrId")
    if name in CORE_MEMBERS and not (or_scope and name == "scope"):
        raise BadRequestData(f"{name} is no attribute; it is a member of the entity itself", where="attrId")
    return name
