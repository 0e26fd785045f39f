# SPDX-License-Identifier: Apache-2.0
"""Finding entities for a caller with limits: filters, order, count and pages look at what he may see, and no more.

A store looks at entities as they are stored, so it is only asked for those that have the ids and types asked for and
types that may be seen. Everything else is done here, on documents that hold nothing but what may be seen: so no filter
can tell anything of the rest. Where all that a question looks at may be seen of every entity, the store may answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from madang.base.errors import TooComplexQuery
from madang.base.limits import LINKED_CANDIDATES_MAX, PAGE_ENTITIES_MAX
from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS, Document
from madang.model.permit import Permit
from madang.model.query import order, q_tree
from madang.model.query.match import matches
from madang.model.query.model import EntityQuery, Found
from madang.model.query.q_match import matches as q_matches

Find: TypeAlias = Callable[[str, EntityQuery], Awaitable[Found]]
# Gives the documents of ids as the caller may see them.
Documents: TypeAlias = Callable[[str, Sequence[str]], Awaitable[dict[str, Document]]]
# Gives what the relationships that a query follows lead to, as the caller may see it.
Targets: TypeAlias = Callable[[str, q_tree.Node, Sequence[Document]], Awaitable[dict[str, Document]]]

# Members of the entity itself that a limited caller may see otherwise than they are stored.
_CHANGED: Final = frozenset({"type", "modifiedAt"})


def store_may_answer(query: EntityQuery, permit: Permit) -> bool:
    """Tell whether all that the question looks at may be seen of each entity that may be seen at all."""
    if permit.by_area or q_tree.link_depth(query.q):
        return False
    names = set(query.attributes)
    if query.geo is not None:
        names.add(query.geo.attribute)
    for path in _paths(query):
        if path.names[0] in _CHANGED:
            return False
        names.update(path.names)
    return all(permit.sees_everywhere(name) for name in names - ENTITY_MEMBERS - INSTANCE_MEMBERS)


def _paths(query: EntityQuery) -> Iterator[q_tree.Path]:
    if query.q is not None:
        yield from (term.path for term in q_tree.terms_of(query.q))
    yield from (key.path for key in query.order)


class VisibleFind:
    """Goes through the candidates in steps, with no more of them in memory than one step and the page."""

    def __init__(self, find: Find, documents: Documents, targets: Targets) -> None:
        self._find = find
        self._documents = documents
        self._targets = targets

    async def find(self, permit: Permit, tenant: str, query: EntityQuery) -> Found:
        """Return the page of ids; the selectors must be narrowed to types that the permit sees.

        Raises: TooComplexQuery: too many entities have to be looked through for their linked ones.
        """
        wanted = query.offset + query.limit
        rows: list[tuple[tuple[Any, ...], int, str]] = []
        count = position = linked_from = 0
        step = EntityQuery(query.selectors, geo=permit.place, limit=PAGE_ENTITIES_MAX)
        local, linked = (None, None) if query.q is None else q_tree.separate_links(query.q)
        plain = replace(query, q=local)
        more = True
        while more and (query.count or query.order or count <= wanted):
            if linked is not None and linked_from >= LINKED_CANDIDATES_MAX:
                raise too_many_linked()
            found = await self._find(tenant, replace(step, offset=position))
            position += len(found.ids)
            more = found.more
            documents = await self._documents(tenant, found.ids)
            fitting = [documents[id] for id in found.ids if id in documents and matches(plain, documents[id])]
            if linked is not None:
                linked_from += len(fitting)
                targets = await self._targets(tenant, linked, fitting)
                fitting = [document for document in fitting if q_matches(linked, document, targets.get)]
            for document in fitting:
                # Equal keys stay in order of creation.
                rows.append((order.key(query.order, document), count, document["id"]))
                count += 1
            if query.order:
                rows.sort()
            del rows[wanted + 1 :]
        ids = [id for _, _, id in rows[query.offset : wanted]]
        return Found(ids, count if query.count else None, count > wanted)


def too_many_linked() -> TooComplexQuery:
    return TooComplexQuery(
        f"More than {LINKED_CANDIDATES_MAX} entities would have to be looked through for their linked "
        "entities; narrow the query by type, id or further terms",
        where="q",
    )
