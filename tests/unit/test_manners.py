# SPDX-License-Identifier: Apache-2.0
"""Media types, parameters, bodies, headers and answers of the NGSI-LD face."""

from __future__ import annotations

import contextlib
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.errors import BadRequestData, HubError, InvalidRequest, TooManyResults
from madang.base.limits import JSON_DEPTH_MAX
from madang.model.jsonld.context import CORE
from madang.ngsild.manners import (
    GEO_JSON,
    JSON,
    LD_JSON,
    Page,
    Parameters,
    Refusal,
    answer,
    api_location,
    count_header,
    link_context,
    linked_context,
    negotiate,
    page_links,
    parse_json,
    prefers_plain_json,
    read_body,
    read_each,
    read_page,
    tenant_of,
)
from madang.testing.client import ClientRequest

REL = "http://www.w3.org/ns/json-ld#context"
ALL = (JSON, LD_JSON, GEO_JSON)


class NoContexts:
    """Stands for core.contexts: every source is the core context but those named bad."""

    default = CORE

    def known(self, tenant: str, source: Any) -> None:  # noqa: ARG002
        return None

    async def resolve(self, tenant: str, source: Any) -> Any:  # noqa: ARG002
        if source == "http://bad":
            raise BadRequestData("bad context")
        return CORE


class FakeCore:
    contexts = NoContexts()


CORE_VERBS = cast(Any, FakeCore())


def request(method: str = "GET", query: str = "", *, body: bytes = b"", **headers: Any) -> ClientRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ClientRequest(method, "/ngsi-ld/v1/entities", query, named, body)


