"""Remote @context documents: limits, redirects, what is no context, and how long one is good."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest

from madang.base.errors import BadRequestData, ContextNotAvailable
from madang.base.limits import CONTEXT_BYTES_MAX, CONTEXT_FRESH_DEFAULT_S
from madang.core import context_fetch
from madang.core.context_fetch import HttpContextFetcher, freshness
from madang.testing.http_server import LoopbackServer, Page, loopback_server

NOW_US = 1_700_000_000_000_000  # 2023-11-14T22:13:20Z
TERMS = {"@context": {"a": "https://example.org/a"}}


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with loopback_server() as server:
        yield server


@pytest.fixture
async def fetcher() -> AsyncIterator[HttpContextFetcher]:
    fetcher = HttpContextFetcher(allow_private_addresses=True)
    yield fetcher
    await fetcher.close()


async def test_a_document_comes_with_its_member_only(server: LoopbackServer, fetcher: HttpContextFetcher) -> None:
    url = server.put("/c", {**TERMS, "other": 1}, cache_control="max-age=60")
    fetched = await fetcher.fetch(url, now_us=NOW_US)
    assert fetched.document == TERMS
    assert fetched.fresh_s == 60


async def test_a_fragment_is_not_sent(server: LoopbackServer, fetcher: HttpContextFetcher) -> None:
    url = server.put("/c?v=1", TERMS)
    await fetcher.fetch(url + "#part", now_us=NOW_US)
    assert server.requests == ["/c?v=1"]


async def test_redirects_are_followed_up_to_the_limit(server: LoopbackServer, fetcher: HttpContextFetcher) -> None:
    server.put("/end", TERMS)
    server.redirect("/3", "/end")
    server.redirect("/2", "/3")
    server.redirect("/1", server.url + "/2")
    assert (await fetcher.fetch(server.url + "/1", now_us=NOW_US)).document == TERMS
    server.redirect("/0", "/1")
    with pytest.raises(ContextNotAvailable, match="redirects more than"):
        await fetcher.fetch(server.url + "/0", now_us=NOW_US)


async def test_a_loop_of_redirects_ends(server: LoopbackServer, fetcher: HttpContextFetcher) -> None:
    url = server.redirect("/loop", "/loop")
    with pytest.raises(ContextNotAvailable):
        await fetcher.fetch(url, now_us=NOW_US)
    assert len(server.requests) == 4


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://user:x@127.0.0.1/"])
async def test_redirects_lead_to_plain_urls_only(
    server: LoopbackServer, fetcher: HttpContextFetcher, target: str
) -> None:
    with pytest.raises(BadRequestData):
        await fetcher.fetch(server.redirect("/away", target), now_us=NOW_US)


async def test_a_redirect_to_no_url_at_all(server: LoopbackServer, fetcher: HttpContextFetcher) -> None:
    with pytest.raises(ContextNotAvailable):
        await fetcher.fetch(server.redirect("/away", "http://[broken"), now_us=NOW_US)


async def test_a_private_address_is_refused_before_anything_is_sent(server: LoopbackServer) -> None:
    strict = HttpContextFetcher(allow_private_addresses=False)
    with pytest.raises(BadRequestData, match="not on the public internet"):
        await strict.fetch(server.put("/c", TERMS), now_us=NOW_US)
    assert server.requests == []
    await strict.close()


async def test_a_name_is_checked_again_when_the_connection_is_made(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS may answer differently each time: only the address that was checked is connected to."""
    port = int(server.url.rpartition(":")[2])
    answers = iter([[(2, 1, 6, "", ("127.0.0.1", port))]])

    async def look_up(*_arguments: object, **_options: object) -> object:
        return next(answers)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    strict = HttpContextFetcher(allow_private_addresses=False)
    with pytest.raises(BadRequestData, match="not on the public internet"):
        await strict.fetch(f"http://rebinding.example:{port}/c", now_us=NOW_US)
    assert server.requests == []
    await strict.close()


@pytest.mark.parametrize("status", [204, 400, 401, 404, 500, 503])
async def test_another_status_means_not_available(
    server: LoopbackServer, fetcher: HttpContextFetcher, status: int
) -> None:
    server.pages["/c"] = Page(b"", status)
    with pytest.raises(ContextNotAvailable, match=str(status)):
        await fetcher.fetch(server.url + "/c", now_us=NOW_US)


@pytest.mark.parametrize(
    "body",
    [b"<!doctype html><title>404</title>", b"", b"[]", b"null", b"7", b'{"a": 1}', b'{"@context": NaN}', b"\xff"],
)
async def test_what_is_no_context_document(server: LoopbackServer, fetcher: HttpContextFetcher, body: bytes) -> None:
    server.pages["/c"] = Page(body, headers={"content-type": "application/json"})
    with pytest.raises(BadRequestData):
        await fetcher.fetch(server.url + "/c", now_us=NOW_US)


