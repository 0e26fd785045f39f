"""@contexts over HTTP: stored ones managed, remote ones fetched from a server of the test, hostile ones refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from madang.app import open_hub
from madang.base.clock import FixedClock
from madang.base.limits import CONTEXT_BYTES_MAX
from madang.base.settings import Settings
from madang.core import contexts as core_contexts
from madang.testing.client import Client, ClientResponse
from madang.testing.http_server import LoopbackServer, Page, loopback_server

ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
LD_JSON = {"content-type": "application/ld+json"}
TERMS = {"@context": {"speed": "https://example.org/speed"}}


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as server:
        yield server


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def client(tmp_path: Path, clock: FixedClock) -> AsyncIterator[Client]:
    settings = Settings(access="open", data=tmp_path, allow_private_addresses=True)
    async with open_hub(settings, url="http://hub.example", clock=clock) as hub:
        yield Client(hub.application)


def link(url: str) -> dict[str, str]:
    return {"link": f'<{url}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}


def refused(response: ClientResponse, status: int, kind: str) -> None:
    assert (response.status, response.json()["type"]) == (status, ERRORS + kind)
    assert response.headers["content-type"] == "application/json"
    assert response.json()["detail"]


async def host(client: Client, body: Any = TERMS, **headers: str) -> str:
    response = await client.post("/jsonldContexts", json=body, headers=headers)
    assert (response.status, response.content) == (201, b"")
    return response.headers["location"].rpartition("/")[2]


async def create(client: Client, context: Any, id: str = "urn:x:1") -> ClientResponse:
    return await client.post(
        "/entities", json={"id": id, "type": "T", "speed": 5, "@context": context}, headers=LD_JSON
    )


async def names(client: Client, id: str = "urn:x:1") -> set[str]:
    """The names of the entity's attributes, seen without any user context."""
    return set((await client.get(f"/entities/{id}")).json()) - {"id", "type"}