@pytest.mark.parametrize(
    ("accept", "offered", "expected"),
    [
        (None, ALL, JSON),
        ("*/*", ALL, JSON),
        ("", ALL, JSON),
        ("application/json", ALL, JSON),
        ("application/ld+json", ALL, LD_JSON),
        ("application/ld+json, application/json", ALL, JSON),
        ("application/geo+json, application/json", ALL, JSON),
        ("application/geo+json", ALL, GEO_JSON),
        ("application/json;q=0.1, application/ld+json;q=0.9", ALL, LD_JSON),
        ("application/geo+json;q=0.9, application/ld+json;q=0.1", (JSON, LD_JSON), LD_JSON),
        ("application/json;q=0, application/ld+json", ALL, LD_JSON),
        ("application/json;q=0, */*", ALL, LD_JSON),
        ("*/*;q=0.9, application/ld+json;q=0.8", ALL, JSON),
        ("application/ld+json;q=notanumber", ALL, LD_JSON),
        ("application/*", ALL, JSON),
        ("Application/LD+JSON; charset=utf-8", ALL, LD_JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", ALL, JSON),
    ],
)
def test_accept_selects(accept: str | None, offered: tuple[str, ...], expected: str) -> None:
    headers: dict[str, Any] = {} if accept is None else {"accept": accept}
    assert negotiate(request(**headers), offered) == expected


@pytest.mark.parametrize("accept", ["application/xml", "text/*", "application/geo+json", "*/*;q=0"])
def test_an_accept_that_nothing_fits_is_406_with_the_list(accept: str) -> None:
    with pytest.raises(Refusal) as refused:
        negotiate(request(accept=accept))
    response = refused.value.response
    assert response.status == 406
    assert json.loads(response.body)["availableRepresentations"] == [JSON, LD_JSON]


@pytest.mark.parametrize("media", ["application/xml", "", "text/json", "application/merge-patch+json"])
async def test_another_content_type_is_a_bare_415(media: str) -> None:
    with pytest.raises(Refusal) as refused:
        await read_body(request("POST", body=b"{}", content_type=media), CORE_VERBS, "")
    assert (refused.value.response.status, refused.value.response.body) == (415, b"")


async def test_merge_patch_is_json_for_patch_only() -> None:
    sent = request("PATCH", body=b'{"a": 1}', content_type="application/merge-patch+json")
    assert await read_body(sent, CORE_VERBS, "", patch=True) == ({"a": 1}, CORE)


@pytest.mark.parametrize(
    ("media", "body", "link", "error"),
    [
        (JSON, b'{"@context": "http://a"}', None, BadRequestData),
        (JSON, b'[{"@context": "http://a"}]', None, BadRequestData),
        (LD_JSON, b'{"id": "urn:a"}', None, BadRequestData),
        (LD_JSON, b"[]", None, BadRequestData),
        (LD_JSON, b'{"@context": "http://a"}', f'<http://b>; rel="{REL}"', BadRequestData),
        (LD_JSON, b'{"@context": "http://bad"}', None, BadRequestData),
        (JSON, b"{}", f'<http://b>; rel="{REL}", <http://c>; rel="{REL}"', BadRequestData),
        (JSON, b"{", None, InvalidRequest),
        (JSON, b"", None, InvalidRequest),
    ],
)
async def test_a_context_in_the_wrong_place_is_refused(
    media: str, body: bytes, link: str | None, error: type[HubError]
) -> None:
    headers = {"content_type": media} | ({"link": link} if link else {})
    with pytest.raises(error):
        await read_body(request("POST", body=body, **headers), CORE_VERBS, "")


async def test_an_ld_json_body_loses_its_context() -> None:
    body = b'{"@context": "http://a", "id": "urn:a"}'
    data, _ = await read_body(request("POST", body=body, content_type=LD_JSON + ";charset=utf-8"), CORE_VERBS, "")
    assert data == {"id": "urn:a"}


async def test_each_element_of_a_batch_has_its_own_context() -> None:
    body = b'[{"@context": "http://a", "id": "a"}, {"id": "b"}, {"@context": "http://bad", "id": "c"}, 5]'
    found = await read_each(request("POST", body=body, content_type=LD_JSON), CORE_VERBS, "")
    assert found[0] == ({"id": "a"}, CORE)
    assert [isinstance(context, HubError) for _, context in found] == [False, True, True, True]


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (f'<http://a>; rel="{REL}"; type="application/ld+json"', "http://a"),
        (f"<http://a>;rel={REL}", "http://a"),
        (f'<http://n>; rel="next", <http://a>; rel="{REL}"', "http://a"),
        (f'<http://a>; type="application/ld+json"; REL="other {REL}"', "http://a"),
        ('<http://a>; rel="next"', None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_context_is_found_among_links(link: str, expected: str | None) -> None:
    assert linked_context(link) == expected


async def test_without_a_link_the_core_context_counts() -> None:
    assert await link_context(request(), CORE_VERBS, "") is CORE
    assert await link_context(request(link='<http://a>; rel="next"'), CORE_VERBS, "") is CORE


@pytest.mark.parametrize(
    "body",
    [
        b"NaN",
        b"[1e400]",
        b"-Infinity",
        b'{"a": }',
        b'"\\ud800"',
        b'"\xff"',
        b"{'a': 1}",
        b"\xef\xbb\xbf{}",
        b"[" * 5000,
        b"[" * 500 + b"]" * 500,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1),
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(body)


def test_depth_counts_levels_not_brackets() -> None:
    deepest = b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX
    assert isinstance(parse_json(deepest), list)
    assert len(parse_json(b"[" + b"{}," * 500 + b"{}]")) == 501
    assert parse_json(b'["' + b"[" * 500 + b'"]') == ["[" * 500]


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_json(body)


def test_parameters_are_decoded() -> None:
    read = Parameters.read(
        request(query="q=a%3D%3D%22b+c%22&id=urn:a,urn:b&count=true&empty="), {"q", "id", "count", "empty"}
    )
    assert read.get("q") == 'a=="b c"'
    assert read.listed("id") == ["urn:a", "urn:b"]
    assert read.flag("count")
    assert read.get("empty") is None
    assert "empty" in read
    assert read.get("absent") is None


@pytest.mark.parametrize("query", ["x=1", "q=1&q=2", "q=%ff", "%71=1&q=1", "a b=1", "q=" + "a" * 20_000])
def test_unknown_repeated_and_unreadable_parameters_are_refused(query: str) -> None:
    with pytest.raises(InvalidRequest):
        Parameters.read(request(query=query), {"q"})


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=0", BadRequestData),
        ("limit=-1", BadRequestData),
        ("limit=x", BadRequestData),
        ("offset=-1", BadRequestData),
        ("limit=100000", TooManyResults),
        ("count=yes", InvalidRequest),
        ("limit=" + "9" * 400, BadRequestData),
        ("limit=٣", BadRequestData),
    ],
)
def test_a_page_that_makes_no_sense_is_refused(query: str, error: type[HubError]) -> None:
    with pytest.raises(error):
        read_page(Parameters.read(request(query=query), {"limit", "offset", "count"}))


def test_a_page_has_defaults() -> None:
    assert read_page(Parameters.read(request(), ())) == Page(20, 0, False)
    assert read_page(Parameters.read(request(query="limit=0&count=true"), {"limit", "count"})) == Page(0, 0, True)


@pytest.mark.parametrize(
    ("page", "more", "expected"),
    [
        (Page(1, 0, True), False, []),
        (Page(0, 0, True), True, []),
        (Page(1, 0, True), True, [("next", 1)]),
        (Page(1, 1, True), True, [("prev", 0), ("next", 2)]),
        (Page(2, 1, True), False, [("prev", 0)]),
    ],
)
def test_pages_link_to_their_neighbours(page: Page, more: bool, expected: list[tuple[str, int]]) -> None:
    asked = request(query="type=Building&idPattern=urn%3Aa.*&attrs=a,b&limit=1&count=true")
    links = page_links(asked, page, more=more, media=LD_JSON)
    path = "/ngsi-ld/v1/entities?attrs=a%2Cb&count=true&idPattern=urn:a.*"
    assert links == [
        ("link", f'<{path}&limit={page.limit}&offset={offset}&type=Building>; rel="{relation}"; type="{LD_JSON}"')
        for relation, offset in expected
    ]


@pytest.mark.parametrize("tenant", ["a b", "a" * 300, "\x01", "세종", "\ufffd"])
def test_a_tenant_that_cannot_be_a_name_is_refused(tenant: str) -> None:
    with pytest.raises(BadRequestData):
        tenant_of(request(ngsild_tenant=tenant))


def test_a_tenant_is_read_from_its_header() -> None:
    assert tenant_of(request()) == ""
    assert tenant_of(request(ngsild_tenant="sejong")) == "sejong"


def test_a_json_answer_links_its_context_and_an_ld_json_answer_holds_it() -> None:
    plain = answer(200, {"id": "urn:a"}, context=CORE)
    assert json.loads(plain.body) == {"id": "urn:a"}
    assert plain.headers[0] == ("content-type", JSON)
    assert plain.headers[1][0] == "link"
    assert linked_context(plain.headers[1][1]) == CORE.link
    full = answer(200, [{"id": "urn:a"}], context=CORE, media=LD_JSON, headers=[count_header(1)])
    assert json.loads(full.body) == [{"id": "urn:a", "@context": CORE.source}]
    assert full.headers == [("content-type", LD_JSON), ("ngsild-results-count", "1")]
    geo = answer(200, {"type": "Feature"}, context=CORE, media=GEO_JSON, body_context=False)
    assert json.loads(geo.body) == {"type": "Feature"}
    assert geo.headers[1][0] == "link"


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [("body=json", True), ("ngsi-ld=1.5, body=json", True), ("body=ld+json", False), ("respond-async", False)],
)
def test_prefer_moves_the_geojson_context(prefer: str, expected: bool) -> None:
    assert prefers_plain_json(request(prefer=prefer)) is expected


def test_a_location_keeps_what_a_path_may_hold() -> None:
    assert api_location("entities", "urn:ngsi-ld:A:1") == "/ngsi-ld/v1/entities/urn:ngsi-ld:A:1"
    assert api_location("entities", "http://a/b?c#d e") == "/ngsi-ld/v1/entities/http://a/b%3Fc%23d%20e"
