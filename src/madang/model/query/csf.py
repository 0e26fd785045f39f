# SPDX-License-Identifier: Apache-2.0
"""The context source filter: the query language of clause 4.9 over the members of a record.

Records are registrations (Table 5.2.9-1) and snapshots (Table 5.2.43-1): plain JSON whose members are named as in the
standard, so no context is applied to them.
"""

from __future__ import annotations

from madang.model.entity import VALUE_MEMBERS, Json
from madang.model.query import q
from madang.model.query.q_match import fulfils
from madang.model.query.q_tree import And, Node, Or, Path, Term
from madang.model.query.values import Shape, Target, targets


class _AsWritten:
    """A context that leaves every name as it is."""

    def expand(self, term: str) -> str:
        return term

    def compact(self, name: str) -> str:
        return name

    def iri(self, name: str) -> str:
        return name


AS_WRITTEN = _AsWritten()


def parse(text: str, *, where: str = "csf") -> Node:
    """Return the tree of the filter.

    Raises: BadRequestData: the text is not a query. TooComplexQuery: it is too large.
    """
    return q.parse(text, AS_WRITTEN, where=where)


def matches(node: Node, record: Json) -> bool:
    """Tell whether a record fulfils the filter."""
    if isinstance(node, And):
        return all(matches(child, record) for child in node.terms)
    if isinstance(node, Or):
        return any(matches(child, record) for child in node.terms)
    return _fulfils(node, record)


def _fulfils(term: Term, record: Json) -> bool:
    found = _targets(record, term.path)
    return not found if term.operator == "!" else any(fulfils(term, target) for target in found)


def _targets(record: Json, path: Path) -> list[Target]:
    if path.links or not isinstance(record, dict):
        return []
    first = record.get(path.names[0])
    if isinstance(first, dict) and first.get("type") in VALUE_MEMBERS:
        # A context source property may be written like an attribute of an entity.
        return list(targets({"id": "", path.names[0]: first}, path))
    values: list[Json] = [record]
    for name in (*path.names, *path.members):
        values = [
            item[name]
            for value in values
            for item in (value if isinstance(value, list) else [value])
            if isinstance(item, dict) and name in item
        ]
    return [Target(Shape.PLAIN, value) for value in values]
