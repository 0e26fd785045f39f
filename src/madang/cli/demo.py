# SPDX-License-Identifier: Apache-2.0
"""`madang demo`: a city from recorded data that lives, in a hub of its own."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import madang
from madang.base.settings import STORE_IN_FOLDER, VARIABLE_PREFIX, Settings
from madang.cli.exit_codes import EXIT_REFUSED
from madang.cli.flags import add_settings, settings_of
from madang.cli.listening import Refused, listen

if TYPE_CHECKING:
    from madang.base.messages import Messages

DATA_DEFAULT: Final = Path("madang-demo-data")
_EXAMPLES: Final = Path("examples/cities")
_CITY_FILE: Final = "city.toml"


def add_flags(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="DATA",
        help=f"folder that holds everything the demo keeps; default {DATA_DEFAULT}, or {VARIABLE_PREFIX}DATA",
    )
    add_settings(parser, "host", "port", "speed", "city")


def run(given: Namespace, messages: Messages) -> int:
    """Play a city until told to stop; return the exit code."""
    settings = settings_of(given)
    if given.data is None and VARIABLE_PREFIX + "DATA" not in os.environ:
        settings = replace(settings, data=DATA_DEFAULT)
    settings = _for_a_demo(settings)
    folder = _city_folder(settings.city)
    if folder is None:
        return _refuse(messages.line("city_missing", city=settings.city))
    from madang.base.errors import HubError
    from madang.ingest.city import read_city

    try:
        city = read_city(folder)
        listener = listen(settings, messages)
    except HubError as error:
        return _refuse(messages.line("city_invalid", city=folder, reason=error.detail))
    except Refused as refused:
        return _refuse(str(refused))
    from madang.cli import demoing

    with listener:
        return demoing.play(settings, messages, listener, city)


def _for_a_demo(settings: Settings) -> Settings:
    """The sample subscriptions notify the demo's own hub, on the loopback address.

    It is open, and so on loopback only. It keeps to its own folder: it must not play into the database that
    MADANG_STORE names for the city's hub.
    """
    settings = replace(settings, allow_private_addresses=True, store=STORE_IN_FOLDER, workers=1, access="open")
    settings.check()
    return settings


def _city_folder(city: str) -> Path | None:
    """Return the folder of a city, given as a path or as the name of an example; None when there is none."""
    for folder in (Path(city), Path(madang.__file__).parents[2] / _EXAMPLES / city):
        if (folder / _CITY_FILE).is_file():
            return folder
    return None


def _refuse(line: str) -> int:
    print(f"madang: {line}", file=sys.stderr)
    return EXIT_REFUSED
