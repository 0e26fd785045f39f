# SPDX-License-Identifier: Apache-2.0
"""A closed hub, everybody who may come to it, and what there is for them to ask for: for the authorisation matrix."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from madang.app import Hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.core.hub_token import new_token
from madang.model.access import ANONYMOUS, SYSTEM, Caller
from madang.testing.client import Client, ClientResponse
from madang.wire.application import Application
from madang.wire.http import Request
from tests.api.access_matrix import API_ROOT, HUB_ROOT, Kind, Role
from tests.api.bad_input import CONTEXT, ENTITY, QUERY, SNAPSHOT, SUBSCRIPTION, TEMPORAL_QUERY, Call

Json = Any
ISSUER: Final = "https://login.example/realms/city"
AUDIENCE: Final = "madang"
KEY: Final = ec.generate_private_key(ec.SECP256R1())
STRANGER: Final = ec.generate_private_key(ec.SECP256R1())
# Of a whole tenant a snapshot would take its time.
FEW: Final[Json] = {
    "snapshotQueries": [{"type": "Query", "entities": [{"type": "T", "id": "urn:x:0"}]}],
    "snapshotTemporalQueries": [{**TEMPORAL_QUERY, "entities": [{"type": "T", "id": "urn:x:0"}]}],
}
# What changes the meaning of other requests while it is there.
TAGS: Final = ("personal-attributes", "indexes")


async def issuer(url: str) -> bytes:
    """Answer in place of the issuer's web site."""
    keys = ISSUER + "/keys"
    if url == keys:
        return orjson.dumps({"keys": [{**json.loads(ECAlgorithm.to_jwk(KEY.public_key())), "kid": "a", "use": "sig"}]})
    assert url == ISSUER + "/.well-known/openid-configuration"
    return orjson.dumps({"issuer": ISSUER, "jwks_uri": keys})


@dataclass(frozen=True)
class Somebody:
    """A caller: what it sends, and as whom the hub knows it, if it does."""

    kind: Kind
    authorization: str | None
    known: Caller = ANONYMOUS

    def headers(self, tenant: str) -> dict[str, str]:
        sent = {} if self.authorization is None else {"authorization": self.authorization}
        return {**sent, "ngsild-tenant": tenant} if tenant else sent


