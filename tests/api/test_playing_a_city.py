"""A small city seeded and played in a hub of the test, with a clock that moves when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from madang.app import Hub, open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.ingest.city import City, read_city
from madang.ingest.playback import Player
from madang.ingest.room import INBOX, STATUS, Demo
from madang.ingest.seed import State, seed
from madang.testing.client import Client

# Monday 2026-03-02 08:30:00 in Seoul; the table was recorded on Monday 2024-03-04.
START_US = 1_772_407_800_000_000
ABOUT = 'publisher = "P"\nlicence = "L"\norigin = "O"\n'
PLAN = """<s><trafficSignal nodeID="1"><schedule offset="0" id="1"><phase state="G" duration="20"/>
<phase state="r" duration="40"/></schedule><TODPlan offset="0" defaultPlan="1"/></trafficSignal></s>"""
PAGES = {
    "air": """
[table]
files = "air.csv"
format = "csv"
[entity]
distinct = "id"
id = "urn:ngsi-ld:Air:{id}"
type = "Air"
[readings]
entity = "urn:ngsi-ld:Air:{id}"
time = { columns = "t", form = "YYYYMMDDHH" }
[[readings.attributes]]
name = "dust"
column = "dust"
as = "number"
unit = "GQ"
value_origin = "recorded, played back"
""",
    "shape": """
[table]
files = "shape.csv"
format = "csv"
[profile]
time = { columns = "t", form = "YYYYMMDDHH" }
value = "n"
""",
    "lots": """
[table]
files = "lots.csv"
format = "csv"
[entity]
id = "urn:ngsi-ld:Lot:{id}"
type = "Lot"
[[entity.attributes]]
name = "places"
column = "places"
as = "integer"
[generator]
profile = "shape"
every_s = 300
capacity = "places"
taken = "taken"
free = "free"
swing = 0.8
note = "another city"
note_outside = "made up"
""",
    "plans": """
