# SPDX-License-Identifier: Apache-2.0
"""Reading `format` and `options`: in which representation the client wants entities (clauses 6.3.7, 6.3.11, 6.3.12)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from madang.base.errors import InvalidRequest
from madang.model.jsonld.render import Format, Representation
from madang.ngsild.media import GEO_JSON, JSON
from madang.ngsild.parameters import Parameters

if TYPE_CHECKING:
    from madang.model.jsonld.context import Context

FORMATS: Final[dict[str, Format]] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
SYS_ATTRS: Final = "sysAttrs"
REPRESENTATION_PARAMETERS: Final = frozenset({"format", "options", "lang", "geometryProperty"})

_PLAIN: Final = Representation()


def read_options(parameters: Parameters, allowed: Collection[str]) -> list[str]:
    """Return the keywords of `options`. Raises: InvalidRequest: one is not among `allowed`."""
    options = parameters.listed("options")
    for option in options:
        if option not in allowed:
            raise InvalidRequest(
                f"The option {option!r:.80} is not supported here; allowed are {', '.join(sorted(allowed)) or 'none'}",
                where="options",
            )
    return options


def read_format(parameters: Parameters, formats: Collection[str], options: Collection[str]) -> str | None:
    """Return the format asked for: that of `format`, else the first one among the (deprecated) options, else None.

    Raises: InvalidRequest: `format` is none of `formats`.
    """
    format = parameters.one_of("format", formats)
    if format is not None:
        return format
    return next((option for option in options if option in formats), None)


def representation(
    parameters: Parameters,
    media: str = JSON,
    context: Context | None = None,
    *,
    body_context: bool = True,
    options: Collection[str] = (),
) -> Representation:
    """Return the representation of entities a request asks for.

    `context` expands the name in `geometryProperty`; `body_context` tells whether a GeoJSON answer holds its @context
    (see `manners.prefers_plain_json`); `options` are keywords the operation knows beside those of representations.

    Raises: InvalidRequest: an unknown format or option.
    """
    geojson = media == GEO_JSON
    if not parameters.values and not geojson:
        return _PLAIN
    given = read_options(parameters, {*FORMATS, SYS_ATTRS, *options})
    format = read_format(parameters, FORMATS, given)
    geometry = parameters.get("geometryProperty")
    return Representation(
        format=FORMATS[format or "normalized"],
        sys_attrs=SYS_ATTRS in given,
        lang=parameters.get("lang"),
        geojson=geojson,
        geometry_property=context.expand(geometry) if geometry and context else geometry or "location",
        body_context=geojson and body_context,
    )
