# SPDX-License-Identifier: Apache-2.0
"""Real hub processes for tests and benches: `madang serve` started, asked, killed, and always ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from madang.base.messages import Messages

_READY: Final = re.compile(r"(http://[^ ]+)")
WAIT_S: Final = 20.0
OPEN_LINE: Final = Messages("en").line("access_open")


@dataclass
class Served:
    """One `madang serve` with what it says."""

    process: subprocess.Popen[bytes]
    url: str = ""
    ready_line: str = ""
    first_link: str = ""
    """By which the first administrator is made, on a closed hub that has none."""
    _rest: bytes = field(default=b"", repr=False)

    @classmethod
    def start(cls, data: Path, *flags: str, **environment: str) -> Served:
        """Start a hub on a folder, an open one unless the flags say otherwise; `await_ready` waits for it."""
        if "--access" not in flags:
            flags = ("--access", "open", *flags)
        command = [sys.executable, "-m", "madang.cli.main", "serve", "--data", str(data), *flags]
        surroundings = {**os.environ, "MADANG_LANG": "en", **environment}
        process = subprocess.Popen(  # noqa: S603 (the command is our own)
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=surroundings
        )
        return cls(process)

    def await_ready(self) -> None:
        """Wait for the ready line and read the URL from it, and from the line before it the first link, if any."""
        assert self.process.stdout is not None
        until = time.monotonic() + WAIT_S
        said = b""
        while b" is ready at " not in said or not said.endswith(b"\n"):
            assert time.monotonic() < until, "the hub did not become ready"
            readable, _, _ = select.select([self.process.stdout], [], [], 0.2)
            if readable:
                more = os.read(self.process.stdout.fileno(), 4096)
                assert more, f"the hub ended: {self.errors()}"
                said += more
        *before, self.ready_line = said.decode().splitlines(keepends=True)
        link = _READY.search("".join(before))
        self.first_link = "" if link is None else link[1].strip()
        found = _READY.search(self.ready_line)
        assert found is not None, self.ready_line
        self.url = found[1]

    def child(self) -> int:
        """Return the id of the serving process, whose parent is what was started."""
        return self.children()[0]

    def children(self) -> list[int]:
        """Return the ids of all serving processes."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(word) for word in text.split()]

    def request(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        """Return status and JSON of one request."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as response:  # noqa: S310
                text = response.read()
                return response.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
                return error.code, json.loads(text) if text else None

    def stop(self) -> int:
        """Stop in order and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def end(self) -> None:
        """End whatever still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(WAIT_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def errors(self) -> str:
        """Return what stands on standard error, once the process has ended, but for the notice of an open hub."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode().replace(f"madang: {OPEN_LINE}\n", "", 1)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something another process does; there is no event to wait for across processes."""
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
