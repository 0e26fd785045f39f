# SPDX-License-Identifier: Apache-2.0
"""From a parsed query to the question for the history (clause 5.7.4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.model.entity import ENTITY_MEMBERS, Document
from madang.model.query import geo, q, scope
from madang.model.temporal.history import HistoryQuestion, HistoryReading, HistoryTest

if TYPE_CHECKING:
    from madang.model.query.entity_query import ParsedQuery
    from madang.model.query.projection import Projection
    from madang.model.temporal.query import Window


def question_of(parsed: ParsedQuery, window: Window, now: str) -> HistoryQuestion:
    """Return which entities are asked for; the page is the caller's to set.

    `now` is DateTime text: what has expired by then is not there.
    """
    query, projection = parsed.query, parsed.projection
    return HistoryQuestion(
        window,
        selectors=query.selectors,
        attributes=attributes_asked_for(projection) or (),
        excluded=attributes_left_out(projection),
        datasets=query.datasets,
        test=_test(parsed),
        scope=None if query.scope is None else lambda scopes: scope.fits(query.scope, scopes),
        descending=query.order[0].descending if query.order else None,
        now=now,
    )


def reading_of(parsed: ParsedQuery, window: Window, now: str) -> HistoryReading:
    """Return what is to be read of the entities that a question found: everything that the query would show."""
    attributes = attributes_asked_for(parsed.projection)
    return HistoryReading(
        window,
        attributes=attributes,
        excluded=attributes_left_out(parsed.projection),
        datasets=parsed.query.datasets,
        scopes=attributes is None or "scope" in attributes or parsed.projection.pick is not None,
        now=now,
    )


def attributes_asked_for(projection: Projection) -> tuple[str, ...] | None:
    """Return the attributes that are asked for by name; None when all are."""
    if projection.attributes is not None:
        return projection.attributes
    names = tuple(member.name for member in projection.pick or () if member.name not in ENTITY_MEMBERS)
    return names or None


def attributes_left_out(projection: Projection) -> tuple[str, ...]:
    """Return the attributes that are omitted."""
    return tuple(member.name for member in projection.omit or () if member.name not in ENTITY_MEMBERS)


def _test(parsed: ParsedQuery) -> HistoryTest | None:
    """Return the q and the geoquery as one test on the instances in the window."""
    query = parsed.query
    if query.q is None and query.geo is None:
        return None
    names = q.attribute_names(query.q) if query.q is not None else set()
    if query.geo is not None:
        names.add(query.geo.attribute)

    def matches(document: Document) -> bool:
        return (query.q is None or q.matches(query.q, document)) and (
            query.geo is None or geo.matches(query.geo, document)
        )

    return HistoryTest(matches, frozenset(names))
