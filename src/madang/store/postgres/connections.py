# SPDX-License-Identifier: Apache-2.0
"""Connections of one worker: a pool for reading, and connections of its own for the writer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import asyncpg

from madang.base.errors import HubError, StoreFailed
from madang.base.limits import (
    POSTGRES_CONNECT_S,
    POSTGRES_LOCK_S,
    POSTGRES_READ_CONNECTIONS,
    POSTGRES_SHORT_CONNECTIONS,
    POSTGRES_SILENT_MS,
    POSTGRES_STATEMENT_S,
)
from madang.store.postgres.schema import SCHEMA

# Failures that pass: the server is away, is starting, or is cutting connections.
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a connection that was cut in the middle of an answer says afterwards
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)


@contextlib.contextmanager
def as_store_failed() -> Any:
    """Turn what the database says into StoreFailed; nothing of the address or its password is told."""
    try:
        yield
    except HubError:
        raise
    except asyncpg.ClientConfigurationError as error:  # no time mends an address
        raise StoreFailed("The options in the address of the database cannot be used") from error
    except _AWAY as error:
        text = f"The database cannot be reached or does not answer ({type(error).__name__}); send the request again"
        raise StoreFailed(text, retry_after_s=5) from error
    except asyncpg.PostgresError as error:
        # Its text may hold values of rows.
        raise StoreFailed(f"The database could not do this ({type(error).__name__}, {error.sqlstate})") from error


class Connections:
    """Opens and pools connections to one database."""

    # For tests: told of every statement that is sent, with its text; of a COPY with the table and the columns.
    observe: Callable[..., None] | None = None

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        # Questions that take several statements may be long; some connections are left for the short ones.
        self._long = asyncio.Semaphore(POSTGRES_READ_CONNECTIONS - POSTGRES_SHORT_CONNECTIONS)

    async def open(self) -> None:
        with as_store_failed():
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=POSTGRES_READ_CONNECTIONS,
                max_inactive_connection_lifetime=300.0,
                # Nothing is set on a connection for longer than a transaction, so nothing needs to be set back.
                reset=_leave_as_it_is,
                init=_watch,
                **self._settings("madang read"),
            )

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await pool.close()
            except _AWAY:
                pool.terminate()

    async def connect(self, purpose: str) -> asyncpg.Connection:
        """Return a connection beside the pool, which the caller closes."""
        with as_store_failed():
            connection = await asyncpg.connect(self._url, **self._settings(f"madang {purpose}"))
            await _watch(connection)
            return connection

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection of the pool, for several statements."""
        assert self._pool is not None, "the store is not open"
        with as_store_failed():
            async with self._long, self._pool.acquire(timeout=POSTGRES_LOCK_S) as connection:
                if self.observe is None:
                    yield connection
                    return
                tell = self.observe
                with connection.query_logger(lambda record: tell(record.query)):
                    yield connection

    async def fetch(self, sql: str, *parameters: Any) -> list[asyncpg.Record]:
        """Run one reading statement and return its rows."""
        if self.observe is not None:
            self.observe(sql)
        assert self._pool is not None, "the store is not open"
        with as_store_failed():
            rows: list[asyncpg.Record] = await self._pool.fetch(sql, *parameters)
            return rows

    async def value(self, sql: str, *parameters: Any) -> Any:
        """Run one reading statement and return the first value of its first row; None without a row."""
        rows = await self.fetch(sql, *parameters)
        return rows[0][0] if rows else None

    def observed(self, connection: asyncpg.Connection) -> asyncpg.Connection:
        """Have the statements of a connection beside the pool told to `observe` too."""
        if self.observe is not None:
            tell = self.observe
            connection.add_query_logger(lambda record: tell(record.query))
        return connection

    def _settings(self, purpose: str) -> dict[str, Any]:
        milliseconds = {
            "statement_timeout": POSTGRES_STATEMENT_S,
            "lock_timeout": POSTGRES_LOCK_S,
            "idle_in_transaction_session_timeout": POSTGRES_LOCK_S,
        }
        return {
            "timeout": POSTGRES_CONNECT_S,
            "server_settings": {
                "application_name": purpose,
                "search_path": SCHEMA,
                "jit": "off",
                "client_encoding": "UTF8",
                # A vanished machine must not hold the log's lock until the kernel's two hours are over.
                "tcp_keepalives_idle": "5",
                "tcp_keepalives_interval": "2",
                "tcp_keepalives_count": "3",
                **{name: str(round(seconds * 1_000)) for name, seconds in milliseconds.items()},
            },
        }


async def _watch(connection: asyncpg.Connection) -> None:
    """Have the kernel break the connection when the database's machine has vanished, so that nobody waits for it."""
    channel = connection._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg has no other way to it
    if channel is None or channel.family not in (socket.AF_INET, socket.AF_INET6) or sys.platform != "linux":
        return
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, POSTGRES_SILENT_MS)


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """Give a connection back to the pool without asking the server."""
