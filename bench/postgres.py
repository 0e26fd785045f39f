# SPDX-License-Identifier: Apache-2.0
"""The load shapes on PostgreSQL, as ratios to what the same machine and database do at best in the same run.

    python -m bench.postgres [--seconds 4] [SHAPE …]

Shapes: P1 (R1 of two workers to the ASGI ceiling), P2 (two workers to one, reads bound by computing), P3 (W1 to a loop
with a transaction for each request), P4 (batches of 100 to bare inserts of the same rows). The database is the run's
own, with fsync; it shares the cores with the workers and the load.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson

from bench.hub import Hub, hub
from bench.load import wrk
from bench.run import BATCH, HEAD, Row, Run, _template, bare, create, loaded, numbers
from bench.scripts import BATCH as BATCH_SCRIPT
from bench.scripts import POST
from bench.shapes import station, vehicle
from madang.base.limits import POSTGRES_READ_CONNECTIONS
from madang.model.change import Operation, creation_changes
from madang.store.postgres.partitions import Partitions
from madang.store.postgres.schema import SCHEMA, prepare
from madang.testing.postgres import Cluster

CONNECTIONS: Final = 64
_TIME_US: Final = 1_769_848_200_000_000  # 2026-01-31T08:30:00Z
_STAMP: Final = {"createdAt": "2026-01-31T08:30:00.123456Z", "modifiedAt": "2026-01-31T08:30:00.123456Z"}
_ENTITIES: Final = (
    "INSERT INTO entity (tenant, id, key, body) SELECT * FROM unnest($1::int[], $2::text[], $3::bigint[], $4::text[]) "
    "ON CONFLICT (tenant, id) DO UPDATE SET body = excluded.body"
)
_TYPES: Final = (
    "INSERT INTO entity_type (tenant, id, type, key) "
    "SELECT * FROM unnest($1::int[], $2::text[], $3::int[], $4::bigint[])"
)
_CHANGES: Final = (
    "INSERT INTO change (tenant, entity, sequence, batch, time_us, operation, attribute, number, value) SELECT * FROM "
    "unnest($1::int[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::smallint[], $7::int[], $8::float8[], "
    "$9::text[])"
)


# ---------------------------------------------------------------- what the database does at best


async def _prepared(url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(url, server_settings={"search_path": SCHEMA, "jit": "off"})
    await prepare(connection)
    await Partitions().ensure(connection, _TIME_US, _TIME_US)
    return connection


Statements = list[tuple[str, list[list[Any]]]]


def _creation(documents: list[dict[str, Any]], first: int) -> Statements:
    keys = list(range(first * 20 + 1, (first + len(documents)) * 20 + 1, 20))
    ids = [document["id"] for document in documents]
    bodies = [orjson.dumps(document).decode() for document in documents]
    many = len(documents)
    ones = [1] * many
    created = [int(Operation.ENTITY_CREATED)] * many
    nothing: list[Any] = [None] * many
    return [
        (_ENTITIES, [ones, ids, keys, bodies]),
        (_TYPES, [ones, ids, ones, keys]),
        (_CHANGES, [ones, ids, keys, keys, [_TIME_US] * many, created, nothing, nothing, bodies]),
    ]


def _update(documents: list[dict[str, Any]], first: int) -> Statements:
    rows: list[tuple[Any, ...]] = []
    for number, document in enumerate(documents, first):
        for offset, change in enumerate(creation_changes(document)[1:], 10_000_000 + number * 20):
            value = (change.value or {}).get("value")
            numeric = float(value) if isinstance(value, int | float) else None
            text = orjson.dumps(change.value).decode()
            rows.append(
                (1, document["id"], offset, offset, _TIME_US, int(change.operation), offset % 20, numeric, text)
            )
    return [_creation(documents, first)[0], (_CHANGES, [list(column) for column in zip(*rows, strict=True)])]


async def _insert_rate(url: str, documents: list[dict[str, Any]], *, updates: bool) -> float:
    """Write the rows that these entities make, a hundred in one transaction; return entities a second."""
    connection = await _prepared(url)
    groups = [documents[start : start + BATCH] for start in range(0, len(documents), BATCH)]
    seconds = await _timed(connection, [_creation(group, number * BATCH) for number, group in enumerate(groups)])
    if updates:
        seconds = await _timed(connection, [_update(group, number * BATCH) for number, group in enumerate(groups)])
    await connection.close()
    return len(documents) / seconds


async def _timed(connection: asyncpg.Connection, groups: list[Statements]) -> float:
    begin = time.perf_counter()
    for statements in groups:
        async with connection.transaction():
            for sql, columns in statements:
                await connection.execute(sql, *columns)
    return time.perf_counter() - begin


async def _request_rate(url: str, seconds: float, connections: int) -> float:
    """Create an entity in a transaction of its own for each of 64 callers, over a pool of so many connections."""
    await (await _prepared(url)).close()
    done = 0
    until = time.perf_counter() + seconds
    async with asyncpg.create_pool(
        url, min_size=1, max_size=connections, server_settings={"search_path": SCHEMA, "jit": "off"}
    ) as pool:

        async def call(caller: int) -> None:
            nonlocal done
            number = caller * 1_000_000
            while time.perf_counter() < until:
                number += 1
                document = {**station(number), **_STAMP, "id": f"urn:ngsi-ld:WaterStation:{number:09d}"}
                statements = _creation([document], number)
                async with pool.acquire() as connection, connection.transaction():
                    for sql, columns in statements:
                        await connection.execute(sql, *columns)
                done += 1

        await asyncio.gather(*(call(caller) for caller in range(CONNECTIONS)))
    return done / seconds


# ---------------------------------------------------------------- the hub


async def _checkpoint(cluster: Cluster) -> None:
    connection = await asyncpg.connect(cluster.url("postgres"))
    await connection.execute("CHECKPOINT")
    await connection.close()


def calm(cluster: Cluster) -> None:
    """Have the server write out what the measurement before left, which would otherwise be done during the next."""
    asyncio.run(_checkpoint(cluster))


def _flags(cluster: Cluster, workers: int) -> tuple[str, ...]:
    return ("--store", cluster.database(), "--workers", str(workers))


def reads(run: Run, running: Hub) -> None:
    vehicles = [vehicle(number) for number in range(100)]
    create(running, vehicles)
    one = running.client.get(f"/entities/{vehicles[7]['id']}")
    lua = (
        'local n = 0\nrequest = function()\n  n = (n + 1) % 100\n  return wrk.format("GET", '
        'string.format("/ngsi-ld/v1/entities/urn:ngsi-ld:Vehicle:%06d", n))\nend\n'
    )
    load = wrk(running.url, lua, connections=CONNECTIONS, seconds=run.seconds)
    with bare(one.content) as url:
        ceiling = wrk(url, lua, connections=CONNECTIONS, seconds=run.seconds)
    loaded(run, "P1", "GET /entities/{id}, two workers, 64 connections", load, ceiling=ceiling, goal=">= 0.35")


_COMPUTED: Final = """
local n = {first}
request = function()
  n = n + 1
  return wrk.format("GET", string.format("/ngsi-ld/v1/entities?type=Vehicle&limit=100&omit=none%d", n))
