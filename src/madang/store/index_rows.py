# SPDX-License-Identifier: Apache-2.0
"""What a document has in the value index, whichever back-end keeps it: numbers, texts, moments and places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from madang.base.times import try_date_time
from madang.model.entity import Document, Instance, Json
from madang.model.query import geometry
from madang.model.query.q_tree import Path
from madang.model.query.values import Shape, Target, plain_value, targets

# What a row may answer. FIRST: the plain value of the first instance, by which entities are ordered too.
# OTHER: the plain value of another instance, or a text in one of the languages. MEMBER: member of an array or object of
# a relationship, which == finds but < and > do not. NAME: canonical name of a vocabulary.
FIRST, OTHER, MEMBER, NAME = range(4)

NUMBER, TEXT, TIME, BOX = "value_number", "value_text", "value_time", "value_box"

# Stands among the numbers for a first instance that is something else; it comes after all of them.
NO_NUMBER: Final = b""
_INTEGER_MAX: Final = 1 << 63

# (table, attribute key, value or box, kind)
Row: TypeAlias = tuple[str, int, Any, int]


def rows_for(document: Document | None, attributes: Mapping[str, int], text_characters_max: int) -> set[Row]:
    """Return the rows that a document has in the index; `attributes` are the declared ones with their keys.

    Longer texts are cut, so that a comparison with them must look at the document.
    """
    rows: set[Row] = set()
    if document is None:
        return rows
    for name, key in attributes.items():
        if name in document:
            rows.update(rows_of_attribute(name, key, document[name], text_characters_max))
    return rows


def rows_of_attribute(name: str, key: int, value: Json, text_characters_max: int) -> Iterator[Row]:
    """Yield the rows of one attribute, whose instance or list of instances is `value`; some may come twice."""
    for position, target in enumerate(targets({name: value}, Path((name,)))):
        first = _ordered_by(target)
        if position == 0 and not _is_number(first) and first is not None:
            yield NUMBER, key, NO_NUMBER, FIRST
        kind = _kind_of(target, position)
        for item in target.value if isinstance(target.value, list) else [target.value]:
            yield from _scalar_rows(key, plain_value(item), kind, text_characters_max)
    instances: list[Instance] = value if isinstance(value, list) else [value]
    for instance in instances:
        if instance.get("type") == "GeoProperty":
            box = _box_of(instance.get("value"))
            if box is not None:
                yield BOX, key, box, FIRST


def _ordered_by(target: Target) -> Json:
    """Return what `madang.model.query.order` looks at: the first of several languages, if there is one."""
    if target.shape is Shape.LANGUAGES:
        return target.value[0] if target.value else None
    return target.value


def _kind_of(target: Target, position: int) -> int:
    if target.shape is Shape.VOCABULARY:
        return NAME
    if target.shape is Shape.LANGUAGES:
        # The texts of all languages compare like values of their own.
        return OTHER
    if target.shape is Shape.URIS or isinstance(target.value, list):
        return MEMBER
    return FIRST if position == 0 else OTHER


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scalar_rows(key: int, value: Json, kind: int, text_characters_max: int) -> Iterator[Row]:
    if isinstance(value, str):
        yield TEXT, key, value[:text_characters_max], kind
        moment = try_date_time(value) if value[-1:] == "Z" and kind != NAME else None
        if moment is not None:
            yield TIME, key, moment, kind
    elif _is_number(value):
        yield NUMBER, key, value if abs(value) < _INTEGER_MAX else _double(value), kind


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _box_of(value: Json) -> geometry.Bounds | None:
    if not isinstance(value, dict):
        return None
    box = geometry.bounds(value.get("coordinates"))
    if box is None or -180 <= box[0] <= box[2] <= 180:
        return box
    # Longitudes beyond 180 stand for places on the other side: such a box is looked at for every place.
    return -180.0, box[1], 180.0, box[3]
