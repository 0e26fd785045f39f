# SPDX-License-Identifier: Apache-2.0
"""The scope query language of clause 4.19: `/a/b`, `/a/+/c`, `/a/#`, `/#`, joined by `,` `|` `;` and parentheses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from madang.base.errors import BadRequestData, TooComplexQuery
from madang.base.limits import QUERY_CHARACTERS_MAX, QUERY_NESTING_MAX, QUERY_TERMS_MAX
from madang.model.entity import Document, as_list
from madang.model.query.names import NAME

_PATTERN: Final = re.compile(rf"/#|/?(?:\+|{NAME})(?:/(?:\+|{NAME}))*(?:/#)?")
_ALLOWED: Final = (
    "allowed are scopes such as /a/b, with + for any one level and /# at the end for all levels below, "
    "joined by ; (and), | or , (or), in parentheses where needed"
)


@dataclass(frozen=True, slots=True)
class ScopePattern:
    """Levels of a scope, "+" for any one; with `below` also every scope under it (no levels: any scope at all)."""

    levels: tuple[str, ...]
    below: bool

    def fits(self, scope: str) -> bool:
        levels = scope.strip("/").split("/")
        if len(levels) < len(self.levels) or (len(levels) > len(self.levels) and not self.below):
            return False
        return all(wanted in ("+", level) for wanted, level in zip(self.levels, levels, strict=False))


@dataclass(frozen=True, slots=True)
class ScopeAnd:
    parts: tuple[ScopeQuery, ...]


@dataclass(frozen=True, slots=True)
class ScopeOr:
    parts: tuple[ScopeQuery, ...]


ScopeQuery = ScopePattern | ScopeAnd | ScopeOr


def parse(text: str, *, where: str = "scopeQ") -> ScopeQuery:
    """Return the tree of a scope query.

    Raises: BadRequestData: the text is not a scope query. TooComplexQuery: it is too large.
    """
    if len(text) > QUERY_CHARACTERS_MAX:
        raise TooComplexQuery(f"{where} has {len(text)} characters; allowed are {QUERY_CHARACTERS_MAX}", where=where)
    reader = _Reader(text, where)
    query = reader.disjunction(0)
    if reader.position < len(text):
        reader.fail("the scope query should end or go on with ; | or , here")
    return query


def matches(query: ScopeQuery, document: Document) -> bool:
    """Tell whether the scopes of the entity, of which it may have none, fulfil the query."""
    return fits(query, [scope for scope in as_list(document.get("scope")) if isinstance(scope, str) and scope])


def fits(query: ScopeQuery, scopes: list[str]) -> bool:
    """Tell whether a list of scopes fulfils the query."""
    if isinstance(query, ScopePattern):
        return any(query.fits(scope) for scope in scopes)
    if isinstance(query, ScopeAnd):
        return all(fits(part, scopes) for part in query.parts)
    return any(fits(part, scopes) for part in query.parts)


def render(query: ScopeQuery) -> str:
    """Return a text that parses to the same tree."""
    if isinstance(query, ScopePattern):
        levels = "".join(f"/{level}" for level in query.levels)
        return levels + "/#" if query.below else levels
    separator = ";" if isinstance(query, ScopeAnd) else "|"
    return separator.join(
        render(part) if isinstance(part, ScopePattern) else f"({render(part)})" for part in query.parts
    )


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.position = 0
        self.patterns = 0

    def fail(self, what: str) -> NoReturn:
        raise BadRequestData(f"{self.where}, character {self.position + 1}: {what}; {_ALLOWED}", where=self.where)

    def take(self, characters: str) -> bool:
        if self.position < len(self.text) and self.text[self.position] in characters:
            self.position += 1
            return True
        return False

    def disjunction(self, depth: int) -> ScopeQuery:
        parts = [self.conjunction(depth)]
        while self.take("|,"):
            parts.append(self.conjunction(depth))
        return parts[0] if len(parts) == 1 else ScopeOr(tuple(parts))

    def conjunction(self, depth: int) -> ScopeQuery:
        parts = [self.operand(depth)]
        while self.take(";"):
            parts.append(self.operand(depth))
        return parts[0] if len(parts) == 1 else ScopeAnd(tuple(parts))

    def operand(self, depth: int) -> ScopeQuery:
        if self.take("("):
            if depth >= QUERY_NESTING_MAX:
                raise TooComplexQuery(
                    f"{self.where} has more than {QUERY_NESTING_MAX} parentheses inside each other", where=self.where
                )
            query = self.disjunction(depth + 1)
            if not self.take(")"):
                self.fail("a parenthesis is not closed")
            return query
        self.patterns += 1
        if self.patterns > QUERY_TERMS_MAX:
            raise TooComplexQuery(f"{self.where} has more than {QUERY_TERMS_MAX} scopes", where=self.where)
        found = _PATTERN.match(self.text, self.position)
        if found is None:
            self.fail("a scope is missing")
        self.position = found.end()
        levels = found[0].strip("/").split("/")
        below = levels[-1] == "#"
        return ScopePattern(tuple(levels[:-1] if below else levels), below)
