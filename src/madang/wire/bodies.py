# SPDX-License-Identifier: Apache-2.0
"""Reading request bodies within the limit, whatever the client says about their length."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from madang.base.errors import InvalidRequest, TooLarge
from madang.base.limits import BODY_BYTES_MAX, BODY_DISCARDED_BYTES_MAX, BODY_DISCARDED_S


def declared_length(content_length: str) -> int:
    """Return the declared length of a body in bytes. Raises: InvalidRequest: it is none."""
    if content_length.isascii() and content_length.isdigit() and len(content_length) <= 15:
        return int(content_length)
    raise InvalidRequest(f"Content-Length {content_length!r:.40} is not a number of bytes", where="Content-Length")


async def gathered(chunks: AsyncIterator[bytes], declared: str | None) -> bytes:
    """Return all chunks as one body. Raises: TooLarge: they are, or are declared to be, more than the limit."""
    if declared is not None and declared_length(declared) > BODY_BYTES_MAX:
        await refuse(chunks)
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            await refuse(chunks)
    return bytes(body)


async def refuse(chunks: AsyncIterator[bytes]) -> None:
    """Raise TooLarge, after the rest of the body was thrown away within limits.

    Many clients send the whole body before they look for an answer; one that closes on them is never heard.
    """
    discarded = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BODY_DISCARDED_S):
            async for chunk in chunks:
                discarded += len(chunk)
                if discarded > BODY_DISCARDED_BYTES_MAX:
                    break
    raise TooLarge(f"The body is larger than {BODY_BYTES_MAX} bytes, the most this hub reads in one request")
