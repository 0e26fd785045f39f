# SPDX-License-Identifier: Apache-2.0
"""Tables of strangers, read row by row: CSV in any encoding, XLSX, JSON, GeoJSON, and signal plans in XML."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import orjson

from madang.ingest.pages import CityInvalid
from madang.ingest.source import TableAt
from madang.ingest.values import text_of

GEOMETRY: Final = "geometry"
PLAN: Final = "plan"
CELLS_TOO_MANY: Final = ""  # the column under which cells beyond the header stand


def rows_of(table: TableAt) -> Iterator[dict[str, Any]]:
    """Yield the rows of all files of a table by column. Raises: CityInvalid: a file is not what the page says."""
    joined: dict[str, dict[str, Any]] = {}
    if table.join is not None:
        joined = {text_of(row, table.join_on): row for row in rows_of(table.join)}
    nothing = {column: None for row in joined.values() for column in row}
    for file in table.files:
        for row in _READERS[table.format](file, table):
            if table.join is None:
                yield row
            else:
                yield {**nothing, **joined.get(text_of(row, table.join_on), {}), **row}


def _csv(file: Path, table: TableAt) -> Iterator[dict[str, Any]]:
    try:
        # A byte order mark is no part of the first column's name.
        encoding = "utf-8-sig" if codecs.lookup(table.encoding).name == "utf-8" else table.encoding
    except LookupError:
        raise CityInvalid(
            f"{table.encoding} is no encoding; allowed are utf-8, cp949 and others", where="encoding"
        ) from None
    try:
        with file.open(encoding=encoding, newline="") as text:
            yield from csv.DictReader(text, restkey=CELLS_TOO_MANY)
    except UnicodeDecodeError as error:
        raise CityInvalid(f"{file.name} is not in {table.encoding}: {error.reason}", where="encoding") from error
    except csv.Error as error:
        raise CityInvalid(f"{file.name} is not CSV: {error}", where="format") from error


def _xlsx(file: Path, table: TableAt) -> Iterator[dict[str, Any]]:  # noqa: ARG001 (all readers are called alike)
    from python_calamine import CalamineError, CalamineWorkbook  # only who has a spreadsheet carries its weight

    try:
        sheet = CalamineWorkbook.from_path(str(file)).get_sheet_by_index(0)
    except CalamineError as error:
        raise CityInvalid(f"{file.name} is no spreadsheet: {error}", where="format") from error
    rows = iter(sheet.iter_rows())
    header = [str(cell).strip() for cell in next(rows, [])]
    for cells in rows:
        yield dict(zip(header, cells, strict=False))


def _json(file: Path, table: TableAt) -> Iterator[dict[str, Any]]:
    records = _parsed(file)
    for member in filter(None, table.records.split(".")):
        records = records.get(member) if isinstance(records, dict) else None
    if isinstance(records, dict) and table.key_column:
        records = [{table.key_column: key, **value} for key, value in records.items() if isinstance(value, dict)]
    if not isinstance(records, list):
        raise CityInvalid(f"{file.name} has no list of records at {table.records or 'its top'}", where="records")
    yield from (record for record in records if isinstance(record, dict))


def _geojson(file: Path, table: TableAt) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    data = _parsed(file)
    features = data.get("features") if isinstance(data, dict) else None
    if not isinstance(features, list):
        raise CityInvalid(f"{file.name} is no GeoJSON FeatureCollection", where="format")
    for feature in features:
        geometry = feature.get("geometry")
        yield {**(feature.get("properties") or {}), GEOMETRY: geometry}


def _parsed(file: Path) -> Any:
    try:
        return orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise CityInvalid(f"{file.name} is not JSON: {error}", where="format") from error


def _signal_plans(file: Path, table: TableAt) -> Iterator[dict[str, Any]]:  # noqa: ARG001
    """Yield one row a trafficSignal: its attributes, and the element itself as the column `plan`."""
    try:
        for _, element in ElementTree.iterparse(file):  # noqa: S314 (a file that whoever runs the hub chose)
            if element.tag == "trafficSignal":
                yield {**element.attrib, PLAN: element}
    except ElementTree.ParseError as error:
        raise CityInvalid(f"{file.name} is not XML: {error}", where="format") from error


_READERS: Final = {"csv": _csv, "xlsx": _xlsx, "json": _json, "geojson": _geojson, "signal-plan": _signal_plans}
