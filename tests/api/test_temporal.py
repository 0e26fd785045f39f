# SPDX-License-Identifier: Apache-2.0
"""The temporal API over HTTP: writing history, reading it in every form, partial answers, and what is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from madang.testing.client import Client, ClientResponse

ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"
ROOT = "/temporal/entities"
ID = "urn:ngsi-ld:Vehicle:1"
AT = f"{ROOT}/{ID}"
NULL = "urn:ngsi-ld:null"


def prop(value: Any, minute: int | None = None, **more: Any) -> dict[str, Any]:
    observed = {} if minute is None else {"observedAt": f"2026-03-01T12:{minute:02}:00Z"}
    return {"type": "Property", "value": value, **observed, **more}


def refused(response: ClientResponse, status: int, kind: str) -> None:
    assert (response.status, response.json()["type"]) == (status, ERRORS + kind)
    assert response.json()["detail"]
    assert response.headers["content-type"] == "application/json"


async def made(client: Client, id: str = ID, **members: Any) -> None:
    response = await client.post(ROOT, json={"id": id, "type": "Vehicle", **members})
    assert response.status == 201


async def read(client: Client, query: str = "", id: str = ID) -> Any:
    response = await client.get(f"{ROOT}/{id}{query}")
    assert response.status == 200
    return response.json()


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_ids(item) for name, item in value.items() if name != "instanceId"}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


class TestWriting:
    async def test_the_first_history_makes_the_entity_too(self, client: Client) -> None:
        response = await client.post(ROOT, json={"id": ID, "type": "Vehicle", "speed": [prop(2, 5), prop(1, 3)]})
        assert (response.status, response.content) == (201, b"")
        assert response.headers["location"] == f"/ngsi-ld/v1{AT}"
        assert without_ids(await read(client)) == {"id": ID, "type": "Vehicle", "speed": [prop(1, 3), prop(2, 5)]}
        current = await client.get(f"/entities/{ID}")
        assert current.json() == {"id": ID, "type": "Vehicle", "speed": prop(2, 5)}

    async def test_more_history_leaves_the_present_as_it_is(self, client: Client) -> None:
        await made(client, speed=[prop(1, 3)])
        more = {"id": ID, "type": ["Vehicle", "Truck"], "speed": [prop(9, 50)], "name": [prop("x", 4)]}
        response = await client.post(ROOT, json=more)
        assert (response.status, response.content) == (204, b"")
        assert without_ids(await read(client)) == {
            "id": ID,
            "type": ["Vehicle", "Truck"],
            "speed": [prop(1, 3), prop(9, 50)],
            "name": [prop("x", 4)],
        }
        current = await client.get(f"/entities/{ID}")
        assert current.json() == {"id": ID, "type": ["Vehicle", "Truck"], "speed": prop(1, 3)}

    async def test_the_same_moment_is_written_once(self, client: Client) -> None:
        await made(client, speed=[prop(1, 3), prop(5, 3, datasetId="urn:d:1")])
        assert (await client.post(f"{AT}/attrs", json={"speed": [prop(2, 3), prop(3, 4)]})).status == 204
        found = without_ids(await read(client))["speed"]
        assert sorted(each["value"] for each in found) == [2, 3, 5]

    async def test_attributes_are_added_to_what_is_known_only(self, client: Client) -> None:
        refused(await client.post(f"{AT}/attrs", json={"speed": [prop(2, 3)]}), 404, "ResourceNotFound")
        refused(await client.post(f"{ROOT}//attrs", json={"speed": [prop(2, 3)]}), 400, "BadRequestData")

    @pytest.mark.parametrize(
        "members",
        [
            {"id": "no uri"},
            {"type": 5},
            {"expiresAt": NULL},
            {"speed": [prop(1, observedAt="2026-03-01T02:00:00+03:00")]},
            {"speed": [prop(1), "text"]},
            {"speed": {"type": "Property", "values": [[1]]}},
            {"scope": [{"type": "Property"}]},
        ],
    )
    async def test_wrong_histories_are_refused_whole(self, client: Client, members: dict[str, Any]) -> None:
        body = {"id": ID, "type": "Vehicle", "name": prop("n"), **members}
        refused(await client.post(ROOT, json=body), 400, "BadRequestData")
        refused(await client.get(AT), 404, "ResourceNotFound")

    async def test_an_instance_is_modified_in_place(self, client: Client) -> None:
        await made(client, speed=[prop(1, 3), prop(2, 4, datasetId="urn:d:1")])
        before = (await read(client, "?options=sysAttrs"))["speed"]
        for each, value in zip(before, (10, 20), strict=True):
            response = await client.patch(f"{AT}/attrs/speed/{each['instanceId']}", json=prop(value, 30))
            assert (response.status, response.content) == (204, b"")
        after = (await read(client, "?options=sysAttrs"))["speed"]
        assert [each["value"] for each in after] == [10, 20]
        assert [each["instanceId"] for each in after] == [each["instanceId"] for each in before]
        assert [each["createdAt"] for each in after] == [each["createdAt"] for each in before]
        assert all(new["modifiedAt"] > old["modifiedAt"] for new, old in zip(after, before, strict=True))
        assert after[1]["datasetId"] == "urn:d:1"

    async def test_an_instance_is_deleted(self, client: Client) -> None:
        await made(client, speed=[prop(1, 3), prop(2, 4)])
        instance = (await read(client))["speed"][0]["instanceId"]
        assert (await client.delete(f"{AT}/attrs/speed/{instance}")).status == 204
        assert without_ids(await read(client))["speed"] == [prop(2, 4)]
        refused(await client.delete(f"{AT}/attrs/speed/{instance}"), 404, "ResourceNotFound")

    async def test_instances_of_the_core_api_can_be_changed_too(self, client: Client) -> None:
        await client.post("/entities", json={"id": ID, "type": "Vehicle", "speed": prop(1, 3), "name": prop("n")})
        speed = (await read(client))["speed"][0]["instanceId"]
        assert (await client.patch(f"{AT}/attrs/speed/{speed}", json=prop(7, 9))).status == 204
        name = (await read(client))["name"][0]["instanceId"]
        assert (await client.delete(f"{AT}/attrs/name/{name}")).status == 204
        assert without_ids(await read(client)) == {"id": ID, "type": "Vehicle", "speed": [prop(7, 9)]}
        current = await client.get(f"/entities/{ID}")
        assert current.json()["speed"]["value"] == 1

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("no-uri/attrs/speed/urn:x:1", 400),
            ("/attrs/speed/urn:x:1", 400),
            (f"{ID}/attrs/speed/no-uri", 400),
            (f"{ID}/attrs/in(valid/urn:x:1", 400),
            (f"{ID}/attrs/type/urn:x:1", 400),
            ("urn:other/attrs/speed/urn:ngsi-ld:instance:1", 404),
            (f"{ID}/attrs/heading/urn:ngsi-ld:instance:2", 404),
            (f"{ID}/attrs/speed/urn:ngsi-ld:instance:999", 404),
            (f"{ID}/attrs/speed/urn:x:1", 404),
        ],
    )
    async def test_wrong_instances_are_refused(self, client: Client, path: str, status: int) -> None:
        await made(client, speed=[prop(1, 3)])
        kind = "BadRequestData" if status == 400 else "ResourceNotFound"
        refused(await client.delete(f"{ROOT}/{path}"), status, kind)
        refused(await client.patch(f"{ROOT}/{path}", json=prop(1, 1)), status, kind)
        assert without_ids(await read(client))["speed"] == [prop(1, 3)]

    @pytest.mark.parametrize(
        ("query", "left"),
        [("", [2, 3]), ("?datasetId=urn:d:1", [1, 3]), ("?deleteAll=true", []), ("?datasetId=@none", [2, 3])],
    )
    async def test_an_attribute_is_deleted(self, client: Client, query: str, left: list[int]) -> None:
        speed = [prop(1, 1), prop(2, 2, datasetId="urn:d:1"), prop(3, 3, datasetId="urn:d:2")]
        await made(client, speed=speed, name=[prop("n", 4)])
        assert (await client.delete(f"{AT}/attrs/speed{query}")).status == 204
        assert [each["value"] for each in (await read(client)).get("speed", [])] == left

    async def test_what_an_entity_does_not_have_is_not_deleted(self, client: Client) -> None:
        await made(client, speed=[prop(1, 1)])
        for path in ("heading", "heading?deleteAll=true", "speed?datasetId=urn:d:1"):
            refused(await client.delete(f"{AT}/attrs/{path}"), 404, "ResourceNotFound")
        refused(await client.delete(f"{AT}/attrs/speed?datasetId=none"), 400, "BadRequestData")

    async def test_history_is_deleted_whole(self, client: Client) -> None:
        await made(client, speed=[prop(1, 1)])
        assert (await client.delete(AT)).status == 204
        refused(await client.get(AT), 404, "ResourceNotFound")
        refused(await client.get(f"/entities/{ID}"), 404, "ResourceNotFound")
        refused(await client.delete(AT), 404, "ResourceNotFound")
        await made(client, speed=[prop(2, 2)])

    async def test_history_outlives_the_entity_and_the_entity_its_history(self, client: Client) -> None:
        await client.post("/entities", json={"id": ID, "type": "Vehicle", "speed": prop(1, 3)})
        assert (await client.delete(AT)).status == 204
        assert (await client.get(f"/entities/{ID}")).status == 200
        refused(await client.get(AT), 404, "ResourceNotFound")
        assert (await client.patch(f"/entities/{ID}/attrs/speed", json=prop(2, 4))).status == 204
        assert (await client.delete(f"/entities/{ID}")).status == 204
        shown = await read(client, "?options=sysAttrs")
        assert (shown["type"], [each["value"] for each in shown["speed"]]) == ("Vehicle", [2])
        assert shown["deletedAt"] > shown["createdAt"]


class TestForms:
    TYPES: dict[str, Any] = {  # noqa: RUF012
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.3, 36.3]}},
        "ref": {"type": "Relationship", "object": "urn:x:1"},
        "refs": {"type": "ListRelationship", "objectList": ["urn:x:1", "urn:x:2"]},
        "says": {"type": "LanguageProperty", "languageMap": {"ko": "네", "en": "yes"}},
        "kind": {"type": "VocabProperty", "vocab": "commercial"},
        "raw": {"type": "JsonProperty", "json": {"a": None}},
        "depths": {"type": "ListProperty", "valueList": [1.5, 2]},
    }

    def observed(self) -> dict[str, Any]:
        return {name: [{**item, "observedAt": "2026-03-01T12:00:00Z"}] for name, item in self.TYPES.items()}

    async def test_every_type_has_its_pairs(self, client: Client) -> None:
        await made(client, **self.observed())
        shown = await read(client, "?options=temporalValues")
        time = "2026-03-01T12:00:00Z"
        assert {name: shown[name] for name in self.TYPES} == {
            "location": {"type": "GeoProperty", "values": [[self.TYPES["location"]["value"], time]]},
            "ref": {"type": "Relationship", "objects": [["urn:x:1", time]]},
            "refs": {"type": "ListRelationship", "objectLists": [[["urn:x:1", "urn:x:2"], time]]},
            "says": {"type": "LanguageProperty", "languageMaps": [[{"languageMap": {"ko": "네", "en": "yes"}}, time]]},
            "kind": {"type": "VocabProperty", "vocabs": [[{"vocab": "commercial"}, time]]},
            "raw": {"type": "JsonProperty", "jsons": [[{"json": {"a": None}}, time]]},
            "depths": {"type": "ListProperty", "valueLists": [[[1.5, 2], time]]},
        }
        korean = await read(client, "?format=temporalValues&lang=ko")
        assert korean["says"] == {"type": "Property", "values": [["네", time]]}

    async def test_what_is_read_simplified_can_be_written_back(self, client: Client) -> None:
        await made(client, **self.observed())
        shown = await read(client, "?options=temporalValues")
        assert (await client.post(ROOT, json={**shown, "id": "urn:copy"})).status == 201
        assert await read(client, "?options=temporalValues", "urn:copy") == {**shown, "id": "urn:copy"}

    async def test_datasets_stand_apart(self, client: Client) -> None:
        await made(client, speed=[prop(1, 1), prop(2, 2, datasetId="urn:d:1"), prop(3, 3)])
        time = "2026-03-01T12:{:02}:00Z".format
        assert (await read(client, "?format=temporalValues"))["speed"] == [
            {"type": "Property", "values": [[1, time(1)], [3, time(3)]]},
            {"type": "Property", "datasetId": "urn:d:1", "values": [[2, time(2)]]},
        ]
        only = await read(client, "?format=temporalValues&datasetId=urn:d:1")
        assert only["speed"] == {"type": "Property", "datasetId": "urn:d:1", "values": [[2, time(2)]]}

    async def test_a_deleted_attribute_leaves_a_tombstone(self, client: Client) -> None:
        await made(client, **self.observed())
        for name in ("ref", "says", "kind"):
            assert (await client.delete(f"/entities/{ID}/attrs/{name}")).status == 204
        shown = without_ids(await read(client, "?timeproperty=deletedAt"))
        assert set(shown) == {"id", "type", "ref", "says", "kind"}
        assert {name: value for name, value in shown["ref"][0].items() if name != "deletedAt"} == {
            "type": "Relationship",
            "object": NULL,
        }
        assert shown["says"][0]["languageMap"] == {"@none": NULL}
        deleted = shown["kind"][0]["deletedAt"]
        pairs = await read(client, "?timeproperty=deletedAt&options=temporalValues")
        assert pairs["kind"] == {"type": "VocabProperty", "vocabs": [[{"vocab": NULL}, deleted]]}

    async def test_a_pushed_tombstone_is_found_by_its_deletion(self, client: Client) -> None:
        await made(client, speed=[prop(1, 1), prop(NULL, 2)])
        shown = await read(client, "?timeproperty=deletedAt&timerel=before&timeAt=2026-03-01T12:03:00Z")
        assert [each["value"] for each in shown["speed"]] == [NULL]
        refused(
            await client.get(f"{AT}?timeproperty=deletedAt&timerel=after&timeAt=2026-03-01T12:03:00Z"),
            404,
            "ResourceNotFound",
        )

    async def test_aggregated_values(self, client: Client) -> None:
        await made(client, speed=[prop(120, 3), prop(80, 5), prop(100, 7)], name=[prop("b", 3), prop("a", 4)])
        window = "timerel=between&timeAt=2026-03-01T12:00:00Z&endTimeAt=2026-03-01T13:00:00Z"
        shown = await read(client, f"?{window}&format=aggregatedValues&aggrMethods=max,avg&aggrPeriodDuration=PT4M")
        first = ["2026-03-01T12:00:00Z", "2026-03-01T12:04:00Z"]
        second = ["2026-03-01T12:04:00Z", "2026-03-01T12:08:00Z"]
        assert shown == {
            "id": ID,
            "type": "Vehicle",
            "speed": {
                "type": "Property",
                "max": [[120, *first], [100, *second]],
                "avg": [[120, *first], [90, *second]],
            },
            "name": {"type": "Property", "max": [["b", *first], ["a", *second]]},
        }
        whole = await read(client, f"?{window}&options=aggregatedValues&aggrMethods=totalCount&attrs=speed")
        assert whole["speed"]["totalCount"] == [[3, "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"]]

    async def test_an_attribute_that_was_asked_for_must_be_eligible(self, client: Client) -> None:
        await made(client, speed=[prop(1, 3)], name=[prop("b", 3)])
        query = f"{AT}?options=aggregatedValues&aggrMethods=sum"
        assert set((await client.get(query)).json()) == {"id", "type", "speed"}
        refused(await client.get(query + "&attrs=speed,name"), 400, "InvalidRequest")

    async def test_the_scope_has_a_history(self, client: Client) -> None:
        await client.post("/entities", json={"id": ID, "type": "Vehicle", "scope": "/a", "speed": 1})
        assert (await client.patch(f"/entities/{ID}", json={"scope": ["/b", "/c"]})).status == 204
        assert (await client.delete(f"/entities/{ID}/attrs/scope")).status == 204
        scopes = (await read(client, "?options=sysAttrs"))["scope"]
        assert [each["value"] for each in scopes] == ["/a", ["/b", "/c"], []]
        assert all(each["observedAt"] == each["modifiedAt"] for each in scopes[:2])
        assert "deletedAt" in scopes[2]
        assert (await read(client, "?timeproperty=deletedAt"))["scope"][0]["value"] == []

    async def test_projection(self, client: Client) -> None:
        await made(client, speed=[prop(1, 3)], name=[prop("n", 3)])
        for query, members in (
            ("attrs=speed", {"id", "type", "speed"}),
            ("pick=speed", {"speed"}),
            ("pick=id,name", {"id", "name"}),
            ("pick=id", {"id"}),
            ("omit=type,name", {"id", "speed"}),
        ):
            assert set(await read(client, f"?{query}")) == members
        for query in ("attrs=nothing", "pick=nothing", "omit=id,type,speed,name"):
            refused(await client.get(f"{AT}?{query}"), 404, "ResourceNotFound")
        for query in ("pick=speed&omit=speed", "pick=speed&attrs=name", "pick=owner{name}"):
            refused(await client.get(f"{AT}?{quote(query, safe='=&')}"), 400, "BadRequestData")

    async def test_names_are_those_of_the_request(self, client: Client) -> None:
        context = {"speed": "https://example.org/speed", "Vehicle": "https://example.org/Vehicle"}
        body = {"id": ID, "type": "Vehicle", "speed": [prop(1, 3)], "@context": context}
        response = await client.post(ROOT, json=body, headers={"content-type": "application/ld+json"})
        assert response.status == 201
        shown = await client.get(AT, headers={"accept": "application/ld+json"})
        assert set(shown.json()) == {"id", "type", "https://example.org/speed", "@context"}
        assert shown.json()["type"] == "https://example.org/Vehicle"


class TestPartialAnswers:
    @staticmethod
    async def many(client: Client, count: int) -> None:
        await made(client, speed=[prop(number, number) for number in range(count)])

    async def test_what_fits_is_given_whole(self, client: Client) -> None:
        await self.many(client, 19)
        assert len((await read(client))["speed"]) == 19

    @pytest.mark.parametrize(
        ("query", "content_range", "values"),
        [
            ("", "date-time 2026-03-01T12:00:00Z-2026-03-01T12:18:00Z/*", range(19)),
            (
                "?timerel=after&timeAt=2026-01-01T00:00:00Z",
                "date-time 2026-01-01T00:00:00Z-2026-03-01T12:18:00Z/*",
                range(19),
            ),
            (
                "?timerel=before&timeAt=2027-01-01T00:00:00Z",
                "date-time 2026-03-01T12:00:00Z-2026-03-01T12:18:00Z/*",
                range(19),
            ),
            ("?lastN=25", "date-time 2026-03-01T12:29:00Z-2026-03-01T12:11:00Z/25", range(11, 30)),
            (
                "?lastN=25&timerel=before&timeAt=2027-01-01T00:00:00Z",
                "date-time 2027-01-01T00:00:00Z-2026-03-01T12:11:00Z/25",
                range(11, 30),
            ),
        ],
    )
    async def test_the_rest_is_told_by_the_range(
        self, client: Client, query: str, content_range: str, values: range
    ) -> None:
        await self.many(client, 30)
        response = await client.get(AT + query)
        assert (response.status, response.headers["content-range"]) == (206, content_range)
        assert [each["value"] for each in response.json()["speed"]] == list(values)
        simplified = await client.get(AT + (query + "&" if query else "?") + "options=temporalValues")
        assert simplified.status == 206
        assert [pair[0] for pair in simplified.json()["speed"]["values"]] == list(values)

    async def test_few_of_many_are_no_partial_answer(self, client: Client) -> None:
        await self.many(client, 30)
        assert [each["value"] for each in (await read(client, "?lastN=2"))["speed"]] == [28, 29]

    async def test_attributes_behind_the_cut_are_empty(self, client: Client) -> None:
        await made(client, speed=[prop(number, number) for number in range(30)], name=[prop("n", 59)])
        assert (await client.get(AT)).json()["name"] == []
        simplified = await client.get(f"{AT}?options=temporalValues")
        assert simplified.json()["name"] == {"type": "Property", "values": []}

    async def test_aggregated_answers_are_never_partial(self, client: Client) -> None:
        await self.many(client, 30)
        shown = await read(client, "?options=aggregatedValues&aggrMethods=totalCount")
        assert shown["speed"]["totalCount"][0][0] == 30


class TestQuestions:
    WINDOW = "timerel=between&timeAt=2026-03-01T12:00:00Z&endTimeAt=2026-03-01T13:00:00Z"

    @staticmethod
    async def ids(client: Client, query: str) -> list[str]:
        response = await client.get(f"{ROOT}?{TestQuestions.WINDOW}&{query}")
        assert response.status == 200
        return [entity["id"] for entity in response.json()]

    @pytest.fixture
    async def fleet(self, client: Client) -> Client:
        late: dict[str, Any] = {"observedAt": "2026-04-01T00:00:00Z"}
        await made(client, "urn:v:1", speed=[prop(30, 1), prop(90, **late)], brand=prop("A"))
        await made(client, "urn:v:2", speed=[prop(10, 1), prop(95, **late)], brand=prop("B"))
        await made(client, "urn:v:3", speed=[prop(99, **late)])
        await made(client, "urn:v:4", speed=[prop(5, 1), prop(60, 2, datasetId="urn:d:1")])
        return client

    async def test_only_instances_in_the_window_count(self, fleet: Client) -> None:
        assert await self.ids(fleet, "type=Vehicle") == ["urn:v:1", "urn:v:2", "urn:v:4"]
        assert await self.ids(fleet, "type=Vehicle&q=speed%3E25") == ["urn:v:1", "urn:v:4"]
        assert await self.ids(fleet, "attrs=brand") == []
        assert await self.ids(fleet, "type=Vehicle&q=brand==%22B%22") == ["urn:v:2"]
        assert await self.ids(fleet, "type=Vehicle&datasetId=urn:d:1") == ["urn:v:4"]
        assert await self.ids(fleet, "type=Vehicle&id=urn:v:2,urn:v:3") == ["urn:v:2"]
        assert await self.ids(fleet, "type=Vehicle&idPattern=%5B14%5D$") == ["urn:v:1", "urn:v:4"]
        assert await self.ids(fleet, "type=Vehicle&orderBy=id;desc") == ["urn:v:4", "urn:v:2", "urn:v:1"]
        assert await self.ids(fleet, "local=true&type=Bus") == []

    async def test_deleted_entities_are_found_too(self, fleet: Client) -> None:
        assert (await fleet.delete("/entities/urn:v:2")).status == 204
        assert await self.ids(fleet, "type=Vehicle") == ["urn:v:1", "urn:v:2", "urn:v:4"]
        assert await self.ids(fleet, "type=Bus") == []

    async def test_pages_and_counts(self, fleet: Client) -> None:
        base = f"{ROOT}?{self.WINDOW}&type=Vehicle"
        first = await fleet.get(f"{base}&limit=2&count=true")
        assert [each["id"] for each in first.json()] == ["urn:v:1", "urn:v:2"]
        assert first.headers["ngsild-results-count"] == "3"
        assert 'rel="next"' in first.headers["link"]
        second = await fleet.get(f"{base}&limit=2&offset=2")
        assert [each["id"] for each in second.json()] == ["urn:v:4"]
        assert 'rel="next"' not in second.headers["link"]
        none = await fleet.get(f"{base}&limit=0&count=true")
        assert (none.json(), none.headers["ngsild-results-count"]) == ([], "3")

    async def test_scopes_bound_the_instances(self, client: Client) -> None:
        scope = [{**prop("/a", 10)}, {**prop("/b", 30)}]
        await made(client, scope=scope, speed=[prop(1, 5), prop(2, 15), prop(3, 45)])
        for text, values in (("/a", [2]), ("/b", [3]), ("/%23", [2, 3])):
            response = await client.get(f"{ROOT}?{self.WINDOW}&type=Vehicle&scopeQ={text}")
            assert [each["value"] for each in response.json()[0]["speed"]] == values
        assert await self.ids(client, "type=Vehicle&scopeQ=/z") == []

    async def test_a_question_can_be_a_body(self, fleet: Client) -> None:
        window = {"timerel": "between", "timeAt": "2026-03-01T12:00:00Z", "endTimeAt": "2026-03-01T13:00:00Z"}
        body: dict[str, Any] = {
            "type": "Query",
            "entities": [{"type": "Vehicle"}],
            "q": "speed>25",
            "temporalQ": window,
        }
        response = await fleet.post("/temporal/entityOperations/query", json=body)
        assert [each["id"] for each in response.json()] == ["urn:v:1", "urn:v:4"]
        aggregated = await fleet.post(
            "/temporal/entityOperations/query", json={**body, "aggrParams": {"aggrMethods": ["max"]}}
        )
        assert aggregated.json()[0]["speed"]["max"][0][0] == 30

    async def test_entity_maps_fix_the_entities(self, fleet: Client) -> None:
        base = f"{ROOT}?{self.WINDOW}&type=Vehicle"
        mapped = await fleet.get(f"{base}&id=urn:v:1&entityMap=true")
        assert mapped.status == 201
        location = mapped.headers["ngsild-entitymap"]
        again = await fleet.get(base, headers={"ngsild-entitymap": location})
        assert ([each["id"] for each in again.json()], again.headers["ngsild-entitymap"]) == (["urn:v:1"], location)
        made_alone = await fleet.get(f"/temporal/entityMaps?{self.WINDOW}&type=Vehicle")
        assert (made_alone.status, set(made_alone.json()["entityMap"])) == (201, {"urn:v:1", "urn:v:2", "urn:v:4"})

    @pytest.mark.parametrize(
        "query",
        [
            "type=Vehicle",
            "timerel=after&type=Vehicle",
            "timerel=after&timeAt=2026-01-01&type=Vehicle",
            f"{WINDOW}",
            f"{WINDOW}&attrs=createdAt",
            f"{WINDOW}&type=Vehicle&id=no%20uri",
            f"{WINDOW}&type=Vehicle&q=owner%7Bname%7D==1",
            f"{WINDOW}&type=Vehicle&orderBy=name",
            f"{WINDOW}&type=Vehicle&lastN=0",
            f"{WINDOW}&type=Vehicle&timeproperty=expiresAt",
            f"{WINDOW}&type=Vehicle&format=aggregatedValues",
            f"{WINDOW}&type=Vehicle&format=aggregatedValues&aggrMethods=mean",
            f"{WINDOW}&type=Vehicle&format=aggregatedValues&aggrMethods=avg&aggrPeriodDuration=1h",
            f"{WINDOW}&type=Vehicle&csf=))bad((",
        ],
    )
    async def test_wrong_questions_are_refused(self, client: Client, query: str) -> None:
        refused(await client.get(f"{ROOT}?{query}"), 400, "BadRequestData")

    @pytest.mark.parametrize(
        "query", ["options=keyValues", "format=simplified", "options=temporalValues,aggregatedValues", "join=flat"]
    )
    async def test_other_forms_are_refused(self, client: Client, query: str) -> None:
        refused(await client.get(f"{ROOT}?{self.WINDOW}&type=Vehicle&{query}"), 400, "InvalidRequest")

    async def test_an_unknown_tenant_is_told(self, client: Client) -> None:
        for path in (AT, f"{ROOT}?{self.WINDOW}&type=Vehicle"):
            refused(await client.get(path, headers={"ngsild-tenant": "nobody"}), 404, "NonexistentTenant")
        assert (await client.delete(AT, headers={"ngsild-tenant": "nobody"})).status == 404
