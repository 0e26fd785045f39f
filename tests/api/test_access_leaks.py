# SPDX-License-Identifier: Apache-2.0
"""The leak hunt: 10,000 attempts to learn what is not granted, on pairs of hubs that differ in nothing else (issue 3).

Both hubs of a pair look the same to the caller. If any answer to the same request differs by a byte, something that he
may not see had an influence on it. Ids that a hub makes up and the numbers of its log are left out of the comparison.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from madang.base.clock import FixedClock
from madang.core.caller import acting_for
from madang.testing.client import ClientResponse
from tests.heard import Heard, open_heard
from tests.leak_requests import Attempt, Attempts
from tests.leak_world import CANARY, PROFILES, Profile, World, type_of

SEED = 20260
ATTEMPTS_PER_PROFILE = 1_880  # five profiles: with the subscriptions below 10,000
SUBSCRIPTIONS_PER_PROFILE = 30
CHANGES = 40

# ruff: noqa: S311 - chance, not secrecy

# What a hub makes up: ids, and the numbers of the log, which say how much is written but not what.
_MADE_UP = re.compile(
    rb"urn:ngsi-ld:instance:\d+|urn:ngsi-ld:EntityMap:[0-9a-f-]{36}|urn(:|%3A)ngsi-ld(:|%3A)EntityMap(:|%3A)[0-9a-f-]{36}"
    rb"|urn:ngsi-ld:(?:EntityType|Attribute)List:[0-9a-f-]{36}|urn:uuid:[0-9a-f-]{36}"
)
_OWN_HEADERS = frozenset({"x-request-id"})
# A request may name the bare word, and an error text repeat it; what is hidden has a number behind it.
_LEAKED = re.compile(CANARY.encode() + rb"[0-9a-f]+")


@contextlib.asynccontextmanager
async def pair(folder: Path, profile: Profile) -> AsyncIterator[tuple[World, World]]:
    """Open two hubs that look the same to the caller of a profile."""
    async with contextlib.AsyncExitStack() as opened:
        worlds = []
        for number in (1, 2):
            clock = FixedClock()
            folder_of_hub = folder / f"{profile.name}-{number}"
            hub, notifier = await opened.enter_async_context(open_heard(folder_of_hub, clock))
            own = random.Random(f"{SEED} {profile.name} {number}")
            same = random.Random(f"{SEED} {profile.name}")
            worlds.append(World(hub, clock, profile, same, own, drained=notifier.drain))
        for world in worlds:
            await world.build()
        yield worlds[0], worlds[1]


async def ask(world: World, attempt: Attempt, profile: Profile) -> ClientResponse:
    options: dict[str, Any] = {"params": attempt.parameters, "headers": attempt.headers}
    if attempt.body is not None:
        options["json"] = attempt.body
    with acting_for(profile.caller):
        return await world.client.request(attempt.method, attempt.path, **options)


def comparable(response: ClientResponse) -> tuple[int, bytes, dict[str, bytes]]:
    headers = {
        name: _MADE_UP.sub(b"~", value.encode()) for name, value in response.headers.items() if name not in _OWN_HEADERS
    }
    return response.status, _MADE_UP.sub(b"~", response.content), headers


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
async def test_what_is_not_granted_has_no_influence(tmp_path: Path, profile: Profile) -> None:
    chance = random.Random(f"{SEED} attempts {profile.name}")
    statuses: Counter[int] = Counter()
    told = 0
    async with pair(tmp_path, profile) as (one, other):
        await _belongings_of_others(one)
        attempts = Attempts(chance)
        for _ in range(ATTEMPTS_PER_PROFILE):
            attempt = attempts.draw()
            if attempt.method == "GET" and chance.random() < 0.2:
                # What was made ready for somebody who sees everything is not for others.
                await one.client.request("GET", attempt.path, params=attempt.parameters, headers=attempt.headers)
            answer, same = await asyncio.gather(ask(one, attempt, profile), ask(other, attempt, profile))
            for response in (answer, same):
                assert _LEAKED.search(response.content) is None, f"{attempt}"
                assert _LEAKED.search(repr(response.headers).encode()) is None, f"{attempt}"
                assert response.status < 500 or response.status == 503, f"{attempt}: {response.content!r}"
            assert comparable(answer) == comparable(same), f"{attempt}"
            statuses[answer.status] += 1
            told += answer.status == 200 and len(answer.content) > 60
    # The hunt is worth something only where answers say something.
    assert statuses[200] > ATTEMPTS_PER_PROFILE // 3, statuses
    assert told > ATTEMPTS_PER_PROFILE // 8, (told, statuses)


async def _belongings_of_others(world: World) -> None:
    """Things of somebody else, in one hub of the pair only."""
    endpoint = {"uri": "http://127.0.0.1:1/", "accept": "application/json"}
    subscription = {
        "id": "urn:sub:other",
        "type": "Subscription",
        "entities": [{"type": "Car"}],
        "q": f'secret=="{CANARY}"',
        "notification": {"endpoint": endpoint},
    }
    assert (await world.client.post("/subscriptions", json={**subscription, "isActive": False})).status == 201
    snapshot = {
        "id": "urn:snapshot:other",
        "type": "Snapshot",
        "snapshotQueries": [{"type": "Query", "entities": [{"type": "Car"}]}],
    }
    assert (await world.client.post("/snapshots", json=snapshot)).status == 201
    await world.hub.core.snapshots.settle()


# ---------------------------------------------------------------------- subscriptions


def _subscription(number: int, attempts: Attempts, chance: random.Random) -> dict[str, Any]:
    body: dict[str, Any] = {"id": f"urn:sub:{number}", "type": "Subscription"}
    selector: dict[str, Any] = {"type": chance.choice(("Car", "Bus", "Shop", "*", "Car,Shop"))}
    body["entities"] = [selector]
    notification: dict[str, Any] = {"endpoint": {"uri": f"http://127.0.0.1:1/{number}", "accept": "application/json"}}
    if chance.random() < 0.5:
        body["watchedAttributes"] = attempts._names().split(",")
    if chance.random() < 0.4:
        body["q"] = attempts._q()
    if chance.random() < 0.2:
        geo = attempts._geo()
        body["geoQ"] = {**geo, "coordinates": orjson.loads(geo["coordinates"])}
    if chance.random() < 0.6:
        triggers = ("entityCreated", "entityUpdated", "entityDeleted", "attributeCreated", "attributeDeleted")
        body["notificationTrigger"] = chance.sample(triggers, 3)
    if chance.random() < 0.3:
        notification["showChanges"] = True
    if chance.random() < 0.3:
        notification["attributes"] = attempts._names().split(",")
    if chance.random() < 0.3:
        notification["sysAttrs"] = True
    if chance.random() < 0.2:
        notification |= {"join": chance.choice(("inline", "flat")), "joinLevel": 1}
    body["notification"] = notification
    return body


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
async def test_subscriptions_tell_nothing_that_is_not_granted(tmp_path: Path, profile: Profile) -> None:
    """Every subscription hears of every change, or not, as if there was nothing but what its owner may see."""
    chance = random.Random(f"{SEED} subscriptions {profile.name}")
    async with pair(tmp_path, profile) as (one, other):
        bodies = [_subscription(number, Attempts(chance), chance) for number in range(SUBSCRIPTIONS_PER_PROFILE)]
        heard = []
        for world in (one, other):
            told = Heard()
            heard.append(told)
            with told.listening():
                taken = await _subscribed(world, bodies)
                await _happen(world)
        assert taken > SUBSCRIPTIONS_PER_PROFILE // 3
    assert heard[0].by_subscription == heard[1].by_subscription
    for told in heard:
        assert not any(_LEAKED.search(body) for body in told.bodies)
    assert heard[0].notifications > 20


async def _subscribed(world: World, bodies: list[dict[str, Any]]) -> int:
    taken = 0
    world.at(2000)
    for body in bodies:
        with acting_for(world.profile.caller):
            response = await world.client.post("/subscriptions", json=body)
        taken += response.status == 201
    return taken


async def _happen(world: World) -> None:
    """Let visible things happen at the same moments, and hidden ones between them."""
    for step in range(CHANGES):
        world.at(2100 + step * 10)
        if step % 8 == 7:
            await _come_and_go(world, step)
        else:
            await world.visible_change()
        await world.drained()
        world.clock.current_us += world.own.randrange(9_000_000)
        for _ in range(world.own.randrange(4)):
            await world.hidden_change()
        await world.drained()


async def _come_and_go(world: World, step: int) -> None:
    """Delete something visible and let it come back."""
    id = world.same.choice(sorted(world.profile.entities))
    await world.client.delete(f"/entities/{id}")
    await world.drained()
    world.at(2100 + step * 10 + 1)
    body = {"id": id, "type": type_of(id)}
    for name in sorted(world.profile.attributes(id) | {"location"}):
        value = world.value(id, name, world.same if world.shows(id, name) else world.own)
        if value is not None:
            body[name] = value
    await world.client.post("/entities", json=body)


def test_the_hunt_is_as_long_as_it_says() -> None:
    asked = ATTEMPTS_PER_PROFILE * len(PROFILES)
    told = SUBSCRIPTIONS_PER_PROFILE * len(PROFILES) * 4  # of each, a few of the changes are meant for it
    assert asked + told >= 10_000
