# SPDX-License-Identifier: Apache-2.0
"""Adapter for granian's RSGI: the way the served hub talks HTTP. Headers and body are read only when asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from granian._granian import RSGIProtocolClosed

from madang.base.errors import InvalidRequest
from madang.base.limits import BODY_BYTES_MAX
from madang.wire.application import RoutableRequest
from madang.wire.bodies import declared_length, gathered
from madang.wire.http import Response
from madang.wire.router import NO_PARAMETERS


class Scope(Protocol):
    """What granian says about a request; each member is made anew on every access."""

    method: str
    path: str
    query_string: str
    headers: Any
    client: str
    """Address and port of the other end."""


class Exchange(Protocol):
    """granian's side of one request: reads its body, takes its answer."""

    async def __call__(self) -> bytes: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class RsgiRequest:
    """A request of `madang.wire.http` over an RSGI scope."""

    __slots__ = ("_body", "_exchange", "_headers", "_scope", "method", "parameters", "path", "query_string")

    def __init__(self, scope: Scope, exchange: Exchange) -> None:
        self.method = scope.method
        self.path = scope.path
        self.query_string = scope.query_string
        self.parameters: Mapping[str, str] = NO_PARAMETERS
        self._scope = scope
        self._headers = scope.headers
        self._exchange = exchange
        self._body: bytes | None = None

    @property
    def address(self) -> str:
        return self._scope.client.rpartition(":")[0].strip("[]")

    def header(self, name: str) -> str | None:
        headers = self._headers
        if name not in headers:
            return None
        if name in _LISTS:
            return ", ".join(headers.get_all(name)) or UNREADABLE
        value: str | None = headers.get(name)
        # granian gives nothing for a value that is not ASCII; that must not look as if the header were absent.
        return UNREADABLE if value is None else value

    async def body(self) -> bytes:
        if self._body is None:
            declared = self._headers.get("content-length")
            if declared is not None and declared_length(declared) <= BODY_BYTES_MAX:
                self._body = await self._whole()
            else:
                self._body = await gathered(self._chunks(), declared)
        return self._body

    async def _whole(self) -> bytes:
        try:
            return await self._exchange()
        except RSGIProtocolClosed as error:
            raise InvalidRequest("The connection was closed before the whole body had come") from error

    async def _chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._exchange:
            yield chunk


class Answering(Protocol):
    """What answers requests: an `Application`, or `madang.wire.health.Waiting` before there is one."""

    async def answer(self, request: RoutableRequest) -> Response: ...


class RsgiApplication:
    """Serves an `Application` through RSGI. The server has to be told that there are no WebSockets."""

    def __init__(self, application: Answering) -> None:
        self.replace(application)

    def replace(self, application: Answering) -> None:
        """Have requests that come from now on answered by another application."""
        self._answer = application.answer

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        response = await self._answer(RsgiRequest(scope, exchange))
        if response.body:
            exchange.response_bytes(response.status, response.headers, response.body)
        else:
            exchange.response_empty(response.status, response.headers)


UNREADABLE: Final = "\ufffd"

# Headers that may come more than once and then count as one list (RFC 9110 clause 5.3).
_LISTS = frozenset({"accept", "link", "prefer", "via"})
