# SPDX-License-Identifier: Apache-2.0
"""How a closed hub gets its first administrator, and `madang token` against data and against a hub that runs."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from madang.testing.served import OPEN_LINE, WAIT_S, Served

TYPES = "/ngsi-ld/v1/types"
CLOSED = ("--port", "0", "--access", "closed")


@pytest.fixture
def hubs() -> Iterator[list[Served]]:
    started: list[Served] = []
    yield started
    for served in started:
        served.end()


def serve(hubs: list[Served], data: Path, *flags: str, **environment: str) -> Served:
    served = Served.start(data, *flags, **environment)
    hubs.append(served)
    served.await_ready()
    return served


def madang(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Return exit code, standard output and the lines of standard error of `madang token …`."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("MADANG_")}
    done = subprocess.run(
        [sys.executable, "-m", "madang.cli.main", "token", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**surroundings, "MADANG_LANG": "en", **environment},
    )
    return done.returncode, done.stdout, done.stderr


def first_token(hub: Served) -> str:
    path = hub.first_link.removeprefix(hub.url)
    assert path.startswith("/madang/v1/first-administrator/")
    request = urllib.request.Request(hub.first_link, b"", {"Accept": "application/json"}, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310
        text: str = answer.read().decode()
    return text.partition('"token":"')[2].partition('"')[0]


def test_the_default_is_closed_and_the_start_offers_one_link(hubs: list[Served], tmp_path: Path) -> None:
    hub = serve(hubs, tmp_path, *CLOSED)
    assert hub.request("GET", TYPES)[0] == 401
    secret = hub.first_link.rpartition("/")[2]
    assert len(secret) >= 43
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("madang.sqlite*"))
    assert secret.encode() not in kept
    hub.stop()
    assert hub.errors() == ""

    again = serve(hubs, tmp_path, *CLOSED)  # unused, so there is a new one
    assert again.first_link
    assert again.first_link.rpartition("/")[2] != secret
    assert again.request("POST", f"/madang/v1/first-administrator/{secret}", {})[0] == 404
    token = first_token(again)
    assert again.request("GET", TYPES, token=token)[0] == 200
    assert again.request("POST", again.first_link.removeprefix(again.url), {})[0] == 410
    again.stop()

    third = serve(hubs, tmp_path, *CLOSED)
    assert third.first_link == ""
    assert third.request("GET", TYPES, token=token)[0] == 200


def test_the_link_is_said_in_korean_too(hubs: list[Served], tmp_path: Path) -> None:
    served = Served.start(tmp_path, *CLOSED, MADANG_LANG="ko")
    hubs.append(served)
    assert served.process.stdout is not None
    assert "첫 관리자를 만듭니다: http://127.0.0.1:" in served.process.stdout.readline().decode()


def test_an_open_hub_says_so(tmp_path: Path) -> None:
    hub = Served.start(tmp_path, "--port", "0", "--access", "open")
    try:
        hub.await_ready()
        assert hub.first_link == ""
        assert hub.stop() == 0
        assert hub.process.stderr is not None
        assert hub.process.stderr.read().decode() == f"madang: {OPEN_LINE}\n"
    finally:
        hub.end()


def test_two_who_follow_the_link_at_once_make_one_administrator(hubs: list[Served], tmp_path: Path) -> None:
    hub = serve(hubs, tmp_path, *CLOSED)
    path = hub.first_link.removeprefix(hub.url)

    def press(_: int) -> int:
        request = urllib.request.Request(hub.url + path, b"", {"Accept": "application/json"}, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(press, range(8))) == [201] + [410] * 7


def test_strangers_are_counted_by_their_address(hubs: list[Served], tmp_path: Path) -> None:
    slow = {"MADANG_RATE_PER_S": "0.001", "MADANG_RATE_BURST": "2"}
    hub = serve(hubs, tmp_path, *CLOSED, **slow)
    assert [hub.request("GET", TYPES)[0] for _ in range(3)] == [401, 401, 429]
    assert hub.request("GET", TYPES, token="mdg_guess")[0] == 429
    assert hub.request("GET", "/health/live")[0] == 200
    admin = first_token(hub)  # public, and so not counted
    assert [hub.request("GET", TYPES, token=admin)[0] for _ in range(3)] == [200, 200, 429]


def test_tokens_are_made_on_the_data_while_no_hub_runs(hubs: list[Served], tmp_path: Path) -> None:
    hub = serve(hubs, tmp_path, *CLOSED)
    place = ("--data", str(tmp_path))
    wanted = ("--label", "gate", "--role", "editor", "--tenant", "songpa", "--expires", "90d")
    code, out, errors = madang("create", *place, *wanted)
    assert (code, out) == (2, "")
    assert errors.count("\n") == 1
    assert "--url" in errors
    hub.stop()

    assert madang("list", *place)[:2] == (0, "")
    code, token, errors = madang("create", *place, *wanted)
    assert code == 0
    assert token.startswith("mdg_")
    id = errors.split()[1]
    code, listed, _ = madang("list", *place)
    assert code == 0
    assert id in listed
    assert "editor@songpa" in listed
    assert token.strip() not in listed

    again = serve(hubs, tmp_path, *CLOSED)
    assert again.first_link == ""  # who has the data makes the first token without it
    assert again.request("GET", "/madang/v1/me", token=token.strip())[0] == 200
    again.stop()
    assert madang("revoke", *place, id)[0] == 0
    assert "revoked" in madang("list", *place)[1]


def test_tokens_are_made_through_a_hub_that_runs(hubs: list[Served], tmp_path: Path) -> None:
    hub = serve(hubs, tmp_path, *CLOSED)
    admin = first_token(hub)
    through = ("--url", hub.url)
    code, token, errors = madang("create", *through, "--label", "gate", "--role", "reader", MADANG_TOKEN=admin)
    assert code == 0, errors
    id = errors.split()[1]
    assert hub.request("GET", TYPES, token=token.strip())[0] == 200
    assert id in madang("list", *through, MADANG_TOKEN=admin)[1]
    assert madang("list", *through, MADANG_TOKEN=token.strip())[0] == 2
    assert madang("revoke", *through, id, MADANG_TOKEN=admin)[0] == 0
    assert hub.request("GET", TYPES, token=token.strip())[0] == 401
    for refused in (
        ("revoke", *through, "nobody"),
        ("create", *through, "--label", "gate", "--role", "nobody"),
        ("create", *through, "--label", " ", "--role", "reader"),
    ):
        before = madang("list", *through, MADANG_TOKEN=admin)
        code, out, errors = madang(*refused, MADANG_TOKEN=admin)
        assert (code, out, errors.count("\n")) == (2, "", 1), refused
        assert madang("list", *through, MADANG_TOKEN=admin) == before
    assert madang("list", *through, MADANG_TOKEN=f"{admin}x")[0] == 2
    hub.stop()
    code, out, errors = madang("list", *through, MADANG_TOKEN=admin)
    assert (code, out, errors.count("\n")) == (1, "", 1)
    assert admin not in errors
