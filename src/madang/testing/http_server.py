# SPDX-License-Identifier: Apache-2.0
"""An HTTP server on loopback for tests: paths give stated answers, and what was asked is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from madang.model.entity import Json


@dataclass(slots=True)
class Page:
    """What a path answers. `held` keeps the answer back until it is set."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    held: asyncio.Event | None = None


class LoopbackServer:
    """Serves `pages`; any other path gives 404. `requests` holds the paths asked for, in order."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[str] = []
        self.url = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def put(self, path: str, data: Json, **headers: str) -> str:
        """Serve JSON at a path and return its URL; headers with underscores for hyphens."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = Page(json.dumps(data).encode(), headers={"content-type": "application/ld+json", **names})
        return self.url + path

    def redirect(self, path: str, to: str) -> str:
        self.pages[path] = Page(status=302, headers={"location": to})
        return self.url + path

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            self.requests.append(path)
            page = self.pages.get(path, Page(status=404))
            if page.held is not None:
                await page.held.wait()
            lines = [f"HTTP/1.1 {page.status} Answer", f"content-length: {len(page.body)}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in page.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + page.body)
            await writer.drain()
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def loopback_server() -> AsyncIterator[LoopbackServer]:
    """Run a server for the length of a test."""
    server = LoopbackServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
