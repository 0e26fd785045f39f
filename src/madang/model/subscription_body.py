# SPDX-License-Identifier: Apache-2.0
"""Reads a subscription or a fragment of one (clauses 5.2.12 to 5.2.15, 5.8.1, 5.8.2) into the form that is stored.

The stored form, a *definition*, is JSON: the members as they were given, and beside each member that speaks of names
the canonical name of every term in it (`names`). So a definition means the same for ever, whatever becomes of the
@context it came with, and it can be rendered in the terms of any other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from madang.base.errors import BadRequestData, Unsupported
from madang.base.limits import (
    SUBSCRIPTION_INTERVAL_S_MAX,
    SUBSCRIPTION_LIST_ITEMS_MAX,
    SUBSCRIPTION_TEXT_CHARACTERS_MAX,
)
from madang.base.times import parse_date_time
from madang.model.entity import NGSI_LD_NULL, Json
from madang.model.jsonld.context import Context
from madang.model.jsonld.expand import check_name, check_uri
from madang.model.query import csf, geo, projection, q, regex, scope, types
from madang.model.query.model import TypeSelection
from madang.model.query.names import Names
from madang.model.subscription import (
    DEFAULT_TRIGGERS,
    GEO_JSON_MEDIA,
    JSON_LD_MEDIA,
    JSON_MEDIA,
    TRIGGERS,
    parse_mqtt_address,
)

Definition = dict[str, Any]
Reader = Callable[[Json, str, Context], Json]

FORMATS: Final[dict[str, Literal["normalized", "concise", "simplified"]]] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
JOINS: Final = ("flat", "inline", "@none")
# Tables 5.2.12-2 and 5.2.14.2-1: the hub makes these; a client's are ignored.
_OUTPUT_ONLY: Final = frozenset({"status", "createdAt", "modifiedAt"})
_GEO_MEMBERS: Final[tuple[str, ...]] = ("geometry", "coordinates", "georel", "geoproperty")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")
_GROUPED_TYPES: Final = re.compile(r"\(([^();]*[|,][^();]*)\)")
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_VERSION: Final = re.compile(r"\d{1,4}\.\d{1,4}")
# Headers that frame the message or choose its way; a subscriber must not set them.
_FRAMING: Final = frozenset(
    {
        *("host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te"),
        *("trailer", "expect", "link", "ngsild-tenant", "proxy-connection"),
    }
)


class _Recorder:
    """A context that writes down which canonical name each term was given."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.names: dict[str, str] = {}

    def expand(self, term: str) -> str:
        self.names[term] = name = self._context.expand(term)
        return name

    def __getattr__(self, member: str) -> Any:
        return getattr(self._context, member)


class RecordedContext:
    """The names that a stored member was given, in the place of its context; every other name stands for itself."""

    key = "recorded"
    source: Json = None
    link: str | None = None

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def expand(self, term: str) -> str:
        return self._names.get(term, term)

    def compact(self, name: str) -> str:
        return name

    def expand_value(self, value: Json) -> Json:
        return value

    def compact_value(self, value: Json) -> Json:
        return value

    def iri(self, name: str) -> str:
        return name


def read_subscription(body: Json, context: Context, now_us: int) -> Definition:
    """Return the definition of a subscription to create; "id" is in it only when the body has one.

    Raises: BadRequestData: a rule of clause 5.2.12 is broken. Unsupported: the endpoint's protocol is not spoken here.
    """
    given = _members(body, "", context)
    if given.get("type") != "Subscription":
        raise BadRequestData('A subscription has "type": "Subscription"', where="/type")
    definition: Definition = {}
    if "id" in given:
        definition["id"] = check_uri(given["id"], "/id")
    definition["type"] = "Subscription"
    names: dict[str, dict[str, str]] = {}
    for member, value in given.items():
        _take(member, value, context, definition, names)
    definition["names"] = names
    check_definition(definition, now_us)
    return definition


