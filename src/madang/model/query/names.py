# SPDX-License-Identifier: Apache-2.0
"""Names as they stand in query texts: their grammar (clauses 4.6.2 and 4.9) and their way to canonical names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol

from madang.base.errors import BadRequestData, TooComplexQuery
from madang.base.limits import QUERY_TERMS_MAX


class Names(Protocol):
    """What the query languages need of a JSON-LD context; `madang.model.jsonld.context.Context` has it."""

    def expand(self, term: str) -> str: ...

    def compact(self, name: str) -> str: ...

    def iri(self, name: str) -> str: ...


# unicodeLetter followed by letters, numbers and underscores, with an optional prefix (clause 4.6.2).
NAME: Final = r"[^\W\d_]\w*"
PREFIXED_NAME: Final = re.compile(rf"{NAME}(?::{NAME})?")
_IRI_CHARACTERS: Final = r"[^\s<>\"{}|\\^`;,()\[\]=!~]"
# A whole IRI with an authority, as some clients write attribute names; it ends where the languages go on.
IRI: Final = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://{_IRI_CHARACTERS}+")
_WHOLE_IRI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x1f\ud800-\udfff]+")

# Names that stand for a member of the entity itself and are never expanded.
CORE_MEMBERS: Final = frozenset({"id", "type", "scope", "createdAt", "modifiedAt", "deletedAt", "expiresAt"})


def is_iri(text: str) -> bool:
    """Tell whether the text is an absolute URI or IRI."""
    return _WHOLE_IRI.fullmatch(text) is not None


def is_unicode(text: str) -> bool:
    """Tell whether the text can be written as UTF-8: a lone surrogate, which an escape can smuggle in, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def canonical(term: str, names: Names, where: str) -> str:
    """Return the canonical name of one term or IRI.

    Raises: BadRequestData: it is neither a name of clause 4.6.2 nor an IRI.
    """
    if term in CORE_MEMBERS:
        return term
    if PREFIXED_NAME.fullmatch(term) is None and not is_iri(term):
        raise BadRequestData(
            f"{where}: {term!r:.80} is not a name; allowed is a letter followed by letters, digits and underscores, "
            "optionally after a prefix and a colon, or a full IRI",
            where=where,
        )
    return names.expand(term)


def canonical_list(given: str | Iterable[str], names: Names, where: str) -> tuple[str, ...]:
    """Return the canonical names of a comma-separated text, or of a list of texts; an empty member is an error.

    Raises: BadRequestData: a member is no name. TooComplexQuery: there are too many.
    """
    terms = given.split(",") if isinstance(given, str) else list(given)
    if len(terms) > QUERY_TERMS_MAX:
        raise TooComplexQuery(f"{where} lists {len(terms)} names; allowed are {QUERY_TERMS_MAX}", where=where)
    return tuple(dict.fromkeys(canonical(term.strip(), names, where) for term in terms))
