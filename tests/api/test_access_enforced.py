# SPDX-License-Identifier: Apache-2.0
"""What a caller with limits may do, over HTTP on a whole hub: reading, writing, and what belongs to whom (issue 3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from madang.app import Hub, open_hub
from madang.base.settings import Settings
from madang.core.caller import acting_for
from madang.core.permits import PERSONAL_KIND
from madang.core.writer import View
from madang.model.access import ANONYMOUS, EVERYTHING, Caller, Grant, Right
from madang.testing.client import Client, ClientResponse
from tests.leak_world import SQUARE, point

READ = frozenset({Right.READ})
CHANGE = frozenset({Right.READ, Right.WRITE, Right.DELETE})
CAR = {"id": "urn:car:1", "type": "Car", "speed": 5, "brand": "Kia", "phone": "010", "location": point(5, 5)}
FAR = {"id": "urn:car:2", "type": "Car", "speed": 7, "brand": "Kia", "location": point(50, 50)}
BUS = {"id": "urn:bus:1", "type": "Bus", "speed": 9, "location": point(5, 5)}
SERIES = [{"type": "Property", "value": 1}]
IN_THE_WAY = "Your grants do not cover all that this would change"


class Callers:
    """The same hub as different callers see it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.everything = Client(hub.application)

    async def ask(self, grants: Grant | list[Grant], method: str, path: str, **options: Any) -> ClientResponse:
        """Send a request as somebody with these grants in the default tenant."""
        listed = grants if isinstance(grants, list) else [grants]
        who = Caller("oidc:kim", "oidc", tuple(replace(grant, tenants=("",)) for grant in listed))
        return await self.ask_as(who, method, path, **options)

    async def ask_as(self, who: Caller, method: str, path: str, **options: Any) -> ClientResponse:
        with acting_for(who):
            return await self.everything.request(method, path, **options)


@pytest.fixture
async def callers(tmp_path: Path) -> AsyncIterator[Callers]:
    settings = Settings(access="open", data=tmp_path, allow_private_addresses=True)
    async with open_hub(settings) as hub:
        made = Callers(hub)

        def tag(view: View) -> None:
            view.put_record(PERSONAL_KIND, "phone", {})

        await hub.core.writer.write("", (), tag)
        for body in (CAR, FAR, BUS):
            assert (await made.everything.post("/entities", json=body)).status == 201
        yield made


def names(response: ClientResponse) -> list[str]:
    assert response.status == 200, response.content
    return [entity["id"] for entity in response.json()]


# ---------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("grant", "seen"),
    [
        (Grant(READ), ["urn:car:1", "urn:car:2", "urn:bus:1"]),
        (Grant(READ, types=("Car",)), ["urn:car:1", "urn:car:2"]),
        (Grant(READ, area=SQUARE), ["urn:car:1", "urn:bus:1"]),
        (Grant(READ, types=("Car",), area=SQUARE), ["urn:car:1"]),
        (Grant(READ, types=("Tram",)), []),
    ],
)
async def test_entities_outside_the_grant_are_not_there(callers: Callers, grant: Grant, seen: list[str]) -> None:
    response = await callers.ask(grant, "GET", "/entities", params={"local": "true", "count": "true"})
    assert names(response) == seen
    assert response.headers["ngsild-results-count"] == str(len(seen))
    for id in ("urn:car:1", "urn:car:2", "urn:bus:1"):
        one = await callers.ask(grant, "GET", f"/entities/{id}")
        assert one.status == (200 if id in seen else 404)
        gone = await callers.ask(grant, "GET", f"/entities/{id}x")
        if id not in seen:
            assert one.json()["detail"] == gone.json()["detail"].replace(f"{id}x", id)


async def test_ungranted_and_personal_attributes_are_absent(callers: Callers) -> None:
    few = await callers.ask(Grant(READ, attributes=("speed",)), "GET", "/entities/urn:car:1?options=simplified")
    assert few.json() == {"id": "urn:car:1", "type": "Car", "speed": 5}
    most = await callers.ask(Grant(READ), "GET", "/entities/urn:car:1?options=simplified")
    assert set(most.json()) == {"id", "type", "speed", "brand", "location"}
    cared = await callers.ask(Grant(READ, purpose="emergency"), "GET", "/entities/urn:car:1?options=simplified")
    assert cared.json()["phone"] == "010"


