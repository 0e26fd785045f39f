# SPDX-License-Identifier: Apache-2.0
"""From JSON with a caller's names to canonical documents: all that enters the hub as an entity or a part of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from madang.base.errors import BadRequestData
from madang.model.entity import NGSI_LD_NULL, Document, Instance, Json, as_list, one_or_list
from madang.model.jsonld.context import Context
from madang.model.jsonld.instances import InstanceReader, located
from madang.model.jsonld.names import check_name, check_uri
from madang.model.jsonld.simplified import typed_after
from madang.model.jsonld.temporal import check_temporal_scope, instances_of_simplified
from madang.model.jsonld.values import check_date_time, check_scope, null_refused

__all__ = [
    "check_name",
    "check_uri",
    "parse_attribute",
    "parse_entity",
    "parse_fragment",
    "parse_simplified",
    "parse_temporal",
]

# Clause 4.7.1: these attributes of an entity are GeoProperties whenever they are there.
_GEO_ATTRIBUTES: Final = frozenset({"location", "observationSpace", "operationSpace"})
_PROOF: Final = "ngsildproof"
_SPECIAL_ATTRIBUTES: Final = _GEO_ATTRIBUTES | {_PROOF}

_UPDATE: Final = frozenset({"value", "member"})
_MERGE: Final = frozenset({"value", "member", "compound", "partial"})
_TEMPORAL: Final = frozenset({"value", "temporal"})


def parse_entity(data: Json, context: Context) -> Document:
    """Return the canonical document of a complete entity, normalized and concise mixed, without system timestamps.

    Args:
        data: what was sent; "@context" in it is not looked at.
        context: expands the names.

    Raises: BadRequestData: a rule of clauses 4.5, 4.6 or 5.5.4 is broken; `where` is a JSON pointer.
    """
    return _EntityReader(context).entity(data, complete=True)


def parse_fragment(data: Json, context: Context, *, nulls: bool, merge: bool | None = None) -> Document:
    """Return the canonical document of an entity fragment, in which id and type may be missing (clause 5.4).

    Args:
        data: what was sent.
        context: expands the names.
        nulls: whether NGSI-LD Null may stand for an attribute (then `document[name] == NGSI_LD_NULL`), for the value of
            an instance, or for a member of it.
        merge: whether, as in Merge Entity (clause 5.5.12), a Null may also stand inside a compound value, and an
            instance may lack its type and value; None means the same as `nulls`.

    Raises: BadRequestData: a rule of clauses 4.5, 4.6 or 5.5.4 is broken.
    """
    allowed = None
    if nulls:
        allowed = _UPDATE if merge is False else _MERGE
    return _EntityReader(context, allowed).entity(data, complete=False)


def parse_attribute(name: str, data: Json, context: Context, *, nulls: bool, partial: bool) -> list[Instance]:
    """Return the canonical instances that a body about one attribute holds.

    Args:
        name: the canonical name of the attribute.
        data: one instance, or a list of instances with different datasetId.
        context: expands the names.
        nulls: whether NGSI-LD Null may stand as a value or member.
        partial: whether "type" and the value may be missing (then the instance has no "type" when none is shown).

    Raises: BadRequestData: a rule of clauses 4.5, 4.6 or 5.5.4 is broken.
    """
    whole = _UPDATE if nulls else None
    reader = InstanceReader(context, whole)
    if partial:  # of the attribute; its sub-attributes are replaced as a whole (clause 5.5.8)
        reader.parts = InstanceReader(context, whole)
        reader.partial = True
    if data.__class__ is dict and "@context" in data:
        data = {key: item for key, item in data.items() if key != "@context"}
    if not data or data.__class__ not in (dict, list):
        raise BadRequestData("An attribute is an object with at least one member, or a list of such objects")
    value = reader.proof(data) if name == _PROOF else reader.attribute(data)
    _check_geo_attribute(name, value)
    instances: list[Instance] = as_list(value)
    return instances


def parse_simplified(data: Json, context: Context, current: Document) -> Document:
    """Return the fragment that a simplified (keyValues) merge means: each value typed as the attribute is now.

    Args:
        data: names and plain values; NGSI-LD Null deletes.
        context: expands the names.
        current: the entity as it stands (clause 5.6.17.4: the type of an attribute there is preserved).

    Raises: BadRequestData: a value is not one of that type.
    """
    reader = _EntityReader(context, _MERGE)
    reader.read_attribute = lambda name, item: typed_after(reader, current.get(name), item)
    return reader.entity(data, complete=False)


def parse_temporal(data: Json, context: Context, *, fragment: bool) -> Document:
    """Return the canonical document of a temporal evolution: an attribute may have any number of instances.

    Instances of one datasetId may repeat and stay in the order sent; an NGSI-LD Null as a value records a deletion. A
    scope is plain, or a list of {"type": "Property", "value": scope, "observedAt"?: …} when its history was sent.

    Args:
        data: what was sent, in temporal or simplified temporal representation (clauses 4.5.6, 4.5.9).
        context: expands the names.
        fragment: whether id and type may be missing.

    Raises: BadRequestData: a rule of clauses 4.5, 4.6 or 5.5.4 is broken.
    """
    reader = _EntityReader(context, _TEMPORAL)
    reader.read_attribute = lambda _name, item: reader.attribute(instances_of_simplified(item))
    return reader.entity(data, complete=not fragment)


class _EntityReader(InstanceReader):
    __slots__ = ("read_attribute",)

    def __init__(self, context: Context, nulls: frozenset[str] | None = None) -> None:
        super().__init__(context, nulls)
        self.read_attribute: Callable[[str, Json], Json] | None = None

    def entity(self, data: Json, *, complete: bool) -> Document:
        if data.__class__ is not dict:
            raise BadRequestData("An entity is a JSON object")
        document: Document = {}
        key = ""
        try:
            for key, item in data.items():
                put = _ENTITY_PUTS.get(key)
                if put is not None:
                    put(self, document, key, item)
                elif item is not None:
                    self._put_attribute(document, key, item)
        except BadRequestData as error:
            raise located(error, key) from None
        if complete:
            for member in ("id", "type"):
                if member not in document:
                    raise BadRequestData(f"An entity needs the member {member}", where=f"/{member}")
        return document

    def _put_attribute(self, document: Document, key: str, item: Json) -> None:
        name = self.names[key]
        if name in document:
            raise BadRequestData(f"{key!r:.80} is given twice, under two names of the same IRI")
        if item.__class__ is dict and self.read_attribute is None and name not in _SPECIAL_ATTRIBUTES:
            document[name] = self.instance(item)
            return
        value = self._special(name, item) if self.read_attribute is None else self.read_attribute(name, item)
        if value is not None:
            document[name] = value
            _check_geo_attribute(name, value)

    def _special(self, name: str, item: Json) -> Json:
        return self.proof(item) if name == _PROOF else self.attribute(item)


def _check_geo_attribute(name: str, value: Json) -> None:
    if name in _GEO_ATTRIBUTES and value != NGSI_LD_NULL:
        for instance in as_list(value):
            if instance.get("type", "GeoProperty") != "GeoProperty":
                raise BadRequestData(f"{name} is a GeoProperty; a {instance['type']} is not allowed")


def _put_id(_reader: _EntityReader, document: Document, _key: str, value: Json) -> None:
    if "id" in document:
        raise BadRequestData("id and @id are two names for the same member; one is allowed")
    if value == NGSI_LD_NULL:
        raise null_refused()
    document["id"] = check_uri(value)


def _put_type(reader: _EntityReader, document: Document, _key: str, value: Json) -> None:
    if "type" in document:
        raise BadRequestData("type and @type are two names for the same member; one is allowed")
    names = reader.context.type_names
    if value.__class__ is str:
        document["type"] = names[value]
    elif value.__class__ is list and value and all(term.__class__ is str for term in value):
        document["type"] = one_or_list(list(dict.fromkeys(names[term] for term in value)))
    else:
        raise BadRequestData("The type of an entity is a name, or a list of at least one name")


def _put_scope(reader: _EntityReader, document: Document, _key: str, value: Json) -> None:
    if value is None:
        return
    if reader.temporal:
        document["scope"] = check_temporal_scope(value)
    else:
        document["scope"] = check_scope(value, nulls=reader.member_nulls)


def _put_expiry(reader: _EntityReader, document: Document, key: str, value: Json) -> None:
    if value is not None:
        is_null = value == NGSI_LD_NULL and reader.member_nulls
        document[key] = value if is_null else check_date_time(value)


def _skip(_reader: _EntityReader, _document: Document, _key: str, _value: Json) -> None:
    """The caller has taken the @context out; system timestamps are the hub's own."""


_ENTITY_PUTS: Final[dict[str, Callable[[_EntityReader, Document, str, Json], None]]] = {
    "id": _put_id,
    "@id": _put_id,
    "type": _put_type,
    "@type": _put_type,
    "scope": _put_scope,
    "expiresAt": _put_expiry,
    **dict.fromkeys(("@context", "createdAt", "modifiedAt", "deletedAt"), _skip),
}
