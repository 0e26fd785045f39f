# SPDX-License-Identifier: Apache-2.0
"""Which members of an entity are given out: pick and omit (clause 4.21), attrs, and the datasetId filter (4.5.5)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from madang.base.errors import BadRequestData, TooComplexQuery
from madang.base.limits import QUERY_CHARACTERS_MAX, QUERY_NESTING_MAX, QUERY_TERMS_MAX
from madang.model.entity import ENTITY_MEMBERS, Document, Instance, Json, one_or_list
from madang.model.query.names import CORE_MEMBERS, IRI, PREFIXED_NAME, Names, canonical_list, is_iri

DEFAULT_DATASET: Final = "@none"
_ALLOWED: Final = "allowed are member names joined by , or |, and relationship{member,…} for linked entities"


@dataclass(frozen=True, slots=True)
class Member:
    """One name; `inner` says what is asked of the entities that this relationship leads to, None for no wish."""

    name: str
    inner: Members | None = None


Members: TypeAlias = tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Projection:
    """None does not restrict; an empty `attributes` leaves no attribute."""

    pick: Members | None = None
    omit: Members | None = None
    attributes: tuple[str, ...] | None = None  # from the deprecated `attrs`

    @property
    def depth(self) -> int:
        """How many relationships are followed at most (compared with joinLevel, clause 5.7.2.4)."""
        return max(_depth(self.pick), _depth(self.omit))

    def linked(self, relationship: str) -> Projection:
        """Return the projection of the entities that one relationship leads to."""
        return Projection(_inner(self.pick, relationship), _inner(self.omit, relationship))

    def required_attributes(self) -> tuple[str, ...]:
        """Return attributes of which an entity must have one to be selected at all.

        These are `attrs` (clause 5.7.2.4), or picked attributes when no member that every entity has is picked too:
        of the other entities nothing would be left.
        """
        if self.attributes is not None:
            return self.attributes
        names = [member.name for member in self.pick or ()]
        return () if any(name in ENTITY_MEMBERS for name in names) else tuple(names)


EVERYTHING: Final = Projection()


def parse(
    *,
    pick: str | Iterable[str] | None = None,
    omit: str | Iterable[str] | None = None,
    attrs: str | Iterable[str] | None = None,
    context: Names,
) -> Projection:
    """Return the projection of the three parameters: texts, or lists of texts as in the Query data type.

    Raises: BadRequestData: a text is wrong, attrs meets pick or omit, or one member is picked and omitted.
    """
    if attrs is not None and (pick is not None or omit is not None):
        raise BadRequestData("attrs cannot stand beside pick or omit; allowed is one way of projection", where="attrs")
    picked = None if pick is None else _parse_members(pick, context, "pick")
    omitted = None if omit is None else _parse_members(omit, context, "omit")
    if picked is not None and omitted is not None:
        both = _names(picked) & _names(omitted)
        if both:
            raise BadRequestData(
                f"{sorted(both)[0]!r} is both picked and omitted; allowed is one of the two", where="omit"
            )
    attributes = None if attrs is None else canonical_list(attrs, context, "attrs")
    return Projection(picked, omitted, attributes)


def _names(members: Members) -> set[str]:
    return {member.name for member in members if member.inner is None}


def apply(document: Document, projection: Projection) -> Document | None:
    """Return the entity with only the members asked for; None when a pick leaves nothing of it."""
    if projection.attributes is not None:
        kept = projection.attributes
        return {name: value for name, value in document.items() if name in ENTITY_MEMBERS or name in kept}
    if projection.pick is not None:
        picked = {member.name for member in projection.pick}
        document = {name: value for name, value in document.items() if name in picked}
        if not document:
            return None
    if projection.omit is not None:
        omitted = _names(projection.omit)
        document = {name: value for name, value in document.items() if name not in omitted}
    return document


def parse_datasets(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the datasetId filter: URIs and "@none"; empty when there is none.

    Raises: BadRequestData: one is neither.
    """
    if given is None:
        return ()
    datasets = [text.strip() for text in (given.split(",") if isinstance(given, str) else given)]
    if len(datasets) > QUERY_TERMS_MAX:
        raise TooComplexQuery(
            f"datasetId lists {len(datasets)} datasets; allowed are {QUERY_TERMS_MAX}", where="datasetId"
        )
    for dataset in datasets:
        if dataset != DEFAULT_DATASET and not is_iri(dataset):
            raise BadRequestData(
                f"datasetId: {dataset!r:.80} is not a URI; allowed are URIs and @none for instances without one",
                where="datasetId",
            )
    return tuple(dict.fromkeys(datasets))