async def test_without_a_grant_nothing_is_said_of_a_tenant(callers: Callers) -> None:
    """Whether it exists or not, whether the caller has grants elsewhere or not at all."""
    await callers.everything.post("/entities", json=CAR, headers={"NGSILD-Tenant": "there"})
    paths = ("/entities?local=true", "/entities/urn:car:1", "/types", "/attributes", "/entityMaps?local=true")
    more = (
        "/temporal/entities?timerel=after&timeAt=2020-01-01T00:00:00Z&local=true",
        "/subscriptions",
        "/jsonldContexts",
    )
    for who in (Caller("oidc:kim", "oidc", (Grant(READ, tenants=("",)),)), ANONYMOUS):
        for path in (*paths, *more):
            there = await callers.ask_as(who, "GET", path, headers={"NGSILD-Tenant": "there"})
            nowhere = await callers.ask_as(who, "GET", path, headers={"NGSILD-Tenant": "nowhere"})
            assert (there.status, there.content) == (nowhere.status, nowhere.content)
            assert there.status == 403


async def test_what_was_made_ready_for_others_is_not_given_out(callers: Callers) -> None:
    for path in ("/entities/urn:car:1", "/entities?type=Car"):
        whole = await callers.everything.get(path)
        assert b"brand" in whole.content
        again = await callers.ask(Grant(READ, attributes=("speed",)), "GET", path)
        assert b"brand" not in again.content
        assert (await callers.everything.get(path)).content == whole.content


async def test_order_and_pages_are_those_of_visible_values(callers: Callers) -> None:
    both = [Grant(READ, types=("Car",), attributes=("speed",)), Grant(READ, types=("Bus",), attributes=("brand",))]
    ordered = await callers.ask(both, "GET", "/entities?local=true&orderBy=speed;desc")
    assert names(ordered) == ["urn:car:2", "urn:car:1", "urn:bus:1"]  # the speed of the bus is not there
    page = await callers.ask(both, "GET", "/entities?local=true&orderBy=speed;desc&limit=1&offset=1&count=true")
    assert (names(page), page.headers["ngsild-results-count"]) == (["urn:car:1"], "3")
    behind = await callers.ask(both, "GET", "/entities?local=true&orderBy=speed&limit=2&offset=9")
    assert names(behind) == ["urn:bus:1"]


async def test_types_and_attributes_are_those_that_may_be_seen(callers: Callers) -> None:
    limited = [Grant(READ, types=("Car",), attributes=("speed",), area=SQUARE)]
    types = (await callers.ask(limited, "GET", "/types")).json()["typeList"]
    attributes = (await callers.ask(limited, "GET", "/attributes")).json()["attributeList"]
    one = (await callers.ask(limited, "GET", "/types/Car")).json()
    assert (types, attributes, one["entityCount"]) == (["Car"], ["speed"], 1)
    assert (await callers.ask(limited, "GET", "/types/Bus")).status == 404
    assert (await callers.ask(limited, "GET", "/attributes/brand")).status == 404
    assert (await callers.ask(Grant(READ), "GET", "/attributes")).json()["attributeList"] == [
        "brand",
        "location",
        "speed",
    ]


async def test_history_has_only_granted_attributes(callers: Callers) -> None:
    window = "timerel=after&timeAt=2020-01-01T00:00:00Z&timeproperty=modifiedAt"
    grant = Grant(READ, attributes=("speed",), types=("Car",))
    evolution = (await callers.ask(grant, "GET", f"/temporal/entities/urn:car:1?{window}")).json()
    assert set(evolution) == {"id", "type", "speed"}
    found = await callers.ask(grant, "GET", f"/temporal/entities?{window}&type=Car&q=brand==%22Kia%22")
    assert found.json() == []
    assert (await callers.ask(grant, "GET", f"/temporal/entities/urn:bus:1?{window}")).status == 404
    counted = f"{window}&options=aggregatedValues&aggrMethods=totalCount&aggrPeriodDuration=PT0S"
    aggregated = (await callers.ask(grant, "GET", f"/temporal/entities/urn:car:1?{counted}")).json()
    assert set(aggregated) == {"id", "type", "speed"}


