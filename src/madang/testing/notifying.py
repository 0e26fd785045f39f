# SPDX-License-Identifier: Apache-2.0
"""A hub without its faces for the tests of notifications: store, writer, core and notifier."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from madang.base.clock import Clock, SystemClock
from madang.core.consumption import Consumption
from madang.core.context_fetch import HttpContextFetcher
from madang.core.contexts import Contexts
from madang.core.hub import Core
from madang.core.provision import Provision
from madang.core.snapshots import Snapshots
from madang.core.subscriptions import Subscriptions
from madang.core.writer import Writer
from madang.model.jsonld.context import CORE, Context
from madang.model.jsonld.expand import parse_entity, parse_fragment
from madang.notify.notifier import Notifier
from madang.store.sqlite.store import SqliteStore

Json = dict[str, Any]


class Rig:
    """The verbs that these tests need, in the core context."""

    def __init__(self, core: Core, notifier: Notifier) -> None:
        self.core = core
        self.notifier = notifier

    async def create(self, entity: Json, *, tenant: str = "") -> None:
        await self.core.provision.create(tenant, parse_entity(entity, CORE))

    async def update(self, id: str, fragment: Json, *, tenant: str = "") -> None:
        await self.core.provision.update(tenant, id, parse_fragment(fragment, CORE, nulls=True))

    async def subscribe(
        self, url: str, *, tenant: str = "", context: Context = CORE, endpoint: Json | None = None, **more: Any
    ) -> str:
        notification = {"endpoint": {"uri": url, **(endpoint or {})}, **more.pop("notification", {})}
        body = {"type": "Subscription", "entities": [{"type": "Station"}], "notification": notification, **more}
        return await self.core.subscriptions.create(tenant, body, context)

    async def notification_of(self, id: str, *, tenant: str = "") -> Json:
        shown = await self.core.subscriptions.retrieve(tenant, id, CORE)
        return cast("Json", shown["notification"])


def station(number: int, pm10: float) -> Json:
    return {
        "id": f"urn:ngsi-ld:Station:{number}",
        "type": "Station",
        "pm10": {"type": "Property", "value": pm10},
        "name": {"type": "Property", "value": "Yuseong"},
    }


def pm10(value: float) -> Json:
    return {"pm10": {"type": "Property", "value": value}}


@contextlib.asynccontextmanager
async def rig(
    folder: Path, *, clock: Clock | None = None, close: bool = True, allow_private: bool = True
) -> AsyncIterator[Rig]:
    """Open the hub on a folder. With `close` False the notifier is not stopped in good order, as in a crash."""
    clock = clock or SystemClock()
    store = SqliteStore(folder)
    await store.open()
    writer = Writer(store, clock)
    await writer.start()
    contexts = Contexts(store, writer, clock, HttpContextFetcher(allow_private_addresses=True))
    consumption = Consumption(store, clock, writer)
    subscriptions = Subscriptions(store, writer, clock, contexts, allow_private_addresses=allow_private)
    await subscriptions.start()
    core = SimpleNamespace(
        store=store,
        clock=clock,
        writer=writer,
        contexts=contexts,
        provision=Provision(writer, store.find),
        consumption=consumption,
        subscriptions=subscriptions,
        snapshots=Snapshots(store, clock, writer, consumption),
    )
    notifier = Notifier(cast("Core", core), allow_private_addresses=allow_private)
    await notifier.start()
    try:
        yield Rig(cast("Core", core), notifier)
    finally:
        if close:
            await notifier.close()
        else:
            await notifier.abort()
        await contexts.close()
        await writer.close()
        await store.close()
