# SPDX-License-Identifier: Apache-2.0
"""Which entity types and attributes exist, with counts (clauses 5.7.5 to 5.7.11)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from madang.base.errors import NotFound
from madang.base.limits import PAGE_ENTITIES_MAX
from madang.model.entity import ENTITY_MEMBERS, Document, instances_of, types_of
from madang.model.query.model import EntityQuery

if TYPE_CHECKING:
    from madang.core.consumption import Commits, Consumption, CurrentState
    from madang.model.change import EntityCommit


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
    costs the number of types and attributes, not the number of entities.
    """

    def __init__(self, store: CurrentState, consumption: Consumption, writer: Commits) -> None:
        self._store = store
        self._consumption = consumption
        self._counted: dict[str, _Counted] = {}
        self._follows = store.capabilities.exclusive
        if self._follows:
            writer.subscribe(self._committed)

    async def type_names(self, tenant: str) -> list[str]:
        """Return the canonical names of the types in use, sorted. Raises: TenantNotFound."""
        await self._consumption.check_tenant(tenant)
        return sorted(name for name, entities in await self._store.type_names(tenant) if entities > 0)

    async def types(self, tenant: str) -> list[TypeSummary]:
        """Return the types in use with their attributes, sorted by name. Raises: TenantNotFound."""
        await self._consumption.check_tenant(tenant)
        counts = await self._store.type_names(tenant)
        summaries = {name: TypeSummary(name, entities) for name, entities in sorted(counts) if entities > 0}
        for use in sorted(await self._uses(tenant), key=_by_attribute):
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
        """Return the attributes in use, sorted by name. Raises: TenantNotFound."""
        await self._consumption.check_tenant(tenant)
        summaries: dict[str, AttributeSummary] = {}
        uses = await self._uses(tenant)
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

    async def _uses(self, tenant: str) -> Counter[Use]:
        counted = self._counted.get(tenant)
        if counted is None:
            counted = _Counted()
            if self._follows:
                self._counted[tenant] = counted
            try:
                await self._count(tenant, counted)
            except BaseException:
                self._counted.pop(tenant, None)
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
