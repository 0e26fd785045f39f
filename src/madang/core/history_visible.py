# SPDX-License-Identifier: Apache-2.0
"""The history that a caller with limits may see: each question to the store names only attributes that he may see.

What he may see of an entity is decided by its present state (`madang.model.permit`), so entities are asked about in
groups of which the same may be seen. Filters look at visible instances; what comes back holds no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from madang.base.limits import PAGE_ENTITIES_MAX
from madang.base.times import parse_date_time
from madang.model.entity import Document
from madang.model.permit import Lens, Permit
from madang.model.temporal.evolution import Evolution, Interval, StoredInstance
from madang.model.temporal.history import (
    AggregatedEvolution,
    HistoryFound,
    HistoryPage,
    HistoryQuestion,
    HistoryReading,
    HistoryTest,
)
from madang.model.temporal.query import Aggregation
from madang.store.port import Store

_STEP_ENTITIES: Final = PAGE_ENTITIES_MAX


class VisibleHistory:
    """Made for one question."""

    def __init__(self, store: Store, tenant: str, permit: Permit) -> None:
        self._store = store
        self._tenant = tenant
        self._permit = permit
        self._documents: Mapping[str, Document] = {}

    async def find(self, question: HistoryQuestion) -> HistoryFound:
        """Return the page of entities that have visible history as asked."""
        selectors = self._permit.narrow(question.selectors)
        if selectors is None:
            return HistoryFound([], 0 if question.count else None)
        # All that may be meant, in the order of the answer; whatever could tell of something hidden is asked later.
        wide = replace(
            question,
            selectors=selectors,
            attributes=(),
            excluded=(),
            datasets=(),
            test=None,
            scope=None,
            limit=_STEP_ENTITIES,
            count=False,
        )
        narrow = replace(question, selectors=selectors, offset=0, count=False)
        end = question.offset + question.limit
        ids: list[str] = []
        intervals: dict[str, Sequence[Interval]] = {}
        count = position = 0
        more = True
        while more and (question.count or count <= end):
            candidates = await self._store.history_find(self._tenant, replace(wide, offset=position))
            position += len(candidates.ids)
            more = candidates.more
            fitting = await self._fitting(narrow, candidates.ids)
            for id in candidates.ids:
                if id in fitting:
                    if question.offset <= count < end:
                        ids.append(id)
                        intervals.update({id: fitting[id]} if fitting[id] else {})
                    count += 1
        return HistoryFound(ids, count if question.count else None, count > end, intervals)

    async def read(self, ids: Sequence[str], reading: HistoryReading) -> HistoryPage:
        """Return the visible instances in the window."""
        evolutions: dict[str, Evolution] = {}
        cuts: list[int] = []
        for lens, group in await self._groups(ids):
            page = await self._store.history_read(self._tenant, group, _reading(reading, lens))
            if page.cut_us is not None:
                cuts.append(page.cut_us)
            for evolution in page.evolutions:
                evolutions[evolution.id] = evolution
                self._show(evolution, lens)
        backwards = reading.window.last_n is not None
        cut_us = (max(cuts) if backwards else min(cuts)) if cuts else None
        found = [evolutions[id] for id in ids if id in evolutions]
        if cut_us is not None:
            # One moment cuts the whole page (clause 6.3.10), whichever group of entities it was found in.
            for evolution in found:
                _cut(evolution, cut_us, backwards=backwards)
        return HistoryPage(found, cut_us)

    async def aggregate(
        self, ids: Sequence[str], reading: HistoryReading, aggregation: Aggregation
    ) -> list[AggregatedEvolution]:
        """Return aggregated values of visible attributes."""
        found: dict[str, AggregatedEvolution] = {}
        for lens, group in await self._groups(ids):
            narrowed = _reading(reading, lens)
            for each in await self._store.history_aggregate(self._tenant, group, narrowed, aggregation):
                self._show(each.evolution, lens)
                found[each.evolution.id] = each._replace(attributes=dict(sorted(each.attributes.items())))
        return [found[id] for id in ids if id in found]

    # ---- parts

    async def _groups(self, ids: Sequence[str]) -> list[tuple[Lens, list[str]]]:
        """Return the entities of which something may be seen, those together of which the same may be."""
        self._documents = await self._store.documents(self._tenant, ids)
        groups: dict[Lens, list[str]] = {}
        for id in ids:
            lens = await self._lens(id)
            if lens is not None:
                groups.setdefault(lens, []).append(id)
        return list(groups.items())

    async def _lens(self, id: str) -> Lens | None:
        document = self._documents.get(id)
        if document is not None:
            return self._permit.lens(document)
        state = await self._store.history_state(self._tenant, id)
        return None if state is None else self._permit.lens_of(state.types)

    async def _fitting(self, question: HistoryQuestion, ids: Sequence[str]) -> dict[str, Sequence[Interval]]:
        """Return the entities among these that fit, with the parts of the window in which their scopes do."""
        fitting: dict[str, Sequence[Interval]] = {}
        for lens, group in await self._groups(ids):
            attributes = _seen(question.attributes or None, lens)
            if attributes == ():
                continue
            test = None if question.test is None else _test(question.test, lens)
            asked = replace(
                question,
                only=frozenset(group),
                attributes=attributes or (),
                excluded=_excluded(question.excluded, lens),
                test=test,
                limit=len(group),
            )
            found = await self._store.history_find(self._tenant, asked)
            fitting.update({id: found.intervals.get(id, ()) for id in found.ids})
        return fitting

    def _show(self, evolution: Evolution, lens: Lens) -> None:
        """Leave in an evolution what may be seen; of its attributes only those that were asked for are there."""
        evolution.types = list(lens.types)
        # By name: the order of a store may tell which names it met first, also in what is hidden.
        evolution.attributes = {
            name: [row._replace(value=lens.show_value(name, row.value)) for row in rows]
            for name, rows in sorted(evolution.attributes.items())
        }
        if not lens.whole:
            document = self._documents.get(evolution.id)
            if document is not None:
                evolution.modified_us = parse_date_time(lens.show(document)["modifiedAt"])
            else:
                evolution.modified_us = max([evolution.created_us, *(row.modified_us for row in _rows(evolution))])


def _rows(evolution: Evolution) -> Iterable[StoredInstance]:
    return (row for rows in evolution.attributes.values() for row in rows)


def _seen(attributes: Sequence[str] | None, lens: Lens) -> tuple[str, ...] | None:
    """Return which of the attributes asked for (None: all) may be seen; None: all but those that are excluded."""
    if attributes is not None:
        return tuple(name for name in attributes if lens.sees(name))
    if lens.names is None:
        return None
    purposed = lens.personal if lens.purposed is None else lens.purposed & lens.personal
    return tuple(sorted((lens.names - lens.personal) | purposed))


def _excluded(excluded: Sequence[str], lens: Lens) -> tuple[str, ...]:
    return (*excluded, *sorted(name for name in lens.personal if not lens.sees(name)))


def _reading(reading: HistoryReading, lens: Lens) -> HistoryReading:
    return replace(reading, attributes=_seen(reading.attributes, lens), excluded=_excluded(reading.excluded, lens))


def _test(test: HistoryTest, lens: Lens) -> HistoryTest:
    return HistoryTest(
        lambda document: test.matches(lens.show(document)),
        frozenset(name for name in test.attributes if lens.sees(name)),
    )


def _cut(evolution: Evolution, cut_us: int, *, backwards: bool) -> None:
    for name, rows in evolution.attributes.items():
        kept = [row for row in rows if (row.moment_us >= cut_us if backwards else row.moment_us <= cut_us)]
        if rows and not kept:
            evolution.attribute_types[name] = rows[0].value.get("type", "Property")
        evolution.attributes[name] = kept
