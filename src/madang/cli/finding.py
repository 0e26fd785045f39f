# SPDX-License-Identifier: Apache-2.0
"""What `madang doctor` says about one thing it looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One thing the doctor looked at: how it is, and the line of the catalogue that says so."""

    kind: Literal["good", "note", "problem"]
    message: str
    values: dict[str, object]


def good(message: str, **values: object) -> Finding:
    return Finding("good", message, values)


def problem(message: str, **values: object) -> Finding:
    return Finding("problem", message, values)
