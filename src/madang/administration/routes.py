# SPDX-License-Identifier: Apache-2.0
"""The route table of the administration room, below /madang/v1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.administration import first, me, personal, roles, tokens
from madang.wire.parameters import without_parameters

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.access import Access
    from madang.core.contexts import Contexts
    from madang.wire.http import Route


def routes(access: Access, contexts: Contexts, clock: Clock) -> list[Route]:
    """Return the route table of the room."""
    return without_parameters(
        [
            *me.routes(access, contexts),
            *tokens.routes(access, contexts, clock),
            *roles.routes(access, contexts),
            *personal.routes(access, contexts),
            *first.routes(access.first_administrator),
        ]
    )
