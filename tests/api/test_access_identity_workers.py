# SPDX-License-Identifier: Apache-2.0
"""Several workers on one database know the same callers: at once, and whichever of them was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from madang.app import open_access, open_hub
from madang.base.settings import Settings
from madang.testing.client import Client, ClientResponse
from madang.testing.postgres import Cluster

TYPES = "/ngsi-ld/v1/types"
TOKENS = "/madang/v1/tokens"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    cluster.start()
    yield cluster
    cluster.close()


class Workers:
    def __init__(self, clients: list[Client], settings: Settings) -> None:
        self.clients = clients
        self.settings = settings
        self.admin = ""

    async def ask(self, worker: int, method: str, path: str, token: str, **more: Any) -> ClientResponse:
        return await self.clients[worker].request(method, path, headers={"authorization": f"Bearer {token}"}, **more)


@pytest.fixture
async def workers(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Workers]:
    settings = Settings(data=tmp_path, store=cluster.database(), workers=2, quota_per_day=1_000, rate_per_s=1_000.0)
    async with AsyncExitStack() as closing:
        hubs = [await closing.enter_async_context(open_hub(settings)) for _ in range(2)]
        workers = Workers([Client(hub.application, root="") for hub in hubs], settings)
        secret = await hubs[0].access.first_administrator.new_secret()
        path = f"/madang/v1/first-administrator/{secret}"
        headers = {"accept": "application/json"}
        presses = (client.post(path, headers=headers) for client in workers.clients * 4)
        answers = await asyncio.gather(*presses)
        assert sorted(answer.status for answer in answers) == [201] + [410] * 7
        workers.admin = next(answer.json()["token"] for answer in answers if answer.status == 201)
        yield workers


async def test_what_one_worker_was_told_counts_at_the_other_at_once(workers: Workers) -> None:
    for _ in range(10):
        made = await workers.ask(0, "POST", TOKENS, workers.admin, json={"label": "a", "roles": ["reader"]})
        token, id = made.json()["token"], made.json()["id"]
        assert (await workers.ask(1, "GET", TYPES, token)).status == 200
        assert (await workers.ask(0, "DELETE", f"{TOKENS}/{id}", workers.admin)).status == 204
        assert (await workers.ask(1, "GET", TYPES, token)).status == 401


async def test_a_role_changes_for_all_workers_at_once(workers: Workers) -> None:
    role, made = "/madang/v1/roles/mine", {"label": "a", "roles": ["mine"]}
    for rights, status in ((["read"], 200), (["subscribe"], 200), (["read"], 200)):
        assert (await workers.ask(0, "PUT", role, workers.admin, json={"grants": [{"rights": rights}]})).status < 300
        token = (await workers.ask(0, "POST", TOKENS, workers.admin, json=made)).json()["token"]
        me = await workers.ask(1, "GET", "/madang/v1/me", token)
        assert (me.status, me.json()["grants"][0]["rights"]) == (status, rights)
    assert (await workers.ask(1, "DELETE", role, workers.admin)).status == 204
    assert (await workers.ask(0, "GET", TYPES, token)).status == 403


async def test_tags_are_seen_by_all_workers(workers: Workers) -> None:
    path = "/madang/v1/personal-attributes"
    assert (await workers.ask(0, "PUT", f"{path}/phone", workers.admin)).status == 201
    assert (await workers.ask(1, "GET", path, workers.admin)).json() == [{"attribute": "phone"}]


async def test_tokens_are_made_on_the_database_while_its_hub_runs(workers: Workers) -> None:
    from madang.model.access_form import TokenRequest

    async with open_access(workers.settings) as access:
        token, made = await access.create_token(TokenRequest("by command", roles=("reader",)))
    for worker in (0, 1):
        assert (await workers.ask(worker, "GET", TYPES, token)).status == 200
    async with open_access(workers.settings) as access:
        await access.revoke(made.id)
    for worker in (0, 1):
        assert (await workers.ask(worker, "GET", TYPES, token)).status == 401
