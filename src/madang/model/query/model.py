# SPDX-License-Identifier: Apache-2.0
"""The parsed question: everything a store needs to find entities, with canonical names inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from madang.base.limits import PAGE_ENTITIES_DEFAULT

if TYPE_CHECKING:
    from madang.model.entity import Document


@dataclass(frozen=True, slots=True)
class EntitySelector:
    """One alternative of EntityInfo (clause 5.2.33): all the given members must fit. Empty members do not restrict."""

    ids: tuple[str, ...] = ()
    id_pattern: str | None = None
    types: TypeSelection | None = None


@dataclass(frozen=True, slots=True)
class TypeSelection:
    """Entity type selection (clause 4.17) in disjunctive form: any of the groups, all names of a group.

    `A,B` and `A|B` are `any_of=(("A",), ("B",))`; `(A;B)|C` is `(("A", "B"), ("C",))`. `*` is no selection.
    """

    any_of: tuple[tuple[str, ...], ...]

    def fits(self, types: list[str]) -> bool:
        return any(all(name in types for name in group) for group in self.any_of)


@dataclass(frozen=True, slots=True)
class EntityQuery:
    """Which entities, in which order, which page. Filters are combined with AND; `selectors` among themselves with OR.

    q, geo, scope and order hold the trees of their own modules (`q.py`, `geo.py`, `scope.py`, `order.py`).
    """

    selectors: tuple[EntitySelector, ...] = ()
    attributes: tuple[str, ...] = ()  # entity has at least one of these (the `attrs` filter; also set from `pick`)
    q: Any = None  # madang.model.query.q.Node
    geo: Any = None  # madang.model.query.geo.GeoQuery
    scope: Any = None  # madang.model.query.scope.ScopeQuery
    datasets: tuple[str, ...] = ()  # datasetId filter; "@none" is the default instance
    order: tuple[Any, ...] = ()  # madang.model.query.order.OrderKey; empty: order of creation
    limit: int = PAGE_ENTITIES_DEFAULT
    offset: int = 0
    count: bool = False
    # An exact test that no store can express (joins); called with the document, on whichever thread scans.
    extra: Callable[[Document], bool] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Found:
    """A page of answers: entity ids in order; `count` is the number of all matches when asked for, else None."""

    ids: list[str]
    count: int | None = None
    more: bool = False  # at least one match lies behind this page