class Town:
    """The hub as the system sees it, whatever the gate says; it makes things and looks after them."""

    def __init__(self, hub: Hub, clock: FixedClock) -> None:
        self.hub = hub
        self.clock = clock
        self.outside = Client(hub.application, root="")
        self._acting = SYSTEM
        self.inside = Client(Application(hub.application.routes, admit=self._admit), root="")
        self._numbers = itertools.count()
        self.secret = ""

    async def _admit(self, request: Request, *, tenantless: bool) -> Caller:  # noqa: ARG002 (whoever is acting)
        return self._acting

    @contextmanager
    def acting(self, who: Caller) -> Iterator[None]:
        before, self._acting = self._acting, who
        try:
            yield
        finally:
            self._acting = before

    @property
    def position(self) -> int:
        """How far the log has come."""
        return self.hub.core.writer.sequence_last

    async def do(self, tenant: str, method: str, path: str, body: Json = None) -> ClientResponse:
        """Send a request that must go well as whoever is acting."""
        headers = {"ngsild-tenant": tenant} if tenant else {}
        response = await self.inside.request(method, path, json=body, headers=headers)
        assert response.status < 300, (method, path, response.status, response.content)
        return response

    def fresh(self) -> str:
        return str(next(self._numbers))

    # ---- who calls

    async def callers(self, role: Role) -> list[Somebody]:
        """Return the role's callers of all kinds, the anonymous apart. The first tokens of the hub end its link."""
        self.secret = await self.hub.access.first_administrator.new_secret() or self.secret
        if not role.is_built_in:
            rights = sorted(role.rights) or ["read"]
            await self.do("", "PUT", f"{HUB_ROOT}/roles/{role.name}", {"grants": [{"rights": rights}]})
        valid, _ = await self._token(role)
        revoked, id = await self._token(role)
        expired, _ = await self._token(role, expires="2023-11-14T22:30:00Z")
        if not role.rights:
            await self.do("", "DELETE", f"{HUB_ROOT}/roles/{role.name}")
        await self.do("", "DELETE", f"{HUB_ROOT}/tokens/{id}")
        self.clock.advance(86_400)
        mistyped = valid[:-1] + ("0" if valid[-1] != "0" else "1")
        texts = {
            Kind.TOKEN: valid,
            Kind.LOG_IN: self.log_in(role.text),
            Kind.EXPIRED: expired,
            Kind.REVOKED: revoked,
            Kind.MISTYPED: mistyped,
            Kind.UNKNOWN: new_token(),
            Kind.LOG_IN_EXPIRED: self.log_in(role.text, expires_s=-120),
            Kind.LOG_IN_FOREIGN: self.log_in(role.text, key=STRANGER),
        }
        found = [Somebody(kind, f"Bearer {text}") for kind, text in texts.items()]
        return [await self._known(each) if each.kind in (Kind.TOKEN, Kind.LOG_IN) else each for each in found]

    async def anonymous(self, role: Role) -> Somebody | None:
        """Give the anonymous what the role gives; None when that is refused, as they may not administer."""
        tenants = {} if role.tenant is None else {"tenants": [role.tenant]}
        body = {"grants": [{"rights": sorted(role.rights), **tenants}]}
        response = await self.inside.put(f"{HUB_ROOT}/roles/anonymous", json=body)
        return await self._known(Somebody(Kind.ANONYMOUS, None)) if response.status == 201 else None

    async def nobody(self) -> Somebody:
        """Take from the anonymous what they have, and return one."""
        response = await self.inside.delete(f"{HUB_ROOT}/roles/anonymous")
        assert response.status in (204, 404)
        return Somebody(Kind.NONE, None)

    def log_in(self, role: str, *, key: ec.EllipticCurvePrivateKey = KEY, expires_s: int = 86_400) -> str:
        now_s = self.clock.now_us() // 1_000_000
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"f3a1{role}", "iat": now_s - 600, "exp": now_s + expires_s}
        return jwt.encode({**said, "roles": [role]}, key, algorithm="ES256", headers={"kid": "a"})

    async def _known(self, somebody: Somebody) -> Somebody:
        return replace(somebody, known=await self.hub.access.authenticate(somebody.authorization))

    async def _token(self, role: Role, **more: str) -> tuple[str, str]:
        body = {"label": "a", "roles": [role.text], **more}
        made = (await self.do("", "POST", f"{HUB_ROOT}/tokens", body)).json()
        return made["token"], made["id"]

    # ---- what there is

    async def make(self, what: str, tenant: str, owner: Caller, holder: Caller) -> dict[str, str]:
        """Make one thing and return what names it in paths.

        Some things belong to who made them: to `owner`, who may make them; an entity map to `holder`, with its grants.
        """
        number = self.fresh()
        with self.acting(holder if what == "entityMaps" else owner):
            if what in ("entities", "entityOperations"):
                return await self._entity(tenant, f"urn:x:{number}")
            if what == "temporal":
                return await self._history(tenant, f"urn:x:{number}")
            if what == "entityMaps":
                made = await self.do(tenant, "POST", f"{API_ROOT}/entityMaps", QUERY)
                return {"entity_map_id": made.json()["id"]}
            if what == "subscriptions":
                id = f"urn:s:{number}"
                await self.do(tenant, "POST", f"{API_ROOT}/subscriptions", {**SUBSCRIPTION, "id": id})
                return {"subscription_id": id}
            if what == "snapshots":
                id = f"urn:snap:{number}"
                await self.do(tenant, "POST", f"{API_ROOT}/snapshots", {**SNAPSHOT, **FEW, "id": id})
                await self.hub.core.snapshots.settle()
                return {"snapshot_id": id}
        return await self._of_the_hub(what, tenant, number)

    async def _of_the_hub(self, what: str, tenant: str, number: str) -> dict[str, str]:
        if what == "jsonldContexts":
            made = await self.do(tenant, "POST", f"{API_ROOT}/jsonldContexts", CONTEXT)
            return {"context_id": made.headers["location"].rpartition("/")[2]}
        if what == "tokens":
            token = await self._token(Role("reader", frozenset()))
            return {"token_id": token[1]}
        if what == "roles":
            await self.do("", "PUT", f"{HUB_ROOT}/roles/watcher{number}", {"grants": [{"rights": ["read"]}]})
            return {"role": f"watcher{number}"}
        if what == "first-administrator":
            return {"secret": self.secret}
        if what == TAGS[0]:
            await self.do(tenant, "PUT", f"{HUB_ROOT}/personal-attributes/p{number}")
            return {"attribute": f"p{number}"}
        if what == TAGS[1]:
            await self.do(tenant, "POST", f"{HUB_ROOT}/indexes", {"attribute": f"p{number}"})
            return {"attribute": f"p{number}"}
        return {}

    async def _entity(self, tenant: str, id: str) -> dict[str, str]:
        await self.do(tenant, "POST", f"{API_ROOT}/entities", {**ENTITY, "id": id})
        return {"entity_id": id}

    async def _history(self, tenant: str, id: str) -> dict[str, str]:
        await self._entity(tenant, id)
        said = (await self.do(tenant, "GET", f"{API_ROOT}/temporal/entities/{id}?attrs=n")).json()["n"]
        instance = said[0] if isinstance(said, list) else said
        return {"entity_id": id, "attribute": "n", "instance_id": instance["instanceId"]}

    async def tags(self, tenant: str) -> list[str]:
        """Return the paths of what changes the meaning of other requests: personal tags and indexes."""
        return [
            f"{HUB_ROOT}/{name}/{each['attribute']}"
            for name in TAGS
            for each in (await self.do(tenant, "GET", f"{HUB_ROOT}/{name}")).json()
        ]

    async def clear(self, tenant: str) -> None:
        """Take those away."""
        for path in await self.tags(tenant):
            await self.do(tenant, "DELETE", path)

    async def digest(self, tenant: str, things: Mapping[str, Mapping[str, str]], owner: Caller) -> list[bytes]:
        """Return what the hub says of some things, and of itself."""
        values = {name: value for each in things.values() for name, value in each.items()}
        paths = [
            f"{API_ROOT}/entities/{values['entity_id']}?options=sysAttrs",
            f"{API_ROOT}/temporal/entities/{values['entity_id']}",
            f"{API_ROOT}/subscriptions/{values['subscription_id']}",
            f"{API_ROOT}/snapshots/{values['snapshot_id']}",
            f"{API_ROOT}/jsonldContexts/{values['context_id']}",
            *(f"{HUB_ROOT}/{name}" for name in ("tokens", "roles")),
        ]
        found = [(await self.do(tenant, "GET", path)).content for path in paths]
        with self.acting(owner):
            found.append((await self.do(tenant, "GET", f"{API_ROOT}/entityMaps/{values['entity_map_id']}")).content)
        return found


def settings_of(data: Path) -> Settings:
    return Settings(
        data=data,
        allow_private_addresses=True,
        oidc_issuer=ISSUER,
        oidc_audience=AUDIENCE,
        oidc_roles_claim="roles",
    )


def resource_of(path: str) -> str:
    """Return what a route is about, as its path says."""
    return path.removeprefix(API_ROOT).removeprefix(HUB_ROOT).split("/")[1]


def body_of(call: Call, values: Mapping[str, str], number: str) -> Json:
    """Return a body that names what is there, or, where it makes something, what is not there yet."""
    if not call.takes_body:
        return None
    body = call.body
    makes = not call.names or call.route.endswith("/clone")
    if "entityOperations" in call.route and isinstance(body, list):
        id = f"urn:x:new:{number}" if call.route.endswith("/create") else values["entity_id"]
        return [id] if call.route.endswith("/delete") else [{**body[0], "id": id}]
    if not makes:
        body.pop("id", None)
    elif isinstance(body, dict) and "id" in body:
        body["id"] = f"{body['id']}:new:{number}"
    if call.route.endswith("/snapshots"):
        body |= FEW
    if "indexes" in call.route:
        body["attribute"] = f"p{number}"
    return body
