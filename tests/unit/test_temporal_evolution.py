# SPDX-License-Identifier: Apache-2.0
"""Scopes are valid from one change to the next; an entity known by its history only begins with the latest of it."""

from __future__ import annotations

from typing import Any

import pytest

from madang.base.times import format_date_time, parse_date_time
from madang.model.change import Operation
from madang.model.query import scope
from madang.model.temporal.evolution import (
    ScopeRow,
    ScopeState,
    current_document,
    instance_id,
    instance_sequence,
    is_tombstone,
    latest_scopes,
    scope_intervals,
    scope_states,
    shown_scopes,
    tombstone,
)
from madang.model.temporal.query import Window

NOW = "2026-05-01T00:00:00Z"


def at(hour: int) -> int:
    return parse_date_time(f"2026-03-01T{hour:02}:00:00Z")


def row(operation: Operation, hour: int, value: Any) -> ScopeRow:
    return ScopeRow(hour, at(hour), operation, value, format_date_time(at(hour)))


def changed(hour: int, value: Any) -> ScopeRow:
    return row(Operation.SCOPE_CHANGED, hour, {"type": "Property", "value": value})


def added(observed: int | None, value: Any) -> ScopeRow:
    instance = {"type": "Property", "value": value}
    if observed is not None:
        instance["observedAt"] = format_date_time(at(observed))
    return row(Operation.HISTORY_ADDED, 20, instance)


def valid(states: list[ScopeState]) -> list[tuple[int | None, tuple[str, ...]]]:
    return [(state.since_us, state.scopes) for state in states]


class TestScopeStates:
    def test_a_change_of_the_core_api_is_observed_when_it_is_made(self) -> None:
        states = scope_states([changed(1, "/a"), changed(2, ["/b", "/c"])])
        assert valid(states) == [(at(1), ("/a",)), (at(2), ("/b", "/c"))]
        assert states[0].shown is not None
        assert states[0].shown.value["observedAt"] == format_date_time(at(1))

    def test_history_counts_when_it_was_observed(self) -> None:
        states = scope_states([added(9, "/b"), added(3, "/a")])
        assert valid(states) == [(at(3), ("/a",)), (at(9), ("/b",))]

    def test_a_plain_scope_was_always_valid(self) -> None:
        assert valid(scope_states([added(None, "/old"), added(3, "/a"), added(None, "/always")])) == [
            (None, ("/always",)),
            (at(3), ("/a",)),
        ]

    @pytest.mark.parametrize("null", ["urn:ngsi-ld:null", [], None, ["urn:ngsi-ld:null"]])
    def test_a_deleted_scope_is_an_empty_list_with_the_time(self, null: Any) -> None:
        states = scope_states([changed(1, "/a"), changed(2, null)])
        assert valid(states) == [(at(1), ("/a",)), (at(2), ())]
        assert states[1].shown is not None
        assert states[1].shown.value == {"type": "Property", "value": [], "deletedAt": format_date_time(at(2))}

    def test_the_scope_ends_with_the_entity_and_begins_with_the_next(self) -> None:
        created = row(Operation.ENTITY_CREATED, 5, {"type": "T", "scope": "/b"})
        states = scope_states([changed(1, "/a"), row(Operation.ENTITY_DELETED, 3, None), created])
        assert valid(states) == [(at(1), ("/a",)), (at(3), ()), (at(5), ("/b",))]

    def test_other_rows_say_nothing_about_the_scope(self) -> None:
        rows = [
            row(Operation.ENTITY_CREATED, 1, {"type": "T"}),
            row(Operation.TYPE_CHANGED, 2, {"type": ["T", "U"]}),
            row(Operation.HISTORY_DELETED, 3, {"attribute": "speed"}),
            row(Operation.ENTITY_TOUCHED, 4, {"expiresAt": NOW}),
        ]
        assert scope_states(rows) == []


