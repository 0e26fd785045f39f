# SPDX-License-Identifier: Apache-2.0
"""Questions that SQL alone cannot decide: it narrows, `matches` decides, document by document (decision 0005)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import apsw
import orjson

from madang.model.entity import Document
from madang.model.query import order
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery, Found

if TYPE_CHECKING:
    from madang.store.sqlite.narrow import Narrowed


def find(connection: apsw.Connection, narrowed: Narrowed, query: EntityQuery) -> Found:
    """Return the page of ids for a question already narrowed."""
    if not narrowed.exact or (query.order and narrowed.order is None):
        return _find_by_asking(connection, narrowed, query)
    ids: list[str] = []
    if query.limit:
        page = narrowed.select("e.id", order=narrowed.order or "e.key", limit=query.limit + 1, offset=query.offset)
        ids = [row[0] for row in connection.execute(*page)]
    count = connection.execute(*narrowed.select("count(*)")).get if query.count else None
    return Found(ids[: query.limit], count, len(ids) > query.limit)


def _find_by_asking(connection: apsw.Connection, narrowed: Narrowed, query: EntityQuery) -> Found:
    answers = _answers(connection, narrowed, query)
    if query.order and narrowed.order is None:
        answers = iter(order.sort(query.order, answers))
    end = query.offset + query.limit
    ids: list[str] = []
    number = 0
    for document in answers:
        if query.offset <= number < end:
            ids.append(document["id"])
        number += 1
        if number > end and not query.count:
            break
    return Found(ids, number if query.count else None, number > end)


def _answers(connection: apsw.Connection, narrowed: Narrowed, query: EntityQuery) -> Iterator[Document]:
    statement = narrowed.select("json(e.body)", order=narrowed.order or "e.key")
    for (body,) in connection.execute(*statement):
        document = orjson.loads(body)
        if matches(query, document):
            yield document
