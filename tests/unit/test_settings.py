# SPDX-License-Identifier: Apache-2.0
"""The settings tree and the catalogue of messages."""

from __future__ import annotations

import string
from dataclasses import fields
from pathlib import Path

import pytest

from madang.base.messages import CATALOGUE, Messages
from madang.base.settings import SettingInvalid, Settings, is_loopback


def test_without_anything_the_defaults_count() -> None:
    settings = Settings.read({}, {})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.workers, settings.data) == (
        "127.0.0.1",
        8080,
        1,
        Path("madang-data"),
    )
    assert settings.allow_private_addresses is False


def test_a_flag_wins_over_the_environment_over_the_default() -> None:
    environment = {"MADANG_PORT": "9000", "MADANG_HOST": "::1", "MADANG_ALLOW_PRIVATE_ADDRESSES": "1"}
    settings = Settings.read({"port": "9001", "host": None}, environment)
    assert (settings.port, settings.host, settings.allow_private_addresses) == (9001, "::1", True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"port": "x"}, "setting_invalid"),
        ({"port": "70000"}, "setting_invalid"),
        ({"port": "-1"}, "setting_invalid"),
        ({"workers": "0"}, "setting_invalid"),
        ({"access": "closed"}, "setting_invalid"),
        ({"speed": "0"}, "setting_invalid"),
        ({"speed": "nan"}, "setting_invalid"),
        ({"host": ""}, "setting_invalid"),
        ({"workers": "2"}, "workers_sqlite"),
        ({"store": "postgresql://localhost/x"}, "store_later"),
        ({"store": "oracle"}, "store_unknown"),
        ({"host": "10.0.0.1"}, "access_loopback"),
        ({"host": "example.org"}, "access_loopback"),
    ],
)
def test_what_makes_no_sense_stops_the_start(flags: dict[str, str | None], message: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        Settings.read(flags, {})
    assert refused.value.message == message
    for catalogue in (Messages("en"), Messages("ko")):
        assert catalogue.line(refused.value.message, **refused.value.values)


def test_every_setting_says_what_it_is() -> None:
    for item in fields(Settings):
        assert item.metadata["help"]
        assert callable(item.metadata["read"])


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x", False)],
)
def test_loopback_is_told_from_all_else(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_every_message_stands_in_both_languages_with_the_same_values() -> None:
    for key, texts in CATALOGUE.items():
        assert set(texts) == {"en", "ko"}, key
        names = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in texts.values()]
        assert names[0] == names[1], key


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "ko_KR.UTF-8", "MADANG_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "MADANG_LANG": "ko"}, "ko"),
    ],
)
def test_the_language_follows_the_environment(environment: dict[str, str], expected: str) -> None:
    assert Messages.of(environment).language == expected
