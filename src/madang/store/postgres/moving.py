# SPDX-License-Identifier: Apache-2.0
"""The PostgreSQL store as a city to move: read in one snapshot, or written whole in one transaction.

The transaction that fills a database makes the tables too, and is committed when all that was written was read back:
a database never holds half a city, and one that was empty is empty again after a failure.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import asyncpg
import orjson

from madang.base.errors import StoreFailed, Unsupported
from madang.base.limits import MOVE_BATCH_BYTES, MOVE_BATCH_ROWS, POSTGRES_KEY_BYTES_MAX
from madang.base.settings import store_name
from madang.model.entity import types_of
from madang.store.moving import BOOKMARKS, CHANGES, ENTITIES, INDEXES, RECORDS, TENANTS, MoveRefused, Row, Section
from madang.store.postgres.connections import Connections, as_store_failed
from madang.store.postgres.partitions import Partitions
from madang.store.postgres.schema import SCHEMA, STEPS, prepare
from madang.store.postgres.value_index import ValueIndex

_DAY_US: Final = 86_400_000_000
_PURPOSE: Final = "move"

_DENIED: Final = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError)

_COUNTS: Final = {
    "tenants": "SELECT count(*) FROM tenant",
    "entities": "SELECT count(*) FROM entity",
    "changes": "SELECT count(*) FROM change",
    "records": "SELECT count(*) FROM record",
    "bookmarks": "SELECT count(*) FROM bookmark",
    "indexes": "SELECT count(*) FROM value_attribute",
}
_ENTITIES: Final = "SELECT tenant, id, expires_us, body FROM entity ORDER BY key, tenant, id"
_RECORDS: Final = "SELECT tenant, kind, id, body FROM record ORDER BY key"
# In pages, as the index over the sequence then spares sorting the whole log.
_CHANGES: Final = """
    SELECT sequence, batch, tenant, time_us, operation, entity, record, attribute, dataset, observed_us, number, who,
           package, hidden, instance, value
    FROM change WHERE sequence > $1 ORDER BY sequence LIMIT $2"""
_CHANGE_COLUMNS: Final = (
    *("sequence", "batch", "tenant", "time_us", "operation", "entity", "record", "attribute", "dataset"),
    *("observed_us", "number", "who", "package", "hidden", "instance", "value"),
)
_IS_EMPTY: Final = """
    SELECT NOT EXISTS (SELECT 1 FROM entity) AND NOT EXISTS (SELECT 1 FROM change)
       AND NOT EXISTS (SELECT 1 FROM record) AND NOT EXISTS (SELECT 1 FROM bookmark)
       AND NOT EXISTS (SELECT 1 FROM value_attribute) AND NOT EXISTS (SELECT 1 FROM tenant WHERE name <> '')
       AND (SELECT sequence FROM log_position WHERE id = 1) = 0"""
_IN_USE: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'madang %'"""
_IS_LEASED: Final = "SELECT EXISTS (SELECT 1 FROM lease WHERE until > clock_timestamp())"
_IDENTITY: Final = """
    SELECT d.oid::bigint, pg_postmaster_start_time() FROM pg_database d WHERE d.datname = current_database()"""
_SIDE_INDEXES: Final = """
    SELECT c.relname::text, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = 'change'::regclass AND NOT i.indisunique"""


