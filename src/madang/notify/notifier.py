# SPDX-License-Identifier: Apache-2.0
"""Subscriptions delivered: reads the change log, matches every change, and hands what matches to the lanes.

Changes come straight from the writer, in memory. After a restart, or when more come than can be matched, they are read
from the log after the bookmark, which only moves on when everything before it was delivered or has finally failed: so
every subscriber hears of every change at least once.

Where several workers share the store, one of them delivers at a time (`madang.core.leases`), and reads all changes from
the log, whoever wrote them; the next one goes on from the bookmark.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from madang.base.errors import HubError, TenantNotFound
from madang.base.limits import (
    NOTIFICATION_BACKPRESSURE_S,
    NOTIFICATION_BOOKMARK_S,
    NOTIFICATION_COMMITS_WAITING_MAX,
    NOTIFICATION_INTERVAL_ENTITIES_MAX,
    NOTIFICATION_LOOK_S,
    NOTIFICATION_RETRY_FIRST_S,
    SHUTDOWN_DRAIN_S,
)
from madang.base.logs import mark
from madang.core.caller import acting_for
from madang.core.changes import LogReader
from madang.model.change import EntityCommit
from madang.model.subscription import Subscription
from madang.model.subscription_matching import Delta, matches
from madang.notify.audiences import Audience, Audiences
from madang.notify.http import HttpSender
from madang.notify.intervals import Intervals, Key
from madang.notify.lanes import Lane, Parcel, Post, Told
from madang.notify.mqtt import MqttSender
from madang.notify.preparing import Plan, Preparing
from madang.notify.progress import Progress, Ticket

if TYPE_CHECKING:
    from madang.core.hub import Core

log = logging.getLogger(__name__)
READER: Final = "notify"
# After so many commits in a row the loop gets a turn, so that requests do not wait for notifications.
_COMMITS_PER_TURN: Final = 16
_MICROSECONDS: Final = 1_000_000


class Notifier:
    """Delivers the notifications of one hub. One per process; started after the core and stopped before it.

    It may be started again after `close` or `abort`: then it goes on from the bookmark, whoever moved it meanwhile.

    Args:
        allow_private_addresses: call endpoints on addresses that are not on the public internet.
        may_go_on: whether this worker is still the one that delivers.
    """

    def __init__(
        self,
        core: Core,
        *,
        allow_private_addresses: bool = False,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._core = core
        self._clock = core.clock
        self._allow_private = allow_private_addresses
        self._may_go_on = may_go_on
        self._follows = core.writer.tail.follows
        self._preparing = Preparing(core.contexts, core.consumption, core.snapshots.origin)
        self._told = Told()
        self._listens = False
        self._running = False
        self._reset()

    def _reset(self) -> None:
        """Forget everything of the time before."""
        self._audiences = Audiences(self._core.subscriptions)
        self._intervals = Intervals()
        self._post = Post(
            HttpSender(allow_private=self._allow_private),
            MqttSender(allow_private=self._allow_private),
            self._clock,
            self._core.subscriptions,
            told=self._told,
        )
        self._log = LogReader(self._core.store)
        self._lanes: dict[Key, Lane] = {}
        self._progress = Progress()
        self._saved = 0
        self._waiting: deque[EntityCommit] = deque()
        self._behind = False
        self._stopping = False
        self._wake = asyncio.Event()
        self._through = asyncio.Event()  # nothing waits to be matched
        self._interval_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._firing: dict[Key, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Begin to read the log where the bookmark stands; the subscriptions must be at hand."""
        subscriptions, store = self._core.subscriptions, self._core.store
        self._reset()
        if self._follows:
            await self._core.writer.tail.current()
            await subscriptions.take_over()
        self._saved = position = await store.bookmark(READER)
        # Nothing is awaited until all is set up: what comes from here on is heard of.
        self._running = True
        if not self._listens:
            self._listens = True
            subscriptions.listen(self._subscription_changed)
            self._core.writer.subscribe(self._committed)
        for subscription in subscriptions.all():
            self._enter(subscription)
        if position == 0 and not any(True for _ in subscriptions.all()):
            position = self._core.writer.sequence_last  # a new hub, or one that never had a subscriber
        self._progress = Progress(position)
        self._behind = position < self._core.writer.sequence_last
        self._tasks = [
            asyncio.create_task(self._follow() if self._follows else self._read(), name="notify-read"),
            asyncio.create_task(self._save(), name="notify-save"),
            asyncio.create_task(self._keep_time(), name="notify-intervals"),
        ]
        await self._restore_held()

    async def close(self) -> None:
        """Deliver what is under way, within a bounded time; what is left is found again from the bookmark."""
        self._stopping = True
        self._wake.set()
        self._interval_wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_DRAIN_S / 2):
                await self.drain()
        await self._halt()
        await self._write_bookmark()
        while await self._core.subscriptions.flush():
            pass
        self._hand_over()

    async def abort(self) -> None:
        """Stop where it stands, as a crash would: no bookmark is written."""
        await self._halt()
        self._hand_over()

    def _hand_over(self) -> None:
        """Keep nothing of what another worker does from now on."""
        if self._follows:
            self._core.subscriptions.hand_over()
            self._reset()

    async def _halt(self) -> None:
        self._stopping = True
        self._running = False
        tasks = [*self._tasks, *self._firing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in list(self._lanes.values()):
            await lane.stop()
        await self._post.http.close()
        await self._post.mqtt.close()

    def lag(self) -> int:
        """Return how many changes of the log have not been dealt with yet, while this worker delivers."""
        return max(0, self._core.writer.sequence_last - self._progress.bookmark)

    @property
    def told(self) -> Told:
        """What became of this process's notifications."""
        return self._told

    @property
    def waiting(self) -> int:
        """How many changes wait to be matched or, once for each subscription, to be delivered."""
        return len(self._waiting) + sum(lane.waiting for lane in self._lanes.values())

    async def drain(self) -> None:
        """Wait until all changes known now have been matched and delivered or given up (for tests and benchmarks)."""
        await self._through.wait()
        await self._delivered()

    # ---- subscriptions come and go

    def _subscription_changed(self, before: Subscription | None, after: Subscription | None) -> None:
        if not self._running:
            return
        if before is not None:
            self._audiences.remove(before)
            self._intervals.remove(before)
            if after is None:
                lane = self._lanes.pop(before.key, None)
                if lane is not None:
                    lane.cancel()
        if after is not None:
            self._enter(after)
        self._interval_wake.set()

    def _enter(self, subscription: Subscription) -> None:
        entry = self._core.subscriptions.entry(subscription.tenant, subscription.id)
        if subscription.active:
            self._audiences.add(subscription)
        last_us = entry.counters.last_notification_us if entry is not None else None
        self._intervals.put(subscription, last_us, self._clock.now_us())

    def _lane(self, subscription: Subscription) -> Lane | None:
        lane = self._lanes.get(subscription.key)
        if lane is None:
            entry = self._core.subscriptions.entry(*subscription.key)
            if entry is None:
                return None
            lane = self._lanes[subscription.key] = Lane(self._post, entry, self._preparing.plan(subscription))
            lane.told_as = self._core.subscriptions.permit(*subscription.key)
        elif lane.plan.subscription is not subscription:
            lane.serve(self._preparing.plan(subscription))
        return lane

    # ---- changes

    def _committed(self, commits: Sequence[EntityCommit]) -> None:
        if not self._running:
            return
        self._through.clear()
        if self._follows:
            self._log.hear(commits)
            self._wake.set()
            return
        if self._behind:
            return  # they are read from the log, where they stand already
        if len(self._waiting) + len(commits) > NOTIFICATION_COMMITS_WAITING_MAX:
            self._behind = True
            log.warning("notifications fall behind; they go on from the change log")
        else:
            self._waiting.extend(commits)
        self._wake.set()

    async def _read(self) -> None:
        while True:
            if self._waiting:
                await self._match_waiting()
            elif self._behind:
                await self._catch_up_safely()
            else:
                self._through.set()
                self._wake.clear()
                await self._wake.wait()

    async def _match_waiting(self) -> None:
        waiting = self._waiting
        turn = 0
        self._new_turn()
        while waiting:
            commit = waiting[0]
            if commit.sequence_last > self._progress.position:
                await self._match_safely(commit)
            waiting.popleft()
            turn += 1
            if turn % _COMMITS_PER_TURN == 0:
                await asyncio.sleep(0)
                self._new_turn()

    async def _follow(self) -> None:
        """Read the log whenever this or another worker has written."""
        tail = self._core.writer.tail
        while True:
            if self._progress.position < tail.seen.sequence:
                await self._catch_up_safely()
                continue
            self._through.set()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NOTIFICATION_LOOK_S):
                    await self._wake.wait()
            if self._progress.position >= tail.seen.sequence:
                try:
                    await tail.current()
                except HubError:
                    await asyncio.sleep(NOTIFICATION_RETRY_FIRST_S)
                if self._progress.position < tail.seen.sequence:
                    self._through.clear()

    async def _catch_up_safely(self) -> None:
        try:
            await self._catch_up()
        except Exception:
            # Whatever keeps the log from being read may pass; a reader that has ended would be silent for ever.
            log.exception("the change log could not be read; the next attempt is in %s s", NOTIFICATION_RETRY_FIRST_S)
            await asyncio.sleep(NOTIFICATION_RETRY_FIRST_S)

    async def _catch_up(self) -> None:
        """Read the log up to its end; from then on changes come straight from the writer again."""
        if self._audiences.is_empty():
            # Whoever subscribed up to here is known here; what was written until then is nobody's business.
            self._log.pass_over(self._core.writer.sequence_last)
            self._progress.pass_over(self._core.writer.sequence_last)
        await self._match_own()
        async for last, commits in self._log.pages(self._progress.position):
            if not self._may_go_on():
                return
            for turn, commit in enumerate(commits):
                if turn % _COMMITS_PER_TURN == 0:
                    await asyncio.sleep(0)
                    self._new_turn()
                await self._match_safely(commit)
            self._progress.pass_over(last)
        last = self._core.writer.sequence_last
        if self._progress.position < last and not await self._core.store.changes(self._progress.position, limit=1):
            self._progress.pass_over(last)  # numbers at the end of the log that stand for no row
        # Between this comparison and the next commit nothing else runs, so no change is lost.
        if self._progress.position >= self._core.writer.sequence_last:
            self._behind = False

    async def _match_own(self) -> None:
        """Match the commits of this process that lie right ahead: these need not be read from the log."""
        turn = 0
        while (commit := self._log.next_own(self._progress.position)) is not None:
            if turn % _COMMITS_PER_TURN == 0:
                await asyncio.sleep(0)
                self._preparing.new_turn()
            turn += 1
            await self._match_safely(commit)

    async def _match_safely(self, commit: EntityCommit) -> None:
        try:
            for delta, audience in self._audiences.deltas(commit):
                await self._match(delta, audience)
        except Exception:
            # One change that cannot be dealt with must not silence all subscriptions for ever.
            log.exception("change %d could not be matched", commit.commit)
        self._progress.pass_over(commit.sequence_last)

    async def _match(self, delta: Delta, audience: Audience) -> None:
        matched = await self._matched(delta, audience)
        if not matched:
            return
        commit = delta.commit
        ticket = self._progress.begin(commit.commit, commit.sequence_last)
        entity, lanes = commit.entity, self._lanes
        parcels: dict[int, Parcel] = {}
        for subscription in matched:
            lane = lanes.get(subscription.key)
            if lane is None or lane.plan.subscription is not subscription:
                lane = self._lane(subscription)
                if lane is None:
                    continue
            plan = lane.plan
            parcel = parcels.get(plan.shared)
            if parcel is None:
                context = self._preparing.context_now(plan)
                if context is None:
                    parcel = await self._prepared(plan, delta, ticket)
                else:
                    parcel = Parcel(entity, self._preparing.change(plan, delta, context), ticket)
                    if commit.after is not None:  # what is told of a deletion is the subscription's own affair
                        parcels[plan.shared] = parcel
            if not lane.add(parcel):
                if lane.full:
                    await lane.room(NOTIFICATION_BACKPRESSURE_S)
                lane.push(parcel)
        self._progress.end(ticket)

    def _new_turn(self) -> None:
        """Look anew at which contexts are still good, and at what owners of subscriptions may be told."""
        self._preparing.new_turn()
        for key, permit in self._audiences.regroup():
            lane = self._lanes.get(key)
            if lane is not None:
                lane.tell_as(permit)

    def _for_owner(self, subscription: Subscription) -> contextlib.AbstractContextManager[None]:
        """Look at the hub with the eyes of whoever a subscription tells."""
        return acting_for(self._core.subscriptions.teller(*subscription.key))

    async def _matched(self, delta: Delta, audience: Audience) -> list[Subscription]:
        now_us = self._clock.now_us()
        sure, others = audience.index.split(delta)
        time_us = delta.commit.time_us
        matched = [
            subscription
            for subscription in sure
            if subscription.since_us <= time_us
            and (subscription.expires_us is None or subscription.expires_us > now_us)
        ]
        for subscription in others:
            if subscription.expires_us is not None and subscription.expires_us <= now_us:
                continue
            if subscription.linked:
                with self._for_owner(subscription):
                    if await self._preparing.matches(subscription, delta):
                        matched.append(subscription)
            elif matches(subscription, delta):
                matched.append(subscription)
        return matched

    async def _prepared(self, plan: Plan, delta: Delta, ticket: Ticket) -> Parcel:
        """Return the parcel for a subscription that has to wait for its context or for linked entities."""
        context = await self._preparing.context(plan.subscription)
        entity, join = delta.commit.entity, plan.subscription.notification.join
        if join is None:
            return Parcel(entity, self._preparing.change(plan, delta, context), ticket)
        with self._for_owner(plan.subscription):
            bodies = await self._preparing.change_joined(plan, delta, context)
        if join == "flat" or not bodies:
            return Parcel(entity, b"", ticket, bodies)
        return Parcel(entity, bodies[0], ticket)

    # ---- by the clock

    async def _keep_time(self) -> None:
        while True:
            self._interval_wake.clear()
            now_us = self._clock.now_us()
            for tenant, id in self._intervals.due(now_us):
                entry = self._core.subscriptions.entry(tenant, id)
                if entry is not None:
                    self._intervals.again(entry.subscription, now_us)
                    self._fire(entry.subscription)
            next_us = self._intervals.next_us
            wait_s = None if next_us is None else max(0.0, (next_us - self._clock.now_us()) / _MICROSECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._interval_wake.wait()

    def _fire(self, subscription: Subscription) -> None:
        """Begin a periodic notification, unless the one before is not through yet: what it would say is outdated."""
        key = subscription.key
        if self._stopping or key in self._firing or not subscription.is_active(self._clock.now_us()):
            return
        task = self._firing[key] = asyncio.create_task(self._notify_interval(subscription), name="notify-interval")
        task.add_done_callback(lambda _: self._firing.pop(key, None))

    async def _notify_interval(self, subscription: Subscription) -> None:
        """Tell of all entities that match (clause 5.8.6); in several notifications when they are very many."""
        limit = NOTIFICATION_INTERVAL_ENTITIES_MAX
        offset, more = 0, True
        try:
            while more:
                with self._for_owner(subscription):
                    page = await self._core.consumption.find(
                        subscription.tenant, replace(subscription.query, limit=limit, offset=offset)
                    )
                more, offset = page.more, offset + limit
                if not page.documents:
                    return
                lane = self._lane(subscription)
                if lane is None:
                    return
                lane.told_as = self._core.subscriptions.permit(*subscription.key)
                with self._for_owner(subscription):
                    bodies = await self._preparing.found(lane.plan, page.documents)
                lane.push(Parcel("", b"", several=bodies))
                await lane.drained()
        except TenantNotFound:
            return
        except HubError as error:
            log.warning(
                "the entities of subscription %s cannot be found: %s", mark(*subscription.key), type(error).__name__
            )

    # ---- bookmark

    async def _save(self) -> None:
        while True:
            await asyncio.sleep(NOTIFICATION_BOOKMARK_S)
            try:
                await self._write_bookmark()
            except Exception:
                # Whatever it is, it may pass; without a bookmark everything would be told again after a restart.
                log.exception("the bookmark of notifications could not be written")

    async def _write_bookmark(self) -> None:
        if not self._may_go_on():
            return  # another worker moves it now
        bookmark = self._progress.bookmark
        if bookmark > self._saved:
            await self._core.subscriptions.flush(reader=READER, bookmark=bookmark)
            self._saved = bookmark
        else:
            await self._core.subscriptions.flush()

    async def _delivered(self) -> None:
        for lane in list(self._lanes.values()):
            await lane.drained()

    async def _restore_held(self) -> None:
        """Take up the changes that waited for the throttling to end when the hub was stopped."""
        for subscription in list(self._core.subscriptions.all()):
            entry = self._core.subscriptions.entry(subscription.tenant, subscription.id)
            if entry is None or not entry.counters.held:
                continue
            held, entry.counters.held = tuple(entry.counters.held), ()
            lane = self._lane(subscription)
            if lane is None or lane.told_as.none:
                continue
            with self._for_owner(subscription):
                documents = await self._core.consumption.documents(subscription.tenant, held)
                for id, document in documents.items():
                    for body in (await self._preparing.found(lane.plan, [document]))[:1]:
                        lane.push(Parcel(id, body))
