# SPDX-License-Identifier: Apache-2.0
"""Does an entity answer a whole question? What every store must agree with."""

from __future__ import annotations

from madang.model.entity import ENTITY_MEMBERS, Document, types_of
from madang.model.query import geo, q, regex, scope
from madang.model.query.model import EntityQuery, EntitySelector
from madang.model.query.q_match import LinkedDocuments


def matches(query: EntityQuery, document: Document, linked: LinkedDocuments | None = None) -> bool:
    """Tell whether the entity answers the question, its page aside.

    `linked` finds the documents that relationships name, for terms of q such as rel{attribute}.
    """
    if query.selectors and not any(selects(selector, document) for selector in query.selectors):
        return False
    if query.attributes and not any(name in document for name in query.attributes if name not in ENTITY_MEMBERS):
        return False
    if query.scope is not None and not scope.matches(query.scope, document):
        return False
    if query.q is not None and not q.matches(query.q, document, linked):
        return False
    if query.geo is not None and not geo.matches(query.geo, document):
        return False
    return query.extra is None or query.extra(document)  # noqa: S610 - no Django here


def selects(selector: EntitySelector, document: Document) -> bool:
    """Tell whether the entity is one that the selector means; ids take precedence over the pattern (clause 5.2.33)."""
    if selector.types is not None and not selector.types.fits(types_of(document)):
        return False
    if selector.ids:
        return document["id"] in selector.ids
    if selector.id_pattern is None:
        return True
    return regex.found(regex.compile(selector.id_pattern, "idPattern"), document["id"])
