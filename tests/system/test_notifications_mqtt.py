# SPDX-License-Identifier: Apache-2.0
"""Notifications over MQTT 3.1.1 and 5 with a real broker (clause 7.2)."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import orjson
import pytest

from madang.testing.notifying import pm10, rig, station

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def broker(folder: Path, port: int, *, password: bool = False) -> Iterator[None]:
    """Run mosquitto on the loopback address."""
    lines = [f"listener {port} 127.0.0.1", "persistence false", f"user {getpass.getuser()}"]
    if password:
        passwords = folder / "passwords"
        passwords.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), "madang", "se:cret"], check=True, capture_output=True)
        lines += ["allow_anonymous false", f"password_file {passwords}"]
    else:
        lines.append("allow_anonymous true")
    config = folder / f"mosquitto-{port}.conf"
    config.write_text("\n".join(lines) + "\n")
    assert MOSQUITTO is not None
    process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def listener(port: int, topic: str, **credentials: Any) -> AsyncIterator[Callable[[], Any]]:
    """Subscribe to a topic; the value is a function that waits for the next message."""
    client = None
    for _ in range(200):
        try:
            client = await aiomqtt.Client("127.0.0.1", port, **credentials).__aenter__()
            break
        except aiomqtt.MqttError:
            await asyncio.sleep(0.02)  # until the broker listens
    assert client is not None
    await client.subscribe(topic, qos=2)

    async def next_message() -> Any:
        async with asyncio.timeout(10):
            message = await anext(client.messages)
        assert isinstance(message.payload, bytes)
        return message.qos, orjson.loads(message.payload)

    try:
        yield next_message
    finally:
        await client.__aexit__(None, None, None)


@pytest.mark.parametrize("version", ["mqtt3.1.1", "mqtt5.0", None])
@pytest.mark.parametrize("qos", ["0", "1", "2", None])
async def test_message(tmp_path: Path, version: str | None, qos: str | None) -> None:
    port = free_port()
    info = [
        *([{"key": "MQTT-Version", "value": version}] if version else []),
        *([{"key": "MQTT-QoS", "value": qos}] if qos else []),
    ]
    with broker(tmp_path, port):
        async with listener(port, "city/air") as message, rig(tmp_path) as hub:
            id = await hub.subscribe(
                f"mqtt://127.0.0.1:{port}/city/air",
                endpoint={"notifierInfo": info, "receiverInfo": [{"key": "X-Key", "value": "v"}]},
                tenant="seoul",
            )
            await hub.create(station(1, 40), tenant="seoul")
            given_qos, told = await message()
            await hub.notifier.drain()
            assert (await hub.notification_of(id, tenant="seoul"))["status"] == "ok"
    assert given_qos == int(qos or "0")
    assert set(told) == {"metadata", "body"}
    assert told["metadata"]["Content-Type"] == "application/json"
    assert told["metadata"]["Link"].startswith("<https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context")
    assert told["metadata"]["NGSILD-Tenant"] == "seoul"
    assert told["metadata"]["X-Key"] == "v"
    assert told["body"]["subscriptionId"] == id
    assert told["body"]["data"] == [station(1, 40)]


async def test_json_ld_has_no_link(tmp_path: Path) -> None:
    port = free_port()
    with broker(tmp_path, port):
        async with listener(port, "t") as message, rig(tmp_path) as hub:
            await hub.subscribe(f"mqtt://localhost:{port}/t", endpoint={"accept": "application/ld+json"})
            await hub.create(station(1, 40))
            _, told = await message()
    assert told["metadata"] == {"Content-Type": "application/ld+json"}
    assert "@context" in told["body"]["data"][0]


@pytest.mark.usefixtures("quick_retries")
async def test_credentials(tmp_path: Path) -> None:
    port = free_port()
    with broker(tmp_path, port, password=True):
        async with listener(port, "#", username="madang", password="se:cret") as message, rig(tmp_path) as hub:
            await hub.subscribe(f"mqtt://madang:se%3Acret@127.0.0.1:{port}/right")
            wrong = await hub.subscribe(f"mqtt://madang:wrong@127.0.0.1:{port}/wrong")
            await hub.create(station(1, 40))
            assert (await message())[1]["body"]["data"] == [station(1, 40)]
            await hub.notifier.drain()
            assert (await hub.notification_of(wrong))["status"] == "failed"


@pytest.mark.usefixtures("quick_retries")
async def test_a_broker_that_starts_anew_is_found_again(tmp_path: Path) -> None:
    port = free_port()
    async with rig(tmp_path) as hub:
        id = await hub.subscribe(
            f"mqtt://127.0.0.1:{port}/t", endpoint={"notifierInfo": [{"key": "MQTT-QoS", "value": "1"}]}
        )
        for value in (1.0, 2.0):
            with broker(tmp_path, port):
                async with listener(port, "t") as message:
                    if value == 1.0:
                        await hub.create(station(1, value))
                    else:
                        await hub.update("urn:ngsi-ld:Station:1", pm10(value))
                    assert (await message())[1]["body"]["data"][0]["pm10"]["value"] == value
                    await hub.notifier.drain()
        counters = await hub.notification_of(id)
        assert (counters["timesSent"], counters["status"]) == (2, "ok")
        await hub.update("urn:ngsi-ld:Station:1", pm10(3.0))
        await hub.notifier.drain()
        assert (await hub.notification_of(id))["status"] == "failed"
