"""Hosted, cached and implicitly created @contexts: kept, counted, reloaded, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from madang.base.errors import BadRequestData, ContextNotAvailable, NotFound, TenantNotFound, Unsupported
from madang.core import context_records
from madang.core.context_fetch import FetchedContext
from madang.model.entity import Json
from madang.model.jsonld.core_context import CORE_CONTEXT_URL
from madang.model.jsonld.smart_data_models import smart_data_model_url
from tests.context_fakes import Hub, context_hub

A = "https://example.org/a.jsonld"
B = "https://example.org/b.jsonld"


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with context_hub() as hub:
        yield hub


async def test_a_hosted_context_is_served_and_resolved_without_a_request(hub: Hub) -> None:
    id = await hub.contexts.add("", {"a": "https://example.org/a"})
    assert await hub.contexts.serve("", id) == {"@context": {"a": "https://example.org/a"}}
    for url in (hub.contexts.url_of(id), f"http://other.name/ngsi-ld/v1/jsonldContexts/{id}"):
        context = await hub.contexts.resolve("", url)
        assert context.expand("a") == "https://example.org/a"
    assert hub.fetcher.asked == []


async def test_an_unknown_context_of_this_hub_is_not_asked_for_over_http(hub: Hub) -> None:
    with pytest.raises(ContextNotAvailable):
        await hub.contexts.resolve("", hub.contexts.url_of("urn:uuid:0b0e7a0c-0000-4000-8000-000000000000"))
    assert hub.fetcher.asked == []


async def test_a_hosted_context_belongs_to_its_tenant(hub: Hub) -> None:
    id = await hub.contexts.add("one", {"a": "https://example.org/a"})
    for tenant in ("", "two"):
        with pytest.raises(NotFound):
            await hub.contexts.serve(tenant, id)
        with pytest.raises(NotFound):
            await hub.contexts.describe(tenant, id)
        with pytest.raises(NotFound):
            await hub.contexts.delete(tenant, id)
        with pytest.raises(ContextNotAvailable):
            await hub.contexts.resolve(tenant, hub.contexts.url_of(id))
        assert id not in [one.id for one in await hub.contexts.listing(tenant, None)]
    assert await hub.contexts.serve("one", id)


@pytest.mark.parametrize("source", [None, 42, True, [A, 7], {"a": {"@context": {}}}, "not a url"])
async def test_an_invalid_context_is_not_hosted(hub: Hub, source: Json) -> None:
    with pytest.raises(BadRequestData):
        await hub.contexts.add("", source)
    assert hub.records.bodies == {}


async def test_hosting_needs_no_fetch(hub: Hub) -> None:
    id = await hub.contexts.add("", [A, {"c": "https://example.org/c"}])
    assert hub.fetcher.asked == []
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    assert (await hub.contexts.resolve("", hub.contexts.url_of(id))).expand("a") == "https://example.org/a"
    assert (await hub.contexts.describe("", A)).kind == "Cached"


async def test_hits_count_uses_of_every_kind(hub: Hub) -> None:
    id = await hub.contexts.add("", [A])
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    assert (await hub.contexts.describe("", id)).hits == 0
    for _ in range(3):
        await hub.contexts.resolve("", hub.contexts.url_of(id))
    description = await hub.contexts.describe("", id)
    assert description.hits == 4, "being described is a use, told from the next time on"
    assert description.last_usage_us == hub.clock.now_us()
    assert await hub.hits("", A) == 3


async def test_counters_do_not_swell_the_log_and_are_written_now_and_then(hub: Hub) -> None:
    id = await hub.contexts.add("", {"a": "https://example.org/a"})
    assert hub.records.logged == [context_records.STORED]
    for _ in range(5):
        await hub.contexts.resolve("", hub.contexts.url_of(id))
    assert ("", context_records.USAGE, id) not in hub.records.bodies
    await hub.contexts.flush()
    assert hub.records.bodies["", context_records.USAGE, id]["hits"] == 5
    assert hub.records.logged == [context_records.STORED]
    await hub.contexts.resolve("", hub.contexts.url_of(id))
    await hub.contexts.flush()
    assert (await hub.again().describe("", id)).hits == 6


async def test_counters_of_a_tenant_that_is_not_there_yet_cost_nothing(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    assert (await hub.contexts.resolve("new", A)).link == A
    await hub.contexts.flush()
    assert (await hub.contexts.describe("new", A)).hits == 1


async def test_a_cached_context_is_described_but_not_served(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"}, fresh_s=60)
    await hub.contexts.resolve("", A)
    description = await hub.contexts.describe("", A)
    assert (description.kind, description.url, description.hits) == ("Cached", A, 1)
    assert description.expires_us == hub.clock.now_us() + 60_000_000
    assert (await hub.contexts.describe("", description.id)).url == A
    with pytest.raises(Unsupported):
        await hub.contexts.serve("", A)


async def test_a_tenant_sees_only_the_copies_it_uses(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    await hub.contexts.resolve("one", A)
    assert [one.url for one in await hub.contexts.listing("one", "Cached")] == [CORE_CONTEXT_URL, A]
    assert [one.url for one in await hub.contexts.listing("two", "Cached")] == [CORE_CONTEXT_URL]
    with pytest.raises(NotFound):
        await hub.contexts.describe("two", A)


async def test_a_deleted_copy_is_fetched_again(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    await hub.contexts.resolve("", A)
    await hub.contexts.delete("", A)
    with pytest.raises(NotFound):
        await hub.contexts.describe("", A)
    await hub.contexts.resolve("", A)
    assert hub.fetcher.asked == [A, A]


async def test_deleting_a_copy_leaves_that_of_another_tenant(hub: Hub) -> None:
    hub.records.tenants.add("one")
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    await hub.contexts.resolve("one", A)
    await hub.contexts.resolve("", A)
    await hub.contexts.delete("", A)
    assert (await hub.contexts.describe("one", A)).kind == "Cached"
    await hub.contexts.delete("one", A)
    assert await hub.records.records(context_records.CACHED) == []


async def test_a_deleted_hosted_context_is_gone_at_once(hub: Hub) -> None:
    id = await hub.contexts.add("", {"a": "https://example.org/a"})
    await hub.contexts.resolve("", hub.contexts.url_of(id))
    await hub.contexts.delete("", id)
    for attempt in (hub.contexts.serve, hub.contexts.describe, hub.contexts.delete):
        with pytest.raises(NotFound):
            await attempt("", id)
    with pytest.raises(ContextNotAvailable):
        await hub.contexts.resolve("", hub.contexts.url_of(id))
    assert hub.records.bodies == {}


async def test_reloading_replaces_the_copy(hub: Hub) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/old"})
    await hub.contexts.resolve("", A)
    hub.fetcher.put(A, {"a": "https://example.org/new"})
    await hub.contexts.reload("", A)
    assert (await hub.contexts.resolve("", A)).expand("a") == "https://example.org/new"
    assert hub.fetcher.asked == [A, A]


@pytest.mark.parametrize(
    "page",
    [
        ContextNotAvailable("down"),
        BadRequestData("HTML"),
        FetchedContext({"@context": {"a": 7}}, 60, True),
        FetchedContext({"@context": ["https://example.org/not-there"]}, 60, True),
    ],
)
async def test_a_failed_reload_changes_nothing(hub: Hub, page: FetchedContext | Exception) -> None:
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    before = await hub.contexts.resolve("", A)
    hub.fetcher.pages[A] = page
    with pytest.raises(ContextNotAvailable):
        await hub.contexts.reload("", A)
    assert (await hub.contexts.describe("", A)).kind == "Cached"
    assert await hub.contexts.resolve("", A) is before
    assert (await hub.again().resolve("", A)).expand("a") == "https://example.org/a"


async def test_only_cached_contexts_are_reloaded(hub: Hub) -> None:
    id = await hub.contexts.add("", {"a": "https://example.org/a"})
    for unfit in (id, "unknown", A):
        with pytest.raises(BadRequestData):
            await hub.contexts.reload("", unfit)
    assert await hub.contexts.serve("", id)


async def test_the_core_context_stays(hub: Hub) -> None:
    with pytest.raises(BadRequestData):
        await hub.contexts.delete("", CORE_CONTEXT_URL)
    await hub.contexts.reload("", CORE_CONTEXT_URL)
    assert (await hub.contexts.describe("", CORE_CONTEXT_URL)).kind == "Cached"
    assert hub.fetcher.asked == []


async def test_a_built_in_subject_can_be_renewed_and_taken_back(hub: Hub) -> None:
    url = smart_data_model_url("Weather")
    with pytest.raises(BadRequestData):
        await hub.contexts.delete("", url)
    hub.fetcher.put(url, {"temperature": "https://example.org/newer"})
    await hub.contexts.reload("", url)
    assert (await hub.contexts.resolve("", url)).expand("temperature") == "https://example.org/newer"
    await hub.contexts.delete("", url)
    assert "dataModel.Weather" in (await hub.contexts.resolve("", url)).expand("temperature")


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (None, CORE_CONTEXT_URL),
        (CORE_CONTEXT_URL, CORE_CONTEXT_URL),
        ([CORE_CONTEXT_URL], CORE_CONTEXT_URL),
        (A, A),
        ([A], A),
        ([A, CORE_CONTEXT_URL], A),
    ],
)
async def test_one_url_needs_no_context_of_ours(hub: Hub, source: Json, url: str) -> None:
    assert await hub.contexts.implicit("", source) == url
    assert hub.records.bodies == {}


@pytest.mark.parametrize("source", [[A, B], {"a": "https://example.org/a"}, [A, {"a": "https://example.org/a"}]])
async def test_an_inline_context_gets_a_url(hub: Hub, source: Json) -> None:
    url = await hub.contexts.implicit("", source)
    assert url.startswith("http://hub.example:8080/ngsi-ld/v1/jsonldContexts/urn:uuid:")
    assert await hub.contexts.implicit("", source) == url, "the same context is stored once"
    [description] = await hub.contexts.listing("", "ImplicitlyCreated")
    assert (description.url, description.hits) == (url, 0)
    assert await hub.contexts.serve("", description.id) == {"@context": source}
    assert await hub.hits("", url) == 1
    with pytest.raises(BadRequestData):
        await hub.contexts.reload("", description.id)
    await hub.contexts.delete("", description.id)
    assert await hub.contexts.listing("", "ImplicitlyCreated") == []


async def test_processors_that_follow_our_links_need_name_no_tenant(hub: Hub) -> None:
    url = await hub.contexts.implicit("one", {"a": "https://example.org/a"})
    id = url.rpartition("/")[2]
    assert await hub.contexts.serve("", id) == {"@context": {"a": "https://example.org/a"}}
    for tenant, attempt in (("two", hub.contexts.serve), ("", hub.contexts.describe), ("", hub.contexts.delete)):
        with pytest.raises(NotFound):
            await attempt(tenant, id)
    await hub.contexts.delete("one", id)
    with pytest.raises(NotFound):
        await hub.contexts.serve("", id)


async def test_an_inline_context_may_be_given_a_link(hub: Hub) -> None:
    source = {"a": "https://example.org/a"}
    linked = await hub.contexts.linked("", await hub.contexts.resolve("", source))
    assert linked.link == await hub.contexts.implicit("", source)
    assert linked.expand("a") == "https://example.org/a"
    again = await hub.contexts.resolve("", source)
    assert again.link == linked.link
    assert await hub.contexts.linked("", again) is again


async def test_a_store_that_cannot_write_does_not_fail_the_request(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_arguments: object, **_options: object) -> None:
        raise TenantNotFound("the store cannot write now")

    monkeypatch.setattr(hub.records, "write", refuse)
    hub.fetcher.put(A, {"a": "https://example.org/a"})
    assert (await hub.contexts.resolve("", A)).expand("a") == "https://example.org/a"
