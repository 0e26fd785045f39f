# SPDX-License-Identifier: Apache-2.0
"""What a source page says: where the rows are, what becomes of each, and whom to name for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from madang.ingest.values import FORMS, TimeForm

if TYPE_CHECKING:
    from pathlib import Path

    from madang.ingest.pages import Page

Format = Literal["csv", "xlsx", "json", "geojson", "signal-plan"]
FORMATS: Final = ("csv", "xlsx", "json", "geojson", "signal-plan")
AGGREGATES: Final = ("", "median", "mean", "count")
ORIGINS: Final = ("", "recorded", "recorded, played back", "recorded plan", "profile of another city", "generated")


@dataclass(frozen=True, slots=True)
class TableAt:
    """Where rows are. `join` brings more columns from another table, by an equal value in a column."""

    files: tuple[Path, ...]
    format: Format
    encoding: str = "utf-8"
    records: str = ""  # JSON: the members that lead to the records, "a.b"
    key_column: str = ""  # JSON: records are an object; its keys become this column
    join: TableAt | None = None
    join_on: str = ""  # column of this table, and of the joined one


@dataclass(frozen=True, slots=True)
class Reject:
    """Rows that cannot be used: those whose column has one of the values, or (`allowed`) has none of them."""

    column: str
    reason: str
    values: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    below: float | None = None
    above: str = ""  # another column, above whose number it may not be


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """How a cell becomes an attribute; one of `column`, `text` ({columns} in it), `members` and `value` is given."""

    name: str
    column: str = ""
    form: str = "text"
    text: str = ""
    members: tuple[tuple[str, str], ...] = ()
    value: Any = None
    words: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    factor: float = 1.0
    at_least: float | None = None
    required: bool = False
    aggregate: str = ""
    origin: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class PositionRule:
    """Where the thing is: two columns, or the geometry of the row. `missing` says what becomes of rows without."""

    latitude: str = ""
    longitude: str = ""
    geometry: bool = False
    missing: Literal["quarantine", "keep"] = "quarantine"


@dataclass(frozen=True, slots=True)
class TimeRule:
    """Which columns make the moment, how they are written, and in which zone."""

    columns: tuple[str, ...]
    form: TimeForm
    zone: str


@dataclass(frozen=True, slots=True)
class EntityRule:
    """How a row becomes an entity."""

    id: str
    type: str
    type_column: str = ""
    types: tuple[tuple[str, str], ...] = ()
    attributes: tuple[AttributeRule, ...] = ()
    position: PositionRule | None = None
    prefer: str = ""  # of rows with one id, the one with the greatest value in this column is taken
    distinct: str = ""  # rows repeat the entity, as in a table of measurements: the first of each value is taken


@dataclass(frozen=True, slots=True)
class ReadingRule:
    """How rows become recorded values at recorded times, to be played back."""

    entity: str
    time: TimeRule
    attributes: tuple[AttributeRule, ...]
    window_s: int = 0  # rows of this many seconds are aggregated to one value
    known_in: str = ""  # the source whose entities the rows speak of


@dataclass(frozen=True, slots=True)
class ProfileRule:
    """How rows of another city become the shape of a day: means by hour, of working days and of days off."""

    time: TimeRule
    hour: str
    value: str
    over: str = ""


@dataclass(frozen=True, slots=True)
class GeneratorRule:
    """How values are generated for the entities of this source."""

    profile: str
    every_s: int
    capacity: str
    taken: str
    free: str
    swing: float
    against: bool
    note: str
    note_outside: str


@dataclass(frozen=True, slots=True)
class PlanRule:
    """How the present phase of a signal is written."""

    attribute: str
    note: str
    zone: str


@dataclass(frozen=True, slots=True)
class Source:
    """One source page."""

    id: str
    title: dict[str, str]
    publisher: str
    licence: str
    origin: str
    context: tuple[str, ...]
    table: TableAt
    rejects: tuple[Reject, ...] = ()
    entity: EntityRule | None = None
    readings: ReadingRule | None = None
    profile: ProfileRule | None = None
    generator: GeneratorRule | None = None
    plan: PlanRule | None = None
    pages: tuple[Path, ...] = field(default=())


def read_source(page: Page, folder: Path, path: Path, zone: str) -> Source:
    """Read a source page. Raises: CityInvalid."""
    table_page = page.table("table")
    if table_page is None:
        raise page.fail("table", "is missing")
    table = _table(table_page, folder)
    source = Source(
        id=path.stem,
        title=page.texts_by_name("title"),
        publisher=page.text("publisher"),
        licence=page.text("licence"),
        origin=page.text("origin"),
        context=page.texts("context", ()),
        table=table,
        rejects=tuple(_reject(each) for each in page.tables("reject")),
        entity=_entity(page.table("entity")),
        readings=_readings(page.table("readings"), zone),
        profile=_profile(page.table("profile"), zone),
        generator=_generator(page.table("generator")),
        plan=_plan(page.table("plan"), zone),
        pages=(path, *table.files, *(table.join.files if table.join else ())),
    )
    page.end()
    return source


def _table(page: Page, folder: Path) -> TableAt:
    files = tuple(folder / name for name in page.texts("files"))
    for file in files:
        if not file.is_file():
            raise page.fail("files", f"names {file.name}, which is not there")
    format = page.text("format")
    if format not in FORMATS:
        raise page.fail("format", f"is {format}; allowed are {', '.join(FORMATS)}")
    join_page = page.table("join")
    join, join_on = None, ""
    if join_page is not None:
        join_on = join_page.text("on")
        join = _table(join_page, folder)
    table = TableAt(
        files=files,
        format=format,  # type: ignore[arg-type]
        encoding=page.text("encoding", "utf-8"),
        records=page.text("records", ""),
        key_column=page.text("key_column", ""),
        join=join,
        join_on=join_on,
    )
    page.end()
    return table


def _reject(page: Page) -> Reject:
    found = Reject(
        column=page.text("column"),
        reason=page.text("reason"),
        values=frozenset(page.texts("is", ())),
        allowed=frozenset(page.texts("is_not", ())),
        below=page.number("below", None),
        above=page.text("above", ""),
    )
    page.end()
    return found


def _attribute(page: Page) -> AttributeRule:
    words = page.texts_by_name("words")
    members = page.texts_by_name("members")
    minimum, maximum, at_least = (page.number(key, None) for key in ("minimum", "maximum", "at_least"))
    found = AttributeRule(
        name=page.text("name"),
        column=page.text("column", ""),
        form=page.text("as", "text"),
        text=page.text("text", ""),
        members=tuple(members.items()),
        value=page.json("fixed").get("value"),
        words=tuple(words.items()),
        unit=page.text("unit", ""),
        minimum=minimum,
        maximum=maximum,
        factor=page.number("factor", 1.0) or 1.0,
        at_least=at_least,
        required=page.flag("required"),
        aggregate=page.text("aggregate", ""),
        origin=page.text("value_origin", ""),
        note=page.text("note", ""),
    )
    for key, value, allowed in (
        ("as", found.form, FORMS),
        ("aggregate", found.aggregate, AGGREGATES),
        ("value_origin", found.origin, ORIGINS),
    ):
        if value not in allowed:
            raise page.fail(key, f"is {value!r}; allowed are {', '.join(repr(each) for each in allowed)}")
    page.end()
    return found


def _entity(page: Page | None) -> EntityRule | None:
    if page is None:
        return None
    type_page = page.table("type_by")
    type_column, types = "", {}
    if type_page is not None:
        type_column, types = type_page.text("column"), type_page.texts_by_name("words")
        type_page.end()
    found = EntityRule(
        id=page.text("id"),
        type=page.text("type"),
        type_column=type_column,
        types=tuple(types.items()),
        attributes=tuple(_attribute(each) for each in page.tables("attributes")),
        position=_position(page.table("position")),
        prefer=page.text("prefer", ""),
        distinct=page.text("distinct", ""),
    )
    page.end()
    return found


def _position(page: Page | None) -> PositionRule | None:
    if page is None:
        return None
    missing = page.text("missing", "quarantine")
    if missing not in ("quarantine", "keep"):
        raise page.fail("missing", f"is {missing}; allowed are quarantine and keep")
    found = PositionRule(
        latitude=page.text("latitude", ""),
        longitude=page.text("longitude", ""),
        geometry=page.flag("geometry"),
        missing=missing,  # type: ignore[arg-type]
    )
    page.end()
    return found


def _time(page: Page | None, owner: Page, zone: str) -> TimeRule:
    if page is None:
        raise owner.fail("time", "is missing")
    form = page.text("form")
    try:
        found = TimeRule(page.texts("columns"), TimeForm.of(form), page.text("zone", zone))
    except ValueError as error:
        raise page.fail("form", str(error)) from error
    page.end()
    return found


def _readings(page: Page | None, zone: str) -> ReadingRule | None:
    if page is None:
        return None
    found = ReadingRule(
        entity=page.text("entity"),
        time=_time(page.table("time"), page, zone),
        attributes=tuple(_attribute(each) for each in page.tables("attributes")),
        window_s=page.integer("window_s", 0),
        known_in=page.text("known_in", ""),
    )
    page.end()
    return found


def _profile(page: Page | None, zone: str) -> ProfileRule | None:
    if page is None:
        return None
    found = ProfileRule(
        time=_time(page.table("time"), page, zone),
        hour=page.text("hour", ""),
        value=page.text("value"),
        over=page.text("over", ""),
    )
    page.end()
    return found


def _generator(page: Page | None) -> GeneratorRule | None:
    if page is None:
        return None
    found = GeneratorRule(
        profile=page.text("profile"),
        every_s=page.integer("every_s"),
        capacity=page.text("capacity"),
        taken=page.text("taken"),
        free=page.text("free"),
        swing=page.number("swing") or 0.0,
        against=page.flag("against"),
        note=page.text("note"),
        note_outside=page.text("note_outside", ""),
    )
    if found.every_s < 60:
        raise page.fail("every_s", "must be 60 or more")
    page.end()
    return found


def _plan(page: Page | None, zone: str) -> PlanRule | None:
    if page is None:
        return None
    found = PlanRule(page.text("attribute"), page.text("note"), page.text("zone", zone))
    page.end()
    return found
