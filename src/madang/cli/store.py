# SPDX-License-Identifier: Apache-2.0
"""`madang store copy FROM TO`: a city moves to another store while its hub goes on."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from madang.cli import moving
from madang.store.moving import move

if TYPE_CHECKING:
    from madang.base.messages import Messages


def add_flags(parser: ArgumentParser) -> None:
    parser.add_argument(
        "verb", choices=["copy"], help="copy everything that a store holds at this moment into an empty one"
    )
    place = "a data folder (FOLDER or sqlite:FOLDER) or postgresql://USER@HOST:PORT/DATABASE"
    parser.add_argument("source", metavar="FROM", help=f"{place}; its hub may be running")
    parser.add_argument("target", metavar="TO", help=f"{place}; it must be empty, and no hub may use it")


def run(given: Namespace, messages: Messages) -> int:
    """Copy and verify; return 0 only when counts and checksums are equal on both sides."""
    return moving.run(_copy(given.source, given.target, messages), messages)


async def _copy(source_text: str, target_text: str, messages: Messages) -> None:
    source, target = moving.place_of(source_text), moving.place_of(target_text)
    moving.check_apart(source, target)
    with moving.Progress(messages) as progress:
        async with moving.snapshot(source) as city, moving.filling(target, city) as filling:
            compared = await move(city, filling, progress.tell)
    moving.print_compared(compared, messages)
    rows = sum(item.rows for item in compared)
    print(messages.line("store_copied", rows=rows, sequence=city.sequence, source=source.name, target=target.name))
