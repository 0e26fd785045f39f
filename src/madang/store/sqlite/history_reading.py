# SPDX-License-Identifier: Apache-2.0
"""Reading history out of the change log: SQL for windows, entities and the instances of attributes."""

# ruff: noqa: S608 - statements are put together from constants of this package; every value is bound

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import apsw
import orjson

from madang.base.times import try_date_time
from madang.model.change import Operation
from madang.model.entity import Document, Instance
from madang.model.temporal.evolution import Interval, StoredInstance
from madang.model.temporal.history import HistoryReading
from madang.model.temporal.query import Window
from madang.store.history_rules import (
    FIRST_MOMENT,
    OBSERVED_WINDOW,
    UNOBSERVED_WINDOW,
    EntityRow,
    Meta,
    Viewpoint,
    created_latest,
    merged,
    meta_of,
    narrow,
)

# When an instance was first entered: that of its first version, if it was modified since.
_CREATED: Final = "ifnull((SELECT f.time_us FROM change f WHERE f.sequence = c.instance), c.time_us)"
_DELETED: Final = (
    f"CASE WHEN c.operation = {int(Operation.ATTRIBUTE_DELETED)} THEN c.time_us "
    "ELSE date_time_us(json_extract(c.value, '$.deletedAt')) END"
)
OBSERVED: Final = "c.observed_us"
_MOMENTS: Final = {"observedAt": OBSERVED, "createdAt": _CREATED, "modifiedAt": "c.time_us", "deletedAt": _DELETED}
_FREE: Final = "ifnull(c.observed_us, c.time_us)"

# What has expired is gone from history too (clause 4.22); few instances expire, so the text is looked at first.
NOT_EXPIRED: Final = "(instr(c.value, '\"expiresAt\"') = 0 OR ifnull(json_extract(c.value, '$.expiresAt'), '9999') > ?)"


class Names(NamedTuple):
    """The store's interned names, both ways."""

    keys: Mapping[str, int]
    texts: Mapping[int, str]


class Condition(NamedTuple):
    sql: str
    parameters: tuple[Any, ...]


def _date_time_us(*texts: object) -> int | None:
    return try_date_time(texts[0])


def register(connection: apsw.Connection) -> None:
    """Make the functions that the SQL here uses known to a connection."""
    connection.create_scalar_function("date_time_us", _date_time_us, 1, deterministic=True)


# ---------------------------------------------------------------------- windows


def moment_of(window: Window) -> str:
    """Return the SQL of the time that a window is about, of change row `c`."""
    return _FREE if window.free else _MOMENTS[window.time_property]


def in_window(window: Window, interval: Interval | None = None) -> Condition:
    """Return the condition that change row `c` lies in the window, or in a part of it."""
    moment = moment_of(window)
    start_us, end_us = (window.start_us, window.end_us) if interval is None else interval
    if moment is OBSERVED and start_us is None:
        start_us = FIRST_MOMENT  # a range that the index can start at; it leaves out rows without the time
    parts = [] if start_us is not None or window.free else [f"{moment} IS NOT NULL"]
    parameters: list[Any] = []
    if window.time_property == "deletedAt":
        parts.append(f"(c.operation = {int(Operation.ATTRIBUTE_DELETED)} OR instr(c.value, '\"deletedAt\"') > 0)")
    if start_us is not None:
        parts.append(f"{moment} >= ?")
        parameters.append(start_us)
    if end_us is not None:
        parts.append(f"{moment} < ?")
        parameters.append(end_us)
    return Condition(" AND ".join(parts) or "1", tuple(parameters))


def in_datasets(datasets: Sequence[str], names: Names) -> Condition:
    """Return the condition that change row `c` is of one of the datasets; "@none" is the default instance."""
    if not datasets:
        return Condition("1", ())
    keys = [names.keys[dataset] for dataset in datasets if dataset in names.keys]
    sql = f"c.dataset IN ({', '.join('?' * len(keys))})"
    return Condition(f"(c.dataset IS NULL OR {sql})" if "@none" in datasets else sql, tuple(keys))


# ---------------------------------------------------------------------- entities


def read_meta(connection: apsw.Connection, names: Names, tenant: int, id: str) -> Meta | None:
    """Return what is known of an entity that has or had a state or history; None when nothing is."""
    row = connection.execute("SELECT key, json(body) FROM entity WHERE tenant = ? AND id = ?", (tenant, id)).fetchone()
    if row is None:
        return None
    key: int = row[0]
    document: Document | None = None if row[1] is None else orjson.loads(row[1])
    rows: list[EntityRow] = []
    sql = "SELECT sequence, time_us, operation, value FROM change WHERE entity = ? AND hidden = 0 AND attribute IS ?"
    for attribute in (None, names.keys.get("scope", -1)):
        for sequence, time_us, operation, text in connection.execute(sql, (key, attribute)):
            rows.append(EntityRow(sequence, time_us, operation, None if text is None else orjson.loads(text)))
    return meta_of(key, id, document, rows)


def attribute_names(connection: apsw.Connection, names: Names, meta: Meta) -> list[str]:
    """Return the attributes of which an entity has history, without its scope; found by hops along the index."""
    sql = "SELECT min(attribute) FROM change WHERE entity = ? AND hidden = 0 AND attribute > ?"
    found = dict.fromkeys(meta.created)
    last = 0
    while (following := connection.execute(sql, (meta.key, last)).get) is not None:
        last = following
        found[names.texts[last]] = None
    found.pop("scope", None)
    return list(found)


