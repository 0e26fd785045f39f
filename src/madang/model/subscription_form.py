# SPDX-License-Identifier: Apache-2.0
"""From the stored definition of a subscription to the value that is matched, and back to what a client reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from madang.base.times import format_date_time, parse_date_time
from madang.model.entity import Json, as_list
from madang.model.jsonld.context import Context
from madang.model.query import geo, q, scope
from madang.model.query.model import EntityQuery, EntitySelector
from madang.model.subscription import (
    DEFAULT_TRIGGERS,
    JSON_MEDIA,
    Endpoint,
    NotificationParams,
    Subscription,
    parse_mqtt_address,
)
from madang.model.subscription_body import FORMATS, Definition, RecordedContext, decoded, parse_projection, parse_types

_TYPE_NAME: Final = re.compile(r"[^\s()|;,]+")
_PLAIN_NAME: Final = re.compile(r"[^\s{}|,]+")
_MICROSECONDS: Final = 1_000_000
# 5.8.3: in the order of table 5.2.12-1.
_MEMBERS: Final = (
    *("subscriptionName", "description", "entities", "watchedAttributes", "notificationTrigger", "timeInterval", "q"),
    *("geoQ", "scopeQ", "temporalQ", "csf", "datasetId", "expandValues", "jsonKeys", "isActive", "notification"),
    *("expiresAt", "throttling", "jsonldContext", "lang", "localOnly", "ngsildConformance", "splitEntities"),
)


@dataclass(slots=True)
class Counters:
    """What became of a subscription's notifications (table 5.2.14.2-1); times in microseconds since 1970 UTC."""

    times_sent: int = 0
    times_failed: int = 0
    last_notification_us: int | None = None
    last_success_us: int | None = None
    last_failure_us: int | None = None
    failed: bool = False
    held: Collection[str] = ()  # entities whose change waits for the throttling to end

    def as_json(self) -> dict[str, Json]:
        return {
            "timesSent": self.times_sent,
            "timesFailed": self.times_failed,
            "lastNotification": self.last_notification_us,
            "lastSuccess": self.last_success_us,
            "lastFailure": self.last_failure_us,
            "failed": self.failed,
            "held": list(self.held),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Counters:
        return cls(
            times_sent=data["timesSent"],
            times_failed=data["timesFailed"],
            last_notification_us=data["lastNotification"],
            last_success_us=data["lastSuccess"],
            last_failure_us=data["lastFailure"],
            failed=data["failed"],
            held=tuple(data.get("held", ())),
        )


def build(tenant: str, definition: Definition, *, context_url: str | None, since_us: int) -> Subscription:
    """Return the value to match with; the definition was checked when it was stored."""
    names = definition["names"]

    def recorded(member: str) -> RecordedContext:
        return RecordedContext(names.get(member, {}))

    selectors = tuple(
        selector
        for given in definition.get("entities", ())
        if (selector := _selector(given, recorded("entities"))) is not None
    )
    if len(selectors) < len(definition.get("entities", ())):
        selectors = ()  # one of them chooses every entity
    watched = frozenset(recorded("watchedAttributes").expand(name) for name in definition.get("watchedAttributes", ()))
    node = (
        q.parse(
            decoded(definition["q"]),
            recorded("q"),
            json_keys=_listed(definition, "jsonKeys", recorded),
            expand_values=_listed(definition, "expandValues", recorded),
        )
        if "q" in definition
        else None
    )
    geo_query = geo.parse(definition["geoQ"], recorded("geoQ")) if "geoQ" in definition else None
    scope_query = scope.parse(definition["scopeQ"]) if "scopeQ" in definition else None
    datasets = tuple(definition.get("datasetId", ()))
    return Subscription(
        tenant=tenant,
        id=definition["id"],
        notification=_notification(definition, recorded("notification")),
        context_url=context_url,
        selectors=selectors,
        watched=watched,
        triggers=frozenset(definition.get("notificationTrigger", DEFAULT_TRIGGERS)),
        q=node,
        linked=q.link_depth(node) > 0,
        geo=geo_query,
        scope=scope_query,
        datasets=datasets,
        throttling_us=round(definition.get("throttling", 0) * _MICROSECONDS),
        interval_us=round(definition.get("timeInterval", 0) * _MICROSECONDS),
        expires_us=parse_date_time(definition["expiresAt"]) if "expiresAt" in definition else None,
        active=definition.get("isActive", True),
        since_us=since_us,
        query=EntityQuery(selectors=selectors, q=node, geo=geo_query, scope=scope_query),
        any_type=_any_type(selectors),
    )


def _any_type(selectors: tuple[EntitySelector, ...]) -> frozenset[str] | None:
    names: set[str] = set()
    for selector in selectors:
        if selector.ids or selector.id_pattern is not None or selector.types is None:
            return None
        if any(len(group) > 1 for group in selector.types.any_of):
            return None
        names.update(group[0] for group in selector.types.any_of)
    return frozenset(names) or None


def _listed(definition: Definition, member: str, recorded: Callable[[str], RecordedContext]) -> list[str]:
    return [recorded(member).expand(name.strip()) for name in definition.get(member, "").split(",") if name.strip()]


def _selector(given: Mapping[str, Any], names: RecordedContext) -> EntitySelector | None:
    """Return None for a selector that fits every entity."""
    selection = None if given["type"].strip() == "*" else parse_types(given["type"], names)
    ids = tuple(as_list(given.get("id")))
    pattern = given.get("idPattern") if not ids else None
    if selection is None and not ids and pattern is None:
        return None
    return EntitySelector(ids=ids, id_pattern=pattern, types=selection)


def _notification(definition: Definition, names: RecordedContext) -> NotificationParams:
    given = definition["notification"]
    join = given.get("join", "@none")
    return NotificationParams(
        endpoint=_endpoint(given["endpoint"]),
        format=FORMATS[given.get("format", "normalized")],
        projection=parse_projection(given, names),
        join=None if join == "@none" else join,
        join_level=given.get("joinLevel", 1),
        show_changes=given.get("showChanges", False),
        sys_attrs=given.get("sysAttrs", False),
        lang=definition.get("lang"),
        conformance=_version(definition["ngsildConformance"]) if "ngsildConformance" in definition else None,
    )


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _endpoint(given: Mapping[str, Any]) -> Endpoint:
    uri = given["uri"]
    notifier_info = tuple((pair["key"], pair["value"]) for pair in given.get("notifierInfo", ()))
    mqtt = parse_mqtt_address(uri, notifier_info, where="uri") if uri.lower().startswith("mqtt") else None
    return Endpoint(
        uri=uri,
        accept=given.get("accept", JSON_MEDIA),
        timeout_s=given["timeout"] / 1000 if "timeout" in given else None,
        cooldown_s=given["cooldown"] / 1000 if "cooldown" in given else None,
        receiver_info=tuple((pair["key"], pair["value"]) for pair in given.get("receiverInfo", ())),
        mqtt=mqtt,
    )


def render(
    definition: Definition,
    context: Context,
    counters: Counters,
    *,
    status: str,
    context_url: str | None,
    times: tuple[str, str] | None = None,
) -> dict[str, Json]:
    """Return the subscription in the terms of the request's context (clause 5.8.3).

    `context_url` is the jsonldContext in force when the definition names none; `times` are createdAt and modifiedAt,
    when they are asked for.
    """
    names = definition["names"]
    shown: dict[str, Json] = {"id": definition["id"], "type": "Subscription"}
    for member in _MEMBERS:
        if member in definition:
            renderer = _RENDERERS.get(member)
            value = definition[member]
            shown[member] = renderer(value, names.get(member, {}), context) if renderer is not None else value
        elif member == "notificationTrigger":
            shown[member] = list(DEFAULT_TRIGGERS)
        elif member == "jsonldContext" and context_url is not None:
            shown[member] = context_url
    shown["notification"] = {**shown["notification"], **_shown_counters(counters)}
    shown["status"] = status
    if times is not None:
        shown["createdAt"], shown["modifiedAt"] = times
    return shown


def _shown_counters(counters: Counters) -> dict[str, Json]:
    shown: dict[str, Json] = {}
    if counters.times_sent:
        shown["status"] = "failed" if counters.failed else "ok"
        shown["timesSent"] = counters.times_sent
    if counters.times_failed:
        shown["timesFailed"] = counters.times_failed
    for member, moment_us in (
        ("lastNotification", counters.last_notification_us),
        ("lastFailure", counters.last_failure_us),
        ("lastSuccess", counters.last_success_us),
    ):
        if moment_us is not None:
            shown[member] = format_date_time(moment_us)
    return shown


def _term(term: str, names: Mapping[str, str], context: Context) -> str:
    name = names.get(term)
    return term if name is None else context.compact(name)


def _render_entities(value: Json, names: Mapping[str, str], context: Context) -> Json:
    return [
        {**selector, "type": _TYPE_NAME.sub(lambda found: _term(found[0], names, context), selector["type"])}
        for selector in value
    ]


def _render_names(value: Json, names: Mapping[str, str], context: Context) -> Json:
    return [_term(term, names, context) for term in value]


def _render_listed(value: Json, names: Mapping[str, str], context: Context) -> Json:
    return ",".join(_term(term.strip(), names, context) for term in value.split(","))


def _render_q(value: Json, names: Mapping[str, str], context: Context) -> Json:
    if all(context.compact(name) == term for term, name in names.items()):
        return value
    return q.render(q.parse(decoded(value), RecordedContext(names)), context)


def _render_geo_q(value: Json, names: Mapping[str, str], context: Context) -> Json:
    if "geoproperty" not in value:
        return value
    return {**value, "geoproperty": _term(value["geoproperty"], names, context)}


def _render_notification(value: Json, names: Mapping[str, str], context: Context) -> Json:
    shown = dict(value)
    for member in ("attributes", "pick", "omit"):
        if member in shown:
            shown[member] = [
                _term(item, names, context) if _PLAIN_NAME.fullmatch(item) else item for item in shown[member]
            ]
    return shown


_RENDERERS: Final[dict[str, Callable[[Json, Mapping[str, str], Context], Json]]] = {
    "entities": _render_entities,
    "watchedAttributes": _render_names,
    "expandValues": _render_listed,
    "jsonKeys": _render_listed,
    "q": _render_q,
    "geoQ": _render_geo_q,
    "notification": _render_notification,
}
