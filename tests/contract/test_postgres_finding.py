# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL finds what `matches` says, in the order that `order` says, page by page as the embedded store does."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madang.model.change import Change, Operation
from madang.model.entity import Document
from madang.model.jsonld.context import CORE
from madang.model.query import geo, order, q, scope
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery, EntitySelector, Found, TypeSelection
from madang.model.query.types import parse as parse_types
from madang.store.port import EntityWrite, Store, Writes
from madang.store.postgres.store import PostgresStore
from madang.store.sqlite.store import SqliteStore
from madang.testing.postgres import Cluster
from tests.query_grid import DOCUMENTS, PATHS, PLACES, answers, orders, texts
from tests.query_samples import NAMES, lively_documents, queries

T = TypeVar("T")
NEIGHBOUR = "neighbour"
stores = st.lists(lively_documents, min_size=6, max_size=10, unique_by=lambda document: document["id"])


async def write(store: Store, tenant: str, before: dict[str, Document], after: dict[str, Document]) -> None:
    """Bring a store from some entities to others; what is gone leaves no history."""
    gone = [id for id in before if id not in after]
    writes = Writes(tenants=[] if tenant in await store.tenants() else [tenant])
    for id, document in after.items():
        old = before.get(id)
        changes = None if old is None else (Change(Operation.ENTITY_TOUCHED, id),)
        writes.entities.append(EntityWrite(tenant, id, old, document, 0, changes))
    for id in gone:
        changes = (Change(Operation.ENTITY_DELETED, id),)
        writes.entities.append(EntityWrite(tenant, id, before[id], None, 0, changes))
    for written in (writes, Writes(history_dropped=[(tenant, id) for id in gone])):
        transaction = await store.begin()
        try:
            await transaction.documents(tenant, [*before, *after])
            await transaction.apply(written)
            await transaction.commit()
        finally:
            await transaction.rollback()


