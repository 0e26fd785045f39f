# SPDX-License-Identifier: Apache-2.0
"""Reading history out of the change log, for many entities with few statements.

A statement names the entities and goes from `entity` into `change` for each of them, so that it asks the index for just
what is wanted, and so that tables distributed by entity id answer it where the rows lie.
"""

# ruff: noqa: S608 - statements are put together from constants of this package; every value is bound

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from madang.base.times import try_date_time
from madang.model.change import Operation
from madang.model.entity import Instance
from madang.model.temporal.evolution import Interval, StoredInstance
from madang.model.temporal.history import HistoryReading
from madang.model.temporal.query import Window
from madang.store.history_rules import (
    FIRST_MOMENT,
    LAST_MOMENT,
    OBSERVED_WINDOW,
    UNOBSERVED_WINDOW,
    EntityRow,
    Meta,
    Viewpoint,
    created_latest,
    holds,
    merged,
    meta_of,
    narrow,
    parts_for,
)
from madang.store.postgres.names import digest

if TYPE_CHECKING:
    import asyncpg

    from madang.store.postgres.connections import Connections
    from madang.store.postgres.names import Names

T = TypeVar("T")

# When an instance was first entered: that of its first version, if it was modified since.
_CREATED: Final = (
    "CASE WHEN c.instance IS NULL THEN c.time_us ELSE coalesce((SELECT f.time_us FROM change f "
    "WHERE f.tenant = c.tenant AND f.entity = c.entity AND f.sequence = c.instance), c.time_us) END"
)
_MOMENTS: Final = {"observedAt": "c.observed_us", "createdAt": _CREATED, "modifiedAt": "c.time_us"}
_FREE: Final = "coalesce(c.observed_us, c.time_us)"
_DELETED_US: Final = f"CASE WHEN c.operation = {int(Operation.ATTRIBUTE_DELETED)} THEN c.time_us END"
# What may have a deletedAt in its value, where Python looks for it.
_DELETED: Final = f"(c.operation = {int(Operation.ATTRIBUTE_DELETED)} OR strpos(c.value, '\"deletedAt\"') > 0)"

_NAMES_BY_TEXT: Final = "SELECT key, text FROM name WHERE md5(text) = ANY($1::text[])"
_NAMES_BY_KEY: Final = "SELECT key, text FROM name WHERE key = ANY($1::integer[])"
_ENTITIES: Final = "SELECT id, key, body FROM entity WHERE tenant = $1 AND id = ANY($2::text[])"
_ENTITY_ROWS: Final = (
    "SELECT c.entity, c.sequence, c.time_us, c.operation, c.value FROM change c "
    "WHERE c.tenant = $1 AND c.entity = ANY($2::text[]) AND c.attribute {} AND NOT c.hidden"
)
_ROWS_OF_ENTITY: Final = _ENTITY_ROWS.format("IS NULL")
_ROWS_OF_SCOPE: Final = _ENTITY_ROWS.format("= $3")
_EACH: Final = "FROM entity e CROSS JOIN LATERAL ({}) c WHERE e.tenant = $1 AND e.id = ANY($2::text[])"
_OF_ENTITY: Final = "FROM change c WHERE c.tenant = e.tenant AND c.entity = e.id AND NOT c.hidden"
_HOP: Final = "SELECT e.id, c.attribute " + _EACH.format(
    f"SELECT c.attribute {_OF_ENTITY} AND c.attribute > $3 ORDER BY c.attribute LIMIT 1"
)
_OBSERVED: Final = "SELECT e.id " + _EACH.format(
    f"SELECT 1 {_OF_ENTITY} AND c.attribute = $3 AND c.observed_us >= {FIRST_MOMENT} LIMIT 1"
)
_OF_ATTRIBUTE: Final = "WHERE c.tenant = $1 AND c.entity = ANY($2::text[]) AND c.attribute = $3 AND NOT c.hidden"
_LATEST: Final = (
    f"SELECT c.entity, c.dataset, max(c.sequence) FROM change c {_OF_ATTRIBUTE} GROUP BY c.entity, c.dataset"
)
_VALUES: Final = (
    f"SELECT c.entity, c.sequence, c.value FROM change c {_OF_ATTRIBUTE} "
    "AND c.observed_us IS NULL AND c.sequence = ANY($4::bigint[])"
)

