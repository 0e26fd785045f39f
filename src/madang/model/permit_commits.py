# SPDX-License-Identifier: Apache-2.0
"""A commit as somebody with limits may hear of it: what came into sight was created, what went out of it deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from madang.model.change import Change, EntityCommit, Operation
from madang.model.entity import Document, one_or_list, types_of
from madang.model.permit import Lens, Permit
from madang.model.replay import creates

# Rows about the entity itself that tell no more than that it is there.
_OF_ENTITY: Final = frozenset({Operation.ENTITY_CREATED, Operation.ENTITY_DELETED})
_OF_ATTRIBUTE: Final = frozenset(
    {Operation.ATTRIBUTE_CREATED, Operation.ATTRIBUTE_UPDATED, Operation.ATTRIBUTE_DELETED, Operation.SCOPE_CHANGED}
)


def seen(permit: Permit, commit: EntityCommit) -> EntityCommit | None:
    """Return what may be told of a commit; None when that is nothing."""
    if permit.unrestricted:
        return commit
    before = None if commit.before is None else permit.visible(commit.before)
    after = None if commit.after is None else permit.visible(commit.after)
    if after is None:
        return _gone(permit, commit, before)
    if before is None and (commit.before is not None or creates(commit.changes)):
        return _told(commit, None, after, None)
    assert commit.after is not None
    lens = permit.lens(commit.after)
    assert lens is not None
    lens_before = None if commit.before is None else permit.lens(commit.before)
    rows = _rows(commit.changes, lens_before or lens, lens)
    return _told(commit, before, after, rows) if rows else None


def _gone(permit: Permit, commit: EntityCommit, before: Document | None) -> EntityCommit | None:
    if before is not None:
        gone = Change(Operation.ENTITY_DELETED, commit.entity, value={"type": before["type"]})
        return _told(commit, before, None, (gone,))
    if commit.before is not None or commit.after is not None:
        return None
    # Heard of after a restart: only the types are known of what it was, so it may have lain anywhere.
    for change in commit.changes:
        if change.operation is Operation.ENTITY_DELETED and change.value is not None and "type" in change.value:
            lens = permit.lens_of(types_of(change.value))
            if lens is not None:
                row = change._replace(value={"type": one_or_list(list(lens.types))})
                return _told(commit, None, None, (row,))
    return None


def _rows(changes: Sequence[Change], before: Lens, after: Lens) -> tuple[Change, ...]:
    rows: list[Change] = []
    for change in changes:
        name = change.attribute
        if name is None:
            if change.operation in _OF_ENTITY:
                rows.append(change)
        elif change.operation in _OF_ATTRIBUTE:
            lens = before if change.operation is Operation.ATTRIBUTE_DELETED else after
            if name == "scope" or lens.sees(name):
                value, previous = lens.show_value(name, change.value), lens.show_value(name, change.previous)
                rows.append(change._replace(value=value, previous=previous))
    return tuple(rows)


def _told(
    commit: EntityCommit, before: Document | None, after: Document | None, rows: tuple[Change, ...] | None
) -> EntityCommit:
    return EntityCommit(
        commit.commit,
        commit.sequence_last,
        commit.tenant,
        commit.time_us,
        commit.entity,
        before,
        after,
        rows,
        replayed=commit.replayed,
    )
