# SPDX-License-Identifier: Apache-2.0
"""Media types of the NGSI-LD face: which one a request's Accept header selects, and how a body's type is read."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from madang.wire.http import Request, Response
from madang.wire.problems import ERROR_TYPE_ROOT, JSON_HEADER, Refusal

JSON: Final = "application/json"
LD_JSON: Final = "application/ld+json"
GEO_JSON: Final = "application/geo+json"
MERGE_PATCH_JSON: Final = "application/merge-patch+json"


def negotiate(request: Request, offered: tuple[str, ...] = (JSON, LD_JSON)) -> str:
    """Return the media type of the answer (ETSI CIM 009 clause 6.3.4, RFC 9110 clause 12.5.1).

    `offered` is what the operation can give; the order of clause 6.3.4 (JSON, LD_JSON, GEO_JSON) breaks ties.

    Raises: Refusal: a 406 whose body lists what is offered.
    """
    accept = request.header("accept")
    if accept is None or accept == JSON or accept == "*/*":
        return offered[0]
    chosen = _choose(accept, offered)
    if chosen is None:
        raise Refusal(_not_acceptable(accept, offered))
    return chosen


@lru_cache(maxsize=1024)
def _choose(accept: str, offered: tuple[str, ...]) -> str | None:
    ranges = [_range(text) for text in accept.split(",") if text.strip()]
    if not ranges:
        return offered[0]
    best, best_weight = None, 0.0
    for media in offered:
        # The most specific range that covers the type gives its weight, so that "json;q=0, */*" refuses JSON.
        covering = [item for item in ranges if item.name in (media, "application/*", "*/*")]
        weight = max(covering, key=lambda item: item.specificity).weight if covering else 0.0
        if weight > best_weight:
            best, best_weight = media, weight
    return best


class _Range(NamedTuple):
    name: str
    weight: float

    @property
    def specificity(self) -> int:
        return 0 if self.name == "*/*" else 1 if self.name.endswith("/*") else 2


def _range(text: str) -> _Range:
    name, *parameters = (part.strip() for part in text.split(";"))
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            weight = _weight(value.strip())
    return _Range(name.lower(), weight)


def _weight(text: str) -> float:
    """Return the weight of a range; one that cannot be read counts as not given."""
    try:
        weight = float(text)
    except ValueError:
        return 1.0
    return weight if 0.0 <= weight <= 1.0 else 1.0


def _not_acceptable(accept: str, offered: tuple[str, ...]) -> Response:
    body = {
        "type": ERROR_TYPE_ROOT + "InvalidRequest",
        "title": "None of the acceptable media types is available",
        "detail": f"Accept {accept!r:.200} allows none of {', '.join(offered)}",
        "status": 406,
        "availableRepresentations": list(offered),
    }
    return Response(406, orjson.dumps(body), [JSON_HEADER])


def content_type_of(request: Request, *, patch: bool = False) -> str:
    """Return JSON or LD_JSON for the body of a request (clause 6.3.4).

    Raises: Refusal: a bare 415 for any other type; application/merge-patch+json is JSON when `patch`.
    """
    declared = request.header("content-type")
    if declared in (JSON, LD_JSON):
        return declared
    name = (declared or "").partition(";")[0].strip().lower()
    if name in (JSON, LD_JSON):
        return name
    if patch and name == MERGE_PATCH_JSON:
        return JSON
    raise Refusal(Response(415))
