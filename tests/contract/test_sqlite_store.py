"""The embedded store keeps the contract of stores, and what is its own: folders, locks, versions."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from madang.base.errors import Conflict, StoreFailed, Unsupported
from madang.store.sqlite.store import DATABASE_FILE, SqliteStore
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


async def test_a_newer_schema_is_refused_and_not_touched(tmp_path: Path) -> None:
    async with opened(opener_of(tmp_path)) as hub:
        await hub.create(entity("urn:v:1"))
    with apsw.Connection(str(tmp_path / DATABASE_FILE)) as connection:
        connection.pragma("user_version", 9_999)
    connection.close()
    with pytest.raises(Unsupported, match="newer version"):
        await SqliteStore(tmp_path).open()
    connection = apsw.Connection(str(tmp_path / DATABASE_FILE))
    assert connection.pragma("user_version") == 9_999
    connection.close()


async def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / DATABASE_FILE))
    connection.execute("CREATE TABLE somebody (else_ TEXT)")
    connection.close()
    with pytest.raises(Unsupported, match="not one of Madang"):
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
