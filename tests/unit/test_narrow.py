# SPDX-License-Identifier: Apache-2.0
"""What SQL finds is what `matches` says, with and without an index, in the order that `order` says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madang.model.entity import Document
from madang.model.jsonld.context import CORE
from madang.model.query import order, q
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection
from madang.model.query.q import Path, Term
from madang.store.sqlite.narrow import narrow
from tests.query_base import QueryBase
from tests.query_samples import NAMES, lively_documents, queries

stores = st.lists(lively_documents, min_size=6, max_size=10, unique_by=lambda document: document["id"])


@pytest.fixture(scope="module")
def base() -> Iterator[QueryBase]:
    made = QueryBase()
    yield made
    made.connection.close()


def expected(found: list[Document], query: EntityQuery) -> list[str]:
    answers = [document for document in found if matches(query, document)]
    return [document["id"] for document in order.sort(query.order, answers)]


def check(base: QueryBase, found: list[Document], query: EntityQuery, page: tuple[int, int]) -> None:
    wanted = expected(found, query)
    for connection in (None, base.connection):
        for counted in (query, replace(query, count=True)):
            narrowed = narrow(counted, 1, base.index.declared(1), connection)
            assert narrowed.exact
            if query.order:
                assert narrowed.order is not None
            by = narrowed.order or "e.key"
            rows = base.connection.execute(*narrowed.select("e.id", order=by)).fetchall()
            assert [id for (id,) in rows] == wanted
            limit, offset = page
            rows = base.connection.execute(*narrowed.select("e.id", order=by, limit=limit, offset=offset)).fetchall()
            assert [id for (id,) in rows] == wanted[offset : offset + limit]
            assert base.connection.execute(*narrowed.select("count(*)")).get == len(wanted)
            bodies = base.connection.execute(*narrowed.select("json(e.body)", order=by)).fetchall()
            assert [orjson.loads(str(body))["id"] for (body,) in bodies] == wanted


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    found=stores,
    asked=st.lists(queries, min_size=12, max_size=12),
    names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    page=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
def test_sql_finds_what_matches_says(
    base: QueryBase, found: list[Document], asked: list[EntityQuery], names: list[str], page: tuple[int, int]
) -> None:
    base.fill(found)
    for query in asked:
        check(base, found, query, page)
    base.declare(names)
    try:
        for query in asked:
            check(base, found, query, page)
    finally:
        base.forget()


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=stores, after=stores, asked=st.lists(queries, min_size=8, max_size=8))
def test_the_index_follows_writes(
    base: QueryBase, before: list[Document], after: list[Document], asked: list[EntityQuery]
) -> None:
    base.fill(before)
    base.declare(list(NAMES))
    keys = {document["id"]: key for key, document in enumerate(before, 1)}
    current = {document["id"]: document for document in before}
    try:
        for number, document in enumerate(after, 100):
            key = keys.get(document["id"], number)
            base.put(1, key, document)
            base.index.replace(base.connection, 1, key, current.get(document["id"]), document)
            current[document["id"]] = document
        for query in asked:
            check(base, list(current.values()), query, (3, 1))
        for id, document in current.items():
            key = int(str(base.connection.execute("SELECT key FROM entity WHERE tenant = 1 AND id = ?", (id,)).get))
            base.index.replace_many(base.connection, 1, [(key, document, None)])
        left = "SELECT count(*) FROM value_number v JOIN value_attribute a ON a.key = v.attribute WHERE a.tenant = 1"
        assert base.connection.execute(left).get == 0
    finally:
        base.forget()


def test_very_large_questions_stay_within_the_limits_of_sqlite(base: QueryBase) -> None:
    found: list[Document] = [
        {"id": f"urn:x:{number}", "type": "T", "createdAt": "", "a": {"type": "Property", "value": number}}
        for number in range(5)
    ]
    base.fill(found)
    many = ",".join(map(str, range(3, 40)))
    texts = [
        ";".join([f"a=={many}"] * 120),
        "|".join([f"a=={many}"] * 120),
        "|".join(f"a=={number}" for number in range(3, 190)),
        "a==" + ",".join(f'{number},"{number}",urn:x:{number}' for number in range(3, 60)),
    ]
    names = tuple(f"T{number}" for number in range(199))
    types = TypeSelection((("T",), *((name,) for name in names)))
    for declared in ([], ["a"]):
        base.declare(declared)
        try:
            for text in texts:
                query = EntityQuery(q=q.parse(text, CORE))
                check(base, found, query, (1, 1))
                check(base, found, replace(query, selectors=(EntitySelector(types=types),) * 30), (1, 1))
            check(base, found, EntityQuery(selectors=(EntitySelector(types=types),)), (2, 1))
            ids = tuple(f"urn:x:{number}" for number in range(3, 9_000))
            check(base, found, EntityQuery(selectors=(EntitySelector(ids=ids),) * 2), (2, 1))
        finally:
            base.forget()


def test_what_sql_cannot_decide_is_never_lost(base: QueryBase) -> None:
    found: list[Document] = [
        {"id": f"urn:x:{number}", "type": "T", "createdAt": "", "a": {"type": "Property", "value": number}}
        for number in range(5)
    ]
    base.fill(found)
    for query in (
        EntityQuery(q=q.parse("a>2;r{b}==1", CORE)),
        EntityQuery(q=q.parse("a>2", CORE), extra=lambda document: bool(document["id"] == "urn:x:3")),
        EntityQuery(q=Term(Path(('a"b',)), "==", ())),
    ):
        narrowed = narrow(query, 1, {})
        assert not narrowed.exact
        ids = {id for (id,) in base.connection.execute(*narrowed.select("e.id", order="e.key"))}
        assert {"urn:x:3", "urn:x:4"} <= ids


def test_an_index_is_filled_used_and_dropped(base: QueryBase) -> None:
    base.fill([])
    base.connection.executemany(
        "INSERT INTO entity VALUES (?, 1, ?, jsonb(?), NULL)",
        [
            (number, f"urn:x:{number}", orjson.dumps({"a": {"type": "Property", "value": number}}).decode())
            for number in range(1, 100)
        ],
    )
    base.declare(["a"])
    try:
        query = EntityQuery(q=q.parse("a>97", CORE))
        sql, parameters = narrow(query, 1, base.index.declared(1), base.connection).select("e.id")
        plan = [str(row[3]) for row in base.connection.execute("EXPLAIN QUERY PLAN " + sql, parameters)]
        assert any("SEARCH value_number USING PRIMARY KEY" in step for step in plan)
        assert not any("SCAN e" in step for step in plan)
        assert base.connection.execute(sql, parameters).fetchall() == [("urn:x:98",), ("urn:x:99",)]
        base.declare(["a"])  # a second time does nothing
        assert base.index.active(1)
    finally:
        base.forget()
    assert not base.index.active(1)
    assert base.index.declared(1) == {}
