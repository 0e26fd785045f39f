# SPDX-License-Identifier: Apache-2.0
"""Pieces of SQL with their parameters, and JSON paths into the stored documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL. `exact` False: it may be true for a row that does not answer the question, never the reverse."""

    text: str
    parameters: tuple[Any, ...] = ()
    exact: bool = True


TRUE = Sql("1")
FALSE = Sql("0")
UNKNOWN = Sql("1", (), False)


def all_of(pieces: Iterable[Sql]) -> Sql:
    """Return the conjunction; what SQL cannot tell is left out."""
    pieces = list(pieces)
    exact = all(piece.exact for piece in pieces)
    kept = [piece for piece in pieces if piece.text != "1"]
    if not kept:
        return TRUE if exact else UNKNOWN
    if len(kept) == 1:
        return Sql(kept[0].text, kept[0].parameters, exact)
    return Sql(" AND ".join(f"({piece.text})" for piece in kept), _joined(kept), exact)


def any_of(pieces: Iterable[Sql]) -> Sql:
    """Return the disjunction; one alternative that SQL cannot tell makes all of it unknown."""
    pieces = list(pieces)
    if any(piece == UNKNOWN for piece in pieces):
        return UNKNOWN
    if len(pieces) == 1:
        return pieces[0]
    return Sql(
        " OR ".join(f"({piece.text})" for piece in pieces) or "0", _joined(pieces), all(piece.exact for piece in pieces)
    )


def _joined(pieces: list[Sql]) -> tuple[Any, ...]:
    return tuple(parameter for piece in pieces for parameter in piece.parameters)


def json_path(*names: str) -> str | None:
    """Return the JSON path of nested members; None when a name cannot stand in one."""
    if any('"' in name or "\\" in name or not name.isprintable() for name in names):
        return None
    return "$" + "".join(f'."{name}"' for name in names)


def quoted(text: str) -> str:
    """Return the text as an SQL literal: paths stand in the statement, so that SQLite can keep what it prepared."""
    return "'" + text.replace("'", "''") + "'"


def member(path: str) -> str:
    """Return the expression for the SQL value of a member; NULL when it is absent."""
    return f"json_extract(e.body, {quoted(path)})"


def kind_of(path: str) -> str:
    """Return the expression for the JSON type of a member; NULL when it is absent."""
    return f"json_type(e.body, {quoted(path)})"


def json_of(path: str) -> str:
    """Return the expression for the JSON text of a member; NULL when it is absent."""
    return f"e.body -> {quoted(path)}"
