# SPDX-License-Identifier: Apache-2.0
"""The values of attributes that were declared as indexed, by tenant and attribute.

Nothing is kept for any other attribute, so a hub without declarations pays one look into a dictionary for a write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import asyncpg
import orjson

from madang.model.entity import Document
from madang.store.index_rows import BOX, MEMBER, NO_NUMBER, NUMBER, TEXT, TIME, rows_for
from madang.store.postgres.narrow_index import moved

# So that a row of the index, which has the id too, fits on its page whatever the script (POSTGRES_KEY_BYTES_MAX).
TEXT_CHARACTERS_MAX: Final = 56
CUT: Final = -1  # kind of a text that ends where U+0000 stood
NAN: Final = float("nan")  # one object, as it equals nothing but itself
_INTEGER_EXACT: Final = 1 << 53
_FILL_ROWS: Final = 1_000
_NOTHING: Final[Mapping[str, int]] = {}

# Columns beside tenant and id, with their types.
_COLUMNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    NUMBER: (("attribute", "integer"), ("value", "float8"), ("rest", "smallint"), ("kind", "smallint")),
    TEXT: (("attribute", "integer"), ("value", "text"), ("kind", "smallint")),
    TIME: (("attribute", "integer"), ("value", "bigint"), ("kind", "smallint")),
}

# A row of a table: id and the columns above.
Line = tuple[Any, ...]


class Fetching(Protocol):
    """Connections, or a connection."""

    async def fetch(self, sql: str, *parameters: Any) -> list[Any]: ...


class ValueIndex:
    """Which attributes are declared, and the writing of their rows. Reading is done by `narrow`."""

    def __init__(self) -> None:
        # Replaced as a whole, never changed: questions under way hold on to what they have.
        self._declared: dict[int, dict[str, int]] = {}
        self._one_reads = asyncio.Lock()

    async def read(self, connections: Fetching) -> None:
        """Look up what is declared."""
        # One after the other, so that what was read earlier never takes the place of what was read later.
        async with self._one_reads:
            declared: dict[int, dict[str, int]] = {}
            for key, tenant, attribute in await connections.fetch("SELECT key, tenant, attribute FROM value_attribute"):
                declared.setdefault(tenant, {})[attribute] = key
            self._declared = declared

    def declared(self, tenant: int) -> Mapping[str, int]:
        """Return the declared attributes of a tenant with their keys."""
        return self._declared.get(tenant, _NOTHING)

    def active(self, tenant: int) -> bool:
        return tenant in self._declared

    async def declare(self, connection: asyncpg.Connection, tenant: int, attribute: str) -> bool:
        """Keep the attribute's values from now on, and take in those that are stored already.

        It takes part in the connection's transaction, in which nobody else may write. False: it is declared already.
        """
        if await connection.fetchval(_KEY, tenant, attribute) is not None:
            return False
        sql = "INSERT INTO value_attribute (tenant, attribute) VALUES ($1, $2) RETURNING key"
        key = await connection.fetchval(sql, tenant, attribute)
        stored = await connection.cursor(_STORED, tenant, orjson.dumps(attribute).decode() + ":")
        while bodies := await stored.fetch(_FILL_ROWS):
            lines = await asyncio.to_thread(_lines_of, bodies, {attribute: key})
            await _insert(connection, tenant, lines)
        for table in (NUMBER, TEXT, TIME, BOX):  # or the first questions would be planned for empty tables
            await connection.execute(f"ANALYZE {table}")
        return True

    async def drop(self, connection: asyncpg.Connection, tenant: int, attribute: str) -> bool:
        """Forget the attribute's values, in the connection's transaction. False: it is not declared."""
        key = await connection.fetchval(_KEY, tenant, attribute)
        if key is None:
            return False
        for table in (NUMBER, TEXT, TIME, BOX):
            await connection.execute(f"DELETE FROM {table} WHERE attribute = $1", key)  # noqa: S608 - our own names
        await connection.execute("DELETE FROM value_attribute WHERE key = $1", key)
        return True

    async def replace_many(
        self,
        connection: asyncpg.Connection,
        tenant: int,
        documents: Iterable[tuple[str, Document | None, Document | None]],
    ) -> None:
        """Bring the rows of (entity id, document before, document after) up to date; None where there is none."""
        attributes = self.declared(tenant)
        gone: dict[str, list[Line]] = {}
        come: dict[str, list[Line]] = {}
        for id, before, after in documents:
            old, new = _lines_by_table(before, attributes), _lines_by_table(after, attributes)
            for table, lines in old.items():
                gone.setdefault(table, []).extend((id, *line) for line in lines - new.get(table, set()))
            for table, lines in new.items():
                come.setdefault(table, []).extend((id, *line) for line in lines - old.get(table, set()))
        await _delete(connection, tenant, gone)
        await _insert(connection, tenant, come)


_KEY: Final = "SELECT key FROM value_attribute WHERE tenant = $1 AND md5(attribute) = md5($2)"
_STORED: Final = "SELECT id, body FROM entity WHERE tenant = $1 AND body IS NOT NULL AND strpos(body, $2) > 0"


def _lines_of(bodies: Sequence[tuple[str, str]], attributes: Mapping[str, int]) -> dict[str, list[Line]]:
    lines: dict[str, list[Line]] = {}
    for id, body in bodies:
        for table, found in _lines_by_table(orjson.loads(body), attributes).items():
            lines.setdefault(table, []).extend((id, *line) for line in found)
    return lines


def _lines_by_table(document: Document | None, attributes: Mapping[str, int]) -> dict[str, set[Line]]:
    """Return the columns beside the id, by table. Boxes are numbered, so that a table can have them in its key."""
    found: dict[str, set[Line]] = {}
    boxes: dict[int, list[Line]] = {}
    for table, key, value, kind in rows_for(document, attributes, TEXT_CHARACTERS_MAX):
        if table == BOX:
            boxes.setdefault(key, []).append(moved(value, key))
        else:
            line = _line(table, key, value, kind)
            if line is not None:
                found.setdefault(table, set()).add(line)
    for key, places in boxes.items():
        found.setdefault(BOX, set()).update((key, number, *place) for number, place in enumerate(sorted(places)))
    return found


def _line(table: str, key: int, value: Any, kind: int) -> Line | None:
    if table == NUMBER:
        return (key, *_double(value), kind)
    if table == TEXT and "\0" in value:
        return (key, value[: value.index("\0")], CUT) if kind <= MEMBER else None
    return key, value, kind


def _double(value: Any) -> tuple[float, int]:
    """Return the double next to a number, and what is left of an integer that has no double of its own."""
    if value == NO_NUMBER:
        return NAN, 0
    double = float(value)
    return double, value - int(double) if isinstance(value, int) and abs(value) > _INTEGER_EXACT else 0


async def _insert(connection: asyncpg.Connection, tenant: int, lines: Mapping[str, list[Line]]) -> None:
    for table, columns in _COLUMNS.items():
        if rows := lines.get(table):
            await connection.execute(_INSERT[table], tenant, *map(list, zip(*rows, strict=True)))
            assert len(rows[0]) == len(columns) + 1
    if rows := lines.get(BOX):
        await connection.execute(_INSERT_BOXES, tenant, *map(list, zip(*rows, strict=True)))


async def _delete(connection: asyncpg.Connection, tenant: int, lines: Mapping[str, list[Line]]) -> None:
    for table in _COLUMNS:
        if rows := lines.get(table):
            await connection.execute(_DELETE[table], tenant, *map(list, zip(*rows, strict=True)))
    if rows := lines.get(BOX):
        ids, keys, numbers, *_ = zip(*rows, strict=True)
        await connection.execute(_DELETE_BOXES, tenant, list(ids), list(keys), list(numbers))


def _unnested(types: Iterable[str]) -> str:
    return f"unnest({', '.join(f'${number}::{type_}[]' for number, type_ in enumerate(types, 2))})"


def _insert_sql(table: str) -> str:
    names, types = zip(("id", "text"), *_COLUMNS[table], strict=True)
    columns = f"tenant, {', '.join(names)}"
    return (
        f"INSERT INTO {table} ({columns}) SELECT $1::integer, u.* FROM {_unnested(types)} u "  # noqa: S608
        "ON CONFLICT DO NOTHING"
    )


def _delete_sql(table: str) -> str:
    names, types = zip(("id", "text"), *_COLUMNS[table], strict=True)
    same = " AND ".join(f"v.{name} = u.{name}" for name in names)
    return (
        f"DELETE FROM {table} v USING {_unnested(types)} AS u({', '.join(names)}) "  # noqa: S608 - our own names
        f"WHERE v.tenant = $1::integer AND {same}"
    )


_INSERT: Final = {table: _insert_sql(table) for table in _COLUMNS}
_DELETE: Final = {table: _delete_sql(table) for table in _COLUMNS}
_BOX_TYPES: Final = ("text", "integer", "integer")
_INSERT_BOXES: Final = (
    "INSERT INTO value_box (tenant, id, attribute, number, place) "  # noqa: S608 - our own names
    "SELECT $1::integer, u.id, u.attribute, u.number, box(point(u.west, u.south), point(u.east, u.north)) "
    f"FROM {_unnested((*_BOX_TYPES, 'float8', 'float8', 'float8', 'float8'))} "
    "AS u(id, attribute, number, west, south, east, north) ON CONFLICT DO NOTHING"
)
_DELETE_BOXES: Final = (
    f"DELETE FROM value_box v USING {_unnested(_BOX_TYPES)} AS u(id, attribute, number) "  # noqa: S608 - our own names
    "WHERE v.tenant = $1::integer AND v.id = u.id AND v.attribute = u.attribute AND v.number = u.number"
)
