# SPDX-License-Identifier: Apache-2.0
"""Entity data in the form of an earlier version of the standard (clause 4.3.6.8), for answers and notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from madang.model.entity import ENTITY_MEMBERS, INSTANCE_MEMBERS, VALUE_MEMBERS

if TYPE_CHECKING:
    from madang.model.entity import Json

Version: TypeAlias = tuple[int, int]

NATIVE: Final[Version] = (1, 9)

# Tables 4.3.6.8-1 to -3: since when there is what, and what stands in for it before.
_ENTITY_MEMBERS_SINCE: Final[dict[str, Version]] = {"expiresAt": (1, 9), "scope": (1, 4)}
_INSTANCE_MEMBERS_SINCE: Final[dict[str, Version]] = {
    "datasetId": (1, 3),
    "observedAt": (1, 3),
    "unitCode": (1, 3),
    "objectType": (1, 8),
    "valueType": (1, 9),
    "expiresAt": (1, 9),
}
_TYPES_SINCE: Final[dict[str, tuple[Version, str]]] = {
    "LanguageProperty": ((1, 4), "Property"),
    "JsonProperty": ((1, 8), "Property"),
    "VocabProperty": ((1, 8), "Property"),
    "ListProperty": ((1, 8), "Property"),
    "ListRelationship": ((1, 8), "Relationship"),
}
_MANY_SINCE: Final[Version] = (1, 3)  # entity types, and instances of an attribute


def amend(data: Json, version: Version) -> Json:
    """Return an entity, a list of entities or their GeoJSON in the form of an earlier version."""
    if isinstance(data, list):
        return [amend(item, version) for item in data]
    if not isinstance(data, dict):
        return data
    if data.get("type") == "FeatureCollection":
        return {**data, "features": amend(data.get("features", []), version)}
    if data.get("type") == "Feature" and isinstance(data.get("properties"), dict):
        return {**data, "properties": _amend_entity(data["properties"], version)}
    return _amend_entity(data, version)


def _amend_entity(entity: dict[str, Json], version: Version) -> dict[str, Json]:
    amended = {}
    for name, value in entity.items():
        if version < _ENTITY_MEMBERS_SINCE.get(name, version):
            continue
        if name in ENTITY_MEMBERS:
            amended[name] = value[0] if name == "type" and isinstance(value, list) and version < _MANY_SINCE else value
        else:
            amended[name] = _amend_attribute(value, version)
    return amended


def _amend_attribute(value: Json, version: Version) -> Json:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        if version < _MANY_SINCE:
            default = next((item for item in value if "datasetId" not in item), value[0])
            return _amend_instance(default, version)
        return [_amend_instance(item, version) for item in value]
    return _amend_instance(value, version) if isinstance(value, dict) else value


def _amend_instance(instance: dict[str, Json], version: Version) -> dict[str, Json]:
    kind = instance.get("type")
    if not isinstance(kind, str):
        kind = _kind_of(instance)
    since, stand_in = _TYPES_SINCE.get(kind, (version, kind))
    amended: dict[str, Json] = {}
    for name, value in instance.items():
        if version < _INSTANCE_MEMBERS_SINCE.get(name, version):
            continue
        if name not in INSTANCE_MEMBERS:
            amended[name] = _amend_attribute(value, version)
        elif name == "entity":
            amended[name] = amend(value, version)
        elif version < since and name == VALUE_MEMBERS[kind]:
            amended[VALUE_MEMBERS[stand_in]] = _flat(value) if kind == "ListRelationship" else value
        else:
            amended[name] = stand_in if name == "type" and version < since else value
    return amended


def _kind_of(instance: dict[str, Json]) -> str:
    """Return the type of an instance in concise form, as far as it has come after 1.0."""
    return next((kind for kind in _TYPES_SINCE if VALUE_MEMBERS[kind] in instance), "Property")


def _flat(objects: Json) -> Json:
    """Return the URIs of an objectList, whose items are {"object": uri} in the normalized form."""
    items = objects if isinstance(objects, list) else [objects]
    return [item["object"] if isinstance(item, dict) and "object" in item else item for item in items]
