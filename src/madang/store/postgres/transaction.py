# SPDX-License-Identifier: Apache-2.0
"""One group's transaction: few multi-row statements, while the one row of `log_position` keeps others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import asyncpg
import orjson

from madang.base.errors import BadRequestData, LimitExceeded
from madang.base.limits import POSTGRES_KEY_BYTES_MAX
from madang.model.change import Change, Operation, creation_changes
from madang.model.entity import Document, Json, types_of
from madang.model.transient import expires_us
from madang.store.port import EntityWrite, RecordWrite, Seen, Writes, change_count
from madang.store.postgres.connections import Connections, as_store_failed
from madang.store.postgres.names import Names, Tenants, digest
from madang.store.postgres.partitions import Partitions
from madang.store.postgres.value_index import ValueIndex
from madang.store.rows import number_of

_DOCUMENTS: Final = "SELECT id, key, body FROM entity WHERE tenant = $1 AND id = ANY($2::text[])"
_KEYS: Final = "SELECT id, key FROM entity WHERE tenant = $1 AND id = ANY($2::text[])"
_ENTITY_COLUMNS: Final = ("tenant", "id", "key", "body", "expires_us")
_ADD_ENTITIES: Final = (
    "INSERT INTO entity (tenant, id, key, body, expires_us) "
    "SELECT * FROM unnest($1::integer[], $2::text[], $3::bigint[], $4::text[], $5::bigint[]) "
    "ON CONFLICT (tenant, id) DO "
)
_PUT_ENTITIES: Final = _ADD_ENTITIES + "UPDATE SET body = excluded.body, expires_us = excluded.expires_us"
_ADD_SHADOWS: Final = _ADD_ENTITIES + "NOTHING"
_DELETE_TYPES: Final = "DELETE FROM entity_type WHERE tenant = $1 AND id = ANY($2::text[])"
_ADD_TYPES: Final = (
    "INSERT INTO entity_type (tenant, id, type, key) "
    "SELECT * FROM unnest($1::integer[], $2::text[], $3::integer[], $4::bigint[]) ON CONFLICT DO NOTHING"
)
_CHANGE_COLUMNS: Final = (
    *("tenant", "entity", "sequence", "batch", "time_us", "operation", "attribute", "dataset", "observed_us"),
    *("number", "value", "who", "package", "record", "instance"),
)
_CHANGE_TYPES: Final = (
    *("integer", "text", "bigint", "bigint", "bigint", "smallint", "integer", "integer", "bigint"),
    *("double precision", "text", "text", "text", "text", "bigint"),
)
_ADD_CHANGES: Final = (
    f"INSERT INTO change ({', '.join(_CHANGE_COLUMNS)}) SELECT * FROM unnest("  # noqa: S608 - our own names
    f"{', '.join(f'${number}::{type}[]' for number, type in enumerate(_CHANGE_TYPES, 1))})"
)
_PUT_RECORD: Final = (
    "INSERT INTO record (tenant, kind, id, body) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (tenant, kind, id) DO UPDATE SET body = excluded.body"
)
_PUT_BOOKMARK: Final = (
    "INSERT INTO bookmark (reader, sequence) VALUES ($1, $2) "
    "ON CONFLICT (reader) DO UPDATE SET sequence = excluded.sequence"
)
# An entity that nothing is left of: no state and no history.
_FORGET_ENTITY: Final = (
    "DELETE FROM entity e WHERE e.tenant = $1 AND e.id = $2 AND e.body IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM change c WHERE c.tenant = $1 AND c.entity = $2)"
)
_BUNDLE_OF: Final = (
    "SELECT sequence, operation, value, tenant, entity, batch, time_us, who, package FROM change "
    "WHERE sequence <= $1 ORDER BY sequence DESC LIMIT 1"
)
_MOVE: Final = "UPDATE log_position SET sequence = {}, generation = {} WHERE id = 1; "  # two whole numbers of ours
# From so many rows on a COPY is faster than a prepared statement with arrays (measured).
_COPY_ROWS_MIN: Final = 10

Place = tuple[int, str]  # tenant key and entity id


class Owner(Protocol):
    """What a transaction needs of its store."""

    connections: Connections
    names: Names
    tenant_names: Tenants
    partitions: Partitions
    value_index: ValueIndex

    async def end_writing(self, connection: asyncpg.Connection, *, reread_partitions: bool = False) -> None:
        """Roll back what a connection was doing."""

    def has_grown(self, sequence: int) -> None:
        """Note the last sequence of the log."""


class PostgresTransaction:
    """Made by `PostgresStore.begin`, which holds the store's turn until commit or rollback."""

    def __init__(self, store: Owner, connection: asyncpg.Connection, seen: Seen, turn: asyncio.Lock) -> None:
        self.seen = self.reached = seen
        self._store = store
        self._connection = connection
        self._turn = turn
        self._ended = False
        self._next = seen.sequence + 1
        self._generation = seen.generation
        self._tenants: dict[str, int] = dict(store.tenant_names.known)
        self._names: dict[str, int] = {}  # new ones, or ones that this worker had not heard of
        self._absent: set[Place] = set()  # known to have no row at all
        self._made_partitions = False

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]:
        key = self._tenants.get(tenant)
        if key is None:
            return {}
        with as_store_failed():
            rows = await self._connection.fetch(_DOCUMENTS, key, [id for id in ids if "\0" not in id])
        found: dict[str, Document] = {}
        absent = set(ids)
        for id, _, body in rows:
            absent.discard(id)
            if body is not None:
                found[id] = orjson.loads(body)
        self._absent.update((key, id) for id in absent)
        return found

    async def record(self, tenant: str, kind: str, id: str) -> Json | None:
        key = self._tenants.get(tenant)
        if key is None or "\0" in id:
            return None
        sql = "SELECT body FROM record WHERE tenant = $1 AND kind = $2 AND id = $3"
        with as_store_failed():
            body = await self._connection.fetchval(sql, key, kind, id)
        return None if body is None else orjson.loads(body)

    async def apply(self, writes: Writes) -> int:
        """Write everything; see the port."""
        with as_store_failed():
            await self._apply(writes)
        return self.seen.sequence + 1

    async def _apply(self, writes: Writes) -> None:
        _check_sizes(writes)
        if writes.tenants:
            await self._make_tenants(writes.tenants)
        for sequence in writes.history_hidden:
            await self._hide(sequence)
        connection = self._connection
        dropped = [(self._tenants[tenant], id) for tenant, id in writes.history_dropped]
        for place in dropped:
            await connection.execute("DELETE FROM change WHERE tenant = $1 AND entity = $2", *place)
        await self._intern(_names_in(writes))
        await self._write_entities(writes.entities)
        for place in dropped:
            await connection.execute(_FORGET_ENTITY, *place)
        await self._write_records(writes.records)
        for bookmark in writes.bookmarks.items():
            await connection.execute(_PUT_BOOKMARK, *bookmark)
        if writes.history_hidden or writes.history_dropped:
            self._generation += 1
        self.reached = Seen(self._next - 1, self._generation)

    async def commit(self) -> None:
        try:
            with as_store_failed():
                # In one message with the end of the turn: others wait for it.
                moved = "" if self.reached == self.seen else _MOVE.format(*self.reached)
                await self._connection.execute(f"{moved}COMMIT")
        except BaseException:
            await self._undo()
            raise
        self._ended = True
        self._store.names.remember((key, text) for text, key in self._names.items())
        for name, key in self._tenants.items():
            self._store.tenant_names.remember(name, key)
        self._store.has_grown(self._next - 1)
        self._turn.release()

    async def rollback(self) -> None:
        if not self._ended:
            await self._undo()

    async def _undo(self) -> None:
        self._ended = True
        try:
            # Whatever state the connection is in after a failure: without it the server rolls back by itself.
            await self._store.end_writing(self._connection, reread_partitions=self._made_partitions)
        finally:
            self._turn.release()

    # ------------------------------------------------------------------ keys

    async def _make_tenants(self, tenants: Iterable[str]) -> None:
        for tenant in tenants:
            if tenant not in self._tenants:
                sql = "INSERT INTO tenant (key, name) SELECT max(key) + 1, $1 FROM tenant RETURNING key"
                self._tenants[tenant] = await self._connection.fetchval(sql, tenant)
        self._generation += 1

    async def _intern(self, texts: set[str]) -> None:
        """Give numbers to the names that have none; nobody else can be doing the same, as writers take turns."""
        known = self._store.names.known
        missing = [text for text in texts if text not in known]
        if not missing:
            return
        if any("\0" in text for text in missing):
            raise BadRequestData("The name of a type, an attribute or a dataset holds the character U+0000")
        sql = "SELECT key, text FROM name WHERE md5(text) = ANY($1::text[])"
        for key, text in await self._connection.fetch(sql, [digest(text) for text in missing]):
            self._names[text] = key
        missing = [text for text in missing if text not in self._names]
        if missing:
            first = 1 + await self._connection.fetchval("SELECT coalesce(max(key), 0) FROM name")
            new = dict(zip(missing, range(first, first + len(missing)), strict=True))
            sql = "INSERT INTO name (key, text) SELECT * FROM unnest($1::integer[], $2::text[])"
            await self._connection.execute(sql, list(new.values()), list(new))
            self._names.update(new)

    def _name(self, text: str) -> int:
        key = self._store.names.known.get(text)
        return self._names[text] if key is None else key

    # ------------------------------------------------------------------ history taken out of sight

    async def _hide(self, sequence: int) -> None:
        """Empty a row: what a person wants forgotten must be gone from the disk; the row itself keeps its place."""
        found = await self._connection.fetchrow(_BUNDLE_OF, sequence)
        if found is not None and found["sequence"] < sequence and found["operation"] == Operation.ENTITY_CREATED:
            await self._unpack(found)
        sql = "UPDATE change SET hidden = true, value = NULL, number = NULL WHERE sequence = $1"
        await self._connection.execute(sql, sequence)

    async def _unpack(self, bundle: asyncpg.Record) -> None:
        """Turn the one row of a creation into a row for each of its changes, at the sequences set aside for them."""
        changes = creation_changes(orjson.loads(bundle["value"]))
        first, *others = changes
        sql = "UPDATE change SET value = $1 WHERE tenant = $2 AND entity = $3 AND sequence = $4"
        place = (bundle["tenant"], bundle["entity"])
        await self._connection.execute(sql, orjson.dumps(first.value).decode(), *place, bundle["sequence"])
        await self._intern(
            {text for change in others for text in (change.attribute, change.dataset) if text is not None}
        )
        by = (bundle["batch"], bundle["time_us"], bundle["who"], bundle["package"])
        rows = [self._row(number, change, place, by) for number, change in enumerate(others, bundle["sequence"] + 1)]
        await self._add_changes(rows)

    # ------------------------------------------------------------------ rows

    async def _write_entities(self, entities: list[EntityWrite]) -> None:
        """Write final states once per entity, and all change rows in order."""
        if not entities:
            return
        states: dict[Place, tuple[Any, ...]] = {}
        shadows: dict[Place, tuple[Any, ...]] = {}
        types: dict[Place, list[str]] = {}
        firsts: dict[Place, int] = {}
        changes: list[tuple[Any, ...]] = []
        indexed: dict[int, dict[str, tuple[Document | None, Document | None]]] = {}
        index = self._store.value_index
        for write in entities:
            place = (self._tenants[write.tenant], write.entity)
            before, after = write.before, write.after
            body = None if after is None or after is before else orjson.dumps(after).decode()
            if after is not before:
                firsts.setdefault(place, self._next)
                states[place] = (*place, firsts[place], body, None if after is None else expires_us(after))
                if before is None or after is None or before["type"] != after["type"]:
                    types[place] = [] if after is None else types_of(after)
                if index.active(place[0]):
                    of_tenant = indexed.setdefault(place[0], {})
                    of_tenant[write.entity] = (of_tenant.get(write.entity, (before,))[0], after)
            elif after is None:
                shadows.setdefault(place, (*place, firsts.setdefault(place, self._next), None, None))
            changes += self._change_rows(write, place, body)
        await self._make_room(entities)
        # A shadow's row is there already when a state of the same group is written over it.
        await self._put(_ADD_SHADOWS, shadows.values())
        absent = [place for place in states if place in self._absent and place not in shadows]
        new = [states.pop(place) for place in absent]
        if len(new) < _COPY_ROWS_MIN:
            await self._put(_PUT_ENTITIES, new)
        else:
            # That they are not there was read in this turn, in which nobody else writes.
            await self._copy("entity", new, _ENTITY_COLUMNS)
        await self._put(_PUT_ENTITIES, states.values())
        await self._write_types(types, firsts)
        await self._add_changes(changes)
        for tenant, replaced in indexed.items():
            await index.replace_many(self._connection, tenant, [(id, *both) for id, both in replaced.items()])

    async def _put(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        columns = list(zip(*rows, strict=True))
        if columns:
            await self._connection.execute(sql, *columns)

    async def _copy(self, table: str, rows: list[tuple[Any, ...]], columns: tuple[str, ...]) -> None:
        observe = self._store.connections.observe
        if observe is not None:
            observe(table, list(columns))
        await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    async def _write_types(self, types: dict[Place, list[str]], firsts: dict[Place, int]) -> None:
        if not types:
            return
        # The order of creation is that of the first creation: an entity that was there before keeps its key.
        keys = {place: firsts[place] for place in types}
        there: dict[int, list[str]] = {}
        for tenant, id in types:
            if (tenant, id) not in self._absent:
                there.setdefault(tenant, []).append(id)
        for tenant, ids in there.items():
            await self._connection.execute(_DELETE_TYPES, tenant, ids)
            for id, key in await self._connection.fetch(_KEYS, tenant, ids):
                keys[tenant, id] = key
        rows = [(*place, self._name(name), keys[place]) for place, names in types.items() for name in names]
        if len(rows) >= _COPY_ROWS_MIN and not there:
            await self._copy("entity_type", rows, ("tenant", "id", "type", "key"))
        else:
            await self._put(_ADD_TYPES, rows)

    def _change_rows(self, write: EntityWrite, place: Place, body: str | None) -> list[tuple[Any, ...]]:
        first = self._next
        self._next += change_count(write)
        if write.changes is None:
            # One row for the whole creation; the sequences of its changes are set aside.
            what = (first, first, write.time_us, int(Operation.ENTITY_CREATED), None, None, None, None, body)
            return [(*place, *what, write.who, write.package, None, None)]
        by = (first, write.time_us, write.who, write.package)
        return [self._row(sequence, change, place, by) for sequence, change in enumerate(write.changes, first)]

    def _row(self, sequence: int, change: Change, place: Place, by: tuple[Any, ...]) -> tuple[Any, ...]:
        operation, _, attribute, dataset, observed_us, value, _, instance = change
        batch, time_us, who, package = by
        number = text = None
        if value is not None:
            number = value.get("value")
            is_number = number.__class__ is int or number.__class__ is float
            number = number_of(operation, value) if is_number else None
            text = orjson.dumps(value).decode()
        names = (None if attribute is None else self._name(attribute), None if dataset is None else self._name(dataset))
        what = (batch, time_us, int(operation), *names, observed_us, number, text)
        return (*place, sequence, *what, who, package, None, instance)

    async def _add_changes(self, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        if len(rows) < _COPY_ROWS_MIN:
            await self._connection.execute(_ADD_CHANGES, *zip(*rows, strict=True))
        else:
            await self._copy("change", rows, _CHANGE_COLUMNS)

    async def _make_room(self, writes: Sequence[EntityWrite | RecordWrite]) -> None:
        """Make the partitions of the months that are written in."""
        partitions = self._store.partitions
        times_us = {write.time_us for write in writes}
        if not all(partitions.has(time_us) for time_us in times_us):
            self._made_partitions = True
            await partitions.ensure(self._connection, min(times_us), max(times_us))

    async def _write_records(self, records: list[RecordWrite]) -> None:
        logged: list[tuple[Any, ...]] = []
        for write in records:
            tenant = self._tenants[write.tenant]
            body = None if write.body is None else orjson.dumps(write.body).decode()
            if body is None:
                sql = "DELETE FROM record WHERE tenant = $1 AND kind = $2 AND id = $3"
                await self._connection.execute(sql, tenant, write.kind, write.id)
            else:
                await self._connection.execute(_PUT_RECORD, tenant, write.kind, write.id, body)
            if write.logged:
                operation = int(Operation.RECORD_DELETED if body is None else Operation.RECORD_PUT)
                what = (self._next, self._next, write.time_us, operation, self._name(write.kind), None, None, None)
                logged.append((tenant, "", *what, body, None, None, write.id, None))
                self._next += 1
        if logged:
            await self._make_room(records)
            await self._add_changes(logged)


def _names_in(writes: Writes) -> set[str]:
    """Return every name that a row will hold as a number."""
    names = {record.kind for record in writes.records if record.logged}
    for write in writes.entities:
        if write.after is not None and write.after is not write.before:
            names.update(types_of(write.after))
        for change in write.changes or ():
            if change.attribute is not None:
                names.add(change.attribute)
            if change.dataset is not None:
                names.add(change.dataset)
    return names


def _check_sizes(writes: Writes) -> None:
    """Refuse ids that no index can hold, before anything is written."""
    texts = [write.entity for write in writes.entities]
    texts += [record.id for record in writes.records]
    for text in texts:
        if len(text) > POSTGRES_KEY_BYTES_MAX // 4 and len(text.encode()) > POSTGRES_KEY_BYTES_MAX:
            raise LimitExceeded(f"An id may have up to {POSTGRES_KEY_BYTES_MAX} bytes; {text:.60}… has more")
