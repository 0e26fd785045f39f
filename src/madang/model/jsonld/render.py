# SPDX-License-Identifier: Apache-2.0
"""From canonical documents to what a caller reads: normalized, concise, simplified, GeoJSON, in one language."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from madang.model.entity import NGSI_LD_NULL, VALUE_MEMBERS, Document, Instance, Json, as_list
from madang.model.jsonld.context import FULL_NAMES, Context
from madang.model.jsonld.geometry import is_geometry
from madang.model.jsonld.instances import is_plain_value
from madang.model.jsonld.languages import best_language, parse_preferences
from madang.model.jsonld.members import DEFAULT_DATASET

Format: TypeAlias = Literal["normalized", "concise", "simplified"]


@dataclass(frozen=True, slots=True)
class Representation:
    """How entities are shown. Equal values give equal bytes, so it serves as a cache key.

    lang: a language filter (clause 4.15), such as "fr-CH,fr;q=0.9,*;q=0.5".
    geometry_property: the canonical name of the GeoProperty that becomes a Feature's geometry.
    body_context: whether whoever writes the answer puts "@context" into it.
    """

    format: Format = "normalized"
    sys_attrs: bool = False
    lang: str | None = None
    geojson: bool = False
    geometry_property: str = "location"
    body_context: bool = False


def render(document: Document, context: Context, representation: Representation) -> dict[str, Json]:
    """Return the entity as JSON in the caller's names, without "@context"; a GeoJSON Feature if that is asked for."""
    renderer = _Renderer(context, representation)
    return (
        _feature(document, renderer, representation.geometry_property)
        if representation.geojson
        else renderer.entity(document)
    )


def render_instance(instance: Instance, context: Context, representation: Representation) -> Json:
    """Return one attribute instance as `render` shows it: an object, or a plain value where the format has one."""
    return _Renderer(context, representation).attribute(instance)


def feature_collection(features: Iterable[Json]) -> dict[str, Json]:
    """Return the GeoJSON FeatureCollection of rendered Features (clause 4.5.16.3)."""
    return {"type": "FeatureCollection", "features": list(features)}


def expand_names(document: Document) -> dict[str, Json]:
    """Return the normalized entity with every name a full IRI: error bodies and 207 answers are never compacted."""
    return _Renderer(FULL_NAMES, Representation()).entity(document)