[table]
files = "plan.xml"
format = "signal-plan"
[entity]
id = "urn:ngsi-ld:Signal:{nodeID}"
type = "Signal"
[plan]
attribute = "state"
note = "N"
""",
}
CITY = """
id = "c"
name = { en = "C" }
time_zone = "Asia/Seoul"
bounds = [127, 36, 128, 37]
backfill_h = 3
sources = ["air", "shape", "lots", "plans"]
[[subscriptions]]
[subscriptions.body]
id = "urn:ngsi-ld:Subscription:c"
type = "Subscription"
entities = [{ type = "Air" }]
notification = { endpoint = { accept = "application/json" } }
"""


@pytest.fixture
def city(tmp_path: Path) -> City:
    folder = tmp_path / "city"
    (folder / "sources").mkdir(parents=True)
    for name, page in PAGES.items():
        (folder / "sources" / f"{name}.toml").write_text(ABOUT + page)
    rows = [
        f"{one},202403{4 + day:02}{hour:02},{day * 24 + hour}"
        for day in range(7)
        for hour in range(1, 25)
        for one in "ab"
    ]
    (folder / "air.csv").write_text("id,t,dust\n" + "\n".join(rows) + "\n")
    (folder / "shape.csv").write_text("t,n\n" + "".join(f"20240304{hour:02},{hour}\n" for hour in range(1, 24)))
    (folder / "lots.csv").write_text("id,places\n" + "".join(f"{n},50\n" for n in range(30)))
    (folder / "plan.xml").write_text(PLAN)
    (folder / "city.toml").write_text(CITY)
    return read_city(folder)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START_US)


@pytest.fixture
async def hub(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Hub]:
    async with open_hub(
        Settings(access="open", data=tmp_path / "data", allow_private_addresses=True), clock=clock
    ) as hub:
        yield hub


async def started(hub: Hub, city: City, tmp_path: Path, *, speed: float = 1.0) -> Player:
    state = await State.read(hub.core, city)
    loaded = await seed(hub.core, city, state, tmp_path, lambda *_: None)
    return Player(hub.core, city, loaded, state, speed=speed)


async def value(hub: Hub, id: str, attribute: str) -> dict[str, Any]:
    found: dict[str, Any] = (await hub.core.consumption.retrieve("", id))[attribute]
    return found


async def history(hub: Hub, id: str, attribute: str) -> list[list[Any]]:
    path = f"/temporal/entities/{id}?options=temporalValues&attrs={attribute}"
    answer = await Client(hub.application).get(path)
    values: list[list[Any]] = answer.json()[attribute]["values"]
    return sorted(values, key=lambda each: each[1])


async def test_the_hours_before_are_there_from_the_beginning(hub: Hub, city: City, tmp_path: Path) -> None:
    player = await started(hub, city, tmp_path)
    await player.backfill(lambda *_: None)
    # Monday, 06 to 08 h of the recorded Monday: the last of them is the present.
    assert await history(hub, "urn:ngsi-ld:Air:a", "dust") == [
        [6.0, "2026-03-01T21:00:00Z"],
        [7.0, "2026-03-01T22:00:00Z"],
        [8.0, "2026-03-01T23:00:00Z"],
    ]
    assert len(await history(hub, "urn:ngsi-ld:Lot:1", "taken")) == 2
    assert (await value(hub, "urn:ngsi-ld:Signal:1", "state"))["value"] == "G"
    assert await player.backfill(lambda *_: None) == 0


async def test_a_value_played_back_says_when_it_was_recorded(
    hub: Hub, city: City, tmp_path: Path, clock: FixedClock
) -> None:
    player = await started(hub, city, tmp_path)
    clock.advance(1_800)
    await player.tick()
    found = await value(hub, "urn:ngsi-ld:Air:b", "dust")
    assert (found["value"], found["unitCode"], found["observedAt"]) == (9.0, "GQ", "2026-03-02T00:00:00Z")
    assert found["recordedAt"]["value"] == {"@type": "DateTime", "@value": "2024-03-04T00:00:00Z"}
    assert found["valueOrigin"]["value"] == "recorded, played back"


async def test_a_faster_day_plays_every_hour_of_it_once(
    hub: Hub, city: City, tmp_path: Path, clock: FixedClock
) -> None:
    player = await started(hub, city, tmp_path, speed=3_600.0)
    for _ in range(6):
        clock.advance(1)
        await player.tick()
    assert [each[0] for each in await history(hub, "urn:ngsi-ld:Air:a", "dust")] == [9.0, 10.0, 11.0, 12.0, 13.0, 14.0]


async def test_a_signal_changes_when_its_plan_says_so(hub: Hub, city: City, tmp_path: Path, clock: FixedClock) -> None:
    player = await started(hub, city, tmp_path)
    seen: list[tuple[str, str]] = []
    for _ in range(120):
        clock.advance(1)
        await player.tick()
        found = await value(hub, "urn:ngsi-ld:Signal:1", "state")
        if not seen or seen[-1] != (found["value"], found["observedAt"][-6:]):
            seen.append((found["value"], found["observedAt"][-6:]))
    assert seen == [("G", "30:00Z"), ("r", "30:20Z"), ("G", "31:00Z"), ("r", "31:20Z"), ("G", "32:00Z")]
    assert found["valueOrigin"]["value"] == "recorded plan"
    assert found["duration"] == {**found["duration"], "value": 20, "unitCode": "SEC"}


async def test_generated_values_respect_the_capacity_and_say_what_they_are(
    hub: Hub, city: City, tmp_path: Path, clock: FixedClock
) -> None:
    player = await started(hub, city, tmp_path)
    origins = set()
    for _ in range(24):
        clock.advance(3_600)
        await player.tick()
        for number in range(30):
            taken = await value(hub, f"urn:ngsi-ld:Lot:{number}", "taken")
            free = await value(hub, f"urn:ngsi-ld:Lot:{number}", "free")
            assert 0 <= taken["value"] <= 50
            assert taken["value"] + free["value"] == 50
            origins.add((taken["valueOrigin"]["value"], taken["valueNote"]["value"]))
    # The table has no hour 24, so the middle of the night is made up.
    assert origins == {("profile of another city", "another city"), ("generated", "made up")}


async def test_a_second_start_goes_on_and_writes_nothing_again(
    hub: Hub, city: City, tmp_path: Path, clock: FixedClock
) -> None:
    player = await started(hub, city, tmp_path, speed=3_600.0)
    await player.backfill(lambda *_: None)
    clock.advance(2)
    await player.tick()
    await player.close()
    rows = hub.core.writer.sequence_last
    again = await started(hub, city, tmp_path, speed=3_600.0)
    assert await again.backfill(lambda *_: None) == 0
    assert again.demo_us == START_US + 2 * 3_600_000_000
    assert hub.core.writer.sequence_last == rows
    clock.advance(1)
    await again.tick()
    assert [each[0] for each in await history(hub, "urn:ngsi-ld:Air:a", "dust")] == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]


async def test_catching_up_after_a_long_pause_is_bounded(
    hub: Hub, city: City, tmp_path: Path, clock: FixedClock
) -> None:
    player = await started(hub, city, tmp_path)
    await player.close()
    clock.advance(30 * 86_400)
    again = await started(hub, city, tmp_path)
    await again.tick()
    clock.advance(1)
    await again.tick()
    path = "/temporal/entities/urn:ngsi-ld:Air:a?options=aggregatedValues&aggrMethods=totalCount&attrs=dust"
    answer = await Client(hub.application).get(path + "&aggrPeriodDuration=PT0S")
    ((count, _, _),) = answer.json()["dust"]["totalCount"]
    assert count == 24


async def test_an_interrupted_seed_is_finished(hub: Hub, city: City, tmp_path: Path) -> None:
    await started(hub, city, tmp_path)
    await hub.core.provision.delete("", "urn:ngsi-ld:Lot:3")
    state = await State.read(hub.core, city)
    del state.sources["lots"]
    rows = hub.core.writer.sequence_last
    await seed(hub.core, city, state, tmp_path, lambda *_: None)
    assert await value(hub, "urn:ngsi-ld:Lot:3", "places")
    assert hub.core.writer.sequence_last == rows + 4  # the entity and its three attributes; the others are left alone


async def test_rows_that_do_not_fit_are_kept_with_their_reason(hub: Hub, city: City, tmp_path: Path) -> None:
    lots = city.source("lots").table.files[0]
    lots.write_text(lots.read_text() + "x,many\n")
    await started(hub, city, tmp_path)
    (line,) = (tmp_path / "quarantine" / "lots.jsonl").read_text("utf-8").splitlines()
    assert '"reason":"places is not a number"' in line
    assert '"row":31' in line


async def test_the_demo_tells_how_it_goes_and_counts_notifications(tmp_path: Path, city: City) -> None:
    settings = Settings(access="open", data=tmp_path / "data", allow_private_addresses=True)
    demo = Demo(city, settings.data)
    async with open_hub(settings, routes=demo.routes()) as hub:
        client = Client(hub.application, root="/madang/v1")
        assert (await client.get(STATUS)).json()["ready"] is False
        await demo.load(hub.core, "http://127.0.0.1:1", lambda *_: None, lambda *_: None)
        assert (await client.post(INBOX, json={"id": "urn:n"})).status == 204
        told = (await client.get(STATUS)).json()
        assert (told["ready"], told["entities"], told["notifications"]) == (True, 33, 1)
        assert told["sources"]["air"]["rows"] == 336
        assert demo.summary().entities == 33
        assert hub.core.subscriptions.entry("", "urn:ngsi-ld:Subscription:c") is not None
        await demo.close()
