# SPDX-License-Identifier: Apache-2.0
"""A city in one file: a ZIP of JSON lines with a manifest, whose every byte is covered by a SHA-256 at its end.

The form is open and told in docs/reference/backup-format.md. A file is written under another name and gets its own
when it is whole, on disk and read back, so a backup that is there is a good one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, NamedTuple

import orjson

import madang
from madang.base.limits import ARCHIVE_LINE_BYTES_MAX, ARCHIVE_MANIFEST_BYTES_MAX
from madang.base.times import format_date_time
from madang.store.moving import (
    COPYING,
    SECTIONS,
    VERIFYING,
    Compared,
    Filling,
    MoveFailed,
    MoveRefused,
    Row,
    Section,
    Snapshot,
    Tally,
    Tell,
    batches,
    move,
    row_of,
)

FORMAT: Final = "madang-backup"
FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
_BEGIN: Final = b"PK\x03\x04"
_TRAILER: Final = b"sha256:"
_DIGEST_BYTES: Final = 64
_SIZE_BYTES_MIN: Final = 22 + len(_TRAILER) + _DIGEST_BYTES  # of a ZIP with nothing in it
_BLOCK_BYTES: Final = 1024 * 1024
# The weakest compression makes JSON lines a sixth of their size; stronger ones cost far more time than they save room.
_LEVEL: Final = 1
# What the reading of a file says that only looks like a backup.
_BROKEN: Final = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(KeyError, IndexError, TypeError, ValueError),
)
_RIGHTS: Final = 0o600  # a backup holds all that is known of a city


class Part(NamedTuple):
    """What the manifest says of one section."""

    rows: int
    bytes: int
    sha256: str


class Manifest(NamedTuple):
    """What a backup says of itself. `moment` is when its snapshot was taken."""

    store: str
    schema: int
    madang: str
    moment: str
    sequence: int
    parts: dict[str, Part]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts.values())


class _Summed:
    """A file that is written from begin to end, summed up on its way; it offers no seeking, so ZIP does none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sum = hashlib.sha256()
        self._held = b""  # the last bytes written, whose place the digest takes in the end

    def write(self, data: Any) -> int:
        data = bytes(data)
        self._file.write(data)
        held = self._held + data
        self._held = held[-_DIGEST_BYTES:]
        self._sum.update(held[:-_DIGEST_BYTES])
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def seal(self) -> None:
        """Put the sum of all that stands before it in the place of the last bytes, and all of it on the disk."""
        self._file.seek(-_DIGEST_BYTES, os.SEEK_END)
        self._file.write(self._sum.hexdigest().encode())
        self._file.flush()
        os.fsync(self._file.fileno())


async def write_archive(snapshot: Snapshot, path: Path, now_us: int, tell: Tell) -> Manifest:
    """Write what a snapshot holds to a new file, and read it back before the file gets its name.

    Raises: MoveRefused: the file is there already, or its folder is not. MoveFailed: it could not be written (disk
    full), or reads back differently; no file is left. StoreFailed: the store could not be read.
    """
    check_new(path)
    try:
        with _part_of(path) as file:
            await _fill(file, snapshot, now_us, tell)
            manifest = await _read_back(file, path, tell)
            _show(path)
    except OSError as error:
        raise MoveFailed("backup_unwritable", file=path, reason=error.strerror or str(error)) from error
    return manifest


async def _read_back(file: BinaryIO, path: Path, tell: Tell) -> Manifest:
    try:
        return (await _opened(file, path, tell)).manifest
    except MoveRefused as error:
        raise MoveFailed("backup_differs", file=path) from error


def check_new(path: Path) -> None:
    """Refuse a file that is there already or cannot be made; nothing is ever written over.

    Raises: MoveRefused.
    """
    if os.path.lexists(path):
        raise MoveRefused("backup_exists", file=path)
    if not path.parent.is_dir():
        raise MoveRefused("backup_no_folder", folder=path.parent)


@contextlib.contextmanager
def _part_of(path: Path) -> Iterator[BinaryIO]:
    """Lend the file that is written; what is left of one that was interrupted is written over."""
    part = _part(path)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _RIGHTS)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MoveRefused("backup_under_way", file=path) from None
        try:
            os.fchmod(descriptor, _RIGHTS)
            file.truncate()
            yield file
        finally:
            part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _show(path: Path) -> None:
    """Give the finished file its name."""
    _part(path).rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def _fill(file: BinaryIO, snapshot: Snapshot, now_us: int, tell: Tell) -> None:
    summed: Any = _Summed(file)
    tallies = []
    with zipfile.ZipFile(summed, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        archive.comment = _TRAILER + b"0" * _DIGEST_BYTES
        for section in SECTIONS:
            tally = Tally(section)
            total = await snapshot.count(section)
            tell(COPYING, section.name, 0, total)
            with archive.open(_member(section.name), "w", force_zip64=True) as member:
                async for rows in snapshot.rows(section):
                    member.write(tally.add(rows))
                    tell(COPYING, section.name, tally.rows, total)
                    await asyncio.sleep(0)  # so that an interruption is heard between two batches
            if tally.rows != total:
                raise MoveFailed("move_damaged", section=section.name, missing=total - tally.rows)
            tallies.append(tally)
        about = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "madang": madang.__version__,
            "store": snapshot.store,
            "schema": snapshot.schema,
            "moment": format_date_time(now_us),
            "sequence": snapshot.sequence,
            "sections": [
                {
                    "name": tally.section.name,
                    "member": _member(tally.section.name),
                    "rows": tally.rows,
                    "bytes": tally.bytes,
                    "sha256": tally.sha256,
                    "columns": tally.section.columns,
                }
                for tally in tallies
            ],
        }
        archive.writestr(MANIFEST, orjson.dumps(about, option=orjson.OPT_INDENT_2))
    summed.seal()


