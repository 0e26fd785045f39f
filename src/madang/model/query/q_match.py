# SPDX-License-Identifier: Apache-2.0
"""Does a document fulfil a query? The comparisons of clause 4.9."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from madang.base.times import is_date, try_date_time
from madang.model.entity import Document, Json, as_list, instances_of, types_of
from madang.model.query import regex
from madang.model.query.q_tree import And, Expression, Kind, Link, Literal, Node, Range, Term, Value
from madang.model.query.values import Shape, Target, plain_value, targets, try_time

# Finds the current document of a linked entity by its id; None when there is none.
LinkedDocuments: TypeAlias = Callable[[str], Document | None]

_LESS: Final = ("<", "<=")
_OR_EQUAL: Final = (">=", "<=")


def matches(node: Node, document: Document, linked: LinkedDocuments | None = None) -> bool:
    """Tell whether the document fulfils the query.

    `linked` finds the documents that relationships name; without it a linked term is never fulfilled.
    """
    if isinstance(node, Term):
        return _fulfils(node, document, linked)
    if isinstance(node, And):
        return all(matches(child, document, linked) for child in node.terms)
    return any(matches(child, document, linked) for child in node.terms)


def _fulfils(term: Term, document: Document, linked: LinkedDocuments | None) -> bool:
    documents: Iterable[Document] = (document,)
    for link in term.path.links:
        documents = _follow(documents, link, linked)
    if term.operator == "!":
        return not any(True for found in documents for _ in targets(found, term.path))
    return any(fulfils(term, target) for found in documents for target in targets(found, term.path))


def _follow(documents: Iterable[Document], link: Link, linked: LinkedDocuments | None) -> list[Document]:
    if linked is None:
        return []
    found: dict[str, Document] = {}
    for document in documents:
        for instance in instances_of(document, link.relationship):
            for uri in (*as_list(instance.get("object")), *as_list(instance.get("objectList"))):
                target = linked(uri) if isinstance(uri, str) and uri not in found else None
                if target is not None and (not link.types or not set(link.types).isdisjoint(types_of(target))):
                    found[uri] = target
    return list(found.values())


def fulfils(term: Term, target: Target) -> bool:
    """Tell whether one target value fulfils the term's comparison; a term that asks for existence always is."""
    operator, value = term.operator, term.value
    if operator is None or value is None:
        return True
    if operator == "==":
        return _equal(target, value)
    if operator == "!=":
        return not _equal(target, value)
    if isinstance(value, Expression):
        return _fits(target, value, negated=operator == "!~=")
    return isinstance(value, tuple) and _ordered(target, value[0], operator)


# ---------------------------------------------------------------------- equality


def _equal(target: Target, value: Value) -> bool:
    members = target.value if isinstance(target.value, list) else [target.value]
    if isinstance(value, Range):
        return any(_within(Target(target.shape, member), value) for member in members)
    if isinstance(value, Expression):
        return False
    return any(_same(target.shape, plain_value(member), literal) for member in members for literal in value)


def _same(shape: Shape, value: Json, literal: Literal) -> bool:
    if shape is Shape.VOCABULARY:
        return literal.vocabulary is not None and bool(value == literal.vocabulary)
    if shape is Shape.MOMENT:
        moment = literal_moment(literal)
        return moment is not None and try_date_time(value) == moment
    typed = _typed(value, literal.kind)
    return typed is not None and bool(typed == literal.value)


def _typed(value: Json, kind: Kind) -> int | float | str | None:
    """Return the value as one of that kind; None when it is of another data type."""
    if kind is Kind.NUMBER:
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind is Kind.BOOLEAN:
        return int(value) if isinstance(value, bool) else None
    if not isinstance(value, str):
        return None
    if kind is Kind.DATE_TIME:
        return try_date_time(value)
    if kind is Kind.DATE:
        return value if is_date(value) else None
    return try_time(value) if kind is Kind.TIME else value


def literal_moment(literal: Literal) -> int | None:
    """Return microseconds since 1970 of a literal that is a DateTime, in quotation marks or not."""
    if literal.kind is Kind.DATE_TIME:
        return int(literal.value)
    return try_date_time(literal.value) if literal.kind is Kind.TEXT else None


# ---------------------------------------------------------------------- order and patterns


def _within(target: Target, range_: Range) -> bool:
    return _ordered(target, range_.low, ">=") and _ordered(target, range_.high, "<=")


def _ordered(target: Target, literal: Literal, operator: str) -> bool:
    shape, value = target
    if shape is Shape.URIS or shape is Shape.VOCABULARY:
        # Clause 4.9: a Relationship with any operator but == and != does not match.
        return False
    if shape is Shape.LANGUAGES and isinstance(value, list):
        return any(_ordered(Target(Shape.PLAIN, text), literal, operator) for text in value)
    limit: int | float | str | None = literal.value
    if shape is Shape.MOMENT:
        limit = literal_moment(literal)
        typed: int | float | str | None = try_date_time(value)
    else:
        typed = _typed(plain_value(value), literal.kind)
    if typed is None or limit is None:
        return False
    if typed == limit:
        return operator in _OR_EQUAL
    less = typed < limit  # type: ignore[operator]  # both are of the literal's kind
    return less if operator in _LESS else not less


def _fits(target: Target, expression: Expression, *, negated: bool) -> bool:
    texts: list[str]
    if target.shape is Shape.LANGUAGES:
        texts = [text for text in target.value if isinstance(text, str)]
    elif target.shape is Shape.PLAIN and isinstance(target.value, str):
        texts = [target.value]
    else:
        return False
    found = any(regex.found(expression.pattern, text) for text in texts)
    return bool(texts) and found != negated
