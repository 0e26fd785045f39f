# SPDX-License-Identifier: Apache-2.0
"""Each route for each role, in each tenant, with each kind of token: let in or refused as stated (issue 3)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from madang.app import open_hub
from madang.base.clock import FixedClock
from madang.model.access import EVERYTHING, ROLES_BUILT_IN, SYSTEM, Right
from madang.testing.client import ClientResponse
from tests.api.access_callers import TAGS, Somebody, Town, body_of, issuer, resource_of, settings_of
from tests.api.access_matrix import (
    ALLOWED,
    BAD,
    COUNTING,
    RIGHTS,
    ROLES,
    TENANTS,
    Door,
    Kind,
    Role,
    matrix,
    outcome,
)
from tests.api.bad_input import Call

MATRIX = {Call(method, path): entry for (method, path), entry in matrix().items()}
THINGS = sorted({resource_of(call.route) for call in MATRIX}.difference(TAGS))


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr("madang.core.access_oidc.fetch_over_http", issuer)
    clock = FixedClock()
    async with open_hub(settings_of(tmp_path / "data"), clock=clock) as hub:
        yield Town(hub, clock)


class Round:
    """All requests of somebody in one tenant, with all that there is to be asked for.

    Those of whom nothing is believed go round together.
    """

    def __init__(self, town: Town, role: Role, tenant: str, somebody: Somebody, *others: Somebody) -> None:
        self.town = town
        self.role = role
        self.tenant = tenant
        self.somebody = somebody
        self.everybody = (somebody, *others)
        self.owner = replace(somebody.known, grants=(EVERYTHING,))
        reads = somebody.kind in COUNTING and "read" in role.in_tenant(tenant)
        self.holder = somebody.known if reads else self.owner
        self.things: dict[str, dict[str, str]] = {}

    async def run(self) -> Counter[int]:
        """Send every request of the matrix; return how often each outcome came."""
        counts: Counter[int] = Counter()
        for what in THINGS:
            self.things[what] = await self._made(what)
        if self.somebody.kind not in COUNTING:
            self.things |= {what: await self._made(what) for what in TAGS}
        before = await self._digest()
        allowed = []
        for somebody, (call, entry) in product(self.everybody, MATRIX.items()):
            self.somebody = somebody
            status = outcome(entry, self.role, self.tenant, somebody.kind)
            counts[status] += 1
            if status == ALLOWED:
                allowed.append((somebody, call))
            else:
                await self._refused(call, status)
        assert await self._digest() == before, self._about()
        for somebody, call in sorted(allowed, key=lambda each: each[1].method != "GET"):
            self.somebody = somebody
            await self._allowed(call)
        await self.town.clear(self.tenant)
        await self.town.do(self.tenant, "DELETE", "/entities?type=T")
        return counts

    async def _refused(self, call: Call, status: int) -> None:
        what = resource_of(call.route)
        is_made = what not in self.things
        values = await self._made(what) if is_made else self.things[what]
        tags = await self.town.tags(self.tenant) if is_made else []
        position = self.town.position
        response, about = await self._sent(call, values)
        assert response.status == status, about
        assert self.town.position == position, ("a refused request wrote something", about)
        assert ("www-authenticate" in response.headers) == (status == 401), about
        if status == 207:
            assert {each["error"]["status"] for each in response.json()["errors"]} == {403}, about
            assert not response.json()["success"], about
        if is_made:
            assert await self.town.tags(self.tenant) == tags, about
            await self.town.clear(self.tenant)

    async def _allowed(self, call: Call) -> None:
        what = resource_of(call.route)
        values = self.things[what] if call.method == "GET" and what in self.things else await self._made(what)
        response, about = await self._sent(call, values)
        assert response.status == MATRIX[call].status, about
        if what == "snapshots":
            await self.town.hub.core.snapshots.settle()
        if what in TAGS:
            await self.town.clear(self.tenant)

    async def _sent(self, call: Call, values: dict[str, str]) -> tuple[ClientResponse, object]:
        path = call.path(**values)
        query = MATRIX[call].query
        response = await self.town.outside.request(
            call.method,
            f"{path}?{query}" if query else path,
            json=body_of(call, values, self.town.fresh()),
            headers=self.somebody.headers(self.tenant),
        )
        return response, (str(call), *self._about(), response.status, response.content[:500])

    def _about(self) -> tuple[object, ...]:
        return self.role.text, self.tenant, self.somebody.kind.value

    async def _made(self, what: str) -> dict[str, str]:
        return await self.town.make(what, self.tenant, self.owner, self.holder)

    async def _digest(self) -> list[bytes]:
        return await self.town.digest(self.tenant, self.things, self.holder)


async def test_every_route_has_an_entry_and_every_entry_a_route(town: Town) -> None:
    routes = [Call(method, route.path) for route in town.hub.application.routes for method in route.methods]
    assert len(routes) == len(set(routes))
    assert sorted(map(str, routes)) == sorted(map(str, MATRIX))


async def test_what_the_route_table_says_of_callers_is_what_the_entries_say(town: Town) -> None:
    for route in town.hub.application.routes:
        for method in route.methods:
            needs = MATRIX[Call(method, route.path)].needs
            assert route.public == (needs is Door.PUBLIC), route
            assert route.tenantless == (needs in (Door.KNOWN, Door.HUB, Door.METRICS)), route


def test_the_roles_of_the_matrix_are_all_built_in_ones_and_one_of_each_right() -> None:
    assert set(RIGHTS) == set(Right)
    assert {role.name for role in ROLES if role.is_built_in} == set(ROLES_BUILT_IN)
    for role in ROLES:
        if role.is_built_in:
            assert role.rights == {right for grant in ROLES_BUILT_IN[role.name] for right in grant.rights}
    assert {frozenset({right}) for right in RIGHTS} | {frozenset()} <= {role.rights for role in ROLES}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.text)
async def test_every_request_is_let_in_or_refused_as_stated(town: Town, role: Role) -> None:
    callers = await town.callers(role)
    anonymous = await town.anonymous(role)
    # Whoever may not administer can be anonymous; and with the anonymous let in, a bad token is still a bad one.
    assert (anonymous is None) == ("administer" in role.rights or not role.rights)
    counts: Counter[int] = Counter()
    bad = [each for each in callers if each.kind in BAD]
    for tenant in TENANTS:
        counts += await Round(town, role, tenant, *bad).run()
        if anonymous is not None:
            counts += await Round(town, role, tenant, anonymous).run()
    nobody = await town.nobody()
    for tenant, somebody in product(TENANTS, [*(each for each in callers if each.kind not in BAD), nobody]):
        counts += await Round(town, role, tenant, somebody).run()
    kinds = len(Kind) - (anonymous is None)
    assert sum(counts.values()) == len(MATRIX) * len(TENANTS) * kinds
    assert counts[ALLOWED]
    assert counts[401]
    assert counts[403] or role.text == "administrator"


NULL = "urn:ngsi-ld:null"
FEWER = {"type": ["T", "U"], "n": {"type": "Property", "value": 1}}


@pytest.mark.parametrize(
    ("method", "path", "body", "role", "status"),
    [
        ("PUT", "/entities/{id}", FEWER, "only-write", 403),
        ("PUT", "/entities/{id}", FEWER, "editor", 204),
        ("PATCH", "/entities/{id}", {"n": NULL}, "only-write", 403),
        ("PATCH", "/entities/{id}", {"n": NULL}, "editor", 204),
        ("PATCH", "/entities/{id}/attrs", {"n": {"type": "Property", "value": NULL}}, "only-write", 403),
        ("PATCH", "/entities/{id}/attrs/n", {"type": "Property", "value": NULL}, "only-write", 403),
        ("PATCH", "/entities/{id}/attrs/n", {"type": "Property", "value": NULL}, "editor", 204),
        ("POST", "/entityOperations/upsert", [{**FEWER, "id": "{id}"}], "only-write", 207),
        ("POST", "/entityOperations/upsert", [{**FEWER, "id": "{id}"}], "editor", 204),
        ("POST", "/entityOperations/merge", [{"id": "{id}", "n": NULL}], "only-write", 207),
        ("POST", "/entityOperations/merge", [{"id": "{id}", "n": NULL}], "editor", 204),
        ("DELETE", "/entities?type=T&drop=n", None, "sweeper", 204),
    ],
)
async def test_what_takes_attributes_away_needs_delete_too(
    town: Town, method: str, path: str, body: Any, role: str, status: int
) -> None:
    chosen = next(each for each in ROLES if each.name == role)
    caller = next(each for each in await town.callers(chosen) if each.kind is Kind.TOKEN)
    id = (await town.make("entities", "songpa", SYSTEM, SYSTEM))["entity_id"]
    sent = json.loads(json.dumps(body).replace("{id}", id))
    position = town.position
    response = await town.outside.request(
        method, "/ngsi-ld/v1" + path.replace("{id}", id), json=sent, headers=caller.headers("songpa")
    )
    assert response.status == status, response.content
    assert (town.position == position) == (status != 204)
