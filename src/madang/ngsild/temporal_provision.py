# SPDX-License-Identifier: Apache-2.0
"""Writing history: /temporal/entities, their attributes and instances (clauses 6.18.3.1, 6.19.3.2 and 6.20 to 6.22)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from madang.base.errors import BadRequestData
from madang.model.jsonld.expand import check_uri, parse_attribute, parse_temporal
from madang.model.query.names import CORE_MEMBERS, canonical
from madang.ngsild.manners import api_location, created, link_context, no_content, read_body, tenant_of
from madang.ngsild.parameters import Parameters
from madang.ngsild.provision import check_same_id, target_id, without_id
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.model.entity import Instance, Json
    from madang.model.jsonld.context import Context

_LOCAL: Final = frozenset({"local"})
_DELETE: Final = frozenset({"local", "datasetId", "deleteAll"})


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = TemporalProvisionFace(core)
    entity = "/temporal/entities/{entity_id}"
    attribute = entity + "/attrs/{attribute}"
    return [
        Route(("POST",), "/temporal/entities", face.upsert),
        Route(("DELETE",), entity, face.delete),
        Route(("POST",), entity + "/attrs", face.add),
        Route(("DELETE",), attribute, face.delete_attribute),
        Route(("PATCH",), attribute + "/{instance_id}", face.modify_instance),
        Route(("DELETE",), attribute + "/{instance_id}", face.delete_instance),
        # An empty id or name: the standard wants BadRequestData (5.6.12.4 to 5.6.15.4).
        Route(("POST",), "/temporal/entities//attrs", without_id),
        Route(("DELETE",), "/temporal/entities//attrs/{attribute}", without_id),
        Route(("PATCH", "DELETE"), "/temporal/entities//attrs/{attribute}/{instance_id}", without_id),
        Route(("DELETE",), entity + "/attrs//{instance_id}", without_name),
    ]


async def without_name(_: Request) -> Response:
    """Refuse a request whose path has no attribute name."""
    raise BadRequestData("The name of the attribute is missing in the path", where="attrId")


class TemporalProvisionFace:
    """HTTP manners around the writing half of `core.history`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._history = core.history

    async def upsert(self, request: Request) -> Response:
        """Create or Update Temporal Evolution of an Entity (5.6.11)."""
        Parameters.read(request, _LOCAL)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant)
        document = parse_temporal(data, context, fragment=False)
        if await self._history.upsert(tenant, document):
            return created(api_location("temporal/entities", document["id"]))
        return no_content()

    async def add(self, request: Request) -> Response:
        """Add Attributes to Temporal Evolution of an Entity (5.6.12)."""
        Parameters.read(request, _LOCAL)
        id = target_id(request)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant)
        check_same_id(data, id)
        await self._history.add(tenant, id, parse_temporal(data, context, fragment=True))
        return no_content()

    async def delete_attribute(self, request: Request) -> Response:
        """Delete Attribute from Temporal Evolution of an Entity (5.6.13)."""
        parameters = Parameters.read(request, _DELETE)
        id = target_id(request)
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        name = _attribute_name(request, context)
        dataset = parameters.get("datasetId")
        if dataset is not None and dataset != "@none":
            check_uri(dataset, "datasetId")
        delete_all = parameters.flag("deleteAll")
        await self._history.delete_attribute(tenant, id, name, dataset=dataset, delete_all=delete_all)
        return no_content()

    async def modify_instance(self, request: Request) -> Response:
        """Modify Attribute instance in Temporal Evolution of an Entity (5.6.14)."""
        Parameters.read(request, _LOCAL)
        id = target_id(request)
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant, patch=True)
        name = _attribute_name(request, context)
        instance = check_uri(request.parameters["instance_id"], "instanceId")
        await self._history.modify_instance(tenant, id, name, instance, _instance(name, data, context))
        return no_content()

    async def delete_instance(self, request: Request) -> Response:
        """Delete Attribute instance from Temporal Evolution of an Entity (5.6.15)."""
        Parameters.read(request, _LOCAL)
        id = target_id(request)
        tenant = tenant_of(request)
        context = await link_context(request, self._core, tenant)
        name = _attribute_name(request, context)
        instance = check_uri(request.parameters["instance_id"], "instanceId")
        await self._history.delete_instance(tenant, id, name, instance)
        return no_content()

    async def delete(self, request: Request) -> Response:
        """Delete Temporal Evolution of an Entity (5.6.16)."""
        Parameters.read(request, _LOCAL)
        await self._history.delete(tenant_of(request), target_id(request))
        return no_content()


def _attribute_name(request: Request, context: Context) -> str:
    """Return the canonical name of the attribute in the path; `scope` has a history too.

    Raises: BadRequestData: it is no name.
    """
    name = request.parameters["attribute"]
    if name in CORE_MEMBERS and name != "scope":
        raise BadRequestData(f"{name} is a member of the entity, not an attribute", where="attrId")
    return canonical(name, context, "attrId")


def _instance(name: str, data: Json, context: Context) -> Instance:
    """Return the one instance of a body: itself, an array of it, or an EntityTemporal fragment with it (5.6.14.3)."""
    if isinstance(data, dict) and "type" not in data and "value" not in data:
        wrapped = [item for key, item in data.items() if context.expand(key) == name]
        data = wrapped[0] if len(wrapped) == 1 else data
    if isinstance(data, list) and len(data) != 1:
        raise BadRequestData(f"The body holds {len(data)} instances; allowed is exactly one", where="")
    instances = parse_attribute(name, data, context, nulls=True, partial=False)
    return instances[0]
