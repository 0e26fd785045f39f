# SPDX-License-Identifier: Apache-2.0
"""The state of an entity told from the log is the state that was written."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from madang.model import patch
from madang.model.change import Change, Operation, creation_changes
from madang.model.replay import state_after

ID = "urn:x:1"
TIMES = [f"2026-01-01T00:00:{second:02}Z" for second in range(60)]

instances = st.fixed_dictionaries({"type": st.just("Property"), "value": st.integers(0, 9)})
attributes = st.one_of(
    instances,
    st.tuples(instances, instances).map(lambda pair: [pair[0], {**pair[1], "datasetId": "urn:d:1"}]),
    instances.map(lambda one: {**one, "datasetId": "urn:d:2"}),
)
documents = st.fixed_dictionaries(
    {"id": st.just(ID), "type": st.sampled_from(["T", "U", ["T", "U"]])},
    optional={"scope": st.sampled_from(["/a", ["/a", "/b"]]), "a": attributes, "b": attributes},
)


@given(st.lists(documents, min_size=1, max_size=8))
def test_every_state_is_told_from_the_log(written: list[dict[str, Any]]) -> None:
    before: Any = None
    told: Any = None
    for document, time in zip(written, TIMES, strict=False):
        if before is None:
            patched = patch.create(document, time)
            after, changes = patched, creation_changes(patched)
        else:
            result = patch.replace(before, document, time)
            after, changes = result.document, tuple(result.changes)
        told = state_after(told, changes, time)
        assert told == after
        assert state_after(None, (Change(Operation.ENTITY_DELETED, ID),), time) is None
        before = after


def test_what_a_commit_wrote_is_put_over_a_newer_state() -> None:
    newer = {"id": ID, "type": "T", "a": {"type": "Property", "value": 9}, "b": {"type": "Property", "value": 7}}
    rows = (Change(Operation.ATTRIBUTE_UPDATED, ID, "a", value={"type": "Property", "value": 1}),)
    assert state_after(newer, rows, TIMES[0]) == {
        **newer,
        "a": {"type": "Property", "value": 1},
        "modifiedAt": TIMES[0],
    }


def test_of_an_entity_that_is_gone_nothing_is_made_up() -> None:
    rows = (Change(Operation.ATTRIBUTE_UPDATED, ID, "a", value={"type": "Property", "value": 1}),)
    assert state_after(None, rows, TIMES[0]) is None
