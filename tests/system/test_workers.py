# SPDX-License-Identifier: Apache-2.0
"""`madang serve --workers K --store postgresql://…`: workers that share connections, die and come back, and a database
that is not there, says no, or goes away for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from madang.testing.postgres import Cluster
from madang.testing.receiver import Received, Receiver
from madang.testing.served import WAIT_S, Served, alive, wait_until

Serve = Callable[..., Served]

ENTITY = {"id": "urn:ngsi-ld:T:1", "type": "T", "p": {"type": "Property", "value": 1}}
PATH = "/ngsi-ld/v1/entities/urn:ngsi-ld:T:1"
CONNECTIONS = 64
TAKEN_OVER_S = 10.0
PASSWORD = "sesame%2F1"
ESTABLISHED = "01"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster().start()
    yield cluster
    cluster.close()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster that the test may stop; what it acknowledged survives that."""
    cluster = Cluster(durable=True).start()
    yield cluster
    cluster.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts hubs and ends them; `ready=False` does not wait for them."""
    started: list[Served] = []

    def start(store: str, *flags: str, ready: bool = True, **environment: str) -> Served:
        surroundings = {"MADANG_STORE": store, "MADANG_ALLOW_PRIVATE_ADDRESSES": "1", **environment}
        served = Served.start(tmp_path / "data", "--port", "0", *flags, **surroundings)
        started.append(served)
        if ready:
            served.await_ready()
        return served

    yield start
    for served in started:
        served.end()


def dead(pid: int) -> bool:
    return not alive(pid)


def query(url: str, sql: str) -> Any:
    """Return the first value that a statement gives."""

    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connections_of(pid: int, port: int) -> int:
    """Return how many connections that came in on a port a process holds."""
    accepted = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == ESTABLISHED and int(local.rpartition(":")[2], 16) == port:
            accepted.add(f"socket:[{inode}]")
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.add(str(descriptor.readlink()))
    return len(accepted & held)


@contextlib.contextmanager
def kept_connections(url: str, count: int) -> Iterator[list[http.client.HTTPConnection]]:
    connections = [http.client.HTTPConnection(urlsplit(url).netloc, timeout=WAIT_S) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def status_of(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response.status


def refused(serve: Serve, store: str, *flags: str, code: int = 2, **environment: str) -> list[str]:
    """Start a hub that must end by itself; return what it said."""
    hub = serve(store, *flags, ready=False, **environment)
    assert hub.process.wait(WAIT_S) == code
    return hub.errors().splitlines()


def await_workers(hub: Served) -> None:
    """Return when all workers serve: of so many connections some fall to each."""
    with kept_connections(hub.url, 16) as connections:
        assert {status_of(connection, "/health/ready") for connection in connections} == {200}


def await_line(hub: Served, begin: str) -> None:
    """Read what a hub says on standard error until a line begins like this."""
    assert hub.process.stderr is not None
    while line := hub.process.stderr.readline().decode():
        if line.startswith(begin):
            return
    pytest.fail(f"the hub ended without saying {begin!r}")


# ---------------------------------------------------------------------- workers


def test_it_is_ready_once_when_all_workers_are_and_stops_in_order(serve: Serve, cluster: Cluster) -> None:
    url = cluster.database()
    hub = serve(url, "--workers", "3")
    workers = hub.children()
    assert len(workers) == 3
    assert hub.ready_line.count("\n") == 1
    assert f"data in PostgreSQL at {url.partition('@')[2]};" in hub.ready_line
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    for _ in range(8):
        assert hub.request("GET", PATH) == (200, ENTITY)
    assert hub.stop() == 0
    assert not any(alive(worker) for worker in workers)
    assert hub.errors() == ""

    again = serve(url)
    assert again.request("GET", PATH) == (200, ENTITY)
    assert again.stop() == 0


def test_workers_share_the_connections(serve: Serve, cluster: Cluster) -> None:
    hub = serve(cluster.database(), "--workers", "2")
    port = urlsplit(hub.url).port
    assert port is not None
    with kept_connections(hub.url, CONNECTIONS) as connections:
        assert {status_of(connection, "/ngsi-ld/v1/types") for connection in connections} == {200}
        shares = [connections_of(worker, port) for worker in hub.children()]
        assert sum(shares) == CONNECTIONS
        assert min(shares) >= CONNECTIONS // 4, shares
    assert hub.stop() == 0


def test_a_worker_is_named_by_its_number(serve: Serve, cluster: Cluster) -> None:
    hub = serve(cluster.database(), "--workers", "2")
    first, second = hub.children()
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: len(hub.children()) == 2 and second not in hub.children(), "the worker is not started again")
    assert first in hub.children()
    assert hub.stop() == 0
    assert "Worker 2 ended unexpectedly (SIGKILL)" in hub.errors()


def test_a_worker_that_dies_comes_back_and_nobody_is_refused(serve: Serve, cluster: Cluster) -> None:
    hub = serve(cluster.database(), "--workers", "2")
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    for worker in hub.children():
        os.kill(worker, signal.SIGKILL)
        wait_until(partial(dead, worker), "the worker lives on")
        with kept_connections(hub.url, 16) as connections:
            # Some fall to the dead worker's socket and wait there for the next.
            assert {status_of(connection, PATH) for connection in connections} == {200}
        assert worker not in hub.children()
    assert hub.stop() == 0
    assert hub.errors().count("SIGKILL") == 2


def test_when_the_parent_is_killed_no_worker_is_left(serve: Serve, cluster: Cluster) -> None:
    url = cluster.database()
    hub = serve(url, "--workers", "2")
    workers = hub.children()
    hub.process.kill()
    for worker in workers:
        wait_until(partial(dead, worker), "the worker outlived its parent")
    again = serve(url, "--workers", "2", "--port", hub.url.rpartition(":")[2])
    assert again.request("GET", "/health/live")[0] == 200


def test_a_port_shared_by_workers_is_not_shared_with_another_hub(serve: Serve, cluster: Cluster) -> None:
    hub = serve(cluster.database(), "--workers", "2")
    port = hub.url.rpartition(":")[2]
    for workers in ("1", "2"):
        lines = refused(serve, cluster.database(), "--workers", workers, "--port", port)
        assert len(lines) == 1
        assert "in use" in lines[0]
    assert hub.stop() == 0


def test_what_one_worker_writes_the_other_reads(serve: Serve, cluster: Cluster) -> None:
    hub = serve(cluster.database(), "--workers", "2")
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    with kept_connections(hub.url, 16) as connections:
        for value in range(5):
            fragment = {"p": {"type": "Property", "value": value}}
            assert hub.request("PATCH", PATH + "/attrs", fragment)[0] == 204
            for connection in connections:
                connection.request("GET", PATH + "?options=keyValues")
                assert f'"p":{value}'.encode() in connection.getresponse().read()


async def test_a_notification_arrives_soon_after_its_worker_died(serve: Serve, cluster: Cluster) -> None:
    """Whichever worker is killed, the lease it may hold is another's within ten seconds."""
    hub = await asyncio.to_thread(serve, cluster.database(), "--workers", "2")
    async with Receiver() as receiver:
        subscription = {
            "type": "Subscription",
            "entities": [{"type": "T"}],
            "notification": {"endpoint": {"uri": receiver.url(), "accept": "application/json"}},
        }
        assert (await asyncio.to_thread(hub.request, "POST", "/ngsi-ld/v1/subscriptions", subscription))[0] == 201
        for number, worker in enumerate([0, *hub.children()]):
            await asyncio.to_thread(await_workers, hub)
            if worker:
                os.kill(worker, signal.SIGKILL)
                await asyncio.to_thread(wait_until, partial(dead, worker), "the worker lives on")
            id = f"urn:ngsi-ld:T:{number}"
            entity = {**ENTITY, "id": id}
            assert (await asyncio.to_thread(hub.request, "POST", "/ngsi-ld/v1/entities", entity))[0] == 201
            await receiver.wait_for(partial(was_told, id), timeout_s=TAKEN_OVER_S)


