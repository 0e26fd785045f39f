# SPDX-License-Identifier: Apache-2.0
"""The entity as a subscriber is told of it: deletions as nulls, previous values, chosen instances (clause 5.8.6)."""

from __future__ import annotations

from typing import Any, Final

from madang.model.change import Change, Operation
from madang.model.entity import (
    NGSI_LD_NULL,
    VALUE_MEMBERS,
    Document,
    Instance,
    Json,
    attributes_of,
    instances_of,
    one_or_list,
)
from madang.model.query import projection
from madang.model.subscription import Subscription
from madang.model.subscription_matching import Delta

_KEPT: Final = ("type", "datasetId", "createdAt", "modifiedAt")


def notice_of(subscription: Subscription, delta: Delta, deleted_at: str) -> Document:
    """Return the document to render: everything chosen by datasetId, nothing projected yet.

    `deleted_at` is the time of the commit as DateTime text.
    """
    after = delta.commit.after
    if after is None:
        document = _deleted_entity(subscription, delta, deleted_at)
    elif delta.deleted or subscription.notification.show_changes:
        document = _changed_entity(subscription, delta, after, deleted_at)
    else:
        document = after
    return select(subscription, document)


def select(subscription: Subscription, document: Document) -> Document:
    """Keep the attribute instances that the subscription's datasetId chooses (clause 4.5.5)."""
    if not subscription.datasets:
        return document
    return projection.select_datasets(document, subscription.datasets)


def project(subscription: Subscription, document: Document) -> Document:
    """Keep what pick, omit or attributes leave; of an entity without any of it, its id and type remain."""
    chosen = subscription.notification.projection
    if chosen is None:
        return document
    projected = projection.apply(document, chosen)
    return projected if projected is not None else {"id": document["id"], "type": document["type"]}


def _changed_entity(subscription: Subscription, delta: Delta, after: Document, deleted_at: str) -> Document:
    document = dict(after)
    show = subscription.notification.show_changes
    stones: dict[str, list[Instance]] = {}
    for change in delta.commit.changes:
        name = change.attribute
        if name is None:
            continue
        if change.operation is Operation.ATTRIBUTE_DELETED:
            if not any(one.get("datasetId") == change.dataset for one in instances_of(after, name)):
                stone = _tombstone(change.value or {}, change.previous, change.dataset, deleted_at, show=show)
                stones.setdefault(name, []).append(stone)
        elif show and change.operation is Operation.ATTRIBUTE_UPDATED and change.previous is not None:
            document[name] = one_or_list([_with_previous(one, change) for one in instances_of(document, name)])
    for name, gone in stones.items():
        left = instances_of(document, name)
        document[name] = one_or_list([*left, *gone]) if left else _gone(gone, show=show)
    return document


def _with_previous(instance: Instance, change: Change) -> Instance:
    previous = change.previous
    if previous is None or instance.get("datasetId") != change.dataset:
        return instance
    return {**instance, **_previous(previous)}


def _previous(instance: Instance) -> dict[str, Any]:
    member = VALUE_MEMBERS[instance["type"]]
    if member not in instance:
        return {}
    return {"previous" + member[0].upper() + member[1:]: instance[member]}


def _deleted_entity(subscription: Subscription, delta: Delta, deleted_at: str) -> Document:
    before = delta.commit.before
    document: Document = {"id": delta.commit.entity, "type": one_or_list(list(delta.types))}
    if before is None:
        return {**document, "deletedAt": deleted_at}
    for member in ("createdAt", "modifiedAt"):
        if member in before:
            document[member] = before[member]
    document["deletedAt"] = deleted_at
    show = subscription.notification.show_changes
    if not show and not subscription.on_deleted:
        return document
    for name, instances in attributes_of(before):
        if show or not subscription.watched or name in subscription.watched:
            stones = [_tombstone(one, one, one.get("datasetId"), deleted_at, show=show) for one in instances]
            document[name] = _gone(stones, show=show)
    return document


def _gone(stones: list[Instance], *, show: bool) -> Json:
    """Return what stands for an attribute of which nothing is left: one null, unless previous values are asked for."""
    if len(stones) == 1 or show:
        return one_or_list(stones)
    return {member: value for member, value in stones[0].items() if member != "datasetId"}


def _tombstone(
    instance: Instance, previous: Instance | None, dataset: str | None, deleted_at: str, *, show: bool
) -> Instance:
    """Return what stands for a deleted attribute instance: its value member holds the NGSI-LD Null."""
    known = {**(previous or {}), **instance}
    kind = known.get("type", "Property")
    stone: Instance = {"type": kind}
    stone[VALUE_MEMBERS[kind]] = {"@none": NGSI_LD_NULL} if kind == "LanguageProperty" else NGSI_LD_NULL
    for member in _KEPT:
        if member in known:
            stone[member] = known[member]
    if dataset is not None:
        stone["datasetId"] = dataset
    stone["deletedAt"] = instance.get("deletedAt", deleted_at)
    if show and previous is not None:
        stone.update(_previous(previous))
    return stone
