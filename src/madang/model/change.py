# SPDX-License-Identifier: Apache-2.0
"""What the change log holds: one row per attribute instance written, in one order for the whole hub."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from madang.model.entity import Document, Instance


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

    `commit` is the same for all rows that one request wrote about one entity, and grows with time: the sequence of its first
    row. `value` is the whole attribute instance in canonical form (sub-attributes included). `previous` is the instance
    before, for showChanges; it is not stored, and is None when the log is read back after a restart.
    """

    operation: Operation
    entity: str
    attribute: str | None = None
    dataset: str | None = None
    observed_us: int | None = None
    value: Instance | None = None
    previous: Instance | None = None


class StoredChange(NamedTuple):
    """A change as the log gives it back; times in microseconds since 1970 UTC."""

    sequence: int
    commit: int
    tenant: str
    time_us: int
    change: Change
    who: str | None = None
    package: str | None = None


@dataclass(slots=True, frozen=True)
class EntityCommit:
    """All that one request changed in one entity: what readers of the log are handed.

    `before` and `after` are the whole documents; `after` is None when the entity is gone. A reader that goes on from its
    bookmark after a restart gets `before` None and, as `after`, the document as it stands when it is read.
    """

    commit: int
    sequence_last: int
    tenant: str
    time_us: int
    entity: str
    before: Document | None
    after: Document | None
    changes: tuple[Change, ...] = field(default=())
    replayed: bool = False
