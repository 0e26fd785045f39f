# SPDX-License-Identifier: Apache-2.0
"""Reading, changing and showing subscriptions (clauses 5.2.12 to 5.2.15, 5.8.1, 5.8.2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.errors import InvalidInput, LimitExceeded, Unsupported
from madang.base.times import parse_date_time
from madang.model.jsonld.context import CORE, compile_context
from madang.model.subscription_body import merge, read_fragment, read_subscription
from madang.model.subscription_form import Counters, build, render

NOW = parse_date_time("2026-01-31T08:00:00Z")
CITY = compile_context("city", {"Station": "https://example.org/Station", "pm10": "https://example.org/pm10"}, {})


def body(**more: Any) -> dict[str, Any]:
    return {
        "type": "Subscription",
        "id": "urn:ngsi-ld:Subscription:1",
        "entities": [{"type": "Station"}],
        "notification": {"endpoint": {"uri": "http://example.org/notify"}},
        **more,
    }


def note(**more: Any) -> dict[str, Any]:
    return {"endpoint": {"uri": "http://example.org/notify"}, **more}


def endpoint(**more: Any) -> dict[str, Any]:
    return {"endpoint": {"uri": "http://example.org/notify", **more}}


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "Sub"},
        {"id": "no uri"},
        {"id": ""},
        {"id": 7},
        {"entities": []},
        {"entities": "Station"},
        {"entities": [{"id": "urn:a:b"}]},
        {"entities": [{"type": ""}]},
        {"entities": [{"type": 7}]},
        {"entities": [{"type": "A", "id": "no uri"}]},
        {"entities": [{"type": "A", "id": []}]},
        {"entities": [{"type": "A", "idPattern": "("}]},
        {"entities": [{"type": "A;"}]},
        {"watchedAttributes": []},
        {"watchedAttributes": [7]},
        {"watchedAttributes": ["a b"]},
        {"notificationTrigger": ["entityChanged"]},
        {"notificationTrigger": []},
        {"q": "(("},
        {"q": 7},
        {"csf": "(("},
        {"scopeQ": "##"},
        {"geoQ": {}},
        {"geoQ": {"georel": "near", "geometry": "Point", "coordinates": [1, 2]}},
        {"geoQ": "near"},
        {"datasetId": ["no uri"]},
        {"isActive": "true"},
        {"isActive": 1},
        {"throttling": 0},
        {"throttling": -30},
        {"throttling": True},
        {"throttling": float("inf")},
        {"throttling": 1e300},
        {"timeInterval": 10, "throttling": 5},
        {"timeInterval": 10, "watchedAttributes": ["a"]},
        {"timeInterval": "10"},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"expiresAt": "tomorrow"},
        {"jsonldContext": "unknownContext"},
        {"ngsildConformance": "latest"},
        {"localOnly": False, "entities": [{"type": "*"}]},
        {"notification": {}},
        {"notification": []},
        {"notification": {"format": "keyValues"}},
        {"notification": {"endpoint": {}}},
        {"notification": endpoint(uri="nothing")},
        {"notification": endpoint(uri="http://")},
        {"notification": endpoint(uri="http://host:99999/")},
        {"notification": endpoint(accept="text/html")},
        {"notification": endpoint(cooldown=0)},
        {"notification": endpoint(timeout="5")},
        {"notification": endpoint(receiverInfo=[{"key": "K"}])},
        {"notification": endpoint(receiverInfo=[{"key": "K", "value": 42}])},
        {"notification": endpoint(receiverInfo=[{"key": "K:", "value": "v"}])},
        {"notification": endpoint(receiverInfo=[{"key": "K", "value": "a\r\nX: b"}])},
        {"notification": endpoint(receiverInfo=[{"key": "Content-Length", "value": "0"}])},
        {"notification": endpoint(uri="mqtt://host")},
        {"notification": endpoint(uri="mqtt://host/a/#")},
        {"notification": endpoint(uri="mqtt://host/t", notifierInfo=[{"key": "MQTT-QoS", "value": "3"}])},
        {"notification": endpoint(uri="mqtt://host/t", notifierInfo=[{"key": "MQTT-Version", "value": "4"}])},
        {"notification": note(format="keyValues", showChanges=True)},
        {"notification": note(format="simplified", showChanges=True)},
        {"notification": note(format="xml")},
        {"notification": note(attributes=[])},
        {"notification": note(attributes=["id"])},
        {"notification": note(pick=[])},
        {"notification": note(pick=["a"], attributes=["b"])},
        {"notification": note(pick=["a"], omit=["a"])},
        {"notification": note(join="deep")},
        {"notification": note(join="flat", joinLevel=0)},
        {"notification": note(join="flat", joinLevel=1.5)},
        {"notification": note(sysAttrs="true")},
        {"q": "urn:ngsi-ld:null"},
        {"entities": None},
        {"notification": None},
    ],
)
def test_what_breaks_a_rule_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_subscription(body(**changed), CORE, NOW)
    assert caught.value.detail


def test_an_endpoint_of_another_protocol_is_not_supported() -> None:
    with pytest.raises(Unsupported):
        read_subscription(body(notification=endpoint(uri="ftp://example.org/x")), CORE, NOW)


def test_unknown_and_output_only_members_and_nulls_are_not_kept() -> None:
    definition = read_subscription(
        body(
            __context="http://example.org/x",
            status="expired",
            description=None,
            notification=note(timesSent=42, status="failed"),
        ),
        CORE,
        NOW,
    )
    assert set(definition) == {"id", "type", "entities", "notification", "names"}
    assert set(definition["notification"]) == {"endpoint"}


def test_a_subscription_means_the_same_in_every_context() -> None:
    definition = read_subscription(
        body(
            entities=[{"type": "(Station|Tower)"}],
            watchedAttributes=["pm10"],
            q='pm10>50;https://example.org/pm10<90;name=="a"',
            notification=note(pick=["id", "pm10"]),
            geoQ={"georel": "within", "geometry": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
        ),
        CITY,
        NOW,
    )
    subscription = build("", definition, context_url=None, since_us=NOW)
    assert subscription.watched == {"https://example.org/pm10"}
    assert subscription.selectors[0].types is not None
    assert subscription.selectors[0].types.any_of == (("https://example.org/Station",), ("Tower",))

    own = render(definition, CITY, Counters(), status="active", context_url="http://c")
    assert own["entities"] == [{"type": "(Station|Tower)"}]
    assert own["watchedAttributes"] == ["pm10"]
    assert own["notificationTrigger"] == ["attributeCreated", "attributeUpdated"]
    assert own["jsonldContext"] == "http://c"
    assert own["status"] == "active"
    assert "names" not in own
    assert set(own["notification"]) == {"endpoint", "pick"}

    other = render(definition, CORE, Counters(), status="active", context_url=None)
    assert other["entities"] == [{"type": "(https://example.org/Station|Tower)"}]
    assert other["watchedAttributes"] == ["https://example.org/pm10"]
    assert other["notification"]["pick"] == ["id", "https://example.org/pm10"]
    again = build("", read_subscription(other, CORE, NOW), context_url=None, since_us=NOW)
    assert again == subscription


def test_counters_are_shown_only_when_something_was_sent() -> None:
    definition = read_subscription(body(), CORE, NOW)
    counters = Counters(times_sent=2, times_failed=1, last_notification_us=NOW, last_success_us=NOW)
    shown = render(definition, CORE, counters, status="active", context_url=None)["notification"]
    assert shown == {
        "endpoint": {"uri": "http://example.org/notify"},
        "status": "ok",
        "timesSent": 2,
        "timesFailed": 1,
        "lastNotification": "2026-01-31T08:00:00Z",
        "lastSuccess": "2026-01-31T08:00:00Z",
    }
    assert Counters.from_json(counters.as_json()) == counters


def test_a_fragment_replaces_adds_and_removes_members() -> None:
    definition = read_subscription(body(throttling=5, watchedAttributes=["pm10"]), CITY, NOW)
    fragment = read_fragment(
        {"type": "Subscription", "throttling": None, "watchedAttributes": ["pm10"], "q": "pm10>1"}, CORE
    )
    merged = merge(definition, fragment, NOW)
    assert "throttling" not in merged
    after = build("", merged, context_url=None, since_us=NOW)
    assert after.watched == {"pm10"}, "the fragment's context, not that of the subscription, gives its names"
    assert definition["throttling"] == 5, "the old definition stays as it is"
    assert "q" not in merge(merged, read_fragment({"q": "urn:ngsi-ld:null"}, CORE), NOW)


@pytest.mark.parametrize(
    "fragment",
    [
        [],
        {"type": "Other"},
        {"id": "urn:ngsi-ld:Subscription:2"},
        {"notification": None},
        {"type": None},
        {"notification": {"format": "keyValues"}},
        {"notification": {"format": "keyValues", "endpoint": None}},
        {"expiresAt": "2020-08-01T22:07:00Z"},
        {"timeInterval": 5, "watchedAttributes": ["a"]},
        {"entities": None},
    ],
)
def test_a_fragment_that_breaks_a_rule_is_refused(fragment: Any) -> None:
    definition = read_subscription(body(), CORE, NOW)
    with pytest.raises(InvalidInput):
        merge(definition, read_fragment(fragment, CORE), NOW)


@pytest.mark.parametrize(
    ("uri", "info", "expected"),
    [
        ("mqtt://h/t", [], ("h", 1883, "t", False, None, None, "mqtt5.0", 0)),
        ("mqtts://h/t/u", [], ("h", 8883, "t/u", True, None, None, "mqtt5.0", 0)),
        (
            "mqtt://u:p@h:18/t",
            [{"key": "MQTT-Version", "value": "mqtt3.1.1"}, {"key": "MQTT-QoS", "value": "2"}],
            ("h", 18, "t", False, "u", "p", "mqtt3.1.1", 2),
        ),
        ("mqtt://u@h/t", [], ("h", 1883, "t", False, "u", None, "mqtt5.0", 0)),
        ("mqtt://u%40x:p%2F@h/t", [], ("h", 1883, "t", False, "u@x", "p/", "mqtt5.0", 0)),
    ],
)
def test_mqtt_addresses(uri: str, info: list[dict[str, str]], expected: tuple[Any, ...]) -> None:
    definition = read_subscription(body(notification=endpoint(uri=uri, notifierInfo=info)), CORE, NOW)
    address = build("", definition, context_url=None, since_us=NOW).notification.endpoint.mqtt
    assert address is not None
    names = ("host", "port", "topic", "tls", "username", "password", "version", "qos")
    assert tuple(getattr(address, name) for name in names) == expected


@pytest.mark.parametrize(
    ("given_q", "meant"),
    [
        ('name=="Eiffel%20Tower"', "Eiffel Tower"),
        ('name=="100%"', "100%"),
        ('name=="%ff"', "%ff"),
        ('name=="a b"', "a b"),
    ],
)
def test_a_percent_encoded_q_is_understood(given_q: str, meant: str) -> None:
    definition = read_subscription(body(q=given_q), CORE, NOW)
    subscription = build("", definition, context_url=None, since_us=NOW)
    assert subscription.q.value[0].value == meant
    assert render(definition, CORE, Counters(), status="active", context_url=None)["q"] == given_q


def test_status() -> None:
    def status(**more: Any) -> str:
        definition = read_subscription(body(**more), CORE, NOW)
        return build("", definition, context_url=None, since_us=NOW).status(NOW + 2_000_000)

    assert status() == "active"
    assert status(isActive=False) == "paused"
    assert status(expiresAt="2026-01-31T08:00:01Z") == "expired"
    assert status(expiresAt="2026-01-31T08:00:09Z") == "active"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = (
    *("id", "type", "entities", "watchedAttributes", "notificationTrigger", "timeInterval", "q", "geoQ", "scopeQ"),
    *("temporalQ", "csf", "datasetId", "expandValues", "jsonKeys", "isActive", "notification", "expiresAt"),
    *("throttling", "jsonldContext", "lang", "localOnly", "ngsildConformance", "splitEntities", "description"),
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS), JSON_VALUES, max_size=4))
def test_whatever_comes_is_read_or_refused(changed: dict[str, Any]) -> None:
    try:
        definition = read_subscription(body(**changed), CORE, NOW)
    except (InvalidInput, LimitExceeded, Unsupported):
        return
    definition.setdefault("id", "urn:a:b")
    build("", definition, context_url=None, since_us=NOW)
    render(definition, CITY, Counters(), status="active", context_url=None)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(("endpoint", "attributes", "format", "join", "joinLevel", "omit", "pick", "showChanges")),
        JSON_VALUES,
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from(("uri", "accept", "cooldown", "timeout", "receiverInfo", "notifierInfo")),
        JSON_VALUES,
        max_size=3,
    ),
)
def test_whatever_notification_comes_is_read_or_refused(params: dict[str, Any], receiver: dict[str, Any]) -> None:
    try:
        read_subscription(body(notification={**endpoint(**receiver), **params}), CORE, NOW)
    except (InvalidInput, LimitExceeded, Unsupported):
        return
