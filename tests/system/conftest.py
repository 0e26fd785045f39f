# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tier."""

from __future__ import annotations

import asyncio

import pytest
import uvloop


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let failed notifications be tried again almost at once."""
    monkeypatch.setattr("madang.notify.lanes.NOTIFICATION_RETRY_FIRST_S", 0.001)
    monkeypatch.setattr("madang.notify.lanes.NOTIFICATION_RETRY_LONGEST_S", 0.002)


@pytest.fixture(scope="session", params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Run everything on the loop the hub is served on, too."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()
