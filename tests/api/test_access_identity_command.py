# SPDX-License-Identifier: Apache-2.0
"""`madang token` on data that no hub holds: what it refuses, in one line, and that nothing is changed by it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from madang.app import open_access, open_hub
from madang.base.settings import Settings
from madang.cli.main import main
from madang.core.access import Access

GOOD = ("create", "--label", "gate", "--role", "reader")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADANG_LANG", "en")
    for name in ("DATA", "STORE", "TOKEN"):
        monkeypatch.delenv(f"MADANG_{name}", raising=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def make() -> None:
        async with open_hub(Settings(data=tmp_path / "data")):
            pass

    asyncio.run(make())
    return tmp_path / "data"


def run(*arguments: str) -> int:
    try:
        return main(["token", *arguments])
    except SystemExit as ended:
        return int(str(ended.code))


def records(data: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(data / "madang.sqlite")
    try:
        return sorted(connection.execute("SELECT tenant, kind, id, body FROM record"), key=repr)
    finally:
        connection.close()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("destroy",),
        ("create",),
        ("create", "--label", "gate"),
        ("create", "--role", "reader"),
        (*GOOD, "--role", "nobody"),
        (*GOOD, "--role", "reader@a b"),
        (*GOOD, "--role", ""),
        ("create", "--label", "", "--role", "reader"),
        ("create", "--label", "a\nb", "--role", "reader"),
        ("create", "--label", "x" * 201, "--role", "reader"),
        (*GOOD, "--tenant", "a b"),
        ("create", "--label", "gate", "--role", "reader@songpa", "--tenant", "mapo"),
        (*GOOD, "--expires", "soon"),
        (*GOOD, "--expires", "0d"),
        (*GOOD, "--expires", "-5d"),
        (*GOOD, "--expires", "90"),
        (*GOOD, "--expires", "2020-01-01T00:00:00Z"),
        (*GOOD, "--expires", "2027-13-01T00:00:00Z"),
        (*GOOD, "--rate", "fast"),
        (*GOOD, "--rate", "-1"),
        (*GOOD, "--rate", "nan"),
        (*GOOD, "--quota", "1.5"),
        (*GOOD, "--quota", "9" * 30),
        (*GOOD, "--url", "http://127.0.0.1:1"),  # beside --data
        ("revoke",),
        ("revoke", "nobody"),
        ("revoke", "../x"),
        ("list", "more"),
        ("list", "--store", "oracle"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_changes_nothing(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    before = records(data)
    place = ("--data", str(data)) if arguments and arguments[0] in ("create", "list", "revoke") else ()
    assert run(*arguments, *place) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("madang")
    assert records(data) == before


@pytest.mark.parametrize("url", ["", "hub", "ftp://hub", "http://", "http://a@hub", "http://hub:x", "http://hub/?a=b"])
def test_what_is_no_address_of_a_hub_is_refused(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADANG_TOKEN", "mdg_secret")
    assert run("list", "--url", url) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("token", [None, "", "a b", "a\nb", "가"])
def test_a_hub_is_asked_with_a_token_only(
    token: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if token is not None:
        monkeypatch.setenv("MADANG_TOKEN", token)
    assert run("list", "--url", "http://127.0.0.1:1") == 2
    assert "MADANG_TOKEN" in capsys.readouterr().err


def test_a_mistyped_folder_stays_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in (GOOD, ("list",), ("revoke", "x")):
        assert run(*action, "--data", str(tmp_path / "nowhere")) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_hub_holds_is_left_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def hold() -> int:
        async with open_hub(Settings(data=data)):
            return await asyncio.to_thread(run, "list", "--data", str(data))

    assert asyncio.run(hold()) == 2
    assert "--url" in capsys.readouterr().err


def test_the_token_alone_is_on_standard_output(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = ("--rate", "2.5", "--quota", "100", "--expires", "2099-01-01T00:00:00Z")
    assert run(*GOOD, "--role", "editor@songpa", *limits, "--data", str(data)) == 0
    said = capsys.readouterr()
    token = said.out.strip()
    assert token.startswith("mdg_")
    assert token not in said.err

    async def look() -> None:
        async with open_access(Settings(data=data)) as access:
            who = await access.authenticate(f"Bearer {token}")
            assert (who.rate_per_s, who.quota_per_day) == (2.5, 100)
            assert [grant.tenants for grant in who.grants] == [("*",), ("songpa",)]
            assert access.tokens()[0].expires == "2099-01-01T00:00:00Z"

    asyncio.run(look())


def test_every_role_is_narrowed_to_the_tenant(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*GOOD, "--role", "editor", "--tenant", "", "--data", str(data)) == 0
    assert run("list", "--data", str(data)) == 0
    assert "reader@,editor@" in capsys.readouterr().out


def test_a_list_of_nothing_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--data", str(data)) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "There are no tokens\n")


async def test_many_look_at_the_same_tokens(data: Path) -> None:
    async with open_access(Settings(data=data)) as access:
        assert isinstance(access, Access)
        assert access.tokens() == []
