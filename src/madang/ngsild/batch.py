# SPDX-License-Identifier: Apache-2.0
"""Batch operations: /entityOperations/{create,upsert,update,merge,delete} (clauses 6.14 to 6.17 and 6.31).

What is wrong with one entity of a batch is told in a 207 answer and leaves the others alone; an empty array, a null in
it, or a body that cannot be read fails the whole request (5.6.7.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from madang.base.errors import BadRequestData, HubError, TooLarge
from madang.base.limits import BATCH_ENTITIES_MAX, BATCH_ENTITIES_PER_TURN
from madang.core.provision import BatchError, BatchResult
from madang.model.entity import Document, Json
from madang.model.jsonld.expand import check_uri, parse_entity, parse_fragment
from madang.ngsild.manners import (
    no_content,
    plain,
    read_each,
    read_json,
    tenant_of,
)
from madang.ngsild.parameters import Parameters
from madang.ngsild.provision import LOCAL, refuse_null_values
from madang.ngsild.representations import read_options
from madang.wire.http import Request, Response, Route
from madang.wire.problems import problem_details

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.model.jsonld.context import Context

_OPTIONS: Final = LOCAL | {"options"}

Parse: TypeAlias = "Callable[[Json, Context], Document]"


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = _Face(core)
    return [
        Route(("POST",), "/entityOperations/create", face.create),
        Route(("POST",), "/entityOperations/upsert", face.upsert),
        Route(("POST",), "/entityOperations/update", face.update),
        Route(("POST",), "/entityOperations/merge", face.merge),
        Route(("POST",), "/entityOperations/delete", face.delete),
    ]


class _Face:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def create(self, request: Request) -> Response:
        """Batch Entity Creation (5.6.7, 6.14.3.1)."""
        _options(request, ())
        tenant = tenant_of(request)
        documents, errors = await self._documents(request, tenant, parse_entity)
        result = await self._core.provision.batch_create(tenant, documents) if documents else BatchResult()
        return _response(result, errors)

    async def upsert(self, request: Request) -> Response:
        """Batch Entity Creation or Update (5.6.8, 6.15.3.1)."""
        options = _options(request, ("replace", "update"))
        if "replace" in options and "update" in options:
            raise BadRequestData("The options replace and update exclude each other", where="options")
        tenant = tenant_of(request)
        documents, errors = await self._documents(request, tenant, parse_entity)
        if not documents:
            return _response(BatchResult(), errors)
        result = await self._core.provision.batch_upsert(tenant, documents, update="update" in options)
        return _response(result, errors)

    async def update(self, request: Request) -> Response:
        """Batch Entity Update (5.6.9, 6.16.3.1)."""
        overwrite = not _options(request, ("noOverwrite",))
        tenant = tenant_of(request)
        documents, errors = await self._documents(request, tenant, _parse_update)
        if not documents:
            return _response(BatchResult(), errors)
        return _response(await self._core.provision.batch_update(tenant, documents, overwrite=overwrite), errors)

    async def merge(self, request: Request) -> Response:
        """Batch Entity Merge (5.6.20, 6.31.3.1)."""
        _options(request, ())
        tenant = tenant_of(request)
        documents, errors = await self._documents(request, tenant, _parse_merge)
        result = await self._core.provision.batch_merge(tenant, documents) if documents else BatchResult()
        return _response(result, errors)

    async def delete(self, request: Request) -> Response:
        """Batch Entity Delete (5.6.10, 6.17.3.1)."""
        _options(request, ())
        tenant = tenant_of(request)
        _, data = await read_json(request)
        if not isinstance(data, list) or not all(isinstance(id, str) for id in data):
            raise BadRequestData("The body has to be an array of entity ids", where="")
        _check_size(data)
        ids, errors = [], []
        for id in data:
            try:
                ids.append(check_uri(id, "id"))
            except BadRequestData as error:
                errors.append(BatchError(id, error))
        result = await self._core.provision.batch_delete(tenant, ids) if ids else BatchResult()
        return _response(result, errors)

    async def _documents(self, request: Request, tenant: str, parse: Parse) -> tuple[list[Document], list[BatchError]]:
        """Return the entities that could be read, in order, and what was wrong with the others."""
        items = await read_each(request, self._core, tenant)
        _check_size(items)
        if any(data is None for data, _ in items):
            raise BadRequestData("The array has a null in it; allowed are objects", where="")
        documents, errors = [], []
        for number, (data, context) in enumerate(items):
            if number % BATCH_ENTITIES_PER_TURN == BATCH_ENTITIES_PER_TURN - 1:
                await asyncio.sleep(0)  # lets other requests through
            try:
                if isinstance(context, HubError):
                    raise context
                documents.append(parse(data, context))
            except HubError as error:
                errors.append(BatchError(_id_of(data), error))
        return documents, errors


def _options(request: Request, allowed: tuple[str, ...]) -> list[str]:
    if not request.query_string:
        return []
    parameters = Parameters.read(request, _OPTIONS)
    parameters.flag("local")
    return read_options(parameters, allowed)


def _check_size(items: list[Json]) -> None:
    if not items:
        raise BadRequestData("The array is empty; needed is at least one element", where="")
    if len(items) > BATCH_ENTITIES_MAX:
        raise TooLarge(f"The batch has {len(items)} elements; allowed are up to {BATCH_ENTITIES_MAX} in one request")


def _parse_update(data: Json, context: Context) -> Document:
    return _with_id(parse_fragment(data, context, nulls=False))


def _parse_merge(data: Json, context: Context) -> Document:
    fragment = _with_id(parse_fragment(data, context, nulls=True))
    refuse_null_values(data)
    return fragment


def _with_id(fragment: Document) -> Document:
    if "id" not in fragment:
        raise BadRequestData("Each entity of a batch needs a member id", where="/id")
    return fragment


def _id_of(data: Json) -> str:
    """Return what names the entity in error, as it was sent; empty when nothing does."""
    id = data.get("id", data.get("@id")) if isinstance(data, dict) else None
    return id if isinstance(id, str) else ""


def _response(result: BatchResult, unread: Iterable[BatchError]) -> Response:
    errors = [*unread, *result.errors]
    if errors:
        listed = [{"entityId": each.entity, "error": problem_details(each.error)} for each in errors]
        return plain(207, {"success": [*result.created, *result.updated], "errors": listed})
    return plain(201, list(result.created)) if result.created else no_content()
