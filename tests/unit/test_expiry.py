# SPDX-License-Identifier: Apache-2.0
"""The sweep asks the store again until nothing is due, and never for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from madang.base.clock import FixedClock
from madang.base.limits import EXPIRED_ENTITIES_PER_SWEEP
from madang.core.expiry import Expiry

if TYPE_CHECKING:
    from madang.core.provision import Provision
    from madang.store.port import Store


class _Store:
    def __init__(self, due: list[tuple[str, str]]) -> None:
        self.due = due
        self.asked = 0

    async def expired(self, _now_us: int, *, limit: int) -> list[tuple[str, str]]:
        self.asked += 1
        return self.due[:limit]


class _Provision:
    def __init__(self, store: _Store, *, removes: bool) -> None:
        self.store = store
        self.removes = removes
        self.at_work = 0

    async def remove_expired(self, tenant: str, ids: Sequence[str]) -> int:
        self.at_work += 1
        assert self.at_work == 1
        await asyncio.sleep(0)
        self.at_work -= 1
        if not self.removes:
            return 0
        gone = {(tenant, id) for id in ids}
        self.store.due = [each for each in self.store.due if each not in gone]
        return len(ids)


def _expiry(store: _Store, *, removes: bool = True) -> Expiry:
    provision = _Provision(store, removes=removes)
    return Expiry(cast("Store", store), cast("Provision", provision), FixedClock())


async def test_all_tenants_and_all_pages() -> None:
    count = EXPIRED_ENTITIES_PER_SWEEP + 1
    store = _Store([("" if number % 2 else "seoul", f"urn:{number}") for number in range(count)])
    assert await _expiry(store).sweep() == count
    assert store.due == []
    assert await _expiry(store).sweep() == 0


async def test_what_cannot_be_removed_is_asked_for_once() -> None:
    store = _Store([("", f"urn:{number}") for number in range(EXPIRED_ENTITIES_PER_SWEEP)])
    assert await _expiry(store, removes=False).sweep() == 0
    assert store.asked == 1


async def test_two_sweeps_take_turns() -> None:
    expiry = _expiry(_Store([("", "urn:1")]))
    assert sorted(await asyncio.gather(expiry.sweep(), expiry.sweep())) == [0, 1]
