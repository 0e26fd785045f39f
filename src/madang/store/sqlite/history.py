# SPDX-License-Identifier: Apache-2.0
"""The history half of the embedded store: temporal questions answered from the change log."""

# ruff: noqa: S608 - statements are put together from constants of this package; every value is bound

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import orjson

from madang.model.change import Operation
from madang.model.query.model import EntitySelector
from madang.model.temporal.evolution import (
    Interval,
    StoredInstance,
    scope_intervals,
    scope_states,
    shown_scopes,
    windowed_document,
)
from madang.model.temporal.history import (
    AggregatedEvolution,
    HistoryFound,
    HistoryPage,
    HistoryQuestion,
    HistoryReading,
    HistoryState,
    HistoryVersion,
)
from madang.model.temporal.query import Aggregation, Window
from madang.store.history_rules import (
    CORE_OPERATIONS,
    Cut,
    Meta,
    Selection,
    is_made_by_history,
    is_told,
    parts_for,
    state_of,
    window_parts,
)
from madang.store.sqlite.history_aggregation import aggregated
from madang.store.sqlite.history_reading import (
    NOT_EXPIRED,
    AttributeReader,
    Condition,
    Names,
    attribute_names,
    chosen_attributes,
    in_datasets,
    in_window,
    read_meta,
    register,
)

T = TypeVar("T")


