# SPDX-License-Identifier: Apache-2.0
"""The entities that a question to the history may mean, in their order and a few at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from madang.store.postgres.history_reading import Conditions, Snapshot

_TYPED: Final = "FROM entity_type e WHERE e.tenant = $1 AND e.type = "
_ALSO_TYPED: Final = (
    " AND EXISTS (SELECT 1 FROM entity_type o WHERE o.tenant = e.tenant AND o.id = e.id AND o.type = {})"
)
_PRESENT: Final = "FROM entity e WHERE e.tenant = $1 AND e.body IS NOT NULL"
_PAST: Final = "FROM entity e WHERE e.tenant = $1 AND e.body IS NULL"


class Candidates:
    """Entities out of several sources, merged.

    Args:
        descending: the order by id; None: in the order of creation.
        only: the ids among which they are; None when that is not known.
    """

    def __init__(self, log: Snapshot, *, descending: bool | None, only: Sequence[str] | None) -> None:
        self._log = log
        self._descending = descending
        self._only = only
        self._sources: list[_Source] = []
        self._last: str | None = None

    def add_typed(self, types: Sequence[int]) -> None:
        """Add the entities with a current state that has all of the types (keys)."""
        given = self._given()
        first, *others = (given.bind(key, "integer") for key in types)
        self._add(_TYPED + first + "".join(_ALSO_TYPED.format(other) for other in others), given, past=False)

    def add_present(self) -> None:
        """Add the entities with a current state."""
        self._add(_PRESENT, self._given(), past=False)

    def add_past(self) -> None:
        """Add the entities of which only history is left; only that can tell their types."""
        self._add(_PAST, self._given(), past=True)

    def _given(self) -> Conditions:
        given = Conditions()
        if self._only is not None:
            given.add(f"e.id = ANY({given.bind(list(self._only), 'text[]')})")
        return given

    def _add(self, sql: str, given: Conditions, *, past: bool) -> None:
        self._sources.append(_Source(self._log, sql + given.sql, given, descending=self._descending, past=past))

    async def next(self, count: int) -> dict[str, bool]:
        """Return some more by id, with whether only history is left; none when there are no more.

        Args: count: how many are read of each source.
        """
        found: dict[str, bool] = {}
        while not found:
            for source in self._sources:
                await source.fill(count)
            if not any(source.rows for source in self._sources):
                break
            # What comes behind the end of a source that goes on may have to stand behind its next rows.
            ends = [source.rows[-1][0] for source in self._sources if source.goes_on]
            nearest = max if self._descending else min
            rows = [row for source in self._sources for row in source.take(nearest(ends) if ends else None)]
            rows.sort(key=lambda row: row[0], reverse=bool(self._descending))
            # An entity with several of the types comes several times, one after the other.
            found = {id: past for _, id, past in rows if id != self._last}
            self._last = rows[-1][1]
        return found


class _Source:
    """One statement's rows, read on from the last: order, id, and whether only history is left."""

    def __init__(self, log: Snapshot, sql: str, given: Conditions, *, descending: bool | None, past: bool) -> None:
        self.rows: list[tuple[Any, str, bool]] = []
        self.goes_on = True
        self._log = log
        self._given = given
        self._descending = bool(descending)
        self._past = past
        column, type = ("e.key", "bigint") if descending is None else ("e.id", "text")
        place = len(given.parameters) + 2
        self._select = f"SELECT {column}, e.id {sql}"
        self._order = f" ORDER BY {column} {'DESC' if descending else 'ASC'} LIMIT ${place}::bigint"
        # Reading on by a condition, not by a cursor: a limit makes the server walk along an index, not sort.
        self._behind = f" AND {column} {'<' if descending else '>'} ${place + 1}::{type}"
        self._last: Any = None

    async def fill(self, count: int) -> None:
        """Read on when all rows are taken."""
        if self.rows or not self.goes_on:
            return
        parameters = [*self._given.parameters, count]
        sql = self._select
        if self._last is not None:
            sql += self._behind
            parameters.append(self._last)
        found = await self._log.fetch(sql + self._order, *parameters)
        self.rows = [(order, id, self._past) for order, id in found]
        self.goes_on = len(found) == count
        if self.rows:
            self._last = self.rows[-1][0]

    def take(self, end: Any) -> list[tuple[Any, str, bool]]:
        """Return and forget the rows up to a place in the order; None: all."""
        taken = len(self.rows)
        if end is not None:
            inside = (order >= end if self._descending else order <= end for order, _, _ in self.rows)
            taken = sum(inside)
        rows, self.rows = self.rows[:taken], self.rows[taken:]
        return rows
