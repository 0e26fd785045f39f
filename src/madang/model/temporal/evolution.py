# SPDX-License-Identifier: Apache-2.0
"""The evolution of one entity: attribute instances over time, scopes, tombstones (clauses 4.5.6 to 4.5.8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from madang.base.times import try_date_time
from madang.model.change import Operation
from madang.model.entity import NGSI_LD_NULL, VALUE_MEMBERS, Document, Instance, Json, as_list
from madang.model.temporal.query import Window

_INSTANCE_ID: Final = re.compile(r"urn:ngsi-ld:instance:([1-9][0-9]{0,17})", re.ASCII)

# Member of the value of an ENTITY_CREATED row: the current state was made through the temporal API.
MADE_BY_HISTORY: Final = "madeByHistory"

Interval = tuple[int | None, int | None]  # from (inclusive) to (exclusive), in microseconds since 1970 UTC


class StoredInstance(NamedTuple):
    """One attribute instance of history, in its latest version; times in microseconds since 1970 UTC."""

    instance: int  # the sequence of its first version, which names it for ever
    moment_us: int  # the time property that was asked for
    created_us: int
    modified_us: int
    value: Instance


@dataclass(slots=True)
class Evolution:
    """What a window shows of one entity. Attributes by canonical name, each in the order of time.

    An attribute with an empty list has instances in the window, but none on this page.
    """

    id: str
    types: list[str]
    created_us: int
    modified_us: int
    deleted_us: int | None = None
    expires_at: str | None = None
    scopes: list[StoredInstance] = field(default_factory=list)
    attributes: dict[str, list[StoredInstance]] = field(default_factory=dict)
    attribute_types: dict[str, str] = field(default_factory=dict)  # of attributes with an empty list


def instance_id(sequence: int) -> str:
    """Return the instanceId of a history instance."""
    return f"urn:ngsi-ld:instance:{sequence}"


def instance_sequence(text: str) -> int | None:
    """Return the sequence in an instanceId; None when the hub never gave such an id."""
    found = _INSTANCE_ID.fullmatch(text)
    return int(found[1]) if found else None


def is_tombstone(instance: Instance) -> bool:
    """Tell whether the instance records a deletion: its value is an NGSI-LD Null (clause 4.5.7)."""
    value = instance.get(VALUE_MEMBERS.get(instance.get("type", "Property"), "value"))
    return value == NGSI_LD_NULL or value == {"@none": NGSI_LD_NULL} or value == [NGSI_LD_NULL]


def tombstone(kind: str, deleted_at: str, dataset: str | None = None) -> Instance:
    """Return the instance that records the deletion of an attribute of that type."""
    null: Json = {"@none": NGSI_LD_NULL} if kind == "LanguageProperty" else NGSI_LD_NULL
    instance: Instance = {"type": kind, VALUE_MEMBERS[kind]: null, "deletedAt": deleted_at}
    if dataset is not None:
        instance["datasetId"] = dataset
    return instance


# ---------------------------------------------------------------------- scopes


class ScopeRow(NamedTuple):
    """A row of the change log that says something about the scope of an entity."""

    sequence: int
    time_us: int
    operation: Operation
    value: Json  # {"type": …, "scope": …} of ENTITY_CREATED, else an instance or None
    time_text: str


class ScopeState(NamedTuple):
    """The scopes from one moment until the next state; `since_us` None: always so far."""

    since_us: int | None
    scopes: tuple[str, ...]
    shown: StoredInstance | None  # None: the entity itself was deleted


def scope_states(rows: Iterable[ScopeRow]) -> list[ScopeState]:
    """Return the states of the scope in the order in which they became valid (clauses 4.18 and 4.5.6)."""
    states = [state for row in rows if (state := _scope_state(row)) is not None]
    always = [state for state in states if state.since_us is None][-1:]
    later = [(state.since_us, state) for state in states if state.since_us is not None]
    return [*always, *(state for _, state in sorted(later, key=lambda pair: pair[0]))]


def _scope_state(row: ScopeRow) -> ScopeState | None:
    if row.operation is Operation.ENTITY_DELETED:
        return ScopeState(row.time_us, (), None)
    value = row.value
    if row.operation is Operation.ENTITY_CREATED:
        if not isinstance(value, dict) or "scope" not in value:
            return None
        value = {"type": "Property", "value": value["scope"]}
    elif row.operation not in (Operation.SCOPE_CHANGED, Operation.HISTORY_ADDED) or not isinstance(value, dict):
        return None
    if is_tombstone(value) or value.get("value") in (None, []):
        deleted = value.get("deletedAt", row.time_text)
        shown: Instance = {"type": "Property", "value": [], "deletedAt": deleted}
        moment_us = try_date_time(deleted) or row.time_us
        return ScopeState(moment_us, (), StoredInstance(row.sequence, moment_us, row.time_us, row.time_us, shown))
    shown = {"type": "Property", "value": value["value"]}
    since_us: int | None = row.time_us
    if row.operation is Operation.HISTORY_ADDED:
        since_us = try_date_time(value.get("observedAt"))
        if since_us is not None:
            shown["observedAt"] = value["observedAt"]
    else:
        # Clause 4.5.6: a change that came through the Core API is observed when it is made.
        shown["observedAt"] = row.time_text
    scopes = tuple(scope for scope in as_list(value["value"]) if isinstance(scope, str))
    return ScopeState(
        since_us, scopes, StoredInstance(row.sequence, since_us or row.time_us, row.time_us, row.time_us, shown)
    )


def shown_scopes(states: Sequence[ScopeState], window: Window) -> list[StoredInstance]:
    """Return the scope instances that a window shows.

    With a temporal query about observedAt that includes the one that was valid already when the window starts (C.5.16).
    """
    shown: list[StoredInstance] = []
    carried: StoredInstance | None = None
    for state in states:
        instance = state.shown
        deleted = instance is None or "deletedAt" in instance.value
        if window.time_property == "observedAt" and window.relation is not None:
            if state.since_us is None or (window.start_us is not None and state.since_us < window.start_us):
                carried = None if deleted else instance
                continue
            if state.since_us == window.start_us:
                carried = None
            if deleted or instance is None or not window.holds(state.since_us):
                continue
            shown.append(instance)
        elif instance is not None and _scope_fits(instance, window):
            shown.append(instance)
    return [carried, *shown] if carried is not None else shown


def _scope_fits(instance: StoredInstance, window: Window) -> bool:
    if window.free:
        return True
    if window.time_property == "deletedAt":
        return "deletedAt" in instance.value and window.holds(instance.moment_us)
    if window.time_property == "observedAt":
        return "observedAt" in instance.value
    return window.holds(instance.modified_us)


def scope_intervals(states: Sequence[ScopeState], fits: Callable[[list[str]], bool], window: Window) -> list[Interval]:
    """Return the parts of the window in which the entity's scopes fulfil a scope query, in order, without overlap."""
    intervals: list[Interval] = []
    for number, state in enumerate(states):
        if not state.scopes or not fits(list(state.scopes)):
            continue
        until_us = states[number + 1].since_us if number + 1 < len(states) else None
        start_us = _later(state.since_us, window.start_us)
        end_us = _earlier(until_us, window.end_us)
        if start_us is not None and end_us is not None and start_us >= end_us:
            continue
        if intervals and intervals[-1][1] is not None and intervals[-1][1] == start_us:
            intervals[-1] = (intervals[-1][0], end_us)
        else:
            intervals.append((start_us, end_us))
    return intervals


