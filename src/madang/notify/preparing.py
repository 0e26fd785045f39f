# SPDX-License-Identifier: Apache-2.0
"""Makes of a matched change, or of entities found, the bytes that go into notifications (clause 5.8.6)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Final

from madang.base.errors import HubError
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
_FORMS_MAX: Final = 50_000


class Preparing:
    """Renders notified entities; the same rendering for several subscriptions is done once per change."""

    def __init__(
        self, contexts: Contexts, consumption: Consumption, origin: Callable[[str], tuple[str, str] | None]
    ) -> None:
        self._origin = origin  # tenant and id of the snapshot that a namespace belongs to
        self._contexts = contexts
        self._consumption = consumption
        self._forms: dict[tuple[str, str], tuple[Form, Representation]] = {}
        self._commit = -1
        self._rendered: dict[Hashable, bytes] = {}

    def forget(self, subscription: Subscription) -> None:
        """Drop what is kept about a subscription that changed or went."""
        self._forms.pop((subscription.tenant, subscription.id), None)

    def at_hand(self, subscription: Subscription) -> bool:
        """Tell whether `change_now` can be used: nothing has to be waited for."""
        return (
            subscription.notification.join is None
            and self._contexts.known(subscription.tenant, subscription.context_url) is not None
        )

    def form(self, subscription: Subscription) -> tuple[Form, Representation]:
        key = (subscription.tenant, subscription.id)
        known = self._forms.get(key)
        if known is None or known[0].subscription is not subscription:
            if len(self._forms) >= _FORMS_MAX:
                self._forms.clear()
            origin = self._origin(subscription.tenant)
            tenant, snapshot = origin if origin is not None else (subscription.tenant, None)
            form = Form.of(subscription, subscription.context_url or CORE_CONTEXT_URL, tenant, snapshot)
            self._forms[key] = known = (form, representation_of(subscription))
        return known

    def change_now(self, subscription: Subscription, delta: Delta) -> bytes:
        """Return the changed entity as this subscription gets it; only after `at_hand` said so."""
        context = self._contexts.known(subscription.tenant, subscription.context_url)
        assert context is not None
        return self._change(subscription, delta, context)

    async def change(self, subscription: Subscription, delta: Delta) -> tuple[bytes, ...]:
        """Return the changed entity, and behind it the linked ones when they are wanted flat."""
        context = await self.context(subscription)
        if subscription.notification.join is None:
            return (self._change(subscription, delta, context),)
        return await self._joined(subscription, [_notice(subscription, delta)], context)

    async def found(self, subscription: Subscription, documents: Sequence[Document]) -> tuple[bytes, ...]:
        """Return entities that were found for a subscription with a timeInterval."""
        context = await self.context(subscription)
        if subscription.notification.join is not None:
            return await self._joined(subscription, documents, context)
        form, representation = self.form(subscription)
        return tuple(
            entity_bytes(project(subscription, select(subscription, document)), context, form, representation)
            for document in documents
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
        try:
            return await self._contexts.resolve(subscription.tenant, subscription.context_url)
        except HubError as error:
            log.warning("the @context of subscription %s cannot be had: %s", subscription.id, error.detail)
            return CORE

    def _change(self, subscription: Subscription, delta: Delta, context: Context) -> bytes:
        form, representation = self.form(subscription)
        commit = delta.commit
        if commit.after is None:
            document = project(subscription, _notice(subscription, delta))
            return entity_bytes(document, context, form, representation)
        if commit.commit != self._commit:
            self._commit = commit.commit
            self._rendered.clear()
        params = subscription.notification
        key = (
            *(context.key, form.context_url, params.endpoint.accept, representation, params.projection),
            *(params.show_changes, subscription.datasets),
        )
        body = self._rendered.get(key)
        if body is None:
            document = project(subscription, _notice(subscription, delta))
            body = self._rendered[key] = entity_bytes(document, context, form, representation)
        return body

    async def _joined(
        self, subscription: Subscription, documents: Sequence[Document], context: Context
    ) -> tuple[bytes, ...]:
        params = subscription.notification
        form, representation = self.form(subscription)
        linked = LinkedEntities(
            lambda ids: self._consumption.documents(subscription.tenant, ids),
            View(params.projection or EVERYTHING, subscription.datasets),
            Join(params.join or "inline", params.join_level),
        )
        shown = await linked.collect(documents)
        return tuple(entity_bytes(document, context, form, representation) for document in shown if document)


def _notice(subscription: Subscription, delta: Delta) -> Document:
    return notice_of(subscription, delta, format_date_time(delta.commit.time_us))
