# SPDX-License-Identifier: Apache-2.0
"""The entry `madang`: finds the command, reads its flags, turns refusals into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Final

import madang
from madang.base.messages import Messages
from madang.base.settings import SettingInvalid
from madang.cli.exit_codes import EXIT_REFUSED

# Each command is a module with `add_flags(parser)` and `run(arguments, messages) -> exit code`. Only the module of the
# command that is called is imported, so that each starts quickly.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("madang.cli.serve", "run the hub"),
    "demo": ("madang.cli.demo", "a city that lives: recorded data played back in a hub of its own"),
    "token": ("madang.cli.token", "tokens for whoever calls the hub: make, list, revoke"),
    "doctor": ("madang.cli.doctor", "say what is wrong with this installation"),
    "store": ("madang.cli.store", "copy a city from one store to another, while its hub runs"),
    "backup": ("madang.cli.backup", "keep a city in one file, while its hub runs; or verify such a file"),
    "restore": ("madang.cli.restore", "bring a backup back, onto an empty machine"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 good, 1 failed, 2 refused (nothing was touched)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    messages = Messages.of(os.environ)
    parser = _Parser(prog="madang", description="An open city data hub.")
    parser.add_argument("--version", action="version", version=f"madang {madang.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (module, help) in COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help)
        if name == wanted:
            importlib.import_module(module).add_flags(command)
    given = parser.parse_args(arguments)
    try:
        code: int = importlib.import_module(COMMANDS[given.command][0]).run(given, messages)
    except SettingInvalid as error:
        print(f"madang: {messages.line(error.message, **error.values)}", file=sys.stderr)
        return EXIT_REFUSED
    return code


class _Parser(argparse.ArgumentParser):
    """argparse with one clear line for a mistake instead of the whole usage."""

    def error(self, message: str) -> None:  # type: ignore[override]
        # What was typed in the wrong place may be the address of a database, with its password.
        message = re.sub(r"://\S*", "://…", message)
        print(f"{self.prog}: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(EXIT_REFUSED)


if __name__ == "__main__":
    sys.exit(main())
