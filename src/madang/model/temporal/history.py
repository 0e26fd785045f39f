# SPDX-License-Identifier: Apache-2.0
"""Questions to the history and what comes back: the values that pass between the faces, the core and a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from madang.base.limits import PAGE_ENTITIES_DEFAULT
from madang.model.entity import Document
from madang.model.query.model import EntitySelector
from madang.model.temporal.aggregation import Result
from madang.model.temporal.evolution import Evolution, Interval, StoredInstance
from madang.model.temporal.query import Window


@dataclass(frozen=True, slots=True)
class HistoryTest:
    """An exact test on the instances of a window, put together as one document (clause 5.7.4.4: q and geoquery)."""

    matches: Callable[[Document], bool]
    attributes: frozenset[str]  # those that the test looks at


@dataclass(frozen=True, slots=True)
class HistoryQuestion:
    """Which entities have history in a window: the conditions of clause 5.7.4.4, combined with AND."""

    window: Window
    selectors: tuple[EntitySelector, ...] = ()
    only: frozenset[str] | None = None  # ids, as an EntityMap fixes them
    attributes: tuple[str, ...] = ()  # at least one must have an instance in the window; empty: any attribute
    excluded: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()  # "@none" is the default instance
    test: HistoryTest | None = None
    scope: Callable[[list[str]], bool] | None = None
    limit: int = PAGE_ENTITIES_DEFAULT
    offset: int = 0
    count: bool = False
    descending: bool | None = None  # by id; None: in order of creation
    now: str = ""  # DateTime text: what has expired by then is not there


@dataclass(frozen=True, slots=True)
class HistoryFound:
    """A page of entity ids; `intervals` are the parts of the window in which an entity's scopes fulfil the question."""

    ids: list[str]
    count: int | None = None
    more: bool = False
    intervals: Mapping[str, Sequence[Interval]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HistoryReading:
    """What to read of some entities. Attributes by canonical name."""

    window: Window
    attributes: tuple[str, ...] | None = None  # None: all
    excluded: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    scopes: bool = True
    instances_max: int | None = None  # per attribute and page; None: all
    intervals: Mapping[str, Sequence[Interval]] = field(default_factory=dict)
    now: str = ""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Evolutions in the order of the ids; those without an instance in the window are left out.

    `cut_us`: the page holds everything up to that moment (back to it, with lastN) and no more; None: all of the window.
    """

    evolutions: list[Evolution]
    cut_us: int | None = None


class AggregatedSeries(NamedTuple):
    """The aggregated values of one attribute and dataset."""

    type: str
    dataset: str | None
    result: Result


class AggregatedEvolution(NamedTuple):
    evolution: Evolution  # without instances
    attributes: dict[str, list[AggregatedSeries]]


class HistoryState(NamedTuple):
    """What is known of an entity's history before it is written to."""

    types: list[str]
    present: bool  # it has a current state
    written_by_history_only: bool  # every row came through the temporal API, so the current state is its shadow


class HistoryVersion(NamedTuple):
    """The version in force of a history instance."""

    sequence: int  # of its row
    dataset: str | None
    stored: StoredInstance
