# SPDX-License-Identifier: Apache-2.0
"""TOML pages of a city folder, read with a clear word about what is wrong and where."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from madang.base.errors import InvalidInput

T = TypeVar("T")
_REQUIRED: Final[Any] = object()


class CityInvalid(InvalidInput):
    title = "The city folder is not valid"


class Page:
    """One table of a page. Whoever reads it calls `end`, which refuses what nobody asked for (a slip of the pen)."""

    def __init__(self, data: dict[str, Any], where: str) -> None:
        self.where = where
        self._data = data
        self._read: set[str] = set()

    @classmethod
    def load(cls, path: Path) -> Page:
        """Read a page. Raises: CityInvalid: it is not there or is no TOML."""
        try:
            return cls(tomllib.loads(path.read_text("utf-8")), path.name)
        except OSError as error:
            raise CityInvalid(f"{path} cannot be read: {error.strerror}", where=path.name) from error
        except ValueError as error:  # TOML or encoding
            raise CityInvalid(f"{path} is not TOML: {error}", where=path.name) from error

    def fail(self, key: str, problem: str) -> CityInvalid:
        """Return the error about one member, to be raised."""
        return CityInvalid(f"{self.where}: {key} {problem}", where=f"{self.where}/{key}")

    def has(self, key: str) -> bool:
        return key in self._data

    def text(self, key: str, default: str = _REQUIRED) -> str:
        return cast("str", self._value(key, str, "must be a text", default))

    def flag(self, key: str, *, default: bool = False) -> bool:
        return cast("bool", self._value(key, bool, "must be true or false", default))

    def integer(self, key: str, default: int = _REQUIRED) -> int:
        return cast("int", self._value(key, int, "must be a whole number", default))

    def number(self, key: str, default: float | None = _REQUIRED) -> float | None:
        value: float | int | None = self._value(key, (int, float), "must be a number", default)
        return None if value is None else float(value)

    def texts(self, key: str, default: tuple[str, ...] = _REQUIRED) -> tuple[str, ...]:
        """Return a list of texts; one text stands for a list of one."""
        value: Any = self._value(key, (str, list, tuple), "must be a text or a list of texts", default)
        found = (value,) if isinstance(value, str) else tuple(value)
        if not all(isinstance(item, str) for item in found):
            raise self.fail(key, "must be a text or a list of texts")
        return found

    def numbers(self, key: str) -> tuple[float, ...]:
        value: Any = self._value(key, list, "must be a list of numbers", _REQUIRED)
        if not all(isinstance(item, int | float) for item in value):
            raise self.fail(key, "must be a list of numbers")
        return tuple(float(item) for item in value)

    def texts_by_name(self, key: str) -> dict[str, str]:
        """Return a table of texts; empty when it is not there."""
        value: Any = self._value(key, dict, "must be a table of texts", {})
        if not all(isinstance(item, str) for item in value.values()):
            raise self.fail(key, "must be a table of texts")
        return dict(value)

    def json(self, key: str) -> dict[str, Any]:
        """Return a table as it is; empty when it is not there."""
        return dict(self._value(key, dict, "must be a table", {}))

    def table(self, key: str) -> Page | None:
        """Return a table within; None when it is not there."""
        value: Any = self._value(key, dict, "must be a table", None)
        return None if value is None else Page(value, f"{self.where}/{key}")

    def tables(self, key: str) -> Iterator[Page]:
        """Yield the tables of a list."""
        value: Any = self._value(key, list, "must be a list of tables", [])
        for number, item in enumerate(value):
            if not isinstance(item, dict):
                raise self.fail(key, "must be a list of tables")
            yield Page(item, f"{self.where}/{key}/{number}")

    def end(self) -> None:
        """Raise CityInvalid when something stands here that nobody read."""
        unknown = [key for key in self._data if key not in self._read]
        if unknown:
            raise self.fail(unknown[0], f"is not known; known here are {', '.join(sorted(self._read))}")

    def _value(self, key: str, kind: type[T] | tuple[type[Any], ...], problem: str, default: Any) -> Any:
        self._read.add(key)
        value = self._data.get(key, default)
        if value is _REQUIRED:
            raise self.fail(key, "is missing")
        if key in self._data and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise self.fail(key, problem)
        return value
