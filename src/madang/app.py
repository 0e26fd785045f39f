# SPDX-License-Identifier: Apache-2.0
"""The roof: settings → store → writer → core → rooms → application. Read this to see everything at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import madang
from madang.base.clock import SystemClock
from madang.base.settings import STORE_IN_FOLDER
from madang.catalogue import routes as catalogue
from madang.core.consumption import Consumption
from madang.core.context_fetch import HttpContextFetcher
from madang.core.contexts import Contexts
from madang.core.discovery import Discovery
from madang.core.entity_maps import EntityMaps
from madang.core.expiry import Expiry
from madang.core.history import History
from madang.core.hub import Core
from madang.core.indexes import Indexes
from madang.core.provision import Provision
from madang.core.snapshots import Snapshots
from madang.core.subscriptions import Subscriptions
from madang.core.writer import Writer
from madang.ngsild import routes as ngsild
from madang.notify.notifier import Notifier
from madang.notify.snapshot_notices import SnapshotNotices
from madang.store.sqlite.store import SqliteStore
from madang.wire import health
from madang.wire.application import Application
from madang.wire.router import mounted

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.base.settings import Settings
    from madang.core.tail import Tail
    from madang.core.writer import View
    from madang.store.port import Store
    from madang.wire.http import Handler, Request, Response, Route

_HUB_RECORD: Final = ("hub", "identity")
_LOG = logging.getLogger("madang")


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that works: its verbs for code in this process, and its application for HTTP."""

    core: Core
    application: Application


@contextlib.asynccontextmanager
async def open_hub(
    settings: Settings, *, url: str = "", clock: Clock | None = None, routes: Iterable[Route] = ()
) -> AsyncIterator[Hub]:
    """Open everything, in the order in which one thing needs another, and close it in the opposite order.

    Args:
        settings: the settings tree.
        url: scheme, host and port under which clients reach the hub, where the settings do not say.
        clock: the machine's clock when None.
        routes: what a room adds to the application that is not in every hub.

    Raises: Conflict: another hub uses the data. Unsupported: a newer version wrote them. StoreFailed.
    """
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as closing:
        # Where facts rest
        store = _store(settings)
        await store.open()
        closing.push_async_callback(store.close)

        # The only way in for every change
        writer = Writer(store, clock)
        await writer.start()
        closing.push_async_callback(writer.close)

        # The verbs
        core, expiry = await _open_core(settings, store, writer, clock, url, closing)

        # What runs by itself
        notifier = Notifier(core, allow_private_addresses=settings.allow_private_addresses)
        await notifier.start()
        closing.push_async_callback(notifier.close)
        sweeping = asyncio.create_task(_sweep(expiry, settings.sweep_s), name="sweep")
        closing.push_async_callback(_cancel, sweeping)

        # The faces
        resources = [
            *ngsild.routes(core, hub_id=await _hub_id(writer)),
            *mounted("/madang/v1", catalogue.routes(Indexes(store, writer))),
            *routes,
        ]
        table = [
            *_current_first(resources, writer.tail),
            *health.routes(madang.__version__, lambda: _faults(store, sweeping)),
        ]
        yield Hub(core, Application(table, echoed=ngsild.ECHOED_HEADERS))


def _store(settings: Settings) -> Store:
    if settings.store == STORE_IN_FOLDER:
        return SqliteStore(settings.data)
    from madang.store.postgres.store import PostgresStore  # a city without PostgreSQL does not carry its weight

    return PostgresStore(settings.store)


def _current_first(routes: Iterable[Route], tail: Tail) -> list[Route]:
    """Have each request wait until this worker knows what others wrote before it came."""
    if not tail.follows:
        return list(routes)

    def after_a_look(handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            await tail.current()
            return await handler(request)

        return handle

    return [replace(route, handler=after_a_look(route.handler)) for route in routes]


async def _open_core(
    settings: Settings, store: Store, writer: Writer, clock: Clock, url: str, closing: contextlib.AsyncExitStack
) -> tuple[Core, Expiry]:
    """Return the verbs, and beside them what removes the expired; what must be closed is given to `closing`."""
    private = settings.allow_private_addresses
    contexts = Contexts(
        store,
        writer,
        clock,
        HttpContextFetcher(allow_private_addresses=private),
        public_url=settings.public_url or url or f"http://{settings.host}:{settings.port}",
    )
    closing.push_async_callback(contexts.close)
    await contexts.choose_default([url for url in settings.context.split(",") if url])
    provision = Provision(writer, store.find)
    expiry = Expiry(store, provision, clock)
    consumption = Consumption(store, clock, writer, sweep=expiry.sweep)
    subscriptions = Subscriptions(store, writer, clock, contexts, allow_private_addresses=private)
    await subscriptions.start()
    discovery = Discovery(store, consumption, writer)
    entity_maps = EntityMaps(clock, consumption)

    snapshots = Snapshots(
        store, clock, writer, consumption, forget=(discovery.forget_tenant, entity_maps.forget_tenant)
    )
    notices = SnapshotNotices(allow_private_addresses=private)
    closing.push_async_callback(notices.close)
    snapshots.tell_with(notices.tell)
    await snapshots.open()
    closing.push_async_callback(snapshots.close)

    core = Core(
        store=store,
        clock=clock,
        writer=writer,
        contexts=contexts,
        provision=provision,
        consumption=consumption,
        discovery=discovery,
        history=History(store, writer, clock, instances_max=settings.temporal_instances_max),
        subscriptions=subscriptions,
        entity_maps=entity_maps,
        snapshots=snapshots,
    )
    return core, expiry


async def _hub_id(writer: Writer) -> str:
    """Return what tells this hub from every other one; made at its first start."""

    def decide(view: View) -> str:
        known = view.record(*_HUB_RECORD)
        if known is None:
            known = {"id": uuid.uuid4().urn}
            view.put_record(*_HUB_RECORD, known)
        return str(known["id"])

    return await writer.write("", (), decide, records=(_HUB_RECORD,))


async def _sweep(expiry: Expiry, pause_s: float) -> None:
    """Remove what has expired (clause 4.22), again and again."""
    while True:
        try:
            await expiry.sweep()
        except Exception:  # noqa: BLE001 (whatever it is, the next look may succeed)
            _LOG.exception("looking for what has expired failed; the next look is in %s s", pause_s)
        await asyncio.sleep(pause_s)


async def _faults(store: Store, *jobs: asyncio.Task[None]) -> list[str]:
    """Return what keeps the hub from working right now, one sentence each."""
    faults = [f"The job {job.get_name()} has ended" for job in jobs if job.done()]
    try:
        await store.last_sequence()
    except Exception as error:  # noqa: BLE001 (whatever it is, the hub is not ready)
        faults.append(f"The store cannot be read: {type(error).__name__}")
    return faults


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
