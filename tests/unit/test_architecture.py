"""ARCHITECTURE.md says what the rooms say of themselves."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "madang"
ROW = re.compile(r"^\| `([\w/]+)/` \| (.*) \|$", re.MULTILINE)


def rooms() -> dict[str, str]:
    """Every package below madang with the first line of its docstring."""
    found = {}
    for path in sorted(PACKAGE.rglob("__init__.py")):
        name = path.parent.relative_to(PACKAGE).as_posix()
        if name != ".":
            found[name] = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
    return found


def test_the_table_names_every_room_as_it_names_itself() -> None:
    table = dict(ROW.findall((ROOT / "ARCHITECTURE.md").read_text("utf-8")))
    assert table == rooms()


def test_the_page_names_no_file_that_is_not_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for name in re.findall(r"`((?:\w+/)+[\w*]+\.py)`", text):
        base = ROOT if name.startswith("src/") else PACKAGE
        assert list(base.glob(name)), f"{name} is not there"


def test_the_floors_of_the_linter_are_those_of_the_page() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    line = " ".join(text.partition("Floors, top to bottom: ")[2].partition(". Rooms")[0].split())
    page = [sorted(re.findall(r"`(\w+)`", floor)) for floor in line.split("·")]
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    block = project.partition("layers = [")[2].partition("]")[0]
    linter = [sorted(floor.split(" | ")) for floor in re.findall(r'"([^"]+)"', block)]
    assert page == linter
