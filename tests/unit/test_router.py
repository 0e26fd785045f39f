# SPDX-License-Identifier: Apache-2.0
"""The route table: literals, parameters, identifiers with slashes, methods."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.wire.http import Request, Response, Route
from madang.wire.router import Router, mounted


async def handler(_: Request) -> Response:
    return Response(200)


PATHS = (
    "/entities",
    "/entities/{entity}",
    "/entities/{entity}/attrs",
    "/entities/{entity}/attrs/{attribute}",
    "/entities//attrs",
    "/entityOperations/create",
    "/snapshots/{snapshot}/clone",
    "/types/{type}",
)
ROUTER = Router(Route(("GET",), path, handler) for path in PATHS)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/entities", {}),
        ("/entities/", {}),
        ("/entities/urn:a", {"entity": "urn:a"}),
        ("/entities/urn:a/", {"entity": "urn:a"}),
        ("/entities/urn:a/attrs", {"entity": "urn:a"}),
        ("/entities/urn:a/attrs/speed", {"entity": "urn:a", "attribute": "speed"}),
        ("/entities/attrs/attrs/attrs", {"entity": "attrs", "attribute": "attrs"}),
        ("/entities//attrs", {}),
        ("/entities/http://a.org/b", {"entity": "http://a.org/b"}),
        ("/entities/http://a.org/b/", {"entity": "http://a.org/b/"}),
        ("/entities/http://a.org/b/attrs/", {"entity": "http://a.org/b"}),
        ("/entities/http://a.org/b/attrs/speed", {"entity": "http://a.org/b", "attribute": "speed"}),
        ("/entities/urn:a/attrs/https://a.org/attrs/b", {"entity": "urn:a", "attribute": "https://a.org/attrs/b"}),
        ("/snapshots/urn:a/clone", {"snapshot": "urn:a"}),
        ("/types/https://a.org/T/", {"type": "https://a.org/T/"}),
    ],
)
def test_a_path_leads_to_its_endpoint_with_its_parameters(path: str, expected: dict[str, str]) -> None:
    found = ROUTER.find(path)
    assert found is not None
    assert dict(found[1]) == expected


@pytest.mark.parametrize(
    "path", ["", "/", "//", "/entity", "/entityOperations", "/entityOperations/none", "/snapshots/a"]
)
def test_a_path_of_no_route_leads_nowhere(path: str) -> None:
    assert ROUTER.find(path) is None


def test_an_endpoint_tells_its_methods() -> None:
    router = Router([Route(("GET", "POST"), "/a", handler), Route(("DELETE",), "/a", handler)])
    found = router.find("/a")
    assert found is not None
    assert found[0].allowed() == ["DELETE", "GET", "HEAD", "OPTIONS", "POST"]


def test_a_route_that_stands_twice_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="twice"):
        Router([Route(("GET",), "/a", handler), Route(("GET",), "/a", handler)])


def test_mounted_routes_stand_below_their_prefix() -> None:
    router = Router(mounted("/ngsi-ld/v1", [Route(("GET",), "/a/{b}", handler)]))
    found = router.find("/ngsi-ld/v1/a/c")
    assert found is not None
    assert dict(found[1]) == {"b": "c"}
    assert router.find("/a/c") is None


@given(st.text(alphabet=st.sampled_from("/aentitsr:{}é"), max_size=40))
def test_no_path_breaks_the_walk(path: str) -> None:
    found: Any = ROUTER.find("/" + path)
    assert found is None or all(found[1].values())


@given(st.text(alphabet=st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1))
def test_any_identifier_without_slash_is_given_back(identifier: str) -> None:
    found = ROUTER.find(f"/types/{identifier}/")
    assert found is not None
    assert found[1] == {"type": identifier}
