# SPDX-License-Identifier: Apache-2.0
"""The values of attributes that were declared as indexed: numbers, texts, moments and places, by tenant and attribute.

Nothing is kept for any other attribute, so a hub without declarations pays one look into a dictionary for a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import apsw
import orjson

from madang.base.times import try_date_time
from madang.model.entity import Document, Instance, Json
from madang.model.query import geometry
from madang.model.query.q_tree import Path
from madang.model.query.values import Shape, Target, plain_value, targets
from madang.store.sqlite.sql import json_path, quoted

# What a row may answer. FIRST: the plain value of the first instance, by which entities are ordered too.
# OTHER: the plain value of another instance, or a text in one of the languages. MEMBER: member of an array or object of
# a relationship, which == finds but < and > do not. NAME: canonical name of a vocabulary.
FIRST, OTHER, MEMBER, NAME = range(4)

NUMBER, TEXT, TIME, BOX = "value_number", "value_text", "value_time", "value_box"

# Stands among the numbers for a first instance that is something else; it comes after all of them.
NO_NUMBER: Final = b""
TEXT_CHARACTERS_MAX: Final = 128  # longer texts are cut, so that a comparison with them must look at the document
_INTEGER_MAX: Final = 1 << 63
_FILL_ROWS: Final = 5_000

# (table, attribute key, value or box, kind)
Row: TypeAlias = tuple[str, int, Any, int]
_NOTHING: Final[Mapping[str, int]] = {}


def rows_for(document: Document | None, attributes: Mapping[str, int]) -> set[Row]:
    """Return the rows that a document has in the index; `attributes` are the declared ones with their keys."""
    rows: set[Row] = set()
    if document is None:
        return rows
    for name, key in attributes.items():
        if name in document:
            rows.update(_rows_of(name, key, document[name]))
    return rows


def _rows_of(name: str, key: int, value: Json) -> Iterator[Row]:
    for position, target in enumerate(targets({name: value}, Path((name,)))):
        first = _ordered_by(target)
        if position == 0 and not _is_number(first) and first is not None:
            yield NUMBER, key, NO_NUMBER, FIRST
        kind = _kind_of(target, position)
        for item in target.value if isinstance(target.value, list) else [target.value]:
            yield from _scalar_rows(key, plain_value(item), kind)
    instances: list[Instance] = value if isinstance(value, list) else [value]
    for instance in instances:
        if instance.get("type") == "GeoProperty":
            box = _box_of(instance.get("value"))
            if box is not None:
                yield BOX, key, box, FIRST


def _ordered_by(target: Target) -> Json:
    """Return what `madang.model.query.order` looks at: the first of several languages, if there is one."""
    if target.shape is Shape.LANGUAGES:
        return target.value[0] if target.value else None
    return target.value


def _kind_of(target: Target, position: int) -> int:
    if target.shape is Shape.VOCABULARY:
        return NAME
    if target.shape is Shape.LANGUAGES:
        # The texts of all languages compare like values of their own.
        return OTHER
    if target.shape is Shape.URIS or isinstance(target.value, list):
        return MEMBER
    return FIRST if position == 0 else OTHER


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scalar_rows(key: int, value: Json, kind: int) -> Iterator[Row]:
    if isinstance(value, str):
        yield TEXT, key, value[:TEXT_CHARACTERS_MAX], kind
        moment = try_date_time(value) if value[-1:] == "Z" and kind != NAME else None
        if moment is not None:
            yield TIME, key, moment, kind
    elif _is_number(value):
        yield NUMBER, key, value if abs(value) < _INTEGER_MAX else _double(value), kind


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _box_of(value: Json) -> geometry.Bounds | None:
    if not isinstance(value, dict):
        return None
    box = geometry.bounds(value.get("coordinates"))
    if box is None or -180 <= box[0] <= box[2] <= 180:
        return box
    # Longitudes beyond 180 stand for places on the other side: such a box is looked at for every place.
    return -180.0, box[1], 180.0, box[3]


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
            rows.extend((entity, row) for row in _rows_of(attribute, key, orjson.loads(value)))
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
        old, new = rows_for(before, attributes), rows_for(after, attributes)
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
            old, new = rows_for(before, attributes), rows_for(after, attributes)
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
