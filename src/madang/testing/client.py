# SPDX-License-Identifier: Apache-2.0
"""An HTTP client without sockets: drives the whole application in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

import orjson

from madang.wire.application import Application
from madang.wire.bodies import gathered
from madang.wire.router import NO_PARAMETERS


@dataclass(slots=True)
class ClientRequest:
    """A request of `madang.wire.http` made of values."""

    method: str
    path: str
    query_string: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    parameters: Mapping[str, str] = field(default_factory=lambda: NO_PARAMETERS)
    address: str = "127.0.0.1"

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    async def body(self) -> bytes:
        return await gathered(self._chunks(), self.header("content-length"))

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield self.content


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """What came back; header names in lower case, several of one name joined by ", "."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the body as JSON. Raises: ValueError: it is not JSON."""
        return orjson.loads(self.content)


class Client:
    """Sends requests to an application as a client of the API root would.

    Args:
        root: put before every path that does not begin with it, so that tests may say "/entities".
    """

    def __init__(self, application: Application, *, root: str = "/ngsi-ld/v1") -> None:
        self._application = application
        self._root = root

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> ClientResponse:
        """Send a request; `json` is sent as application/json, unless the headers name another type."""
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            content = orjson.dumps(json)
            sent.setdefault("content-type", "application/json")
        if method in ("POST", "PATCH", "PUT"):
            sent.setdefault("content-length", str(len(content or b"")))
        bare, _, query = path.partition("?")
        if params:
            query = "&".join(part for part in (query, urlencode(params)) if part)
        request = ClientRequest(method, self._rooted(unquote(bare)), query, sent, content or b"")
        response = await self._application.answer(request)
        joined: dict[str, str] = {}
        for name, value in response.headers:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return ClientResponse(response.status, joined, b"" if method == "HEAD" else response.body)

    async def get(self, path: str, **options: Any) -> ClientResponse:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> ClientResponse:
        return await self.request("POST", path, **options)

    async def patch(self, path: str, **options: Any) -> ClientResponse:
        return await self.request("PATCH", path, **options)

    async def put(self, path: str, **options: Any) -> ClientResponse:
        return await self.request("PUT", path, **options)

    async def delete(self, path: str, **options: Any) -> ClientResponse:
        return await self.request("DELETE", path, **options)

    def _rooted(self, path: str) -> str:
        outside = path.startswith((self._root, "/madang", "/health", "/metrics", "/version"))
        return path if outside else self._root + path
