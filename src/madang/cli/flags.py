# SPDX-License-Identifier: Apache-2.0
"""Flags made from the settings tree, so that a setting is described in one place."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import fields

from madang.base.settings import VARIABLE_PREFIX, Settings


def add_settings(parser: ArgumentParser, *names: str) -> None:
    """Add a flag for each named setting."""
    by_name = {item.name: item for item in fields(Settings)}
    for name in names:
        item = by_name[name]
        unit = f" ({item.metadata['unit']})" if item.metadata["unit"] else ""
        parser.add_argument(
            f"--{name}",
            metavar=name.upper(),
            help=f"{item.metadata['help']}{unit}; default {item.default}, or {VARIABLE_PREFIX}{name.upper()}",
        )


def settings_of(given: Namespace) -> Settings:
    """Return the settings from the flags that were given and the environment."""
    return Settings.read(vars(given), os.environ)
