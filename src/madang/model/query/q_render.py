# SPDX-License-Identifier: Apache-2.0
"""The query language of clause 4.9: from tree to text."""

from __future__ import annotations

import json

from madang.model.query.names import PREFIXED_NAME, Names
from madang.model.query.q_tree import And, Expression, Kind, Literal, Node, Path, Range, Term, Value


def render(node: Node, names: Names) -> str:
    """Return a text that parses to the same tree in the same context."""
    if isinstance(node, Term):
        return _render_term(node, names)
    separator = ";" if isinstance(node, And) else "|"
    return separator.join(
        f"({render(child, names)})" if not isinstance(child, Term) else render(child, names) for child in node.terms
    )


def _render_term(term: Term, names: Names) -> str:
    path = _render_path(term.path, names)
    if term.operator is None:
        return path
    if term.operator == "!":
        return "!" + path
    return path + term.operator + _render_value(term.value)


def _render_path(path: Path, names: Names) -> str:
    inside = bool(path.links)
    text = ".".join(_render_name(name, names, inside=inside) for name in path.names)
    if path.members:
        text += f"[{'.'.join(path.members)}]"
    for number, link in reversed(list(enumerate(path.links))):
        hint = ",".join(_render_name(name, names, inside=True) for name in link.types)
        relationship = _render_name(link.relationship, names, inside=number > 0)
        text = f"{relationship}{{{hint + ':' if hint else ''}{text}}}"
    return text


def _render_name(name: str, names: Names, *, inside: bool) -> str:
    """Return the shortest form; inside braces a colon would end a type hint."""
    term = names.compact(name)
    plain = PREFIXED_NAME.fullmatch(term) is not None and not (inside and ":" in term)
    return term if plain else f"<{names.iri(name)}>"


def _render_value(value: Value | None) -> str:
    if isinstance(value, Range):
        return f"{_render_literal(value.low)}..{_render_literal(value.high)}"
    if isinstance(value, Expression):
        return '"' + value.text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return ",".join(_render_literal(literal) for literal in value or ())


def _render_literal(literal: Literal) -> str:
    return json.dumps(literal.text) if literal.kind is Kind.TEXT else literal.text