class TestShownScopes:
    states = scope_states([changed(1, "/a"), changed(5, "/b"), changed(9, [])])

    def shown(self, window: Window) -> list[Any]:
        return [instance.value["value"] for instance in shown_scopes(self.states, window)]

    def test_without_a_window_all_are_shown(self) -> None:
        assert self.shown(Window()) == ["/a", "/b", []]

    def test_a_window_starts_with_the_scope_that_holds_then(self) -> None:
        assert self.shown(Window(relation="between", start_us=at(3), end_us=at(6))) == ["/a", "/b"]
        assert self.shown(Window(relation="after", start_us=at(6))) == ["/b"]
        assert self.shown(Window(relation="before", end_us=at(5))) == ["/a"]
        assert self.shown(Window(relation="after", start_us=at(9))) == []

    def test_deletions_are_found_by_their_time(self) -> None:
        assert self.shown(Window("deletedAt", True)) == [[]]
        assert self.shown(Window("deletedAt", True, "before", end_us=at(9))) == []

    def test_changes_are_found_by_their_time(self) -> None:
        assert self.shown(Window("modifiedAt", True, "after", start_us=at(5))) == ["/b", []]


class TestScopeIntervals:
    def intervals(self, states: list[ScopeState], text: str, window: Window) -> list[tuple[int | None, int | None]]:
        query = scope.parse(text)
        return scope_intervals(states, lambda scopes: scope.fits(query, scopes), window)

    def test_they_are_cut_by_the_window_and_by_changes(self) -> None:
        states = scope_states([changed(1, "/a"), changed(5, "/b"), changed(8, "/a")])
        window = Window(relation="between", start_us=at(3), end_us=at(9))
        assert self.intervals(states, "/a", window) == [(at(3), at(5)), (at(8), at(9))]
        assert self.intervals(states, "/#", window) == [(at(3), at(9))]
        assert self.intervals(states, "/z", window) == []

    def test_a_scope_set_after_the_window_does_not_count(self) -> None:
        window = Window(relation="before", end_us=at(3))
        assert self.intervals(scope_states([changed(4, "/a")]), "/a", window) == []

    def test_what_was_always_valid_has_no_start(self) -> None:
        states = scope_states([added(None, "/a"), added(4, "/b")])
        assert self.intervals(states, "/a", Window(relation="before", end_us=at(9))) == [(None, at(4))]


class TestDocuments:
    def test_the_current_state_is_the_latest_of_each_dataset(self) -> None:
        def speed(value: Any, hour: int | None, dataset: str | None = None) -> dict[str, Any]:
            instance: dict[str, Any] = {"type": "Property", "value": value}
            if hour is not None:
                instance["observedAt"] = format_date_time(at(hour))
            return instance if dataset is None else {**instance, "datasetId": dataset}

        gone = {"type": "Property", "value": "urn:ngsi-ld:null", "observedAt": format_date_time(at(3))}
        history = {
            "id": "urn:x:1",
            "type": ["T", "U"],
            "scope": [
                {"type": "Property", "value": "/b", "observedAt": format_date_time(at(9))},
                {"type": "Property", "value": "/a", "observedAt": format_date_time(at(3))},
            ],
            "speed": [speed(3, 3, "urn:d:1"), speed(9, 9), speed(5, 5), speed(0, None)],
            "heading": [speed(1, 1), gone],
            "name": speed("n", None),
        }
        assert current_document(history, NOW) == {
            "id": "urn:x:1",
            "type": ["T", "U"],
            "scope": "/b",
            "createdAt": NOW,
            "modifiedAt": NOW,
            "speed": [speed(9, 9), speed(3, 3, "urn:d:1")],
            "name": speed("n", None),
        }

    def test_a_plain_scope_is_the_scope(self) -> None:
        assert latest_scopes("/a") == ["/a"]
        assert latest_scopes(["/a", "/b"]) == ["/a", "/b"]
        assert latest_scopes(None) == []

    def test_tombstones_are_known_by_their_value(self) -> None:
        for kind in ("Property", "Relationship", "LanguageProperty", "JsonProperty", "GeoProperty", "ListProperty"):
            assert is_tombstone(tombstone(kind, NOW, "urn:d:1"))
        assert not is_tombstone({"type": "Property", "value": "urn:ngsi-ld:nul"})

    def test_only_ids_of_the_hub_are_instance_ids(self) -> None:
        assert instance_sequence(instance_id(815)) == 815
        for text in ("urn:ngsi-ld:instance:", "urn:ngsi-ld:instance:0", "urn:ngsi-ld:instance:1x", "urn:x:1", ""):
            assert instance_sequence(text) is None
        assert instance_sequence("urn:ngsi-ld:instance:" + "9" * 30) is None
