# SPDX-License-Identifier: Apache-2.0
"""Workers killed and the database stopped under load: nothing acknowledged is lost, no bookmark skips a change.

`make test-reliability` runs the full counts; what it prints stands in docs/reference/reliability.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from madang.model.change import Operation, StoredChange
from madang.store.postgres.store import PostgresStore
from madang.testing.postgres import Cluster
from madang.testing.receiver import Receiver
from tests.system.kill_rig import TYPE, Entity, Listener, Wire, inspect, subscribe
from tests.system.kill_rig_postgres import BACK_S_MAX, CLIENTS, Storm

KILLS = int(os.environ.get("MADANG_RELIABILITY_KILLS", "10"))
STOPS = int(os.environ.get("MADANG_RELIABILITY_STOPS", "3"))
SETTLE_S = 60.0
SEED = int(os.environ.get("MADANG_RELIABILITY_SEED", "20261121"))
LOG_PAGE = 1_000


@pytest.fixture(scope="module")
def durable() -> Iterator[Cluster]:
    """A cluster that waits for the disk, as a city's does."""
    cluster = Cluster(durable=True).start()
    yield cluster
    cluster.close()


async def test_kills_and_stops_lose_nothing(
    durable: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)  # noqa: S311 (the same load in every run)
    blows = ["kill"] * KILLS + ["stop_database"] * STOPS
    chance.shuffle(blows)
    url = durable.database()
    listener = Listener()
    storm = Storm(durable, url, tmp_path, chance)
    began = time.monotonic()
    await storm.begin()
    try:
        async with Receiver(answer=listener.answer) as receiver:
            await subscribe(Wire(storm.hub.url), receiver.url())
            storm.load()
            for blow in blows:
                await getattr(storm, blow)()
            await storm.calm()
            promised = storm.ledger.changes()
            with contextlib.suppress(TimeoutError):
                await receiver.wait_for(lambda _: promised <= listener.heard, timeout_s=SETTLE_S)
            assert sorted(promised - listener.heard) == [], "the subscriber never heard of these"
            await _inspect_all(storm)
            assert storm.hub.stop() == 0
            counts: dict[str, Any] = {
                "kills": storm.kills,
                "stops of the database": storm.stops,
                **storm.ledger.requests,
                "outcome unknown to the client": storm.ledger.unknown,
                "changes": len(promised),
                "notifications": len(receiver.received),
                "back after, s": round(max(storm.back_s), 1),
                **await _examine_log(url, listener.heard),
                "seconds": round(time.monotonic() - began),
            }
    finally:
        storm.end()
    with capsys.disabled():
        print(f"\nnothing lost: {counts}")  # noqa: T201
    assert (storm.kills, storm.stops) == (KILLS, STOPS)
    assert max(storm.back_s) <= BACK_S_MAX
    assert storm.ledger.unknown > 0, "no blow hit a request under way"
    assert not {id for id, _ in listener.heard} - storm.ledger.entities.keys()


async def _inspect_all(storm: Storm) -> None:
    """Compare the state and the history of every entity with what its writer was promised."""
    entities = list(storm.ledger.entities.values())

    async def inspect_some(some: list[Entity]) -> None:
        wire = Wire(storm.hub.url)
        for entity in some:
            await inspect(wire, entity)
        wire.close()

    await asyncio.gather(*(inspect_some(entities[number::CLIENTS]) for number in range(CLIENTS)))


async def _examine_log(url: str, heard: set[tuple[str, int]]) -> dict[str, int]:
    """Read the whole log: no sequence is missing, and every change below the bookmark was heard of."""
    store = PostgresStore(url)
    await store.open()
    try:
        assert await store.check() == []
        bookmark = await store.bookmark("notify")
        last = skipped = 0
        while page := await store.changes(last, limit=LOG_PAGE):
            for stored in page:
                assert stored.sequence == last + 1, f"after {last} the log goes on with {stored.sequence}"
                last = stored.sequence
                told = _told(stored)
                skipped += last <= bookmark and told is not None and told not in heard
        assert last == await store.last_sequence()
        assert 0 < bookmark <= last
        assert skipped == 0, "the bookmark went past changes that nobody was told of"
    finally:
        await store.close()
    return {"rows of the log": last, "bookmark": bookmark, "skipped": skipped}


def _told(stored: StoredChange) -> tuple[str, int] | None:
    """Return what the subscriber hears about a change: an attribute's new number, or that the entity is gone."""
    change = stored.change
    if f":{TYPE}:" not in change.entity:
        return None
    if change.operation is Operation.ENTITY_DELETED:
        return change.entity, 0
    if change.operation not in (Operation.ATTRIBUTE_CREATED, Operation.ATTRIBUTE_UPDATED):
        return None
    assert isinstance(change.value, dict)
    return change.entity, change.value["value"]
