# SPDX-License-Identifier: Apache-2.0
"""Writes the reference (settings, limits, commands, metrics, access) from the code, or checks it with --check."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import sys
from dataclasses import MISSING, fields
from pathlib import Path

from madang.base.settings import VARIABLE_PREFIX, Settings
from madang.cli.main import COMMANDS
from madang.cli.main import main as command_line
from madang.wire.metrics import FAMILIES

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs/reference"
HEAD = "<!-- Made by tools/make_reference.py; do not edit: `make fix` writes it anew. -->\n\n"


def settings_page() -> str:
    rows = ["| Setting | Variable | Default | Unit | What it does |", "|---|---|---|---|---|"]
    for item in fields(Settings):
        default = "" if item.default in (MISSING, "") else f"`{item.default}`"
        about = item.metadata
        variable = VARIABLE_PREFIX + item.name.upper()
        rows.append(f"| `{item.name}` | `{variable}` | {default} | {about['unit']} | {about['help']} |")
    return (
        "# Settings\n\nA flag of the command wins over its variable, the variable over the default. Which settings have"
        " a flag is in [the commands](commands.md).\n\n" + "\n".join(rows) + "\n"
    )


def limits_page() -> str:
    lines = (ROOT / "src/madang/base/limits.py").read_text("utf-8").splitlines()
    rows = ["| Limit | Value | Remark |", "|---|---|---|"]
    for node in ast.parse("\n".join(lines)).body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        value = node.value if isinstance(node, ast.AnnAssign | ast.Assign) else None
        if isinstance(target, ast.Name) and value is not None:
            remark = lines[node.lineno - 1].partition("  # ")[2]
            number = eval(compile(ast.Expression(value), "limits", "eval"), {})
            rows.append(f"| `{target.id}` | {number:,} | {remark} |")
    return (
        "# Limits\n\nEvery limit of the hub, its unit last in the name (`S` seconds, `US` microseconds, `BYTES`). They"
        " are constants of `madang.base.limits`.\n\n" + "\n".join(rows) + "\n"
    )


def commands_page() -> str:
    parts = [
        "# Commands\n\nEvery command gives 0 when all went well, 1 when it failed, 2 when it refused and touched"
        " nothing.\n"
    ]
    for name in COMMANDS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            command_line([name, "--help"])
        parts.append(f"## madang {name}\n\n```text\n{out.getvalue().strip()}\n```\n")
    return "\n".join(parts)


def metrics_page() -> str:
    rows = ["| Metric | Kind | Labels | What it tells |", "|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.shown_labels)
        rows.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |")
    return (
        "# Metrics\n\nWhat `/metrics` tells, in the text format of Prometheus; how to watch a hub with it is in"
        " [operate a hub](../how-to/operate.md). No label holds a tenant, an id or anything else that comes from"
        " outside: `route` is a row of the route table, never a path.\n\n" + "\n".join(rows) + "\n"
    )


def access_matrix_page() -> str:
    sys.path.insert(0, str(ROOT))
    from tests.api.access_matrix import reference_page  # the entries that the tests hold against the route table

    return reference_page()


def main(arguments: list[str]) -> int:
    os.environ.update({"COLUMNS": "100", "NO_COLOR": "1", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"})
    pages = {
        "settings.md": settings_page(),
        "limits.md": limits_page(),
        "commands.md": commands_page(),
        "metrics.md": metrics_page(),
        "access-matrix.md": access_matrix_page(),
    }
    stale = []
    for name, text in pages.items():
        path = TARGET / name
        if not path.exists() or path.read_text("utf-8") != HEAD + text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(HEAD + text, "utf-8")
    if "--check" in arguments and stale:
        print(f"reference: {', '.join(stale)} is not what the code says; run `make fix`")
        return 1
    print("reference: up to date" if not stale else f"reference: wrote {', '.join(stale)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
