"""A city that was copied, or kept in a file and restored, is the same city in every store, whichever it came from."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madang.base.errors import HubError, StoreFailed, Unsupported
from madang.core.history import History
from madang.core.writer import View
from madang.model.change import Change, Operation
from madang.model.jsonld.context import CORE
from madang.model.query.model import EntityQuery
from madang.model.query.q_parse import parse
from madang.model.temporal.history import HistoryQuestion, HistoryReading
from madang.model.temporal.query import Window
from madang.store import moving
from madang.store.archive import open_archive, restore_archive, write_archive
from madang.store.moving import CHANGES, ENTITIES, SECTIONS, Filling, MoveFailed, MoveRefused, Row, Section, Snapshot
from madang.store.port import Store
from madang.store.postgres import moving as postgres
from madang.store.postgres.schema import STEPS
from madang.store.postgres.store import PostgresStore
from madang.store.sqlite import moving as sqlite
from madang.store.sqlite.store import DATABASE_FILE, LOCK_FILE, SqliteStore
from madang.testing.postgres import Cluster
from madang.testing.store_contract import Opened, Opener, create, delete, entity, of_type, opened, set_speed

EVER_US = 1 << 52
_name = itertools.count()


def quiet(*_: object) -> None:
    """Nobody wants to know how far it is."""


class Place(NamedTuple):
    """A store of one kind, and how it is opened, read and filled."""

    kind: str
    where: Any
    opener: Opener
    snapshot: Callable[[], AbstractAsyncContextManager[Snapshot]]
    filling: Callable[[], AbstractAsyncContextManager[Filling]]


@pytest.fixture
def make(tmp_path: Path, cluster: Cluster) -> Callable[[str], Place]:
    def make_place(kind: str) -> Place:
        where: Any = tmp_path / f"city-{next(_name)}" if kind == "sqlite" else cluster.database()

        async def open_store() -> Store:
            store: Any = SqliteStore(where) if kind == "sqlite" else PostgresStore(where)
            await store.open()
            return store  # type: ignore[no-any-return]

        room: Any = sqlite if kind == "sqlite" else postgres
        return Place(kind, where, open_store, lambda: room.snapshot_of(where), lambda: room.filling_of(where))

    return make_place


async def copy(source: Place, target: Place) -> int:
    """Copy, and return the last sequence of what was copied."""
    async with source.snapshot() as city, target.filling() as filling:
        compared = await moving.move(city, filling, quiet)
        assert [item.section for item in compared] == [section.name for section in SECTIONS]
        assert all(item.equal for item in compared)
        return city.sequence


async def through_archive(source: Place, target: Place, file: Path) -> int:
    async with source.snapshot() as city:
        await write_archive(city, file, 0, quiet)
    async with open_archive(file, quiet) as kept, target.filling() as filling:
        await restore_archive(kept, filling, quiet)
        return kept.sequence


async def settle(hub: Opened) -> None:
    """Let a city have some of everything that a store can keep."""
    hub.clock.advance(1)
    await hub.create(*(entity(f"urn:v:{number}", speed=number * 1.5, deep={"a": [None, "현"]}) for number in range(9)))
    await hub.create(
        entity("urn:v:0", "Bus", speed=-0.0), entity("urn:b:1", "Bus", text='\u0000\u0001\u2028"\\'), tenant="b"
    )
    place = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.4, 36.3]}}
    many = [{"type": "Property", "value": 10**18, "datasetId": "urn:d:1"}, {"type": "Property", "value": 0.1}]
    odd = {
        **entity("urn:ü:한글", "Stop"),
        "type": ["Stop", "Shelter"],
        "scope": ["/a", "/b"],
        "place": place,
        "n": many,
    }
    await hub.create(odd, {**entity("urn:x:1", a=1), "expiresAt": "2040-01-01T00:00:00Z"})
    for number in range(3):
        hub.clock.advance(40 * 24 * 3600)  # each in a month of its own
        await hub.writer.write("", ["urn:v:1"], set_speed("urn:v:1", number))
    await hub.writer.write("", ["urn:v:7"], _turn)
    await hub.writer.write("", ["urn:v:2"], delete("urn:v:2"))
    await hub.writer.write("", ["urn:v:3"], delete("urn:v:3"))
    await hub.create(entity("urn:v:3", "Tram", speed=3))
    history = History(hub.store, hub.writer, hub.clock)
    observed = {"type": "Property", "value": 5, "observedAt": "2026-01-05T00:00:00Z"}
    await history.upsert("", {"id": "urn:past:1", "type": "Past", "speed": observed})
    await history.add("", "urn:v:4", {"id": "urn:v:4", "type": "Vehicle", "speed": observed})
    await history.delete_attribute("", "urn:v:5", "speed")  # a creation's row is taken apart, one part is hidden
    await history.delete("", "urn:v:6")
    await history.delete("", "urn:v:2")

    def records(view: View) -> None:
        view.put_record("subscription", "urn:s:2", {"q": "speed>1"})
        view.put_record("subscription", "urn:s:1", {"문": [1, None]})
        view.put_record("usage", "u", {"hits": 3}, logged=False)
        view.put_record("subscription", "urn:s:gone", {})

    await hub.writer.write("", (), records)
    await hub.writer.write("", (), lambda view: view.delete_record("subscription", "urn:s:gone"))
    await hub.writer.write("b", (), lambda view: view.put_record("subscription", "urn:s:1", {}))
    await hub.writer.write("", (), lambda view: view.bookmark("notify", 7))
    await hub.store.declare_index("", "speed")
    await hub.store.declare_index("", "place")
    await hub.store.declare_index("b", "speed")
    await hub.create(entity("urn:last", a=1, b=2, c=3))  # its sequences set aside end the log


def _turn(view: View) -> None:
    """Change what is seldom changed."""
    before = view.entity("urn:v:7")
    assert before is not None
    after = {**before, "type": ["Vehicle", "Taxi"], "scope": "/c", "expiresAt": "2041-01-01T00:00:00Z"}
    gone = {"type": "Property", "value": "urn:ngsi-ld:null", "deletedAt": view.now}
    del after["deep"]
    changes = [
        Change(Operation.TYPE_CHANGED, "urn:v:7", value={"type": after["type"]}),
        Change(Operation.SCOPE_CHANGED, "urn:v:7", "scope", value={"type": "Property", "value": "/c"}),
        Change(Operation.ENTITY_TOUCHED, "urn:v:7"),
        Change(Operation.ATTRIBUTE_DELETED, "urn:v:7", "deep", value=gone),
    ]
    view.put(before, after, changes)


async def told(store: Store) -> dict[Any, Any]:
    """Return everything that a store tells."""
    answers: dict[Any, Any] = {"sequence": await store.last_sequence(), "check": await store.check()}
    answers["changes"] = await store.changes(0, limit=1_000_000)
    answers["bookmarks"] = [await store.bookmark(reader) for reader in ("notify", "nobody")]
    answers["expired"] = await store.expired(EVER_US, limit=100)
    answers["tenants"] = await store.tenants()
    for kind in ("subscription", "usage", "hub"):
        answers["records", kind] = await store.records(kind)
    for tenant in answers["tenants"]:
        answers["types", tenant] = await store.type_names(tenant)
        answers["indexes", tenant] = await store.indexes(tenant)
        found = await store.find(tenant, EntityQuery(selectors=(), limit=1_000, count=True))
        answers["found", tenant] = found
        answers["documents", tenant] = json.dumps([(await store.documents(tenant, [id]))[id] for id in found.ids])
        for question in ("speed>1", "speed==3", "n", 'deep.a=="현"'):
            query = EntityQuery(selectors=(), q=parse(question, CORE), limit=100)
            answers["q", tenant, question] = await store.find(tenant, query)
        past = await store.history_find(tenant, HistoryQuestion(Window(), limit=1_000, count=True))
        answers["past", tenant] = past
        reading = HistoryReading(Window(), now="2030-01-01T00:00:00Z")
        answers["history", tenant] = await store.history_read(tenant, past.ids, reading)
        answers["states", tenant] = [await store.history_state(tenant, id) for id in past.ids]
    return answers


KINDS = ("sqlite", "postgresql")


@pytest.mark.parametrize("by_file", [False, True])
@pytest.mark.parametrize("target_kind", KINDS)
@pytest.mark.parametrize("source_kind", KINDS)
async def test_a_moved_city_is_the_same_and_goes_on(
    make: Callable[[str], Place], tmp_path: Path, source_kind: str, target_kind: str, *, by_file: bool
) -> None:
    source, target = make(source_kind), make(target_kind)
    async with opened(source.opener) as hub:
        await settle(hub)
        before = await told(hub.store)
        last = await (through_archive(source, target, tmp_path / "kept.zip") if by_file else copy(source, target))
        assert before["check"] == []
        assert last == before["sequence"]
        assert {row.change.operation for row in before["changes"]} == set(Operation), "the city does not try everything"
        assert await told(hub.store) == before
    async with opened(target.opener) as hub:
        assert await told(hub.store) == before
        await hub.create(entity("urn:next", "Vehicle", speed=4.5))
        await hub.writer.write("", (), lambda view: view.put_record("subscription", "urn:s:3", {}))
        rows = await hub.store.changes(last, limit=10)
        assert [row.sequence for row in rows] == [last + 1, last + 2, last + 3]
        assert (await hub.store.find("", of_type("Vehicle", limit=100))).ids[-1] == "urn:next"
        assert [id for tenant, id, _ in await hub.store.records("subscription") if not tenant][-1] == "urn:s:3"
        assert await hub.store.check() == []


@pytest.mark.parametrize("target_kind", KINDS)
async def test_sequences_of_rows_that_were_taken_out_are_not_given_again(
    make: Callable[[str], Place], target_kind: str
) -> None:
    source, back = make("postgresql"), make("sqlite")
    async with opened(source.opener) as hub:
        await hub.create(entity("urn:kept"), entity("urn:gone", a=1, b=2))
        await hub.writer.write("", ["urn:gone"], delete("urn:gone"))
        last = await hub.store.last_sequence()
        await History(hub.store, hub.writer, hub.clock).delete("", "urn:gone")
        assert len(await hub.store.changes(0, limit=10)) == 1
    await copy(source, back)
    target = make(target_kind)
    assert await copy(back, target) == last
    async with opened(target.opener) as hub:
        await hub.create(entity("urn:next"))
        assert [row.sequence for row in await hub.store.changes(0, limit=10)] == [1, last + 1]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10)
attributes = st.dictionaries(names.map("https://a/".__add__), json_values, max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(names, attributes), max_size=5))
async def test_whatever_stands_in_documents_arrives(
    make: Callable[[str], Place], contents: list[tuple[str, dict[str, Any]]]
) -> None:
    first, second, third = make("sqlite"), make("postgresql"), make("sqlite")
    async with opened(first.opener) as hub:
        for number, (name, values) in enumerate(contents):
            await hub.create(entity(f"urn:{number}:{name}", f"T{name}", **values), tenant=f"t{number % 2}")
        before = await told(hub.store)
    await copy(first, second)
    await copy(second, third)
    for place in (second, third):
        async with opened(place.opener) as hub:
            assert await told(hub.store) == before


# ---------------------------------------------------------------------- a hub that goes on writing


class Busy:
    """Reads a snapshot of a city in which, after each batch, two entities change together, or one comes or goes."""

    def __init__(self, city: Snapshot, hub: Opened) -> None:
        self._city = city
        self._hub = hub

    def __getattr__(self, name: str) -> Any:
        return getattr(self._city, name)

    async def rows(self, section: Section) -> AsyncIterator[list[Row]]:
        async for batch in self._city.rows(section):
            yield batch
            await meanwhile(self._hub)


async def meanwhile(hub: Opened) -> None:
    number = next(_name)

    def decide(view: View) -> None:
        for id in ("urn:v:1", "urn:v:2"):
            set_speed(id, number)(view)
        if number % 3 == 0:
            create(entity(f"urn:new:{number}", speed=number, other=number))(view)

    await hub.writer.write("", ["urn:v:1", "urn:v:2", f"urn:new:{number}"], decide)
    if number % 7 == 0:
        await hub.writer.write("", (), lambda view: view.put_record("note", str(number), {}))


@pytest.mark.parametrize("target_kind", KINDS)
@pytest.mark.parametrize("source_kind", KINDS)
async def test_a_copy_of_a_busy_city_is_one_moment_of_it(
    make: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch, source_kind: str, target_kind: str
) -> None:
    for module in (moving, postgres):
        monkeypatch.setattr(module, "MOVE_BATCH_ROWS", 7)
    source, target = make(source_kind), make(target_kind)
    async with opened(source.opener) as hub:
        await hub.create(entity("urn:v:1", speed=0), entity("urn:v:2", speed=0))
        await hub.create(*(entity(f"urn:old:{number}", a=number) for number in range(30)))
        for _ in range(20):
            await meanwhile(hub)
        last = await hub.store.last_sequence()
        async with source.snapshot() as city, target.filling() as filling:
            busy: Any = Busy(city, hub)
            await moving.move(busy, filling, quiet)
        whole = await hub.store.changes(0, limit=1_000_000)
        assert len(whole) > last, "the hub did not write meanwhile"
    async with opened(target.opener) as hub:
        rows = await hub.store.changes(0, limit=1_000_000)
        assert rows == whole[:last]
        values = {row.change.entity: row.change.value for row in rows if row.change.attribute == "speed"}
        documents = await hub.store.documents("", list(values))
        assert {id: document["speed"] for id, document in documents.items()} == values
        assert documents["urn:v:1"]["speed"]["value"] == documents["urn:v:2"]["speed"]["value"]
        notes = {row.change.entity for row in rows if row.change.operation is Operation.RECORD_PUT}
        assert {id for _, id, _ in await hub.store.records("note")} == notes
        assert await hub.store.check() == []


async def test_reading_a_folder_keeps_no_hub_from_its_work(make: Callable[[str], Place]) -> None:
    source = make("sqlite")
    async with opened(source.opener) as hub:
        assert isinstance(hub.store, SqliteStore)
        await hub.create(entity("urn:v:1", speed=0))
        async with source.snapshot() as city:
            await hub.writer.write("", ["urn:v:1"], set_speed("urn:v:1", 1))
            hub.store.writing.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            rows = [row async for batch in city.rows(CHANGES) for row in batch]
            assert [row[0] for row in rows] == [1]
        busy_readers, _, _ = hub.store.writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
        assert busy_readers == 0
        assert (source.where / f"{DATABASE_FILE}-wal").stat().st_size == 0
    async with opened(source.opener) as hub, source.snapshot():
        pass  # the hub stops before the snapshot ends: neither is in the other's way


# ---------------------------------------------------------------------- what does not come to its end


async def a_city(place: Place) -> None:
    async with opened(place.opener) as hub:
        await hub.create(*(entity(f"urn:v:{number}", speed=number) for number in range(20)))
        await hub.store.declare_index("", "speed")


async def is_untouched(place: Place) -> bool:
    """Tell whether a target is as it was before anything was written to it."""
    if place.kind == "sqlite":
        return not place.where.exists() or [path.name for path in place.where.iterdir()] == [LOCK_FILE]
    connection = await asyncpg.connect(place.where)
    tables = await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = 'madang'")
    await connection.close()
    return bool(tables == 0)


@pytest.mark.parametrize("at", [(what, section.name) for what in ("copying", "verifying") for section in SECTIONS[:3]])
@pytest.mark.parametrize("target_kind", KINDS)
async def test_an_interrupted_copy_leaves_the_target_empty(
    make: Callable[[str], Place], target_kind: str, at: tuple[str, str]
) -> None:
    source, target = make("sqlite"), make(target_kind)
    await a_city(source)

    def stop(what: str, section: str, done: int, total: int) -> None:  # noqa: ARG001
        if (what, section) == at and done:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        async with source.snapshot() as city, target.filling() as filling:
            await moving.move(city, filling, stop)
    assert await is_untouched(target)
    await copy(source, target)


_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from madang.store import moving
from madang.store.postgres import moving as postgres
from madang.store.sqlite import moving as sqlite

def kill(what, section, done, total):
    if (what, section) == ("verifying", "changes") and done:
        os.kill(os.getpid(), signal.SIGKILL)

async def main(source, target):
    there = postgres.filling_of(target) if "://" in target else sqlite.filling_of(Path(target))
    async with sqlite.snapshot_of(Path(source)) as city, there as filling:
        await moving.move(city, filling, kill)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("target_kind", KINDS)
async def test_a_copy_that_is_killed_leaves_nothing_that_a_hub_would_serve(
    make: Callable[[str], Place], target_kind: str
) -> None:
    source, target = make("sqlite"), make(target_kind)
    await a_city(source)
    command = [sys.executable, "-c", _KILLED, str(source.where), str(target.where)]
    killed = await asyncio.to_thread(subprocess.run, command, check=False)
    assert killed.returncode == -signal.SIGKILL
    if target_kind == "sqlite":
        assert not (target.where / DATABASE_FILE).exists()
        assert (target.where / sqlite.INCOMING_FILE).exists()
    else:
        assert await is_untouched(target)
    await copy(source, target)
    if target_kind == "sqlite":
        assert sorted(path.name for path in target.where.iterdir()) == [LOCK_FILE, DATABASE_FILE]


class Forgetful:
    """A store that loses the last row of one section."""

    def __init__(self, filling: Filling, lost: Section) -> None:
        self._filling = filling
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filling, name)

    async def write(self, section: Section, rows: list[Row]) -> None:
        await self._filling.write(section, rows[:-1] if section is self._lost else rows)


@pytest.mark.parametrize("lost", [ENTITIES, CHANGES])
@pytest.mark.parametrize("target_kind", KINDS)
async def test_a_store_that_keeps_something_else_is_found_out(
    make: Callable[[str], Place], target_kind: str, lost: Section
) -> None:
    source, target = make("sqlite"), make(target_kind)
    async with opened(source.opener) as hub:
        await hub.create(entity("urn:v:1"), entity("urn:v:2"))
        await hub.writer.write("", ["urn:v:1"], set_speed("urn:v:1", 1))
    with pytest.raises(MoveFailed, match=f"does not read back.*{lost.name}"):
        async with source.snapshot() as city, target.filling() as filling:
            await moving.move(city, Forgetful(filling, lost), quiet)
    assert await is_untouched(target)


async def test_a_full_disk_leaves_the_folder_empty(
    make: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make("sqlite"), make("sqlite")
    async with opened(source.opener) as hub:
        await hub.create(*(entity(f"urn:v:{number}", text="x" * 100_000) for number in range(20)))
    connect = sqlite._connect

    def connect_to_little(path: Path) -> apsw.Connection:
        connection = connect(path)
        connection.pragma("max_page_count", 100)
        return connection

    monkeypatch.setattr(sqlite, "_connect", connect_to_little)
    with pytest.raises(StoreFailed, match="full"):
        await copy(source, target)
    assert await is_untouched(target)


async def test_a_damaged_source_is_said_to_be_one(make: Callable[[str], Place]) -> None:
    source, target = make("sqlite"), make("sqlite")
    await a_city(source)
    connection = apsw.Connection(str(source.where / DATABASE_FILE))
    connection.execute("DELETE FROM entity WHERE id = 'urn:v:7'")
    connection.close()
    with pytest.raises(MoveFailed, match="damaged: 1 rows of its changes"):
        await copy(source, target)
    assert await is_untouched(target)


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("target_kind", KINDS)
async def test_a_city_is_never_written_over(make: Callable[[str], Place], target_kind: str) -> None:
    source, target = make("sqlite"), make(target_kind)
    await a_city(source)
    async with opened(target.opener) as hub:
        await hub.writer.write("", (), lambda view: view.put_record("hub", "identity", {}))
        before = await told(hub.store)
    with pytest.raises(MoveRefused, match="holds a city already"):
        await copy(source, target)
    async with opened(target.opener) as hub:
        assert await told(hub.store) == before


@pytest.mark.parametrize("target_kind", KINDS)
async def test_an_opened_but_empty_store_is_filled(make: Callable[[str], Place], target_kind: str) -> None:
    source, target = make("sqlite"), make(target_kind)
    await a_city(source)
    store = await target.opener()
    with pytest.raises(MoveRefused, match="is using"):
        await copy(source, target)
    await store.lease("notify", "me", 60.0)
    await store.close()
    if target_kind == "postgresql":
        with pytest.raises(MoveRefused, match="is using"):
            await copy(source, target)
        store = await target.opener()
        await store.release("notify", "me")
        await store.close()
    await copy(source, target)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_no_city_is_not_copied(make: Callable[[str], Place], kind: str) -> None:
    target = make("sqlite")
    with pytest.raises(MoveRefused, match="no city"):
        await copy(make(kind), target)
    assert not target.where.exists()


async def test_a_newer_schema_is_refused_on_both_sides(make: Callable[[str], Place]) -> None:
    old, new, there = make("sqlite"), make("sqlite"), make("postgresql")
    for place in (old, new, there):
        store = await place.opener()
        await store.close()
    connection = apsw.Connection(str(new.where / DATABASE_FILE))
    connection.pragma("user_version", 9999)
    connection.close()
    database = await asyncpg.connect(there.where)
    await database.execute("UPDATE madang.version SET schema = $1", len(STEPS) + 1)
    await database.close()
    for source, target in ((new, make("sqlite")), (old, new), (there, make("sqlite")), (old, there)):
        with pytest.raises(Unsupported, match="newer version"):
            await copy(source, target)


async def test_an_older_schema_is_not_brought_up_to_date_by_reading_it(make: Callable[[str], Place]) -> None:
    source, there = make("sqlite"), make("postgresql")
    for place in (source, there):
        store = await place.opener()
        await store.close()
    connection = apsw.Connection(str(source.where / DATABASE_FILE))
    connection.pragma("user_version", 0)
    connection.close()
    database = await asyncpg.connect(there.where)
    await database.execute("UPDATE madang.version SET schema = 0")
    await database.close()
    for place, says in ((source, "earlier version"), (there, "no city")):
        with pytest.raises(MoveRefused, match=says):
            await copy(place, make("sqlite"))


@pytest.mark.parametrize("id", ["urn:v:\u0000", "urn:v:" + "x" * 3_000])
async def test_what_postgresql_cannot_hold_is_named(make: Callable[[str], Place], id: str) -> None:
    source, target = make("sqlite"), make("postgresql")
    async with opened(source.opener) as hub:
        await hub.create(entity(id))
    with pytest.raises(MoveRefused, match="cannot hold the name 'urn:v:"):
        await copy(source, target)
    assert await is_untouched(target)


async def test_a_database_is_not_copied_onto_itself(make: Callable[[str], Place]) -> None:
    place = make("postgresql")
    store = await place.opener()
    await store.close()
    async with postgres.snapshot_of(place.where) as city:
        same = place.where.replace("127.0.0.1", "localhost")
        with pytest.raises(MoveRefused, match="both the source and the target"):
            async with postgres.filling_of(same, not_this=city.identity):
                pass


async def test_folders_that_cannot_be_used_are_named(make: Callable[[str], Place], tmp_path: Path) -> None:
    source = make("sqlite")
    await a_city(source)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("here")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    connection = apsw.Connection(str(foreign / DATABASE_FILE))
    connection.execute("CREATE TABLE somebody (else_ TEXT)")
    connection.close()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / DATABASE_FILE).write_bytes(b"no database " * 1_000)
    cases: list[tuple[Path, type[HubError]]] = [
        (in_the_way, StoreFailed),
        (foreign, Unsupported),
        (broken, StoreFailed),
    ]
    for folder, error in cases:
        with pytest.raises(error):
            async with source.snapshot() as city, sqlite.filling_of(folder) as filling:
                await moving.move(city, filling, quiet)
        with pytest.raises((error, MoveRefused)):
            async with sqlite.snapshot_of(folder):
                pass
    assert in_the_way.read_text() == "here"
    assert [path.name for folder in (foreign, broken) for path in folder.iterdir()] == [DATABASE_FILE] * 2