# From so many rows on they are decoded beside the event loop.
_ROWS_AT_ONCE_MAX: Final = 200


class Snapshot:
    """One state of one tenant's log, whatever is written meanwhile."""

    def __init__(self, connections: Connections, connection: asyncpg.Connection, names: Names, tenant: int) -> None:
        self.tenant = tenant
        self._connection = connection
        self._names = names
        self._observe = connections.observe

    async def fetch(self, sql: str, *parameters: Any) -> list[asyncpg.Record]:
        """Run a statement whose first parameter is the tenant."""
        rows: list[asyncpg.Record] = await self._connection.fetch(sql, self.tenant, *parameters)
        return rows

    async def cursor(self, sql: str, *parameters: Any) -> Any:
        """Run a statement whose rows are fetched piece by piece, with `fetch(count)` of what is returned."""
        if self._observe is not None:
            self._observe(sql)  # the driver tells of no cursors
        return await self._connection.cursor(sql, self.tenant, *parameters)

    # The pool is not asked for a second connection while this one is held: that could wait for itself.

    async def keys(self, texts: Iterable[str]) -> dict[str, int]:
        """Return the keys of those names that some row has."""
        wanted = [text for text in texts if "\0" not in text]
        known = self._names.known
        missing = [digest(text) for text in wanted if text not in known]
        if missing:
            self._names.remember(await self._names_of(_NAMES_BY_TEXT, missing))
        return {text: known[text] for text in wanted if text in known}

    async def key(self, text: str) -> int | None:
        return (await self.keys([text])).get(text)

    async def texts(self, keys: Iterable[int]) -> Mapping[int, str]:
        """Return names by key, at least those of the keys."""
        missing = [key for key in keys if key not in self._names.known_texts]
        if missing:
            self._names.remember(await self._names_of(_NAMES_BY_KEY, missing))
        return self._names.known_texts

    async def _names_of(self, sql: str, parameter: list[Any]) -> list[tuple[int, str]]:
        return [(key, text) for key, text in await self._connection.fetch(sql, parameter)]


