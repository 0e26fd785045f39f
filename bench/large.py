# SPDX-License-Identifier: Apache-2.0
"""What a city of a million entities costs: the same questions at two sizes a hundred times apart, on both stores.

    python -m bench.large [--entities 1000000] [--store sqlite|postgresql] [--seconds 3]

Of the entities 5 in 100 are stations, which report 190 times, the others meters, which report 10 times; one gauge has
30 days of a value every 5 minutes. A million entities make about 20 million rows of the log. Rows are made in the
neutral form of `madang store copy` and written as it does; then the hub is questioned (two workers on PostgreSQL).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from bench.hub import Hub, hub
from bench.load import resident_mb, wrk
from madang.base.times import format_date_time
from madang.model.change import Operation, creation_count
from madang.store import moving
from madang.store.moving import batches
from madang.testing.postgres import Cluster

END_US: Final = 1_793_491_200_000_000  # 2026-11-01T00:00:00Z
DAY_US: Final = 86_400_000_000
REPORT_US: Final = 300_000_000
STATION_SHARE: Final = 20  # every 20th entity is a station
STATION_REPORTS: Final = 190
METER_REPORTS: Final = 10
GAUGE: Final = "urn:ngsi-ld:Gauge:1"
GAUGE_REPORTS: Final = 30 * 288
LEVEL: Final = "level"
SMALLER: Final = 100


# ---------------------------------------------------------------- the city


class City:
    """Rows for a number of entities; the same number gives the same rows."""

    def __init__(self, entities: int) -> None:
        self.entities = entities
        self.stations = entities // STATION_SHARE
        self.sequence = 0

    def id(self, number: int) -> str:
        kind = "Station" if number % STATION_SHARE == 0 else "Meter"
        return f"urn:ngsi-ld:{kind}:{number:08d}"

    def level(self, value: float, observed_us: int) -> dict[str, Any]:
        stamp = format_date_time(observed_us)
        return {"type": "Property", "value": value, "observedAt": stamp, "createdAt": stamp, "modifiedAt": stamp}

    def document(self, number: int, *, last: bool) -> dict[str, Any]:
        """Return the entity as it was created, or as it is after its last report."""
        gauge = number == self.entities
        created = format_date_time(END_US - 40 * DAY_US)
        reports = self._reports(number)
        longitude, latitude = 127.2 + number % 5_000 * 0.0001, 36.2 + number // 5_000 % 5_000 * 0.0001
        stamps = {"createdAt": created, "modifiedAt": created}
        observed_us = END_US - REPORT_US if last else END_US - 40 * DAY_US
        level = self.level(self._value(number, reports if last else 0), observed_us)
        return {
            "id": GAUGE if gauge else self.id(number),
            "type": "Gauge" if gauge else "Station" if number % STATION_SHARE == 0 else "Meter",
            "createdAt": created,
            "modifiedAt": level["modifiedAt"],
            LEVEL: level,
            "name": {"type": "Property", "value": f"Place {number:08d}", **stamps},
            "location": {
                "type": "GeoProperty",
                "value": {"type": "Point", "coordinates": [round(longitude, 4), round(latitude, 4)]},
                **stamps,
            },
        }

    def _reports(self, number: int) -> int:
        if number == self.entities:
            return GAUGE_REPORTS
        return STATION_REPORTS if number % STATION_SHARE == 0 else METER_REPORTS

    def _value(self, number: int, report: int) -> float:
        return float((number * 31 + report * 7) % 100_003) / 100

    def rows_of_entities(self) -> Iterator[moving.Row]:
        for number in range(self.entities + 1):
            document = self.document(number, last=True)
            yield ("", document["id"], None, orjson.dumps(document).decode())

    def rows_of_changes(self) -> Iterator[moving.Row]:
        """Creations first, then report after report of all who have that many, at the pace of the log."""
        for number in range(self.entities + 1):
            document = self.document(number, last=False)
            first = self.sequence + 1
            self.sequence += creation_count(document)
            yield self._row(first, document["id"], END_US - 40 * DAY_US, Operation.ENTITY_CREATED, document)
        for report in range(GAUGE_REPORTS):
            before_end = GAUGE_REPORTS - report
            observed_us = END_US - before_end * REPORT_US
            yield self._report(self.entities, report + 1, observed_us)
            if before_end <= STATION_REPORTS:
                for number in range(0, self.entities, STATION_SHARE):
                    yield self._report(number, STATION_REPORTS - before_end + 1, observed_us)
            if before_end <= METER_REPORTS:
                for number in range(self.entities):
                    if number % STATION_SHARE:
                        yield self._report(number, METER_REPORTS - before_end + 1, observed_us)

    def _report(self, number: int, report: int, observed_us: int) -> moving.Row:
        self.sequence += 1
        value = self._value(number, report)
        id = GAUGE if number == self.entities else self.id(number)
        instance = self.level(value, observed_us)
        operation = Operation.ATTRIBUTE_UPDATED
        return self._row(self.sequence, id, observed_us, operation, instance, LEVEL, observed_us, value)

    def _row(
        self,
        sequence: int,
        id: str,
        time_us: int,
        operation: Operation,
        value: dict[str, Any],
        attribute: str | None = None,
        observed_us: int | None = None,
        number: float | None = None,
    ) -> moving.Row:
        made = {
            **dict.fromkeys(moving.CHANGES.columns),
            "sequence": sequence,
            "batch": sequence,
            "tenant": "",
            "time_us": time_us,
            "operation": int(operation),
            "entity": id,
            "attribute": attribute,
            "observed_us": observed_us,
            "number": number,
            "hidden": False,
            "value": orjson.dumps(value).decode(),
        }
        return tuple(made[column] for column in moving.CHANGES.columns)


async def fill(filling: Any, city: City) -> None:
    """Write the city into an empty store."""
    parts = [
        (moving.TENANTS, iter([("",)])),
        (moving.ENTITIES, city.rows_of_entities()),
        (moving.CHANGES, city.rows_of_changes()),
        (moving.INDEXES, iter([("", LEVEL)])),
    ]
    done = 0
    for section, rows in parts:
        async for batch in batches(rows):
            await filling.write(section, batch)
            done += len(batch)
            print(f"\r{section.name}: {done:,} rows", end="", file=sys.stderr, flush=True)
    await filling.seal(city.sequence)
    await filling.finish()
    print(file=sys.stderr)


async def _fill_store(place: Path | str, city: City) -> None:
    async with AsyncExitStack() as closing:
        if isinstance(place, Path):
            from madang.store.sqlite.moving import filling_of as sqlite_filling

            await fill(await closing.enter_async_context(sqlite_filling(place)), city)
        else:
            from madang.store.postgres.moving import filling_of as postgres_filling

            await fill(await closing.enter_async_context(postgres_filling(place)), city)


# ---------------------------------------------------------------- the questions


def _p95(ask: Callable[[int], None], seconds: float) -> float:
    """Return the 95th percentile in milliseconds of one question after the other."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 20:
        begin = time.perf_counter()
        ask(len(times))
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.quantiles(times, n=20)[-1]


