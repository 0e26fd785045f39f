# SPDX-License-Identifier: Apache-2.0
"""From a row to an entity as the source page says, or to the reason why it does not fit."""

from __future__ import annotations

from typing import Any, Final

from madang.base.errors import InvalidInput
from madang.ingest.source import AttributeRule, EntityRule, PositionRule, Reject, Source
from madang.ingest.tables import CELLS_TOO_MANY, GEOMETRY
from madang.ingest.values import Row, Unfit, filled, number_of, position_of, text_of
from madang.model.entity import Document
from madang.model.jsonld.context import Context
from madang.model.jsonld.expand import parse_entity

ORIGIN: Final = "valueOrigin"
NOTE: Final = "valueNote"
RECORDED_AT: Final = "recordedAt"
POSITION_NOTE: Final = "positionNote"


def check_row(row: Row, rejects: tuple[Reject, ...]) -> None:
    """Raise Unfit when the page says that such a row cannot be used."""
    if CELLS_TOO_MANY in row:
        raise Unfit("the row has more cells than the table has columns")
    for rule in rejects:
        text = text_of(row, rule.column)
        unfit = text in rule.values or bool(rule.allowed and text not in rule.allowed)
        if not unfit and (rule.below is not None or rule.above):
            number = number_of(row, rule.column)
            most = number_of(row, rule.above) if rule.above else None
            unfit = number is not None and (
                (rule.below is not None and number < rule.below) or (most is not None and number > most)
            )
        if unfit:
            raise Unfit(rule.reason, column=rule.column, value=text)


def entity_of(row: Row, source: Source, rule: EntityRule, bounds: tuple[float, ...], context: Context) -> Document:
    """Return the entity of a row. Raises: Unfit."""
    type = rule.type
    if rule.type_column:
        word = text_of(row, rule.type_column)
        type = dict(rule.types).get(word, "")
        if not type:
            raise Unfit(
                f"{rule.type_column} is none of {', '.join(dict(rule.types))}", column=rule.type_column, value=word
            )
    data: dict[str, Any] = {"id": filled(rule.id.replace("{type}", type), row), "type": type}
    for attribute in rule.attributes:
        value = attribute_value(row, attribute)
        if value is not None:
            data[attribute.name] = instance(attribute, value)
    if rule.position is not None:
        _place(data, row, rule.position, bounds)
    data["dataProvider"] = {"type": "Property", "value": source.publisher}
    data["source"] = {"type": "Property", "value": f"{source.origin}; {source.licence}"}
    try:
        return parse_entity(data, context)
    except InvalidInput as error:
        raise Unfit("the entity would not be valid NGSI-LD", value=f"{data['id']}: {error.detail}") from None


def instance(rule: AttributeRule, value: Any) -> dict[str, Any]:
    """Return a value as an attribute, with its unit and where it comes from when it is not the publisher's own."""
    found: dict[str, Any] = {"type": "Property", "value": value}
    if rule.unit:
        found["unitCode"] = rule.unit
    if rule.origin:
        found[ORIGIN] = {"type": "Property", "value": rule.origin}
    if rule.note:
        found[NOTE] = {"type": "Property", "value": rule.note}
    return found


def attribute_value(row: Row, rule: AttributeRule) -> Any:
    """Return the value of an attribute, None when the cell is blank. Raises: Unfit."""
    if rule.members:
        members = {name: text for name, template in rule.members if (text := filled(template, row))}
        return members or None
    if rule.text:
        return filled(rule.text, row) or None
    if not rule.column:
        return rule.value
    value = _cell(row, rule)
    if value is None and rule.required:
        raise Unfit(f"{rule.column} is blank", column=rule.column)
    return value


def _cell(row: Row, rule: AttributeRule) -> Any:
    if rule.form == "text":
        text = text_of(row, rule.column)
        return dict(rule.words).get(text, text) or None
    number = number_of(row, rule.column)
    if number is None:
        return None
    if (rule.minimum is not None and number < rule.minimum) or (rule.maximum is not None and number > rule.maximum):
        raise Unfit(f"{rule.column} is out of range", column=rule.column, value=number)
    if rule.factor != 1.0:
        number *= rule.factor
    if rule.at_least is not None:
        number = max(number, rule.at_least)
    if rule.form == "integer":
        if rule.factor == 1.0 and not number.is_integer():
            raise Unfit(f"{rule.column} is not a whole number", column=rule.column, value=number)
        return round(number)
    return number


def _place(data: dict[str, Any], row: Row, rule: PositionRule, bounds: tuple[float, ...]) -> None:
    try:
        data["location"] = {"type": "GeoProperty", "value": _geometry(row, rule, bounds)}
    except Unfit as unfit:
        if rule.missing == "quarantine":
            raise
        data[POSITION_NOTE] = {"type": "Property", "value": unfit.reason}


def _geometry(row: Row, rule: PositionRule, bounds: tuple[float, ...]) -> dict[str, Any]:
    if not rule.geometry:
        return {"type": "Point", "coordinates": position_of(row, rule.latitude, rule.longitude, bounds)}
    geometry = row.get(GEOMETRY)
    if not isinstance(geometry, dict):
        raise Unfit("no position: the source has none", column=GEOMETRY)
    return geometry
