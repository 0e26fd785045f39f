# SPDX-License-Identifier: Apache-2.0
"""All settings of the hub in one frozen value: flag over MADANG_… variable over default, read once at the start."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from madang.base.errors import InvalidInput
from madang.base.limits import TEMPORAL_INSTANCES_PER_ATTRIBUTE_MAX

VARIABLE_PREFIX: Final = "MADANG_"
STORE_IN_FOLDER: Final = "sqlite"
STORE_SCHEMES: Final = ("postgresql", "postgres")


class SettingInvalid(InvalidInput):
    """A setting that stops the start; `message` and `values` name its line in `madang.base.messages`."""

    title = "The settings are not valid"

    def __init__(self, message: str, detail: str, *, where: str, values: Mapping[str, object] | None = None) -> None:
        super().__init__(detail, where=where)
        self.message = message
        self.values = dict(values or {})


def _about(read: Callable[[str], Any], help: str, *, unit: str = "") -> dict[str, Any]:
    return {"read": read, "help": help, "unit": unit}


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
            raise ValueError(f"allowed are whole numbers {low} to {high}")
        return int(text)

    return read


def _positive(text: str) -> float:
    number = float(text)
    if not 0.0 < number < 1e9:
        raise ValueError("allowed are numbers above 0")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0.0 <= number < 1e9:
        raise ValueError("allowed are numbers from 0")
    return number


def _switch(text: str) -> bool:
    if text not in ("0", "1", "false", "true"):
        raise ValueError("allowed are 0, 1, false and true")
    return text in ("1", "true")


def _word(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"allowed are {', '.join(allowed)}")
        return text

    return read


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("it is empty or holds control characters")
    return text


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings tree. The variable of `host` is MADANG_HOST, its flag --host, and so on."""

    data: Path = field(default=Path("madang-data"), metadata=_about(Path, "folder that holds everything the hub keeps"))
    # An address may hold a password: it is in no representation; `store_name` is what may be shown.
    store: str = field(
        default=STORE_IN_FOLDER,
        repr=False,
        metadata=_about(
            str, "where facts rest: sqlite (a file in the data folder), or postgresql://USER@HOST:PORT/DATABASE"
        ),
    )
    store_wait_s: float = field(
        default=60.0,
        metadata=_about(_positive, "how long a start waits for a database that does not answer", unit="seconds"),
    )
    host: str = field(default="127.0.0.1", metadata=_about(_text, "address to listen on"))
    port: int = field(default=8080, metadata=_about(_whole(0, 65535), "port to listen on; 0 picks a free one"))
    workers: int = field(
        default=1,
        metadata=_about(_whole(1, 64), "serving processes; SQLite has one, PostgreSQL as many as there are cores"),
    )
    access: str = field(
        default="closed",
        metadata=_about(
            _word("closed", "open"),
            "closed: with a token or a log-in; open: everybody may do everything, on a loopback address only",
        ),
    )
    oidc_issuer: str = field(
        default="",
        metadata=_about(str, "URL of the OpenID Connect issuer whose log-ins count; empty: none"),
    )
    oidc_audience: str = field(
        default="", metadata=_about(str, "whom the issuer's tokens must be made for (their aud); needed with an issuer")
    )
    oidc_roles_claim: str = field(
        default="roles",
        metadata=_about(_text, "where the issuer's tokens name roles, with dots between; Keycloak: realm_access.roles"),
    )
    rate_per_s: float = field(
        default=0.0,
        metadata=_about(
            _not_negative, "requests a caller may make on average; 0: as many as it likes", unit="per second"
        ),
    )
    rate_burst: int = field(
        default=0,
        metadata=_about(_whole(0, 1_000_000), "requests a caller may make at once; 0: those of one second"),
    )
    quota_per_day: int = field(
        default=0,
        metadata=_about(_whole(0, 999_999_999), "requests a caller may make in a day (UTC); 0: as many as it likes"),
    )
    speed: float = field(
        default=1.0, metadata=_about(_positive, "how fast the demo city's days go by", unit="times real time")
    )
    city: str = field(
        default="daejeon", metadata=_about(_text, "what the demo plays: a city folder, or the name of an example")
    )
    allow_private_addresses: bool = field(
        default=False,
        metadata=_about(_switch, "fetch @contexts from, and notify to, private and loopback addresses"),
    )
    public_url: str = field(
        default="",
        metadata=_about(str, "scheme, host and port under which clients reach the hub; empty: as it listens"),
    )
    context: str = field(
        default="",
        metadata=_about(
            str, "@context of requests that name none, as URLs with commas between; empty: the core @context alone"
        ),
    )
    sweep_s: float = field(
        default=0.5, metadata=_about(_positive, "pause between two looks for what has expired", unit="seconds")
    )
    temporal_instances_max: int = field(
        default=TEMPORAL_INSTANCES_PER_ATTRIBUTE_MAX,
        metadata=_about(
            _whole(1, 1_000_000),
            "instances of an attribute in one temporal answer before it becomes a partial one (206)",
        ),
    )
    log: str = field(
        default="warning",
        metadata=_about(_word("error", "warning", "info", "debug"), "what is logged to standard error"),
    )
    log_format: str = field(
        default="text", metadata=_about(_word("text", "json"), "how it is logged: lines to read, or JSON lines")
    )
    metrics: str = field(
        default="protected",
        metadata=_about(
            _word("protected", "public", "off"),
            "who may get /metrics: protected: who may read or administer everything; public: whoever reaches the hub",
        ),
    )

    @classmethod
    def read(cls, flags: Mapping[str, str | None], environment: Mapping[str, str]) -> Settings:
        """Return the settings from flags and environment; a flag that is None was not given.

        Raises: SettingInvalid: a value cannot be read, or two settings contradict each other.
        """
        values = {}
        for item in fields(cls):
            text, where = flags.get(item.name), f"--{item.name}"
            if text is None:
                where = VARIABLE_PREFIX + item.name.upper()
                text = environment.get(where)
            if text is None:
                continue
            try:
                values[item.name] = item.metadata["read"](text)
            except ValueError as error:
                raise SettingInvalid(
                    "setting_invalid",
                    f"{where} {text!r:.80} is not valid: {error}",
                    where=where,
                    values={"where": where, "value": text[:80], "reason": str(error)},
                ) from error
        settings = cls(**values)
        settings.check()
        return settings

    def check(self) -> None:
        """Raise SettingInvalid when settings contradict each other or ask for what does not exist yet."""
        check_store(self.store)
        if self.workers > 1 and self.store == STORE_IN_FOLDER:
            raise SettingInvalid("workers_sqlite", "SQLite has one writing process: --workers 1", where="workers")
        _check_issuer(self.oidc_issuer, self.oidc_audience)
        if self.access == "open" and not is_loopback(self.host):
            raise SettingInvalid(
                "access_loopback",
                f"{self.host} can be reached from outside, and --access open is for loopback only",
                where="host",
                values={"host": self.host[:80]},
            )


