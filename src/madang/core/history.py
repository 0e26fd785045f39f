# SPDX-License-Identifier: Apache-2.0
"""The verbs of history: reading the evolution of entities, and writing to it what happened at other times.

History is the change log. What comes through the temporal API is logged as HISTORY_ADDED and leaves a current state
as it is; only an entity that the hub has never heard of gets one, from the latest of what is sent (clause 5.6.11).
Deleting an entity's current state keeps its history; deleting its history keeps a current state that others wrote.

What a caller may see of an evolution is what he may see of the entity as it stands, over all of its time; where it lies
now decides for all of it, and of an entity that is gone no grant for an area sees anything (`core.history_visible`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from madang.base.errors import Denied, InvalidRequest, NotFound, TenantNotFound, TooManyResults
from madang.base.limits import TEMPORAL_INSTANCES_PER_ATTRIBUTE_MAX, TEMPORAL_PERIODS_MAX
from madang.base.times import format_date_time, try_date_time
from madang.core.history_visible import VisibleHistory
from madang.model.access import Right
from madang.model.change import Change, Operation
from madang.model.entity import Document, Instance, as_list, attributes_of, one_or_list, types_of
from madang.model.permit_writing import IN_THE_WAY
from madang.model.temporal.evolution import (
    MADE_BY_HISTORY,
    current_document,
    instance_sequence,
    is_tombstone,
    latest_scopes,
)
from madang.model.temporal.history import (
    AggregatedEvolution,
    HistoryFound,
    HistoryPage,
    HistoryQuestion,
    HistoryReading,
    HistoryState,
    HistoryVersion,
)

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.writer import View, Writer
    from madang.model.temporal.query import Aggregation
    from madang.store.port import Store

# What the system gives to an instance is never taken from a client.
_SYSTEM = frozenset({"instanceId", "createdAt", "modifiedAt"})


class History:
    """One per process.

    Args:
        instances_max: how many instances of an attribute one answer holds before it becomes a partial one (6.3.10).
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        clock: Clock,
        *,
        instances_max: int = TEMPORAL_INSTANCES_PER_ATTRIBUTE_MAX,
    ) -> None:
        self._store = store
        self._writer = writer
        self._permits = writer.permits
        self._clock = clock
        self.instances_max = instances_max
        # Who writes the history of an entity first looks at what is there: one at a time.
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @property
    def now(self) -> str:
        """The present moment as DateTime text, for questions and readings."""
        return format_date_time(self._clock.now_us())

    # ------------------------------------------------------------------ reading

    async def find(self, tenant: str, question: HistoryQuestion) -> HistoryFound:
        """Return the entities that have history as asked (clause 5.7.4). Raises: TenantNotFound. Denied."""
        permit = self._permits.require(Right.READ, tenant)
        self._check_tenant(tenant)
        if permit.unrestricted:
            return await self._store.history_find(tenant, question)
        return await VisibleHistory(self._store, tenant, permit).find(question)

    async def read(self, tenant: str, ids: Sequence[str], reading: HistoryReading) -> HistoryPage:
        """Return the evolutions of some entities, in the order of the ids. Raises: TenantNotFound. Denied."""
        permit = self._permits.require(Right.READ, tenant)
        self._check_tenant(tenant)
        if permit.unrestricted:
            return await self._store.history_read(tenant, ids, reading)
        return await VisibleHistory(self._store, tenant, permit).read(ids, reading)

    async def aggregate(
        self, tenant: str, ids: Sequence[str], reading: HistoryReading, aggregation: Aggregation
    ) -> list[AggregatedEvolution]:
        """Return aggregated values of some entities, in the order of the ids.

        Raises:
            InvalidRequest: an attribute that was asked for is eligible for none of the methods (clause 5.7.4.4).
            TooManyResults: the periods are too short for so long a time. TenantNotFound. Denied.
        """
        permit = self._permits.require(Right.READ, tenant)
        self._check_tenant(tenant)
        if permit.unrestricted:
            found = await self._store.history_aggregate(tenant, ids, reading, aggregation)
        else:
            visible = VisibleHistory(self._store, tenant, permit)
            found = await visible.aggregate(ids, reading, aggregation)
        if _periods(found) > TEMPORAL_PERIODS_MAX:
            raise TooManyResults(
                f"The answer would have more than {TEMPORAL_PERIODS_MAX} values; ask for longer periods or less time",
                where="aggrPeriodDuration",
            )
        for name in reading.attributes or ():
            series = [each for evolution in found for each in evolution.attributes.get(name, ())]
            if series and not any(each.result for each in series):
                raise InvalidRequest(
                    f"The values of the attribute {name} have none of {', '.join(aggregation.methods)}; "
                    "allowed are distinctCount and totalCount for every attribute",
                    where="aggrMethods",
                )
        return found

    def _check_tenant(self, tenant: str) -> None:
        if not self._writer.has_tenant(tenant):
            raise TenantNotFound(f"There is no tenant {tenant!r}; a creating operation makes one")

    # ------------------------------------------------------------------ writing

    async def upsert(self, tenant: str, document: Document) -> bool:
        """Create a temporal evolution, of `parse_temporal`, or add to it (5.6.11); tell whether it was created."""
        id: str = document["id"]
        self._permits.writing(tenant)
        async with self._turn(tenant, id):
            state = await self._store.history_state(tenant, id)
            if state is not None and not await self._may_know(tenant, id, state):
                raise Denied(IN_THE_WAY)
            same = [] if state is None else await self._same(tenant, id, document)

            def decide(view: View) -> bool:
                current = view.entity(id)
                if state is None and current is None:
                    first = Change(
                        Operation.ENTITY_CREATED, id, value={"type": document["type"], MADE_BY_HISTORY: True}
                    )
                    after = current_document(document, view.now)
                    view.put(None, after, [first, *_added(id, document, view.now, scope=document.get("scope"))])
                else:
                    self._add(view, id, document, state, same)
                return state is None

            return await self._writer.write(tenant, [id], decide, create_tenant=True)

    async def add(self, tenant: str, id: str, fragment: Document) -> None:
        """Add attribute instances to a temporal evolution (clause 5.6.12).

        An instance with the datasetId and observedAt of one that is there takes its place, so that the same history
        can be sent again.

        Raises: NotFound: the entity has no history. TenantNotFound.
        """
        async with self._turn(tenant, id):
            state = await self._known(tenant, id)
            same = await self._same(tenant, id, fragment)
            await self._writer.write(tenant, [id], lambda view: self._add(view, id, fragment, state, same))

    def _add(self, view: View, id: str, document: Document, state: HistoryState | None, same: Sequence[int]) -> None:
        for sequence in same:
            view.hide_history(sequence)
        current = view.entity(id)
        types = state.types if state is not None else []
        if current is not None:
            types = types_of(current)
        merged = list(dict.fromkeys([*types, *as_list(document.get("type"))]))
        changes = _added(id, document, view.now, scope=_new_scope(document, current, view.now))
        if len(merged) > len(types):
            changes.insert(0, Change(Operation.TYPE_CHANGED, id, value={"type": one_or_list(merged)}))
            if current is not None:
                view.put(current, {**current, "type": one_or_list(merged), "modifiedAt": view.now}, changes)
                return
        if changes:
            view.log(id, changes, types=merged)

    async def delete_attribute(
        self, tenant: str, id: str, name: str, *, dataset: str | None = None, delete_all: bool = False
    ) -> None:
        """Delete the instances of an attribute: of the default dataset, of one, or all (clause 5.6.13).

        Raises: NotFound: no history of the entity, or of the attribute or dataset. TenantNotFound.
        """
        dataset = None if dataset == "@none" else dataset
        async with self._turn(tenant, id):
            state = await self._known(tenant, id, name)
            sequences, known = await self._store.history_sequences(
                tenant, id, name, dataset=dataset, all_datasets=delete_all
            )
            if not known or not sequences:
                of = "" if delete_all else f" with the datasetId {dataset}" if dataset else " without a datasetId"
                raise NotFound(f"The history of {id} has no attribute {name}{of}", where=name)
            told = {"attribute": name, "deleted": len(sequences)}
            await self._hide(tenant, id, sequences, told, state)

    async def modify_instance(self, tenant: str, id: str, name: str, instance: str, value: Instance) -> None:
        """Put a new version in the place of an attribute instance (clause 5.6.14).

        Raises: NotFound: no history of the entity, or no such instance of the attribute. TenantNotFound.
        """
        async with self._turn(tenant, id):
            state = await self._known(tenant, id, name)
            version = await self._version(tenant, id, name, instance)
            stored = _stored(value)
            if version.dataset is not None:
                stored.setdefault("datasetId", version.dataset)

            def decide(view: View) -> None:
                view.hide_history(version.sequence)
                row = _row(id, name, stored, view.now)
                view.log(id, [row._replace(instance=version.stored.instance)], types=state.types)

            await self._writer.write(tenant, [id], decide)

    async def delete_instance(self, tenant: str, id: str, name: str, instance: str) -> None:
        """Delete an attribute instance (clause 5.6.15).

        Raises: NotFound: no history of the entity, or no such instance of the attribute. TenantNotFound.
        """
        async with self._turn(tenant, id):
            state = await self._known(tenant, id, name)
            version = await self._version(tenant, id, name, instance)
            await self._hide(tenant, id, [version.sequence], {"attribute": name, "instanceId": instance}, state)

    async def delete(self, tenant: str, id: str) -> None:
        """Delete the whole temporal evolution (clause 5.6.16).

        A current state that only the temporal API ever wrote goes with it; one that others wrote stays.

        Raises: NotFound: the entity has no history. TenantNotFound.
        """
        async with self._turn(tenant, id):
            state = await self._known(tenant, id)

            def decide(view: View) -> None:
                current = view.entity(id)
                view.drop_history(id, types=state.types)
                if current is None:
                    return
                if state.written_by_history_only:
                    view.delete(current, ())
                else:
                    # The log goes on with what the entity is: its type, for when only history is left of it.
                    told = {"all": True, "type": current["type"]}
                    view.log(id, [Change(Operation.HISTORY_DELETED, id, value=told)])

            await self._writer.write(tenant, [id], decide)

    # ------------------------------------------------------------------ parts

    def _turn(self, tenant: str, id: str) -> asyncio.Lock:
        turn = self._turns.get((tenant, id))
        if turn is None:
            turn = self._turns[tenant, id] = asyncio.Lock()
        return turn

    async def _known(self, tenant: str, id: str, name: str | None = None) -> HistoryState:
        """Return what is known of the history of an entity, that of one attribute if it is named.

        Raises: NotFound: there is none, or the caller may not know of it. TenantNotFound. Denied.
        """
        self._permits.writing(tenant)
        self._check_tenant(tenant)
        state = await self._store.history_state(tenant, id)
        if state is None or not await self._may_know(tenant, id, state):
            raise NotFound(f"There is no temporal evolution of an entity with the id {id}")
        if name is not None and not await self._may_know(tenant, id, state, name):
            raise NotFound(f"The history of {id} has nothing of the attribute {name} that you may change", where=name)
        return state

    async def _may_know(self, tenant: str, id: str, state: HistoryState, name: str | None = None) -> bool:
        permit = self._permits.writing(tenant)
        if permit is None:
            return True
        document = (await self._store.documents(tenant, [id])).get(id) if state.present else None
        lens = permit.known.lens_of(state.types) if document is None else permit.known.lens(document)
        return lens is not None and (name is None or name == "scope" or lens.sees(name))

    async def _version(self, tenant: str, id: str, name: str, instance: str) -> HistoryVersion:
        sequence = instance_sequence(instance)
        found = None if sequence is None else await self._store.history_version(tenant, id, name, sequence)
        if found is None:
            raise NotFound(f"The attribute {name} of {id} has no instance {instance}", where="instanceId")
        return found

    async def _same(self, tenant: str, id: str, document: Document) -> list[int]:
        keys = []
        for name, instances in attributes_of(document):
            for instance in instances:
                observed_us = try_date_time(instance.get("observedAt"))
                if observed_us is not None:
                    keys.append((name, instance.get("datasetId"), observed_us))
        return await self._store.history_same(tenant, id, keys) if keys else []

    async def _hide(self, tenant: str, id: str, sequences: Sequence[int], told: Instance, state: HistoryState) -> None:
        def decide(view: View) -> None:
            for sequence in sequences:
                view.hide_history(sequence)
            view.log(id, [Change(Operation.HISTORY_DELETED, id, value=told)], types=state.types)

        await self._writer.write(tenant, [id], decide)