async def test_history_of_what_is_gone_is_seen_without_an_area_only(callers: Callers) -> None:
    await callers.everything.delete("/entities/urn:car:1")
    path = "/temporal/entities/urn:car:1?timerel=after&timeAt=2020-01-01T00:00:00Z&timeproperty=modifiedAt"
    assert (await callers.ask(Grant(READ, types=("Car",)), "GET", path)).status == 200
    assert (await callers.ask(Grant(READ, area=SQUARE), "GET", path)).status == 404


# ---------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", "/entities/urn:car:1/attrs", {"speed": 6}, 204),
        ("PATCH", "/entities/urn:car:1/attrs", {"brand": "Audi"}, 403),
        ("PATCH", "/entities/urn:car:1", {"speed": 6}, 204),
        ("PATCH", "/entities/urn:car:1", {"speed": 6, "brand": "Audi"}, 403),
        ("POST", "/entities/urn:car:1/attrs", {"load": 6}, 403),
        ("PUT", "/entities/urn:car:1", {"id": "urn:car:1", "type": "Car", "speed": 1}, 403),
        ("PUT", "/entities/urn:car:1/attrs/speed", {"type": "Property", "value": 3}, 204),
        ("PUT", "/entities/urn:car:1/attrs/brand", {"type": "Property", "value": 3}, 404),
        ("DELETE", "/entities/urn:car:1/attrs/speed", None, 204),
        ("DELETE", "/entities/urn:car:1/attrs/brand", None, 404),
        ("DELETE", "/entities/urn:car:1", None, 403),
        ("DELETE", "/entities/urn:bus:1", None, 404),
        ("PATCH", "/entities/urn:bus:1/attrs", {"speed": 6}, 404),
        ("PATCH", "/entities/urn:nothing:1/attrs", {"speed": 6}, 404),
        ("POST", "/entities", {"id": "urn:car:3", "type": "Car", "speed": 1}, 201),
        ("POST", "/entities", {"id": "urn:car:3", "type": "Car", "brand": "Kia"}, 403),
        ("POST", "/entities", {"id": "urn:bus:3", "type": "Bus", "speed": 1}, 403),
        ("POST", "/entities", {"id": "urn:bus:1", "type": "Car", "speed": 1}, 403),
        ("POST", "/entities", {"id": "urn:car:1", "type": "Car", "speed": 1}, 409),
        ("DELETE", "/entities?type=Car&q=speed%3E0", None, 403),
        ("DELETE", "/entities?type=Car&q=brand==%22Kia%22", None, 204),
        ("POST", "/temporal/entities/urn:car:1/attrs", {"speed": SERIES}, 204),
        ("POST", "/temporal/entities/urn:car:1/attrs", {"brand": [{"type": "Property", "value": 1}]}, 403),
        ("POST", "/temporal/entities/urn:bus:1/attrs", {"speed": SERIES}, 404),
        ("DELETE", "/temporal/entities/urn:car:1/attrs/brand?deleteAll=true", None, 404),
        ("DELETE", "/temporal/entities/urn:car:1/attrs/speed?deleteAll=true", None, 204),
        ("DELETE", "/temporal/entities/urn:car:1", None, 403),
        (
            "POST",
            "/temporal/entities",
            {"id": "urn:bus:1", "type": "Car", "speed": [{"type": "Property", "value": 1}]},
            403,
        ),
    ],
)
async def test_a_write_needs_a_grant_for_all_that_it_touches(
    callers: Callers, method: str, path: str, body: Any, status: int
) -> None:
    before = (await callers.everything.get("/entities?local=true&options=sysAttrs")).content
    grant = Grant(CHANGE, types=("Car",), attributes=("speed",))
    response = await callers.ask(grant, method, path, json=body)
    assert response.status == status, response.content
    if status >= 400:
        assert (await callers.everything.get("/entities?local=true&options=sysAttrs")).content == before


