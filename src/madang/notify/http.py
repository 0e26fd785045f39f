# SPDX-License-Identifier: Apache-2.0
"""Sends notifications over HTTP/1.1: connections kept open per host, checked addresses only, no redirects.

A general client spends ten times what a notification costs here (docs/decisions), so this one does nothing but POST:
`httptools` reads the answers, asyncio and `ssl` do the rest.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import quote, urlsplit

import httptools

from madang.base.errors import Upstream
from madang.base.limits import (
    NOTIFICATION_ANSWER_BYTES_MAX,
    NOTIFICATION_CONNECTION_IDLE_S,
    NOTIFICATION_CONNECTIONS_PER_HOST_MAX,
)
from madang.core.addresses import PORTS_BY_SCHEME, check_host

_PATH_SAFE: Final = "/:@!$&'()*+,;=~%?-._"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a POST goes, taken apart once."""

    secure: bool
    host: str
    port: int
    head: bytes  # of the request, up to the length of its body

    @property
    def key(self) -> tuple[bool, str, int]:
        return self.secure, self.host, self.port

    @classmethod
    def of(cls, url: str) -> Target:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        default = PORTS_BY_SCHEME[scheme]
        port = parts.port or default
        shown = f"[{host}]" if ":" in host else host
        path = quote(parts.path or "/", safe=_PATH_SAFE)
        if parts.query:
            path += "?" + quote(parts.query, safe=_PATH_SAFE)
        authority = shown if port == default else f"{shown}:{port}"
        head = f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: "
        return cls(scheme == "https", host, port, head.encode("ascii"))


class _Connection(asyncio.Protocol):
    """One connection with at most one request on it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.used = False  # an answer has come over it before
        self.closed = False
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[int] | None = None
        self._answered = False  # the first bytes of the answer are there
        self._status = 0  # known once the head of the answer is there
        self._received = 0

    # ---- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.close()  # nobody asked
            return
        self._answered = True
        self._received += len(data)
        if self._received > NOTIFICATION_ANSWER_BYTES_MAX:
            self._fail("The answer is too long")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"The answer is not HTTP: {error}")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True
        if self._answer is None or self._answer.done():
            return
        if self._status >= 200:
            self._answer.set_result(self._status)  # an answer without a length ends with the connection
        elif self.used and not self._answered:
            self._answer.set_exception(_Lost())
        else:
            self._answer.set_exception(Upstream("The connection broke"))

    # ---- httptools

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        status = self._status
        if status < 200:  # 100 Continue and the like come before the answer
            return
        answer, self._answer = self._answer, None
        if not self._parser.should_keep_alive():
            self.close()
        # The state of the parser after an answer without a length is not one to go on from.
        self._parser = httptools.HttpResponseParser(self)
        if answer is not None and not answer.done():
            answer.set_result(status)

    # ---- ours

    async def post(self, head: bytes, body: bytes) -> int:
        assert self.transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._answered, self._status, self._received = False, 0, 0
        self.transport.writelines((head, body))
        try:
            status = await self._answer
        except BaseException:
            self.close()
            raise
        self.used = True
        return status

    def close(self) -> None:
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def _fail(self, reason: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(Upstream(reason))
        self.close()


class _Lost(Exception):
    """A kept connection turned out to be closed by the other side before it took the request."""


@dataclass(slots=True)
class _Host:
    """The connections to one host. `taken` counts those that are in use or being made."""

    idle: deque[_Connection] = field(default_factory=deque)
    taken: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    async def take(self) -> None:
        """Wait for a place."""
        while self.taken >= NOTIFICATION_CONNECTIONS_PER_HOST_MAX:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._call_next()  # the turn came too late for this one
                raise
        self.taken += 1

    def give_back(self) -> None:
        self.taken -= 1
        self._call_next()

    def _call_next(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class HttpSender:
    """Posts bodies to endpoints."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._hosts: dict[tuple[bool, str, int], _Host] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def post(self, target: Target, headers: bytes, body: bytes, timeout_s: float) -> int:
        """Return the status of the answer.

        Args: headers: complete lines, each with its line end; Host and Content-Length are added here.
        Raises: Upstream: no answer came. BadRequestData: the address is one that this hub must not call.
        """
        host = self._hosts.get(target.key)
        if host is None:
            host = self._hosts[target.key] = _Host()
        self._plan_sweep()
        head = b"%b%d\r\n%b\r\n" % (target.head, len(body), headers)
        try:
            async with asyncio.timeout(timeout_s):
                if host.taken >= NOTIFICATION_CONNECTIONS_PER_HOST_MAX:
                    await host.take()
                else:
                    host.taken += 1
                try:
                    return await self._post(target, host, head, body)
                finally:
                    host.give_back()
        except TimeoutError:
            raise Upstream(f"No answer came within {timeout_s:g} seconds") from None
        except (OSError, ssl.SSLError) as error:
            raise Upstream(f"The connection failed: {error or type(error).__name__}") from None

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for host in self._hosts.values():
            while host.idle:
                host.idle.pop().close()
        self._hosts.clear()

    async def _post(self, target: Target, host: _Host, head: bytes, body: bytes) -> int:
        while host.idle:
            connection = host.idle.pop()
            if connection.closed:
                continue
            try:
                status = await connection.post(head, body)
            except _Lost:
                continue
            self._keep(host, connection)
            return status
        connection = await self._connect(target)
        status = await connection.post(head, body)
        self._keep(host, connection)
        return status

    def _keep(self, host: _Host, connection: _Connection) -> None:
        if not connection.closed:
            connection.idle_since = asyncio.get_running_loop().time()
            host.idle.append(connection)

    async def _connect(self, target: Target) -> _Connection:
        # Each connection is checked when it is made, so that a changed DNS answer does not lead past the check.
        addresses = await check_host(target.host, target.port, self._allow_private)
        context = self._tls_context() if target.secure else None
        failure: OSError | None = None
        for address in addresses:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection,
                    address,
                    target.port,
                    ssl=context,
                    server_hostname=target.host if target.secure else None,
                )
            except OSError as error:
                failure = error
            else:
                return connection
        raise failure or OSError(f"{target.host} has no address")

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _plan_sweep(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(NOTIFICATION_CONNECTION_IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        limit = asyncio.get_running_loop().time() - NOTIFICATION_CONNECTION_IDLE_S
        for key, host in list(self._hosts.items()):
            while host.idle and (host.idle[0].closed or host.idle[0].idle_since <= limit):
                host.idle.popleft().close()
            if not host.idle and not host.taken and not host.waiting:
                del self._hosts[key]
        if self._hosts:
            self._plan_sweep()
