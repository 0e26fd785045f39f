# SPDX-License-Identifier: Apache-2.0
"""What grants for one right in one tenant come to: which entities, and which parts of them (issue 3).

Grants add up. An entity is seen when a grant names one of its types and, if the grant has an area, every instance of
the entity's `location` lies in it (its border counts). Of such an entity all types and attributes are seen that those
grants name. An attribute that the tenant calls personal is seen only through a grant that says for what purpose, and
so are sub-attributes of that name, unless such a grant names the attribute they belong to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from madang.base.times import try_date_time
from madang.model.access import ANY, EVERYTHING, Grant
from madang.model.entity import (
    ENTITY_MEMBERS,
    INSTANCE_MEMBERS,
    Document,
    Instance,
    Json,
    instances_of,
    one_or_list,
    types_of,
)
from madang.model.query import geometry as geometries
from madang.model.query.geo import GeoQuery
from madang.model.query.model import EntitySelector, TypeSelection

LOCATION: Final = "location"
NO_NAMES: Final[frozenset[str]] = frozenset()
_LENSES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """What is seen of entities of some types at one place. A set of names that is None means all names."""

    types: tuple[str, ...]  # those that are seen, in the order in which the entity has them
    names: frozenset[str] | None  # of attributes that are not personal
    purposed: frozenset[str] | None  # granted with a purpose
    personal: frozenset[str]

    @property
    def whole(self) -> bool:
        """Whether nothing of the entity's attributes is hidden."""
        return self.names is None and (self.purposed is None or not self.personal)

    def sees(self, name: str) -> bool:
        """Tell whether the attribute is seen."""
        names = self.purposed if name in self.personal else self.names
        return names is None or name in names

    def sees_inside(self, attribute: str, name: str) -> bool:
        """Tell whether a sub-attribute of that name is seen inside the attribute."""
        if name not in self.personal or self.purposed is None:
            return True
        return attribute in self.purposed or name in self.purposed

    def show(self, document: Document) -> Document:
        """Return the document with what is seen; the very same one when that is all of it."""
        kept = {name: value for name, value in document.items() if name in ENTITY_MEMBERS or self.sees(name)}
        if self.personal and self.purposed is not None:
            for name, value in kept.items():
                if name not in ENTITY_MEMBERS:
                    kept[name] = self.show_value(name, value)
        kept["type"] = one_or_list(list(self.types))
        if not self.whole and "modifiedAt" in document:
            # A hidden part must not be told of by the time at which it was written.
            kept["modifiedAt"] = _modified_at(kept)
        return document if kept == document else kept

    def show_value(self, attribute: str, value: Json) -> Json:
        """Return an attribute, one instance or several, without the sub-attributes that are not seen."""
        if not self.personal or self.purposed is None or attribute in self.purposed:
            return value
        if isinstance(value, list):
            return [self._without(attribute, each) for each in value]
        return self._without(attribute, value)

    def _without(self, attribute: str, instance: Instance) -> Instance:
        if not isinstance(instance, dict) or INSTANCE_MEMBERS.issuperset(instance):
            return instance
        return {
            name: value if name in INSTANCE_MEMBERS else self.show_value(attribute, value)
            for name, value in instance.items()
            if name in INSTANCE_MEMBERS or self.sees_inside(attribute, name)
        }

    def hidden_inside(self, attribute: str, value: Json) -> Json:
        """Return what `show_value` leaves out, in a form that is equal for equal parts; empty when that is nothing."""
        if not self.personal or self.purposed is None or attribute in self.purposed:
            return []
        found: list[Json] = []
        for instance in value if isinstance(value, list) else [value]:
            if isinstance(instance, dict):
                for name, part in instance.items():
                    if name not in INSTANCE_MEMBERS:
                        seen = self.sees_inside(attribute, name)
                        inner = self.hidden_inside(attribute, part) if seen else _without_times(part)
                        if inner or not seen:
                            found.append([name, inner])
        return found