class SqliteHistory:
    """A part of `SqliteStore`, which gives it connections and threads."""

    if TYPE_CHECKING:
        tenant_keys: dict[str, int]
        name_keys: dict[str, int]
        name_texts: dict[int, str]

        def reader(self) -> apsw.Connection: ...

        async def run(self, function: Callable[..., T], *args: Any) -> T: ...

    async def history_find(self, tenant: str, question: HistoryQuestion) -> HistoryFound:
        key = self.tenant_keys.get(tenant)
        if key is None:
            return HistoryFound([], 0 if question.count else None)
        return await self.run(lambda: _Search(self._history_connection(), self._names, key, question).run())

    async def history_read(self, tenant: str, ids: Sequence[str], reading: HistoryReading) -> HistoryPage:
        key = self.tenant_keys.get(tenant, 0)
        return await self.run(lambda: _Page(self._history_connection(), self._names, key, reading).read(ids))

    async def history_aggregate(
        self, tenant: str, ids: Sequence[str], reading: HistoryReading, aggregation: Aggregation
    ) -> list[AggregatedEvolution]:
        key = self.tenant_keys.get(tenant, 0)

        def read() -> list[AggregatedEvolution]:
            connection = self._history_connection()
            metas = (read_meta(connection, self._names, key, id) for id in ids)
            found = (aggregated(connection, self._names, meta, reading, aggregation) for meta in metas if meta)
            return [each for each in found if each is not None]

        return await self.run(read)

    async def history_state(self, tenant: str, id: str) -> HistoryState | None:
        return await self.run(self._history_state, self.tenant_keys.get(tenant, 0), id)

    def _history_state(self, tenant: int, id: str) -> HistoryState | None:
        connection = self._history_connection()
        meta = read_meta(connection, self._names, tenant, id)
        if meta is None:
            return None
        if not is_told(meta) and not attribute_names(connection, self._names, meta):
            return None
        sql = f"SELECT 1 FROM change WHERE entity = ? AND hidden = 0 AND operation IN ({_CORE_OPERATIONS}) LIMIT 1"
        by_history = is_made_by_history(meta) and connection.execute(sql, (meta.key,)).get is None
        return state_of(meta, by_history_only=by_history)

    async def history_version(self, tenant: str, id: str, attribute: str, instance: int) -> HistoryVersion | None:
        return await self.run(self._history_version, self.tenant_keys.get(tenant, 0), id, attribute, instance)

    def _history_version(self, tenant: int, id: str, attribute: str, instance: int) -> HistoryVersion | None:
        connection = self._history_connection()
        meta = read_meta(connection, self._names, tenant, id)
        if meta is None:
            return None
        for each in meta.created.get(attribute, ()):
            if each.sequence == instance:
                stored = StoredInstance(instance, each.time_us, each.time_us, each.time_us, each.value)
                return HistoryVersion(instance, each.dataset, stored)
        of = (meta.key, self.name_keys.get(attribute, 0), instance)
        columns = "sequence, dataset, time_us, value FROM change WHERE hidden = 0 AND entity = ? AND attribute = ?"
        row = connection.execute(f"SELECT {columns} AND sequence = ? AND instance IS NULL", of).fetchone()
        row = row or connection.execute(f"SELECT {columns} AND instance = ?", of).fetchone()
        if row is None:
            return None
        sequence, dataset, time_us, value = row
        created_us = connection.execute("SELECT time_us FROM change WHERE sequence = ?", (instance,)).get or time_us
        stored = StoredInstance(instance, time_us, created_us, time_us, orjson.loads(value))
        return HistoryVersion(sequence, self.name_texts.get(dataset), stored)

    async def history_sequences(
        self, tenant: str, id: str, attribute: str, *, dataset: str | None = None, all_datasets: bool = False
    ) -> tuple[list[int], bool]:
        def read() -> list[tuple[int, str | None]]:
            return self._history_rows(self.tenant_keys.get(tenant, 0), id, attribute)

        rows = await self.run(read)
        return [sequence for sequence, of in rows if all_datasets or of == dataset], bool(rows)

    def _history_rows(self, tenant: int, id: str, attribute: str) -> list[tuple[int, str | None]]:
        """Return sequence and dataset of each instance of an attribute."""
        connection = self._history_connection()
        meta = read_meta(connection, self._names, tenant, id)
        if meta is None:
            return []
        sql = "SELECT sequence, dataset FROM change WHERE entity = ? AND attribute = ? AND hidden = 0"
        rows = connection.execute(sql, (meta.key, self.name_keys.get(attribute, 0)))
        found = [(sequence, self.name_texts.get(dataset)) for sequence, dataset in rows]
        if attribute == "scope":
            return [*found, *((row.sequence, None) for row in meta.rows if row.operation is Operation.SCOPE_CHANGED)]
        return [*found, *((each.sequence, each.dataset) for each in meta.created.get(attribute, ()))]

    async def history_same(self, tenant: str, id: str, keys: Sequence[tuple[str, str | None, int]]) -> list[int]:
        return await self.run(self._history_same, self.tenant_keys.get(tenant, 0), id, keys)

    def _history_same(self, tenant: int, id: str, keys: Sequence[tuple[str, str | None, int]]) -> list[int]:
        connection = self._history_connection()
        meta = read_meta(connection, self._names, tenant, id)
        if meta is None:
            return []
        sql = (
            "SELECT sequence FROM change "
            "WHERE entity = ? AND attribute = ? AND observed_us = ? AND dataset IS ? AND hidden = 0"
        )
        found: list[int] = []
        for attribute, dataset, observed_us in keys:
            of = None if dataset is None else self.name_keys.get(dataset, 0)
            rows = connection.execute(sql, (meta.key, self.name_keys.get(attribute, 0), observed_us, of))
            found += [row[0] for row in rows]
            for each in meta.created.get(attribute, ()):
                if each.dataset == dataset and each.observed_us == observed_us:
                    found.append(each.sequence)
        return found

    @property
    def _names(self) -> Names:
        return Names(self.name_keys, self.name_texts)

    def _history_connection(self) -> apsw.Connection:
        connection = self.reader()
        register(connection)
        return connection


_CORE_OPERATIONS = ", ".join(str(int(operation)) for operation in CORE_OPERATIONS)


# ---------------------------------------------------------------------- questions


