# SPDX-License-Identifier: Apache-2.0
"""Thirty times SIGKILL under load: what was acknowledged is there with its history, and every change is heard of.

The kill comes when a random number of acknowledgements is in, never after a time. The counts that a run prints
(pytest -s) stand in docs/reference/reliability.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from madang.store.sqlite.store import SqliteStore
from madang.testing.receiver import Receiver
from madang.testing.served import WAIT_S, Served, alive, wait_until
from tests.system.kill_rig import Client, Gone, Ledger, Listener, Wire, inspect, subscribe

KILLS = 30
PARENT_KILLED_EVERY = 4  # rounds; in the others only the serving child is
CLIENTS = 8
ACKNOWLEDGED_UNTIL_KILL = (10, 100)
SETTLE_S = 20.0
SEED = 20_260_131


class Killed:
    """A hub that is killed and comes back, with the clients that notice."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self._chance = chance
        self._left = 0
        self.ledger = Ledger(self._acknowledged)
        self.clients = [Client(number, self.ledger, random.Random(chance.random())) for number in range(CLIENTS)]  # noqa: S311 (load)
        self.hub = Served.start(folder, "--port", "0", MADANG_ALLOW_PRIVATE_ADDRESSES="1")
        self.hub.await_ready()
        self._victims: list[int] = []

    def _acknowledged(self) -> None:
        self._left -= 1
        if self._left == 0:
            for victim in self._victims:
                os.kill(victim, signal.SIGKILL)

    async def round(self, *, parent: bool) -> None:
        """Load the hub until it is killed, let it come back, and see what became of what was under way."""
        self._victims = [self.hub.process.pid, self.hub.child()] if parent else [self.hub.child()]
        self._left = self._chance.randint(*ACKNOWLEDGED_UNTIL_KILL)
        before = {id: len(entity.versions) for id, entity in self.ledger.entities.items()}
        await asyncio.gather(*(client.run(self.hub.url) for client in self.clients))
        if parent:
            await self._start_again()
        wire = Wire(self.hub.url)
        await _answering(wire)
        for client in self.clients:
            await client.look(wire)
        for id, entity in self.ledger.entities.items():
            if entity.gone or len(entity.versions) != before.get(id):
                await inspect(wire, entity)
        wire.close()

    async def _start_again(self) -> None:
        child = self._victims[1]
        wait_until(lambda: not alive(child), "the child outlived its parent")
        self.hub.end()
        assert await faults(self._folder) == []
        port = self.hub.url.rpartition(":")[2]
        self.hub = Served.start(self._folder, "--port", port, MADANG_ALLOW_PRIVATE_ADDRESSES="1")
        self.hub.await_ready()


async def _answering(wire: Wire) -> None:
    """Return when the hub answers. Connections that the dead child had taken on break; new ones wait for the next."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            status, _ = await wire.request("GET", "/health/ready")
        except Gone:
            continue
        assert status == 200
        return
    pytest.fail("the hub did not come back")


async def faults(folder: Path) -> list[str]:
    """Return what the store finds wrong with itself."""
    store = SqliteStore(folder)
    await store.open()
    try:
        return await store.check()
    finally:
        await store.close()


async def test_thirty_kills_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(SEED)  # noqa: S311 (the same load in every run)
    began = time.monotonic()
    listener = Listener()
    killed = Killed(tmp_path / "data", chance)
    try:
        async with Receiver(answer=listener.answer) as receiver:
            await subscribe(Wire(killed.hub.url), receiver.url())
            for number in range(1, KILLS + 1):
                await killed.round(parent=number % PARENT_KILLED_EVERY == 0)
            promised = killed.ledger.changes()
            with contextlib.suppress(TimeoutError):
                await receiver.wait_for(lambda _: promised <= listener.heard, timeout_s=SETTLE_S)
            unheard = sorted(promised - listener.heard)
            assert unheard == [], "the subscriber never heard of these"
            wire = Wire(killed.hub.url)
            for entity in killed.ledger.entities.values():
                await inspect(wire, entity)
            wire.close()
            assert killed.hub.stop() == 0
            assert await faults(tmp_path / "data") == []
            assert not {id for id, _ in listener.heard} - killed.ledger.entities.keys()
            counts: dict[str, Any] = {
                "kills": KILLS,
                **killed.ledger.requests,
                "outcome unknown to the client": killed.ledger.unknown,
                "changes": len(promised),
                "notifications": len(receiver.received),
                "seconds": round(time.monotonic() - began),
            }
            with capsys.disabled():
                print(f"\nnothing lost: {counts}")  # noqa: T201
    finally:
        killed.hub.end()
