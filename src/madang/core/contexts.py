# SPDX-License-Identifier: Apache-2.0
"""JSON-LD @contexts: what a caller names becomes a compiled Context; stored ones are managed (clauses 5.5, 5.13)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote

import orjson

from madang.base.errors import BadRequestData, ContextNotAvailable, HubError, InvalidInput, NotFound, Unsupported
from madang.base.limits import (
    CONTEXT_BYTES_MAX,
    CONTEXT_DOCUMENTS_MAX,
    CONTEXT_FETCHES_MAX,
    CONTEXT_NESTING_MAX,
    CONTEXT_RETRY_S,
    CONTEXT_STALE_MAX_S,
    CONTEXT_USAGE_FLUSH_S,
    CONTEXT_WAIT_S,
    CONTEXTS_COMPILED_BYTES_MAX,
    CONTEXTS_COMPILED_MAX,
)
from madang.core.addresses import split_url
from madang.core.context_fetch import ContextFetcher, FetchedContext
from madang.core.context_records import (
    CACHED,
    STORED,
    USAGE,
    ContextRecords,
    Kind,
    StoredContext,
    Usage,
    cached_id,
    implicit_id,
)
from madang.core.context_sources import check_source, core_only, single_url, urls_of
from madang.model.access import Right
from madang.model.jsonld.context import CORE, Context, MissingContextDocument, compile_context
from madang.model.jsonld.core_context import CORE_CONTEXT_URL, core_version
from madang.model.jsonld.smart_data_models import smart_data_model_document

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.writer import Writer
    from madang.model.entity import Json
    from madang.store.port import Store

T = TypeVar("T")

API_ROOT: Final = "/ngsi-ld/v1"
_OWN_PATH = re.compile(rf"https?://[^/?#]+(?:{API_ROOT})?/jsonldContexts/([^/?#]+)/?")
_NEVER_US: Final = 1 << 62
# Above this size a context is compiled on another thread, so that it does not hold up everybody else.
_COMPILE_INLINE_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class _Held:
    """A compiled context at hand, with what it was made of."""

    context: Context
    stale_us: int
    usages: tuple[Usage, ...]
    parts: frozenset[str]  # ids of the stored contexts in it
    weight_bytes: int
    used_us: int


@dataclass(slots=True)
class _Part:
    """One document a context needs; `entry` is None for a built-in or a just fetched one."""

    document: dict[str, Json]
    stale_us: int = _NEVER_US
    id: str | None = None
    fetched: FetchedContext | None = None


@dataclass(frozen=True, slots=True)
class ContextDescription:
    """What clause 5.13.3.5 tells about a stored @context; times in microseconds since 1970 UTC."""

    id: str
    url: str
    kind: Kind
    created_us: int
    expires_us: int | None = None
    last_usage_us: int | None = None
    hits: int | None = None
    built_in: bool = False


class Contexts:
    """Resolves and keeps @contexts.

    Args:
        public_url: scheme, host and port under which clients reach this hub; may be set again once the port is known.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        clock: Clock,
        fetcher: ContextFetcher,
        *,
        public_url: str = "http://localhost",
    ) -> None:
        self.public_url = public_url
        # Of requests that name none. The standard's is the core context (clause 5.5.5); an operator may choose another.
        self.default = CORE
        self._clock = clock
        self._fetcher = fetcher
        self._records = ContextRecords(store, writer)
        self._permits = writer.permits
        self._started_us = clock.now_us()
        self._held: dict[tuple[str, str | bytes], _Held] = {}
        self._held_bytes = 0
        self._fetching = asyncio.Semaphore(CONTEXT_FETCHES_MAX)
        self._under_way: dict[object, asyncio.Task[Any]] = {}
        self._flush: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._retry_us: dict[str, int] = {}
        self._forgotten = 0  # grows when a stored context changes: what was begun before is not kept
        for kind in (STORED, USAGE):
            writer.tail.on_records(kind, self._removed)
        writer.tail.on_records(CACHED, lambda _, copy, __: self._forget(copy))

    async def choose_default(self, urls: list[str]) -> None:
        """Read requests that name no @context with these from now on. Raises: what resolve raises."""
        self.default = await self.linked("", await self.resolve("", urls)) if urls else CORE

    # ---- resolving

    def known(self, tenant: str, source: Json) -> Context | None:
        """Return the context when it is at hand and still good, without waiting; None when it must be resolved."""
        if source is None:
            return CORE
        held = self._held.get((tenant, source if type(source) is str else _content(source)))
        if held is None:
            return None
        now_us = self._clock.now_us()
        if now_us >= held.stale_us:
            return None
        held.used_us = now_us
        if held.usages:
            for usage in held.usages:
                usage.count(now_us)
            if self._flush is None:
                self._plan_flush()
        return held.context

    async def resolve(self, tenant: str, source: Json) -> Context:
        """Return the compiled context for what a caller gave.

        Args: source: URL of a Link header, or a body's "@context": URL, object, array of these, or null.
        Returns: the core context for null and for nothing but core contexts.
        Raises: ContextNotAvailable: a remote document cannot be had. BadRequestData: it is no valid @context.
        """
        context = self.known(tenant, source)
        if context is not None:
            return context
        key = _checked_key(tenant, source)
        return await self._shared((self._forgotten, key), self._make(key, source), wait_s=CONTEXT_WAIT_S)

    async def linked(self, tenant: str, context: Context) -> Context:
        """Return the context with a URL for a Link header; for an inline one, one is created (clause 5.13.1)."""
        if context.link is not None:
            return context
        context = context.with_link(await self.implicit(tenant, context.source))
        held = self._held.get((tenant, _content(context.source)))
        if held is not None:
            held.context = context
        return context

    async def implicit(self, tenant: str, source: Json) -> str:
        """Return a URL under which exactly this context is served; an inline one is stored as ImplicitlyCreated."""
        if core_only(source):
            return CORE_CONTEXT_URL
        url = single_url(source)
        if url is not None:
            return url
        content = _content(source)
        id = implicit_id(tenant, content.decode())
        if await self._records.stored(tenant, id) is None:
            await self._records.add(tenant, id, "ImplicitlyCreated", {"@context": source})
        return self.url_of(id)

    # ---- managing stored ones (clause 5.13)

    def url_of(self, id: str) -> str:
        """Return the URL under which this hub serves a stored @context."""
        return f"{self.public_url}{API_ROOT}/jsonldContexts/{id}"

    async def add(self, tenant: str, source: Json) -> str:
        """Store a hosted @context and return its local id (clause 5.13.2).

        Raises: BadRequestData: it is invalid. Denied.
        """
        self._permits.require(Right.CONTEXTS, tenant)
        _check_inline(source)
        id = uuid.uuid4().urn
        await self._records.add(tenant, id, "Hosted", {"@context": source})
        return id

    async def listing(self, tenant: str, kind: Kind | None) -> list[ContextDescription]:
        """Return what is stored for the tenant (clause 5.13.3), the core context among the cached ones.

        Raises: Denied.
        """
        self._permits.require(Right.CONTEXTS, tenant)
        found = [] if kind in {"Hosted", "ImplicitlyCreated"} else [self._built_in(CORE_CONTEXT_URL)]
        entries = [entry for entry in await self._records.visible(tenant) if kind in {None, entry.kind}]
        found += [self._description(entry, await self._records.usage(tenant, entry.id)) for entry in entries]
        return found

    async def describe(self, tenant: str, id: str) -> ContextDescription:
        """Return what is known about one @context (clause 5.13.4). Raises: NotFound. Denied."""
        self._permits.require(Right.CONTEXTS, tenant)
        entry = await self._find(tenant, id)
        if isinstance(entry, ContextDescription):
            return entry
        description = self._description(entry, await self._records.usage(tenant, entry.id))
        self._count(await self._records.counter(tenant, entry.id))
        return description

    async def serve(self, tenant: str, id: str) -> dict[str, Json]:
        """Return the object with the member "@context".

        No grant is needed: whoever has a document or a notification that names it has to read it, and its URL cannot
        be guessed.

        Raises: NotFound. Unsupported: it is a cached one.
        """
        entry: StoredContext | ContextDescription | None
        try:
            entry = await self._find(tenant, id)
        except NotFound:
            entry = await self._linked(tenant, id)
            if entry is None:
                raise
        if entry.kind == "Cached":
            raise Unsupported(f"{id:.200} is a cached @context, which is not served; get it from where it comes from")
        assert isinstance(entry, StoredContext)
        document = await self._records.document(entry)
        if document is None:
            raise _unknown(id)
        self._count(await self._records.counter(tenant, entry.id))
        return document

    async def delete(self, tenant: str, id: str) -> None:
        """Delete a stored @context (clause 5.13.5).

        Raises: NotFound. BadRequestData: it is built into the hub. Denied.
        """
        self._permits.require(Right.CONTEXTS, tenant)
        entry = await self._find(tenant, id)
        if isinstance(entry, ContextDescription):
            raise BadRequestData(f"{entry.url} is built into this hub and cannot be deleted", where="contextId")
        if entry.kind == "Cached":
            await self._records.remove_copy(tenant, entry)
        else:
            await self._records.remove(entry)
        self._forget(entry.id)

    async def reload(self, tenant: str, id: str) -> None:
        """Fetch a cached @context again; the old one stays when that fails (clause 5.13.5.4).

        Raises: BadRequestData: it is not a cached one. ContextNotAvailable: what came cannot be used. Denied.
        """
        self._permits.require(Right.CONTEXTS, tenant)
        try:
            entry = await self._find(tenant, id)
        except NotFound:
            entry = None
        if entry is None or entry.kind != "Cached" or entry.url is None:
            raise BadRequestData(f"{id:.200} is not a cached @context; only those can be reloaded", where="reload")
        url = entry.url
        if core_version(url) is not None:
            return  # The core context is immutable and protected (clause 4.4): the built-in copy is the newest.
        try:
            fetched = await self._shared(("fetch", url), self._fetch(url), wait_s=CONTEXT_WAIT_S)
            await self._compiled(tenant, url, {url: _Part(fetched.document)})
        except InvalidInput as error:
            raise ContextNotAvailable(f"The reloaded @context {url:.200} cannot be used: {error.detail}") from None
        await self._records.keep_copy(url, fetched, asked=True)
        await self._records.counter(tenant, cached_id(url))
        self._forget(cached_id(url))

    async def flush(self) -> None:
        """Write down how often each stored @context was used."""
        await self._records.flush(self._counted())

    async def close(self) -> None:
        """Stop what is under way and write the counters."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await self.flush()
        await self._fetcher.close()

    # ---- making contexts

    async def _make(self, key: tuple[str, str | bytes], source: Json) -> Context:
        tenant, forgotten = key[0], self._forgotten
        parts: dict[str, _Part] = {}
        context, weight_bytes = await self._compiled(tenant, source, parts)
        now_us = self._clock.now_us()
        stale_us = _NEVER_US
        usages: list[Usage] = []
        ids: list[str] = []
        for url, part in parts.items():
            if part.fetched is not None:
                entry = await self._keep_copy(url, part.fetched)
                part.id, part.stale_us = entry.id, entry.expires_us or now_us
            stale_us = min(stale_us, part.stale_us)
            if part.id is not None:
                usage = await self._records.counter(tenant, part.id)
                usage.count(now_us)
                usages.append(usage)
                ids.append(part.id)
        if forgotten == self._forgotten:
            self._hold(key, _Held(context, stale_us, tuple(usages), frozenset(ids), weight_bytes, now_us))
        if usages and self._flush is None:
            self._plan_flush()
        return context

    async def _gather(self, tenant: str, source: Json, parts: dict[str, _Part]) -> None:
        """Add every remote document the context needs, by URL; those that one names are fetched side by side."""
        wanted = urls_of(source)
        for _ in range(CONTEXT_NESTING_MAX + 1):
            missing = [url for url in wanted if url not in parts and core_version(url) is None]
            if len(parts) + len(missing) > CONTEXT_DOCUMENTS_MAX:
                raise BadRequestData(
                    f"This @context needs more than the {CONTEXT_DOCUMENTS_MAX} documents allowed", where="@context"
                )
            found = await asyncio.gather(*(self._part(tenant, url) for url in missing))
            parts.update(zip(missing, found, strict=True))
            wanted = {onward for url in missing for onward in urls_of(parts[url].document["@context"], url)}

    async def _compiled(self, tenant: str, source: Json, parts: dict[str, _Part]) -> tuple[Context, int]:
        """Return the compiled context and about how many bytes it was made of; `parts` gets what it needed."""
        await self._gather(tenant, source, parts)
        while True:
            try:
                return await _compile(source, {url: part.document for url, part in parts.items()})
            except MissingContextDocument as missing:
                if missing.url in parts:
                    raise
                parts[missing.url] = await self._part(tenant, missing.url)

    async def _part(self, tenant: str, url: str) -> _Part:
        own = await self._own(tenant, url)
        if own is not None:
            return own
        id = cached_id(url)
        entry = await self._records.cached(id)
        document = None if entry is None else await self._records.document(entry)
        now_us = self._clock.now_us()
        if entry is None or document is None:
            built_in = smart_data_model_document(url)
            if built_in is not None:
                return _Part(built_in)
        elif (entry.expires_us or 0) > now_us:
            return _Part(document, entry.expires_us or 0, id)
        elif self._retry_us.get(url, 0) > now_us:
            return _Part(document, self._retry_us[url], id)
        try:
            fetched = await self._shared(("fetch", url), self._fetch(url))
        except ContextNotAvailable:
            # RFC 9111 section 4.2.4: a copy may serve past its time while its origin cannot be reached.
            if entry is None or document is None or not _may_stand_in(entry, now_us):
                raise
            self._retry_us[url] = now_us + round(CONTEXT_RETRY_S * 1_000_000)
            return _Part(document, self._retry_us[url], id)
        self._retry_us.pop(url, None)
        return _Part(fetched.document, fetched=fetched)

    async def _own(self, tenant: str, url: str) -> _Part | None:
        """Return a context that this hub serves itself, without a request to ourselves; None for all others."""
        id = _own_id(url)
        if id is None:
            return None
        entry = await self._records.stored(tenant, id) or await self._linked(tenant, id)
        document = None if entry is None else await self._records.document(entry)
        if document is not None:
            return _Part(document, id=id)
        if url.startswith(self.public_url + "/"):
            raise ContextNotAvailable(f"This hub stores no @context {id:.200} for this tenant")
        return None

    async def _fetch(self, url: str) -> FetchedContext:
        split_url(url, where="@context")
        async with self._fetching:
            return await self._fetcher.fetch(url, now_us=self._clock.now_us())

    async def _keep_copy(self, url: str, fetched: FetchedContext) -> StoredContext:
        try:
            return await self._records.keep_copy(url, fetched)
        except HubError:
            # A store that cannot take the copy now must not fail the request: the compiled context is at hand.
            expires_us = self._clock.now_us() + round(fetched.fresh_s * 1_000_000)
            return StoredContext(cached_id(url), "Cached", self._clock.now_us(), "", url, expires_us)

    async def _shared(self, key: object, work: Coroutine[Any, Any, T], *, wait_s: float | None = None) -> T:
        """Return what the work gives; those who ask for the same thing at the same time share one run of it.

        After `wait_s` the caller is sent away, while the work goes on for the next one to profit.
        """
        task: asyncio.Task[T] | None = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(work)
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        else:
            work.close()
        await asyncio.wait((task,), timeout=wait_s)
        if not task.done():
            raise ContextNotAvailable(
                f"The @context did not arrive within {wait_s:g} seconds; try again", retry_after_s=wait_s
            )
        return task.result()

    def _done(self, key: object, task: asyncio.Task[Any]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # mark it as seen: everybody who waited may have gone

    # ---- what is at hand

    def _hold(self, key: tuple[str, str | bytes], held: _Held) -> None:
        old = self._held.pop(key, None)
        if old is not None:
            self._held_bytes -= old.weight_bytes
        while self._held and (
            len(self._held) >= CONTEXTS_COMPILED_MAX
            or self._held_bytes + held.weight_bytes > CONTEXTS_COMPILED_BYTES_MAX
        ):
            oldest = min(self._held, key=lambda one: self._held[one].used_us)
            self._held_bytes -= self._held.pop(oldest).weight_bytes
        self._held[key] = held
        self._held_bytes += held.weight_bytes

    def _removed(self, tenant: str, id: str, body: Json | None) -> None:
        """Follow what this or another worker took away: a stored context, or a tenant's use of a copy."""
        if body is None:
            self._records.forget_usage(tenant, id)
            self._forget(id)

    def _forget(self, id: str) -> None:
        self._forgotten += 1
        url = self.url_of(id)  # an inline context may hold the link to it
        for key in [key for key, held in self._held.items() if id in held.parts or held.context.link == url]:
            self._held_bytes -= self._held.pop(key).weight_bytes

    def _counted(self) -> set[tuple[str, str]]:
        return {(key[0], id) for key, held in self._held.items() for id in held.parts}

    def _count(self, usage: Usage) -> None:
        usage.count(self._clock.now_us())
        if self._flush is None:
            self._plan_flush()

    def _plan_flush(self) -> None:
        self._flush = asyncio.get_running_loop().call_later(CONTEXT_USAGE_FLUSH_S, self._start_flush)

    def _start_flush(self) -> None:
        self._flush = asyncio.create_task(self._flush_now())

    async def _flush_now(self) -> None:
        try:
            await self.flush()
        finally:
            self._flush = None

    # ---- finding stored ones

    async def _find(self, tenant: str, id: str) -> StoredContext | ContextDescription:
        """Return what a path names: a local id, or the URL of a cached or own one. Raises: NotFound."""
        own_id = _own_id(id) or id
        stored = await self._records.stored(tenant, own_id)
        if stored is not None:
            return stored
        copy_id = cached_id(id) if "://" in id else id
        copy = await self._records.cached(copy_id)
        if copy is not None and await self._records.usage(tenant, copy_id) is not None:
            return copy
        if core_version(id) is not None or smart_data_model_document(id) is not None:
            return self._built_in(id)
        if id == cached_id(CORE_CONTEXT_URL):
            return self._built_in(CORE_CONTEXT_URL)
        raise _unknown(id)

    async def _linked(self, tenant: str, id: str) -> StoredContext | None:
        """Return an implicitly created one of any tenant: processors that follow our links do not name a tenant."""
        if tenant:
            return None
        owner = await self._records.implicit_owner(id)
        return None if owner is None else await self._records.stored(owner, id)

    def _built_in(self, url: str) -> ContextDescription:
        return ContextDescription(cached_id(url), url, "Cached", self._started_us, built_in=True)

    def _description(self, entry: StoredContext, usage: Usage | None) -> ContextDescription:
        return ContextDescription(
            entry.id,
            entry.url or self.url_of(entry.id),
            entry.kind,
            entry.created_us,
            entry.expires_us,
            None if usage is None else usage.last_us,
            0 if usage is None else usage.hits,
        )


