# SPDX-License-Identifier: Apache-2.0
"""Is the hub there, can it work, and what is it: cheap answers for probes, balancers and clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson

from madang.base.errors import StoreFailed
from madang.wire.http import Request, Response, Route
from madang.wire.problems import JSON_HEADER, problem

NGSI_LD_VERSION: Final = "1.9.1"
LIVE_PATH: Final = "/health/live"


def routes(version: str, faults: Callable[[], Awaitable[Sequence[str]]]) -> list[Route]:
    """Return the routes of probes; `faults` tells what keeps the hub from working right now, one sentence each."""
    about = orjson.dumps({"name": "madang", "version": version, "ngsi-ld": NGSI_LD_VERSION})

    async def live(_: Request) -> Response:
        return _status(200, "live", ())

    async def ready(_: Request) -> Response:
        found = await faults()
        return _status(503, "not ready", found) if found else _status(200, "ready", ())

    async def tell_version(_: Request) -> Response:
        return Response(200, about, [JSON_HEADER])

    return [
        Route(("GET",), LIVE_PATH, live, public=True),
        Route(("GET",), "/health/ready", ready, public=True),
        Route(("GET",), "/version", tell_version, public=True),
    ]


class Waiting:
    """Answers in place of a hub that cannot open yet: it lives, and whoever wants something is asked to come again."""

    def __init__(self, retry_after_s: float) -> None:
        text = "The hub is starting and waits for its database; send the request again"
        self._problem = StoreFailed(text, retry_after_s=retry_after_s)

    async def answer(self, request: Request) -> Response:
        if request.path == LIVE_PATH:
            return _status(200, "live", ())
        return problem(self._problem)


def _status(status: int, word: str, faults: Sequence[str]) -> Response:
    return Response(status, orjson.dumps({"status": word, "faults": list(faults)}), [JSON_HEADER])
