# SPDX-License-Identifier: Apache-2.0
"""Reads attributes, normalized and concise mixed, into canonical instances (ETSI CIM 009 clauses 4.5.2 to 4.5.24)."""

from __future__ import annotations

from typing import Any, Final

from madang.base.errors import BadRequestData
from madang.base.limits import JSON_DEPTH_MAX
from madang.model.entity import INSTANCE_MEMBERS, NGSI_LD_NULL, VALUE_MEMBERS, Instance, Json, one_or_list
from madang.model.jsonld.context import Context
from madang.model.jsonld.geometry import check_geometry, is_geometry, is_geometry_type
from madang.model.jsonld.members import (
    PLANS,
    PROOF_PLAN,
    UNTYPED_PLAN,
    Plan,
    Reading,
    check_scalar,
    check_value_type,
    compound,
)
from madang.model.jsonld.values import null_refused

# Clause 4.5.2.3 and its sisters: the member that tells the type of an attribute without "type".
_TYPES_BY_MEMBER: Final = {
    "value": "Property",
    "object": "Relationship",
    "languageMap": "LanguageProperty",
    "vocab": "VocabProperty",
    "json": "JsonProperty",
    "valueList": "ListProperty",
    "objectList": "ListRelationship",
}
# Members that speak about an attribute; an object that has one of them is no plain value.
_METADATA_MEMBERS: Final = frozenset({"observedAt", "datasetId", "unitCode", "valueType", "objectType", "expiresAt"})
_NOT_IN_VALUES: Final = _METADATA_MEMBERS | _TYPES_BY_MEMBER.keys() | {"type", "@type", "@context"}
_PROOF: Final = "ngsildproof"
_WHERE_CHARACTERS_MAX: Final = 500


def located(error: BadRequestData, key: str) -> BadRequestData:
    """Put the member in which an error arose before the place it names, which so becomes a JSON pointer."""
    place = error.where or ""
    if not place or place.startswith("/"):
        error.where = f"/{key.replace('~', '~0').replace('/', '~1')}{place}"[:_WHERE_CHARACTERS_MAX]
    return error


def is_instance(item: dict[str, Json], context: Context) -> bool:
    """Tell whether an object in a list is an instance of an attribute, rather than a part of a value."""
    kind = item.get("type")
    if kind.__class__ is str and kind in VALUE_MEMBERS:
        return True
    kind = item.get("type", item.get("@type"))
    if kind.__class__ is str and context.expand(kind) in VALUE_MEMBERS:
        return True
    return not _TYPES_BY_MEMBER.keys().isdisjoint(item)


def is_plain_value(value: Json, context: Context) -> bool:
    """Tell whether a value, in a caller's names, may stand for its whole Property (clause 4.5.2.3)."""
    if value.__class__ is dict:
        return _NOT_IN_VALUES.isdisjoint(value)
    if value.__class__ is list:
        return not any(item.__class__ is dict and is_instance(item, context) for item in value)
    return True


