# SPDX-License-Identifier: Apache-2.0
"""Checks the documents: links lead somewhere, no page is lost, decisions are in order, notes have a known kind."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
NOTE_KINDS = {"added", "changed", "fixed", "removed", "security"}
DECISION_PARTS = ("Status: ", "## Context", "## Decision", "## Consequences")
DECISION_LINES_MAX = 60


def documents() -> Iterator[Path]:
    yield from sorted(ROOT.glob("*.md"))
    for folder in ("docs", "changelog.d", "examples"):
        yield from sorted((ROOT / folder).rglob("*.md"))


def anchors(path: Path) -> set[str]:
    """Return the anchors that the headings of a document make."""
    titles = HEADING.findall(path.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def link_faults(path: Path) -> Iterator[str]:
    for target in LINK.findall(CODE.sub("", path.read_text("utf-8"))):
        address, _, anchor = target.partition("#")
        if "://" in address or address.startswith("mailto:"):
            continue
        other = (path.parent / address).resolve() if address else path
        name = path.relative_to(ROOT)
        if not other.exists():
            yield f"{name}: the link to {target} leads nowhere"
        elif anchor and other.suffix == ".md" and anchor not in anchors(other):
            yield f"{name}: {target} names a heading that is not there"


def page_faults() -> Iterator[str]:
    """Every page is reached from docs/README.md; decision records are listed by their numbers."""
    start = ROOT / "docs/README.md"
    linked = {(start.parent / target.partition("#")[0]).resolve() for target in LINK.findall(start.read_text("utf-8"))}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        if path != start and path not in linked and not path.name[:4].isdigit():
            yield f"docs/README.md: does not link {path.relative_to(ROOT / 'docs').as_posix()}"


def decision_faults() -> Iterator[str]:
    records = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    for number, path in enumerate(records, start=1):
        text = path.read_text("utf-8")
        if not path.name.startswith(f"{number:04}-"):
            yield f"docs/decisions/{path.name}: the next number is {number:04}"
        if not text.startswith(f"# {number}. "):
            yield f"docs/decisions/{path.name}: the title does not begin with '# {number}. '"
        for part in DECISION_PARTS:
            if f"\n{part}" not in text:
                yield f"docs/decisions/{path.name}: {part.strip()!r} is missing"
        if text.count("\n") > DECISION_LINES_MAX:
            yield f"docs/decisions/{path.name}: longer than a page of {DECISION_LINES_MAX} lines"


def note_faults() -> Iterator[str]:
    for path in sorted((ROOT / "changelog.d").iterdir()):
        parts = path.name.split(".")
        if path.name != "README.md" and (len(parts) != 3 or parts[1] not in NOTE_KINDS or parts[2] != "md"):
            yield f"changelog.d/{path.name}: its name is not NAME.KIND.md with KIND of {', '.join(sorted(NOTE_KINDS))}"


def main() -> int:
    faults = [fault for path in documents() for fault in link_faults(path)]
    faults += page_faults()
    faults += decision_faults()
    faults += note_faults()
    print("\n".join(faults) or "docs: every link leads somewhere")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
