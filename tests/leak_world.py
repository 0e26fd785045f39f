# SPDX-License-Identifier: Apache-2.0
"""Pairs of hubs that look the same to a caller with limits, while everything he may not see differs.

What a profile hides is written down here in plain words, apart from the code that hides it. Whatever is hidden is drawn
by chance for each hub: whether it is there, what it says, when it was written, how often, and whether it is gone again.
Texts among it hold a canary, which must never come out.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from madang.app import Hub
from madang.base.clock import FixedClock
from madang.core.permits import PERSONAL_KIND
from madang.core.writer import View
from madang.model.access import Caller, Grant, Right
from madang.testing.client import Client

CANARY = "canary"
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}
PERSONAL = ("driver", "phone")
START_US = 1_700_000_000_000_000
ALL_RIGHTS = frozenset({Right.READ, Right.WRITE, Right.DELETE, Right.SUBSCRIBE})

CARS = tuple(f"urn:car:{number}" for number in range(1, 7))
BUSES = tuple(f"urn:bus:{number}" for number in range(1, 4))
SHOPS = tuple(f"urn:shop:{number}" for number in range(1, 3))
IDS = (*CARS, *BUSES, *SHOPS)
INSIDE = {"urn:car:1", "urn:car:2", "urn:car:3", "urn:bus:1"}
ATTRIBUTES = ("speed", "location", "name", "owner", "note", "driver", "phone", "secret", "secretPlace", "extra")
PLAIN = ("speed", "location", "name", "owner", "note")


@dataclass(frozen=True)
class Profile:
    """A caller, and in plain words what he may see."""

    name: str
    grants: tuple[Grant, ...]
    entities: frozenset[str]
    attributes: Callable[[str], frozenset[str]]  # by entity id
    sees_note_phone: bool = False

    @property
    def caller(self) -> Caller:
        return Caller(f"oidc:{self.name}", "oidc", tuple(replace(grant, tenants=("",)) for grant in self.grants))


def _all(_: str) -> frozenset[str]:
    return frozenset(ATTRIBUTES)


def _without_personal(_: str) -> frozenset[str]:
    return frozenset(ATTRIBUTES) - set(PERSONAL)


def _plain(_: str) -> frozenset[str]:
    return frozenset(PLAIN)


def _mixed(id: str) -> frozenset[str]:
    return frozenset({"name"} if id in SHOPS else {"speed", "location", "name", "owner"})


PROFILES = (
    Profile("types", (Grant(ALL_RIGHTS, types=("Car",), purpose="care"),), frozenset(CARS), _all, True),
    Profile("attributes", (Grant(ALL_RIGHTS, attributes=PLAIN),), frozenset(IDS), _plain),
    Profile("area", (Grant(ALL_RIGHTS, area=SQUARE),), frozenset(INSIDE), _without_personal),
    Profile(
        "mixed",
        (
            Grant(ALL_RIGHTS, types=("Car",), attributes=("speed", "location", "name", "owner"), area=SQUARE),
            Grant(ALL_RIGHTS, types=("Shop",), attributes=("name",)),
        ),
        frozenset({*(id for id in INSIDE if id in CARS), *SHOPS}),
        _mixed,
    ),
    Profile("personal", (Grant(ALL_RIGHTS),), frozenset(IDS), _without_personal),
)


def type_of(id: str) -> str:
    return {"car": "Car", "bus": "Bus", "shop": "Shop"}[id.split(":")[1]]


def point(longitude: float, latitude: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [longitude, latitude]}}


@dataclass
class World:
    """Writes one hub of a pair: `same` draws what both have in common, `own` what is this hub's alone."""

    hub: Hub
    clock: FixedClock
    profile: Profile
    same: random.Random
    own: random.Random
    drained: Callable[[], Awaitable[None]]  # returns when every subscriber was told
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.hub.application)

    async def build(self) -> None:
        def tag(view: View) -> None:
            for name in PERSONAL:
                view.put_record(PERSONAL_KIND, name, {})

        await self.hub.core.writer.write("", (), tag)
        for step, id in enumerate(IDS):
            self.at(step)
            await self._create(id)
            await self._noise()
        for step in range(30):
            self.at(100 + step * 10)
            await self.visible_change()
            self.clock.current_us += self.own.randrange(9_000_000)
            await self._noise()
        self.at(1000)
        if self.own.random() < 0.5:
            elsewhere = {"id": "urn:car:1", "type": "Car", "secret": self.text(), "speed": 3}
            assert (
                await self.client.post("/entities", json=elsewhere, headers={"NGSILD-Tenant": "other"})
            ).status < 300

    def at(self, second: float) -> None:
        """Set the clock: what both hubs have in common happens at the same moments."""
        self.clock.current_us = START_US + round(second * 1_000_000)

    def text(self) -> str:
        return f"{CANARY}{self.own.randrange(1 << 40):x}"

    def shows(self, id: str, name: str) -> bool:
        return id in self.profile.entities and name in self.profile.attributes(id)

    async def _create(self, id: str) -> None:
        shown = id in self.profile.entities
        chance = self.same if shown else self.own
        body: dict[str, Any] = {"id": id, "type": type_of(id)}
        if shown and chance.random() < 0.5:
            body["scope"] = chance.choice(("/a", "/a/b", "/c"))
        if not shown and chance.random() < 0.3:
            return
        for name in ATTRIBUTES:
            mine = self.same if self.shows(id, name) else self.own
            wanted = name == "location" or mine.random() < 0.75
            value = self.value(id, name, mine)
            if wanted and value is not None:
                body[name] = value
        response = await self.client.post("/entities", json=body)
        assert response.status == 201, response.content

    def value(self, id: str, name: str, chance: random.Random) -> Any:
        """Draw a value; a hidden text holds the canary."""
        word = self.text() if chance is self.own else f"word{chance.randrange(6)}"
        if name == "location":
            return self._place(id, self.same if self.shows(id, name) else self.own)
        if name == "secretPlace":
            return point(chance.randrange(-50, 50), chance.randrange(-50, 50))
        if name == "owner":
            return {"type": "Relationship", "object": chance.choice([*SHOPS, *CARS, *BUSES])}
        if name == "note":
            note: dict[str, Any] = {"type": "Property", "value": word}
            if chance is self.own or (self.profile.sees_note_phone and chance.random() < 0.5):
                note["phone"] = {"type": "Property", "value": word}
            elif not self.profile.sees_note_phone and self.own.random() < 0.5:
                note["phone"] = {"type": "Property", "value": self.text()}
            return note
        if name in ("speed", "secret") and chance.random() < 0.7:
            return chance.randrange(100)
        if name == "extra" and chance.random() < 0.5:
            return [{"type": "Property", "value": word}, {"type": "Property", "value": word, "datasetId": "urn:set:1"}]
        return word

    def _place(self, id: str, chance: random.Random) -> Any:
        """Where it is stands fast as far as areas go; who may not see the place cannot tell where inside."""
        if id in SHOPS:
            return None
        low, high = (1, 9) if id in INSIDE else (20, 60)
        return point(chance.randrange(low, high), chance.randrange(low, high))

    async def visible_change(self) -> str | None:
        """Write something that the caller sees, the same in both hubs."""
        id = self.same.choice(sorted(self.profile.entities))
        name = self.same.choice(sorted(self.profile.attributes(id) - {"location", "note", "extra", "owner"}))
        value = self.value(id, name, self.same)
        if name == "speed":
            moment = f"2026-01-{self.same.randrange(1, 29):02}T00:00:00Z"
            value = {"type": "Property", "value": self.same.randrange(100), "observedAt": moment}
        action = self.same.random()
        if action < 0.1:
            await self.client.delete(f"/entities/{id}/attrs/{name}")
        else:
            await self.client.post(f"/entities/{id}/attrs", json={name: value})
        return id

    async def _noise(self) -> None:
        for _ in range(self.own.randrange(4)):
            await self.hidden_change()

    async def hidden_change(self) -> None:
        """Write something that the caller does not see, in this hub alone."""
        id = self.own.choice(IDS)
        hidden = sorted(set(ATTRIBUTES) - (self.profile.attributes(id) if id in self.profile.entities else set()))
        if id not in self.profile.entities and self.own.random() < 0.2:
            await self.client.delete(f"/entities/{id}")
            return
        if not hidden:
            return
        name = self.own.choice(hidden)
        if self.own.random() < 0.2 and name != "location":
            await self.client.delete(f"/entities/{id}/attrs/{name}")
            return
        value = self.value(id, name, self.own)
        if value is not None:
            await self.client.post(f"/entities/{id}/attrs", json={name: value})