end
"""


def computed(run: Run, cluster: Cluster, folder: Path) -> None:
    """Pages of 100 that have to be rendered each time, as no two requests are the same."""
    loads = []
    for workers in (1, 2):
        with hub(folder, *_flags(cluster, workers)) as running:
            create(running, [vehicle(number) for number in range(100)])
            wrk(running.url, _COMPUTED.format(first=0), connections=CONNECTIONS, seconds=1)
            loads.append(
                wrk(running.url, _COMPUTED.format(first=1_000_000), connections=CONNECTIONS, seconds=run.seconds)
            )
    loaded(run, "P2", "pages of 100 rendered anew, two workers to one", loads[1], ceiling=loads[0], goal=">= 1.60")


def writes(run: Run, running: Hub, cluster: Cluster) -> None:
    for seconds in (1.0, run.seconds):  # the first warms up
        script = POST.replace("{body}", _template()).replace("{first}", str(numbers(1_000_000)))
        calm(cluster)
        load = wrk(running.url, script, connections=CONNECTIONS, seconds=seconds)
    calm(cluster)
    # What two workers write with, and what one of them reads with.
    for connections in (2, POSTGRES_READ_CONNECTIONS):
        calm(cluster)
        ceiling = asyncio.run(_request_rate(cluster.database(), run.seconds, connections))
        what = f"POST /entities, 64 connections; a loop over {connections}"
        row = Row("P3", what, load.rate, load.p50_ms, load.p99_ms, load.errors)
        row.ceiling, row.ratio, row.goal = ceiling, load.rate / ceiling, ">= 3.00"
        run.add(row)


def batches(run: Run, running: Hub, cluster: Cluster) -> None:
    documents = [{**station(number), **_STAMP} for number in range(10_000)]
    create(running, [station(number) for number in range(10_000)])
    for updates in (False, True):
        first, span = (0, 10_000) if updates else (numbers(2_000_000), 2_000_000)
        script = BATCH_SCRIPT.format(body=_template(), first=first, size=BATCH, span=span)
        calm(cluster)
        load = wrk(running.url, script, connections=32, seconds=run.seconds)
        calm(cluster)
        ceiling = asyncio.run(_insert_rate(cluster.database(), documents, updates=updates))
        kind = "existing, a row per instance" if updates else "new"
        row = Row("P4", f"upsert of 100, {kind} (entities/s)", load.rate * BATCH, load.p50_ms, load.p99_ms, load.errors)
        row.ceiling, row.ratio, row.goal = ceiling, load.rate * BATCH / ceiling, ">= 0.40"
        run.add(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("shapes", nargs="*")
    given = parser.parse_args()
    wanted = set(given.shapes) or {"P1", "P2", "P3", "P4"}
    run = Run(given.seconds, 0)
    print(HEAD, flush=True)
    cluster = Cluster(durable=True).start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if wanted & {"P1", "P3", "P4"}:
                with hub(Path(folder), *_flags(cluster, 2)) as running:
                    if "P1" in wanted:
                        reads(run, running)
                    if "P3" in wanted:
                        writes(run, running, cluster)
                    if "P4" in wanted:
                        batches(run, running, cluster)
            if "P2" in wanted:
                computed(run, cluster, Path(folder))
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
