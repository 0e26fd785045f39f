# SPDX-License-Identifier: Apache-2.0
"""What is special in a temporal evolution as it is sent: the history of a scope, and the simplified representation."""

from __future__ import annotations

from typing import Final

from madang.base.errors import BadRequestData
from madang.model.entity import Json
from madang.model.jsonld.values import check_date_time, check_scope

# Clause 4.5.9: the member that holds [value, time] pairs, with the value member of each instance it stands for.
_PAIRS_MEMBERS: Final = {
    "values": "value",
    "objects": "object",
    "languageMaps": "languageMap",
    "vocabs": "vocab",
    "jsons": "json",
    "valueLists": "valueList",
    "objectLists": "objectList",
}
_PAIR: Final = 2


def instances_of_simplified(sent: Json) -> Json:
    """Return an attribute in simplified temporal representation as a list of instances; anything else as it is.

    Raises: BadRequestData: its pairs are not pairs of a value and a time.
    """
    if sent.__class__ is not dict:
        return sent
    member = next((name for name in _PAIRS_MEMBERS if name in sent), None)
    if member is None:
        return sent
    pairs = sent[member]
    common = {key: item for key, item in sent.items() if key != member}
    if pairs.__class__ is not list or not all(pair.__class__ is list and len(pair) == _PAIR for pair in pairs):
        raise BadRequestData(f"{member} is a list of pairs, each of a value and its time", where=f"/{member}")
    value_member = _PAIRS_MEMBERS[member]
    return [{**common, value_member: _bare(value_member, value), "observedAt": time} for value, time in pairs]


def _bare(member: str, value: Json) -> Json:
    """A language map, vocabulary word or JSON object comes wrapped in an object with its member (clause 4.5.9)."""
    return value[member] if value.__class__ is dict and value.keys() == {member} else value


def check_temporal_scope(value: Json) -> Json:
    """Return a plain scope, or the instances of a reified one (clause 4.5.6).

    Raises: BadRequestData: it is neither.
    """
    instances = value if value.__class__ is list else [value]
    if not any(instance.__class__ is dict for instance in instances):
        return check_scope(value, nulls=False)
    return [_scope_instance(instance) for instance in instances]


def _scope_instance(sent: Json) -> dict[str, Json]:
    if sent.__class__ is not dict or sent.get("type", "Property") != "Property" or "value" not in sent:
        raise BadRequestData("An instance of the scope is a Property whose value is a scope or a list of scopes")
    instance = {"type": "Property", "value": check_scope(sent["value"], nulls=True)}
    if sent.get("observedAt") is not None:
        instance["observedAt"] = check_date_time(sent["observedAt"])
    return instance
