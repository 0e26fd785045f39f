# SPDX-License-Identifier: Apache-2.0
"""Subscriptions shelved by one condition that their q cannot do without, so that most of them need not be looked at.

A guard is taken from a term of q that every match must fulfil: `name=="Yuseong"` or `pm10>80`. It may let through what
q then refuses, but never the other way round.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from madang.model.entity import ENTITY_MEMBERS, Document
from madang.model.query.q_tree import And, Kind, Literal, Node, Path, Range, Term
from madang.model.query.values import Shape, plain_value, targets
from madang.model.subscription import Subscription

Found: TypeAlias = dict[str, Subscription]
Value: TypeAlias = int | float | str
_TEXTS: Final = (Kind.TEXT, Kind.URI, Kind.WORD)


@dataclass(frozen=True, slots=True)
class Guard:
    """The attribute's value is one of `values`, or is from `low` on, or up to `high`.

    With `strict` the limit itself does not count. A guard that is `whole` is all that the q says.
    """

    path: Path
    values: frozenset[Value] = frozenset()
    low: float | None = None
    high: float | None = None
    strict: bool = False
    whole: bool = False


def guard_of(node: Node | None) -> Guard | None:
    """Return the condition of a query that narrows best; None when there is none to go by."""
    if isinstance(node, Term):
        return _guard(node, whole=True)
    found = [guard for term in _needed(node) if (guard := _guard(term, whole=False)) is not None]
    return min(found, key=lambda guard: not guard.values, default=None)


def _needed(node: Node | None) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
    elif isinstance(node, And):
        for child in node.terms:
            yield from _needed(child)


def _guard(term: Term, *, whole: bool) -> Guard | None:
    path, value, operator = term.path, term.value, term.operator
    if path.links or path.members or len(path.names) > 1 or path.names[0] in ENTITY_MEMBERS:
        return None
    if isinstance(value, Range) and operator == "==":
        return Guard(path, low=float(value.low.value)) if value.low.kind is Kind.NUMBER else None
    if not isinstance(value, tuple):
        return None
    if operator == "==":
        values = _equal_values(value)
        return Guard(path, values=values, whole=whole) if values else None
    if value[0].kind is not Kind.NUMBER:
        return None
    limit = float(value[0].value)
    # A limit that a double cannot hold is no longer the very one that was asked for.
    whole = whole and limit == value[0].value
    if operator in (">", ">="):
        return Guard(path, low=limit, strict=whole and operator == ">", whole=whole)
    return Guard(path, high=limit, strict=whole and operator == "<", whole=whole) if operator in ("<", "<=") else None


def _equal_values(literals: tuple[Literal, ...]) -> frozenset[Value] | None:
    values: set[Value] = set()
    for literal in literals:
        if literal.kind is not Kind.NUMBER and literal.kind not in _TEXTS:
            return None
        values.add(literal.value)
        if literal.vocabulary is not None:
            values.add(literal.vocabulary)
    return frozenset(values)


class _Thresholds:
    """Subscriptions in the order of a number; equal numbers in the order of their side."""

    __slots__ = ("_known", "_sorted")

    def __init__(self) -> None:
        self._sorted: list[tuple[float, int, str]] = []
        self._known: Found = {}

    def add(self, limit: float, side: int, subscription: Subscription) -> None:
        if subscription.id in self._known:
            return  # two of its selectors lead here
        insort(self._sorted, (limit, side, subscription.id))
        self._known[subscription.id] = subscription

    def remove(self, limit: float, side: int, subscription: Subscription) -> None:
        if self._known.pop(subscription.id, None) is not None:
            del self._sorted[bisect_left(self._sorted, (limit, side, subscription.id))]

    def up_to(self, value: float, found: Found) -> None:
        """Add those with a limit below the value, and of those at it the ones on side 0."""
        known = self._known
        for _, _, id in self._sorted[: bisect_left(self._sorted, (value, 1))]:
            found[id] = known[id]

    def from_(self, value: float, found: Found) -> None:
        """Add those with a limit above the value, and of those at it the ones on side 1."""
        known = self._known
        for _, _, id in self._sorted[bisect_left(self._sorted, (value, 1)) :]:
            found[id] = known[id]

    def __len__(self) -> int:
        return len(self._sorted)


class _Guarded:
    """Subscriptions by the guard over one attribute."""

    __slots__ = ("_equal", "_high", "_low")

    def __init__(self) -> None:
        self._equal: dict[Value, Found] = {}
        self._low = _Thresholds()
        self._high = _Thresholds()

    def add(self, guard: Guard, subscription: Subscription) -> None:
        for value in guard.values:
            self._equal.setdefault(value, {})[subscription.id] = subscription
        if guard.low is not None:
            self._low.add(guard.low, int(guard.strict), subscription)
        if guard.high is not None:
            self._high.add(guard.high, int(not guard.strict), subscription)

    def remove(self, guard: Guard, subscription: Subscription) -> None:
        for value in guard.values:
            there = self._equal.get(value, {})
            there.pop(subscription.id, None)
            if not there:
                self._equal.pop(value, None)
        if guard.low is not None:
            self._low.remove(guard.low, int(guard.strict), subscription)
        if guard.high is not None:
            self._high.remove(guard.high, int(not guard.strict), subscription)

    def collect(self, value: Value, found: Found) -> None:
        there = self._equal.get(value)
        if there is not None:
            found.update(there)
        if not isinstance(value, str):
            self._low.up_to(value, found)
            self._high.from_(value, found)

    def collect_all(self, found: Found) -> None:
        """Add everything: nothing is known of the entity."""
        for there in self._equal.values():
            found.update(there)
        self._low.up_to(float("inf"), found)
        self._high.from_(float("-inf"), found)

    @property
    def empty(self) -> bool:
        return not self._equal and not self._low and not self._high


@dataclass(slots=True)
class _Attribute:
    """The guarded subscriptions that look at one attribute first; of `whole` ones the guard says it all."""

    path: Path
    whole: _Guarded = field(default_factory=_Guarded)
    partly: _Guarded = field(default_factory=_Guarded)

    def collect(self, document: Document, sure: Found, likely: Found) -> None:
        for shape, value in targets(document, self.path):
            if shape is Shape.PLAIN and isinstance(value, str | int | float) and not isinstance(value, bool):
                self.whole.collect(value, sure)
                self.partly.collect(value, likely)
                continue
            for member in value if isinstance(value, list) else (value,):
                plain = plain_value(member)
                if isinstance(plain, str | int | float):
                    self.whole.collect(plain, likely)
                    self.partly.collect(plain, likely)


class Shelf:
    """Subscriptions of which only those are taken down whose guard lets the entity through."""

    __slots__ = ("_attributes", "likely", "sure")

    def __init__(self) -> None:
        self.sure: Found = {}  # being found here is all that they ask for
        self.likely: Found = {}  # there are more conditions, but none to go by
        self._attributes: dict[str, _Attribute] = {}

    def add(self, subscription: Subscription, *, sure: bool) -> None:
        """Put a subscription here; it is `sure` when its entity selectors need no further look."""
        guard = guard_of(subscription.q)
        if guard is None:
            known = self.sure if sure and subscription.unconditional else self.likely
            known[subscription.id] = subscription
            return
        name = guard.path.names[0]
        attribute = self._attributes.get(name)
        if attribute is None:
            attribute = self._attributes[name] = _Attribute(guard.path)
        whole = sure and guard.whole and subscription.geo is None and subscription.scope is None
        (attribute.whole if whole else attribute.partly).add(guard, subscription)

    def remove(self, subscription: Subscription) -> None:
        guard = guard_of(subscription.q)
        if guard is None:
            self.sure.pop(subscription.id, None)
            self.likely.pop(subscription.id, None)
            return
        name = guard.path.names[0]
        attribute = self._attributes.get(name)
        if attribute is not None:
            attribute.whole.remove(guard, subscription)
            attribute.partly.remove(guard, subscription)
            if attribute.whole.empty and attribute.partly.empty:
                del self._attributes[name]

    def collect(self, document: Document | None, found: Found) -> None:
        """Add every subscription that may match."""
        found.update(self.sure)
        found.update(self.likely)
        self.collect_guarded(document, found, found)

    def collect_guarded(self, document: Document | None, sure: Found, likely: Found) -> None:
        """Add those that a guard lets through: to the sure ones, or to those that need a closer look."""
        for attribute in self._attributes.values():
            if document is None:
                attribute.whole.collect_all(likely)
                attribute.partly.collect_all(likely)
            else:
                attribute.collect(document, sure, likely)

    @property
    def guards(self) -> bool:
        return bool(self._attributes)

    @property
    def empty(self) -> bool:
        return not self.sure and not self.likely and not self._attributes
