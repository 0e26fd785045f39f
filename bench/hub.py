# SPDX-License-Identifier: Apache-2.0
"""Starts a hub, a bare server or a notification sink as processes of their own, and ends them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

MADANG = [sys.executable, "-m", "madang.cli.main"]
JSON = {"content-type": "application/json"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Hub:
    """A running hub: its process, its address, and how long it took to be ready."""

    def __init__(self, process: subprocess.Popen[str], url: str, ready_s: float) -> None:
        self.process = process
        self.url = url
        self.ready_s = ready_s
        self.api = f"{url}/ngsi-ld/v1"
        self.client = httpx.Client(base_url=self.api, timeout=120)

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def hub(folder: Path, *flags: str, variables: dict[str, str] | None = None) -> Iterator[Hub]:
    """Run `madang serve` over a folder until the block ends; `flags` are given to it as they are."""
    environment = {**os.environ, "MADANG_ALLOW_PRIVATE_ADDRESSES": "1", "MADANG_LANG": "en", **(variables or {})}
    begin = time.perf_counter()
    command = [*MADANG, "serve", "--data", str(folder), "--port", "0", "--access", "open", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"http://[\d.]+:\d+", line)
            if found:
                running = Hub(process, found[0], time.perf_counter() - begin)
                with running.client:
                    yield running
                return
        sys.exit("bench: the hub did not start")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@contextmanager
def module(name: str, *arguments: str) -> Iterator[str]:
    """Run a module of this folder that takes a port first; give its address."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", name, str(port), *arguments])
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                httpx.get(f"{url}/", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        else:
            sys.exit(f"bench: {name} did not start")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
