# SPDX-License-Identifier: Apache-2.0
"""One group's transaction: rows are made in Python, written with few prepared statements, committed off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import apsw
import orjson

from madang.base.limits import ENTITY_KEYS_CACHED_MAX
from madang.model.change import Change, Operation, creation_changes
from madang.model.entity import Document, Json, types_of
from madang.model.transient import expires_us
from madang.store.port import EntityWrite, RecordWrite, Seen, Writes, change_count
from madang.store.rows import number_of
from madang.store.sqlite.value_index import ValueIndex

T = TypeVar("T")


_DOCUMENT = "SELECT id, key, json(body) FROM entity WHERE tenant = ? AND id = ?"
_DOCUMENTS = (
    "SELECT e.id, e.key, json(e.body) FROM json_each(?) j CROSS JOIN entity e ON e.tenant = ? AND e.id = j.value"
)
_INSERT_ENTITY = "INSERT INTO entity (key, tenant, id, body, expires_us) VALUES (?, ?, ?, jsonb(?), ?)"
_UPDATE_ENTITY = "UPDATE entity SET body = jsonb(?), expires_us = ? WHERE key = ?"
_INSERT_TYPE = "INSERT OR IGNORE INTO entity_type (tenant, type, key, id) VALUES (?, ?, ?, ?)"
_DELETE_TYPE = "DELETE FROM entity_type WHERE tenant = ? AND type = ? AND key = ?"
_INSERT_CHANGE = (
    "INSERT INTO change (sequence, batch, tenant, time_us, operation, entity, attribute, dataset, observed_us, "
    "number, value, who, package, instance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PUT_RECORD = (
    "INSERT INTO record (tenant, kind, id, body) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (tenant, kind, id) DO UPDATE SET body = excluded.body"
)


class Owner(Protocol):
    """What a transaction needs of its store: the writing connection, and the keys that are kept in memory."""

    tenant_keys: dict[str, int]
    name_keys: dict[str, int]
    name_texts: dict[int, str]
    entity_keys: dict[tuple[int, str], int]
    next_entity: int
    next_name: int
    next_sequence: int
    sequence_committed: int
    value_index: ValueIndex

    @property
    def writing(self) -> apsw.Connection: ...

    async def run_commit(self, function: Callable[[], T]) -> T:
        """Run what waits for the disk in the committing thread."""


class SqliteTransaction:
    """Made by `SqliteStore.begin`, which holds the store's turn until commit or rollback."""

    def __init__(self, store: Owner, turn: asyncio.Lock) -> None:
        self._store = store
        self._turn = turn
        self._ended = False
        self.seen = self.reached = Seen(store.next_sequence - 1, 0)
        self._counters = (store.next_entity, store.next_name, store.next_sequence)
        self._new_names: list[tuple[int, str]] = []
        self._new_tenants: list[str] = []
        self._new_entities: list[tuple[int, str]] = []

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]:
        store = self._store
        tenant_key = store.tenant_keys.get(tenant)
        if tenant_key is None:
            return {}
        if len(ids) == 1:
            rows = store.writing.execute(_DOCUMENT, (tenant_key, ids[0]))
        else:
            rows = store.writing.execute(_DOCUMENTS, (orjson.dumps(list(ids)).decode(), tenant_key))
        found: dict[str, Document] = {}
        keys = dict.fromkeys(ids, 0)  # 0: known to be absent
        for id, key, body in rows:
            keys[id] = key
            if body is not None:
                found[id] = orjson.loads(body)
        for id, key in keys.items():
            self._remember_key(tenant_key, id, key)
        return found

    async def record(self, tenant: str, kind: str, id: str) -> Json | None:
        tenant_key = self._store.tenant_keys.get(tenant, 0)
        sql = "SELECT body FROM record WHERE tenant = ? AND kind = ? AND id = ?"
        body = self._store.writing.execute(sql, (tenant_key, kind, id)).get
        return None if body is None else orjson.loads(body)

    async def apply(self, writes: Writes) -> int:
        """Write everything; see the port."""
        store = self._store
        for tenant in writes.tenants:
            self._make_tenant(tenant)
        first = store.next_sequence
        for sequence in writes.history_hidden:
            self._hide(sequence)
        dropped = [self._entity_key(store.tenant_keys[tenant], id) for tenant, id in writes.history_dropped]
        for key in dropped:
            store.writing.execute("DELETE FROM change WHERE entity = ?", (key,))
        self._write_entities(writes.entities)
        for (tenant, id), key in zip(writes.history_dropped, dropped, strict=True):
            store.writing.execute(
                "DELETE FROM entity WHERE key = ? AND body IS NULL "
                "AND NOT EXISTS (SELECT 1 FROM change WHERE entity = key)",
                (key,),
            )
            store.entity_keys.pop((store.tenant_keys[tenant], id), None)
        self._write_records(writes.records)
        if writes.bookmarks:
            store.writing.executemany(
                "INSERT INTO bookmark (reader, sequence) VALUES (?, ?) "
                "ON CONFLICT (reader) DO UPDATE SET sequence = excluded.sequence",
                list(writes.bookmarks.items()),
            )
        self.reached = Seen(store.next_sequence - 1, 0)
        return first

    async def commit(self) -> None:
        store = self._store
        try:
            # The call waits for the disk without the interpreter lock; meanwhile the loop reads the next requests.
            await store.run_commit(_commit(store.writing))
        except BaseException:
            self._undo()
            raise
        store.sequence_committed = store.next_sequence - 1
        self._ended = True
        self._turn.release()

    async def rollback(self) -> None:
        # SQLite may have rolled back by itself (disk full): the turn has to be given back all the same.
        if not self._ended:
            self._undo()

    def _undo(self) -> None:
        store = self._store
        self._ended = True
        store.next_entity, store.next_name, store.next_sequence = self._counters
        for key, text in self._new_names:
            store.name_keys.pop(text, None)
            store.name_texts.pop(key, None)
        for tenant in self._new_tenants:
            store.tenant_keys.pop(tenant, None)
        for known in self._new_entities:
            store.entity_keys.pop(known, None)
        try:
            if store.writing.in_transaction:
                store.writing.execute("ROLLBACK")
        finally:
            self._turn.release()

    # ------------------------------------------------------------------ history taken out of sight

    def _hide(self, sequence: int) -> None:
        """Empty a row: what a person wants forgotten must be gone from the disk; the row itself keeps its place."""
        connection = self._store.writing
        found = connection.execute(
            "SELECT sequence, operation, value FROM change WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1",
            (sequence,),
        ).fetchone()
        if found is not None and found[0] < sequence and found[1] == Operation.ENTITY_CREATED:
            self._unpack(found[0], orjson.loads(found[2]))
        connection.execute("UPDATE change SET hidden = 1, value = NULL, number = NULL WHERE sequence = ?", (sequence,))

    def _unpack(self, first: int, document: Document) -> None:
        """Turn the one row of a creation into a row for each of its changes, at the sequences set aside for them."""
        connection = self._store.writing
        place = connection.execute(
            "SELECT batch, tenant, time_us, entity, who, package FROM change WHERE sequence = ?", (first,)
        ).fetchone()
        assert place is not None
        changes = creation_changes(document)
        head = orjson.dumps(changes[0].value).decode()
        connection.execute("UPDATE change SET value = ? WHERE sequence = ?", (head, first))
        rows = [self._row(sequence, change, place) for sequence, change in enumerate(changes[1:], first + 1)]
        connection.executemany(_INSERT_CHANGE, rows)

    # ------------------------------------------------------------------ keys

    def _remember_key(self, tenant: int, id: str, key: int) -> None:
        keys = self._store.entity_keys
        if len(keys) > ENTITY_KEYS_CACHED_MAX:
            keys.clear()
        keys[tenant, id] = key

    def _make_tenant(self, tenant: str) -> None:
        store = self._store
        if tenant not in store.tenant_keys:
            store.writing.execute("INSERT INTO tenant (name) VALUES (?)", (tenant,))
            store.tenant_keys[tenant] = store.writing.last_insert_rowid()
            self._new_tenants.append(tenant)

    def _name_key(self, text: str) -> int:
        store = self._store
        key = store.name_keys.get(text)
        if key is None:
            key = store.next_name
            store.next_name += 1
            store.writing.execute("INSERT INTO name (key, text) VALUES (?, ?)", (key, text))
            store.name_keys[text] = key
            store.name_texts[key] = text
            self._new_names.append((key, text))
        return key

    def _entity_key(self, tenant: int, id: str) -> int:
        """Return the key of an entity that is stored, or 0."""
        key = self._store.entity_keys.get((tenant, id))
        if key is None:
            sql = "SELECT key FROM entity WHERE tenant = ? AND id = ?"
            key = self._store.writing.execute(sql, (tenant, id)).get or 0
            self._remember_key(tenant, id, key)
        return key

    # ------------------------------------------------------------------ rows

    def _write_entities(self, entities: list[EntityWrite]) -> None:
        """Write final states once per entity, and all change rows in order."""
        store = self._store
        rows = _Rows()
        dumps = orjson.dumps
        index = store.value_index
        for write in entities:
            tenant = store.tenant_keys[write.tenant]
            before, after = write.before, write.after
            body = None if after is None or after is before else dumps(after).decode()
            key = self._entity_key(tenant, write.entity)
            if not key:
                key = self._new_entity(tenant, write.entity)
                rows.inserts[key] = (key, tenant, write.entity, body, None if after is None else expires_us(after))
            elif after is not before:
                rows.state(key, tenant, write.entity, body, None if after is None else expires_us(after))
            if before is None or after is None or before["type"] != after["type"]:
                rows.types_of(tenant, key, write)
            if after is not before and index.active(tenant):
                rows.indexed_values(tenant, key, before, after)
            if write.changes is None:
                rows.changes.append(self._creation_row(write, tenant, key, body))
            elif write.changes:
                rows.changes.extend(self._change_rows(write, tenant, key))
        rows.write(store.writing, index)

    def _new_entity(self, tenant: int, id: str) -> int:
        store = self._store
        key = store.next_entity
        store.next_entity += 1
        store.entity_keys[tenant, id] = key
        self._new_entities.append((tenant, id))
        return key

    def _creation_row(self, write: EntityWrite, tenant: int, key: int, body: str | None) -> tuple[Any, ...]:
        """One row for the whole creation; the sequences of its changes are set aside (`creation_changes`)."""
        store = self._store
        sequence = store.next_sequence
        store.next_sequence += change_count(write)
        operation = int(Operation.ENTITY_CREATED)
        place = (sequence, sequence, tenant, write.time_us, operation, key, None, None, None, None)
        return (*place, body, write.who, write.package, None)

    def _change_rows(self, write: EntityWrite, tenant: int, key: int) -> list[tuple[Any, ...]]:
        assert write.changes is not None
        store = self._store
        first = store.next_sequence
        store.next_sequence += len(write.changes)
        place = (first, tenant, write.time_us, key, write.who, write.package)
        return [self._row(sequence, change, place) for sequence, change in enumerate(write.changes, first)]

    def _row(self, sequence: int, change: Change, place: tuple[Any, ...]) -> tuple[Any, ...]:
        operation, _, attribute, dataset, observed_us, value, _, instance = change
        batch, tenant, time_us, entity, who, package = place
        names = self._store.name_keys
        number = text = None
        if value is not None:
            number = value.get("value")
            is_number = number.__class__ is int or number.__class__ is float
            number = number_of(operation, value) if is_number else None
            text = orjson.dumps(value).decode()
        attribute_key = None if attribute is None else names.get(attribute) or self._name_key(attribute)
        dataset_key = None if dataset is None else names.get(dataset) or self._name_key(dataset)
        what = (attribute_key, dataset_key, observed_us, number, text)
        return (sequence, batch, tenant, time_us, operation.value, entity, *what, who, package, instance)

    def _write_records(self, records: list[RecordWrite]) -> None:
        store = self._store
        for write in records:
            tenant = store.tenant_keys[write.tenant]
            body = None if write.body is None else orjson.dumps(write.body).decode()
            if body is None:
                sql = "DELETE FROM record WHERE tenant = ? AND kind = ? AND id = ?"
                store.writing.execute(sql, (tenant, write.kind, write.id))
            else:
                store.writing.execute(_PUT_RECORD, (tenant, write.kind, write.id, body))
            if write.logged:
                operation = Operation.RECORD_DELETED if body is None else Operation.RECORD_PUT
                self._log_record(write, tenant, operation, body)

    def _log_record(self, write: RecordWrite, tenant: int, operation: Operation, body: str | None) -> None:
        store = self._store
        sequence = store.next_sequence
        store.next_sequence += 1
        store.writing.execute(
            _INSERT_CHANGE,
            (
                *(sequence, sequence, tenant, write.time_us, int(operation), None, self._name_key(write.kind)),
                *(self._name_key(write.id), None, None, body, None, None, None),
            ),
        )


