# SPDX-License-Identifier: Apache-2.0
"""Which network addresses this hub may call: a URL that a stranger gave must not reach the machines beside us."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from madang.base.errors import BadRequestData, Upstream
from madang.base.limits import URL_CHARACTERS_MAX

PORTS_BY_SCHEME = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883}

# RFC 6052 and RFC 8215: an IPv4 address in the last 32 bits, reached through a translator.
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


@dataclass(frozen=True, slots=True)
class CheckedAddress:
    """Where a URL leads. Connect to one of `addresses`, not to `host`: a second look-up could give another answer."""

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]


async def check_address(
    url: str,
    allow_private: bool,
    *,
    schemes: tuple[str, ...] = ("http", "https"),
    where: str | None = None,
) -> CheckedAddress:
    """Return where the URL leads, its host name looked up once.

    Args:
        url: an absolute URL.
        allow_private: allow loopback, private, link-local and other addresses that are not on the public internet.
        schemes: the allowed schemes.
        where: the place in the input that error messages name.
    Raises: BadRequestData: it is no such URL, or leads to an address that is not allowed. Upstream: the name is
    unknown.
    """
    parts = split_url(url, schemes=schemes, where=where)
    host = parts.hostname or ""
    port = parts.port or PORTS_BY_SCHEME[parts.scheme]
    return CheckedAddress(parts.scheme, host, port, await check_host(host, port, allow_private, where=where))


async def check_host(host: str, port: int, allow_private: bool, *, where: str | None = None) -> tuple[str, ...]:
    """Return the addresses of a host name or address, all of them allowed and at least one.

    Raises: BadRequestData: one of them is not allowed. Upstream: the name is not known.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Upstream(f"The host {host:.200} could not be found", where=where) from None
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private:
        for address in addresses:
            if not is_public(address):
                raise BadRequestData(
                    f"{host:.200} is {address}, which is not on the public internet; only public addresses are allowed"
                    " unless the hub is started with MADANG_ALLOW_PRIVATE_ADDRESSES=1",
                    where=where,
                )
    return addresses


def split_url(url: object, *, schemes: tuple[str, ...] = ("http", "https"), where: str | None = None) -> SplitResult:
    """Return the parts of an absolute URL that names a host and carries no password.

    Raises: BadRequestData: it is anything else.
    """
    allowed = f"an absolute URL with the scheme {' or '.join(schemes)}, of at most {URL_CHARACTERS_MAX} characters"
    if not isinstance(url, str) or len(url) > URL_CHARACTERS_MAX or not url.isascii() or _has_blank(url):
        raise BadRequestData(f"{url!r:.100} is not allowed here; allowed is {allowed}, percent-encoded", where=where)
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
    except ValueError:
        raise BadRequestData(f"{url!r:.100} is not a URL; allowed is {allowed}", where=where) from None
    if parts.scheme not in schemes or not parts.hostname:
        raise BadRequestData(f"{url!r:.100} is not allowed here; allowed is {allowed}", where=where)
    if parts.username is not None or parts.password is not None:
        raise BadRequestData("A URL with a user name or password in it is not allowed here", where=where)
    return parts


def is_public(text: str) -> bool:
    """Tell whether an IP address belongs to the public internet, also when it is wrapped into an IPv6 address."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _TRANSLATED):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _has_blank(url: str) -> bool:
    return any(character <= " " or character == "\x7f" for character in url)
