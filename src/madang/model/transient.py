# SPDX-License-Identifier: Apache-2.0
"""Entities and attributes that live for a stated time only (ETSI CIM 009 clause 4.22)."""

from __future__ import annotations

from madang.base.times import try_date_time
from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS, Document, Instance, Json, one_or_list

_holds_no_sub_attributes = INSTANCE_MEMBERS.issuperset


def may_expire(thing: Document | Instance) -> bool:
    """Tell whether an expiresAt stands somewhere; quick, for nearly all entities have none."""
    if "expiresAt" in thing:
        return True
    for value in thing.values():
        for part in value if type(value) is list else (value,):
            if type(part) is dict and (
                "expiresAt" in part or (not _holds_no_sub_attributes(part) and may_expire(part))
            ):
                return True
    return False


def expires_us(document: Document) -> int | None:
    """Return the first moment at which something of the document becomes invalid; None when nothing ever does."""
    return _first_us(document, ENTITY_MEMBERS) if may_expire(document) else None


def live(document: Document, now_us: int) -> Document | None:
    """Return what is valid at that moment: the document itself, one with less in it, or None when it has expired.

    An expired entity or attribute is not served even while it still waits for its removal.
    """
    if _is_over(document, now_us):
        return None
    return _live_parts(document, ENTITY_MEMBERS, now_us)


def _live_instances(value: Json, now_us: int) -> list[Instance]:
    instances = value if isinstance(value, list) else [value]
    return [_live_instance(instance, now_us) for instance in instances if not _is_over(instance, now_us)]


def _live_instance(instance: Instance, now_us: int) -> Instance:
    if _first_us(instance, INSTANCE_MEMBERS) is None:
        return instance
    return _live_parts(instance, INSTANCE_MEMBERS, now_us)


def _live_parts(thing: Document | Instance, members: frozenset[str], now_us: int) -> dict[str, Json]:
    """Return the entity or instance with its own members and what is valid of its attributes."""
    result: dict[str, Json] = {}
    for name, value in thing.items():
        if name in members:
            result[name] = value
            continue
        kept = _live_instances(value, now_us)
        if kept:
            result[name] = one_or_list(kept)
    return result


def _first_us(thing: Document | Instance, members: frozenset[str]) -> int | None:
    first = _moment(thing["expiresAt"]) if "expiresAt" in thing else None
    for name, value in thing.items():
        if name in members:
            continue
        for instance in value if isinstance(value, list) else (value,):
            moment = _first_us(instance, INSTANCE_MEMBERS)
            if moment is not None and (first is None or moment < first):
                first = moment
    return first


def _is_over(thing: Json, now_us: int) -> bool:
    if "expiresAt" not in thing:
        return False
    moment = _moment(thing["expiresAt"])
    return moment is not None and moment <= now_us


def _moment(text: Json) -> int | None:
    return try_date_time(text)
