# SPDX-License-Identifier: Apache-2.0
"""What every store does alike when it reads history: entities out of rows, creations, windows and their parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeGuard

from madang.base.times import format_date_time, parse_date_time, try_date_time
from madang.model.change import Operation
from madang.model.entity import Document, Instance, Json, attributes_of, types_of
from madang.model.query import regex
from madang.model.query.model import EntitySelector
from madang.model.temporal.aggregation import Kind, Point, point
from madang.model.temporal.evolution import (
    MADE_BY_HISTORY,
    Evolution,
    Interval,
    ScopeRow,
    StoredInstance,
    is_tombstone,
)
from madang.model.temporal.history import AggregatedSeries, HistoryReading, HistoryState
from madang.model.temporal.query import Window
from madang.model.transient import live

# The rows that say of what type an entity is from then on.
_TYPED: Final = (Operation.ENTITY_CREATED, Operation.TYPE_CHANGED, Operation.HISTORY_DELETED)
FIRST_MOMENT: Final = -(1 << 62)
LAST_MOMENT: Final = 1 << 62

# Without a temporal query everything is shown: what was observed by that time, the rest by when it was written.
OBSERVED_WINDOW: Final = Window(named=True)
UNOBSERVED_WINDOW: Final = Window("modifiedAt", named=True)

# What only the Core API writes; the temporal API writes TYPE_CHANGED, HISTORY_… and creations that say so.
CORE_OPERATIONS: Final = (
    Operation.ATTRIBUTE_CREATED,
    Operation.ATTRIBUTE_UPDATED,
    Operation.ATTRIBUTE_DELETED,
    Operation.SCOPE_CHANGED,
    Operation.ENTITY_TOUCHED,
    Operation.ENTITY_DELETED,
)

# ---------------------------------------------------------------------- entities


class EntityRow(NamedTuple):
    """A row in sight of an entity itself or of its scope, as a store reads it."""

    sequence: int
    time_us: int
    operation: int
    value: Json


class CreatedInstance(NamedTuple):
    """An attribute instance that stands in the one row of its entity's creation."""

    sequence: int
    time_us: int
    value: Instance

    @property
    def dataset(self) -> str | None:
        return self.value.get("datasetId")

    @property
    def observed_us(self) -> int | None:
        return try_date_time(self.value.get("observedAt"))


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of an entity besides the rows of its attributes."""

    key: int  # the store's own number for the entity
    document: Document | None
    evolution: Evolution
    rows: list[ScopeRow]  # of the entity and its scope
    created: Mapping[str, list[CreatedInstance]] = field(default_factory=dict)  # by attribute


def meta_of(key: int, id: str, document: Document | None, given: Iterable[EntityRow]) -> Meta:
    """Return what rows tell of an entity; they may come in any order."""
    rows: list[ScopeRow] = []
    created: dict[str, list[CreatedInstance]] = {}
    for sequence, time_us, operation, value in given:
        if operation == Operation.ENTITY_CREATED and is_bundle(value):
            sequence += _add_heads(rows, sequence, time_us, value)
            for name, instances in attributes_of(value):
                some = created.setdefault(name, [])
                for instance in instances:
                    some.append(CreatedInstance(sequence, time_us, instance))
                    sequence += 1
        else:
            rows.append(_scope_row(sequence, time_us, Operation(operation), value))
    rows.sort(key=lambda row: row.sequence)
    return Meta(key, document, _evolution(id, document, rows), rows, created)


def _add_heads(rows: list[ScopeRow], sequence: int, time_us: int, document: Document) -> int:
    """Add the rows that stand before the attributes in a creation (see `creation_changes`); return how many."""
    rows.append(_scope_row(sequence, time_us, Operation.ENTITY_CREATED, {"type": document["type"]}))
    scope = document.get("scope")
    if scope is None:
        return 1
    value = {"type": "Property", "value": scope}
    rows.append(_scope_row(sequence + 1, time_us, Operation.SCOPE_CHANGED, value))
    return 2


def is_bundle(value: Json) -> TypeGuard[Document]:
    """Tell whether the value of an ENTITY_CREATED row is the whole document (see `creation_changes`)."""
    return isinstance(value, dict) and "id" in value


def _scope_row(sequence: int, time_us: int, operation: Operation, value: Json) -> ScopeRow:
    return ScopeRow(sequence, time_us, operation, value, format_date_time(time_us))


def _evolution(id: str, document: Document | None, rows: Sequence[ScopeRow]) -> Evolution:
    if document is not None:
        return Evolution(
            id,
            types_of(document),
            parse_date_time(document["createdAt"]),
            parse_date_time(document["modifiedAt"]),
            expires_at=document.get("expiresAt"),
        )
    types: list[str] = []
    created_us = deleted_us = modified_us = 0
    for row in rows:
        if row.operation in _TYPED and isinstance(row.value, dict) and "type" in row.value:
            types = types_of(row.value)
            created_us = created_us or row.time_us
        elif row.operation is Operation.ENTITY_DELETED:
            deleted_us = row.time_us
        modified_us = max(modified_us, row.time_us)
    return Evolution(id, types, created_us or modified_us, modified_us, deleted_us or None)


def is_told(meta: Meta) -> bool:
    """Tell whether a row of the entity itself says more than that history was taken out."""
    return any(row.operation is not Operation.HISTORY_DELETED for row in meta.rows)


def is_made_by_history(meta: Meta) -> bool:
    """Tell whether the current state was made through the temporal API, by what its creations say."""
    creations = [row.value for row in meta.rows if row.operation is Operation.ENTITY_CREATED]
    return all(isinstance(value, dict) and value.get(MADE_BY_HISTORY) for value in creations)


def state_of(meta: Meta, *, by_history_only: bool) -> HistoryState:
    return HistoryState(meta.evolution.types, meta.document is not None, by_history_only)


# ---------------------------------------------------------------------- selectors


class Selection:
    """The selectors of a question with their patterns compiled."""

    def __init__(self, selectors: Sequence[EntitySelector]) -> None:
        self._pairs: list[tuple[EntitySelector, Any]] = [
            (each, None if each.id_pattern is None else regex.compile(each.id_pattern, "idPattern"))
            for each in selectors
        ]
        # SQL checks ids and types of one selector, but not which id goes with which type among several.
        self.plain = not any(pattern for _, pattern in self._pairs) and (
            len(selectors) < 2 or not any(each.ids for each in selectors)
        )

    def may_fit(self, id: str) -> bool:
        """Tell whether an entity may be meant, by its id alone."""
        return not self._pairs or any(_id_fits(selector, pattern, id) for selector, pattern in self._pairs)

    def fits(self, id: str, types: Sequence[str]) -> bool:
        return not self._pairs or any(
            _id_fits(selector, pattern, id) and (selector.types is None or selector.types.fits(list(types)))
            for selector, pattern in self._pairs
        )


def _id_fits(selector: EntitySelector, pattern: Any, id: str) -> bool:
    return (not selector.ids or id in selector.ids) and (pattern is None or regex.found(pattern, id))


# ---------------------------------------------------------------------- instances


class Viewpoint:
    """From where instances are looked at: the window, the datasets and the present moment of a reading."""

    def __init__(self, reading: HistoryReading) -> None:
        self.window = reading.window
        self._datasets = reading.datasets
        self._now_us = try_date_time(reading.now) or 0

    def live(self, instance: Instance) -> Instance | None:
        """Return what has not expired of an instance; None when nothing is left."""
        kept = live({"instance": instance}, self._now_us)
        return None if kept is None else kept.get("instance")

    def wanted(self, dataset: str | None) -> bool:
        return not self._datasets or (dataset or "@none") in self._datasets

    def created(self, meta: Meta, name: str, part: Interval) -> list[StoredInstance]:
        """Return the instances that the attribute was created with."""
        found = []
        for each in meta.created.get(name, ()):
            moment_us = self._moment(each) if self.wanted(each.dataset) else None
            if moment_us is not None and holds(part, moment_us):
                value = self.live(each.value)
                if value is not None:
                    found.append(StoredInstance(each.sequence, moment_us, each.time_us, each.time_us, value))
        return found

    def _moment(self, created: CreatedInstance) -> int | None:
        window = self.window
        if window.time_property in ("createdAt", "modifiedAt"):
            return created.time_us
        if window.time_property == "deletedAt":
            return None
        observed_us = created.observed_us
        return created.time_us if observed_us is None and window.free else observed_us

    def constant(self, latest: Mapping[str | None, tuple[int, Instance]]) -> list[Instance]:
        """Return what holds all the time, of the latest instance by dataset (C.5.5)."""
        instances = (self.live(value) for _, value in latest.values())
        return [instance for instance in instances if instance is not None and not is_tombstone(instance)]


def created_latest(meta: Meta, name: str) -> dict[str | None, tuple[int, Instance]] | None:
    """Return the last created instance by dataset, with its sequence; None when one of them has an observedAt."""
    created = meta.created.get(name, ())
    if any(each.observed_us is not None for each in created):
        return None
    return {each.dataset: (each.sequence, each.value) for each in created}


def merged(
    one: list[StoredInstance], other: list[StoredInstance], *, descending: bool, limit: int | None
) -> list[StoredInstance]:
    """Return both in the order of time, or against it."""
    both = sorted([*one, *other], key=lambda row: (row.moment_us, row.instance), reverse=descending)
    return both if limit is None else both[:limit]


def holds(part: Interval, moment_us: int) -> bool:
    return (part[0] is None or part[0] <= moment_us) and (part[1] is None or moment_us < part[1])


def narrow(part: Interval, bound: Interval) -> Interval | None:
    """Return what lies in both intervals; None when nothing does."""
    start_us = part[0] if bound[0] is None else bound[0] if part[0] is None else max(part[0], bound[0])
    end_us = part[1] if bound[1] is None else bound[1] if part[1] is None else min(part[1], bound[1])
    return None if start_us is not None and end_us is not None and start_us >= end_us else (start_us, end_us)


def window_parts(reading: HistoryReading) -> tuple[Interval, ...]:
    return ((reading.window.start_us, reading.window.end_us),)


def parts_for(reading: HistoryReading, id: str) -> Sequence[Interval]:
    """Return the parts of the window that count for an entity."""
    return reading.intervals.get(id) or window_parts(reading)


# ---------------------------------------------------------------------- pages


class Cut:
    """The one moment at which attributes with too many instances cut a page of evolutions (clause 6.3.10)."""

    def __init__(self, reading: HistoryReading) -> None:
        self.moment_us: int | None = None
        self.backwards = reading.window.last_n is not None
        self._reading = reading

    @property
    def limit(self) -> int | None:
        """How many instances of an attribute are read at first: one more than fits when there may be more."""
        most, last_n = self._reading.instances_max, self._reading.window.last_n
        return last_n if most is None or (last_n is not None and last_n <= most) else most + 1

    def is_too_long(self, rows: Sequence[StoredInstance]) -> bool:
        most, last_n = self._reading.instances_max, self._reading.window.last_n
        return most is not None and (last_n is None or last_n > most) and len(rows) > most

    def needs_following(self, rows: Sequence[StoredInstance]) -> int | None:
        """Return the moment after which the next instance has to be looked for before the page can be cut.

        The next page starts where this one ends: a page of one moment only would come back for ever.
        """
        moment_us = self._last(rows)
        return moment_us if not self.backwards and moment_us == self._reading.window.start_us else None

    def at(self, rows: Sequence[StoredInstance]) -> None:
        """Cut at the last instance that fits."""
        self.at_moment(self._last(rows))

    def at_moment(self, moment_us: int) -> None:
        nearest = max if self.backwards else min
        self.moment_us = moment_us if self.moment_us is None else nearest(self.moment_us, moment_us)

    def _last(self, rows: Sequence[StoredInstance]) -> int:
        assert self._reading.instances_max is not None
        return rows[self._reading.instances_max - 1].moment_us

    def goes_on(self, rows: Sequence[StoredInstance]) -> bool:
        """Tell whether more instances of the last moment than fit have to be read: they belong together."""
        most = self._reading.instances_max
        return most is not None and len(rows) > most and self.moment_us in (None, rows[most].moment_us)

    @property
    def bound(self) -> Interval:
        """The part of time that the page holds."""
        if self.backwards:
            return self.moment_us, None
        return None, None if self.moment_us is None else self.moment_us + 1

    def put(self, evolution: Evolution, name: str, read: Sequence[StoredInstance], rows: list[StoredInstance]) -> None:
        """Give an attribute to its evolution: those rows that lie on the page, or the type of what was read."""
        kept = [row for row in rows if holds(self.bound, row.moment_us)]
        evolution.attributes[name] = kept[::-1] if self.backwards else kept
        if not kept:
            evolution.attribute_types[name] = read[0].value.get("type", "Property")


# ---------------------------------------------------------------------- aggregation


def points_of(rows: Iterable[StoredInstance]) -> dict[tuple[str, str | None], list[Point]]:
    """Return what aggregation needs, by type and dataset; a tombstone has no value to aggregate."""
    series: dict[tuple[str, str | None], list[Point]] = {}
    for row in rows:
        if not is_tombstone(row.value):
            of = (row.value.get("type", "Property"), row.value.get("datasetId"))
            series.setdefault(of, []).append(point(row.moment_us, row.value))
    return series


def plain_numbers(series: Mapping[tuple[str, str | None], Iterable[Point]]) -> bool:
    """Tell whether all points are numbers of Properties, which can be joined with those in rows."""
    return all(
        type == "Property" and each.kind is Kind.NUMBER for (type, _), points in series.items() for each in points
    )


def in_order(series: Iterable[AggregatedSeries]) -> list[AggregatedSeries]:
    """Return series in the order in which they are shown: the default one first, then by dataset."""
    return sorted(series, key=lambda each: (each.dataset is not None, each.dataset or "", each.type))


def moments_of(series: Mapping[Any, Sequence[Point]]) -> Iterator[int]:
    return (each.moment_us for points in series.values() for each in points)
