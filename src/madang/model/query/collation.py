# SPDX-License-Identifier: Apache-2.0
"""The order of texts for people (clauses 4.23.1 and 4.23.3): the Unicode Collation Algorithm, chosen by an ICU tag."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from madang.base.errors import BadRequestData, Unsupported

_TAG: Final = re.compile(
    r"(?P<language>[A-Za-z]{2,3}|[A-Za-z]{5,8})(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*(?P<extensions>(?:-[A-WYZa-wyz0-9](?:-[A-Za-z0-9]{2,8})+)*)"
    r"(?:-x(?:-[A-Za-z0-9]{1,8})+)?"
)
_TAG_CHARACTERS_MAX: Final = 100
_LEVELS: Final = {"level1": 1, "level2": 2, "level3": 3, "level4": 3, "identic": 4}
# Languages whose order is that of the root collation, wherever only their own letters are concerned.
_ROOT_LANGUAGES: Final = frozenset(
    {
        "und",
        "root",
        "en",
        "de",
        "fr",
        "it",
        "nl",
        "pt",
        "ga",
        "id",
        "ms",
        "ko",
        "lb",
        "sw",
        "xh",
        "zu",
        "ca",
        "eu",
        "gd",
    }
)
_PHONEBOOK: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "AE", "Ö": "OE", "Ü": "UE"}  # DIN 5007-2
)
_DIGITS: Final = re.compile(r"[0-9]+")
_SIMPLE: Final = re.compile(r"[\x00-\x7f가-힣]*")
# Case weights of the default table: 2 to 7 stand for small, 8 to 12 for capital letters.
_CAPITALS_FIRST: Final = {weight: weight - 7 for weight in range(8, 13)}


@dataclass(frozen=True, slots=True)
class Collation:
    """Strength (ks), case order (kf), numbers by value (kn) and the German phone book (co) of an ICU tag."""

    level: int = 3
    capitals_first: bool = False
    numeric: bool = False
    phonebook: bool = False


ROOT: Final = Collation()


def parse(tag: str | None, *, where: str = "collation") -> Collation:
    """Return the collation of an ICU tag (RFC 6067) such as und-u-ks-level2 or de-u-co-phonebk.

    Raises: BadRequestData: it is no such tag. Unsupported: it asks for an order that this hub does not have.
    """
    if tag is None:
        return ROOT
    found = _TAG.fullmatch(tag) if len(tag) <= _TAG_CHARACTERS_MAX else None
    if found is None:
        raise BadRequestData(
            f"{where}: {tag!r:.60} is not an ICU collation; allowed are tags such as und or de-u-co-phonebk",
            where=where,
        )
    language = found["language"].lower()
    settings = _settings(found["extensions"].lower())
    phonebook = settings.pop("co", "standard") in ("phonebk", "phonebook") and language == "de"
    collation = Collation(
        _LEVELS.get(settings.pop("ks", "level3"), 0),
        settings.pop("kf", "false") == "upper",
        settings.pop("kn", "false") in ("true", ""),
        phonebook,
    )
    settings = {key: value for key, value in settings.items() if value not in ("false", "noignore", "standard")}
    asked_co = "co-" in found["extensions"].lower() and "co-standard" not in found["extensions"].lower()
    if language not in _ROOT_LANGUAGES or settings or (asked_co and not phonebook):
        raise Unsupported(
            f"{where}: this hub does not have the order {tag!r:.60}; it has the root order (und), that of "
            "languages which follow it, de-u-co-phonebk, and the settings ks, kf and kn",
            where=where,
        )
    if not collation.level:
        raise BadRequestData(
            f"{where}: ks of {tag!r:.60} is not allowed; allowed are {', '.join(_LEVELS)}", where=where
        )
    return collation


def _settings(extensions: str) -> dict[str, str]:
    """Return the keywords of the -u- extension."""
    found = re.search(r"-u((?:-[a-z0-9]{2,8})+)", extensions)
    settings: dict[str, str] = {}
    key = ""
    for part in found[1][1:].split("-") if found else ():
        if len(part) == 2:
            key = part
            settings[key] = ""
        elif key:
            settings[key] = part
    return settings


def sort_key(text: str, collation: Collation = ROOT) -> bytes:
    """Return bytes that compare as the texts do in the collation."""
    if collation.phonebook:
        text = text.translate(_PHONEBOOK)
    if collation.numeric:
        text = _DIGITS.sub(_number_by_length, text)
    primary, secondary, tertiary = _weights(text)
    levels = [primary]
    if collation.level >= 2:
        levels.append(secondary)
    if collation.level >= 3:
        levels.append(tertiary.translate(_CAPITALS_FIRST) if collation.capitals_first else tertiary)
    key = "\0".join(levels).encode("utf-16-be", "surrogatepass")
    return key + b"\0\0" + text.encode("utf-8", "surrogatepass") if collation.level == 4 else key


def _number_by_length(found: re.Match[str]) -> str:
    """Put the number of digits before them, so that comparing digit by digit compares the numbers."""
    digits = found[0].lstrip("0") or "0"
    return f"{min(len(digits), 999):03d}{digits}"


def _weights(text: str) -> tuple[str, str, str]:
    """Return the weights of the three levels, each as a string with one character a weight."""
    tables = _tables()
    if _SIMPLE.fullmatch(text):
        # These characters have weights of their own, whatever their neighbours are.
        return text.translate(tables[0]), text.translate(tables[1]), text.translate(tables[2])
    return _weights_of(text)


class _Level(dict[int, str]):
    """Character to its weights on one level, found when first needed."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def __missing__(self, code: int) -> str:
        weights = _weights_of(chr(code))[self._level]
        self[code] = weights
        return weights


@lru_cache(maxsize=1)
def _tables() -> tuple[_Level, _Level, _Level]:
    return _Level(0), _Level(1), _Level(2)


@lru_cache(maxsize=1)
def _collator() -> Callable[[str], Any]:
    """The collator, imported on first use: its table takes a sixth of a second to read."""
    from pyuca import Collator  # type: ignore[import-untyped]

    sort_key: Callable[[str], Any] = Collator().sort_key
    return sort_key


@lru_cache(maxsize=20_000)
def _weights_of(text: str) -> tuple[str, str, str]:
    levels: list[list[int]] = [[]]
    for weight in _collator()(text):
        if weight:
            levels[-1].append(weight)
        else:
            levels.append([])
    levels += [[]] * (3 - len(levels))
    primary, secondary, tertiary = ("".join(map(chr, level)) for level in levels[:3])
    return primary, secondary, tertiary
