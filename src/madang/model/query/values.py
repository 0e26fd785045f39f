# SPDX-License-Identifier: Apache-2.0
"""What the query languages see of a document: the target values of a path, each with the kind of its attribute."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple

from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS, VALUE_MEMBERS, Document, Instance, Json
from madang.model.query.q_tree import Path

_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:[.,](\d{1,6}))?Z", re.ASCII)
_TEMPORAL_MEMBERS: Final = frozenset({"createdAt", "modifiedAt", "deletedAt", "observedAt", "expiresAt"})


class Shape(IntEnum):
    """What a target value is, beyond its JSON type."""

    PLAIN = 0  # any JSON
    LANGUAGES = 1  # list of all texts of a language map, or of the chosen language
    URIS = 2  # one object or a list of objects of a relationship
    VOCABULARY = 3  # one canonical name or a list of them
    MOMENT = 4  # DateTime text of a system attribute or of observedAt


class Target(NamedTuple):
    shape: Shape
    value: Json


_SHAPES: Final[dict[str, Shape]] = {
    "Relationship": Shape.URIS,
    "ListRelationship": Shape.URIS,
    "VocabProperty": Shape.VOCABULARY,
}
_ABSENT: Final[Any] = object()


def try_time(text: object) -> int | None:
    """Return microseconds since midnight of a Time of clause 4.6.3, or None when the text is none."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    microsecond = int((fraction + "00000")[:6]) if fraction else 0
    return ((int(hour) * 60 + int(minute)) * 60 + int(second)) * 1_000_000 + microsecond


def targets(document: Document, path: Path) -> Iterator[Target]:
    """Yield the target value of every instance that the path, without its links, leads to."""
    first = path.names[0]
    if first in ENTITY_MEMBERS:
        if len(path.names) == 1 and not path.members and first in document:
            yield _entity_member(first, document[first])
        return
    for instance in _instances(document.get(first)):
        yield from _targets_in(instance, path, 1)


def plain_value(value: Json) -> Json:
    """Return what a typed JSON-LD value ({"@type": …, "@value": …}) says; any other value as it is."""
    if isinstance(value, dict) and "@value" in value:
        return value["@value"]
    return value


def _instances(value: Json) -> list[Instance]:
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _entity_member(name: str, value: Json) -> Target:
    if name == "id":
        return Target(Shape.URIS, value)
    if name == "type":
        return Target(Shape.VOCABULARY, value)
    return Target(Shape.MOMENT if name in _TEMPORAL_MEMBERS else Shape.PLAIN, value)


def _targets_in(instance: Instance, path: Path, index: int) -> Iterator[Target]:
    if index == len(path.names):
        yield from _target_of(instance, path)
        return
    name = path.names[index]
    if name not in INSTANCE_MEMBERS:
        for sub_instance in _instances(instance.get(name)):
            yield from _targets_in(sub_instance, path, index + 1)
    elif index == len(path.names) - 1 and not path.members and name in instance:
        yield Target(Shape.MOMENT if name in _TEMPORAL_MEMBERS else Shape.PLAIN, instance[name])


def _target_of(instance: Instance, path: Path) -> Iterator[Target]:
    type_ = instance.get("type", "Property")
    member = VALUE_MEMBERS.get(type_)
    if member is None or member not in instance:
        return
    value = instance[member]
    if type_ == "LanguageProperty":
        yield from _languages(value, path.members)
        return
    if path.members:
        opaque = path.opaque or type_ == "JsonProperty"
        value = _descend(value, path.members if opaque else path.keys)
        if value is _ABSENT:
            return
    yield Target(_SHAPES.get(type_, Shape.PLAIN), plain_value(value))


def _languages(languages: Json, members: tuple[str, ...]) -> Iterator[Target]:
    if not isinstance(languages, dict):
        return
    if not members or members == ("*",):
        texts: list[Json] = []
        for value in languages.values():
            texts.extend(value if isinstance(value, list) else [value])
        yield Target(Shape.LANGUAGES, texts)
    elif len(members) == 1:
        # Language tags are compared without regard to case (RFC 5646).
        tag = members[0].lower()
        for language, value in languages.items():
            if language.lower() == tag:
                yield Target(Shape.LANGUAGES, value if isinstance(value, list) else [value])


def _descend(value: Json, keys: tuple[str, ...]) -> Json:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value
