# SPDX-License-Identifier: Apache-2.0
"""Drives wrk, reads its report, and looks at processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second, latencies in milliseconds, answers that were not 2xx, requests in all."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int
    requests: int


def wrk(url: str, script: str = "", *, connections: int = 64, seconds: float = 5) -> Load:
    """Run wrk with one thread against the address; `script` is Lua."""
    program = shutil.which("wrk")
    if program is None:
        sys.exit("bench: the load generator `wrk` is missing; on Debian: apt-get install wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + _REPORT)
        file.flush()
        command = [program, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", file.name, url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return _read(done.stdout)


# wrk's own summary rounds; its numbers are printed once more as they are.
_REPORT = """
done = function(summary, latency, requests)
  print(string.format("REPORT %d %d %f %f %d", summary.requests, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


def _read(report: str) -> Load:
    found = re.search(r"REPORT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", report)
    assert found, report
    requests, duration_us = int(found[1]), int(found[2])
    return Load(requests / (duration_us / 1e6), float(found[3]), float(found[4]), int(found[5]), requests)


def processes_below(pid: int) -> list[int]:
    """Return the process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            children = (task / "children").read_text().split()
            found += [int(child) for child in children]
    return found


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants, in megabytes."""
    pages = 0
    for one in processes_below(pid):
        pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
