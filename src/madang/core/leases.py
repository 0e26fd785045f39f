# SPDX-License-Identifier: Apache-2.0
"""Jobs that one worker at a time does: whoever holds a job's lease in the store runs it (decision record 0009).

A lease lives LEASE_S and is renewed every LEASE_RENEW_S. The holder counts the life from before it asked, by its own
monotonic clock, and stops the job LEASE_STOP_S before the end: so the job has stopped before the store gives the lease
to somebody else, even when the store cannot be reached. What a worker leaves behind that dies is taken over within
LEASE_S + LEASE_RENEW_S and the time that starting takes; a worker that stops gives its leases back at once.
In an exclusive store there is nobody to share with: a job starts when it is added and runs until the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

from madang.base.limits import LEASE_RENEW_S, LEASE_S, LEASE_STOP_S
from madang.store.port import Capabilities

log = logging.getLogger(__name__)
Step: TypeAlias = Callable[[], Awaitable[None]]


class LeasingStore(Protocol):
    """The part of the Store that leases need."""

    capabilities: Capabilities

    async def lease(self, name: str, holder: str, lifetime_s: float) -> bool: ...

    async def release(self, name: str, holder: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Job:
    name: str
    start: Step
    stop: Step  # in good order
    abort: Step  # at once
    until_s: float = 0.0  # of the loop's clock: until when the lease is ours for sure
    running: bool = False  # from the moment it begins to start
    starting: asyncio.Task[None] | None = None
    keeper: asyncio.Task[None] | None = None
    unanswered: bool = False  # the store did not answer the last time
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Leases:
    """The jobs of one worker.

    Args:
        holder: what tells this worker from all others, of this and other machines, before and after.
    """

    def __init__(self, store: LeasingStore, holder: str) -> None:
        self._store = store
        self._holder = holder
        self._exclusive = store.capabilities.exclusive
        self._jobs: list[_Job] = []

    async def add(self, name: str, start: Step, stop: Step, abort: Step | None = None) -> None:
        """Run a job whenever this worker holds the lease of that name; try to get it before returning.

        Args:
            name: of the lease, the same in all workers.
            start: begins the job; what it raises is logged and tried again (raised in an exclusive store).
            stop: ends it in good order, when this worker stops; the lease is kept meanwhile.
            abort: ends it at once, when the lease is lost; `stop` when None.
        """
        job = _Job(name, start, stop, abort or stop)
        self._jobs.append(job)
        if self._exclusive:
            job.running = True
            await start()
            return
        await self._look(job)
        job.keeper = asyncio.create_task(self._keep(job), name=f"lease-{name}")
        if job.starting is not None:
            await asyncio.wait((job.starting,))

    @property
    def names(self) -> list[str]:
        """The jobs that were added."""
        return [job.name for job in self._jobs]

    async def look(self) -> None:
        """Try now, and not only at the next renewal, to get the leases that others have given back."""
        for job in [] if self._exclusive else self._jobs:
            await self._look(job)
            if job.starting is not None:
                await asyncio.wait((job.starting,))

    def runs(self, name: str) -> bool:
        """Tell whether this worker does the job, and its lease is its own for sure."""
        return any(job.name == name and job.running and self._holds(job) for job in self._jobs)

    async def close(self) -> None:
        """End all jobs in good order, the last one first, and give the leases back."""
        async with contextlib.AsyncExitStack() as closing:
            for job in self._jobs:
                closing.push_async_callback(job.stop if self._exclusive else partial(self._leave, job))
        self._jobs.clear()

    async def abandon(self) -> None:
        """Stop everything where it stands and keep the leases, as a crash would (for tests)."""
        for job in self._jobs:
            if job.keeper is not None:
                job.keeper.cancel()
                await asyncio.wait((job.keeper,))
            await self._end(job)
        self._jobs.clear()

    # ---- one lease

    async def _keep(self, job: _Job) -> None:
        while True:
            wait_s = LEASE_RENEW_S
            if job.running:
                wait_s = min(wait_s, max(0.0, job.until_s - LEASE_STOP_S - self._now_s()))
            await asyncio.sleep(wait_s)
            await self._look(job)

    async def _look(self, job: _Job) -> None:
        """Get or renew the lease, and begin or end the job by what came of it."""
        async with job.looking:
            await self._look_alone(job)

    async def _look_alone(self, job: _Job) -> None:
        if job.running and not self._holds(job):
            log.warning("the lease %s could not be renewed in time; its job stops here", job.name)
            await self._end(job)
            return
        asked_s = self._now_s()
        held = await self._ask(job, LEASE_RENEW_S)
        if held:
            job.until_s = asked_s + LEASE_S
            if not job.running and self._holds(job):
                job.running = True
                job.starting = asyncio.create_task(self._begin(job), name=f"start-{job.name}")
        elif held is False and job.running:
            log.warning("the lease %s was taken by another worker; its job stops here", job.name)
            await self._end(job)

    async def _ask(self, job: _Job, timeout_s: float) -> bool | None:
        """Return whether we hold the lease; None when the store does not answer."""
        if job.running:
            timeout_s = min(timeout_s, max(0.0, job.until_s - LEASE_STOP_S - self._now_s()))
        try:
            async with asyncio.timeout(timeout_s):
                held = await self._store.lease(job.name, self._holder, LEASE_S)
        except Exception as error:  # noqa: BLE001 - whatever it is: the lease runs out, or the next look gets it
            if not job.unanswered:
                log.warning("the lease %s could not be asked for: %s", job.name, type(error).__name__)
            job.unanswered = True
            return None
        job.unanswered = False
        return held

    async def _begin(self, job: _Job) -> None:
        """Start the job; its lease is renewed meanwhile."""
        try:
            await job.start()
        except Exception:
            log.exception("the job %s could not be started; the next attempt is in %s s", job.name, LEASE_RENEW_S)
            job.starting = None
            await self._end(job)
        else:
            log.info("this worker does the job %s from now on", job.name)

    async def _end(self, job: _Job) -> None:
        """Stop the job where it stands."""
        if not job.running:
            return
        starting, job.starting = job.starting, None
        if starting is not None and not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
        try:
            await job.abort()
        except Exception:
            log.exception("the job %s could not be stopped cleanly", job.name)
        job.running = False

    async def _leave(self, job: _Job) -> None:
        """End the job in good order while the lease is still renewed, and give it back."""
        if job.running and (job.starting is None or job.starting.done()):
            stopping = asyncio.ensure_future(job.stop())
            while not stopping.done() and self._holds(job):
                await asyncio.wait((stopping,), timeout=max(0.0, job.until_s - LEASE_STOP_S - self._now_s()))
            if stopping.done() and not stopping.cancelled():
                job.running = False
                if stopping.exception() is not None:
                    log.error("the job %s could not be stopped cleanly", job.name, exc_info=stopping.exception())
            else:
                stopping.cancel()
                await asyncio.wait((stopping,))
        await self._end(job)
        if job.keeper is not None:
            job.keeper.cancel()
            await asyncio.wait((job.keeper,))
        try:
            async with asyncio.timeout(LEASE_RENEW_S):
                await self._store.release(job.name, self._holder)
        except Exception as error:  # noqa: BLE001 - then it runs out by itself
            log.warning("the lease %s could not be given back: %s", job.name, type(error).__name__)

    def _holds(self, job: _Job) -> bool:
        return self._exclusive or self._now_s() < job.until_s - LEASE_STOP_S

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
