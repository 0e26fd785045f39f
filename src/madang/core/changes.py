# SPDX-License-Identifier: Apache-2.0
"""The change log read back as commits: what every reader of the log does after a restart or when it fell behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from madang.base.limits import NOTIFICATION_REPLAY_CHANGES
from madang.base.times import format_date_time
from madang.model.change import Change, EntityCommit, Operation, StoredChange
from madang.model.entity import Document, one_or_list
from madang.model.replay import creates, state_after
from madang.model.temporal.evolution import is_tombstone
from madang.model.temporal.history import HistoryReading
from madang.model.temporal.query import Window

if TYPE_CHECKING:
    from madang.store.port import Store

# Rows that are not about the current state of an entity.
_SILENT: Final = frozenset(
    {Operation.HISTORY_ADDED, Operation.HISTORY_DELETED, Operation.RECORD_PUT, Operation.RECORD_DELETED}
)


async def commits_after(store: Store, position: int) -> AsyncIterator[tuple[int, list[EntityCommit]]]:
    """Yield (the last sequence read, the commits up to it) page by page, until the end of the log is reached.

    Each commit has all that it changed as it was then; what else its entity had may be newer, as no log of whole
    documents is kept.
    """
    rows: list[StoredChange] = []
    more = True
    while more:
        page = await store.changes(position, limit=NOTIFICATION_REPLAY_CHANGES)
        more = len(page) == NOTIFICATION_REPLAY_CHANGES
        rows += page
        if not rows:
            return
        position = rows[-1].sequence
        # The last commit of a full page may go on behind it.
        complete = len(rows)
        if more:
            while complete and rows[complete - 1].commit == rows[-1].commit:
                complete -= 1
        ready, rows = rows[:complete], rows[complete:]
        if ready:
            yield ready[-1].sequence, await _commits(store, ready)


async def _commits(store: Store, rows: Sequence[StoredChange]) -> list[EntityCommit]:
    groups: dict[int, list[StoredChange]] = {}
    for row in rows:
        if row.change.operation not in _SILENT:
            groups.setdefault(row.commit, []).append(row)
    ids: dict[str, dict[str, None]] = {}
    for group in groups.values():
        ids.setdefault(group[0].tenant, {})[group[0].change.entity] = None
    documents: dict[tuple[str, str], Document | None] = {
        (tenant, id): document
        for tenant, wanted in ids.items()
        for id, document in (await store.documents(tenant, list(wanted))).items()
    }
    found: list[EntityCommit] = []
    exact: set[tuple[str, str]] = set()  # entities of which all is known, as their creation was read too
    for commit, group in groups.items():
        key = (group[0].tenant, group[0].change.entity)
        changes = tuple([await _with_types(store, row) for row in group])
        before = documents.get(key)
        if before is None and key not in documents and not creates(changes):
            before = await _past(store, group[0])
        after = state_after(before, changes, format_date_time(group[0].time_us))
        if creates(changes):
            exact.add(key)
        found.append(
            EntityCommit(
                commit=commit,
                sequence_last=group[-1].sequence,
                tenant=key[0],
                time_us=group[0].time_us,
                entity=key[1],
                before=before if after is None and key in exact else None,
                after=after,
                changes=changes,
                replayed=True,
            )
        )
        documents[key] = after
    return found


async def _past(store: Store, row: StoredChange) -> Document | None:
    """Return what an entity that is gone by now was just before a change, as its history tells it."""
    reading = HistoryReading(Window(), now=format_date_time(row.time_us))
    for evolution in (await store.history_read(row.tenant, [row.change.entity], reading)).evolutions:
        document: Document = {"id": evolution.id, "type": one_or_list(evolution.types)}
        for name, instances in evolution.attributes.items():
            earlier = sorted((one for one in instances if one.instance < row.sequence), key=lambda one: one.instance)
            latest = {one.value.get("datasetId"): one.value for one in earlier}
            there = [value for value in latest.values() if not is_tombstone(value)]
            if there:
                document[name] = one_or_list(sorted(there, key=lambda value: value.get("datasetId") or ""))
        return document
    return None


async def _with_types(store: Store, row: StoredChange) -> Change:
    """Return the change; that of a deletion with the types the entity had, by which it is matched."""
    change = row.change
    if change.operation is not Operation.ENTITY_DELETED:
        return change
    state = await store.history_state(row.tenant, change.entity)
    return change if state is None else change._replace(value={"type": one_or_list(state.types)})
