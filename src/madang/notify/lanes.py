# SPDX-License-Identifier: Apache-2.0
"""A lane per subscription: what waits for it, in order, gathered into as few notifications as keep every state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

from madang.base.errors import InvalidInput, Upstream
from madang.base.limits import (
    NOTIFICATION_ATTEMPTS_MAX,
    NOTIFICATION_BYTES_MAX,
    NOTIFICATION_ENTITIES_MAX,
    NOTIFICATION_GATHER_S,
    NOTIFICATION_INTERVAL_ENTITIES_MAX,
    NOTIFICATION_QUEUE_BYTES_MAX,
    NOTIFICATION_QUEUE_ENTITIES_MAX,
    NOTIFICATION_RETRY_FIRST_S,
    NOTIFICATION_RETRY_LONGEST_S,
    NOTIFICATION_TIMEOUT_S,
    NOTIFICATION_TIMEOUT_S_MAX,
)
from madang.base.logs import mark
from madang.base.times import format_date_time
from madang.model.permit import ALL, Permit
from madang.model.subscription import Subscription
from madang.notify.http import HttpSender, Target
from madang.notify.messages import Form
from madang.notify.mqtt import MqttSender
from madang.notify.progress import Ticket

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.subscriptions import Entry, Subscriptions
    from madang.notify.preparing import Plan

log = logging.getLogger(__name__)
_ENDPOINTS_MAX: Final = 50_000
_RETRY_FACTOR: Final = 4.0
_MICROSECONDS: Final = 1_000_000
_HURRY: Final = NOTIFICATION_ENTITIES_MAX  # so many are sent without waiting for more
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Parcel(NamedTuple):
    """One state of one entity, for all subscriptions that get it in the same bytes.

    One of `several` entities is a notification of its own. `form` is set when the subscription has changed since.
    """

    entity: str
    body: bytes
    ticket: Ticket | None = None
    several: tuple[bytes, ...] | None = None
    form: Form | None = None


@dataclass(slots=True)
class Endpoint:
    """What is known about a receiver, whoever subscribed with it."""

    failing: bool = False
    quiet_until_us: int = 0  # cooldown (clause 5.2.15)


@dataclass(slots=True)
class Told:
    """What became of notifications since the process began."""

    delivered: int = 0
    failed: int = 0  # attempts, of which some are repeated
    given_up: int = 0  # changes that no notification will tell of


@dataclass(slots=True)
class Post:
    """The senders and the receivers that all lanes share."""

    http: HttpSender
    mqtt: MqttSender
    clock: Clock
    subscriptions: Subscriptions
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    told: Told = field(default_factory=Told)

    def endpoint(self, uri: str) -> Endpoint:
        known = self.endpoints.get(uri)
        if known is None:
            if len(self.endpoints) >= _ENDPOINTS_MAX:
                self.endpoints.clear()  # what is known of them is found out again
            known = self.endpoints[uri] = Endpoint()
        return known


class Lane:
    """The notifications of one subscription, delivered one after the other."""

    def __init__(self, post: Post, entry: Entry, plan: Plan) -> None:
        self.entry = entry
        self.plan = plan
        self.told_as: Permit = ALL  # what of the entities the waiting parcels may tell
        self._post = post
        self._endpoint = Endpoint()
        self._throttled = False
        self._sent_s = 0.0
        self._waiting: deque[Parcel] = deque()
        self._under_way: list[Parcel] = []
        self._bytes = 0
        self._held: dict[str, Parcel] = {}
        self._released: dict[str, Parcel] = {}
        entry.counters.held = self._held.keys()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._target: tuple[str, Target] | None = None
        self._room = asyncio.Event()
        self._hurry = asyncio.Event()  # enough waits to be sent
        self._overflown = False
        self._cancelled = False
        self._name = uuid4().hex  # its notifications are numbered
        self._number = 0
        self.serve(plan)

    def serve(self, plan: Plan) -> None:
        """Go on with the subscription as it has become; what waits keeps the form it was rendered for."""
        if plan is not self.plan:
            old = self.plan.form
            self._waiting = deque(parcel if parcel.form else parcel._replace(form=old) for parcel in self._waiting)
            self._held.update((id, p if p.form else p._replace(form=old)) for id, p in list(self._held.items()))
            self.plan = plan
        self._endpoint = self._post.endpoint(plan.subscription.notification.endpoint.uri)
        self._throttled = plan.subscription.throttling_us > 0

    @property
    def subscription(self) -> Subscription:
        return self.entry.subscription

    @property
    def delivering(self) -> bool:
        return self._task is not None

    @property
    def _enough(self) -> bool:
        return len(self._waiting) >= _HURRY or self.full

    @property
    def full(self) -> bool:
        return len(self._waiting) >= NOTIFICATION_QUEUE_ENTITIES_MAX or self._bytes >= NOTIFICATION_QUEUE_BYTES_MAX

    def add(self, parcel: Parcel) -> bool:
        """Take a parcel on in the ordinary case, that of nearly all while much happens; else `push` has to."""
        waiting = self._waiting
        if (
            self._task is not None
            and len(waiting) < NOTIFICATION_QUEUE_ENTITIES_MAX
            and self._bytes < NOTIFICATION_QUEUE_BYTES_MAX
            and not self._endpoint.quiet_until_us
            and not self._throttled
            and parcel.several is None
        ):
            if parcel.ticket is not None:
                parcel.ticket.owed += 1
            waiting.append(parcel)
            self._bytes += len(parcel.body)
            if len(waiting) == _HURRY:
                self._hurry.set()
            return True
        return False

    def push(self, parcel: Parcel) -> None:
        """Take a parcel on; it is settled when it was delivered, has finally failed, or nobody wants it any more."""
        if self._endpoint.quiet_until_us and self._endpoint.quiet_until_us > self._now_us():
            return  # 5.2.15: within the cooldown no notification is sent
        if self.subscription.throttling_us and parcel.several is None:
            wait_us = self._throttled_us()
            if wait_us > 0 or self._waiting or self._task is not None:
                self._hold(parcel, wait_us)
                return
        if self.full:
            self._overflow()
            return
        if parcel.ticket is not None:
            parcel.ticket.owed += 1
        self._append(parcel)
        if self._task is not None:
            if self._enough:
                self._hurry.set()
        else:
            self._task = asyncio.create_task(self._run(), name="notify-lane")

    async def room(self, timeout_s: float) -> None:
        """Wait until there is room, but no longer than that, and not for a receiver that is known not to answer."""
        if self._endpoint.failing or self._overflown:
            return
        self._room.clear()
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._room.wait()
        except TimeoutError:
            return

    def cancel(self) -> None:
        """The subscription is gone: nothing is delivered any more (clause 5.8.5.4)."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._held.clear()
        self._released = {}
        self._settle(self._under_way)
        self._under_way = []
        self._drop_waiting()

    def tell_as(self, permit: Permit) -> None:
        """Go on with what the owner may be told now; what waits was made for what he was allowed before."""
        self.told_as = permit
        self._held.clear()
        self._released = {}
        self._drop_waiting()

    async def stop(self) -> None:
        """Stop where it stands; what was not delivered stays owed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def drained(self) -> None:
        """Return when nothing waits for delivery (what is throttled may still wait for its time)."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    # ---- throttling (clause 5.2.12)

    def _throttled_us(self) -> int:
        last_us = self.entry.counters.last_notification_us
        return 0 if last_us is None else last_us + self.subscription.throttling_us - self._now_us()

    def _hold(self, parcel: Parcel, wait_us: int) -> None:
        """Keep the newest state of the entity until the period is over: then all that changed goes in one go."""
        if parcel.entity not in self._held and len(self._held) >= NOTIFICATION_QUEUE_ENTITIES_MAX:
            self._overflow()
            return
        self._held.pop(parcel.entity, None)
        self._held[parcel.entity] = parcel._replace(ticket=None)
        self._held_changed()
        self._plan_release(wait_us)

    def _plan_release(self, wait_us: int) -> None:
        if self._timer is None and self._held and not self._cancelled:
            self._timer = asyncio.get_running_loop().call_later(max(wait_us, 0) / _MICROSECONDS, self._release)

    def _release(self) -> None:
        self._timer = None
        wait_us = self._throttled_us()
        if wait_us > 0:
            self._plan_release(wait_us)
            return
        if self._task is not None or not self._held:
            return  # what is under way ends by coming back here
        # They stay held until they were told, so that a crash does not lose them.
        self._released = dict(islice(self._held.items(), NOTIFICATION_INTERVAL_ENTITIES_MAX))
        bodies = tuple(parcel.body for parcel in self._released.values())
        self._append(Parcel("", b"", None, bodies, next(reversed(self._released.values())).form))
        self._task = asyncio.create_task(self._run(), name="notify-lane")

    def _held_changed(self) -> None:
        self._post.subscriptions.touched(self.subscription.tenant, self.subscription.id, held=True)

    def _told_released(self) -> None:
        """Let go of what was told of; an entity that changed meanwhile waits for the next period."""
        for entity, parcel in self._released.items():
            if self._held.get(entity) is parcel:
                del self._held[entity]
        self._released = {}
        self._held_changed()

    # ---- delivering

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                self._under_way = self._take_batch()
                await self._deliver_safely(self._under_way)
                self._settle(self._under_way)
                self._under_way = []
                if self._released:
                    self._told_released()
                if self._overflown and len(self._waiting) < NOTIFICATION_QUEUE_ENTITIES_MAX // 2:
                    self._overflown = False
                if not self.full:
                    self._room.set()
        finally:
            self._task = None
        if self._held:
            self._plan_release(self._throttled_us())

    async def _gather(self) -> None:
        """Let changes that follow the last notification at once come together, so that many go in one."""
        rest_s = self._sent_s + NOTIFICATION_GATHER_S - asyncio.get_running_loop().time()
        if rest_s > 0 and not self._enough:
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._hurry.wait()
        self._sent_s = asyncio.get_running_loop().time()

    def _append(self, parcel: Parcel) -> None:
        self._waiting.append(parcel)
        self._bytes += _size(parcel)

    def _settle(self, parcels: Iterable[Parcel]) -> None:
        size = 0
        for _, body, ticket, several, _ in parcels:
            size += len(body)
            if several is not None:
                size += sum(map(len, several))
            if ticket is not None:
                ticket.owed -= 1
        self._bytes -= size

    def _take_batch(self) -> list[Parcel]:
        """Take off what goes into the next notification: all of one form, and no entity twice.

        A second state of an entity stays in front for the notification after this one, so the states of an entity are
        told in order; between entities the order may change by as much.
        """
        waiting = self._waiting
        first = waiting.popleft()
        if first.several is not None or not waiting:
            return [first]
        batch, entities, form = [first], {first.entity}, first.form
        room = NOTIFICATION_BYTES_MAX - len(first.body)
        left: list[Parcel] = []
        while waiting and len(batch) < NOTIFICATION_ENTITIES_MAX and len(left) < NOTIFICATION_ENTITIES_MAX:
            parcel = waiting.popleft()
            entity, body, _, several, form_here = parcel
            room -= len(body)
            if form_here is not form or several is not None or room < 0:
                left.append(parcel)
                break
            if entity in entities:
                left.append(parcel)
            else:
                batch.append(parcel)
                entities.add(entity)
        waiting.extendleft(reversed(left))
        return batch

    async def _deliver_safely(self, batch: Sequence[Parcel]) -> None:
        try:
            await self._deliver(batch)
        except Exception:
            # A mistake of ours in one notification must not stop all that come after it.
            log.exception("a notification of subscription %s could not be made", self._mark)

    async def _deliver(self, batch: Sequence[Parcel]) -> None:
        """Send one notification, again after a failure that may pass, and count what became of it."""
        form = batch[0].form or self.plan.form
        uri = form.subscription.notification.endpoint.uri
        endpoint = self._post.endpoint(uri)
        counters = self.entry.counters
        told_as, subscriptions = self.told_as, self._post.subscriptions
        body: bytes | None = None
        delay_s = NOTIFICATION_RETRY_FIRST_S
        for attempt in range(1, NOTIFICATION_ATTEMPTS_MAX + 1):
            now_us = self._now_us()
            if not self.subscription.is_active(now_us) or endpoint.quiet_until_us > now_us:
                return
            if subscriptions.permit(*self.subscription.key) is not told_as:
                return
            if body is None:
                counters.times_sent += 1
                entities = batch[0].several or [parcel.body for parcel in batch]
                self._number += 1
                body = form.body(f"{self._name}-{self._number:x}", entities, format_date_time(now_us))
            counters.last_notification_us = now_us
            self._touched()
            retry = await self._attempt(form, body, first=attempt == 1)
            if not retry:
                return
            if endpoint.failing or attempt == NOTIFICATION_ATTEMPTS_MAX:
                break
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * _RETRY_FACTOR, NOTIFICATION_RETRY_LONGEST_S)
        endpoint.failing = True
        self._give_up(uri)

    def _give_up(self, uri: str) -> None:
        """Drop what waits for a receiver that is gone for good, so that the bookmark can move on."""
        lost: list[Parcel] = []
        left: deque[Parcel] = deque()
        for parcel in self._waiting:
            form = parcel.form or self.plan.form
            (lost if form.subscription.notification.endpoint.uri == uri else left).append(parcel)
        if lost:
            log.warning(
                "%d changes for subscription %s are given up: its receiver has not answered for too long",
                *(len(lost), self._mark),
            )
            self._post.told.given_up += len(lost)
            self.entry.counters.times_failed += 1
            self._settle(lost)
            self._waiting = left

    async def _attempt(self, form: Form, body: bytes, *, first: bool) -> bool:
        """Send once; tell whether it is worth another try."""
        params = form.subscription.notification.endpoint
        endpoint = self._post.endpoint(params.uri)
        retry = False
        try:
            status = await self._send(form, body)
        except (Upstream, InvalidInput) as error:
            # The text of the error may quote the address, which may name somebody.
            reason, retry = type(error).__name__, isinstance(error, Upstream)
        else:
            if 200 <= status < 300:
                endpoint.failing = False
                self.entry.counters.failed = False
                self.entry.counters.last_success_us = self._now_us()
                self._touched()
                self._post.told.delivered += 1
                return False
            reason, retry = f"it answered {status}", status in _RETRIED
        self._post.told.failed += 1
        if first:
            self.entry.counters.times_failed += 1
            log.info("a notification of subscription %s failed: %s", self._mark, reason)
        self.entry.counters.failed = True
        self.entry.counters.last_failure_us = now_us = self._now_us()
        self._touched()
        if params.cooldown_s is not None:
            endpoint.quiet_until_us = now_us + round(params.cooldown_s * _MICROSECONDS)
            return False
        return retry

    async def _send(self, form: Form, body: bytes) -> int:
        params = form.subscription.notification.endpoint
        timeout_s = min(params.timeout_s or NOTIFICATION_TIMEOUT_S, NOTIFICATION_TIMEOUT_S_MAX)
        if params.mqtt is not None:
            await self._post.mqtt.publish(params.mqtt, form.mqtt_message(body), timeout_s)
            return 200
        if self._target is None or self._target[0] != params.uri:
            self._target = (params.uri, Target.of(params.uri))
        return await self._post.http.post(self._target[1], form.headers, body, timeout_s)

    # ---- small things

    @property
    def waiting(self) -> int:
        """How many changes wait for delivery, those under way and those that are throttled included."""
        return len(self._waiting) + len(self._under_way) + len(self._held)

    @property
    def _mark(self) -> str:
        return mark(self.subscription.tenant, self.subscription.id)

    def _now_us(self) -> int:
        return self._post.clock.now_us()

    def _touched(self) -> None:
        self._post.subscriptions.touched(self.subscription.tenant, self.subscription.id)

    def _overflow(self) -> None:
        """Give a change up: the receiver takes far less than what happens, and its queue is full."""
        counters = self.entry.counters
        counters.times_failed += 1
        counters.failed = True
        counters.last_failure_us = self._now_us()
        self._touched()
        self._post.told.given_up += 1
        if not self._overflown:
            self._overflown = True
            log.warning(
                "subscription %s: more than %d changes wait; changes are lost until its receiver keeps up",
                *(self._mark, NOTIFICATION_QUEUE_ENTITIES_MAX),
            )

    def _drop_waiting(self) -> None:
        self._settle(self._waiting)
        self._waiting.clear()


def _size(parcel: Parcel) -> int:
    return len(parcel.body) if parcel.several is None else sum(map(len, parcel.several))
