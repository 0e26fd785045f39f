"""Tables of strangers: each of their known faults is met, by name, in a row made for it and in the city's own data."""

from __future__ import annotations

import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from madang.ingest.city import City, context_of, read_city
from madang.ingest.loading import Loaded, digest_of, load
from madang.ingest.pages import CityInvalid
from madang.ingest.source import TableAt
from madang.ingest.tables import rows_of
from madang.ingest.values import TimeForm, Unfit, moment_us, number_of, position_of, text_of, wall_s, wall_time_s
from madang.model.jsonld.context import CORE, Context, compile_context
from madang.model.jsonld.smart_data_models import smart_data_model_document

DAEJEON = Path(__file__).parents[2] / "examples" / "cities" / "daejeon"
BOUNDS = (127.2, 36.1, 127.6, 36.65)


@cache
def daejeon() -> City:
    return read_city(DAEJEON)


def context(names: tuple[str, ...]) -> Context:
    urls = context_of(names)
    return compile_context("c", urls, {url: smart_data_model_document(url) for url in urls}) if urls else CORE


@cache
def loaded(id: str) -> Loaded:
    source = daejeon().source(id)
    known = None
    if source.readings is not None and source.readings.known_in:
        known = loaded(source.readings.known_in).documents.keys()
    return load(source, daejeon(), context(source.context), known=known)


def local(name: str) -> str:
    return name.rpartition("/")[2]


def attributes(id: str, entity: str) -> dict[str, Any]:
    return {local(name): value for name, value in loaded(id).documents[entity].items()}


# ---- cells


def test_hour_24_is_the_midnight_that_ends_the_day() -> None:
    form = TimeForm.of("YYYYMMDDHH")
    assert form.read("2024123124") == form.read("2025010100")
    with pytest.raises(Unfit, match="no such time"):
        form.read("2024123125")
    with pytest.raises(Unfit, match="no such time"):
        TimeForm.of("YYYYMMDDHHmm").read("202412312401")


def test_days_and_months_may_lack_their_zero() -> None:
    form = TimeForm.of("D/M/YYYY")
    assert form.read("1/12/2017").isoformat() == "2017-12-01T00:00:00"
    with pytest.raises(Unfit, match="not written as"):
        form.read("2017-12-01")


@pytest.mark.parametrize("form", ["HHmm", "YYYYMM", "YYYYMMDDMM"])
def test_a_form_needs_each_part_of_the_date_once(form: str) -> None:
    with pytest.raises(ValueError, match="it needs YYYY, MM and DD"):
        TimeForm.of(form)


def test_a_wall_clock_time_is_a_moment_and_back() -> None:
    wall = wall_time_s(TimeForm.of("YYYYMMDDHH").read("2024100109"))
    moment = moment_us(wall, "Asia/Seoul")
    assert moment == 1_727_740_800_000_000  # 2024-10-01T00:00:00Z
    assert wall_s(moment, "Asia/Seoul") == wall


def test_a_position_is_read_whatever_its_columns_are_called() -> None:
    assert position_of({"x_pos": "36.35", "y_pos": "127.39"}, "x_pos", "y_pos", BOUNDS) == [127.39, 36.35]


@pytest.mark.parametrize(
    ("latitude", "longitude", "reason"),
    [
        ("", "127.39", "blank"),
        (None, "127.39", "blank"),
        ("0", "0", "is 0"),
        ("36.35", "0.0", "is 0"),
        ("127.39", "36.35", "the wrong way round"),
        ("37.57", "126.98", "outside of the city"),
        ("N36", "127.39", "is not a number"),
        ("nan", "127.39", "is not a finite number"),
    ],
)
def test_a_position_that_cannot_be_is_refused(latitude: str | None, longitude: str, reason: str) -> None:
    with pytest.raises(Unfit, match=reason):
        position_of({"y": latitude, "x": longitude}, "y", "x", BOUNDS)


def test_a_whole_number_of_a_spreadsheet_has_no_fraction() -> None:
    assert text_of({"t": 2024100101.0}, "t") == "2024100101"
    assert number_of({"t": " "}, "t") is None
    with pytest.raises(Unfit, match="no column"):
        text_of({}, "t")


# ---- tables


def table(tmp_path: Path, name: str, content: bytes, **more: Any) -> TableAt:
    (tmp_path / name).write_bytes(content)
    return TableAt(files=(tmp_path / name,), **more)


