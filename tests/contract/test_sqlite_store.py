"""The embedded store keeps the contract of stores, and what is its own: folders, locks, versions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from madang.base.errors import Conflict, StoreFailed, Unsupported
from madang.store.sqlite.store import DATABASE_FILE, LOCK_FILE, SqliteStore
from madang.testing.store_contract import Opener, StoreContract, entity, opened


def opener_of(folder: Path) -> Opener:
    async def open_store() -> SqliteStore:
        store = SqliteStore(folder)
        await store.open()
        return store

    return open_store


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return opener_of(tmp_path)


async def test_a_second_hub_on_the_folder_is_refused(tmp_path: Path) -> None:
    async with opened(opener_of(tmp_path)):
        second = SqliteStore(tmp_path)
        with pytest.raises(Conflict, match="Another hub"):
            await second.open()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in (LOCK_FILE, SHARED_MEMORY)}


SHARED_MEMORY = f"{DATABASE_FILE}-shm"  # which SQLite makes anew whenever it opens a database


@contextlib.contextmanager
def changed_by_others(folder: Path, statement: str, *, in_log: bool = False) -> Iterator[None]:
    """Let another program write the database; `in_log`: it was killed, and what it wrote is in the log beside it."""
    connection = apsw.Connection(str(folder / DATABASE_FILE))
    if in_log:
        connection.pragma("journal_mode", "wal")
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute(statement)
    connection.close()
    before = files_of(folder)
    assert (f"{DATABASE_FILE}-wal" in before) == in_log
    yield
    assert files_of(folder) == before, "what is not ours was touched"


@pytest.mark.parametrize("in_log", [False, True])
async def test_a_newer_schema_is_refused_and_not_touched(tmp_path: Path, *, in_log: bool) -> None:
    async with opened(opener_of(tmp_path)) as hub:
        await hub.create(entity("urn:v:1"))
    with (
        changed_by_others(tmp_path, "PRAGMA user_version = 9999", in_log=in_log),
        pytest.raises(Unsupported, match="newer version"),
    ):
        await SqliteStore(tmp_path).open()


@pytest.mark.parametrize("in_log", [False, True])
async def test_a_foreign_database_is_refused_and_not_touched(tmp_path: Path, *, in_log: bool) -> None:
    with (
        changed_by_others(tmp_path, "CREATE TABLE somebody (else_ TEXT)", in_log=in_log),
        pytest.raises(Unsupported, match="not one of Madang"),
    ):
        await SqliteStore(tmp_path).open()


async def test_another_programs_number_is_respected(tmp_path: Path) -> None:
    with (
        changed_by_others(tmp_path, "PRAGMA application_id = 77"),
        pytest.raises(Unsupported, match="not one of Madang"),
    ):
        await SqliteStore(tmp_path).open()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreFailed, match="cannot be used"):
        await SqliteStore(tmp_path).open()


async def test_synchronous_is_full_and_the_journal_is_a_wal(tmp_path: Path) -> None:
    async with opened(opener_of(tmp_path)) as hub:
        assert isinstance(hub.store, SqliteStore)
        assert hub.store.writing.pragma("synchronous") == 2
        assert hub.store.writing.pragma("journal_mode") == "wal"


async def test_a_full_disk_refuses_the_write_and_the_hub_goes_on(tmp_path: Path) -> None:
    async with opened(opener_of(tmp_path)) as hub:
        await hub.create(entity("urn:v:1"))
        assert isinstance(hub.store, SqliteStore)
        connection = hub.store.writing
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages)
        with pytest.raises(StoreFailed, match="could not write"):
            await hub.create(*(entity(f"urn:full:{number}", text="x" * 100_000) for number in range(20)))
        connection.pragma("max_page_count", 1_000_000)
        await hub.create(entity("urn:v:2"))
        assert set(await hub.store.documents("", ["urn:v:1", "urn:v:2"])) == {"urn:v:1", "urn:v:2"}
        assert await hub.store.check() == []