class _Renderer:
    __slots__ = ("_context", "_many", "_names", "_one", "_preferences", "_sys_attrs", "format")

    def __init__(self, context: Context, representation: Representation) -> None:
        self._context = context
        self._names = context.compact_names
        self._sys_attrs = representation.sys_attrs
        self._preferences = None if representation.lang is None else parse_preferences(representation.lang)
        self.format = representation.format
        self._one, self._many = _FORMATS[representation.format]

    def entity(self, document: Document) -> dict[str, Json]:
        """Return an entity; members that the document lacks (a projection) are not missed."""
        names = self._names
        one = self._one
        shown: dict[str, Json] = {}
        for name, value in document.items():
            if name in _ENTITY_ACTIONS:
                action = _ENTITY_ACTIONS[name]
                if action is _COPY or (action is _SYSTEM and self._sys_attrs):
                    shown[name] = value
                elif action is _NAMES:
                    shown[name] = self.compacted(value)
            elif value.__class__ is dict and name != _PROOF:
                shown[names[name]] = one(self, value)
            else:
                shown[names[name]] = self.attribute(value, name)
        return shown

    def attribute(self, value: Json, name: str = "") -> Json:
        """Return an attribute: one instance, several, or the NGSI-LD Null that stands for a deleted one."""
        if name == _PROOF and value.__class__ is dict and self.format != "simplified":
            return self._proof(value)
        if value.__class__ is dict:
            return self._one(self, value)
        if value.__class__ is list:
            return self._many(self, value)
        return value

    def normalized(self, instance: Instance) -> dict[str, Json]:
        if self._preferences is not None and "languageMap" in instance:
            instance = self._in_language(instance)
        names = self._names
        shown: dict[str, Json] = {}
        for key, item in instance.items():
            if key in _COPIED:
                shown[key] = item
            elif key in _SHOWN:
                shown[key] = _SHOWN[key](self, instance, item)
            elif key not in _SYSTEM_MEMBERS:
                shown[names[key]] = self.attribute(item, key)
            elif self._sys_attrs:
                shown[key] = item
        return shown

    def concise(self, instance: Instance, *, alone: bool = True) -> Json:
        """Return an instance without its type where that can be seen; a plain value where nothing else is said."""
        shown = self.normalized(instance)
        kind: str | None = shown.pop("type", None)
        member = VALUE_MEMBERS.get(kind) if kind is not None else None
        if member is None:
            return shown if kind is None else {"type": kind, **shown}
        value = shown.get(member)
        if member == "value":
            geometry = is_geometry(value)
            if geometry != (kind == "GeoProperty") or value is None:
                return {"type": kind, **shown}
            if alone and len(shown) == 1 and (geometry or is_plain_value(value, self._context)):
                return value
        return shown if member in shown else {"type": kind, **shown}

    def simplified(self, instance: Instance) -> Json:
        """Return the value alone (clause 4.5.4); of a joined relationship, the linked entities."""
        linked = instance.get("entity", instance.get("entityList"))
        if linked is not None:
            return self.joined(linked)
        if self._preferences is not None and "languageMap" in instance:
            return self._in_language(instance)["value"]
        kind: str | None = instance.get("type")
        member = VALUE_MEMBERS.get(kind) if kind is not None else None
        if member is None:
            return None
        value = instance.get(member)
        if kind in _WRAPPED:
            return {member: self.compacted(value) if kind == "VocabProperty" else value}
        if member == "value" or member == "valueList":
            return self.value(instance, value)
        return value

    def datasets(self, instances: list[Instance]) -> Json:
        """Return several simplified instances by datasetId; the default one stands under "@none"."""
        return {
            "dataset": {
                instance.get("datasetId", DEFAULT_DATASET): self.simplified(instance)
                for instance in instances
                if instance.__class__ is dict
            }
        }

    def compacted(self, value: Json) -> Json:
        """Return a name, or a list of names, in the caller's terms; NGSI-LD Null as it is."""
        if value.__class__ is list:
            return [self._names[name] for name in value]
        return value if value == NGSI_LD_NULL else self._names[value]

    def value(self, instance: Instance, value: Json) -> Json:
        if value.__class__ is not dict and value.__class__ is not list:
            return value
        # GeoJSON is no JSON-LD of the caller's: its members keep their names (clause 4.7).
        return value if instance.get("type") == "GeoProperty" else self._context.compact_value(value)

    def joined(self, linked: Json) -> Json:
        return [self.entity(each) for each in linked] if linked.__class__ is list else self.entity(linked)

    def _proof(self, instance: Instance) -> Json:
        """Return the Property ngsildproof, whose value keeps the names of its own vocabulary (clause 4.5.2.2)."""
        value = instance.get("value")
        rest = self.normalized({key: item for key, item in instance.items() if key != "value"})
        kind = rest.pop("type", "Property")
        shown = {**rest, "value": value}
        return shown if self.format == "concise" else {"type": kind, **shown}

    def _in_language(self, instance: Instance) -> Instance:
        """Return a LanguageProperty as a Property with the text in the best language (clause 4.15)."""
        texts = instance["languageMap"]
        tag = best_language(texts, self._preferences or ())
        if tag is None:
            return instance
        rest = {key: item for key, item in instance.items() if key not in ("type", "languageMap")}
        return {"type": "Property", "value": texts[tag], "lang": tag, **rest}


