# SPDX-License-Identifier: Apache-2.0
"""What filip's documentation shows of NGSI-LD (its examples e01, e07 and e09), in our words, on the hub at a URL."""

import sys

from filip.clients.ngsi_ld.cb import ContextBrokerLDClient
from filip.models.base import FiwareLDHeader
from filip.models.ngsi_ld.context import ActionTypeLD, ContextLDEntity, NamedContextProperty
from filip.models.ngsi_ld.subscriptions import SubscriptionLD

url = sys.argv[1]

for header in (FiwareLDHeader(), FiwareLDHeader(ngsild_tenant="filip")):
    with ContextBrokerLDClient(url=url, fiware_header=header) as client:
        client.get_version()
        room = ContextLDEntity(
            id="urn:ngsi-ld:Room:001", type="Room", temperature={"type": "Property", "value": 22.5, "unitCode": "CEL"}
        )
        assert client.get_entity_list() == []
        client.post_entity(entity=room)
        assert len(client.get_entity_list()) == 1
        assert len(client.get_entity_list(id_pattern="^urn:ngsi-ld:Room:00[2-5]")) == 0
        assert client.get_entity(entity_id=room.id, options="sysAttrs").createdAt
        assert client.get_entity(entity_id=room.id).temperature.value == 22.5
        assert [entity.id for entity in client.get_entity_list(entity_type="Room")] == [room.id]
        client.append_entity_attributes(
            ContextLDEntity(id=room.id, type="Room", pressure={"type": "Property", "value": 1000})
        )
        client.update_entity_attribute(
            entity_id=room.id, attr=NamedContextProperty(name="temperature", value=25), attr_name="temperature"
        )
        assert client.get_entity(entity_id=room.id).temperature.value == 25
        assert len(client.get_entity_list(entity_type="Room", q="temperature>24")) == 1
        more = [
            ContextLDEntity(id=f"urn:ngsi-ld:Room:{n:03}", type="Room", temperature={"type": "Property", "value": n})
            for n in range(2, 60)
        ]
        client.entity_batch_operation(entities=more, action_type=ActionTypeLD.CREATE)
        assert len(client.get_entity_list(entity_type="Room")) == 59
        client.delete_attribute(entity_id=room.id, attribute_id="pressure")
        subscription = SubscriptionLD(
            id="urn:ngsi-ld:Subscription:1",
            type="Subscription",
            entities=[{"type": "Room"}],
            notification={"attributes": ["temperature"], "endpoint": {"uri": "http://subscriber.example.com/notify"}},
        )
        client.post_subscription(subscription=subscription)
        assert client.get_subscription(subscription.id).id == subscription.id
        assert len(client.get_subscription_list()) == 1
        client.delete_subscription(subscription.id)
        client.entity_batch_operation(entities=[*more, room], action_type=ActionTypeLD.DELETE)
        assert client.get_entity_list(entity_type="Room") == []