class InstanceReader(Reading):
    """Reads attributes by what a `Reading` allows. All methods raise BadRequestData for what is not allowed."""

    __slots__ = ("parts",)

    def __init__(self, context: Context, allowed: frozenset[str] | None = None) -> None:
        super().__init__(context, allowed)
        # Reads sub-attributes; another one where these have to be whole although the attribute need not be.
        self.parts = self

    def attribute(self, sent: Json, depth: int = 0) -> Json:
        """Return an instance, a list of two or more, or NGSI_LD_NULL; None when expansion leaves nothing."""
        cls = sent.__class__
        if cls is dict:
            return self.instance(sent, depth)
        if cls is list:
            return self._listed(sent, depth)
        if sent is None:
            return None
        if cls is str and sent == NGSI_LD_NULL:
            if self.member_nulls:
                return NGSI_LD_NULL
            raise null_refused()
        check_scalar(sent)
        return {"type": "Property", "value": sent}

    def instance(self, sent: dict[str, Json], depth: int = 0) -> Instance:
        """Return one instance, typed by its "type" or by its members."""
        kind: Any = sent.get("type")
        if kind.__class__ is not str or kind not in PLANS:
            kind = self._type(sent)
            if kind is None:
                return self._filled(sent, {}, UNTYPED_PLAN, depth) if self._is_partial(sent) else self._plain(sent)
        plan: Plan = PLANS[kind]
        instance = self._filled(sent, {"type": kind}, plan, depth)
        if VALUE_MEMBERS[kind] not in instance and not self.partial:
            raise BadRequestData(f"A {kind} needs the member {VALUE_MEMBERS[kind]}")
        if "valueType" in instance:
            check_value_type(instance)
        return instance

    def _filled(self, sent: dict[str, Json], instance: Instance, plan: Plan, depth: int) -> Instance:
        key = ""
        try:
            for key, item in sent.items():
                put = plan.get(key)
                if put is not None:
                    put(self, instance, key, item)
                elif item is not None:
                    self._put_sub_attribute(instance, key, item, depth)
        except BadRequestData as error:
            raise located(error, key) from None
        return instance

    def _put_sub_attribute(self, instance: Instance, key: str, item: Json, depth: int) -> None:
        if depth >= JSON_DEPTH_MAX:
            raise BadRequestData(f"The attribute is nested too deeply; allowed are {JSON_DEPTH_MAX} levels")
        name = self.names[key]
        if name in INSTANCE_MEMBERS:
            raise BadRequestData(f"{key!r:.80} means {name}, which is no sub-attribute; allowed is the short name")
        if name in instance:
            raise BadRequestData(f"{key!r:.80} is given twice, under two names of the same IRI")
        parts = self.parts
        value = parts.proof(item, depth + 1) if name == _PROOF else parts.attribute(item, depth + 1)
        if value is not None:
            instance[name] = value

    def proof(self, sent: Json, depth: int = 0) -> Json:
        """Return the Property ngsildproof (clause 4.5.2.2), whose value is a structure of its own."""
        if sent.__class__ is not dict:
            return self.attribute(sent, depth)
        if sent.get("type", sent.get("@type", "Property")) != "Property":
            raise BadRequestData("ngsildproof is a Property")
        instance = self._filled(sent, {"type": "Property"}, PROOF_PLAN, depth)
        if "value" not in instance and not self.partial:
            raise BadRequestData("ngsildproof needs the member value")
        return instance

    def _type(self, sent: dict[str, Json]) -> str | None:
        """Return the attribute type that a sent object names or shows; None when it does neither."""
        given = sent["type"] if "type" in sent else sent.get("@type")
        if given.__class__ is list and len(given) == 1:
            given = given[0]
        if given is None:
            return self._shown_type(sent)
        name = self.context.expand(given) if given.__class__ is str else ""
        if name in VALUE_MEMBERS:
            return name
        if is_geometry_type(name):
            return None
        allowed = ", ".join(VALUE_MEMBERS)
        raise BadRequestData(f"{given!r:.80} is not the type of an attribute; allowed are {allowed}", where="/type")

    def _shown_type(self, sent: dict[str, Json]) -> str | None:
        for member, kind in _TYPES_BY_MEMBER.items():
            if member in sent:
                if member == "value" and is_geometry(sent[member]):
                    return "GeoProperty"
                # A Null without a type deletes whatever is there.
                return None if self.partial and sent[member] in (NGSI_LD_NULL, None) else kind
        return None

    def _is_partial(self, sent: dict[str, Json]) -> bool:
        """Tell whether an object that shows no type speaks about an attribute, rather than being its value."""
        if "type" in sent or "@type" in sent:
            return False
        if self.parts is not self:
            return True
        if not _METADATA_MEMBERS.isdisjoint(sent) or not _TYPES_BY_MEMBER.keys().isdisjoint(sent):
            if not self.partial:
                raise BadRequestData("An attribute needs a value: value, object, languageMap, vocab, json, …")
            return True
        return False

    def _plain(self, sent: dict[str, Json]) -> Instance:
        """Return the attribute of which the object sent is the value (clauses 4.5.2.3 and 4.7.3)."""
        if "type" in sent or "@type" in sent:
            return {"type": "GeoProperty", "value": check_geometry(sent)}
        if "@context" in sent:
            raise BadRequestData("An @context inside an attribute is not allowed (clause 5.5.7)")
        return {"type": "Property", "value": compound(self, sent)}

    def _listed(self, sent: list[Json], depth: int) -> Json:
        if None in sent:
            sent = [item for item in sent if item is not None]
        count = sum(map(self._is_instance, sent))
        if not count:
            return self._listed_value(sent)
        if count != len(sent):
            raise BadRequestData("A list holds either the instances of an attribute or the parts of a value, not both")
        instances: list[Instance] = []
        try:
            for item in sent:
                instances.append(self.instance(item, depth))  # noqa: PERF401 (its length is the place of an error)
        except BadRequestData as error:
            raise located(error, str(len(instances))) from None
        return one_or_list(instances if self.temporal else _distinct(instances))

    def _listed_value(self, sent: list[Json]) -> Instance | None:
        if not self.temporal:
            return {"type": "Property", "value": compound(self, sent)}
        if sent:
            raise BadRequestData("The instances of an attribute are objects with a value")
        return None

    def _is_instance(self, item: Json) -> bool:
        if item.__class__ is not dict:
            return False
        return is_instance(item, self.context) or (self.partial and "datasetId" in item)


def _distinct(instances: list[Instance]) -> list[Instance]:
    """Return the instances with the default one first; clause 4.5.5.1 allows one for each datasetId.

    Raises: BadRequestData: two have the same datasetId, or two have none.
    """
    datasets = {instance.get("datasetId") for instance in instances}
    if len(datasets) != len(instances):
        raise BadRequestData("Two instances of the attribute have the same datasetId, or none; allowed is one of each")
    if None in datasets and "datasetId" in instances[0]:
        instances.sort(key=lambda instance: "datasetId" in instance)
    return instances
