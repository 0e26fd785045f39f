# SPDX-License-Identifier: Apache-2.0
"""Linked entity retrieval: the entities that relationships point at, inline or in one flat list (clause 4.5.23)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from madang.base.errors import TooManyResults
from madang.base.limits import JOIN_ENTITIES_MAX
from madang.model.entity import Document, Instance, attributes_of, instances_of, one_or_list
from madang.model.query import projection as projections
from madang.model.query.projection import Member, Members, Projection

Fetch = Callable[[Sequence[str]], Awaitable[Mapping[str, Document]]]


@dataclass(frozen=True, slots=True)
class Join:
    """How linked entities are wanted: the form, how many relationships deep, and which entities are known already."""

    form: Literal["inline", "flat"]
    level: int = 1
    contained_by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of entities: members (of linked ones too) and attribute instances."""

    projection: Projection = projections.EVERYTHING
    datasets: tuple[str, ...] = ()

    def show(self, document: Document) -> Document:
        """Return what is shown of one entity; empty when nothing is left."""
        shown = projections.apply(document, self.projection)
        return {} if shown is None else projections.select_datasets(shown, self.datasets)

    def keeping(self, names: Sequence[str]) -> View:
        """Return a view that shows these members of every entity, whatever is picked and omitted."""
        pick, omit = self.projection.pick, self.projection.omit
        return View(
            replace(
                self.projection,
                pick=None if pick is None else _picked_too(pick, names),
                omit=None if omit is None else _not_omitted(omit, names),
            ),
            self.datasets,
        )

    def linked(self, relationship: str) -> View:
        """Return what is shown of the entities that a relationship leads to."""
        return View(self.projection.linked(relationship), self.datasets)


EVERYTHING: Final = View()


@dataclass(frozen=True, slots=True)
class _Seen:
    id: str
    shown: Document
    view: View


class LinkedEntities:
    """Follows the relationships of documents, as far as these are shown and their targets are stored here.

    The number of entities put into one answer is bounded, as relationships may branch without end.

    Raises (all methods): TooManyResults: more than JOIN_ENTITIES_MAX linked entities.
    """

    def __init__(self, fetch: Fetch, view: View, join: Join) -> None:
        self._fetch = fetch
        self._view = view
        self._join = join
        self._known: dict[str, Document | None] = {}
        self._count = 0

    async def collect(self, documents: Sequence[Document]) -> list[Document]:
        """Return what is shown of the documents, with their linked entities in the form asked for."""
        seen = [_see(document, self._view) for document in documents]
        if self._join.form == "flat":
            return await self._flat(seen)
        return await self._inline(seen)

    async def _flat(self, front: list[_Seen]) -> list[Document]:
        # Clause 4.5.23.3: each linked entity once, behind the linking ones, nearest first.
        encountered = {seen.id for seen in front} | self._join.contained_by
        result = [seen.shown for seen in front]
        for _ in range(self._join.level):
            links = [(id, view) for seen in front for id, view in _links(seen) if id not in encountered]
            await self._load(id for id, _ in links)
            front = []
            for id, view in links:
                document = self._known.get(id)
                if document is None or id in encountered:
                    continue
                encountered.add(id)
                self._spend()
                front.append(_see(document, view))
            result.extend(seen.shown for seen in front)
        return result

    async def _inline(self, roots: list[_Seen]) -> list[Document]:
        # Clause 4.5.23.2: first everything within reach is fetched, a level at a time, then it is put together.
        front = roots
        for _ in range(self._join.level):
            links = list(dict.fromkeys(link for seen in front for link in _links(seen)))
            await self._load(id for id, _ in links)
            front = [_see(document, view) for id, view in links if (document := self._known.get(id)) is not None]
        return [self._nest(seen, self._join.level, self._join.contained_by | {seen.id}) for seen in roots]

    async def _load(self, ids: Iterable[str]) -> None:
        missing = [id for id in dict.fromkeys(ids) if id not in self._known]
        if len(missing) + len(self._known) > JOIN_ENTITIES_MAX:
            raise _too_many()
        if missing:
            found = await self._fetch(missing)
            for id in missing:
                self._known[id] = found.get(id)

    def _spend(self) -> None:
        self._count += 1
        if self._count > JOIN_ENTITIES_MAX:
            raise _too_many()

    def _nest(self, seen: _Seen, level: int, path: frozenset[str]) -> Document:
        result: Document | None = None
        for name, instances in attributes_of(seen.shown):
            if not any(targets_of(instance) for instance in instances):
                continue
            view = seen.view.linked(name)
            nested = [self._nest_instance(instance, view, level, path) for instance in instances]
            if any(new is not old for new, old in zip(nested, instances, strict=True)):
                result = dict(seen.shown) if result is None else result
                result[name] = one_or_list(nested)
        return seen.shown if result is None else result

    def _nest_instance(self, instance: Instance, view: View, level: int, path: frozenset[str]) -> Instance:
        entities = []
        for id in targets_of(instance):
            document = self._known.get(id)
            # An entity that is an ancestor here would go round in a circle.
            if document is None or id in path:
                continue
            seen = _see(document, view)
            if seen.shown:
                self._spend()
                entities.append(self._nest(seen, level - 1, path | {id}) if level > 1 else seen.shown)
        if not entities:
            return instance
        if instance["type"] == "ListRelationship":
            return {**instance, "entityList": entities}
        return {**instance, "entity": entities if isinstance(instance.get("object"), list) else entities[0]}


def _picked_too(members: Members, names: Sequence[str]) -> Members:
    inner = [Member(each.name, None if each.inner is None else _picked_too(each.inner, names)) for each in members]
    picked = {member.name for member in members}
    return (*inner, *(Member(name) for name in names if name not in picked))


def _not_omitted(members: Members, names: Sequence[str]) -> Members:
    inner = [Member(each.name, None if each.inner is None else _not_omitted(each.inner, names)) for each in members]
    return tuple(member for member in inner if member.name not in names)


def targets_of(instance: Instance) -> list[str]:
    """Return the ids a Relationship or ListRelationship points at; empty for other attributes."""
    kind = instance.get("type")
    if kind == "Relationship":
        target = instance.get("object")
        return target if isinstance(target, list) else [target] if isinstance(target, str) else []
    if kind == "ListRelationship":
        targets = instance.get("objectList")
        return targets if isinstance(targets, list) else []
    return []


def targets_named(document: Document, relationship: str) -> list[str]:
    """Return the ids that one attribute of a document points at."""
    return [id for instance in instances_of(document, relationship) for id in targets_of(instance)]


def _see(document: Document, view: View) -> _Seen:
    return _Seen(document["id"], view.show(document), view)


def _links(seen: _Seen) -> Iterator[tuple[str, View]]:
    for name, instances in attributes_of(seen.shown):
        targets = [id for instance in instances for id in targets_of(instance)]
        if targets:
            view = seen.view.linked(name)
            for id in targets:
                yield id, view


def _too_many() -> TooManyResults:
    return TooManyResults(
        f"This answer has more than {JOIN_ENTITIES_MAX} linked entities; ask for fewer entities or a lower joinLevel",
        where="joinLevel",
    )
