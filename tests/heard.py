# SPDX-License-Identifier: Apache-2.0
"""A hub whose notifications are heard in the test's own process, as their receivers would get them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from madang.app import Hub, open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.notify import lanes
from madang.notify.http import HttpSender
from madang.notify.notifier import Notifier


class Heard:
    """What would have been sent, by subscription, in order."""

    def __init__(self) -> None:
        self.by_subscription: dict[str, list[Any]] = {}
        self.notifications = 0
        self.bodies: list[bytes] = []
        self.status = 200

    async def post(self, _target: object, _headers: bytes, body: bytes, _timeout_s: float) -> int:
        notification = orjson.loads(body)
        self.by_subscription.setdefault(notification["subscriptionId"], []).extend(notification["data"])
        self.notifications += 1
        self.bodies.append(body)
        return self.status

    @contextlib.contextmanager
    def listening(self) -> Any:
        """Take in what is sent within the block, at once."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(lanes, "NOTIFICATION_GATHER_S", 0.0)
            patched.setattr(HttpSender, "post", lambda _, *args: self.post(*args))
            yield self


@contextlib.asynccontextmanager
async def open_heard(folder: Path, clock: FixedClock) -> AsyncIterator[tuple[Hub, Notifier]]:
    """Open a hub together with its notifier, which a hub keeps to itself."""
    notifiers: list[Notifier] = []

    def make(*args: Any, **options: Any) -> Notifier:
        notifiers.append(Notifier(*args, **options))
        return notifiers[-1]

    settings = Settings(access="open", data=folder, allow_private_addresses=True)
    async with contextlib.AsyncExitStack() as opened:
        with pytest.MonkeyPatch.context() as patched:
            made: Callable[..., Notifier] = make
            patched.setattr("madang.app.Notifier", made)
            hub = await opened.enter_async_context(open_hub(settings, clock=clock))
        yield hub, notifiers[-1]
