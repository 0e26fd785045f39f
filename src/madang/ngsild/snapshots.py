# SPDX-License-Identifier: Apache-2.0
"""Snapshots: /snapshots, /snapshots/{id}, /snapshots/{id}/clone (clauses 5.16, 6.36 to 6.38)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from madang.base.errors import BadRequestData, NotFound
from madang.base.limits import SNAPSHOT_QUERIES_MAX, SNAPSHOT_RECEIVER_PAIRS_MAX
from madang.core.addresses import split_url
from madang.core.snapshots import Draft
from madang.model.entity import NGSI_LD_NULL, Json
from madang.model.jsonld.expand import check_uri
from madang.model.query import csf
from madang.model.query.entity_query import ParsedQuery, parse_query_body
from madang.model.query.q_tree import terms_of
from madang.model.temporal.duration import DAY_US, SECOND_US, parse_duration
from madang.model.temporal.query import parse_window
from madang.ngsild.manners import (
    Parameters,
    answer,
    api_location,
    created,
    link_context,
    negotiate,
    no_content,
    read_body,
    tenant_of,
)
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from madang.core.hub import Core
    from madang.core.snapshots import Source
    from madang.model.jsonld.context import Context

_QUERIES: Final = "snapshotQueries"
_TEMPORAL_QUERIES: Final = "snapshotTemporalQueries"
# Tables 5.2.41-1 and 5.2.41-2: what a purge may ask about.
_MEMBERS: Final = frozenset(
    {
        *("id", "type", _QUERIES, _TEMPORAL_QUERIES, "snapshotLifetime", "snapshotPriority", "endpoint"),
        *("receiverInfo", "snapshotStatus", "snapshotQueriesDetails", "snapshotTemporalQueriesDetails"),
        *("createdAt", "modifiedAt", "expiresAt", "lastUsedAt"),
    }
)
_PRIORITIES: Final = range(1, 11)
# RFC 9110 clauses 5.1 and 5.5; what frames the message itself is not for others to set.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[ -~]{0,4000}", re.ASCII)
_FRAMING: Final = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})


def routes(core: Core) -> list[Route]:
    """Return the routes of this file."""
    face = SnapshotsFace(core)
    return [
        Route(("POST",), "/snapshots", face.create),
        Route(("DELETE",), "/snapshots", face.purge),
        Route(("GET",), "/snapshots/{snapshot_id}", face.retrieve),
        Route(("PATCH",), "/snapshots/{snapshot_id}", face.update),
        Route(("DELETE",), "/snapshots/{snapshot_id}", face.delete),
        Route(("POST",), "/snapshots/{snapshot_id}/clone", face.clone),
    ]


class SnapshotsFace:
    """HTTP manners around `core.snapshots`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._snapshots = core.snapshots

    async def create(self, request: Request) -> Response:
        """Create Snapshot (5.16.1)."""
        Parameters.read(request, ())
        tenant = tenant_of(request)
        data, context = await read_body(request, self._core, tenant)
        draft = self._draft(tenant, _checked(data), context)
        return created(api_location("snapshots", await self._snapshots.create(tenant, draft)))

    async def clone(self, request: Request) -> Response:
        """Clone Snapshot (5.16.2)."""
        Parameters.read(request, ())
        tenant, id = tenant_of(request), _target(request)
        data, _ = await read_body(request, self._core, tenant)
        self._snapshots.retrieve(tenant, id)
        checked = _without_queries(_checked(data))
        draft = Draft(_members(checked), _lifetime_s(checked))
        return created(api_location("snapshots", await self._snapshots.clone(tenant, id, draft)))

    async def retrieve(self, request: Request) -> Response:
        """Retrieve Snapshot Status (5.16.3)."""
        media = negotiate(request)
        Parameters.read(request, ())
        tenant, id = tenant_of(request), _target(request)
        context = await link_context(request, self._core, tenant)
        return answer(200, self._snapshots.retrieve(tenant, id), context=context, media=media)

    async def update(self, request: Request) -> Response:
        """Update Snapshot Status (5.16.4)."""
        media = negotiate(request)
        Parameters.read(request, ())
        tenant, id = tenant_of(request), _target(request)
        data, context = await read_body(request, self._core, tenant, patch=True)
        self._snapshots.retrieve(tenant, id)
        checked = _without_queries(_checked(data, fragment=True))
        if checked.get("id", id) != id:
            raise BadRequestData("The id of a snapshot cannot be changed", where="/id")
        # Clause 5.5.8: a member that is NGSI-LD Null is taken out.
        removed = {name: None for name in ("endpoint", "receiverInfo") if checked.get(name) == NGSI_LD_NULL}
        kept = {name: value for name, value in checked.items() if name not in removed}
        draft = Draft({**_members(kept), **removed}, _lifetime_s(kept))
        return answer(200, await self._snapshots.update(tenant, id, draft), context=context, media=media)

    async def delete(self, request: Request) -> Response:
        """Delete Snapshot (5.16.5)."""
        Parameters.read(request, ())
        await self._snapshots.delete(tenant_of(request), _target(request))
        return no_content()

    async def purge(self, request: Request) -> Response:
        """Purge Snapshots (5.16.7)."""
        parameters = Parameters.read(request, ("q",))
        tenant = tenant_of(request)
        text = parameters.get("q")
        if text is None:
            raise BadRequestData("A purge of snapshots needs q, a query about their members", where="q")
        tree = csf.parse(text, where="q")
        for term in terms_of(tree):
            name = term.path.links[0].relationship if term.path.links else term.path.names[0]
            if name not in _MEMBERS:
                raise BadRequestData(
                    f"{name!r:.80} is no member of a snapshot; allowed are {', '.join(sorted(_MEMBERS))}", where="q"
                )
        if not await self._snapshots.purge(tenant, lambda snapshot: csf.matches(tree, snapshot)):
            raise NotFound("No snapshot fits the query")
        return no_content()

    def _draft(self, tenant: str, data: dict[str, Any], context: Context) -> Draft:
        sources = [self._entities(tenant, parsed) for parsed in _queries(data, _QUERIES, context)]
        temporal = [self._evolution(tenant, parsed) for parsed in _queries(data, _TEMPORAL_QUERIES, context)]
        if not sources and not temporal:
            raise BadRequestData(f"A snapshot needs {_QUERIES} or {_TEMPORAL_QUERIES}", where=f"/{_QUERIES}")
        members = _members(data)
        members |= {name: data[name] for name in (_QUERIES, _TEMPORAL_QUERIES) if name in data}
        return Draft(members, _lifetime_s(data), sources, temporal)

    def _entities(self, tenant: str, parsed: ParsedQuery) -> Source:
        return lambda namespace: self._snapshots.data.copy(tenant, parsed, namespace)

    def _evolution(self, tenant: str, parsed: ParsedQuery) -> Source:
        return lambda namespace: self._snapshots.data.copy_evolution(tenant, parsed, namespace)


