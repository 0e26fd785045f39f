# SPDX-License-Identifier: Apache-2.0
"""The conditions of a query as JSON, and back: for what is kept longer than the request that asked (entity maps)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

from madang.model.entity import Json
from madang.model.query import geo, q_tree, regex, scope
from madang.model.query.model import EntityQuery, EntitySelector, TypeSelection

_IS: Final = "is"
_CLASSES: Final[dict[str, Any]] = {
    each.__name__: each
    for each in (
        *(EntitySelector, TypeSelection, geo.GeoQuery, scope.ScopePattern, scope.ScopeAnd, scope.ScopeOr),
        *(q_tree.And, q_tree.Or, q_tree.Term, q_tree.Path, q_tree.Link, q_tree.Literal, q_tree.Range),
    )
}
_CONDITIONS: Final = ("selectors", "attributes", "q", "geo", "scope", "datasets")
_INTEGER_MAX: Final = (1 << 63) - 1  # of JSON here


def query_as_json(query: EntityQuery) -> dict[str, Json]:
    """Return the conditions of a query; page and order are left out."""
    return {name: _as_json(getattr(query, name)) for name in _CONDITIONS}


def query_from_json(data: dict[str, Json]) -> EntityQuery:
    """Return the query with the conditions that `query_as_json` gave."""
    return EntityQuery(**{name: _from_json(data[name]) for name in _CONDITIONS})


def _as_json(value: Any) -> Json:
    if isinstance(value, tuple):
        return [_as_json(each) for each in value]
    if isinstance(value, q_tree.Expression):
        return {_IS: "Expression", "text": value.text}
    if dataclasses.is_dataclass(value):
        members = {field.name: _as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {_IS: type(value).__name__, **members}
    if isinstance(value, q_tree.Kind):
        return {_IS: "Kind", "text": value.value}
    if type(value) is int and abs(value) > _INTEGER_MAX:
        return {_IS: "int", "text": str(value)}
    if type(value) is float and not math.isfinite(value):
        return {_IS: "float", "text": str(value)}
    assert value is None or isinstance(value, (str, bool, int, float)), f"{type(value)} is no part of a query"
    return value


def _from_json(data: Json) -> Any:
    if isinstance(data, list):
        return tuple(_from_json(each) for each in data)
    if not isinstance(data, dict):
        return data
    name = data[_IS]
    if name in _CLASSES:
        return _CLASSES[name](**{member: _from_json(value) for member, value in data.items() if member != _IS})
    text = data["text"]
    if name == "Expression":
        return q_tree.Expression(text, regex.compile(text, "q"))
    return {"Kind": q_tree.Kind, "int": int, "float": float}[name](text)
