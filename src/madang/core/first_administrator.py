# SPDX-License-Identifier: Apache-2.0
"""The first administrator: a link that works once makes the first token, as no hub has a default password."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from madang.base.errors import Gone, NotFound
from madang.base.limits import FIRST_LINK_S
from madang.core.hub_token import hash_of, new_token
from madang.core.tokens import put_token
from madang.model.access_form import TokenRequest

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.tokens import Token
    from madang.core.writer import View, Writer
    from madang.model.entity import Json
    from madang.store.port import Store

_LINK: Final = ("first-administrator", "link")
_TOKEN: Final = TokenRequest(label="first administrator", roles=("administrator",))


class FirstAdministrator:
    """Makes the link, and of the link the token; with several workers at most one token."""

    def __init__(self, store: Store, writer: Writer, clock: Clock, has_tokens: Callable[[], bool]) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._has_tokens = has_tokens

    async def new_secret(self) -> str | None:
        """Return the secret part of a new link, or None when the hub has, or had, an administrator.

        Only a hash is kept. A new link takes the place of the one before.
        """
        secret = secrets.token_urlsafe(32)

        def decide(view: View) -> bool:
            if self._has_tokens() or (view.record(*_LINK) or {}).get("used"):
                return False
            expires_us = view.now_us + round(FIRST_LINK_S * 1_000_000)
            view.put_record(*_LINK, {"hash": hash_of(secret), "expiresMicroseconds": expires_us}, logged=False)
            return True

        return secret if await self._writer.write("", (), decide, records=(_LINK,)) else None

    async def check(self, secret: str) -> None:
        """Return when the link would work. Raises: NotFound: there is no such link. Gone: its time is over."""
        self._judge(await self._store.record("", *_LINK), secret, self._clock.now_us())

    async def use(self, secret: str) -> tuple[str, Token]:
        """Make the first administrator's token; return its secret and the token.

        Raises: NotFound: there is no such link. Gone: it was used, its time is over, or there is a token by now.
        """
        made = new_token()

        def decide(view: View) -> Token:
            record = self._judge(view.record(*_LINK), secret, view.now_us)
            view.put_record(*_LINK, {**record, "used": view.now}, logged=False)
            return put_token(view, made, _TOKEN, None)

        return made, await self._writer.write("", (), decide, records=(_LINK,))

    def _judge(self, record: Json | None, secret: str, now_us: int) -> dict[str, Json]:
        if record is None or not hmac.compare_digest(record["hash"], hash_of(secret)):
            raise NotFound("There is no such link; the newest one is what the hub said when it started")
        if record.get("used") or self._has_tokens():
            raise Gone("The link has been used: this hub has an administrator")
        if now_us >= record["expiresMicroseconds"]:
            raise Gone("The time of the link is over; the hub says a new one when it starts again")
        return dict(record)