class TestStored:
    async def test_a_hosted_context_is_served_as_it_came(self, client: Client) -> None:
        id = await host(client, {**TERMS, "other": 1})
        response = await client.get(f"/jsonldContexts/{id}")
        assert (response.status, response.json()) == (200, TERMS)
        assert response.headers["content-type"] == "application/json"
        response = await client.get(f"/jsonldContexts/{id}", headers={"accept": "application/ld+json"})
        assert response.headers["content-type"] == "application/ld+json"

    async def test_its_details(self, client: Client) -> None:
        id = await host(client)
        response = await client.get(f"/jsonldContexts/{id}?details=true")
        assert response.json() == {
            "URL": f"http://hub.example/ngsi-ld/v1/jsonldContexts/{id}",
            "localId": id,
            "kind": "Hosted",
            "createdAt": "2023-11-14T22:13:20Z",
            "numberOfHits": 0,
        }

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b"{", "InvalidRequest"),
            (b"[]", "InvalidRequest"),
            (b'{"a": 1}', "InvalidRequest"),
            (b'{"@context": 42}', "BadRequestData"),
            (b'{"@context": null}', "BadRequestData"),
            (b'{"@context": [7]}', "BadRequestData"),
            (b'{"@context": {"a": {"@id": "https://a.org/", "@context": {}}}}', "BadRequestData"),
            (b'{"@context": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "InvalidRequest"),
        ],
    )
    async def test_what_cannot_be_hosted(self, client: Client, content: bytes, kind: str) -> None:
        headers = {"content-type": "application/json"}
        refused(await client.request("POST", "/jsonldContexts", content=content, headers=headers), 400, kind)
        assert (await client.get("/jsonldContexts?kind=Hosted")).json() == []

    async def test_another_media_type_is_refused(self, client: Client) -> None:
        response = await client.request(
            "POST", "/jsonldContexts", content=b"{}", headers={"content-type": "text/plain"}
        )
        assert response.status == 415

    async def test_the_list_and_its_filters(self, client: Client, server: LoopbackServer) -> None:
        id = await host(client)
        url = server.put("/c", TERMS)
        await create(client, url)
        own = f"http://hub.example/ngsi-ld/v1/jsonldContexts/{id}"
        assert (await client.get("/jsonldContexts")).json() == [CORE, own, url]
        assert (await client.get("/jsonldContexts?kind=Hosted&details=false")).json() == [own]
        assert (await client.get("/jsonldContexts?kind=ImplicitlyCreated")).json() == []
        details = (await client.get("/jsonldContexts?kind=Cached&details=true")).json()
        assert [one["URL"] for one in details] == [CORE, url]
        assert details[1]["numberOfHits"] == 1
        assert details[1]["expiresAt"] > details[1]["createdAt"]

    @pytest.mark.parametrize("query", ["kind=other", "details=other", "details=true&kind=x", "details=", "kind="])
    async def test_wrong_filters(self, client: Client, query: str) -> None:
        refused(await client.get(f"/jsonldContexts?{query}"), 400, "BadRequestData")

    async def test_unknown_ones(self, client: Client) -> None:
        for path in ("unknown", "urn:uuid:0b0e7a0c-0000-4000-8000-000000000000", quote("https://a.org/c", safe="")):
            for query in ("", "?details=true"):
                refused(await client.get(f"/jsonldContexts/{path}{query}"), 404, "ResourceNotFound")
            refused(await client.delete(f"/jsonldContexts/{path}"), 404, "ResourceNotFound")
            refused(await client.delete(f"/jsonldContexts/{path}?reload=true"), 400, "BadRequestData")
            refused(await client.delete(f"/jsonldContexts/{path}?reload=xxx"), 400, "BadRequestData")

    async def test_deleting(self, client: Client) -> None:
        id = await host(client)
        refused(await client.delete(f"/jsonldContexts/{id}?reload=true"), 400, "BadRequestData")
        response = await client.delete(f"/jsonldContexts/{id}?reload=false")
        assert (response.status, response.content) == (204, b"")
        refused(await client.get(f"/jsonldContexts/{id}"), 404, "ResourceNotFound")

    async def test_tenants_do_not_see_each_others(self, client: Client) -> None:
        one, two = {"ngsild-tenant": "one"}, {"ngsild-tenant": "two"}
        id = await host(client, **one)
        refused(await client.get(f"/jsonldContexts/{id}", headers=two), 404, "ResourceNotFound")
        refused(await client.delete(f"/jsonldContexts/{id}", headers=two), 404, "ResourceNotFound")
        assert (await client.get("/jsonldContexts", headers=two)).json() == [CORE]
        response = await client.get(f"/jsonldContexts/{id}", headers=one)
        assert (response.status, response.headers["ngsild-tenant"]) == (200, "one")

    async def test_cached_ones_by_their_url(self, client: Client, server: LoopbackServer) -> None:
        url = server.put("/c", TERMS)
        path = "/jsonldContexts/" + quote(url, safe="")
        await create(client, url)
        refused(await client.get(path), 422, "OperationNotSupported")
        assert (await client.get(path + "?details=true")).json()["kind"] == "Cached"
        assert (await client.delete(path + "?reload=true")).status == 204
        server.pages.clear()
        refused(await client.delete(path + "?reload=true"), 504, "LdContextNotAvailable")
        assert (await client.get(path + "?details=true")).status == 200
        assert (await client.delete(path)).status == 204
        refused(await client.get(path + "?details=true"), 404, "ResourceNotFound")

    async def test_the_core_context_stays(self, client: Client) -> None:
        path = "/jsonldContexts/" + quote(CORE, safe="")
        refused(await client.delete(path), 400, "BadRequestData")
        assert (await client.delete(path + "?reload=true")).status == 204
        assert (await client.get(path + "?details=true")).json()["kind"] == "Cached"


