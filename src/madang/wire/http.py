# SPDX-License-Identifier: Apache-2.0
"""A request as the faces see it and the answer they give; adapters for servers are beside this file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias


class Request(Protocol):
    """One HTTP request. Adapters: `madang.wire.rsgi`, `madang.wire.asgi`, `madang.testing.client`."""

    method: str
    path: str
    """Decoded path without the query string; a trailing slash is already removed."""
    query_string: str
    """The raw query string, still percent-encoded; empty when absent."""
    parameters: Mapping[str, str]
    """Path parameters by the names in the route, percent-decoded."""

    @property
    def address(self) -> str:
        """Where the connection comes from, without the port; empty when that is not known."""

    def header(self, name: str) -> str | None:
        """The value of a header (name in lower case); several are joined by ", "."""

    async def body(self) -> bytes:
        """The whole body. Raises: TooLarge: above BODY_BYTES_MAX."""


@dataclass(slots=True)
class Response:
    """The answer: header names in lower case; no content-length (the adapter knows it)."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the route table. `path` has parameters in braces: "/entities/{entity_id}/attrs/{attribute}".

    Whoever calls must have a grant in the tenant that the request names, unless the row says otherwise.
    """

    methods: Sequence[str]
    path: str
    handler: Handler
    public: bool = False
    """Everybody may call, and nobody is asked who he is."""
    tenantless: bool = False
    """Whoever has a grant in any tenant may call; the resource is about no tenant, or about the caller."""
