# SPDX-License-Identifier: Apache-2.0
"""The facts of the core NGSI-LD @context (ETSI CIM 009 annex B), and the documents of its versions made from them."""

from __future__ import annotations

import re
from typing import Final

from madang.model.entity import Json

NGSI_LD: Final = "https://uri.etsi.org/ngsi-ld/"
GEOJSON: Final = "https://purl.org/geojson/vocab#"
DEFAULT_VOCABULARY: Final = "https://uri.etsi.org/ngsi-ld/default-context/"
CORE_PREFIXES: Final = {"ngsi-ld": NGSI_LD, "geojson": GEOJSON}
VERSION_NEWEST: Final = 9
CORE_CONTEXT_URL: Final = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"

# The minor version that brought each term; a term stays in all later versions.
_TERMS_BY_VERSION: Final = {
    3: """
        Attribute AttributeList ContextSourceNotification ContextSourceRegistration Date DateTime EntityType
        EntityTypeInfo EntityTypeList Feature FeatureCollection GeoProperty GeometryCollection LineString
        MultiLineString MultiPoint MultiPolygon Notification Point Polygon Property Relationship Subscription
        TemporalProperty Time accept attributeCount attributeDetails attributeList attributeName attributeNames
        attributeTypes attributes bbox coordinates createdAt csf data datasetId description detail endAt endTimeAt
        endpoint entities entityCount entityId error errors expiresAt features format geoQ geometry geoproperty georel
        idPattern information instanceId isActive lastFailure lastNotification lastSuccess location
        managementInterval modifiedAt notification notifiedAt object objects observationInterval observationSpace
        observedAt operationSpace properties propertyNames q reason registrationName relationshipNames startAt status
        subscriptionId subscriptionName success temporalQ throttling timeAt timeInterval timeproperty timerel
        timesSent title triggerReason typeList typeName typeNames unchanged unitCode updated uri value values
        watchedAttributes""",
    4: "avg distinctCount max min stddev sum sumsq totalCount",
    5: "LanguageProperty attrs lang languageMap scope scopeQ tenant",
    6: """
        cacheDuration contextSourceInfo cooldown deletedAt key languageMaps localOnly management mode notUpdated
        notificationTrigger notifierInfo operations previousLanguageMap previousObject previousValue receiverInfo
        refreshRate registrationId showChanges sysAttrs timeout timesFailed""",
    7: "dataset previousVocab vocab vocabs",
    8: """
        ContextSourceIdentity JsonProperty ListProperty ListRelationship VocabProperty containedBy contextSourceAlias
        contextSourceExtras contextSourceTimeAt contextSourceUptime entity entityList entityMap join joinLevel json
        jsons linkedMaps objectList objectType previousJson previousObjectList previousValueList valueList
        valueLists""",
    9: """
        EntityMap ExecutionResultDetails Snapshot SnapshotNotification aggrMethods aggrParams aggrPeriodDuration
        collation entityMapLifetime expandValues jsonKeys jsonldContext langString lastN lastUsedAt ngsildConformance
        ngsildproof objectLists omit orderBy ordering pick problemDetails resultStatus snapshotId snapshotLifetime
        snapshotPriority snapshotQueries snapshotQueriesDetails snapshotStatus snapshotTemporalQueries
        snapshotTemporalQueriesDetails splitEntities valueType""",
}

# Terms whose IRI is not simply the NGSI-LD namespace followed by the term.
_GEOJSON_TERMS: Final = """
    Feature FeatureCollection GeometryCollection LineString MultiLineString MultiPoint MultiPolygon Point Polygon bbox
    coordinates features geometry properties"""
_LOCAL_NAMES: Final = {
    "containedBy": "isContainedBy",
    "dataset": "hasDataset",
    "entityMap": "hasEntityMap",
    "entityMapLifetime": "hasEntityMapLifetime",
    "joinLevel": "hasJoinLevel",
    "json": "hasJSON",
    "key": "hasKey",
    "languageMap": "hasLanguageMap",
    "languageMaps": "hasLanguageMaps",
    "object": "hasObject",
    "objectList": "hasObjectList",
    "objectLists": "hasObjectLists",
    "objectType": "hasObjectType",
    "objects": "hasObjects",
    "previousJson": "hasPreviousJson",
    "previousLanguageMap": "hasPreviousLanguageMap",
    "previousObject": "hasPreviousObject",
    "previousObjectList": "hasPreviousObjectList",
    "previousValue": "hasPreviousValue",
    "previousValueList": "hasPreviousValueList",
    "previousVocab": "hasPreviousVocab",
    "splitEntities": "hasSplitEntities",
    "value": "hasValue",
    "valueList": "hasValueList",
    "valueLists": "hasValueLists",
    "valueType": "hasValueType",
    "values": "hasValues",
    "vocab": "hasVocab",
    "vocabs": "hasVocabs",
}
_FOREIGN_IRIS: Final = {
    "description": "http://purl.org/dc/terms/description",
    "title": "http://purl.org/dc/terms/title",
    "langString": "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString",
}

