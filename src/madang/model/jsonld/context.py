# SPDX-License-Identifier: Apache-2.0
"""A compiled JSON-LD @context: the term maps that make expansion and compaction plain dictionary work."""

from __future__ import annotations

from typing import Protocol

from madang.model.entity import Json


class ContextProtocol(Protocol):  # CONTRACT: replaced by the real class `Context` with these members
    key: str
    """Identifies the term map; equal keys mean equal maps. Used in cache keys. "core" for the core context."""
    source: Json
    """What the caller gave: a URL, a list of URLs and objects, an object. Echoed as "@context" in ld+json answers."""
    link: str | None
    """The one URL to put into a Link header."""

    def expand(self, term: str) -> str:
        """Return the canonical name (madang.model.entity) of a term, compact IRI or IRI, vocabulary-relative."""

    def compact(self, name: str) -> str:
        """Return the shortest term of this context (core terms first) for a canonical name."""

    def expand_value(self, value: Json) -> Json:
        """Return a compound JSON value with its keys as canonical names; scalars come back as they are."""

    def compact_value(self, value: Json) -> Json:
        """Undo expand_value for this context."""

    def iri(self, name: str) -> str:
        """Return the full IRI of a canonical name (error bodies and 207 answers are never compacted)."""
