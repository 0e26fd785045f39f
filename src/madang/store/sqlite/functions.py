# SPDX-License-Identifier: Apache-2.0
"""SQL functions that decide in Python what SQL alone cannot; each is handed the parsed question as an object.

SQLite passes such an object through a statement as a pointer (`apsw.pyobject`), so nothing is rendered or parsed again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import apsw
import orjson

from madang.model.query import geo, regex, scope
from madang.model.query.geo import GeoQuery
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery
from madang.model.query.order import OrderKey, comparable, comparable_text, distance_of_point, is_last
from madang.model.query.q_match import fulfils
from madang.model.query.q_tree import Expression, Term
from madang.model.query.scope import ScopeQuery
from madang.model.query.values import targets


def register(connection: apsw.Connection) -> None:
    """Make the functions known to a connection; every connection that runs narrowed queries needs them."""
    functions: dict[str, tuple[Callable[..., Any], int]] = {
        "madang_fulfils": (_fulfils, 2),
        "madang_finds": (_finds, 2),
        "madang_place": (_place, 2),
        "madang_scope": (_scope, 2),
        "madang_order": (_order, 2),
        "madang_order_text": (_order_text, 2),
        "madang_id_finds": (_id_finds, 2),
        "madang_answers": (_answers, 2),
        "madang_absent": (is_last, 1),
        "madang_distance": (distance_of_point, 3),
        "madang_point": (geo.fits_point, 3),
    }
    for name, (function, arguments) in functions.items():
        connection.create_scalar_function(name, function, arguments, deterministic=True)


def _answers(query: EntityQuery, body: str) -> bool:
    return matches(query, orjson.loads(body))


def _fulfils(term: Term, attribute: str | None) -> bool:
    """Whether the JSON of the first attribute of the term's path fulfils the term."""
    if attribute is None:
        return False
    document = {term.path.names[0]: orjson.loads(attribute)}
    return any(fulfils(term, target) for target in targets(document, term.path))


def _finds(expression: Expression, text: str | None) -> bool:
    return text is not None and regex.found(expression.pattern, text)


def _id_finds(pattern: str, id: str) -> bool:
    return regex.found(regex.compile(pattern, "idPattern"), id)


def _place(query: GeoQuery, attribute: str | None) -> bool:
    return attribute is not None and geo.matches(query, {query.attribute: orjson.loads(attribute)})


def _scope(query: ScopeQuery, scopes: str | None) -> bool:
    return scopes is not None and scope.matches(query, {"scope": orjson.loads(scopes)})


def _order(part: OrderKey, attribute: str | None) -> int | float | bytes | None:
    if attribute is None:
        return None
    return comparable(part, {part.path.names[0]: orjson.loads(attribute)})


@lru_cache(maxsize=20_000)
def _order_text(part: OrderKey, text: str) -> bytes:
    return comparable_text(part, text)
