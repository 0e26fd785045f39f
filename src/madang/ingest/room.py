# SPDX-License-Identifier: Apache-2.0
"""The demo as one thing: seeds a city, makes its sample subscriptions, plays it, and says how it goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from madang.base.errors import AlreadyExists, HubError
from madang.base.times import format_date_time
from madang.ingest.city import City, context_of
from madang.ingest.playback import Player
from madang.ingest.seed import Progress, State, seed
from madang.model.query.model import EntityQuery
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.hub import Core
    from madang.model.change import EntityCommit

INBOX: Final = "/madang/v1/demo/inbox"
STATUS: Final = "/madang/v1/demo"
TICK_S: Final = 1.0
_LOG = logging.getLogger("madang.demo")


@dataclass(slots=True)
class Inbox:
    """Counts the notifications of the sample subscriptions."""

    notifications: int = 0

    async def put(self, request: Request) -> Response:
        await request.body()
        self.notifications += 1
        return Response(204)


@dataclass(frozen=True, slots=True)
class Summary:
    """How the demo goes, for one line."""

    entities: int
    changes_per_s: float
    history_rows: int
    notifications: int
    demo_time: str
    speed: float


class Demo:
    """One city in one hub. Its routes go into the application before the hub opens; the rest begins with `load`.

    Args:
        city: what to play.
        folder: the hub's data folder, for the rows that do not fit.
        speed: how fast the days go by.
    """

    def __init__(self, city: City, folder: Path, *, speed: float = 1.0) -> None:
        self.city = city
        self.state = State()
        self._folder = folder
        self._speed = speed
        self._inbox = Inbox()
        self._core: Core | None = None
        self._player: Player | None = None
        self._entities = 0
        self._seen = (0, 0)

    def routes(self) -> list[Route]:
        """Return the demo's own routes: where notifications arrive, and how it goes."""
        return [Route(("POST",), INBOX, self._inbox.put), Route(("GET",), STATUS, self._tell)]

    async def load(self, core: Core, url: str, progress: Progress, backfilling: Callable[[int, int], None]) -> None:
        """Seed the city, make the subscriptions, and fill the history of the day before.

        Args:
            core: the hub.
            url: under which the hub reaches itself.
            progress: told of each source.
            backfilling: told how many hours of history are written.
        """
        self._core = core
        city = self.city
        core.writer.subscribe(self._count)
        self.state = await State.read(core, city)
        _, there, _ = await core.consumption.find(city.tenant, EntityQuery(limit=0, count=True))
        self._entities = there or 0
        loaded = await seed(core, city, self.state, self._folder, progress)
        self._player = Player(core, city, loaded, self.state, speed=self._speed)
        await self._player.backfill(backfilling)
        await self._subscribe(core, url)
        self._seen = (core.clock.now_us(), core.writer.sequence_last)

    async def play(self) -> None:
        """Play until cancelled."""
        assert self._player is not None
        while True:
            try:
                await self._player.tick()
            except HubError as error:
                # A full disk or a busy hub passes; the next step tries what is due then.
                _LOG.warning("a step could not be written: %s", type(error).__name__)
            await asyncio.sleep(TICK_S)

    async def close(self) -> None:
        """Remember how far it has played."""
        if self._player is not None:
            await self._player.close()

    def summary(self) -> Summary:
        """Return how it goes; the rate of changes is that since the last call."""
        assert self._core is not None
        assert self._player is not None
        now_us, rows = self._core.clock.now_us(), self._core.writer.sequence_last
        then_us, before = self._seen
        self._seen = (now_us, rows)
        rate = (rows - before) * 1e6 / max(1, now_us - then_us)
        demo_time = format_date_time(self._player.demo_us // 1_000_000 * 1_000_000)
        return Summary(self._entities, rate, rows, self._inbox.notifications, demo_time, self._speed)

    async def _subscribe(self, core: Core, url: str) -> None:
        for sample in self.city.subscriptions:
            context = await core.contexts.resolve(self.city.tenant, context_of(sample.context))
            body: dict[str, Any] = {**sample.body}
            notification = {**body.get("notification", {})}
            notification["endpoint"] = {**notification.get("endpoint", {}), "uri": url + INBOX}
            body["notification"] = notification
            try:
                await core.subscriptions.create(self.city.tenant, body, context)
            except AlreadyExists:
                # The hub may listen somewhere else this time.
                await core.subscriptions.update(self.city.tenant, body["id"], {"notification": notification}, context)

    def _count(self, commits: Sequence[EntityCommit]) -> None:
        for commit in commits:
            if commit.tenant == self.city.tenant:
                self._entities += (commit.after is not None) - (commit.before is not None)

    async def _tell(self, request: Request) -> Response:  # noqa: ARG002 (all handlers are called alike)
        body: dict[str, Any] = {"city": self.city.id, "name": self.city.name, "sources": self.state.reports}
        if self._player is not None and self._core is not None:
            body["demoTime"] = format_date_time(self._player.demo_us)
            body["speed"] = self._speed
            body["entities"] = self._entities
            body["historyRows"] = self._core.writer.sequence_last
            body["notifications"] = self._inbox.notifications
        body["ready"] = "demoTime" in body
        return Response(200, orjson.dumps(body), [("content-type", "application/json")])
