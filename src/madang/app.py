# SPDX-License-Identifier: Apache-2.0
"""The roof: settings → store → writer → core → rooms → application. Read this to see everything at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import madang
from madang.administration import routes as administration
from madang.base.clock import SystemClock
from madang.base.limits import ENTITY_MAP_SWEEP_S
from madang.base.meters import Meters
from madang.base.settings import STORE_IN_FOLDER
from madang.catalogue import routes as catalogue
from madang.core.access import Access
from madang.core.consumption import Consumption
from madang.core.context_fetch import HttpContextFetcher
from madang.core.contexts import Contexts
from madang.core.discovery import Discovery
from madang.core.entity_maps import EntityMaps
from madang.core.expiry import Expiry
from madang.core.history import History
from madang.core.hub import Core
from madang.core.indexes import Indexes
from madang.core.leases import Leases
from madang.core.measures import Measures
from madang.core.provision import Provision
from madang.core.repeated import Repeated
from madang.core.snapshots import Snapshots
from madang.core.subscriptions import Subscriptions
from madang.core.writer import Writer
from madang.ngsild import routes as ngsild
from madang.notify.notifier import READER, Notifier
from madang.notify.snapshot_notices import SnapshotNotices
from madang.store.sqlite.store import SqliteStore
from madang.wire import exposition, health
from madang.wire import metrics as known
from madang.wire.application import Application
from madang.wire.authentication import Gate, everybody
from madang.wire.metrics import Metrics, RequestMeters
from madang.wire.router import mounted

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.base.settings import Settings
    from madang.core.tail import Tail
    from madang.core.writer import View
    from madang.store.port import Store
    from madang.wire.http import Handler, Request, Response, Route

_HUB_RECORD: Final = ("hub", "identity")


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that works: its verbs for code in this process, and its application for HTTP."""

    core: Core
    application: Application
    access: Access
    leases: Leases


@contextlib.asynccontextmanager
async def open_hub(
    settings: Settings,
    *,
    url: str = "",
    clock: Clock | None = None,
    routes: Iterable[Route] = (),
    meters: Meters | None = None,
) -> AsyncIterator[Hub]:
    """Open everything, in the order in which one thing needs another, and close it in the opposite order.

    Args:
        settings: the settings tree.
        url: scheme, host and port under which clients reach the hub, where the settings do not say.
        clock: the machine's clock when None.
        routes: what a room adds to the application that is not in every hub.
        meters: shared with other workers of the hub; None: there are none.

    Raises: Conflict: another hub uses the data. Unsupported: a newer version wrote them. StoreFailed.
    """
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as closing:
        # Where facts rest, the only way in for every change, and who may come in
        store, writer, access = await _open_ground(settings, clock, closing)
        meters = meters or Meters()
        metrics = Metrics(meters)
        writer.watch(metrics.wrote)

        # The verbs
        reached = settings.public_url or url or f"http://{settings.host}:{settings.port}"
        core, expiry = await _open_core(replace(settings, public_url=reached), store, writer, clock, access, closing)

        # What runs by itself, in one worker at a time
        leases = Leases(store, f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}")
        closing.push_async_callback(leases.close)
        await leases.add("snapshots", core.snapshots.start_sweeping, core.snapshots.stop_sweeping)
        notifier = Notifier(
            core,
            allow_private_addresses=settings.allow_private_addresses,
            may_go_on=lambda: leases.runs("notify"),
        )
        await leases.add("notify", notifier.start, notifier.close, notifier.abort)
        sweeping = Repeated("sweep", expiry.sweep, settings.sweep_s)  # clause 4.22
        await leases.add(sweeping.name, sweeping.start, sweeping.stop)
        if writer.tail.follows:
            maps = Repeated("entity-maps", core.entity_maps.sweep, ENTITY_MAP_SWEEP_S)
            await leases.add(maps.name, maps.start, maps.stop)

        # The faces
        resources = [
            *ngsild.routes(core, hub_id=await _hub_id(writer)),
            *mounted("/madang/v1", catalogue.routes(Indexes(store, writer))),
            *mounted("/madang/v1", administration.routes(access, core.contexts, clock)),
            *routes,
        ]
        table = [
            *(_current_first(resources, writer.tail) if access.is_open else resources),  # the gate has looked already
            *health.routes(madang.__version__, lambda: _faults(store, sweeping)),
            *_metrics_routes(settings, metrics, Measures(store, clock)),
        ]
        application = Application(
            table,
            admit=everybody if access.is_open else Gate(access).admit,
            echoed=ngsild.ECHOED_HEADERS,
            meters=RequestMeters(meters, table),
        )

        # Who watches it
        _watch(metrics, core, notifier, leases, closing)
        yield Hub(core, application, access, leases)