async def test_what_cannot_be_seen_answers_like_what_is_not_there(callers: Callers) -> None:
    grant = Grant(CHANGE, types=("Car",), attributes=("speed",))
    for method, tail, body in (
        ("PATCH", "/attrs", {"speed": 1}),
        ("DELETE", "", None),
        ("PATCH", "", {"speed": 1}),
        ("POST", "/attrs", {"speed": 1}),
        ("DELETE", "/attrs/speed", None),
    ):
        hidden = await callers.ask(grant, method, f"/entities/urn:bus:1{tail}", json=body)
        absent = await callers.ask(grant, method, f"/entities/urn:bus:9{tail}", json=body)
        assert (hidden.status, hidden.json()["detail"]) == (404, absent.json()["detail"].replace("bus:9", "bus:1"))
    taken = await callers.ask(grant, "POST", "/entities", json={"id": "urn:bus:1", "type": "Car", "speed": 1})
    assert (taken.status, taken.json()["detail"]) == (403, IN_THE_WAY)


async def test_a_batch_is_judged_item_by_item(callers: Callers) -> None:
    grant = Grant(CHANGE, types=("Car",), attributes=("speed",))
    bodies = [
        {"id": "urn:car:1", "type": "Car", "speed": 6},
        {"id": "urn:bus:1", "type": "Car", "speed": 6},
        {"id": "urn:car:8", "type": "Car", "speed": 6},
        {"id": "urn:car:9", "type": "Car", "brand": "Kia"},
        {"id": "urn:bus:9", "type": "Bus", "speed": 6},
    ]
    response = await callers.ask(grant, "POST", "/entityOperations/upsert?options=update", json=bodies)
    assert response.status == 207
    answer = response.json()
    assert answer["success"] == ["urn:car:8", "urn:car:1"]
    assert [(each["entityId"], each["error"]["status"]) for each in answer["errors"]] == [
        ("urn:bus:1", 403),
        ("urn:car:9", 403),
        ("urn:bus:9", 403),
    ]
    removed = await callers.ask(grant, "POST", "/entityOperations/delete", json=["urn:car:8", "urn:car:1", "urn:bus:1"])
    assert removed.json()["success"] == ["urn:car:8"]
    assert [each["error"]["status"] for each in removed.json()["errors"]] == [403, 404]
    left = names(await callers.everything.get("/entities?local=true"))
    assert left == ["urn:car:1", "urn:car:2", "urn:bus:1"]


async def test_reading_is_not_writing_and_writing_not_deleting(callers: Callers) -> None:
    change = {"speed": 6}
    assert (await callers.ask(Grant(READ), "PATCH", "/entities/urn:car:1/attrs", json=change)).status == 403
    write = Grant(frozenset({Right.WRITE}))
    assert (await callers.ask(write, "PATCH", "/entities/urn:car:1/attrs", json=change)).status == 204
    assert (await callers.ask(write, "GET", "/entities/urn:car:1")).status == 403
    assert (await callers.ask(write, "DELETE", "/entities/urn:car:2")).status == 403
    delete = Grant(frozenset({Right.DELETE}))
    assert (await callers.ask(delete, "DELETE", "/entities/urn:car:2")).status == 204
    assert (
        await callers.ask(delete, "DELETE", "/entities/urn:car:1")
    ).status == 403  # a personal attribute goes with it


async def test_the_area_counts_before_and_after(callers: Callers) -> None:
    grant = Grant(CHANGE, area=SQUARE, purpose="care")
    moved = {"location": point(6, 6)}
    assert (await callers.ask(grant, "PATCH", "/entities/urn:car:1/attrs", json=moved)).status == 204
    away = {"location": point(60, 6)}
    assert (await callers.ask(grant, "PATCH", "/entities/urn:car:1/attrs", json=away)).status == 403
    assert (await callers.ask(grant, "PATCH", "/entities/urn:car:2/attrs", json=moved)).status == 404
    placed = {"id": "urn:car:5", "type": "Car", "location": point(1, 1)}
    assert (await callers.ask(grant, "POST", "/entities", json=placed)).status == 201
    assert (await callers.ask(grant, "POST", "/entities", json={**placed, "id": "urn:car:6", **away})).status == 403
    assert (await callers.ask(grant, "POST", "/entities", json={"id": "urn:car:6", "type": "Car"})).status == 403