class PostgresSnapshot:
    """The database as one connection sees it. See `madang.store.moving.Snapshot`."""

    store = "postgresql"
    schema = len(STEPS)

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._tenants: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self.sequence = 0
        self.identity: tuple[Any, ...] = ()

    async def begin(self) -> None:
        """Read what turns rows into the neutral form; in a transaction this also says which moment is read."""
        connection = self._connection
        self.sequence = int(await connection.fetchval("SELECT sequence FROM log_position WHERE id = 1"))
        self._tenants = dict(await connection.fetch("SELECT key, name FROM tenant"))
        self._names = dict(await connection.fetch("SELECT key, text FROM name"))

    async def count(self, section: Section) -> int:
        with as_store_failed():
            return int(await self._connection.fetchval(_COUNTS[section.name]))

    async def rows(self, section: Section) -> AsyncIterator[list[Row]]:
        with as_store_failed():
            async for batch in self._rows(section):
                if batch:
                    yield batch

    def _rows(self, section: Section) -> AsyncIterator[list[Row]]:
        if section is CHANGES:
            return self._changes()
        if section is ENTITIES:
            return self._by_tenant(_ENTITIES)
        if section is RECORDS:
            return self._by_tenant(_RECORDS)
        return self._small(section)

    async def _small(self, section: Section) -> AsyncIterator[list[Row]]:
        """Give the sections of few rows, in the order that every store sorts texts in."""
        if section is TENANTS:
            yield sorted((name,) for name in self._tenants.values())
        elif section is BOOKMARKS:
            yield sorted((str(reader), int(at)) for reader, at in await self._fetch("SELECT * FROM bookmark"))
        elif section is INDEXES:
            rows = await self._fetch("SELECT tenant, attribute FROM value_attribute")
            yield sorted((self._tenants[tenant], str(attribute)) for tenant, attribute in rows)

    async def _fetch(self, sql: str) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._connection.fetch(sql)
        return rows

    async def _by_tenant(self, sql: str) -> AsyncIterator[list[Row]]:
        cursor = await self._connection.cursor(sql)
        size = _Size()
        while rows := await cursor.fetch(size.rows):
            batch = [(self._tenants[tenant], *more) for tenant, *more in rows]
            size.learn(batch)
            yield batch

    async def _changes(self) -> AsyncIterator[list[Row]]:
        after = -1
        size = _Size()
        while rows := await self._connection.fetch(_CHANGES, after, size.rows):
            batch = [self._change(row) for row in rows]
            size.learn(batch)
            after = batch[-1][0]
            yield batch

    def _change(self, row: asyncpg.Record) -> Row:
        sequence, batch, tenant, time_us, operation, entity, record, attribute, dataset, observed_us, number, *more = (
            row
        )
        names = self._names
        who, package, hidden, instance, value = more
        if number is not None:
            number += 0.0  # SQLite has no negative zero
        return (
            *(sequence, batch, self._tenants[tenant], time_us, operation, entity or None, record),
            *(None if attribute is None else names[attribute], None if dataset is None else names[dataset]),
            *(observed_us, number, who, package, int(hidden), instance, value),
        )


