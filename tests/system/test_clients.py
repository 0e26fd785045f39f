# SPDX-License-Identifier: Apache-2.0
"""Clients in the field do their documented quick starts against a served hub, unchanged.

Each lives in an environment of its own, made by `tools/setup.sh clients` from its lock file, because what they need
clashes with what the hub needs. Where packages cannot be had, the test is skipped and says so.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from madang.testing.served import Served

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "clients"
SETUP_S = 300.0
RUN_S = 60.0


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Served]:
    served = Served.start(tmp_path / "data", "--port", "0")
    try:
        served.await_ready()
        yield served
        assert served.stop() == 0
    finally:
        served.end()


def python_of(client: str) -> Path:
    """Return the interpreter of a client's environment, which is made when it is not there or outdated."""
    done = subprocess.run(
        [ROOT / "tools" / "setup.sh", "clients", client],
        capture_output=True,
        text=True,
        timeout=SETUP_S,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"the packages of {client} could not be had: {done.stderr.strip()[-300:]}")
    return ROOT / ".venv-clients" / client / "bin" / "python"


@pytest.mark.parametrize("client", ["ngsildclient", "filip", "pyngsild"])
def test_the_documented_quick_start(client: str, hub: Served) -> None:
    where = hub.url if client == "filip" else str(urlsplit(hub.url).port)
    command = [str(python_of(client)), str(SCRIPTS / f"{client}_quick_start.py"), where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
