# SPDX-License-Identifier: Apache-2.0
"""A hub of several workers on PostgreSQL in a storm: workers, the parent and the database are taken away under load."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from madang.testing.postgres import Cluster
from madang.testing.served import Served, alive, wait_until
from tests.system.kill_rig import Client, Gone, Json, Ledger, Wire

CLIENTS: Final = 8
WORKERS: Final = 2
ACKNOWLEDGED_BETWEEN: Final = (10, 60)  # two blows
PARENT_KILLED_EVERY: Final = 8  # kills; in the others one worker is
BACK_S_MAX: Final = 60.0  # from the moment the database is back until writes are acknowledged
_PAUSE_S: Final = 0.05  # between two tries of a client; so that eight of them do not eat a core
_CONNECTIONS_TRIED: Final = 8  # when the service is said to be back: enough to fall to every worker


class PatientWire(Wire):
    """A connection on which "come again later" counts as a break: nobody knows what became of the request."""

    async def request(self, method: str, path: str, body: Json = None) -> tuple[int, Json]:
        async with asyncio.timeout(BACK_S_MAX + 30.0):
            status, answer = await super().request(method, path, body)
        if status == 503 or (status == 207 and {each["error"]["status"] for each in answer["errors"]} == {503}):
            self.close()
            raise Gone
        return status, answer


class Survivor(Client):
    """A client that finds out after each break what became of its request, and writes on."""

    def __init__(self, name: int, ledger: Ledger, chance: random.Random) -> None:
        super().__init__(name, ledger, chance)
        self._fence = f"urn:ngsi-ld:Fence:{name}"
        self.breaks = 0

    async def live(self, url: Callable[[], str], stop: asyncio.Event) -> None:
        while not stop.is_set():
            wire = PatientWire(url())
            is_settled = False
            try:
                await self.settle(wire)
                is_settled = True
                while not stop.is_set():
                    await self._step(wire)
            except Gone:
                self.breaks += 1
                self._ledger.unknown += is_settled  # a break before that is one more vain try to find out
                await asyncio.sleep(_PAUSE_S)
            finally:
                wire.close()

    async def settle(self, wire: Wire) -> None:
        """See what became of the request that broke.

        The dead worker may have sent its COMMIT, and the database may still be at it. Writers take turns, so what is
        seen after a later write was acknowledged is the last word.
        """
        if any(entity.pending is not None for entity in self.own):
            await write_fence(wire, self._fence)
        await self.look(wire)


async def write_fence(wire: Wire, id: str) -> None:
    """Write something that nobody counts."""
    fence = {"id": id, "type": "Fence", "at": {"type": "Property", "value": time.monotonic_ns()}}
    status, answer = await wire.request("POST", "/ngsi-ld/v1/entityOperations/upsert", [fence])
    assert status in (201, 204), answer


class Storm:
    """The hub, its clients, and the blows; one after the other, each when a number of acknowledgements is in."""

    def __init__(self, cluster: Cluster, store: str, folder: Path, chance: random.Random) -> None:
        self._cluster = cluster
        self._store = store
        self._folder = folder
        self._chance = chance
        self._left = 0
        self._enough = asyncio.Event()
        self._stop = asyncio.Event()
        self._living: asyncio.Future[list[None]] | None = None
        self.kills = 0
        self.stops = 0
        self.back_s: list[float] = []
        self.ledger = Ledger(self._acknowledged)
        self.clients = [Survivor(number, self.ledger, random.Random(chance.random())) for number in range(CLIENTS)]  # noqa: S311 (load)
        self.hub: Served

    async def begin(self) -> None:
        """Start the hub; the load begins with `load`."""
        await self._start("0")

    def load(self) -> None:
        self._living = asyncio.ensure_future(
            asyncio.gather(*(client.live(lambda: self.hub.url, self._stop) for client in self.clients))
        )

    async def calm(self) -> None:
        """Stop writing, and find out about what was under way last."""
        self._stop.set()
        assert self._living is not None
        await self._living
        for client in self.clients:
            await self._until_answered(client.settle)

    async def kill(self) -> None:
        """SIGKILL one worker, or now and then the parent, which takes all workers with it."""
        await self._load_for_a_while()
        self.kills += 1
        if self.kills % PARENT_KILLED_EVERY == 0:
            await self._kill_parent()
            return
        while not self._kill_worker():  # both are dead already, and about to be started again
            await self._living_on(_PAUSE_S)

    async def stop_database(self) -> None:
        """Take the database away until every client has noticed, and see the service come back after it."""
        await self._load_for_a_while()
        self.stops += 1
        mode = self._chance.choice(["immediate", "fast"])
        before = [client.breaks for client in self.clients]
        await asyncio.to_thread(self._cluster.halt, mode)
        async with asyncio.timeout(BACK_S_MAX):
            while any(client.breaks <= count for client, count in zip(self.clients, before, strict=True)):
                await self._living_on(_PAUSE_S)
        if self.stops % 4 == 3:
            self._kill_worker()
        await asyncio.to_thread(self._cluster.resume)
        began_s = time.monotonic()
        for number in range(_CONNECTIONS_TRIED):
            await self._until_answered(partial(write_fence, id=f"urn:ngsi-ld:Fence:back:{number}"))
        self.back_s.append(time.monotonic() - began_s)

    def end(self) -> None:
        if self._living is not None:
            self._living.cancel()
        self.hub.end()

    def errors(self) -> str:
        return (self._folder / "errors").read_text("utf-8")

    async def _load_for_a_while(self) -> None:
        self._left = self._chance.randint(*ACKNOWLEDGED_BETWEEN)
        self._enough.clear()
        enough = asyncio.ensure_future(self._enough.wait())
        assert self._living is not None
        await asyncio.wait((enough, self._living), timeout=2 * BACK_S_MAX, return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        if self._living.done():
            self._living.result()
        assert self._enough.is_set(), "the hub acknowledges nothing any more"

    async def _living_on(self, pause_s: float) -> None:
        assert self._living is not None
        await asyncio.wait((self._living,), timeout=pause_s)
        if self._living.done():
            self._living.result()

    def _acknowledged(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._enough.set()

    def _kill_worker(self) -> bool:
        workers = [pid for pid in self.hub.children() if alive(pid)]
        if workers:
            os.kill(self._chance.choice(workers), signal.SIGKILL)
        return bool(workers)

    async def _kill_parent(self) -> None:
        workers = self.hub.children()
        os.kill(self.hub.process.pid, signal.SIGKILL)
        await asyncio.to_thread(self._await_death, workers)
        self.hub.end()
        await self._start(self.hub.url.rpartition(":")[2])

    @staticmethod
    def _await_death(workers: list[int]) -> None:
        wait_until(lambda: not any(alive(pid) for pid in workers), "a worker outlived its parent")

    async def _start(self, port: str) -> None:
        self.hub = await asyncio.to_thread(self._started, port)

    def _started(self, port: str) -> Served:
        """Start a hub whose complaints go to a file, as a pipe that nobody reads would fill up and stop it."""
        command = [
            sys.executable,
            "-m",
            "madang.cli.main",
            "serve",
            "--port",
            port,
            "--access",
            "open",
            "--workers",
            str(WORKERS),
        ]
        surroundings = {
            **os.environ,
            "MADANG_LANG": "en",
            "MADANG_STORE": self._store,
            "MADANG_WORKERS": str(WORKERS),
            "MADANG_DATA": str(self._folder / "data"),
            "MADANG_ALLOW_PRIVATE_ADDRESSES": "1",
        }
        with (self._folder / "errors").open("ab") as errors:
            hub = Served(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=surroundings))
        try:
            hub.await_ready()
        except BaseException:
            hub.end()
            print(self.errors())  # noqa: T201 (pytest shows it)
            raise
        return hub

    async def _until_answered(self, do: Callable[[Wire], Awaitable[None]]) -> None:
        """Do something over connections of its own until it is answered."""
        async with asyncio.timeout(BACK_S_MAX):
            while True:
                wire = PatientWire(self.hub.url)
                try:
                    return await do(wire)
                except Gone:
                    await asyncio.sleep(_PAUSE_S)
                finally:
                    wire.close()
