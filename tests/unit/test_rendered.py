# SPDX-License-Identifier: Apache-2.0
"""The cache of ready answers: nothing in it is ever older than the last commit, and it is bounded."""

from __future__ import annotations

import pytest

from madang.ngsild.rendered import Rendered
from madang.testing.client import ClientRequest
from madang.testing.memory import Commits, Memory, entity
from madang.wire.http import Response


@pytest.fixture
def writer() -> Commits:
    return Commits(Memory())


@pytest.fixture
def rendered(writer: Commits) -> Rendered:
    return Rendered(writer, exclusive=True)


def request(path: str = "/entities/urn:a", **headers: str) -> ClientRequest:
    return ClientRequest("GET", path, "", headers)


def test_an_answer_is_given_again_until_the_entity_changes(rendered: Rendered, writer: Commits) -> None:
    key = rendered.key(request())
    rendered.keep(key, Response(200, b"1"), rendered.entity("", "urn:a"))
    writer.put(entity("urn:b"))
    writer.put(entity("urn:a"), tenant="other")
    assert rendered.answer(key) == Response(200, b"1")
    writer.put(entity("urn:a"))
    assert rendered.answer(key) is None


def test_an_answer_is_not_kept_when_a_commit_came_in_between(rendered: Rendered, writer: Commits) -> None:
    kept, stamp = rendered.entity("", "urn:a"), rendered.stamp("", ["T"])
    writer.put(entity("urn:a"))
    rendered.put(kept, "variant", b"old")
    rendered.keep(rendered.key(request()), Response(200, b"old"), kept)
    rendered.keep(rendered.key(request("/entities")), Response(200, b"old"), stamp)
    assert rendered.answer(rendered.key(request())) is None
    assert rendered.answer(rendered.key(request("/entities"))) is None
    assert rendered.entity("", "urn:a").variants == {}


def test_a_list_depends_on_its_types_before_and_after(rendered: Rendered, writer: Commits) -> None:
    key = rendered.key(request("/entities"))

    def holds() -> bool:
        rendered.keep(key, Response(200, b"[]"), rendered.stamp("", ["T"]))
        return rendered.answer(key) is not None

    assert holds()
    writer.put(entity("urn:a", "Other"))
    assert rendered.answer(key) is not None
    writer.put(entity("urn:a", ["Other", "T"]))
    assert rendered.answer(key) is None
    assert holds()
    writer.put(entity("urn:a", "Other"))
    assert rendered.answer(key) is None
    assert holds()
    writer.delete("urn:a")
    assert rendered.answer(key) is not None


def test_a_list_of_any_type_depends_on_the_tenant(rendered: Rendered, writer: Commits) -> None:
    key = rendered.key(request("/entities"))
    rendered.keep(key, Response(200, b"[]"), rendered.stamp(""))
    writer.put(entity("urn:a"), tenant="other")
    assert rendered.answer(key) is not None
    writer.put(entity("urn:a"))
    assert rendered.answer(key) is None


def test_requests_that_may_be_answered_differently_have_different_keys(rendered: Rendered) -> None:
    keys = {
        rendered.key(request()),
        rendered.key(request("/entities/urn:b")),
        rendered.key(ClientRequest("GET", "/entities/urn:a", "pick=id")),
        *(
            rendered.key(request(**{name: "x"}))
            for name in ("ngsild-tenant", "accept", "link", "prefer", "ngsild-snapshot", "ngsild-entitymap")
        ),
    }
    assert len(keys) == 9


def test_an_answer_may_be_given_more_headers_on_its_way_out(rendered: Rendered) -> None:
    key = rendered.key(request())
    rendered.keep(key, Response(200, b"1"), rendered.entity("", "urn:a"))
    first = rendered.answer(key)
    assert first is not None
    first.headers = [*first.headers, ("ngsild-tenant", "x")]
    assert rendered.answer(key) == Response(200, b"1")


def test_an_answer_ends_with_the_context_it_was_written_in(writer: Commits) -> None:
    meaning: list[object | None] = [object()]
    rendered = Rendered(writer, exclusive=True, context_of=lambda *_: meaning[0])
    key = rendered.key(request(link="<http://a>"))
    rendered.keep(key, Response(200, b"1"), rendered.entity("", "urn:a"))
    assert rendered.answer(key) is not None
    meaning[0] = object()
    assert rendered.answer(key) is None
    meaning[0] = None
    rendered.keep(key, Response(200, b"1"), rendered.entity("", "urn:a"))
    assert rendered.answer(key) is None


def test_errors_are_not_kept(rendered: Rendered) -> None:
    key = rendered.key(request())
    rendered.keep(key, Response(404, b"1"), rendered.entity("", "urn:a"))
    assert rendered.answer(key) is None


def test_nothing_is_kept_when_others_write_too(writer: Commits) -> None:
    rendered = Rendered(writer, exclusive=False)
    kept = rendered.entity("", "urn:a")
    rendered.put(kept, "variant", b"1")
    rendered.keep(rendered.key(request()), Response(200, b"1"), kept)
    assert rendered.answer(rendered.key(request())) is None
    assert rendered.entity("", "urn:a").variants == {}


def test_the_cache_is_bounded(writer: Commits) -> None:
    rendered = Rendered(writer, exclusive=True, bytes_max=100_000)
    for number in range(1000):
        kept = rendered.entity("", f"urn:{number}")
        rendered.put(kept, "variant", b"x" * 1000)
        rendered.keep(rendered.key(request(f"/{number}")), Response(200, b"x" * 1000), kept)
    assert rendered._entity_bytes <= 50_000
    assert rendered._answer_bytes <= 50_000
    assert sum(kept.weight_bytes for kept in rendered._entities.values()) == rendered._entity_bytes
    assert rendered.answer(rendered.key(request("/999"))) is not None
    assert rendered.answer(rendered.key(request("/0"))) is None
    huge = rendered.entity("", "urn:huge")
    rendered.put(huge, "variant", b"x" * 50_000)
    assert huge.variants == {}
    rendered.clear()
    assert rendered.answer(rendered.key(request("/999"))) is None