def was_told(id: str, received: list[Received]) -> bool:
    """Tell whether a notification has come about an entity; what was told before may be told with it once more."""
    return any(entity["id"] == id for each in received for entity in each.body["data"])


# ---------------------------------------------------------------------- a database that is not there, or says no


def test_a_database_that_is_not_there_yet_is_waited_for(serve: Serve, own_cluster: Cluster) -> None:
    url = own_cluster.database()
    own_cluster.halt("fast")
    port = free_port()
    hub = serve(url, "--workers", "1", "--port", str(port), ready=False)
    await_line(hub, f"madang: The database {url.partition('@')[2]} does not answer yet")
    hub.url = f"http://127.0.0.1:{port}"
    assert hub.request("GET", "/health/live")[0] == 200
    assert hub.request("GET", "/health/ready")[0] == 503
    with kept_connections(hub.url, 1) as (connection,):
        connection.request("GET", PATH)
        response = connection.getresponse()
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert json.loads(response.read())["status"] == 503
    own_cluster.resume()
    hub.await_ready()
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    assert hub.stop() == 0
    assert hub.errors() == ""


def test_a_database_that_stays_away_ends_the_start(serve: Serve, own_cluster: Cluster) -> None:
    url = own_cluster.database()
    own_cluster.halt("fast")
    lines = refused(serve, url, "--workers", "2", code=1, MADANG_STORE_WAIT_S="0.5")
    assert len(lines) == 2, lines
    assert "waiting for it" in lines[0]
    assert "did not answer within" in lines[1]