async def test_a_purge_chooses_by_what_may_be_read(callers: Callers) -> None:
    """Else what is gone would tell what the hidden values were."""
    grants = [Grant(READ, attributes=("speed",)), Grant(frozenset({Right.DELETE}), purpose="care")]
    hidden = await callers.ask(grants, "DELETE", "/entities?type=Car&q=brand==%22Kia%22")
    assert hidden.status == 204
    assert names(await callers.everything.get("/entities?type=Car")) == ["urn:car:1", "urn:car:2"]
    chosen = await callers.ask(grants, "DELETE", "/entities?type=Car&q=speed%3E6")
    assert chosen.status == 204
    assert names(await callers.everything.get("/entities?type=Car")) == ["urn:car:1"]
    blind = await callers.ask(grants[1], "DELETE", "/entities?type=Car")
    assert blind.status == 403


async def test_the_log_tells_who_wrote(callers: Callers) -> None:
    await callers.ask(Grant(CHANGE, purpose="care"), "PATCH", "/entities/urn:car:1/attrs", json={"speed": 6})
    rows = await callers.hub.core.store.changes(0, limit=100)
    assert [row.who for row in rows if row.change.attribute == "speed"][-1] == "oidc:kim"
    assert rows[1].who is None


# ---------------------------------------------------------------------- what belongs to whom


def subscription(id: str) -> dict[str, Any]:
    endpoint = {"uri": "http://127.0.0.1:1/", "accept": "application/json"}
    return {"id": id, "type": "Subscription", "entities": [{"type": "Car"}], "notification": {"endpoint": endpoint}}


async def test_a_subscription_is_its_owners(callers: Callers) -> None:
    rights = frozenset({Right.READ, Right.SUBSCRIBE})
    kim, lee = (Caller(f"oidc:{name}", "oidc", (Grant(rights),)) for name in ("kim", "lee"))
    officer = Caller("oidc:officer", "oidc", (EVERYTHING,))
    reader = Caller("oidc:reader", "oidc", (Grant(READ),))
    path = "/subscriptions/urn:sub:1"
    assert (await callers.ask_as(kim, "POST", "/subscriptions", json=subscription("urn:sub:1"))).status == 201
    assert (await callers.ask_as(reader, "POST", "/subscriptions", json=subscription("urn:sub:2"))).status == 403
    for method, body in (("GET", None), ("PATCH", {"description": "x"}), ("DELETE", None)):
        refused = await callers.ask_as(lee, method, path, json=body)
        absent = await callers.ask_as(lee, method, "/subscriptions/urn:sub:9", json=body)
        assert refused.status == 404
        assert refused.content == absent.content.replace(b"urn:sub:9", b"urn:sub:1")
    listed = await callers.ask_as(lee, "GET", "/subscriptions?count=true")
    assert (listed.json(), listed.headers["ngsild-results-count"]) == ([], "0")
    assert (await callers.ask_as(lee, "POST", "/subscriptions", json=subscription("urn:sub:1"))).status == 403
    for who in (kim, officer):
        assert (await callers.ask_as(who, "GET", path)).status == 200
        assert (await callers.ask_as(who, "PATCH", path, json={"description": "x"})).status == 204
    assert b"grants" not in (await callers.ask_as(kim, "GET", path)).content
    assert (await callers.ask_as(officer, "DELETE", path)).status == 204


