# SPDX-License-Identifier: Apache-2.0
"""Entity maps: fixed candidates, checked again for every page (clauses 5.14, 5.5.9.3, 5.5.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from madang.base.clock import FixedClock
from madang.base.errors import NotFound, TooManyResults
from madang.base.limits import ENTITY_MAP_LIFETIME_S_MAX
from madang.core.consumption import Consumption
from madang.core.entity_maps import EntityMaps
from madang.model.jsonld.context import CORE
from madang.model.query import q
from madang.model.query.model import EntityQuery, EntitySelector
from madang.testing.memory import Commits, Memory, entity
from tests.context_fakes import Records

if TYPE_CHECKING:
    from madang.core.writer import Writer
    from madang.store.port import Store

FAST = EntityQuery(q=q.parse("speed>10", CORE))


class Maps:
    is_shared = False

    def __init__(self, entities_max: int = 1000) -> None:
        self.clock = FixedClock()
        store = Memory()
        self.writer = Commits(store)
        self.records = Records(self.clock)
        shared = (cast("Store", self.records), cast("Writer", self.records)) if self.is_shared else None
        self.maps = EntityMaps(
            self.clock, Consumption(store, self.clock, self.writer), entities_max=entities_max, shared=shared
        )
        for number in range(5):
            self.writer.put(entity(f"urn:{number}", speed=20))


@pytest.fixture(autouse=True, params=["in memory", "in the store"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is about both places where maps may be."""
    monkeypatch.setattr(Maps, "is_shared", request.param == "in the store")


def ids(documents: list[dict[str, object]]) -> list[object]:
    return [document["id"] for document in documents]


async def test_a_map_holds_all_matches_whatever_the_page() -> None:
    hub = Maps()
    made = await hub.maps.create("", EntityQuery(limit=2, offset=1))
    assert made.as_json()["entityMap"] == {f"urn:{number}": ["@none"] for number in range(5)}
    assert await hub.maps.retrieve("", made.id) is made
    assert await hub.maps.find("other", made.id) is None


async def test_entities_that_come_later_are_no_candidates_and_those_that_no_longer_fit_leave() -> None:
    hub = Maps()
    made = await hub.maps.create("", FAST)
    hub.writer.put(entity("urn:new", speed=99))
    hub.writer.delete("urn:0")
    hub.writer.put(entity("urn:2", speed=1))
    page = await hub.maps.page("", made, EntityQuery(q=FAST.q, limit=2, count=True))
    assert (ids(page.documents), page.total, page.more) == (["urn:1", "urn:3"], 3, True)
    assert list(made.ids) == ["urn:1", "urn:3", "urn:4"]
    hub.writer.put(entity("urn:2", speed=99))
    page = await hub.maps.page("", made, EntityQuery(q=FAST.q, offset=2, limit=2))
    assert (ids(page.documents), page.total, page.more) == (["urn:4"], None, False)


async def test_a_request_for_some_ids_leaves_the_others_in_the_map() -> None:
    hub = Maps()
    made = await hub.maps.create("", FAST)
    narrow = EntityQuery(selectors=(EntitySelector(ids=("urn:3",)),), q=FAST.q)
    assert ids((await hub.maps.page("", made, narrow)).documents) == ["urn:3"]
    assert len(made.ids) == 5


async def test_a_map_ends_with_its_lifetime() -> None:
    hub = Maps()
    made = await hub.maps.create("", FAST, lifetime_s=10)
    hub.clock.advance(10)
    assert await hub.maps.find("", made.id) is None
    with pytest.raises(NotFound):
        await hub.maps.retrieve("", made.id)


async def test_lifetimes_are_bounded() -> None:
    hub = Maps()
    latest_us = hub.clock.now_us() + ENTITY_MAP_LIFETIME_S_MAX * 1_000_000
    made = await hub.maps.create("", FAST, lifetime_s=10**12)
    assert made.expires_us == latest_us
    await hub.maps.update("", made.id, expires_us=latest_us + 1)
    assert made.expires_us == latest_us
    await hub.maps.update("", made.id, expires_us=hub.clock.now_us() - 1)
    assert await hub.maps.find("", made.id) is None


async def test_a_deleted_map_is_gone() -> None:
    hub = Maps()
    made = await hub.maps.create("", FAST)
    await hub.maps.delete("", made.id)
    with pytest.raises(NotFound):
        await hub.maps.delete("", made.id)


async def test_the_maps_together_are_bounded() -> None:
    hub = Maps(entities_max=34)
    first = await hub.maps.create("", FAST, lifetime_s=100)
    second = await hub.maps.create("", FAST, lifetime_s=50)
    third = await hub.maps.create("", FAST, lifetime_s=200)
    assert await hub.maps.find("", second.id) is None
    assert [await hub.maps.find("", made.id) for made in (first, third)] == [first, third]
    hub.maps._entities_max = 4
    with pytest.raises(TooManyResults):
        await hub.maps.create("", FAST)
