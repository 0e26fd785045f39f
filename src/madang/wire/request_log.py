# SPDX-License-Identifier: Apache-2.0
"""One line of the log for each request, and the id by which all lines about a request are found."""

from __future__ import annotations

import logging
import re
import secrets
from itertools import count
from typing import Final

from madang.base.limits import REQUEST_ID_CHARACTERS_MAX
from madang.base.logs import RequestNote

REQUEST_ID_HEADER: Final = "x-request-id"

_ALLOWED: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{REQUEST_ID_CHARACTERS_MAX}}}", re.ASCII)
_LOG: Final = logging.getLogger("madang.requests")


class RequestLog:
    """Writes the lines of one worker. It names routes, never paths: an id in a path may be that of a person."""

    def __init__(self) -> None:
        # No two processes share a beginning, and within one the numbers differ: as good as a UUID, and far cheaper.
        self._beginning = secrets.token_hex(6)
        self._numbers = count(1)

    def id_of(self, sent: str | None) -> str:
        """Return the id that the client sent (X-Request-Id) when it is one, else a new one."""
        if sent is not None and _ALLOWED.fullmatch(sent):
            return sent
        return f"{self._beginning}-{next(self._numbers):x}"

    def wants_lines(self) -> bool:
        """Tell whether requests are logged at all."""
        return _LOG.isEnabledFor(logging.INFO)

    def write(
        self, note: RequestNote, method: str, route: str, status: int, *, duration_ns: int, size_bytes: int
    ) -> None:
        """Write the line of one request; the route is the template of its path."""
        values = {
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(duration_ns / 1e9, 6),
            "bytes": size_bytes,
            "caller": note.caller or "refused",
        }
        _LOG.info("request", extra={"values": values})
