# SPDX-License-Identifier: Apache-2.0
"""Tells the endpoints of snapshots what became of them (clauses 5.3.4 and 5.16.6)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson

from madang.base.errors import HubError
from madang.base.limits import NOTIFICATION_TIMEOUT_S
from madang.base.logs import mark
from madang.notify.http import HttpSender, Target

if TYPE_CHECKING:
    from madang.model.entity import Json

_LOG = logging.getLogger(__name__)


class SnapshotNotices:
    """Posts SnapshotNotifications; give `tell` to `Snapshots.tell_with`.

    A notice is sent once: who misses it can ask for the status at any time (clause 5.16.3).
    """

    def __init__(self, *, allow_private_addresses: bool) -> None:
        self._sender = HttpSender(allow_private=allow_private_addresses)

    async def tell(self, tenant: str, snapshot: dict[str, Any], notice: dict[str, Json]) -> None:
        """Send a notice to the snapshot's endpoint; that it fails is logged and changes nothing."""
        pairs = [("Content-Type", "application/json")]
        if tenant:
            pairs.append(("NGSILD-Tenant", tenant))
        pairs += [(pair["key"], pair["value"]) for pair in snapshot.get("receiverInfo", ())]
        headers = "".join(f"{key}: {value}\r\n" for key, value in pairs).encode()
        try:
            target = Target.of(snapshot["endpoint"])
            status = await self._sender.post(target, headers, orjson.dumps(notice), NOTIFICATION_TIMEOUT_S)
        except HubError as error:
            _LOG.info(
                "a notice about snapshot %s could not be sent: %s", mark(tenant, snapshot["id"]), type(error).__name__
            )
        else:
            if status >= 300:
                _LOG.info("a notice about snapshot %s was answered with %s", mark(tenant, snapshot["id"]), status)

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()
