# SPDX-License-Identifier: Apache-2.0
"""Remote JSON-LD @context documents over HTTP: fetched within limits, with how long they stay good (clause 6.3.16)."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import urldefrag, urljoin

import httpcore
import orjson

from madang import __version__
from madang.base.errors import BadRequestData, ContextNotAvailable, InvalidInput, Upstream
from madang.base.limits import (
    CONTEXT_BYTES_MAX,
    CONTEXT_FETCH_S,
    CONTEXT_FRESH_DEFAULT_S,
    CONTEXT_FRESH_MAX_S,
    CONTEXT_REDIRECTS_MAX,
)
from madang.core.addresses import split_url
from madang.core.guarded_network import GuardedNetwork
from madang.model.entity import Json

# RFC 9111 section 4.2.2: without a word from the origin, a tenth of the document's age.
_HEURISTIC_FRACTION = 0.1
_ALTERNATE = re.compile(r'<([^<>]*)>(?=[^<>]*rel="?alternate"?)(?=[^<>]*type="?application/ld\+json"?)')
_DIRECTIVE = re.compile(r'\s*([a-zA-Z-]+)\s*(?:=\s*"?([^",]*)"?)?\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class FetchedContext:
    """A context document as it came; `fresh_s` is how long it may be used without asking again, 0 for not at all."""

    document: dict[str, Json]
    fresh_s: float
    stale_allowed: bool
    """Whether an expired copy may stand in while the origin cannot be reached."""


class ContextFetcher(Protocol):
    """Gets a remote @context document."""

    async def fetch(self, url: str, *, now_us: int) -> FetchedContext:
        """Return the document at the URL.

        Raises: ContextNotAvailable: it cannot be had. BadRequestData: the URL is not allowed, or what stands there is
        no @context document.
        """

    async def close(self) -> None: ...


class HttpContextFetcher:
    """Gets context documents over HTTP; nothing is kept between two fetches."""

    def __init__(self, *, allow_private_addresses: bool) -> None:
        self._network = GuardedNetwork(allow_private=allow_private_addresses)
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def fetch(self, url: str, *, now_us: int) -> FetchedContext:
        try:
            async with asyncio.timeout(CONTEXT_FETCH_S):
                return await self._follow(url, now_us)
        except TimeoutError:
            raise ContextNotAvailable(
                f"The @context at {url:.200} did not arrive within {CONTEXT_FETCH_S:g} seconds"
            ) from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise ContextNotAvailable(f"The @context at {url:.200} could not be read: {type(error).__name__}") from None
        except ContextNotAvailable:
            raise
        except Upstream as error:
            raise ContextNotAvailable(f"The @context at {url:.200} cannot be had: {error.detail}") from None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    async def _follow(self, url: str, now_us: int) -> FetchedContext:
        current = url
        for _ in range(CONTEXT_REDIRECTS_MAX + 1):
            answer = await self._get(current)
            onward = _onward(answer, current)
            if onward is None:
                return _read(answer, url, now_us)
            current = onward
        raise ContextNotAvailable(f"The @context at {url:.200} redirects more than {CONTEXT_REDIRECTS_MAX} times")

    async def _get(self, url: str) -> _Answer:
        split_url(url)
        if self._pool is None:
            # Contexts are fetched seldom: a connection kept open would only hold a socket.
            self._pool = httpcore.AsyncConnectionPool(max_keepalive_connections=0, network_backend=self._network)
        headers = [
            ("accept", "application/ld+json, application/json;q=0.9, */*;q=0.1"),
            ("accept-encoding", "gzip, identity"),
            ("user-agent", f"madang/{__version__}"),
        ]
        timeouts = {"connect": CONTEXT_FETCH_S, "read": CONTEXT_FETCH_S, "pool": CONTEXT_FETCH_S}
        async with self._pool.stream(
            "GET", urldefrag(url).url, headers=headers, extensions={"timeout": timeouts}
        ) as answer:
            found = _headers(answer.headers)
            if answer.status != 200:
                return _Answer(answer.status, found, b"")
            chunks: list[bytes] = []
            size = 0
            async for chunk in answer.aiter_stream():
                size += len(chunk)
                if size > CONTEXT_BYTES_MAX:
                    raise _too_large(url)
                chunks.append(chunk)
            return _Answer(answer.status, found, b"".join(chunks))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def _headers(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _onward(answer: _Answer, url: str) -> str | None:
    """Return the address the answer sends us to, or None when this is the end of the way."""
    if answer.status in {301, 302, 303, 307, 308} and answer.headers.get("location"):
        return _joined(url, answer.headers["location"])
    # JSON-LD 1.1 API section 6: a page for people may name its document for machines.
    if answer.status == 200 and "json" not in answer.headers.get("content-type", "json"):
        alternate = _ALTERNATE.search(answer.headers.get("link", ""))
        if alternate is not None:
            return _joined(url, str(alternate.group(1)))
    return None


def _joined(url: str, reference: str) -> str:
    try:
        return urljoin(url, reference)
    except ValueError:
        raise ContextNotAvailable(
            f"The server of the @context {url:.200} redirects to something that is no URL"
        ) from None


def _read(answer: _Answer, url: str, now_us: int) -> FetchedContext:
    if answer.status != 200:
        raise ContextNotAvailable(f"The server of the @context {url:.200} answered with status {answer.status}")
    document = parse_context_document(_decoded(answer, url), url)
    fresh_s, stale_allowed = freshness(answer.headers, now_us)
    return FetchedContext(document, fresh_s, stale_allowed)


def _decoded(answer: _Answer, url: str) -> bytes:
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return answer.body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise ContextNotAvailable(f"The @context at {url:.200} is sent with content-encoding {encoding:.40}")
    try:
        reader = zlib.decompressobj(wbits=47)
        body = reader.decompress(answer.body, CONTEXT_BYTES_MAX + 1)
    except zlib.error:
        raise ContextNotAvailable(f"The @context at {url:.200} is damaged: its compression cannot be undone") from None
    if len(body) > CONTEXT_BYTES_MAX:
        raise _too_large(url)
    return body


def parse_context_document(body: bytes, url: str) -> dict[str, Json]:
    """Return the one member "@context" of a context document; everything else in it is dropped (clause 5.13.2.3).

    Raises: BadRequestData: it is not a JSON object with that member.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequestData(f"What stands at {url:.200} is not JSON; needed is a JSON-LD @context document") from None
    if not isinstance(document, dict) or "@context" not in document:
        raise BadRequestData(f'What stands at {url:.200} is not a JSON object with the member "@context"')
    return {"@context": document["@context"]}


