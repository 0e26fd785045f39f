# SPDX-License-Identifier: Apache-2.0
"""URL parameters of the NGSI-LD face, read strictly: unknown and repeated ones are refused (clause 6.3.20)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_plus

from madang.base.errors import BadRequestData, InvalidRequest, TooManyResults
from madang.base.limits import PAGE_ENTITIES_DEFAULT, PAGE_ENTITIES_MAX, QUERY_CHARACTERS_MAX
from madang.wire.http import Request

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Parameters:
    """The decoded URL parameters of one request."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    @classmethod
    def read(cls, request: Request, allowed: Collection[str]) -> Parameters:
        """Return the request's parameters.

        Raises: InvalidRequest: one is unknown to the operation, or comes twice, or is not UTF-8.
        """
        text = request.query_string
        return cls(_parse(text, allowed)) if text else cls(_NONE)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str) -> str | None:
        """Return the value of a parameter; None when absent or empty."""
        return self.values.get(name) or None

    def listed(self, name: str) -> list[str]:
        """Return the parts of a comma separated list; empty when the parameter is absent or empty.

        Raises: InvalidRequest: a part is empty.
        """
        value = self.values.get(name)
        if not value:
            return []
        parts = [part.strip() for part in value.split(",")]
        if not all(parts):
            raise InvalidRequest(f"The list {value!r:.80} has an empty part", where=name)
        return parts

    def flag(self, name: str) -> bool:
        """Return a Boolean parameter; False when absent. Raises: InvalidRequest: it is neither true nor false."""
        value = self.values.get(name)
        if value is None or value == "false":
            return False
        if value == "true":
            return True
        raise InvalidRequest(f"{value!r:.80} is not a Boolean; allowed are true and false", where=name)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number from low to high; `default` when absent. Raises: BadRequestData: it is not one."""
        value = self.values.get(name)
        if value is None:
            return default
        digits = value[1:] if value[:1] in ("-", "+") else value
        if digits.isascii() and digits.isdigit() and len(digits) <= 18:
            number = int(value)
            if low <= number <= high:
                return number
        raise BadRequestData(f"{value!r:.80} is not allowed; allowed are whole numbers {low} to {high}", where=name)

    def one_of(self, name: str, choices: Collection[str]) -> str | None:
        """Return a parameter that has to be one of some words; None when absent. Raises: InvalidRequest: it is not."""
        value = self.values.get(name)
        if value is None or value in choices:
            return value
        raise InvalidRequest(f"{value!r:.80} is not supported; allowed are {', '.join(choices)}", where=name)

    def exclusive(self, *names: str) -> None:
        """Raise InvalidRequest when more than one of these parameters is given."""
        given = [name for name in names if name in self.values]
        if len(given) > 1:
            raise InvalidRequest(f"The parameters {' and '.join(given)} exclude each other", where=given[1])


def _parse(text: str, allowed: Collection[str]) -> dict[str, str]:
    if len(text) > QUERY_CHARACTERS_MAX:
        raise InvalidRequest(f"The query string is longer than {QUERY_CHARACTERS_MAX} characters")
    values: dict[str, str] = {}
    for part in text.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        if name not in allowed:
            name = _decode(name, "a parameter name")
            if name not in allowed:
                known = ", ".join(sorted(allowed)) or "none"
                raise InvalidRequest(f"Parameter {name!r:.80} is unknown here; allowed are: {known}", where=name[:80])
        if name in values:
            raise InvalidRequest(f"Parameter {name} is given twice", where=name)
        values[name] = _decode(value, name) if "%" in value or "+" in value or not value.isascii() else value
    return values


def _decode(text: str, where: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The percent-encoded text is not UTF-8", where=where) from error


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a result is wanted (clauses 6.3.10 and 6.3.13)."""

    limit: int
    offset: int
    count: bool


PAGE_PARAMETERS: Final = frozenset({"limit", "offset", "count"})


def read_page(parameters: Parameters, *, default: int = PAGE_ENTITIES_DEFAULT, most: int = PAGE_ENTITIES_MAX) -> Page:
    """Return limit, offset and count.

    Raises: BadRequestData: one is no number from 0, or limit is 0 without count. TooManyResults: limit is above `most`.
    """
    count = parameters.flag("count")
    limit = parameters.integer("limit", default, 0, 10**18)
    if limit > most:
        raise TooManyResults(f"A page of {limit} is too large; allowed are up to {most}", where="limit")
    if limit == 0 and not count:
        raise BadRequestData("limit=0 asks for nothing; it is allowed together with count=true only", where="limit")
    return Page(limit, parameters.integer("offset", 0, 0, 10**15), count)
