# SPDX-License-Identifier: Apache-2.0
"""A city in a neutral form, which every store can give and take: sections of rows, as they stood at one moment.

A store is read in one snapshot while its hub goes on. It is written whole or not at all: what is being written becomes
visible in one step, after it was read back and found equal, so nobody ever meets half a city.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import orjson

from madang.base.errors import HubError
from madang.base.limits import MOVE_BATCH_BYTES, MOVE_BATCH_ROWS
from madang.base.messages import Messages

Row: TypeAlias = tuple[Any, ...]
Tell: TypeAlias = Callable[[str, str, int, int], None]  # (what is done, section, rows done, rows in all)

COPYING: Final = "copying"
VERIFYING: Final = "verifying"


class Section(NamedTuple):
    """One kind of rows. When `holds_json`, the last column is JSON text or None."""

    name: str
    columns: tuple[str, ...]
    holds_json: bool


TENANTS: Final = Section("tenants", ("tenant",), holds_json=False)
# In the order of creation. body: the canonical document; null when only history is left.
ENTITIES: Final = Section("entities", ("tenant", "id", "expires_us", "body"), holds_json=True)
# In the order of the log. A row is about an entity or about a record (whose kind is the attribute). Creations are one
# row with the whole document; the sequences of its changes are set aside.
CHANGES: Final = Section(
    "changes",
    (
        *("sequence", "batch", "tenant", "time_us", "operation", "entity", "record", "attribute", "dataset"),
        *("observed_us", "number", "who", "package", "hidden", "instance", "value"),
    ),
    holds_json=True,
)
RECORDS: Final = Section("records", ("tenant", "kind", "id", "body"), holds_json=True)  # in the order of creation
BOOKMARKS: Final = Section("bookmarks", ("reader", "sequence"), holds_json=False)
INDEXES: Final = Section("indexes", ("tenant", "attribute"), holds_json=False)
# In this order they are written: each needs those before it.
SECTIONS: Final = (TENANTS, ENTITIES, CHANGES, RECORDS, BOOKMARKS, INDEXES)


class Snapshot(Protocol):
    """What a store held at one moment."""

    store: str  # "sqlite" or "postgresql"
    schema: int
    sequence: int  # the last of the log, with those that a creation at its end sets aside

    async def count(self, section: Section) -> int:
        """Return how many rows `rows` gives."""

    def rows(self, section: Section) -> AsyncIterator[list[Row]]:
        """Give the rows of a section in its order, a batch at a time."""


class Filling(Snapshot, Protocol):
    """An empty store that is being filled; nobody else sees it until `finish`. Without that it is empty again."""

    async def write(self, section: Section, rows: list[Row]) -> None:
        """Take a batch; sections come in the order of `SECTIONS`, rows in their own."""

    async def seal(self, sequence: int) -> None:
        """Note the end of the log and make what is derived from rows; then it can be read back as a snapshot."""

    async def finish(self) -> None:
        """Make the store what everybody sees, on disk."""


class MoveRefused(HubError):
    """Nothing was changed; `message` and `values` name its line in `madang.base.messages`."""

    title = "The city is not moved"

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(Messages("en").line(message, **values))
        self.message = message
        self.values = values


class MoveFailed(MoveRefused):
    """It was begun, did not succeed, and was undone."""


class Tally:
    """Counts rows and sums them up: two sections are equal when rows and SHA-256 of their lines are."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.rows = 0
        self.bytes = 0
        self._sum = hashlib.sha256()

    def add(self, rows: Sequence[Row]) -> bytes:
        """Take rows in; return their lines."""
        lines = lines_of(self.section, rows)
        self.add_lines(lines, len(rows))
        return lines

    def add_lines(self, lines: bytes, rows: int) -> None:
        self.rows += rows
        self.bytes += len(lines)
        self._sum.update(lines)

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()


class Compared(NamedTuple):
    """One section on both sides, from what is stored there."""

    section: str
    rows: int
    sha256: str
    rows_there: int
    sha256_there: str

    @property
    def equal(self) -> bool:
        return (self.rows, self.sha256) == (self.rows_there, self.sha256_there)


async def move(
    snapshot: Snapshot, filling: Filling, tell: Tell, *, expected: Mapping[str, str] | None = None
) -> list[Compared]:
    """Fill an empty store with what a snapshot holds, read it back, and make it visible when both are equal.

    Args:
        snapshot: what is copied.
        filling: where to.
        tell: is told how far it is.
        expected: the SHA-256 of each section, where they are known beforehand.

    Raises: MoveFailed: they are not equal; the target is empty again. StoreFailed.
    """
    tallies = []
    for section in SECTIONS:
        tally = Tally(section)
        total = await snapshot.count(section)
        tell(COPYING, section.name, 0, total)
        async for rows in snapshot.rows(section):
            await filling.write(section, rows)
            tally.add(rows)
            tell(COPYING, section.name, tally.rows, total)
            await asyncio.sleep(0)  # so that an interruption is heard between two batches
        if tally.rows != total:
            raise MoveFailed("move_damaged", section=section.name, missing=total - tally.rows)
        tallies.append(tally)
    await filling.seal(snapshot.sequence)
    compared = [await _compare(tally, filling, tell) for tally in tallies]
    different = [item.section for item in compared if not item.equal]
    if expected is not None:
        different += [item.section for item in compared if item.sha256 != expected[item.section]]
    if filling.sequence != snapshot.sequence:
        different.append("sequence")
    if different:
        raise MoveFailed("move_differs", sections=", ".join(different))
    await filling.finish()
    return compared


async def _compare(tally: Tally, filling: Filling, tell: Tell) -> Compared:
    there = await tallied(filling, tally.section, tally.rows, tell)
    return Compared(tally.section.name, tally.rows, tally.sha256, there.rows, there.sha256)


async def tallied(snapshot: Snapshot, section: Section, total: int, tell: Tell) -> Tally:
    """Read a section and sum it up."""
    tally = Tally(section)
    tell(VERIFYING, section.name, 0, total)
    async for rows in snapshot.rows(section):
        tally.add(rows)
        tell(VERIFYING, section.name, tally.rows, total)
        await asyncio.sleep(0)
    return tally


def lines_of(section: Section, rows: Sequence[Row]) -> bytes:
    """Return the rows as lines of JSON, each an array of the section's columns; JSON text stands in it as it is."""
    dumps, newline = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    if not section.holds_json:
        return b"".join([dumps(row, option=newline) for row in rows])
    fragment = orjson.Fragment
    return b"".join([dumps(row if row[-1] is None else (*row[:-1], fragment(row[-1])), option=newline) for row in rows])


def row_of(section: Section, line: bytes) -> Row:
    """Return the row of a line that `lines_of` made.

    Raises: ValueError: it is not such a line.
    """
    values = orjson.loads(line)
    if not isinstance(values, list) or len(values) != len(section.columns):
        raise ValueError(f"a row of {section.name} has {len(section.columns)} columns")
    if section.holds_json and values[-1] is not None:
        values[-1] = orjson.dumps(values[-1]).decode()
    return tuple(values)


async def batches(rows: Iterable[Row]) -> AsyncIterator[list[Row]]:
    """Give rows in lists that are neither too long nor too heavy; the last column is what weighs."""
    batch: list[Row] = []
    weight = 0
    for row in rows:
        batch.append(row)
        last = row[-1]
        if last.__class__ is str:
            weight += len(last)
        if len(batch) >= MOVE_BATCH_ROWS or weight >= MOVE_BATCH_BYTES:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch
