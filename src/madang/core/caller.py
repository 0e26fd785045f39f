# SPDX-License-Identifier: Apache-2.0
"""Who the work at hand is done for. The faces say it once a request; the verbs of core ask it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from madang.model.access import SYSTEM, Caller

# What the hub does by itself (jobs, deliveries, start) is done for the system; a request never runs without a caller.
_CALLER: Final[ContextVar[Caller]] = ContextVar("caller", default=SYSTEM)


def caller() -> Caller:
    """Return for whom the current task works."""
    return _CALLER.get()


@contextlib.contextmanager
def acting_for(who: Caller) -> Iterator[None]:
    """Work for somebody within the block; tasks that are started in it inherit it."""
    token = _CALLER.set(who)
    try:
        yield
    finally:
        _CALLER.reset(token)
