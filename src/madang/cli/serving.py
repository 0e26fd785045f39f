# SPDX-License-Identifier: Apache-2.0
"""The serving child of `madang serve`: opens the hub, serves it through granian, drains when told to stop."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

import uvloop
from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.server.embed import Server

from madang.app import open_hub
from madang.base.errors import Conflict, HubError, Unsupported
from madang.base.limits import SHUTDOWN_DRAIN_S
from madang.cli.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_REFUSED
from madang.cli.listening import BACKLOG_CONNECTIONS, url_of
from madang.wire.rsgi import RsgiApplication

if TYPE_CHECKING:
    from madang.base.messages import Messages
    from madang.base.settings import Settings

_PR_SET_PDEATHSIG: Final = 1
_GC_OBJECTS: Final = 50_000


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
        self._listener = listener

    def _init_shared_socket(self) -> None:
        holder: Any = SocketHolder
        self._ssp = None
        self._shd = holder(self._listener.fileno(), False, BACKLOG_CONNECTIONS)

    def ask_to_stop(self) -> None:
        """Stop taking requests; `serve` returns when those under way are answered."""
        self.interrupt_signal = True
        self.main_loop_interrupt.set()


def serve(settings: Settings, messages: Messages, listener: socket.socket, ready_out: int, parent: int) -> int:
    """Serve on the listener until SIGTERM; write one byte to `ready_out` when ready. Return the exit code."""
    _die_with(parent)
    logging.basicConfig(level=settings.log.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return uvloop.run(_serve(settings, listener, ready_out))
    except HubError as error:
        key = "data_in_use" if isinstance(error, Conflict) else "data_unusable"
        key = "data_newer" if isinstance(error, Unsupported) else key
        line = messages.line(key, data=settings.data, reason=error.detail)
        print(f"madang: {line}", file=sys.stderr, flush=True)
        return EXIT_REFUSED


async def _serve(settings: Settings, listener: socket.socket, ready_out: int) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with open_hub(settings, url=url_of(listener)) as hub:
        server = ListeningServer(RsgiApplication(hub.application), listener)
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        # What lives now lives as long as the process; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_OBJECTS, 20, 50)
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


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent dies, so that no orphan holds the data folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT_FAILED)
