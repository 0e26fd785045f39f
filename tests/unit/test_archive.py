"""A backup tells when any byte of it is not as it was written, and is there only when it is whole."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import io
import os
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.errors import StoreFailed
from madang.store import archive
from madang.store.archive import open_archive, restore_archive, write_archive
from madang.store.moving import (
    CHANGES,
    ENTITIES,
    RECORDS,
    SECTIONS,
    TENANTS,
    MoveFailed,
    MoveRefused,
    Row,
    Section,
    lines_of,
    row_of,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(texts, json_values, max_size=3).map(lambda value: orjson.dumps(value).decode())

ROWS: dict[str, list[Row]] = {
    "tenants": [("",), ("b",)],
    "entities": [("", "urn:1", None, '{"id":"urn:1","type":"T"}'), ("b", "urn:2", 5, None)],
    "changes": [
        (1, 1, "", 1, 1, "urn:1", None, None, None, None, None, None, None, 0, None, '{"id":"urn:1","type":"T"}'),
        (2, 2, "b", 2, 4, "urn:2", None, "speed", "urn:d", 7, 1.5, "me", "p", 1, 1, None),
    ],
    "records": [("", "subscription", "urn:s", '{"문":[1,null]}')],
    "bookmarks": [("notify", 2)],
    "indexes": [("", "speed")],
}


class City:
    """A city in memory: a snapshot, and what it is filled with."""

    store = "sqlite"
    schema = 1
    sequence = 2

    def __init__(self, rows: dict[str, list[Row]]) -> None:
        self.held = rows
        self.is_finished = False

    async def count(self, section: Section) -> int:
        return len(self.held[section.name])

    async def rows(self, section: Section) -> AsyncIterator[list[Row]]:
        for row in self.held[section.name]:
            yield [row]

    async def write(self, section: Section, rows: list[Row]) -> None:
        self.held[section.name] += rows

    async def seal(self, sequence: int) -> None:
        self.sequence = sequence

    async def finish(self) -> None:
        self.is_finished = True


def empty() -> City:
    return City({section.name: [] for section in SECTIONS})


def quiet(*_: object) -> None:
    """Nobody wants to know how far it is."""


def keep(path: Path, city: Any = None) -> bytes:
    asyncio.run(write_archive(city or City(ROWS), path, 1_700_000_000_000_000, quiet))
    return path.read_bytes()


def restored(path: Path) -> City:
    async def restore() -> City:
        city = empty()
        async with open_archive(path, quiet) as kept:
            await restore_archive(kept, city, quiet)
        return city

    return asyncio.run(restore())


def refusal(path: Path) -> str:
    """Return the message with which a file is refused, before anything is written."""

    async def look() -> None:
        async with open_archive(path, quiet):
            pytest.fail("it was taken for good")

    with pytest.raises(MoveRefused) as refused:
        asyncio.run(look())
    assert not isinstance(refused.value, MoveFailed)
    assert str(path) in refused.value.detail
    return refused.value.message


def sealed(members: dict[str, bytes]) -> bytes:
    """Return a file that is whole, with contents that no backup has."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.comment = b"sha256:" + b"0" * 64
        for name, content in members.items():
            made.writestr(name, content)
    whole = file.getvalue()[:-64]
    return whole + hashlib.sha256(whole).hexdigest().encode()


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as kept:
        return {name: kept.read(name) for name in kept.namelist()}


@given(st.lists(st.tuples(texts, texts, st.none() | st.integers(0, 2**53), st.none() | documents)))
def test_rows_and_lines_are_the_same_thing(rows: list[Row]) -> None:
    lines = lines_of(ENTITIES, rows)
    assert [row_of(ENTITIES, line) for line in lines.splitlines()] == rows
    assert lines.count(b"\n") == len(rows)


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b"[", b'["","","",null,0]', b"null"])
def test_other_lines_are_no_rows(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        row_of(ENTITIES, line)


@given(floats)
def test_numbers_of_the_log_keep_their_value(number: float) -> None:
    row: Row = (1, 1, "", 1, 4, "e", None, "a", None, None, number, None, None, 0, None, None)
    assert row_of(CHANGES, lines_of(CHANGES, [row])) == row


def test_a_city_comes_back_as_it_was(tmp_path: Path) -> None:
    keep(tmp_path / "kept")
    city = restored(tmp_path / "kept")
    assert city.held == ROWS
    assert city.sequence == 2
    assert city.is_finished


def test_any_tool_can_open_it_and_check_it(tmp_path: Path) -> None:
    content = keep(tmp_path / "kept")
    assert content[-64:] == hashlib.sha256(content[:-64]).hexdigest().encode()
    members = members_of(content)
    manifest = orjson.loads(members["manifest.json"])
    assert (manifest["format"], manifest["format_version"], manifest["sequence"]) == ("madang-backup", 1, 2)
    assert manifest["moment"] == "2023-11-14T22:13:20Z"
    for part in manifest["sections"]:
        lines = members[part["member"]]
        assert part["sha256"] == hashlib.sha256(lines).hexdigest()
        assert part["rows"] == lines.count(b"\n") == len(ROWS[part["name"]])
        assert all(len(orjson.loads(line)) == len(part["columns"]) for line in lines.splitlines())


def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    content = keep(tmp_path / "kept")
    path = tmp_path / "changed"
    for place in range(len(content)):
        changed = content[place] ^ (1 << place % 8)
        path.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])
        assert refusal(path) in ("archive_damaged", "archive_foreign")


def test_a_cut_file_is_noticed_wherever_it_is_cut(tmp_path: Path) -> None:
    content = keep(tmp_path / "kept")
    path = tmp_path / "cut"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert refusal(path) in ("archive_damaged", "archive_foreign")
    for more in (b"\0", content, b"PK"):
        path.write_bytes(content + more)
        assert refusal(path) == "archive_damaged"


