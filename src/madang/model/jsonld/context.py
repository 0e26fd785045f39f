# SPDX-License-Identifier: Apache-2.0
"""A compiled JSON-LD @context: the term maps that make expansion and compaction plain dictionary work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from madang.base.errors import BadRequestData
from madang.base.limits import JSON_DEPTH_MAX
from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS, NGSI_LD_NULL, VALUE_MEMBERS, Json, one_or_list
from madang.model.jsonld.context_terms import MissingContextDocument, read_terms, user_contexts
from madang.model.jsonld.core_context import (
    CORE_CONTEXT_URL,
    CORE_IRIS,
    CORE_PREFIXES,
    DEFAULT_VOCABULARY,
    core_version,
)
from madang.model.jsonld.names import check_name

__all__ = ["CORE", "FULL_NAMES", "Context", "MissingContextDocument", "canonical_name", "compile_context"]

_ALIASES: Final = {"id": "@id", "type": "@type"}
_CORE_TERMS: Final = frozenset(CORE_IRIS) | frozenset(_ALIASES) | frozenset(CORE_PREFIXES)
_NAME_BY_IRI: Final = {
    **{iri: term for term, iri in CORE_IRIS.items()},
    **{iri: prefix for prefix, iri in CORE_PREFIXES.items()},
    **{keyword: term for term, keyword in _ALIASES.items()},
}
# Clause 4.5.1: terms of the core @context that are not reified cannot be the names of attributes. The members that
# hold values can, of an entity.
_NOT_ATTRIBUTES: Final = (ENTITY_MEMBERS | INSTANCE_MEMBERS) - {
    "@context",
    "entity",
    "entityList",
    *VALUE_MEMBERS.values(),
}

_CACHED_TERMS_MAX: Final = 4_096
_CACHED_TERM_CHARACTERS_MAX: Final = 256
_SCALARS: Final = frozenset({str, int, float, bool})


def canonical_name(iri: str) -> str:
    """Return the canonical name (madang.model.entity) of a full IRI."""
    name = _NAME_BY_IRI.get(iri)
    if name is not None:
        return name
    if iri.startswith(DEFAULT_VOCABULARY):
        name = iri[len(DEFAULT_VOCABULARY) :]
        if name and ":" not in name and name[0] != "@" and name not in _CORE_TERMS:
            return name
    return iri


class _Names(dict[str, str]):
    """A bounded cache of one direction of a context: a missing key is worked out and kept."""

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[str], str]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: str) -> str:
        name = self._find(key)
        if len(key) <= _CACHED_TERM_CHARACTERS_MAX:
            if len(self) >= _CACHED_TERMS_MAX:
                self.clear()
            self[key] = name
        return name


class Context:
    """The term maps of one @context; the core @context is implicit, protected and last: its terms always win.

    `terms` and `prefixes` are the caller's own: term -> full IRI. Clause 4.4 puts the core @context behind them, so
    the caller's @vocab counts inside the caller's definitions only, and undefined terms belong to the default
    vocabulary.
    """

    __slots__ = (
        "_attribute_names",
        "_compacted",
        "_expanded",
        "_names",
        "_prefixes",
        "_terms",
        "_type_names",
        "has_terms",
        "key",
        "link",
        "source",
    )

    def __init__(
        self, key: str, source: Json, link: str | None, terms: Mapping[str, str], prefixes: Mapping[str, str]
    ) -> None:
        self.key = key
        """Identifies the term map; equal keys mean equal maps. Used in cache keys. "core" for the core context."""
        self.source = source
        """What the caller gave: a URL, a list of URLs and objects, an object. Echoed as "@context" in answers."""
        self.link = link
        """The one URL to put into a Link header."""
        self.has_terms = bool(terms) or bool(prefixes)
        """False when the maps are those of the core @context alone."""
        self._terms = {term: canonical_name(iri) for term, iri in terms.items() if term not in _CORE_TERMS}
        self._prefixes = {**prefixes, **CORE_PREFIXES}
        self._names: dict[str, str] = {}
        for term in sorted(self._terms, key=lambda term: (len(term), term)):
            self._names.setdefault(self._terms[term], term)
        self._expanded = _Names(self._find_name)
        self._compacted = _Names(self._find_term)
        self._attribute_names = _Names(self._find_attribute_name)
        self._type_names = _Names(self._find_type_name)

    def __repr__(self) -> str:
        return f"Context({self.key!r})"

    def with_link(self, link: str) -> Context:
        """Return the same maps under the URL at which this hub serves the context."""
        copy = Context.__new__(Context)
        for slot in Context.__slots__:
            setattr(copy, slot, getattr(self, slot))
        copy.link = link
        return copy

    def expand(self, term: str) -> str:
        """Return the canonical name (madang.model.entity) of a term, compact IRI or IRI, vocabulary-relative."""
        return self._expanded[term]

    def compact(self, name: str) -> str:
        """Return the shortest term of this context (core terms first) for a canonical name."""
        return self._compacted[name]

    @property
    def attribute_names(self) -> Mapping[str, str]:
        """Term -> canonical name of an attribute; looking up a term that cannot be one raises BadRequestData."""
        return self._attribute_names

    @property
    def type_names(self) -> Mapping[str, str]:
        """Term -> canonical name of an entity type; looking up a term that cannot be one raises BadRequestData."""
        return self._type_names

    @property
    def compact_names(self) -> Mapping[str, str]:
        """Canonical name -> term: `compact` as a mapping, for loops."""
        return self._compacted

    def iri(self, name: str) -> str:
        """Return the full IRI of a canonical name (error bodies and 207 answers are never compacted)."""
        if ":" in name or name[:1] == "@" or name in _ALIASES:
            return name
        return CORE_IRIS.get(name) or CORE_PREFIXES.get(name) or DEFAULT_VOCABULARY + name

    def expand_value(self, value: Json) -> Json:
        """Return a compound JSON value with its keys as canonical names; scalars come back as they are.

        JSON null disappears, as in any JSON-LD expansion: as a member, as an element, and as the value itself.
        """
        return self._convert(value, self._expanded, 0) if value.__class__ not in _SCALARS else value

    def compact_value(self, value: Json) -> Json:
        """Undo expand_value for this context."""
        return self._convert(value, self._compacted, 0) if value.__class__ not in _SCALARS else value

    def _convert(self, value: Json, names: _Names, depth: int) -> Json:
        if depth > JSON_DEPTH_MAX:
            raise BadRequestData(f"The value is nested too deeply; allowed are {JSON_DEPTH_MAX} levels")
        if value.__class__ is list:
            if _SCALARS.issuperset(map(type, value)):
                return value
            return [
                item if item.__class__ in _SCALARS else self._convert(item, names, depth + 1)
                for item in value
                if item is not None
            ]
        if value.__class__ is not dict:
            return value
        converted: dict[str, Json] = {}
        for key, item in value.items():
            if item is None:
                continue
            name = key if key[:1] == "@" else names[key]
            if name in converted:
                raise BadRequestData(f"{key!r:.80} is given twice, under two names of the same IRI")
            converted[name] = item if item.__class__ in _SCALARS else self._convert(item, names, depth + 1)
        return converted

    def _find_name(self, term: str) -> str:
        if term in _CORE_TERMS:
            return term
        name = self._terms.get(term)
        if name is not None:
            return name
        if term[:1] == "@":
            return _NAME_BY_IRI.get(term, term)
        prefix, colon, suffix = term.partition(":")
        if not colon:
            return term
        if suffix[:2] != "//" and prefix in self._prefixes:
            return canonical_name(self._prefixes[prefix] + suffix)
        return canonical_name(term)

    def _find_attribute_name(self, term: str) -> str:
        check_name(term)
        name = self._expanded[term]
        if name in _NOT_ATTRIBUTES or name[:1] == "@":
            raise BadRequestData(f"{term!r:.80} has a meaning of its own and cannot be the name of an attribute")
        return name if name is term else check_name(name)

    def _find_type_name(self, term: str) -> str:
        check_name(term)
        name = self._expanded[term]
        if name in _ALIASES or name[:1] == "@" or name == NGSI_LD_NULL:
            raise BadRequestData(f"{term!r:.80} has a meaning of its own and cannot be the name of an entity type")
        return name if name is term else check_name(name)

    def _find_term(self, name: str) -> str:
        if name in _CORE_TERMS or name[:1] == "@":
            return name
        term = self._names.get(name)
        if term is not None:
            return term
        if ":" not in name:
            if name not in self._terms:
                return name
            name = DEFAULT_VOCABULARY + name
        return self._with_prefix(name) or name

    def _with_prefix(self, iri: str) -> str | None:
        candidates = [
            f"{prefix}:{iri[len(start) :]}"
            for prefix, start in self._prefixes.items()
            if len(iri) > len(start) and iri.startswith(start) and not iri.startswith("//", len(start))
        ]
        return min(
            (candidate for candidate in candidates if candidate not in self._terms),
            key=lambda candidate: (len(candidate), candidate),
            default=None,
        )


class _FullNames(Context):
    """Shortens nothing: every name that is not of the core @context's own members is a full IRI."""

    __slots__ = ()

    def _find_term(self, name: str) -> str:
        return self.iri(name)