class _Size:
    """How many rows are asked for at once, from how heavy the last ones were."""

    def __init__(self) -> None:
        self.rows = max(1, MOVE_BATCH_ROWS // 10)

    def learn(self, rows: list[Row]) -> None:
        weight = sum(len(row[-1]) for row in rows if row[-1] is not None)
        fitting = MOVE_BATCH_BYTES * len(rows) // max(weight, 1)
        self.rows = max(1, min(MOVE_BATCH_ROWS, fitting))


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection that may take as long as a city needs."""
    try:
        connection = await Connections(url).connect(_PURPOSE)
    except StoreFailed as error:
        if isinstance(error.__cause__, asyncpg.InvalidCatalogNameError):
            raise MoveRefused("move_no_database", place=store_name(url)) from error
        if isinstance(error.__cause__, _DENIED):
            raise MoveRefused("move_not_let_in", place=store_name(url)) from error
        raise
    try:
        with as_store_failed():
            await connection.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        yield connection
    finally:
        # Whatever was not committed is undone by the server; a broken connection must not hide what broke it.
        with contextlib.suppress(Exception):
            await connection.close(timeout=5.0)


@contextlib.asynccontextmanager
async def snapshot_of(url: str) -> AsyncIterator[PostgresSnapshot]:
    """Read a database as it is now, whatever hubs are writing to it.

    Raises: MoveRefused: it holds no city, or its schema is an older one. Unsupported: it is a newer one.
    StoreFailed: it cannot be read.
    """
    async with _connected(url) as connection:
        with as_store_failed():
            await connection.transaction(isolation="repeatable_read", readonly=True).start()
            version = await _version(connection)
            if version == 0:
                raise MoveRefused("move_no_city", place=store_name(url))
            if version < len(STEPS):
                raise MoveRefused("move_older", place=store_name(url))
            snapshot = PostgresSnapshot(connection)
            await snapshot.begin()
            snapshot.identity = tuple(await connection.fetchrow(_IDENTITY))
        yield snapshot


async def _version(connection: asyncpg.Connection) -> int:
    if await connection.fetchval("SELECT to_regclass($1)::text", f"{SCHEMA}.version") is None:
        return 0
    version = int(await connection.fetchval("SELECT schema FROM version"))
    if version > len(STEPS):
        raise Unsupported(
            f"The data was written by a newer version of Madang (schema {version}, this version knows up to "
            f"{len(STEPS)}); install that version"
        )
    return version


class PostgresFilling(PostgresSnapshot):
    """A database that is being written. See `madang.store.moving.Filling`."""

    def __init__(self, connection: asyncpg.Connection, transaction: Any) -> None:
        super().__init__(connection)
        self._transaction = transaction
        self._tenant_keys: dict[str, int] = {}
        self._name_keys: dict[str, int] = {}
        self._entities = 0
        self._days: set[int] = set()
        self._partitions = Partitions()
        self._side_indexes: list[str] = []
        self._writers: Final[dict[str, Callable[[list[Row]], Coroutine[Any, Any, None]]]] = {
            "tenants": self._write_tenants,
            "entities": self._write_entities,
            "changes": self._write_changes,
            "records": self._write_records,
            "bookmarks": self._write_bookmarks,
            "indexes": self._write_indexes,
        }

    async def prepare(self) -> None:
        """Make the tables. Indexes over the log are made when all of it is there, which is much faster."""
        connection = self._connection
        await prepare(connection)
        await connection.fetchval("SELECT sequence FROM log_position WHERE id = 1 FOR UPDATE")
        for name, sql in await connection.fetch(_SIDE_INDEXES):
            await connection.execute(f'DROP INDEX "{name}"')
            self._side_indexes.append(sql.replace(" ON ONLY ", " ON ", 1))
        await self._partitions.read(connection)

    async def write(self, section: Section, rows: list[Row]) -> None:
        with as_store_failed():
            await self._writers[section.name](rows)

    async def _copy(self, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        if rows:
            await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    async def _write_tenants(self, rows: list[Row]) -> None:
        key = int(await self._connection.fetchval("SELECT max(key) FROM tenant"))
        names = [name for (name,) in rows if name != ""]
        await self._copy("tenant", ("key", "name"), list(enumerate(names, key + 1)))
        self._tenant_keys = {name: key for key, name in await self._connection.fetch("SELECT key, name FROM tenant")}

    async def _write_entities(self, rows: list[Row]) -> None:
        """Write entities and types. Keys are places in the order of creation: lower than all that follow."""
        entities, types = [], []
        for key, (tenant_name, id, expires_us, body) in enumerate(rows, self._entities + 1):
            tenant = self._tenant_keys[tenant_name]
            _check_key(id)
            entities.append((tenant, id, key, body, expires_us))
            if body is not None:
                types += [(tenant, id, name, key) for name in dict.fromkeys(types_of(orjson.loads(body)))]
        self._entities += len(rows)
        keys = await self._intern({name for _, _, name, _ in types})
        await self._copy("entity", ("tenant", "id", "key", "body", "expires_us"), entities)
        rows = [(tenant, id, keys[name], key) for tenant, id, name, key in types]
        await self._copy("entity_type", ("tenant", "id", "type", "key"), rows)

    async def _write_changes(self, rows: list[Row]) -> None:
        keys = await self._intern({name for row in rows for name in row[7:9] if name is not None})
        await self._make_room({row[3] // _DAY_US for row in rows})
        changes = [self._change_row(row, keys) for row in rows]
        await self._copy("change", _CHANGE_COLUMNS, changes)

    def _change_row(self, row: Row, keys: dict[str, int]) -> Row:
        sequence, batch, tenant, time_us, operation, entity, record, attribute, dataset, observed_us, number, *more = (
            row
        )
        who, package, hidden, instance, value = more
        return (
            *(sequence, batch, self._tenant_keys[tenant], time_us, operation, entity or "", record),
            *(None if attribute is None else keys[attribute], None if dataset is None else keys[dataset]),
            *(observed_us, number, who, package, bool(hidden), instance, value),
        )

    async def _make_room(self, days: set[int]) -> None:
        for day in days - self._days:
            await self._partitions.ensure(self._connection, day * _DAY_US, day * _DAY_US)
        self._days |= days

    async def _intern(self, texts: set[str]) -> dict[str, int]:
        known = self._name_keys
        new = [text for text in texts if text not in known]
        if new:
            for text in new:
                if "\0" in text:
                    raise MoveRefused("move_not_postgres", name=text[:60], bytes=POSTGRES_KEY_BYTES_MAX)
            numbered = list(enumerate(new, len(known) + 1))
            await self._copy("name", ("key", "text"), numbered)
            known.update((text, key) for key, text in numbered)
        return known

    async def _write_records(self, rows: list[Row]) -> None:
        for row in rows:
            _check_key(row[2])
        records = [(self._tenant_keys[tenant], *more) for tenant, *more in rows]
        await self._copy("record", ("tenant", "kind", "id", "body"), records)

    async def _write_bookmarks(self, rows: list[Row]) -> None:
        await self._copy("bookmark", ("reader", "sequence"), rows)

    async def _write_indexes(self, rows: list[Row]) -> None:
        index = ValueIndex()
        for tenant, attribute in rows:
            await index.declare(self._connection, self._tenant_keys[tenant], attribute)

    async def seal(self, sequence: int) -> None:
        with as_store_failed():
            sql = "UPDATE log_position SET sequence = $1, generation = generation + 1 WHERE id = 1"
            await self._connection.execute(sql, sequence)
            for sql in self._side_indexes:
                await self._connection.execute(sql)
            await self._connection.execute("ANALYZE tenant, name, entity, entity_type, change, record")
            await self.begin()

    async def finish(self) -> None:
        with as_store_failed():
            await self._transaction.commit()


@contextlib.asynccontextmanager
async def filling_of(url: str, *, not_this: tuple[Any, ...] = ()) -> AsyncIterator[PostgresFilling]:
    """Lend an empty database to be filled with a city; it stays empty when that does not come to its end.

    Args:
        url: the database.
        not_this: the identity of the snapshot that is copied.

    Raises: MoveRefused: it holds a city, or a hub is using it. Unsupported: a newer version made its tables.
    StoreFailed: it cannot be written.
    """
    async with _connected(url) as connection:
        place = store_name(url)
        with as_store_failed():
            transaction = connection.transaction()
            await transaction.start()
            if tuple(await connection.fetchrow(_IDENTITY)) == not_this:
                raise MoveRefused("move_same", place=place)
            await _check_empty(connection, place)
            filling = PostgresFilling(connection, transaction)
            await filling.prepare()
        yield filling


async def _check_empty(connection: asyncpg.Connection, place: str) -> None:
    has_tables = await _version(connection)
    if has_tables and not await connection.fetchval(_IS_EMPTY):
        raise MoveRefused("move_not_empty", place=place)
    # Who may not see the sessions of others still sees the leases that running hubs renew.
    if await connection.fetchval(_IN_USE) or (has_tables and await connection.fetchval(_IS_LEASED)):
        raise MoveRefused("move_in_use", place=place)


def _check_key(id: str) -> None:
    """Refuse an id that no index of the database can hold."""
    if "\0" in id or len(id.encode()) > POSTGRES_KEY_BYTES_MAX:
        raise MoveRefused("move_not_postgres", name=id[:60], bytes=POSTGRES_KEY_BYTES_MAX)
