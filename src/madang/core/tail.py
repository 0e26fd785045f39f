# SPDX-License-Identifier: Apache-2.0
"""What this process holds in memory stays true while others write to the same store (decision record 0009).

Every request first asks the store how far the log has come (`current`); requests that come together ask once. When
somebody else has written, what that was about is read from the log and told to those who keep copies. So an answer
never shows a state older than the last write that was acknowledged before its request came, whichever worker took it.
In an exclusive store nobody else writes, and `current` returns at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from madang.base.limits import TAIL_ENTITIES_MAX

if TYPE_CHECKING:
    from madang.model.entity import Json
    from madang.store.port import RecordWrite, Seen, Store

# Told of entities that another process wrote, as (tenant, id); None: any entity may have changed.
EntityListener = Callable[[Sequence[tuple[str, str]] | None], None]
# Told of each logged record of a kind, whoever wrote it: (tenant, id, body; None when it was deleted).
RecordListener = Callable[[str, str, "Json | None"], None]
log = logging.getLogger(__name__)


class Tail:
    """One per process, made before the writer.

    Listeners are called on the loop, in the order of the log, and must be quick.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._follows = not store.capabilities.exclusive
        self._entities: list[EntityListener] = []
        self._records: dict[str, list[RecordListener]] = {}
        self._generations: list[Callable[[Sequence[str]], None]] = []
        self._look: asyncio.Future[None] | None = None
        self._next_look: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Held from the moment a transaction knows what was before it until what it wrote has been told.
        self.lock = asyncio.Lock()
        self.seen: Seen

    async def start(self) -> None:
        self.seen = await self._store.seen()

    @property
    def follows(self) -> bool:
        """Whether others may write to the store."""
        return self._follows

    def on_entities(self, listener: EntityListener) -> None:
        """Tell the listener of entities that other processes wrote (this one's writes: `Writer.subscribe`)."""
        self._entities.append(listener)

    def on_records(self, kind: str, listener: RecordListener) -> None:
        """Tell the listener of every logged record of the kind, written here or elsewhere, once it is durable."""
        self._records.setdefault(kind, []).append(listener)

    def on_tenants(self, listener: Callable[[Sequence[str]], None]) -> None:
        """Tell the listener of all tenants whenever others may have made one."""
        self._generations.append(listener)

    async def current(self) -> None:
        """Return when everything that was durable at the time of the call has been told to the listeners.

        Raises: StoreFailed: the store cannot be read.
        """
        if not self._follows:
            return
        # A look that has already begun may miss what was written since: callers join the one after it.
        if self._look is None:
            self._look = self._begin_look()
            await asyncio.shield(self._look)
            return
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._next_look)

    async def reach(self, seen: Seen) -> None:
        """Tell what happened up to there; the lock must be held."""
        if seen.generation > self.seen.generation:
            tenants = await self._store.tenants()
            for hears_tenants in self._generations:
                _tell(hears_tenants, tenants)
            # Rows may have been taken out of the log, so it cannot say of all entities that they were written.
            for listener in self._entities:
                _tell(listener, None)
        if seen.sequence > self.seen.sequence:
            touched = await self._store.touched(self.seen.sequence, seen.sequence, entities_max=TAIL_ENTITIES_MAX)
            if touched.entities is None or touched.entities:
                for listener in self._entities:
                    _tell(listener, touched.entities)
            for record in touched.records:
                self._tell_record(record.kind, record.tenant, record.id, record.body)
        self.seen = self.seen._replace(
            sequence=max(seen.sequence, self.seen.sequence), generation=max(seen.generation, self.seen.generation)
        )

    def wrote(self, seen: Seen, records: Sequence[RecordWrite]) -> None:
        """Note what this process wrote itself and tell its records; the lock must be held."""
        self.seen = seen
        if self._records:
            for record in records:
                if record.logged:
                    self._tell_record(record.kind, record.tenant, record.id, record.body)

    def _tell_record(self, kind: str, tenant: str, id: str, body: Json | None) -> None:
        for listener in self._records.get(kind, ()):
            _tell(listener, tenant, id, body)

    def _begin_look(self, future: asyncio.Future[None] | None = None) -> asyncio.Future[None]:
        future = future or asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._carry_out(future), name="tail")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return future

    async def _carry_out(self, future: asyncio.Future[None]) -> None:
        try:
            seen = await self._store.seen()
            if seen != self.seen:
                async with self.lock:
                    await self.reach(seen)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            if not future.done():
                future.set_exception(error)
                future.exception()  # with nobody waiting any more it is no news
        else:
            if not future.done():
                future.set_result(None)
        following, self._next_look = self._next_look, None
        self._look = None if following is None else self._begin_look(following)


def _tell(listener: Callable[..., None], *news: Any) -> None:
    """Tell one listener; its mistake neither keeps the others from hearing it nor repeats the write it is about."""
    try:
        listener(*news)
    except Exception:
        log.exception("a listener of the log failed")
