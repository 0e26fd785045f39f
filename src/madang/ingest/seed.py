# SPDX-License-Identifier: Apache-2.0
"""Fills a hub with a city: source by source, in batches, and a second time only with what has changed or is missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from madang.base.errors import AlreadyExists
from madang.ingest.city import City, context_of
from madang.ingest.loading import Loaded, digest_of, load
from madang.ingest.mapping import POSITION_NOTE
from madang.ingest.quarantine import open_for
from madang.ingest.source import Source

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.core.writer import View
    from madang.model.entity import Document

RECORD: Final = "demo"
QUARANTINE_FOLDER: Final = "quarantine"
ENTITIES_PER_BATCH: Final = 250
_OF_THE_FIRST: Final = frozenset({"dataProvider", "source", POSITION_NOTE})
# Told of a source, how many of its entities are written, and how many there are.
Progress: TypeAlias = Callable[[Source, int, int], None]


@dataclass(slots=True)
class State:
    """What is remembered between two starts."""

    sources: dict[str, str] = field(default_factory=dict)  # digest of each source that is wholly in the hub
    reports: dict[str, Any] = field(default_factory=dict)
    played_us: int | None = None  # demo time up to which everything was played
    backfilled: bool = False

    @classmethod
    async def read(cls, core: Core, city: City) -> State:
        """Return the state of a city's demo; a new one where there is none."""

        def decide(view: View) -> Any:
            return view.record(RECORD, city.id)

        body = await core.writer.write(city.tenant, (), decide, records=[(RECORD, city.id)], create_tenant=True)
        return cls(**body) if body else cls()

    async def save(self, core: Core, city: City) -> None:
        """Write it down; it is no part of the history."""
        body = {name: getattr(self, name) for name in self.__slots__}

        def decide(view: View) -> None:
            view.put_record(RECORD, city.id, body, logged=False)

        await core.writer.write(city.tenant, (), decide, create_tenant=True)


async def seed(core: Core, city: City, state: State, folder: Path, progress: Progress) -> dict[str, Loaded]:
    """Bring every source into the hub and return what playing needs of them.

    Args:
        core: the hub.
        city: what to bring in.
        state: what is there already; kept up to date.
        folder: where rows that do not fit are kept.
        progress: told how far it is.

    Raises: CityInvalid: a table is not what its page says.
    """
    asked = {source.readings.known_in for source in city.sources if source.readings is not None}
    found: dict[str, Loaded] = {}
    for source in city.sources:
        digest = await asyncio.to_thread(digest_of, source)
        known = state.sources.get(source.id) == digest
        if known and source.id not in asked and not _is_played(source):
            continue
        progress(source, 0, 0)
        loaded = await _load(core, city, source, found, None if known else folder / QUARANTINE_FOLDER)
        found[source.id] = loaded
        if not known:
            await _write(core, city, loaded, progress, again=source.id in state.sources)
            state.sources[source.id] = digest
            report = loaded.report
            state.reports[source.id] = {
                "rows": report.rows,
                "used": report.used,
                "entities": report.entities,
                "quarantined": dict(report.quarantined),
            }
            await state.save(core, city)
        if source.generator is None and source.id not in asked:
            loaded.documents = {}  # they are in the hub; here they would only fill memory
    return found


def _is_played(source: Source) -> bool:
    return any(rule is not None for rule in (source.readings, source.profile, source.generator, source.plan))


async def _load(core: Core, city: City, source: Source, found: dict[str, Loaded], folder: Path | None) -> Loaded:
    context = await core.contexts.resolve(city.tenant, context_of(source.context))
    known = None
    if source.readings is not None and source.readings.known_in:
        known = found[source.readings.known_in].documents.keys()
    with open_for(folder, source.id) if folder is not None else contextlib.nullcontext() as file:
        return await asyncio.to_thread(load, source, city, context, known=known, quarantine=file)


async def _write(core: Core, city: City, loaded: Loaded, progress: Progress, *, again: bool) -> None:
    """Create the entities; those that are there are left alone, or brought up to date when the source has changed."""
    documents = list(loaded.documents.values())
    done = 0
    for batch in batches(documents):
        result = await core.provision.batch_create(city.tenant, batch)
        there = {each.entity for each in result.errors if isinstance(each.error, AlreadyExists)}
        if there and (again or loaded.source.plan is not None):
            more = [each if again else _only_more(each) for each in batch if each["id"] in there]
            await core.provision.batch_update(city.tenant, more)
        done += len(batch)
        progress(loaded.source, done, len(documents))


def _only_more(document: Document) -> Document:
    """Return what a second source adds to an entity: who made it, and why it has no position, the first one said."""
    return {name: value for name, value in document.items() if name.rpartition("/")[2] not in _OF_THE_FIRST}


def batches(documents: Sequence[Document]) -> Iterator[Sequence[Document]]:
    """Yield documents in portions after which others get a turn."""
    for start in range(0, len(documents), ENTITIES_PER_BATCH):
        yield documents[start : start + ENTITIES_PER_BATCH]
