# SPDX-License-Identifier: Apache-2.0
"""Pieces of SQL with their parameters; each `?` stands for one, and they are numbered when the statement is whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL. Its text has no `?` of another meaning: whatever a user wrote is a parameter."""

    text: str
    parameters: tuple[Any, ...] = ()


TRUE: Final = Sql("true")
FALSE: Final = Sql("false")


def all_of(pieces: Iterable[Sql]) -> Sql:
    """Return the conjunction."""
    kept = [piece for piece in pieces if piece != TRUE]
    if FALSE in kept:
        return FALSE
    return _joined(kept, " AND ") if kept else TRUE


def any_of(pieces: Iterable[Sql]) -> Sql:
    """Return the disjunction."""
    kept = [piece for piece in pieces if piece != FALSE]
    if TRUE in kept:
        return TRUE
    return _joined(kept, " OR ") if kept else FALSE


def _joined(pieces: list[Sql], word: str) -> Sql:
    if len(pieces) == 1:
        return pieces[0]
    return Sql(word.join(f"({piece.text})" for piece in pieces), parameters_of(*pieces))


def parameters_of(*pieces: Sql) -> tuple[Any, ...]:
    """Return the parameters of pieces that follow each other."""
    return tuple(parameter for piece in pieces for parameter in piece.parameters)


def numbered(piece: Sql) -> tuple[str, tuple[Any, ...]]:
    """Return a whole statement as the database takes it, with $1, $2 … and the parameters."""
    first, *others = piece.text.split("?")
    assert len(others) == len(piece.parameters), piece.text
    text = first + "".join(f"${number}{other}" for number, other in zip(count(1), others, strict=False))
    return text, piece.parameters