def test_cp949_is_read(tmp_path: Path) -> None:
    at = table(tmp_path, "a.csv", "이름,위도\n둥지아파트,36.3\n".encode("cp949"), format="csv", encoding="cp949")
    assert list(rows_of(at)) == [{"이름": "둥지아파트", "위도": "36.3"}]


def test_cp949_read_as_utf8_is_said_and_not_guessed(tmp_path: Path) -> None:
    at = table(tmp_path, "a.csv", "이름\n둥지아파트\n".encode("cp949"), format="csv")
    with pytest.raises(CityInvalid, match=r"a\.csv is not in utf-8"):
        list(rows_of(at))


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8"])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path, encoding: str) -> None:
    at = table(tmp_path, "a.csv", b"\xef\xbb\xbfid\n1\n", format="csv", encoding=encoding)
    assert list(rows_of(at)) == [{"id": "1"}]


@pytest.mark.parametrize(
    ("format", "content", "says"),
    [
        ("json", b"{", "not JSON"),
        ("json", b'{"a": 1}', "no list of records"),
        ("geojson", b'{"type": "Feature"}', "no GeoJSON FeatureCollection"),
        ("signal-plan", b"<a><b></a>", "not XML"),
        ("xlsx", b"PK nothing", "no spreadsheet"),
    ],
)
def test_a_file_that_is_something_else_is_said(tmp_path: Path, format: Any, content: bytes, says: str) -> None:
    with pytest.raises(CityInvalid, match=says):
        list(rows_of(table(tmp_path, "f", content, format=format)))


def test_another_table_brings_columns_and_blanks_where_it_has_none(tmp_path: Path) -> None:
    more = table(tmp_path, "b.json", b'{"data": {"x": {"lat": 1}}}', format="json", records="data", key_column="n")
    at = table(tmp_path, "a.csv", b"n\nx\ny\n", format="csv", join=more, join_on="n")
    assert list(rows_of(at)) == [{"n": "x", "lat": 1}, {"n": "y", "lat": None}]


# ---- pages


def city_with(tmp_path: Path, source: str, rows: str) -> City:
    (tmp_path / "sources").mkdir(exist_ok=True)
    (tmp_path / "t.csv").write_text(rows)
    page = 'publisher = "P"\nlicence = "L"\norigin = "O"\n[table]\nfiles = "t.csv"\nformat = "csv"\n'
    (tmp_path / "sources" / "s.toml").write_text(page + textwrap.dedent(source))
    (tmp_path / "city.toml").write_text(
        'id = "c"\nname = {en = "C"}\ntime_zone = "Asia/Seoul"\nbounds = [127, 36, 128, 37]\nsources = "s"\n'
    )
    return read_city(tmp_path)


ENTITY = """
    [entity]
    id = "urn:ngsi-ld:T:{id}"
    type = "T"
    [[entity.attributes]]
    name = "places"
    column = "n"
    as = "integer"
    minimum = 0.0
    required = true
"""


def test_rows_that_do_not_fit_are_counted_by_reason_and_the_sums_agree(tmp_path: Path) -> None:
    city = city_with(tmp_path, ENTITY, "id,n\na,1\na,2\nb,\nc,-1\nd,x\ne,1.5\nf,1,2\ng g,1\nh,7\n")
    report = load(city.source("s"), city, CORE).report
    reasons = {("not a valid id" if "NGSI-LD" in reason else reason): n for reason, n in report.quarantined.items()}
    assert reasons == {
        "another row with this id was taken": 1,
        "n is blank": 1,
        "n is out of range": 1,
        "n is not a number": 1,
        "n is not a whole number": 1,
        "the row has more cells than the table has columns": 1,
        "not a valid id": 1,
    }
    assert (report.rows, report.used, report.entities, report.adds_up) == (9, 2, 2, True)


def test_of_two_rows_about_one_thing_the_preferred_is_taken_wherever_it_stands(tmp_path: Path) -> None:
    page = ENTITY.replace('type = "T"', 'type = "T"\n    prefer = "date"')
    city = city_with(tmp_path, page, "id,n,date\na,1,2021\na,2,2022\na,3,2020\n")
    found = load(city.source("s"), city, CORE)
    assert found.documents["urn:ngsi-ld:T:a"]["places"]["value"] == 2
    assert (found.report.rows, found.report.used, found.report.quarantined.total()) == (3, 1, 2)


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("[entity]\nid = 'x'\n", "type is missing"),
        ("[entity]\nid = 'x'\ntype = 'T'\ntpye = 'T'\n", "tpye is not known"),
        ("[entity]\nid = 'x'\ntype = 1\n", "type must be a text"),
        ("[generator]\n", "profile is missing"),
        (ENTITY.replace('"integer"', '"float"'), "allowed are"),
        (ENTITY + '    value_origin = "measured"\n', "value_origin is 'measured'"),
    ],
)
def test_a_slip_of_the_pen_is_named_with_its_place(tmp_path: Path, page: str, says: str) -> None:
    with pytest.raises(CityInvalid, match=says):
        city_with(tmp_path, page, "id\n")