def test_a_hub_that_waits_for_its_database_can_be_stopped(serve: Serve, own_cluster: Cluster) -> None:
    url = own_cluster.database()
    own_cluster.halt("fast")
    hub = serve(url, ready=False)
    await_line(hub, f"madang: The database {url.partition('@')[2]} does not answer yet")
    assert hub.stop() == 0


def test_an_unknown_database_is_refused_at_once(serve: Serve, cluster: Cluster) -> None:
    (line,) = refused(serve, cluster.url("nowhere"), "--workers", "2")
    assert "There is no database" in line
    assert "/nowhere;" in line


def test_a_wrong_password_is_refused_at_once_and_not_shown(serve: Serve, own_cluster: Cluster) -> None:
    url = own_cluster.database()
    query(url, "CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'sesame/1'")
    rules = Path(query(url, "SHOW hba_file"))
    rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    query(url, "SELECT pg_reload_conf()")
    guarded = url.replace("madang@", f"guarded:{PASSWORD}@")
    wait_until(lambda: _is_guarded(guarded), "the password is not asked for")
    wrong = guarded.replace(PASSWORD, "opensaysme")
    (line,) = refused(serve, wrong, "--workers", "2")
    assert "refuses the user or the password" in line
    assert "opensaysme" not in line
    assert query(url, "SELECT to_regclass('madang.version')::text") is None

    hub = serve(guarded, "--workers", "2", MADANG_LOG="debug")
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    own_cluster.halt("immediate")
    assert hub.request("GET", PATH)[0] == 503
    own_cluster.resume()
    wait_until(lambda: hub.request("GET", PATH)[0] == 200, "the hub does not come back")
    assert hub.stop() == 0
    said = hub.ready_line + hub.errors()
    assert "sesame" not in said


def _is_guarded(url: str) -> bool:
    with contextlib.suppress(asyncpg.InvalidPasswordError):
        query(url.replace(PASSWORD, "wrong"), "SELECT 1")
        return False
    return True


def test_tables_of_a_newer_version_are_refused_and_not_touched(serve: Serve, cluster: Cluster) -> None:
    url = cluster.database()
    assert serve(url).stop() == 0
    query(url, "UPDATE madang.version SET schema = 999")
    (line,) = refused(serve, url, "--workers", "2")
    assert "newer version" in line
    assert query(url, "SELECT schema FROM madang.version") == 999