def _checked(data: Json, *, fragment: bool = False) -> dict[str, Any]:
    """Return the members of a Snapshot. Raises: BadRequestData: it is none, or one has a value that is not allowed."""
    if not isinstance(data, dict):
        raise BadRequestData("The body has to be an object with the members of a Snapshot", where="")
    given = data.get("type", data.get("@type", "Snapshot" if fragment else None))
    if given != "Snapshot":
        raise BadRequestData(f'type is {given!r:.40}; allowed is "Snapshot"', where="/type")
    for name, check in _CHECKS.items():
        if name in data and not (fragment and data[name] == NGSI_LD_NULL):
            check(data[name])
    return data


def _without_queries(data: dict[str, Any]) -> dict[str, Any]:
    for name in (_QUERIES, _TEMPORAL_QUERIES):
        if name in data:
            raise BadRequestData(
                f"{name} is set when a snapshot is created, and read-only from then on", where=f"/{name}"
            )
    return data


def _members(data: dict[str, Any]) -> dict[str, Json]:
    """Return what a client sets; members that only the hub sets are ignored (5.2.41)."""
    return {name: data[name] for name in _CHECKS if name in data}


def _lifetime_s(data: dict[str, Any]) -> float | None:
    text = data.get("snapshotLifetime")
    if text is None:
        return None
    duration = parse_duration(text, "/snapshotLifetime")
    # Only a suggestion, so a month may count as 30 days.
    return (duration.months * 30 * DAY_US + duration.microseconds) / SECOND_US


def _queries(data: dict[str, Any], name: str, context: Context) -> list[ParsedQuery]:
    given = data.get(name, [])
    if not isinstance(given, list) or (name in data and not given) or len(given) > SNAPSHOT_QUERIES_MAX:
        raise BadRequestData(f"{name} has to be an array of 1 to {SNAPSHOT_QUERIES_MAX} queries", where=f"/{name}")
    parsed = []
    for index, item in enumerate(given):
        where = f"/{name}/{index}"
        temporal = name == _TEMPORAL_QUERIES
        if temporal and (not isinstance(item, dict) or "temporalQ" not in item):
            raise BadRequestData("A temporal query needs temporalQ", where=f"{where}/temporalQ")
        query = parse_query_body(item, context, temporal=temporal, where=where)
        if temporal:
            parse_window(query.temporal or {}, required=True)
        query.require_narrow()
        parsed.append(query)
    return parsed


def _check_priority(value: Json) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _PRIORITIES:
        raise BadRequestData(
            f"snapshotPriority is {value!r:.40}; allowed are whole numbers 1 to 10", where="/snapshotPriority"
        )


def _check_id(value: Json) -> None:
    check_uri(value, "/id")


def _check_endpoint(value: Json) -> None:
    split_url(value, where="/endpoint")


def _check_lifetime(value: Json) -> None:
    parse_duration(value, "/snapshotLifetime")


def _check_receiver(value: Json) -> None:
    fits = isinstance(value, list) and len(value) <= SNAPSHOT_RECEIVER_PAIRS_MAX and all(map(_is_header, value))
    if not fits:
        raise BadRequestData(
            f"receiverInfo has to be an array of up to {SNAPSHOT_RECEIVER_PAIRS_MAX} objects with a key and a value, "
            "which have to be the name and the value of an HTTP header",
            where="/receiverInfo",
        )


def _is_header(pair: Json) -> bool:
    key, value = (pair.get("key"), pair.get("value")) if isinstance(pair, dict) else (None, None)
    if not isinstance(key, str) or not isinstance(value, str) or key.lower() in _FRAMING:
        return False
    return _HEADER_NAME.fullmatch(key) is not None and _HEADER_VALUE.fullmatch(value) is not None


_CHECKS: Final[dict[str, Callable[[Json], None]]] = {
    "id": _check_id,
    "snapshotLifetime": _check_lifetime,
    "snapshotPriority": _check_priority,
    "endpoint": _check_endpoint,
    "receiverInfo": _check_receiver,
}


def _target(request: Request) -> str:
    return check_uri(request.parameters["snapshot_id"], "snapshotId")
