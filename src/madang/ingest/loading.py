# SPDX-License-Identifier: Apache-2.0
"""One source read to its end: its entities, its recorded values, its profile or its plans, and what did not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TextIO

from madang.ingest.city import City
from madang.ingest.mapping import check_row, entity_of
from madang.ingest.profiles import Profile, profile_of
from madang.ingest.quarantine import Quarantine, Report
from madang.ingest.series import Series, SeriesReader
from madang.ingest.signals import SignalPlan, plan_of
from madang.ingest.source import EntityRule, Source
from madang.ingest.tables import PLAN, rows_of
from madang.ingest.values import Row, Unfit, text_of
from madang.model.entity import Document
from madang.model.jsonld.context import Context


@dataclass(slots=True)
class Loaded:
    """What a source gave."""

    source: Source
    context: Context
    report: Report
    documents: dict[str, Document] = field(default_factory=dict)
    series: Series | None = None
    profile: Profile | None = None
    plans: dict[str, SignalPlan] = field(default_factory=dict)


def load(
    source: Source,
    city: City,
    context: Context,
    *,
    known: Collection[str] | None = None,
    quarantine: TextIO | None = None,
) -> Loaded:
    """Read a source. It takes its time: call it on a thread.

    Args:
        source: what to read.
        city: to which it belongs.
        context: the names of the page.
        known: ids of the entities its readings may speak of; None: any.
        quarantine: where rows that do not fit are kept.

    Raises: CityInvalid: the table is not what the page says.
    """
    loaded = Loaded(source, context, Report(source.id))
    kept = Quarantine(loaded.report, quarantine)
    rows = rows_of(source.table)
    if source.profile is not None:
        loaded.profile = profile_of(rows, source.profile, source.rejects, kept)
    elif source.readings is not None:
        first = _First(loaded, city)
        loaded.series = SeriesReader(source.readings, source.rejects, known).read(rows, kept, first.see)
    elif source.entity is not None:
        _load_entities(loaded, source.entity, city, kept)
    loaded.report.entities = len(loaded.documents)
    return loaded


def digest_of(source: Source) -> str:
    """Return what changes when the page or a file of the source does."""
    digest = hashlib.blake2b(digest_size=16)
    for path in source.pages:
        with path.open("rb") as file:
            while block := file.read(1 << 16):
                digest.update(block)
    return digest.hexdigest()


class _First:
    """Makes an entity of the first row in which a thing appears, as measurements repeat what they are of."""

    def __init__(self, loaded: Loaded, city: City) -> None:
        self._loaded = loaded
        self._city = city
        self._seen: set[str] = set()

    def see(self, row: Row) -> None:
        rule = self._loaded.source.entity
        if rule is None:
            return
        key = text_of(row, rule.distinct)
        if key in self._seen:
            return
        self._seen.add(key)
        document = entity_of(row, self._loaded.source, rule, self._city.bounds, self._loaded.context)
        self._loaded.documents[document["id"]] = document


def _load_entities(loaded: Loaded, rule: EntityRule, city: City, quarantine: Quarantine) -> None:
    source, report = loaded.source, loaded.report
    chosen: dict[str, tuple[str, int, Row]] = {}
    for row in rows_of(source.table):
        report.rows += 1
        try:
            check_row(row, source.rejects)
            document = entity_of(row, source, rule, city.bounds, loaded.context)
            plan = plan_of(row[PLAN]) if source.plan is not None else None
        except Unfit as unfit:
            quarantine.put(unfit, row)
            continue
        id, rank = document["id"], text_of(row, rule.prefer) if rule.prefer else ""
        before = chosen.get(id)
        if before is not None and rank <= before[0]:
            quarantine.put(Unfit("another row with this id was taken", value=id), row)
            continue
        if before is not None:
            quarantine.put(Unfit("another row with this id was taken", value=id), before[2], before[1])
        chosen[id] = (rank, report.rows, row if rule.prefer else {})
        loaded.documents[id] = document
        if plan is not None:
            loaded.plans[id] = plan
    report.used = len(loaded.documents)
