# SPDX-License-Identifier: Apache-2.0
"""Why a database cannot be used, as a line that says what to do; nothing of its address but host and name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from madang.base.errors import Unsupported
from madang.base.settings import store_name

if TYPE_CHECKING:
    from madang.base.errors import HubError

# SQLSTATE classes and codes of PostgreSQL (its manual, appendix A).
_MESSAGES: Final = {
    "28P01": "database_login",
    "28000": "database_login",
    "3D000": "database_unknown",
    "42501": "database_rights",
}


def database_refusal(store: str, error: HubError) -> tuple[str, dict[str, object]]:
    """Return the message of the catalogue, and its values, for an error of opening the store at an address."""
    state = getattr(error.__cause__, "sqlstate", None)
    message = "database_newer" if isinstance(error, Unsupported) else _MESSAGES.get(str(state), "database_unusable")
    return message, {"store": store_name(store), "reason": error.detail}
