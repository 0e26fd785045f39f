# SPDX-License-Identifier: Apache-2.0
"""The part of YAML that the files of deploy/ are written in; anything else is refused rather than guessed."""

from __future__ import annotations

import json
import re
from typing import Any

_KEY = re.compile(r"([\w.-]+):(?: +(.*))?")
_REFUSED = ("&", "*", "!", "|", ">", "{", "'", "%", "@", "`")

Line = tuple[int, str, int]  # indent, text, number


def read_yaml(text: str) -> Any:
    """Return mappings, sequences and scalars (as texts). Raises: ValueError: something that is not read here."""
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        bare = re.sub(r"(^|\s)#(?=[^\"]*$).*", "", line).rstrip()
        if bare:
            _check("\t" not in bare, number)
            lines.append((len(bare) - len(bare.lstrip()), bare.strip(), number))
    value, rest = _block(lines, 0)
    _check(not rest, rest[0][2] if rest else 0)
    return value


def _check(condition: bool, number: int) -> None:
    if not condition:
        raise ValueError(f"line {number} is not in the part of YAML that is read here")


def _block(lines: list[Line], indent: int) -> tuple[Any, list[Line]]:
    if lines[0][1].startswith("- "):
        return _sequence(lines, indent)
    found: dict[str, Any] = {}
    while lines and lines[0][0] == indent and not lines[0][1].startswith("- "):
        _, text, number = lines[0]
        match = _KEY.fullmatch(text)
        _check(match is not None and match[1] not in found, number)
        assert match is not None
        lines = lines[1:]
        if match[2]:
            found[match[1]] = _scalar(match[2], number)
        elif lines and lines[0][0] > indent:
            found[match[1]], lines = _block(lines, lines[0][0])
        else:
            found[match[1]] = None
    return found, lines


def _sequence(lines: list[Line], indent: int) -> tuple[list[Any], list[Line]]:
    found = []
    while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
        _, text, number = lines[0]
        item = text[2:].strip()
        if _KEY.fullmatch(item):
            value, lines = _block([(indent + 2, item, number), *lines[1:]], indent + 2)
            found.append(value)
        else:
            found.append(_scalar(item, number))
            lines = lines[1:]
    return found, lines


def _scalar(text: str, number: int) -> Any:
    _check(not text.startswith(_REFUSED), number)
    if text.startswith("["):
        _check(text.endswith("]"), number)
        parts = re.findall(r'"(?:[^"\\]|\\.)*"|[^,\s\[\]][^,\[\]]*', text[1:-1])
        return [_scalar(part.strip(), number) for part in parts]
    if text.startswith('"'):
        try:
            return json.loads(text)
        except ValueError:
            _check(condition=False, number=number)
    return text
