# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tier."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run asynchronous tests on the loop that the hub is served on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let failed notifications be tried again almost at once."""
    monkeypatch.setattr("madang.notify.lanes.NOTIFICATION_RETRY_FIRST_S", 0.001)
    monkeypatch.setattr("madang.notify.lanes.NOTIFICATION_RETRY_LONGEST_S", 0.002)