def freshness(headers: Mapping[str, str], now_us: int) -> tuple[float, bool]:
    """Return for how many seconds an answer is good, and whether it may stand in when the origin is down.

    Args:
        headers: names in lower case.
        now_us: microseconds since 1970 UTC.
    Source: ETSI CIM 009 clause 6.3.16; RFC 9111 section 4.2 (s-maxage before max-age before Expires, less the age).
    """
    directives = {name.lower(): value for name, value in _DIRECTIVE.findall(headers.get("cache-control", "")[:1000])}
    stale_allowed = not directives.keys() & {"no-store", "no-cache", "must-revalidate", "proxy-revalidate"}
    if directives.keys() & {"no-store", "no-cache"}:
        return 0.0, False
    date_s = _date_s(headers.get("date"))
    sent_s = now_us / 1e6 if date_s is None else date_s
    age_s = float(_seconds(headers.get("age")) or 0)
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return _bounded((_seconds(directives[name]) or 0) - age_s), stale_allowed
    if "expires" in headers:
        expires_s = _date_s(headers["expires"])  # RFC 9111 section 5.3: anything unreadable is in the past
        return _bounded(0.0 if expires_s is None else expires_s - sent_s - age_s), stale_allowed
    modified_s = _date_s(headers.get("last-modified"))
    if modified_s is not None and modified_s < sent_s:
        return min((sent_s - modified_s) * _HEURISTIC_FRACTION, CONTEXT_FRESH_DEFAULT_S), stale_allowed
    return float(CONTEXT_FRESH_DEFAULT_S), stale_allowed


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), float(CONTEXT_FRESH_MAX_S))


def _seconds(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,12}", text.strip(), re.ASCII) else None


def _date_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _too_large(url: str) -> InvalidInput:
    return BadRequestData(f"The @context at {url:.200} is larger than the {CONTEXT_BYTES_MAX} bytes allowed")
