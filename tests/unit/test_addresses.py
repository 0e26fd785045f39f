"""Which network addresses may be called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.base.errors import BadRequestData, InvalidInput, Upstream
from madang.core.addresses import check_address, is_public, split_url


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "fe80::1%eth0"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b:1::a00:1"),
    ],
)
def test_addresses_that_are_not_on_the_public_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_on_the_public_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "relative",
            "/path",
            "ftp://example.org/",
            "file:///etc/passwd",
            "http://",
            "http:///path",
            "http:example",
        ),
        *("http://user:password@example.org/", "http://user@example.org/", "http://example.org:99999/", "http://[::1"),
        *(
            "http://example.org/a b",
            "http://example.org/\n",
            "http://예시.kr/",
            "gopher://a/",
            "http://a/" + "x" * 3000,
        ),
        *(None, 7, ["http://example.org/"]),
    ],
)
def test_what_is_no_url_to_call(url: object) -> None:
    with pytest.raises(BadRequestData):
        split_url(url)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_an_invalid_input(text: str) -> None:
    try:
        parts = split_url("http://" + text)
    except InvalidInput:
        return
    assert parts.hostname


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://localhost:1/", "http://[::1]/", "http://2130706433/", "https://10.0.0.1/"]
)
async def test_private_addresses_are_refused_unless_allowed(url: str) -> None:
    with pytest.raises(BadRequestData, match="MADANG_ALLOW_PRIVATE_ADDRESSES"):
        await check_address(url, allow_private=False)
    assert (await check_address(url, allow_private=True)).addresses


async def test_the_port_follows_from_the_scheme() -> None:
    assert (await check_address("https://8.8.8.8/", allow_private=False)).port == 443
    assert (await check_address("http://8.8.8.8:8080/", allow_private=False)).port == 8080
    assert (await check_address("mqtt://8.8.8.8", allow_private=False, schemes=("mqtt",))).port == 1883


async def test_an_unknown_host_is_a_fault_of_the_others() -> None:
    with pytest.raises(Upstream, match="could not be found"):
        await check_address("http://nowhere.invalid/", allow_private=True)