class Permit:
    """What may be seen (or, for other rights, touched) in one tenant.

    Args:
        grants: those that are for the right and the tenant.
        personal: canonical names of the attributes that the tenant calls personal.
        anywhere: areas do not count, as in a snapshot, which holds what lay in them when it was made.
    """

    __slots__ = ("_grants", "_lenses", "_personal", "_shapes", "by_area", "none", "place", "types", "unrestricted")

    def __init__(self, grants: Iterable[Grant], personal: Collection[str] = (), *, anywhere: bool = False) -> None:
        self._grants = tuple(replace(grant, area=None) if anywhere else grant for grant in grants)
        self._personal = frozenset(personal)
        self._shapes: dict[int, Any] = {}
        self._lenses: dict[tuple[object, ...], Lens | None] = {}
        self.none: bool = not self._grants
        self.unrestricted: bool = any(self._is_whole(grant) and ANY in grant.types for grant in self._grants)
        self.by_area: bool = not self.unrestricted and any(grant.area is not None for grant in self._grants)
        # Where everything lies that may be seen, as a question to a store; None: no single area says it.
        self.place: GeoQuery | None = _place(self._grants) if self.by_area else None
        # All types that may be seen; None: any.
        self.types: frozenset[str] | None = None
        if not any(ANY in grant.types for grant in self._grants):
            self.types = frozenset(name for grant in self._grants for name in grant.types)

    def _is_whole(self, grant: Grant) -> bool:
        named = grant.purpose is not None or not self._personal
        return ANY in grant.attributes and grant.area is None and named

    def lens(self, document: Document, *, vague: bool = False) -> Lens | None:
        """Return how the entity is seen; None when it is not.

        With `vague`, an entity without a location may lie in any area.
        """
        return self.lens_of(types_of(document), document if self.by_area else None, vague=vague)

    def lens_of(self, types: Sequence[str], document: Document | None = None, *, vague: bool = False) -> Lens | None:
        """Return how an entity of these types is seen; without a document it lies in no area."""
        key: tuple[object, ...] = tuple(types)
        places: tuple[int, ...] = ()
        if self.by_area:
            places = tuple(
                index
                for index, grant in enumerate(self._grants)
                if grant.area is None
                or (document is not None and ((vague and LOCATION not in document) or self._lies_in(index, document)))
            )
            key = (key, places)
        if key in self._lenses:
            return self._lenses[key]
        grants = [self._grants[index] for index in places] if self.by_area else self._grants
        if len(self._lenses) >= _LENSES_MAX:
            self._lenses.clear()
        lens = self._lenses[key] = self._made(grants, types)
        return lens

    def _made(self, grants: Iterable[Grant], types: Sequence[str]) -> Lens | None:
        fitting = [grant for grant in grants if ANY in grant.types or not set(types).isdisjoint(grant.types)]
        if not fitting:
            return None
        seen = tuple(name for name in types if any(ANY in grant.types or name in grant.types for grant in fitting))
        purposed = [grant for grant in fitting if grant.purpose is not None]
        return Lens(seen, _names(fitting), _names(purposed), self._personal)

    def _lies_in(self, index: int, document: Document) -> bool:
        area = self._shapes.get(index)
        if area is None:
            import shapely  # type: ignore[import-untyped]  # on first use, as it takes a tenth of a second

            area = self._shapes[index] = geometries.shape(self._grants[index].area)
            if area is None:
                return False
            shapely.prepare(area)
        instances = instances_of(document, LOCATION)
        for instance in instances:
            place = geometries.shape(instance.get("value")) if instance.get("type") == "GeoProperty" else None
            if place is None or not area.covers(place):
                return False
        return bool(instances)

    def visible(self, document: Document) -> Document | None:
        """Return the document with only what may be seen; None when nothing of it may be."""
        if self.unrestricted:
            return document
        lens = self.lens(document)
        return None if lens is None else lens.show(document)

    # ---- questions

    def narrow(self, selectors: Sequence[EntitySelector]) -> tuple[EntitySelector, ...] | None:
        """Return selectors that leave out types that are not seen; None when nothing is left to ask for."""
        types = self.types
        if types is None:
            return tuple(selectors)
        every = TypeSelection(tuple((name,) for name in sorted(types)))
        if not selectors:
            return (EntitySelector(types=every),) if every.any_of else None
        narrowed = []
        for selector in selectors:
            chosen = every
            if selector.types is not None:
                chosen = TypeSelection(tuple(group for group in selector.types.any_of if types.issuperset(group)))
            if chosen.any_of:
                narrowed.append(replace(selector, types=chosen))
        return tuple(narrowed) or None

    def sees_everywhere(self, name: str) -> bool:
        """Tell whether the attribute (or sub-attribute) is seen of each entity that is seen."""
        return all(
            (ANY in grant.attributes or name in grant.attributes)
            and (grant.purpose is not None or name not in self._personal)
            for grant in self._grants
        )


def _place(grants: Sequence[Grant]) -> GeoQuery | None:
    area = grants[0].area
    if area is None or any(grant.area != area for grant in grants):
        return None
    # An entity that is covered by the area touches it at least: the permit has the last word.
    return GeoQuery("intersects", area["type"], orjson.dumps(area["coordinates"]).decode(), LOCATION)


def _names(grants: Sequence[Grant]) -> frozenset[str] | None:
    if any(ANY in grant.attributes for grant in grants):
        return None
    return frozenset(name for grant in grants for name in grant.attributes)


def _modified_at(document: Document) -> Json:
    """Return when the newest part of a document was written."""
    times = [document.get("createdAt")]
    times += [each.get("modifiedAt") for name in document for each in instances_of(document, name)]
    known = [time for time in times if time is not None]
    return max(known, key=lambda time: try_date_time(time) or 0, default=document["modifiedAt"])


def _without_times(value: Json) -> Json:
    if isinstance(value, list):
        return [_without_times(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_times(each) for name, each in value.items() if name not in ("createdAt", "modifiedAt")}
    return value


ALL: Final = Permit((EVERYTHING,))
NOTHING: Final = Permit(())
