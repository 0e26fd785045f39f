# SPDX-License-Identifier: Apache-2.0
"""Does a change concern a subscription? Pure decisions on values (clauses 5.2.12, 5.8.6)."""

from __future__ import annotations

from dataclasses import dataclass

from madang.model.change import Change, EntityCommit, Operation
from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS, Document, Instance, types_of
from madang.model.query import geo, q, regex, scope
from madang.model.query.model import EntitySelector
from madang.model.subscription import ENTITY_CREATED, ENTITY_DELETED, Subscription

_TIMESTAMPS = frozenset({"createdAt", "modifiedAt"})
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Delta:
    """What one commit really changed in one entity: writes that left the value as it was are not in it."""

    commit: EntityCommit
    types: tuple[str, ...]
    created: frozenset[str] = _NOTHING  # names of attributes of which an instance came into being
    updated: frozenset[str] = _NOTHING
    deleted: frozenset[str] = _NOTHING
    entity_created: bool = False
    entity_deleted: bool = False

    @property
    def document(self) -> Document | None:
        """The entity that filters look at: as it stands, or as it was when it is gone."""
        return self.commit.after if self.commit.after is not None else self.commit.before


def delta_of(commit: EntityCommit) -> Delta | None:
    """Return what the commit changed; None when there is nothing that any subscription could ask for."""
    created: set[str] = set()
    updated: set[str] = set()
    deleted: set[str] = set()
    entity_created = entity_deleted = False
    for change in commit.changes:
        operation = change.operation
        if operation is Operation.ATTRIBUTE_UPDATED:
            if differs(change):
                updated.add(change.attribute or "")
        elif operation is Operation.ATTRIBUTE_CREATED:
            created.add(change.attribute or "")
        elif operation is Operation.ATTRIBUTE_DELETED:
            deleted.add(change.attribute or "")
        elif operation is Operation.ENTITY_CREATED:
            entity_created = True
        elif operation is Operation.ENTITY_DELETED:
            entity_deleted = True
    before, after = commit.before, commit.after
    if entity_deleted and not entity_created and after is None and before is not None:
        # An entity takes all its attributes with it.
        deleted.update(name for name in before if name not in ENTITY_MEMBERS)
    if not (created or updated or deleted or entity_created or entity_deleted):
        return None
    document = after if after is not None else before
    return Delta(
        commit=commit,
        types=tuple(types_of(document)) if document is not None else _logged_types(commit),
        created=frozenset(created),
        updated=frozenset(updated),
        deleted=frozenset(deleted),
        entity_created=entity_created,
        entity_deleted=entity_deleted,
    )


def _logged_types(commit: EntityCommit) -> tuple[str, ...]:
    """Return the types that the rows themselves tell, when a deleted entity is heard of after a restart."""
    for change in commit.changes:
        if change.attribute is None and change.value is not None and "type" in change.value:
            return tuple(types_of(change.value))
    return ()


def differs(change: Change) -> bool:
    """Tell whether any member of the attribute got another value (clause 5.8.6); without the old one, it did."""
    return change.previous is None or change.value is None or _instances_differ(change.value, change.previous)


def _instances_differ(new: Instance, old: Instance) -> bool:
    if len(new) == len(old) or new.keys() - _TIMESTAMPS == old.keys() - _TIMESTAMPS:
        for name, value in new.items():
            if name in _TIMESTAMPS:
                continue
            if name not in old:
                return True
            other = old[name]
            if not _same(value, other) and (name in INSTANCE_MEMBERS or _sub_attributes_differ(value, other)):
                return True
        return False
    return True


def _same(value: object, other: object) -> bool:
    # 1 and true are equal in Python, but not in JSON; deeper inside a compound value this is not looked at.
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _sub_attributes_differ(new: object, old: object) -> bool:
    """Compare sub-attributes without their system timestamps."""
    if isinstance(new, dict) and isinstance(old, dict):
        return _instances_differ(new, old)
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return any(_sub_attributes_differ(one, other) for one, other in zip(new, old, strict=True))
    return True


def fires(subscription: Subscription, delta: Delta) -> bool:
    """Tell whether the kind of change is one that the subscription listens for (notificationTrigger)."""
    watched = subscription.watched
    if subscription.on_updated and delta.updated and (not watched or not watched.isdisjoint(delta.updated)):
        return True
    if subscription.on_created and delta.created and (not watched or not watched.isdisjoint(delta.created)):
        return True
    if subscription.on_deleted and delta.deleted and (not watched or not watched.isdisjoint(delta.deleted)):
        return True
    return (delta.entity_created or delta.entity_deleted) and _fires_for_entity(subscription, delta)


def _fires_for_entity(subscription: Subscription, delta: Delta) -> bool:
    triggers, watched = subscription.triggers, subscription.watched
    if ENTITY_CREATED in triggers and delta.entity_created:
        return not watched or _has_any(delta.document, watched)
    if delta.entity_deleted and delta.commit.after is None:
        if delta.commit.before is None:
            # After a restart it is not known which attributes went with it: better told than not.
            return ENTITY_DELETED in triggers or subscription.on_deleted
        return ENTITY_DELETED in triggers and (not watched or _has_any(delta.commit.before, watched))
    return False


def _has_any(document: Document | None, watched: frozenset[str]) -> bool:
    return document is None or any(name in document for name in watched)


def selects(selectors: tuple[EntitySelector, ...], id: str, types: list[str]) -> bool:
    """Tell whether one of the entity selectors fits (clause 5.2.33: id takes precedence over idPattern)."""
    return not selectors or any(_fits(selector, id, types) for selector in selectors)


def _fits(selector: EntitySelector, id: str, types: list[str]) -> bool:
    if selector.ids:
        if id not in selector.ids:
            return False
    elif selector.id_pattern is not None and not regex.found(regex.compile(selector.id_pattern, "idPattern"), id):
        return False
    return selector.types is None or selector.types.fits(types)


def matches(subscription: Subscription, delta: Delta, *, linked: q.LinkedDocuments | None = None) -> bool:
    """Tell whether the change is to be notified to the subscription, its status and throttling apart.

    `linked` knows the entities that relationships lead to, for a q that follows them (clause 4.9).
    """
    if subscription.interval_us or delta.commit.time_us < subscription.since_us:
        return False
    if not fires(subscription, delta):
        return False
    if subscription.any_type is not None:
        if subscription.any_type.isdisjoint(delta.types):
            return False
    elif not selects(subscription.selectors, delta.commit.entity, list(delta.types)):
        return False
    return subscription.unconditional or meets(subscription, delta.document, linked=linked)


def meets(subscription: Subscription, document: Document | None, *, linked: q.LinkedDocuments | None = None) -> bool:
    """Tell whether the entity meets q, geoQ and scopeQ.

    Of an entity that is gone after a restart (None) this is not known: better told than not.
    """
    if document is None:
        return True
    if subscription.scope is not None and not scope.matches(subscription.scope, document):
        return False
    if subscription.geo is not None and not geo.matches(subscription.geo, document):
        return False
    return subscription.q is None or q.matches(subscription.q, document, linked)
