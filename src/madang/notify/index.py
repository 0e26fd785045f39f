# SPDX-License-Identifier: Apache-2.0
"""Finds the few subscriptions that a change may concern among very many, by a handful of dictionary look-ups."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from madang.model.query.model import EntitySelector
from madang.model.subscription import (
    ATTRIBUTE_CREATED,
    ATTRIBUTE_DELETED,
    ATTRIBUTE_UPDATED,
    ENTITY_CREATED,
    ENTITY_DELETED,
    ENTITY_UPDATED,
    Subscription,
)
from madang.model.subscription_matching import Delta
from madang.notify.guards import Found, Shelf
from madang.notify.patterns import Patterns

Place: TypeAlias = tuple[str, str]  # what is fixed: "id", "type" or nothing, and its name
Slot: TypeAlias = tuple[str, str | None]  # kind of change, watched attribute (None: any)

_OUTCOMES_MAX: Final = 1_000
_UPDATES: Final = (ATTRIBUTE_CREATED, ATTRIBUTE_UPDATED, ATTRIBUTE_DELETED)


class _Bucket:
    """Subscriptions that agree on which entities, by what must change; those with an id pattern stand apart."""

    __slots__ = ("patterns", "slots")

    def __init__(self) -> None:
        self.slots: dict[Slot, Shelf] = {}
        self.patterns: Patterns[_Bucket] = Patterns()

    def add(self, subscription: Subscription, *, sure: bool) -> None:
        for slot in _slots(subscription):
            self.slots.setdefault(slot, Shelf()).add(subscription, sure=sure)

    def remove(self, subscription: Subscription) -> None:
        for slot in _slots(subscription):
            there = self.slots.get(slot)
            if there is not None:
                there.remove(subscription)
                if there.empty:
                    del self.slots[slot]

    def collect(self, slots: Iterable[Slot] | None, delta: Delta, found: Found) -> None:
        document, mine = delta.document, self.slots
        for slot in mine if slots is None else slots:
            there = mine.get(slot)
            if there is not None:
                there.collect(document, found)
        for bucket in self.patterns.found_in(delta.commit.entity):
            bucket.collect(slots, delta, found)

    def by_pattern(self, text: str) -> _Bucket:
        known = self.patterns.get(text)
        if known is None:
            known = _Bucket()
            self.patterns.put(text, known)
        return known

    @property
    def empty(self) -> bool:
        return not self.slots and not self.patterns


class _Outcome(NamedTuple):
    """What is the same for every change of the same attributes of entities of the same types."""

    sure: Found
    likely: Found
    shelves: list[Shelf]
    patterns: list[Patterns[_Bucket]]


class _Tenant:
    """All subscriptions of one tenant that wait for changes."""

    __slots__ = ("_outcomes", "buckets")

    def __init__(self) -> None:
        self._outcomes: dict[Hashable, _Outcome] = {}
        # ("id", an entity id), ("type", an entity type) or ("", ""): every entity
        self.buckets: dict[Place, _Bucket] = {}

    def add(self, subscription: Subscription) -> None:
        self._outcomes.clear()
        for place, pattern, exact in _places(subscription):
            bucket = self.buckets.setdefault(place, _Bucket())
            (bucket if pattern is None else bucket.by_pattern(pattern)).add(subscription, sure=exact)

    def remove(self, subscription: Subscription) -> None:
        self._outcomes.clear()
        for place, pattern, _ in _places(subscription):
            bucket = self.buckets.get(place)
            if bucket is None:
                continue
            if pattern is None:
                bucket.remove(subscription)
            else:
                inner = bucket.by_pattern(pattern)
                inner.remove(subscription)
                if inner.empty:
                    bucket.patterns.remove(pattern)
            if bucket.empty:
                del self.buckets[place]

    def split(self, delta: Delta) -> tuple[Iterable[Subscription], Iterable[Subscription]]:
        if delta.entity_created or delta.entity_deleted:
            return (), self.candidates(delta).values()
        key = (delta.types, delta.updated, delta.created, delta.deleted)
        outcome = self._outcomes.get(key)
        if outcome is None:
            if len(self._outcomes) >= _OUTCOMES_MAX:
                self._outcomes.clear()
            outcome = self._outcomes[key] = self._outcome(delta)
        sure, others = outcome.sure, outcome.likely
        bucket = self.buckets.get(("id", delta.commit.entity))
        if bucket is None and not outcome.shelves and not outcome.patterns:
            return sure.values(), others.values()
        sure, others = dict(sure), dict(others)
        document = delta.document
        for shelf in outcome.shelves:
            shelf.collect_guarded(document, sure, others)
        if bucket is not None:
            bucket.collect(_slots_of(delta), delta, others)
        for patterns in outcome.patterns:
            for inner in patterns.found_in(delta.commit.entity):
                inner.collect(_slots_of(delta), delta, others)
        for id in others.keys() & sure.keys():
            del others[id]
        return sure.values(), others.values()

    def _outcome(self, delta: Delta) -> _Outcome:
        places: list[Place] = [("", ""), *(("type", name) for name in delta.types)]
        buckets = [bucket for place in places if (bucket := self.buckets.get(place)) is not None]
        shelves = [
            shelf
            for bucket in buckets
            for slot in _slots_of(delta) or ()
            if (shelf := bucket.slots.get(slot)) is not None
        ]
        sure: Found = {}
        likely: Found = {}
        for shelf in shelves:
            sure.update(shelf.sure)
            likely.update(shelf.likely)
        return _Outcome(
            sure,
            {id: subscription for id, subscription in likely.items() if id not in sure},
            [shelf for shelf in shelves if shelf.guards],
            [bucket.patterns for bucket in buckets if len(bucket.patterns)],
        )

    def candidates(self, delta: Delta) -> Found:
        found: Found = {}
        buckets = self.buckets
        slots = _slots_of(delta)
        bucket = buckets.get(("", ""))
        if bucket is not None:
            bucket.collect(slots, delta, found)
        bucket = buckets.get(("id", delta.commit.entity))
        if bucket is not None:
            bucket.collect(slots, delta, found)
        for name in delta.types:
            bucket = buckets.get(("type", name))
            if bucket is not None:
                bucket.collect(slots, delta, found)
        return found


class SubscriptionIndex:
    """Every subscription that is notified by changes, of all tenants."""

    def __init__(self) -> None:
        self._tenants: dict[str, _Tenant] = {}

    def add(self, subscription: Subscription) -> None:
        if not subscription.interval_us:
            self._tenants.setdefault(subscription.tenant, _Tenant()).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        tenant = self._tenants.get(subscription.tenant)
        if tenant is not None:
            tenant.remove(subscription)
            if not tenant.buckets:
                del self._tenants[subscription.tenant]

    def is_empty(self) -> bool:
        return not self._tenants

    def concerns(self, tenant: str) -> bool:
        """Tell whether anybody waits for changes of the tenant."""
        return tenant in self._tenants

    def split(self, delta: Delta) -> tuple[Iterable[Subscription], Iterable[Subscription]]:
        """Return the subscriptions that match the change for sure (their times apart), and those that may."""
        tenant = self._tenants.get(delta.commit.tenant)
        return ((), ()) if tenant is None else tenant.split(delta)

    def candidates(self, delta: Delta) -> Iterable[Subscription]:
        """Return every subscription that can match the change, and few others."""
        tenant = self._tenants.get(delta.commit.tenant)
        return () if tenant is None else tenant.candidates(delta).values()


def _places(subscription: Subscription) -> Iterator[tuple[Place, str | None, bool]]:
    """Yield where a subscription stands: the bucket, the id pattern inside it, and whether these say it all."""
    if not subscription.selectors:
        yield ("", ""), None, True
    for selector in subscription.selectors:
        pattern = selector.id_pattern if not selector.ids else None
        for place, exact in _selected(selector):
            yield place, pattern, exact


def _selected(selector: EntitySelector) -> Iterator[tuple[Place, bool]]:
    if selector.ids:
        for id in selector.ids:
            yield ("id", id), selector.types is None
    elif selector.types is None:
        yield ("", ""), True
    else:
        # Of types that must come together, the first one is enough to be found by.
        for group in selector.types.any_of:
            yield ("type", group[0]), len(group) == 1


def _slots(subscription: Subscription) -> list[Slot]:
    kinds = set(subscription.triggers)
    if ENTITY_UPDATED in kinds:
        kinds.remove(ENTITY_UPDATED)
        kinds.update(_UPDATES)
    names: Iterable[str | None] = subscription.watched or (None,)
    return [(kind, name) for kind in kinds for name in names]


def _slots_of(delta: Delta) -> list[Slot] | None:
    """Return where a change finds its subscriptions; None when it is not known which attributes it was about."""
    slots: list[Slot] = []
    for kind, names in (
        (ATTRIBUTE_UPDATED, delta.updated),
        (ATTRIBUTE_CREATED, delta.created),
        (ATTRIBUTE_DELETED, delta.deleted),
    ):
        if names:
            slots.append((kind, None))
            slots += [(kind, name) for name in names]
    for kind, happened in ((ENTITY_CREATED, delta.entity_created), (ENTITY_DELETED, delta.entity_deleted)):
        if happened:
            document = delta.document
            if document is None:
                return None
            slots.append((kind, None))
            slots += [(kind, name) for name in document]
    return slots
