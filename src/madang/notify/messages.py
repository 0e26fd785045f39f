# SPDX-License-Identifier: Apache-2.0
"""Notification messages as bytes (clauses 5.3.1, 6.3.8, 7.2): what is the same for every message is made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from madang.model.conformance import NATIVE, amend
from madang.model.entity import Document, Json
from madang.model.jsonld.context import Context
from madang.model.jsonld.render import Representation, render
from madang.model.subscription import GEO_JSON_MEDIA, JSON_LD_MEDIA, Subscription

_CONTEXT_LINK: Final = '<{}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'


@dataclass(frozen=True, slots=True)
class Form:
    """How the messages of one subscription look; `context_url` is what the receiver is told to read them with."""

    subscription: Subscription
    context_url: str
    headers: bytes  # complete header lines for HTTP
    metadata: bytes  # the same for MQTT, as a JSON object
    opening: bytes
    middle: bytes
    closing: bytes

    @classmethod
    def of(cls, subscription: Subscription, context_url: str, tenant: str, snapshot: str | None) -> Form:
        """Return the form; tenant and snapshot are those that the subscriber knows of (clauses 6.3.14, 6.3.22)."""
        endpoint = subscription.notification.endpoint
        pairs = [("Content-Type", endpoint.accept)]
        if endpoint.context_in_link:
            pairs.append(("Link", _CONTEXT_LINK.format(context_url)))
        if tenant:
            pairs.append(("NGSILD-Tenant", tenant))
        if snapshot is not None:
            pairs.append(("NGSILD-Snapshot", snapshot))
        pairs += endpoint.receiver_info
        headers = "".join(f"{key}: {value}\r\n" for key, value in pairs if endpoint.mqtt is None)
        opening, closing = b"[", b"]}"
        if endpoint.accept == GEO_JSON_MEDIA:
            opening = b'{"type":"FeatureCollection","features":['
            closing = b"]}}" if endpoint.context_in_link else b'],"@context":' + orjson.dumps(context_url) + b"}}"
        return cls(
            subscription=subscription,
            context_url=context_url,
            headers=headers.encode("utf-8"),
            metadata=orjson.dumps(dict(pairs)),
            opening=b',"type":"Notification","subscriptionId":' + orjson.dumps(subscription.id) + b',"notifiedAt":"',
            middle=b'","data":' + opening,
            closing=closing,
        )

    def body(self, name: str, entities: Sequence[bytes], notified_at: str) -> bytes:
        """Return a notification (clause 5.3.1) about rendered entities; its name is unique."""
        return b"".join(
            (
                b'{"id":"urn:ngsi-ld:Notification:',
                name.encode("ascii"),
                b'"',
                self.opening,
                notified_at.encode("ascii"),
                self.middle,
                b",".join(entities),
                self.closing,
            )
        )

    def mqtt_message(self, body: bytes) -> bytes:
        """Return what is published: all that HTTP puts into headers stands beside the notification (clause 7.2)."""
        return b'{"metadata":' + self.metadata + b',"body":' + body + b"}"


def representation_of(subscription: Subscription) -> Representation:
    """Return how the subscription wants its entities."""
    params = subscription.notification
    return Representation(
        format=params.format,
        sys_attrs=params.sys_attrs,
        lang=params.lang,
        geojson=params.endpoint.accept == GEO_JSON_MEDIA,
        body_context=False,
    )


def entity_bytes(document: Document, context: Context, form: Form, representation: Representation) -> bytes:
    """Return one entity as it stands in the data of a notification."""
    shown: dict[str, Json] = render(document, context, representation)
    if "deletedAt" in document and not representation.sys_attrs:
        # 5.8.6: of a deleted entity the time is told even to those who did not ask for system attributes.
        holder = shown["properties"] if representation.geojson else shown
        holder["deletedAt"] = document["deletedAt"]
    version = form.subscription.notification.conformance
    if version is not None and version < NATIVE:
        shown = amend(shown, version)
    if form.subscription.notification.endpoint.accept == JSON_LD_MEDIA:
        shown["@context"] = form.context_url
    return orjson.dumps(shown)
