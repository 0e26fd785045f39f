# SPDX-License-Identifier: Apache-2.0
"""Documents and grants by chance, for the laws of permits."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from madang.model.access import ANY, Grant, Right

TYPES = ("Car", "Bus", "https://example.org/Tram")
NAMES = ("speed", "driver", "location", "https://example.org/load", "phone")
PERSONAL = ("driver", "phone")
TIMES = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00.5Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")


def square(west: float, south: float, size: float) -> dict[str, Any]:
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


AREAS = (square(0, 0, 10), square(5, 5, 10), square(20, 20, 5))


def _instance(name: str) -> st.SearchStrategy[dict[str, Any]]:
    if name == "location":
        points = st.tuples(st.integers(0, 26), st.integers(0, 26))
        value = points.map(lambda point: {"type": "Point", "coordinates": list(point)})
        return st.fixed_dictionaries(
            {"type": st.just("GeoProperty"), "value": value, "modifiedAt": st.sampled_from(TIMES)}
        )
    sub = st.dictionaries(
        st.sampled_from(("phone", "accuracy")),
        st.fixed_dictionaries({"type": st.just("Property"), "value": st.integers(0, 3)}),
        max_size=2,
    )
    whole = st.fixed_dictionaries(
        {"type": st.just("Property"), "value": st.integers(0, 5), "modifiedAt": st.sampled_from(TIMES)}
    )
    return st.tuples(whole, sub).map(lambda both: {**both[0], **both[1]})


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True))
    names = draw(st.lists(st.sampled_from(NAMES), max_size=5, unique=True))
    document: dict[str, Any] = {"id": "urn:a", "type": types[0] if len(types) == 1 else types}
    document["createdAt"], document["modifiedAt"] = TIMES[0], TIMES[-1]
    if draw(st.booleans()):
        document["scope"] = "/a"
    for name in names:
        one = draw(_instance(name))
        if draw(st.integers(0, 3)) == 0:
            document[name] = [one, {**draw(_instance(name)), "datasetId": "urn:d"}]
        else:
            document[name] = one
    return document


def grants(*, areas: bool = True) -> st.SearchStrategy[Grant]:
    return st.builds(
        Grant,
        rights=st.just(frozenset({Right.READ})),
        types=st.one_of(st.just((ANY,)), st.lists(st.sampled_from(TYPES), min_size=1, unique=True).map(tuple)),
        attributes=st.one_of(st.just((ANY,)), st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple)),
        area=st.one_of(st.none(), st.sampled_from(AREAS)) if areas else st.none(),
        purpose=st.sampled_from((None, "emergency")),
    )


def personal_names() -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(PERSONAL))
