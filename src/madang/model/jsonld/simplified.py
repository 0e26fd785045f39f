# SPDX-License-Identifier: Apache-2.0
"""Types the values of a simplified (keyValues) update after the attributes that are there (clauses 4.5.4, 5.6.17.4)."""

from __future__ import annotations

from typing import Final

from madang.base.errors import BadRequestData
from madang.model.entity import NGSI_LD_NULL, VALUE_MEMBERS, Instance, Json, as_list, one_or_list
from madang.model.jsonld.geometry import is_geometry
from madang.model.jsonld.instances import InstanceReader, located
from madang.model.jsonld.members import DEFAULT_DATASET

# Clause 4.5.4: values of these types come wrapped in an object with the one member.
_TYPES_BY_WRAPPER: Final = {"languageMap": "LanguageProperty", "json": "JsonProperty", "vocab": "VocabProperty"}


def typed_after(reader: InstanceReader, current: Json, sent: Json) -> Json:
    """Return the instances that a simplified value means.

    Args:
        reader: reads what comes out.
        current: the attribute as it is now, None when the entity has none.
        sent: a plain value, or {"dataset": {datasetId or "@none": value}}.

    Raises: BadRequestData: the value is not one of the attribute's type.
    """
    present: list[Instance] = as_list(current)
    types = {instance.get("datasetId"): instance["type"] for instance in present}
    any_type = present[0]["type"] if present else None
    if sent.__class__ is not dict or sent.keys() != {"dataset"} or sent["dataset"].__class__ is not dict:
        return NGSI_LD_NULL if sent == NGSI_LD_NULL else _instance(reader, types.get(None, any_type), None, sent)
    instances = []
    for key, value in sent["dataset"].items():
        dataset = None if key == DEFAULT_DATASET else key
        try:
            instances.append(_instance(reader, types.get(dataset, any_type), dataset, value))
        except BadRequestData as error:
            raise located(located(error, key), "dataset") from None
    instances.sort(key=lambda instance: "datasetId" in instance)
    return one_or_list(instances) if instances else None


def _instance(reader: InstanceReader, kind: str | None, dataset: str | None, value: Json) -> Instance:
    kind, value = _typed(kind, value)
    sent = {"type": kind, VALUE_MEMBERS[kind]: value}
    if dataset is not None:
        sent["datasetId"] = dataset
    return reader.instance(sent)


def _typed(kind: str | None, value: Json) -> tuple[str, Json]:
    """Return the attribute type and the bare value that a simplified value stands for."""
    if value.__class__ is dict and len(value) == 1:
        wrapper = next(iter(value))
        wrapped = _TYPES_BY_WRAPPER.get(wrapper)
        if wrapped is not None and kind in (None, wrapped):
            return wrapped, value[wrapper]
    if kind == "LanguageProperty" and value.__class__ is not dict and value != NGSI_LD_NULL:
        return "Property", value  # a text, which belongs to the language that the request names
    if kind is None:
        return "GeoProperty" if is_geometry(value) else "Property", value
    return kind, value