@given(st.binary(max_size=300))
def test_what_is_no_backup_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("foreign") / "file"
    path.write_bytes(content)
    assert refusal(path) in ("archive_damaged", "archive_foreign")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent") == "archive_unreadable"
    assert refusal(tmp_path) in ("archive_foreign", "archive_unreadable")
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "archive_foreign"
    (tmp_path / "empty").touch()
    assert refusal(tmp_path / "empty") == "archive_foreign"


def _manifest(change: Callable[[Any], Any]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def changed(members: dict[str, bytes]) -> dict[str, bytes]:
        manifest = orjson.loads(members["manifest.json"])
        changed = change(manifest)
        return {**members, "manifest.json": orjson.dumps(changed if isinstance(changed, list) else manifest)}

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_manifest(lambda about: about.update(format_version=2)), "archive_newer"),
        (_manifest(lambda about: about.update(format="zip of holiday photos")), "archive_foreign"),
        (_manifest(lambda about: [about]), "archive_foreign"),
        (_manifest(lambda about: about.pop("store")), "archive_damaged"),
        (_manifest(lambda about: about.update(sequence="many")), "archive_damaged"),
        (_manifest(lambda about: about["sections"].clear()), "archive_damaged"),
        (_manifest(lambda about: about["sections"][1].update(rows=1)), "archive_damaged"),
        (_manifest(lambda about: about["sections"][1].update(sha256=0)), "archive_damaged"),
        (_manifest(lambda about: about.update(sections=None)), "archive_damaged"),
        (lambda members: {**members, "manifest.json": b"{"}, "archive_damaged"),
        (lambda members: {name: data for name, data in members.items() if name != "manifest.json"}, "archive_foreign"),
        (lambda members: {name: data for name, data in members.items() if name != "changes.jsonl"}, "archive_damaged"),
        (lambda members: {**members, "records.jsonl": members["records.jsonl"] * 2}, "archive_damaged"),
    ],
)
def test_a_whole_file_that_is_no_backup_of_this_version_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str
) -> None:
    members = members_of(keep(tmp_path / "kept"))
    path = tmp_path / "made"
    path.write_bytes(sealed(members))
    assert restored(path).held == ROWS
    path.write_bytes(sealed(change(members)))
    assert refusal(path) == message


@pytest.mark.parametrize("line", [b"[1]\n", b"{}\n", b"nothing\n", b'["b"]', b"[" * 2_000 + b"\n"])
def test_rows_that_no_city_has_are_undone(tmp_path: Path, line: bytes) -> None:
    members = members_of(keep(tmp_path / "kept"))
    lines = members["records.jsonl"] + line
    manifest = orjson.loads(members["manifest.json"])
    part = next(part for part in manifest["sections"] if part["name"] == RECORDS.name)
    part.update(rows=lines.count(b"\n"), bytes=len(lines), sha256=hashlib.sha256(lines).hexdigest())
    path = tmp_path / "made"
    path.write_bytes(sealed({**members, "records.jsonl": lines, "manifest.json": orjson.dumps(manifest)}))
    with pytest.raises(MoveFailed, match="holds what no city has"):
        restored(path)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keep(tmp_path / "kept")
    finally:
        os.umask(before)
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_over(tmp_path: Path) -> None:
    content = keep(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("kept", "link"):
        with pytest.raises(MoveRefused, match="ever written over"):
            keep(tmp_path / name, City({**ROWS, "tenants": [("",)]}))
    with pytest.raises(MoveRefused, match="no folder"):
        keep(tmp_path / "absent" / "kept")
    assert (tmp_path / "kept").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "link"]


def test_what_an_interrupted_backup_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "kept.part").write_bytes(b"half of it" * 1_000)
    keep(tmp_path / "kept")
    assert restored(tmp_path / "kept").held == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_two_backups_do_not_write_to_one_file(tmp_path: Path) -> None:
    with (tmp_path / "kept.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MoveRefused, match="right now"):
            keep(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.part"]


class Failing(City):
    def __init__(self, error: BaseException) -> None:
        super().__init__(ROWS)
        self._error = error

    async def rows(self, section: Section) -> AsyncIterator[list[Row]]:
        async for rows in super().rows(section):
            yield rows
        if section is CHANGES:
            raise self._error


@pytest.mark.parametrize("error", [StoreFailed("gone"), asyncio.CancelledError(), KeyboardInterrupt()])
def test_a_backup_that_does_not_come_to_its_end_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        keep(tmp_path / "kept", Failing(error))
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_gives_fewer_rows_than_it_counts_is_damaged(tmp_path: Path) -> None:
    class Lossy(City):
        async def count(self, section: Section) -> int:
            return await super().count(section) + (section is TENANTS)

    with pytest.raises(MoveFailed, match="damaged: 1 rows of its tenants"):
        keep(tmp_path / "kept", Lossy(ROWS))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [0, 10, 500, 1_500])
def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    write = archive._Summed.write
    left = room

    def write_some(self: archive._Summed, data: Any) -> int:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    monkeypatch.setattr(archive._Summed, "write", write_some)
    with pytest.raises(MoveFailed, match="cannot be written: No space left on device"):
        keep(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_keeps_something_else_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seal = archive._Summed.seal

    def seal_and_flip(self: archive._Summed) -> None:
        seal(self)
        self._file.seek(100)
        byte = self._file.read(1)
        self._file.seek(100)
        self._file.write(bytes([byte[0] ^ 1]))

    monkeypatch.setattr(archive._Summed, "seal", seal_and_flip)
    with pytest.raises(MoveFailed, match="does not read back"):
        keep(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