async def test_contexts_and_indexes_need_their_rights(callers: Callers) -> None:
    body = {"@context": {"lanes": "https://example.org/lanes"}}
    context = Grant(frozenset({Right.CONTEXTS}))
    made = await callers.ask(context, "POST", "/jsonldContexts", json=body)
    assert made.status == 201
    assert (await callers.ask(Grant(CHANGE), "POST", "/jsonldContexts", json=body)).status == 403
    assert (await callers.ask(Grant(CHANGE), "GET", "/jsonldContexts")).status == 403
    assert (await callers.ask_as(ANONYMOUS, "GET", made.headers["location"])).json() == body
    assert (await callers.ask_as(ANONYMOUS, "GET", made.headers["location"] + "?details=true")).status == 403
    assert (await callers.ask(Grant(CHANGE), "DELETE", made.headers["location"])).status == 403
    assert (await callers.ask(context, "DELETE", made.headers["location"])).status == 204
    path = "/madang/v1/indexes"
    root = Client(callers.hub.application, root="")
    for grant, status in ((Grant(CHANGE), 403), (EVERYTHING, 204)):
        with acting_for(Caller("oidc:kim", "oidc", (grant,))):
            assert (await root.post(path, json={"attribute": "speed"})).status == status
            assert (await root.get(path)).status == (200 if status == 204 else 403)


async def test_an_entity_map_is_there_for_who_made_it_with_these_grants(callers: Callers) -> None:
    kim = Caller("oidc:kim", "oidc", (Grant(READ, types=("Car",)),))
    lee = Caller("oidc:lee", "oidc", (Grant(READ),))
    made = await callers.ask_as(kim, "GET", "/entityMaps?local=true")
    assert list(made.json()["entityMap"]) == ["urn:car:1", "urn:car:2"]
    location = made.headers["ngsild-entitymap"]
    assert (await callers.ask_as(kim, "GET", location)).status == 200
    assert (await callers.ask_as(lee, "GET", location)).status == 404
    assert (await callers.ask_as(lee, "DELETE", location)).status == 404
    changed = Caller(kim.id, kim.kind, (Grant(READ, types=("Bus",)),))
    assert (await callers.ask_as(changed, "GET", location)).status == 404
    other = await callers.ask_as(lee, "GET", "/entities?local=true", headers={"NGSILD-EntityMap": location})
    assert other.status == 201  # as for a map that is gone: a new one
    assert (await callers.ask_as(kim, "DELETE", location)).status == 204


async def test_a_snapshot_holds_what_its_owner_may_read(callers: Callers) -> None:
    rights = frozenset({Right.READ, Right.SNAPSHOT})
    kim = Caller("oidc:kim", "oidc", (Grant(rights, types=("Car",), attributes=("speed", "brand"), area=SQUARE),))
    lee = Caller("oidc:lee", "oidc", (Grant(rights),))
    body = {"type": "Snapshot", "snapshotQueries": [{"type": "Query", "entities": [{"type": "*"}]}]}
    assert (await callers.ask(Grant(READ), "POST", "/snapshots", json=body)).status == 403
    made = await callers.ask_as(kim, "POST", "/snapshots", json=body)
    assert made.status == 201
    await callers.hub.core.snapshots.settle()
    location = made.headers["location"]
    status = (await callers.ask_as(kim, "GET", location)).json()
    assert (status["snapshotStatus"], "owner" in status) == ("success", False)
    assert (await callers.ask_as(lee, "GET", location)).status == 404
    on = {"NGSILD-Snapshot": status["id"]}
    shown = await callers.ask_as(kim, "GET", "/entities?local=true&options=simplified", headers=on)
    assert shown.json() == [{"id": "urn:car:1", "type": "Car", "speed": 5, "brand": "Kia"}]
    assert (await callers.ask_as(lee, "GET", "/entities?local=true", headers=on)).status == 404
    fewer = Caller(kim.id, kim.kind, (Grant(rights, types=("Car",), attributes=("speed",)),))
    less = await callers.ask_as(fewer, "GET", "/entities?local=true&options=simplified", headers=on)
    assert less.json() == [{"id": "urn:car:1", "type": "Car", "speed": 5}]
    assert (await callers.ask_as(lee, "DELETE", location)).status == 404
    assert (await callers.ask_as(kim, "DELETE", location)).status == 204