class _Rows:
    """The rows of one group, gathered so that each statement runs once over many."""

    __slots__ = ("changes", "indexed", "inserts", "types", "updates")

    def __init__(self) -> None:
        self.inserts: dict[int, tuple[Any, ...]] = {}
        self.updates: dict[int, tuple[Any, ...]] = {}
        self.types: dict[tuple[int, str, int], str | None] = {}
        self.indexed: dict[int, dict[int, tuple[Document | None, Document | None]]] = {}
        self.changes: list[tuple[Any, ...]] = []

    def state(self, key: int, tenant: int, id: str, body: str | None, expires_us: int | None) -> None:
        """Note the state after a write; of several writes to one entity the last counts."""
        if key in self.inserts:
            self.inserts[key] = (key, tenant, id, body, expires_us)
        else:
            self.updates[key] = (body, expires_us, key)

    def types_of(self, tenant: int, key: int, write: EntityWrite) -> None:
        """Note which rows of the type index must be there (the id) or not (None); the last word holds."""
        for name in types_of(write.before) if write.before is not None else []:
            self.types[tenant, name, key] = None
        for name in types_of(write.after) if write.after is not None else []:
            self.types[tenant, name, key] = write.entity

    def indexed_values(self, tenant: int, key: int, before: Document | None, after: Document | None) -> None:
        """Note the first and the last state of the group: the value index goes from one to the other."""
        entities = self.indexed.setdefault(tenant, {})
        entities[key] = (entities[key][0] if key in entities else before, after)

    def write(self, connection: apsw.Connection, index: ValueIndex) -> None:
        """Run the statements."""
        if self.inserts:
            connection.executemany(_INSERT_ENTITY, list(self.inserts.values()))
        if self.updates:
            connection.executemany(_UPDATE_ENTITY, list(self.updates.values()))
        if self.types:
            connection.executemany(_DELETE_TYPE, [place for place, id in self.types.items() if id is None])
            connection.executemany(_INSERT_TYPE, [(*place, id) for place, id in self.types.items() if id is not None])
        if self.changes:
            connection.executemany(_INSERT_CHANGE, self.changes)
        for tenant, entities in self.indexed.items():
            index.replace_many(connection, tenant, [(key, *states) for key, states in entities.items()])


def _commit(connection: apsw.Connection) -> Callable[[], None]:
    def commit() -> None:
        connection.execute("COMMIT")

    return commit
