# SPDX-License-Identifier: Apache-2.0
"""From documents to the bytes of an answer: one entity, a list, or GeoJSON (clauses 5.2.4, 5.2.29, 5.2.30, 6.3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from madang.core.linked import EVERYTHING, View
from madang.model.jsonld.render import Representation, render
from madang.ngsild.manners import GEO_JSON, LD_JSON, answer

if TYPE_CHECKING:
    from madang.model.entity import Document
    from madang.model.jsonld.context import Context
    from madang.wire.http import Response

EMPTY: Final = b"{}"


@dataclass(frozen=True, slots=True)
class Form:
    """In which form entities are wanted.

    `body_context`: whether a GeoJSON answer holds its @context (`Prefer: body=json` moves it into the Link header).
    """

    context: Context
    media: str
    representation: Representation
    view: View = EVERYTHING
    body_context: bool = True

    @property
    def variant(self) -> tuple[str, Representation, View]:
        """Tell entity bytes of this form from all others."""
        return (self.context.key, self.representation, self.view)

    def entity(self, document: Document) -> bytes:
        """Return one entity without its @context; EMPTY when nothing of it is left to show."""
        shown = self.view.show(document)
        return self.shown(shown, document) if shown else EMPTY

    def shown(self, shown: Document, whole: Document) -> bytes:
        """Return a document of which only what is to be shown is there."""
        if self.representation.geojson and "id" not in shown:
            # A Feature has its id whatever is picked (clause 5.2.29).
            shown = {"id": whole["id"], **shown}
        return orjson.dumps(render(shown, self.context, self.representation))

    def one(self, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> Response:
        """Return the answer with a single entity."""
        if self._embeds_context:
            body = _with_member(body, self._context_member)
        return self._answer(200, body, headers)

    def many(self, bodies: Sequence[bytes], headers: Sequence[tuple[str, str]] = (), status: int = 200) -> Response:
        """Return the answer with a list of entities."""
        if self.media == GEO_JSON:
            body = b'{"type":"FeatureCollection","features":[' + b",".join(bodies) + b"]}"
            if self.body_context:
                body = _with_member(body, self._context_member)
        elif self.media == LD_JSON:
            member = self._context_member
            body = b"[" + b",".join([_with_member(body, member) for body in bodies]) + b"]"
        else:
            body = b"[" + b",".join(bodies) + b"]"
        return self._answer(status, body, headers)

    @property
    def _embeds_context(self) -> bool:
        return self.media == LD_JSON or (self.media == GEO_JSON and self.body_context)

    @property
    def _context_member(self) -> bytes:
        return b'"@context":' + orjson.dumps(self.context.source) + b"}"

    def _answer(self, status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> Response:
        return answer(
            status, body, context=self.context, media=self.media, headers=headers, body_context=self.body_context
        )


def _with_member(body: bytes, member: bytes) -> bytes:
    """Return a JSON object with one more member (which brings the closing brace)."""
    return b"{" + member if body == EMPTY else body[:-1] + b"," + member
