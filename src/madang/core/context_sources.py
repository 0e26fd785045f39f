# SPDX-License-Identifier: Apache-2.0
"""What a caller gave as @context, looked at without meaning: its shape and the URLs in it."""

from __future__ import annotations

from urllib.parse import urljoin

from madang.base.errors import BadRequestData
from madang.core.addresses import split_url
from madang.model.entity import Json
from madang.model.jsonld.core_context import core_version


def check_source(source: Json, *, where: str = "@context") -> None:
    """Refuse what cannot be a @context. Raises: BadRequestData."""
    for item in source if isinstance(source, list) else (source,):
        if isinstance(item, str):
            split_url(item, where=where)
        elif item is not None and not isinstance(item, dict):
            raise BadRequestData(
                f"{item!r:.60} cannot be a @context; allowed is a URL, an object, an array of these, or null",
                where=where,
            )


def urls_of(source: Json, base: str = "") -> set[str]:
    """Return the absolute URLs of the documents that a source names; `base` is the URL of the source itself."""
    found: set[str] = set()
    for item in source if isinstance(source, list) else (source,):
        reference = item.get("@import") if isinstance(item, dict) else item
        if isinstance(reference, str):
            found.add(_joined(base, reference))
    return found


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference)
    except ValueError:
        raise BadRequestData(f"{reference!r:.100} in a @context is not a URL", where="@context") from None


def core_only(source: Json) -> bool:
    """Tell whether nothing but core contexts is named."""
    return all(
        item is None or (isinstance(item, str) and core_version(item) is not None) or item == {}
        for item in (source if isinstance(source, list) else (source,))
    )


def single_url(source: Json) -> str | None:
    """Return the one URL the source comes down to, the implicit core context put aside; None when it is more."""
    rest = [item for item in (source if isinstance(source, list) else (source,)) if not core_only(item)]
    return rest[0] if len(rest) == 1 and isinstance(rest[0], str) else None
