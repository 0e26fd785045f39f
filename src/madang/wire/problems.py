# SPDX-License-Identifier: Apache-2.0
"""The one error table: which class of the error tree becomes which status and NGSI-LD error type."""

from __future__ import annotations

import logging
import traceback
import uuid
from typing import Final

import orjson

from madang.base import errors
from madang.model.entity import Json
from madang.wire.http import Response

ERROR_TYPE_ROOT: Final = "https://uri.etsi.org/ngsi-ld/errors/"
JSON_HEADER: Final = ("content-type", "application/json")

# ETSI CIM 009 tables 5.5.2-1 and 6.3.2-1. A class that is not listed takes the row of its nearest ancestor.
_TABLE: Final[dict[type[errors.HubError], tuple[int, str]]] = {
    errors.InvalidInput: (400, "BadRequestData"),
    errors.InvalidRequest: (400, "InvalidRequest"),
    errors.BadRequestData: (400, "BadRequestData"),
    errors.Unauthenticated: (401, "OperationNotSupported"),
    errors.Denied: (403, "OperationNotSupported"),
    errors.NotFound: (404, "ResourceNotFound"),
    errors.Gone: (410, "ResourceNotFound"),
    errors.TenantNotFound: (404, "NonexistentTenant"),
    errors.Conflict: (409, "Conflict"),
    errors.AlreadyExists: (409, "AlreadyExists"),
    errors.Unsupported: (422, "OperationNotSupported"),
    errors.LimitExceeded: (503, "InternalError"),
    errors.TooComplexQuery: (403, "TooComplexQuery"),
    errors.TooManyResults: (403, "TooManyResults"),
    errors.TooManyRequests: (429, "OperationNotSupported"),
    errors.TooLarge: (413, "InvalidRequest"),
    errors.Upstream: (502, "InternalError"),
    errors.ContextNotAvailable: (504, "LdContextNotAvailable"),
    errors.StoreFailed: (503, "InternalError"),
}

_LOG = logging.getLogger("madang.wire")


class Refusal(Exception):
    """An answer that HTTP itself defines (411, 415, 406 …), raised where the reason is found."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def status_of(error: errors.HubError) -> int:
    """Return the HTTP status for an error of the tree."""
    return _row(error)[0]


def problem_details(error: errors.HubError) -> dict[str, Json]:
    """Return the members of RFC 9457 for an error: the body of an answer, or one entry of a batch answer."""
    status, name = _row(error)
    details: dict[str, Json] = {
        "type": ERROR_TYPE_ROOT + name,
        "title": error.title,
        "detail": error.detail,
        "status": status,
    }
    if error.where is not None:
        details["where"] = error.where
    return details


def problem(error: errors.HubError) -> Response:
    """Return the answer for an error; always application/json (ETSI CIM 009 clauses 5.5.3 and 6.3.6)."""
    details = problem_details(error)
    headers = [JSON_HEADER]
    wait_s = getattr(error, "retry_after_s", None)
    if wait_s is not None:
        headers.append(("retry-after", str(max(1, round(wait_s)))))
    if isinstance(error, errors.Unauthenticated):
        # RFC 6750 section 3: no error is named to one who sent no token.
        bad = ', error="invalid_token"' if error.is_token_bad else ""
        headers.append(("www-authenticate", f'Bearer realm="madang"{bad}'))
    return Response(details["status"], _dump(details), headers)


def not_routed(status: int, detail: str, allowed: list[str] | None = None) -> Response:
    """Return the answer for a path (404) or a method (405, with Allow) that the hub does not have."""
    name, title = ("ResourceNotFound", "There is no such resource")
    if status == 405:
        name, title = ("OperationNotSupported", "The resource does not have this method")
    headers = [JSON_HEADER]
    if allowed is not None:
        headers.append(("allow", ", ".join(allowed)))
    details = {"type": ERROR_TYPE_ROOT + name, "title": title, "detail": detail, "status": status}
    return Response(status, _dump(details), headers)


def unexpected(error: BaseException) -> Response:
    """Log a fault of the hub once and return a 500 that carries only the id of the log entry.

    The message of the exception is left out of both: it may hold values of persons.
    """
    id = uuid.uuid4().hex
    frames = traceback.extract_tb(error.__traceback__)
    trace = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    _LOG.error("fault %s: %s at %s", id, type(error).__name__, trace)
    details = {
        "type": ERROR_TYPE_ROOT + "InternalError",
        "title": "The hub made a mistake",
        "detail": f"The request could not be carried out; the log of the hub says more under {id}.",
        "status": 500,
        "instance": f"urn:uuid:{uuid.UUID(id)}",
    }
    return Response(500, _dump(details), [JSON_HEADER])


def _row(error: errors.HubError) -> tuple[int, str]:
    for kind in type(error).__mro__:
        row = _TABLE.get(kind)
        if row is not None:
            return row
    return 500, "InternalError"


def _dump(details: dict[str, Json]) -> bytes:
    try:
        return orjson.dumps(details)
    except orjson.JSONEncodeError:
        # A lone surrogate in a detail (from a header, say) must not turn a 400 into a 500.
        clean = {key: _clean(value) for key, value in details.items()}
        return orjson.dumps(clean)


def _clean(value: Json) -> Json:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
