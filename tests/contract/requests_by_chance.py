"""Requests of all kinds by chance, over few entities, so that they meet each other's traces."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from tests.query_samples import MOMENTS, NUMBERS, POSITIONS, TEXTS

Json = Any
IDS: Final = tuple(f"urn:x:{number}" for number in range(24))
TYPES: Final = ("T", "U", "https://example.org/V")
NAMES: Final = ("a", "b", "https://example.org/c", "place", "many")
DATASETS: Final = ("urn:d:1", "urn:d:2")
TENANTS: Final = ("", "", "", "seoul")
VALUES: Final = (*NUMBERS[:-1], *TEXTS, True, False, [1, "a", 2.5], {"k": 1, "m": {"k": "a"}})
EXTENTS: Final = ("", "?deleteAll=true", "?datasetId=urn:d:1")
QUESTIONS: Final = (
    *('a>0', 'a==1', 'a=="ab"', 'a!="a"', "b", "!b", "a>=0;b", "a<1|b>1", 'a~="^a"', 'a!~="b"', "a==1..2", "a[k]==1"),
    *('a==1,2,"ab"', "many>0", 'a.sub=="x"', "a.observedAt>2026-01-01T00:00:00Z", "(a>0|b>0);!many", "a==true"),
    *("a>", "a==;", "((a", "modifiedAt>2020-01-01T00:00:00Z", 'b{T}=="urn:x:1"'),
)  # fmt: skip
GEOS: Final = (
    "georel=near;maxDistance==200000&geometry=Point&coordinates=[0,0]",
    "georel=near;minDistance==50000&geometry=Point&coordinates=[1,1]",
    "georel=within&geometry=Polygon&coordinates=[[[-1,-1],[2,-1],[2,2],[-1,2],[-1,-1]]]",
    "georel=disjoint&geometry=Point&coordinates=[1,1]",
    "georel=intersects&geometry=LineString&coordinates=[[0,0],[1,1]]",
    "georel=within&geometry=Point&coordinates=[1]",
)


@dataclass
class Call:
    method: str
    path: str
    body: Json = None
    headers: dict[str, str] = field(default_factory=dict)


class Chance:
    """Gives one request after the other; the same seed gives the same requests."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret is drawn
        self._number = 0

    def call(self) -> Call:
        """Return the next request."""
        kinds = [self._create, self._change, self._find, self._find, self._temporal, self._other]
        call: Call = self._pick(kinds)()
        tenant = self._pick(TENANTS)
        if tenant:
            call.headers["ngsild-tenant"] = tenant
        if call.method == "GET" and self._often(0.2):
            call.headers["accept"] = self._pick(("application/ld+json", "application/geo+json", "application/json"))
        return call

    # ---- pieces

    def _pick(self, items: Any) -> Any:
        return self._random.choice(items)

    def _often(self, share: float) -> bool:
        return self._random.random() < share

    def _moment(self) -> str:
        return str(self._pick(MOMENTS))

    def instance(self) -> Json:
        kind = self._random.random()
        made: Json
        if kind < 0.65:
            made = {"type": "Property", "value": self._pick(VALUES)}
        elif kind < 0.75:
            made = {"type": "Relationship", "object": self._pick(IDS)}
        elif kind < 0.85:
            made = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": self._pick(POSITIONS)[:2]}}
        elif kind < 0.93:
            made = {"type": "LanguageProperty", "languageMap": {"en": "a", "ko": self._pick(TEXTS[1:6])}}
        else:
            made = {"type": "VocabProperty", "vocab": self._pick(("T", "word"))}
        if self._often(0.3):
            made["observedAt"] = self._moment()
        if self._often(0.15):
            made["sub"] = {"type": "Property", "value": self._pick(("x", 1, None if self._often(0.1) else 2))}
        if self._often(0.1):
            made["unitCode"] = "C62"
        return made

    def attribute(self) -> Json:
        if self._often(0.8):
            return self.instance()
        return [self.instance(), *({**self.instance(), "datasetId": dataset} for dataset in DATASETS)]

    def attributes(self) -> dict[str, Json]:
        names = self._random.sample(NAMES, self._random.randint(0, 4))
        return {name: self.attribute() for name in names}

    def entity(self) -> dict[str, Json]:
        kind = self._pick((*TYPES, ["T", "U"]))
        made: dict[str, Json] = {"id": self._pick(IDS), "type": kind, **self.attributes()}
        if self._often(0.2):
            made["scope"] = self._pick(("/a/b", "/a", ["/b", "/a/c"]))
        if self._often(0.3):
            made["location"] = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [0.5, 0.5]}}
        return made

    def _id(self) -> str:
        return quote(self._pick(IDS), safe=":")

    def _name(self) -> str:
        return quote(self._pick(NAMES), safe="")

    # ---- requests

    def _create(self) -> Call:
        if self._often(0.4):
            many = [self.entity() for _ in range(self._random.randint(1, 12))]
            kind = self._pick(
                ("create", "upsert", "upsert?options=update", "update", "merge", "update?options=noOverwrite")
            )
            return Call("POST", f"/entityOperations/{kind}", many)
        return Call("POST", "/entities", self.entity())

    def _change(self) -> Call:
        id, name = self._id(), self._name()
        made: Call = self._pick((
            lambda: Call("PATCH", f"/entities/{id}/attrs", self.attributes()),
            lambda: Call("POST", f"/entities/{id}/attrs{self._pick(('', '?options=noOverwrite'))}", self.attributes()),
            lambda: Call("PATCH", f"/entities/{id}/attrs/{name}", {"value": self._pick(VALUES)}),
            lambda: Call("PUT", f"/entities/{id}/attrs/{name}", self.instance()),
            lambda: Call("PATCH", f"/entities/{id}", self.attributes()),
            lambda: Call("PUT", f"/entities/{id}", {**self.entity(), "id": id}),
            lambda: Call("DELETE", f"/entities/{id}/attrs/{name}{self._pick(EXTENTS)}"),
            lambda: Call("DELETE", f"/entities/{id}"),
            lambda: Call("POST", "/entityOperations/delete", [self._pick(IDS), self._pick(IDS)]),
            lambda: Call("DELETE", f"/entities?type=U&q={quote(self._pick(QUESTIONS))}"),
        ))()  # fmt: skip
        return made

    def _filters(self) -> list[str]:
        parts: list[tuple[float, Callable[[], str]]] = [
            (0.6, lambda: f"type={quote(self._pick((*TYPES, 'T,U', 'T;U', '(T;U)|https://example.org/V')))}"),
            (0.4, lambda: f"q={quote(self._pick(QUESTIONS))}"),
            (0.2, lambda: self._pick(GEOS)),
            (0.15, lambda: f"scopeQ={quote(self._pick(('/a/#', '/a,/b', '/a;/b', '/+/c')))}"),
            (0.15, lambda: f"attrs={self._name()},{self._name()}"),
            (0.1, lambda: f"id={self._id()},{self._id()}"),
            (0.1, lambda: f"idPattern={quote(self._pick(('urn:x:1.*', '[02468]$', '(')))}"),
            (0.1, lambda: f"datasetId={self._pick(('@none', 'urn:d:1', 'urn:d:1,@none'))}"),
        ]
        return [make() for share, make in parts if self._often(share)]

    def _find(self) -> Call:
        if self._often(0.2):
            options = self._pick(
                ("", "?options=keyValues", "?options=sysAttrs", f"?attrs={self._name()}", "?pick=id,a")
            )
            return Call("GET", f"/entities/{self._id()}{options}")
        if self._often(0.1):
            body = {"type": "Query", "entities": [{"type": self._pick(TYPES)}], "q": self._pick(QUESTIONS)}
            return Call("POST", f"/entityOperations/query?limit={self._random.randint(0, 9)}", body)
        more: list[tuple[float, Callable[[], str]]] = [
            (0.5, lambda: f"limit={self._random.randint(0, 12)}"),
            (0.3, lambda: f"offset={self._random.randint(0, 15)}"),
            (0.3, lambda: "count=true"),
            (
                0.3,
                lambda: f"orderBy={quote(self._pick(('a', 'a;desc', 'b,id;desc', 'id', 'a.sub', 'modifiedAt;desc')))}",
            ),
            (0.2, lambda: f"options={self._pick(('keyValues', 'sysAttrs', 'concise'))}"),
            (0.1, lambda: f"omit={self._name()}"),
        ]
        parts = [*(self._filters() or ["type=T"]), *(make() for share, make in more if self._often(share))]
        return Call("GET", f"/entities?{'&'.join(parts)}")

    def _temporal(self) -> Call:
        if self._often(0.2):
            levels = [
                {"type": "Property", "value": self._pick(NUMBERS[:8]), "observedAt": moment} for moment in MOMENTS
            ]
            return Call("POST", "/temporal/entities", {"id": self._pick(IDS), "type": "T", "a": levels})
        when = self._pick((
            "", "timerel=after&timeAt=2026-01-01T00:00:00Z", "timerel=before&timeAt=2026-01-02T00:00:00Z",
            "timerel=between&timeAt=2026-01-01T00:00:00Z&endTimeAt=2026-01-01T12:00:00Z",
            "timerel=after&timeAt=2020-01-01T00:00:00Z&timeproperty=modifiedAt",
            "timerel=after&timeAt=2020-01-01T00:00:00Z&timeproperty=createdAt",
            "timerel=after&timeAt=2020-01-01T00:00:00Z&timeproperty=deletedAt",
        ))  # fmt: skip
        how = self._pick((
            "", "lastN=2", "lastN=1", "options=temporalValues", "options=sysAttrs", "attrs=a",
            "options=aggregatedValues&aggrMethods=avg,max,min,sum,totalCount,distinctCount&aggrPeriodDuration=PT12H",
            "options=aggregatedValues&aggrMethods=stddev,sumsq&aggrPeriodDuration=P1D&attrs=a",
        ))  # fmt: skip
        parts = [part for part in (when, how) if part]
        if self._often(0.4):
            return Call("GET", f"/temporal/entities/{self._id()}{'?' if parts else ''}{'&'.join(parts)}")
        if self._often(0.15):
            return Call(
                "DELETE", f"/temporal/entities/{self._id()}/attrs/{self._name()}{self._pick(('', '?deleteAll=true'))}"
            )
        if self._often(0.1):
            return Call("POST", f"/temporal/entities/{self._id()}/attrs", {"a": [self.instance()]})
        if self._often(0.05):
            return Call("DELETE", f"/temporal/entities/{self._id()}")
        parts += self._filters() or ["type=T"]
        if self._often(0.4):
            parts.append(f"limit={self._random.randint(1, 8)}&count=true")
        return Call("GET", f"/temporal/entities?{'&'.join(parts)}")

    def _other(self) -> Call:
        self._number += 1
        id = f"urn:s:{self._number % 9}"
        subscription = {
            "id": id,
            "type": "Subscription",
            "isActive": False,
            "entities": [{"type": self._pick(TYPES)}],
            "q": self._pick(QUESTIONS),
            "notification": {"endpoint": {"uri": "http://127.0.0.1:9/none"}},
        }
        made: Call = self._pick((
            lambda: Call("GET", f"/types{self._pick(('', '?details=true', '/T', '/none'))}"),
            lambda: Call("GET", f"/attributes{self._pick(('', '?details=true', '/a', '/none'))}"),
            lambda: Call("POST", "/subscriptions", subscription),
            lambda: Call("GET", f"/subscriptions/{id}"),
            lambda: Call("GET", "/subscriptions?limit=3&count=true"),
            lambda: Call("PATCH", f"/subscriptions/{id}", {"description": json.dumps(self._number)}),
            lambda: Call("DELETE", f"/subscriptions/{id}"),
            lambda: Call("GET", "/jsonldContexts?kind=Hosted"),
        ))()  # fmt: skip
        return made