def select_datasets(document: Document, datasets: Collection[str]) -> Document:
    """Return the entity with only those attribute instances; an attribute without any of them is left out."""
    if not datasets:
        return document
    selected: Document = {}
    for name, value in document.items():
        if name in ENTITY_MEMBERS:
            selected[name] = value
            continue
        instances: list[Instance] = value if isinstance(value, list) else [value]
        kept: list[Json] = [item for item in instances if item.get("datasetId", DEFAULT_DATASET) in datasets]
        if kept:
            selected[name] = one_or_list(kept)
    return selected


def _depth(members: Members | None) -> int:
    return max((1 + _depth(member.inner) for member in members or () if member.inner is not None), default=0)


def _inner(members: Members | None, relationship: str) -> Members | None:
    return next((member.inner for member in members or () if member.name == relationship), None)


# ---------------------------------------------------------------------- text to members


def _parse_members(given: str | Iterable[str], names: Names, where: str) -> Members:
    texts = [given] if isinstance(given, str) else list(given)
    if len(texts) > QUERY_TERMS_MAX:
        raise TooComplexQuery(f"{where} lists more than {QUERY_TERMS_MAX} members", where=where)
    members: list[Member] = []
    for text in texts:
        if len(text) > QUERY_CHARACTERS_MAX:
            raise TooComplexQuery(
                f"{where} has {len(text)} characters; allowed are {QUERY_CHARACTERS_MAX}", where=where
            )
        reader = _Reader(text, names, where)
        members.extend(reader.members(0))
        if reader.position < len(text):
            reader.fail("the list should go on with , or | here")
    return _distinct(members, where)


def _distinct(members: list[Member], where: str) -> Members:
    if len({member.name for member in members}) < len(members):
        raise BadRequestData(f"{where}: a member is named twice; allowed is each member once", where=where)
    return tuple(members)


class _Reader:
    def __init__(self, text: str, names: Names, where: str) -> None:
        self.text = text
        self.names = names
        self.where = where
        self.position = 0
        self.count = 0

    def fail(self, what: str) -> NoReturn:
        raise BadRequestData(f"{self.where}, character {self.position + 1}: {what}; {_ALLOWED}", where=self.where)

    def take(self, characters: str) -> bool:
        if self.position < len(self.text) and self.text[self.position] in characters:
            self.position += 1
            return True
        return False

    def members(self, depth: int) -> Members:
        if depth > QUERY_NESTING_MAX:
            raise TooComplexQuery(f"{self.where} follows more than {QUERY_NESTING_MAX} links", where=self.where)
        found = [self.member(depth)]
        while self.take(",|"):
            found.append(self.member(depth))
        return _distinct(found, self.where)

    def member(self, depth: int) -> Member:
        self.count += 1
        if self.count > QUERY_TERMS_MAX:
            raise TooComplexQuery(f"{self.where} lists more than {QUERY_TERMS_MAX} members", where=self.where)
        name = self.name()
        if not self.take("{"):
            return Member(name)
        inner = self.members(depth + 1)
        if not self.take("}"):
            self.fail("a brace is not closed")
        return Member(name, inner)

    def name(self) -> str:
        found: re.Match[str] | None = IRI.match(self.text, self.position)
        found = found or PREFIXED_NAME.match(self.text, self.position)
        if found is None:
            self.fail("a member name is missing")
        self.position = found.end()
        term = found[0]
        return term if term in CORE_MEMBERS else self.names.expand(term)


def render(members: Members, names: Names) -> str:
    """Return a text that parses to the same members in the same context."""
    return ",".join(
        names.compact(member.name) + (f"{{{render(member.inner, names)}}}" if member.inner is not None else "")
        for member in members
    )
