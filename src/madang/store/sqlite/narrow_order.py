# SPDX-License-Identifier: Apache-2.0
"""The order of clause 4.23 as SQL: numbers as they are, everything else through `madang.model.query.order`."""

from __future__ import annotations

from typing import Final

import apsw

from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS
from madang.model.query.order import Order, OrderKey
from madang.store.sqlite.sql import Sql, json_of, json_path, kind_of, member

_HUB_MOMENTS: Final = frozenset({"createdAt", "modifiedAt"})
CREATION: Final = "e.key"


def order_sql(order: Order) -> Sql | None:
    """Return what stands after ORDER BY, ending with the order of creation; None without an order that SQL has."""
    if not order:
        return None
    texts: list[str] = []
    parameters: list[object] = []
    for part in order:
        value = order_value(part)
        if value is None:
            return None
        texts.append(f"{value.text} {direction(part)}")
        parameters += value.parameters
    return Sql(", ".join((*texts, CREATION)), tuple(parameters))


def direction(part: OrderKey) -> str:
    return "DESC NULLS LAST" if part.backwards else "ASC NULLS LAST"


def order_value(part: OrderKey) -> Sql | None:
    """Return the expression for what one member is compared by (`order.comparable`), NULL when it is absent."""
    path = part.path
    root = json_path(path.names[0])
    if root is None or path.links:
        return None
    if path.names == ("id",) and not path.members and part.reference is None:
        return Sql("e.id")
    if len(path.names) == 1 and path.names[0] in _HUB_MOMENTS and not path.members and part.reference is None:
        # The hub writes six digits of a fraction or none: without the Z the texts compare like their moments.
        return Sql(f"rtrim({member(root)}, 'Z')")
    asked = Sql(f"madang_order(?, {json_of(root)})", (apsw.pyobject(part),))
    if part.reference is not None and len(path.names) == 1 and not path.members:
        return _distance(part, root, asked)
    place = json_path(*path.names, "value", *path.keys)
    last_is_member = path.names[-1] in INSTANCE_MEMBERS and len(path.names) > 1
    if place is None or part.reference is not None or path.names[0] in ENTITY_MEMBERS or last_is_member:
        return asked
    text = (
        f"CASE {kind_of(place)} WHEN 'real' THEN {member(place)} WHEN 'integer' THEN {member(place)} "
        f"WHEN 'text' THEN madang_order_text(?, {member(place)}) ELSE {asked.text} END"
    )
    return Sql(text, (apsw.pyobject(part), *asked.parameters))


def _distance(part: OrderKey, root: str, asked: Sql) -> Sql:
    """Measure from the numbers of a single Point, without reading the JSON around them."""
    longitude, latitude = f"{root}.value.coordinates[0]", f"{root}.value.coordinates[1]"
    text = (
        f"CASE WHEN {member(root + '.type')} = 'GeoProperty' AND {kind_of(longitude)} IN ('real', 'integer') "
        f"THEN madang_distance(?, {member(longitude)}, {member(latitude)}) ELSE {asked.text} END"
    )
    return Sql(text, (apsw.pyobject(part), *asked.parameters))
