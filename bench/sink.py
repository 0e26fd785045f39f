# SPDX-License-Identifier: Apache-2.0
"""A notification receiver that counts the entities in what it is sent; GET /count tells, GET / resets nothing."""

from __future__ import annotations

import sys
from typing import Any

import orjson


class Sink:
    def __init__(self) -> None:
        self.notifications = 0
        self.entities = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        if scope["method"] == "POST":
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            self.notifications += 1
            self.entities += len(orjson.loads(body)["data"])
            answer = b""
        else:
            answer = orjson.dumps({"notifications": self.notifications, "entities": self.entities})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def main(port: int) -> None:
    import uvloop
    from granian.constants import Interfaces
    from granian.server.embed import Server

    async def serve() -> None:
        await Server(Sink(), address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False).serve()

    uvloop.run(serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))
