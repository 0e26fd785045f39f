# SPDX-License-Identifier: Apache-2.0
"""Runs the load shapes against a hub and prints what they make, as ratios to ceilings of the same run.

    python -m bench.run [--seconds 5] [--entities 100000] [--history FILE] [SHAPE …]

Shapes: R1 R2 R3 R4 W1 W2 W3 W4 T1 START. One JSON line is appended to bench/history.jsonl for each whole run.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.ceilings import sqlite_rate
from bench.hub import JSON, Hub, hub, module
from bench.load import Load, resident_mb, wrk
from bench.scripts import BATCH as BATCH_SCRIPT
from bench.scripts import PATCH, PATCH_UNWATCHED, POST
from bench.shapes import STATION_TYPES, compact, position, station, station_id, vehicle

VEHICLES = 100
BATCH = 100


@dataclass
class Row:
    """One line of the table. `goal` is the ratio, or the milliseconds, that the project asks of itself."""

    shape: str
    what: str
    rate: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    errors: int = 0
    ceiling: float | None = None
    ratio: float | None = None
    goal: str = ""
    note: str = ""


@dataclass
class Run:
    seconds: float
    entities: int
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(_line(row), flush=True)


def _line(row: Row) -> str:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        f"{row.shape:5} {row.what:58} {number(row.rate, ',.0f'):>9} {number(row.p50_ms, '.2f'):>8} "
        f"{number(row.p99_ms, '.2f'):>8} {row.errors:>6} {number(row.ceiling, ',.0f'):>9} "
        f"{number(row.ratio, '.2f'):>6} {row.goal:>10}  {row.note}"
    )


HEAD = (
    f"{'shape':5} {'what':58} {'per s':>9} {'p50 ms':>8} {'p99 ms':>8} {'errors':>6} "
    f"{'ceiling':>9} {'ratio':>6} {'goal':>10}"
)


def loaded(run: Run, shape: str, what: str, load: Load, *, ceiling: Load | None = None, goal: str = "") -> Row:
    row = Row(shape, what, load.rate, load.p50_ms, load.p99_ms, load.errors, goal=goal)
    if ceiling is not None:
        row.ceiling, row.ratio = ceiling.rate, load.rate / ceiling.rate
    run.add(row)
    return row


# ---------------------------------------------------------------- data


def create(running: Hub, entities: list[dict[str, Any]]) -> None:
    for start in range(0, len(entities), BATCH):
        answer = running.client.post(
            "/entityOperations/upsert", content=compact(entities[start : start + BATCH]), headers=JSON
        )
        assert answer.status_code in (201, 204), answer.text


def expect(answer: httpx.Response, body: Any) -> None:
    """Stop the run when the hub answers anything else than what was written."""
    assert answer.status_code == 200, (answer.status_code, answer.text)
    assert answer.json() == body, (answer.request.url, answer.json(), body)


# ---------------------------------------------------------------- reads


def reads(run: Run, running: Hub) -> None:
    vehicles = [vehicle(number) for number in range(VEHICLES)]
    create(running, vehicles)
    one = running.client.get(f"/entities/{vehicles[7]['id']}")
    expect(one, vehicles[7])
    lua = (
        'local n = 0\nrequest = function()\n  n = (n + 1) % 100\n  return wrk.format("GET", '
        'string.format("/ngsi-ld/v1/entities/urn:ngsi-ld:Vehicle:%06d", n))\nend\n'
    )
    for connections in (64, 200):
        load = wrk(running.url, lua, connections=connections, seconds=run.seconds)
        with bare(one.content) as url:
            ceiling = wrk(url, lua, connections=connections, seconds=run.seconds)
        what = f"GET /entities/{{id}}, 551 B, {connections} connections"
        loaded(run, "R1", what, load, ceiling=ceiling, goal=">= 0.60")
    expect(running.client.get(f"/entities/{vehicles[99]['id']}"), vehicles[99])

    path = "/entities?type=Vehicle&limit=20"
    page = running.client.get(path)
    expect(page, vehicles[:20])
    for connections in (64, 200):
        load = wrk(running.api + path, connections=connections, seconds=run.seconds)
        with bare(page.content) as url:
            ceiling = wrk(url, connections=connections, seconds=run.seconds)
        what = f"GET /entities?type&limit=20, {len(page.content):,} B, {connections} connections"
        loaded(run, "R2", what, load, ceiling=ceiling, goal=">= 0.50")
    with Writing(running, vehicles[50]["id"]) as writing, bare(page.content) as url:
        load = wrk(running.api + path, seconds=run.seconds)
        ceiling = wrk(url, seconds=run.seconds)
    row = loaded(run, "R2", "the same, 64 connections, while one vehicle is written", load, ceiling=ceiling)
    row.note = f"{writing.written / (2 * run.seconds):.0f} writes/s"
    changed = {**vehicles[0], "speed": {"type": "Property", "value": 1}}
    answer = running.client.patch(f"/entities/{vehicles[0]['id']}/attrs/speed", content=b'{"value":1}', headers=JSON)
    assert answer.status_code == 204, answer.text
    expect(running.client.get(path), [changed, *vehicles[1:20]])


class Writing(threading.Thread):
    """Writes one entity again and again, about a hundred times a second, until the block ends."""

    def __init__(self, running: Hub, id: str) -> None:
        super().__init__()
        self._running = running
        self._path = f"/entities/{id}/attrs/speed"
        self._end = threading.Event()
        self.written = 0

    def run(self) -> None:
        with httpx.Client(base_url=self._running.api) as client:
            while not self._end.wait(0.01):
                body = b'{"value":%d}' % (self.written % 90)
                self.written += client.patch(self._path, content=body, headers=JSON).status_code == 204

    def __enter__(self) -> Writing:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self.join()


class bare:  # noqa: N801 - reads as a word: `with bare(answer) as url`
    """The bare function serving one answer."""

    def __init__(self, answer: bytes) -> None:
        self._file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed with the block
        self._file.write(answer)
        self._file.flush()
        self._module = module("bench.ceilings", self._file.name)

    def __enter__(self) -> str:
        return self._module.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._module.__exit__(*error)
        self._file.close()


def queries(run: Run, running: Hub) -> None:
    """R3 and R4: one request after the other, as their goal is a latency."""
    kind = "type=WaterStation3"
    mine = [station(number) for number in range(run.entities) if number % STATION_TYPES == 3]
    above = [entity for entity in mine if entity["dissolvedOxygen"]["value"] > 990]
    named = [entity for entity in above if entity["name"]["value"] == "Station 995"]
    lon, lat = position(3 + STATION_TYPES * 40)
    near = f"georel=near;maxDistance==300&geometry=Point&coordinates=[{lon}{{n:07d}},{lat}]"
    # {n} differs in every request, so that no answer can be one that was kept; it does not change which entities match.
    shapes = [
        ("R3", "q: a number above", f"{kind}&q=dissolvedOxygen>990.{{n:07d}}", above),
        (
            "R3",
            "q: a number above and a text equal",
            f'{kind}&q=dissolvedOxygen>990.{{n:07d}};name=="Station 995"',
            named,
        ),
        ("R3", "q: nothing matches", f"{kind}&q=dissolvedOxygen>5000.{{n:07d}}", []),
        ("R4", "q and near 300 m", f"{kind}&q=dissolvedOxygen>=0&{near}", None),
        ("R4", "near 300 m", f"{kind}&{near}", None),
        ("R4", "q, ordered by the number", f"{kind}&q=dissolvedOxygen>990.{{n:07d}}&orderBy=dissolvedOxygen", None),
    ]
    for declared in (False, True):
        if declared:
            for attribute in ("dissolvedOxygen", "name", "location"):
                answer = running.client.post(f"{running.url}/madang/v1/indexes", json={"attribute": attribute})
                assert answer.status_code in (201, 204), answer.text
        for shape, what, query, expected in shapes:
            path = f"/entities?{query}&limit=20".replace(" ", "%20").replace('"', "%22").replace(">", "%3E")
            if expected is not None:
                expect(running.client.get(path.format(n=1)), expected[:20])
            what = f"{what}, {run.entities:,} entities, {'declared' if declared else 'no index'}"
            _latency(run, running, path, what, "<= 5 ms" if declared else "<= 60 ms", shape=shape)


# ---------------------------------------------------------------- writes

_first_free = 10_000_000


def numbers(count: int) -> int:
    """Set aside entity numbers nobody has used."""
    global _first_free
    first, _first_free = _first_free, _first_free + count
    return first


def _template() -> str:
    return compact({**station(0), "id": "@ID@"}).decode()


def writes(run: Run, running: Hub) -> None:
    body = _template()
    with bare(b"") as url:
        for connections in (64, 200):
            script = POST.replace("{body}", body).replace("{first}", str(numbers(1_000_000)))
            load = wrk(running.url, script, connections=connections, seconds=run.seconds)
            ceiling = wrk(url, script, connections=connections, seconds=run.seconds)
            what = f"POST /entities, 1,151 B, durable, history, {connections} connections"
            loaded(run, "W1", what, load, ceiling=ceiling, goal=">= 0.20")
    first = numbers(1)
    entity = {**station(first), "id": station_id(first)}
    assert running.client.post("/entities", content=compact(entity), headers=JSON).status_code == 201
    expect(running.client.get(f"/entities/{entity['id']}"), entity)


def batches(run: Run, running: Hub) -> None:
    stamp = {"createdAt": "2026-01-31T08:30:00.123456Z", "modifiedAt": "2026-01-31T08:30:00.123456Z"}
    documents = [{**station(number), **stamp} for number in range(10_000)]
    for size in (20, 100):
        for updates in (False, True):
            first, span = numbers(2_000_000), 2_000_000
            if updates:
                first, span = 0, 10_000
            script = BATCH_SCRIPT.format(body=_template(), first=first, size=size, span=span)
            load = wrk(running.url, script, connections=4, seconds=run.seconds)
            ceiling = sqlite_rate(documents, group=size, updates=updates)
            kind = "existing entities, a row per instance" if updates else "new entities"
            row = Row(
                "W2", f"upsert of {size}, {kind} (entities/s)", load.rate * size, load.p50_ms, load.p99_ms, load.errors
            )
            row.ceiling, row.ratio = ceiling, load.rate * size / ceiling
            row.goal = ">= 0.40" if size == 100 else ""
            run.add(row)


def updates(run: Run, running: Hub) -> float:
    create(running, [vehicle(number) for number in range(1_000)])
    load = wrk(running.url, PATCH.replace("{{", "{").replace("}}", "}"), seconds=run.seconds)
    loaded(run, "W3", "PATCH /attrs/{attr}, 68 B, 1,000 entities, no subscription", load)
    return load.rate


def notified(run: Run, running: Hub) -> None:
    """W4: W3 again with subscriptions, of which 10 match, each one entity of the thousand."""
    script = PATCH.replace("{{", "{").replace("}}", "}")
    with module("bench.sink") as sink:
        created = 0
        for many, matching in ((1, 1), (100, 10), (10_000, 10)):
            while created < many:
                number = created
                watched = number * 100 if number < matching else 1_000_000 + number
                body = {
                    "id": f"urn:ngsi-ld:Subscription:{number:06d}",
                    "type": "Subscription",
                    "entities": [{"id": f"urn:ngsi-ld:Vehicle:{watched:06d}", "type": "Vehicle"}],
                    "watchedAttributes": ["speed"],
                    "notification": {"endpoint": {"uri": f"{sink}/notify", "accept": "application/json"}},
                }
                answer = running.client.post("/subscriptions", content=compact(body), headers=JSON)
                assert answer.status_code == 201, answer.text
                created += 1
            base = wrk(running.url, PATCH_UNWATCHED, seconds=run.seconds)
            before = httpx.get(f"{sink}/count").json()["entities"]
            load = wrk(running.url, script, seconds=run.seconds)
            due = sum(
                1
                for number in range(1, load.requests + 1)
                if number % 1_000 in {n * 100 for n in range(min(matching, 10))}
            )
            delivered = _settled(sink, before + due) - before
            row = loaded(
                run, "W4", f"W3 with {many:,} subscriptions, {matching} match", load, ceiling=base, goal=">= 0.70 W3"
            )
            row.note = f"due {due}, delivered {delivered}"
            print(" " * 6 + row.note, flush=True)


def _settled(sink: str, wanted: int) -> int:
    """Wait until everything that is due has come, or nothing more comes for three seconds."""
    seen, since = -1, time.perf_counter()
    while True:
        count = int(httpx.get(f"{sink}/count").json()["entities"])
        if count != seen:
            seen, since = count, time.perf_counter()
        if count >= wanted or time.perf_counter() - since > 3:
            return count
        time.sleep(0.1)


# ---------------------------------------------------------------- history and start


def history(run: Run, running: Hub) -> None:
    for points in (1_000, 10_000, 100_000):
        id = f"urn:ngsi-ld:Gauge:{points:06d}"
        for start in range(0, points, 10_000):
            level = [
                {"type": "Property", "value": number % 977, "observedAt": _moment(number)}
                for number in range(start, min(points, start + 10_000))
            ]
            body = {"id": id, "type": "Gauge", "level": level}
            answer = running.client.post("/temporal/entities", content=compact(body), headers=JSON, timeout=300)
            assert answer.status_code in (201, 204), answer.text
        day = "timerel=after&timeAt=2020-01-01T00:00:00Z&aggrMethods=avg,max&aggrPeriodDuration=P1D"
        day += "&format=aggregatedValues"
        path = f"/temporal/entities/{id}?{day}"
        answer = running.client.get(path)
        assert answer.status_code == 200, answer.text
        values = [number % 977 for number in range(min(points, 1_440))]
        assert abs(answer.json()["level"]["avg"][0][0] - sum(values) / len(values)) < 1e-9, answer.text[:300]
        _latency(
            run,
            running,
            path,
            f"aggregated avg, max by day over {points:,} points",
            "<= 100 ms" if points == 100_000 else "",
        )
    path = "/temporal/entities/urn:ngsi-ld:Gauge:100000?lastN=100"
    _latency(run, running, path, "normalized, last 100 instances of 100,000", "")


def _moment(minute: int) -> str:
    return datetime.fromtimestamp(1_700_006_400 + minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _latency(run: Run, running: Hub, path: str, what: str, goal: str, *, shape: str = "T1") -> None:
    """Send one request after the other; {n} in the path differs each time."""
    times: list[float] = []
    until = time.perf_counter() + run.seconds / 2
    number = errors = 0
    while time.perf_counter() < until or number < 3:
        number += 1
        begin = time.perf_counter()
        errors += running.client.get(path.replace("{n:07d}", f"{number:07d}")).status_code not in (200, 206)
        times.append((time.perf_counter() - begin) * 1e3)
    times.sort()
    middle, high = statistics.median(times), times[int(len(times) * 0.99)]
    run.add(Row(shape, what, p50_ms=middle, p99_ms=high, errors=errors, goal=goal))


def start(run: Run, folder: Path) -> None:
    with hub(folder) as running:
        time.sleep(2)
        memory = resident_mb(running.pid)
        note = f"{memory:.0f} MB resident when idle (<= 150)"
        run.add(Row("START", "start to ready, ms; memory", p50_ms=running.ready_s * 1e3, goal="<= 1500 ms", note=note))


# ---------------------------------------------------------------- all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--history", type=Path, default=Path(__file__).parent / "history.jsonl")
    wanted = parser.parse_args()
    run = Run(wanted.seconds, wanted.entities)
    shapes = set(wanted.shapes) or {"R1", "R2", "R3", "R4", "W1", "W2", "W3", "W4", "T1", "START"}
    print(HEAD, flush=True)
    steps = (
        ({"R1", "R2"}, reads),
        ({"W1"}, writes),
        ({"W2"}, batches),
        ({"W3"}, updates),
        ({"W4"}, notified),
        ({"T1"}, history),
    )
    for names, step in steps:
        if shapes & names:
            with tempfile.TemporaryDirectory() as folder, hub(Path(folder)) as running:
                if names == {"W2"}:
                    create(running, [station(number) for number in range(10_000)])
                if names == {"W4"}:
                    create(running, [vehicle(number) for number in range(1_000)])
                step(run, running)
    if shapes & {"R3", "R4", "START"}:
        with tempfile.TemporaryDirectory() as folder:
            with hub(Path(folder)) as running:
                create(running, [station(number) for number in range(run.entities)])
            if "START" in shapes:
                start(run, Path(folder))
            if shapes & {"R3", "R4"}:
                with hub(Path(folder)) as running:
                    queries(run, running)
    if not wanted.shapes:
        record(run, wanted.history)


def record(run: Run, file: Path) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    line = {
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit,
        "machine": f"{platform.machine()}, python {platform.python_version()}",
        "seconds": run.seconds,
        "entities": run.entities,
        "rows": [{key: value for key, value in vars(row).items() if value not in (None, "")} for row in run.rows],
    }
    with file.open("a") as out:
        out.write(json.dumps(line) + "\n")
    print(f"one line appended to {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
