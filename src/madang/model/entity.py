# SPDX-License-Identifier: Apache-2.0
"""The canonical form in which an entity lives everywhere between the faces and the stores.

A *document* is a plain dictionary, JSON through and through, treated as **immutable** once made: whoever
changes something builds a new dictionary and may share the unchanged parts.

    {"id": "urn:ngsi-ld:Vehicle:1",            # a URI
     "type": "Vehicle",                        # one name, or a list of two or more names
     "scope": "/seoul/songpa",                 # optional: one scope or a list of two or more
     "createdAt": "2026-01-31T08:30:00Z", "modifiedAt": "…",   # always present in stored documents
     "expiresAt": "…",                         # optional
     "speed": {"type": "Property", "value": 55, "observedAt": "…", "unitCode": "KMH",
               "createdAt": "…", "modifiedAt": "…", "datasetId": "urn:…",
               "accuracy": {"type": "Property", "value": 0.5}},
     "https://example.org/brand": [ {…instance…}, {…instance with another datasetId…} ]}

Names (of entity types, attributes, sub-attributes, keys inside compound values, vocabulary values) are *canonical
names*: the term the **core context** gives for the IRI. So `speed` stands for
`https://uri.etsi.org/ngsi-ld/default-context/speed`, core terms keep their short form (`value`, `observedAt`,
`location`), and every other IRI is written in full (it contains a colon). The mapping IRI ↔ canonical name is one to
one; the faces translate to and from the names of the request's own @context (`madang.model.jsonld`).

An attribute is one *instance* (a dictionary) or a list of two or more instances with different `datasetId`; the default
instance, which has no `datasetId`, comes first. Sub-attributes have the same form inside an instance. Times are
DateTime text as in `madang.base.times`. The members of an instance by type (ETSI CIM 009 clauses 4.5.2 to 4.5.25):

    Property value   GeoProperty value (GeoJSON)   Relationship object (a URI or a list of URIs; objectType)
    LanguageProperty languageMap   VocabProperty vocab (canonical names)   JsonProperty json (opaque)
    ListProperty valueList   ListRelationship objectList (list of URIs)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any
Instance: TypeAlias = dict[str, Any]
Document: TypeAlias = dict[str, Any]

NGSI_LD_NULL: Final = "urn:ngsi-ld:null"

# The member that holds the value, by attribute type.
VALUE_MEMBERS: Final[dict[str, str]] = {
    "Property": "value",
    "GeoProperty": "value",
    "Relationship": "object",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}

# Members of an entity document that are not attributes.
ENTITY_MEMBERS: Final = frozenset(
    {"id", "type", "scope", "createdAt", "modifiedAt", "deletedAt", "expiresAt", "@context"}
)

# Members of an attribute instance that are not sub-attributes.
INSTANCE_MEMBERS: Final = frozenset(
    {
        *("type", "value", "object", "objectType", "languageMap", "vocab", "json", "valueList", "objectList"),
        *("valueType", "unitCode", "observedAt", "datasetId", "instanceId", "lang", "entity", "entityList"),
        *("createdAt", "modifiedAt", "deletedAt", "expiresAt", "entityIdSealed", "entityTypeSealed"),
        *("previousValue", "previousObject", "previousLanguageMap", "previousVocab", "previousJson"),
        *("previousValueList", "previousObjectList", "previousEntity"),
    }
)

SYSTEM_MEMBERS: Final = frozenset({"createdAt", "modifiedAt", "deletedAt"})


def as_list(value: Json) -> list[Json]:
    """Return the list itself, or a list of the one thing; None gives an empty list."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def one_or_list(values: list[Json]) -> Json:
    """Return the only element of a list of one, or the list itself."""
    return values[0] if len(values) == 1 else values


def types_of(document: Document) -> list[str]:
    """Return the canonical names of the entity's types; never empty in a stored document."""
    return as_list(document.get("type"))


def attributes_of(document: Document) -> Iterator[tuple[str, list[Instance]]]:
    """Yield each attribute's canonical name with its instances, in document order."""
    for name, value in document.items():
        if name not in ENTITY_MEMBERS:
            yield name, value if isinstance(value, list) else [value]


def instances_of(document: Document, name: str) -> list[Instance]:
    """Return the instances of one attribute; empty when the entity does not have it."""
    return as_list(document.get(name)) if name not in ENTITY_MEMBERS else []


def sub_attributes_of(instance: Instance) -> Iterator[tuple[str, list[Instance]]]:
    """Yield each sub-attribute's canonical name with its instances."""
    for name, value in instance.items():
        if name not in INSTANCE_MEMBERS:
            yield name, value if isinstance(value, list) else [value]


def value_of(instance: Instance) -> Json:
    """Return what the instance says, whatever its type; None when it says nothing."""
    return instance.get(VALUE_MEMBERS[instance["type"]])
