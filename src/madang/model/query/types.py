# SPDX-License-Identifier: Apache-2.0
"""The entity type selection language of clause 4.17: `Building`, `A,B`, `A|B`, `(A;B)|C`, `*`."""

from __future__ import annotations

import re
from typing import Final

from madang.base.errors import BadRequestData, TooComplexQuery
from madang.base.limits import QUERY_CHARACTERS_MAX, QUERY_TERMS_MAX
from madang.model.query.model import TypeSelection
from madang.model.query.names import Names, canonical

_GROUP: Final = re.compile(r"\(([^()|,]*)\)|([^()|,]+)")
_ALLOWED: Final = "allowed are names joined by , or |, and (A;B) for entities that have all of these types"


def parse(text: str, names: Names, *, where: str = "type") -> TypeSelection | None:
    """Return the selection in disjunctive form, or None for `*`, which selects every entity.

    Raises: BadRequestData: the text is not a selection. TooComplexQuery: it is too large.
    """
    if text == "*":
        return None
    if len(text) > QUERY_CHARACTERS_MAX:
        raise TooComplexQuery(f"{where} has {len(text)} characters; allowed are {QUERY_CHARACTERS_MAX}", where=where)
    groups: list[tuple[str, ...]] = []
    position = 0
    while True:
        found = _GROUP.match(text, position)
        if found is None:
            raise BadRequestData(f"{where}, character {position + 1}: a type is missing; {_ALLOWED}", where=where)
        # Without parentheses `A;B` is no valid text, but it has one meaning only.
        terms = (found[1] if found[1] is not None else found[2]).split(";")
        group = tuple(dict.fromkeys(_type_name(term, names, where) for term in terms))
        if group not in groups:
            groups.append(group)
        if len(groups) > QUERY_TERMS_MAX:
            raise TooComplexQuery(f"{where} lists more than {QUERY_TERMS_MAX} types, which is the limit", where=where)
        position = found.end()
        if position == len(text):
            return TypeSelection(tuple(groups))
        if text[position] not in ",|":
            raise BadRequestData(
                f"{where}, character {position + 1}, before {text[position]!r}: , or | is missing; {_ALLOWED}",
                where=where,
            )
        position += 1


def _type_name(term: str, names: Names, where: str) -> str:
    # `id`, `scope` and the like may well be types; only the context decides.
    name = canonical(term.strip(), names, where)
    return names.expand(name) if name in ("id", "type", "scope") else name
