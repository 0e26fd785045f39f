# SPDX-License-Identifier: Apache-2.0
"""The scale-out store: one PostgreSQL database, any number of workers on any number of machines."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import orjson

from madang.base.errors import StoreFailed
from madang.model.change import Change, Operation, StoredChange, creation_changes
from madang.model.entity import Document, Json
from madang.store.port import Capabilities, Seen, StoreSize, Touched, TouchedRecord
from madang.store.postgres.connections import Connections, as_store_failed
from madang.store.postgres.earlier import PostgresEarlier
from madang.store.postgres.finding import PostgresFinding
from madang.store.postgres.gathering import Gathering
from madang.store.postgres.history import PostgresHistory
from madang.store.postgres.names import Names, Tenants
from madang.store.postgres.partitions import Partitions
from madang.store.postgres.schema import POSITION, TAKE_POSITION, prepare
from madang.store.postgres.transaction import PostgresTransaction
from madang.store.postgres.value_index import ValueIndex

_GATHERED_IDS_MAX: Final = 20
_MEASURED_FIRST: Final = 1_000  # changes
_ROWS_PER_ENTITY: Final = 4  # of the log, that are read before a look at what was touched gives up naming entities

log = logging.getLogger(__name__)


class PostgresStore(PostgresHistory, PostgresFinding, PostgresEarlier):
    """Everything in the schema `madang` of one database. Writers of all workers take turns at one row.

    Args:
        url: postgresql://user:password@host:port/database, with what libpq allows behind it.
    """

    capabilities = Capabilities(exclusive=False, durable=True, workers_many=True)

    def __init__(self, url: str) -> None:
        self.connections = Connections(url)
        self.names = Names(self.connections)
        self.tenant_names = Tenants(self.connections)
        self.value_index = ValueIndex()
        self.partitions = Partitions()
        self._writing: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()
        self._gathering = Gathering(self._fetch_bodies)
        self._generation = -1
        self._measured_at = _MEASURED_FIRST
        self._measuring: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        """Connect, and bring the schema to this version.

        Raises: Unsupported: a newer version wrote the data, or the server is too old. StoreFailed: no answer.
        """
        connection = await self.connections.connect("start")
        try:
            with as_store_failed():
                await prepare(connection)
                await self.partitions.read(connection)
        finally:
            await connection.close()
        await self.connections.open()
        await self.names.open()
        self._measured_at = max(_MEASURED_FIRST, 4 * (await self.seen()).sequence)

    async def close(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.wait((self._measuring,))
        async with self._turn:
            if self._writing is not None:
                connection, self._writing = self._writing, None
                with contextlib.suppress(Exception):  # the server may be gone already
                    await connection.close(timeout=1.0)
        await self.connections.close()

    async def check(self) -> list[str]:
        wrong = []
        for sentence, sql in _CHECKS:
            count = await self.connections.value(sql)
            if count:
                wrong.append(sentence.format(count))
        last = await self.connections.value("SELECT max(sequence) FROM change") or 0
        if last > await self.last_sequence():
            wrong.append("The log goes on behind its end")
        return wrong

    # ------------------------------------------------------------------ writing

    async def begin(self) -> PostgresTransaction:
        await self._turn.acquire()
        try:
            with as_store_failed():
                connection = await self._writing_connection()
                await connection.execute("BEGIN")
                row = await connection.fetchrow(TAKE_POSITION)
            seen = Seen(*row)
            await self._follow(seen)
        except BaseException:
            if self._writing is not None:
                await self.end_writing(self._writing)
            self._turn.release()
            raise
        return PostgresTransaction(self, connection, seen, self._turn)

    async def _writing_connection(self) -> asyncpg.Connection:
        if self._writing is None or self._writing.is_closed():
            self._writing = self.connections.observed(await self.connections.connect("write"))
            # Each statement of a writer names its rows; a plan made while the tables were small must not read them
            # whole until the server looks at their size again.
            await self._writing.execute("SET enable_seqscan = off")
        return self._writing

    async def end_writing(self, connection: asyncpg.Connection, *, reread_partitions: bool = False) -> None:
        """Roll back what a connection was doing; when that is impossible the connection is given up."""
        try:
            await connection.execute("ROLLBACK")
            if reread_partitions:
                await self.partitions.read(connection)
        except Exception:  # noqa: BLE001 - a broken connection cannot be mended, only replaced
            connection.terminate()
            self._writing = None
            if reread_partitions:
                self.partitions = Partitions()  # the next transaction looks them up

    def has_grown(self, sequence: int) -> None:
        """Have the tables measured whenever the log is four times as long as the last time.

        Plans are made from what the server knows of the tables. It looks by itself only every minute or so; until then
        plans for empty tables would be used, which read them whole.
        """
        if sequence >= self._measured_at:
            self._measured_at = 4 * sequence
            self._measuring = asyncio.create_task(self._measure(), name="measure")

    async def _measure(self) -> None:
        try:
            async with self.connections.reading() as connection:
                await connection.execute("ANALYZE entity, entity_type, change")
        except StoreFailed as error:
            log.info("the tables could not be measured: %s", type(error).__name__)

    async def _follow(self, seen: Seen) -> None:
        """Look up again what the log does not tell, when another process changed it."""
        if seen.generation != self._generation:
            await self.tenant_names.read()
            await self.value_index.read(self.connections)
            self._generation = seen.generation

    # ------------------------------------------------------------------ reading

    async def seen(self) -> Seen:
        rows = await self.connections.fetch(POSITION)
        seen = Seen(*rows[0])
        await self._follow(seen)
        return seen

    async def last_sequence(self) -> int:
        return (await self.seen()).sequence

    async def size(self) -> StoreSize:
        entities = await self.connections.value(_ENTITIES)
        size_bytes = await self.connections.value(_SIZE)
        return StoreSize(int(entities), await self.last_sequence(), int(size_bytes))

    async def tenants(self) -> list[str]:
        return await self.tenant_names.read()

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]:
        key = await self.tenant_names.key(tenant)
        wanted = [id for id in ids if "\0" not in id]
        if key is None or not wanted:
            return {}
        if len(wanted) <= _GATHERED_IDS_MAX:
            return await self._gathering.documents(key, wanted)
        rows = await self.connections.fetch(_DOCUMENTS, key, wanted)
        return {id: orjson.loads(body) for id, body in rows}

    async def _fetch_bodies(self, tenant: int, ids: list[str]) -> list[tuple[str, str]]:
        return [(id, body) for id, body in await self.connections.fetch(_DOCUMENTS, tenant, ids)]

    async def record(self, tenant: str, kind: str, id: str) -> Json | None:
        key = await self.tenant_names.key(tenant)
        if key is None or "\0" in id:
            return None
        body = await self.connections.value(_RECORD, key, kind, id)
        return None if body is None else orjson.loads(body)

    async def records(self, kind: str, *, tenant: str | None = None) -> list[tuple[str, str, Json]]:
        if tenant is None:
            rows = await self.connections.fetch(_RECORDS, kind)
        else:
            key = await self.tenant_names.key(tenant)
            rows = [] if key is None else await self.connections.fetch(_RECORDS_OF, kind, key)
        return [(await self.tenant_names.name(key), id, orjson.loads(body)) for key, id, body in rows]

    async def changes(self, after: int, *, limit: int) -> list[StoredChange]:
        # A creation is one row with sequences set aside: the reader may stand in the middle of one.
        start = await self.connections.value("SELECT max(sequence) FROM change WHERE sequence <= $1", after) or 0
        rows = await self.connections.fetch(_CHANGES, start, limit + 1)
        names = await self.names.texts({row[column] for row in rows for column in _NAMED if row[column] is not None})
        stored: list[StoredChange] = []
        for row in rows:
            tenant = await self.tenant_names.name(row["tenant"])
            for number, change in enumerate(_changes_of(row, names), row["sequence"]):
                if number > after:
                    by = (row["who"], row["package"])
                    stored.append(StoredChange(number, row["batch"], tenant, row["time_us"], change, *by))
        return stored[:limit]

    async def touched(self, after: int, up_to: int, *, entities_max: int) -> Touched:
        rows = await self.connections.fetch(_TOUCHED, after, up_to, _ROWS_PER_ENTITY * entities_max + 1)
        if len(rows) > _ROWS_PER_ENTITY * entities_max:
            return Touched(None, await self._touched_records(await self.connections.fetch(_TOUCHED_BY, after, up_to)))
        entities = {(await self.tenant_names.name(tenant), entity): None for tenant, entity, *_ in rows if entity != ""}
        records = await self._touched_records([row for row in rows if row["entity"] == ""])
        return Touched(list(entities) if len(entities) <= entities_max else None, records)

    async def _touched_records(self, rows: Sequence[asyncpg.Record]) -> list[TouchedRecord]:
        kinds = await self.names.texts({row["attribute"] for row in rows})
        return [
            TouchedRecord(
                await self.tenant_names.name(row["tenant"]),
                kinds[row["attribute"]],
                row["record"],
                None if row["body"] is None else orjson.loads(row["body"]),
            )
            for row in rows
        ]

    async def bookmark(self, reader: str) -> int:
        return int(await self.connections.value("SELECT sequence FROM bookmark WHERE reader = $1", reader) or 0)

    async def expired(self, now_us: int, *, limit: int) -> list[tuple[str, str]]:
        rows = await self.connections.fetch(_EXPIRED, now_us, limit)
        return [(await self.tenant_names.name(tenant), id) for tenant, id in rows]

    # ------------------------------------------------------------------ leases

    async def lease(self, name: str, holder: str, lifetime_s: float) -> bool:
        return bool(await self.connections.fetch(_LEASE, name, holder, lifetime_s))

    async def release(self, name: str, holder: str) -> None:
        await self.connections.fetch("DELETE FROM lease WHERE name = $1 AND holder = $2", name, holder)


_DOCUMENTS: Final = "SELECT id, body FROM entity WHERE tenant = $1 AND id = ANY($2::text[]) AND body IS NOT NULL"
_ENTITIES: Final = "SELECT count(*) FROM entity WHERE body IS NOT NULL"
_SIZE: Final = "SELECT pg_database_size(current_database())"
_RECORD: Final = "SELECT body FROM record WHERE tenant = $1 AND kind = $2 AND id = $3"
_RECORDS: Final = "SELECT tenant, id, body FROM record WHERE kind = $1 ORDER BY key"
_RECORDS_OF: Final = "SELECT tenant, id, body FROM record WHERE kind = $1 AND tenant = $2 ORDER BY key"
_CHANGES: Final = """
    SELECT sequence, batch, tenant, time_us, operation, entity, attribute, dataset, observed_us, value, who, package,
           record, instance
    FROM change WHERE sequence >= $1 ORDER BY sequence LIMIT $2"""
_NAMED: Final = ("attribute", "dataset")
_TOUCHED: Final = """
    SELECT tenant, entity, attribute, record, CASE WHEN entity = '' THEN value END AS body
    FROM change WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3"""
_TOUCHED_BY: Final = """
    SELECT tenant, entity, attribute, record, value AS body
    FROM change WHERE sequence > $1 AND sequence <= $2 AND entity = '' ORDER BY sequence"""
_EXPIRED: Final = "SELECT tenant, id FROM entity WHERE expires_us <= $1 ORDER BY expires_us LIMIT $2"
# The database's clock alone decides, so that the clocks of the workers do not matter.
_LEASE: Final = """
    INSERT INTO lease (name, holder, until)
    VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3::double precision))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE lease.holder = excluded.holder OR lease.until < clock_timestamp()
    RETURNING holder"""

# What must hold whatever happened: a sentence with a number, and the SQL that counts the breaches.
_CHECKS: Final = (
    (
        "{} entities of the current state have no change in the log",
        "SELECT count(*) FROM entity e WHERE e.body IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM change c WHERE c.tenant = e.tenant AND c.entity = e.id)",
    ),
    (
        "{} rows of the type index point at no entity",
        "SELECT count(*) FROM entity_type t WHERE NOT EXISTS "
        "(SELECT 1 FROM entity e WHERE e.tenant = t.tenant AND e.id = t.id AND e.body IS NOT NULL AND e.key = t.key)",
    ),
    (
        "{} entities of the current state are missing in the type index",
        "SELECT count(*) FROM entity e WHERE e.body IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM entity_type t WHERE t.tenant = e.tenant AND t.id = e.id)",
    ),
    (
        "{} changes point at an entity that is not there",
        "SELECT count(*) FROM change c WHERE c.entity <> '' "
        "AND NOT EXISTS (SELECT 1 FROM entity e WHERE e.tenant = c.tenant AND e.id = c.entity)",
    ),
)


def _changes_of(row: Any, names: dict[int, str]) -> tuple[Change, ...]:
    """Return the changes that a row stands for: one, or those of a creation."""
    operation = Operation(row["operation"])
    value = None if row["value"] is None else orjson.loads(row["value"])
    if operation is Operation.ENTITY_CREATED and isinstance(value, dict) and "id" in value:
        return creation_changes(value)
    attribute = None if row["attribute"] is None else names[row["attribute"]]
    dataset = None if row["dataset"] is None else names[row["dataset"]]
    entity = row["entity"] or row["record"]
    return (Change(operation, entity, attribute, dataset, row["observed_us"], value),)
