# SPDX-License-Identifier: Apache-2.0
"""`madang serve`: a tiny parent that holds the listening address and keeps the serving children, the workers, alive.

The parent imports nothing of the hub, so there is next to nothing in it that could fail. It listens before the workers
are there: a client that comes while its worker starts, or starts again after a crash, waits instead of being refused.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import socket
import sys
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from madang.base.limits import SHUTDOWN_DRAIN_S
from madang.base.meters import shared_bytes
from madang.base.settings import STORE_IN_FOLDER, store_name
from madang.cli.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_REFUSED, EXIT_SAID
from madang.cli.flags import add_settings, settings_of
from madang.cli.listening import Refused, listening, url_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from madang.base.messages import Messages
    from madang.base.settings import Settings

RESTART_WAIT_FIRST_S: Final = 0.1
RESTART_WAIT_LONGEST_S: Final = 10.0
HEALTHY_AFTER_S: Final = 5.0  # a worker that lived longer is no crash loop
KILL_AFTER_S: Final = round(SHUTDOWN_DRAIN_S) + 5
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def add_flags(parser: ArgumentParser) -> None:
    add_settings(parser, "data", "store", "host", "port", "workers", "access")


def run(given: Namespace, messages: Messages) -> int:
    """Serve until told to stop; return the exit code."""
    settings = settings_of(given)
    try:
        with listening(settings, messages) as listeners:
            return _Parent(settings, messages, listeners).run()
    except Refused as refused:
        print(f"madang: {refused}", file=sys.stderr)
        return EXIT_REFUSED


@dataclass
class _Worker:
    """One serving process as its parent sees it."""

    number: int  # from 1
    listener: socket.socket
    pid: int = 0  # 0: it does not run
    ready_in: int = -1  # the pipe on which it says that it is ready; -1 once it has, or has ended
    was_ready: bool = False  # it has served at least once
    began_s: float = 0.0
    begins_s: float | None = None  # when it is to be started (again)
    wait_s: float = RESTART_WAIT_FIRST_S

    def forget_pipe(self) -> None:
        if self.ready_in >= 0:
            os.close(self.ready_in)
            self.ready_in = -1


class _Parent:
    """Starts the workers, starts each again when it dies, and passes signals on."""

    def __init__(self, settings: Settings, messages: Messages, listeners: Sequence[socket.socket]) -> None:
        self._settings = settings
        self._messages = messages
        self._workers = [_Worker(number, listener) for number, listener in enumerate(listeners, start=1)]
        # Here the workers count, and see what the others counted; it is the parent's, so it outlives them.
        self._counted = mmap.mmap(-1, shared_bytes(len(listeners)))
        self._stopping = False
        self._forced = False
        self._code = EXIT_GOOD
        self._said_ready = False
        self._wake_in, self._wake_out = os.pipe()

    def run(self) -> int:
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        for number in _STOPPING:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._force)
        signal.signal(signal.SIGCHLD, _noted)
        # The others follow when the first one serves: what is wrong is said once, and the tables are made once.
        self._workers[0].begins_s = time.monotonic()
        while not self._stopping or any(worker.pid for worker in self._workers):
            self._start_due()
            self._wait()
            for worker in self._workers:
                self._reap(worker)
        if self._forced:
            self._say("killed")
            return EXIT_FAILED
        return self._code

    def _start_due(self) -> None:
        for worker in self._workers:
            is_due = worker.begins_s is not None and worker.begins_s <= time.monotonic()
            if is_due and not self._stopping:
                worker.begins_s = None
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        ready_in, ready_out = os.pipe()
        parent = os.getpid()
        sys.stdout.flush()
        worker.began_s = time.monotonic()
        # A signal in the child must not run the parent's handlers there; it waits until the child has its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        worker.pid = os.fork()
        if worker.pid == 0:
            self._leave(ready_in, worker)
            _serve_as_child(self._settings, self._messages, worker, ready_out, parent, self._counted)
        os.close(ready_out)
        worker.ready_in = ready_in
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def _leave(self, ready_in: int, own: _Worker) -> None:
        """Undo in a new child what it has from its parent."""
        signal.set_wakeup_fd(-1)
        signal.alarm(0)
        for number in (*_STOPPING, signal.SIGALRM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        os.close(ready_in)
        os.close(self._wake_in)
        os.close(self._wake_out)
        for worker in self._workers:
            worker.forget_pipe()
            if worker is not own:
                worker.listener.close()

    def _wait(self) -> None:
        """Return when a worker says that it is ready, a signal has come, or a worker is to be started."""
        pipes = {worker.ready_in: worker for worker in self._workers if worker.ready_in >= 0}
        times_s = [worker.begins_s for worker in self._workers if worker.begins_s is not None and not self._stopping]
        wait_s = max(0.0, min(times_s) - time.monotonic()) if times_s else None
        readable, _, _ = select.select([self._wake_in, *pipes], [], [], wait_s)
        for descriptor in readable:
            if descriptor == self._wake_in:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_in, 4096)
                continue
            worker = pipes[descriptor]
            if os.read(descriptor, 1):
                worker.was_ready = True
                self._became_ready()
            worker.forget_pipe()

    def _became_ready(self) -> None:
        for worker in self._workers:
            if not worker.was_ready and worker.pid == 0 and worker.begins_s is None:
                worker.begins_s = time.monotonic()
        if not self._said_ready and all(worker.was_ready for worker in self._workers):
            self._said_ready = True
            settings, url = self._settings, url_of(self._workers[0].listener)
            if settings.store == STORE_IN_FOLDER:
                line = self._messages.line("ready", url=url, data=Path(settings.data).resolve())
            else:
                line = self._messages.line("ready_database", url=url, store=store_name(settings.store))
            print(line, flush=True)
            if settings.access == "open":
                self._say("access_open")

    def _reap(self, worker: _Worker) -> None:
        if worker.pid == 0:
            return
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        if pid == 0:
            return
        worker.pid = 0
        if worker.ready_in >= 0 and select.select([worker.ready_in], [], [], 0)[0]:
            worker.was_ready = bool(os.read(worker.ready_in, 1)) or worker.was_ready
        worker.forget_pipe()
        if not self._stopping:
            self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        """Decide what follows the end of a worker that nobody asked to end; a negative code is a signal."""
        if code >= 0 and not any(each.was_ready for each in self._workers):
            # None has ever served: what stopped it (its line is on standard error) would stop it again.
            if code not in (EXIT_REFUSED, EXIT_SAID):
                self._say("gave_up", reason=_reason(code))
            self._code = EXIT_REFUSED if code == EXIT_REFUSED else EXIT_FAILED
            self._stop(signal.SIGTERM, None)
            return
        if time.monotonic() - worker.began_s > HEALTHY_AFTER_S:
            worker.wait_s = RESTART_WAIT_FIRST_S
        message = "restarting" if len(self._workers) == 1 else "restarting_worker"
        self._say(message, reason=_reason(code), wait_s=worker.wait_s, worker=worker.number)
        worker.begins_s = time.monotonic() + worker.wait_s
        worker.wait_s = min(worker.wait_s * 2, RESTART_WAIT_LONGEST_S)

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of signal handlers)
        self._stopping = True
        self._signal(signal.SIGTERM)
        signal.alarm(KILL_AFTER_S)

    def _force(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._forced = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            if worker.pid > 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    def _say(self, message: str, **values: object) -> None:
        print(f"madang: {self._messages.line(message, **values)}", file=sys.stderr, flush=True)


def _noted(number: int, frame: FrameType | None) -> None:
    """Do nothing: that the signal came wakes the parent, which then looks which worker has ended."""


def _serve_as_child(
    settings: Settings, messages: Messages, worker: _Worker, ready_out: int, parent: int, counted: mmap.mmap
) -> None:
    """Be the serving process; never returns."""
    code = EXIT_FAILED
    try:
        from madang.cli import serving  # only the child may carry the weight of the hub

        shared = serving.Shared(parent, worker.number, counted)
        code = serving.serve(settings, messages, worker.listener, ready_out, shared)
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
