# SPDX-License-Identifier: Apache-2.0
"""`madang token`: hub tokens made, listed and revoked, on the data themselves or through a hub that runs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from madang.base.clock import SystemClock
from madang.base.errors import Conflict, HubError, StoreFailed, Unsupported
from madang.base.limits import QUOTA_MAX, RATE_MAX
from madang.base.settings import STORE_IN_FOLDER, VARIABLE_PREFIX, Settings, store_name
from madang.base.times import format_date_time, try_date_time
from madang.cli.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_REFUSED
from madang.cli.flags import add_settings
from madang.cli.token_remote import Refused, TokensOfHub

if TYPE_CHECKING:
    from madang.base.messages import Messages
    from madang.model.entity import Json

TOKEN_VARIABLE: Final = VARIABLE_PREFIX + "TOKEN"
_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])", re.ASCII)
_UNIT_S: Final = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}
_SECOND_US: Final = 1_000_000
_PLACE: Final = ("data", "store")


def add_flags(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    create = actions.add_parser("create", help="make a token; it is shown once", description="make a token")
    create.add_argument("--label", required=True, help="what the token is for; name no person")
    create.add_argument(
        "--role",
        action="append",
        required=True,
        help="administrator, editor, reader or one of your own, such as reader@songpa; may come more than once",
    )
    create.add_argument("--tenant", help="narrow the roles to one tenant; '' is the default one")
    create.add_argument("--expires", help="90d, 12h, 4w, or 2027-01-31T00:00:00Z; without it, never")
    create.add_argument("--rate", type=_rate, help="requests per second instead of the setting's; 0: no limit")
    create.add_argument("--quota", type=_quota, help="requests per day instead of the setting's; 0: no limit")
    show = actions.add_parser("list", help="list the tokens", description="list the tokens")
    revoke = actions.add_parser("revoke", help="let a token count no more", description="let a token count no more")
    revoke.add_argument("id", metavar="ID", help="as the list says it")
    for each in (create, show, revoke):
        add_settings(each, *_PLACE)
        each.add_argument(
            "--url",
            help=f"a hub that runs, asked with an administrator's token from {TOKEN_VARIABLE}",
        )


def run(given: Namespace, messages: Messages) -> int:
    """Carry one action out; return the exit code. What is refused has changed nothing."""
    try:
        body = _wanted(given, SystemClock().now_us()) if given.action == "create" else None
        _check(given)
        asyncio.run(_act(given, body, messages))
    except Refused as refused:
        print(f"madang: {messages.line(refused.message, **refused.values)}", file=sys.stderr)
        return refused.code
    except HubError as error:
        print(f"madang: {messages.line('token_refused', reason=error.detail)}", file=sys.stderr)
        return EXIT_REFUSED
    return EXIT_GOOD


class Tokens(Protocol):
    """Where the tokens are."""

    async def create(self, body: Json) -> Json: ...

    async def list(self) -> Sequence[Json]: ...

    async def revoke(self, id: str) -> None: ...


async def _act(given: Namespace, body: Json, messages: Messages) -> None:
    async with _tokens(given) as tokens:
        if given.action == "create":
            made = await tokens.create(body)
            # The token alone goes to standard output, so that a script may take it from there.
            print(messages.line("token_made", id=made["id"]), file=sys.stderr, flush=True)
            print(made["token"], flush=True)
        elif given.action == "list":
            found = await tokens.list()
            for each in found:
                print(_line(each))
            if not found:
                print(messages.line("token_none"), file=sys.stderr)
        else:
            await tokens.revoke(given.id)
            print(messages.line("token_revoked", id=given.id))


def _line(token: Json) -> str:
    roles = ",".join(token["roles"]) or "-"
    return f"{token['id']}  {token['state']:<7}  {token.get('expires', '-'):<20}  {roles}  {token['label']}"


def _wanted(given: Namespace, now_us: int) -> Json:
    """Return the body that asks for the token."""
    roles = given.role
    if given.tenant is not None:
        for role in roles:
            if "@" in role:
                raise Refused("token_tenant_twice", role=role)
        roles = [f"{role}@{given.tenant}" for role in roles]
    body: Json = {"label": given.label, "roles": roles}
    if given.expires is not None:
        body["expires"] = _moment(given.expires, now_us)
    if given.rate is not None:
        body["ratePerSecond"] = given.rate
    if given.quota is not None:
        body["quotaPerDay"] = given.quota
    return body


def _moment(text: str, now_us: int) -> str:
    span = _SPAN.fullmatch(text)
    if span is not None:
        seconds = int(span[1]) * _UNIT_S[span[2]]
        return format_date_time((now_us // _SECOND_US + seconds) * _SECOND_US)
    if try_date_time(text) is None:
        raise Refused("token_expires", text=text[:80])
    return text


def _rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= RATE_MAX:
        raise ArgumentTypeError(f"allowed are numbers from 0 to {RATE_MAX:g}")
    return number


def _quota(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(QUOTA_MAX))
    if not is_number or int(text) > QUOTA_MAX:
        raise ArgumentTypeError(f"allowed are whole numbers from 0 to {QUOTA_MAX}")
    return int(text)


def _check(given: Namespace) -> None:
    if given.url is None:
        return
    if given.data is not None or given.store is not None:
        raise Refused("token_two_places")
    try:
        parts = urlsplit(given.url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or "@" in parts.netloc or parts.query or parts.fragment or not given.url.isascii():
        raise Refused("token_url")
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Refused("token_needed", variable=TOKEN_VARIABLE)


@asynccontextmanager
async def _tokens(given: Namespace) -> AsyncIterator[Tokens]:
    if given.url is not None:
        yield TokensOfHub(given.url, os.environ[TOKEN_VARIABLE])
        return
    settings = _place(given)
    from madang.app import open_access  # weighs as much as the hub

    try:
        async with open_access(settings) as access:
            yield _TokensOfData(access)
    except StoreFailed as error:
        raise Refused("token_failed", EXIT_FAILED, reason=error.detail) from error
    except Conflict as error:
        raise Refused("token_in_use", data=settings.data) from error
    except Unsupported as error:
        raise Refused("data_newer", data=_shown(settings), reason=error.detail) from error


def _place(given: Namespace) -> Settings:
    """Return the settings with the place that --data and --store name, or their variables."""
    names = {VARIABLE_PREFIX + name.upper() for name in _PLACE}
    variables = {name: os.environ[name] for name in names if name in os.environ}
    settings = Settings.read({name: getattr(given, name) for name in _PLACE}, variables)
    # A new folder with a token in it would be the answer to a mistyped name.
    if settings.store == STORE_IN_FOLDER:
        from madang.store.sqlite.store import DATABASE_FILE

        if not (settings.data / DATABASE_FILE).is_file():
            raise Refused("token_no_data", data=settings.data)
    return settings


def _shown(settings: Settings) -> str:
    return str(settings.data) if settings.store == STORE_IN_FOLDER else store_name(settings.store)


class _TokensOfData:
    """The tokens in a store that this process has opened."""

    def __init__(self, access: Any) -> None:
        self._access = access
        self._clock = SystemClock()

    async def create(self, body: Json) -> Json:
        from madang.administration.tokens import shown
        from madang.model.access_form import read_token
        from madang.model.jsonld.context import CORE

        now_us = self._clock.now_us()
        wanted = read_token(
            body, now_us, type_of=CORE.type_names.__getitem__, attribute_of=CORE.attribute_names.__getitem__
        )
        secret, token = await self._access.create_token(wanted)
        return {"token": secret, **shown(token, CORE, now_us)}

    async def list(self) -> Sequence[Json]:
        from madang.administration.tokens import shown
        from madang.model.jsonld.context import CORE

        now_us = self._clock.now_us()
        return [shown(token, CORE, now_us) for token in self._access.tokens()]

    async def revoke(self, id: str) -> None:
        await self._access.revoke(id)