@contextlib.asynccontextmanager
async def snapshot(connections: Connections, names: Names, tenant: int) -> AsyncIterator[Snapshot]:
    """Lend a snapshot for several statements."""
    async with (
        connections.reading() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield Snapshot(connections, connection, names, tenant)


async def beside(function: Callable[..., T], rows: Sequence[Any], *more: Any) -> T:
    """Call a function on rows, on another thread when they are many."""
    if len(rows) <= _ROWS_AT_ONCE_MAX:
        return function(rows, *more)
    return await asyncio.to_thread(function, rows, *more)


# ---------------------------------------------------------------------- entities


async def read_metas(log: Snapshot, ids: Sequence[str], *, scopes: bool = True) -> dict[str, Meta]:
    """Return what is known of the entities that have or had a state or history, in the order of the ids.

    Without `scopes` the rows of scopes are left out where an entity has a current state to tell what it is.
    """
    wanted = [id for id in dict.fromkeys(ids) if "\0" not in id]
    entities = await log.fetch(_ENTITIES, wanted) if wanted else []
    if not entities:
        return {}
    rows = await log.fetch(_ROWS_OF_ENTITY, wanted)
    scope = await log.key("scope")
    scoped = [id for id, _, body in entities if scopes or body is None]
    if scope is not None and scoped:
        rows += await log.fetch(_ROWS_OF_SCOPE, scoped, scope)
    return await beside(_metas, entities, rows, wanted)


def _metas(entities: Sequence[Any], rows: Sequence[Any], ids: Sequence[str]) -> dict[str, Meta]:
    told: dict[str, list[EntityRow]] = {}
    for id, sequence, time_us, operation, text in rows:
        value = None if text is None else orjson.loads(text)
        told.setdefault(id, []).append(EntityRow(sequence, time_us, operation, value))
    found = {
        id: meta_of(key, id, None if body is None else orjson.loads(body), told.get(id, ()))
        for id, key, body in entities
    }
    return {id: found[id] for id in ids if id in found}


async def attribute_names(log: Snapshot, metas: Mapping[str, Meta]) -> dict[str, list[str]]:
    """Return the attributes of which each entity has history, without its scope.

    They are found by hops along the index; entities that stand at the same attribute hop together.
    """
    keys: dict[str, list[int]] = {id: [] for id in metas}
    standing: dict[int, list[str]] = {0: list(metas)}
    while standing:
        last = min(standing)
        for id, key in await log.fetch(_HOP, standing.pop(last), last):
            keys[id].append(key)
            standing.setdefault(key, []).append(id)
    texts = await log.texts({key for some in keys.values() for key in some})
    found = {}
    for id, meta in metas.items():
        names = dict.fromkeys([*meta.created, *(texts[key] for key in keys[id])])
        names.pop("scope", None)
        found[id] = list(names)
    return found


async def chosen_attributes(
    log: Snapshot, metas: Mapping[str, Meta], attributes: Sequence[str] | None, excluded: Sequence[str]
) -> dict[str, list[str]]:
    """Return by name the entities with that attribute, of those attributes that are asked for.

    An attribute that is named stands for every entity, whether it has it or not.
    """
    if attributes is not None:
        asked = [name for name in dict.fromkeys(attributes) if name not in excluded and name != "scope"]
        return {name: list(metas) for name in asked}
    chosen: dict[str, list[str]] = {}
    for id, names in (await attribute_names(log, metas)).items():
        for name in names:
            if name not in excluded:
                chosen.setdefault(name, []).append(id)
    return chosen


# ---------------------------------------------------------------------- statements


class Conditions:
    """The conditions of one reading on change rows `c`, and the values they are bound to.

    Every statement has the tenant as $1 and the entities as $2; what is added here comes behind.
    """

    def __init__(self, *parameters: Any) -> None:
        self.parameters: list[Any] = list(parameters)
        self._parts: list[str] = []

    def bind(self, value: Any, type: str) -> str:
        """Return the place of one more value."""
        self.parameters.append(value)
        return f"${len(self.parameters) + 1}::{type}"

    def add(self, sql: str) -> None:
        self._parts.append(sql)

    def window(self, window: Window, part: Interval) -> str | None:
        """Add that a row lies in a part of the window; return the SQL of its moment, None when Python finds it."""
        if window.time_property == "deletedAt":
            self.add(_DELETED)
            return None
        moment = _FREE if window.free else _MOMENTS[window.time_property]
        if not window.free or part != (None, None):
            # Both bounds always: the text stays the same, and rows without the time are left out.
            start_us = FIRST_MOMENT if part[0] is None else part[0]
            end_us = LAST_MOMENT if part[1] is None else part[1]
            self.add(f"{moment} >= {self.bind(start_us, 'bigint')} AND {moment} < {self.bind(end_us, 'bigint')}")
        return moment

    def datasets(self, datasets: Sequence[str], keys: Mapping[str, int]) -> None:
        """Add that a row is of one of the datasets; "@none" is the default instance."""
        if not datasets:
            return
        known = [keys[dataset] for dataset in datasets if dataset in keys]
        sql = f"c.dataset = ANY({self.bind(known, 'integer[]')})"
        self.add(f"(c.dataset IS NULL OR {sql})" if "@none" in datasets else sql)

    def not_expired(self, now: str) -> None:
        """Add that a row has not expired: that is gone from history too (clause 4.22).

        Few instances expire, so the text is looked at first. PostgreSQL cannot read U+0000; what it is read as does
        not matter here.
        """
        self.add(
            "(strpos(c.value, '\"expiresAt\"') = 0 OR "
            "coalesce(replace(c.value, '\\u0000', '\\u0020')::json ->> 'expiresAt', '9999') COLLATE \"C\" > "
            f"{self.bind(now, 'text')})"
        )

    @property
    def sql(self) -> str:
        return "".join(f" AND {part}" for part in self._parts)


# ---------------------------------------------------------------------- instances


class AttributeReader:
    """Reads the instances of attributes of many entities, in the order of time or against it."""

    def __init__(self, log: Snapshot, reading: HistoryReading) -> None:
        self._log = log
        self._reading = reading
        self.viewpoint = Viewpoint(reading)

    async def rows(
        self,
        name: str,
        metas: Iterable[Meta],
        *,
        descending: bool,
        limit: int | None = None,
        bound: Interval = (None, None),
    ) -> dict[str, list[StoredInstance]]:
        """Return instances of an attribute by entity: at most `limit` of each, and inside `bound`."""
        groups: dict[tuple[Interval, ...], dict[str, Meta]] = {}
        for meta in metas:
            parts = tuple(parts_for(self._reading, meta.evolution.id))
            groups.setdefault(parts, {})[meta.evolution.id] = meta
        found: dict[str, list[StoredInstance]] = {}
        for parts, group in groups.items():
            for part in reversed(parts) if descending else parts:
                narrowed = narrow(part, bound)
                if narrowed is None:
                    continue
                pending = {id: meta for id, meta in group.items() if limit is None or len(found.get(id, ())) < limit}
                part_rows = await self._part(name, pending, narrowed, descending=descending, limit=limit)
                for id, rows in part_rows.items():
                    found[id] = (found.get(id, []) + rows)[:limit]
        return {id: rows for id, rows in found.items() if rows}

    async def _part(
        self, name: str, metas: Mapping[str, Meta], part: Interval, *, descending: bool, limit: int | None
    ) -> dict[str, list[StoredInstance]]:
        key = await self._log.key(name)
        found: dict[str, list[StoredInstance]] = {}
        if key is not None and metas:
            for window in self._windows():
                rows = await self._query(key, list(metas), window, part, descending=descending, limit=limit)
                for id, some in rows.items():
                    before = found.get(id)
                    found[id] = some if before is None else merged(before, some, descending=descending, limit=limit)
        for id, meta in metas.items():
            created = self.viewpoint.created(meta, name, part)
            if created:
                found[id] = merged(found.get(id, []), created, descending=descending, limit=limit)
        return found

    def _windows(self) -> Sequence[Window]:
        # Two reads that the index can serve in order, where one over both kinds of times would have to sort.
        window = self._reading.window
        return (OBSERVED_WINDOW, UNOBSERVED_WINDOW) if window.free else (window,)

    async def _query(
        self, key: int, ids: list[str], window: Window, part: Interval, *, descending: bool, limit: int | None
    ) -> dict[str, list[StoredInstance]]:
        reading = self._reading
        given = Conditions(ids, key)
        if window is UNOBSERVED_WINDOW:
            given.add("c.observed_us IS NULL")
        moment = given.window(window, part)
        given.datasets(reading.datasets, await self._log.keys(reading.datasets))
        given.not_expired(reading.now)
        direction = "DESC" if descending else "ASC"
        order = "" if moment is None else f"ORDER BY {moment} {direction}, c.sequence {direction} "
        most = "" if moment is None else f"LIMIT {given.bind(limit, 'bigint')}"
        sql = "SELECT e.id, c.sequence, c.instance, c.moment_us, c.created_us, c.time_us, c.value " + _EACH.format(
            f"SELECT c.sequence, c.instance, {moment or _DELETED_US} AS moment_us, {_CREATED} AS created_us, "
            f"c.time_us, c.value {_OF_ENTITY} AND c.attribute = $3{given.sql} {order}{most}"
        )
        rows = await self._log.fetch(sql, *given.parameters)
        return await beside(self._stored, rows, part, descending, limit)

    def _stored(
        self, rows: Sequence[Any], part: Interval, descending: bool, limit: int | None
    ) -> dict[str, list[StoredInstance]]:
        by_entity: dict[str, list[tuple[int, int, StoredInstance]]] = {}
        for id, sequence, instance, moment, created_us, time_us, text in rows:
            value: Instance | None = orjson.loads(text)
            if value is not None and '"expiresAt"' in text:
                value = self.viewpoint.live(value)
            if value is None:
                continue
            moment_us = try_date_time(value.get("deletedAt")) if moment is None else moment
            if moment_us is not None and holds(part, moment_us):
                stored = StoredInstance(instance or sequence, moment_us, created_us, time_us, value)
                by_entity.setdefault(id, []).append((moment_us, sequence, stored))
        found = {}
        for id, some in by_entity.items():
            some.sort(key=itemgetter(0, 1), reverse=descending)
            found[id] = [stored for _, _, stored in some[:limit]]
        return found

    # ------------------------------------------------------------------ what holds all the time

    async def constant(self, name: str, metas: Iterable[Meta]) -> dict[str, list[Instance]]:
        """Return the latest instances of an attribute by entity, of those that never had one with an observedAt."""
        latest = {meta.evolution.id: found for meta in metas if (found := created_latest(meta, name)) is not None}
        key = await self._log.key(name)
        if key is not None and latest:
            for (id,) in await self._log.fetch(_OBSERVED, list(latest), key):
                del latest[id]
            await self._find_latest(key, latest)
        return {id: instances for id, each in latest.items() if (instances := self.viewpoint.constant(each))}

    async def _find_latest(self, key: int, latest: dict[str, dict[str | None, tuple[int, Instance]]]) -> None:
        ids = list(latest)
        sequences = [sequence for _, _, sequence in await self._log.fetch(_LATEST, ids, key)]
        if not sequences:
            return
        for id, sequence, text in await self._log.fetch(_VALUES, ids, key, sequences):
            value = orjson.loads(text)
            if sequence > latest[id].get(value.get("datasetId"), (0, {}))[0]:
                latest[id][value.get("datasetId")] = (sequence, value)

    # ------------------------------------------------------------------ whether there is something

    async def told(
        self, ids: Sequence[str], part: Interval, attributes: Sequence[str], excluded: Sequence[str]
    ) -> set[str]:
        """Return the entities with a row of an asked attribute (none: of any) in a part of the window.

        Instances that entities were created with are not looked at.
        """
        if not ids:
            return set()
        reading = self._reading
        given = Conditions(list(ids))
        if attributes:
            keys = await self._log.keys(name for name in attributes if name not in excluded)
            given.add(f"c.attribute = ANY({given.bind(list(keys.values()), 'integer[]')})")
        else:
            keys = await self._log.keys(("scope", *excluded))
            given.add(f"c.attribute > 0 AND c.attribute <> ALL({given.bind(list(keys.values()), 'integer[]')})")
        moment = given.window(reading.window, part)
        given.datasets(reading.datasets, await self._log.keys(reading.datasets))
        given.not_expired(reading.now)
        if moment is not None:
            sql = "SELECT e.id " + _EACH.format(f"SELECT 1 {_OF_ENTITY}{given.sql} LIMIT 1")
            return {id for (id,) in await self._log.fetch(sql, *given.parameters)}
        columns = f"{_DELETED_US} AS moment_us, c.value"
        sql = "SELECT e.id, c.moment_us, c.value " + _EACH.format(f"SELECT {columns} {_OF_ENTITY}{given.sql}")
        return await beside(_deleted_in, await self._log.fetch(sql, *given.parameters), part)

    async def created_in(self, ids: Sequence[str]) -> set[str]:
        """Return the entities whose creation has to be looked at for instances in the window."""
        window = self._reading.window
        if not ids or window.time_property == "deletedAt":
            return set()
        given = Conditions(list(ids))
        given.add(f"c.operation = {int(Operation.ENTITY_CREATED)}")
        if window.time_property != "observedAt":
            given.window(Window("modifiedAt", named=True), (window.start_us, window.end_us))
        elif not window.free:
            given.add("strpos(c.value, '\"observedAt\"') > 0")
        sql = (
            "SELECT DISTINCT c.entity FROM change c WHERE c.tenant = $1 AND c.entity = ANY($2::text[]) "
            f"AND c.attribute IS NULL AND NOT c.hidden{given.sql}"
        )
        return {id for (id,) in await self._log.fetch(sql, *given.parameters)}


def _deleted_in(rows: Sequence[Any], part: Interval) -> set[str]:
    found = set()
    for id, time_us, text in rows:
        moment_us = try_date_time(orjson.loads(text).get("deletedAt")) if time_us is None else time_us
        if moment_us is not None and holds(part, moment_us):
            found.add(id)
    return found
