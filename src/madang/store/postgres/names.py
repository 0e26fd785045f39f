# SPDX-License-Identifier: Apache-2.0
"""Small numbers for long texts, as every worker knows them: tenants, and names of types, attributes and datasets.

A number, once given, never changes its meaning, so what is known stays true; what is unknown is looked up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from madang.store.postgres.connections import Connections

_BY_TEXT = "SELECT key, text FROM name WHERE md5(text) = ANY($1::text[])"
_BY_KEY = "SELECT key, text FROM name WHERE key = ANY($1::integer[])"
_TENANTS = "SELECT key, name FROM tenant ORDER BY name"


class Names:
    """Interned names, both ways."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys: dict[str, int] = {}
        self._texts: dict[int, str] = {}

    async def open(self) -> None:
        """Read all that are there; they are as many as a city has kinds of attributes."""
        self.remember(await self._connections.fetch("SELECT key, text FROM name"))

    def remember(self, rows: Iterable[tuple[int, str]]) -> None:
        for key, text in rows:
            self._keys[text] = key
            self._texts[key] = text

    @property
    def known(self) -> Mapping[str, int]:
        """The keys known here; what is missing may still be in the database."""
        return self._keys

    @property
    def known_texts(self) -> Mapping[int, str]:
        """The names of the keys known here; what is missing may still be in the database."""
        return self._texts

    async def key(self, text: str) -> int | None:
        """Return the key of a name; None when no row has it."""
        return (await self.keys([text])).get(text)

    async def keys(self, texts: Iterable[str]) -> dict[str, int]:
        """Return the keys of those names that some row has."""
        wanted = list(texts)
        missing = [text for text in wanted if text not in self._keys and "\0" not in text]
        if missing:
            self.remember(await self._connections.fetch(_BY_TEXT, [digest(text) for text in missing]))
        return {text: self._keys[text] for text in wanted if text in self._keys}

    async def text(self, key: int) -> str:
        return (await self.texts([key]))[key]

    async def texts(self, keys: Iterable[int]) -> dict[int, str]:
        """Return the names of keys that rows have."""
        wanted = list(keys)
        missing = [key for key in wanted if key not in self._texts]
        if missing:
            self.remember(await self._connections.fetch(_BY_KEY, missing))
        return {key: self._texts[key] for key in wanted}


class Tenants:
    """The keys of the tenants."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys: dict[str, int] = {}

    async def read(self) -> list[str]:
        """Look all of them up and return their names, sorted."""
        for key, name in await self._connections.fetch(_TENANTS):
            self._keys[name] = key
        return sorted(self._keys)

    def remember(self, name: str, key: int) -> None:
        self._keys[name] = key

    @property
    def known(self) -> Mapping[str, int]:
        return self._keys

    async def key(self, name: str) -> int | None:
        """Return the key of a tenant; None when there is none of that name."""
        found = self._keys.get(name)
        if found is None:
            await self.read()
            found = self._keys.get(name)
        return found

    async def name(self, key: int) -> str:
        for name, known in self._keys.items():
            if known == key:
                return name
        await self.read()
        return next(name for name, known in self._keys.items() if known == key)


def digest(text: str) -> str:
    """Return what the index over names is looked up by."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