class Pair:
    """The embedded store and PostgreSQL with the same entities."""

    def __init__(self, folder: Path, url: str) -> None:
        self._runner = asyncio.Runner()
        self.sqlite = SqliteStore(folder)
        self.postgres = PostgresStore(url)
        self.held: dict[str, dict[str, Document]] = {"": {}, NEIGHBOUR: {}}
        self.each(lambda store: store.open())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def each(self, function: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        self.run(function(self.sqlite))
        self.run(function(self.postgres))

    def close(self) -> None:
        self.each(lambda store: store.close())
        self._runner.close()

    def put(self, documents: list[Document], tenant: str = "") -> None:
        """Write entities over those that are there."""
        after = {document["id"]: document for document in documents}
        before = {id: document for id, document in self.held[tenant].items() if id in after}
        self.each(partial(write, tenant=tenant, before=before, after=after))
        self.held[tenant].update(after)

    def fill(self, documents: list[Document]) -> None:
        """Have these entities and no others; a neighbour has the same, of which nothing may be seen."""
        for tenant, held in self.held.items():
            if held:
                self.each(partial(write, tenant=tenant, before=held, after={}))
            self.held[tenant] = {}
            self.put(documents, tenant)

    def declare(self, names: list[str]) -> None:
        for tenant in self.held:
            for name in names:
                self.run(self.sqlite.declare_index(tenant, name))
                self.run(self.postgres.declare_index(tenant, name))

    def forget(self) -> None:
        for tenant in self.held:
            for name in self.run(self.postgres.indexes(tenant)):
                self.run(self.sqlite.drop_index(tenant, name))
                self.run(self.postgres.drop_index(tenant, name))
        assert self.rows_in_index() == 0

    def rows_in_index(self) -> int:
        tables = ("value_number", "value_text", "value_time", "value_box")
        counts = [f"SELECT count(*) FROM {table}" for table in tables]  # noqa: S608 - our own names
        return sum(self.run(self.postgres.connections.value(count)) for count in counts)

    def find(self, query: EntityQuery) -> Found:
        """Ask both; they have to agree."""
        expected, found = self.run(self.sqlite.find("", query)), self.run(self.postgres.find("", query))
        assert found == expected, query
        return found

    def check(self, query: EntityQuery, page: tuple[int, int], wanted: list[str] | None = None) -> None:
        """Ask for all and for a page, with a count and without one."""
        if wanted is None:
            found = [document for document in self.held[""].values() if matches(query, document)]
            wanted = [document["id"] for document in order.sort(query.order, found)]
        limit, offset = page
        for counted in (False, True):
            asked = dataclasses.replace(query, limit=1_000, count=counted)
            assert self.find(asked) == Found(wanted, len(wanted) if counted else None, False)
            asked = dataclasses.replace(query, limit=limit, offset=offset, count=counted)
            more = len(wanted) > offset + limit
            assert self.find(asked) == Found(wanted[offset:][:limit], len(wanted) if counted else None, more)


@pytest.fixture(scope="module")
def pair(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("pair"), cluster.database())
    yield made
    made.close()


# ---------------------------------------------------------------------- every operator against every form


@pytest.fixture(scope="module", params=["without an index", "with an index"])
def grid(pair: Pair, request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair.fill(DOCUMENTS)
    if request.param == "with an index":
        pair.declare(["a"])
    yield pair
    pair.forget()


@pytest.mark.parametrize("path", PATHS)
def test_terms(grid: Pair, path: str) -> None:
    answered = 0
    for text in texts(path):
        query = EntityQuery(q=q.parse(text, CORE), limit=60, offset=3, count=True)
        found = grid.run(grid.postgres.find("", query))
        wanted = answers(EntityQuery(q=query.q))
        assert found == Found(wanted[3:63], len(wanted), len(wanted) > 63), text
        answered += bool(wanted)
    assert answered > 5


@pytest.mark.parametrize("relation", ["near;maxDistance==200000", "near;minDistance==200000", *geo.RELATIONS[1:]])
def test_places(grid: Pair, relation: str) -> None:
    answered = 0
    for kind, coordinates in PLACES:
        asked = geo.parse({"georel": relation, "geometry": kind, "coordinates": coordinates, "geoproperty": "a"}, CORE)
        wanted = answers(EntityQuery(geo=asked))
        grid.check(EntityQuery(geo=asked), (5, 2), wanted)
        answered += bool(wanted)
    assert answered


@pytest.mark.parametrize("selected", [None, "T", "T,U", "(T;U)", "(T;U)|U"])
def test_orders(grid: Pair, selected: str | None) -> None:
    selectors = () if selected is None else (EntitySelector(types=parse_types(selected, CORE)),)
    for keys in orders():
        query = EntityQuery(order=keys, selectors=selectors)
        wanted = answers(query)
        for limit, offset in ((5, 2), (200, 0)):
            found = grid.run(grid.postgres.find("", dataclasses.replace(query, limit=limit, offset=offset)))
            assert found == Found(wanted[offset:][:limit], None, len(wanted) > offset + limit), keys


# ---------------------------------------------------------------------- by chance


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    found=stores,
    asked=st.lists(queries, min_size=12, max_size=12),
    names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    page=st.tuples(st.integers(1, 5), st.integers(0, 5)),
)
def test_both_stores_find_what_matches_says(
    pair: Pair, found: list[Document], asked: list[EntityQuery], names: list[str], page: tuple[int, int]
) -> None:
    pair.fill(found)
    for query in asked:
        pair.check(query, page)
    pair.declare(names)
    try:
        for query in asked:
            pair.check(query, page)
    finally:
        pair.forget()


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=stores, after=stores, asked=st.lists(queries, min_size=6, max_size=6))
def test_the_index_follows_writes(
    pair: Pair, before: list[Document], after: list[Document], asked: list[EntityQuery]
) -> None:
    pair.fill(before)
    pair.declare(list(NAMES))
    try:
        pair.put(after)
        for query in asked:
            pair.check(query, (3, 1))
        followed = pair.rows_in_index()
        held = list(pair.held[""].values())
        pair.forget()
        pair.declare(list(NAMES))
        assert pair.rows_in_index() == followed, "an index that is filled at once has the same rows"
        pair.fill([])
        assert pair.rows_in_index() == 0
        pair.fill(held)
    finally:
        pair.forget()


