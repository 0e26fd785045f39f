# SPDX-License-Identifier: Apache-2.0
"""Who is calling and what was granted: hub tokens, log-ins of an issuer, roles, personal attributes.

What is here is kept in memory and made true by the tail alone, so a token that was revoked through another worker
counts for nothing from the next request on. What a grant allows is decided by the verbs of core.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from madang.base.errors import BadRequestData, Denied, LimitExceeded, NotFound, TenantNotFound, Unauthenticated
from madang.base.limits import (
    AUTHORIZATION_CHARACTERS_MAX,
    CALLERS_REMEMBERED_MAX,
    PERSONAL_ATTRIBUTES_MAX,
    ROLES_MAX,
    TOKENS_MAX,
)
from madang.core.access_oidc import Issuer
from madang.core.caller import caller
from madang.core.first_administrator import FirstAdministrator
from madang.core.hub_token import PREFIX, hash_of, is_well_typed, new_token
from madang.core.permits import PERSONAL_KIND
from madang.core.rates import Rates
from madang.core.tokens import TOKEN, Token, put_token, stored_token
from madang.model.access import (
    ANONYMOUS,
    ANONYMOUS_ROLE,
    ROLES_BUILT_IN,
    Caller,
    Grant,
    administers,
    granted,
    split_role,
)
from madang.model.access_form import TokenRequest, stored_grant, write_grant

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.base.settings import Settings
    from madang.core.access_oidc import Fetch
    from madang.core.writer import View, Writer
    from madang.model.entity import Json
    from madang.store.port import Store

ROLE: Final = "role"
_SALT: Final = ("hub", "salt")


@dataclass(frozen=True, slots=True)
class Role:
    """A named list of grants."""

    name: str
    description: str
    grants: tuple[Grant, ...]
    built_in: bool = False


_BUILT_IN: Final[Mapping[str, Role]] = MappingProxyType(
    {name: Role(name, "", grants, built_in=True) for name, grants in ROLES_BUILT_IN.items()}
)


class Access:
    """Tells who calls, and keeps tokens, roles and the names of personal attributes."""

    def __init__(
        self, store: Store, writer: Writer, clock: Clock, settings: Settings, *, fetch: Fetch | None = None
    ) -> None:
        self._store = store
        self._writer = writer
        self._tail = writer.tail
        self._clock = clock
        self._settings = settings
        self._fetch = fetch
        self._issuer: Issuer | None = None
        self.rates = Rates(store, writer, clock, settings)
        self.first_administrator = FirstAdministrator(store, writer, clock, self.has_tokens)
        self._tokens: dict[str, Token] = {}
        self._ids: dict[str, str] = {}  # of tokens, by hash
        self._roles: dict[str, Role] = dict(_BUILT_IN)
        self._anonymous = ANONYMOUS
        # By the text of the Authorization header, with the moment until which that holds.
        self._callers: dict[str, tuple[Caller, int]] = {}
        self._granted: dict[str, tuple[Grant, ...]] = {}  # by the id of a token

    async def start(self) -> None:
        """Learn what is stored, and follow what changes."""
        tail = self._tail
        tail.on_records(TOKEN, self._token_changed)
        tail.on_records(ROLE, self._role_changed)
        for kind, learn in ((TOKEN, self._token_changed), (ROLE, self._role_changed)):
            for tenant, id, body in await self._store.records(kind):
                learn(tenant, id, body)
        if self._settings.oidc_issuer:
            salt = await self._salt()
            self._issuer = Issuer(
                self._settings, self._clock, salt=salt, fetch=self._fetch, keys_changed=self._callers.clear
            )
        await self.rates.start()

    async def close(self) -> None:
        """Stop asking the issuer, and write down what callers asked."""
        await self.rates.close()
        if self._issuer is not None:
            await self._issuer.close()

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self._settings.access == "open"

    # ---- who is calling

    async def authenticate(self, authorization: str | None) -> Caller:
        """Return who calls, from the Authorization header; without one it is the anonymous caller.

        Raises:
            Unauthenticated: the header names nobody, or its token is unknown, revoked, expired or not for this hub.
            Upstream: the token is of an issuer that has never been reached. StoreFailed: the store cannot be read.
        """
        if self._tail.follows:
            # A token that was revoked through another worker must not count here any more.
            await self._tail.current()
        if authorization is None:
            return self._anonymous
        known = self._callers.get(authorization)
        if known is not None and self._clock.now_us() < known[1]:
            return known[0]
        who, until_us = await self._look(authorization)
        if len(self._callers) >= CALLERS_REMEMBERED_MAX:
            self._callers.clear()
        self._callers[authorization] = (who, until_us)
        return who

    def grants_of(self, owner: Caller) -> tuple[Grant, ...] | None:
        """Return what somebody who once called may do now; None when the token was revoked or has expired.

        Of people who logged in the issuer tells nothing until they come again: they have what they had then. For an
        equal answer the same object is returned.
        """
        if owner.kind == ANONYMOUS.kind:
            return self._anonymous.grants
        if owner.kind != TOKEN:
            return owner.grants
        token = self._tokens.get(owner.id.removeprefix(f"{TOKEN}:"))
        if token is None or self._clock.now_us() >= token.until_us:
            return None
        return self._granted_to(token)

    def limits_of(self, who: Caller) -> tuple[float, int]:
        """Return how many requests the caller may make per second and per day; 0 is as many as it likes."""
        if self.is_open:
            return 0.0, 0
        settings = self._settings
        return (
            settings.rate_per_s if who.rate_per_s is None else who.rate_per_s,
            settings.quota_per_day if who.quota_per_day is None else who.quota_per_day,
        )

    async def _look(self, authorization: str) -> tuple[Caller, int]:
        scheme, _, secret = authorization.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret or len(secret) > AUTHORIZATION_CHARACTERS_MAX:
            raise Unauthenticated("The Authorization header is not valid; allowed is: Bearer, a blank, and a token")
        if secret.startswith(PREFIX):
            token = self._token_of(secret)
            return self._caller_of(token), token.until_us
        if self._issuer is None:
            raise _bad(f"it is no token of this hub, which begin with {PREFIX}, and the hub follows no issuer")
        verified = await self._issuer.verify(secret)
        grants = granted(verified.roles, self._grants())
        return Caller(verified.id, "oidc", grants), verified.until_us

    def _token_of(self, secret: str) -> Token:
        if not is_well_typed(secret):
            raise _bad("it is mistyped, as its check sum does not fit")
        hashed = hash_of(secret)
        token = self._tokens.get(self._ids.get(hashed, ""))
        if token is None or not hmac.compare_digest(token.hash, hashed):
            raise _bad("the hub does not know it")
        if token.revoked is not None:
            raise _bad("it was revoked")
        if self._clock.now_us() >= token.until_us:
            raise _bad("it has expired")
        return token

    def _caller_of(self, token: Token) -> Caller:
        return Caller(f"{TOKEN}:{token.id}", TOKEN, self._granted_to(token), token.rate_per_s, token.quota_per_day)

    def _granted_to(self, token: Token) -> tuple[Grant, ...]:
        grants = self._granted.get(token.id)
        if grants is None:
            grants = self._granted[token.id] = (*granted(token.roles, self._grants()), *token.grants)
        return grants

    def _grants(self) -> dict[str, tuple[Grant, ...]]:
        return {name: role.grants for name, role in self._roles.items()}

    # ---- tokens

    def tokens(self) -> list[Token]:
        """Return all tokens, the oldest first. Raises: Denied."""
        self.need_administrator()
        return sorted(self._tokens.values(), key=lambda token: (token.created, token.id))

    def has_tokens(self) -> bool:
        """Tell whether a token was ever made, so that somebody administers the hub."""
        return bool(self._tokens)

    async def create_token(self, wanted: TokenRequest) -> tuple[str, Token]:
        """Make a token; return its secret, which is kept nowhere, and the token.

        Raises: Denied. BadRequestData: a role does not exist. LimitExceeded: there are too many tokens.
        """
        self.need_administrator()
        secret = new_token()
        by = _name_of(caller())

        def decide(view: View) -> Token:
            for index, role in enumerate(wanted.roles):
                name, _ = split_role(role)
                if name not in self._roles:
                    known = ", ".join(sorted(self._roles))[:500]
                    raise BadRequestData(f"There is no role {name!r}; there are {known}", where=f"/roles/{index}")
            self._make_room(view)
            return put_token(view, secret, wanted, by)

        return secret, await self._writer.write("", (), decide)

    async def revoke(self, id: str) -> None:
        """Let a token count for nothing from now on. Raises: Denied. NotFound."""
        self.need_administrator()

        def decide(view: View) -> None:
            body = view.record(TOKEN, id)
            if body is None:
                raise NotFound(f"There is no token {id!r:.80}", where="id")
            if body.get("revoked") is None:
                view.put_record(TOKEN, id, {**body, "revoked": view.now})

        await self._writer.write("", (), decide, records=((TOKEN, id),))

    def _make_room(self, view: View) -> None:
        """Forget tokens that count no more when there are too many."""
        if len(self._tokens) < TOKENS_MAX:
            return
        spent = [token.id for token in self._tokens.values() if token.until_us <= view.now_us]
        if not spent:
            raise LimitExceeded(f"There are {TOKENS_MAX} tokens already; revoke one first")
        for id in spent:
            view.delete_record(TOKEN, id)

    # ---- roles

    def roles(self) -> list[Role]:
        """Return all roles by name. Raises: Denied."""
        self.need_administrator()
        return [self._roles[name] for name in sorted(self._roles)]

    def role(self, name: str) -> Role:
        """Return a role. Raises: Denied. NotFound."""
        self.need_administrator()
        if name not in self._roles:
            raise NotFound(f"There is no role {name!r:.80}", where="role")
        return self._roles[name]

    async def put_role(self, name: str, description: str, grants: tuple[Grant, ...]) -> bool:
        """Make or change a role; tell whether it is new.

        Raises: Denied. BadRequestData: it is built in. LimitExceeded: there are too many roles.
        """
        self.need_administrator()
        _refuse_built_in(name)

        def decide(view: View) -> bool:
            is_new = view.record(ROLE, name) is None
            if is_new and len(self._roles) >= ROLES_MAX:
                raise LimitExceeded(f"There are {ROLES_MAX} roles already; delete one first")
            view.put_record(
                ROLE, name, {"description": description, "grants": [write_grant(grant) for grant in grants]}
            )
            return is_new

        return await self._writer.write("", (), decide, records=((ROLE, name),))

    async def delete_role(self, name: str) -> None:
        """Delete a role; who had it has nothing by it any more. Raises: Denied. NotFound. BadRequestData."""
        self.need_administrator()
        _refuse_built_in(name)

        def decide(view: View) -> None:
            if view.record(ROLE, name) is None:
                raise NotFound(f"There is no role {name!r:.80}", where="role")
            view.delete_record(ROLE, name)

        await self._writer.write("", (), decide, records=((ROLE, name),))

    # ---- personal attributes

    def personal(self, tenant: str) -> list[str]:
        """Return the canonical names of a tenant's attributes that tell of persons. Raises: Denied. TenantNotFound."""
        self.need_administrator(tenant)
        if not self._writer.has_tenant(tenant):
            raise TenantNotFound(f"There is no tenant {tenant!r}")
        return sorted(self._writer.permits.personal(tenant))

    async def tag_personal(self, tenant: str, attribute: str) -> bool:
        """Say that an attribute tells of persons; tell whether that is new. The tenant is made when it is not there.

        Raises: Denied. LimitExceeded: there are too many.
        """
        self.need_administrator(tenant)

        def decide(view: View) -> bool:
            if view.record(PERSONAL_KIND, attribute) is not None:
                return False
            if len(self._writer.permits.personal(tenant)) >= PERSONAL_ATTRIBUTES_MAX:
                raise LimitExceeded(f"{PERSONAL_ATTRIBUTES_MAX} attributes are tagged already; take a tag away first")
            view.put_record(PERSONAL_KIND, attribute, {"tagged": view.now})
            return True

        records = ((PERSONAL_KIND, attribute),)
        return await self._writer.write(tenant, (), decide, records=records, create_tenant=True)

    async def untag_personal(self, tenant: str, attribute: str) -> None:
        """Say that an attribute tells of nobody. Raises: Denied. NotFound."""
        self.need_administrator(tenant)

        def decide(view: View) -> None:
            if view.record(PERSONAL_KIND, attribute) is None:
                raise NotFound(f"The attribute {attribute!r:.200} has no tag", where="attribute")
            view.delete_record(PERSONAL_KIND, attribute)

        await self._writer.write(tenant, (), decide, records=((PERSONAL_KIND, attribute),))

    # ---- what others wrote

    def _token_changed(self, tenant: str, id: str, body: Json | None) -> None:
        if tenant:
            return
        old = self._tokens.pop(id, None)
        if old is not None:
            self._ids.pop(old.hash, None)
        if body is not None:
            token = self._tokens[id] = stored_token(id, body)
            self._ids[token.hash] = id
        self._forget()

    def _role_changed(self, tenant: str, name: str, body: Json | None) -> None:
        if tenant or name in _BUILT_IN:
            return
        if body is None:
            self._roles.pop(name, None)
        else:
            grants = tuple(stored_grant(each) for each in body["grants"])
            self._roles[name] = Role(name, body.get("description", ""), grants)
        if name == ANONYMOUS_ROLE:
            grants = self._roles[name].grants if name in self._roles else ()
            self._anonymous = Caller(ANONYMOUS.id, ANONYMOUS.kind, grants)
        self._forget()

    def _forget(self) -> None:
        self._callers.clear()
        self._granted.clear()

    async def _salt(self) -> bytes:
        """Return what the ids of people who logged in are made with; the same for all workers, for ever."""

        def decide(view: View) -> str:
            known = view.record(*_SALT)
            if known is None:
                known = {"salt": secrets.token_hex(32)}
                view.put_record(*_SALT, known, logged=False)
            return str(known["salt"])

        return bytes.fromhex(await self._writer.write("", (), decide, records=(_SALT,)))

    def need_administrator(self, tenant: str | None = None) -> None:
        """Return if the caller may administer the tenant, or with None the whole hub. Raises: Denied."""
        if not administers(caller(), tenant):
            of = "the whole hub" if tenant is None else "this tenant"
            raise Denied(f"This is for administrators of {of}: it needs the right administer there")


def _refuse_built_in(name: str) -> None:
    if name in _BUILT_IN:
        raise BadRequestData(
            f"The role {name} is built in and stays as it is; allowed are roles of other names", where="role"
        )


def _name_of(who: Caller) -> str | None:
    return who.id if who.kind in ("token", "oidc") else None


def _bad(reason: str) -> Unauthenticated:
    return Unauthenticated(f"The token does not count: {reason}", is_token_bad=True)
