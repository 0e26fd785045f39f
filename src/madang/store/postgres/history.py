# SPDX-License-Identifier: Apache-2.0
"""The history half of the PostgreSQL store: temporal questions answered from the change log."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import orjson

from madang.model.change import Operation
from madang.model.entity import Instance
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
from madang.model.temporal.query import Aggregation
from madang.store.history_rules import (
    CORE_OPERATIONS,
    Cut,
    Meta,
    Selection,
    is_made_by_history,
    is_told,
    state_of,
)
from madang.store.postgres.history_aggregation import Aggregator
from madang.store.postgres.history_candidates import Candidates
from madang.store.postgres.history_reading import (
    AttributeReader,
    Snapshot,
    attribute_names,
    chosen_attributes,
    read_metas,
    snapshot,
)

if TYPE_CHECKING:
    from madang.store.postgres.connections import Connections
    from madang.store.postgres.names import Names, Tenants

# So many entities go into one statement, and are held at a time while a page is looked for.
_ENTITIES_PER_STATEMENT: Final = 1_000
# A test looks at all instances in the window.
_ENTITIES_PER_TEST: Final = 100

_OF_ENTITY: Final = "FROM change c WHERE c.tenant = $1 AND c.entity = $2 AND NOT c.hidden"
_TOUCHED: Final = f"SELECT 1 {_OF_ENTITY} AND c.operation = ANY($3::integer[]) LIMIT 1"
_VERSION: Final = f"SELECT c.sequence, c.dataset, c.time_us, c.value {_OF_ENTITY} AND c.attribute = $3 AND "
_FIRST_VERSION: Final = _VERSION + "c.sequence = $4 AND c.instance IS NULL"
_LATER_VERSION: Final = _VERSION + "c.instance = $4"
_CREATED_US: Final = "SELECT time_us FROM change WHERE tenant = $1 AND entity = $2 AND sequence = $3"
_SEQUENCES: Final = f"SELECT c.sequence, c.dataset {_OF_ENTITY} AND c.attribute = $3"
_SAME: Final = (
    "SELECT c.attribute, c.dataset, c.observed_us, c.sequence "
    f"{_OF_ENTITY} AND c.attribute = ANY($3::integer[]) AND c.observed_us = ANY($4::bigint[])"
)


class PostgresHistory:
    """A part of `PostgresStore`, which gives it connections and names."""

    if TYPE_CHECKING:
        connections: Connections
        names: Names
        tenant_names: Tenants

    async def history_find(self, tenant: str, question: HistoryQuestion) -> HistoryFound:
        key = await self.tenant_names.key(tenant)
        if key is None:
            return HistoryFound([], 0 if question.count else None)
        async with snapshot(self.connections, self.names, key) as log:
            return await _Search(log, question).run()

    async def history_read(self, tenant: str, ids: Sequence[str], reading: HistoryReading) -> HistoryPage:
        key = await self.tenant_names.key(tenant)
        if key is None:
            return HistoryPage([])
        async with snapshot(self.connections, self.names, key) as log:
            return await _Page(log, reading).read(ids)

    async def history_aggregate(
        self, tenant: str, ids: Sequence[str], reading: HistoryReading, aggregation: Aggregation
    ) -> list[AggregatedEvolution]:
        key = await self.tenant_names.key(tenant)
        found: list[AggregatedEvolution] = []
        if key is not None:
            async with snapshot(self.connections, self.names, key) as log:
                for some in _pieces(ids, _ENTITIES_PER_STATEMENT):
                    metas = await read_metas(log, some, scopes=False)
                    found += await Aggregator(log, metas, reading, aggregation).run()
        return found

    async def history_state(self, tenant: str, id: str) -> HistoryState | None:
        async with self._entity(tenant, id) as (log, meta):
            if meta is None:
                return None
            if not is_told(meta) and not (await attribute_names(log, {id: meta}))[id]:
                return None
            by_history = is_made_by_history(meta) and not await log.fetch(_TOUCHED, id, list(CORE_OPERATIONS))
            return state_of(meta, by_history_only=by_history)

    async def history_version(self, tenant: str, id: str, attribute: str, instance: int) -> HistoryVersion | None:
        async with self._entity(tenant, id) as (log, meta):
            if meta is None:
                return None
            for each in meta.created.get(attribute, ()):
                if each.sequence == instance:
                    stored = StoredInstance(instance, each.time_us, each.time_us, each.time_us, each.value)
                    return HistoryVersion(instance, each.dataset, stored)
            key = await log.key(attribute)
            if key is None:
                return None
            rows = await log.fetch(_FIRST_VERSION, id, key, instance) or await log.fetch(
                _LATER_VERSION, id, key, instance
            )
            if not rows:
                return None
            sequence, dataset, time_us, value = rows[0]
            first = await log.fetch(_CREATED_US, id, instance)
            created_us = first[0][0] if first else time_us
            stored = StoredInstance(instance, time_us, created_us, time_us, orjson.loads(value))
            return HistoryVersion(sequence, await _dataset(log, dataset), stored)

    async def history_sequences(
        self, tenant: str, id: str, attribute: str, *, dataset: str | None = None, all_datasets: bool = False
    ) -> tuple[list[int], bool]:
        async with self._entity(tenant, id) as (log, meta):
            rows = [] if meta is None else await _sequences(log, meta, attribute)
        return [sequence for sequence, of in rows if all_datasets or of == dataset], bool(rows)

    async def history_same(self, tenant: str, id: str, keys: Sequence[tuple[str, str | None, int]]) -> list[int]:
        wanted = set(keys)
        found: list[int] = []
        async with self._entity(tenant, id) as (log, meta):
            if meta is None or not wanted:
                return []
            named = await log.keys({attribute for attribute, _, _ in wanted})
            times_us = list({observed_us for _, _, observed_us in wanted})
            rows = await log.fetch(_SAME, id, list(named.values()), times_us)
            texts = await log.texts({key for row in rows for key in (row[0], row[1]) if key is not None})
        for key, dataset, observed_us, sequence in rows:
            if (texts[key], None if dataset is None else texts[dataset], observed_us) in wanted:
                found.append(sequence)
        for attribute in {attribute for attribute, _, _ in wanted}:
            created = meta.created.get(attribute, ())
            found += [each.sequence for each in created if (attribute, each.dataset, each.observed_us) in wanted]
        return found

    @contextlib.asynccontextmanager
    async def _entity(self, tenant: str, id: str) -> AsyncIterator[tuple[Snapshot, Meta | None]]:
        """Lend a snapshot and what is known of one entity."""
        # No tenant has the key 0: what nobody knows has no rows.
        key = await self.tenant_names.key(tenant) or 0
        async with snapshot(self.connections, self.names, key) as log:
            yield log, (await read_metas(log, [id])).get(id)


async def _dataset(log: Snapshot, key: int | None) -> str | None:
    return None if key is None else (await log.texts([key]))[key]


async def _sequences(log: Snapshot, meta: Meta, attribute: str) -> list[tuple[int, str | None]]:
    """Return sequence and dataset of each instance of an attribute."""
    key = await log.key(attribute)
    rows = [] if key is None else await log.fetch(_SEQUENCES, meta.evolution.id, key)
    texts = await log.texts({dataset for _, dataset in rows if dataset is not None})
    found = [(sequence, None if dataset is None else texts[dataset]) for sequence, dataset in rows]
    if attribute == "scope":
        return [*found, *((row.sequence, None) for row in meta.rows if row.operation is Operation.SCOPE_CHANGED)]
    return [*found, *((each.sequence, each.dataset) for each in meta.created.get(attribute, ()))]


def _pieces(ids: Sequence[str], count: int) -> Iterable[Sequence[str]]:
    return (ids[start : start + count] for start in range(0, len(ids), count))


# ---------------------------------------------------------------------- questions


class _Search:
    """Finds the entities of one question, going through candidates in their order, many at a time."""

    def __init__(self, log: Snapshot, question: HistoryQuestion) -> None:
        self._log = log
        self._question = question
        self._selection = Selection(question.selectors)
        window, now = question.window, question.now
        self._testing = AttributeReader(log, HistoryReading(window, now=now))
        self._asking = AttributeReader(log, HistoryReading(window, datasets=question.datasets, now=now))
        self._intervals: dict[str, Sequence[Interval]] = {}

    async def run(self) -> HistoryFound:
        question = self._question
        end = question.offset + question.limit
        page: list[str] = []
        number = 0
        candidates = await self._candidates()
        many = _ENTITIES_PER_STATEMENT if question.test is None and question.scope is None else _ENTITIES_PER_TEST
        size = min(end + 1, many)
        while (number <= end or question.count) and (some := await candidates.next(size)):
            size = many
            for id in await self._matching(some):
                if question.offset <= number < end:
                    page.append(id)
                number += 1
        intervals = {id: self._intervals[id] for id in page if id in self._intervals}
        return HistoryFound(page, number if question.count else None, number > end, intervals)

    async def _matching(self, candidates: Mapping[str, bool]) -> list[str]:
        """Return those of the candidates (by id, with whether no current state is left) that fit the question."""
        question = self._question
        ids = [id for id in candidates if self._selection.may_fit(id)]
        window = question.window
        told = await self._asking.told(ids, (window.start_us, window.end_us), question.attributes, question.excluded)
        created = await self._asking.created_in([id for id in ids if id not in told])
        plain = question.test is None and question.scope is None and self._selection.plain
        sure = {id for id in told if plain and not candidates[id]}
        fitting = await self._fitting([id for id in ids if id not in sure and (id in told or id in created)], told)
        return [id for id in ids if id in sure or id in fitting]

    async def _fitting(self, ids: Sequence[str], told: set[str]) -> set[str]:
        if not ids:
            return set()
        metas = {
            id: meta
            for id, meta in (await read_metas(self._log, ids, scopes=self._question.scope is not None)).items()
            if self._selection.fits(id, meta.evolution.types) and (id in told or self._was_created_with(meta))
        }
        metas = await self._passing(metas)
        return set(await self._in_scope(metas))

    def _was_created_with(self, meta: Meta, part: Interval | None = None) -> bool:
        """Tell whether an instance of the entity's creation lies in the window or a part of it."""
        question = self._question
        inside = (question.window.start_us, question.window.end_us) if part is None else part
        names = [name for name in question.attributes or meta.created if name not in question.excluded]
        return any(self._asking.viewpoint.created(meta, name, inside) for name in names)

    async def _passing(self, metas: dict[str, Meta]) -> dict[str, Meta]:
        test = self._question.test
        if test is None or not metas:
            return metas
        reader = self._testing
        instances: dict[str, list[tuple[str, list[Instance]]]] = {id: [] for id in metas}
        for name in sorted(test.attributes):
            found = await reader.rows(name, metas.values(), descending=False)
            constant: Mapping[str, list[Instance]] = {}
            if self._question.window.time_property == "observedAt":
                # C.5.5: an attribute without temporal evolution holds all the time.
                constant = await reader.constant(name, [meta for id, meta in metas.items() if id not in found])
            for id, some in instances.items():
                some.append((name, [row.value for row in found[id]] if id in found else constant.get(id, [])))
        documents = {
            id: windowed_document(id, meta.evolution.types, instances[id], meta.document) for id, meta in metas.items()
        }
        return {id: meta for id, meta in metas.items() if test.matches(documents[id])}

    async def _in_scope(self, metas: dict[str, Meta]) -> dict[str, Meta]:
        """Return the entities with an instance while their scope fulfils the question (4.18, C.5.16)."""
        question = self._question
        if question.scope is None or not metas:
            return metas
        parts = {
            id: scope_intervals(scope_states(meta.rows), question.scope, question.window) for id, meta in metas.items()
        }
        by_part: dict[Interval, list[str]] = {}
        for id, some in parts.items():
            for part in some:
                by_part.setdefault(part, []).append(id)
        asked = [name for name in question.attributes if name != "scope"]
        found: set[str] = set()
        for part, ids in by_part.items():
            if asked or not question.attributes:
                found |= await self._asking.told(ids, part, asked, question.excluded)
            found |= {id for id in ids if id not in found and self._was_created_with(metas[id], part)}
        self._intervals.update((id, parts[id]) for id in found)
        return {id: meta for id, meta in metas.items() if id in found}

    # ------------------------------------------------------------------ candidates

    async def _candidates(self) -> Candidates:
        """Return what never loses a match: the entities of the ids and types asked for, and those without a state."""
        question = self._question
        only, selectors = _only(question), question.selectors
        candidates = Candidates(self._log, descending=question.descending, only=only)
        if selectors and all(selector.types is not None for selector in selectors):
            groups = dict.fromkeys(group for each in selectors if each.types is not None for group in each.types.any_of)
            keys = await self._log.keys({name for group in groups for name in group})
            for group in groups:
                if all(name in keys for name in group):
                    candidates.add_typed([keys[name] for name in dict.fromkeys(group)])
        else:
            candidates.add_present()
        candidates.add_past()
        return candidates


