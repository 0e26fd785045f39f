# SPDX-License-Identifier: Apache-2.0
"""The embedded store: one SQLite file, one writing connection, readers that never wait for the writer."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

import apsw
import orjson

from madang.base.errors import Conflict, StoreFailed
from madang.base.limits import READ_THREADS, SQLITE_CACHE_BYTES, SQLITE_MMAP_BYTES, SQLITE_WAL_PAGES
from madang.model.change import Change, Operation, StoredChange, creation_changes, creation_count
from madang.model.entity import Document, Json
from madang.model.query.model import EntityQuery, Found
from madang.store.port import Capabilities, Seen, StoreSize, Touched, TouchedRecord
from madang.store.sqlite import functions as narrow_functions
from madang.store.sqlite import history_reading as history_functions
from madang.store.sqlite.attribute_uses import AttributeUses, attribute_uses
from madang.store.sqlite.history import SqliteHistory
from madang.store.sqlite.narrow import narrow
from madang.store.sqlite.reading import find
from madang.store.sqlite.schema import check_owner, look, migrate
from madang.store.sqlite.transaction import SqliteTransaction
from madang.store.sqlite.value_index import ValueIndex

T = TypeVar("T")

DATABASE_FILE = "madang.sqlite"
LOCK_FILE = "madang.lock"
LOCK_WAIT_S = 1.0
LOCK_PAUSE_S = 0.02


class SqliteStore(SqliteHistory):
    """Everything in `DIR/madang.sqlite`, in WAL mode with synchronous=FULL: an acknowledged write is on disk.

    Short reads (by id, a page by type) run where they are called; everything that may scan runs in a few reading
    threads, where SQLite lets go of the interpreter lock.
    """

    capabilities = Capabilities(exclusive=True, durable=True, workers_many=False)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = str(folder / DATABASE_FILE)
        self._lock_file: IO[str] | None = None
        self._writing: apsw.Connection | None = None
        self._local = threading.local()
        self._readers: list[apsw.Connection] = []
        self._read_pool = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="sqlite-read")
        self._commit_pool = ThreadPoolExecutor(1, thread_name_prefix="sqlite-commit")
        self._turn = asyncio.Lock()
        self.tenant_keys: dict[str, int] = {}
        self.name_keys: dict[str, int] = {}
        self.name_texts: dict[int, str] = {}
        self.entity_keys: dict[tuple[int, str], int] = {}
        self.next_entity = 1
        self.next_name = 1
        self.next_sequence = 1
        self.sequence_committed = 0
        self.value_index = ValueIndex()

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        """Open or create the database.

        Raises:
            Conflict: another process uses the folder. Unsupported: a newer version wrote it. StoreFailed: unwritable.
        """
        try:
            await self._take()
        except (OSError, apsw.Error) as error:
            self._unlock()
            raise StoreFailed(f"The data folder {self._folder} cannot be used: {error}") from error
        except Exception:
            self._unlock()
            raise
        self._recall()

    async def _take(self) -> None:
        """Make the folder and the database ours, and bring its schema to this version."""
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._lock()
        look(self._path)
        self._writing = self._connect()
        # Until it is known whose database it is, nothing may be written, not even when it is closed again.
        self._writing.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        check_owner(self._writing)
        self._writing.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._writing.pragma("journal_mode", "wal")
        migrate(self._writing)

    async def _lock(self) -> None:
        """Take the folder. A hub that was just killed may hold it for a moment, until its last thread is gone."""
        self._lock_file = (self._folder / LOCK_FILE).open("a+")
        tries = round(LOCK_WAIT_S / LOCK_PAUSE_S)
        for left in range(tries, -1, -1):
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if left:
                    await asyncio.sleep(LOCK_PAUSE_S)
            else:
                return
        self._lock_file.close()
        self._lock_file = None
        raise Conflict(f"Another hub is using the data folder {self._folder}; stop it or name another folder")

    def _unlock(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def _connect(self, *, read_only: bool = False) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        connection = apsw.Connection(self._path, flags=flags, statementcachesize=200)
        connection.set_busy_timeout(10_000)
        if not read_only:
            connection.pragma("page_size", 8192)
            connection.pragma("wal_autocheckpoint", SQLITE_WAL_PAGES)
            connection.pragma("synchronous", "full")
        else:
            # A scan looks at every document of a type once: mapped pages spare it the copying.
            connection.pragma("mmap_size", SQLITE_MMAP_BYTES)
        connection.pragma("cache_size", -SQLITE_CACHE_BYTES // 1024)
        connection.pragma("temp_store", "memory")
        narrow_functions.register(connection)
        history_functions.register(connection)
        return connection

    def _recall(self) -> None:
        """Read the small tables that are kept in memory."""
        connection = self.writing
        self.tenant_keys = {name: key for key, name in connection.execute("SELECT key, name FROM tenant")}
        self.name_texts = dict(connection.execute("SELECT key, text FROM name"))
        self.name_keys = {text: key for key, text in self.name_texts.items()}
        highest = connection.execute(
            "SELECT (SELECT ifnull(max(key), 0) FROM entity), (SELECT ifnull(max(key), 0) FROM name), "
            "(SELECT ifnull(max(sequence), 0) FROM change)"
        ).get
        self.next_entity, self.next_name, self.next_sequence = (number + 1 for number in highest)
        last = connection.execute("SELECT operation, value FROM change WHERE sequence = ?", (highest[2],)).fetchone()
        if last is not None and last[0] == Operation.ENTITY_CREATED:
            self.next_sequence += creation_count(orjson.loads(last[1])) - 1
        # The last rows may have been taken out of the log; no sequence that a reader has seen is given again.
        bookmarked = connection.execute("SELECT ifnull(max(sequence), 0) FROM bookmark").get
        self.next_sequence = max(self.next_sequence, bookmarked + 1)
        self.sequence_committed = self.next_sequence - 1
        self.value_index.open(connection)

    async def close(self) -> None:
        async with self._turn:
            self._read_pool.shutdown()
            self._commit_pool.shutdown()
            for reader in self._readers:
                reader.close()
            self._readers.clear()
            self._local = threading.local()
            if self._writing is not None:
                self._writing.pragma("optimize")
            self._unlock()

    async def check(self) -> list[str]:
        return await self.run(self._check)

    def _check(self) -> list[str]:
        connection = self.reader()
        wrong = [row[0] for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
        for sentence, sql in _CHECKS:
            count = connection.execute(sql).get
            if count:
                wrong.append(sentence.format(count))
        return wrong

    # ------------------------------------------------------------------ connections

    @property
    def writing(self) -> apsw.Connection:
        assert self._writing is not None, "the store is not open"
        return self._writing

    def reader(self) -> apsw.Connection:
        """Return the reading connection of the calling thread."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect(read_only=True)
            self._local.connection = connection
            self._readers.append(connection)
        return connection

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function that may scan in a reading thread."""
        return await asyncio.get_running_loop().run_in_executor(self._read_pool, function, *args)

    async def run_commit(self, function: Callable[[], T]) -> T:
        """Run what waits for the disk in the committing thread."""
        return await asyncio.get_running_loop().run_in_executor(self._commit_pool, function)

    # ------------------------------------------------------------------ writing

    async def begin(self) -> SqliteTransaction:
        await self._turn.acquire()
        try:
            self.writing.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._turn.release()
            raise
        return SqliteTransaction(self, self._turn)

    async def declare_index(self, tenant: str, attribute: str) -> None:
        async with self._turn:
            await self.run_commit(lambda: self.value_index.declare(self.writing, self.tenant_keys[tenant], attribute))

    async def drop_index(self, tenant: str, attribute: str) -> None:
        async with self._turn:
            await self.run_commit(lambda: self.value_index.drop(self.writing, self.tenant_keys[tenant], attribute))

    async def indexes(self, tenant: str) -> list[str]:
        return sorted(self.value_index.declared(self.tenant_keys.get(tenant, 0)))

    # ------------------------------------------------------------------ reading

    async def tenants(self) -> list[str]:
        return sorted(self.tenant_keys)

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]:
        key = self.tenant_keys.get(tenant)
        if key is None or not ids:
            return {}
        if len(ids) <= INLINE_DOCUMENTS_MAX:
            return read_documents(self.reader(), key, ids)
        return await self.run(lambda: read_documents(self.reader(), key, ids))

    async def find(self, tenant: str, query: EntityQuery) -> Found:
        key = self.tenant_keys.get(tenant)
        if key is None:
            return Found([], 0 if query.count else None)
        page = _page_by_type(self.reader(), key, query)
        if page is not None:
            return page
        return await self.run(self._find, key, query)

    def _find(self, tenant: int, query: EntityQuery) -> Found:
        connection = self.reader()
        narrowed = narrow(query, tenant, self.value_index.declared(tenant), connection)
        return find(connection, narrowed, query)

    async def type_names(self, tenant: str) -> list[tuple[str, int]]:
        sql = "SELECT type, count(*) FROM entity_type WHERE tenant = ? GROUP BY type ORDER BY type"
        key = self.tenant_keys.get(tenant, 0)
        return await self.run(lambda: [(name, count) for name, count in self.reader().execute(sql, (key,))])

    async def attribute_uses(self, tenant: str) -> tuple[int, AttributeUses]:
        """Return the sequence of the last change counted, and (types, attribute, attribute type, instances) rows."""
        return await self.run(lambda: attribute_uses(self.reader(), self.tenant_keys.get(tenant, 0)))

    async def record(self, tenant: str, kind: str, id: str) -> Json | None:
        return read_record(self.reader(), self.tenant_keys.get(tenant, 0), kind, id)

    async def records(self, kind: str, *, tenant: str | None = None) -> list[tuple[str, str, Json]]:
        sql = "SELECT t.name, r.id, r.body FROM record r JOIN tenant t ON t.key = r.tenant WHERE r.kind = ?"
        parameters: tuple[Any, ...] = (kind,)
        if tenant is not None:
            sql += " AND r.tenant = ?"
            parameters = (kind, self.tenant_keys.get(tenant, 0))

        def read() -> list[tuple[str, str, Json]]:
            rows = self.reader().execute(sql + " ORDER BY r.key", parameters)
            return [(name, id, orjson.loads(body)) for name, id, body in rows]

        return await self.run(read)

    async def changes(self, after: int, *, limit: int) -> list[StoredChange]:
        return await self.run(self._changes, after, limit)

    def _changes(self, after: int, limit: int) -> list[StoredChange]:
        # A creation is one row with sequences set aside: the reader may stand in the middle of one.
        connection = self.reader()
        start = connection.execute("SELECT max(sequence) FROM change WHERE sequence <= ?", (after,)).get or 0
        rows = connection.execute(_CHANGES, (start, limit + 1))
        stored: list[StoredChange] = []
        for sequence, batch, tenant, time_us, operation, id, attribute, dataset, observed_us, value, *by in rows:
            body = None if value is None else orjson.loads(value)
            changes: tuple[Change, ...]
            if operation == Operation.ENTITY_CREATED and isinstance(body, dict) and "id" in body:
                changes = creation_changes(body)
            else:
                changes = (self._change(operation, id, attribute, dataset, observed_us, body),)
            for number, change in enumerate(changes, sequence):
                if number > after:
                    stored.append(StoredChange(number, batch, tenant, time_us, change, *by))
        return stored[:limit]

    def _change(
        self, operation: int, id: str | None, attribute: int, dataset: int, observed_us: int | None, value: Json
    ) -> Change:
        names = self.name_texts
        if id is None:  # a record has no row in `entity`: its id stands where an attribute's datasetId would
            return Change(Operation(operation), names[dataset], names.get(attribute), None, observed_us, value)
        return Change(Operation(operation), id, names.get(attribute), names.get(dataset), observed_us, value)

    async def last_sequence(self) -> int:
        return self.sequence_committed

    async def seen(self) -> Seen:
        return Seen(self.sequence_committed, 0)

    async def size(self) -> StoreSize:
        return await self.run(self._size)

    def _size(self) -> StoreSize:
        entities = self.reader().execute("SELECT count(*) FROM entity WHERE body IS NOT NULL").get
        files = (Path(self._path + ending) for ending in ("", "-wal"))
        return StoreSize(
            int(entities or 0), self.sequence_committed, sum(f.stat().st_size for f in files if f.exists())
        )

    async def touched(self, after: int, up_to: int, *, entities_max: int) -> Touched:
        return await self.run(self._touched, after, up_to, entities_max)

    def _touched(self, after: int, up_to: int, entities_max: int) -> Touched:
        entities: dict[tuple[str, str], None] = {}
        records: list[TouchedRecord] = []
        for row in self._changes(after, up_to - after):
            if row.sequence > up_to:
                break
            change = row.change
            if change.operation in (Operation.RECORD_PUT, Operation.RECORD_DELETED):
                records.append(TouchedRecord(row.tenant, change.attribute or "", change.entity, change.value))
            else:
                entities[row.tenant, change.entity] = None
        return Touched(list(entities) if len(entities) <= entities_max else None, records)

    async def lease(self, name: str, holder: str, lifetime_s: float) -> bool:  # noqa: ARG002 - one process has the file
        return True

    async def release(self, name: str, holder: str) -> None:
        """Nothing to give back: whoever has the file has every lease."""

    async def bookmark(self, reader: str) -> int:
        found = self.reader().execute("SELECT sequence FROM bookmark WHERE reader = ?", (reader,)).get
        return int(found or 0)

    async def expired(self, now_us: int, *, limit: int) -> list[tuple[str, str]]:
        rows = self.reader().execute(
            "SELECT t.name, e.id FROM entity e JOIN tenant t ON t.key = e.tenant "
            "WHERE e.expires_us <= ? ORDER BY e.expires_us LIMIT ?",
            (now_us, limit),
        )
        return [(tenant, id) for tenant, id in rows]


INLINE_DOCUMENTS_MAX = 100

_CHANGES = """
    SELECT c.sequence, c.batch, t.name, c.time_us, c.operation, e.id,
           c.attribute, c.dataset, c.observed_us, c.value, c.who, c.package
    FROM change c JOIN tenant t ON t.key = c.tenant LEFT JOIN entity e ON e.key = c.entity
    WHERE c.sequence >= ? ORDER BY c.sequence LIMIT ?"""

# What must hold whatever happened: a sentence with a number, and the SQL that counts the breaches.
_CHECKS = (
    (
        "{} entities of the current state have no change in the log",
        "SELECT count(*) FROM entity WHERE body IS NOT NULL "
        "AND key NOT IN (SELECT entity FROM change WHERE entity > 0)",
    ),
    (
        "{} rows of the type index point at no entity",
        "SELECT count(*) FROM entity_type WHERE key NOT IN (SELECT key FROM entity WHERE body IS NOT NULL)",
    ),
    (
        "{} entities of the current state are missing in the type index",
        "SELECT count(*) FROM entity WHERE body IS NOT NULL AND key NOT IN (SELECT key FROM entity_type)",
    ),
    (
        "{} changes point at an entity that is not there",
        "SELECT count(*) FROM change WHERE entity > 0 AND entity NOT IN (SELECT key FROM entity)",
    ),
)


def _page_by_type(connection: apsw.Connection, tenant: int, query: EntityQuery) -> Found | None:
    """Answer the commonest question, a page of one type, from one index walk; None when it is another question."""
    if len(query.selectors) != 1 or query.count or query.limit > INLINE_DOCUMENTS_MAX:
        return None
    if query.q is not None or query.geo is not None or query.scope is not None or query.order or query.extra:
        return None
    selector = query.selectors[0]
    types = selector.types
    if query.attributes or query.datasets or selector.id_pattern is not None or selector.ids:
        return None
    if types is None or len(types.any_of) != 1 or len(types.any_of[0]) != 1 or query.offset > INLINE_OFFSET_MAX:
        return None
    rows = connection.execute(
        "SELECT id FROM entity_type WHERE tenant = ? AND type = ? ORDER BY key LIMIT ? OFFSET ?",
        (tenant, types.any_of[0][0], query.limit + 1, query.offset),
    )
    ids = [row[0] for row in rows]
    return Found(ids[: query.limit], None, len(ids) > query.limit)


INLINE_OFFSET_MAX = 1_000


def read_documents(connection: apsw.Connection, tenant: int, ids: Sequence[str]) -> dict[str, Document]:
    """Return the current documents of those ids that have one."""
    if len(ids) == 1:
        sql = "SELECT id, json(body) FROM entity WHERE tenant = ? AND id = ? AND body IS NOT NULL"
        rows = connection.execute(sql, (tenant, ids[0]))
    else:
        sql = (
            "SELECT e.id, json(e.body) FROM json_each(?) j CROSS JOIN entity e "
            "ON e.tenant = ? AND e.id = j.value WHERE e.body IS NOT NULL"
        )
        rows = connection.execute(sql, (orjson.dumps(list(ids)).decode(), tenant))
    return {id: orjson.loads(body) for id, body in rows}


def read_record(connection: apsw.Connection, tenant: int, kind: str, id: str) -> Json | None:
    """Return the body of one record, or None."""
    body = connection.execute(
        "SELECT body FROM record WHERE tenant = ? AND kind = ? AND id = ?", (tenant, kind, id)
    ).get
    return None if body is None else orjson.loads(body)
