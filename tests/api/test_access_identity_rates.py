# SPDX-License-Identifier: Apache-2.0
"""Rates and quotas as a caller meets them: 429 with a time to come again, by a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from madang.app import Hub, open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.model.access_form import TokenRequest
from madang.testing.client import Client

TYPES = "/ngsi-ld/v1/types"


@asynccontextmanager
async def hub_with(data: Path, clock: FixedClock, **settings: Any) -> AsyncIterator[Hub]:
    async with open_hub(Settings(data=data, **settings), clock=clock) as hub:
        yield hub


async def statuses(hub: Hub, count: int, authorization: str | None = None) -> list[int]:
    headers = {} if authorization is None else {"authorization": authorization}
    client = Client(hub.application, root="")
    return [(await client.get(TYPES, headers=headers)).status for _ in range(count)]


async def token(hub: Hub, **more: Any) -> str:
    secret, _ = await hub.access.create_token(TokenRequest("a test", roles=("reader",), **more))
    return f"Bearer {secret}"


async def test_too_many_requests_are_told_when_to_come_again(tmp_path: Path) -> None:
    clock = FixedClock()
    async with hub_with(tmp_path, clock, rate_per_s=0.5, rate_burst=3) as hub:
        caller = await token(hub)
        assert await statuses(hub, 5, caller) == [200, 200, 200, 429, 429]
        refused = await Client(hub.application, root="").get(TYPES, headers={"authorization": caller})
        assert refused.headers["retry-after"] == "2"
        assert refused.json()["status"] == 429
        clock.advance(2)
        assert await statuses(hub, 2, caller) == [200, 429]
        assert await statuses(hub, 1, await token(hub)) == [200]  # another caller is another bucket
        assert await statuses(hub, 4, await token(hub, rate_per_s=0.0)) == [200] * 4


async def test_who_tries_out_tokens_is_slowed_down(tmp_path: Path) -> None:
    async with hub_with(tmp_path, FixedClock(), rate_per_s=1.0, rate_burst=3) as hub:
        guesses = [f"Bearer mdg_{number:049}" for number in range(5)]
        found = [(await statuses(hub, 1, guess))[0] for guess in guesses]
        assert found == [401, 401, 401, 429, 429]
        assert await statuses(hub, 1) == [429]  # it is the same stranger
        assert await statuses(hub, 1, await token(hub)) == [200]


async def test_a_request_that_is_not_allowed_counts_too(tmp_path: Path) -> None:
    async with hub_with(tmp_path, FixedClock(), rate_per_s=1.0, rate_burst=2) as hub:
        headers = {"authorization": await token(hub), "ngsild-tenant": "", "content-length": "2"}
        client = Client(hub.application, root="")
        found = [(await client.post("/ngsi-ld/v1/entities", json={}, headers=headers)).status for _ in range(3)]
        assert found[2] == 429
        assert 429 not in found[:2]


async def test_a_quota_outlives_a_restart_and_ends_with_the_day(tmp_path: Path) -> None:
    clock = FixedClock(1_700_006_400_000_000)  # midnight
    async with hub_with(tmp_path, clock, quota_per_day=3) as hub:
        caller = await token(hub)
        assert await statuses(hub, 2, caller) == [200, 200]
    async with hub_with(tmp_path, clock, quota_per_day=3) as hub:
        assert await statuses(hub, 2, caller) == [200, 429]
        client = Client(hub.application, root="")
        refused = await client.get(TYPES, headers={"authorization": caller})
        assert refused.headers["retry-after"] == "86400"
        me = await client.get("/madang/v1/me", headers={"authorization": await token(hub)})
        assert me.json()["quotaPerDay"] == 3
        clock.advance(86_400)
        assert await statuses(hub, 4, caller) == [200, 200, 200, 429]


async def test_an_open_hub_counts_nobody(tmp_path: Path) -> None:
    async with hub_with(tmp_path, FixedClock(), access="open", rate_per_s=1.0, quota_per_day=1) as hub:
        assert await statuses(hub, 5) == [200] * 5
