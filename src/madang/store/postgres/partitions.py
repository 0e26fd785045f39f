# SPDX-License-Identifier: Apache-2.0
"""The change log's partitions: one for each month (UTC) in which something was written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncpg

_MICROSECONDS: Final = 1_000_000
_LISTED: Final = """
    SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace n ON n.oid = p.relnamespace
    WHERE p.relname = 'change' AND n.nspname = current_schema()"""


class Partitions:
    """The months that have a partition, as far as this worker knows."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def has(self, time_us: int) -> bool:
        """Tell whether a row of that time has a place."""
        return _month(time_us) in self._known

    async def read(self, connection: asyncpg.Connection) -> None:
        """Look up which are there."""
        self._known = {_number(name) for (name,) in await connection.fetch(_LISTED)}

    async def ensure(self, connection: asyncpg.Connection, low_us: int, high_us: int) -> None:
        """Make the partitions that rows between two times need, in the connection's transaction.

        A table is made by itself and then attached: that lets readers of the log go on. The caller has to `read` again
        when the transaction is rolled back.
        """
        if all(month in self._known for month in _months(low_us, high_us)):
            return
        await self.read(connection)
        for month in _months(low_us, high_us):
            if month not in self._known:
                year, index = divmod(month, 12)
                name = f"change_{year:04}_{index + 1:02}"
                begin_us, end_us = _begin_us(month), _begin_us(month + 1)
                await connection.execute(f"CREATE TABLE {name} (LIKE change INCLUDING DEFAULTS)")
                await connection.execute(
                    f"ALTER TABLE change ATTACH PARTITION {name} FOR VALUES FROM ({begin_us}) TO ({end_us})"
                )
                self._known.add(month)


def _months(low_us: int, high_us: int) -> Iterator[int]:
    return iter(range(_month(low_us), _month(high_us) + 1))


def _month(time_us: int) -> int:
    moment = datetime.fromtimestamp(time_us // _MICROSECONDS, UTC)
    return moment.year * 12 + moment.month - 1


def _begin_us(month: int) -> int:
    year, index = divmod(month, 12)
    return int(datetime(year, index + 1, 1, tzinfo=UTC).timestamp()) * _MICROSECONDS


def _number(name: str) -> int:
    _, year, month = name.split("_")
    return int(year) * 12 + int(month) - 1
