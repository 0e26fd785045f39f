# SPDX-License-Identifier: Apache-2.0
"""`madang backup FILE`: everything that a store holds at this moment in one file, while its hub goes on."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from madang.base.clock import SystemClock
from madang.cli import moving
from madang.cli.flags import add_settings
from madang.store.archive import check_new, open_archive, write_archive

if TYPE_CHECKING:
    from madang.base.messages import Messages
    from madang.store.archive import Manifest


def add_flags(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the backup; a file that is there is never written over")
    parser.add_argument("--verify", action="store_true", help="check the backup FILE instead of making one")
    add_settings(parser, "data", "store")


def run(given: Namespace, messages: Messages) -> int:
    """Make or verify a backup; return 0 only when every byte was read back and found right."""
    file = Path(given.file)
    if given.verify:
        return moving.run(_verify(file, messages), messages)
    return moving.run(_back_up(file, moving.place_given(given), messages), messages)


async def _back_up(file: Path, place: moving.Place, messages: Messages) -> None:
    check_new(file)
    now_us = SystemClock().now_us()
    with moving.Progress(messages) as progress:
        async with moving.snapshot(place) as city:
            manifest = await write_archive(city, file, now_us, progress.tell)
    _print_parts(manifest, messages)
    size_mb = file.stat().st_size / 1_000_000  # noqa: ASYNC240 - nothing else runs in this process
    values = {"rows": manifest.rows, "sequence": manifest.sequence, "place": place.name}
    print(messages.line("backup_made", file=file, size_mb=size_mb, **values))


async def _verify(file: Path, messages: Messages) -> None:
    with moving.Progress(messages) as progress:
        async with open_archive(file, progress.tell) as city:
            manifest = city.manifest
    _print_parts(manifest, messages)
    values = {"rows": manifest.rows, "sequence": manifest.sequence, "moment": manifest.moment}
    print(messages.line("backup_good", file=file, store=manifest.store, **values))


def _print_parts(manifest: Manifest, messages: Messages) -> None:
    for name, part in manifest.parts.items():
        print(messages.line("move_equal", section=name, rows=part.rows, sha256=part.sha256))
