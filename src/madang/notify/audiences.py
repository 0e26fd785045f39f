# SPDX-License-Identifier: Apache-2.0
"""Subscriptions by what their owners may be told: each audience has its own index, and its own sight of a commit.

Owners without limits are one audience, the first: for them everything is as if there were no others. A subscription
with a limited owner is matched with what he may see of an entity before and after, and told of that alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from madang.model.permit import ALL, Permit
from madang.model.permit_commits import seen
from madang.model.subscription_matching import Delta, delta_of
from madang.notify.index import SubscriptionIndex

if TYPE_CHECKING:
    from madang.core.subscriptions import Subscriptions
    from madang.model.change import EntityCommit
    from madang.model.subscription import Subscription
    from madang.notify.intervals import Key


class Audience:
    """Subscriptions whose owners may be told the same."""

    __slots__ = ("index", "members", "permit")

    def __init__(self, permit: Permit) -> None:
        self.permit = permit
        self.index = SubscriptionIndex()
        self.members = 0


class Audiences:
    """Every subscription that is notified by changes, of all tenants."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions
        self._everything = Audience(ALL)
        self._limited: dict[Permit, Audience] = {}
        # Those of owners whose grants may change, with the audience in which they are now.
        self._owned: dict[Key, tuple[Subscription, Audience]] = {}

    def add(self, subscription: Subscription) -> None:
        entry = self._subscriptions.entry(*subscription.key)
        if entry is None or entry.owner is None:
            self._everything.index.add(subscription)
        else:
            self._join(subscription, self._subscriptions.permit(*subscription.key))

    def remove(self, subscription: Subscription) -> None:
        if subscription.key in self._owned:
            self._leave(subscription.key)
        else:
            self._everything.index.remove(subscription)

    def is_empty(self) -> bool:
        """Tell whether nobody waits for any change."""
        return not self._limited and self._everything.index.is_empty()

    def regroup(self) -> list[tuple[Key, Permit]]:
        """Look anew at what owners may be told; return the subscriptions of which that has changed."""
        changed = []
        for key, (subscription, audience) in list(self._owned.items()):
            permit = self._subscriptions.permit(*key)
            if permit is not audience.permit:
                self._leave(key)
                self._join(subscription, permit)
                changed.append((key, permit))
        return changed

    def deltas(self, commit: EntityCommit) -> Iterator[tuple[Delta, Audience]]:
        """Yield the commit as each audience may hear of it, where somebody in it waits for changes of the tenant."""
        everything = self._everything
        if everything.index.concerns(commit.tenant):
            delta = delta_of(commit)
            if delta is not None:
                yield delta, everything
        for audience in list(self._limited.values()) if self._limited else ():
            if audience.index.concerns(commit.tenant):
                visible = seen(audience.permit, commit)
                delta = None if visible is None else delta_of(visible)
                if delta is not None:
                    yield delta, audience

    def _join(self, subscription: Subscription, permit: Permit) -> None:
        audience = self._everything if permit is ALL else self._limited.setdefault(permit, Audience(permit))
        audience.index.add(subscription)
        audience.members += 1
        self._owned[subscription.key] = (subscription, audience)

    def _leave(self, key: Key) -> None:
        subscription, audience = self._owned.pop(key)
        audience.index.remove(subscription)
        audience.members -= 1
        if not audience.members:
            self._limited.pop(audience.permit, None)