# ---------------------------------------------------------------------- what documents and questions may hold


def property_of(value: object, **members: object) -> dict[str, Any]:
    return {"type": "Property", "value": value, **members}


def entity(number: int, type: Any = "T", **attributes: object) -> Document:
    head = {"id": f"urn:x:{number}", "type": type, "createdAt": "2026-01-01T00:00:00Z"}
    return {**head, "modifiedAt": "2026-01-01T00:00:00Z", **attributes}


NASTY: list[Document] = [
    entity(1, a=property_of("x\0y")),
    entity(2, a=property_of(["x\0y", "x", {"\0": "\0"}])),
    entity(3, a=property_of(2**53 + 1)),
    entity(4, a=property_of(2**53)),
    entity(5, a=property_of(2**64 - 1)),
    entity(6, a=property_of(-(2**63))),
    entity(7, a=property_of(5e-324)),
    entity(8, a=property_of(-0.0)),
    entity(9, a=property_of('"a":{"type":"Property","value":7}')),
    entity(10, a=property_of({"a": property_of(7)})),
    entity(11, b=property_of(0, a=property_of(7))),
    entity(12, a=property_of(0, a=property_of(7))),
    entity(13, **{'x"a': property_of(7)}),
    entity(14, a={"value": 7, "type": "Property"}),
    entity(15, a=property_of([[[[7], [{"k": [7]}]]]])),
    entity(16, a=[property_of(1), property_of(7, datasetId="urn:d:1"), property_of("7", datasetId="urn:d:2")]),
    entity(17, a={"type": "LanguageProperty", "languageMap": {"ko": "일곱", "en": ["7", "seven"]}}),
    entity(18, a=property_of({"@type": "X", "@value": 7})),
    entity(19, a=property_of(7.0), scope=["/a", "b/c/", "/a\\b/\0"]),
    entity(20, a=property_of(True), scope="/a/b/c"),
    entity(21, a=property_of("\U0001f68c 버스 '?' $1 %s {alias}")),
    entity(22, ["T", "U", "가"], a=property_of("z" * 200)),
    entity(23, "U", a={"type": "Relationship", "object": ["urn:x:1", "urn:x:2"]}),
]
ASKED = [
    *(
        "a==7",
        "a!=7",
        "a>6.5",
        "a<7",
        "a>=7",
        "a==6..8",
        'a=="7"',
        'a=="x\\u0000y"',
        'a=="x"',
        'a<"y"',
        'a>"x"',
        'a>="x"',
    ),
    *(f"a=={2**53 + 1}", f"a>{2**53}", f"a<{2**64}", f"a=={2**64 - 1}", "a>0", "a<0", "a==0", "a>=0;a<1e-300"),
    *("a", "!a", "a.a==7", "b.a", "a[a]", "a[k]==7", 'a=="seven"', 'a[ko]=="일곱"', "a==true", 'a~="^."', 'a!~="x"'),
    *("a==urn:x:1", 'a=="urn:x:2"', "(a==7|b==0);!c", "a==7|a==1", f'a=="{"z" * 200}"', f'a=="{"z" * 56}"', 'a<"z"'),
    *("r{b}==7", "a{b}", "id==urn:x:1", "type==T", "createdAt<2027-01-01T00:00:00Z"),
]


