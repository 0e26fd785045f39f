"""`madang demo` as a newcomer meets it: a whole city, alive, that goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from madang.testing.served import OPEN_LINE, WAIT_S, wait_until

READY_S = 60.0  # the promise, on a machine that does nothing else
TYPES = {
    "AirQualityObserved": 13,
    "BikeHireDockingStation": 1_378,
    "OffStreetParking": 186,
    "OnStreetParking": 257,
    "PublicTransportStop": 3_115,
    "TrafficFlowObserved": 134,
    "TrafficSignal": 1_769,
}
SIGNAL = "urn:ngsi-ld:TrafficSignal:daejeon:553803102"


class Playing:
    """One `madang demo` with what it says until it is ready."""

    def __init__(self, data: Path, *flags: str, **environment: str) -> None:
        command = [sys.executable, "-m", "madang.cli.main", "demo", "--data", str(data), "--port", "0", *flags]
        surroundings = {**os.environ, "MADANG_LANG": "en", **environment}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=surroundings, text=True
        )
        self.lines: list[str] = []
        self.url = ""
        self.ready_s = 0.0

    def await_ready(self) -> Playing:
        began_s = time.monotonic()
        watchdog = threading.Timer(2 * READY_S, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if " is alive at " in line:
                self.url = line.partition(" at ")[2].split()[0]
                break
        watchdog.cancel()
        assert self.url, "".join(self.lines)
        self.ready_s = time.monotonic() - began_s
        return self

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=WAIT_S) as response:  # noqa: S310
            return json.load(response)

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/madang/v1/demo")
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def end(self) -> str:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        _, errors = self.process.communicate(timeout=WAIT_S)
        return errors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


@pytest.fixture(scope="module")
def playing(folder: Path) -> Iterator[Playing]:
    """The city at ten minutes a second, for tests that look at it."""
    demo = Playing(folder, "--speed", "600")
    try:
        yield demo.await_ready()
    finally:
        demo.end()


def test_from_nothing_it_is_alive_within_a_minute(playing: Playing) -> None:
    assert playing.ready_s < READY_S
    assert any("82,651 rows read: 72,149 used, 10,502 kept apart" in line for line in playing.lines)


def test_everything_of_the_city_is_there(playing: Playing) -> None:
    details = playing.get("/ngsi-ld/v1/types?details=true")
    names = {each["id"].rpartition("/")[2] for each in details}
    assert names == set(TYPES)
    assert playing.told()["entities"] == sum(TYPES.values())
    for each in details:
        path = "/ngsi-ld/v1/entities?limit=1&count=true&type=" + quote(each["id"], safe="")
        with urllib.request.urlopen(playing.url + path, timeout=WAIT_S) as response:  # noqa: S310
            assert response.headers["NGSILD-Results-Count"] == str(TYPES[each["id"].rpartition("/")[2]])


def test_a_day_of_history_was_there_at_once(playing: Playing) -> None:
    path = "/ngsi-ld/v1/temporal/entities/urn:ngsi-ld:AirQualityObserved:daejeon:525141?options=temporalValues&lastN=15"
    found = playing.get(path)
    pm10 = next(value["values"] for name, value in found.items() if name.rpartition("/")[2] == "pm10")
    assert len(pm10) >= 12


def test_it_lives(playing: Playing) -> None:
    before = playing.told()
    phases = set()

    def changed() -> bool:
        phases.add(playing.get(f"/ngsi-ld/v1/entities/{SIGNAL}")["phaseState"]["observedAt"])
        now = playing.told()
        return (
            len(phases) > 1
            and now["historyRows"] > before["historyRows"]
            and now["notifications"] > before["notifications"]
            and now["demoTime"] > before["demoTime"]
        )

    wait_until(changed, "signals, history, notifications and time stand still")


def test_a_second_start_goes_on_where_it_was(folder: Path, playing: Playing) -> None:
    before = playing.told()
    assert playing.stop() == 0
    assert playing.end() == f"madang: {OPEN_LINE}\n"
    again = Playing(folder, "--speed", "600").await_ready()
    try:
        after = again.told()
        seeding = [line for line in playing.lines if re.search(r"\d of \d", line)]
        assert "  history of the day before: hour 24 of 24\n" in seeding
        assert not set(seeding) & set(again.lines)
        assert after["entities"] == before["entities"]
        assert after["demoTime"] > before["demoTime"]
        assert after["sources"] == before["sources"]
        assert after["historyRows"] >= before["historyRows"]
        assert again.stop(signal.SIGINT) == 0
        assert "The city sleeps" in (again.process.stdout.read() if again.process.stdout else "")
    finally:
        assert again.end() == f"madang: {OPEN_LINE}\n"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--city", "atlantis"], "There is no city 'atlantis'"),
        (["--speed", "0"], "--speed"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_wrong_flags_are_refused_with_one_line(tmp_path: Path, flags: list[str], says: str) -> None:
    demo = Playing(tmp_path / "data", *flags)
    assert demo.process.wait(WAIT_S) == 2
    (line,) = demo.end().splitlines()
    assert says in line
    assert not (tmp_path / "data").exists()


def test_a_busy_port_is_refused_with_one_line(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        demo = Playing(tmp_path / "data", "--port", str(other.getsockname()[1]))
        assert demo.process.wait(WAIT_S) == 2
    (line,) = demo.end().splitlines()
    assert "is in use" in line
    assert not (tmp_path / "data").exists()


def test_a_folder_that_is_a_file_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    demo = Playing(tmp_path / "data")
    assert demo.process.wait(WAIT_S) == 2
    (line,) = demo.end().splitlines()
    assert "cannot be used" in line


def test_a_city_whose_table_is_broken_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "t.csv").write_bytes("이름\n둥지\n".encode("cp949"))
    (tmp_path / "sources" / "s.toml").write_text(
        'publisher = "P"\nlicence = "L"\norigin = "O"\n[table]\nfiles = "t.csv"\nformat = "csv"\n'
        '[entity]\nid = "urn:x:{id}"\ntype = "T"\n'
    )
    (tmp_path / "city.toml").write_text(
        'id = "c"\nname = {en = "C"}\ntime_zone = "Asia/Seoul"\nbounds = [127, 36, 128, 37]\nsources = "s"\n'
    )
    demo = Playing(tmp_path / "data", "--city", str(tmp_path))
    assert demo.process.wait(WAIT_S) == 2
    (line,) = demo.end().splitlines()
    assert "t.csv is not in utf-8" in line
