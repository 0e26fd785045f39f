# SPDX-License-Identifier: Apache-2.0
"""Who is calling: tokens, roles, personal tags and the first administrator, over the whole application."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from madang.app import Hub, open_hub
from madang.base.clock import FixedClock
from madang.base.settings import Settings
from madang.core.hub_token import hash_of
from madang.model.access import Caller
from madang.testing.client import Client, ClientResponse

TYPES = "/ngsi-ld/v1/types"
ENTITY = {"id": "urn:ngsi-ld:T:1", "type": "T", "p": {"type": "Property", "value": 1}}


class Door:
    """A closed hub and its first administrator."""

    def __init__(self, hub: Hub, clock: FixedClock) -> None:
        self.hub = hub
        self.clock = clock
        self.client = Client(hub.application, root="")
        self.admin = ""

    async def ask(
        self, method: str, path: str, token: str | None = None, tenant: str | None = None, **more: Any
    ) -> ClientResponse:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if tenant is not None:
            headers["ngsild-tenant"] = tenant
        return await self.client.request(method, path, headers=headers, **more)

    async def token(self, *roles: str, **more: Any) -> tuple[str, str]:
        made = await self.ask(
            "POST", "/madang/v1/tokens", self.admin, json={"label": "a test", "roles": list(roles), **more}
        )
        assert made.status == 201, made.content
        return made.json()["token"], made.json()["id"]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    clock = FixedClock()
    async with open_hub(Settings(data=tmp_path / "data"), clock=clock) as hub:
        door = Door(hub, clock)
        secret = await hub.access.first_administrator.new_secret()
        made = await door.ask(
            "POST", f"/madang/v1/first-administrator/{secret}", headers={"accept": "application/json"}
        )
        assert made.status == 201
        door.admin = made.json()["token"]
        yield door


@pytest.fixture
async def shut(tmp_path: Path) -> AsyncIterator[Door]:
    """A closed hub without an administrator."""
    clock = FixedClock()
    async with open_hub(Settings(data=tmp_path / "data"), clock=clock) as hub:
        yield Door(hub, clock)


def kinds(response: ClientResponse) -> tuple[int, str]:
    return response.status, response.headers.get("www-authenticate", "")


# ---- the door


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", TYPES),
        ("HEAD", TYPES),
        ("OPTIONS", TYPES),
        ("BREW", TYPES),
        ("GET", "/nothing/here"),
        ("POST", "/ngsi-ld/v1/entities"),
        ("DELETE", "/ngsi-ld/v1/entities/urn:ngsi-ld:T:1"),
        ("GET", "/madang/v1/me"),
        ("GET", "/madang/v1/tokens"),
        ("PUT", "/madang/v1/roles/a"),
        ("GET", "/madang/v1/indexes"),
        ("OPTIONS", "/madang/v1/tokens"),
    ],
)
async def test_without_a_token_nothing_is_said(door: Door, method: str, path: str) -> None:
    response = await door.ask(method, path)
    assert kinds(response) == (401, 'Bearer realm="madang"')
    assert "allow" not in response.headers


async def test_a_body_without_a_length_says_nothing_to_a_stranger(door: Door) -> None:
    class Unmeasured:
        method, path, query_string, address = "POST", "/ngsi-ld/v1/entities", "", ""
        parameters: Any = None

        def __init__(self, **headers: str) -> None:
            self.headers = headers

        def header(self, name: str) -> str | None:
            return self.headers.get(name)

        async def body(self) -> bytes:
            raise AssertionError("the body was read")

    assert (await door.hub.application.answer(Unmeasured())).status == 401
    assert (await door.hub.application.answer(Unmeasured(authorization=f"Bearer {door.admin}"))).status == 411


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/version"])
async def test_probes_need_no_token(door: Door, path: str) -> None:
    assert (await door.ask("GET", path)).status == 200
    assert (await door.ask("GET", path, token="rubbish")).status == 200
    assert (await door.ask("HEAD", path)).status == 200
    assert (await door.ask("POST", path)).status == 405


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "mdg_",
        "Bearer mdg_",
        "Bearer " + "mdg_" + "0" * 49,
        "Bearer a.b.c",
        "Bearer " + "x" * 20_000,
        "\ufffd",
        "Bearer \udcff",
        "Bearer mdg_\u0661",
    ],
)
async def test_a_header_that_names_nobody_is_refused(door: Door, header: str) -> None:
    response = await door.ask("GET", TYPES, headers={"authorization": header})
    assert response.status == 401
    assert response.json()["where"] == "Authorization"
    assert (await door.ask("GET", "/madang/v1/me", headers={"authorization": header})).status == 401


async def test_the_scheme_may_be_written_in_any_case(door: Door) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        response = await door.ask("GET", TYPES, headers={"authorization": f"{scheme} {door.admin}"})
        assert response.status == 200


async def test_a_mistyped_token_is_told_from_an_unknown_one(door: Door) -> None:
    swapped = door.admin[:10] + ("A" if door.admin[10] != "A" else "B") + door.admin[11:]
    assert "mistyped" in (await door.ask("GET", TYPES, swapped)).json()["detail"]


async def test_a_tenant_without_a_grant_says_the_same_whether_it_is_there_or_not(door: Door) -> None:
    token, _ = await door.token("editor@songpa")
    assert (await door.ask("POST", "/ngsi-ld/v1/entities", door.admin, "mapo", json=ENTITY)).status == 201
    there = await door.ask("GET", TYPES, token, "mapo")
    not_there = await door.ask("GET", TYPES, token, "nowhere")
    default = await door.ask("GET", TYPES, token)
    assert {response.status for response in (there, not_there, default)} == {403}
    assert there.content == not_there.content == default.content
    assert (await door.ask("GET", "/unknown/path", token, "mapo")).status == 403
    assert (await door.ask("POST", "/ngsi-ld/v1/entities", token, "songpa", json=ENTITY)).status == 201


async def test_only_probes_and_the_link_are_public(door: Door) -> None:
    public = {(method, route.path) for route in door.hub.application.routes for method in route.methods if route.public}
    assert public == {
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/version"),
        ("GET", "/madang/v1/first-administrator/{secret}"),
        ("POST", "/madang/v1/first-administrator/{secret}"),
    }


async def test_every_other_route_asks_who_is_calling(door: Door) -> None:
    for route in door.hub.application.routes:
        path = re.sub(r"\{[a-z_]+\}", "urn:a:b", route.path)
        for method in () if route.public else route.methods:
            assert (await door.ask(method, path)).status == 401, (method, path)
            assert (await door.ask(method, path, "mdg_" + "0" * 49)).status == 401, (method, path)


async def test_the_metrics_tell_of_all_tenants(door: Door) -> None:
    local, _ = await door.token("reader@songpa")
    assert (await door.ask("GET", "/metrics", door.admin)).status == 200
    assert (await door.ask("GET", "/metrics", local)).status == 403


# ---- tokens


async def test_a_token_lives_from_its_making_to_its_revocation(door: Door) -> None:
    token, id = await door.token("reader")
    assert (await door.ask("GET", TYPES, token)).status == 200
    assert (await door.ask("DELETE", f"/madang/v1/tokens/{id}", door.admin)).status == 204
    refused = await door.ask("GET", TYPES, token)
    assert kinds(refused) == (401, 'Bearer realm="madang", error="invalid_token"')
    assert "revoked" in refused.json()["detail"]
    assert (await door.ask("DELETE", f"/madang/v1/tokens/{id}", door.admin)).status == 204
    states = {each["id"]: each["state"] for each in (await door.ask("GET", "/madang/v1/tokens", door.admin)).json()}
    assert states[id] == "revoked"


async def test_a_token_expires_although_it_was_believed_before(door: Door) -> None:
    token, id = await door.token("reader", expires="2023-11-14T22:14:20Z")
    assert (await door.ask("GET", TYPES, token)).status == 200
    door.clock.advance(59.9)
    assert (await door.ask("GET", TYPES, token)).status == 200
    door.clock.advance(0.1)
    assert "expired" in (await door.ask("GET", TYPES, token)).json()["detail"]
    assert door.hub.access.grants_of(Caller(f"token:{id}", "token")) is None


async def test_the_secret_is_shown_once_and_kept_nowhere(door: Door, tmp_path: Path) -> None:
    token, id = await door.token("reader", label="signals of Songpa")
    listed = (await door.ask("GET", "/madang/v1/tokens", door.admin)).content
    assert token.encode() not in listed
    assert hash_of(token).encode() not in listed
    assert id.encode() in listed
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("madang.sqlite*"))
    assert hash_of(token).encode() in kept
    assert token.encode() not in kept
    assert token[4:30].encode() not in kept


async def test_what_a_token_is_survives_a_restart(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    async with open_hub(settings, clock=FixedClock()) as hub:
        made = await hub.access.create_token(_wanted())
    async with open_hub(settings, clock=FixedClock()) as hub:
        who = await hub.access.authenticate(f"Bearer {made[0]}")
        assert who.id == f"token:{made[1].id}"
        assert hub.access.grants_of(who) is who.grants


def _wanted() -> Any:
    from madang.model.access_form import TokenRequest

    return TokenRequest("a test", roles=("reader",))


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"label": "x"}, "/roles"),
        ({"label": "x", "roles": ["nobody"]}, "/roles/0"),
        ({"label": "x", "roles": ["reader", "reader@a b"]}, "/roles/1"),
        ({"label": "x", "roles": ["reader"], "expires": "2020-01-01T00:00:00Z"}, "/expires"),
        ({"label": "x", "roles": ["reader"], "more": 1}, "/more"),
        ({"label": "x", "grants": [{"rights": ["fly"]}]}, "/grants/0/rights/0"),
        ([], ""),
    ],
)
async def test_what_is_no_token_is_refused_and_changes_nothing(door: Door, body: Any, where: str) -> None:
    before = (await door.ask("GET", "/madang/v1/tokens", door.admin)).content
    refused = await door.ask("POST", "/madang/v1/tokens", door.admin, json=body)
    assert (refused.status, refused.json()["where"]) == (400, where)
    assert (await door.ask("GET", "/madang/v1/tokens", door.admin)).content == before


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 5_000])
async def test_a_body_that_is_not_json_is_refused(door: Door, content: bytes) -> None:
    for method, path in (("POST", "/madang/v1/tokens"), ("PUT", "/madang/v1/roles/a")):
        assert (await door.ask(method, path, door.admin, content=content)).status == 400


async def test_an_unknown_token_cannot_be_revoked(door: Door) -> None:
    for id in ("nobody", "a" * 500, "%00", "../roles"):
        assert (await door.ask("DELETE", f"/madang/v1/tokens/{id}", door.admin)).status == 404


@pytest.mark.parametrize("role", ["editor", "reader", "administrator@songpa"])
async def test_only_administrators_of_the_whole_hub_make_tokens(door: Door, role: str) -> None:
    token, id = await door.token(role)
    for method, path, body in (
        ("GET", "/madang/v1/tokens", None),
        ("POST", "/madang/v1/tokens", {"label": "x", "roles": ["administrator"]}),
        ("POST", "/madang/v1/tokens", {"rubbish": 1}),
        ("DELETE", f"/madang/v1/tokens/{id}", None),
        ("DELETE", "/madang/v1/tokens/unknown", None),
        ("GET", "/madang/v1/roles", None),
        ("GET", "/madang/v1/roles/reader", None),
        ("GET", "/madang/v1/roles/unknown", None),
        ("PUT", "/madang/v1/roles/mine", {"grants": [{"rights": ["administer"]}]}),
        ("DELETE", "/madang/v1/roles/mine", None),
    ):
        response = await door.ask(method, path, token, json=body)
        assert response.status == 403, (method, path)
    assert (await door.ask("GET", TYPES, token, "songpa")).status != 401


async def test_too_many_tokens_are_refused_until_one_is_spent(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("madang.core.access.TOKENS_MAX", 3)
    _, id = await door.token("reader")
    await door.token("reader")
    body = {"label": "x", "roles": ["reader"]}
    assert (await door.ask("POST", "/madang/v1/tokens", door.admin, json=body)).status == 503
    await door.ask("DELETE", f"/madang/v1/tokens/{id}", door.admin)
    await door.token("reader")
    listed = (await door.ask("GET", "/madang/v1/tokens", door.admin)).json()
    assert id not in {each["id"] for each in listed}
    assert len(listed) == 3


# ---- roles


async def test_a_role_of_ones_own(door: Door) -> None:
    grants = [{"rights": ["read"], "tenants": ["songpa"], "types": ["Vehicle"], "purpose": "traffic"}]
    made = await door.ask("PUT", "/madang/v1/roles/drivers", door.admin, json={"grants": grants})
    assert (made.status, made.headers["location"]) == (201, "/madang/v1/roles/drivers")
    token, _ = await door.token("drivers")
    shown = (await door.ask("GET", "/madang/v1/me", token)).json()
    assert shown["grants"] == [{**grants[0], "attributes": ["*"]}]
    assert (await door.ask("GET", TYPES, token, "songpa")).status in (200, 404)  # let in; the tenant is not there yet
    # It changes for everybody who has it, at once.
    wider = {"description": "who drives", "grants": [{"rights": ["read"]}]}
    assert (await door.ask("PUT", "/madang/v1/roles/drivers", door.admin, json=wider)).status == 204
    assert (await door.ask("GET", TYPES, token)).status == 200
    assert (await door.ask("GET", "/madang/v1/roles/drivers", door.admin)).json() == {
        "name": "drivers",
        "description": "who drives",
        "builtIn": False,
        "grants": [{"rights": ["read"], "tenants": ["*"], "types": ["*"], "attributes": ["*"]}],
    }
    assert (await door.ask("DELETE", "/madang/v1/roles/drivers", door.admin)).status == 204
    assert (await door.ask("GET", TYPES, token)).status == 403
    assert (await door.ask("DELETE", "/madang/v1/roles/drivers", door.admin)).status == 404
    assert (await door.ask("GET", "/madang/v1/roles/drivers", door.admin)).status == 404


async def test_names_in_a_role_are_those_of_its_context(door: Door) -> None:
    body = {
        "@context": {"차량": "https://city.example/Vehicle", "속도": "https://city.example/speed"},
        "grants": [{"rights": ["read"], "types": ["차량"], "attributes": ["속도"]}],
    }
    assert (await door.ask("PUT", "/madang/v1/roles/a", door.admin, json=body)).status == 201
    grant = (await door.ask("GET", "/madang/v1/roles/a", door.admin)).json()["grants"][0]
    assert (grant["types"], grant["attributes"]) == (["https://city.example/Vehicle"], ["https://city.example/speed"])


@pytest.mark.parametrize("name", ["administrator", "editor", "reader"])
async def test_built_in_roles_stay_as_they_are(door: Door, name: str) -> None:
    body = {"grants": [{"rights": ["read"]}]}
    assert (await door.ask("PUT", f"/madang/v1/roles/{name}", door.admin, json=body)).status == 400
    assert (await door.ask("DELETE", f"/madang/v1/roles/{name}", door.admin)).status == 400
    shown = (await door.ask("GET", f"/madang/v1/roles/{name}", door.admin)).json()
    assert shown["builtIn"] is True


@pytest.mark.parametrize(
    ("name", "body", "where"),
    [
        ("a@b", {"grants": [{"rights": ["read"]}]}, "role"),
        ("a b", {"grants": [{"rights": ["read"]}]}, "role"),
        ("a", {"grants": []}, "/grants"),
        ("a", {"grants": [{"rights": ["read"], "area": {"type": "Point"}}]}, "/grants/0/area"),
        ("anonymous", {"grants": [{"rights": ["administer"]}]}, "/grants"),
        ("a", {"@context": 5, "grants": [{"rights": ["read"]}]}, None),
    ],
)
async def test_what_is_no_role_is_refused(door: Door, name: str, body: Any, where: str | None) -> None:
    before = (await door.ask("GET", "/madang/v1/roles", door.admin)).content
    refused = await door.ask("PUT", f"/madang/v1/roles/{name}", door.admin, json=body)
    assert refused.status == 400
    assert where is None or refused.json()["where"] == where
    assert (await door.ask("GET", "/madang/v1/roles", door.admin)).content == before


async def test_the_anonymous_have_what_an_administrator_gives_them(door: Door) -> None:
    assert (await door.ask("GET", TYPES)).status == 401
    body = {"grants": [{"rights": ["read"], "tenants": ["", "songpa"]}]}
    assert (await door.ask("PUT", "/madang/v1/roles/anonymous", door.admin, json=body)).status == 201
    assert (await door.ask("GET", TYPES)).status == 200
    assert (await door.ask("GET", TYPES, tenant="mapo")).status == 401
    assert (await door.ask("GET", TYPES, token="mdg_wrong")).status == 401  # a wrong token is no way to be anonymous
    assert (await door.ask("GET", "/madang/v1/me")).json()["kind"] == "anonymous"
    assert (await door.ask("GET", "/madang/v1/tokens")).status == 403
    assert (await door.ask("POST", "/ngsi-ld/v1/entities", json=ENTITY)).status == 403
    assert (await door.ask("DELETE", "/madang/v1/roles/anonymous", door.admin)).status == 204
    assert (await door.ask("GET", TYPES)).status == 401


# ---- who am I


async def test_a_caller_may_ask_who_it_is(door: Door) -> None:
    token, id = await door.token("reader@songpa", ratePerSecond=5, quotaPerDay=100)
    shown = (await door.ask("GET", "/madang/v1/me", token)).json()
    assert shown == {
        "id": f"token:{id}",
        "kind": "token",
        "grants": [{"rights": ["read", "subscribe"], "tenants": ["songpa"], "types": ["*"], "attributes": ["*"]}],
        "ratePerSecond": 5.0,
        "quotaPerDay": 100,
    }


async def test_on_an_open_hub_everybody_is_everybody(tmp_path: Path) -> None:
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        client = Client(hub.application, root="")
        assert (await client.get("/madang/v1/me")).json()["kind"] == "open"
        assert (await client.get(TYPES, headers={"authorization": "Bearer rubbish"})).status == 200
        made = await client.post("/madang/v1/tokens", json={"label": "for later", "roles": ["administrator"]})
        assert made.status == 201
    async with open_hub(Settings(data=tmp_path)) as hub:
        headers = {"authorization": f"Bearer {made.json()['token']}"}
        assert (await Client(hub.application, root="").get(TYPES, headers=headers)).status == 200
        assert await hub.access.first_administrator.new_secret() is None


async def test_the_log_says_who_wrote_and_names_nobody_on_an_open_hub(door: Door) -> None:
    token, id = await door.token("editor")
    assert (await door.ask("POST", "/ngsi-ld/v1/entities", token, json=ENTITY)).status == 201
    rows = await door.hub.core.store.changes(0, limit=100)
    assert {row.who for row in rows if row.change.entity == ENTITY["id"]} == {f"token:{id}"}


async def test_what_somebody_may_do_now_is_known_later(door: Door) -> None:
    """Subscriptions tell their owners only what these may see at the time of the telling."""
    await door.ask("PUT", "/madang/v1/roles/watcher", door.admin, json={"grants": [{"rights": ["read", "subscribe"]}]})
    _, id = await door.token("watcher")
    owner = Caller(f"token:{id}", "token")
    access = door.hub.access
    grants = access.grants_of(owner)
    assert grants is not None
    assert access.grants_of(owner) is grants
    narrow = {"grants": [{"rights": ["read"], "types": ["Other"]}]}
    await door.ask("PUT", "/madang/v1/roles/watcher", door.admin, json=narrow)
    assert [grant.types for grant in access.grants_of(owner) or ()] == [("Other",)]
    await door.ask("DELETE", f"/madang/v1/tokens/{id}", door.admin)
    assert access.grants_of(owner) is None
    assert access.grants_of(Caller("token:unknown", "token")) is None
    person = Caller("oidc:1", "oidc", grants)
    assert access.grants_of(person) is person.grants
    assert access.grants_of(Caller("anonymous", "anonymous", grants)) == ()


# ---- personal attributes


async def test_attributes_are_tagged_as_personal_and_no_more(door: Door) -> None:
    path = "/madang/v1/personal-attributes"
    assert (await door.ask("GET", path, door.admin)).json() == []
    assert (await door.ask("PUT", f"{path}/phone", door.admin)).status == 201
    assert (await door.ask("PUT", f"{path}/phone", door.admin)).status == 204
    assert (await door.ask("PUT", f"{path}/https://city.example/name", door.admin)).status == 201
    assert (await door.ask("GET", path, door.admin)).json() == [
        {"attribute": "https://city.example/name"},
        {"attribute": "phone"},
    ]
    assert len(door.hub.core.writer.permits.personal("")) == 2
    assert door.hub.core.writer.permits.personal("songpa") == frozenset()
    assert (await door.ask("DELETE", f"{path}/phone", door.admin)).status == 204
    assert (await door.ask("DELETE", f"{path}/phone", door.admin)).status == 404
    assert len(door.hub.core.writer.permits.personal("")) == 1


async def test_tags_belong_to_a_tenant_and_its_administrator(door: Door) -> None:
    path = "/madang/v1/personal-attributes"
    local, _ = await door.token("administrator@songpa")
    editor, _ = await door.token("editor")
    assert (await door.ask("PUT", f"{path}/phone", local, "songpa")).status == 201  # before any data come
    assert (await door.ask("PUT", f"{path}/phone", local, "mapo")).status == 403
    assert (await door.ask("PUT", f"{path}/phone", local)).status == 403
    for method, suffix in (("GET", ""), ("PUT", "/phone"), ("DELETE", "/phone")):
        assert (await door.ask(method, path + suffix, editor, "songpa")).status == 403
    assert (await door.ask("GET", path, door.admin, "songpa")).json() == [{"attribute": "phone"}]
    assert (await door.ask("GET", path, door.admin, "mapo")).status == 404


@pytest.mark.parametrize("name", ["no name", "<x>", "a" * 3_000, "urn:x:" + "가" * 1_000])
async def test_what_is_no_attribute_gets_no_tag(door: Door, name: str) -> None:
    refused = await door.ask("PUT", f"/madang/v1/personal-attributes/{name}", door.admin)
    assert refused.status == 400


# ---- the first administrator


async def test_the_link_works_once(shut: Door) -> None:
    secret = await shut.hub.access.first_administrator.new_secret()
    path = f"/madang/v1/first-administrator/{secret}"
    page = await shut.ask("GET", path)
    assert page.status == 200
    assert (await shut.ask("HEAD", path)).status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert b"http" not in page.content  # nothing from elsewhere
    assert b"<script" not in page.content
    made = await shut.ask("POST", path)
    assert made.status == 201
    token = re.search(r"mdg_[0-9A-Za-z]+", made.content.decode())
    assert token is not None
    assert (await shut.ask("GET", "/madang/v1/tokens", token[0])).status == 200
    for method in ("GET", "POST"):
        assert (await shut.ask(method, path)).status == 410
    assert await shut.hub.access.first_administrator.new_secret() is None


async def test_of_many_who_press_the_button_one_is_first(shut: Door) -> None:
    secret = await shut.hub.access.first_administrator.new_secret()
    path = f"/madang/v1/first-administrator/{secret}"
    answers = await asyncio.gather(*(shut.ask("POST", path) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [410] * 19
    assert len(await shut.hub.core.store.records("token")) == 1


@pytest.mark.parametrize("secret", ["a", "x" * 43, "%00", "가", ""])
async def test_a_wrong_link_is_no_link(shut: Door, secret: str) -> None:
    for _ in range(2):  # without a link, and with one
        for method in ("GET", "POST"):
            status = (await shut.ask(method, f"/madang/v1/first-administrator/{secret}")).status
            assert status == (404 if secret else 401)
        await shut.hub.access.first_administrator.new_secret()
    assert await shut.hub.core.store.records("token") == []


async def test_a_link_is_good_for_a_day_and_until_the_next_one(shut: Door) -> None:
    first = shut.hub.access.first_administrator
    old = await first.new_secret()
    new = await first.new_secret()
    assert (await shut.ask("POST", f"/madang/v1/first-administrator/{old}")).status == 404
    shut.clock.advance(24 * 3_600)
    assert (await shut.ask("POST", f"/madang/v1/first-administrator/{new}")).status == 410
    last = await first.new_secret()
    assert (await shut.ask("POST", f"/madang/v1/first-administrator/{last}")).status == 201


async def test_a_token_made_elsewhere_ends_the_link(shut: Door) -> None:
    secret = await shut.hub.access.first_administrator.new_secret()
    await shut.hub.access.create_token(_wanted())
    assert (await shut.ask("POST", f"/madang/v1/first-administrator/{secret}")).status == 410
    assert await shut.hub.access.first_administrator.new_secret() is None