_TERMS_BY_COERCION: Final = {
    "@vocab": """
        attributeList attributeName attributeNames attributeTypes attributes objectType previousVocab propertyNames
        relationshipNames typeList typeName typeNames valueType vocab watchedAttributes""",
    "@json": "contextSourceExtras json previousJson problemDetails",
    "@id": "datasetId entityId instanceId object previousObject subscriptionId success tenant",
    "DateTime": """
        contextSourceTimeAt createdAt deletedAt endAt endTimeAt expiresAt lastFailure lastNotification lastSuccess
        lastUsedAt modifiedAt notifiedAt observedAt startAt timeAt""",
}
_TERMS_BY_CONTAINER: Final = {
    "@list": """
        avg bbox coordinates distinctCount entityList jsons languageMaps max min objectList objectLists objects orderBy
        previousObjectList previousValueList snapshotQueries snapshotQueriesDetails snapshotTemporalQueries
        snapshotTemporalQueriesDetails stddev sum sumsq totalCount valueList valueLists values vocabs""",
    "@index": "dataset entityMap",
    "@set": "features",
    "@language": "languageMap previousLanguageMap",
}
# The proof of clause 4.5.2.2 is the one term with a context of its own.
_SEALED_TERMS: Final = {
    "entityIdSealed": "ngsi-ld:entityIdSealed",
    "entityTypeSealed": {"@id": "ngsi-ld:entityTypeSealed", "@type": "@vocab"},
}
_DATA_INTEGRITY_CONTEXT: Final = "https://w3id.org/security/data-integrity/v2"
# Keywords and protection need JSON-LD 1.1, which the documents ask for from this version on.
_PROTECTED_SINCE: Final = 8

_URL = re.compile(r"https?://uri\.etsi\.org/ngsi-ld/v1/ngsi-ld-core-context(?:-v1\.([3-9]))?\.jsonld", re.ASCII)


def _versions() -> dict[str, int]:
    return {term: version for version, terms in _TERMS_BY_VERSION.items() for term in terms.split()}


def _by_term(groups: dict[str, str]) -> dict[str, str]:
    return {term: mark for mark, terms in groups.items() for term in terms.split()}


def _compact_iri(term: str) -> str:
    if term in _FOREIGN_IRIS:
        return _FOREIGN_IRIS[term]
    if term in _GEOJSON_TERMS.split():
        return f"geojson:{term}"
    return f"ngsi-ld:{_LOCAL_NAMES.get(term, term)}"


def _full_iri(term: str) -> str:
    prefix, _, suffix = _compact_iri(term).partition(":")
    return CORE_PREFIXES[prefix] + suffix if prefix in CORE_PREFIXES else _compact_iri(term)


_SINCE: Final = _versions()
_COERCIONS: Final = _by_term(_TERMS_BY_COERCION)
_CONTAINERS: Final = _by_term(_TERMS_BY_CONTAINER)

# Every term of the newest version but the aliases "id" and "type", with its full IRI.
CORE_IRIS: Final[dict[str, str]] = {term: _full_iri(term) for term in _SINCE}


def core_version(url: str) -> int | None:
    """Return the minor version of the core @context that a URL names (the newest without one), or None."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    return int(found.group(1)) if found.group(1) else VERSION_NEWEST


def core_document(url: str) -> Json | None:
    """Return the core @context document of that URL; None when the URL is not exactly that of a known version."""
    version = core_version(url)
    if version is None:
        return None
    terms: dict[str, Json] = {"@version": 1.1, "@protected": True} if version >= _PROTECTED_SINCE else {}
    terms |= CORE_PREFIXES
    terms |= {"id": "@id", "type": "@type"}
    for term, since in sorted(_SINCE.items()):
        if since <= version:
            terms[term] = _definition(term)
    terms["@vocab"] = DEFAULT_VOCABULARY
    return {"@context": terms}


def _definition(term: str) -> Json:
    definition: dict[str, Json] = {"@id": _compact_iri(term)}
    if term in _COERCIONS:
        definition["@type"] = _COERCIONS[term]
    if term in _CONTAINERS:
        definition["@container"] = _CONTAINERS[term]
    if term == "ngsildproof":
        definition["@context"] = [_SEALED_TERMS, _DATA_INTEGRITY_CONTEXT]
    return definition if len(definition) > 1 else definition["@id"]
