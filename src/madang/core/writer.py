# SPDX-License-Identifier: Apache-2.0
"""The only writer: gathers concurrent mutations into one durable transaction and answers them together.

A mutation is a pure function on the current state (`decide`). All mutations that wait when the store becomes free
form one group: their entities are loaded at once, they are decided one after the other (each sees what the ones before
it left), everything is written in one transaction, and only when that is on disk do the callers get
their answers and the listeners their commits (decision record 0003).

Here is also where every change is held against the grants of whoever asked for it (`View.attempt`), on whichever way
it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import perf_counter_ns
from typing import Any, TypeVar, cast

from madang.base.clock import Clock
from madang.base.errors import Denied, HubError, LimitExceeded, StoreFailed, TenantNotFound
from madang.base.limits import (
    DOCUMENTS_CACHED_MAX,
    WRITE_GROUP_ENTITIES_MAX,
    WRITE_GROUP_MUTATIONS_MAX,
    WRITE_QUEUE_MUTATIONS_MAX,
)
from madang.base.times import format_date_time
from madang.core.caller import caller
from madang.core.permits import Permits, is_free
from madang.core.tail import Tail
from madang.model.change import Change, EntityCommit
from madang.model.entity import Document, Json
from madang.model.permit_writing import IN_THE_WAY, WritingPermit
from madang.store.port import EntityWrite, RecordWrite, Seen, Store, Transaction, Writes, change_count

T = TypeVar("T")
Listener = Callable[[Sequence[EntityCommit]], None]
Watcher = Callable[[int, int], None]
log = logging.getLogger(__name__)

_ABSENT: Any = object()


class View:
    """What one mutation sees and does. Nothing of it is kept when the mutation raises."""

    __slots__ = (
        *("_group", "_local", "_local_records", "_permit", "_trial", "_who"),
        *("now", "now_us", "tenant", "writes"),
    )

    def __init__(
        self,
        group: _Group,
        tenant: str,
        now_us: int,
        now: str,
        permit: WritingPermit | None = None,
        who: str | None = None,
    ) -> None:
        self.tenant = tenant
        self.now_us = now_us
        self.now = now  # the same moment as DateTime text; every system timestamp of this mutation
        self.writes = Writes()
        self._group = group
        self._local: dict[str, Document | None] | None = None
        self._local_records: dict[tuple[str, str], Json | None] | None = None
        self._permit = permit
        self._who = who
        # While something is tried on what the caller may know: the entities as the trial has left them.
        self._trial: dict[str, Document | None] | None = None

    def attempt(self, act: Callable[[], T]) -> T:
        """Do something as a whole: it is done and covered by the grants of the caller, or nothing of it is kept.

        For a caller with limits it is first tried on what he may know of. So whatever is wrong is said as if there
        was nothing else; and if only the rest stands in the way, no more than that is said.

        Raises: Denied: the grants do not cover it. What `act` raises.
        """
        if self._permit is None or self._trial is not None:
            return act()
        self._trial = {}
        try:
            result = act()
        finally:
            self._trial = None
        writes = self.writes
        entities, hidden, dropped = len(writes.entities), len(writes.history_hidden), len(writes.history_dropped)
        local = None if self._local is None else dict(self._local)
        try:
            act()
        except HubError:
            del writes.entities[entities:], writes.history_hidden[hidden:], writes.history_dropped[dropped:]
            self._local = local
            raise Denied(IN_THE_WAY) from None
        return result

    def entity(self, id: str) -> Document | None:
        """Return the document as left by the mutations before; `id` must be among the declared keys."""
        if self._trial is not None:
            if id in self._trial:
                return self._trial[id]
            assert self._permit is not None
            document = self._stands(id)
            return None if document is None else self._permit.known.visible(document)
        return self._stands(id)

    def _stands(self, id: str) -> Document | None:
        if self._local is not None:
            document = self._local.get(id, _ABSENT)
            if document is not _ABSENT:
                return cast("Document | None", document)
        return self._group.documents[self.tenant, id]

    def create(self, document: Document) -> None:
        """Write an entity that was not there; its change rows follow from the document (`creation_changes`)."""
        self._write(document["id"], None, document, None)

    def put(self, before: Document | None, after: Document, changes: Sequence[Change]) -> None:
        """Write an entity with its change rows (`after["id"]` says which)."""
        self._write(after["id"], before, after, changes)

    def delete(self, before: Document, changes: Sequence[Change]) -> None:
        """Take away the current state; the history stays and gets the given rows."""
        self._write(before["id"], before, None, changes)

    def log(self, entity: str, changes: Sequence[Change], *, types: Sequence[str] = ()) -> None:
        """Append rows to the log (history) without touching the current state.

        `types` are those of an entity of which only history is left.
        """
        document = self.entity(entity)
        self._write(entity, document, document, changes, types)

    def record(self, kind: str, id: str) -> Json | None:
        """Return a record; (kind, id) must be among the declared records."""
        if self._local_records is not None and (kind, id) in self._local_records:
            return self._local_records[kind, id]
        return self._group.records[self.tenant, kind, id]

    def put_record(self, kind: str, id: str, body: Json, *, logged: bool = True) -> None:
        self._write_record(kind, id, body, logged=logged)

    def delete_record(self, kind: str, id: str, *, logged: bool = True) -> None:
        self._write_record(kind, id, None, logged=logged)

    def hide_history(self, sequence: int) -> None:
        """Take one history row out of sight (it stays in the log). A row logged with it says of which attribute."""
        if self._trial is None:
            self.writes.history_hidden.append(sequence)

    def drop_history(self, entity: str, *, types: Sequence[str] = ()) -> None:
        """Take all history of an entity out of sight; `types` as for `log`."""
        if self._permit is not None:
            vague = self._trial is not None
            reason = self._permit.refusal_of_history(self.entity(entity), types, vague=vague)
            if reason is not None:
                raise Denied(reason)
        if self._trial is None:
            self.writes.history_dropped.append((self.tenant, entity))

    def bookmark(self, reader: str, sequence: int) -> None:
        self.writes.bookmarks[reader] = sequence

    def _write(
        self,
        id: str,
        before: Document | None,
        after: Document | None,
        changes: Sequence[Change] | None,
        types: Sequence[str] = (),
    ) -> None:
        if self._permit is not None:
            vague = self._trial is not None
            reason = self._permit.refusal(before, after, changes or (), now_us=self.now_us, types=types, vague=vague)
            if reason is not None:
                raise Denied(reason)
        if self._trial is not None:
            self._trial[id] = after
            return
        rows = None if changes is None else tuple(changes)
        self.writes.entities.append(EntityWrite(self.tenant, id, before, after, self.now_us, rows, self._who))
        if self._local is None:
            self._local = {}
        self._local[id] = after

    def _write_record(self, kind: str, id: str, body: Json | None, *, logged: bool) -> None:
        self.writes.records.append(RecordWrite(self.tenant, kind, id, body, self.now_us, logged))
        if self._local_records is None:
            self._local_records = {}
        self._local_records[kind, id] = body

    def keep(self) -> None:
        """Let the mutations after this one see what it did."""
        if self._local is not None:
            for id, document in self._local.items():
                self._group.documents[self.tenant, id] = document
        if self._local_records is not None:
            for (kind, id), body in self._local_records.items():
                self._group.records[self.tenant, kind, id] = body


class _Mutation:
    __slots__ = (
        *("create_tenant", "decide", "error", "future", "itemised", "keys", "permit", "records", "result", "tenant"),
        "who",
    )

    def __init__(
        self, tenant: str, keys: Sequence[str], records: Sequence[tuple[str, str]], decide: Callable[[View], Any]
    ) -> None:
        self.tenant = tenant
        self.keys = keys
        self.records = records
        self.decide = decide
        self.create_tenant = False
        self.itemised = False
        self.permit: WritingPermit | None = None
        self.who: str | None = None
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.result: Any = None
        self.error: BaseException | None = None


class _Group:
    """The state that the mutations of one transaction see."""

    __slots__ = ("documents", "records", "writes")

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Document | None] = {}
        self.records: dict[tuple[str, str, str], Json | None] = {}
        self.writes = Writes()

    def add(self, more: Writes) -> None:
        writes = self.writes
        writes.entities += more.entities
        writes.records += more.records
        writes.bookmarks.update(more.bookmarks)
        writes.history_hidden += more.history_hidden
        writes.history_dropped += more.history_dropped


class Writer:
    """Runs mutations in groups. One per process; made and closed by the roof."""

    def __init__(self, store: Store, clock: Clock, tail: Tail | None = None) -> None:
        self._store = store
        self._clock = clock
        self.tail = tail or Tail(store)
        self.tail.on_tenants(self._tenants_changed)
        self.tail.on_entities(self._forget)
        self.permits = Permits()
        self._queue: list[_Mutation] = []
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._closing = False
        self._listeners: list[Listener] = []
        self._watchers: list[Watcher] = []
        self._tenants: set[str] = set()
        self._young: dict[tuple[str, str], Document] = {}
        self._old: dict[tuple[str, str], Document] = {}

    async def start(self) -> None:
        await self.tail.start()
        await self.permits.start(self._store, self.tail)
        self._tenants = set(await self._store.tenants())
        self._pump = asyncio.create_task(self._run(), name="writer")

    async def close(self) -> None:
        """Write what waits, then stop. Further writes are refused."""
        self._closing = True
        self._wake.set()
        if self._pump is not None:
            await self._pump

    def subscribe(self, listener: Listener) -> None:
        """Call the listener (quickly, on the loop) with the commits of each group, after it is durable."""
        self._listeners.append(listener)

    def watch(self, watcher: Watcher) -> None:
        """Tell the watcher of each group that is on disk: its mutations, and its nanoseconds from begin to commit."""
        self._watchers.append(watcher)

    @property
    def waiting(self) -> int:
        """How many mutations wait for their group."""
        return len(self._queue)

    @property
    def sequence_last(self) -> int:
        """The sequence of the newest durable change row that this process knows of."""
        return self.tail.seen.sequence

    def has_tenant(self, tenant: str) -> bool:
        return tenant in self._tenants

    def tenants(self) -> list[str]:
        return sorted(self._tenants)

    async def write(
        self,
        tenant: str,
        keys: Sequence[str],
        decide: Callable[[View], T],
        *,
        records: Sequence[tuple[str, str]] = (),
        create_tenant: bool = False,
        itemised: bool = False,
    ) -> T:
        """Run `decide` (pure, quick, synchronous) on the current state; return its result once it is on disk.

        Args:
            tenant: whose state; "" is the default tenant.
            keys: ids of all entities that decide may look at or write.
            decide: records its writes in the view, or raises an error of the tree, and then nothing is written.
            records: (kind, id) of all records that decide may look at.
            create_tenant: make the tenant when it is not there.
            itemised: decide goes through `View.attempt` with each of the things it does, so that what is denied of one
                of them leaves the others alone.

        Raises:
            Denied: the grants of the caller do not cover it.
            TenantNotFound: the tenant does not exist and create_tenant is False.
            LimitExceeded: too many mutations wait already.
            StoreFailed: the store could not write; nothing of this mutation is kept.
        """
        if self._closing:
            raise StoreFailed("The hub is stopping; send the request again later", retry_after_s=5)
        # Who writes is known now; when the group is decided, the task is the writer's own.
        permit = self.permits.writing(tenant) if keys else None
        if tenant not in self._tenants and not create_tenant:
            raise TenantNotFound(f"There is no tenant {tenant!r}; a creating operation makes one")
        if len(self._queue) >= WRITE_QUEUE_MUTATIONS_MAX:
            raise LimitExceeded(f"More than {WRITE_QUEUE_MUTATIONS_MAX} writes wait; send the request again later")
        mutation = _Mutation(tenant, keys, records, decide)
        mutation.create_tenant, mutation.itemised, mutation.permit = create_tenant, itemised, permit
        who = caller()
        mutation.who = None if is_free(who) else who.id
        self._queue.append(mutation)
        self._wake.set()
        return cast("T", await mutation.future)

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
            # One turn of the loop lets every request that has already arrived join this group.
            await asyncio.sleep(0)
            await self._write_next()

    async def _write_next(self) -> None:
        """Write everything that waits when the store's turn has come."""
        try:
            transaction = await self._store.begin()
        except Exception as error:  # noqa: BLE001 - whatever the store raises is told to the callers
            self._refuse(self._take(), error)
            return
        mutations = self._take()
        try:
            await self._attempt(transaction, mutations)
        except Exception as error:  # noqa: BLE001
            if len(mutations) == 1 or (isinstance(error, StoreFailed) and error.retry_after_s is not None):
                self._refuse(mutations, error)
                return
            # One mutation's data must not fail its neighbours: each is tried alone.
            for mutation in mutations:
                if not mutation.future.done():
                    await self._write_alone(mutation)

    async def _write_alone(self, mutation: _Mutation) -> None:
        try:
            await self._attempt(await self._store.begin(), [mutation])
        except Exception as error:  # noqa: BLE001
            self._refuse([mutation], error)

    def _take(self) -> list[_Mutation]:
        """Take from the queue what one transaction may hold."""
        taken = entities = 0
        for mutation in self._queue[:WRITE_GROUP_MUTATIONS_MAX]:
            entities += len(mutation.keys)
            if taken and entities > WRITE_GROUP_ENTITIES_MAX:
                break
            taken += 1
        group, self._queue = self._queue[:taken], self._queue[taken:]
        return group

    def _refuse(self, mutations: list[_Mutation], error: Exception) -> None:
        log.error("%s writes failed in the store: %s", len(mutations), type(error).__name__)
        failure = error if isinstance(error, HubError) else StoreFailed(f"The store could not write: {error}")
        for mutation in mutations:
            if not mutation.future.done():
                mutation.future.set_exception(failure)

    async def _attempt(self, transaction: Transaction, mutations: list[_Mutation]) -> None:
        began_ns = perf_counter_ns()
        # Until what is written here has been told, nothing that follows the log may pass it.
        async with self.tail.lock:
            try:
                if transaction.seen != self.tail.seen:
                    await self.tail.reach(transaction.seen)
                group = await self._load(transaction, mutations)
                self._decide(group, mutations)
                first = 0
                if _has_something(group.writes):
                    first = await transaction.apply(group.writes)
                await transaction.commit()
            except BaseException:
                # The cause is raised; a transaction that is broken beyond rollback ends with its connection.
                with contextlib.suppress(Exception):
                    await transaction.rollback()
                raise
            self._publish(group.writes, first, transaction.reached)
        for watcher in self._watchers:
            watcher(len(mutations), perf_counter_ns() - began_ns)
        for mutation in mutations:
            if mutation.future.done():  # the caller has gone away
                continue
            if mutation.error is not None:
                mutation.future.set_exception(mutation.error)
            else:
                mutation.future.set_result(mutation.result)

    async def _load(self, transaction: Transaction, mutations: list[_Mutation]) -> _Group:
        group = _Group()
        documents = group.documents
        known = self._known
        missing: dict[str, list[str]] = {}
        for mutation in mutations:
            tenant = mutation.tenant
            for id in mutation.keys:
                key = (tenant, id)
                if key not in documents:
                    documents[key] = found = known(key)
                    if found is None:
                        missing.setdefault(tenant, []).append(id)
            for kind, id in mutation.records:
                if (tenant, kind, id) not in group.records:
                    group.records[tenant, kind, id] = await transaction.record(tenant, kind, id)
        for tenant, ids in missing.items():
            if tenant in self._tenants:
                for id, document in (await transaction.documents(tenant, ids)).items():
                    documents[tenant, id] = document
        return group

    def _decide(self, group: _Group, mutations: list[_Mutation]) -> None:
        now_us = self._clock.now_us()
        now = format_date_time(now_us)
        for mutation in mutations:
            if mutation.future.done():
                mutation.error = asyncio.CancelledError()
                continue
            view = View(group, mutation.tenant, now_us, now, mutation.permit, mutation.who)
            try:
                if mutation.permit is None or mutation.itemised:
                    mutation.result = mutation.decide(view)
                else:
                    mutation.result = view.attempt(partial(mutation.decide, view))
            except HubError as error:
                mutation.error = error
                continue
            except Exception as error:  # noqa: BLE001 - a mistake in one mutation is its caller's answer, not the group's
                mutation.error = error
                continue
            view.keep()
            group.add(view.writes)
            is_new = mutation.create_tenant and mutation.tenant not in self._tenants
            if is_new and mutation.tenant not in group.writes.tenants:
                group.writes.tenants.append(mutation.tenant)

    def _publish(self, writes: Writes, first: int, reached: Seen) -> None:
        self._tenants.update(writes.tenants)
        commits = []
        sequence = first
        for write in writes.entities:
            last = sequence + change_count(write) - 1
            commits.append(
                EntityCommit(
                    sequence, last, write.tenant, write.time_us, write.entity, write.before, write.after, write.changes
                )
            )
            sequence = last + 1
            self._remember(write.tenant, write.entity, write.after)
        self.tail.wrote(reached, writes.records)
        if commits:
            for listener in self._listeners:
                try:
                    listener(commits)
                except Exception:
                    log.exception("a listener of the writer failed")

    def _remember(self, tenant: str, id: str, document: Document | None) -> None:
        """Keep what was written; when the younger half is full, the older one is forgotten as a whole."""
        key = (tenant, id)
        if document is None:
            self._young.pop(key, None)
            self._old.pop(key, None)
            return
        self._young[key] = document
        if len(self._young) > DOCUMENTS_CACHED_MAX // 2:
            self._old, self._young = self._young, {}

    def _forget(self, entities: Sequence[tuple[str, str]] | None) -> None:
        """Drop what others wrote (None: everything)."""
        if entities is None:
            self._young, self._old = {}, {}
            return
        for key in entities:
            self._young.pop(key, None)
            self._old.pop(key, None)

    def _tenants_changed(self, tenants: Sequence[str]) -> None:
        self._tenants = set(tenants)

    def _known(self, key: tuple[str, str]) -> Document | None:
        return self._young.get(key) or self._old.get(key)


def _has_something(writes: Writes) -> bool:
    parts: Iterable[Any] = (
        *(writes.entities, writes.records, writes.bookmarks, writes.tenants),
        *(writes.history_hidden, writes.history_dropped),
    )
    return any(parts)
