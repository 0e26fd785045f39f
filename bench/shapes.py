# SPDX-License-Identifier: Apache-2.0
"""The entities and requests of the load shapes, made from numbers so that every run has the same data.

R1, R2, W1 … are the shapes of the project's benchmark definition; the two entities follow published loads of the
field: a vehicle of 551 bytes and a water station of 1,151 bytes with eight attributes in ten instances.
"""

from __future__ import annotations

import json
from typing import Any

VEHICLE_BYTES = 551
STATION_BYTES = 1_151
STATION_TYPES = 8

Json = dict[str, Any]


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _padded(entity: Json, attribute: str, size: int) -> Json:
    missing = size - len(compact(entity))
    assert missing >= 0, f"the entity is {-missing} bytes larger than {size}"
    entity[attribute]["value"] += "x" * missing
    assert len(compact(entity)) == size
    return entity


def vehicle(number: int) -> Json:
    """A vehicle of 551 bytes: two numbers, a position, a relationship and a padded text."""
    entity: Json = {
        "id": f"urn:ngsi-ld:Vehicle:{number:06d}",
        "type": "Vehicle",
        "speed": {"type": "Property", "value": 10 + number % 80},
        "heading": {"type": "Property", "value": number * 7 % 360},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": position(number)}},
        "isParkedAt": {"type": "Relationship", "object": f"urn:ngsi-ld:Parking:{number % 50:06d}"},
        "note": {"type": "Property", "value": ""},
    }
    return _padded(entity, "note", VEHICLE_BYTES)


def position(number: int) -> list[float]:
    """A point on a grid over Daejeon, (lon, lat) in degrees, WGS 84."""
    return [round(127.28 + number % 400 * 0.0006, 4), round(36.25 + number // 400 % 400 * 0.0006, 4)]


def station(number: int) -> Json:
    """A water station of 1,151 bytes, one of eight types."""
    observed = "2026-01-31T08:30:00Z"
    source = "urn:ngsi-ld:Dataset"

    def pair(unit: str, value: float) -> list[Json]:
        instances = []
        for name, add in (("probe", 0.0), ("lab", 0.25)):
            instance: Json = {"type": "Property", "value": round(value + add, 2), "unitCode": unit}
            instances.append({**instance, "observedAt": observed, "datasetId": f"{source}:{name}"})
        return instances

    entity: Json = {
        "id": station_id(number),
        "type": station_type(number),
        "name": {"type": "Property", "value": f"Station {number % 1_000:03d}"},
        "description": {"type": "Property", "value": ""},
        "stationCode": {"type": "Property", "value": f"S{number:07d}"},
        "ammonium": pair("M1", round(0.1 + number % 97 * 0.01, 2)),
        "waterTemperature": pair("CEL", round(4 + number % 211 * 0.1, 1)),
        "dissolvedOxygen": {
            "type": "Property",
            "value": number % 1_000,
            "unitCode": "M1",
            "observedAt": observed,
            "accuracy": {"type": "Property", "value": 0.5},
        },
        "belongsTo": {"type": "Relationship", "object": f"urn:ngsi-ld:River:{number % 20:03d}"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": position(number)}},
    }
    return _padded(entity, "description", STATION_BYTES)


def station_id(number: int) -> str:
    return f"urn:ngsi-ld:WaterStation:{number:08d}"


def station_type(number: int) -> str:
    return f"WaterStation{number % STATION_TYPES}"
