# SPDX-License-Identifier: Apache-2.0
"""Each route for each role, in each tenant, with each kind of token: let in or refused as stated (issue 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from madang.app import open_hub
from madang.base.clock import FixedClock
from madang.model.access import EVERYTHING, Right
from madang.testing.client import ClientResponse
from tests.api.access_callers import Somebody, Town, body_of, issuer, resource_of, settings_of
from tests.api.access_matrix import (
    ALLOWED,
    BAD,
    RIGHTS,
    ROLES,
    TENANTS,
    Door,
    Entry,
    Kind,
    Role,
    matrix,
    outcome,
)
from tests.api.bad_input import Call

MATRIX = {Call(method, path): entry for (method, path), entry in matrix().items()}
# What changes the meaning of later requests while it is there.
TAGS = ("personal-attributes", "indexes")
RESOURCES = sorted({resource_of(call.route) for call in MATRIX})


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr("madang.core.access_oidc.fetch_over_http", issuer)
    clock = FixedClock()
    async with open_hub(settings_of(data=tmp_path / "data"), clock=clock) as hub:
        yield Town(hub, clock)


class Round:
    """All requests of one caller in one tenant."""

    def __init__(self, town: Town, role: Role, somebody: Somebody, tenant: str) -> None:
        self.town = town
        self.role = role
        self.somebody = somebody
        self.tenant = tenant
        self.things: dict[str, dict[str, str]] = {}
        has = role.in_tenant(tenant)
        self.reads = "read" in has
        self.counts: Counter[int] = Counter()

    async def run(self) -> Counter[int]:
        for what in RESOURCES:
            if what not in TAGS:
                self.things[what] = await self._made(what)
        refused = [call for call in MATRIX if self.stated(call)]
        await self._refused(call for call in refused if resource_of(call.route) not in TAGS)
        return self.counts

    def stated(self, call: Call) -> int:
        return outcome(MATRIX[call], self.role, self.tenant, self.somebody.kind)
