# SPDX-License-Identifier: Apache-2.0
"""What the change log holds: one row per attribute instance written, in one order for the whole hub."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from madang.base.times import try_date_time
from madang.model.entity import ENTITY_MEMBERS, Document, Instance, attributes_of


class Operation(IntEnum):
    """What happened. The numbers are stored: append new ones, never renumber."""

    ENTITY_CREATED = 1  # attribute None; value {"type": …, "scope"?: …}
    ENTITY_DELETED = 2  # attribute None; value None; a tombstone (deletedAt = time)
    ATTRIBUTE_CREATED = 3  # the instance did not exist before
    ATTRIBUTE_UPDATED = 4  # the instance existed and its value (value member) may differ
    ATTRIBUTE_DELETED = 5  # value: {"type": …, value member: "urn:ngsi-ld:null", "deletedAt": …}
    TYPE_CHANGED = 6  # attribute None; value {"type": …}
    SCOPE_CHANGED = 7  # attribute "scope"; value {"type": "Property", "value": scope or list}
    HISTORY_ADDED = 8  # written through the temporal API: history without a change of the current state
    HISTORY_DELETED = 9  # a row or rows of history were taken out; value names what
    RECORD_PUT = 10  # a subscription, context, registration … was written; entity = its id, attribute = its kind
    RECORD_DELETED = 11
    ENTITY_TOUCHED = 12  # only expiresAt or another member of the entity itself changed


class Change(NamedTuple):
    """One row of the change log.

    `value` is the whole attribute instance in canonical form (sub-attributes included). `previous` is the instance
    before, for showChanges; it is not stored, and is None when the log is read back after a restart. `instance` is the
    sequence of the first version of an instance that was modified through the temporal API, else None.
    """

    operation: Operation
    entity: str
    attribute: str | None = None
    dataset: str | None = None
    observed_us: int | None = None
    value: Instance | None = None
    previous: Instance | None = None
    instance: int | None = None


class StoredChange(NamedTuple):
    """A change as the log gives it back; times in microseconds since 1970 UTC.

    `commit` is the same for all rows that one request wrote about one entity: the sequence of the first of them.
    """

    sequence: int
    commit: int
    tenant: str
    time_us: int
    change: Change
    who: str | None = None
    package: str | None = None


def creation_changes(document: Document) -> tuple[Change, ...]:
    """Return the log rows of an entity's creation: ENTITY_CREATED, its scope, then each instance in document order.

    A store keeps the creation as **one** row that holds the whole document, with as many sequences set aside as there
    are changes here; whoever reads the log gets these changes.
    """
    id = document["id"]
    changes = [Change(Operation.ENTITY_CREATED, id, value={"type": document["type"]})]
    scope = document.get("scope")
    if scope is not None:
        changes.append(Change(Operation.SCOPE_CHANGED, id, "scope", value={"type": "Property", "value": scope}))
    created = Operation.ATTRIBUTE_CREATED
    for name, instances in attributes_of(document):
        for instance in instances:
            observed = instance.get("observedAt")
            observed_us = None if observed is None else try_date_time(observed)
            changes.append(Change(created, id, name, instance.get("datasetId"), observed_us, instance))
    return tuple(changes)


def creation_count(document: Document) -> int:
    """Return how many changes `creation_changes` gives."""
    count = 1
    for name, value in document.items():
        if name not in ENTITY_MEMBERS:
            count += len(value) if value.__class__ is list else 1
    return count + ("scope" in document)


class EntityCommit:
    """All that one request changed in one entity: what readers of the log are handed.

    `before` and `after` are the whole documents; `after` is None when the entity is gone. For a reader that goes on
    from its bookmark after a restart (`replayed`) `before` is mostly None, and `after` holds what this
    commit wrote over the document as it stands when it is read (`madang.model.replay`).
    `commit` is the sequence of the first change row, `sequence_last` of the last.
    """

    __slots__ = ("_changes", "after", "before", "commit", "entity", "replayed", "sequence_last", "tenant", "time_us")

    def __init__(  # noqa: PLR0913 - a plain value, made in two places
        self,
        commit: int,
        sequence_last: int,
        tenant: str,
        time_us: int,
        entity: str,
        before: Document | None,
        after: Document | None,
        changes: tuple[Change, ...] | None,
        *,
        replayed: bool = False,
    ) -> None:
        self.commit = commit
        self.sequence_last = sequence_last
        self.tenant = tenant
        self.time_us = time_us
        self.entity = entity
        self.before = before
        self.after = after
        self._changes = changes
        self.replayed = replayed

    @property
    def changes(self) -> tuple[Change, ...]:
        """The rows in order; those of a creation are made when somebody asks."""
        if self._changes is None:
            assert self.after is not None
            self._changes = creation_changes(self.after)
        return self._changes