def _later(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _earlier(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


# ---------------------------------------------------------------------- documents


def windowed_document(
    id: str, types: list[str], attributes: Iterable[tuple[str, list[Instance]]], base: Document | None = None
) -> Document:
    """Return a document whose attributes have all instances of a window, for q and geo queries to look at (5.7.4.4)."""
    document: Document = {"id": id, "type": types[0] if len(types) == 1 else types}
    for name in ("createdAt", "modifiedAt", "expiresAt"):
        if base is not None and name in base:
            document[name] = base[name]
    for name, instances in attributes:
        alive = [instance for instance in instances if not is_tombstone(instance)]
        if alive:
            document[name] = alive
    return document


def current_document(history: Document, now: str) -> Document:
    """Return the current state that an entity whose history is written first begins with.

    That is the latest observed instance of each attribute and dataset that was not deleted by then, with its scope.
    """
    document: Document = {"id": history["id"], "type": history["type"]}
    if "scope" in history:
        scopes = latest_scopes(history["scope"])
        if scopes:
            document["scope"] = scopes[0] if len(scopes) == 1 else scopes
    if "expiresAt" in history:
        document["expiresAt"] = history["expiresAt"]
    document["createdAt"] = document["modifiedAt"] = now
    for name, value in history.items():
        if name in document or name in ("scope", "@context"):
            continue
        latest: dict[str | None, Instance] = {}
        for instance in as_list(value):
            known = latest.get(instance.get("datasetId"))
            if known is None or _observed(instance) >= _observed(known):
                latest[instance.get("datasetId")] = instance
        alive = [instance for instance in latest.values() if not is_tombstone(instance)]
        if alive:
            alive.sort(key=lambda instance: "datasetId" in instance)
            document[name] = alive[0] if len(alive) == 1 else alive
    return document


def latest_scopes(value: Json) -> list[str]:
    """Return the scopes of plain form, or those that the latest of reified scope instances gives."""
    instances = [item for item in as_list(value) if isinstance(item, dict)]
    if not instances:
        return [scope for scope in as_list(value) if isinstance(scope, str)]
    latest = max(instances, key=_observed)
    return [] if is_tombstone(latest) else [scope for scope in as_list(latest.get("value")) if isinstance(scope, str)]


def _observed(instance: Instance) -> int:
    moment_us = try_date_time(instance.get("observedAt"))
    return -(1 << 63) if moment_us is None else moment_us
