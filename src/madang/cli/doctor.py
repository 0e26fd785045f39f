# SPDX-License-Identifier: Apache-2.0
"""`madang doctor`: says in words what is wrong with an installation. It changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import os
import shutil
import socket
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from madang.base.errors import HubError, Unsupported
from madang.base.settings import STORE_IN_FOLDER
from madang.base.times import format_date_time
from madang.cli.exit_codes import EXIT_FAILED, EXIT_GOOD
from madang.cli.finding import Finding, good, problem
from madang.cli.flags import add_settings, settings_of

if TYPE_CHECKING:
    from madang.base.messages import Messages
    from madang.base.settings import Settings

PYTHON_OLDEST: Final = (3, 11)
PACKAGES: Final = (
    "apsw",
    "asyncpg",
    "orjson",
    "granian",
    "uvloop",
    "httpcore",
    "jwt",
    "prometheus_client",
    "pyld",
    "python_calamine",
    "re2",
)
DISK_FREE_BYTES_MIN: Final = 1_000_000_000
MADE_S: Final = 1_767_225_600  # 2026-01-01T00:00:00Z: a clock before this is wrong
_SQLITE_FEATURES: Final = {
    "JSONB": "SELECT json_extract(jsonb('{\"a\":1}'), '$.a')",
    "R*Tree": "CREATE VIRTUAL TABLE temp.r USING rtree(id, x0, x1)",
    "FTS5": "CREATE VIRTUAL TABLE temp.f USING fts5(text)",
}


def add_flags(parser: ArgumentParser) -> None:
    add_settings(parser, "data", "store", "host", "port", "workers")


def run(given: Namespace, messages: Messages) -> int:
    """Print what was found; return 0 when nothing is wrong, 1 otherwise."""
    settings = settings_of(given)
    problems = 0
    for finding in examine(settings):
        problems += finding.kind == "problem"
        text = messages.line(finding.message, **finding.values)
        print(messages.line(f"doctor_{finding.kind}", text=text), flush=True)
    print(messages.line("doctor_problems", count=problems) if problems else messages.line("doctor_all_good"))
    return EXIT_FAILED if problems else EXIT_GOOD


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found, one thing after the other; what one check needs of another is checked before it."""
    yield _python()
    missing = [finding for package in PACKAGES if (finding := _package(package)) is not None]
    yield from missing or [good("packages_good")]
    if _package("aiomqtt") is not None:
        yield Finding("note", "mqtt_missing", {})
    if not missing:
        yield _contexts()
    if settings.store == STORE_IN_FOLDER:
        if not missing:
            yield _sqlite()
        yield from _folder(settings.data, with_store=not missing)
        yield _disk(settings.data)
    elif not missing:
        from madang.cli.doctor_database import examine_database

        yield from examine_database(settings)
    yield _port(settings.host, settings.port)
    yield _clock()


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    is_new = sys.version_info[:2] >= PYTHON_OLDEST
    return good("python_good", version=version) if is_new else problem("python_old", version=version)


def _package(name: str) -> Finding | None:
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 (a broken package may fail in any way)
        return problem("package_missing", package=name, reason=f"{type(error).__name__}: {error}")
    return None


def _sqlite() -> Finding:
    import apsw

    connection = apsw.Connection(":memory:")
    lacking = []
    for feature, statement in _SQLITE_FEATURES.items():
        try:
            connection.execute(statement).fetchall()
        except apsw.Error:
            lacking.append(feature)
    version = apsw.sqlite_lib_version()
    if lacking:
        return problem("sqlite_lacks", version=version, features=", ".join(lacking))
    return good("sqlite_good", version=version)


def _contexts() -> Finding:
    try:
        from madang.model.jsonld.context import CORE

        expected = "https://uri.etsi.org/ngsi-ld/location"
        found = CORE.iri(CORE.expand("location"))
    except Exception as error:  # noqa: BLE001
        return problem("contexts_wrong", reason=f"{type(error).__name__}: {error}")
    if found != expected:
        return problem("contexts_wrong", reason=f"location is {found}")
    return good("contexts_good")


def _folder(data: Path, *, with_store: bool) -> Iterator[Finding]:
    folder = data.resolve()
    if not folder.exists():
        nearest = next(parent for parent in folder.parents if parent.exists())
        allowed = os.access(nearest, os.W_OK | os.X_OK)
        yield Finding("note", "data_absent", {"data": folder}) if allowed else problem("data_denied", data=folder)
        return
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield problem("data_denied", data=folder)
        return
    yield good("data_good", data=folder)
    if with_store:
        yield from _stored(folder)


def _stored(folder: Path) -> Iterator[Finding]:
    from madang.store.sqlite.store import DATABASE_FILE, LOCK_FILE

    if not (folder / DATABASE_FILE).exists():
        return
    if _is_locked(folder / LOCK_FILE):
        yield Finding("note", "data_running", {"data": folder})
        return
    if _is_older(folder / DATABASE_FILE):
        yield Finding("note", "data_older", {"data": folder})
        return
    try:
        faults = asyncio.run(_check(folder))
    except Unsupported as error:
        yield problem("data_newer", data=folder, reason=error.detail)
    except HubError as error:
        yield problem("data_unusable", data=folder, reason=error.detail)
    else:
        yield from [problem("store_wrong", reason=fault) for fault in faults] or [good("store_good")]


def _is_older(database: Path) -> bool:
    """Tell whether opening the data would bring them to a newer schema, which a doctor must not do."""
    import apsw

    from madang.store.sqlite.schema import STEPS

    try:
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        version: int = connection.pragma("user_version")
        connection.close()
    except apsw.Error:
        return False  # what is wrong with it will be said when it is opened
    return version < len(STEPS)


async def _check(folder: Path) -> list[str]:
    from madang.store.sqlite.store import SqliteStore

    store = SqliteStore(folder)
    await store.open()
    try:
        return await store.check()
    finally:
        await store.close()


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _disk(data: Path) -> Finding:
    folder = data.resolve()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    values = {"free_gb": free / 1e9}
    return good("disk_good", **values) if free >= DISK_FREE_BYTES_MIN else problem("disk_low", **values)


def _port(host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return Finding("note", "port_taken", {"host": host, "port": port})
    return good("port_good", host=host, port=port)


def _clock() -> Finding:
    now = format_date_time(int(time.time()) * 1_000_000)
    return good("clock_good", now=now) if time.time() >= MADE_S else problem("clock_wrong", now=now)
