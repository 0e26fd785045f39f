# SPDX-License-Identifier: Apache-2.0
"""What an entity was after a change, told from the rows of the log alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from madang.model.change import Change, Operation
from madang.model.entity import NGSI_LD_NULL, Document, Instance, instances_of, one_or_list

_WRITTEN: Final = frozenset({Operation.ATTRIBUTE_CREATED, Operation.ATTRIBUTE_UPDATED})
_ATTRIBUTES: Final = _WRITTEN | {Operation.ATTRIBUTE_DELETED}


def creates(changes: Sequence[Change]) -> bool:
    """Tell whether the rows are those of an entity's creation, of which they hold everything (`creation_changes`)."""
    return any(
        change.operation is Operation.ENTITY_CREATED and set(change.value or ()) == {"type"} for change in changes
    )


def state_after(document: Document | None, changes: Sequence[Change], time: str) -> Document | None:
    """Return the entity after one commit; None when it is gone, or when nothing is known of it.

    Args:
        document: what it was before, or any state after: what the commit wrote is put over it.
        changes: all rows of the commit.
        time: the time of the commit as DateTime text.
    """
    is_new = creates(changes)
    state: Document = {} if is_new or document is None else {**document, "modifiedAt": time}
    for change in changes:
        operation, value = change.operation, change.value or {}
        if operation is Operation.ENTITY_DELETED:
            return None
        if operation is Operation.ENTITY_CREATED and is_new:
            state |= {"id": change.entity, "type": value["type"], "createdAt": time, "modifiedAt": time}
        elif not state:
            return None
        elif operation is Operation.TYPE_CHANGED:
            state["type"] = value["type"]
        elif operation is Operation.SCOPE_CHANGED:
            _set_scope(state, value.get("value"))
        elif operation in _ATTRIBUTES and change.attribute is not None:
            _set_instance(state, change)
    return state or None


def with_instance(document: Document, name: str, dataset: str | None, instance: Instance | None) -> Document:
    """Return the document with another attribute instance in place of that of the dataset; None: without one."""
    changed = {**document}
    _put(changed, name, dataset, instance)
    return changed


def _set_scope(state: Document, scope: object) -> None:
    state.pop("scope", None)
    if scope not in (None, [], NGSI_LD_NULL):
        state["scope"] = scope


def _set_instance(state: Document, change: Change) -> None:
    is_written = change.operation in _WRITTEN
    _put(state, change.attribute or "", change.dataset, change.value if is_written else None)


def _put(state: Document, name: str, dataset: str | None, instance: Instance | None) -> None:
    instances = [one for one in instances_of(state, name) if one.get("datasetId") != dataset]
    if instance is not None:
        # The default instance, which has no datasetId, comes first.
        instances.insert(0 if dataset is None else len(instances), instance)
    if instances:
        state[name] = one_or_list(instances)
    else:
        state.pop(name, None)
