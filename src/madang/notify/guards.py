# SPDX-License-Identifier: Apache-2.0
"""Subscriptions shelved by one condition that their q cannot do without, so that most of them need not be looked at.

A guard is taken from a term of q that every match must fulfil: `name=="Yuseong"` or `pm10>80`. It may let through what
q then refuses, but never the other way round.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from madang.model.entity import ENTITY_MEMBERS, Document, Json
from madang.model.query.q_tree import And, Kind, Literal, Node, Path, Range, Term
from madang.model.query.values import plain_value, targets
from madang.model.subscription import Subscription

Found: TypeAlias = dict[str, Subscription]
Value: TypeAlias = int | float | str
_TEXTS: Final = (Kind.TEXT, Kind.URI, Kind.WORD)


@dataclass(frozen=True, slots=True)
class Guard:
    """The attribute's value is one of `values`, or is at least `low`, or at most `high`."""

    path: Path
    values: frozenset[Value] = frozenset()
    low: float | None = None
    high: float | None = None


def guard_of(node: Node | None) -> Guard | None:
    """Return the condition of a query that narrows best; None when there is none to go by."""
    found = [guard for term in _needed(node) if (guard := _guard(term)) is not None]
    return min(found, key=lambda guard: not guard.values, default=None)


def _needed(node: Node | None) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
    elif isinstance(node, And):
        for child in node.terms:
            yield from _needed(child)


def _guard(term: Term) -> Guard | None:
    path, value = term.path, term.value
    if path.links or path.members or len(path.names) > 1 or path.names[0] in ENTITY_MEMBERS:
        return None
    if isinstance(value, Range) and term.operator == "==":
        return Guard(path, low=float(value.low.value)) if value.low.kind is Kind.NUMBER else None
    if not isinstance(value, tuple):
        return None
    if term.operator == "==":
        values = _equal_values(value)
        return Guard(path, values=values) if values else None
    if value[0].kind is not Kind.NUMBER:
        return None
    if term.operator in (">", ">="):
        return Guard(path, low=float(value[0].value))
    return Guard(path, high=float(value[0].value)) if term.operator in ("<", "<=") else None


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
    """Subscriptions in the order of a number."""

    __slots__ = ("_known", "_sorted")

    def __init__(self) -> None:
        self._sorted: list[tuple[float, str]] = []
        self._known: Found = {}

    def add(self, limit: float, subscription: Subscription) -> None:
        if subscription.id in self._known:
            return  # two of its selectors lead here
        insort(self._sorted, (limit, subscription.id))
        self._known[subscription.id] = subscription

    def remove(self, limit: float, subscription: Subscription) -> None:
        if self._known.pop(subscription.id, None) is not None:
            del self._sorted[bisect_left(self._sorted, (limit, subscription.id))]

    def up_to(self, value: float, found: Found) -> None:
        known = self._known
        for _, id in self._sorted[: bisect_right(self._sorted, value, key=lambda item: item[0])]:
            found[id] = known[id]

    def from_(self, value: float, found: Found) -> None:
        known = self._known
        for _, id in self._sorted[bisect_left(self._sorted, value, key=lambda item: item[0]) :]:
            found[id] = known[id]

    def __len__(self) -> int:
        return len(self._sorted)


class _Attribute:
    """The guarded subscriptions that look at one attribute first."""

    __slots__ = ("equal", "high", "low", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.equal: dict[Value, Found] = {}
        self.low = _Thresholds()
        self.high = _Thresholds()

    def add(self, guard: Guard, subscription: Subscription) -> None:
        for value in guard.values:
            self.equal.setdefault(value, {})[subscription.id] = subscription
        if guard.low is not None:
            self.low.add(guard.low, subscription)
        if guard.high is not None:
            self.high.add(guard.high, subscription)

    def remove(self, guard: Guard, subscription: Subscription) -> None:
        for value in guard.values:
            there = self.equal.get(value, {})
            there.pop(subscription.id, None)
            if not there:
                self.equal.pop(value, None)
        if guard.low is not None:
            self.low.remove(guard.low, subscription)
        if guard.high is not None:
            self.high.remove(guard.high, subscription)

    def collect(self, document: Document, found: Found) -> None:
        numbers = []
        for value in _values(document, self.path):
            if isinstance(value, str | int | float):
                there = self.equal.get(value)
                if there is not None:
                    found.update(there)
                if not isinstance(value, str):
                    numbers.append(value)
        if numbers:
            self.low.up_to(max(numbers), found)
            self.high.from_(min(numbers), found)

    def collect_all(self, found: Found) -> None:
        """Take everything: nothing is known of the entity."""
        for there in self.equal.values():
            found.update(there)
        self.low.up_to(float("inf"), found)
        self.high.from_(float("-inf"), found)

    @property
    def empty(self) -> bool:
        return not self.equal and not self.low and not self.high


def _values(document: Document, path: Path) -> Iterator[Json]:
    for target in targets(document, path):
        for member in target.value if isinstance(target.value, list) else (target.value,):
            yield plain_value(member)


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
        attribute.add(guard, subscription)

    def remove(self, subscription: Subscription) -> None:
        guard = guard_of(subscription.q)
        if guard is None:
            self.sure.pop(subscription.id, None)
            self.likely.pop(subscription.id, None)
            return
        name = guard.path.names[0]
        attribute = self._attributes.get(name)
        if attribute is not None:
            attribute.remove(guard, subscription)
            if attribute.empty:
                del self._attributes[name]

    def collect(self, document: Document | None, found: Found) -> None:
        """Add every subscription that may match."""
        found.update(self.sure)
        found.update(self.likely)
        self.collect_guarded(document, found)

    def collect_guarded(self, document: Document | None, found: Found) -> None:
        """Add those that a guard lets through."""
        for attribute in self._attributes.values():
            if document is None:
                attribute.collect_all(found)
            else:
                attribute.collect(document, found)

    @property
    def guards(self) -> bool:
        return bool(self._attributes)

    @property
    def empty(self) -> bool:
        return not self.sure and not self.likely and not self._attributes
