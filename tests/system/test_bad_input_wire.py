# SPDX-License-Identifier: Apache-2.0
"""Bad input over a real connection: what the HTTP server itself lets through or not. The hub goes on serving."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from madang.testing.served import Served

SECONDS_MAX = 2.0
POST = b"POST /ngsi-ld/v1/entities HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
GET = b"GET /ngsi-ld/v1/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n"
ENTITY = b'{"id":"urn:x:1","type":"T","a":%s}'


def post(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


REQUESTS = {
    "no HTTP": b"garbage\r\n\r\n",
    "NaN": post(ENTITY % b"NaN"),
    "1e400": post(ENTITY % b"1e400"),
    "a lone surrogate": post(ENTITY % b'"\\ud800"'),
    "deep": post(b"[" * 1_000_000),
    "truncated": post(ENTITY % b"1"[:0]),
    "a negative length": POST + b"Content-Length: -1\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "no length": POST + b"\r\n",
    "a huge header": GET % (b"types", b"X-A: " + b"a" * 2_000_000 + b"\r\n"),
    "very many headers": GET % (b"types", b"X-A: b\r\n" * 5_000),
    "bytes in a header": GET % (b"types", b"NGSILD-Tenant: \xff\xfe\r\n"),
    "a control character in the tenant": GET % (b"types", b"NGSILD-Tenant: a\x01b\r\n"),
    "a bad percent sign": GET % (b"entities/%zz%ff%00?type=%ff", b""),
    "a long path": GET % (b"entities/" + b"a" * 500_000, b""),
    "dots": GET % (b"../../../etc/passwd", b""),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served.start(Path(tmp_path_factory.mktemp("hub")), "--port", "0")
    try:
        served.await_ready()
        yield served
        assert served.stop() == 0
        assert served.errors() == "", "the hub complained"
    finally:
        served.end()


@pytest.mark.parametrize("name", REQUESTS)
def test_bad_bytes_are_refused_at_once(hub: Served, name: str) -> None:
    address = urlsplit(hub.url)
    began = time.monotonic()
    answer = b""
    with socket.create_connection((address.hostname, address.port), SECONDS_MAX) as connection:
        try:
            connection.sendall(REQUESTS[name])
            while more := connection.recv(65536):
                answer += more
        except ConnectionError:
            pass  # it hung up on us, which is an answer too
    assert time.monotonic() - began < SECONDS_MAX
    assert not answer or answer.split(b" ")[1][:1] == b"4", answer[:300]
    assert hub.request("GET", "/health/ready")[0] == 200
