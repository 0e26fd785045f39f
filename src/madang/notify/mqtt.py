# SPDX-License-Identifier: Apache-2.0
"""Sends notifications over MQTT 3.1.1 and 5 (clause 7.2): one connection per broker, credentials and version."""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
import uuid
from typing import Final, TypeAlias

import aiomqtt

from madang.base.errors import HubError, Upstream
from madang.base.limits import NOTIFICATION_CONNECTION_IDLE_S
from madang.core.addresses import check_host
from madang.model.subscription import MqttAddress

_Broker: TypeAlias = tuple[str, int, bool, str | None, str | None, str]
_VERSIONS: Final = {"mqtt3.1.1": aiomqtt.ProtocolVersion.V311, "mqtt5.0": aiomqtt.ProtocolVersion.V5}


class _Connection:
    """A connection to a broker, held open by a task of its own until it breaks or nobody has used it for a while."""

    def __init__(self, address: MqttAddress, *, allow_private: bool) -> None:
        self._address = address
        self._allow_private = allow_private
        self._client: asyncio.Future[aiomqtt.Client] = asyncio.get_running_loop().create_future()
        self.used = asyncio.get_running_loop().time()
        self.task = asyncio.create_task(self._hold(), name="mqtt")

    @property
    def broken(self) -> bool:
        return self.task.done()

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self.used = asyncio.get_running_loop().time()
        client = await asyncio.shield(self._client)
        # The time-out around the whole sending bounds this, so none is needed inside.
        await client.publish(topic, payload, qos=qos, timeout=math.inf)

    async def close(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def _hold(self) -> None:
        try:
            address = self._address
            hosts = await check_host(address.host, address.port, self._allow_private)
            # TLS verifies the name; without it the checked addresses themselves are called, one after the other.
            for host in [address.host] if address.tls else hosts:
                try:
                    await self._serve(host)
                except aiomqtt.MqttError as error:
                    if self._client.done():
                        return  # it was connected, and broke
                    failure = error
            self._refuse(Upstream(f"The MQTT broker cannot be reached: {failure}"))
        except asyncio.CancelledError:
            self._refuse(Upstream("The connection was closed"))
            raise
        except (HubError, OSError, ValueError) as error:
            self._refuse(
                error if isinstance(error, HubError) else Upstream(f"The MQTT broker cannot be reached: {error}")
            )

    async def _serve(self, host: str) -> None:
        address = self._address
        client = aiomqtt.Client(
            hostname=host,
            port=address.port,
            username=address.username,
            password=address.password,
            identifier=f"madang-{uuid.uuid4().hex[:15]}",
            protocol=_VERSIONS[address.version],
            tls_context=ssl.create_default_context() if address.tls else None,
        )
        async with client:
            self._client.set_result(client)
            # Nothing is subscribed to: this ends when the connection does.
            async for _ in client.messages:
                pass

    def _refuse(self, error: Exception) -> None:
        if not self._client.done():
            self._client.set_exception(error)
            self._client.exception()  # mark it as seen: whoever waited may have gone


class MqttSender:
    """Publishes messages to brokers."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._connections: dict[_Broker, _Connection] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def publish(self, address: MqttAddress, payload: bytes, timeout_s: float) -> None:
        """Return when the broker has the message as surely as its quality of service says.

        Raises: Upstream: it could not be handed over.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._publish(address, payload)
        except TimeoutError:
            await self._drop(address)
            raise Upstream(f"The MQTT broker did not answer within {timeout_s:g} seconds") from None
        finally:
            self._plan_sweep()

    async def _publish(self, address: MqttAddress, payload: bytes) -> None:
        kept = self._connections.get(_broker(address))
        if kept is not None and not kept.broken:
            with contextlib.suppress(aiomqtt.MqttError, Upstream):
                await kept.publish(address.topic, payload, address.qos)
                return
        await self._drop(address)
        fresh = self._connections[_broker(address)] = _Connection(address, allow_private=self._allow_private)
        try:
            await fresh.publish(address.topic, payload, address.qos)
        except aiomqtt.MqttError as error:
            raise Upstream(f"The MQTT broker did not take the message: {error}") from None

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._connections.values()):
            await connection.close()
        self._connections.clear()
        await asyncio.gather(*self._closing)

    async def _drop(self, address: MqttAddress) -> None:
        connection = self._connections.pop(_broker(address), None)
        if connection is not None:
            await connection.close()

    def _plan_sweep(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(NOTIFICATION_CONNECTION_IDLE_S, self._close_idle)

    def _close_idle(self) -> None:
        self._sweep = None
        limit = asyncio.get_running_loop().time() - NOTIFICATION_CONNECTION_IDLE_S
        for broker, connection in list(self._connections.items()):
            if connection.broken or connection.used <= limit:
                del self._connections[broker]
                task = asyncio.create_task(connection.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        if self._connections:
            self._plan_sweep()


def _broker(address: MqttAddress) -> _Broker:
    return (address.host, address.port, address.tls, address.username, address.password, address.version)
