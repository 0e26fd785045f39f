# SPDX-License-Identifier: Apache-2.0
"""`madang serve` as a user meets it: the ready line, signals, crashes, and refusals with one line and exit code 2."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from madang.testing.served import WAIT_S, Served, alive, wait_until

Serve = Callable[..., Served]

ENTITY = {"id": "urn:ngsi-ld:T:1", "type": "T", "p": {"type": "Property", "value": 1}}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts hubs on a folder of the test and ends them; `ready=False` does not wait for them."""
    started: list[Served] = []

    def start(*flags: str, ready: bool = True, data: Path | None = None, **environment: str) -> Served:
        served = Served.start(data or tmp_path / "data", *flags, **environment)
        started.append(served)
        if ready:
            served.await_ready()
        return served

    yield start
    for served in started:
        served.end()


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One hub for tests that leave it as it is; it must not have said anything on standard error."""
    served = Served.start(tmp_path_factory.mktemp("hub"), "--port", "0")
    try:
        served.await_ready()
        yield served
        assert served.stop() == 0
        assert served.errors() == ""
    finally:
        served.end()


def dead(pid: int) -> bool:
    return not alive(pid)


def refused(serve: Serve, *flags: str, **options: Any) -> str:
    """Start a hub that must refuse to start; return its one line."""
    served = serve(*flags, ready=False, **options)
    assert served.process.wait(WAIT_S) == 2
    lines = served.errors().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_it_says_once_where_it_is_ready_and_stops_in_order(serve: Serve, tmp_path: Path) -> None:
    hub = serve("--port", "0")
    assert hub.ready_line.startswith("Madang is ready at http://127.0.0.1:")
    assert hub.ready_line.count("\n") == 1
    assert not hub.url.endswith(":0")
    assert hub.request("GET", "/health/live")[0] == 200
    assert hub.request("GET", "/health/ready")[0] == 200
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    child = hub.child()
    assert hub.stop() == 0
    assert not alive(child)
    assert hub.errors() == ""
    assert (tmp_path / "data").is_dir()

    again = serve("--port", "0")
    assert again.request("GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:T:1") == (200, ENTITY)
    assert again.stop() == 0


def test_ctrl_c_stops_it_in_order(serve: Serve) -> None:
    hub = serve("--port", "0")
    hub.process.send_signal(signal.SIGINT)
    assert hub.process.wait(WAIT_S) == 0


def test_after_a_crash_it_starts_again_by_itself_and_nobody_is_refused(serve: Serve) -> None:
    hub = serve("--port", "0")
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    for _ in range(2):
        child = hub.child()
        os.kill(child, signal.SIGKILL)
        wait_until(partial(dead, child), "the child lives on")
        # The listening address is the parent's, so a client that comes right now only waits.
        assert hub.request("GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:T:1") == (200, ENTITY)
        assert hub.child() != child
    assert hub.stop() == 0
    assert hub.errors().count("SIGKILL") == 2


def test_when_the_parent_is_killed_no_orphan_is_left(serve: Serve) -> None:
    hub = serve("--port", "0")
    child = hub.child()
    hub.process.kill()
    wait_until(partial(dead, child), "the child outlived its parent")
    next_hub = serve("--port", hub.url.rpartition(":")[2])
    assert next_hub.request("GET", "/health/live")[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /ngsi-ld/v1/types HTTP/1.1\r\nNGSILD-Tenant: 세종\r\n\r\n", 400),
        ('GET /ngsi-ld/v1/types HTTP/1.1\r\nLink: <http://서울>; rel="next"\r\n\r\n', 400),
        ("GET /ngsi-ld/v1/entities/urn:%ff HTTP/1.1\r\n\r\n", 404),
        ("GET /ngsi-ld/v1/entities/urn:a%0d%0aX:1 HTTP/1.1\r\n\r\n", 400),
        ("GET /ngsi-ld/v1/types/https%3A%2F%2Fa.org%2FT HTTP/1.1\r\n\r\n", 404),
        ("POST /ngsi-ld/v1/entities HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("POST /ngsi-ld/v1/entities HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        ("BREW /ngsi-ld/v1/entities HTTP/1.1\r\n\r\n", 405),
        ("GET /ngsi-ld/v1/entities?type=" + "a" * 70_000 + " HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_hostile_heads_are_answered(shared_hub: Served, head: str, status: int) -> None:
    address = urlsplit(shared_hub.url)
    with socket.create_connection((address.hostname, address.port), WAIT_S) as connection:
        connection.sendall(head.replace("HTTP/1.1\r\n", "HTTP/1.1\r\nHost: x\r\n").encode())
        answer = connection.recv(65_536).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")


def test_a_body_of_10_mb_gets_its_413(shared_hub: Served) -> None:
    connection = http.client.HTTPConnection(shared_hub.url.removeprefix("http://"), timeout=WAIT_S)
    with contextlib.closing(connection):
        connection.request("POST", "/ngsi-ld/v1/entities", b"[" * 10_000_000, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["status"] == 413


def test_a_client_that_goes_away_is_no_fault(shared_hub: Served) -> None:
    address = urlsplit(shared_hub.url)
    head = (
        "POST /ngsi-ld/v1/entities HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
    )
    for _ in range(5):
        with socket.create_connection((address.hostname, address.port), WAIT_S) as connection:
            connection.sendall(head.encode())
    assert shared_hub.request("GET", "/health/ready")[0] == 200


def test_a_busy_port_is_refused(serve: Serve, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        line = refused(serve, "--port", str(other.getsockname()[1]))
    assert line.startswith("madang: Port ")
    assert "in use" in line
    assert not (tmp_path / "data").exists()


def test_a_second_hub_on_the_same_folder_is_refused(serve: Serve) -> None:
    hub = serve("--port", "0")
    assert "Another hub is using the data folder" in refused(serve, "--port", "0")
    assert hub.request("GET", "/health/ready")[0] == 200


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(serve: Serve, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "cannot be used" in refused(serve, "--port", "0", "--data", str(closed / "data"))


def test_a_folder_that_is_a_file_is_refused(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    assert "cannot be used" in refused(serve, "--port", "0")
    assert (tmp_path / "data").read_text() == "not a folder"


def test_the_data_of_a_newer_version_are_refused_and_not_touched(serve: Serve, tmp_path: Path) -> None:
    hub = serve("--port", "0")
    assert hub.stop() == 0
    (database,) = (tmp_path / "data").glob("*.sqlite")
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 999")
    connection.commit()
    connection.close()
    before = database.read_bytes()
    assert "newer version" in refused(serve, "--port", "0")
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--store", "mysql://hub:secret@localhost/madang"], "'mysql:…' is not a store"),
        (["--store", "postgresql://hub:secret@localhost"], "it names no database"),
        (["--workers", "2"], "SQLite allows one writing process"),
        (["--host", "10.1.2.3"], "without a log-in"),
        (["--access", "ajar"], "--access"),
        (["--port", "99999"], "--port"),
        (["--nonsense"], "unrecognized arguments"),
        (["postgresql://hub:secret@localhost/madang"], "unrecognized arguments"),
    ],
)
def test_wrong_flags_are_refused(serve: Serve, tmp_path: Path, flags: list[str], says: str) -> None:
    line = refused(serve, *flags)
    assert says in line
    assert "secret" not in line
    assert not (tmp_path / "data").exists()


def test_it_speaks_korean_when_asked_to(serve: Serve) -> None:
    assert "모르는 저장소" in refused(serve, "--store", "mysql://x/y", MADANG_LANG="ko")


def test_the_doctor_finds_a_good_installation_good(serve: Serve, tmp_path: Path) -> None:
    serve("--port", "0").stop()
    command = [sys.executable, "-m", "madang.cli.main", "doctor", "--data", str(tmp_path / "data"), "--port", "0"]
    environment = {**os.environ, "MADANG_LANG": "en"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The stored data is whole" in done.stdout
    assert done.stdout.endswith("Nothing is wrong with this installation.\n")

    (database,) = (tmp_path / "data").glob("*.sqlite")
    database.write_bytes(b"no database" * 1000)
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, env=environment, check=False)
    assert done.returncode == 1
    assert "PROBLEM" in done.stdout
