# SPDX-License-Identifier: Apache-2.0
"""The settings tree and the catalogue of messages."""

from __future__ import annotations

import string
from dataclasses import fields
from pathlib import Path

import pytest

from madang.base.messages import CATALOGUE, Messages
from madang.base.settings import SettingInvalid, Settings, is_loopback, store_name
from madang.cli import demo


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
        ({"access": "ajar"}, "setting_invalid"),
        ({"speed": "0"}, "setting_invalid"),
        ({"speed": "nan"}, "setting_invalid"),
        ({"host": ""}, "setting_invalid"),
        ({"workers": "2"}, "workers_sqlite"),
        ({"workers": "2", "store": "sqlite"}, "workers_sqlite"),
        ({"store": ""}, "store_unknown"),
        ({"store": "oracle"}, "store_unknown"),
        ({"store": "mysql://reader:secret@db/city"}, "store_unknown"),
        ({"store": "postgresql"}, "store_unknown"),
        ({"store": "postgresql://hub:secret@db"}, "store_invalid"),
        ({"store": "postgresql://hub:secret@db:5432/"}, "store_invalid"),
        ({"store": "postgresql://hub:secret@db:x/city"}, "store_invalid"),
        ({"store": "postgresql://hub:secret@db:0/city"}, "store_invalid"),
        ({"store": "postgresql://hub:secret@/city"}, "store_invalid"),
        ({"store": "postgresql:///city"}, "store_invalid"),
        ({"store": "postgresql://hub:sec/ret@db/city"}, "store_invalid"),
        ({"store": "postgresql://hub:secret/1@db/city"}, "store_invalid"),
        ({"store": "postgresql://hub:12/secret@db/city"}, "store_invalid"),
        ({"store": "postgresql://hub:secret#1@db/city"}, "store_invalid"),
        ({"store": "postgresql://[secret@db/city"}, "store_invalid"),
        ({"store": "postgresql://hub:secret@db/city\n"}, "store_invalid"),
        ({"rate_per_s": "-1"}, "setting_invalid"),
        ({"rate_per_s": "nan"}, "setting_invalid"),
        ({"rate_burst": "1.5"}, "setting_invalid"),
        ({"quota_per_day": "-1"}, "setting_invalid"),
        ({"oidc_roles_claim": ""}, "setting_invalid"),
        ({"oidc_issuer": "https://login.example"}, "oidc_audience_missing"),
        ({"oidc_issuer": "login.example", "oidc_audience": "a"}, "oidc_issuer_invalid"),
        ({"oidc_issuer": "http://login.example", "oidc_audience": "a"}, "oidc_issuer_invalid"),
        ({"oidc_issuer": "http://10.0.0.1:8080", "oidc_audience": "a"}, "oidc_issuer_invalid"),
        ({"oidc_issuer": "https://", "oidc_audience": "a"}, "oidc_issuer_invalid"),
        ({"oidc_issuer": "https://[secret", "oidc_audience": "a"}, "oidc_issuer_invalid"),
        ({"oidc_issuer": "https://a:secret@login.example", "oidc_audience": "a"}, "oidc_issuer_invalid"),
        ({"oidc_issuer": "https://login.example/?a=b", "oidc_audience": "a"}, "oidc_issuer_invalid"),
        ({"host": "10.0.0.1", "access": "open"}, "access_loopback"),
        ({"host": "example.org", "access": "open"}, "access_loopback"),
    ],
)
def test_what_makes_no_sense_stops_the_start(flags: dict[str, str | None], message: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        Settings.read(flags, {})
    assert refused.value.message == message
    for catalogue in (Messages("en"), Messages("ko")):
        line = catalogue.line(refused.value.message, **refused.value.values)
        assert line
        assert "secret" not in line
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "flags",
    [
        {"host": "10.0.0.1"},
        {"host": "0.0.0.0"},  # noqa: S104 (a closed hub may listen anywhere)
        {"host": "::1", "access": "open"},
        {"oidc_issuer": "https://login.example/realms/city", "oidc_audience": "madang"},
        {"oidc_issuer": "http://localhost:9400", "oidc_audience": "madang"},
        {"rate_per_s": "0", "rate_burst": "0", "quota_per_day": "0"},
    ],
)
def test_what_makes_sense_is_taken(flags: dict[str, str | None]) -> None:
    assert Settings.read(flags, {}) != Settings.read({}, {"MADANG_PORT": "1"})


def test_a_hub_is_closed_unless_somebody_says_otherwise() -> None:
    assert Settings().access == "closed"
    assert Settings.read({}, {"MADANG_ACCESS": "open"}).access == "open"


@pytest.mark.parametrize(
    ("store", "shown"),
    [
        ("sqlite", "sqlite"),
        ("postgresql://hub:secret@db/city", "db/city"),
        ("postgres://hub:se%40cret@db.example:5433/city?sslmode=require", "db.example:5433/city"),
        ("postgresql://hub@[::1]:5432/ci%20ty?password=secret", "[::1]:5432/ci ty"),
        ("postgresql:///city?host=/run/postgresql&user=secret", "/run/postgresql/city"),
    ],
)
def test_of_a_database_only_host_and_name_are_shown(store: str, shown: str) -> None:
    settings = Settings.read({"workers": "1" if store == "sqlite" else "4"}, {"MADANG_STORE": store})
    assert settings.store == store
    assert store_name(settings.store) == shown
    assert "cret" not in repr(settings)


def test_every_setting_says_what_it_is() -> None:
    for item in fields(Settings):
        assert item.metadata["help"]
        assert callable(item.metadata["read"])


def test_a_demo_plays_into_no_database() -> None:
    settings = Settings.read({}, {"MADANG_STORE": "postgresql://hub@db/city", "MADANG_WORKERS": "4"})
    played = demo._for_a_demo(settings)
    assert (played.store, played.workers) == ("sqlite", 1)


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