# ---------------------------------------------------------------------- a database that goes away


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_while_the_database_is_away_the_answer_is_503_and_then_all_is_well(
    serve: Serve, own_cluster: Cluster, mode: str
) -> None:
    hub = serve(own_cluster.database(), "--workers", "2")
    workers = hub.children()
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    for number in range(2):
        own_cluster.halt(mode)
        with kept_connections(hub.url, 8) as connections:
            for connection in connections:
                connection.request("GET", PATH)
                response = connection.getresponse()
                assert response.status == 503
                assert int(response.headers["Retry-After"]) > 0
                assert response.headers["Content-Type"] == "application/json"
                assert json.loads(response.read())["status"] == 503
        status, problem = hub.request("PATCH", PATH + "/attrs", {"p": {"type": "Property", "value": 2}})
        assert (status, problem["status"]) == (503, 503)
        assert hub.request("GET", "/health/live")[0] == 200
        assert hub.request("GET", "/health/ready")[0] == 503
        own_cluster.resume()
        wait_until(lambda: hub.request("GET", "/health/ready")[0] == 200, "the hub does not come back")
        with kept_connections(hub.url, 8) as connections:
            assert {status_of(connection, PATH) for connection in connections} == {200}
        value = {"p": {"type": "Property", "value": 10 + number}}
        assert hub.request("PATCH", PATH + "/attrs", value)[0] == 204
    assert hub.children() == workers
    assert hub.stop() == 0


def test_a_hub_whose_database_is_away_stops_in_order(serve: Serve, own_cluster: Cluster) -> None:
    hub = serve(own_cluster.database(), "--workers", "2")
    own_cluster.halt("immediate")
    assert hub.request("GET", PATH)[0] == 503
    assert hub.stop() == 0


# ---------------------------------------------------------------------- the doctor


def doctor(store: str, *flags: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "madang.cli.main", "doctor", "--port", str(free_port()), *flags]
    environment = {**os.environ, "MADANG_LANG": "en", "MADANG_STORE": store}
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, env=environment, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_doctor_finds_a_good_database_good(serve: Serve, own_cluster: Cluster) -> None:
    url = own_cluster.database()
    code, said = doctor(url)
    assert code == 0
    assert "has no tables of Madang yet" in said
    assert query(url, "SELECT to_regclass('madang.version')::text") is None
    hub = serve(url)
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY)[0] == 201
    code, said = doctor(url, "--workers", "4")
    assert code == 0, said
    for words in ("PostgreSQL 1", "schema 1", "read and write all tables", "partition for this month", "clocks"):
        assert words in said
    assert "The stored data is whole" in said
    assert said.endswith("Nothing is wrong with this installation.\n")


def test_the_doctor_says_what_is_wrong_with_a_database(serve: Serve, cluster: Cluster, own_cluster: Cluster) -> None:
    code, said = doctor(cluster.database())
    assert code == 1
    assert "fsync, synchronous_commit off" in said  # as most clusters of tests have it

    url = own_cluster.database()
    assert serve(url).stop() == 0
    code, said = doctor(url, "--workers", "64")
    assert code == 1
    assert "fsync" not in said
    assert "raise max_connections" in said

    query(url, "CREATE ROLE guest LOGIN")
    query(url, "GRANT USAGE ON SCHEMA madang TO guest")
    query(url, "GRANT SELECT ON ALL TABLES IN SCHEMA madang TO guest")
    code, said = doctor(url.replace("madang@", "guest:sesame@"))
    assert code == 1
    assert "may not read and write all tables" in said
    assert "sesame" not in said

    query(url, "UPDATE madang.version SET schema = 999")
    assert "of a newer version (schema 999" in doctor(url)[1]
    assert "PROBLEM" in doctor(own_cluster.url("nowhere"))[1]
    own_cluster.halt("fast")
    code, said = doctor(url)
    assert code == 1
    assert "does not answer" in said
