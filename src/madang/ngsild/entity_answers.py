# SPDX-License-Identifier: Apache-2.0
"""From documents to the bytes of an answer: one entity, a list, or GeoJSON (clauses 5.2.4, 5.2.29, 5.2.30, 6.3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

from madang.base.limits import QUERY_PLANS_MAX
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
    def variant(self) -> object:
        """Stand for entity bytes of this form, in a way that is quick to look up."""
        return _variant(self.context.key, self.representation, self.view)

    def entity(self, document: Document) -> bytes:
        """Return one entity without its @context; EMPTY when nothing of it is left to show."""
        shown = self.view.show(document)
        if not shown:
            return EMPTY
        if self.representation.geojson and "id" not in shown:
            # A Feature has its id whatever is picked (clause 5.2.29).
            shown = {"id": document["id"], **shown}
        return self.shown(shown)

    def shown(self, document: Document) -> bytes:
        """Return a document in which there is only what is to be shown."""
        return orjson.dumps(render(document, self.context, self.representation))

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


@lru_cache(maxsize=QUERY_PLANS_MAX)
def _variant(context_key: str, representation: Representation, view: View) -> object:
    """Return one object for equal forms: its hash is its address, where theirs goes through all their parts."""
    del context_key, representation, view
    return object()


def _with_member(body: bytes, member: bytes) -> bytes:
    """Return a JSON object with one more member (which brings the closing brace)."""
    return b"{" + member if body == EMPTY else body[:-1] + b"," + member
