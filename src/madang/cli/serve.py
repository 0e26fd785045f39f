# SPDX-License-Identifier: Apache-2.0
"""`madang serve`: a tiny parent that holds the listening address and keeps a serving child alive.

The parent imports nothing of the hub, so there is next to nothing in it that could fail. It listens before the child
is there: a client that comes while the child starts, or starts again after a crash, waits instead of being refused.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from madang.base.limits import SHUTDOWN_DRAIN_S
from madang.cli.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_REFUSED
from madang.cli.flags import add_settings, settings_of
from madang.cli.listening import Refused, listen, url_of

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from madang.base.messages import Messages
    from madang.base.settings import Settings

RESTART_WAIT_FIRST_S: Final = 0.1
RESTART_WAIT_LONGEST_S: Final = 10.0
HEALTHY_AFTER_S: Final = 30.0
KILL_AFTER_S: Final = round(SHUTDOWN_DRAIN_S) + 5


def add_flags(parser: ArgumentParser) -> None:
    add_settings(parser, "data", "store", "host", "port", "workers", "access")


def run(given: Namespace, messages: Messages) -> int:
    """Serve until told to stop; return the exit code."""
    settings = settings_of(given)
    try:
        listener = listen(settings, messages)
    except Refused as refused:
        print(f"madang: {refused}", file=sys.stderr)
        return EXIT_REFUSED
    with listener:
        return _Parent(settings, messages, listener).run()


class _Parent:
    """Starts the child, starts it again when it dies, and passes signals on."""

    def __init__(self, settings: Settings, messages: Messages, listener: socket.socket) -> None:
        self._settings = settings
        self._messages = messages
        self._listener = listener
        self._child = 0
        self._stopping = False
        self._forced = False
        self._was_ready = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._force)
        wait_s = RESTART_WAIT_FIRST_S
        while True:
            began_s = time.monotonic()
            code = self._run_child()
            if self._stopping:
                if self._forced:
                    self._say("killed")
                return EXIT_FAILED if self._forced else EXIT_GOOD
            if not self._was_ready and code >= 0:
                # It never served: what stopped it (its line is on standard error) would stop it again.
                if code != EXIT_REFUSED:
                    self._say("gave_up", reason=_reason(code))
                return code or EXIT_FAILED
            if time.monotonic() - began_s > HEALTHY_AFTER_S:
                wait_s = RESTART_WAIT_FIRST_S
            self._say("restarting", reason=_reason(code), wait_s=wait_s)
            self._pause(wait_s)
            if self._stopping:
                return EXIT_GOOD
            wait_s = min(wait_s * 2, RESTART_WAIT_LONGEST_S)

    def _run_child(self) -> int:
        """Run one child to its end and return its exit code, negative for the signal that ended it."""
        ready_in, ready_out = os.pipe()
        parent = os.getpid()
        sys.stdout.flush()
        self._child = os.fork()
        if self._child == 0:
            os.close(ready_in)
            _serve_as_child(self._settings, self._messages, self._listener, ready_out, parent)
        os.close(ready_out)
        if self._stopping:
            self._signal(signal.SIGTERM)
        with open(ready_in, "rb", buffering=0) as pipe:  # noqa: PTH123 (a file descriptor has no path)
            if pipe.read(1) and not self._was_ready:
                self._was_ready = True
                url, data = url_of(self._listener), Path(self._settings.data).resolve()
                print(self._messages.line("ready", url=url, data=data), flush=True)
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        return os.waitstatus_to_exitcode(status)

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of signal handlers)
        self._stopping = True
        self._signal(signal.SIGTERM)
        signal.alarm(KILL_AFTER_S)

    def _force(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._forced = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._child > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)

    def _pause(self, wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while not self._stopping and time.monotonic() < until_s:
            time.sleep(0.02)

    def _say(self, message: str, **values: object) -> None:
        print(f"madang: {self._messages.line(message, **values)}", file=sys.stderr, flush=True)


def _serve_as_child(
    settings: Settings, messages: Messages, listener: socket.socket, ready_out: int, parent: int
) -> None:
    """Be the serving process; never returns."""
    code = EXIT_FAILED
    try:
        signal.alarm(0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        from madang.cli import serving  # only the child may carry the weight of the hub

        code = serving.serve(settings, messages, listener, ready_out, parent)
    except BaseException:  # noqa: BLE001 (whatever it is, the child must not go on as a second parent)
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