def _only(question: HistoryQuestion) -> list[str] | None:
    """Return the ids that a question leaves over; None when it does not say."""
    selectors = question.selectors
    named: set[str] | None = None
    if selectors and all(selector.ids for selector in selectors):
        named = {id for selector in selectors for id in selector.ids}
    if question.only is not None:
        named = set(question.only) if named is None else named & question.only
    return None if named is None else sorted(id for id in named if "\0" not in id)


# ---------------------------------------------------------------------- pages


class _Page:
    """Reads a page of evolutions; attributes with too many instances cut all of it at one moment (clause 6.3.10)."""

    def __init__(self, log: Snapshot, reading: HistoryReading) -> None:
        self._log = log
        self._reading = reading
        self._reader = AttributeReader(log, reading)
        self._cut = Cut(reading)
        self._metas: dict[str, Meta] = {}
        self._rows: dict[str, dict[str, list[StoredInstance]]] = {}  # by entity and attribute

    async def read(self, ids: Sequence[str]) -> HistoryPage:
        for some in _pieces(ids, _ENTITIES_PER_STATEMENT):
            await self._read_entities(some)
        read = {id: dict(attributes) for id, attributes in self._rows.items()}
        await self._read_on()
        found = []
        for id, meta in self._metas.items():
            for name, rows in self._rows.get(id, {}).items():
                self._cut.put(meta.evolution, name, read[id][name], rows)
            if meta.evolution.attributes or meta.evolution.scopes:
                found.append(meta.evolution)
        return HistoryPage(found, self._cut.moment_us)

    async def _read_entities(self, ids: Sequence[str]) -> None:
        reading, cut = self._reading, self._cut
        metas = await read_metas(self._log, ids, scopes=reading.scopes)
        if not metas:
            return
        self._metas.update(metas)
        if reading.scopes:
            for meta in metas.values():
                meta.evolution.scopes = shown_scopes(scope_states(meta.rows), reading.window)
        chosen = await chosen_attributes(self._log, metas, reading.attributes, reading.excluded)
        for name, having in chosen.items():
            found = await self._reader.rows(
                name, [metas[id] for id in having], descending=cut.backwards, limit=cut.limit
            )
            for id, rows in found.items():
                self._rows.setdefault(id, {})[name] = rows
            await self._cut_at(name, {id: rows for id, rows in found.items() if cut.is_too_long(rows)})

    async def _cut_at(self, name: str, found: Mapping[str, Sequence[StoredInstance]]) -> None:
        following: dict[int, list[Meta]] = {}
        for id, rows in found.items():
            after_us = self._cut.needs_following(rows)
            if after_us is None:
                self._cut.at(rows)
            else:
                following.setdefault(after_us, []).append(self._metas[id])
        for after_us, metas in following.items():
            bound = (after_us + 1, None)
            for rows in (await self._reader.rows(name, metas, descending=False, limit=1, bound=bound)).values():
                self._cut.at_moment(rows[0].moment_us)

    async def _read_on(self) -> None:
        """Read the instances that belong on the page although an attribute has more of them than fit."""
        longer: dict[str, list[str]] = {}
        for id, attributes in self._rows.items():
            for name, rows in attributes.items():
                if self._cut.goes_on(rows):
                    longer.setdefault(name, []).append(id)
        for name, ids in longer.items():
            metas = [self._metas[id] for id in ids]
            found = await self._reader.rows(name, metas, descending=self._cut.backwards, bound=self._cut.bound)
            for id in ids:
                self._rows[id][name] = found.get(id, [])
