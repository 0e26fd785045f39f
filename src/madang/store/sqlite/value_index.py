# SPDX-License-Identifier: Apache-2.0
"""The values of attributes that were declared as indexed: numbers, texts, moments and places, by tenant and attribute.

Nothing is kept for any other attribute, so a hub without declarations pays one look into a dictionary for a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import apsw
import orjson

from madang.model.entity import Document
from madang.store.index_rows import BOX, NUMBER, TEXT, TIME, Row, rows_for, rows_of_attribute
from madang.store.sqlite.sql import json_path, quoted

TEXT_CHARACTERS_MAX: Final = 128
_FILL_ROWS: Final = 5_000
_NOTHING: Final[Mapping[str, int]] = {}


class ValueIndex:
    """Which attributes are declared, and the writing of their rows. Reading is done by `narrow`."""

    def __init__(self) -> None:
        # Replaced as a whole, never changed: reading threads hold on to what they have.
        self._declared: dict[int, dict[str, int]] = {}

    def open(self, connection: apsw.Connection) -> None:
        """Read what is declared."""
        declared: dict[int, dict[str, int]] = {}
        for key, tenant, attribute in connection.execute("SELECT key, tenant, attribute FROM value_attribute"):
            declared.setdefault(tenant, {})[attribute] = key
        self._declared = declared

    def declared(self, tenant: int) -> Mapping[str, int]:
        """Return the declared attributes of a tenant with their keys."""
        return self._declared.get(tenant, _NOTHING)

    def active(self, tenant: int) -> bool:
        return tenant in self._declared

    def declare(self, connection: apsw.Connection, tenant: int, attribute: str) -> None:
        """Keep the attribute's values from now on, and take in those that are stored already."""
        if attribute in self.declared(tenant):
            return
        with connection:
            key = connection.execute(
                "INSERT INTO value_attribute (tenant, attribute) VALUES (?, ?) RETURNING key", (tenant, attribute)
            ).get
            self._fill(connection, tenant, attribute, key)
        self._declared = {**self._declared, tenant: {**self.declared(tenant), attribute: key}}

    def _fill(self, connection: apsw.Connection, tenant: int, attribute: str, key: int) -> None:
        path = json_path(attribute)
        if path is None:
            return
        stored = connection.execute(
            f"SELECT key, body -> {quoted(path)} FROM entity "  # noqa: S608 - the path is quoted
            f"WHERE tenant = ? AND json_type(body, {quoted(path)}) IS NOT NULL",
            (tenant,),
        )
        rows: list[tuple[int, Row]] = []
        for entity, value in stored:
            rows.extend(
                (entity, row) for row in rows_of_attribute(attribute, key, orjson.loads(value), TEXT_CHARACTERS_MAX)
            )
            if len(rows) >= _FILL_ROWS:
                _insert(connection, rows)
                rows = []
        _insert(connection, rows)

    def drop(self, connection: apsw.Connection, tenant: int, attribute: str) -> None:
        """Forget the attribute's values."""
        key = self.declared(tenant).get(attribute)
        if key is None:
            return
        left = {name: other for name, other in self.declared(tenant).items() if name != attribute}
        self._declared = {number: names for number, names in self._declared.items() if number != tenant}
        if left:
            self._declared = {**self._declared, tenant: left}
        with connection:
            for table in (NUMBER, TEXT, TIME):
                connection.execute(f"DELETE FROM {table} WHERE attribute = ?", (key,))  # noqa: S608 - our own names
            connection.execute(
                "DELETE FROM value_box WHERE id IN (SELECT id FROM value_place WHERE attribute = ?)", (key,)
            )
            connection.execute("DELETE FROM value_place WHERE attribute = ?", (key,))
            connection.execute("DELETE FROM value_attribute WHERE key = ?", (key,))

    def replace(
        self,
        connection: apsw.Connection,
        tenant: int,
        entity: int,
        before: Document | None,
        after: Document | None,
    ) -> None:
        """Bring the rows of one entity from its document before a write to that after it; None where there is none."""
        attributes = self.declared(tenant)
        old, new = (rows_for(document, attributes, TEXT_CHARACTERS_MAX) for document in (before, after))
        if old != new:
            _delete(connection, [(entity, row) for row in old - new])
            _insert(connection, [(entity, row) for row in new - old])

    def replace_many(
        self,
        connection: apsw.Connection,
        tenant: int,
        documents: Iterable[tuple[int, Document | None, Document | None]],
    ) -> None:
        """Do `replace` for many (entity key, before, after) with few statements."""
        attributes = self.declared(tenant)
        gone: list[tuple[int, Row]] = []
        come: list[tuple[int, Row]] = []
        for entity, before, after in documents:
            old, new = (rows_for(document, attributes, TEXT_CHARACTERS_MAX) for document in (before, after))
            gone.extend((entity, row) for row in old - new)
            come.extend((entity, row) for row in new - old)
        _delete(connection, gone)
        _insert(connection, come)


def _insert(connection: apsw.Connection, rows: list[tuple[int, Row]]) -> None:
    for table in (NUMBER, TEXT, TIME):
        values = [(key, value, kind, entity) for entity, (place, key, value, kind) in rows if place == table]
        if values:
            connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?, ?)", values)  # noqa: S608
    for entity, (place, key, box, _) in rows:
        if place == BOX:
            west, south, east, north = box
            id = connection.execute(
                "INSERT OR IGNORE INTO value_place (attribute, entity, place) VALUES (?, ?, ?) RETURNING id",
                (key, entity, repr(box)),
            ).get
            if id is not None:
                connection.execute(
                    "INSERT INTO value_box VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (id, west, east, south, north, key, key, entity),
                )


def _delete(connection: apsw.Connection, rows: list[tuple[int, Row]]) -> None:
    for table in (NUMBER, TEXT, TIME):
        values = [(key, value, kind, entity) for entity, (place, key, value, kind) in rows if place == table]
        if values:
            connection.executemany(
                f"DELETE FROM {table} WHERE attribute = ? AND value = ? AND kind = ? AND entity = ?",  # noqa: S608
                values,
            )
    for entity, (place, key, box, _) in rows:
        if place == BOX:
            id = connection.execute(
                "DELETE FROM value_place WHERE attribute = ? AND entity = ? AND place = ? RETURNING id",
                (key, entity, repr(box)),
            ).get
            if id is not None:
                connection.execute("DELETE FROM value_box WHERE id = ?", (id,))
