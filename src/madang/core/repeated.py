# SPDX-License-Identifier: Apache-2.0
"""Work that is done again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class Repeated:
    """A job from `start` to `stop`; it may be started again.

    Args:
        name: told in the log and in what keeps the hub from working.
        work: done at once and after each pause; when it fails that is logged.
        pause_s: between two times.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[object]], pause_s: float) -> None:
        self.name = name
        self._work = work
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself, which it must not."""
        return self._task is not None and self._task.done()

    async def _run(self) -> None:
        while True:
            try:
                await self._work()
            except Exception:  # whatever it is, the next time may succeed
                log.exception("the job %s failed; the next attempt is in %s s", self.name, self._pause_s)
            await asyncio.sleep(self._pause_s)
