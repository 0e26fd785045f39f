# SPDX-License-Identifier: Apache-2.0
"""May a caller write this? What one write does to an entity, held against the grants (issue 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from madang.base.times import try_date_time
from madang.model.change import Change, Operation
from madang.model.entity import ENTITY_MEMBERS, Document, Json, types_of
from madang.model.permit import NO_NAMES, Lens, Permit
from madang.model.transient import live

_WRITTEN: Final = frozenset(
    {Operation.ATTRIBUTE_CREATED, Operation.ATTRIBUTE_UPDATED, Operation.HISTORY_ADDED, Operation.SCOPE_CHANGED}
)
# What is said of a write that something stands in the way of which the caller may not know.
IN_THE_WAY: Final = "Your grants do not cover all that this would change"


@dataclass(frozen=True, slots=True)
class _Touched:
    """What a write puts and takes away, by names of attributes; `scope` counts as one."""

    written: frozenset[str] = NO_NAMES
    taken: frozenset[str] = NO_NAMES
    writes: bool = False  # also true when only members of the entity itself are written
    takes_all: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class WritingPermit:
    """What a caller may change in one tenant.

    `known` is what a writer may know of: everything that any of the grants lets him read, write or delete. A write is
    first tried on that alone, so that what goes wrong says nothing of the rest.
    """

    known: Permit
    write: Permit
    delete: Permit

    def refusal(
        self,
        before: Document | None,
        after: Document | None,
        changes: Sequence[Change],
        *,
        now_us: int,
        types: Sequence[str] = (),
        vague: bool = False,
    ) -> str | None:
        """Return why a write is not covered; None when it is.

        Args:
            before: the entity as it is.
            after: as it would be; None when it is taken away.
            changes: the rows for the log.
            now_us: the present; what has expired is gone already, and taking it away needs no grant.
            types: of an entity of which only history is left.
            vague: an entity without a location may lie in any area, as the caller may know no better.
        """
        if after is None and before is not None:
            return None if live(before, now_us) is None else self._taking(before, vague=vague)
        touched = _touched(before, after, changes, now_us)
        if before is None and after is None:
            return self._uncovered(None, touched, types, vague=vague)
        states = [state for state in (before, after) if state is not None]
        for state in states[:1] if states[0] is states[-1] else states:
            reason = self._uncovered(state, touched, types_of(state), vague=vague)
            if reason is not None:
                return reason
        return self._inside(states[-1], changes, vague=vague) or self._expiry(before, after)

    def refusal_of_history(self, document: Document | None, types: Sequence[str], *, vague: bool = False) -> str | None:
        """Return why all history of an entity cannot be taken away; None when it can."""
        touched = _Touched(takes_all=True)
        return self._uncovered(document, touched, types if document is None else types_of(document), vague=vague)

    def _taking(self, before: Document, *, vague: bool) -> str | None:
        lens, reason = _lens(self.delete, before, types_of(before), vague=vague, verb="delete")
        if lens is None:
            return reason
        for name, value in before.items():
            if name not in ENTITY_MEMBERS and (not lens.sees(name) or lens.hidden_inside(name, value)):
                return _of_attribute("delete", name)
        return None

    def _uncovered(
        self, document: Document | None, touched: _Touched, types: Sequence[str], *, vague: bool
    ) -> str | None:
        if touched.writes:
            lens, reason = _lens(self.write, document, types, vague=vague, verb="write")
            if lens is None:
                return reason
            for name in sorted(touched.written):
                if not lens.sees(name):
                    return _of_attribute("write", name)
        if touched.taken or touched.takes_all:
            lens, reason = _lens(self.delete, document, types, vague=vague, verb="delete")
            if lens is None:
                return reason
            if touched.takes_all and not lens.whole:
                return IN_THE_WAY
            for name in sorted(touched.taken):
                if not lens.sees(name):
                    return _of_attribute("delete", name)
        return None

    def _inside(self, document: Document, changes: Sequence[Change], *, vague: bool) -> str | None:
        """Refuse a change of personal sub-attributes, also one that would only take them away."""
        lens = self.write.lens(document, vague=vague)
        for change in changes:
            if lens is not None and change.attribute is not None and change.operation in _WRITTEN:
                hidden = lens.hidden_inside(change.attribute, change.value)
                if hidden != lens.hidden_inside(change.attribute, change.previous):
                    return _of_attribute("write", change.attribute)
        return None

    def _expiry(self, before: Document | None, after: Document | None) -> str | None:
        """Refuse a new end for an entity of which some attributes are not the caller's: they would go with it."""
        if before is None or after is None or before.get("expiresAt") == after.get("expiresAt"):
            return None
        lens = self.write.lens(before, vague=True)
        return None if lens is not None and lens.whole else "Your grants do not let you say when the entity expires"


def _lens(
    permit: Permit, document: Document | None, types: Sequence[str], *, vague: bool, verb: str
) -> tuple[Lens | None, str]:
    """Return how a permit sees an entity, if it covers all types of it."""
    lens = permit.lens_of(types) if document is None else permit.lens(document, vague=vague)
    if lens is not None and len(lens.types) == len(types):
        return lens, ""
    return None, f"Your grants do not let you {verb} such an entity: its type or its place is not covered"


def _touched(before: Document | None, after: Document | None, changes: Sequence[Change], now_us: int) -> _Touched:
    written: set[str] = set()
    taken: set[str] = set()
    writes, takes_all = before is None and after is not None, False
    if writes and after is not None:
        written = {name for name in after if name not in ENTITY_MEMBERS or name == "scope"}
    for change in changes:
        operation, value = change.operation, change.value or {}
        if operation is Operation.ATTRIBUTE_DELETED:
            if not _is_over(value, now_us):
                taken.add(change.attribute or "")
        elif operation is Operation.HISTORY_DELETED:
            if "attribute" in value:
                taken.add(value["attribute"])
            else:
                takes_all = True
        elif operation in _WRITTEN:
            writes = True
            written.add(change.attribute or "")
            if change.attribute == "scope" and operation is Operation.SCOPE_CHANGED and "scope" not in (after or {}):
                taken.add("scope")
        else:
            writes = True
    return _Touched(frozenset(written), frozenset(taken), writes, takes_all)


def _is_over(tombstone: Json, now_us: int) -> bool:
    moment_us = try_date_time(tombstone.get("expiresAt"))
    return moment_us is not None and moment_us <= now_us


def _of_attribute(verb: str, name: str) -> str:
    return f"Your grants do not let you {verb} the attribute {name} of such an entity"
