"""Schemas go forward only: a released step stays as it is, and data of every released version can be opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import apsw
import asyncpg
import pytest

from madang.model.query.model import EntityQuery
from madang.store.port import Store
from madang.store.postgres import schema as postgres
from madang.store.postgres.store import PostgresStore
from madang.store.sqlite import schema as sqlite
from madang.store.sqlite.store import DATABASE_FILE, SqliteStore
from madang.testing.postgres import Cluster

# The first 16 digits of the SHA-256 of each released step. A new step gets a line when it is released; no line changes.
RELEASED: Final = {
    "sqlite": ("2bcbafde3fd08a4b",),
    "postgresql": ("657d50716e77e19f",),
}
STEPS: Final = {"sqlite": sqlite.STEPS, "postgresql": postgres.STEPS}
BODY: Final = '{"id":"urn:v:1","type":"Vehicle","createdAt":"2026-01-01T00:00:00Z","modifiedAt":"2026-01-01T00:00:00Z"}'


@pytest.mark.parametrize("store", RELEASED)
def test_released_steps_are_never_changed(store: str) -> None:
    sums = tuple(hashlib.sha256(step.encode()).hexdigest()[:16] for step in STEPS[store])
    assert sums[: len(RELEASED[store])] == RELEASED[store]


async def sqlite_of(version: int, folder: Path) -> Callable[[], Coroutine[Any, Any, Store]]:
    """Make what a hub with that schema left, and return what opens it."""
    connection = apsw.Connection(str(folder / DATABASE_FILE))
    for step in sqlite.STEPS[:version]:
        connection.execute(step)
    if version:
        connection.pragma("application_id", sqlite.APPLICATION_ID)
        connection.pragma("user_version", version)
        connection.execute("INSERT INTO entity VALUES (1, 1, 'urn:v:1', jsonb(?), NULL)", (BODY,))
        connection.execute("INSERT INTO entity_type VALUES (1, 'Vehicle', 1, 'urn:v:1')")
        connection.execute(
            "INSERT INTO change (sequence, batch, tenant, time_us, operation, entity, value) "
            "VALUES (1, 1, 1, 1, 1, 1, ?)",
            (BODY,),
        )
    connection.close()

    async def open_store() -> Store:
        store = SqliteStore(folder)
        await store.open()
        return store

    return open_store


async def postgres_of(version: int, url: str) -> Callable[[], Coroutine[Any, Any, Store]]:
    connection = await asyncpg.connect(url, server_settings={"search_path": postgres.SCHEMA})
    if version:
        await connection.execute("CREATE SCHEMA madang; CREATE TABLE madang.version (schema integer NOT NULL)")
        await connection.execute("INSERT INTO madang.version VALUES ($1)", version)
        for step in postgres.STEPS[:version]:
            await connection.execute(step)
        await connection.execute(
            "CREATE TABLE change_1970_01 PARTITION OF change FOR VALUES FROM (0) TO (2678400000000)"
        )
        await connection.execute("UPDATE log_position SET sequence = 1; INSERT INTO name VALUES (1, 'Vehicle')")
        await connection.execute("INSERT INTO entity VALUES (1, 'urn:v:1', 1, $1, NULL)", BODY)
        await connection.execute("INSERT INTO entity_type VALUES (1, 'urn:v:1', 1, 1)")
        await connection.execute(
            "INSERT INTO change (tenant, entity, sequence, batch, time_us, operation, value) "
            "VALUES (1, 'urn:v:1', 1, 1, 1, 1, $1)",
            BODY,
        )
    await connection.close()

    async def open_store() -> Store:
        store = PostgresStore(url)
        await store.open()
        return store

    return open_store


async def look(opener: Callable[[], Coroutine[Any, Any, Store]], *, has_data: bool) -> None:
    for _ in range(2):  # the second time there is nothing left to do
        store = await opener()
        assert (await store.find("", EntityQuery())).ids == (["urn:v:1"] if has_data else [])
        assert await store.last_sequence() == (1 if has_data else 0)
        assert await store.check() == []
        await store.close()


@pytest.mark.parametrize("version", range(len(sqlite.STEPS) + 1))
async def test_every_version_of_the_embedded_store_is_brought_up_to_date(version: int, tmp_path: Path) -> None:
    await look(await sqlite_of(version, tmp_path), has_data=version > 0)


@pytest.mark.unwatched  # rows are made here by hand
@pytest.mark.parametrize("version", range(len(postgres.STEPS) + 1))
async def test_every_version_of_the_postgresql_store_is_brought_up_to_date(version: int, cluster: Cluster) -> None:
    await look(await postgres_of(version, cluster.database()), has_data=version > 0)
