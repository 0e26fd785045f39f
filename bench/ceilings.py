# SPDX-License-Identifier: Apache-2.0
"""What the same machine does at best in the same run: a bare ASGI function, and a bare SQLite loop."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw
import orjson

from madang.model.change import Operation, creation_changes
from madang.store.sqlite.schema import migrate


def asgi_app(answer: bytes) -> Any:
    """Return an ASGI function that reads the body, if any, and gives always the same answer."""
    length = str(len(answer)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    end = {"type": "http.response.body", "body": answer}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["method"] != "GET":
            while (await receive()).get("more_body"):
                pass
        await send(start)
        await send(end)

    return app


def serve_bare(port: int, answer_file: str) -> None:
    """Serve the bare function on the server that Madang uses, with the same settings."""
    import uvloop
    from granian.constants import Interfaces
    from granian.server.embed import Server

    app = asgi_app(Path(answer_file).read_bytes())

    async def main() -> None:
        await Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False).serve()

    uvloop.run(main())


def sqlite_rate(documents: list[dict[str, Any]], *, group: int, updates: bool) -> float:
    """Write the rows that these entities make with nothing but SQLite; return entities a second.

    Every group is one transaction with synchronous=FULL. With `updates` the entities exist and each attribute instance
    makes a change row; without, they are created, which the log keeps as one row.
    """
    with tempfile.TemporaryDirectory() as folder:
        connection = apsw.Connection(f"{folder}/bare.sqlite")
        connection.pragma("page_size", 8192)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        migrate(connection)
        groups = [documents[start : start + group] for start in range(0, len(documents), group)]
        created = [_creation_rows(part, number * group) for number, part in enumerate(groups)]
        seconds = _timed(connection, created)
        if updates:
            first = connection.execute("SELECT max(sequence) FROM change").get + 100
            seconds = _timed(connection, [_update_rows(part, n * group, first) for n, part in enumerate(groups)])
        connection.close()
    return len(documents) / seconds


Statement = tuple[str, list[tuple[Any, ...]]]
_CHANGE = "INSERT INTO change VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, 0, NULL)"


def _timed(connection: apsw.Connection, groups: list[list[Statement]]) -> float:
    start = time.perf_counter()
    for statements in groups:
        connection.execute("BEGIN IMMEDIATE")
        for sql, rows in statements:
            connection.executemany(sql, rows)
        connection.execute("COMMIT")
    return time.perf_counter() - start


def _creation_rows(documents: list[dict[str, Any]], first: int) -> list[Statement]:
    entities, types, changes = [], [], []
    for key, document in enumerate(documents, first + 1):
        body = orjson.dumps(document).decode()
        entities.append((key, document["id"], body))
        types.append((document["type"], key, document["id"]))
        changes.append((key * 20, key * 20, 1, int(Operation.ENTITY_CREATED), key, *[None] * 4, body))
    return [
        ("INSERT INTO entity VALUES (?, 1, ?, jsonb(?), NULL)", entities),
        ("INSERT INTO entity_type VALUES (1, ?, ?, ?)", types),
        (_CHANGE, changes),
    ]


def _update_rows(documents: list[dict[str, Any]], first: int, sequence: int) -> list[Statement]:
    entities, changes = [], []
    number = sequence + first * 20
    for key, document in enumerate(documents, first + 1):
        entities.append((orjson.dumps(document).decode(), key))
        names = list(document)
        for change in creation_changes(document)[1:]:
            number += 1
            value = (change.value or {}).get("value")
            changes.append((
                *(number, number, 1, int(Operation.ATTRIBUTE_UPDATED), key, names.index(change.attribute or "type")),
                *(None, change.observed_us, value if isinstance(value, int | float) else None),
                orjson.dumps(change.value).decode(),
            ))  # fmt: skip
    return [("UPDATE entity SET body = jsonb(?) WHERE key = ?", entities), (_CHANGE, changes)]


if __name__ == "__main__":
    serve_bare(int(sys.argv[1]), sys.argv[2])