def _periods(found: Sequence[AggregatedEvolution]) -> int:
    series = [each for evolution in found for some in evolution.attributes.values() for each in some]
    return sum(len(periods) for each in series for periods in each.result.values())


def _added(id: str, document: Document, now: str, *, scope: object) -> list[Change]:
    changes = [
        _row(id, name, _stored(instance), now) for name, instances in attributes_of(document) for instance in instances
    ]
    reified = [item for item in as_list(scope) if isinstance(item, dict)]
    if scope is not None and not reified:
        reified = [{"type": "Property", "value": scope}]
    return [*(_row(id, "scope", dict(item), now) for item in reified), *changes]


def _new_scope(document: Document, current: Document | None, now: str) -> object:
    """Return the scope that an update adds: what was sent in reified form, or a plain one that is new from now on."""
    scope = document.get("scope")
    if scope is None or any(isinstance(item, dict) for item in as_list(scope)):
        return scope
    if current is not None and latest_scopes(scope) == latest_scopes(current.get("scope")):
        return None
    return [{"type": "Property", "value": scope, "observedAt": now}]


def _row(id: str, name: str, instance: Instance, now: str) -> Change:
    if is_tombstone(instance) and "deletedAt" not in instance:
        instance["deletedAt"] = instance.get("observedAt", now)
    observed_us = try_date_time(instance.get("observedAt"))
    return Change(Operation.HISTORY_ADDED, id, name, instance.get("datasetId"), observed_us, instance)


def _stored(instance: Instance) -> Instance:
    return {name: value for name, value in instance.items() if name not in _SYSTEM}
