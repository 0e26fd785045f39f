# SPDX-License-Identifier: Apache-2.0
"""The serving child of `madang serve`: opens the hub, serves it through granian, drains when told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import uvloop
from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.server.embed import Server

from madang.app import Hub, open_hub
from madang.base import logs
from madang.base.errors import Conflict, HubError, StoreFailed, Unsupported
from madang.base.limits import SHUTDOWN_DRAIN_S
from madang.base.meters import Meters
from madang.base.settings import STORE_IN_FOLDER, store_name
from madang.cli.database_refusal import database_refusal
from madang.cli.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_REFUSED, EXIT_SAID
from madang.cli.listening import BACKLOG_CONNECTIONS, url_of
from madang.wire.health import Waiting
from madang.wire.rsgi import RsgiApplication

if TYPE_CHECKING:
    import mmap

    from madang.base.messages import Messages
    from madang.base.settings import Settings

_PR_SET_PDEATHSIG: Final = 1
_GC_OBJECTS: Final = 50_000
_DATABASE_PAUSE_S: Final = 0.5  # between two tries to reach a database that does not answer yet
_DATABASE_RETRY_S: Final = 5.0  # what clients are told meanwhile


class ListeningServer(Server):
    """granian on a socket that somebody else listens on.

    granian hands such a socket to its workers itself where it cannot share an address (on macOS); this does so always.
    """

    def __init__(self, target: Any, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(
            target,
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            websockets=False,
            log_enabled=False,
            backlog=BACKLOG_CONNECTIONS,
        )
        self.url = url_of(listener)
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        """Serve from now on, if that has not begun, and return the task that does."""
        if self._serving is None:
            self._serving = asyncio.create_task(self.serve())
        return self._serving

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder
        self._ssp = None
        self._shd = holder(self._listener.fileno(), False, BACKLOG_CONNECTIONS)

    def ask_to_stop(self) -> None:
        """Stop taking requests; `serve` returns when those under way are answered."""
        self.interrupt_signal = True
        self.main_loop_interrupt.set()


@dataclass(frozen=True, slots=True)
class Shared:
    """What a worker has from its parent: its process, the worker's number, and the memory that all workers count in."""

    parent: int
    worker: int
    counted: mmap.mmap


def serve(settings: Settings, messages: Messages, listener: socket.socket, ready_out: int, shared: Shared) -> int:
    """Serve on the listener until SIGTERM; write one byte to `ready_out` when ready. Return the exit code."""
    _die_with(shared.parent)
    logs.configure(settings.log, settings.log_format, worker=shared.worker)
    try:
        return uvloop.run(_serve(settings, messages, listener, ready_out, shared))
    except _DatabaseAway:
        values = {"store": store_name(settings.store), "wait_s": settings.store_wait_s}
        print(f"madang: {messages.line('database_away', **values)}", file=sys.stderr, flush=True)
        return EXIT_SAID
    except HubError as error:
        print(f"madang: {_refusal(settings, messages, error)}", file=sys.stderr, flush=True)
        return EXIT_REFUSED


class _DatabaseAway(Exception):
    """The database did not answer for as long as the settings say."""


def _refusal(settings: Settings, messages: Messages, error: HubError) -> str:
    """Return the line that says why the data cannot be served; nothing of an address but host and database."""
    if settings.store == STORE_IN_FOLDER:
        key = "data_in_use" if isinstance(error, Conflict) else "data_unusable"
        key = "data_newer" if isinstance(error, Unsupported) else key
        return messages.line(key, data=settings.data, reason=error.detail)
    message, values = database_refusal(settings.store, error)
    return messages.line(message, **values)


async def _open(
    settings: Settings,
    messages: Messages,
    server: ListeningServer,
    closing: contextlib.AsyncExitStack,
    stop: asyncio.Event,
    shared: Shared,
) -> Hub | None:
    """Open the hub, and wait for a database that does not answer; None when told to stop meanwhile.

    From the first vain try the server answers: whoever asks is told to come again.
    """
    until_s = time.monotonic() + settings.store_wait_s
    is_said = False
    while not stop.is_set():
        try:
            meters = Meters(shared.counted, worker=shared.worker, workers=settings.workers)
            return await closing.enter_async_context(open_hub(settings, url=server.url, meters=meters))
        except StoreFailed as error:
            # Only what passes by itself says when to come again: a wrong password does not.
            if error.retry_after_s is None or settings.store == STORE_IN_FOLDER:
                raise
            if time.monotonic() >= until_s:
                raise _DatabaseAway from error
        if not is_said:
            is_said = True
            values = {"store": store_name(settings.store), "wait_s": settings.store_wait_s}
            print(f"madang: {messages.line('database_waiting', **values)}", file=sys.stderr, flush=True)
            server.begin()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _DATABASE_PAUSE_S)
    return None


async def _serve(
    settings: Settings, messages: Messages, listener: socket.socket, ready_out: int, shared: Shared
) -> int:
    loop = asyncio.get_running_loop()
    logs.follow_loop(loop)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    application = RsgiApplication(Waiting(_DATABASE_RETRY_S))
    server = ListeningServer(application, listener)
    async with contextlib.AsyncExitStack() as closing:
        hub = await _open(settings, messages, server, closing, stop, shared)
        if hub is None:
            return EXIT_GOOD
        application.replace(hub.application)
        serving = server.begin()
        stopping = asyncio.create_task(stop.wait())
        # What lives now lives as long as the process; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_OBJECTS, 20, 50)
        if shared.worker == 1 and settings.access == "closed":
            await _offer_link(hub, settings.public_url or server.url, messages)
        os.write(ready_out, b"1")
        os.close(ready_out)
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if serving.done():
            serving.result()
            return EXIT_FAILED  # the server ended without being asked: the parent starts a new one
        server.ask_to_stop()
        try:
            await asyncio.wait_for(serving, SHUTDOWN_DRAIN_S)
        except TimeoutError:
            logging.getLogger("madang").warning("requests were still running after %s s", SHUTDOWN_DRAIN_S)
    return EXIT_GOOD


async def _offer_link(hub: Hub, url: str, messages: Messages) -> None:
    """Say by which link the first administrator is made, if there is none."""
    secret = await hub.access.first_administrator.new_secret()
    if secret is not None:
        # A hub that listens on every address is reached from its own machine, where the line is read.
        reached = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        link = f"{reached.rstrip('/')}/madang/v1/first-administrator/{secret}"
        print(messages.line("first_administrator", link=link), flush=True)


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent dies, so that no orphan holds the data folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT_FAILED)
