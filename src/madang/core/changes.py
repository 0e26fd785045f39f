# SPDX-License-Identifier: Apache-2.0
"""The change log read back as commits: what every reader of the log does after a restart or when it fell behind.

Where several workers write to the store it is the ordinary way. Then a reader has to see what a writer sees: what an
entity was before each commit. For that it keeps the entities that it met, in the state they had at its place in the
log; others are taken as they stand now, with what was written since then undone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

from madang.base.limits import (
    DOCUMENTS_CACHED_MAX,
    NOTIFICATION_COMMITS_WAITING_MAX,
    NOTIFICATION_PAST_ENTITIES,
    NOTIFICATION_REPLAY_CHANGES,
    TAIL_ENTITIES_MAX,
)
from madang.base.times import format_date_time
from madang.model.change import Change, EntityCommit, Operation, StoredChange
from madang.model.entity import Document, Instance, instances_of, one_or_list
from madang.model.replay import creates, state_after, with_instance
from madang.model.temporal.evolution import Evolution, is_tombstone
from madang.model.temporal.history import HistoryReading
from madang.model.temporal.query import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from madang.store.port import Store

Key: TypeAlias = tuple[str, str]  # tenant, entity id
# Rows that are not about the current state of an entity.
_SILENT: Final = frozenset(
    {Operation.HISTORY_ADDED, Operation.HISTORY_DELETED, Operation.RECORD_PUT, Operation.RECORD_DELETED}
)
_REPLACING: Final = frozenset({Operation.ATTRIBUTE_UPDATED, Operation.ATTRIBUTE_DELETED})
_ATTRIBUTES: Final = _REPLACING | {Operation.ATTRIBUTE_CREATED}


@runtime_checkable
class RememberingStore(Protocol):
    """A store that can tell earlier values quickly."""

    async def instances_at(
        self, tenant: str, attributes: Iterable[tuple[str, str]], sequence: int
    ) -> dict[tuple[str, str, str | None], Instance]:
        """Return instances as they were after a change, of attributes named as (entity, attribute)."""


class LogReader:
    """Reads the log from some place on. One per reader, which goes forward only.

    Of a store that can tell earlier values, commits have `before` and the `previous` of each change, as those of the
    writer have; what else an entity had is as of the commit, or newer while the reader is behind. Of other stores they
    have all that was changed; `before` and `previous` are mostly unknown, and what else the entity had may be newer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._earlier = store if isinstance(store, RememberingStore) else None
        self._position = -1
        self._states: dict[Key, Document] = {}  # exactly as they were at the position
        self._own: dict[int, EntityCommit] = {}

    def hear(self, commits: Sequence[EntityCommit]) -> None:
        """Take note of commits of this process, which need not be put together from their rows."""
        if len(self._own) > NOTIFICATION_COMMITS_WAITING_MAX:
            self._own.clear()  # the log has them all
        for commit in commits:
            self._own[commit.commit] = commit

    def next_own(self, position: int) -> EntityCommit | None:
        """Return the commit that begins right behind the position, if it is one of this process."""
        commit = self._own.pop(position + 1, None)
        if commit is not None:
            self._stand_at(position)
            self._keep((commit.tenant, commit.entity), commit.after)
            self._position = commit.sequence_last
        return commit

    def pass_over(self, position: int) -> None:
        """Go on behind a position without reading what lies before it."""
        self._own.clear()
        self._stand_at(position)

    async def pages(self, position: int) -> AsyncIterator[tuple[int, list[EntityCommit]]]:
        """Yield (the last sequence read, the commits up to it) page by page, until the end of the log is reached."""
        rows: list[StoredChange] = []
        more = True
        self._stand_at(position)
        self._own = {commit: one for commit, one in self._own.items() if commit > position}
        while more:
            page = await self._store.changes(position, limit=NOTIFICATION_REPLAY_CHANGES)
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
                commits = await self._commits(ready)
                self._position = ready[-1].sequence
                yield self._position, commits

    def _stand_at(self, position: int) -> None:
        """Forget what was kept for another place in the log."""
        if position != self._position:
            self._states.clear()
            self._position = position

    def _keep(self, key: Key, document: Document | None) -> None:
        self._states.pop(key, None)
        if document is not None:
            self._states[key] = document
            if len(self._states) > DOCUMENTS_CACHED_MAX:
                del self._states[next(iter(self._states))]

    async def _commits(self, rows: Sequence[StoredChange]) -> list[EntityCommit]:
        groups: dict[int, list[StoredChange]] = {}
        for row in rows:
            if row.change.operation not in _SILENT:
                groups.setdefault(row.commit, []).append(row)
        states = await self._states_before(groups, rows[-1].sequence)
        found: list[EntityCommit] = []
        for number, group in groups.items():
            commit = self._own.pop(number, None) or await self._commit(group, states)
            found.append(commit)
            states.now[commit.tenant, commit.entity] = commit.after
        for key, document in states.now.items():
            self._keep(key, None if key in states.doubtful else document)
        return found

    async def _commit(self, group: list[StoredChange], states: _States) -> EntityCommit:
        first = group[0]
        key = (first.tenant, first.change.entity)
        time = format_date_time(first.time_us)
        changes = tuple(row.change for row in group)
        before = None if creates(changes) else states.now.get(key)
        if before is not None and key in states.traced:
            changes = tuple(_with_previous(change, before) for change in changes)
        else:
            changes = tuple([await _with_types(self._store, row) for row in group])
        after = state_after(before, changes, time)
        if after is not None and creates(changes) and states.expiries.get(key, ("", ""))[0] == time:
            after["expiresAt"] = states.expiries[key][1]
        return EntityCommit(
            commit=first.commit,
            sequence_last=group[-1].sequence,
            tenant=key[0],
            time_us=first.time_us,
            entity=key[1],
            before=before if key in states.traced else None,
            after=after,
            changes=changes,
            replayed=True,
        )

    async def _states_before(self, groups: dict[int, list[StoredChange]], last: int) -> _States:
        """Return what the entities were before the first commit that is about them."""
        states = _States()
        missing: dict[Key, StoredChange] = {}
        created: set[Key] = set()
        for number, group in groups.items():
            key = (group[0].tenant, group[0].change.entity)
            if any(row.change.operation is Operation.ENTITY_TOUCHED for row in group):
                self._states.pop(key, None)  # the row does not say what became of it
                states.doubtful.add(key)
            if key in states.now or key in missing or key in created:
                continue
            if creates([row.change for row in group]):
                created.add(key)
                states.traced.add(key)
            elif key in self._states:
                states.now[key] = self._states[key]
                states.traced.add(key)
            elif number in self._own:
                states.now[key] = None  # the commit itself says what became of it
                states.traced.add(key)
            else:
                missing[key] = group[0]
        if missing or created:
            await self._read(states, groups, missing, created, last)
        return states

    async def _read(
        self,
        states: _States,
        groups: dict[int, list[StoredChange]],
        missing: dict[Key, StoredChange],
        created: set[Key],
        last: int,
    ) -> None:
        """Look missing entities up as they stand, and undo what the page says was written to them."""
        documents: dict[Key, Document] = {}
        for tenant, ids in _by_tenant([*missing, *created]).items():
            for id, document in (await self._store.documents(tenant, ids)).items():
                documents[tenant, id] = document
        for key in created:
            document = documents.get(key, {})
            states.expiries[key] = (
                (document.get("createdAt", ""), document["expiresAt"]) if "expiresAt" in document else ("", "")
            )
        present = [key for key in missing if key in documents]
        states.now.update((key, documents[key]) for key in present)
        if self._earlier is not None and present:
            await self._undo(states, groups, present)
        if present:
            states.doubtful |= await self._written_since(present, last)
        gone = {key: row for key, row in missing.items() if key not in documents}
        states.now.update(await _past(self._store, gone))
        states.traced.update(gone)

    async def _undo(self, states: _States, groups: dict[int, list[StoredChange]], present: Sequence[Key]) -> None:
        assert self._earlier is not None
        rows = [row for group in groups.values() for row in group if row.change.attribute is not None]
        named = {key: dict[tuple[str, str | None], None]() for key in present}
        for row in rows:
            key = (row.tenant, row.change.entity)
            if key in named and row.change.operation in _ATTRIBUTES:
                named[key][row.change.attribute or "", row.change.dataset] = None
        for tenant, ids in _by_tenant(present).items():
            wanted = {(id, name) for id in ids for name, _ in named[tenant, id]}
            earlier = await self._earlier.instances_at(tenant, wanted, self._position) if wanted else {}
            for id in ids:
                document = states.now[tenant, id]
                assert document is not None
                for name, dataset in named[tenant, id]:
                    document = with_instance(document, name, dataset, earlier.get((id, name, dataset)))
                states.now[tenant, id] = document
                states.traced.add((tenant, id))

    async def _written_since(self, keys: Sequence[Key], last: int) -> set[Key]:
        """Return which of the entities, read just now, may hold what was written behind the page."""
        if self._earlier is None:
            return set(keys)
        seen = await self._store.seen()
        if seen.sequence <= last:
            return set()
        if seen.sequence > last + NOTIFICATION_REPLAY_CHANGES:
            return set(keys)  # far behind, looking would cost more than it saves
        touched = await self._store.touched(last, seen.sequence, entities_max=TAIL_ENTITIES_MAX)
        return set(keys if touched.entities is None else touched.entities)


