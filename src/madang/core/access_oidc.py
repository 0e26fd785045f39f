# SPDX-License-Identifier: Apache-2.0
"""Tokens of an OpenID Connect issuer: JWTs checked against the keys that the issuer publishes.

Sources: OpenID Connect Discovery 1.0 section 4; RFC 7517 (keys), RFC 7519 (tokens), RFC 8725 (what goes wrong with
tokens: the algorithm is chosen by the key, never by the token).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import httpcore
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from madang.base.errors import Unauthenticated, Upstream
from madang.base.limits import (
    OIDC_BYTES_MAX,
    OIDC_FETCH_S,
    OIDC_KEYS_FRESH_S,
    OIDC_KEYS_MAX,
    OIDC_LEEWAY_S,
    OIDC_RETRY_S,
    ROLES_OF_CLAIM_MAX,
)

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.base.settings import Settings

_LOG = logging.getLogger("madang.access")
_SECOND_US: Final = 1_000_000
_RSA_BITS_MIN: Final = 2_048
# What a key may be used for. HMAC is not here: a public key must never serve as a shared secret.
_ALGORITHMS: Final[Mapping[tuple[str, str | None], tuple[str, ...]]] = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
ALGORITHMS: Final = frozenset(name for names in _ALGORITHMS.values() for name in names)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token says, once it is believed. `id` names no person; `until_us` is when the token has had its day."""

    id: str
    roles: tuple[str, ...]
    until_us: int


@dataclass(frozen=True, slots=True)
class _Key:
    id: str | None
    algorithms: tuple[str, ...]
    key: Any


class Fetch(Protocol):
    """Gets the body of a URL. Raises: Upstream: it cannot be had in time, is too long, or the status is not 200."""

    async def __call__(self, url: str) -> bytes: ...


class Issuer:
    """One issuer, its keys, and what makes its tokens good.

    Args:
        settings: name the issuer, whom its tokens must be made for, and where they name roles.
        salt: makes the ids of callers, so that nobody can find out by trying whose id it is.
        keys_changed: called when keys have gone or come, as what was believed before must be looked at again.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        salt: bytes,
        fetch: Fetch | None = None,
        keys_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._roles_claim = settings.oidc_roles_claim
        self._clock = clock
        self._salt = salt
        self._fetch = fetch or fetch_over_http
        self._keys_changed = keys_changed
        self._keys: tuple[_Key, ...] = ()
        self._fetched_us: int | None = None  # when the keys at hand came
        self._tried_us: int | None = None  # when the issuer was last asked
        self._asking: asyncio.Task[None] | None = None

    async def verify(self, token: str) -> Verified:
        """Return what the token says.

        Raises:
            Unauthenticated: it is not a token of this issuer for this hub, or its time is over or has not come.
            Upstream: the issuer has never been reached, so that nothing can be said about the token.
        """
        key, algorithm = await self._key_of(token)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                # The times are looked at below, by the hub's own clock.
                options={
                    "require": ["iss", "aud", "exp", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise _bad(_reason(error)) from None
        until_us = self._check_times(claims)
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise _bad("its subject (sub) is not a text")
        return Verified(self._id_of(subject), self._roles_of(claims), until_us)

    async def close(self) -> None:
        """Ask for nothing any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    # ---- the token

    def _check_times(self, claims: Mapping[str, Any]) -> int:
        now_us = self._clock.now_us()
        leeway_us = round(OIDC_LEEWAY_S * _SECOND_US)
        until_us = _moment_us(claims, "exp") + leeway_us
        if now_us >= until_us:
            raise _bad("it has expired")
        for name, what in (("nbf", "it does not count yet"), ("iat", "it was made in the future")):
            if name in claims and now_us + leeway_us < _moment_us(claims, name):
                raise _bad(what)
        return until_us

    def _id_of(self, subject: str) -> str:
        said = f"{self._issuer}\0{subject}".encode("utf-8", "surrogatepass")
        return "oidc:" + hmac.new(self._salt, said, hashlib.sha256).hexdigest()[:24]

    def _roles_of(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        found: Any = claims.get(self._roles_claim)
        if found is None:
            found = claims
            for name in self._roles_claim.split("."):
                found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, str):
            found = found.split()
        if not isinstance(found, list):
            return ()
        return tuple(dict.fromkeys(role for role in found[:ROLES_OF_CLAIM_MAX] if isinstance(role, str)))

    # ---- the keys

    async def _key_of(self, token: str) -> tuple[_Key, str]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, RecursionError):
            raise _bad("it is not a JWT") from None
        algorithm, id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise _bad(f"its algorithm is not one of {', '.join(sorted(ALGORITHMS))}")
        if "crit" in header:
            raise _bad("it asks for an extension (crit) that this hub does not have")
        key = self._find(id, algorithm)
        if key is None:
            await self._ask()
            key = self._find(id, algorithm)
        elif self._fetched_us is not None and self._is_past(self._fetched_us, OIDC_KEYS_FRESH_S):
            # Keys that the issuer has withdrawn must go, but nobody waits for that.
            self._begin_asking()
        if key is None:
            if self._fetched_us is None:
                raise Upstream(
                    "The issuer of the token cannot be reached, so the token cannot be checked; try again later",
                    retry_after_s=OIDC_RETRY_S,
                )
            raise _bad("the issuer has no such key")
        return key, algorithm

    def _find(self, id: str | None, algorithm: str) -> _Key | None:
        fitting = [key for key in self._keys if algorithm in key.algorithms and (id is None or key.id == id)]
        # A token that does not say which key is meant is read only when there is no choice.
        return fitting[0] if len(fitting) == 1 else None

    async def _ask(self) -> None:
        """Get the keys anew, together with all who need them now; not more often than every OIDC_RETRY_S."""
        asking = self._begin_asking()
        if asking is not None:
            await asyncio.shield(asking)

    def _begin_asking(self) -> asyncio.Task[None] | None:
        if self._asking is not None and not self._asking.done():
            return self._asking
        if self._tried_us is not None and not self._is_past(self._tried_us, OIDC_RETRY_S):
            return None
        self._tried_us = self._clock.now_us()
        self._asking = asyncio.create_task(self._get_keys(), name="oidc-keys")
        return self._asking

    def _is_past(self, since_us: int, seconds: float) -> bool:
        return not 0 <= self._clock.now_us() - since_us < seconds * _SECOND_US

    async def _get_keys(self) -> None:
        """Fetch what the issuer says about itself, and its keys; what goes wrong leaves the keys that are there."""
        try:
            async with asyncio.timeout(OIDC_FETCH_S):
                about = _object(await self._fetch(self._issuer.rstrip("/") + "/.well-known/openid-configuration"))
                keys = _keys(_object(await self._fetch(self._keys_address(about))))
        except TimeoutError:
            _LOG.warning("the OpenID Connect issuer did not answer in time; the keys at hand go on counting")
            return
        except Upstream as error:
            _LOG.warning("the OpenID Connect issuer gave no keys (%s); those at hand go on counting", error.detail)
            return
        except Exception as error:  # noqa: BLE001 (whatever an issuer sends, the hub goes on)
            _LOG.warning("the OpenID Connect issuer gave no keys (%s); those at hand go on", type(error).__name__)
            return
        self._keys = keys
        self._fetched_us = self._clock.now_us()
        self._keys_changed()

    def _keys_address(self, about: Mapping[str, Any]) -> str:
        """Return the address of the keys; it may not be less safe than the issuer's own."""
        if about.get("issuer") != self._issuer:
            raise Upstream("It says that it is another issuer")
        address = about.get("jwks_uri")
        if not isinstance(address, str) or urlsplit(address).scheme not in {"https", urlsplit(self._issuer).scheme}:
            raise Upstream("It names no safe address of its keys")
        return address


