# SPDX-License-Identifier: Apache-2.0
"""Reads commits back from the change log, as they are needed after a restart or when the reader fell behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from madang.base.limits import NOTIFICATION_REPLAY_CHANGES
from madang.model.change import EntityCommit, Operation, StoredChange

if TYPE_CHECKING:
    from madang.store.port import Store

# Rows that are not about the current state of an entity.
_SILENT: Final = frozenset(
    {Operation.HISTORY_ADDED, Operation.HISTORY_DELETED, Operation.RECORD_PUT, Operation.RECORD_DELETED}
)


async def commits_after(store: Store, position: int) -> AsyncIterator[tuple[int, list[EntityCommit]]]:
    """Yield (the last sequence read, the commits up to it) page by page, until the end of the log is reached.

    The documents are those of now: what lay between is not kept.
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
    documents = {
        (tenant, id): document
        for tenant, wanted in ids.items()
        for id, document in (await store.documents(tenant, list(wanted))).items()
    }
    return [
        EntityCommit(
            commit=commit,
            sequence_last=group[-1].sequence,
            tenant=group[0].tenant,
            time_us=group[0].time_us,
            entity=group[0].change.entity,
            before=None,
            after=documents.get((group[0].tenant, group[0].change.entity)),
            changes=tuple(row.change for row in group),
            replayed=True,
        )
        for commit, group in groups.items()
    ]