def measure(running: Hub, city: City, seconds: float) -> dict[str, float]:
    chance = random.Random(7)
    client = running.client

    def one(path: str, least: int = 1) -> Any:
        answer = client.get(path)
        assert answer.status_code in (200, 206), (path, answer.status_code, answer.text[:300])
        found = answer.json()
        assert len(found) >= least, (path, found)
        return found

    hot = (
        'local n = 0\nrequest = function()\n  n = (n + 1) % 100\n  return wrk.format("GET", '
        'string.format("/ngsi-ld/v1/entities/urn:ngsi-ld:Station:%08d", n * 20))\nend\n'
    )
    spread = (
        "local n = 0\nrequest = function()\n  n = (n + 7919) % " + str(city.stations) + '\n  return wrk.format("GET", '
        'string.format("/ngsi-ld/v1/entities/urn:ngsi-ld:Station:%08d", n * 20))\nend\n'
    )
    since = datetime.fromtimestamp((END_US - DAY_US) / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    day = f"/temporal/entities/{GAUGE}?attrs=level&timerel=after&timeAt={since}"
    assert len(one(day)["level"]) == 288, "the last 24 h are not what was written"
    figures = {}
    for name, script in (("R1 per s, 100 entities", hot), ("R1 per s, all stations", spread)):
        wrk(running.url, script, seconds=1)
        load = wrk(running.url, script, seconds=seconds)
        assert load.errors == 0, load
        figures[name] = load.rate
    figures["R3 ms, indexed"] = _p95(
        lambda n: one(f"/entities?type=Station&q=level%3E{900 + chance.random() * 50:.4f}{n:04d}&limit=20", 0), seconds
    )
    figures["last 24 h ms"] = _p95(lambda _: one(day), seconds)
    if city.entities < 100_000:
        return figures
    every = [_sweep(one, city, "/entities?type=Station&format=simplified") for _ in range(5)]
    figures["latest of every station s (first time)"] = every[0]
    figures["latest of every station s (again)"] = max(every[1:])
    past = [
        _sweep(
            one, city, "/temporal/entities?type=Station&attrs=level&lastN=1&timerel=before&timeAt=2026-11-01T00:00:00Z"
        )
        for _ in range(3)
    ]
    figures["latest of every station s (temporal, lastN=1)"] = max(past)
    figures["resident MB"] = resident_mb(running.pid)
    return figures


def _sweep(one: Callable[[str], Any], city: City, path: str) -> float:
    """Return the seconds that all stations take, a thousand in an answer."""
    begin = time.perf_counter()
    found = 0
    for offset in range(0, city.stations, 1_000):
        found += len(one(f"{path}&limit=1000&offset={offset}"))
    assert found == city.stations, (found, city.stations)
    return time.perf_counter() - begin


def run(store: str, entities: int, seconds: float) -> dict[str, float]:
    city = City(entities)
    with tempfile.TemporaryDirectory(prefix="madang-large-") as folder:
        # As much memory as the server's manual asks for on a machine of 24 GB.
        cluster = Cluster(durable=True, settings={"shared_buffers": "'4GB'"}).start() if store == "postgresql" else None
        try:
            place = Path(folder) / "data" if cluster is None else cluster.database()
            begin = time.perf_counter()
            asyncio.run(_fill_store(place, city))
            filled_s = time.perf_counter() - begin
            flags = () if cluster is None else ("--store", str(place), "--workers", "2")
            with hub(Path(folder) / "data", *flags, variables={"MADANG_TEMPORAL_INSTANCES_MAX": "1000"}) as running:
                figures = measure(running, city, seconds)
            figures["changes"], figures["filled s"] = city.sequence, filled_s
            return figures
        finally:
            if cluster is not None:
                cluster.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    for store in given.store or ("sqlite", "postgresql"):
        small = run(store, given.entities // SMALLER, given.seconds)
        large = run(store, given.entities, given.seconds)
        print(f"{store}: {given.entities // SMALLER:,} entities, then {given.entities:,}")
        for name, value in large.items():
            before = small.get(name)
            times = "" if before is None else f"{(before / value if 'per s' in name else value / before):8.2f} times"
            print(f"  {name:48} {'-' if before is None else format(before, ',.1f'):>12} {value:>14,.1f} {times}")
        print(json.dumps({"store": store, "small": small, "large": large}), flush=True)


if __name__ == "__main__":
    main()
