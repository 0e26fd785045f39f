# SPDX-License-Identifier: Apache-2.0
"""Finds the few subscriptions that a change may concern among very many, by a handful of dictionary look-ups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

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

Key: TypeAlias = tuple[str, str]  # tenant, id
Slot: TypeAlias = tuple[str, str | None]  # kind of change, watched attribute (None: any)

_UPDATES: Final = (ATTRIBUTE_CREATED, ATTRIBUTE_UPDATED, ATTRIBUTE_DELETED)


class _Bucket:
    """Subscriptions that agree on which entities, by what must change; those with an id pattern stand apart."""

    __slots__ = ("patterns", "slots")

    def __init__(self) -> None:
        self.slots: dict[Slot, Shelf] = {}
        self.patterns: Patterns[_Bucket] = Patterns()

    def add(self, subscription: Subscription) -> None:
        for slot in _slots(subscription):
            self.slots.setdefault(slot, Shelf()).add(subscription)

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


class _Tenant:
    """All subscriptions of one tenant that wait for changes."""

    __slots__ = ("buckets",)

    def __init__(self) -> None:
        # ("id", an entity id), ("type", an entity type) or ("", ""): every entity
        self.buckets: dict[tuple[str, str], _Bucket] = {}

    def add(self, subscription: Subscription) -> None:
        for place, pattern in _places(subscription):
            bucket = self.buckets.setdefault(place, _Bucket())
            (bucket if pattern is None else bucket.by_pattern(pattern)).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        for place, pattern in _places(subscription):
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

    def concerns(self, tenant: str) -> bool:
        """Tell whether anybody waits for changes of the tenant."""
        return tenant in self._tenants

    def candidates(self, delta: Delta) -> Iterable[Subscription]:
        """Return every subscription that can match the change, and few others."""
        tenant = self._tenants.get(delta.commit.tenant)
        return () if tenant is None else tenant.candidates(delta).values()


def _places(subscription: Subscription) -> Iterator[tuple[tuple[str, str], str | None]]:
    """Yield where a subscription stands: the bucket, and the id pattern inside it."""
    if not subscription.selectors:
        yield ("", ""), None
    for selector in subscription.selectors:
        for place in _selected(selector):
            yield place, selector.id_pattern if not selector.ids else None


def _selected(selector: EntitySelector) -> Iterator[tuple[str, str]]:
    if selector.ids:
        for id in selector.ids:
            yield "id", id
    elif selector.types is None:
        yield "", ""
    else:
        # Of types that must come together, the first one is enough to be found by.
        for group in selector.types.any_of:
            yield "type", group[0]


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