class _Search:
    """Finds the entities of one question, going through the candidates that SQL leaves over."""

    def __init__(self, connection: apsw.Connection, names: Names, tenant: int, question: HistoryQuestion) -> None:
        self._connection = connection
        self._names = names
        self._tenant = tenant
        self._question = question
        self._selection = Selection(question.selectors)
        self._intervals: dict[str, Sequence[Interval]] = {}

    def run(self) -> HistoryFound:
        question = self._question
        end = question.offset + question.limit
        ids: list[str] = []
        number = 0
        for id in self._matching():
            if question.offset <= number < end:
                ids.append(id)
            number += 1
            if number > end and not question.count:
                break
        intervals = {id: self._intervals[id] for id in ids if id in self._intervals}
        return HistoryFound(ids, number if question.count else None, number > end, intervals)

    def _matching(self) -> Iterator[str]:
        question = self._question
        plain = question.test is None and question.scope is None and self._selection.plain
        sql, parameters = self._candidates()
        for id, past, told in self._connection.execute(sql, parameters):
            if (plain and told and not past) or self._fits(id, told=told):
                yield id

    def _fits(self, id: str, *, told: bool) -> bool:
        if not self._selection.may_fit(id):
            return False
        meta = read_meta(self._connection, self._names, self._tenant, id)
        if meta is None or not self._selection.fits(id, meta.evolution.types):
            return False
        return (told or self._was_created_with(meta)) and self._passes(meta) and self._in_scope(meta)

    def _reader(
        self, meta: Meta, parts: Sequence[Interval] | None = None, datasets: tuple[str, ...] = ()
    ) -> AttributeReader:
        reading = HistoryReading(self._question.window, datasets=datasets, now=self._question.now)
        return AttributeReader(self._connection, self._names, meta, reading, parts or window_parts(reading))

    def _asked(self, meta: Meta) -> list[str]:
        question = self._question
        return chosen_attributes(self._connection, self._names, meta, question.attributes or None, question.excluded)

    def _was_created_with(self, meta: Meta) -> bool:
        """Tell whether an instance of the entity's creation lies in the window; SQL does not look into those."""
        window = self._question.window
        reader = self._reader(meta, datasets=self._question.datasets)
        return any(reader.created(name, (window.start_us, window.end_us)) for name in self._asked(meta))

    def _passes(self, meta: Meta) -> bool:
        test = self._question.test
        if test is None:
            return True
        reader = self._reader(meta)
        timed = self._question.window.time_property == "observedAt"
        instances = []
        for name in sorted(test.attributes):
            inside = [row.value for row in reader.rows(name, descending=False)]
            # C.5.5: an attribute without temporal evolution holds all the time.
            instances.append((name, inside or (reader.constant(name) if timed else [])))
        return test.matches(windowed_document(meta.evolution.id, meta.evolution.types, instances, meta.document))

    def _in_scope(self, meta: Meta) -> bool:
        """Tell whether the entity has an instance while its scope fulfils the question (4.18, C.5.16)."""
        question = self._question
        if question.scope is None:
            return True
        parts = scope_intervals(scope_states(meta.rows), question.scope, question.window)
        if not parts:
            return False
        reader = self._reader(meta, parts, question.datasets)
        if not any(reader.rows(name, descending=False, limit=1) for name in self._asked(meta)):
            return False
        self._intervals[meta.evolution.id] = parts
        return True

    # ------------------------------------------------------------------ SQL

    def _candidates(self) -> tuple[str, tuple[Any, ...]]:
        question = self._question
        told, created = self._told(), self._created()
        conditions = [Condition("e.tenant = ?", (self._tenant,)), *self._narrowing()]
        order = "e.key" if question.descending is None else "e.id DESC" if question.descending else "e.id"
        where = " AND ".join(condition.sql for condition in conditions)
        sql = (
            f"SELECT e.id, e.body IS NULL, {told.sql} AS told FROM entity e "
            f"WHERE {where} AND (told OR {created.sql}) ORDER BY {order}"
        )
        narrowing = (value for condition in conditions for value in condition.parameters)
        # SQLite puts the text of `told` where its name stands, but binds its values once.
        return sql, (*told.parameters, *narrowing, *created.parameters)

    def _narrowing(self) -> list[Condition]:
        question = self._question
        narrowed: list[Condition] = []
        if question.only is not None:
            narrowed.append(_one_of_ids(sorted(question.only)))
        selectors = question.selectors
        if selectors and all(selector.ids for selector in selectors):
            narrowed.append(_one_of_ids([id for selector in selectors for id in selector.ids]))
        if selectors and all(selector.types is not None for selector in selectors):
            narrowed.append(self._typed(selectors))
        return narrowed

    def _typed(self, selectors: Sequence[EntitySelector]) -> Condition:
        """Return the condition that a current entity has the types, or that no current state tells its types."""
        groups = [group for selector in selectors if selector.types is not None for group in selector.types.any_of]
        parts, parameters = [], []
        for group in groups:
            sql = " INTERSECT ".join(["SELECT key FROM entity_type WHERE tenant = ? AND type = ?"] * len(group))
            parts.append(f"SELECT key FROM ({sql})")
            parameters += [value for name in group for value in (self._tenant, name)]
        parts.append("SELECT key FROM entity WHERE tenant = ? AND body IS NULL")
        return Condition(f"e.key IN ({' UNION '.join(parts)})", (*parameters, self._tenant))

    def _told(self) -> Condition:
        """Return the condition that the entity has a row of an asked attribute in the window."""
        question = self._question
        inside = in_window(question.window)
        datasets = in_datasets(question.datasets, self._names)
        keys = self._names.keys
        if question.attributes:
            known = [keys[name] for name in question.attributes if name in keys and name not in question.excluded]
            attributes = Condition(f"c.attribute IN ({', '.join('?' * len(known))})", tuple(known))
        else:
            out = [keys[name] for name in ("scope", *question.excluded) if name in keys]
            attributes = Condition(f"c.attribute > 0 AND c.attribute NOT IN ({', '.join('?' * len(out))})", tuple(out))
        sql = (
            f"EXISTS (SELECT 1 FROM change c WHERE c.entity = e.key AND {attributes.sql} AND c.hidden = 0 "
            f"AND {inside.sql} AND {datasets.sql} AND {NOT_EXPIRED})"
        )
        return Condition(sql, (*attributes.parameters, *inside.parameters, *datasets.parameters, question.now))

    def _created(self) -> Condition:
        """Return the condition that the instances the entity was created with have to be looked at."""
        window = self._question.window
        if window.time_property == "deletedAt":
            return Condition("0", ())
        if window.free:
            inside = Condition("1", ())
        elif window.time_property == "observedAt":
            inside = Condition("instr(c.value, '\"observedAt\"') > 0", ())
        else:
            inside = in_window(Window("modifiedAt", True, window.relation, window.start_us, window.end_us))
        sql = (
            "EXISTS (SELECT 1 FROM change c WHERE c.entity = e.key AND c.attribute IS NULL AND c.hidden = 0 "
            f"AND c.operation = {int(Operation.ENTITY_CREATED)} AND {inside.sql})"
        )
        return Condition(sql, inside.parameters)


