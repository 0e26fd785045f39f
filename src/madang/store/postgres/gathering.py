# SPDX-License-Identifier: Apache-2.0
"""Reads of single documents that come together are asked together: one round trip for all requests of one turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson

from madang.model.entity import Document

# Returns (id, JSON text) of those entities of a tenant that are there.
Fetch = Callable[[int, list[str]], Awaitable[Sequence[tuple[str, str]]]]

_UNDER_WAY_MAX: Final = 2


class Gathering:
    """Gathers the ids asked for while a turn of the loop, or the questions before, are under way.

    A question is only sent after it was asked for, so its answer holds whatever was durable by then.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._waiting: dict[int, tuple[dict[str, None], asyncio.Future[dict[str, str]]]] = {}
        self._under_way = 0
        self._planned = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def documents(self, tenant: int, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of those ids that exist."""
        if tenant not in self._waiting:
            self._waiting[tenant] = ({}, asyncio.get_running_loop().create_future())
        asked, answer = self._waiting[tenant]
        asked.update(dict.fromkeys(ids))
        self._plan()
        bodies = await asyncio.shield(answer)
        # Each caller parses for itself: documents may be changed by nobody, but they are kept by several.
        return {id: orjson.loads(bodies[id]) for id in ids if id in bodies}

    def _plan(self) -> None:
        if not self._planned and self._waiting and self._under_way < _UNDER_WAY_MAX:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._planned = False
        waiting, self._waiting = self._waiting, {}
        for tenant, (ids, answer) in waiting.items():
            self._under_way += 1
            task = asyncio.create_task(self._carry_out(tenant, list(ids), answer), name="documents")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, tenant: int, ids: list[str], answer: asyncio.Future[dict[str, str]]) -> None:
        try:
            answer.set_result(dict(await self._fetch(tenant, ids)))
        except BaseException as error:
            answer.set_exception(error)
            answer.exception()  # with nobody waiting any more it is no news
            if not isinstance(error, Exception):
                raise
        finally:
            self._under_way -= 1
            self._plan()