def test_a_city_without_its_page_or_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CityInvalid, match="cannot be read"):
        read_city(tmp_path)
    city_with(tmp_path, ENTITY, "id\n")
    (tmp_path / "t.csv").unlink()
    with pytest.raises(CityInvalid, match=r"names t\.csv, which is not there"):
        read_city(tmp_path)


def test_a_changed_page_or_file_changes_the_digest(tmp_path: Path) -> None:
    city = city_with(tmp_path, ENTITY, "id,n\na,1\n")
    before = digest_of(city.source("s"))
    assert before == digest_of(city.source("s"))
    (tmp_path / "t.csv").write_text("id,n\na,2\n")
    assert digest_of(city.source("s")) != before


# ---- the city's own data


@pytest.mark.parametrize(
    ("id", "rows", "used", "entities", "quarantined"),
    [
        ("air", 28_704, 28_050, 13, {"every value of the row is blank": 654}),
        ("bike-stations", 1_378, 1_378, 1_378, {}),
        ("parking-lots", 856, 443, 443, {"another row with this id was taken": 413}),
        ("bus-stops", 3_115, 3_115, 3_115, {}),
        ("signals", 1_756, 1_756, 1_756, {}),
        ("signal-plans", 115, 115, 115, {}),
        ("road-sections", 134, 134, 134, {}),
        (
            "travel-times",
            21_063,
            11_733,
            0,
            {
                "a travel time of 0 seconds stands for no value": 8_345,
                "the row speaks of something that no source knows": 985,
            },
        ),
        ("seoul-bike-rentals", 6_576, 6_528, 0, {"the service was closed that day": 48}),
        ("birmingham-parking", 18_954, 18_897, 0, {"fewer than no cars": 10, "more cars than places": 47}),
    ],
)
def test_every_row_of_the_city_is_accounted_for(
    id: str, rows: int, used: int, entities: int, quarantined: dict[str, int]
) -> None:
    report = loaded(id).report
    assert (report.rows, report.used, report.entities) == (rows, used, entities)
    assert dict(report.quarantined) == quarantined
    assert report.adds_up


def test_two_air_stations_have_no_position_and_say_so() -> None:
    without = [document for document in loaded("air").documents.values() if "location" not in document]
    assert sorted(attributes("air", each["id"])["name"]["value"] for each in without) == ["대흥동1", "월평동"]
    assert all("blank" in each["positionNote"]["value"] for each in without)


def test_the_bike_stations_stand_in_the_city_though_x_is_their_latitude() -> None:
    for document in loaded("bike-stations").documents.values():
        east, north = document["location"]["value"]["coordinates"]
        assert 127.2 < east < 127.6
        assert 36.1 < north < 36.65


def test_travel_times_are_medians_and_counts_of_five_minutes() -> None:
    series = loaded("travel-times").series
    assert series is not None
    assert all(time_s % 300 == 0 for time_s in series.times_s)
    counts = [value for row in series.values for value in row[1::2] if value == value]
    assert sum(counts) == 11_733
    assert min(value for row in series.values for value in row[0::2] if value == value) >= 7


def test_the_last_hour_of_the_year_is_the_first_midnight_of_the_next() -> None:
    series = loaded("air").series
    assert series is not None
    assert series.times_s[-1] == wall_time_s(TimeForm.of("YYYYMMDDHH").read("2025010100"))
    assert len(series.times_s) == 2_208


def test_nothing_made_up_looks_measured() -> None:
    for source in daejeon().sources:
        assert source.publisher
        assert source.licence
        for rule in source.readings.attributes if source.readings else ():
            assert rule.origin == "recorded, played back", (source.id, rule.name)
        if source.generator is not None:
            assert source.generator.note
            assert source.generator.note_outside
            names = {rule.name: rule for rule in source.entity.attributes} if source.entity else {}
            assert "not measured" in names["valueNote"].value
            if names[source.generator.capacity].factor != 1.0:
                assert names[source.generator.capacity].origin == "generated"
