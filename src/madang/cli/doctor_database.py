# SPDX-License-Identifier: Apache-2.0
"""What `madang doctor` finds out about a PostgreSQL database. It changes nothing there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Final

from madang.base.errors import HubError, StoreFailed
from madang.base.limits import POSTGRES_READ_CONNECTIONS
from madang.base.settings import store_name
from madang.cli.database_refusal import database_refusal
from madang.cli.finding import Finding, good, problem

if TYPE_CHECKING:
    from madang.base.settings import Settings

CLOCK_DIFFERENCE_S_MAX: Final = 1.0
# Of one worker: the pool, and one that writes. One more is for a moment of starting, for all workers together.
CONNECTIONS_OF_A_WORKER: Final = POSTGRES_READ_CONNECTIONS + 1
_DURABLE: Final = ("fsync", "full_page_writes", "synchronous_commit")

_ABOUT: Final = """
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number,
           current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
               AS connections,
           pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS only_read,
           to_regclass($1 || '.version') IS NOT NULL AS has_tables,
           has_database_privilege(current_database(), 'CREATE') AS may_make_schema"""
_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision"
_OFF: Final = "SELECT name FROM pg_settings WHERE name = ANY($1::text[]) AND setting = 'off' ORDER BY name"
_CLOSED: Final = """
    SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT (has_table_privilege(c.oid, 'SELECT')
        AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
        AND has_table_privilege(c.oid, 'DELETE')) ORDER BY c.relname"""


def examine_database(settings: Settings) -> Iterator[Finding]:
    """Yield what is found about the database of the settings."""
    return iter(asyncio.run(_examine(settings)))


async def _examine(settings: Settings) -> list[Finding]:
    from madang.store.postgres.connections import Connections, as_store_failed

    store = store_name(settings.store)
    found: list[Finding] = []
    try:
        connection = await Connections(settings.store).connect("doctor")
        try:
            with as_store_failed():
                async for finding in _look(connection, settings, store):
                    found.append(finding)  # noqa: PERF401 (what was found before a failure is kept)
        finally:
            connection.terminate()
    except HubError as error:
        message, values = database_refusal(settings.store, error)
        if isinstance(error, StoreFailed) and error.retry_after_s is not None:
            message = "database_silent"
        found.append(problem(message, **values))
    return found


async def _look(connection: Any, settings: Settings, store: str) -> AsyncIterator[Finding]:
    from madang.store.postgres.schema import SCHEMA, STEPS, VERSION_MIN

    about = await connection.fetchrow(_ABOUT, SCHEMA)
    if about["number"] < VERSION_MIN:
        yield problem("postgresql_old", version=about["version"], oldest=VERSION_MIN // 10_000)
        return
    yield good("postgresql_good", version=about["version"], store=store)
    yield await _clock(connection)
    off = [row["name"] for row in await connection.fetch(_OFF, _DURABLE)]
    yield problem("durability_off", names=", ".join(off)) if off else good("durability_good")
    needed = settings.workers * CONNECTIONS_OF_A_WORKER + 1
    values = {"needed": needed, "workers": settings.workers, "allowed": about["connections"]}
    yield good("connections_good", **values) if needed <= about["connections"] else problem("connections_few", **values)
    if about["only_read"]:
        yield problem("database_only_read", store=store)
    if not about["has_tables"]:
        may = about["may_make_schema"]
        yield Finding("note", "database_empty", {"store": store}) if may else problem("database_denied", store=store)
        return
    version = await connection.fetchval("SELECT schema FROM version")
    if version > len(STEPS):
        yield problem("schema_newer", version=version, known=len(STEPS))
        return
    if version < len(STEPS):
        yield Finding("note", "schema_older", {"version": version, "known": len(STEPS)})
        return
    yield good("schema_good", version=version)
    async for finding in _tables(connection, settings):
        yield finding


async def _tables(connection: Any, settings: Settings) -> AsyncIterator[Finding]:
    """Look at tables of this version's schema."""
    from madang.store.postgres.partitions import Partitions
    from madang.store.postgres.schema import SCHEMA
    from madang.store.postgres.store import PostgresStore

    closed = [row["relname"] for row in await connection.fetch(_CLOSED, SCHEMA)]
    yield problem("tables_denied", names=", ".join(closed[:5])) if closed else good("tables_good")
    partitions = Partitions()
    await partitions.read(connection)
    if partitions.has(time.time_ns() // 1_000):
        yield good("partition_good")
    elif await connection.fetchval("SELECT has_schema_privilege($1, 'CREATE')", SCHEMA):
        yield Finding("note", "partition_absent", {})
    else:
        yield problem("partition_denied")
    store = PostgresStore(settings.store)
    await store.open()  # the schema is of this version: nothing is made or changed
    try:
        faults = await store.check()
    finally:
        await store.close()
    for fault in faults:
        yield problem("store_wrong", reason=fault)
    if not faults:
        yield good("store_good")


async def _clock(connection: Any) -> Finding:
    """Compare the hub's clock with the database's, whose answer was on its way for at most the whole round trip."""
    before_s = time.time()
    there_s: float = await connection.fetchval(_NOW)
    after_s = time.time()
    difference_s = max(before_s - there_s, there_s - after_s, 0.0)
    is_small = difference_s <= CLOCK_DIFFERENCE_S_MAX
    return (good if is_small else problem)("clocks_good" if is_small else "clocks_differ", seconds=difference_s)
