# SPDX-License-Identifier: Apache-2.0
"""One request to one answer: finds the route, applies the rules that hold for every resource, maps errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from madang.base.errors import HubError
from madang.wire.http import Request, Response, Route
from madang.wire.problems import Refusal, not_routed, problem, unexpected
from madang.wire.router import Endpoint, Router

_WITH_BODY: Final = frozenset({"POST", "PATCH", "PUT"})


class RoutableRequest(Request, Protocol):
    """A request whose path parameters are still to be filled in by the route table."""

    parameters: Mapping[str, str]


class Application:
    """The hub as HTTP sees it; adapters for servers call `answer`.

    Args:
        routes: the whole route table.
        echoed: names of request headers, in lower case, that every answer repeats (ETSI CIM 009 6.3.14 and 6.3.22).
    """

    def __init__(self, routes: Iterable[Route], *, echoed: Iterable[str] = ()) -> None:
        self.routes = tuple(routes)
        self._router = Router(self.routes)
        self._echoed = tuple(echoed)

    async def answer(self, request: RoutableRequest) -> Response:
        """Return the answer to a request, whatever happens."""
        try:
            found = self._router.find(request.path)
            if found is None:
                response = not_routed(404, f"There is nothing at {request.path:.200}.")
            else:
                endpoint, request.parameters = found
                method = request.method
                handler = endpoint.handlers.get(method)
                if handler is None:
                    response = await _without_handler(endpoint, request)
                elif method in _WITH_BODY and request.header("content-length") is None:
                    # Clause 6.3.4: a bare 411, before anything else is looked at; chunked transfer is not exempt.
                    response = Response(411)
                else:
                    response = await handler(request)
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


async def _without_handler(endpoint: Endpoint, request: RoutableRequest) -> Response:
    method = request.method
    if method == "HEAD" and "GET" in endpoint.handlers:
        return await endpoint.handlers["GET"](request)
    allowed = endpoint.allowed()
    if method == "OPTIONS":
        return Response(204, headers=[("allow", ", ".join(allowed))])
    return not_routed(405, f"{method:.20} is not allowed here; allowed are {', '.join(allowed)}.", allowed)