@contextlib.asynccontextmanager
async def open_access(settings: Settings) -> AsyncIterator[Access]:
    """Open nothing but tokens and roles, where no hub serves them (or other workers do).

    Raises: Conflict: a hub uses the data. Unsupported: a newer version wrote them. StoreFailed.
    """
    async with contextlib.AsyncExitStack() as closing:
        _, _, access = await _open_ground(settings, SystemClock(), closing)
        yield access


async def _open_ground(
    settings: Settings, clock: Clock, closing: contextlib.AsyncExitStack
) -> tuple[Store, Writer, Access]:
    """Return what everything stands on; how it is closed is given to `closing`."""
    store = _store(settings)
    await store.open()
    closing.push_async_callback(store.close)
    writer = Writer(store, clock)
    await writer.start()
    closing.push_async_callback(writer.close)
    access = Access(store, writer, clock, settings)
    await access.start()
    closing.push_async_callback(access.close)
    return store, writer, access


def _metrics_routes(settings: Settings, metrics: Metrics, measures: Measures) -> list[Route]:
    if settings.metrics == "off":
        return []
    about = (madang.__version__, "sqlite" if settings.store == STORE_IN_FOLDER else "postgresql")
    return exposition.routes(metrics, measures, about=about, readers=(READER,), is_public=settings.metrics == "public")


def _watch(
    metrics: Metrics, core: Core, notifier: Notifier, leases: Leases, closing: contextlib.AsyncExitStack
) -> None:
    """Say what of the rooms is to be seen in the metrics, and begin to look; all meters are made by now."""
    metrics.watch(known.WRITES_WAITING, lambda: core.writer.waiting)
    metrics.watch(known.NOTIFICATIONS_WAITING, lambda: notifier.waiting)
    told = notifier.told
    metrics.watch_total(known.NOTIFICATIONS, lambda: told.delivered, "delivered")
    metrics.watch_total(known.NOTIFICATIONS, lambda: told.failed, "failed")
    metrics.watch_total(known.NOTIFICATIONS, lambda: told.given_up, "given_up")
    for name, counts in {"documents": core.consumption.counts, **core.caches}.items():
        metrics.watch_cache(name, counts)
    for job in leases.names:
        metrics.watch(known.LEASE_HELD, partial(leases.runs, job), job)
    metrics.meters.begin()
    closing.callback(metrics.meters.end)
    sampling = asyncio.create_task(metrics.sample(), name="sample")
    closing.push_async_callback(_cancel, sampling)


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
    settings: Settings, store: Store, writer: Writer, clock: Clock, access: Access, closing: contextlib.AsyncExitStack
) -> tuple[Core, Expiry]:
    """Return the verbs, and beside them what removes the expired; what must be closed is given to `closing`."""
    private = settings.allow_private_addresses
    contexts = Contexts(
        store,
        writer,
        clock,
        HttpContextFetcher(allow_private_addresses=private),
        public_url=settings.public_url,
    )
    closing.push_async_callback(contexts.close)
    await contexts.choose_default([url for url in settings.context.split(",") if url])
    provision = Provision(writer, store.find)
    expiry = Expiry(store, provision, clock)
    consumption = Consumption(store, clock, writer, tail=writer.tail, sweep=expiry.sweep)
    subscriptions = Subscriptions(
        store, writer, clock, contexts, allow_private_addresses=private, grants_of=access.grants_of
    )
    await subscriptions.start()
    discovery = Discovery(store, consumption, writer, tail=writer.tail)
    entity_maps = EntityMaps(clock, consumption, shared=(store, writer) if writer.tail.follows else None)

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


async def _faults(store: Store, *jobs: Repeated) -> list[str]:
    """Return what keeps the hub from working right now, one sentence each."""
    faults = [f"The job {job.name} has ended" for job in jobs if job.has_ended]
    try:
        await store.bookmark(READER)
    except Exception as error:  # noqa: BLE001 (whatever it is, the hub is not ready)
        faults.append(f"The store cannot be read: {type(error).__name__}")
    return faults


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
