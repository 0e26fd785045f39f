# SPDX-License-Identifier: Apache-2.0
"""How evolutions are shown: normalized, simplified and aggregated (ETSI CIM 009 clauses 4.5.6 to 4.5.9 and 4.5.19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from madang.base.times import format_date_time
from madang.model.entity import Instance, Json, one_or_list
from madang.model.jsonld.context import Context
from madang.model.jsonld.render import Representation, render_instance
from madang.model.query import projection as projections
from madang.model.query.projection import Projection
from madang.model.temporal.evolution import Evolution, StoredInstance, instance_id

Format: TypeAlias = Literal["normalized", "temporalValues", "aggregatedValues"]

_TIMES: Final = frozenset({"createdAt", "modifiedAt", "expiresAt", "deletedAt", "instanceId"})


Series: TypeAlias = tuple[str, str | None, Mapping[str, Json]]  # type, datasetId, results by aggregation method


class _Pairs(NamedTuple):
    """How a type is simplified: the member of the pairs, that of an instance, and whether that stays around it."""

    member: str
    value: str
    wrapped: bool


_PAIRS: Final[dict[str, _Pairs]] = {
    "Property": _Pairs("values", "value", False),
    "GeoProperty": _Pairs("values", "value", False),
    "Relationship": _Pairs("objects", "object", False),
    "LanguageProperty": _Pairs("languageMaps", "languageMap", True),
    "VocabProperty": _Pairs("vocabs", "vocab", True),
    "JsonProperty": _Pairs("jsons", "json", True),
    "ListProperty": _Pairs("valueLists", "valueList", False),
    "ListRelationship": _Pairs("objectLists", "objectList", False),
}


@dataclass(frozen=True, slots=True)
class TemporalForm:
    """In which form evolutions are wanted."""

    context: Context
    format: Format = "normalized"
    sys_attrs: bool = False
    lang: str | None = None
    projection: Projection = projections.EVERYTHING

    @property
    def representation(self) -> Representation:
        return Representation(sys_attrs=self.sys_attrs, lang=self.lang)


def show(evolution: Evolution, form: TemporalForm) -> dict[str, Json] | None:
    """Return the normalized or simplified representation; None when the projection leaves nothing of it."""
    simplified = form.format == "temporalValues"
    members = _head(evolution, form)
    if evolution.scopes:
        shown = [_scope(row, form) for row in evolution.scopes]
        members["scope"] = _scope_pairs(evolution.scopes) if simplified else shown
    for name, rows in evolution.attributes.items():
        if simplified:
            members[name] = _simplified(rows, form) or _no_pairs(evolution.attribute_types[name])
        else:
            members[name] = [_normalized(row, form) for row in rows]
    return _projected(members, form)


def show_aggregated(
    evolution: Evolution,
    attributes: Mapping[str, Sequence[Series]],
    form: TemporalForm,
) -> dict[str, Json] | None:
    """Return the aggregated representation (clause 4.5.19) of series: type, dataset and results by method."""
    members = _head(evolution, form)
    for name, series in attributes.items():
        shown = [
            {"type": type, **({} if dataset is None else {"datasetId": dataset}), **result}
            for type, dataset, result in series
            if result
        ]
        if shown:
            members[name] = one_or_list(shown)
    return _projected(members, form)


def _head(evolution: Evolution, form: TemporalForm) -> dict[str, Any]:
    compact = form.context.compact
    members: dict[str, Any] = {"id": evolution.id, "type": one_or_list([compact(name) for name in evolution.types])}
    if form.sys_attrs:
        members["createdAt"] = format_date_time(evolution.created_us)
        members["modifiedAt"] = format_date_time(evolution.modified_us)
        if evolution.deleted_us is not None:
            members["deletedAt"] = format_date_time(evolution.deleted_us)
        if evolution.expires_at is not None:
            members["expiresAt"] = evolution.expires_at
    return members


def _projected(members: dict[str, Any], form: TemporalForm) -> dict[str, Json] | None:
    kept = projections.apply(members, form.projection)
    if not kept:
        return None
    compact = form.context.compact
    return {compact(name): value for name, value in kept.items()}


# ---------------------------------------------------------------------- normalized


def _normalized(row: StoredInstance, form: TemporalForm) -> Json:
    value = row.value
    shown: dict[str, Json] = render_instance(_bare(value), form.context, form.representation)
    shown["instanceId"] = instance_id(row.instance)
    return _with_times(shown, row, form)


def _bare(value: Instance) -> Instance:
    """Return the instance without its times of storage: history knows those better, as it may have been corrected."""
    return {name: item for name, item in value.items() if name not in _TIMES}


def _with_times(shown: dict[str, Json], row: StoredInstance, form: TemporalForm) -> dict[str, Json]:
    # The time of a deletion is what a tombstone says (clause 4.5.7); the others are system attributes.
    if "deletedAt" in row.value:
        shown["deletedAt"] = row.value["deletedAt"]
    if form.sys_attrs:
        shown["createdAt"] = format_date_time(row.created_us)
        shown["modifiedAt"] = format_date_time(row.modified_us)
        if "expiresAt" in row.value:
            shown["expiresAt"] = row.value["expiresAt"]
    return shown


def _scope(row: StoredInstance, form: TemporalForm) -> dict[str, Json]:
    return _with_times(dict(_bare(row.value)), row, form)


# ---------------------------------------------------------------------- simplified


def _simplified(rows: Sequence[StoredInstance], form: TemporalForm) -> Json:
    """Return [value, time] pairs; one object for each type and dataset that the instances have."""
    series: dict[tuple[str, str | None], list[Json]] = {}
    for row in rows:
        value = row.value
        shown = render_instance(_bare(value), form.context, form.representation)
        type_: str = shown["type"]
        pairs = _PAIRS[type_]
        # The standard wants the bare URIs of a list relationship, not the objects of its normalized form.
        content = value["objectList"] if type_ == "ListRelationship" else shown[pairs.value]
        pair = [{pairs.value: content} if pairs.wrapped else content, format_date_time(row.moment_us)]
        series.setdefault((type_, value.get("datasetId")), []).append(pair)
    return (
        one_or_list(
            [
                {
                    "type": type_,
                    **({} if dataset is None else {"datasetId": dataset}),
                    _PAIRS[type_].member: pairs_found,
                }
                for (type_, dataset), pairs_found in series.items()
            ]
        )
        if series
        else None
    )


def _no_pairs(type_: str) -> Json:
    return {"type": type_, _PAIRS[type_].member: []}


def _scope_pairs(rows: Sequence[StoredInstance]) -> Json:
    return {"type": "Property", "values": [[row.value["value"], format_date_time(row.moment_us)] for row in rows]}
