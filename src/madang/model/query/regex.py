# SPDX-License-Identifier: Apache-2.0
"""Regular expressions of callers, in linear time whatever they hold (RE2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import re2  # type: ignore[import-untyped]

from madang.base.errors import BadRequestData
from madang.base.limits import REGEX_CHARACTERS_MAX

_PROGRAM_BYTES_MAX = 1 << 20


class Pattern(Protocol):
    def search(self, text: str) -> object | None: ...


def compile(text: str, where: str) -> Pattern:
    """Return the compiled expression; a search finds it anywhere in a text unless it is anchored.

    Raises: BadRequestData: too long, not an expression, or one that needs back-references or look-around.
    """
    if len(text) > REGEX_CHARACTERS_MAX:
        raise BadRequestData(
            f"{where}: the regular expression has {len(text)} characters; allowed are {REGEX_CHARACTERS_MAX}",
            where=where,
        )
    try:
        return _compile(text)
    except (re2.error, UnicodeError, ValueError) as error:
        raise BadRequestData(
            f"{where}: {text!r:.80} is not a regular expression that is allowed here ({_reason(error)}); "
            "allowed is the syntax of RE2, without back-references and look-around",
            where=where,
        ) from None


def found(pattern: Pattern, text: str) -> bool:
    """Tell whether the text holds a match; a text that is not valid Unicode holds none."""
    try:
        return pattern.search(text) is not None
    except UnicodeError:
        return False


@lru_cache(maxsize=1024)
def _compile(text: str) -> Pattern:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PROGRAM_BYTES_MAX
    pattern: Pattern = re2.compile(text, options)
    return pattern


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else "invalid"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
