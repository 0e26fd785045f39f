# SPDX-License-Identifier: Apache-2.0
"""A city is a folder: city.toml, a page for each source, and the data. No code knows a city."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfoNotFoundError

from madang.ingest.pages import CityInvalid, Page
from madang.ingest.source import Source, read_source
from madang.ingest.values import zone_of
from madang.model.jsonld.smart_data_models import SUBJECTS, smart_data_model_url

CITY_FILE: Final = "city.toml"
SOURCES_FOLDER: Final = "sources"


@dataclass(frozen=True, slots=True)
class SampleSubscription:
    """A subscription that shows notifications; its endpoint is filled in."""

    body: dict[str, Any]
    context: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Try:
    """Something for a newcomer to type; {url} in it is where the hub listens."""

    title: dict[str, str]
    command: str


@dataclass(frozen=True, slots=True)
class City:
    """What a city folder says. `bounds` are west, south, east and north in degrees."""

    id: str
    name: dict[str, str]
    zone: str
    tenant: str
    bounds: tuple[float, float, float, float]
    seed: str
    backfill_h: int
    sources: tuple[Source, ...]
    subscriptions: tuple[SampleSubscription, ...]
    tries: tuple[Try, ...]

    def source(self, id: str) -> Source:
        """Return the source with that id. Raises: CityInvalid: there is none."""
        for source in self.sources:
            if source.id == id:
                return source
        raise CityInvalid(f"There is no source {id!r:.80} in the city {self.id}", where="sources")


def read_city(folder: Path) -> City:
    """Read a city folder. Raises: CityInvalid: something in it is missing or wrong; `where` says where."""
    page = Page.load(folder / CITY_FILE)
    zone = page.text("time_zone")
    try:
        zone_of(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise page.fail("time_zone", f"{zone!r:.80} is no time zone; allowed are names such as Asia/Seoul") from None
    bounds = page.numbers("bounds")
    if len(bounds) != 4 or bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
        raise page.fail("bounds", "must be west, south, east and north in degrees")
    sources = []
    for name in page.texts("sources"):
        path = folder / SOURCES_FOLDER / f"{name}.toml"
        sources.append(read_source(Page.load(path), folder, path, zone))
    city = City(
        id=page.text("id"),
        name=page.texts_by_name("name"),
        zone=zone,
        tenant=page.text("tenant", ""),
        bounds=(bounds[0], bounds[1], bounds[2], bounds[3]),
        seed=page.text("seed", "1"),
        backfill_h=page.integer("backfill_h", 24),
        sources=tuple(sources),
        subscriptions=tuple(_subscription(each) for each in page.tables("subscriptions")),
        tries=tuple(_try(each) for each in page.tables("tries")),
    )
    page.end()
    _check(city)
    return city


def contexts_of(city: City) -> list[str]:
    """Return the @contexts of all its sources, each once: with them, short names find everything that lives there."""
    names = dict.fromkeys(name for source in city.sources for name in source.context)
    return context_of(tuple(names)) or []


def context_of(names: tuple[str, ...]) -> list[str] | None:
    """Return what to resolve for the contexts of a page: subjects of Smart Data Models by name, others by URL."""
    return [smart_data_model_url(name) if name in SUBJECTS else name for name in names] or None


def _subscription(page: Page) -> SampleSubscription:
    found = SampleSubscription(page.json("body"), page.texts("context", ()))
    page.end()
    return found


def _try(page: Page) -> Try:
    found = Try(page.texts_by_name("title"), page.text("command"))
    page.end()
    return found


def _check(city: City) -> None:
    """Raise CityInvalid when a page names a source that is not there or is not what it should be."""
    for source in city.sources:
        if source.generator is not None and city.source(source.generator.profile).profile is None:
            raise CityInvalid(f"{source.id}: {source.generator.profile} has no profile", where=source.id)
        if source.readings is not None and source.readings.known_in:
            city.source(source.readings.known_in)
