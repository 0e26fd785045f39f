# SPDX-License-Identifier: Apache-2.0
"""Chooses one language of a language map by preference (ETSI CIM 009 clause 4.15, RFC 4647, RFC 9110 weights)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from madang.model.entity import Json

_ANY: Final = "*"
_CACHED_FILTERS_MAX: Final = 256

# Language ranges in lower case, best first.
Preferences: TypeAlias = tuple[str, ...]


@lru_cache(_CACHED_FILTERS_MAX)
def parse_preferences(text: str) -> Preferences:
    """Return the language ranges of a filter such as "fr-CH,fr;q=0.9,*;q=0.5", best first, without those of weight 0.

    What cannot be read as a weight counts as 1: the standard asks for an answer in some language in any case.
    """
    ranges = []
    for part in text.split(","):
        language, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = _weight(parameters)
        if language and weight > 0:
            ranges.append((-weight, language))
    ranges.sort(key=lambda entry: entry[0])
    return tuple(language for _, language in ranges)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 1.0
    return 1.0


def best_language(texts: Mapping[str, Json], preferences: Preferences) -> str | None:
    """Return the language tag to show, as the map spells it; None when the map is empty.

    A range fits a tag that is equal, then a tag that it says more exactly (nl-BE shows nl), then one that says it more
    exactly (en shows en-US). Without any fit, and for "*", the first language of the map is shown.
    """
    tags = {tag.lower(): tag for tag in texts}
    for wanted in preferences:
        if wanted == _ANY:
            break
        shorter = wanted
        while shorter:
            if shorter in tags:
                return tags[shorter]
            shorter = shorter.rpartition("-")[0]
        for lowered, tag in tags.items():
            if lowered.startswith(f"{wanted}-"):
                return tag
    return next(iter(texts), None)
