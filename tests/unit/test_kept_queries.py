"""A query that is kept as JSON asks the same when it comes back."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.model.jsonld.context import CORE
from madang.model.query import geo, q, scope
from madang.model.query.kept import query_as_json, query_from_json
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection
from madang.testing.memory import entity

QUERIES = (
    *("speed", "!speed", "speed>10", "speed==1..3", "speed!=4,5,6", "speed<1e300", "speed==true"),
    *('name=="a"', "name==a", "name~=^a.*b$", "name!~=a", "modifiedAt>2020-01-01T00:00:00Z", "at==10:00:00Z"),
    *("speed[max]>3", "speed.unit==x", "(a;b)|c", "ref{T:speed}>1", "speed==99999999999999999999999999"),
)


def again(query: EntityQuery) -> EntityQuery:
    return query_from_json(orjson.loads(orjson.dumps(query_as_json(query))))


@pytest.mark.parametrize("text", QUERIES)
def test_every_kind_of_q_comes_back(text: str) -> None:
    query = EntityQuery(q=q.parse(text, CORE))
    assert again(query) == query


def test_all_conditions_come_back_and_page_and_order_stay_behind() -> None:
    query = EntityQuery(
        selectors=(
            EntitySelector(ids=("urn:1", "urn:2"), types=TypeSelection((("A", "B"), ("C",)))),
            EntitySelector(id_pattern="^urn:.*"),
        ),
        attributes=("a",),
        q=q.parse("speed>10", CORE),
        geo=geo.parse({"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": [1, 2]}, CORE),
        scope=scope.parse("/a/b,/c/#"),
        datasets=("@none", "urn:d"),
    )
    assert again(query) == query
    assert again(EntityQuery(q=query.q, limit=1, offset=5, count=True)) == EntityQuery(q=query.q)


@given(
    st.sampled_from(QUERIES),
    st.one_of(st.integers(-5, 20), st.booleans(), st.text("ab", max_size=3), st.floats(allow_nan=False)),
)
def test_it_finds_the_same(text: str, value: object) -> None:
    query = EntityQuery(q=q.parse(text, CORE))
    document = entity("urn:1", speed=value, name=value)
    assert matches(again(query), document) == matches(query, document)
