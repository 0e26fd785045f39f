# SPDX-License-Identifier: Apache-2.0
"""`madang restore FILE`: a backup becomes a city again, in an empty store of either kind."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from madang.cli import moving
from madang.cli.flags import add_settings
from madang.store.archive import open_archive, restore_archive

if TYPE_CHECKING:
    from madang.base.messages import Messages


def add_flags(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the backup; all of it is verified before anything is written")
    add_settings(parser, "data", "store")


def run(given: Namespace, messages: Messages) -> int:
    """Restore and verify; return 0 only when what is stored is what the backup holds."""
    return moving.run(_restore(Path(given.file), moving.place_given(given), messages), messages)


async def _restore(file: Path, place: moving.Place, messages: Messages) -> None:
    with moving.Progress(messages) as progress:
        async with open_archive(file, progress.tell) as city, moving.filling(place) as filling:
            compared = await restore_archive(city, filling, progress.tell)
    moving.print_compared(compared, messages)
    rows, manifest = sum(item.rows for item in compared), city.manifest
    values = {"moment": manifest.moment, "sequence": manifest.sequence, "place": place.name}
    print(messages.line("restored", rows=rows, **values))
