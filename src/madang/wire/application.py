# SPDX-License-Identifier: Apache-2.0
"""One request to one answer: finds the route, applies the rules that hold for every resource, maps errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import perf_counter_ns
from typing import Final, Protocol

from madang.base.errors import HubError
from madang.base.logs import REQUEST, RequestNote, note_caller
from madang.core.caller import acting_for
from madang.model.access import ANONYMOUS
from madang.wire.authentication import Admit, everybody
from madang.wire.http import Request, Response, Route
from madang.wire.metrics import OTHER, UNMATCHED, RequestMeters
from madang.wire.problems import Refusal, not_routed, problem, unexpected
from madang.wire.request_log import REQUEST_ID_HEADER, RequestLog
from madang.wire.router import Endpoint, Found, Router

_WITH_BODY: Final = frozenset({"POST", "PATCH", "PUT"})


class RoutableRequest(Request, Protocol):
    """A request whose path parameters are still to be filled in by the route table."""

    parameters: Mapping[str, str]


class Application:
    """The hub as HTTP sees it; adapters for servers call `answer`.

    Args:
        routes: the whole route table.
        admit: asks for each request who calls, before anything else of it is looked at; it raises what keeps the
            caller out. Rows of the table that are public are not asked about. `everybody` keeps nobody out.
        echoed: names of request headers, in lower case, that every answer repeats (ETSI CIM 009 6.3.14 and 6.3.22).
        meters: counts the requests; None: nobody does.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        admit: Admit,
        echoed: Iterable[str] = (),
        meters: RequestMeters | None = None,
    ) -> None:
        self.routes = tuple(routes)
        # Who may do everything is no different from the hub itself: that costs nothing.
        self._admit = None if admit is everybody else admit
        self._router = Router(self.routes)
        self._echoed = tuple(echoed)
        self._log = RequestLog()
        self._meters = meters

    async def answer(self, request: RoutableRequest) -> Response:
        """Return the answer to a request, whatever happens; it is counted, logged, and bears the request's id."""
        began_ns = perf_counter_ns()
        note = RequestNote(self._log.id_of(request.header(REQUEST_ID_HEADER)), "open" if self._admit is None else "")
        REQUEST.set(note)  # for the rest of the task, which serves one request
        meters = self._meters
        if meters is not None:
            meters.begin()
        try:
            response = await self._answer(request)
        except BaseException:  # it was cancelled: whoever asked has gone away
            if meters is not None:
                meters.abandon()
            raise
        response.headers = [*response.headers, (REQUEST_ID_HEADER, note.id)]
        found = self._router.find(request.path)
        route = UNMATCHED if found is None else found[0].path
        duration_ns = perf_counter_ns() - began_ns
        if meters is not None:
            meters.end(route, request.method, response.status, duration_ns)
        if self._log.wants_lines():
            method = OTHER if found is None or request.method not in found[0].handlers else request.method
            size_bytes = len(response.body)
            self._log.write(note, method, route, response.status, duration_ns=duration_ns, size_bytes=size_bytes)
        return response

    async def _answer(self, request: RoutableRequest) -> Response:
        try:
            found = self._router.find(request.path)
            response = await (_routed(found, request) if self._admit is None else self._admitted(found, request))
        except HubError as error:
            response = problem(error)
        except Refusal as refusal:
            response = refusal.response
        except Exception as error:  # noqa: BLE001 (the last line of defence: whatever it is, the client gets an answer)
            response = unexpected(error)
        for name in self._echoed:
            value = request.header(name)
            if value is not None and value.isascii() and value.isprintable():
                response.headers = [*response.headers, (name, value)]
        return response

    async def _admitted(self, found: Found | None, request: RoutableRequest) -> Response:
        """Return the answer for whoever calls; what is not in the route table is asked for like what is."""
        assert self._admit is not None
        method = request.method
        if found is not None and found[0].is_public(method):
            who = ANONYMOUS
        else:
            route = None if found is None else found[0].route(method)
            who = await self._admit(request, tenantless=route is not None and route.tenantless)
        note_caller(who.kind)
        with acting_for(who):
            return await _routed(found, request)


async def _routed(found: Found | None, request: RoutableRequest) -> Response:
    if found is None:
        return not_routed(404, f"There is nothing at {request.path:.200}.")
    endpoint, request.parameters = found
    method = request.method
    handler = endpoint.handlers.get(method)
    if handler is None:
        return await _without_handler(endpoint, request)
    if method in _WITH_BODY and request.header("content-length") is None:
        # Clause 6.3.4: a bare 411, before anything else is looked at; chunked transfer is not exempt.
        return Response(411)
    return await handler(request)


async def _without_handler(endpoint: Endpoint, request: RoutableRequest) -> Response:
    method = request.method
    if method == "HEAD" and "GET" in endpoint.handlers:
        return await endpoint.handlers["GET"](request)
    allowed = endpoint.allowed()
    if method == "OPTIONS":
        return Response(204, headers=[("allow", ", ".join(allowed))])
    return not_routed(405, f"{method:.20} is not allowed here; allowed are {', '.join(allowed)}.", allowed)
