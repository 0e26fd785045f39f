# SPDX-License-Identifier: Apache-2.0
"""Entities and attributes that live for a stated time only (ETSI CIM 009 clause 4.22)."""

from __future__ import annotations

from madang.base.times import try_date_time
from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS, Document, Instance, Json, one_or_list


def expires_us(document: Document) -> int | None:
    """Return the first moment at which something of the document becomes invalid; None when nothing ever does."""
    first = _moment(document["expiresAt"]) if "expiresAt" in document else None
    for name, value in document.items():
        if name in ENTITY_MEMBERS:
            continue
        for instance in value if isinstance(value, list) else (value,):
            moment = _instance_expires_us(instance)
            if moment is not None and (first is None or moment < first):
                first = moment
    return first


def live(document: Document, now_us: int) -> Document | None:
    """Return what is valid at that moment: the document itself, one with less in it, or None when it has expired.

    An expired entity or attribute is not served even while it still waits for its removal.
    """
    if _is_over(document, now_us):
        return None
    result: Document = {}
    for name, value in document.items():
        if name in ENTITY_MEMBERS:
            result[name] = value
            continue
        kept = _live_instances(value, now_us)
        if kept:
            result[name] = one_or_list(kept)
    return result


def _live_instances(value: Json, now_us: int) -> list[Instance]:
    instances = value if isinstance(value, list) else [value]
    return [_live_instance(instance, now_us) for instance in instances if not _is_over(instance, now_us)]


def _live_instance(instance: Instance, now_us: int) -> Instance:
    if _instance_expires_us(instance) is None:
        return instance
    result: Instance = {}
    for name, value in instance.items():
        if name in INSTANCE_MEMBERS:
            result[name] = value
            continue
        kept = _live_instances(value, now_us)
        if kept:
            result[name] = one_or_list(kept)
    return result


def _instance_expires_us(instance: Instance) -> int | None:
    first = _moment(instance["expiresAt"]) if "expiresAt" in instance else None
    for name, value in instance.items():
        if name in INSTANCE_MEMBERS:
            continue
        for sub in value if isinstance(value, list) else (value,):
            moment = _instance_expires_us(sub)
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
