"""A hub on PostgreSQL answers what a hub on SQLite answers: 20,000 requests by chance are sent to both."""

from __future__ import annotations

import math
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from madang.app import open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.testing.client import Client, ClientResponse
from madang.testing.postgres import Cluster
from tests.contract.requests_by_chance import Call, Chance

REQUESTS = 2_500
SEEDS = range(8)
# Ids that a hub makes up by chance.
MADE_UP = re.compile(rb"urn:(uuid|ngsi-ld:[A-Za-z]+):[0-9a-f-]{36}")
HEADERS = ("content-type", "location", "link", "ngsild-results-count", "ngsild-warning", "allow", "content-range")


def shown(answer: ClientResponse) -> tuple[int, dict[str, Any], Any]:
    """Return what must be the same: everything but the order of the members of a JSON object."""
    headers = {name: answer.headers.get(name) for name in HEADERS}
    content = MADE_UP.sub(b"made-up", answer.content)
    is_json = content and "json" in (headers["content-type"] or "")
    return answer.status, headers, orjson.loads(content) if is_json else content


def same(one: Any, other: Any) -> bool:
    """Tell whether two answers say the same; sums may differ in the last digit, as stores add in their own order."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


async def sent(client: Client, call: Call) -> ClientResponse:
    return await client.request(call.method, call.path, json=call.body, headers=call.headers)


@pytest.mark.unwatched  # reading thousands of statements takes longer than sending them
@pytest.mark.parametrize("seed", SEEDS)
async def test_both_stores_give_the_same_answers(seed: int, cluster: Cluster, tmp_path: Path) -> None:
    chance = Chance(seed)
    statuses: dict[int, int] = {}
    async with AsyncExitStack() as closing:
        clocks = [FixedClock(), FixedClock()]
        embedded = Settings(access="open", data=tmp_path / "data", allow_private_addresses=True, sweep_s=1e6)
        scaled = Settings(
            access="open", data=tmp_path / "other", store=cluster.database(), allow_private_addresses=True, sweep_s=1e6
        )
        clients = []
        # Of PostgreSQL there are two workers, which take the requests in turns.
        for settings, clock in zip((embedded, scaled, scaled), (*clocks, clocks[1]), strict=True):
            hub = await closing.enter_async_context(open_hub(settings, url="http://hub.example", clock=clock))
            clients.append(Client(hub.application))
        for client in clients[:2]:
            for attribute in ("b", "place") if seed % 2 else ():
                answer = await client.post("/madang/v1/indexes", json={"attribute": attribute})
                assert answer.status in (201, 204), answer.content
        for number in range(REQUESTS):
            call = chance.call()
            one, other = [shown(await sent(client, call)) for client in (clients[0], clients[1 + number % 2])]
            assert same(one, other), (call, one, other)
            statuses[one[0]] = statuses.get(one[0], 0) + 1
            for clock in clocks:
                clock.advance(0.25)
    # Most of it must have been something else than refusals.
    assert sum(number for status, number in statuses.items() if status < 300) > REQUESTS * 0.6, statuses
