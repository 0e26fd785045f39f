# SPDX-License-Identifier: Apache-2.0
"""What back-ends keep in columns beside the JSON of a change."""

from __future__ import annotations

from madang.model.change import Operation
from madang.model.entity import Instance

_NUMBERED = (Operation.ATTRIBUTE_CREATED, Operation.ATTRIBUTE_UPDATED, Operation.HISTORY_ADDED)


def number_of(operation: Operation, instance: Instance) -> float | None:
    """Return what an aggregation may add up without opening the instance: a Property's number that does not expire."""
    number = instance.get("value")
    if (number.__class__ is not int and number.__class__ is not float) or operation not in _NUMBERED:
        return None
    if instance["type"] != "Property" or "expiresAt" in instance:
        return None
    try:
        return float(number)
    except OverflowError:
        return None
