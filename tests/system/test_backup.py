"""`madang store copy`, `madang backup` and `madang restore`, as a city's operator meets them."""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import os
import pty
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest

from madang.base.messages import Messages
from madang.cli.main import main
from madang.cli.moving import Place, Progress, place_of, place_of_settings
from madang.store.postgres.store import PostgresStore
from madang.store.sqlite.store import DATABASE_FILE, LOCK_FILE, SqliteStore
from madang.testing.postgres import Cluster
from madang.testing.served import Served, wait_until
from madang.testing.store_contract import entity, opened

PASSWORD = "s3cret-w0rd"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster().start()
    yield cluster
    cluster.close()


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from outside, and the default data folder is one of the test's own."""
    for name in [name for name in os.environ if name.startswith("MADANG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MADANG_LANG", "en")
    monkeypatch.chdir(tmp_path)


def with_password(url: str) -> str:
    return url.replace("madang@", f"madang:{PASSWORD}@")


def fill(place: str, number: int = 30, text: str = "") -> None:
    """Make a small city in a folder or a database."""

    async def make() -> None:
        async def opener() -> Any:
            store = PostgresStore(place) if "://" in place else SqliteStore(Path(place))
            await store.open()
            return store

        async with opened(opener) as hub:
            await hub.create(*(entity(f"urn:v:{n}", speed=n, text=text) for n in range(number)))

    asyncio.run(make())


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Run a command in this process and return what it said; nothing it says holds a password."""
    capsys.readouterr()
    got = main(list(arguments))
    out = capsys.readouterr()
    assert got == code, out
    assert PASSWORD not in out.out + out.err
    return out.out if code == 0 else out.err


def everything(folder: Path) -> dict[str, str]:
    """Return what stands in a folder; SQLite's shared memory is made anew by every reader."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


# ---------------------------------------------------------------------- a city that is served meanwhile


def entities_of(hub: Served) -> list[Any]:
    """Return all entities. Behind the end a hub gives the last one again: a page of old acquaintances is the end."""
    found: dict[str, Any] = {}
    while True:
        page = hub.request("GET", f"/ngsi-ld/v1/entities?type=Vehicle&limit=1000&offset={len(found)}")[1]
        if all(item["id"] in found for item in page):
            return list(found.values())
        found.update((item["id"], item) for item in page)


@pytest.fixture
def hubs() -> Iterator[list[Served]]:
    started: list[Served] = []
    yield started
    for hub in started:
        hub.end()


def serve(hubs: list[Served], data: Path, *flags: str) -> Served:
    hub = Served.start(data, "--port", "0", "--access", "open", *flags)
    hubs.append(hub)
    hub.await_ready()
    return hub


def test_a_city_is_kept_and_moved_while_it_is_written_to(
    hubs: list[Served], cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = serve(hubs, tmp_path / "live")
    written: list[int] = []
    stop = threading.Event()

    def write() -> None:
        for number in itertools.count():
            body = {"id": f"urn:v:{number}", "type": "Vehicle", "speed": {"type": "Property", "value": number}}
            assert live.request("POST", "/ngsi-ld/v1/entities", body)[0] == 201
            written.append(number)
            if stop.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    database = cluster.database()
    try:
        at_least = len(written)
        said(capsys, "backup", "kept", "--data", "live")
        said(capsys, "store", "copy", "live", database)
    finally:
        stop.set()
        writer.join()
    assert "is whole" in said(capsys, "backup", "--verify", "kept")
    said(capsys, "restore", "kept", "--data", "restored")
    whole = entities_of(live)
    assert [item["id"] for item in whole] == [f"urn:v:{number}" for number in written]
    assert live.stop() == 0
    for flags in ((), ("--store", database)):
        hub = serve(hubs, tmp_path / "restored", *flags)
        found = entities_of(hub)
        assert found == whole[: len(found)]
        assert at_least <= len(found)
        body = {"id": "urn:v:next", "type": "Vehicle"}
        assert hub.request("POST", "/ngsi-ld/v1/entities", body)[0] == 201
        assert hub.request("GET", "/ngsi-ld/v1/entities/urn:v:next")[1] == body
        assert hub.stop() == 0


def test_a_hub_does_not_start_on_a_store_that_is_being_filled(hubs: list[Served], tmp_path: Path) -> None:
    fill("city")
    with subprocess.Popen(
        [sys.executable, "-c", _HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    ) as filling:
        assert filling.stdin is not None
        assert filling.stdout is not None
        assert filling.stdout.readline() == b"half\n"
        hub = Served.start(tmp_path / "there", "--port", "0", "--access", "open")
        hubs.append(hub)
        assert hub.process.wait(30) == 2
        assert "Another hub is using the data folder" in hub.errors()
        filling.stdin.close()
        assert filling.wait(30) == 0
    assert len(entities_of(serve(hubs, tmp_path / "there"))) == 30


def test_a_hub_that_starts_while_its_database_is_filled_serves_the_whole_city(
    hubs: list[Served], cluster: Cluster, tmp_path: Path
) -> None:
    fill("city")
    database = cluster.database()
    with subprocess.Popen(
        [sys.executable, "-c", _HELD, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    ) as filling:
        assert filling.stdin is not None
        assert filling.stdout is not None
        assert filling.stdout.readline() == b"half\n"
        hub = Served.start(tmp_path / "unused", "--port", "0", "--access", "open", "--store", database)
        hubs.append(hub)
        connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'madang start'"
        wait_until(lambda: asyncio.run(_value(database, connected)) > 0, "the hub did not come to its database")
        filling.stdin.close()
        assert filling.wait(30) == 0
    hub.await_ready()
    assert len(entities_of(hub)) == 30


_HELD = """
import asyncio, sys
from pathlib import Path
from madang.store import moving
from madang.store.postgres import moving as postgres
from madang.store.sqlite import moving as sqlite

async def main(url=""):
    there = postgres.filling_of(url) if url else sqlite.filling_of(Path("there"))
    async with sqlite.snapshot_of(Path("city")) as city, there as filling:
        def tell(what, section, done, total):
            if what == "verifying" and section == "entities" and done:
                print("half", flush=True)
                sys.stdin.read()
        await moving.move(city, filling, tell)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_tidily(tmp_path: Path, number: signal.Signals) -> None:
    fill("city", 5)
    command = [sys.executable, "-c", _INTERRUPTED.format(number=int(number)), "backup", "kept", "--data", "city"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.splitlines()[-1] == "madang: Interrupted; what was begun was undone"
    assert [path.name for path in tmp_path.iterdir()] == ["city"]


_INTERRUPTED = """
import os, sys
from madang.cli import main, moving

class Interrupting(moving.Progress):
    def tell(self, what, section, done, total):
        if section == "changes" and done:
            os.kill(os.getpid(), {number})

moving.Progress = Interrupting
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("arguments", ["backup new --data city", "store copy city new", "restore kept --data new"])
def test_a_disk_without_room_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    fill("city", 5, text=os.urandom(200_000).hex())
    said(capsys, "backup", "kept", "--data", "city")
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    code += "from madang.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments.split()]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 1
    assert [line for line in ended.stderr.splitlines() if "Traceback" in line] == []
    assert ended.stderr.splitlines()[-1].startswith("madang: ")
    assert not (tmp_path / "new").exists() or [path.name for path in (tmp_path / "new").iterdir()] == [LOCK_FILE]
    assert sorted(path.name for path in tmp_path.iterdir()) in (["city", "kept"], ["city", "kept", "new"])


# ---------------------------------------------------------------------- what the commands say


def test_counts_and_checksums_are_printed_and_no_password(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill("city")
    there, and_there = with_password(cluster.database()), with_password(cluster.database())
    sections = [
        said(capsys, "store", "copy", "sqlite:city", there).splitlines(),
        said(capsys, "store", "copy", there, and_there).splitlines(),
        said(capsys, "backup", "kept", "--store", and_there).splitlines(),
        said(capsys, "backup", "--verify", "kept").splitlines(),
        said(capsys, "restore", "kept", "--data", "again").splitlines(),
    ]
    assert len({tuple(lines[:-1]) for lines in sections}) == 1
    assert "entities" in sections[0][1]
    assert "30 rows" in sections[0][1]
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600
    assert repr(place_of(there)) == f"Place({there.partition('@')[2]})"
    assert PASSWORD not in repr(Place(None, there))


def test_places_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADANG_STORE", "postgresql://me@host/d")
    monkeypatch.setenv("MADANG_DATA", "here")
    monkeypatch.setenv("MADANG_WORKERS", "no number, and no matter")
    assert place_of("sqlite") == place_of("sqlite:here") == place_of("here") == Place(Path("here"))
    assert place_of("postgres://host/d") == Place(None, "postgres://host/d")
    assert place_of_settings({}) == Place(None, "postgresql://me@host/d")
    assert place_of_settings({"store": "sqlite", "data": "there"}) == Place(Path("there"))


def test_a_terminal_gets_a_bar_and_a_file_gets_lines() -> None:
    above, below = pty.openpty()
    with os.fdopen(below, "w") as terminal, Progress(Messages("en"), terminal) as progress:
        for done in range(0, 101, 10):
            progress.tell("copying", "changes", done, 100)
    shown = b""
    while not shown.endswith(b"\n"):
        shown += os.read(above, 10_000)
    os.close(above)
    assert b"[..............................] copying changes: 0 of 100" in shown
    assert shown.endswith(b"[##############################] copying changes: 100 of 100\r\n")
    lines = io.StringIO()
    with Progress(Messages("ko"), lines) as progress:
        progress.tell("copying", "changes", 0, 100)
        progress.tell("copying", "changes", 100, 100)
        progress.tell("copying", "records", 0, 0)
    assert lines.getvalue() == "changes 옮기는 중: 100 가운데 100\n"


# ---------------------------------------------------------------------- bad input

REFUSED: list[tuple[str, int, str]] = [
    ("store copy", 2, "the following arguments are required: FROM, TO"),
    ("store copy city", 2, "the following arguments are required: TO"),
    ("store move city new", 2, "invalid choice: 'move'"),
    ("store", 2, "required"),
    ("store copy city new extra", 2, "unrecognized arguments: extra"),
    ("store copy absent new", 2, "There is no city in absent"),
    ("store copy empty new", 2, "There is no city in empty"),
    ("store copy file new", 2, "There is no city in file"),
    ("store copy broken new", 1, "The data folder broken cannot be used"),
    ("store copy foreign new", 2, "not one of Madang"),
    ("store copy newer new", 2, "newer version"),
    ("store copy city city", 2, "both the source and the target"),
    ("store copy city sqlite:./city", 2, "both the source and the target"),
    ("store copy city other", 2, "other holds a city already"),
    ("store copy city file", 1, "The data folder file cannot be used"),
    ("store copy city file/below", 1, "The data folder file/below cannot be used"),
    ("store copy city foreign", 2, "not one of Madang"),
    ("store copy city newer", 2, "newer version"),
    ("store copy city broken", 1, "The data folder broken cannot be used"),
    (f"store copy city mysql://me:{PASSWORD}@host/d", 2, "'mysql:…' is not a store"),
    ("store copy city sqlite:", 2, "'sqlite:…' is not a store"),
    (f"store copy city postgresql://me:{PASSWORD}@host", 2, "names no database"),
    (f"store copy city postgresql://me:{PASSWORD}@host:port/d", 2, "host and port"),
    (f"store copy city postgresql://me:{PASSWORD}@127.0.0.1:1/d", 1, "cannot be reached"),
    (f"store copy city postgresql://me:{PASSWORD}@127.0.0.1:1/d?sslmode=odd", 1, "cannot be"),
    (f"store copy postgresql://me:{PASSWORD}@127.0.0.1:1/d new", 1, "cannot be reached"),
    ("store copy city {full}", 2, "holds a city already"),
    ("store copy {full} {full}", 2, "both the source and the target"),
    ("store copy {bare} new", 2, "There is no city in 127.0.0.1"),
    ("store copy city {absent}", 2, "There is no database 127.0.0.1"),
    ("store copy city {stranger}", 2, "does not let this user in"),
    ("store copy {stranger} new", 2, "does not let this user in"),
    ("backup", 2, "the following arguments are required: FILE"),
    ("backup kept --data city", 2, "kept is there already"),
    ("backup city --data city", 2, "city is there already"),
    ("backup absent/new --data city", 2, "There is no folder absent"),
    ("backup new --data absent", 2, "There is no city in absent"),
    ("backup new --data newer", 2, "newer version"),
    ("backup new", 2, "There is no city in madang-data"),
    ("backup new --store mysql://x", 2, "is not a store"),
    (f"backup new --store postgresql://me:{PASSWORD}@127.0.0.1:1/d", 1, "cannot be reached"),
    ("backup --verify absent", 2, "No such file or directory"),
    ("backup --verify city", 2, "not a backup of Madang"),
    ("backup --verify file", 2, "not a backup of Madang"),
    ("backup --verify cut", 2, "damaged or cut short"),
    ("backup --verify flipped", 2, "damaged or cut short"),
    ("restore absent --data new", 2, "No such file or directory"),
    ("restore file --data new", 2, "not a backup of Madang"),
    ("restore cut --data new", 2, "damaged or cut short"),
    ("restore flipped --data new", 2, "damaged or cut short"),
    ("restore kept --data other", 2, "other holds a city already"),
    ("restore kept --data file", 1, "The data folder file cannot be used"),
    ("restore kept --store {full}", 2, "holds a city already"),
    ("restore kept --store mysql://x", 2, "is not a store"),
    ("restore kept --data new --speed 2", 2, "unrecognized arguments"),
]


@pytest.fixture(scope="module")
def places(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Everything that can be wrong, in one folder and one cluster."""
    folder = tmp_path_factory.mktemp("places")
    names = {"full": with_password(cluster.database()), "bare": with_password(cluster.database())}
    names["absent"] = with_password(cluster.url("nobody"))
    names["stranger"] = names["full"].replace("madang:", "stranger:")
    for name in ("city", "other"):
        fill(str(folder / name))
    fill(names["full"])
    for name in ("empty", "broken", "foreign", "newer"):
        (folder / name).mkdir()
    (folder / "file").write_text("no backup and no folder")
    (folder / "broken" / DATABASE_FILE).write_bytes(b"no database " * 1_000)
    for name, statement in (("foreign", "CREATE TABLE somebody (else_ TEXT)"), ("newer", "PRAGMA user_version = 9999")):
        connection = apsw.Connection(str(folder / name / DATABASE_FILE))
        connection.execute(statement)
        connection.close()
    assert main(["backup", str(folder / "kept"), "--data", str(folder / "city")]) == 0
    kept = (folder / "kept").read_bytes()
    (folder / "cut").write_bytes(kept[:-100])
    (folder / "flipped").write_bytes(kept[:300] + bytes([kept[300] ^ 4]) + kept[301:])
    return folder, names


async def _value(url: str, sql: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()


@pytest.mark.parametrize(("command", "code", "says"), REFUSED, ids=[command for command, _, _ in REFUSED])
def test_bad_input_is_one_clear_line_and_changes_nothing(
    places: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    code: int,
    says: str,
) -> None:
    folder, names = places
    monkeypatch.chdir(folder)
    before = everything(folder)
    for language in ("en", "ko"):
        monkeypatch.setenv("MADANG_LANG", language)
        arguments = command.format(**names).split()
        try:
            got = main(arguments)
        except SystemExit as refused:  # argparse, whose own words are English
            got, language = int(refused.code or 0), "en"
        out = capsys.readouterr()
        lines = [line for line in out.err.splitlines() if line.startswith("madang")]
        assert got == code, out
        assert out.out == ""
        assert len(lines) == 1, out.err
        assert says in lines[0] or language == "ko"
        assert any("가" <= character <= "힣" for character in lines[0]) == (language == "ko")
        assert PASSWORD not in out.err
        assert "Traceback" not in out.err
    assert everything(folder) == before
    assert asyncio.run(_value(names["full"], "SELECT count(*) FROM madang.change")) == 30


_AS_NOBODY = """
import encodings.cp437, os, sys
from madang.cli import backup, main, restore, store
from madang.store.postgres import moving
from madang.store.sqlite import moving

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("backup denied/new --data city", 1, "cannot be written: Permission denied"),
        ("store copy city denied/new", 1, "cannot be used: Permission denied"),
        ("restore kept --data denied", 1, "cannot be used: Permission denied"),
        ("restore hidden --data open/new", 2, "cannot be read: Permission denied"),
        ("backup --verify hidden", 2, "cannot be read: Permission denied"),
        ("backup open/new --data secret", 1, "cannot be used: "),
    ],
)
def test_what_may_not_be_read_or_written_is_named(tmp_path: Path, command: str, code: int, says: str) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    fill("city")
    fill("secret")
    assert main(["backup", "kept", "--data", "city"]) == 0
    for name, rights in (("denied", 0o555), ("open", 0o777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(rights)
    (tmp_path / "city").chmod(0o777)
    (tmp_path / "secret").chmod(0)
    (tmp_path / "kept").chmod(0o644)
    (tmp_path / "hidden").write_bytes(b"")
    (tmp_path / "hidden").chmod(0)
    child = [sys.executable, "-c", _AS_NOBODY, *command.split()]
    ended = subprocess.run(child, capture_output=True, text=True, cwd=tmp_path, check=False)
    (tmp_path / "secret").chmod(0o755)
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("verifying")]
    assert (ended.returncode, len(lines)) == (code, 1), ended.stderr
    assert says in lines[0]
    assert list((tmp_path / "denied").iterdir()) == list((tmp_path / "open").iterdir()) == []
