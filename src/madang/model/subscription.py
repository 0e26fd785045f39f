# SPDX-License-Identifier: Apache-2.0
"""What a subscription says (ETSI CIM 009 clauses 5.2.12 to 5.2.15), as frozen values with canonical names inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from madang.base.errors import BadRequestData
from madang.model.query.model import EntityQuery, EntitySelector

JSON_MEDIA: Final = "application/json"
JSON_LD_MEDIA: Final = "application/ld+json"
GEO_JSON_MEDIA: Final = "application/geo+json"

ATTRIBUTE_CREATED: Final = "attributeCreated"
ATTRIBUTE_UPDATED: Final = "attributeUpdated"
ATTRIBUTE_DELETED: Final = "attributeDeleted"
ENTITY_CREATED: Final = "entityCreated"
ENTITY_UPDATED: Final = "entityUpdated"
ENTITY_DELETED: Final = "entityDeleted"
TRIGGERS: Final = (
    *(ENTITY_CREATED, ENTITY_UPDATED, ENTITY_DELETED),
    *(ATTRIBUTE_CREATED, ATTRIBUTE_UPDATED, ATTRIBUTE_DELETED),
)
DEFAULT_TRIGGERS: Final = (ATTRIBUTE_CREATED, ATTRIBUTE_UPDATED)

_MQTT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_MQTT_VERSIONS: Final = ("mqtt3.1.1", "mqtt5.0")


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where and how an MQTT notification goes (clause 7.2)."""

    host: str
    port: int
    topic: str
    tls: bool = False
    username: str | None = None
    password: str | None = None
    version: str = "mqtt5.0"
    qos: int = 0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who receives the notifications (clause 5.2.15). Times in seconds."""

    uri: str
    accept: str = JSON_MEDIA
    timeout_s: float | None = None
    cooldown_s: float | None = None
    receiver_info: tuple[tuple[str, str], ...] = ()
    mqtt: MqttAddress | None = None  # None: HTTP

    @property
    def context_in_link(self) -> bool:
        """Tell whether the @context travels in a Link header rather than in the body (clause 6.3.8)."""
        if self.accept == GEO_JSON_MEDIA:
            return any(
                key.lower() == "prefer" and value.replace(" ", "") == "body=json" for key, value in self.receiver_info
            )
        return self.accept == JSON_MEDIA


@dataclass(frozen=True, slots=True)
class NotificationParams:
    """How a notification looks (clause 5.2.14)."""

    endpoint: Endpoint
    format: Literal["normalized", "concise", "simplified"] = "normalized"
    projection: Any = None  # madang.model.query.projection.Projection; None: everything
    join: Literal["flat", "inline"] | None = None
    join_level: int = 1
    show_changes: bool = False
    sys_attrs: bool = False
    lang: str | None = None
    conformance: tuple[int, int] | None = None  # ngsildConformance: major, minor


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription, ready for matching. Equal ids of different tenants are different subscriptions."""

    tenant: str
    id: str
    notification: NotificationParams
    context_url: str | None  # jsonldContext; None: the core context
    selectors: tuple[EntitySelector, ...] = ()
    watched: frozenset[str] = frozenset()  # empty: every attribute
    triggers: frozenset[str] = frozenset(DEFAULT_TRIGGERS)
    q: Any = None
    linked: bool = False  # q looks at entities that relationships lead to
    geo: Any = None
    scope: Any = None
    datasets: tuple[str, ...] = ()
    throttling_us: int = 0
    interval_us: int = 0  # timeInterval; 0: notified by changes
    expires_us: int | None = None
    active: bool = True
    since_us: int = 0  # changes before it are none of its business
    query: EntityQuery = field(default_factory=EntityQuery)  # the same conditions as a question to the store
    # When any one of these types is all that the selectors ask for: they, else None.
    any_type: frozenset[str] | None = None
    # Worked out from the others, as they are asked for with every change:
    key: tuple[str, str] = field(init=False, compare=False)  # tenant, id
    unconditional: bool = field(init=False, compare=False)  # neither q nor geoQ nor scopeQ
    on_created: bool = field(init=False, compare=False)  # what is listened for: attributes that come into being,
    on_updated: bool = field(init=False, compare=False)  # that get another value,
    on_deleted: bool = field(init=False, compare=False)  # that go

    def __post_init__(self) -> None:
        put, triggers = object.__setattr__, self.triggers
        put(self, "key", (self.tenant, self.id))
        put(self, "unconditional", self.q is None and self.geo is None and self.scope is None)
        updates = ENTITY_UPDATED in triggers
        put(self, "on_created", updates or ATTRIBUTE_CREATED in triggers)
        put(self, "on_updated", updates or ATTRIBUTE_UPDATED in triggers)
        put(self, "on_deleted", updates or ATTRIBUTE_DELETED in triggers)

    def is_active(self, now_us: int) -> bool:
        return self.active and (self.expires_us is None or self.expires_us > now_us)

    def status(self, now_us: int) -> str:
        """Return "active", "paused" or "expired" (clause 5.8.1.4)."""
        if self.expires_us is not None and self.expires_us <= now_us:
            return "expired"
        return "active" if self.active else "paused"


def parse_mqtt_address(uri: str, notifier_info: tuple[tuple[str, str], ...], *, where: str) -> MqttAddress:
    """Read mqtt[s]://[user][:password]@host[:port]/topic[/subtopic]* and the notifierInfo of clause 7.2.

    Raises: BadRequestData: no host, no topic, a wildcard in the topic, or an unknown version or quality of service.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadRequestData(f"{uri!r:.200} is not an MQTT address: {error}", where=where) from None
    topic = unquote(uri.partition("://")[2].partition("/")[2])
    if not host or not topic or any(sign in topic for sign in "+#\0"):
        raise BadRequestData(
            f"{uri!r:.200} is not an MQTT address; allowed is mqtt[s]://[user[:password]@]host[:port]/topic "
            "with a topic without wildcards",
            where=where,
        )
    settings = dict(notifier_info)
    version = settings.get("MQTT-Version", "mqtt5.0")
    if version not in _MQTT_VERSIONS:
        raise BadRequestData(f"MQTT-Version {version!r:.40} is not one of {', '.join(_MQTT_VERSIONS)}", where=where)
    qos = settings.get("MQTT-QoS", "0")
    if qos not in ("0", "1", "2"):
        raise BadRequestData(f"MQTT-QoS {qos!r:.40} is not one of 0, 1, 2", where=where)
    return MqttAddress(
        host=host,
        port=port or _MQTT_PORTS[parts.scheme.lower()],
        topic=topic,
        tls=parts.scheme.lower() == "mqtts",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password is not None else None,
        version=version,
        qos=int(qos),
    )
