# SPDX-License-Identifier: Apache-2.0
"""Begins a decision record: the next number, the parts it needs."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs/decisions"
TEMPLATE = """# {number}. {title}

Status: proposed, {month}

## Context

What is the case, and what is the question? Facts and measurements with their command and machine.

## Decision

What was chosen, in the present tense.

## Consequences

- What becomes easier, what harder, what must be watched.
"""


def main(title: str) -> int:
    words = re.findall(r"\w+", title.lower())
    if not words:
        print('decision: say what was decided, for example: make new-decision TITLE="History is sealed by day"')
        return 2
    number = 1 + max((int(path.name[:4]) for path in FOLDER.glob("[0-9][0-9][0-9][0-9]-*.md")), default=0)
    path = FOLDER / f"{number:04}-{'-'.join(words[:6])}.md"
    month = datetime.now(UTC).strftime("%B %Y")
    path.write_text(TEMPLATE.format(number=number, title=title.strip(), month=month), "utf-8")
    print(path.relative_to(FOLDER.parent.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