class _States:
    """What is known of the entities of a page, while its commits are put together one after the other."""

    __slots__ = ("doubtful", "expiries", "now", "traced")

    def __init__(self) -> None:
        self.now: dict[Key, Document | None] = {}
        self.traced: set[Key] = set()  # of which it is known what each change of the page replaced
        self.doubtful: set[Key] = set()  # not to be kept: they may hold what was written later
        self.expiries: dict[Key, tuple[str, str]] = {}  # of those created in the page: createdAt and expiresAt now


def commits_after(store: Store, position: int) -> AsyncIterator[tuple[int, list[EntityCommit]]]:
    """Yield (the last sequence read, the commits up to it) page by page, until the end of the log is reached."""
    return LogReader(store).pages(position)


async def first_told(store: Store, position: int) -> StoredChange | None:
    """Return the first row after the position that readers of the log have to deal with; None: there is none.

    They pass over rows that are not about the current state of an entity only with the next one that is. After more of
    those than one page the first of them is returned: too much rather than nothing.
    """
    page = await store.changes(position, limit=NOTIFICATION_REPLAY_CHANGES)
    found = next((row for row in page if row.change.operation not in _SILENT), None)
    if found is None and len(page) == NOTIFICATION_REPLAY_CHANGES:
        return page[0]
    return found


