# SPDX-License-Identifier: Apache-2.0
"""Checks what no linter does: sizes that may only shrink, the head of each file, and names that say nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("src", "tests", "bench", "tools", "examples")
EXCEPTIONS = "tools/tidy_exceptions.toml"
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "misc", "common", "stuff"}


def python_files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def head_faults(name: str, text: str, tree: ast.Module) -> Iterator[str]:
    """The SPDX line and the sentence about the module; tests need neither."""
    if not name.startswith("tests/"):
        lines = text.splitlines()
        first = lines[1] if lines[:1] and lines[0].startswith("#!") else next(iter(lines), "")
        if first != "# SPDX-License-Identifier: Apache-2.0":
            yield f"{name}: the first line is not the SPDX line"
        if not ast.get_docstring(tree):
            yield f"{name}: there is no sentence that says what the module is"
    if Path(name).stem in EMPTY_NAMES:
        yield f"{name}: the name says nothing about what is inside"


def sizes(name: str, text: str, tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Yield what is too long as (its name, its lines, the lines allowed)."""
    lines = text.count("\n")
    if lines > FILE_LINES_MAX:
        yield name, lines, FILE_LINES_MAX
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{name}:{node.name}", length, FUNCTION_LINES_MAX


def size_faults(found: dict[str, tuple[int, int]], allowed: dict[str, dict[str, object]]) -> Iterator[str]:
    """The ratchet: a listed size may neither grow nor stay listed when it shrank."""
    for name, (lines, most) in found.items():
        entry = allowed.get(name)
        if entry is None:
            yield f"{name}: {lines} lines, allowed are {most}; split it by topic"
        elif entry["lines"] != lines:
            verb = "grew" if lines > int(str(entry["lines"])) else "shrank"
            yield f"{name}: {verb} from {entry['lines']} to {lines} lines; {EXCEPTIONS} takes smaller numbers only"
    for name, entry in allowed.items():
        if name not in found:
            yield f"{name}: is no longer too long; take it out of {EXCEPTIONS}"
        if not entry.get("reason"):
            yield f"{name}: its exception in {EXCEPTIONS} has no reason"


def list_faults(allowed: dict[str, dict[str, object]]) -> Iterator[str]:
    """The list of exceptions only gets shorter, and its numbers smaller, compared with the last commit."""
    old = subprocess.run(["git", "show", f"HEAD:{EXCEPTIONS}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if old.returncode:
        return
    before = tomllib.loads(old.stdout)
    for name, entry in allowed.items():
        if name not in before:
            yield f"{EXCEPTIONS}: {name} is new; the list may only get shorter"
        elif int(str(entry["lines"])) > before[name]["lines"]:
            yield f"{EXCEPTIONS}: {name} may not grow from {before[name]['lines']} to {entry['lines']} lines"


def main() -> int:
    allowed = tomllib.loads((ROOT / EXCEPTIONS).read_text("utf-8"))
    found: dict[str, tuple[int, int]] = {}
    faults: list[str] = []
    for path in python_files():
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text("utf-8")
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            faults.append(f"{name}: is not Python: {error.msg} in line {error.lineno}")
            continue
        faults += head_faults(name, text, tree)
        for what, lines, most in sizes(name, text, tree):
            found[what] = (max(lines, found.get(what, (0, 0))[0]), most)
    faults += size_faults(found, allowed)
    faults += list_faults(allowed)
    print("\n".join(faults) or "tidy: nothing to say")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
