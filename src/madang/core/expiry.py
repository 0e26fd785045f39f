# SPDX-License-Identifier: Apache-2.0
"""Removes entities and attributes whose time is over (ETSI CIM 009 clause 4.22); until then they are not served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from madang.base.limits import EXPIRED_ENTITIES_PER_SWEEP
from madang.core.caller import acting_for
from madang.model.access import SYSTEM

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.provision import Provision
    from madang.store.port import Store


class Expiry:
    """Sweeps the store for what has expired, from time to time and when a reader has met such a thing."""

    def __init__(self, store: Store, provision: Provision, clock: Clock) -> None:
        self._store = store
        self._provision = provision
        self._clock = clock
        self._sweeping = asyncio.Lock()

    async def sweep(self) -> int:
        """Remove everything that has expired by now and return how many entities that touched."""
        # Whoever met something expired need not have the right to take it away.
        with acting_for(SYSTEM):
            async with self._sweeping:
                return await self._sweep()

    async def _sweep(self) -> int:
        touched = 0
        more = True
        while more:
            due = await self._store.expired(self._clock.now_us(), limit=EXPIRED_ENTITIES_PER_SWEEP)
            removed = 0
            for tenant in dict.fromkeys(tenant for tenant, _ in due):
                ids = [id for owner, id in due if owner == tenant]
                removed += await self._provision.remove_expired(tenant, ids)
            touched += removed
            more = removed > 0 and len(due) == EXPIRED_ENTITIES_PER_SWEEP
        return touched
