# SPDX-License-Identifier: Apache-2.0
"""Network connections to allowed addresses only: the name is looked up once, checked, and that address connected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpcore

from madang.core.addresses import check_host


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Checks each connection when it is made, so neither a redirect nor a changed DNS answer leads past the check.

    For `httpcore.AsyncConnectionPool(network_backend=GuardedNetwork(...))`. TLS still verifies the host of the URL.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await check_host(host, port, self._allow_private)
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
