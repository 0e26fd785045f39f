# SPDX-License-Identifier: Apache-2.0
"""Requests by chance that try to learn what they should not: every filter, order, count, join and error text."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.leak_world import ATTRIBUTES, BUSES, CANARY, CARS, IDS, SHOPS

_HIDDEN = ("secret", "phone", "driver", "secretPlace", "extra", "note", "name", "speed", "owner", "location")
_TYPES = ("Car", "Bus", "Shop", "Car,Shop", "Car|Bus", "(Car;Bus)", "Nothing", "*")
_MOMENTS = ("2023-11-14T22:13:20Z", "2023-11-14T22:15:00Z", "2023-11-14T22:17:00Z", "2026-01-15T00:00:00Z")
_PLACES = ("[5,5]", "[0,0]", "[40,40]", "[-20,10]")


@dataclass
class Attempt:
    """One request."""

    method: str
    path: str
    parameters: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.method} {self.path}?{query} {self.headers} {self.body}"


class Attempts:
    """Draws attempts."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def draw(self) -> Attempt:
        chance = self._chance
        kinds = (
            *[self._entities] * 8,
            *[self._by_body] * 3,
            *[self._entity] * 4,
            *[self._temporal] * 4,
            *[self._temporal_by_body] * 2,
            *[self._temporal_entity] * 2,
            self._discovery,
            self._entity_map,
            self._writing,
            self._elsewhere,
            self._others,
        )
        return chance.choice(kinds)()

    # ---- parts

    def _name(self) -> str:
        return self._chance.choice((*_HIDDEN, *ATTRIBUTES))

    def _names(self) -> str:
        return ",".join(dict.fromkeys(self._name() for _ in range(self._chance.randrange(1, 4))))

    def _value(self) -> str:
        chance = self._chance
        return chance.choice(
            (str(chance.randrange(100)), f'"word{chance.randrange(6)}"', f'"{CANARY}"', "true", _MOMENTS[0])
        )

    def _term(self) -> str:
        chance = self._chance
        name = self._name()
        path = chance.choice(
            (
                *[name] * 6,
                f"{name}.phone",
                "note.phone",
                f"{name}.modifiedAt",
                f"{name}[x]",
                f"owner{{{name}}}",
                f"owner{{owner{{{name}}}}}",
                *("modifiedAt", "createdAt", "type"),
            )
        )
        operator = chance.choice(("", "==", "!=", ">", "<", ">=", "<=", "~=", "!", ".."))
        if operator == "":
            return path
        if operator == "!":
            return f"!{path}"
        if operator == "..":
            return f"{path}=={chance.randrange(50)}..{chance.randrange(50, 100)}"
        if operator == "~=":
            return f"{path}~={chance.choice((CANARY, 'word', '.*', '[0-7]$'))}"
        if path.endswith("At"):
            return f"{path}{operator}{chance.choice(_MOMENTS)}"
        return f"{path}{operator}{self._value()}"

    def _q(self) -> str:
        terms = [self._term() for _ in range(self._chance.choice((1, 1, 1, 2, 3)))]
        return self._chance.choice((";", "|")).join(terms)

    def _geo(self) -> dict[str, str]:
        chance = self._chance
        georel = chance.choice(
            ("near;maxDistance==200000", "near;minDistance==1000000", "within", "disjoint", "equals")
        )
        geometry, coordinates = "Point", chance.choice(_PLACES)
        if georel in ("within", "disjoint"):
            geometry, coordinates = "Polygon", "[[[0,0],[9,0],[9,9],[0,9],[0,0]]]"
        found = {"georel": georel, "geometry": geometry, "coordinates": coordinates}
        if chance.random() < 0.6:
            found["geoproperty"] = chance.choice(("secretPlace", "location", "speed"))
        return found

    def _order(self) -> dict[str, str]:
        chance = self._chance
        keys = []
        for _ in range(chance.choice((1, 1, 2))):
            by = self._name() + chance.choice(("", ";desc", ";asc", ";dist-asc", ".phone", ";dist-desc"))
            keys.append(chance.choice((by, by, by, "modifiedAt;desc", "type", "createdAt")))
        return {"orderBy": ",".join(keys), "orderFrom": chance.choice(_PLACES)}

    def _shown(self) -> dict[str, str]:
        chance = self._chance
        found: dict[str, str] = {}
        which = chance.random()
        if which < 0.2:
            found["attrs"] = self._names()
        elif which < 0.4:
            found["pick"] = chance.choice((self._names(), f"id,{self._names()}", f"owner{{{self._name()}}}"))
        elif which < 0.5:
            found["omit"] = self._names()
        if chance.random() < 0.3:
            found["options"] = chance.choice(("sysAttrs", "simplified", "concise", "sysAttrs,concise"))
        if chance.random() < 0.2:
            found |= {"join": chance.choice(("flat", "inline")), "joinLevel": chance.choice(("1", "2"))}
        if chance.random() < 0.1:
            found["datasetId"] = chance.choice(("urn:set:1", "@none"))
        return found

    def _filters(self) -> dict[str, str]:
        chance = self._chance
        found: dict[str, str] = {}
        if chance.random() < 0.6:
            found["type"] = chance.choice(_TYPES)
        else:
            found["local"] = "true"
        if chance.random() < 0.65:
            found["q"] = self._q()
            found.update({"joinLevel": "2", "join": "flat"} if "{" in found["q"] and chance.random() < 0.9 else {})
        if chance.random() < 0.2:
            found |= self._geo()
        if chance.random() < 0.1:
            found["scopeQ"] = chance.choice(("/a", "/a/#", "/#", "/c", "/x"))
        if chance.random() < 0.1:
            found["id"] = ",".join(chance.sample(IDS, 3))
        if chance.random() < 0.1:
            found["idPattern"] = chance.choice((".*1$", "urn:bus.*", "urn:shop:[12]", "car"))
        return found

    def _page(self) -> dict[str, str]:
        chance = self._chance
        found = {"count": "true"} if chance.random() < 0.4 else {}
        if chance.random() < 0.3:
            found |= {"limit": str(chance.choice((0, 1, 2, 5))), "offset": str(chance.choice((0, 1, 3)))}
        if found.get("limit") == "0":
            found["count"] = "true"
        return found

    def _media(self) -> dict[str, str]:
        chance = self._chance
        if chance.random() < 0.85:
            return {}
        return {"Accept": chance.choice(("application/geo+json", "application/ld+json"))}

    def _window(self) -> dict[str, str]:
        chance = self._chance
        relation = chance.choice(("before", "after", "between", "after"))
        found = {"timerel": relation, "timeAt": _MOMENTS[0] if relation != "before" else _MOMENTS[-1]}
        if relation == "between":
            found["endTimeAt"] = _MOMENTS[-1]
        if chance.random() < 0.6:
            found["timeproperty"] = chance.choice(("modifiedAt", "createdAt", "observedAt", "deletedAt", "modifiedAt"))
        if chance.random() < 0.3:
            found["lastN"] = str(chance.randrange(1, 4))
        return found

    def _aggregation(self) -> dict[str, str]:
        methods = ("totalCount", "distinctCount", "sum", "avg", "min", "max", "totalCount,distinctCount", "sumsq")
        return {
            "options": "aggregatedValues",
            "aggrMethods": self._chance.choice(methods),
            "aggrPeriodDuration": self._chance.choice(("PT1M", "P1D", "PT0S")),
        }

    # ---- requests

    def _entities(self) -> Attempt:
        parameters = self._filters() | self._shown() | self._page()
        headers = self._media()
        if self._chance.random() < 0.25:
            parameters |= self._order()
        if headers.get("Accept") == "application/geo+json" and self._chance.random() < 0.5:
            parameters["geometryProperty"] = self._chance.choice(("secretPlace", "location"))
        return Attempt("GET", "/entities", parameters, headers)

    def _by_body(self) -> Attempt:
        chance = self._chance
        body: dict[str, Any] = {"type": "Query"}
        selector: dict[str, Any] = {"type": chance.choice(("Car", "Bus", "Shop", "*", "Car,Bus"))}
        if chance.random() < 0.2:
            selector["id"] = chance.choice(IDS)
        if chance.random() < 0.8:
            body["entities"] = [selector]
        if chance.random() < 0.7:
            body["q"] = self._q()
            body |= {"join": "flat", "joinLevel": 2} if "{" in body["q"] else {}
        if chance.random() < 0.3:
            body["attrs"] = self._names().split(",")
        if chance.random() < 0.2:
            geo = self._geo()
            body["geoQ"] = {**geo, "coordinates": quote(geo["coordinates"], safe="[],-")}
        if chance.random() < 0.3:
            body["ordering"] = {"orderBy": [self._name() + chance.choice(("", ";desc"))]}
        return Attempt("POST", "/entityOperations/query", self._page() | {"local": "true"}, self._media(), body)

    def _entity(self) -> Attempt:
        parameters = self._shown()
        headers = self._media()
        if self._chance.random() < 0.2:
            parameters["type"] = self._chance.choice(_TYPES[:6])
        if headers.get("Accept") == "application/geo+json" and self._chance.random() < 0.5:
            parameters["geometryProperty"] = self._chance.choice(("secretPlace", "location"))
        return Attempt("GET", f"/entities/{self._chance.choice(IDS)}", parameters, headers)

    def _temporal(self) -> Attempt:
        parameters = self._filters() | self._window() | self._page()
        parameters = {name: value for name, value in parameters.items() if name not in ("join", "joinLevel")}
        chance = self._chance
        if chance.random() < 0.4:
            parameters |= self._aggregation()
        elif chance.random() < 0.5:
            parameters["options"] = chance.choice(("temporalValues", "sysAttrs"))
        if chance.random() < 0.4:
            parameters[chance.choice(("attrs", "pick", "omit"))] = self._names()
        return Attempt("GET", "/temporal/entities", parameters)

    def _temporal_by_body(self) -> Attempt:
        chance = self._chance
        body: dict[str, Any] = {"type": "Query", "entities": [{"type": chance.choice(("Car", "Bus", "Shop"))}]}
        body["temporalQ"] = {name: int(value) if name == "lastN" else value for name, value in self._window().items()}
        if chance.random() < 0.7:
            body["q"] = self._q()
        if chance.random() < 0.4:
            body["attrs"] = self._names().split(",")
        return Attempt("POST", "/temporal/entityOperations/query", self._page(), body=body)

    def _temporal_entity(self) -> Attempt:
        chance = self._chance
        parameters = self._window() if chance.random() < 0.6 else {}
        if chance.random() < 0.3:
            parameters |= self._aggregation()
        elif chance.random() < 0.5:
            parameters["options"] = chance.choice(("temporalValues", "sysAttrs"))
        if chance.random() < 0.4:
            parameters[chance.choice(("attrs", "pick", "omit"))] = self._names()
        return Attempt("GET", f"/temporal/entities/{chance.choice(IDS)}", parameters)

    def _discovery(self) -> Attempt:
        chance = self._chance
        path = chance.choice(
            ("/types", "/attributes", f"/types/{chance.choice(_TYPES[:3])}", f"/attributes/{self._name()}")
        )
        return Attempt("GET", path, {"details": "true"} if chance.random() < 0.5 and path.count("/") == 1 else {})

    def _entity_map(self) -> Attempt:
        if self._chance.random() < 0.3:
            return Attempt("GET", "/temporal/entityMaps", self._filters() | self._window())
        return Attempt("GET", "/entityMaps", self._filters())

    def _writing(self) -> Attempt:
        """Write where nothing may be written, or ask for what is gone by a filter that fits nothing visible."""
        chance = self._chance
        id = chance.choice((*BUSES, *SHOPS, *CARS[3:]))
        never = f'{self._name()}=="never";{self._term()}'
        return chance.choice(
            (
                Attempt("PATCH", f"/entities/{id}", {"type": "Nothing"}, body={"speed": 5}),
                Attempt("DELETE", f"/entities/{id}", {"type": "Nothing"}),
                Attempt("DELETE", f"/entities/{chance.choice(CARS)}/attrs/absent"),
                Attempt("PATCH", f"/entities/{chance.choice(CARS)}/attrs/absent", body={"value": 3}),
                Attempt("DELETE", "/entities", {"q": never, "type": chance.choice(_TYPES[:3])}),
                Attempt("POST", "/entityOperations/delete", body=["urn:bus:9", "urn:nothing:1"]),
                Attempt("DELETE", f"/temporal/entities/{chance.choice(CARS)}/attrs/absent"),
            )
        )

    def _elsewhere(self) -> Attempt:
        """Look into a tenant that is not granted, or is not there."""
        chance = self._chance
        attempt = chance.choice((self._entities, self._entity, self._temporal, self._discovery, self._by_body))()
        attempt.headers["NGSILD-Tenant"] = chance.choice(("other", "nowhere"))
        return attempt

    def _others(self) -> Attempt:
        """Look for what belongs to somebody else."""
        chance = self._chance
        path = chance.choice(
            ("/subscriptions", "/subscriptions/urn:sub:other", "/snapshots/urn:snapshot:other", "/jsonldContexts")
        )
        if chance.random() < 0.3:
            return Attempt("DELETE", "/subscriptions/urn:sub:other")
        return Attempt("GET", path, {"count": "true"} if path == "/subscriptions" else {})