def chosen_attributes(
    connection: apsw.Connection, names: Names, meta: Meta, attributes: Sequence[str] | None, excluded: Sequence[str]
) -> list[str]:
    """Return those attributes of an entity that are asked for."""
    if attributes is None:
        return [name for name in attribute_names(connection, names, meta) if name not in excluded]
    return [name for name in dict.fromkeys(attributes) if name not in excluded and name != "scope"]


# ---------------------------------------------------------------------- instances


class AttributeReader:
    """Reads the instances of one attribute of one entity, in the order of time or against it."""

    def __init__(
        self, connection: apsw.Connection, names: Names, meta: Meta, reading: HistoryReading, parts: Sequence[Interval]
    ) -> None:
        self._connection = connection
        self._keys = names.keys
        self._meta = meta
        self._reading = reading
        self._parts = parts
        self._datasets = in_datasets(reading.datasets, names)
        self._viewpoint = Viewpoint(reading)

    def rows(
        self, name: str, *, descending: bool, limit: int | None = None, bound: Interval = (None, None)
    ) -> list[StoredInstance]:
        """Return instances of an attribute: at most `limit`, and inside `bound`."""
        found: list[StoredInstance] = []
        for part in reversed(self._parts) if descending else self._parts:
            narrowed = narrow(part, bound)
            if narrowed is not None:
                left = None if limit is None else limit - len(found)
                found += self._part(name, narrowed, descending=descending, limit=left)
                if limit is not None and len(found) >= limit:
                    break
        return found

    def _part(self, name: str, part: Interval, *, descending: bool, limit: int | None) -> list[StoredInstance]:
        key = self._keys.get(name)
        found = [] if key is None else self._in_rows(key, part, descending=descending, limit=limit)
        created = self.created(name, part)
        return merged(found, created, descending=descending, limit=limit) if created else found

    def _in_rows(self, key: int, part: Interval, *, descending: bool, limit: int | None) -> list[StoredInstance]:
        window = self._reading.window
        if not window.free:
            return self._query(key, window, part, descending=descending, limit=limit)
        # Two reads that the index can serve in order, where one over both kinds of times would have to sort.
        found = self._query(key, OBSERVED_WINDOW, part, descending=descending, limit=limit)
        unobserved = self._query(key, UNOBSERVED_WINDOW, part, descending=descending, limit=limit)
        return merged(found, unobserved, descending=descending, limit=limit) if unobserved else found

    def _query(
        self, key: int, window: Window, part: Interval, *, descending: bool, limit: int | None
    ) -> list[StoredInstance]:
        inside = in_window(window, part)
        if window is UNOBSERVED_WINDOW:
            inside = Condition(f"c.observed_us IS NULL AND {inside.sql}", inside.parameters)
        moment = moment_of(window)
        direction = "DESC" if descending else "ASC"
        # A modified instance is rare; only then is the time of its first version looked up.
        sql = (
            f"SELECT c.sequence, c.instance, {moment}, CASE WHEN c.instance IS NULL THEN c.time_us ELSE {_CREATED} "
            "END, c.time_us, c.value FROM change c WHERE c.entity = ? AND c.attribute = ? AND c.hidden = 0 "
            f"AND {inside.sql} AND {self._datasets.sql} AND {NOT_EXPIRED} "
            f"ORDER BY {moment} {direction}, c.sequence {direction} LIMIT ?"
        )
        parameters = (
            *(self._meta.key, key, *inside.parameters, *self._datasets.parameters),
            *(self._reading.now, -1 if limit is None else limit),
        )
        found = []
        for sequence, instance, moment_us, created_us, modified_us, text in self._connection.execute(sql, parameters):
            value = self._viewpoint.live(orjson.loads(text)) if '"expiresAt"' in text else orjson.loads(text)
            if value is not None:
                found.append(StoredInstance(instance or sequence, moment_us, created_us, modified_us, value))
        return found

    def created(self, name: str, part: Interval) -> list[StoredInstance]:
        """Return the instances that the attribute was created with."""
        return self._viewpoint.created(self._meta, name, part)

    def constant(self, name: str) -> list[Instance]:
        """Return the latest instances of an attribute none of whose instances has an observedAt."""
        latest = created_latest(self._meta, name)
        if latest is None:
            return []
        key = self._keys.get(name)
        if key is not None:
            probe = (
                "SELECT 1 FROM change WHERE entity = ? AND attribute = ? AND hidden = 0 AND observed_us >= ? LIMIT 1"
            )
            if self._connection.execute(probe, (self._meta.key, key, FIRST_MOMENT)).get is not None:
                return []
            sql = (
                "SELECT max(sequence), value FROM change "
                "WHERE entity = ? AND attribute = ? AND hidden = 0 GROUP BY dataset"
            )
            for sequence, text in self._connection.execute(sql, (self._meta.key, key)):
                value = orjson.loads(text)
                if sequence > latest.get(value.get("datasetId"), (0,))[0]:
                    latest[value.get("datasetId")] = (sequence, value)
        return self._viewpoint.constant(latest)
