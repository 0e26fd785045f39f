"""Resolving and caching @contexts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.base.clock import FixedClock
from madang.base.errors import BadRequestData, ContextNotAvailable, InvalidInput
from madang.base.limits import CONTEXT_FETCHES_MAX, CONTEXT_RETRY_S, CONTEXT_STALE_MAX_S
from madang.core import context_records, contexts
from madang.core.contexts import Contexts
from madang.core.writer import Writer
from madang.model.entity import Json
from madang.model.jsonld.context import CORE
from madang.model.jsonld.core_context import CORE_CONTEXT_URL
from madang.model.jsonld.smart_data_models import SUBJECTS, smart_data_model_url
from madang.store.port import Store
from tests.context_fakes import Fetcher, Hub, Records, context_hub

A = "https://example.org/a.jsonld"
B = "https://example.org/b.jsonld"


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with context_hub() as hub:
        yield hub


async def test_no_context_is_the_core_context(hub: Hub) -> None:
    assert await hub.contexts.resolve("", None) is CORE
    assert hub.contexts.known("", None) is CORE


@pytest.mark.parametrize("source", [CORE_CONTEXT_URL, [CORE_CONTEXT_URL], [], {}, [None]])
async def test_nothing_but_core_contexts_needs_no_fetch(hub: Hub, source: Json) -> None:
    context = await hub.contexts.resolve("", source)
    assert context.key == "core"
    assert context.expand("speed") == "speed"
    assert hub.fetcher.asked == []


@pytest.mark.parametrize("version", ["-v1.3", "-v1.4", "-v1.5", "-v1.6", "-v1.7", "-v1.8", "-v1.9", ""])
async def test_every_core_version_is_built_in(hub: Hub, version: str) -> None:
    url = f"https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context{version}.jsonld"
    assert (await hub.contexts.resolve("", url)).expand("location") == "location"
    assert hub.fetcher.asked == []


async def test_what_only_looks_like_a_core_context_is_fetched(hub: Hub) -> None:
    url = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-non-existing.jsonld"
    with pytest.raises(ContextNotAvailable):
        await hub.contexts.resolve("", url)
    assert hub.fetcher.asked == [url]


@pytest.mark.parametrize("subject", sorted(SUBJECTS))
async def test_smart_data_models_are_built_in(hub: Hub, subject: str) -> None:
    context = await hub.contexts.resolve("", smart_data_model_url(subject))
    assert context.has_terms
    page = f"https://smart-data-models.github.io/dataModel.{subject}/context.jsonld"
    assert (await hub.contexts.resolve("", page)).expand("location") == "location"
    assert hub.fetcher.asked == []


async def test_smart_data_models_name_types_and_attributes(hub: Hub) -> None:
    context = await hub.contexts.resolve("", smart_data_model_url("Transportation"))
    assert context.expand("BikeHireDockingStation").endswith("/dataModel.Transportation/BikeHireDockingStation")
    assert context.compact("https://smartdatamodels.org/dataModel.Transportation/availableBikeNumber") == (
        "availableBikeNumber"
    )
    with pytest.raises(ContextNotAvailable):
        await hub.contexts.resolve("", smart_data_model_url("NoSuchSubject"))


async def test_a_fetched_context_is_fetched_once(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    first = await hub.contexts.resolve("", A)
    assert first.expand("a") == "https://example.org/a"
    assert first.link == A
    assert await hub.contexts.resolve("", A) is first
    assert hub.contexts.known("", A) is first
    assert hub.fetcher.asked == [A]


async def test_a_fetched_context_outlives_a_restart(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    first = await hub.contexts.resolve("", A)
    second = await hub.again().resolve("", A)
    assert second.key == first.key
    assert hub.fetcher.asked == [A]


async def test_one_fetch_serves_all_who_ask_at_once(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    hub.fetcher.gate = asyncio.Event()
    waiting = [asyncio.create_task(hub.contexts.resolve(tenant, A)) for tenant in ("", "", "t", "t")]
    await asyncio.sleep(0)
    hub.fetcher.gate.set()
    found = await asyncio.gather(*waiting)
    assert {context.key for context in found} == {found[0].key}
    assert hub.fetcher.asked == [A]


async def test_documents_that_one_context_names_are_fetched_together(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    hub.fetcher.put(B, {"b": "https://example.org/b"})
    context = await hub.contexts.resolve("", [A, B, {"c": "https://example.org/c"}])
    assert [context.expand(term) for term in "abc"] == [f"https://example.org/{term}" for term in "abc"]
    assert context.link is None
    assert context.source == [A, B, {"c": "https://example.org/c"}]
    assert sorted(hub.fetcher.asked) == [A, B]


async def test_documents_may_refer_to_others_relatively(hub: Hub) -> None:
    hub.fetcher.put(A, ["b.jsonld", {"a": "https://example.org/a"}])
    hub.fetcher.put(B, {"b": "https://example.org/b"})
    assert (await hub.contexts.resolve("", A)).expand("b") == "https://example.org/b"


async def test_a_context_is_good_until_it_expires(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/old"}, fresh_s=60)
    old = await hub.contexts.resolve("", A)
    hub.fetcher.put(A, {"a": "https://example.org/new"}, fresh_s=60)
    hub.clock.advance(59)
    assert await hub.contexts.resolve("", A) is old
    hub.clock.advance(1)
    assert hub.contexts.known("", A) is None
    new = await hub.contexts.resolve("", A)
    assert new.expand("a") == "https://example.org/new"
    assert new.key != old.key
    assert hub.fetcher.asked == [A, A]


async def test_a_part_that_expires_takes_the_whole_with_it(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"}, fresh_s=600)
    hub.fetcher.put(B, {"b": "https://example.org/b"}, fresh_s=60)
    await hub.contexts.resolve("", [A, B])
    hub.clock.advance(61)
    await hub.contexts.resolve("", [A, B])
    assert hub.fetcher.asked.count(A) == 1
    assert hub.fetcher.asked.count(B) == 2


async def test_a_document_without_lifetime_is_fetched_each_time(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"}, fresh_s=0)
    await hub.contexts.resolve("", A)
    await hub.contexts.resolve("", A)
    assert hub.fetcher.asked == [A, A]


async def test_an_expired_copy_stands_in_while_the_origin_is_down(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"}, fresh_s=60)
    await hub.contexts.resolve("", A)
    del hub.fetcher.pages[A]
    hub.clock.advance(61)
    assert (await hub.contexts.resolve("", A)).expand("a") == "https://example.org/a"
    assert len(hub.fetcher.asked) == 2
    await hub.contexts.resolve("", A)
    assert len(hub.fetcher.asked) == 2, "the origin is left in peace for a while"
    hub.clock.advance(CONTEXT_RETRY_S + 1)
    await hub.contexts.resolve("", A)
    assert len(hub.fetcher.asked) == 3
    hub.clock.advance(CONTEXT_STALE_MAX_S)
    with pytest.raises(ContextNotAvailable):
        await hub.contexts.resolve("", A)


async def test_a_copy_that_must_be_revalidated_does_not_stand_in(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"}, fresh_s=60, stale_allowed=False)
    await hub.contexts.resolve("", A)
    del hub.fetcher.pages[A]
    hub.clock.advance(61)
    with pytest.raises(ContextNotAvailable):
        await hub.contexts.resolve("", A)


async def test_what_failed_is_tried_again(hub: Hub) -> None:
    with pytest.raises(ContextNotAvailable):
        await hub.contexts.resolve("", A)
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    assert (await hub.contexts.resolve("", A)).expand("a") == "https://example.org/a"


@pytest.mark.parametrize(
    "source",
    [
        *(7, True, 1.5, [7], [[]], "unknownContext", "/jsonldContexts/urn:x:1", "ftp://example.org/c", ["relative"]),
        *({"a": 7}, {"a": {"@context": {}}}, {"a": {"@id": "https://x/", "@context": {"b": "https://y/"}}}),
        *({"@import": 7}, "http://user:secret@example.org/c", "https://example.org/" + "x" * 3000),
    ],
)
async def test_what_is_no_context(hub: Hub, source: Json) -> None:
    with pytest.raises(BadRequestData):
        await hub.contexts.resolve("", source)


async def test_an_invalid_remote_context_is_refused_and_not_kept(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": 7})
    with pytest.raises(BadRequestData):
        await hub.contexts.resolve("", A)
    assert hub.records.bodies == {}


@pytest.mark.parametrize("pages", [{A: [A]}, {A: [B], B: A}, {A: {"@import": A}}])
async def test_cycles_end(hub: Hub, pages: dict[str, Json]) -> None:
    for url, source in pages.items():
        hub.fetcher.put(url, source)
    with pytest.raises(BadRequestData):
        await hub.contexts.resolve("", A)
    assert len(hub.fetcher.asked) == len(pages)


async def test_endless_nesting_and_endless_width_end(hub: Hub) -> None:
    for level in range(40):
        hub.fetcher.put(f"https://example.org/{level}", [f"https://example.org/{level + 1}"])
    with pytest.raises(BadRequestData):
        await hub.contexts.resolve("", "https://example.org/0")
    assert len(hub.fetcher.asked) < 15
    with pytest.raises(BadRequestData, match="more than"):
        await hub.contexts.resolve("", [f"https://example.org/w{number}" for number in range(100)])


async def test_a_protected_term_cannot_be_redefined(hub: Hub) -> None:
    hub.fetcher.put(A, {"@version": 1.1, "a": {"@id": "https://example.org/a", "@protected": True}})
    with pytest.raises(BadRequestData):
        await hub.contexts.resolve("", [A, {"a": "https://example.org/other"}])


async def test_core_terms_always_win(hub: Hub) -> None:
    hub.fetcher.put(A, {"location": "https://example.org/l", "value": "https://example.org/v", "b": "https://b.org/"})
    context = await hub.contexts.resolve("", A)
    assert [context.expand(term) for term in ("location", "value", "b")] == ["location", "value", "https://b.org/"]


@settings(max_examples=60, deadline=None)
@given(
    source=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_json_is_a_context_or_an_error_of_the_tree(source: Json) -> None:
    async def attempt() -> None:
        clock = FixedClock()
        records = Records(clock)
        made = Contexts(cast(Store, records), cast(Writer, records), clock, Fetcher())
        try:
            context = await made.resolve("", source)
        except (InvalidInput, ContextNotAvailable):
            return
        finally:
            await made.close()
        assert context.compact(context.expand("speed")) == "speed" or context.has_terms

    asyncio.run(attempt())


async def test_a_request_waits_only_so_long_but_the_fetch_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "CONTEXT_WAIT_S", 0.01)
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    hub.fetcher.gate = asyncio.Event()
    with pytest.raises(ContextNotAvailable) as caught:
        await hub.contexts.resolve("", A)
    assert caught.value.retry_after_s is not None
    hub.fetcher.gate.set()
    monkeypatch.setattr(contexts, "CONTEXT_WAIT_S", 5.0)
    assert (await hub.contexts.resolve("", A)).expand("a") == "https://example.org/a"
    assert hub.fetcher.asked == [A]


async def test_only_so_many_fetches_at_once(hub: Hub) -> None:
    urls = [f"https://example.org/{number}" for number in range(CONTEXT_FETCHES_MAX + 5)]
    for url in urls:
        hub.fetcher.put(url, {"a": url})
    hub.fetcher.gate = asyncio.Event()
    waiting = [asyncio.create_task(hub.contexts.resolve("", url)) for url in urls]
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(hub.fetcher.asked) == CONTEXT_FETCHES_MAX
    hub.fetcher.gate.set()
    assert len(await asyncio.gather(*waiting)) == len(urls)


async def test_compiled_contexts_are_bounded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "CONTEXTS_COMPILED_MAX", 3)
    sources = [{"a": f"https://example.org/{number}"} for number in range(4)]
    for source in sources[:3]:
        hub.clock.advance(1)
        await hub.contexts.resolve("", source)
    hub.clock.advance(1)
    assert hub.contexts.known("", sources[0]) is not None
    await hub.contexts.resolve("", sources[3])
    assert hub.contexts.known("", sources[1]) is None, "the one not used for longest goes"
    assert hub.contexts.known("", sources[0]) is not None


async def test_cached_copies_are_bounded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_records, "CONTEXTS_CACHED_MAX", 3)
    for number in range(6):
        hub.clock.advance(1)
        url = f"https://example.org/{number}"
        hub.fetcher.put(url, {"a": url})
        await hub.contexts.resolve("", url)
    copies = await hub.records.records(context_records.CACHED)
    assert [body["url"][-1] for _, _, body in copies] == ["3", "4", "5"]