async def _past(store: Store, gone: dict[Key, StoredChange]) -> dict[Key, Document | None]:
    """Return what entities that are gone by now were just before a change, as their history tells it."""
    found: dict[Key, Document | None] = {}
    for tenant, ids in _by_tenant(gone).items():
        for start in range(0, len(ids), NOTIFICATION_PAST_ENTITIES):
            some = ids[start : start + NOTIFICATION_PAST_ENTITIES]
            now = format_date_time(max(gone[tenant, id].time_us for id in some))
            page = await store.history_read(tenant, some, HistoryReading(Window(), now=now))
            for evolution in page.evolutions:
                found[tenant, evolution.id] = _document(evolution, gone[tenant, evolution.id].sequence)
    return found


def _document(evolution: Evolution, sequence: int) -> Document:
    """Return what the history says an entity was before a change."""
    created = format_date_time(evolution.created_us)
    document: Document = {"id": evolution.id, "type": one_or_list(evolution.types), "createdAt": created}
    modified_us = evolution.created_us
    for name, instances in [("scope", evolution.scopes), *evolution.attributes.items()]:
        earlier = sorted((one for one in instances if one.instance < sequence), key=lambda one: one.instance)
        modified_us = max([modified_us, *(one.modified_us for one in earlier)])
        latest = {one.value.get("datasetId"): one.value for one in earlier}
        there = [value for value in latest.values() if not is_tombstone(value)]
        if not there:
            continue
        if name == "scope":
            document["scope"] = there[0].get("value")
        else:
            document[name] = one_or_list(sorted(there, key=lambda value: value.get("datasetId") or ""))
    document["modifiedAt"] = format_date_time(modified_us)
    return document


def _with_previous(change: Change, before: Document) -> Change:
    if change.previous is not None or change.attribute is None or change.operation not in _REPLACING:
        return change
    for instance in instances_of(before, change.attribute):
        if instance.get("datasetId") == change.dataset:
            return change._replace(previous=instance)
    return change


def _by_tenant(keys: Iterable[Key]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {}
    for tenant, id in keys:
        ids.setdefault(tenant, []).append(id)
    return ids


async def _with_types(store: Store, row: StoredChange) -> Change:
    """Return the change; that of a deletion with the types the entity had, by which it is matched."""
    change = row.change
    if change.operation is not Operation.ENTITY_DELETED:
        return change
    state = await store.history_state(row.tenant, change.entity)
    return change if state is None else change._replace(value={"type": one_or_list(state.types)})
