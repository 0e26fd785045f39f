# SPDX-License-Identifier: Apache-2.0
"""Every subscriber hears of every change at least once: restarts, crashes, and a reader that falls behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from madang.base.clock import FixedClock
from madang.testing.notifying import pm10, rig, station
from madang.testing.receiver import Receiver

ONE = "urn:ngsi-ld:Station:1"


def values(receiver: Receiver) -> set[float]:
    return {one["pm10"]["value"] for request in receiver.received for one in request.body["data"]}


async def test_after_a_crash_everything_behind_the_bookmark_is_told(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        port = receiver.port
        async with rig(tmp_path, close=False) as hub:
            id = await hub.subscribe(receiver.url())
            await hub.create(station(1, 1))
            await hub.notifier.drain()
            await hub.core.subscriptions.flush()
    # Nobody listens and the hub dies before it gave up: nothing of this is lost.
    async with rig(tmp_path, close=False) as hub:
        await hub.create(station(2, 2))
        await hub.update(ONE, pm10(3))
    receiver = Receiver()
    await receiver.start(port)
    async with rig(tmp_path) as hub:
        await receiver.wait_for(lambda _: {2, 3} <= values(receiver))
        await hub.notifier.drain()
        assert hub.notifier.lag() == 0
        assert (await hub.notification_of(id))["status"] == "ok"
    told = len(receiver.received)
    async with rig(tmp_path) as hub:
        await hub.notifier.drain()
        assert len(receiver.received) == told, "after a stop in good order nothing is told again"
    await receiver.stop()


async def test_every_value_is_told_after_a_crash_also_those_that_newer_ones_replaced(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        async with rig(tmp_path, close=False) as hub:
            await hub.create(station(1, 1))
            await hub.create(station(3, 30))
            await hub.subscribe(receiver.url(), q="pm10>1")
            await hub.notifier.abort()
            for value in range(2, 9):
                await hub.update(ONE, pm10(value))
            await hub.create(station(2, 20))
            for value in (21, 22):
                await hub.update("urn:ngsi-ld:Station:2", pm10(value))
            await hub.update("urn:ngsi-ld:Station:3", {"name": {"type": "Property", "value": "Seo"}})
            for number in (2, 3):
                await hub.core.provision.delete("", f"urn:ngsi-ld:Station:{number}")
        assert receiver.received == []
        async with rig(tmp_path) as hub:
            await hub.notifier.drain()
            assert {2, 3, 4, 5, 6, 7, 8, 20, 21, 22, 30} == values(receiver)
            assert [one["pm10"]["value"] for r in receiver.received for one in r.body["data"] if one["id"] == ONE] == [
                *range(2, 9)
            ]


async def test_deletions_are_told_after_a_crash(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        async with rig(tmp_path, close=False) as hub:
            await hub.subscribe(receiver.url(), notificationTrigger=["entityDeleted"])
            await hub.create(station(1, 1))
            await hub.create({"id": "urn:ngsi-ld:Other:1", "type": "Other"})
            await hub.core.provision.delete("", ONE)
            await hub.core.provision.delete("", "urn:ngsi-ld:Other:1")
        receiver.received.clear()
        async with rig(tmp_path) as hub:
            await hub.notifier.drain()
            told = [one for request in receiver.received for one in request.body["data"]]
            assert [(one["id"], one["type"]) for one in told] == [(ONE, "Station")]
            assert "deletedAt" in told[0]


async def test_a_reader_that_falls_behind_goes_on_from_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madang.notify.notifier.NOTIFICATION_COMMITS_WAITING_MAX", 5)
    monkeypatch.setattr("madang.core.changes.NOTIFICATION_REPLAY_CHANGES", 7)
    async with Receiver() as receiver, rig(tmp_path) as hub:
        await hub.subscribe(receiver.url())
        await asyncio.gather(*(hub.create(station(number, number)) for number in range(60)))
        await hub.notifier.drain()
        assert values(receiver) == set(range(60))
        assert hub.notifier.lag() == 0
        await hub.create(station(100, 100))
        await hub.notifier.drain()
        assert 100 in values(receiver)


async def test_a_new_subscription_does_not_hear_of_the_past(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        async with rig(tmp_path, close=False) as hub:
            await hub.create(station(1, 1))
        async with rig(tmp_path, close=False) as hub:
            await hub.subscribe(receiver.url())
        async with rig(tmp_path) as hub:
            await hub.notifier.drain()
            assert receiver.received == []
            await hub.update(ONE, pm10(2))
            await hub.notifier.drain()
            assert values(receiver) == {2}


async def test_throttled_changes_survive_a_restart(tmp_path: Path) -> None:
    async with Receiver() as receiver:
        async with rig(tmp_path) as hub:
            await hub.subscribe(receiver.url(), throttling=0.6)
            await hub.create(station(1, 1))
            await hub.notifier.drain()
            await hub.update(ONE, pm10(2))
            await hub.notifier.drain()
            assert values(receiver) == {1}
        async with rig(tmp_path):
            await receiver.wait(2)
            assert values(receiver) == {1, 2}


async def test_a_time_interval_survives_a_restart(tmp_path: Path) -> None:
    clock = FixedClock()
    async with Receiver() as receiver:
        async with rig(tmp_path, clock=clock) as hub:
            await hub.create(station(1, 1))
            await hub.subscribe(receiver.url(), timeInterval=3_600)
        clock.advance(1_800)
        async with rig(tmp_path, clock=clock) as hub:
            await hub.notifier.drain()
            assert receiver.received == []
        clock.advance(1_801)
        async with rig(tmp_path, clock=clock):
            await receiver.wait(1)


async def test_a_full_queue_of_a_silent_receiver_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("madang.notify.lanes.NOTIFICATION_QUEUE_ENTITIES_MAX", 3)
    monkeypatch.setattr("madang.notify.notifier.NOTIFICATION_BACKPRESSURE_S", 0.01)
    blocked = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await blocked.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with Receiver() as receiver, rig(tmp_path, close=False) as hub:
        id = await hub.subscribe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await hub.subscribe(receiver.url())
        for number in range(20):
            await hub.create(station(number, number))
        await receiver.wait_for(
            lambda got: {one["pm10"]["value"] for r in got for one in r.body["data"]} == set(range(20))
        )
        assert (await hub.notification_of(id))["timesFailed"] > 0
        blocked.set()
    server.close()
    await server.wait_closed()