def _show_value(renderer: _Renderer, instance: Instance, value: Json) -> Json:
    return renderer.value(instance, value)


def _show_names(renderer: _Renderer, _instance: Instance, value: Json) -> Json:
    return renderer.compacted(value)


def _show_objects(renderer: _Renderer, _instance: Instance, value: Json) -> Json:
    """Clause 4.5.22: objects with one member when normalized, bare URIs when concise."""
    if renderer.format == "concise" or value.__class__ is not list:
        return value
    return [uri if uri == NGSI_LD_NULL else {"object": uri} for uri in value]


def _show_linked(renderer: _Renderer, _instance: Instance, value: Json) -> Json:
    return renderer.joined(value)


def _feature(document: Document, renderer: _Renderer, geometry_property: str) -> dict[str, Json]:
    """Return the GeoJSON Feature of an entity (clauses 4.5.16.2 and 4.5.17.1)."""
    properties = renderer.entity(document)
    feature = {"id": properties.pop("id", None), "type": "Feature"}
    return {**feature, "geometry": _geometry(document, geometry_property), "properties": properties}


def _geometry(document: Document, geometry_property: str) -> Json:
    """Return the geometry of the default instance, or of the only one; None when there is none (clause 4.5.16.1)."""
    value = document.get(geometry_property) if geometry_property not in _ENTITY_ACTIONS else None
    instances = [each for each in as_list(value) if each.__class__ is dict]
    chosen = [each for each in instances if "datasetId" not in each] or instances
    if len(chosen) != 1 or chosen[0].get("type") != "GeoProperty" or not is_geometry(chosen[0].get("value")):
        return None
    return chosen[0]["value"]


_PROOF: Final = "ngsildproof"
_WRAPPED: Final = frozenset({"LanguageProperty", "JsonProperty", "VocabProperty"})
# System attributes are shown when sysAttrs asks for them (clauses 4.8 and 4.22).
_SYSTEM_MEMBERS: Final = frozenset({"createdAt", "modifiedAt", "deletedAt", "expiresAt"})
_COPY: Final = "copy"
_SYSTEM: Final = "system"
_NAMES: Final = "names"
_DROP: Final = "drop"
_ENTITY_ACTIONS: Final = {
    "id": _COPY,
    "type": _NAMES,
    "scope": _COPY,
    "@context": _DROP,
    **dict.fromkeys(_SYSTEM_MEMBERS, _SYSTEM),
}
_COPIED: Final = frozenset(
    {
        *("type", "object", "languageMap", "json", "unitCode", "observedAt", "datasetId", "instanceId", "lang"),
        *("entityIdSealed", "previousObject", "previousLanguageMap", "previousJson"),
    }
)
_SHOWN: Final[dict[str, Callable[[_Renderer, Instance, Json], Json]]] = {
    "value": _show_value,
    "valueList": _show_value,
    "vocab": _show_names,
    "objectList": _show_objects,
    "valueType": _show_names,
    "objectType": _show_names,
    "entityTypeSealed": _show_names,
    "entity": _show_linked,
    "entityList": _show_linked,
    "previousValue": _show_value,
    "previousValueList": _show_value,
    "previousVocab": _show_names,
    "previousObjectList": _show_objects,
    "previousEntity": _show_linked,
}


def _normalized_list(renderer: _Renderer, instances: list[Instance]) -> Json:
    return [renderer.normalized(instance) for instance in instances]


def _concise_list(renderer: _Renderer, instances: list[Instance]) -> Json:
    return [renderer.concise(instance, alone=False) for instance in instances]


_FORMATS: Final[
    dict[Format, tuple[Callable[[_Renderer, Instance], Json], Callable[[_Renderer, list[Instance]], Json]]]
] = {
    "normalized": (_Renderer.normalized, _normalized_list),
    "concise": (_Renderer.concise, _concise_list),
    "simplified": (_Renderer.simplified, _Renderer.datasets),
}
