# SPDX-License-Identifier: Apache-2.0
"""What subscriptions tell: what their owners may see at the time of the telling, and nothing once they may not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from madang.app import Hub
from madang.base.clock import FixedClock
from madang.core.caller import acting_for
from madang.model.access import Caller, Grant, Right
from madang.model.access_form import TokenRequest
from madang.notify.notifier import Notifier
from madang.testing.client import Client
from tests.heard import Heard, open_heard
from tests.leak_world import SQUARE, point

RIGHTS = frozenset({Right.READ, Right.SUBSCRIBE})
SPEED = Grant(RIGHTS, attributes=("speed",))
CAR = {"id": "urn:car:1", "type": "Car", "speed": 5, "brand": "Kia", "phone": "010", "location": point(5, 5)}


@dataclass
class City:
    hub: Hub
    notifier: Notifier
    clock: FixedClock
    heard: Heard
    client: Client

    async def caller(self, *grants: Grant) -> Caller:
        """Return somebody with a hub token whose role grants this."""
        role = f"role{len(self.hub.access.roles())}"
        await self.hub.access.put_role(role, "", grants)
        _, token = await self.hub.access.create_token(TokenRequest("test", roles=(role,)))
        who = Caller(f"token:{token.id}", "token")
        return Caller(who.id, who.kind, self.hub.access.grants_of(who) or ())

    async def subscribe(self, who: Caller, id: str = "urn:sub:1", **members: Any) -> str:
        notification = members.pop("notification", {})
        endpoint = {"uri": "http://127.0.0.1:1/", "accept": "application/json"}
        body = {"id": id, "type": "Subscription", "entities": [{"type": "Car"}], **members}
        body["notification"] = {"endpoint": endpoint, "format": "simplified", **notification}
        with acting_for(who):
            response = await self.client.post("/subscriptions", json=body)
        assert response.status == 201, response.content
        return id

    async def change(self, **attributes: Any) -> None:
        self.clock.advance(1)
        response = await self.client.post("/entities/urn:car:1/attrs", json=attributes)
        assert response.status == 204, response.content
        await self.notifier.drain()

    def told(self, id: str = "urn:sub:1") -> list[Any]:
        return self.heard.by_subscription.pop(id, [])


@pytest.fixture
def heard() -> Iterator[Heard]:
    with Heard().listening() as heard:
        yield heard


@pytest.fixture
async def city(tmp_path: Path, heard: Heard) -> AsyncIterator[City]:
    clock = FixedClock()
    async with open_heard(tmp_path, clock) as (hub, notifier):
        client = Client(hub.application)
        assert (await client.post("/entities", json=CAR)).status == 201
        yield City(hub, notifier, clock, heard, client)


async def test_only_visible_attributes_are_told_and_awaited(city: City) -> None:
    who = await city.caller(SPEED)
    await city.subscribe(who)
    await city.subscribe(who, "urn:sub:2", watchedAttributes=["brand"])
    await city.subscribe(who, "urn:sub:3", q='brand=="Audi"')
    await city.change(brand="Audi")
    await city.change(speed=6)
    assert city.told() == [{"id": "urn:car:1", "type": "Car", "speed": 6}]
    assert city.told("urn:sub:2") == city.told("urn:sub:3") == []


async def test_owners_without_limits_share_their_messages_as_ever(city: City) -> None:
    everything = await city.caller(Grant(RIGHTS))
    await city.subscribe(everything)
    assert city.hub.core.subscriptions.permit("", "urn:sub:1").unrestricted
    await city.change(speed=6)
    assert city.told() == [{"id": "urn:car:1", "type": "Car", "speed": 6, "brand": "Kia", "phone": "010"} | _place()]


def _place() -> dict[str, Any]:
    return {"location": point(5, 5)["value"]}


async def test_a_revoked_token_is_told_nothing_more(city: City) -> None:
    who = await city.caller(SPEED)
    await city.subscribe(who)
    await city.change(speed=6)
    assert len(city.told()) == 1
    await city.hub.access.revoke(who.id.removeprefix("token:"))
    await city.change(speed=7)
    assert city.told() == []


async def test_what_a_role_grants_now_is_what_is_told(city: City) -> None:
    who = await city.caller(SPEED)
    await city.subscribe(who)
    role = city.hub.access.roles()[-1].name
    await city.hub.access.put_role(role, "", (Grant(RIGHTS, attributes=("brand",)),))
    await city.change(speed=6)
    await city.change(brand="Audi")
    assert city.told() == [{"id": "urn:car:1", "type": "Car", "brand": "Audi"}]
    await city.hub.access.put_role(role, "", (Grant(frozenset({Right.READ})),))  # without the right to subscribe
    await city.change(brand="Seat")
    assert city.told() == []


async def test_a_new_personal_tag_counts_at_once(city: City) -> None:
    who = await city.caller(Grant(RIGHTS))
    cared = await city.caller(Grant(RIGHTS, purpose="emergency"))
    await city.subscribe(who)
    await city.subscribe(cared, "urn:sub:2")
    await city.hub.access.tag_personal("", "phone")
    await city.change(phone="011")
    await city.change(speed=6)
    assert city.told() == [{"id": "urn:car:1", "type": "Car", "speed": 6, "brand": "Kia"} | _place()]
    assert [each["phone"] for each in city.told("urn:sub:2")] == ["011", "011"]


async def test_what_waits_for_a_receiver_is_dropped_when_the_owner_may_not_see_it_any_more(city: City) -> None:
    """A message that was made and could not be delivered yet is not sent after the token was revoked."""
    who = await city.caller(SPEED)
    await city.subscribe(who, throttling=5)
    await city.change(speed=6)
    await city.change(speed=7)  # held back until the five seconds are over
    assert [each["speed"] for each in city.told()] == [6]
    await city.hub.access.revoke(who.id.removeprefix("token:"))
    await city.change(brand="Audi")
    lane = city.notifier._lanes["", "urn:sub:1"]
    assert lane.waiting == 0
    assert city.told() == []


async def test_moving_into_the_area_and_out_of_it_is_coming_and_going(city: City) -> None:
    who = await city.caller(Grant(RIGHTS, area=SQUARE))
    await city.subscribe(who, notificationTrigger=["entityCreated", "entityDeleted"])
    await city.change(location=point(50, 50))
    gone = city.told()
    assert [(each["id"], "deletedAt" in each, "location" in each) for each in gone] == [("urn:car:1", True, False)]
    await city.change(speed=9)
    assert city.told() == []
    await city.change(location=point(6, 6))
    assert [each["speed"] for each in city.told()] == [9]


async def test_linked_entities_are_those_that_the_owner_may_see(city: City) -> None:
    shop = {"id": "urn:shop:1", "type": "Shop", "name": "Kim", "secret": "x"}
    assert (await city.client.post("/entities", json=shop)).status == 201
    who = await city.caller(Grant(RIGHTS, types=("Car",)), Grant(RIGHTS, types=("Shop",), attributes=("name",)))
    other = await city.caller(Grant(RIGHTS, types=("Car",)))
    joined = {"join": "inline", "joinLevel": 1, "format": "normalized"}
    await city.subscribe(who, notification=joined, watchedAttributes=["owner"])
    await city.subscribe(other, "urn:sub:2", notification=joined, watchedAttributes=["owner"])
    await city.subscribe(who, "urn:sub:3", q='owner{secret}=="x"', watchedAttributes=["owner"])
    await city.change(owner={"type": "Relationship", "object": "urn:shop:1"})
    seen = city.told()[0]["owner"]
    assert set(seen["entity"]) == {"id", "type", "name"}
    assert "entity" not in city.told("urn:sub:2")[0]["owner"]
    assert city.told("urn:sub:3") == []
