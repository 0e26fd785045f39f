# SPDX-License-Identifier: Apache-2.0
"""Every operator against every form of an attribute, in SQL and in Python: the same answers in the same order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from madang.model.jsonld.context import CORE
from madang.model.query import geo, q
from madang.model.query.model import EntityQuery, EntitySelector
from madang.model.query.types import parse as parse_types
from madang.store.sqlite.narrow import narrow
from tests.query_base import QueryBase
from tests.query_grid import DOCUMENTS, PATHS, PLACES, answers, orders, texts


@pytest.fixture(scope="module")
def base() -> Iterator[QueryBase]:
    found = QueryBase()
    found.fill(DOCUMENTS)
    yield found
    found.connection.close()


@pytest.fixture(scope="module", params=["without an index", "with an index"])
def filled(base: QueryBase, request: pytest.FixtureRequest) -> Iterator[QueryBase]:
    if request.param == "with an index":
        base.declare(["a"])
    yield base
    base.forget()


def check(base: QueryBase, query: EntityQuery) -> None:
    wanted = answers(query)
    narrowed = narrow(query, 1, base.index.declared(1))
    assert narrowed.exact
    by = narrowed.order or "e.key"
    everything = base.connection.execute(*narrowed.select("e.id", order=by)).fetchall()
    assert [id for (id,) in everything] == wanted
    page = base.connection.execute(*narrowed.select("e.id", order=by, limit=60, offset=3)).fetchall()
    assert [id for (id,) in page] == wanted[3:63]


@pytest.mark.parametrize("path", PATHS)
def test_terms(filled: QueryBase, path: str) -> None:
    answered = 0
    for text in texts(path):
        query = EntityQuery(q=q.parse(text, CORE))
        check(filled, query)
        answered += bool(answers(query))
    assert answered > 5


@pytest.mark.parametrize("relation", ["near;maxDistance==200000", "near;minDistance==200000", *geo.RELATIONS[1:]])
def test_places(filled: QueryBase, relation: str) -> None:
    answered = 0
    for kind, coordinates in PLACES:
        asked = geo.parse({"georel": relation, "geometry": kind, "coordinates": coordinates, "geoproperty": "a"}, CORE)
        check(filled, EntityQuery(geo=asked))
        answered += bool(answers(EntityQuery(geo=asked)))
    assert answered


@pytest.mark.parametrize("selected", [None, "T", "T,U", "(T;U)", "(T;U)|U"])
def test_orders(filled: QueryBase, selected: str | None) -> None:
    selectors = () if selected is None else (EntitySelector(types=parse_types(selected, CORE)),)
    for keys in orders():
        check(filled, EntityQuery(order=keys, selectors=selectors))
        check(filled, EntityQuery(order=keys, selectors=selectors, q=q.parse("a==1|a", CORE)))
