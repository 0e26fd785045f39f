# SPDX-License-Identifier: Apache-2.0
"""What may be a URI and what may be a name (ETSI CIM 009 clauses 4.5.1 and 4.6.2)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from madang.base.errors import BadRequestData

_ASCII_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.")
_ASCII_OUTSIDE_URI: Final = frozenset(' "<>\\^`{|}')
# Letters and symbols that show nothing; an id with one of them looks like another id.
_BLANK_CHARACTERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# The í of a name becomes Ã and a soft hyphen where UTF-8 was taken for Latin-1, so that field data are full of it.
_SOFT_HYPHEN: Final = "\xad"
_VARIATION_SELECTORS: Final = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))


def is_uri(text: object) -> bool:
    """Tell whether the text is an absolute URI, or an IRI of visible characters (RFC 3986, RFC 3987)."""
    if not isinstance(text, str):
        return False
    if _ASCII_URI.fullmatch(text) is not None:
        return True
    return not text.isascii() and _SCHEME.match(text) is not None and all(map(_fits_iri, text))


def check_uri(text: object, where: str | None = None) -> str:
    """Return the text if it is an absolute URI.

    Raises: BadRequestData: it is not a string, or no URI.
    """
    if isinstance(text, str) and (_ASCII_URI.fullmatch(text) is not None or is_uri(text)):
        return text
    raise BadRequestData(f"{text!r:.80} is not a URI; allowed is for example urn:ngsi-ld:Vehicle:1", where=where)


def check_name(term: object, where: str | None = None) -> str:
    """Return the term if it may name a type or an attribute: a name, a prefixed name, or a whole URI (clause 4.6.2).

    Raises: BadRequestData: it is not a string, or breaks the grammar.
    """
    if isinstance(term, str) and (is_plain_name(term) or (":" in term and _is_prefixed_name_or_uri(term))):
        return term
    raise BadRequestData(
        f"{term!r:.80} is not a name; allowed is a letter followed by letters, digits and underscores,"
        " optionally after a prefix and a colon, or a whole URI",
        where=where,
    )


def is_plain_name(text: str) -> bool:
    """Tell whether the text is a letter followed by letters, digits and underscores, in any script."""
    return text[:1].isalpha() and text.replace("_", "a").isalnum()


def _is_prefixed_name_or_uri(text: str) -> bool:
    prefix, _, name = text.partition(":")
    return (is_plain_name(prefix) and is_plain_name(name)) or is_uri(text)


def _fits_iri(character: str) -> bool:
    code = ord(character)
    if code < 0x80:
        return code > 0x20 and code != 0x7F and character not in _ASCII_OUTSIDE_URI
    if character == _SOFT_HYPHEN:
        return True
    if character in _BLANK_CHARACTERS or any(first <= code <= last for first, last in _VARIATION_SELECTORS):
        return False
    return unicodedata.category(character)[0] not in "CZ"
