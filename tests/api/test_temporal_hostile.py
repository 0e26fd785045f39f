# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent to the temporal API, the answer is a 2xx or a problem that says what is wrong."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madang.testing.client import Client, ClientResponse

ROOT = "/temporal/entities"
ID = "urn:ngsi-ld:Vehicle:1"
JSON = {"content-type": "application/json"}

hostile = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
moments = st.sampled_from(
    [
        *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00,5Z"),
        *("2026-03-01T12:00:60Z", "2026-03-01", "now", "", "\x00"),
    ]
)
durations = st.sampled_from(
    ["PT0S", "P1D", "PT0.000001S", "P9999Y", "P99999M", "P999999W", "PT99999999999S", "P1Y1M1DT1S", "P", "-P1D", "x"]
)
numbers = st.integers(-2, 10**13).map(str) | st.sampled_from(["1e3", "", "NaN", "\u0663"])
parameters = st.fixed_dictionaries(
    {},
    optional={
        "timerel": st.sampled_from(["before", "after", "between", "during", ""]),
        "timeAt": moments,
        "endTimeAt": moments,
        "timeproperty": st.sampled_from(["observedAt", "createdAt", "modifiedAt", "deletedAt", "expiresAt", ""]),
        "lastN": numbers,
        "aggrMethods": st.sampled_from(["avg", "avg,stddev,distinctCount,sumsq", "totalCount,min,max", "mean", ","]),
        "aggrPeriodDuration": durations,
        "format": st.sampled_from(["temporalValues", "aggregatedValues", "keyValues"]),
        "options": st.sampled_from(["sysAttrs", "temporalValues,sysAttrs", "aggregatedValues", "x", ","]),
        "attrs": st.sampled_from(["speed", "scope", "speed,name", "createdAt", "(", ","]),
        "pick": st.sampled_from(["speed", "id", "scope", "a{b}", "{"]),
        "omit": st.sampled_from(["speed", "id,type", "}"]),
        "datasetId": st.sampled_from(["urn:d:1", "@none", "x", ","]),
        "lang": st.sampled_from(["ko", "*", "en;q=0.5,*;q=x", ""]),
        "type": st.sampled_from(["Vehicle", "*", "(A;B)|C", "("]),
        "q": st.sampled_from(["speed>1", "name~=x", "speed[a.b]==1", "!speed", "((", "a{b}"]),
        "scopeQ": st.sampled_from(["/a", "/#", "(/a;/b)", "(("]),
        "georel": st.sampled_from(["near;maxDistance==1", "within", "x"]),
        "geometry": st.just("Point"),
        "coordinates": st.sampled_from(["[1,2]", "[[1,2]]", "["]),
        "limit": numbers,
        "offset": numbers,
        "count": st.sampled_from(["true", "false", "1"]),
        "orderBy": st.sampled_from(["id", "id;desc", "speed", ";"]),
        "entityMap": st.sampled_from(["true", "x"]),
        "local": st.sampled_from(["true", "false"]),
    },
)
texts = st.sampled_from(
    ["urn:x:1", "Vehicle", "Property", "urn:ngsi-ld:null", "2026-03-01T12:00:00Z", "\ud7ff", "", "@none", "/a/b"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "value", "object", "languageMap", "vocab", "json", "valueList", "objectList", "values"),
                    *(
                        "observedAt",
                        "deletedAt",
                        "datasetId",
                        "instanceId",
                        "expiresAt",
                        "unitCode",
                        "speed",
                        "a b",
                        "",
                    ),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
entities = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([ID, "urn:x:2", "no uri"]) | json_values,
        "type": st.sampled_from(["Vehicle", ["Vehicle", "Truck"]]) | json_values,
        "scope": json_values,
        "expiresAt": json_values,
        "speed": json_values,
        "location": json_values,
    },
)


def sound(response: ClientResponse) -> None:
    """Check that the answer is one that the standard knows."""
    if response.status in (200, 201, 204, 206):
        return
    assert response.status in (400, 403, 404, 422), response.content
    assert {"type", "title", "detail"} <= set(response.json())


@pytest.fixture
async def fleet(client: Client) -> Client:
    speed = [
        {"type": "Property", "value": value, "observedAt": f"2026-03-01T12:0{minute}:00Z"}
        for minute, value in enumerate((1, 2.5, True, "text", [1], {"a": {"b": 1}}, "urn:ngsi-ld:null"))
    ]
    name = [{"type": "LanguageProperty", "languageMap": {"ko": "가"}, "observedAt": "2026-03-01T12:00:00Z"}]
    body = {"id": ID, "type": "Vehicle", "scope": ["/a", "/b"], "speed": speed, "name": name}
    assert (await client.post(ROOT, json=body)).status == 201
    return client


@hostile
@given(parameters)
async def test_any_reading(fleet: Client, given_: dict[str, str]) -> None:
    sound(await fleet.get(f"{ROOT}/{ID}?{urlencode(given_)}"))
    sound(await fleet.get(f"{ROOT}?{urlencode(given_)}"))


@hostile
@given(parameters)
async def test_any_question_with_a_window(fleet: Client, given_: dict[str, str]) -> None:
    window = {"type": "Vehicle", "timerel": "after", "timeAt": "2026-01-01T00:00:00Z"}
    sound(await fleet.get(f"{ROOT}?{urlencode({**given_, **window})}"))


@hostile
@given(entities, json_values)
async def test_any_writing(fleet: Client, body: dict[str, Any], value: Any) -> None:
    sound(await fleet.post(ROOT, json=body))
    sound(await fleet.post(f"{ROOT}/{ID}/attrs", json=body))
    sound(await fleet.post(f"{ROOT}/{ID}/attrs", content=orjson.dumps(value), headers=JSON))
    instances = (await fleet.get(f"{ROOT}/{ID}?lastN=1")).json().get("speed", [])
    for instance in instances:
        sound(
            await fleet.patch(
                f"{ROOT}/{ID}/attrs/speed/{instance['instanceId']}", content=orjson.dumps(value), headers=JSON
            )
        )
    for query in ("", "?options=temporalValues", "?options=aggregatedValues&aggrMethods=avg,max,distinctCount"):
        response = await fleet.get(f"{ROOT}/{ID}{query}")
        assert response.status in (200, 206), response.content


@hostile
@given(
    st.fixed_dictionaries(
        {"type": st.just("Query"), "temporalQ": st.dictionaries(st.sampled_from(["timerel", "timeAt"]), json_values)},
        optional={
            "entities": json_values,
            "q": json_values,
            "attrs": json_values,
            "pick": json_values,
            "aggrParams": json_values,
            "geoQ": json_values,
            "datasetId": json_values,
            "entityMap": json_values,
        },
    )
)
async def test_any_question_as_a_body(fleet: Client, body: dict[str, Any]) -> None:
    sound(await fleet.post("/temporal/entityOperations/query", json=body))
    window = {"timerel": "after", "timeAt": "2026-01-01T00:00:00Z", **body["temporalQ"]}
    sound(await fleet.post("/temporal/entityOperations/query", json={**body, "temporalQ": window}))
