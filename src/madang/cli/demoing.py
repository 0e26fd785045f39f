# SPDX-License-Identifier: Apache-2.0
"""The hub of `madang demo` while it runs: loads the city, serves it, plays it, and says how it goes."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import uvloop

from madang.app import Hub, open_hub
from madang.base import logs
from madang.base.errors import Conflict, HubError, Unsupported
from madang.base.limits import SHUTDOWN_DRAIN_S
from madang.cli.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_REFUSED
from madang.cli.listening import url_of
from madang.cli.serving import ListeningServer
from madang.ingest.city import City, contexts_of
from madang.ingest.pages import CityInvalid
from madang.ingest.room import Demo
from madang.wire.rsgi import RsgiApplication

if TYPE_CHECKING:
    from madang.base.messages import Messages
    from madang.base.settings import Settings
    from madang.ingest.source import Source

_SUMMARY_S: Final = 1.0  # on a terminal, in place
_SUMMARY_LINES_S: Final = 30.0  # elsewhere, a new line each
_GC_OBJECTS: Final = 50_000


def play(settings: Settings, messages: Messages, listener: socket.socket, city: City) -> int:
    """Load, serve and play until SIGTERM or Ctrl+C; return the exit code."""
    logs.configure(settings.log, settings.log_format)
    screen = _Screen(messages)
    try:
        return uvloop.run(_play(settings, listener, Demo(city, settings.data, speed=settings.speed), screen))
    except HubError as error:
        key = "data_in_use" if isinstance(error, Conflict) else "data_unusable"
        key = "data_newer" if isinstance(error, Unsupported) else key
        key = "city_invalid" if isinstance(error, CityInvalid) else key
        line = messages.line(key, data=settings.data, city=city.id, reason=error.detail)
        screen.end()
        print(f"madang: {line}", file=sys.stderr, flush=True)
        return EXIT_REFUSED
    except OSError as error:
        screen.end()
        reason = error.strerror or str(error)
        print(
            f"madang: {messages.line('data_unusable', data=settings.data, reason=reason)}", file=sys.stderr, flush=True
        )
        return EXIT_REFUSED


async def _play(settings: Settings, listener: socket.socket, demo: Demo, screen: _Screen) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    url = url_of(listener)
    if not settings.context:
        # Somebody who looks around for the first time asks for type=AirQualityObserved and sends no @context.
        settings = replace(settings, context=",".join(contexts_of(demo.city)))
    async with open_hub(settings, url=url, routes=demo.routes()) as hub:
        # The server closes the descriptor that it is given, and ours is closed by who made it.
        shared = socket.socket(fileno=os.dup(listener.fileno()))
        server = ListeningServer(RsgiApplication(hub.application), shared)
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        living = asyncio.create_task(_live(demo, hub, url, settings, screen))
        await asyncio.wait((serving, stopping, living), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        living.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await living  # raises what ended it
            await demo.close()
        finally:
            failed = serving.done()
            server.ask_to_stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(serving, SHUTDOWN_DRAIN_S)
            shared.detach()
    if failed:
        return EXIT_FAILED
    screen.stopped()
    return EXIT_GOOD


async def _live(demo: Demo, hub: Hub, url: str, settings: Settings, screen: _Screen) -> None:
    began_s = time.monotonic()
    screen.begin(demo.city)
    await demo.load(hub.core, url, screen.loading, screen.backfilling)
    # What lives now lives as long as the process; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_OBJECTS, 20, 50)
    _give_back()
    screen.ready(demo, url, settings, time.monotonic() - began_s)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(demo.play())
        tasks.create_task(_tell(demo, screen))


def _give_back() -> None:
    """Give the memory that reading took back to the system, where its C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def _tell(demo: Demo, screen: _Screen) -> None:
    while True:
        await asyncio.sleep(screen.pause_s)
        screen.summary(demo)


class _Screen:
    """What the person sees: on a terminal one line that changes, elsewhere lines that stay."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._in_place = sys.stdout.isatty()
        self._open = False
        self._last = ""
        self.pause_s = _SUMMARY_S if self._in_place else _SUMMARY_LINES_S

    def begin(self, city: City) -> None:
        self._line("demo_begin", city=self._of(city.name))

    def loading(self, source: Source, done: int, total: int) -> None:
        title = self._of(source.title)
        if not total:
            self._show(source.id, "demo_reading", source=title)
        else:
            self._show("" if done < total else source.id + "!", "demo_loading", source=title, done=done, total=total)

    def backfilling(self, done: int, total: int) -> None:
        self._show("" if done < total else "history", "demo_backfilling", done=done, total=total)

    def ready(self, demo: Demo, url: str, settings: Settings, seconds: float) -> None:
        self.end()
        reports = demo.state.reports.values()
        rows, used = (sum(each[key] for each in reports) for key in ("rows", "used"))
        self._line("demo_report", rows=rows, used=used, quarantined=rows - used, folder=settings.data / "quarantine")
        print(f"madang: {self._messages.line('access_open')}", file=sys.stderr, flush=True)
        self._line("demo_ready", url=url, city=self._of(demo.city.name), data=settings.data.resolve(), seconds=seconds)
        for each in demo.city.tries:
            command = each.command.replace("{url}", url)
            self._line("demo_try", title=self._of(each.title), command=command)

    def summary(self, demo: Demo) -> None:
        now = demo.summary()
        values: dict[str, Any] = {name: getattr(now, name) for name in now.__slots__}
        self._show("", "demo_summary", **values)

    def stopped(self) -> None:
        self.end()
        self._line("demo_stopped")

    def end(self) -> None:
        """Leave the line that changes, if one is open."""
        if self._open:
            print(flush=True)
            self._open = False

    def _show(self, once: str, message: str, **values: object) -> None:
        """Show progress; where lines stay, only summaries and what is new are worth one."""
        text = self._messages.line(message, **values)
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[2K{text[:width]}", end="", flush=True)
            self._open = True
        elif message == "demo_summary" or (once and once != self._last):
            print(text, flush=True)
            self._last = once

    def _line(self, message: str, **values: object) -> None:
        print(self._messages.line(message, **values), flush=True)

    def _of(self, names: dict[str, str]) -> str:
        return names.get(self._messages.language) or next(iter(names.values()), "")