def read_fragment(body: Json, context: Context) -> Definition:
    """Return the changed members of an update (clause 5.8.2); a member to be removed is None.

    Raises: BadRequestData: a rule of clause 5.2.12 is broken, or a mandatory member is to be removed.
    """
    if not isinstance(body, dict):
        raise BadRequestData("A subscription fragment is a JSON object", where="")
    removed = {name for name, value in body.items() if value is None or value == NGSI_LD_NULL}
    given = _members({name: value for name, value in body.items() if name not in removed}, "", context)
    fragment: Definition = {}
    for member in (_member_name(name, _READERS, context) for name in removed):
        if member in ("id", "type", "notification"):
            raise BadRequestData(f"{member} is mandatory and cannot be removed", where=f"/{member}")
        if member in _READERS:
            fragment[member] = None
    if given.get("type", "Subscription") != "Subscription":
        raise BadRequestData('A subscription has "type": "Subscription"', where="/type")
    if "id" in given:
        fragment["id"] = check_uri(given["id"], "/id")
    names: dict[str, dict[str, str]] = {}
    for member, value in given.items():
        _take(member, value, context, fragment, names)
    fragment["names"] = names
    return fragment


def merge(definition: Definition, fragment: Definition, now_us: int) -> Definition:
    """Return the definition with the fragment's members in the place of its own (clause 5.5.8).

    Raises: BadRequestData: the whole breaks a rule, the id differs, or expiresAt lies in the past.
    """
    if fragment.get("id", definition["id"]) != definition["id"]:
        raise BadRequestData("The id of a subscription cannot be changed", where="/id")
    merged = dict(definition)
    names = dict(definition["names"])
    for member, value in fragment.items():
        if member == "names":
            continue
        names.pop(member, None)
        if value is None:
            merged.pop(member, None)
        else:
            merged[member] = value
    names.update(fragment["names"])
    merged["names"] = names
    check_definition(merged, now_us, expiry="expiresAt" in fragment)
    return merged


def check_definition(definition: Definition, now_us: int, *, expiry: bool = True) -> None:
    """Check the rules that tie several members together (clause 5.2.12, 5.8.1.4).

    Raises: BadRequestData: one is broken.
    """
    local = definition.get("localOnly") is True
    if "notification" not in definition:
        raise BadRequestData("notification with its endpoint is mandatory", where="/notification")
    if "timeInterval" in definition:
        for other in ("watchedAttributes", "throttling"):
            if other in definition:
                raise BadRequestData(f"timeInterval and {other} exclude each other", where=f"/{other}")
        if "entities" not in definition and not local:
            raise BadRequestData("timeInterval needs entities, unless localOnly is true", where="/entities")
    if not local and "entities" not in definition and "watchedAttributes" not in definition:
        raise BadRequestData("One of entities and watchedAttributes is needed, unless localOnly is true", where="")
    if definition.get("localOnly") is False and any(
        selector["type"].strip() == "*" for selector in definition.get("entities", ())
    ):
        raise BadRequestData('type "*" means local scope, so localOnly cannot be false', where="/localOnly")
    if expiry and "expiresAt" in definition and parse_date_time(definition["expiresAt"]) <= now_us:
        raise BadRequestData("expiresAt lies in the past; allowed is a moment to come", where="/expiresAt")


def _take(member: str, value: Json, context: Context, definition: Definition, names: dict[str, dict[str, str]]) -> None:
    reader = _READERS.get(member)
    if reader is None:
        return  # 5.2.12: members that the data type does not have are not kept; output-only ones are ignored
    recorder = _Recorder(context)
    definition[member] = reader(value, f"/{member}", recorder)  # type: ignore[arg-type]
    if recorder.names:
        names[member] = recorder.names


def _members(body: Json, where: str, context: Context, known: Mapping[str, Any] | None = None) -> dict[str, Json]:
    """Return the members by their core names; JSON nulls are dropped, as JSON-LD expansion drops them."""
    if not isinstance(body, dict):
        raise BadRequestData(f"{where or 'A subscription'} is not a JSON object", where=where)
    known = _READERS if known is None else known
    members = {}
    for name, value in body.items():
        if value is None or name == "@context":
            continue
        if value == NGSI_LD_NULL:
            raise BadRequestData(f"{NGSI_LD_NULL} is not allowed here", where=f"{where}/{name}")
        members[_member_name(name, known, context)] = value
    return members


def _member_name(name: str, known: Mapping[str, Any], context: Context) -> str:
    if name in known or name in ("id", "type"):
        return name
    if name in ("@id", "@type"):
        return name[1:]
    return context.expand(name) if ":" in name else name


