# SPDX-License-Identifier: Apache-2.0
"""What has expired is not there any more (clause 4.22)."""

from __future__ import annotations

from madang.base.times import parse_date_time
from madang.model.transient import expires_us, live

EARLY, MIDDLE, LATE = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z", "2030-01-03T00:00:00Z"
NOW_US = parse_date_time(MIDDLE)


def test_a_document_without_expiry_never_expires() -> None:
    assert expires_us({"id": "urn:a", "type": "T", "p": {"type": "Property", "value": 1}}) is None


def test_the_first_expiry_counts_wherever_it_stands() -> None:
    sub = {"type": "Property", "value": 1, "sub": {"type": "Property", "value": 2, "expiresAt": EARLY}}
    assert expires_us({"id": "urn:a", "type": "T", "expiresAt": LATE, "p": sub}) == parse_date_time(EARLY)
    assert expires_us({"id": "urn:a", "type": "T", "expiresAt": EARLY}) == parse_date_time(EARLY)


def test_an_expired_entity_is_gone_at_the_very_moment() -> None:
    assert live({"id": "urn:a", "type": "T", "expiresAt": MIDDLE}, NOW_US) is None
    assert live({"id": "urn:a", "type": "T", "expiresAt": LATE}, NOW_US) is not None


def test_expired_instances_and_sub_attributes_are_left_out() -> None:
    document = {
        "id": "urn:a",
        "type": "T",
        "gone": {"type": "Property", "value": 1, "expiresAt": EARLY},
        "many": [
            {"type": "Property", "value": 1},
            {"type": "Property", "value": 2, "datasetId": "urn:d", "expiresAt": EARLY},
        ],
        "deep": {
            "type": "Property",
            "value": 1,
            "sub": {"type": "Property", "value": 2, "expiresAt": EARLY},
            "kept": {"type": "Property", "value": 3, "expiresAt": LATE},
        },
    }
    assert live(document, NOW_US) == {
        "id": "urn:a",
        "type": "T",
        "many": {"type": "Property", "value": 1},
        "deep": {"type": "Property", "value": 1, "kept": {"type": "Property", "value": 3, "expiresAt": LATE}},
    }
    assert "gone" in document