async def _compile(source: Json, documents: dict[str, dict[str, Json]]) -> tuple[Context, int]:
    """Return the compiled context and about how many bytes it was made of."""
    material = orjson.dumps([source, sorted(documents.items())])
    key = "core" if core_only(source) else hashlib.blake2b(material, digest_size=16).hexdigest()
    if len(material) < _COMPILE_INLINE_BYTES:
        return compile_context(key, source, documents), len(material)
    return await asyncio.to_thread(compile_context, key, source, documents), len(material)


def _content(source: Json) -> bytes:
    """Return a @context that is not one URL as bytes, to look it up by. Raises: BadRequestData: it is no JSON."""
    try:
        return orjson.dumps(source)
    except (TypeError, RecursionError):
        raise BadRequestData("The @context holds something that JSON cannot say", where="@context") from None


def _checked_key(tenant: str, source: Json) -> tuple[str, str | bytes]:
    """Return what a context is held by. Raises: BadRequestData: it cannot be a @context, or is too large."""
    check_source(source)
    if type(source) is str:
        return tenant, source
    content = _content(source)
    if len(content) > CONTEXT_BYTES_MAX:
        raise BadRequestData(
            f"The @context is larger than the {CONTEXT_BYTES_MAX} bytes allowed; host it and name its URL",
            where="@context",
        )
    return tenant, content


def _check_inline(source: Json) -> None:
    """Refuse an invalid @context, as far as that shows without fetching the documents it names."""
    if source is None:
        raise BadRequestData("The @context is null; needed is a URL, an object, or an array of these", where="@context")
    _checked_key("", source)
    objects = [item for item in (source if isinstance(source, list) else (source,)) if isinstance(item, dict)]
    compile_context("inline", [item for item in objects if "@import" not in item], {})


def _may_stand_in(entry: StoredContext, now_us: int) -> bool:
    return entry.stale_allowed and now_us < (entry.expires_us or 0) + CONTEXT_STALE_MAX_S * 1_000_000


def _own_id(url: str) -> str | None:
    """Return the local id in a URL of the form under which hubs serve stored contexts; None for other text."""
    found = _OWN_PATH.fullmatch(url)
    id = unquote(found.group(1)) if found is not None else ""
    return id if id.startswith("urn:uuid:") else None


def _unknown(id: str) -> NotFound:
    return NotFound(f"This hub stores no @context {id:.200}", where="contextId")