def _text(value: Json, where: str, _context: Context | None = None) -> str:
    if not isinstance(value, str):
        raise BadRequestData("This is not a string", where=where)
    if len(value) > SUBSCRIPTION_TEXT_CHARACTERS_MAX:
        raise BadRequestData(f"This is longer than {SUBSCRIPTION_TEXT_CHARACTERS_MAX} characters", where=where)
    return value


def _flag(value: Json, where: str, _context: Context | None = None) -> bool:
    if not isinstance(value, bool):
        raise BadRequestData("This is not true or false", where=where)
    return value


def _positive(value: Json, where: str, _context: Context | None = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequestData("This is not a number", where=where)
    if (isinstance(value, float) and not math.isfinite(value)) or not 0 < value <= SUBSCRIPTION_INTERVAL_S_MAX:
        raise BadRequestData(f"This is not above 0 and at most {SUBSCRIPTION_INTERVAL_S_MAX:.0f}", where=where)
    return value


def _texts(value: Json, where: str) -> list[str]:
    """Return a list of strings; one string stands for a list of one, as in compacted JSON-LD."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values:
        raise BadRequestData("This is not a list with at least one string", where=where)
    if len(values) > SUBSCRIPTION_LIST_ITEMS_MAX:
        raise BadRequestData(f"This has more than {SUBSCRIPTION_LIST_ITEMS_MAX} items", where=where)
    return [_text(item, f"{where}/{index}") for index, item in enumerate(values)]


def _names(value: Json, where: str, context: Context) -> list[str]:
    names = _texts(value, where)
    for name in names:
        check_name(name, where)
        context.expand(name)
    return names


def _entities(value: Json, where: str, context: Context) -> list[Json]:
    selectors = [value] if isinstance(value, dict) else value
    if not isinstance(selectors, list) or not selectors:
        raise BadRequestData("entities is not a list with at least one entity selector", where=where)
    if len(selectors) > SUBSCRIPTION_LIST_ITEMS_MAX:
        raise BadRequestData(f"entities has more than {SUBSCRIPTION_LIST_ITEMS_MAX} items", where=where)
    return [_selector(item, f"{where}/{index}", context) for index, item in enumerate(selectors)]


def _selector(value: Json, where: str, context: Context) -> Json:
    given = _members(value, where, context, {"idPattern": None})
    if "type" not in given:
        raise BadRequestData('An entity selector has a type; "*" stands for all', where=f"{where}/type")
    selector: dict[str, Json] = {}
    if "id" in given:
        ids = _texts(given["id"], f"{where}/id")
        for id in ids:
            check_uri(id, f"{where}/id")
        selector["id"] = given["id"]
    if "idPattern" in given:
        selector["idPattern"] = _text(given["idPattern"], f"{where}/idPattern")
        regex.compile(selector["idPattern"], f"{where}/idPattern")
    selector["type"] = _text(given["type"], f"{where}/type")
    if selector["type"].strip() != "*":
        parse_types(selector["type"], context)
    return selector


def parse_types(text: str, names: Names) -> TypeSelection | None:
    """Return the types that a selector means.

    `(A|B)` is not in the grammar of clause 4.17, but the conformance suite subscribes with it, and it has one meaning.
    """
    grouped = _GROUPED_TYPES.fullmatch(text.strip())
    return types.parse(grouped[1] if grouped is not None else text, names)


def _triggers(value: Json, where: str, _context: Context) -> list[str]:
    triggers = _texts(value, where)
    for trigger in triggers:
        if trigger not in TRIGGERS:
            raise BadRequestData(f"{trigger!r:.60} is not one of {', '.join(TRIGGERS)}", where=where)
    return triggers


def _q(value: Json, where: str, context: Context) -> str:
    text = _text(value, where)
    q.parse(decoded(text), context)
    return text


def decoded(text: str) -> str:
    """Return a q as it is meant.

    Clause 4.9 has it percent-encoded in URIs only, but subscribers (and the conformance suite) copy it from there; a
    text in which every % begins an escape is taken for such a one.
    """
    if "%" not in text or _STRAY_PERCENT.search(text) is not None:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _scope_q(value: Json, where: str, _context: Context) -> str:
    text = _text(value, where)
    scope.parse(text)
    return text


def _csf(value: Json, where: str, _context: Context) -> str:
    text = _text(value, where)
    csf.parse(text)
    return text


def _geo_q(value: Json, where: str, context: Context) -> Json:
    given = _members(value, where, context, dict.fromkeys(_GEO_MEMBERS))
    kept: dict[str, Json] = {name: given[name] for name in _GEO_MEMBERS if name in given}
    for name in ("geometry", "georel", "geoproperty"):
        if name in kept:
            _text(kept[name], f"{where}/{name}")
    if geo.parse(kept, context) is None:
        raise BadRequestData("geoQ has no georel, geometry and coordinates, which are mandatory", where=where)
    return kept


def _datasets(value: Json, where: str, _context: Context) -> list[str]:
    datasets = _texts(value, where)
    for dataset in datasets:
        if dataset != "@none":
            check_uri(dataset, where)
    return datasets


def _date_time(value: Json, where: str, _context: Context) -> str:
    parse_date_time(value, where=where)
    return str(value)


def _uri(value: Json, where: str, _context: Context) -> str:
    return check_uri(_text(value, where), where)


def _listed_names(value: Json, where: str, context: Context) -> str:
    text = _text(value, where)
    for name in text.split(","):
        check_name(name.strip(), where)
        context.expand(name.strip())
    return text


def _temporal_q(value: Json, where: str, _context: Context) -> Json:
    if not isinstance(value, dict):
        raise BadRequestData("temporalQ is not a JSON object", where=where)
    return value


def _version(value: Json, where: str, _context: Context) -> str:
    if _VERSION.fullmatch(_text(value, where)) is None:
        raise BadRequestData('ngsildConformance is not of the form "1.8"', where=where)
    return str(value)


def _notification(value: Json, where: str, context: Context) -> Json:
    given = _members(value, where, context, _NOTIFICATION_READERS)
    if "endpoint" not in given:
        raise BadRequestData("notification.endpoint is mandatory", where=f"{where}/endpoint")
    kept = {
        name: _NOTIFICATION_READERS[name](member, f"{where}/{name}", context)
        for name, member in given.items()
        if name in _NOTIFICATION_READERS
    }
    if kept.get("showChanges") and FORMATS[kept.get("format", "normalized")] == "simplified":
        raise BadRequestData("showChanges does not go with the format keyValues", where=f"{where}/showChanges")
    if "attributes" in kept and ("pick" in kept or "omit" in kept):
        raise BadRequestData("attributes excludes pick and omit", where=f"{where}/attributes")
    both = set(kept.get("pick", ())) & set(kept.get("omit", ()))
    if both:
        raise BadRequestData(f"{sorted(both)[0]!r:.80} is in pick and in omit", where=f"{where}/omit")
    parse_projection(kept, context)
    return kept


def parse_projection(notification: Mapping[str, Json], context: Names) -> projection.Projection | None:
    """Return what pick, omit and attributes of a notification leave of an entity; None: everything."""
    if not any(member in notification for member in ("pick", "omit", "attributes")):
        return None
    return projection.parse(
        pick=notification.get("pick"),
        omit=notification.get("omit"),
        attrs=notification.get("attributes"),
        context=context,
    )


def _attributes(value: Json, where: str, context: Context) -> list[str]:
    names = _names(value, where, context)
    for name in names:
        if name in ("id", "type", "scope", "@id", "@type"):
            raise BadRequestData(f"{name} is not allowed in attributes; use pick", where=where)
    return names


def _projected(value: Json, where: str, _context: Context) -> list[str]:
    return _texts(value, where)


def _one_of(allowed: tuple[str, ...]) -> Reader:
    def read(value: Json, where: str, _context: Context) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise BadRequestData(f"{value!r:.60} is not one of {', '.join(allowed)}", where=where)
        return value

    return read


def _join_level(value: Json, where: str, _context: Context) -> int:
    number = _positive(value, where)
    if number != int(number):
        raise BadRequestData("joinLevel is not a whole number", where=where)
    return int(number)


def _endpoint(value: Json, where: str, context: Context) -> Json:
    given = _members(value, where, context, _ENDPOINT_READERS)
    if "uri" not in given:
        raise BadRequestData("endpoint.uri is mandatory", where=f"{where}/uri")
    kept = {
        name: _ENDPOINT_READERS[name](member, f"{where}/{name}", context)
        for name, member in given.items()
        if name in _ENDPOINT_READERS
    }
    scheme = urlsplit(kept["uri"]).scheme.lower()
    if scheme.startswith("mqtt"):
        pairs = tuple((pair["key"], pair["value"]) for pair in kept.get("notifierInfo", ()))
        parse_mqtt_address(kept["uri"], pairs, where=f"{where}/uri")
    else:
        _check_headers(kept.get("receiverInfo", ()), f"{where}/receiverInfo")
    return kept


def _endpoint_uri(value: Json, where: str, _context: Context) -> str:
    uri = check_uri(_text(value, where), where)
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise BadRequestData(f"{uri!r:.200} is not a URI: {error}", where=where) from None
    if parts.scheme.lower() not in ("http", "https", "mqtt", "mqtts"):
        raise Unsupported(f"Notifications go to http, https, mqtt and mqtts, not to {parts.scheme}:", where=where)
    if not host:
        raise BadRequestData(f"{uri!r:.200} names no host", where=where)
    return uri


def _pairs(value: Json, where: str, context: Context) -> list[Json]:
    pairs = [value] if isinstance(value, dict) else value
    if not isinstance(pairs, list) or len(pairs) > SUBSCRIPTION_LIST_ITEMS_MAX:
        raise BadRequestData(f"This is not a list of at most {SUBSCRIPTION_LIST_ITEMS_MAX} pairs", where=where)
    kept = []
    for index, pair in enumerate(pairs):
        given = _members(pair, f"{where}/{index}", context, {"key": None, "value": None})
        if not isinstance(given.get("key"), str) or not isinstance(given.get("value"), str):
            raise BadRequestData("key and value are both mandatory strings", where=f"{where}/{index}")
        kept.append({"key": given["key"], "value": given["value"]})
    return kept


def _check_headers(pairs: list[dict[str, str]] | tuple[()], where: str) -> None:
    """Clause 6.3.8: over HTTP every pair becomes a header, so it must be one that RFC 7230 allows."""
    for pair in pairs:
        key, value = pair["key"], pair["value"]
        if _TOKEN.fullmatch(key) is None or key.lower() in _FRAMING:
            raise BadRequestData(f"{key!r:.80} is not a header that a subscription may set", where=where)
        if _HEADER_VALUE.fullmatch(value) is None:
            raise BadRequestData(f"The value of {key} is not a header value of RFC 7230", where=where)


_ENDPOINT_READERS: Final[dict[str, Reader]] = {
    "uri": _endpoint_uri,
    "accept": _one_of((JSON_MEDIA, JSON_LD_MEDIA, GEO_JSON_MEDIA)),
    "cooldown": _positive,
    "timeout": _positive,
    "receiverInfo": _pairs,
    "notifierInfo": _pairs,
}
_NOTIFICATION_READERS: Final[dict[str, Reader]] = {
    "endpoint": _endpoint,
    "attributes": _attributes,
    "format": _one_of(tuple(FORMATS)),
    "join": _one_of(JOINS),
    "joinLevel": _join_level,
    "omit": _projected,
    "pick": _projected,
    "showChanges": _flag,
    "sysAttrs": _flag,
}
_READERS: Final[dict[str, Reader]] = {
    "subscriptionName": _text,
    "description": _text,
    "entities": _entities,
    "watchedAttributes": _names,
    "notificationTrigger": _triggers,
    "timeInterval": _positive,
    "q": _q,
    "geoQ": _geo_q,
    "scopeQ": _scope_q,
    "temporalQ": _temporal_q,
    "csf": _csf,
    "datasetId": _datasets,
    "expandValues": _listed_names,
    "jsonKeys": _listed_names,
    "isActive": _flag,
    "notification": _notification,
    "expiresAt": _date_time,
    "throttling": _positive,
    "jsonldContext": _uri,
    "lang": _text,
    "localOnly": _flag,
    "ngsildConformance": _version,
    "splitEntities": _flag,
}
__all__ = ["DEFAULT_TRIGGERS", "RecordedContext", "check_definition", "merge", "read_fragment", "read_subscription"]
