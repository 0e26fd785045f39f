# SPDX-License-Identifier: Apache-2.0
"""Writing entities and attributes over HTTP: codes, headers, bodies and what is there afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from madang.app import open_hub
from madang.base.settings import Settings
from madang.testing.client import Client, ClientResponse
from madang.wire.application import Application

NULL = "urn:ngsi-ld:null"
ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"
VOCABULARY = "https://uri.etsi.org/ngsi-ld/default-context/"
ID = "urn:ngsi-ld:Vehicle:1"
AT = f"/entities/{ID}"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def application(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Application]:
    async with open_hub(Settings(access="open", data=tmp_path_factory.mktemp("data"))) as hub:
        yield hub.application


@pytest_asyncio.fixture(loop_scope="module")
async def client(application: Application) -> AsyncIterator[Client]:
    """A hub without entities; all tests of this file share it, so each uses tenants of its own."""
    client = Client(application)
    yield client
    assert (await client.delete("/entities?local=true")).status == 204


def prop(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **more}


def refused(response: ClientResponse, status: int, kind: str) -> None:
    assert (response.status, response.json()["type"]) == (status, ERRORS + kind)
    assert response.json()["title"]
    assert response.headers["content-type"] == "application/json"


async def made(client: Client, **members: Any) -> None:
    response = await client.post("/entities", json={"id": ID, "type": "Vehicle", **members})
    assert response.status == 201


async def now(client: Client, query: str = "") -> Any:
    response = await client.get(AT + query)
    assert response.status == 200
    return response.json()


class TestCreate:
    async def test_answers_with_the_location(self, client: Client) -> None:
        response = await client.post("/entities/", json={"id": ID, "type": "Vehicle", "speed": 5})
        assert (response.status, response.content) == (201, b"")
        assert response.headers["location"] == f"/ngsi-ld/v1/entities/{ID}"
        assert await now(client) == {"id": ID, "type": "Vehicle", "speed": prop(5)}

    async def test_refuses_a_second_one(self, client: Client) -> None:
        await made(client)
        refused(await client.post("/entities", json={"id": ID, "type": "Vehicle"}), 409, "AlreadyExists")

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"{", "InvalidRequest"),
            (b"", "InvalidRequest"),
            (b'{"id": "urn:x:1", "type": "T", "a": NaN}', "InvalidRequest"),
            (b'{"id": "urn:x:1", "type": "T", "a": "\\ud800"}', "InvalidRequest"),
            (b"[" * 100_000, "InvalidRequest"),
            (b"[]", "InvalidRequest"),
            (b"3", "InvalidRequest"),
            (b'{"id": "urn:x:1"}', "BadRequestData"),
            (b'{"type": "T"}', "BadRequestData"),
            (b'{"id": "x", "type": "T"}', "BadRequestData"),
            (b'{"id": 1, "type": []}', "BadRequestData"),
            (b'{"id": "urn:x:1", "type": "T", "a": {"type": "Property"}}', "BadRequestData"),
            (b'{"id": "urn:x:1", "type": "T", "a": "urn:ngsi-ld:null"}', "BadRequestData"),
            (b'{"id": "urn:x:1", "type": "T", "@context": []}', "BadRequestData"),
        ],
    )
    async def test_refuses_what_is_no_entity(self, client: Client, body: bytes, kind: str) -> None:
        response = await client.post("/entities", content=body, headers={"Content-Type": "application/json"})
        refused(response, 400, kind)
        assert (await client.get("/entities/urn:x:1")).status == 404

    @pytest.mark.parametrize(
        ("content", "kind"), [(b"[]", "InvalidRequest"), (b"{", "InvalidRequest"), (b"{}", "BadRequestData")]
    )
    async def test_refuses_what_is_no_entity_with_a_context(self, client: Client, content: bytes, kind: str) -> None:
        headers = {"Content-Type": "application/ld+json"}
        refused(await client.post("/entities", content=content, headers=headers), 400, kind)

    async def test_refuses_unknown_parameters(self, client: Client) -> None:
        body = {"id": ID, "type": "Vehicle"}
        refused(await client.post("/entities?type=Vehicle", json=body), 400, "InvalidRequest")
        refused(await client.post("/entities?local=perhaps", json=body), 400, "InvalidRequest")
        assert (await client.post("/entities?local=true", json=body)).status == 201

    async def test_makes_the_tenant(self, client: Client) -> None:
        headers = {"NGSILD-Tenant": "seoul"}
        refused(await client.delete(AT, headers=headers), 404, "NonexistentTenant")
        body = {"id": ID, "type": "Vehicle"}
        response = await client.post("/entities", json=body, headers=headers)
        assert (response.status, response.headers["ngsild-tenant"]) == (201, "seoul")
        assert (await client.get(AT)).status == 404
        assert (await client.delete(AT, headers=headers)).status == 204


class TestMissingId:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PATCH", "/entities/"),
            ("PUT", "/entities/"),
            ("POST", "/entities//attrs/"),
            ("PATCH", "/entities//attrs/"),
            ("PATCH", "/entities//attrs/speed"),
            ("PUT", "/entities//attrs/speed"),
            ("DELETE", "/entities//attrs/speed"),
            ("PATCH", "/entities/no-uri"),
            ("PUT", "/entities/no-uri"),
            ("DELETE", "/entities/no-uri"),
            ("POST", "/entities/no-uri/attrs"),
            ("PATCH", "/entities/no-uri/attrs"),
            ("PATCH", "/entities/no-uri/attrs/speed"),
            ("PUT", "/entities/no-uri/attrs/speed"),
            ("DELETE", "/entities/no-uri/attrs/speed"),
        ],
    )
    async def test_is_bad_data(self, client: Client, method: str, path: str) -> None:
        body = prop(1) if path.endswith("speed") else {"speed": 1}
        refused(await client.request(method, path, json=body), 400, "BadRequestData")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PATCH", AT),
            ("DELETE", AT),
            ("POST", f"{AT}/attrs"),
            ("PATCH", f"{AT}/attrs"),
            ("PATCH", f"{AT}/attrs/speed"),
            ("PUT", f"{AT}/attrs/speed"),
            ("DELETE", f"{AT}/attrs/speed"),
        ],
    )
    async def test_an_unknown_one_is_not_found(self, client: Client, method: str, path: str) -> None:
        body = prop(1) if path.endswith("speed") else {"speed": 1}
        refused(await client.request(method, path, json=body), 404, "ResourceNotFound")
        await made(client, speed=1)
        refused(await client.request(method, f"{path}?type=Building", json=body), 404, "ResourceNotFound")
        assert (await client.request(method, f"{path}?type=(Vehicle;Vehicle)|Car", json=body)).status == 204


class TestAppend:
    async def test_overwrites(self, client: Client) -> None:
        await made(client, speed=prop(1, unitCode="KMH"))
        response = await client.post(f"{AT}/attrs", json={"speed": 2, "name": "x", "type": "Car"})
        assert (response.status, response.content) == (204, b"")
        assert await now(client) == {"id": ID, "type": ["Vehicle", "Car"], "speed": prop(2), "name": prop("x")}

    async def test_tells_what_it_left(self, client: Client) -> None:
        await made(client, speed=1)
        response = await client.post(f"{AT}/attrs?options=noOverwrite", json={"speed": 2, "name": "x"})
        assert response.status == 207
        assert response.headers["content-type"] == "application/json"
        assert "link" not in response.headers
        result = response.json()
        assert result["updated"] == [f"{VOCABULARY}name"]
        assert [each["attributeName"] for each in result["notUpdated"]] == [f"{VOCABULARY}speed"]
        assert all(each["reason"] for each in result["notUpdated"])
        assert (await now(client))["speed"] == prop(1)

    async def test_knows_no_nulls_and_no_other_options(self, client: Client) -> None:
        await made(client, speed=1)
        refused(await client.post(f"{AT}/attrs", json={"speed": NULL}), 400, "BadRequestData")
        refused(await client.post(f"{AT}/attrs?options=sysAttrs", json={"speed": 1}), 400, "InvalidRequest")
        refused(await client.post(f"{AT}/attrs", json={"id": "urn:x:2", "speed": 1}), 400, "BadRequestData")


async def test_update_replaces_and_deletes(client: Client) -> None:
    await made(client, speed=prop(1, unitCode="KMH"), name="x", brand={"type": "Relationship", "object": "urn:b:1"})
    fragment = {"speed": 2, "name": NULL, "brand": {"type": "Relationship", "object": NULL}, "extra": {"a": 1}}
    merge_patch = {"Content-Type": "application/merge-patch+json"}
    assert (await client.patch(f"{AT}/attrs", json=fragment, headers=merge_patch)).status == 204
    assert await now(client) == {"id": ID, "type": "Vehicle", "speed": prop(2), "extra": prop({"a": 1})}
    refused(await client.patch(f"{AT}/attrs", json={"extra": {"a": NULL}}), 400, "BadRequestData")
    response = await client.patch(f"{AT}/attrs", json={"scope": "/a", "speed": 3})
    assert (response.status, response.json()["updated"]) == (207, [f"{VOCABULARY}speed"])
    assert response.json()["notUpdated"][0]["attributeName"] == "https://uri.etsi.org/ngsi-ld/scope"
    assert await now(client) == {"id": ID, "type": "Vehicle", "speed": prop(3), "extra": prop({"a": 1})}


class TestMerge:
    async def test_goes_into_values(self, client: Client) -> None:
        await made(client, address=prop({"street": "a", "city": "b"}, source="x"), speed=prop(1, unitCode="KMH"))
        fragment = {"address": prop({"city": NULL, "zip": 1}), "speed": {"value": 2}, "scope": "/a"}
        response = await client.patch(AT, json=fragment)
        assert (response.status, response.content) == (204, b"")
        assert await now(client) == {
            "id": ID,
            "type": "Vehicle",
            "scope": "/a",
            "address": prop({"street": "a", "zip": 1}, source=prop("x")),
            "speed": prop(2, unitCode="KMH"),
        }

    @pytest.mark.parametrize("query", ["format=simplified", "options=keyValues", "format=keyValues"])
    async def test_simplified_values_keep_the_type(self, client: Client, query: str) -> None:
        street = {"type": "LanguageProperty", "languageMap": {"ko": "가"}}
        await made(
            client, speed=prop(1, unitCode="KMH"), brand={"type": "Relationship", "object": "urn:b:1"}, street=street
        )
        fragment = {"id": ID, "type": "Vehicle", "speed": 2, "brand": "urn:b:2", "street": "a", "new": [1, 2]}
        assert (await client.patch(f"{AT}?{query}&lang=en", json=fragment)).status == 204
        assert await now(client) == {
            "id": ID,
            "type": "Vehicle",
            "speed": prop(2, unitCode="KMH"),
            "brand": {"type": "Relationship", "object": "urn:b:2"},
            "street": {"type": "LanguageProperty", "languageMap": {"ko": "가", "en": "a"}},
            "new": prop([1, 2]),
        }
        refused(await client.patch(f"{AT}?{query}", json={"brand": 5}), 400, "BadRequestData")

    async def test_a_common_time(self, client: Client) -> None:
        await made(client, a=prop(1, observedAt="2026-01-01T00:00:00Z"), b=1)
        response = await client.patch(f"{AT}?observedAt=2026-02-01T00:00:00Z", json={"a": 2, "b": 2})
        assert response.status == 204
        after = await now(client)
        assert (after["a"], after["b"]) == (prop(2, observedAt="2026-02-01T00:00:00Z"), prop(2))
        refused(await client.patch(f"{AT}?observedAt=yesterday", json={"a": 2}), 400, "BadRequestData")

    async def test_refuses_another_id(self, client: Client) -> None:
        await made(client)
        refused(await client.patch(AT, json={"id": "urn:x:2"}), 400, "BadRequestData")
        refused(await client.patch(AT, json=[]), 400, "BadRequestData")
        refused(await client.patch(f"{AT}?format=concise", json={}), 400, "InvalidRequest")
        refused(await client.patch(AT, json={"speed": prop(None)}), 400, "BadRequestData")


async def test_replace_keeps_createdat_only(client: Client) -> None:
    await made(client, speed=1, name="x", scope="/a")
    created = (await now(client, "?options=sysAttrs"))["createdAt"]
    assert (await client.put(AT, json={"type": "Car", "speed": 2})).status == 204
    after = await now(client, "?options=sysAttrs")
    assert after["createdAt"] == created
    assert after["modifiedAt"] > created
    assert await now(client) == {"id": ID, "type": "Car", "speed": prop(2)}
    refused(await client.put(AT, json={"speed": 2}), 400, "BadRequestData")
    refused(await client.put(AT, json={"id": "urn:x:2", "type": "Car"}), 400, "BadRequestData")
    refused(await client.put("/entities/urn:x:2", json={"type": "Car"}), 404, "ResourceNotFound")


class TestOneAttribute:
    async def test_partial_update(self, client: Client) -> None:
        await made(client, speed=[prop(1, unitCode="KMH", source="x"), prop(2, datasetId="urn:d:1")])
        assert (await client.patch(f"{AT}/attrs/speed", json={"value": 3, "source": NULL})).status == 204
        assert (await client.patch(f"{AT}/attrs/speed", json=prop(NULL, datasetId="urn:d:1"))).status == 204
        assert (await now(client))["speed"] == prop(3, unitCode="KMH")

    @pytest.mark.parametrize(
        ("attribute", "body", "status"),
        [
            ("speed", {"type": "Relationship", "object": "urn:a:1"}, 400),
            ("speed", {}, 400),
            ("speed", [], 400),
            ("speed", {"datasetId": NULL}, 400),
            ("speed", {"value": {"a": NULL}}, 400),
            ("speed", prop(1, datasetId="urn:d:1"), 404),
            ("other", prop(1), 404),
            ("scope", {"value": "/b"}, 400),
            ("id", prop(1), 400),
            ("@speed", prop(1), 400),
            ("createdAt", prop(1), 400),
        ],
    )
    async def test_partial_update_refuses(self, client: Client, attribute: str, body: Any, status: int) -> None:
        await made(client, speed=1, scope="/a")
        kind = "BadRequestData" if status == 400 else "ResourceNotFound"
        refused(await client.patch(f"{AT}/attrs/{attribute}", json=body), status, kind)
        assert await now(client) == {"id": ID, "type": "Vehicle", "scope": "/a", "speed": prop(1)}

    async def test_replace(self, client: Client) -> None:
        await made(client, speed=prop(1, unitCode="KMH"))
        created = (await now(client, "?options=sysAttrs"))["speed"]["createdAt"]
        path = f"{AT}/attrs/{VOCABULARY.replace('/', '%2F')}speed"
        assert (await client.put(path, json={"type": "Relationship", "object": "urn:a:1"})).status == 204
        assert (await now(client))["speed"] == {"type": "Relationship", "object": "urn:a:1"}
        assert (await now(client, "?options=sysAttrs"))["speed"]["createdAt"] == created
        refused(await client.put(f"{AT}/attrs/scope", json=prop("/a")), 400, "BadRequestData")
        refused(await client.put(f"{AT}/attrs/speed", json=prop(NULL)), 400, "BadRequestData")
        refused(await client.put(f"{AT}/attrs/name", json=prop(1)), 404, "ResourceNotFound")

    async def test_delete(self, client: Client) -> None:
        speeds = [prop(1), prop(2, datasetId="urn:d:1"), prop(3, datasetId="urn:d:2")]
        await made(client, speed=speeds, scope="/a", name="x")
        assert (await client.delete(f"{AT}/attrs/speed?deleteAll=false")).status == 204
        assert (await client.delete(f"{AT}/attrs/speed?datasetId=urn:d:1")).status == 204
        assert (await now(client))["speed"] == speeds[2]
        refused(await client.delete(f"{AT}/attrs/speed"), 404, "ResourceNotFound")
        refused(await client.delete(f"{AT}/attrs/speed?datasetId=nowhere"), 400, "BadRequestData")
        refused(await client.delete(f"{AT}/attrs/type"), 400, "BadRequestData")
        assert (await client.delete(f"{AT}/attrs/speed?deleteAll=true")).status == 204
        assert (await client.delete(f"{AT}/attrs/scope")).status == 204
        assert await now(client) == {"id": ID, "type": "Vehicle", "name": prop("x")}
        assert (await client.delete(f"{AT}/attrs/")).status == 405


class TestPurge:
    @pytest_asyncio.fixture(autouse=True, loop_scope="module")
    async def entities(self, client: Client) -> None:
        for number in range(4):
            members = {"speed": number, "name": "x", "location": {"type": "Point", "coordinates": [number, 0]}}
            body = {"id": f"urn:x:{number}", "type": "AB"[number % 2], **members}
            assert (await client.post("/entities", json=body)).status == 201

    async def left(self, client: Client) -> list[str]:
        found = await client.get("/entities?local=true&options=keyValues")
        return [each["id"][-1] for each in found.json()]

    @pytest.mark.parametrize(
        ("query", "left"),
        [
            ("type=A", "13"),
            ("type=*", ""),
            ("local=true", ""),
            ("q=speed>1", "01"),
            ("attrs=speed&id=urn:x:0,urn:x:3", "12"),
            ("type=A,B&idPattern=.*[01]$", "23"),
            ("georel=near%3BmaxDistance==1000&geometry=Point&coordinates=[1,0]", "023"),
            ("type=C", "0123"),
        ],
    )
    async def test_deletes_what_matches(self, client: Client, query: str, left: str) -> None:
        response = await client.delete(f"/entities?{query}")
        assert (response.status, response.content) == (204, b"")
        assert await self.left(client) == list(left)

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "id=urn:x:1",
            "idPattern=.*",
            "attrs=createdAt",
            'q=modifiedAt>"2020-01-01T00:00:00Z"',
            "scopeQ=/a",
            "type=A&q=owner{name}==1",
            "type=A&attrs=owner{name}",
            "type=A&keep=speed&drop=name",
            "type=A&drop=type",
            "type=A&id=nowhere",
            "type=A&q=",
            "type=A&q=a==",
            "type=A&drop=",
            "type=A&idPattern=(",
        ],
    )
    async def test_refuses_what_is_too_wide_or_wrong(self, client: Client, query: str) -> None:
        response = await client.delete(f"/entities?{query}")
        assert response.status == 400
        assert await self.left(client) == ["0", "1", "2", "3"]

    async def test_may_be_bound_to_an_entity_map(self, client: Client) -> None:
        mapped = await client.get("/entities?type=A&entityMap=true")
        headers = {"NGSILD-EntityMap": mapped.headers["ngsild-entitymap"]}
        assert (await client.post("/entities", json={"id": "urn:x:4", "type": "A"})).status == 201
        response = await client.delete("/entities?local=true", headers=headers)
        assert (response.status, response.headers["ngsild-entitymap"]) == (204, headers["NGSILD-EntityMap"])
        assert await self.left(client) == ["1", "3", "4"]
        gone = {"NGSILD-EntityMap": "/ngsi-ld/v1/entityMaps/urn:ngsi-ld:EntityMap:0"}
        refused(await client.delete("/entities?local=true", headers=gone), 404, "ResourceNotFound")
        assert await self.left(client) == ["1", "3", "4"]

    async def test_drops_or_keeps_attributes(self, client: Client) -> None:
        assert (await client.delete("/entities?type=A&drop=name,location")).status == 204
        assert (await client.get("/entities/urn:x:0")).json() == {"id": "urn:x:0", "type": "A", "speed": prop(0)}
        assert (await client.delete("/entities?type=B&keep=name")).status == 204
        assert (await client.get("/entities/urn:x:1")).json() == {"id": "urn:x:1", "type": "B", "name": prop("x")}


class TestTransient:
    async def test_what_has_expired_is_not_there(self, client: Client) -> None:
        past = "2020-01-01T00:00:00Z"
        await made(client, speed=prop(1, expiresAt=past), name=prop("x", expiresAt="2100-01-01T00:00:00Z"))
        assert await now(client) == {"id": ID, "type": "Vehicle", "name": prop("x")}
        refused(await client.patch(f"{AT}/attrs/speed", json={"value": 2}), 404, "ResourceNotFound")
        assert (await client.patch(AT, json={"expiresAt": past})).status == 204
        refused(await client.get(AT), 404, "ResourceNotFound")
        refused(await client.delete(AT), 404, "ResourceNotFound")
        await made(client, speed=2)
        assert await now(client) == {"id": ID, "type": "Vehicle", "speed": prop(2)}

    @pytest.mark.parametrize("text", ["not-a-date", "2026-13-45T00:00:00Z", 5])
    async def test_the_time_has_to_be_one(self, client: Client, text: Any) -> None:
        for members in ({"expiresAt": text}, {"a": prop(1, expiresAt=text)}):
            refused(await client.post("/entities", json={"id": ID, "type": "T", **members}), 400, "BadRequestData")