def _one_of_ids(ids: Sequence[str]) -> Condition:
    return Condition("e.id IN (SELECT value FROM json_each(?))", (orjson.dumps(list(ids)).decode(),))


# ---------------------------------------------------------------------- pages


class _Page:
    """Reads a page of evolutions; attributes with too many instances cut all of it at one moment (clause 6.3.10)."""

    def __init__(self, connection: apsw.Connection, names: Names, tenant: int, reading: HistoryReading) -> None:
        self._connection = connection
        self._names = names
        self._tenant = tenant
        self._reading = reading
        self._cut = Cut(reading)

    def read(self, ids: Sequence[str]) -> HistoryPage:
        found = [each for id in ids if (each := self._entity(id)) is not None]
        evolutions = []
        for meta, reader, rows in found:
            for name, instances in rows.items():
                self._cut.put(meta.evolution, name, instances, self._on_page(reader, name, instances))
            evolutions.append(meta.evolution)
        return HistoryPage(evolutions, self._cut.moment_us)

    def _entity(self, id: str) -> tuple[Meta, AttributeReader, dict[str, list[StoredInstance]]] | None:
        meta = read_meta(self._connection, self._names, self._tenant, id)
        if meta is None:
            return None
        reading = self._reading
        reader = AttributeReader(self._connection, self._names, meta, reading, parts_for(reading, id))
        rows: dict[str, list[StoredInstance]] = {}
        for name in chosen_attributes(self._connection, self._names, meta, reading.attributes, reading.excluded):
            instances = self._instances(reader, name)
            if instances:
                rows[name] = instances
        if reading.scopes:
            meta.evolution.scopes = shown_scopes(scope_states(meta.rows), reading.window)
        return (meta, reader, rows) if rows or meta.evolution.scopes else None

    def _instances(self, reader: AttributeReader, name: str) -> list[StoredInstance]:
        """Return the instances of an attribute, and one more than fits on the page when there are more."""
        cut = self._cut
        rows = reader.rows(name, descending=cut.backwards, limit=cut.limit)
        if cut.is_too_long(rows):
            after_us = cut.needs_following(rows)
            if after_us is None:
                cut.at(rows)
            else:
                following = reader.rows(name, descending=False, limit=1, bound=(after_us + 1, None))
                if following:
                    cut.at_moment(following[0].moment_us)
        return rows

    def _on_page(self, reader: AttributeReader, name: str, rows: list[StoredInstance]) -> list[StoredInstance]:
        cut = self._cut
        return reader.rows(name, descending=cut.backwards, bound=cut.bound) if cut.goes_on(rows) else rows