async def test_a_page_may_link_its_machine_readable_twin(server: LoopbackServer, fetcher: HttpContextFetcher) -> None:
    link = '</c.jsonld>; rel="alternate"; type="application/ld+json"'
    server.pages["/"] = Page(b"<html>", headers={"content-type": "text/html", "link": link})
    server.put("/c.jsonld", TERMS)
    assert (await fetcher.fetch(server.url + "/", now_us=NOW_US)).document == TERMS


async def test_a_body_above_the_limit_is_refused(server: LoopbackServer, fetcher: HttpContextFetcher) -> None:
    server.pages["/c"] = Page(json.dumps({"@context": {"a": "x" * CONTEXT_BYTES_MAX}}).encode())
    with pytest.raises(BadRequestData, match="larger than"):
        await fetcher.fetch(server.url + "/c", now_us=NOW_US)


async def test_compressed_bodies_are_read_within_the_limit(server: LoopbackServer, fetcher: HttpContextFetcher) -> None:
    server.pages["/c"] = Page(gzip.compress(json.dumps(TERMS).encode()), headers={"content-encoding": "gzip"})
    assert (await fetcher.fetch(server.url + "/c", now_us=NOW_US)).document == TERMS
    server.pages["/bomb"] = Page(gzip.compress(b" " * (CONTEXT_BYTES_MAX + 2)), headers={"content-encoding": "gzip"})
    with pytest.raises(BadRequestData, match="larger than"):
        await fetcher.fetch(server.url + "/bomb", now_us=NOW_US)
    server.pages["/bad"] = Page(b"not compressed", headers={"content-encoding": "gzip"})
    with pytest.raises(ContextNotAvailable, match="damaged"):
        await fetcher.fetch(server.url + "/bad", now_us=NOW_US)
    server.pages["/odd"] = Page(b"{}", headers={"content-encoding": "br"})
    with pytest.raises(ContextNotAvailable, match="br"):
        await fetcher.fetch(server.url + "/odd", now_us=NOW_US)


async def test_a_slow_server_is_left(
    server: LoopbackServer, fetcher: HttpContextFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_fetch, "CONTEXT_FETCH_S", 0.05)
    held = asyncio.Event()
    server.pages["/c"] = Page(json.dumps(TERMS).encode(), held=held)
    with pytest.raises(ContextNotAvailable, match="did not arrive"):
        await fetcher.fetch(server.url + "/c", now_us=NOW_US)
    held.set()


async def test_a_closed_port_and_an_unknown_host(fetcher: HttpContextFetcher) -> None:
    for url in ("http://127.0.0.1:1/c", "http://nowhere.invalid/c"):
        with pytest.raises(ContextNotAvailable):
            await fetcher.fetch(url, now_us=NOW_US)


DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
HOUR_LATER = "Tue, 14 Nov 2023 23:13:20 GMT"
DAY_BEFORE = "Mon, 13 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("headers", "fresh_s", "stale_allowed"),
    [
        ({}, CONTEXT_FRESH_DEFAULT_S, True),
        ({"cache-control": "max-age=60"}, 60, True),
        ({"cache-control": "public, max-age=60, s-maxage=10"}, 10, True),
        ({"cache-control": 'S-MaxAge="20"'}, 20, True),
        ({"cache-control": "max-age=60", "age": "45"}, 15, True),
        ({"cache-control": "max-age=60", "age": "90"}, 0, True),
        ({"cache-control": "max-age=60", "expires": DAY_BEFORE}, 60, True),
        ({"cache-control": "max-age=0"}, 0, True),
        ({"cache-control": "max-age=nonsense"}, 0, True),
        ({"cache-control": "no-store"}, 0, False),
        ({"cache-control": "no-cache, max-age=60"}, 0, False),
        ({"cache-control": "max-age=60, must-revalidate"}, 60, False),
        ({"cache-control": "max-age=99999999999"}, 31_536_000, True),
        ({"expires": HOUR_LATER}, 3_600, True),
        ({"expires": HOUR_LATER, "date": DATE}, 3_600, True),
        ({"expires": DATE, "date": DAY_BEFORE}, 86_400, True),
        ({"expires": "0"}, 0, True),
        ({"expires": DAY_BEFORE}, 0, True),
        ({"last-modified": DAY_BEFORE}, 8_640, True),
        ({"last-modified": HOUR_LATER}, CONTEXT_FRESH_DEFAULT_S, True),
    ],
)
def test_how_long_a_document_is_good(headers: dict[str, str], fresh_s: float, stale_allowed: bool) -> None:
    found_s, found_allowed = freshness(headers, NOW_US)
    assert found_s == pytest.approx(fresh_s)
    assert found_allowed is stale_allowed