def _keys(document: Mapping[str, Any]) -> tuple[_Key, ...]:
    found = document.get("keys")
    if not isinstance(found, list):
        raise Upstream("What it publishes are no keys")
    return tuple(key for each in found[:OIDC_KEYS_MAX] if (key := _key(each)) is not None)


def _key(data: Any) -> _Key | None:
    """Return a key of a JWK set (RFC 7517), or None when it is of no use here."""
    if not isinstance(data, dict) or data.get("use", "sig") != "sig" or "verify" not in data.get("key_ops", ["verify"]):
        return None
    kind = data.get("kty")
    algorithms = _ALGORITHMS.get((kind, None if kind == "RSA" else data.get("crv")), ()) if type(kind) is str else ()
    if "alg" in data:
        algorithms = tuple(name for name in algorithms if name == data["alg"])
    if not algorithms:
        return None
    try:
        key = jwt.PyJWK(data, algorithm=algorithms[0]).key
    except (jwt.PyJWKError, jwt.InvalidKeyError, ValueError, TypeError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _RSA_BITS_MIN:
        return None
    id = data.get("kid")
    return _Key(id if isinstance(id, str) else None, algorithms, key) if hasattr(key, "verify") else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Upstream("What it says is not JSON") from None
    if not isinstance(found, dict):
        raise Upstream("What it says is not a JSON object")
    return found


def _moment_us(claims: Mapping[str, Any], name: str) -> int:
    moment = claims[name]
    if isinstance(moment, bool) or not isinstance(moment, int | float) or not isfinite(moment) or abs(moment) > 1e12:
        raise _bad(f"its {name} is no moment")
    return round(moment * _SECOND_US)


def _bad(reason: str) -> Unauthenticated:
    return Unauthenticated(f"The token does not count: {reason}", is_token_bad=True)


def _reason(error: jwt.InvalidTokenError) -> str:
    """Return what is wrong with a token, with nothing of what it says."""
    if isinstance(error, jwt.InvalidAudienceError):
        return "it is not made for this hub (aud)"
    if isinstance(error, jwt.InvalidIssuerError):
        return "it is of another issuer (iss)"
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"it lacks {error.claim}"
    if isinstance(error, jwt.InvalidSignatureError):
        return "its signature is wrong"
    return "it cannot be read"


async def fetch_over_http(url: str) -> bytes:
    """Return the body of a URL that the operator named; redirects are not followed. Raises: Upstream."""
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), OIDC_FETCH_S)
    try:
        async with (
            httpcore.AsyncConnectionPool(max_keepalive_connections=0) as pool,
            pool.stream(
                "GET", url, headers=[("accept", "application/json")], extensions={"timeout": timeouts}
            ) as answer,
        ):
            if answer.status != 200:
                raise Upstream(f"It answered with status {answer.status}")
            body = bytearray()
            async for chunk in answer.aiter_stream():
                body += chunk
                if len(body) > OIDC_BYTES_MAX:
                    raise Upstream(f"It sent more than {OIDC_BYTES_MAX} bytes")
            return bytes(body)
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
        raise Upstream(f"It cannot be reached: {type(error).__name__}") from None
    except (httpcore.UnsupportedProtocol, ValueError) as error:
        raise Upstream(f"Its address cannot be used: {type(error).__name__}") from None
