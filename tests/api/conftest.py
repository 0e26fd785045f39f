"""A whole hub in the test's own process: real store, real application, no sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from madang.app import Hub, open_hub
from madang.base.settings import Settings
from madang.testing.client import Client


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    settings = Settings(access="open", data=tmp_path / "data", allow_private_addresses=True)
    async with open_hub(settings, url="http://hub.example") as hub:
        yield hub


@pytest.fixture
async def client(hub: Hub) -> Client:
    return Client(hub.application)
