# SPDX-License-Identifier: Apache-2.0
"""Tokens of an issuer: which are believed, which are not and why, and what an issuer that fails may not break."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from madang.base.clock import FixedClock
from madang.base.errors import Unauthenticated, Upstream
from madang.base.settings import Settings
from madang.core.access_oidc import Issuer, fetch_over_http

ISSUER = "https://login.example/realms/city"
AUDIENCE = "madang"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 (weakness is the point)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
WRONG_CURVE_KEY = ec.generate_private_key(ec.SECP384R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jwk(kind: Any, key: Any, id: str, **more: Any) -> dict[str, Any]:
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": id, "use": "sig", **more}


KEYS = [
    jwk(RSAAlgorithm, RSA_KEY, "rsa"),
    jwk(ECAlgorithm, EC_KEY, "ec"),
    jwk(OKPAlgorithm, ED_KEY, "ed"),
    jwk(RSAAlgorithm, WEAK_RSA_KEY, "weak"),
    jwk(ECAlgorithm, WRONG_CURVE_KEY, "p384"),
    jwk(RSAAlgorithm, OTHER_RSA_KEY, "encryption", use="enc"),
    jwk(RSAAlgorithm, OTHER_RSA_KEY, "pss-only", alg="PS256"),
    {"kty": "oct", "k": base64.urlsafe_b64encode(b"s" * 64).decode(), "kid": "shared", "alg": "HS256"},
    {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
    {"kty": ["RSA"], "kid": "odd"},
    "no key at all",
]


class Web:
    """An issuer's web site in a dictionary; `wait` holds answers back, `down` refuses them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False
        self.wait: asyncio.Event | None = None
        self.pages: dict[str, Any] = {
            ISSUER + "/.well-known/openid-configuration": {
                "issuer": ISSUER,
                "jwks_uri": "https://login.example/keys",
            },
            "https://login.example/keys": {"keys": list(KEYS)},
        }

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if self.wait is not None:
            await self.wait.wait()
        if self.down or url not in self.pages:
            raise Upstream("It cannot be reached")
        page = self.pages[url]
        return page if isinstance(page, bytes) else json.dumps(page).encode()


class World:
    def __init__(self, claim: str = "roles") -> None:
        self.clock = FixedClock()
        self.web = Web()
        self.changes = 0
        settings = Settings(oidc_issuer=ISSUER, oidc_audience=AUDIENCE, oidc_roles_claim=claim)
        self.issuer = Issuer(settings, self.clock, salt=b"s" * 32, fetch=self.web, keys_changed=self.changed)

    def changed(self) -> None:
        self.changes += 1

    def claims(self, **more: Any) -> dict[str, Any]:
        now_s = self.clock.now_us() // 1_000_000
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "f3a1", "exp": now_s + 300, "iat": now_s, "roles": ["reader"]}
        return {name: value for name, value in {**said, **more}.items() if value is not ...}

    def token(self, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "rsa", **more: Any) -> str:
        headers = {} if kid is None else {"kid": kid}
        return jwt.encode(self.claims(**more), key, algorithm=algorithm, headers=headers)

    async def refused(self, token: str, said: str) -> None:
        with pytest.raises(Unauthenticated) as refused:
            await self.issuer.verify(token)
        assert said in refused.value.detail, refused.value.detail
        assert refused.value.is_token_bad
        assert "f3a1" not in refused.value.detail


@pytest.fixture
def world() -> World:
    return World()


def encoded(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# ---- what is believed


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (RSA_KEY, "RS256", "rsa"),
        (RSA_KEY, "PS256", "rsa"),
        (OTHER_RSA_KEY, "PS256", "pss-only"),
        (EC_KEY, "ES256", "ec"),
        (ED_KEY, "EdDSA", "ed"),
        (EC_KEY, "ES256", None),
    ],
)
async def test_a_token_of_the_issuer_is_believed(world: World, key: Any, algorithm: str, kid: str | None) -> None:
    verified = await world.issuer.verify(world.token(key, algorithm, kid))
    assert verified.roles == ("reader",)
    assert verified.until_us == world.clock.now_us() + 360 * 1_000_000


async def test_the_id_is_the_same_each_time_and_names_nobody(world: World) -> None:
    subject = "chulsoo.kim@city.example"
    ids = {(await world.issuer.verify(world.token(sub=subject, roles=roles))).id for roles in (["a"], ["b"])}
    assert len(ids) == 1
    id = ids.pop()
    assert id.startswith("oidc:")
    assert "kim" not in id
    # Whoever knows the subject, but not the hub's salt, cannot find out whose id it is.
    assert hashlib.sha256(f"{ISSUER}\0{subject}".encode()).hexdigest()[:24] not in id
    assert (await world.issuer.verify(world.token(sub="somebody else"))).id != id


