# SPDX-License-Identifier: Apache-2.0
"""How far the reader of the change log has come: everything before the bookmark is delivered or has finally failed."""

from __future__ import annotations

from collections import deque


class Ticket:
    """One commit on its way to subscribers. It is settled when nobody owes it any more."""

    __slots__ = ("before", "last", "owed")

    def __init__(self, before: int, last: int) -> None:
        self.before = before  # sequence of the change before the commit
        self.last = last  # sequence of its last change
        self.owed = 0  # to how many subscribers


class Progress:
    """Commits in the order of the log, of which some are still owed to somebody."""

    def __init__(self, position: int = 0) -> None:
        self.position = position  # the last change looked at
        self._open: deque[Ticket] = deque()

    def begin(self, first: int, last: int) -> Ticket:
        """Return the ticket of the next commit; give it to `end` when it has been matched with all subscriptions."""
        return Ticket(max(self.position, first - 1), last)

    def end(self, ticket: Ticket) -> None:
        self.position = max(self.position, ticket.last)
        if ticket.owed > 0:
            self._open.append(ticket)

    def pass_over(self, last: int) -> None:
        """Go on past changes that concern nobody."""
        self.position = max(self.position, last)

    @property
    def bookmark(self) -> int:
        """The last change up to which nothing is owed."""
        waiting = self._open
        while waiting and waiting[0].owed <= 0:
            waiting.popleft()
        return waiting[0].before if waiting else self.position