def _check_issuer(issuer: str, audience: str) -> None:
    if not issuer:
        return
    try:
        parts = urlsplit(issuer)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    # Whoever can change what the issuer says on its way here can make tokens for everything.
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host is not None and is_loopback(host))
    if not is_safe or host is None or parts.query or parts.fragment or "@" in parts.netloc or not issuer.isprintable():
        raise SettingInvalid(
            "oidc_issuer_invalid",
            "The issuer is an https:// URL; http:// is allowed on loopback only",
            where="oidc_issuer",
        )
    if not audience:
        raise SettingInvalid("oidc_audience_missing", "With an issuer, oidc_audience is needed", where="oidc_audience")


def check_store(store: str) -> None:
    """Raise SettingInvalid when a store is neither SQLite nor the address of a database. No address is repeated."""
    if store == STORE_IN_FOLDER:
        return
    scheme, colon, _ = store.partition(":")
    if not colon or scheme not in STORE_SCHEMES:
        shown = scheme[:20] + (":…" if colon else "")
        raise SettingInvalid("store_unknown", f"{shown!r} is no store", where="store", values={"store": shown})
    reason = _address_fault(store)
    if reason:
        raise SettingInvalid("store_invalid", f"The address: {reason}", where="store", values={"reason": reason})


def _address_fault(store: str) -> str:
    if not store.isprintable() or " " in store:
        return "it holds blanks or control characters"
    try:
        parts = urlsplit(store)
        port = parts.port
    except ValueError:
        return "host and port cannot be read; in a password / @ : # ? are written %2F %40 %3A %23 %3F"
    if parts.fragment or "@" in parts.path:
        return "in a password / @ : # ? are written %2F %40 %3A %23 %3F"
    if not parts.path.strip("/"):
        return "it names no database; it looks like postgresql://USER@HOST:PORT/DATABASE"
    if port == 0 or not (parts.hostname or "host" in parse_qs(parts.query)):
        return "it names no host, or port 0; it looks like postgresql://USER@HOST:PORT/DATABASE"
    return ""


def store_name(store: str) -> str:
    """Return what may be shown of a store: host and database, never user, password or options."""
    if store == STORE_IN_FOLDER:
        return store
    parts = urlsplit(store)
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    host = f"[{host}]" if ":" in host else host
    return (f"{host}:{parts.port}" if parts.port else host) + unquote(parts.path)


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