@pytest.mark.parametrize("declared", [[], ["a"], ["a", "b"]])
def test_nasty_documents(pair: Pair, declared: list[str]) -> None:
    pair.fill(NASTY)
    pair.declare(declared)
    try:
        answered = 0
        for text in ASKED:
            for keys in ((), order.parse("a", CORE), order.parse("a;desc", CORE), order.parse("id;desc", CORE)):
                pair.check(EntityQuery(q=q.parse(text, CORE), order=keys), (3, 1))
            answered += bool(pair.find(EntityQuery(q=q.parse(text, CORE))).ids)
        assert answered > len(ASKED) // 2
        for text in ("/a", "/#", "/+/c", "/b/+", "/a/+/c", "b/#", "(/a;/b/c)|/a/b/c", "/+/+/c"):
            pair.check(EntityQuery(scope=scope.parse(text)), (2, 1))
        for names in (("a",), ("b", "c"), ('x"a',), ("id",)):
            found = [document["id"] for document in NASTY if any(name in document and name != "id" for name in names)]
            assert pair.run(pair.postgres.find("", EntityQuery(attributes=names))).ids == found[:20]
    finally:
        pair.forget()


@pytest.mark.parametrize("count", [False, True])
def test_selectors_of_every_kind(pair: Pair, count: bool) -> None:
    pair.fill(NASTY)
    ids = ("urn:x:3", "urn:x:1", "urn:x:3", "urn:x:none", "urn:\0", "urn:\ud800")
    both = TypeSelection((("T", "U"),))
    either = TypeSelection((("T",), ("U",), ("nobody",)))
    kinds = [
        EntitySelector(ids=ids),
        EntitySelector(ids=("\0",)),
        EntitySelector(ids=ids, id_pattern="nobody"),
        EntitySelector(id_pattern=":1"),
        EntitySelector(id_pattern="2$", types=either),
        EntitySelector(ids=ids, types=both),
        EntitySelector(types=both),
        EntitySelector(types=either),
        EntitySelector(types=TypeSelection((("nobody",), ("T", "nobody")))),
        EntitySelector(types=TypeSelection((("\ud800",), ("a\0",)))),
        EntitySelector(types=TypeSelection((("U",),))),
    ]
    for first in kinds:
        for selectors in ((first,), *((first, second) for second in kinds)):
            query = EntityQuery(selectors=selectors, count=count)
            wanted = [document["id"] for document in NASTY if matches(query, document)]
            for keys in ((), order.parse("id", CORE)):
                listed = sorted(wanted) if keys else wanted
                asked = dataclasses.replace(query, limit=3, offset=1, order=keys)
                found = pair.run(pair.postgres.find("", asked))
                assert found == Found(listed[1:4], len(listed) if count else None, len(listed) > 4)


def test_a_test_of_its_own_has_the_last_word(pair: Pair) -> None:
    pair.fill(NASTY)
    last = EntityQuery(extra=lambda document: bool(document["id"].endswith("3")))
    pair.check(last, (1, 1))
    pair.check(dataclasses.replace(last, q=q.parse("a", CORE), order=order.parse("a;desc", CORE)), (1, 1))

    def fail(_: Document) -> bool:
        raise LookupError("the test's own mistake")

    for wrong in (EntityQuery(extra=fail), EntityQuery(extra=fail, count=True)):
        with pytest.raises(LookupError):
            pair.run(pair.postgres.find("", wrong))
    pair.check(last, (1, 1))


def test_texts_that_no_database_takes(pair: Pair) -> None:
    pair.fill(NASTY)
    pair.declare(["a"])
    try:
        for operator, value in (("==", "\ud800"), ("<", "\ud800"), ("==", "\0"), (">", "x\0")):
            asked = q.parse("a" + operator + json.dumps(value), CORE) if value != "\ud800" else _surrogate(operator)
            query = EntityQuery(q=asked, limit=100)
            wanted = [document["id"] for document in NASTY if matches(query, document)]
            assert pair.run(pair.postgres.find("", query)).ids == wanted
    finally:
        pair.forget()


def _surrogate(operator: str) -> q.Node:
    literal = q.Literal(q.Kind.TEXT, "\ud800", "\ud800")
    return q.Term(q.Path(("a",)), operator, (literal,))
