# SPDX-License-Identifier: Apache-2.0
"""Makes of a matched change, or of entities found, the bytes that go into notifications (clause 5.8.6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from madang.base.errors import HubError
from madang.base.limits import CONTEXT_RETRY_S
from madang.base.logs import mark
from madang.base.times import format_date_time
from madang.core.linked import Join, LinkedEntities, View, targets_named
from madang.model.entity import Document
from madang.model.jsonld.context import CORE, Context
from madang.model.jsonld.core_context import CORE_CONTEXT_URL
from madang.model.jsonld.render import Representation
from madang.model.query import q
from madang.model.query.projection import EVERYTHING
from madang.model.subscription import Subscription
from madang.model.subscription_matching import Delta, matches
from madang.model.subscription_notice import notice_of, project, select
from madang.notify.messages import Form, entity_bytes, representation_of

if TYPE_CHECKING:
    from madang.core.consumption import Consumption
    from madang.core.contexts import Contexts

log = logging.getLogger(__name__)
_LOOKS_MAX: Final = 10_000


@dataclass(slots=True, eq=False)
class Plan:
    """What is worked out once for a subscription: the form of its messages, and whose rendering it shares."""

    subscription: Subscription
    form: Form
    representation: Representation
    shared: int  # equal numbers, equal bytes; 0: linked entities are joined, so nothing is shared
    context_key: tuple[str, str | None]
    as_it_stands: bool  # the document needs neither choosing nor marking, unless something was deleted


class Preparing:
    """Renders notified entities; the same rendering for several subscriptions is done once per change."""

    def __init__(
        self, contexts: Contexts, consumption: Consumption, origin: Callable[[str], tuple[str, str] | None]
    ) -> None:
        self._origin = origin  # tenant and id of the snapshot that a namespace belongs to
        self._contexts = contexts
        self._consumption = consumption
        self._sharing: dict[Hashable, int] = {}
        self._numbers = 0
        self._at_hand: dict[tuple[str, str | None], Context] = {}
        self._missing_until_s: dict[tuple[str, str | None], float] = {}

    def plan(self, subscription: Subscription) -> Plan:
        """Work out how a subscription is served."""
        origin = self._origin(subscription.tenant)
        tenant, snapshot = origin if origin is not None else (subscription.tenant, None)
        params = subscription.notification
        representation = representation_of(subscription)
        look = (
            *(subscription.tenant, subscription.context_url, params.endpoint.accept, representation),
            *(params.projection, params.show_changes, params.conformance, subscription.datasets),
        )
        return Plan(
            subscription=subscription,
            form=Form.of(subscription, subscription.context_url or CORE_CONTEXT_URL, tenant, snapshot),
            representation=representation,
            shared=0 if params.join is not None else self._number(look),
            context_key=(subscription.tenant, subscription.context_url),
            as_it_stands=params.projection is None and not params.show_changes and not subscription.datasets,
        )

    def _number(self, look: Hashable) -> int:
        number = self._sharing.get(look)
        if number is None:
            if len(self._sharing) >= _LOOKS_MAX:
                self._sharing.clear()  # plans that share a number go on doing so
            self._numbers += 1
            number = self._sharing[look] = self._numbers
        return number

    def new_turn(self) -> None:
        """Look anew at which contexts are still good."""
        self._at_hand.clear()

    def context_now(self, plan: Plan) -> Context | None:
        """Return the context to render with when it is at hand, and nothing else has to be waited for."""
        if not plan.shared:
            return None
        context = self._at_hand.get(plan.context_key)
        if context is None:
            context = self._contexts.known(*plan.context_key)
            if context is not None:
                self._at_hand[plan.context_key] = context
        return context

    def change(self, plan: Plan, delta: Delta, context: Context) -> bytes:
        """Return the changed entity as the subscription gets it."""
        after = delta.commit.after
        if after is not None and plan.as_it_stands and not delta.deleted:
            document = after
        else:
            document = project(plan.subscription, _notice(plan.subscription, delta))
        return self._entity(plan, document, context)

    async def change_joined(self, plan: Plan, delta: Delta, context: Context) -> tuple[bytes, ...]:
        """Return the changed entity with its linked ones inside, or behind it when they are wanted flat."""
        return await self._joined(plan, [_notice(plan.subscription, delta)], context)

    def _entity(self, plan: Plan, document: Document, context: Context) -> bytes:
        return entity_bytes(document, context, plan.form, plan.representation)

    async def found(self, plan: Plan, documents: Sequence[Document]) -> tuple[bytes, ...]:
        """Return entities as they stand, for a subscription that is not told of a change but of a state."""
        subscription = plan.subscription
        context = await self.context(subscription)
        if subscription.notification.join is not None:
            return await self._joined(plan, documents, context)
        return tuple(
            self._entity(plan, project(subscription, select(subscription, document)), context) for document in documents
        )

    async def matches(self, subscription: Subscription, delta: Delta) -> bool:
        """Tell whether a change matches a subscription whose q looks at linked entities (clause 4.9)."""
        document = delta.document
        known: dict[str, Document] = {}
        if document is not None:
            for links in {term.path.links for term in q.terms_of(subscription.q)}:
                front = [document]
                for link in links:
                    ids = [id for one in front for id in targets_named(one, link.relationship)]
                    missing = [id for id in dict.fromkeys(ids) if id not in known]
                    known.update(await self._consumption.documents(subscription.tenant, missing))
                    front = [known[id] for id in dict.fromkeys(ids) if id in known]
        return matches(subscription, delta, linked=known.get)

    async def context(self, subscription: Subscription) -> Context:
        """Return the context to render with. Better a notification with full names than none at all."""
        key = (subscription.tenant, subscription.context_url)
        now_s = asyncio.get_running_loop().time()
        if self._missing_until_s.get(key, 0.0) > now_s:
            return CORE
        try:
            return await self._contexts.resolve(*key)
        except HubError as error:
            log.warning(
                "the @context of subscription %s cannot be had: %s", mark(*subscription.key), type(error).__name__
            )
            self._missing_until_s[key] = now_s + CONTEXT_RETRY_S
            return CORE

    async def _joined(self, plan: Plan, documents: Sequence[Document], context: Context) -> tuple[bytes, ...]:
        subscription = plan.subscription
        params = subscription.notification
        linked = LinkedEntities(
            lambda ids: self._consumption.documents(subscription.tenant, ids),
            View(params.projection or EVERYTHING, subscription.datasets),
            Join(params.join or "inline", params.join_level),
        )
        shown = await linked.collect(documents)
        return tuple(self._entity(plan, document, context) for document in shown if document)


def _notice(subscription: Subscription, delta: Delta) -> Document:
    return notice_of(subscription, delta, format_date_time(delta.commit.time_us))
