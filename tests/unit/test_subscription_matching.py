# SPDX-License-Identifier: Apache-2.0
"""Which changes concern which subscriptions, and what subscribers are told (clauses 5.2.12, 5.2.14, 5.8.6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.times import parse_date_time
from madang.model import patch
from madang.model.change import Change, EntityCommit, Operation, creation_changes
from madang.model.entity import Document
from madang.model.jsonld.context import CORE
from madang.model.subscription import TRIGGERS, Subscription
from madang.model.subscription_body import read_subscription
from madang.model.subscription_form import build
from madang.model.subscription_matching import delta_of, matches
from madang.model.subscription_notice import notice_of, project
from madang.notify.index import SubscriptionIndex

NOW = parse_date_time("2026-01-31T08:00:00Z")
T0, T1 = "2026-01-31T07:00:00Z", "2026-01-31T08:00:01Z"
ID = "urn:ngsi-ld:Station:1"


def subscription(number: int = 1, **more: Any) -> Subscription:
    body = {
        "type": "Subscription",
        "id": f"urn:ngsi-ld:Subscription:{number}",
        "entities": [{"type": "Station"}],
        "notification": {"endpoint": {"uri": "http://example.org/notify"}},
        **more,
    }
    if body["entities"] is None:
        del body["entities"]
    return build("", read_subscription(body, CORE, NOW), context_url=None, since_us=NOW)


def station(**more: Any) -> Document:
    return patch.create(
        {
            "id": ID,
            "type": "Station",
            "pm10": {"type": "Property", "value": 40, "unitCode": "GQ"},
            "name": {"type": "Property", "value": "Yuseong"},
            "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.3, 36.3]}},
            **more,
        },
        T0,
    )


def commit(before: Document | None, after: Document | None, changes: list[Change]) -> EntityCommit:
    document = after or before
    assert document is not None
    return EntityCommit(7, 7 + len(changes), "", NOW + 1, document["id"], before, after, tuple(changes))


def created(document: Document) -> EntityCommit:
    return commit(None, document, list(creation_changes(document)))


def updated(before: Document, **fragment: Any) -> EntityCommit:
    result = patch.update(before, fragment, T1)
    return commit(before, result.document, result.changes)


def deleted(before: Document) -> EntityCommit:
    return commit(before, None, patch.delete(before))


def told(one: Subscription, change: EntityCommit) -> bool:
    delta = delta_of(change)
    if delta is None:
        return False
    answer = matches(one, delta)
    index = SubscriptionIndex()
    index.add(one)
    if answer:
        assert one in list(index.candidates(delta)), "the index loses a match"
        sure, others = index.split(delta)
        assert one in [*sure, *others]
    return answer


def value(number: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": number, **more}


def near(longitude: float, latitude: float) -> dict[str, Any]:
    return {"georel": "near;maxDistance==5000", "geometry": "Point", "coordinates": [longitude, latitude]}


PM10_CHANGED = updated(station(), pm10=value(50, unitCode="GQ"))
PM10_SAME = updated(station(), pm10=value(40, unitCode="GQ"))
PM10_UNIT = updated(station(), pm10=value(40, unitCode="X59"))
NAME_GONE = updated(station(), name=value("urn:ngsi-ld:null"))
NEW_ATTRIBUTE = updated(station(), pm25=value(9))
CREATED = created(station())
DELETED = deleted(station())


@pytest.mark.parametrize(
    ("more", "change", "expected"),
    [
        ({}, PM10_CHANGED, True),
        ({}, NEW_ATTRIBUTE, True),
        ({}, CREATED, True),
        ({}, NAME_GONE, False),
        ({}, DELETED, False),
        ({}, PM10_SAME, False),
        ({}, PM10_UNIT, True),
        ({"watchedAttributes": ["pm10"]}, PM10_CHANGED, True),
        ({"watchedAttributes": ["pm10"]}, CREATED, True),
        ({"watchedAttributes": ["pm25"]}, CREATED, False),
        ({"watchedAttributes": ["pm25", "name"]}, PM10_CHANGED, False),
        ({"watchedAttributes": ["pm25"]}, NEW_ATTRIBUTE, True),
        ({"notificationTrigger": ["attributeCreated"]}, PM10_CHANGED, False),
        ({"notificationTrigger": ["attributeCreated"]}, NEW_ATTRIBUTE, True),
        ({"notificationTrigger": ["attributeUpdated"]}, NEW_ATTRIBUTE, False),
        ({"notificationTrigger": ["attributeUpdated"]}, PM10_CHANGED, True),
        ({"notificationTrigger": ["attributeDeleted"]}, NAME_GONE, True),
        ({"notificationTrigger": ["attributeDeleted"], "watchedAttributes": ["pm10"]}, NAME_GONE, False),
        ({"notificationTrigger": ["attributeDeleted"]}, DELETED, True),
        ({"notificationTrigger": ["attributeDeleted"], "watchedAttributes": ["pm25"]}, DELETED, False),
        ({"notificationTrigger": ["entityUpdated"]}, NAME_GONE, True),
        ({"notificationTrigger": ["entityUpdated"]}, PM10_CHANGED, True),
        ({"notificationTrigger": ["entityUpdated"]}, PM10_SAME, False),
        ({"notificationTrigger": ["entityCreated"]}, CREATED, True),
        ({"notificationTrigger": ["entityCreated"]}, PM10_CHANGED, False),
        ({"notificationTrigger": ["entityCreated"], "watchedAttributes": ["pm25"]}, CREATED, False),
        ({"notificationTrigger": ["entityDeleted"]}, DELETED, True),
        ({"notificationTrigger": ["entityDeleted"]}, CREATED, False),
        ({"notificationTrigger": ["entityDeleted"], "watchedAttributes": ["name"]}, DELETED, True),
        ({"notificationTrigger": ["entityDeleted"], "q": "pm10>30"}, DELETED, True),
        ({"notificationTrigger": ["entityDeleted"], "q": "pm10>50"}, DELETED, False),
        ({"q": "pm10>45"}, PM10_CHANGED, True),
        ({"q": "pm10<45"}, PM10_CHANGED, False),
        ({"geoQ": near(127.3, 36.3)}, CREATED, True),
        ({"geoQ": near(129.0, 36.3)}, CREATED, False),
        ({"scopeQ": "/daejeon/#"}, created(station(scope="/daejeon/yuseong")), True),
        ({"scopeQ": "/daejeon/#"}, CREATED, False),
        ({"entities": [{"type": "Tower"}]}, CREATED, False),
        ({"entities": [{"type": "Tower|Station"}]}, CREATED, True),
        ({"entities": [{"type": "(Tower;Station)"}]}, CREATED, False),
        ({"entities": [{"type": "(Tower;Station)"}]}, created(station(type=["Station", "Tower"])), True),
        ({"entities": [{"type": "*"}]}, CREATED, True),
        ({"entities": [{"type": "Station", "id": ID}]}, CREATED, True),
        ({"entities": [{"type": "Station", "id": ["urn:a:b", ID]}]}, CREATED, True),
        ({"entities": [{"type": "Station", "id": "urn:a:b"}]}, CREATED, False),
        ({"entities": [{"type": "Tower", "id": ID}]}, CREATED, False),
        ({"entities": [{"type": "Station", "idPattern": "^urn:.*:1$"}]}, CREATED, True),
        ({"entities": [{"type": "Station", "idPattern": "^urn:.*:2$"}]}, CREATED, False),
        ({"entities": [{"type": "Station", "id": ID, "idPattern": "^nothing$"}]}, CREATED, True),
        ({"entities": [{"type": "Tower"}, {"type": "*", "idPattern": "Station"}]}, CREATED, True),
        ({"entities": None, "watchedAttributes": ["pm10"]}, PM10_CHANGED, True),
        ({"entities": None, "watchedAttributes": ["pm25"]}, PM10_CHANGED, False),
        ({"timeInterval": 5}, PM10_CHANGED, False),
    ],
)
def test_matching_table(more: dict[str, Any], change: EntityCommit, expected: bool) -> None:
    assert told(subscription(**more), change) is expected


def test_what_happened_before_the_subscription_is_none_of_its_business() -> None:
    late = build(
        "",
        read_subscription(
            {
                "type": "Subscription",
                "id": "urn:a:b",
                "entities": [{"type": "Station"}],
                "notification": {"endpoint": {"uri": "http://example.org/"}},
            },
            CORE,
            NOW,
        ),
        context_url=None,
        since_us=NOW + 2,
    )
    assert not told(late, PM10_CHANGED)


def test_a_sub_attribute_with_another_time_of_writing_only_has_not_changed() -> None:
    old = value(1, accuracy={"type": "Property", "value": 2, "createdAt": T0, "modifiedAt": T0})
    new = value(1, accuracy={"type": "Property", "value": 2, "createdAt": T1, "modifiedAt": T1}, modifiedAt=T1)
    other = value(1, accuracy={"type": "Property", "value": 3, "createdAt": T0, "modifiedAt": T0})
    rows = [Change(Operation.ATTRIBUTE_UPDATED, ID, "pm10", value=one, previous=old) for one in (new, other)]
    assert delta_of(commit(station(), station(), rows[:1])) is None
    assert delta_of(commit(station(), station(), rows[1:])) is not None
    boolean = Change(Operation.ATTRIBUTE_UPDATED, ID, "pm10", value=value(True), previous=value(1))
    assert delta_of(commit(station(), station(), [boolean])) is not None


def test_a_row_read_back_from_the_log_counts_as_changed() -> None:
    row = Change(Operation.ATTRIBUTE_UPDATED, ID, "pm10", value=value(1))
    assert told(subscription(), commit(None, station(), [row]))


def notice(one: Subscription, change: EntityCommit) -> Document:
    delta = delta_of(change)
    assert delta is not None
    return project(one, notice_of(one, delta, T1))


def test_a_deleted_attribute_is_told_as_null() -> None:
    stone = notice(subscription(notificationTrigger=["attributeDeleted"]), NAME_GONE)["name"]
    assert (stone["type"], stone["value"], stone["deletedAt"]) == ("Property", "urn:ngsi-ld:null", T1)
    shown = notice(
        subscription(
            notificationTrigger=["attributeDeleted"],
            notification={"endpoint": {"uri": "http://example.org"}, "showChanges": True},
        ),
        NAME_GONE,
    )["name"]
    assert shown["previousValue"] == "Yuseong"


def test_one_of_several_instances_deleted() -> None:
    french = value("Tour", datasetId="urn:d:fr")
    before = station(name=[value("Tower"), french])
    result = patch.delete_attribute(before, "name", T1, dataset="urn:d:fr")
    change = commit(before, result.document, result.changes)
    shown = notice(subscription(notificationTrigger=["attributeDeleted"]), change)["name"]
    assert [(one["value"], one.get("datasetId")) for one in shown] == [
        ("Tower", None),
        ("urn:ngsi-ld:null", "urn:d:fr"),
    ]


def test_all_of_several_instances_deleted() -> None:
    before = station(name=[value("Tower"), value("Tour", datasetId="urn:d:fr")])
    result = patch.delete_attribute(before, "name", T1, delete_all=True)
    change = commit(before, result.document, result.changes)
    shown = notice(subscription(notificationTrigger=["attributeDeleted"]), change)["name"]
    assert (shown["value"], "datasetId" in shown) == ("urn:ngsi-ld:null", False)
    with_previous = subscription(notification={"endpoint": {"uri": "http://example.org"}, "showChanges": True})
    shown = notice(with_previous, change)["name"]
    assert [(one["previousValue"], one.get("datasetId")) for one in shown] == [("Tower", None), ("Tour", "urn:d:fr")]


@pytest.mark.parametrize(
    ("instance", "member", "previous"),
    [
        ({"type": "Property", "value": 1}, "value", "previousValue"),
        ({"type": "Relationship", "object": "urn:a:b"}, "object", "previousObject"),
        ({"type": "LanguageProperty", "languageMap": {"ko": "마당"}}, "languageMap", "previousLanguageMap"),
        ({"type": "VocabProperty", "vocab": "open"}, "vocab", "previousVocab"),
        ({"type": "JsonProperty", "json": {"a": None}}, "json", "previousJson"),
        ({"type": "ListProperty", "valueList": [1]}, "valueList", "previousValueList"),
        ({"type": "ListRelationship", "objectList": ["urn:a:b"]}, "objectList", "previousObjectList"),
    ],
)
def test_previous_values_by_type(instance: dict[str, Any], member: str, previous: str) -> None:
    before = station(it=instance)
    one = subscription(notification={"endpoint": {"uri": "http://example.org"}, "showChanges": True})
    shown = notice(one, updated(before, it={**instance, "observedAt": T1}))["it"]
    assert shown[previous] == instance[member]
    gone = notice(one, deleted(before))["it"]
    assert gone[previous] == instance[member]
    null = "urn:ngsi-ld:null"
    assert gone[member] == ({"@none": null} if member == "languageMap" else null)


@pytest.mark.parametrize(
    ("more", "members"),
    [
        ({"notificationTrigger": ["entityDeleted"]}, set()),
        ({"notificationTrigger": ["attributeDeleted"], "watchedAttributes": ["name"]}, {"name"}),
        ({"notificationTrigger": ["attributeDeleted"]}, {"pm10", "name", "location"}),
    ],
)
def test_a_deleted_entity(more: dict[str, Any], members: set[str]) -> None:
    shown = notice(subscription(**more), DELETED)
    assert set(shown) == {"id", "type", "createdAt", "modifiedAt", "deletedAt"} | members
    assert shown["deletedAt"] == T1


def test_datasets_and_projection() -> None:
    before = station(name=[value("Tower"), value("Tour", datasetId="urn:d:fr")])
    change = updated(before, pm10=value(50))
    assert notice(subscription(datasetId=["urn:d:fr"]), change)["name"]["value"] == "Tour"
    assert "pm10" not in notice(subscription(datasetId=["urn:d:fr"]), change)
    picked = subscription(notification={"endpoint": {"uri": "http://example.org"}, "pick": ["pm10"]})
    assert set(notice(picked, change)) == {"pm10"}
    nothing = subscription(notification={"endpoint": {"uri": "http://example.org"}, "pick": ["other"]})
    assert set(notice(nothing, change)) == {"id", "type"}


SELECTORS = st.fixed_dictionaries(
    {"type": st.sampled_from(["Station", "Tower", "Station|Tower", "(Station;Tower)", "*"])},
    optional={
        "id": st.sampled_from([ID, "urn:a:b"]),
        "idPattern": st.sampled_from(["Station", "Tower", ".*"]),
    },
)
SUBSCRIPTIONS = st.fixed_dictionaries(
    {"entities": st.lists(SELECTORS, min_size=1, max_size=2)},
    optional={
        "q": st.sampled_from(
            [
                *(
                    "pm10>45",
                    "pm10<45",
                    "pm10>50",
                    "pm10>=50",
                    "pm10<50",
                    "pm10<=50",
                    "pm10>40",
                    "pm10>=40",
                    "pm10==40",
                ),
                *('name=="Yuseong"', 'pm10=="50"', "pm10==50,60", "pm10==30..60", "pm25|name", "!pm25", "pm10!=50"),
                *("pm10==40", "pm10>1;pm10<45", 'pm10>1;name=="Yuseong"', "pm10==true", "pm10>99999999999999999999"),
            ]
        ),
        "watchedAttributes": st.lists(st.sampled_from(["pm10", "name", "pm25"]), min_size=1, max_size=2),
        "notificationTrigger": st.lists(st.sampled_from(TRIGGERS), min_size=1, max_size=3),
    },
)
CHANGES = [
    updated(station(), pm10=value([45, 50])),
    updated(station(), pm10=value("50")),
    updated(station(), pm10=value(True)),
    updated(station(), pm10=[value(40), value(50, datasetId="urn:d:1")]),
    updated(station(), name={"type": "LanguageProperty", "languageMap": {"ko": "Yuseong"}}),
    updated(station(), name={"type": "VocabProperty", "vocab": "Yuseong"}),
    PM10_CHANGED,
    PM10_SAME,
    NAME_GONE,
    NEW_ATTRIBUTE,
    CREATED,
    DELETED,
    created(station(type=["Station", "Tower"])),
]


@settings(max_examples=200, deadline=None)
@given(st.lists(SUBSCRIPTIONS, min_size=1, max_size=6), st.sampled_from(CHANGES), st.integers(0, 5))
def test_the_index_never_loses_a_match(many: list[dict[str, Any]], change: EntityCommit, gone: int) -> None:
    subscriptions = [subscription(number, **more) for number, more in enumerate(many)]
    index = SubscriptionIndex()
    for one in subscriptions:
        index.add(one)
    if gone < len(subscriptions):
        index.remove(subscriptions.pop(gone))
    delta = delta_of(change)
    if delta is None:
        return
    found = {one.id for one in index.candidates(delta)}
    for _ in range(2):  # the second time what is kept of the first one answers
        sure, others = ({one.id for one in part} for part in index.split(delta))
        assert not sure & others
        assert sure | others <= found
        assert all(matches(one, delta) for one in subscriptions if one.id in sure)
        assert all(one.id in sure | others for one in subscriptions if matches(one, delta))
    assert {one.id for one in subscriptions if matches(one, delta)} <= found <= {one.id for one in subscriptions}
    for one in subscriptions:
        index.remove(one)
    assert list(index.candidates(delta)) == []
