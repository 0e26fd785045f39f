# SPDX-License-Identifier: Apache-2.0
"""Which entity types and attributes exist, with counts (clauses 5.7.5 to 5.7.11), as far as the caller may know."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from madang.base.errors import NotFound
from madang.base.limits import PAGE_ENTITIES_MAX
from madang.model.access import Right
from madang.model.entity import ENTITY_MEMBERS, Document, instances_of, types_of
from madang.model.query.model import EntityQuery

if TYPE_CHECKING:
    from madang.core.consumption import Commits, Consumption, CurrentState
    from madang.core.tail import Tail
    from madang.model.change import EntityCommit
    from madang.model.permit import Permit


class Use(NamedTuple):
    """An attribute as it is used: by entities of exactly these types, as this type of attribute."""

    types: tuple[str, ...]
    attribute: str
    attribute_type: str


@runtime_checkable
class CountingStore(Protocol):
    """A store that counts by itself, next to its data."""

    async def attribute_uses(self, tenant: str) -> tuple[int, list[tuple[tuple[str, ...], str, str, int]]]:
        """Return the sequence of the last change counted, and (types, attribute, attribute type, instances) rows."""


@dataclass(slots=True)
class TypeSummary:
    """An entity type in use: its attributes' names with the types these have, and the number of entities."""

    name: str
    entities: int
    attributes: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class AttributeSummary:
    """An attribute in use: the entity types that have it, the types it has, and the number of its instances."""

    name: str
    instances: int = 0
    attribute_types: list[str] = field(default_factory=list)
    type_names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Counted:
    """The instances counted for one tenant; `pending` gathers commits while the first count is under way."""

    uses: Counter[Use] = field(default_factory=Counter)
    pending: list[EntityCommit] | None = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Discovery:
    """Types and attributes of a tenant's entities.

    The attributes are counted once, when first asked for, and from then on the count follows the commits: so the answer
    costs the number of types and attributes, not the number of entities. Of what other processes wrote only the entity
    is known, not what it was before: the tenant is counted anew when somebody asks the next time.
    """

    def __init__(
        self, store: CurrentState, consumption: Consumption, writer: Commits, *, tail: Tail | None = None
    ) -> None:
        self._store = store
        self._consumption = consumption
        self._permits = writer.permits
        self._counted: dict[str, _Counted] = {}
        self._follows = store.capabilities.exclusive or tail is not None
        if self._follows:
            writer.subscribe(self._committed)
            if tail is not None:
                tail.on_entities(self._written_elsewhere)

    async def type_names(self, tenant: str) -> list[str]:
        """Return the canonical names of the types in use, sorted. Raises: TenantNotFound. Denied."""
        permit = await self._permit(tenant)
        if permit.by_area:
            return sorted((await self._looked_through(tenant, permit))[0])
        return sorted(name for name, _ in await self._type_counts(tenant, permit))

    async def types(self, tenant: str) -> list[TypeSummary]:
        """Return the types in use with their attributes, sorted by name. Raises: TenantNotFound. Denied."""
        permit = await self._permit(tenant)
        uses: Iterable[Use]
        if permit.by_area:
            entities_by_type, uses = await self._looked_through(tenant, permit)
            counts = list(entities_by_type.items())
        else:
            counts, uses = await self._type_counts(tenant, permit), await self._seen_uses(tenant, permit)
        summaries = {name: TypeSummary(name, entities) for name, entities in sorted(counts)}
        for use in sorted(uses, key=_by_attribute):
            for name in use.types:
                summary = summaries.get(name)
                if summary is not None:
                    _add(summary.attributes.setdefault(use.attribute, []), use.attribute_type)
        return list(summaries.values())

    async def type(self, tenant: str, name: str) -> TypeSummary:
        """Return one type in use.

        Raises: NotFound: no entity has it. TenantNotFound.
        """
        for summary in await self.types(tenant):
            if summary.name == name:
                return summary
        raise NotFound(f"There is no entity of the type {name}")

    async def attributes(self, tenant: str) -> list[AttributeSummary]:
        """Return the attributes in use, sorted by name. Raises: TenantNotFound. Denied."""
        permit = await self._permit(tenant)
        summaries: dict[str, AttributeSummary] = {}
        if permit.by_area:
            _, uses = await self._looked_through(tenant, permit)
        else:
            uses = await self._seen_uses(tenant, permit)
        for use in sorted(uses, key=_by_attribute):
            summary = summaries.setdefault(use.attribute, AttributeSummary(use.attribute))
            summary.instances += uses[use]
            _add(summary.attribute_types, use.attribute_type)
            for name in use.types:
                _add(summary.type_names, name)
        for summary in summaries.values():
            summary.type_names.sort()
        return list(summaries.values())

    async def attribute(self, tenant: str, name: str) -> AttributeSummary:
        """Return one attribute in use.

        Raises: NotFound: no entity has it. TenantNotFound.
        """
        for summary in await self.attributes(tenant):
            if summary.name == name:
                return summary
        raise NotFound(f"There is no entity with the attribute {name}")

    def forget_tenant(self, tenant: str) -> None:
        """Drop what was counted for a tenant that is removed."""
        self._counted.pop(tenant, None)

    # ---- what the caller may see of it

    async def _permit(self, tenant: str) -> Permit:
        permit = self._permits.require(Right.READ, tenant)
        await self._consumption.check_tenant(tenant)
        return permit

    async def _type_counts(self, tenant: str, permit: Permit) -> list[tuple[str, int]]:
        counts = await self._store.type_names(tenant)
        return [
            (name, entities)
            for name, entities in counts
            if entities > 0 and (permit.types is None or name in permit.types)
        ]

    async def _seen_uses(self, tenant: str, permit: Permit) -> Counter[Use]:
        """Return the uses of the attributes that may be seen: without areas the types of an entity decide that."""
        uses = await self._uses(tenant)
        if permit.unrestricted:
            return uses
        seen: Counter[Use] = Counter()
        for use, instances in uses.items():
            lens = permit.lens_of(use.types)
            if lens is not None and lens.sees(use.attribute):
                seen[use._replace(types=lens.types)] += instances
        return seen

    async def _looked_through(self, tenant: str, permit: Permit) -> tuple[Counter[str], Counter[Use]]:
        """Return how many entities of each type may be seen, and their uses: where they lie decides that."""
        entities_by_type: Counter[str] = Counter()
        uses: Counter[Use] = Counter()
        selectors = permit.narrow(())
        offset, more = 0, selectors is not None
        while more and selectors is not None:
            query = EntityQuery(selectors, geo=permit.place, limit=PAGE_ENTITIES_MAX, offset=offset)
            found = await self._store.find(tenant, query)
            for document in (await self._consumption.documents(tenant, found.ids, keep=False)).values():
                entities_by_type.update(types_of(document))
                uses.update(_uses_of(document))
            offset, more = offset + len(found.ids), found.more
        return entities_by_type, uses

    # ---- counting

    async def _uses(self, tenant: str) -> Counter[Use]:
        counted = self._counted.get(tenant)
        if counted is None:
            counted = _Counted()
            if self._follows:
                self._counted[tenant] = counted
            try:
                await self._count(tenant, counted)
            except BaseException:
                if self._counted.get(tenant) is counted:
                    del self._counted[tenant]
                raise
            finally:
                counted.ready.set()
        elif not counted.ready.is_set():
            await counted.ready.wait()
            return await self._uses(tenant)
        return counted.uses

    async def _count(self, tenant: str, counted: _Counted) -> None:
        if isinstance(self._store, CountingStore):
            sequence, rows = await self._store.attribute_uses(tenant)
            uses = Counter({Use(types, name, kind): instances for types, name, kind, instances in rows})
        else:
            sequence, uses = await self._count_documents(tenant)
        pending, counted.pending = counted.pending or [], None
        counted.uses = uses
        for commit in pending:
            if commit.commit > sequence:
                _follow(counted.uses, commit)

    async def _count_documents(self, tenant: str) -> tuple[int, Counter[Use]]:
        # Without the store's help, a commit between two pages may be counted twice or not at all: clause 5.7.11 allows
        # an estimate.
        uses: Counter[Use] = Counter()
        sequence = await self._store.last_sequence()
        offset = 0
        while True:
            found = await self._store.find(tenant, EntityQuery(limit=PAGE_ENTITIES_MAX, offset=offset))
            for document in (await self._store.documents(tenant, found.ids)).values():
                uses.update(_uses_of(document))
            if not found.more:
                return sequence, uses
            offset += len(found.ids)

    def _committed(self, commits: Sequence[EntityCommit]) -> None:
        if not self._counted:
            return
        for commit in commits:
            counted = self._counted.get(commit.tenant)
            if counted is None:
                continue
            if counted.pending is not None:
                counted.pending.append(commit)
            else:
                _follow(counted.uses, commit)

    def _written_elsewhere(self, entities: Sequence[tuple[str, str]] | None) -> None:
        """Drop the counts of the tenants that others wrote to (None: of all); a count under way ends unkept."""
        if not self._counted:
            return
        for tenant in list(self._counted) if entities is None else {tenant for tenant, _ in entities}:
            self._counted.pop(tenant, None)


def _follow(uses: Counter[Use], commit: EntityCommit) -> None:
    """Change the count by what one commit did to one entity."""
    before, after = commit.before, commit.after
    if before is None and after is None:
        return
    if before is not None and after is not None and before.get("type") == after.get("type"):
        # Most commits only give attributes new values: look at no more than those.
        names = {change.attribute for change in commit.changes if change.attribute is not None}
        removed, added = list(_uses_of(before, names)), list(_uses_of(after, names))
        if removed == added:
            return
    else:
        removed = [] if before is None else list(_uses_of(before))
        added = [] if after is None else list(_uses_of(after))
    for use in removed:
        uses[use] -= 1
        if uses[use] <= 0:
            del uses[use]
    uses.update(added)


def _uses_of(document: Document, names: Iterable[str] | None = None) -> Iterator[Use]:
    types = tuple(types_of(document))
    for name in document if names is None else names:
        if name not in ENTITY_MEMBERS:
            for instance in instances_of(document, name):
                yield Use(types, name, instance["type"])


def _by_attribute(use: Use) -> tuple[str, str, tuple[str, ...]]:
    return use.attribute, use.attribute_type, use.types


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
