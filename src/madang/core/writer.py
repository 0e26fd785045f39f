# SPDX-License-Identifier: Apache-2.0
"""The only writer: gathers concurrent mutations into one durable transaction and answers them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from madang.model.change import Change, EntityCommit
from madang.model.entity import Document, Json

T = TypeVar("T")


class View(Protocol):
    """What one mutation sees and does. Nothing of it is kept when the mutation raises."""

    tenant: str
    now_us: int
    now: str  # the same moment as DateTime text; every system timestamp of this mutation

    def entity(self, id: str) -> Document | None:
        """The document as left by the mutations before this one. `id` must be among the declared keys."""

    def put(self, before: Document | None, after: Document, changes: Sequence[Change]) -> None:
        """Write an entity with its change rows (after["id"] says which)."""

    def delete(self, before: Document, changes: Sequence[Change]) -> None: ...

    def log(self, entity: str, changes: Sequence[Change]) -> None:
        """Append rows to the log (history) without touching the current state."""

    def record(self, kind: str, id: str) -> Json | None:
        """A record; (kind, id) must be among the declared records."""

    def put_record(self, kind: str, id: str, body: Json, *, logged: bool = True) -> None: ...

    def delete_record(self, kind: str, id: str, *, logged: bool = True) -> None: ...

    def hide_history(self, sequence: int) -> None: ...

    def drop_history(self, entity: str) -> None: ...

    def bookmark(self, reader: str, sequence: int) -> None: ...


class WriterContract(Protocol):  # CONTRACT: the real class is `Writer`, with these members
    async def write(
        self,
        tenant: str,
        keys: Sequence[str],
        decide: Callable[[View], T],
        *,
        records: Sequence[tuple[str, str]] = (),
        create_tenant: bool = False,
    ) -> T:
        """Run `decide` (pure, quick, synchronous) on the current state and return its result once it is on disk.

        Raises: whatever decide raises (then nothing of it is written). TenantNotFound: the tenant does not exist
        and create_tenant is False.
        """

    def subscribe(self, listener: Callable[[Sequence[EntityCommit]], None]) -> None:
        """Call the listener (quickly, on the loop) with the commits of each group, after it is durable."""

    async def close(self) -> None: ...


_ = (Any, Awaitable)
