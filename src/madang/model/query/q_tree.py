# SPDX-License-Identifier: Apache-2.0
"""The tree of a query (clause 4.9): terms joined by AND and OR, with canonical names inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from madang.model.query.names import CORE_MEMBERS
from madang.model.query.regex import Pattern


class Kind(StrEnum):
    """The data type of a value in a query; two values are compared only if their types are equal."""

    NUMBER = "number"
    TEXT = "text"  # in quotation marks
    BOOLEAN = "boolean"
    DATE_TIME = "date_time"
    DATE = "date"
    TIME = "time"
    URI = "uri"  # without quotation marks
    WORD = "word"  # a bare name, as in category==commercial


TEXT_KINDS: Final = frozenset({Kind.TEXT, Kind.URI, Kind.WORD})


@dataclass(frozen=True, slots=True)
class Literal:
    """One value. `value` is the number, the boolean, the text, or the moment of a DateTime or Time in microseconds.

    `vocabulary` is the canonical name to compare a VocabProperty with; None when the text is no IRI.
    """

    kind: Kind
    value: int | float | str
    text: str = field(compare=False)  # as it was written, without quotation marks
    vocabulary: str | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """Both ends belong to it."""

    low: Literal
    high: Literal


@dataclass(frozen=True, slots=True)
class Expression:
    text: str
    pattern: Pattern = field(compare=False, repr=False)


Value: TypeAlias = tuple[Literal, ...] | Range | Expression


@dataclass(frozen=True, slots=True)
class Link:
    """A step over a Relationship to the entities it names: `rel{…}`, or `rel{Type,Type:…}` for those of a type only."""

    relationship: str
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Path:
    """Where the target value stands: links first, then attribute and sub-attributes, then members of a compound value.

    `keys` are the canonical names of `members`, the bracket part as it was written. Which of the two holds depends on
    the attribute: JSON that is opaque has no canonical names (clause 5.5.7).
    """

    names: tuple[str, ...]
    members: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    opaque: bool = False  # named in jsonKeys


@dataclass(frozen=True, slots=True)
class Term:
    """`operator` None asks for existence; "!" for absence, an extension that other hubs know too."""

    path: Path
    operator: str | None = None
    value: Value | None = None


@dataclass(frozen=True, slots=True)
class And:
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple[Node, ...]


Node: TypeAlias = And | Or | Term


def terms_of(node: Node) -> Iterator[Term]:
    """Yield every term of the tree, from left to right."""
    if isinstance(node, Term):
        yield node
    else:
        for child in node.terms:
            yield from terms_of(child)


def link_depth(node: Node | None) -> int:
    """Return how many relationships the query follows at most (compared with joinLevel, clause 5.7.2.4)."""
    return 0 if node is None else max(len(term.path.links) for term in terms_of(node))


def names_attribute(node: Node) -> bool:
    """Tell whether at least one term asks for an attribute that is not a system attribute (clause 5.7.2.4)."""
    return any(term.path.links or term.path.names[0] not in CORE_MEMBERS for term in terms_of(node))


def attribute_names(node: Node) -> set[str]:
    """Return the attributes of the entity itself that the query looks at."""
    paths = (term.path for term in terms_of(node))
    return {path.links[0].relationship if path.links else path.names[0] for path in paths} - CORE_MEMBERS


def separate_links(node: Node) -> tuple[Node | None, Node | None]:
    """Return (what needs no other entity, what does), whose conjunction is the query."""
    parts = node.terms if isinstance(node, And) else (node,)
    return (
        conjunction(tuple(part for part in parts if not link_depth(part))),
        conjunction(tuple(part for part in parts if link_depth(part))),
    )


def conjunction(parts: tuple[Node, ...]) -> Node | None:
    """Return the AND of all parts; None when there is none."""
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else And(parts)