class TestUse:
    async def test_a_hosted_context_gives_names(self, client: Client) -> None:
        id = await host(client)
        url = f"http://hub.example/ngsi-ld/v1/jsonldContexts/{id}"
        assert (await create(client, url)).status == 201
        assert await names(client) == {"https://example.org/speed"}
        assert (await client.get(f"/jsonldContexts/{id}?details=true")).json()["numberOfHits"] == 1

    async def test_a_remote_context_is_fetched_once_and_named_in_answers(
        self, client: Client, server: LoopbackServer
    ) -> None:
        url = server.put("/c", TERMS)
        assert (await create(client, [url, CORE])).status == 201
        response = await client.get("/entities/urn:x:1", headers=link(url))
        assert response.json()["speed"]["value"] == 5
        assert url in response.headers["link"]
        assert server.requests == ["/c"]

    async def test_caching_follows_the_headers_of_the_origin(
        self, client: Client, server: LoopbackServer, clock: FixedClock
    ) -> None:
        url = server.put("/c", TERMS, cache_control="max-age=60")
        await create(client, url)
        clock.advance(59)
        await client.get("/entities/urn:x:1", headers=link(url))
        assert len(server.requests) == 1
        clock.advance(2)
        server.put("/c", {"@context": {"tempo": "https://example.org/speed"}}, cache_control="max-age=60")
        assert "tempo" in (await client.get("/entities/urn:x:1", headers=link(url))).json()
        assert len(server.requests) == 2

    @pytest.mark.parametrize(
        "context", ["unknownContext", "", "ftp://a.org/c", 7, [7], [[]], {"a": 7}, "file:///etc/x"]
    )
    async def test_what_is_no_context(self, client: Client, context: Any) -> None:
        refused(await create(client, context), 400, "BadRequestData")

    @pytest.mark.parametrize(
        "target", ["unknownContext", "ftp://a.org/c", "http://[", "http://a b/", "http://u:p@a.org/"]
    )
    async def test_a_link_to_no_context(self, client: Client, target: str) -> None:
        refused(await client.get("/entities/urn:x:1", headers=link(target)), 400, "BadRequestData")

    async def test_what_cannot_be_had(self, client: Client, server: LoopbackServer) -> None:
        server.redirect("/loop", "/loop")
        for url in (server.url + "/missing", server.url + "/loop", "http://127.0.0.1:1/c", "http://nowhere.invalid/c"):
            refused(await create(client, url), 504, "LdContextNotAvailable")

    async def test_a_slow_server_does_not_hold_the_request(
        self, client: Client, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(core_contexts, "CONTEXT_WAIT_S", 0.05)
        held = asyncio.Event()
        server.pages["/slow"] = Page(json.dumps(TERMS).encode(), held=held)
        response = await create(client, server.url + "/slow")
        refused(response, 504, "LdContextNotAvailable")
        assert int(response.headers["retry-after"]) >= 1
        held.set()

    async def test_what_is_there_but_no_context(self, client: Client, server: LoopbackServer) -> None:
        server.pages["/html"] = Page(b"<html><title>Not found</title>", headers={"content-type": "text/html"})
        server.pages["/huge"] = Page(b'{"@context": "' + b"x" * CONTEXT_BYTES_MAX + b'"}')
        server.put("/self", {"@context": [server.url + "/self"]})
        server.put("/ping", {"@context": ["pong"]})
        server.put("/pong", {"@context": ["ping"]})
        server.put("/no-context", {"speed": "https://example.org/speed"})
        server.put(
            "/scoped", {"@context": {"speed": {"@id": "https://a.org/", "@context": {"value": "https://b.org/"}}}}
        )
        for path in list(server.pages):
            refused(await create(client, server.url + path), 400, "BadRequestData")
        assert (await client.get("/jsonldContexts?kind=Cached")).json() == [CORE]

    async def test_protected_terms(self, client: Client, server: LoopbackServer) -> None:
        protected = {"@id": "https://example.org/speed", "@protected": True}
        url = server.put("/c", {"@context": {"@version": 1.1, "speed": protected}})
        refused(await create(client, [url, {"speed": "https://example.org/other"}]), 400, "BadRequestData")

    async def test_core_terms_win_over_those_of_a_user(self, client: Client) -> None:
        context = {"location": "https://example.org/place", "value": "https://example.org/v"}
        location = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [127.3, 36.3]}}
        body = {"id": "urn:x:1", "type": "T", "location": location, "@context": context}
        assert (await client.post("/entities", json=body, headers=LD_JSON)).status == 201
        assert await names(client) == {"location"}


async def test_private_addresses_are_refused_by_default(tmp_path: Path, server: LoopbackServer) -> None:
    url = server.put("/c", TERMS)
    async with open_hub(Settings(access="open", data=tmp_path)) as hub:
        client = Client(hub.application)
        for target in (url, url.replace("127.0.0.1", "localhost"), "http://169.254.169.254/latest", "http://[::1]/c"):
            response = await create(client, target)
            refused(response, 400, "BadRequestData")
            assert "MADANG_ALLOW_PRIVATE_ADDRESSES" in response.json()["detail"]
        id = await host(client)
        own = f"{url.rpartition('/')[0]}/ngsi-ld/v1/jsonldContexts/{id}"
        assert (await create(client, own)).status == 201, "our own contexts need no request"
    assert server.requests == []
