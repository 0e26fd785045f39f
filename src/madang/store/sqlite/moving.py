# SPDX-License-Identifier: Apache-2.0
"""The embedded store as a city to move: read beside a hub that runs, or written whole into an empty folder.

Reading takes one transaction and no lock; while it lasts the hub's write-ahead log grows with what it writes. A new
database is made under another name, and gets its own when all is in it: a folder never holds half a city.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import orjson

from madang.base.errors import HubError, StoreFailed
from madang.model.change import Operation, creation_count
from madang.model.entity import types_of
from madang.store.moving import MoveRefused, Row, Section, batches
from madang.store.sqlite.schema import STEPS, check_owner, look, migrate
from madang.store.sqlite.store import DATABASE_FILE, LOCK_FILE
from madang.store.sqlite.value_index import ValueIndex

INCOMING_FILE: Final = f"{DATABASE_FILE}.incoming"
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
_CACHE_KIB: Final = 128 * 1024

# The bookmark that holds the end of the log where its last rows were taken out; no reader has an empty name.
_LOG_END: Final = ""

_COUNTS: Final = {
    "tenants": "SELECT count(*) FROM tenant",
    "entities": "SELECT count(*) FROM entity",
    "changes": "SELECT count(*) FROM change",
    "records": "SELECT count(*) FROM record",
    "bookmarks": "SELECT count(*) FROM bookmark WHERE reader <> ''",
    "indexes": "SELECT count(*) FROM value_attribute",
}
# A row of the log whose entity is missing would be taken for a record: it is left out, and missed by who counts.
_ROWS: Final = {
    "tenants": "SELECT name FROM tenant ORDER BY name",
    "entities": """
        SELECT t.name, e.id, e.expires_us, json(e.body)
        FROM entity e CROSS JOIN tenant t ON t.key = e.tenant ORDER BY e.key""",
    "changes": """
        SELECT c.sequence, c.batch, t.name, c.time_us, c.operation, e.id, iif(c.entity IS NULL, d.text, NULL), a.text,
               iif(c.entity IS NULL, NULL, d.text), c.observed_us, c.number, c.who, c.package, c.hidden, c.instance,
               c.value
        FROM change c CROSS JOIN tenant t ON t.key = c.tenant LEFT JOIN entity e ON e.key = c.entity
        LEFT JOIN name a ON a.key = c.attribute LEFT JOIN name d ON d.key = c.dataset
        WHERE c.entity IS NULL OR e.id IS NOT NULL
        ORDER BY c.sequence""",
    "records": """
        SELECT t.name, r.kind, r.id, r.body FROM record r CROSS JOIN tenant t ON t.key = r.tenant ORDER BY r.key""",
    "bookmarks": "SELECT reader, sequence FROM bookmark WHERE reader <> '' ORDER BY reader",
    "indexes": """
        SELECT t.name, v.attribute FROM value_attribute v JOIN tenant t ON t.key = v.tenant ORDER BY 1, 2""",
}

_ADD_ENTITY: Final = "INSERT INTO entity (key, tenant, id, body, expires_us) VALUES (?, ?, ?, jsonb(?), ?)"
_ADD_TYPE: Final = "INSERT OR IGNORE INTO entity_type (tenant, type, key, id) VALUES (?, ?, ?, ?)"
_ADD_CHANGE: Final = """
    INSERT INTO change (sequence, batch, tenant, time_us, operation, entity, attribute, dataset, observed_us, number,
                        who, package, hidden, instance, value)
    VALUES (?, ?, ?, ?, ?, (SELECT key FROM entity WHERE tenant = ? AND id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ADD_RECORD: Final = "INSERT INTO record (tenant, kind, id, body) VALUES (?, ?, ?, ?)"
_ADD_BOOKMARK: Final = "INSERT INTO bookmark (reader, sequence) VALUES (?, ?)"
_SIDE_INDEXES: Final = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'change' AND sql <> ''"
_IS_EMPTY: Final = """
    SELECT NOT EXISTS (SELECT 1 FROM entity) AND NOT EXISTS (SELECT 1 FROM change)
       AND NOT EXISTS (SELECT 1 FROM record) AND NOT EXISTS (SELECT 1 FROM bookmark)
       AND NOT EXISTS (SELECT 1 FROM value_attribute) AND NOT EXISTS (SELECT 1 FROM tenant WHERE name <> '')"""


@contextlib.contextmanager
def _as_store_failed(folder: Path) -> Iterator[None]:
    try:
        yield
    except HubError:
        raise
    except (OSError, apsw.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StoreFailed(f"The data folder {folder} cannot be used: {reason}") from error


class SqliteSnapshot:
    """The database as one connection sees it. See `madang.store.moving.Snapshot`."""

    store = "sqlite"
    schema = len(STEPS)

    def __init__(self, connection: apsw.Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self.sequence = 0

    def begin(self) -> None:
        """Note the end of the log; in a transaction the first look also says which moment is read."""
        execute = self._connection.execute
        last = int(execute("SELECT ifnull(max(sequence), 0) FROM change").get)
        for operation, value in execute("SELECT operation, value FROM change WHERE sequence = ?", (last,)):
            if operation == Operation.ENTITY_CREATED:
                last += creation_count(orjson.loads(value)) - 1
        self.sequence = max(last, int(execute("SELECT ifnull(max(sequence), 0) FROM bookmark").get))

    async def count(self, section: Section) -> int:
        with _as_store_failed(self._folder):
            return int(self._connection.execute(_COUNTS[section.name]).get)

    async def rows(self, section: Section) -> AsyncIterator[list[Row]]:
        with _as_store_failed(self._folder):
            async for batch in batches(self._connection.execute(_ROWS[section.name])):
                yield batch


@contextlib.asynccontextmanager
async def snapshot_of(folder: Path) -> AsyncIterator[SqliteSnapshot]:
    """Read a folder's database as it is now, whether or not a hub is running on it.

    Raises: MoveRefused: there is none, or its schema is an older one. Unsupported: it is a newer one, or not ours.
    StoreFailed: it cannot be read.
    """
    path = folder / DATABASE_FILE
    with _as_store_failed(folder):
        connection = _connect_to_read(path, folder)
    try:
        with _as_store_failed(folder):
            connection.set_busy_timeout(10_000)
            connection.pragma("cache_size", -_CACHE_KIB // 4)
            check_owner(connection)
            if connection.pragma("user_version") < len(STEPS):
                raise MoveRefused("move_older", place=folder)
            connection.execute("BEGIN")
            snapshot = SqliteSnapshot(connection, folder)
            snapshot.begin()
        yield snapshot
    finally:
        connection.close(force=True)


def _connect_to_read(path: Path, folder: Path) -> apsw.Connection:
    if not path.exists():
        raise MoveRefused("move_no_city", place=folder)
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


class SqliteFilling(SqliteSnapshot):
    """A database that is being written, under another name. See `madang.store.moving.Filling`."""

    def __init__(self, connection: apsw.Connection, folder: Path) -> None:
        super().__init__(connection, folder)
        self._tenants: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._entities = 0
        self._side_indexes: list[str] = []
        self._writers: Final[dict[str, Callable[[list[Row]], None]]] = {
            "tenants": self._write_tenants,
            "entities": self._write_entities,
            "changes": self._write_changes,
            "records": self._write_records,
            "bookmarks": self._write_bookmarks,
            "indexes": self._write_indexes,
        }

    def prepare(self) -> None:
        """Make the tables. Indexes over the log are made when all of it is there, which is much faster."""
        execute = self._connection.execute
        for name, sql in execute(_SIDE_INDEXES).fetchall():
            execute(f'DROP INDEX "{name}"')
            self._side_indexes.append(str(sql))
        self._recall_tenants()
        execute("BEGIN")

    def _recall_tenants(self) -> None:
        self._tenants = {name: key for key, name in self._connection.execute("SELECT key, name FROM tenant")}

    async def write(self, section: Section, rows: list[Row]) -> None:
        with _as_store_failed(self._folder):
            self._writers[section.name](rows)

    def _write_tenants(self, rows: list[Row]) -> None:
        self._connection.executemany("INSERT OR IGNORE INTO tenant (name) VALUES (?)", rows)
        self._recall_tenants()

    def _write_entities(self, rows: list[Row]) -> None:
        entities, types = [], []
        for key, (tenant_name, id, expires_us, body) in enumerate(rows, self._entities + 1):
            tenant = self._tenants[tenant_name]
            entities.append((key, tenant, id, body, expires_us))
            if body is not None:
                types += [(tenant, name, key, id) for name in types_of(orjson.loads(body))]
        self._entities += len(rows)
        self._connection.executemany(_ADD_ENTITY, entities)
        self._connection.executemany(_ADD_TYPE, types)

    def _write_changes(self, rows: list[Row]) -> None:
        changes: list[tuple[Any, ...]] = []
        for sequence, batch, tenant_name, time_us, operation, entity, record, attribute, dataset, *more in rows:
            tenant = self._tenants[tenant_name]
            # A record has no row in `entity`: its id stands where an attribute's datasetId would.
            names = (self._name(attribute), self._name(dataset if record is None else record))
            changes.append((sequence, batch, tenant, time_us, operation, tenant, entity, *names, *more))
        self._connection.executemany(_ADD_CHANGE, changes)

    def _name(self, text: str | None) -> int | None:
        if text is None:
            return None
        key = self._names.get(text)
        if key is None:
            key = self._names[text] = len(self._names) + 1
            self._connection.execute("INSERT INTO name (key, text) VALUES (?, ?)", (key, text))
        return key

    def _write_records(self, rows: list[Row]) -> None:
        self._connection.executemany(_ADD_RECORD, [(self._tenants[tenant], *record) for tenant, *record in rows])

    def _write_bookmarks(self, rows: list[Row]) -> None:
        self._connection.executemany(_ADD_BOOKMARK, rows)

    def _write_indexes(self, rows: list[Row]) -> None:
        index = ValueIndex()
        index.open(self._connection)
        for tenant, attribute in rows:
            index.declare(self._connection, self._tenants[tenant], attribute)

    async def seal(self, sequence: int) -> None:
        with _as_store_failed(self._folder):
            self.begin()
            if self.sequence < sequence:
                self._connection.execute(_ADD_BOOKMARK, (_LOG_END, sequence))
                self.begin()
            for sql in self._side_indexes:
                self._connection.execute(sql)
            self._connection.execute("COMMIT")

    async def finish(self) -> None:
        with _as_store_failed(self._folder):
            self._connection.pragma("optimize")
            self._connection.close()
            _show(self._folder)


@contextlib.asynccontextmanager
async def filling_of(folder: Path) -> AsyncIterator[SqliteFilling]:
    """Lend an empty folder to be filled with a city; it stays empty when that does not come to its end.

    Raises: MoveRefused: it holds a city, or a hub is using it. Unsupported: it holds a database that is not ours.
    StoreFailed: it cannot be written.
    """
    with contextlib.ExitStack() as closing:
        with _as_store_failed(folder):
            _take(folder, closing)
            closing.callback(_remove_incoming, folder)
            connection = _connect(folder / INCOMING_FILE)
            closing.callback(connection.close, True)
            filling = SqliteFilling(connection, folder)
            filling.prepare()
        yield filling


def _take(folder: Path, closing: contextlib.ExitStack) -> None:
    """Make the folder and keep hubs out of it until all is closed; one that holds a city is not touched."""
    _check_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = closing.enter_context((folder / LOCK_FILE).open("a+"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MoveRefused("move_in_use", place=folder) from None
    _check_empty(folder)
    _remove_incoming(folder)


def _show(folder: Path) -> None:
    """Give the database that was made its name."""
    path = folder / DATABASE_FILE
    incoming = folder / INCOMING_FILE
    _flush(incoming)
    # What an empty database may have beside it does not belong to the one that takes its place.
    for ending in _BESIDE[1:]:
        Path(f"{path}{ending}").unlink(missing_ok=True)
    incoming.rename(path)
    _flush(folder)


def _check_empty(folder: Path) -> None:
    path = folder / DATABASE_FILE
    look(str(path))
    if not path.exists():
        return
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        check_owner(connection)
        if connection.pragma("user_version") and not connection.execute(_IS_EMPTY).get:
            raise MoveRefused("move_not_empty", place=folder)
    finally:
        connection.close()


def _connect(path: Path) -> apsw.Connection:
    """Make a database fast: whatever goes wrong, it is thrown away."""
    connection = apsw.Connection(str(path), statementcachesize=200)
    connection.pragma("page_size", 8192)
    connection.pragma("journal_mode", "off")
    connection.pragma("synchronous", "off")
    connection.pragma("locking_mode", "exclusive")
    connection.pragma("cache_size", -_CACHE_KIB)
    migrate(connection)
    return connection


def _remove_incoming(folder: Path) -> None:
    for ending in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{folder / INCOMING_FILE}{ending}").unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
