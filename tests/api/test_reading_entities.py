# SPDX-License-Identifier: Apache-2.0
"""Reading entities over HTTP: retrieval, queries, pages, representations, joins (clauses 5.7.1 and 5.7.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from madang.app import open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.base.times import format_date_time
from madang.testing.client import Client, ClientResponse

CORE_URL = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Client]:
    async with open_hub(Settings(access="open", data=tmp_path), clock=clock) as hub:
        yield Client(hub.application)


async def create(client: Client, id: str, type: Any = "Car", /, *, tenant: str | None = None, **members: Any) -> None:
    """Create an entity; values that are no objects or lists become Properties."""
    body = {"id": id, "type": type}
    for name, value in members.items():
        is_whole = isinstance(value, (dict, list)) or name in ("scope", "expiresAt")
        body[name] = value if is_whole else {"type": "Property", "value": value}
    headers = {} if tenant is None else {"NGSILD-Tenant": tenant}
    response = await client.post("/entities", json=body, headers=headers)
    assert response.status == 201, response.content


def to(*ids: str, **more: Any) -> dict[str, Any]:
    return {"type": "Relationship", "object": ids[0] if len(ids) == 1 else list(ids), **more}


def ids(response: ClientResponse) -> list[str]:
    assert response.status in (200, 201), response.content
    return [entity["id"] for entity in response.json()]


def problem(response: ClientResponse) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    return response.status, response.json()["type"].rpartition("/")[2]


# ---------------------------------------------------------------- one entity


async def test_retrieve(client: Client) -> None:
    await create(client, "urn:car:1", speed=5)
    response = await client.get("/entities/urn:car:1")
    assert response.status == 200
    assert response.json() == {"id": "urn:car:1", "type": "Car", "speed": {"type": "Property", "value": 5}}
    assert response.headers["content-type"] == "application/json"
    assert CORE_URL in response.headers["link"]


async def test_the_context_is_in_the_body_of_ld_json(client: Client) -> None:
    await create(client, "urn:car:1", speed=5)
    for path in ("/entities/urn:car:1", "/entities/urn:car:1?options=keyValues"):
        response = await client.get(path, headers={"Accept": "application/ld+json"})
        assert response.json()["@context"] is not None
        assert "link" not in response.headers
    listed = await client.get("/entities?type=Car", headers={"Accept": "application/ld+json"})
    assert all("@context" in entity for entity in listed.json())


async def test_what_is_not_there(client: Client) -> None:
    await create(client, "urn:car:1", speed=5)
    assert problem(await client.get("/entities/urn:car:2")) == (404, "ResourceNotFound")
    assert problem(await client.get("/entities/urn:car:1?type=Bus")) == (404, "ResourceNotFound")
    assert problem(await client.get("/entities/urn:car:1?attrs=size")) == (404, "ResourceNotFound")
    assert problem(await client.get("/entities/urn:car:1?pick=size")) == (404, "ResourceNotFound")
    assert problem(await client.get("/entities/urn:car:1?omit=id,type,speed")) == (404, "ResourceNotFound")
    assert problem(await client.get("/entities/urn:car:1", headers={"NGSILD-Tenant": "x"})) == (
        404,
        "NonexistentTenant",
    )
    assert (await client.get("/entities/urn:car:1?type=Car,Bus&attrs=size,speed")).status == 200


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/entities/not a uri", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?foo=1", {}, (400, "InvalidRequest")),
        ("/entities/urn:car:1?pick=a&pick=b", {}, (400, "InvalidRequest")),
        ("/entities/urn:car:1?options=foo", {}, (400, "InvalidRequest")),
        ("/entities/urn:car:1?geometryProperty=location", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?pick=owner{name}", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?pick=owner{home{name}}&join=inline", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?pick=a&attrs=a", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?join=deep", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?join=inline&joinLevel=0", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?join=inline&joinLevel=99999999999999999999", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?datasetId=no uri", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1?entityMapLifetime=soon", {}, (400, "BadRequestData")),
        ("/entities/urn:car:1", {"Accept": "text/html"}, (406, "InvalidRequest")),
    ],
)
async def test_requests_that_cannot_be_answered(
    client: Client, path: str, headers: Mapping[str, str], expected: tuple[int, str]
) -> None:
    await create(client, "urn:car:1", a=1, owner=to("urn:kim"))
    for _ in range(2):  # the second time must not come from anything kept
        assert problem(await client.get(path, headers=headers)) == expected


async def test_projections_and_formats(client: Client) -> None:
    await create(client, "urn:car:1", a=1, b={"type": "Property", "value": 2, "unitCode": "MTR"}, scope="/x")
    at = "/entities/urn:car:1"
    assert (await client.get(f"{at}?pick=id,a")).json() == {"id": "urn:car:1", "a": {"type": "Property", "value": 1}}
    assert set((await client.get(f"{at}?omit=scope,a")).json()) == {"id", "type", "b"}
    assert set((await client.get(f"{at}?attrs=a")).json()) == {"id", "type", "scope", "a"}
    assert (await client.get(f"{at}?format=simplified&pick=a,b")).json() == {"a": 1, "b": 2}
    assert (await client.get(f"{at}?options=concise&pick=a,b")).json() == {"a": 1, "b": {"value": 2, "unitCode": "MTR"}}
    assert (await client.get(f"{at}?options=keyValues&format=normalized&pick=a")).json()["a"]["value"] == 1
    timed = (await client.get(f"{at}?options=sysAttrs")).json()
    assert {"createdAt", "modifiedAt"} <= set(timed) & set(timed["a"])


async def test_instances_by_dataset(client: Client) -> None:
    two = [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:d"}]
    await create(client, "urn:car:1", a=two, b=3)
    at = "/entities/urn:car:1?format=simplified"
    assert (await client.get(f"{at}&datasetId=urn:d")).json() == {"id": "urn:car:1", "type": "Car", "a": 2}
    assert (await client.get(f"{at}&datasetId=@none&pick=a,b")).json() == {"a": 1, "b": 3}
    assert (await client.get(f"{at}&datasetId=@none,urn:d&pick=a")).json() == {
        "a": {"dataset": {"@none": 1, "urn:d": 2}}
    }


async def test_geojson(client: Client) -> None:
    point = {"type": "Point", "coordinates": [127.4, 36.3]}
    await create(client, "urn:car:1", location={"type": "GeoProperty", "value": point}, a=1)
    accept = {"Accept": "application/geo+json"}
    one = await client.get("/entities/urn:car:1?options=keyValues", headers=accept)
    assert one.headers["content-type"] == "application/geo+json"
    feature = one.json()
    assert feature.pop("@context") is not None
    assert feature == {
        "id": "urn:car:1",
        "type": "Feature",
        "geometry": point,
        "properties": {"type": "Car", "location": point, "a": 1},
    }
    many = (await client.get("/entities?type=Car&geometryProperty=a", headers=accept)).json()
    assert many["type"] == "FeatureCollection"
    assert many["features"][0]["geometry"] is None
    assert "@context" in many
    assert "@context" not in many["features"][0]
    bare = await client.get("/entities?type=Car", headers={**accept, "Prefer": "body=json"})
    assert "@context" not in bare.json()
    assert CORE_URL in bare.headers["link"]
    picked = (await client.get("/entities/urn:car:1?pick=a", headers=accept)).json()
    assert picked["id"] == "urn:car:1"


async def test_languages(client: Client) -> None:
    await create(client, "urn:car:1", name={"type": "LanguageProperty", "languageMap": {"ko": "차", "en": "car"}})
    response = await client.get("/entities/urn:car:1?lang=fr,ko;q=0.5")
    assert response.json()["name"] == {"type": "Property", "value": "차", "lang": "ko"}


# ---------------------------------------------------------------- never stale


async def test_an_acknowledged_write_is_seen_by_every_kind_of_read(client: Client) -> None:
    await create(client, "urn:car:1", speed=5)
    paths = ("/entities/urn:car:1", "/entities?type=Car", "/entities?q=speed>0", "/entities?local=true")

    async def speeds() -> list[Any]:
        bodies = [(await client.get(path)).json() for path in paths]
        return [body["speed"]["value"] if isinstance(body, dict) else body[0]["speed"]["value"] for body in bodies]

    assert await speeds() == [5, 5, 5, 5]
    assert await speeds() == [5, 5, 5, 5]
    change = {"speed": {"type": "Property", "value": 6}}
    assert (await client.patch("/entities/urn:car:1/attrs", json=change)).status == 204
    assert await speeds() == [6, 6, 6, 6]
    assert (await client.delete("/entities/urn:car:1")).status == 204
    assert (await client.get("/entities/urn:car:1")).status == 404
    for path in paths[1:]:
        assert (await client.get(path)).json() == []


async def test_a_new_entity_of_the_type_is_listed_at_once(client: Client) -> None:
    await create(client, "urn:car:1")
    assert ids(await client.get("/entities?type=Car")) == ["urn:car:1"]
    await create(client, "urn:bus:1", "Bus")
    await create(client, "urn:car:2")
    assert ids(await client.get("/entities?type=Car")) == ["urn:car:1", "urn:car:2"]
    assert ids(await client.get("/entities?type=Car,Bus")) == ["urn:car:1", "urn:bus:1", "urn:car:2"]


async def test_tenants_do_not_see_each_other(client: Client) -> None:
    await create(client, "urn:car:1", a=1)
    await create(client, "urn:car:1", a=2, tenant="two")
    for headers, value in (({}, 1), ({"NGSILD-Tenant": "two"}, 2)) * 2:
        response = await client.get("/entities/urn:car:1?options=keyValues", headers=headers)
        assert response.json()["a"] == value
        assert response.headers.get("ngsild-tenant") == headers.get("NGSILD-Tenant")


async def test_expired_things_are_not_served(client: Client, clock: FixedClock) -> None:
    soon = format_date_time(clock.now_us() + 60_000_000)
    await create(client, "urn:car:1", a=1, b={"type": "Property", "value": 2, "expiresAt": soon})
    await create(client, "urn:car:2", a=1, expiresAt=soon)
    assert ids(await client.get("/entities?type=Car&count=true")) == ["urn:car:1", "urn:car:2"]
    assert "b" in (await client.get("/entities/urn:car:1")).json()
    clock.advance(61)
    assert "b" not in (await client.get("/entities/urn:car:1")).json()
    assert (await client.get("/entities/urn:car:2")).status == 404
    response = await client.get("/entities?type=Car&count=true")
    assert ids(response) == ["urn:car:1"]
    assert response.headers["ngsild-results-count"] == "1"


# ---------------------------------------------------------------- many entities


async def test_a_query_that_is_too_wide_is_refused(client: Client) -> None:
    for query in ("", "?id=urn:car:1", "?attrs=createdAt", '?q=modifiedAt>"2020-01-01T00:00:00Z"'):
        assert problem(await client.get(f"/entities{query}")) == (400, "BadRequestData")
    for query in ("?type=*", "?local=true", "?attrs=a", "?q=a", "?type=Car&id=urn:car:1"):
        assert (await client.get(f"/entities{query}")).status == 200
    assert problem(await client.get("/entities?type=*&local=false")) == (400, "BadRequestData")


async def test_filters(client: Client) -> None:
    await create(client, "urn:car:1", a=1, scope="/x/y")
    await create(client, "urn:car:2", a=2, b=1)
    await create(client, "urn:bus:1", "Bus", a=3, location={"type": "GeoProperty", "value": _point(1, 1)})
    for query, expected in (
        ("type=Car&id=urn:car:2,urn:bus:1", ["urn:car:2"]),
        ("type=*&idPattern=.*:1$", ["urn:car:1", "urn:bus:1"]),
        ("attrs=b", ["urn:car:2"]),
        ("q=a>1", ["urn:car:2", "urn:bus:1"]),
        ("type=Car&scopeQ=/x/%23", ["urn:car:1"]),
        ("type=Car&pick=b", []),
        ("georel=near;maxDistance==10&geometry=Point&coordinates=[1,1]", ["urn:bus:1"]),
        ("type=Car,Bus&orderBy=a;desc", ["urn:bus:1", "urn:car:2", "urn:car:1"]),
    ):
        if query == "type=Car&pick=b":
            found = await client.get(f"/entities?{query}")
            assert found.json() == [{"b": {"type": "Property", "value": 1}}]
        else:
            assert ids(await client.get(f"/entities?{query}")) == expected, query


def _point(longitude: float, latitude: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [longitude, latitude]}


async def test_pages_counts_and_links(client: Client) -> None:
    for number in range(5):
        await create(client, f"urn:car:{number}")
    first = await client.get("/entities?type=Car&limit=2&count=true")
    assert ids(first) == ["urn:car:0", "urn:car:1"]
    assert first.headers["ngsild-results-count"] == "5"
    assert (
        '</ngsi-ld/v1/entities?count=true&limit=2&offset=2&type=Car>; rel="next"; type="application/json"'
        in (first.headers["link"])
    )
    assert 'rel="prev"' not in first.headers["link"]
    last = await client.get("/entities?type=Car&limit=2&offset=4")
    assert ids(last) == ["urn:car:4"]
    assert 'rel="next"' not in last.headers["link"]
    assert "offset=2" in last.headers["link"]
    # Clause 6.3.10: behind the end, the last element.
    assert ids(await client.get("/entities?type=Car&offset=99")) == ["urn:car:4"]
    none = await client.get("/entities?type=Car&limit=0&count=true")
    assert (none.json(), none.headers["ngsild-results-count"]) == ([], "5")
    assert problem(await client.get("/entities?type=Car&limit=0")) == (400, "BadRequestData")
    assert problem(await client.get("/entities?type=Car&limit=-1")) == (400, "BadRequestData")
    assert problem(await client.get("/entities?type=Car&limit=1000000")) == (403, "TooManyResults")


async def test_query_by_body(client: Client) -> None:
    await create(client, "urn:car:1", a=1, b=1)
    await create(client, "urn:car:2", a=2)
    await create(client, "urn:bus:1", "Bus", a=2)

    async def query(path: str = "/entityOperations/query", **members: Any) -> ClientResponse:
        return await client.post(path, json={"type": "Query", **members})

    assert ids(await query(entities=[{"type": "Car"}])) == ["urn:car:1", "urn:car:2"]
    assert ids(await query(entities=[{"type": "Car"}, {"type": "Bus", "id": "urn:bus:1"}], q="a==2")) == [
        "urn:car:2",
        "urn:bus:1",
    ]
    paged = await query("/entityOperations/query?limit=1&count=true&options=keyValues", attrs=["a"])
    assert paged.json() == [{"id": "urn:car:1", "type": "Car", "a": 1}]
    assert paged.headers["ngsild-results-count"] == "3"
    ordered = await query("/entityOperations/query?local=true", ordering={"orderBy": ["a;desc", "id"]})
    assert ids(ordered) == ["urn:bus:1", "urn:car:2", "urn:car:1"]
    wrong: tuple[dict[str, Any], ...] = (
        {},
        {"entities": []},
        {"entities": [{"type": "Car"}], "q": 1},
        {"entities": [{"type": "Car"}], "geometryProperty": "location"},
        {"entities": [{"type": "Car"}], "entityMapLifetime": "x"},
        {"entities": [{"id": "urn:car:1"}]},
    )
    for members in wrong:
        assert problem(await query(**members)) == (400, "BadRequestData"), members
    assert problem(await client.post("/entityOperations/query", content=b"[", headers=_JSON)) == (400, "InvalidRequest")
    assert problem(await client.post("/entityOperations/query", json=["x"])) == (400, "BadRequestData")


_JSON = {"content-type": "application/json"}


# ---------------------------------------------------------------- linked entities


class TestJoins:
    @pytest.fixture(autouse=True)
    async def entities(self, client: Client) -> None:
        await create(client, "urn:house:1", "House", owner=to("urn:kim"), visitors=to("urn:kim", "urn:gone"))
        await create(client, "urn:kim", "Person", name="Kim", lives=to("urn:city"))
        await create(client, "urn:city", "City", name="Daejeon", mayor=to("urn:kim"))

    async def test_inline(self, client: Client) -> None:
        house = (await client.get("/entities/urn:house:1?join=inline&joinLevel=2")).json()
        kim = house["owner"]["entity"]
        assert (kim["id"], kim["lives"]["entity"]["id"]) == ("urn:kim", "urn:city")
        assert "entity" not in kim["lives"]["entity"]["mayor"]
        assert [entity["id"] for entity in house["visitors"]["entity"]] == ["urn:kim"]

    async def test_inline_simplified(self, client: Client) -> None:
        house = (await client.get("/entities/urn:house:1?join=inline&format=simplified&pick=owner")).json()
        assert house == {"owner": {"id": "urn:kim", "type": "Person", "name": "Kim", "lives": "urn:city"}}

    async def test_flat(self, client: Client) -> None:
        assert ids(await client.get("/entities/urn:house:1?join=flat")) == ["urn:house:1", "urn:kim"]
        assert ids(await client.get("/entities?type=House&join=flat&joinLevel=2")) == [
            "urn:house:1",
            "urn:kim",
            "urn:city",
        ]
        collection = await client.get("/entities/urn:house:1?join=flat", headers={"Accept": "application/geo+json"})
        assert [feature["id"] for feature in collection.json()["features"]] == ["urn:house:1", "urn:kim"]

    async def test_what_was_encountered_is_left_out(self, client: Client) -> None:
        house = (await client.get("/entities/urn:house:1?join=inline&joinLevel=1&containedBy=urn:kim")).json()
        assert "entity" not in house["owner"]

    async def test_a_change_of_the_linked_entity_is_seen(self, client: Client) -> None:
        path = "/entities/urn:house:1?join=inline&format=simplified"
        assert (await client.get(path)).json()["owner"]["name"] == "Kim"
        await client.patch("/entities/urn:kim/attrs", json={"name": {"type": "Property", "value": "Lee"}})
        assert (await client.get(path)).json()["owner"]["name"] == "Lee"

    async def test_queries_about_linked_entities(self, client: Client) -> None:
        path = '/entities?type=House&q=owner{name}=="Kim"&join=inline'
        assert ids(await client.get(path)) == ["urn:house:1"]
        assert problem(await client.get(path.removesuffix("&join=inline"))) == (400, "BadRequestData")
        await client.patch("/entities/urn:kim/attrs", json={"name": {"type": "Property", "value": "Lee"}})
        assert ids(await client.get(path)) == []
