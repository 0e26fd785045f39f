# SPDX-License-Identifier: Apache-2.0
"""Questions answered on one connection, within one snapshot of the data.

What SQL knows for sure it answers alone. Else documents are looked at in Python, a piece at a time: first a few in the
order asked for, which fills the page when many answer; then all that the conditions let through.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

import asyncpg
import orjson

from madang.model.query import order as orders
from madang.model.query import regex
from madang.model.query.match import matches
from madang.model.query.model import Found
from madang.store.postgres.narrow import (
    CREATION,
    Narrowed,
    Ordered,
    Rows,
    Start,
    also_in,
    count_sql,
    ordered,
    page_sql,
    starts,
    stream_sql,
    walk_sql,
)
from madang.store.postgres.sql import TRUE, Sql, numbered

_LOOKED_UP_MAX: Final = 2_000  # ids of a look-up; of more, the database makes a join
_LOOK_UPS_MAX: Final = 6
_WALKED_ROWS: Final = (400, 1_000, 4_000)
_STREAMED_ROWS: Final = 1_000
_KEPT_MIN: Final = 5_000
# What the event loop does in one go: about a millisecond's work.
_SLICE_ROWS: Final = 128
_SLICE_CHARACTERS: Final = 200_000

Line = Sequence[Any]  # key, id, body
Answer = tuple[tuple[Any, ...], str]  # what it is sorted by, and its id


class Reading:
    """One question on one connection that is in a transaction of its own snapshot.

    Args:
        indexed: the attributes with a value index in this snapshot, with their keys.
    """

    def __init__(self, connection: asyncpg.Connection, narrowed: Narrowed, indexed: Mapping[str, int]) -> None:
        self._connection = connection
        self._narrowed = narrowed
        self._indexed = indexed
        self._starts: list[Start] = []  # look-ups that found too much to carry the ids around
        self._decided: set[int] = set()  # parts of q of which no document has to be asked any more

    async def find(self) -> Found:
        query = self._narrowed.query
        if self._indexed and self._narrowed.place.ids is None:
            await self._look_up()
        order = ordered(query.order, self._narrowed.place.tenant, self._indexed)
        if order is not None and order.numbers is not None and self._narrowed.place.ids is not None:
            order = None  # few entities are sorted sooner than they are picked out of the index
        in_sql = order is not None and order.numbers is None
        if in_sql and order is not None and self._is_sure(joined=True) and (query.count or not self._starts):
            return await self._page(order, count=query.count)
        if order is not None and (not query.count or self._is_sure(joined=True)):
            found = await self._walk(order)
            if found is not None:
                return replace(found, count=await self._count() if query.count else None)
        if in_sql and order is not None and self._is_sure(joined=True):
            return await self._page(order, count=query.count)
        return await self._stream()

    # ------------------------------------------------------------------ the value index

    async def _look_up(self) -> None:
        """Start from the ids that the index finds, if they are few; what finds many is joined where all is wanted."""
        many: list[Start] = []
        ids: set[str] | None = None
        for start in starts(self._narrowed, self._indexed)[:_LOOK_UPS_MAX]:
            sql = Sql(f"{start.ids.text} LIMIT {_LOOKED_UP_MAX}", start.ids.parameters)
            found = await self._fetch(sql)
            if len(found) == _LOOKED_UP_MAX:
                many.append(start)
                continue
            ids = {row[0] for row in found} if ids is None else ids.intersection(row[0] for row in found)
            if start.part is not None:
                self._decided.add(start.part)
        if ids is None:
            self._starts = many
        else:
            self._narrowed = self._narrowed.within(ids)

    def _is_sure(self, *, joined: bool) -> bool:
        """Tell whether the rows of SQL, with or without the join of large look-ups, are the answers."""
        return self._narrowed.pattern is None and self._is_decided(joined=joined)

    def _is_decided(self, *, joined: bool) -> bool:
        """Tell whether no document has to be asked."""
        decided = self._decided | {start.part for start in self._starts if joined and start.part is not None}
        return not self._narrowed.asks_more and len(decided) == len(self._narrowed.parts)

    def _rows(self, *, bodies: bool, order: Ordered = CREATION) -> Rows:
        return self._narrowed.place.rows(bodies=bodies, numbers=order.numbers)

    # ------------------------------------------------------------------ SQL alone

    async def _page(self, order: Ordered, *, count: bool) -> Found:
        query = self._narrowed.query
        ids: list[str] = []
        if query.limit:
            rows = also_in(self._rows(bodies=False, order=order), self._starts)
            ids = [row[0] for row in await self._fetch(page_sql(rows, order, query.limit + 1, query.offset))]
        return Found(ids[: query.limit], await self._count() if count else None, len(ids) > query.limit)

    async def _count(self) -> int:
        rows = also_in(self._rows(bodies=False), self._starts)
        return int((await self._fetch(count_sql(rows)))[0][0])

    # ------------------------------------------------------------------ a walk in order

    async def _walk(self, order: Ordered) -> Found | None:
        """Return the page, if it is filled (or all is seen) within a few pieces in the order asked for."""
        query = self._narrowed.query
        end = query.offset + query.limit
        sure = self._is_sure(joined=False)
        if not sure and end > _WALKED_ROWS[-1] // 2:
            return None  # so many documents at once are too much
        if order.others is not None and await self._fetch(order.others):
            return None
        answers: list[str] = []
        walked = 0
        for size in (end + 1,) if sure else (max(rows, 2 * end + 2) for rows in _WALKED_ROWS):
            lines = await self._step(order, size, walked)
            answers += [id for _, id in await self._decide(lines, joined=False, keys=False)]
            walked += len(lines)
            is_all = len(lines) < size and order.numbers is None
            if len(answers) > end or is_all:
                return Found(answers[query.offset : end], None, len(answers) > end)
            if len(lines) < size:
                break
        return None

    async def _step(self, order: Ordered, size: int, offset: int) -> list[Line]:
        bodies = not self._is_decided(joined=False)
        rows = self._rows(bodies=bodies, order=order)
        if bodies:
            return await self._fetch(walk_sql(rows, self._narrowed.filters, order, size, offset))
        return [(0, id, None) for (id,) in await self._fetch(page_sql(rows, order, size, offset))]

    # ------------------------------------------------------------------ all that is let through

    async def _stream(self) -> Found:
        """Look at every row that may be an answer, and keep no more than the page needs."""
        query = self._narrowed.query
        end = query.offset + query.limit
        kept: list[Answer] = []
        number = 0
        async with contextlib.aclosing(self._pieces()) as pieces:
            async for lines in pieces:
                answers = await self._decide(lines, joined=True, keys=True)
                number += len(answers)
                kept += answers
                if len(kept) > max(_KEPT_MIN, 2 * end + 2):
                    kept.sort(key=itemgetter(0))
                    del kept[end + 1 :]
        kept.sort(key=itemgetter(0))
        ids = [id for _, id in kept[query.offset : end]]
        return Found(ids, number if query.count else None, number > end)

    async def _pieces(self) -> AsyncGenerator[list[Line], None]:
        """Yield the rows; the next piece is fetched while the caller is busy with one."""
        by_more_than_id = any(part.path.names != ("id",) for part in self._narrowed.query.order)
        bodies = by_more_than_id or not self._is_decided(joined=True)
        rows = also_in(self._rows(bodies=bodies), self._starts)
        filters = self._narrowed.filters if bodies else TRUE
        text, parameters = numbered(stream_sql(rows, filters, bodies=bodies))
        cursor = await self._connection.cursor(text, *parameters)
        following = asyncio.ensure_future(cursor.fetch(_STREAMED_ROWS))
        try:
            while lines := await following:
                following = asyncio.ensure_future(cursor.fetch(_STREAMED_ROWS))
                yield lines
        finally:
            # The connection does one thing at a time: what was asked of it has to come to an end.
            await asyncio.gather(following, return_exceptions=True)

    # ------------------------------------------------------------------ the last word

    async def _decide(self, lines: list[Line], *, joined: bool, keys: bool) -> list[Answer]:
        """Return the answers among the rows; with `keys` also what they are sorted by."""
        if not lines:
            return []
        test = _Test(self._narrowed, decided=self._is_decided(joined=joined), keys=keys)
        found: list[Answer] = []
        for slice, characters in _slices(lines):
            if test.is_slow or characters > _SLICE_CHARACTERS:
                found += await asyncio.get_running_loop().run_in_executor(None, test.answers, slice)
            else:
                # Turns are cheaper than threads, which would keep taking the interpreter from each other.
                found += test.answers(slice)
                await asyncio.sleep(0)
        return found

    async def _fetch(self, sql: Sql) -> list[Any]:
        text, parameters = numbered(sql)
        rows: list[Any] = await self._connection.fetch(text, *parameters)
        return rows


def _slices(lines: list[Line]) -> Iterator[tuple[list[Line], int]]:
    """Yield the rows, few at a time, with the length of their bodies; a row that is long by itself comes alone."""
    start = characters = 0
    for number, (_, _, body) in enumerate(lines):
        length = 0 if body is None else len(body)
        if number > start and (number - start == _SLICE_ROWS or characters + length > _SLICE_CHARACTERS):
            yield lines[start:number], characters
            start, characters = number, 0
        characters += length
    yield lines[start:], characters


class _Test:
    """What is asked of each row in Python."""

    def __init__(self, narrowed: Narrowed, *, decided: bool, keys: bool) -> None:
        self._query = narrowed.query
        self._decided = decided
        self._keys = keys
        pattern = narrowed.pattern
        self._pattern = None if pattern is None or not decided else regex.compile(pattern, "idPattern")

    @property
    def is_slow(self) -> bool:
        """Whether one document may take long, however small it is."""
        query = self._query
        return query.extra is not None or query.geo is not None or any(part.reference for part in query.order)

    def answers(self, lines: Sequence[Line]) -> list[Answer]:
        found: list[Answer] = []
        query, order = self._query, self._query.order
        for key, id, body in lines:
            if self._decided:
                if self._pattern is not None and not regex.found(self._pattern, id):
                    continue
                document = orjson.loads(body) if body is not None and self._keys else {"id": id}
            elif body is None:
                continue
            else:
                document = orjson.loads(body)
                if not matches(query, document):
                    continue
            found.append(((*orders.key(order, document), key) if self._keys else (), id))
        return found
