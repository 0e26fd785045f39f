# SPDX-License-Identifier: Apache-2.0
"""Adapter for ASGI: the hub inside another server, and in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from madang.wire.application import Application
from madang.wire.bodies import gathered
from madang.wire.router import NO_PARAMETERS

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class AsgiRequest:
    """A request of `madang.wire.http` over an ASGI scope."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: str = scope["query_string"].decode("latin-1")
        self.parameters: Mapping[str, str] = NO_PARAMETERS
        self.address: str = (scope.get("client") or ("",))[0]
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._body: bytes | None = None

    def header(self, name: str) -> str | None:
        wanted = name.encode("latin-1")
        values = [value.decode("latin-1") for key, value in self._headers if key == wanted]
        return ", ".join(values) if values else None

    async def body(self) -> bytes:
        if self._body is None:
            self._body = await gathered(self._chunks(), self.header("content-length"))
        return self._body

    async def _chunks(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                return
            yield message.get("body", b"")
            more = message.get("more_body", False)


class AsgiApplication:
    """Serves an `Application` through ASGI. The server's lifespan is not used: `open_hub` surrounds it."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"The hub serves HTTP only, not {scope['type']}")
        response = await self._application.answer(AsgiRequest(scope, receive))
        headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers]
        # Clause 6.3.6: a 204 has no Content-Length.
        if response.status != 204:
            headers.append((b"content-length", str(len(response.body)).encode()))
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