@pytest.mark.parametrize(
    ("claim", "said", "expected"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["reader", "editor@songpa"]}}, ("reader", "editor@songpa")),
        ("https://city.example/roles", {"https://city.example/roles": ["reader"]}, ("reader",)),
        ("scope", {"scope": "reader editor"}, ("reader", "editor")),
        ("roles", {"roles": ["reader", 5, None, "reader"]}, ("reader",)),
        ("roles", {"roles": {"reader": True}}, ()),
        ("roles", {"roles": ...}, ()),
        ("a.b.c", {"a": {"b": "c"}}, ()),
    ],
)
async def test_roles_come_from_the_claim(claim: str, said: dict[str, Any], expected: tuple[str, ...]) -> None:
    world = World(claim)
    assert (await world.issuer.verify(world.token(**said))).roles == expected


async def test_clocks_may_differ_by_a_minute(world: World) -> None:
    now_s = world.clock.now_us() // 1_000_000
    await world.issuer.verify(world.token(exp=now_s - 59, nbf=now_s + 60, iat=now_s + 60))
    await world.refused(world.token(exp=now_s - 60), "expired")
    await world.refused(world.token(nbf=now_s + 61), "not count yet")
    await world.refused(world.token(iat=now_s + 61), "in the future")


# ---- what is not believed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"iss": ...}, "lacks iss"),
        ({"aud": "another hub"}, "not made for this hub"),
        ({"aud": ["a", "b"]}, "not made for this hub"),
        ({"aud": ...}, "lacks aud"),
        ({"exp": ...}, "lacks exp"),
        ({"exp": 1}, "expired"),
        ({"exp": True}, "its exp is no moment"),
        ({"exp": "9999999999"}, "its exp is no moment"),
        ({"exp": float("inf")}, "its exp is no moment"),
        ({"nbf": "now"}, "its nbf is no moment"),
        ({"sub": ...}, "lacks sub"),
        ({"sub": ""}, "its subject"),
    ],
)
async def test_a_token_for_others_or_another_time_is_not_believed(
    world: World, more: dict[str, Any], said: str
) -> None:
    await world.refused(world.token(**more), said)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid", "said"),
    [
        (OTHER_RSA_KEY, "RS256", "rsa", "signature"),
        (RSA_KEY, "RS256", "ec", "no such key"),
        (RSA_KEY, "RS256", "unknown", "no such key"),
        (RSA_KEY, "RS512", "rsa", "algorithm"),
        (EC_KEY, "ES256", "rsa", "no such key"),
        (OTHER_RSA_KEY, "RS256", "pss-only", "no such key"),
        (OTHER_RSA_KEY, "RS256", "encryption", "no such key"),
        (WEAK_RSA_KEY, "RS256", "weak", "no such key"),
        (WRONG_CURVE_KEY, "ES384", "p384", "algorithm"),
        (b"s" * 64, "HS256", "shared", "algorithm"),
        (OTHER_RSA_KEY, "PS256", None, "no such key"),  # two keys would do: it must say which
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_key_counts_only_for_what_it_is_made_for(
    world: World, key: Any, algorithm: str, kid: str | None, said: str
) -> None:
    await world.refused(world.token(key, algorithm, kid), said)


async def test_a_public_key_is_no_shared_secret(world: World) -> None:
    """The old trick: sign with HMAC, and the issuer's public key as the secret."""
    public = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for algorithm in ("HS256", "hs256", "RS256"):
        signed = f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'rsa'})}.{encoded(world.claims())}"
        signature = hmac.new(public, signed.encode(), hashlib.sha256).digest()
        await world.refused(f"{signed}.{encoded(signature)}", "signature" if algorithm == "RS256" else "algorithm")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 5, ["RS256"]])
async def test_no_token_goes_without_a_signature(world: World, algorithm: Any) -> None:
    token = f"{encoded({'alg': algorithm, 'kid': 'rsa'})}.{encoded(world.claims())}."
    with pytest.raises(Unauthenticated):
        await world.issuer.verify(token)


async def test_every_part_of_a_token_counts(world: World) -> None:
    good = world.token()
    head, body, signature = good.split(".")
    other = world.token(roles=["administrator"]).split(".")
    await world.issuer.verify(good)
    for token in (
        f"{head}.{other[1]}.{signature}",
        f"{head}.{body}.{other[2]}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{encoded({'alg': 'PS256', 'kid': 'rsa'})}.{body}.{signature}",
        f"{encoded({'alg': 'RS256', 'kid': 'rsa', 'crit': ['b64'], 'b64': False})}.{body}.{signature}",
        f"{encoded({'alg': 'RS256', 'kid': ['rsa']})}.{body}.{signature}",
        f"{encoded([1])}.{body}.{signature}",
        f"{encoded(b'[' * 100_000)}.{body}.{signature}",
        f"{good}.more",
        "..",
        "a.b.c",
        "\ufffd.\ufffd.\ufffd",
    ):
        with pytest.raises(Unauthenticated):
            await world.issuer.verify(token)


