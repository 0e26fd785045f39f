# SPDX-License-Identifier: Apache-2.0
"""A receiver of notifications on the loopback address, for tests: answers as it is told, keeps what it got."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Received:
    """One request; header names are as they were sent."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class Receiver:
    """An HTTP server whose answers are decided by `answer`: a status, or None to close without an answer."""

    answer: Callable[[Received], int | None] = field(default=lambda _: 200)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    port: int = 0

    async def __aenter__(self) -> Receiver:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, path: str = "/notify") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def wait(self, count: int, *, timeout_s: float = 10.0) -> list[Received]:
        """Return what was received as soon as there are that many requests."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def wait_for(self, done: Callable[[list[Received]], bool], *, timeout_s: float = 10.0) -> list[Received]:
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: done(self.received))
        return self.received

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
        request = Received(head[0].split(" ")[1], headers, orjson.loads(body))
        status = self.answer(request)
        async with self._news:
            self.received.append(request)
            self._news.notify_all()
        if status is None:
            return False
        writer.write(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode("ascii"))
        await writer.drain()
        return True
