# SPDX-License-Identifier: Apache-2.0
"""The @context that a Link header names."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from madang.base.errors import BadRequestData, InvalidRequest

CONTEXT_RELATION: Final = "http://www.w3.org/ns/json-ld#context"


@lru_cache(maxsize=1024)
def linked_context(link: str) -> str | None:
    """Return the URL of the @context in a Link header (JSON-LD 1.1 clause 6.2); None when it links something else.

    Raises: BadRequestData: it links more than one @context. InvalidRequest: it is not ASCII (RFC 8288).
    """
    if not link.isascii():
        raise InvalidRequest("The Link header is not ASCII; percent-encode what is in its URLs", where="Link")
    urls = []
    for value in link.split("<")[1:]:
        url, _, rest = value.partition(">")
        for parameter in rest.split(";"):
            name, _, text = parameter.partition("=")
            if name.strip().lower() == "rel" and CONTEXT_RELATION in text.strip(' ,"').split():
                urls.append(url.strip())
    if len(urls) > 1:
        raise BadRequestData("The Link header names more than one @context; allowed is one", where="Link")
    return urls[0] if urls else None