async def test_a_key_in_the_token_itself_is_not_used(world: World) -> None:
    own = {"jwk": jwk(RSAAlgorithm, OTHER_RSA_KEY, "rsa"), "jku": "https://evil.example/keys"}
    token = jwt.encode(world.claims(), OTHER_RSA_KEY, algorithm="RS256", headers={"kid": "rsa", **own})
    await world.refused(token, "signature")
    assert not any("evil" in url for url in world.web.asked)


# ---- the issuer and its keys


async def test_keys_are_fetched_once_for_all_who_come_together(world: World) -> None:
    world.web.wait = asyncio.Event()
    asking = [asyncio.create_task(world.issuer.verify(world.token(sub=f"{number}"))) for number in range(20)]
    await until(lambda: bool(world.web.asked))
    world.web.wait.set()
    assert len({verified.id for verified in await asyncio.gather(*asking)}) == 20
    assert len(world.web.asked) == 2
    await world.issuer.verify(world.token())
    assert len(world.web.asked) == 2


async def test_a_new_key_is_found_without_a_restart(world: World) -> None:
    await world.issuer.verify(world.token())
    new = jwk(RSAAlgorithm, OTHER_RSA_KEY, "new")
    world.web.pages["https://login.example/keys"] = {"keys": [new]}
    token = world.token(OTHER_RSA_KEY, kid="new")
    await world.refused(token, "no such key")  # it was asked less than 10 s ago
    assert len(world.web.asked) == 2
    world.clock.advance(10)
    await world.issuer.verify(token)
    assert world.changes == 2
    world.clock.advance(10)
    await world.refused(world.token(), "no such key")  # the old one was withdrawn


async def test_unknown_keys_do_not_make_the_hub_ask_again_and_again(world: World) -> None:
    await world.issuer.verify(world.token())
    for number in range(50):
        await world.refused(world.token(kid=f"unknown-{number}"), "no such key")
    assert len(world.web.asked) == 2


async def test_when_the_issuer_is_down_its_keys_go_on_counting(world: World) -> None:
    await world.issuer.verify(world.token())
    world.web.down = True
    world.clock.advance(7_200)
    await world.issuer.verify(world.token())
    await world.refused(world.token(kid="new"), "no such key")
    await world.issuer.verify(world.token())


async def test_those_with_a_known_key_do_not_wait_for_a_slow_issuer(world: World) -> None:
    await world.issuer.verify(world.token())
    world.web.wait = asyncio.Event()
    world.clock.advance(7_200)
    slow = asyncio.create_task(world.issuer.verify(world.token(kid="new")))
    await until(lambda: len(world.web.asked) == 3)
    await asyncio.wait_for(world.issuer.verify(world.token()), 5)
    assert not slow.done()
    world.web.wait.set()
    with pytest.raises(Unauthenticated):
        await slow


async def test_an_issuer_that_was_never_there_is_nobodys_fault(world: World) -> None:
    world.web.down = True
    with pytest.raises(Upstream) as away:
        await world.issuer.verify(world.token())
    assert away.value.retry_after_s == 10
    world.web.down = False
    with pytest.raises(Upstream):
        await world.issuer.verify(world.token())  # asked again only after 10 s
    world.clock.advance(10)
    await world.issuer.verify(world.token())


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://other.example", "jwks_uri": "https://login.example/keys"},
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": "http://login.example/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": 5},
        [],
        b"<html>",
    ],
)
async def test_an_issuer_that_says_something_odd_gives_no_keys(world: World, about: Any) -> None:
    world.web.pages[ISSUER + "/.well-known/openid-configuration"] = about
    with pytest.raises(Upstream):
        await world.issuer.verify(world.token())


@pytest.mark.parametrize("keys", [{}, {"keys": {}}, [], b"\xff"])
async def test_what_are_no_keys_leaves_the_old_ones(world: World, keys: Any) -> None:
    await world.issuer.verify(world.token())
    world.web.pages["https://login.example/keys"] = keys
    world.clock.advance(10)
    await world.refused(world.token(kid="new"), "no such key")
    await world.issuer.verify(world.token())


async def answering(answer: bytes) -> tuple[str, Callable[[], Awaitable[None]]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)

    async def close() -> None:
        server.close()
        await server.wait_closed()

    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys", close


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", None),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/x\r\ncontent-length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", "status 500"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b" " * 2_000_000, "more than"),
        (b"no HTTP", "cannot be reached"),
    ],
)
async def test_an_issuer_is_read_within_limits(answer: bytes, said: str | None) -> None:
    url, close = await answering(answer)
    try:
        if said is None:
            assert await fetch_over_http(url) == b"{}"
            return
        with pytest.raises(Upstream) as failed:
            await fetch_over_http(url)
        assert said in failed.value.detail
    finally:
        await close()
    with pytest.raises(Upstream):
        await fetch_over_http(url)  # nobody is there any more


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (it is about turns of the loop)
            await asyncio.sleep(0)
