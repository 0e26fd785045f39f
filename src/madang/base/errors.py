# SPDX-License-Identifier: Apache-2.0
"""The one tree of errors, split by who must act; no HTTP in it (the wire room maps classes to answers).

HubError
├── InvalidInput            the caller must change the request
│   ├── InvalidRequest      it could not be read at all: not JSON, unknown or clashing parameters
│   └── BadRequestData      it was read, but what it says is not allowed
├── Unauthenticated         the caller must say who it is, in a way that the hub can check
├── Denied                  the caller needs a right
├── NotFound                the caller named something that is not there
│   ├── TenantNotFound
│   └── Gone                it was there, and does not come back
├── Conflict                the state of the hub is in the way
│   └── AlreadyExists
├── Unsupported             this hub does not do that
├── LimitExceeded           a named limit was reached
│   ├── TooComplexQuery
│   ├── TooManyResults
│   ├── TooManyRequests     the caller must wait
│   └── TooLarge            the body is larger than the hub reads
└── Upstream                somebody else's server failed
    └── ContextNotAvailable
"""

from __future__ import annotations


class HubError(Exception):
    """A failure that somebody outside the code can act on.

    Args:
        detail: one whole sentence: what was wrong, and what is allowed.
        where: the place in the input, as a JSON pointer ("/speed/value") or a parameter name ("q").
    """

    title = "The hub could not do this"

    def __init__(self, detail: str, *, where: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.where = where


class InvalidInput(HubError):
    title = "The request is not valid"


class InvalidRequest(InvalidInput):
    title = "The request could not be read"


class BadRequestData(InvalidInput):
    title = "The request contains data that is not allowed"


class Unauthenticated(HubError):
    """Nobody is named who could be asked for rights; `is_token_bad` tells that a token came and does not count."""

    title = "The hub does not know who you are"

    def __init__(self, detail: str, *, where: str | None = "Authorization", is_token_bad: bool = False) -> None:
        super().__init__(detail, where=where)
        self.is_token_bad = is_token_bad


class Denied(HubError):
    title = "This is not allowed for you"


class NotFound(HubError):
    title = "There is no such resource"


class TenantNotFound(NotFound):
    title = "There is no such tenant"


class Gone(NotFound):
    title = "It is no longer there"


class Conflict(HubError):
    title = "The state of the hub is in the way"


class AlreadyExists(Conflict):
    title = "It exists already"


class Unsupported(HubError):
    title = "This hub does not support that"


class LimitExceeded(HubError):
    title = "A limit was reached"


class TooComplexQuery(LimitExceeded):
    title = "The query is too complex"


class TooManyResults(LimitExceeded):
    title = "The query has too many results"


class TooManyRequests(LimitExceeded):
    """The caller asks more often than it may; `retry_after_s` is when it may ask again, in seconds."""

    title = "Too many requests"

    def __init__(self, detail: str, *, where: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail, where=where)
        self.retry_after_s = retry_after_s


class TooLarge(LimitExceeded):
    title = "The body is too large"


class Upstream(HubError):
    """Somebody else's server failed; `retry_after_s` is a hint in seconds, None when unknown."""

    title = "Another server failed"

    def __init__(self, detail: str, *, where: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail, where=where)
        self.retry_after_s = retry_after_s


class ContextNotAvailable(Upstream):
    title = "A JSON-LD context could not be had"


class StoreFailed(Upstream):
    """The store could not write or read (disk full, file gone); nothing of the request was kept."""

    title = "The store could not do its work"
