# SPDX-License-Identifier: Apache-2.0
"""What the commands that copy, back up and restore a city share: places, progress, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from madang.base.errors import HubError, StoreFailed
from madang.base.settings import (
    STORE_IN_FOLDER,
    STORE_SCHEMES,
    VARIABLE_PREFIX,
    SettingInvalid,
    Settings,
    check_store,
    store_name,
)
from madang.cli.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_REFUSED
from madang.store.moving import MoveFailed, MoveRefused

if TYPE_CHECKING:
    from argparse import Namespace

    from madang.base.messages import Messages
    from madang.store.moving import Compared, Filling, Snapshot

_FOLDER_PREFIX: Final = f"{STORE_IN_FOLDER}:"
_BAR_CHARACTERS: Final = 30
_BAR_PAUSE_S: Final = 0.1
_LINE_PAUSE_S: Final = 10.0  # between two lines about one section, where the output is no terminal
_PLACE_SETTINGS: Final = ("data", "store")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a city is: a folder, or a database (whose address may hold a password: only the name is shown)."""

    folder: Path | None
    url: str = ""

    @property
    def name(self) -> str:
        return str(self.folder) if self.folder is not None else store_name(self.url)

    def __repr__(self) -> str:
        return f"Place({self.name})"


def place_of(text: str) -> Place:
    """Return the place that an argument names: a folder, sqlite:FOLDER, or the address of a database.

    Raises: MoveRefused: it names none.
    """
    if text == STORE_IN_FOLDER:
        return place_of_settings({"store": STORE_IN_FOLDER})
    scheme, colon, _ = text.partition(":")
    if colon and scheme in STORE_SCHEMES:
        try:
            check_store(text)
        except SettingInvalid as error:
            raise MoveRefused("address_invalid", reason=error.values.get("reason", "")) from error
        return Place(None, text)
    folder = text.removeprefix(_FOLDER_PREFIX)
    if "://" in folder or not folder or not folder.isprintable():
        raise MoveRefused("place_unknown", place=f"{scheme[:20]}:…" if colon else text[:80])
    return Place(Path(folder))


def place_of_settings(flags: dict[str, str | None]) -> Place:
    """Return the place that --data and --store name, or their variables; no other setting matters here."""
    names = [VARIABLE_PREFIX + name.upper() for name in _PLACE_SETTINGS]
    variables = {name: os.environ[name] for name in names if name in os.environ}
    settings = Settings.read({name: flags.get(name) for name in _PLACE_SETTINGS}, variables)
    return Place(settings.data) if settings.store == STORE_IN_FOLDER else Place(None, settings.store)


def place_given(given: Namespace) -> Place:
    return place_of_settings(vars(given))


def check_apart(source: Place, target: Place) -> None:
    """Refuse to copy a city onto itself; of databases only their servers know (`filling`)."""
    if source.folder is not None and target.folder is not None and source.folder.resolve() == target.folder.resolve():
        raise MoveRefused("move_same", place=target.name)


@contextlib.asynccontextmanager
async def snapshot(place: Place) -> AsyncIterator[Snapshot]:
    """Read a place as it is now."""
    if place.folder is not None:
        from madang.store.sqlite import moving as sqlite

        async with sqlite.snapshot_of(place.folder) as city:
            yield city
    else:
        from madang.store.postgres import moving as postgres

        async with postgres.snapshot_of(place.url) as city_there:
            yield city_there


@contextlib.asynccontextmanager
async def filling(place: Place, source: Snapshot | None = None) -> AsyncIterator[Filling]:
    """Fill an empty place, which may not be the source."""
    if place.folder is not None:
        from madang.store.sqlite import moving as sqlite

        async with sqlite.filling_of(place.folder) as city:
            yield city
    else:
        from madang.store.postgres import moving as postgres

        async with postgres.filling_of(place.url, not_this=getattr(source, "identity", ())) as city_there:
            yield city_there


def run(job: Coroutine[Any, Any, None], messages: Messages) -> int:
    """Run a command to its end; return its exit code. What failed or was interrupted has changed nothing."""
    try:
        asyncio.run(_stoppable(job))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _say(messages.line("move_interrupted"), EXIT_FAILED)
    except MoveFailed as error:
        return _say(messages.line(error.message, **error.values), EXIT_FAILED)
    except MoveRefused as error:
        return _say(messages.line(error.message, **error.values), EXIT_REFUSED)
    except StoreFailed as error:
        return _say(messages.line("move_failed", reason=error.detail), EXIT_FAILED)
    except HubError as error:
        return _say(messages.line("move_refused", reason=error.detail), EXIT_REFUSED)
    return EXIT_GOOD


def _say(line: str, code: int) -> int:
    print(f"madang: {line}", file=sys.stderr, flush=True)
    return code


async def _stoppable(job: Coroutine[Any, Any, None]) -> None:
    """Let SIGTERM end the job as Ctrl+C does: between two batches, with everything tidied up."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await job


class Progress:
    """Says how far a job is: a bar that moves on a terminal, else a line now and then."""

    def __init__(self, messages: Messages, stream: TextIO | None = None) -> None:
        self._messages = messages
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._said: tuple[str, str] = ("", "")
        self._said_s = 0.0
        self._is_open = False  # a bar stands on the line

    def tell(self, what: str, section: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        is_new = (what, section) != self._said
        is_end = done >= total
        is_new_bar = is_new and self._is_terminal
        pause_s = _BAR_PAUSE_S if self._is_terminal else _LINE_PAUSE_S
        if done == 0 and not is_new_bar:
            return
        if not is_end and not is_new_bar and now_s - self._said_s < pause_s:
            return
        self._said, self._said_s = (what, section), now_s
        line = self._messages.line(f"move_{what}", section=section, done=done, total=total)
        if not self._is_terminal:
            print(line, file=self._stream, flush=True)
            return
        share = min(1.0, done / total) if total else 1.0
        bar = "#" * round(share * _BAR_CHARACTERS)
        end = "\n" if is_end else ""
        print(f"\r\x1b[K[{bar:.<{_BAR_CHARACTERS}}] {line}", end=end, file=self._stream, flush=True)
        self._is_open = not is_end

    def close(self) -> None:
        """Leave the line of a bar that did not come to its end."""
        if self._is_open:
            print(file=self._stream, flush=True)
            self._is_open = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def print_compared(compared: Sequence[Compared], messages: Messages) -> None:
    """Print counts and checksums, which are the same on both sides."""
    for item in compared:
        print(messages.line("move_equal", section=item.section, rows=item.rows, sha256=item.sha256_there))