def _member(section: str) -> str:
    return f"{section}.jsonl"


class ArchivedCity:
    """A backup whose every byte was found as it was written. See `madang.store.moving.Snapshot`."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._archive = archive
        self.manifest = manifest
        self.store = manifest.store
        self.schema = manifest.schema
        self.sequence = manifest.sequence

    @property
    def sums(self) -> dict[str, str]:
        """The SHA-256 of each section."""
        return {name: part.sha256 for name, part in self.manifest.parts.items()}

    async def count(self, section: Section) -> int:
        return self.manifest.parts[section.name].rows

    async def rows(self, section: Section) -> AsyncIterator[list[Row]]:
        with self._archive.open(_member(section.name)) as member:
            rows = (row_of(section, line) for line in _lines(member))
            async for batch in batches(rows):
                yield batch


@contextlib.asynccontextmanager
async def open_archive(path: Path, tell: Tell) -> AsyncIterator[ArchivedCity]:
    """Read and verify a whole backup, before anything is done with it.

    Raises: MoveRefused: there is none, it is not a backup, is damaged or cut short, or has a newer format.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise MoveRefused("archive_foreign", file=path)
    except OSError as error:
        raise MoveRefused("archive_unreadable", file=path, reason=error.strerror or str(error)) from error
    with os.fdopen(descriptor, "rb") as file:
        city = await _opened(file, path, tell)
        try:
            yield city
        except OSError as error:
            raise MoveFailed("archive_unreadable", file=path, reason=error.strerror or str(error)) from error


async def restore_archive(city: ArchivedCity, filling: Filling, tell: Tell) -> list[Compared]:
    """Fill an empty store from a backup; see `madang.store.moving.move`.

    Raises: MoveFailed: what is stored differs from the backup, or the backup holds what no city has.
    """
    try:
        return await move(city, filling, tell, expected=city.sums)
    except _BROKEN as error:
        raise MoveFailed("archive_content", reason=f"{type(error).__name__}: {error}") from error


async def _opened(file: BinaryIO, path: Path, tell: Tell) -> ArchivedCity:
    try:
        await _check_bytes(file, path, tell)
        archive = zipfile.ZipFile(file)
        manifest = _read_manifest(archive, path)
        for section in SECTIONS:
            await _check_member(archive, section.name, manifest.parts[section.name], tell)
    except OSError as error:
        raise MoveRefused("archive_unreadable", file=path, reason=error.strerror or str(error)) from error
    except _BROKEN as error:
        raise MoveRefused("archive_damaged", file=path) from error
    return ArchivedCity(archive, manifest)


async def _check_bytes(file: BinaryIO, path: Path, tell: Tell) -> None:
    """Sum up the whole file but for the digest at its end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0 or not _BEGIN.startswith(file.read(len(_BEGIN))[:size]):
        raise MoveRefused("archive_foreign", file=path)
    if size < _SIZE_BYTES_MIN:
        raise MoveRefused("archive_damaged", file=path)
    file.seek(0)
    left = size - _DIGEST_BYTES
    whole = hashlib.sha256()
    last = b""
    while left and (block := file.read(min(left, _BLOCK_BYTES))):
        whole.update(block)
        left -= len(block)
        last = (last + block)[-len(_TRAILER) :]
        tell(VERIFYING, "file", size - left, size)
        await asyncio.sleep(0)
    if last != _TRAILER or file.read() != whole.hexdigest().encode():
        raise MoveRefused("archive_damaged", file=path)


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    if MANIFEST not in archive.namelist():
        raise MoveRefused("archive_foreign", file=path)
    with archive.open(MANIFEST) as member:
        about = orjson.loads(member.read(ARCHIVE_MANIFEST_BYTES_MAX))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise MoveRefused("archive_foreign", file=path)
    if about["format_version"] != FORMAT_VERSION:
        raise MoveRefused("archive_newer", file=path, version=about["format_version"], known=FORMAT_VERSION)
    parts = {part["name"]: Part(part["rows"], part["bytes"], part["sha256"]) for part in about["sections"]}
    if set(parts) != {section.name for section in SECTIONS}:
        raise MoveRefused("archive_damaged", file=path)
    return Manifest(
        *(str(about["store"]), int(about["schema"]), str(about["madang"]), str(about["moment"])),
        *(int(about["sequence"]), parts),
    )


async def _check_member(archive: zipfile.ZipFile, name: str, part: Part, tell: Tell) -> None:
    """Sum up a section as it comes out of the file."""
    whole = hashlib.sha256()
    rows = size = 0
    with archive.open(_member(name)) as member:
        while block := member.read(_BLOCK_BYTES):
            whole.update(block)
            size += len(block)
            rows += block.count(b"\n")
            if size > part.bytes:
                break
            tell(VERIFYING, name, rows, part.rows)
            await asyncio.sleep(0)
    if Part(rows, size, whole.hexdigest()) != part:
        raise ValueError(f"{name} is not what the manifest says")


def _lines(member: IO[bytes]) -> Iterator[bytes]:
    while line := member.readline(ARCHIVE_LINE_BYTES_MAX):
        if line[-1:] != b"\n":
            raise ValueError("a line is longer than any row")
        yield line