FULL_NAMES: Final = _FullNames("full", None, None, {}, {})
CORE: Final = Context("core", CORE_CONTEXT_URL, CORE_CONTEXT_URL, {}, {})


def compile_context(key: str, source: Json, documents: Mapping[str, Json]) -> Context:
    """Return the context that a caller gave: a URL, an object of terms, or a list of both.

    Args:
        key: identifies the result in caches.
        source: what stands under "@context", or in a Link header.
        documents: remote contexts by URL, as fetched; the core @contexts need not be among them.

    Raises:
        MissingContextDocument: one is needed that is not in `documents`.
        BadRequestData: the context is invalid, refers to itself, or holds scoped contexts (clause 5.5.7).
    """
    contexts = user_contexts(source, documents)
    link = _link(source)
    if not contexts:
        return Context(key, source, link or CORE_CONTEXT_URL, {}, {})
    terms, prefixes = read_terms(contexts)
    return Context(key, source, link, terms, prefixes)


def _link(source: Json) -> str | None:
    """Return the URL that says as much as the whole source: its only part beside core @contexts, which are implicit."""
    parts = source if isinstance(source, list) else [source]
    own = [part for part in parts if not (isinstance(part, str) and core_version(part) is not None)]
    only = one_or_list(own or parts) if parts else None
    return only if isinstance(only, str) else None
