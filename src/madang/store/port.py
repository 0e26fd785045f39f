# SPDX-License-Identifier: Apache-2.0
"""The Store port: what every back-end promises. Only `madang.core` calls it; only `app` and `testing` choose one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from madang.model.change import Change, StoredChange, creation_count
from madang.model.entity import Document, Json
from madang.model.query.model import EntityQuery, Found
from madang.store.history import HistoryStore


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a back-end can do. Code asks this record, never the back-end's name."""

    exclusive: bool  # this process is the only writer; when not, `madang.core.tail` keeps what it holds in memory true
    durable: bool
    workers_many: bool


@dataclass(slots=True)
class EntityWrite:
    """The outcome of one request for one entity. `after` None deletes the current state (history stays).

    `changes` None means the creation of `after`: its rows are those of `creation_changes(after)`.
    """

    tenant: str
    entity: str
    before: Document | None
    after: Document | None
    time_us: int
    changes: tuple[Change, ...] | None
    who: str | None = None
    package: str | None = None


def change_count(write: EntityWrite) -> int:
    """Return how many sequences of the log the write takes."""
    if write.changes is not None:
        return len(write.changes)
    assert write.after is not None
    return creation_count(write.after)


@dataclass(slots=True)
class RecordWrite:
    """A record is anything else, kept as JSON under (tenant, kind, id): subscription, context … None deletes it."""

    tenant: str
    kind: str
    id: str
    body: Json | None
    time_us: int
    logged: bool = True  # False: counters and caches, which would only swell the change log


@dataclass(slots=True)
class Writes:
    """Everything one group commits, in order."""

    entities: list[EntityWrite] = field(default_factory=list)
    records: list[RecordWrite] = field(default_factory=list)
    bookmarks: dict[str, int] = field(default_factory=dict)
    tenants: list[str] = field(default_factory=list)  # to be created
    history_hidden: list[int] = field(default_factory=list)  # sequences of history rows taken out of sight
    history_dropped: list[tuple[str, str]] = field(default_factory=list)  # (tenant, entity id): all its history


class Seen(NamedTuple):
    """How far the store has come: the last sequence of the log, and a count of what the log does not tell.

    The generation grows with each new tenant, each index that is declared or dropped, and whenever rows are taken out
    of the log (history that is deleted).
    """

    sequence: int
    generation: int


class StoreSize(NamedTuple):
    """How much a store holds, of all tenants."""

    entities: int  # that have a current state
    changes: int  # sequences given in the log, which is not less than its rows
    size_bytes: int  # on disk, with indexes


class TouchedRecord(NamedTuple):
    """A logged record that was written (`body` None: deleted)."""

    tenant: str
    kind: str
    id: str
    body: Json | None


class Touched(NamedTuple):
    """What a stretch of the log is about: enough to forget what a cache holds.

    `entities` is None when they are too many to name: anything may have changed.
    """

    entities: list[tuple[str, str]] | None  # (tenant, id)
    records: list[TouchedRecord]


class Transaction(Protocol):
    """One group's transaction; made by `Store.begin`, ended by `commit` or `rollback`."""

    seen: Seen  # what was there before; until this transaction ends nobody else adds to it
    reached: Seen  # what will be there, once this transaction is committed; known when `apply` has returned

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]: ...

    async def record(self, tenant: str, kind: str, id: str) -> Json | None: ...

    async def apply(self, writes: Writes) -> int:
        """Write everything; return the sequence of the first change row.

        Sequences are given in the order of `writes.entities` (their changes in order), then of the logged records: the
        caller computes the others by counting.
        """

    async def commit(self) -> None:
        """Return when everything is on disk."""

    async def rollback(self) -> None: ...


class Store(HistoryStore, Protocol):
    """Current state, change log and records of all tenants ("" is the default). Times: microseconds since 1970 UTC."""

    capabilities: Capabilities

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def check(self) -> list[str]:
        """Return what is wrong with the stored data, one sentence each; empty when all is well."""

    async def begin(self) -> Transaction: ...

    async def tenants(self) -> list[str]: ...

    async def documents(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]:
        """Return the current documents of those ids that exist, in any order. Expired ones are left out by core."""

    async def find(self, tenant: str, query: EntityQuery) -> Found:
        """Return the page of ids that match exactly."""

    async def type_names(self, tenant: str) -> list[tuple[str, int]]:
        """Return each entity type in use with the number of its entities, by name."""

    async def record(self, tenant: str, kind: str, id: str) -> Json | None: ...

    async def records(self, kind: str, *, tenant: str | None = None) -> list[tuple[str, str, Json]]:
        """Return (tenant, id, body) of all records of a kind, in order of creation; of all tenants when None."""

    async def changes(self, after: int, *, limit: int) -> list[StoredChange]:
        """Return rows of the log with a sequence above `after`, in order."""

    async def last_sequence(self) -> int: ...

    async def seen(self) -> Seen:
        """Return how far the store has come, whichever process wrote last."""

    async def size(self) -> StoreSize:
        """Return how much the store holds. It looks at every entity's row: ask once a minute, not each second."""

    async def touched(self, after: int, up_to: int, *, entities_max: int) -> Touched:
        """Return what the changes with a sequence above `after`, up to and with `up_to`, are about."""

    async def lease(self, name: str, holder: str, lifetime_s: float) -> bool:
        """Take or renew the lease of a job that one process at a time may do; False: somebody else has it."""

    async def release(self, name: str, holder: str) -> None:
        """Give a lease back, if the holder still has it."""

    async def bookmark(self, reader: str) -> int:
        """Return the last sequence the reader has dealt with; 0 for a new reader."""

    async def expired(self, now_us: int, *, limit: int) -> list[tuple[str, str]]:
        """Return (tenant, id) of entities whose `expiresAt`, or that of one of their attributes, has passed."""

    async def declare_index(self, tenant: str, attribute: str) -> None:
        """Keep an index over the attribute's values (and positions), so that q, geo and order over it need no scan."""

    async def drop_index(self, tenant: str, attribute: str) -> None: ...

    async def indexes(self, tenant: str) -> list[str]: ...
