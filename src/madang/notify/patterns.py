# SPDX-License-Identifier: Apache-2.0
"""Many regular expressions tried on one text: groups of them as one expression first, so that most are never tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

import re2  # type: ignore[import-untyped]

from madang.model.query import regex

T = TypeVar("T")
_GROUP: Final = 32
_GROUP_BYTES_MAX: Final = 16 * 1024 * 1024


class _Any:
    """One expression that finds what any of several finds; made when it is first needed."""

    __slots__ = ("_made", "_pattern")

    def __init__(self) -> None:
        self._made = False
        self._pattern: regex.Pattern | None = None

    def changed(self) -> None:
        self._made = False

    def may_find(self, members: Callable[[], Iterable[str]], text: str) -> bool:
        if not self._made:
            self._made = True
            self._pattern = _joined(members())
        return self._pattern is None or regex.found(self._pattern, text)


def _joined(texts: Iterable[str]) -> regex.Pattern | None:
    """Return None when they are too much for one expression: then each is tried."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _GROUP_BYTES_MAX
    try:
        joined: regex.Pattern = re2.compile("|".join(f"(?:{text})" for text in texts), options)
    except (re2.error, UnicodeError, ValueError):
        return None
    return joined


class _Group(Generic[T]):
    __slots__ = ("any", "members")

    def __init__(self) -> None:
        self.members: dict[str, tuple[regex.Pattern, T]] = {}
        self.any = _Any()


class Patterns(Generic[T]):
    """Values by regular expression, in groups, and these in groups again."""

    def __init__(self) -> None:
        self._groups: list[_Group[T]] = []
        self._home: dict[str, _Group[T]] = {}
        self._above: list[_Any] = []  # one for each _GROUP of the groups

    def get(self, text: str) -> T | None:
        home = self._home.get(text)
        return None if home is None else home.members[text][1]

    def put(self, text: str, value: T) -> None:
        """Add an expression that is not there yet. Raises: BadRequestData: it is none."""
        pattern = regex.compile(text, "idPattern")
        place = next((place for place, group in enumerate(self._groups) if len(group.members) < _GROUP), None)
        if place is None:
            place = len(self._groups)
            self._groups.append(_Group())
            if place // _GROUP == len(self._above):
                self._above.append(_Any())
        group = self._groups[place]
        group.members[text] = (pattern, value)
        self._home[text] = group
        self._changed(place)

    def remove(self, text: str) -> None:
        group = self._home.pop(text)
        del group.members[text]
        self._changed(self._groups.index(group))

    def found_in(self, text: str) -> list[T]:
        """Return the values of all expressions that are found in the text."""
        if not self._home:
            return []
        found: list[T] = []
        for number, above in enumerate(self._above):
            if above.may_find(lambda number=number: self._texts(number), text):  # type: ignore[misc]
                for group in self._groups[number * _GROUP : (number + 1) * _GROUP]:
                    if group.members and group.any.may_find(group.members.keys, text):
                        found += [value for pattern, value in group.members.values() if regex.found(pattern, text)]
        return found

    def __len__(self) -> int:
        return len(self._home)

    def _texts(self, number: int) -> list[str]:
        return [text for group in self._groups[number * _GROUP : (number + 1) * _GROUP] for text in group.members]

    def _changed(self, place: int) -> None:
        self._groups[place].any.changed()
        self._above[place // _GROUP].changed()
