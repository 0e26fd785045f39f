# SPDX-License-Identifier: Apache-2.0
"""Reads a user @context into plain term maps, once: the JSON-LD algorithm itself is PyLD's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from madang.base.errors import BadRequestData
from madang.base.limits import CONTEXT_DOCUMENTS_MAX, CONTEXT_IRI_TERMS_MAX, CONTEXT_NESTING_MAX
from madang.model.entity import Json
from madang.model.jsonld.core_context import CORE_IRIS, CORE_PREFIXES, DEFAULT_VOCABULARY, core_version

_CORE_TERMS: Final = frozenset(CORE_IRIS) | frozenset(CORE_PREFIXES) | {"id", "type"}
# JSON-LD 1.1, section 4.1: what may stand in a context beside terms. Other names with an @ are reserved and ignored.
_KEYWORDS: Final = frozenset({"@base", "@direction", "@language", "@propagate", "@protected", "@version", "@vocab"})
_RESERVED: Final = re.compile(r"@[A-Za-z]+")
_ALIASED: Final = frozenset({"@id", "@type", "@value", "@language", "@graph", "@list", "@set", "@none", "@json"})
_INVALID: Final = "The @context is not valid: "


class MissingContextDocument(Exception):
    """A remote context is needed that was not handed in."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


def user_contexts(source: Json, documents: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return the objects of terms that a source amounts to, in order, remote ones in their places, core ones left out.

    Raises:
        MissingContextDocument: a remote context is not in `documents`.
        BadRequestData: the source is not a context, refers to itself, or holds scoped contexts.
    """
    flattening = _Flattening(documents)
    flattening.add(source, None, ())
    return flattening.contexts


def read_terms(contexts: list[dict[str, Json]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return term -> full IRI for every term, and for those that may be used as a prefix.

    Raises: BadRequestData: JSON-LD does not allow the definitions.
    """
    from pyld import jsonld  # type: ignore[import-untyped]

    try:
        active = _process(_core_context(), contexts)
    except jsonld.JsonLdError as error:
        raise BadRequestData(f"{_INVALID}{error.args[0]:.200} ({error.code})", where="@context") from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise BadRequestData(f"{_INVALID}a definition is malformed", where="@context") from error
    terms: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for term, mapping in active["mappings"].items():
        iri = None if mapping is None else mapping.get("@id")
        if term in _CORE_TERMS or iri is None or mapping["reverse"]:
            continue
        terms[term] = iri
        if mapping["_prefix"] or mapping.get("@prefix"):
            prefixes[term] = iri
    return terms, prefixes


class _Flattening:
    def __init__(self, documents: Mapping[str, Json]) -> None:
        self.contexts: list[dict[str, Json]] = []
        self._documents = documents
        self._remote_count = 0

    def add(self, source: Json, base: str | None, path: tuple[str, ...]) -> None:
        if len(path) > CONTEXT_NESTING_MAX:
            raise BadRequestData(f"{_INVALID}more than {CONTEXT_NESTING_MAX} contexts refer to each other")
        if source is None:
            self.contexts.clear()  # JSON-LD: null forgets what stands before it
        elif isinstance(source, str):
            self._add_remote(source, base, path)
        elif isinstance(source, list):
            for part in source:
                if isinstance(part, list):
                    raise BadRequestData(f"{_INVALID}a list stands inside a list", where="@context")
                self.add(part, base, path)
        elif isinstance(source, dict):
            self._add_terms(source, base, path)
        else:
            raise BadRequestData(
                f"{_INVALID}{source!r:.80} is neither a URL nor an object of terms nor a list of them",
                where="@context",
            )

    def _add_remote(self, reference: str, base: str | None, path: tuple[str, ...]) -> None:
        url = _absolute(reference, base)
        if core_version(url) is None:
            self.add(self._content(url, path), url, (*path, url))

    def _content(self, url: str, path: tuple[str, ...]) -> Json:
        if url in path:
            raise BadRequestData(f"{_INVALID}{url} refers to itself", where="@context")
        self._remote_count += 1
        if self._remote_count > CONTEXT_DOCUMENTS_MAX:
            raise BadRequestData(f"{_INVALID}it needs more than {CONTEXT_DOCUMENTS_MAX} documents", where="@context")
        if url not in self._documents:
            raise MissingContextDocument(url)
        document = self._documents[url]
        if not isinstance(document, dict) or "@context" not in document:
            raise BadRequestData(f"The document at {url} is not a JSON object with an @context", where="@context")
        return document["@context"]

    def _add_terms(self, source: dict[str, Json], base: str | None, path: tuple[str, ...]) -> None:
        if "@import" in source:
            imported = source["@import"]
            if not isinstance(imported, str):
                raise BadRequestData(f"{_INVALID}@import is not a URL", where="@context/@import")
            content = self._content(_absolute(imported, base), path)
            if not isinstance(content, dict) or "@import" in content:
                raise BadRequestData(f"{_INVALID}@import needs one object of terms", where="@context/@import")
            source = content | source
        terms = {term: definition for term, definition in source.items() if _counts(term, definition)}
        for term, definition in terms.items():
            if isinstance(definition, dict) and "@context" in definition:
                raise BadRequestData(
                    f"{term!r:.80} has a scoped @context, which clause 5.5.7 does not allow in a user @context",
                    where="@context",
                )
        if sum(":" in term or "/" in term for term in terms) > CONTEXT_IRI_TERMS_MAX:
            raise BadRequestData(f"{_INVALID}more than {CONTEXT_IRI_TERMS_MAX} of its terms are IRIs", where="@context")
        self.contexts.append(terms)


def _counts(term: str, definition: Json) -> bool:
    """Tell whether a definition is to be processed at all.

    The core @context wins over its own terms, so that what a user says of them is of no account. Whatever looks like a
    keyword and is none is reserved, and JSON-LD ignores the definition.
    """
    if term[:1] == "@":
        return term in _KEYWORDS
    if term in _CORE_TERMS:
        return False
    iri = definition.get("@id", definition.get("@reverse")) if isinstance(definition, dict) else definition
    return not isinstance(iri, str) or _RESERVED.fullmatch(iri) is None or iri in _ALIASED


def _absolute(reference: str, base: str | None) -> str:
    from pyld.iri_resolver import resolve  # type: ignore[import-untyped]

    if "://" in reference:
        return reference
    if base is None:
        raise BadRequestData(f"{reference!r:.80} is not the URL of an @context", where="@context")
    try:
        return str(resolve(reference, base))
    except ValueError as error:
        raise BadRequestData(f"{reference!r:.80} is not the URL of an @context", where="@context") from error


@cache
def _core_context() -> dict[str, Any]:
    """What a user @context may build upon: prefixes, core terms and the default vocabulary, not protected here."""
    from pyld import jsonld

    initial = jsonld.JsonLdProcessor().process_context({}, None, {"base": "", "processingMode": "json-ld-1.1"})
    return _process(initial, [{**CORE_PREFIXES, **CORE_IRIS, "@vocab": DEFAULT_VOCABULARY}])


def _process(active: dict[str, Any], contexts: list[dict[str, Json]]) -> dict[str, Any]:
    from pyld import jsonld
    from pyld.context_resolver import ContextResolver  # type: ignore[import-untyped]

    options = {
        "base": "",
        "processingMode": "json-ld-1.1",
        "documentLoader": _refuse,
        "contextResolver": ContextResolver({}, _refuse),  # no cache shared with anyone
    }
    processed: dict[str, Any] = jsonld.JsonLdProcessor().process_context(active, contexts, options)
    return processed


def _refuse(url: str, _options: object) -> Json:
    raise BadRequestData(f"{_INVALID}{url} cannot be loaded from there", where="@context")
