# SPDX-License-Identifier: Apache-2.0
"""Rows that did not fit, each with its reason: counted for the report and kept for whoever wants to mend the source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

import orjson

from madang.ingest.values import Row, Unfit

_CELL_CHARACTERS_MAX: Final = 200


@dataclass(slots=True)
class Report:
    """What became of the rows of one source: `rows` is always `used` and `quarantined` together."""

    source: str
    rows: int = 0
    used: int = 0
    entities: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)

    @property
    def adds_up(self) -> bool:
        return self.rows == self.used + self.quarantined.total()


class Quarantine:
    """The rows of one source that did not fit.

    Args:
        report: counts them.
        file: JSON lines, one a row; None keeps the counts only.
    """

    def __init__(self, report: Report, file: TextIO | None = None) -> None:
        self.report = report
        self._file = file

    def put(self, unfit: Unfit, row: Row, number: int | None = None) -> None:
        """Keep a row with its reason; its number is that of the row read last, where none is given."""
        self.report.quarantined[unfit.reason] += 1
        if self._file is not None:
            line = {
                "source": self.report.source,
                "row": self.report.rows if number is None else number,
                "reason": unfit.reason,
                "column": unfit.column,
                "cells": {name: _short(value) for name, value in row.items() if _is_plain(value)},
            }
            self._file.write(orjson.dumps(line).decode() + "\n")


def open_for(folder: Path, source: str) -> TextIO:
    """Return the file of a source's quarantine, emptied."""
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"{source}.jsonl").open("w", encoding="utf-8")


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _short(value: Any) -> Any:
    return value[:_CELL_CHARACTERS_MAX] if isinstance(value, str) else value
