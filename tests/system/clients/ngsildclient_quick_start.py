# SPDX-License-Identifier: Apache-2.0
"""The quick start of ngsildclient (its README, "Getting started"), run against the hub whose port is given.

What it takes from the network (a sample entity) is built here; the context is the one of the README, which the hub has
built in.
"""

import sys
from datetime import datetime, timedelta

from ngsildclient import Client, Entity, MultAttrValue, SubscriptionBuilder

PARKING_CONTEXT = "https://raw.githubusercontent.com/smart-data-models/dataModel.Parking/master/context.jsonld"
port = int(sys.argv[1])

e = Entity("OffStreetParking", "Downtown1")
e.ctx.append(PARKING_CONTEXT)
e.prop("name", "Downtown One")
e.prop("availableSpotNumber", 121, observedat=datetime(2022, 10, 25, 8)).anchor()
e.prop("reliability", 0.7).rel("providedBy", "Camera:C1").unanchor()
e.prop("totalSpotNumber", 200).loc(41.2, -8.5)

client = Client(port=port, port_temporal=port)
assert client.create(e)

prop = e["availableSpotNumber"]
for _ in range(12):
    prop.observedat += timedelta(hours=1)
    prop.value -= 10
    client.update(e)

parking = client.get("OffStreetParking:Downtown1", ctx=PARKING_CONTEXT)
assert parking["availableSpotNumber"].value == 1, parking
assert parking["availableSpotNumber.providedBy"].value == "urn:ngsi-ld:Camera:C1", parking

history = client.temporal.get(e, ctx=PARKING_CONTEXT)
assert len(history["availableSpotNumber"]["values"]) == 13, history

parking = Entity("OffStreetParking", "porto-ParkingLot-23889")
n_total, n_occupied = 414, 282
parking.prop("totalSpotNumber", n_total).prop("occupiedSpotNumber", n_occupied)
spot = Entity("ParkingSpot", "OffStreetParking:porto-ParkingLot-23889:000")
spot.prop("status", "free")
spot.rel("refParkingSite", parking)
spots = spot * n_total
for i, spot in enumerate(spots):
    spot.id = f"{spot.id[:-3]}{i + 1:03}"
    if i < n_occupied:
        spot["status"].value = "occupied"
mrel = MultAttrValue()
for spot in spots:
    mrel.add(spot, datasetid=f"Dataset:{spot.id[-26:]}")
parking.rel("refParkingSpot", mrel)
datamodel = sum(([parking], spots), [])
client.upsert(datamodel)
count = client.count(
    "ParkingSpot", q='refParkingSite=="urn:ngsi-ld:OffStreetParking:porto-ParkingLot-23889";status=="occupied"'
)
assert count == 282, count

subscr = (
    SubscriptionBuilder("https://parkingsystem.example.com:8000/subscription/high-occupancy")
    .description("Notify me of high occupancy on parking porto-23889")
    .select_type("OffStreetParking")
    .watch(["occupancy"])
    .query('occupancy>0.9;controlledAsset=="urn:ngsi-ld:OffStreetParking:porto-ParkingLot-23889"')
    .build()
)
client.subscriptions.create(subscr)
assert len(client.subscriptions.list()) == 1
client.close()
