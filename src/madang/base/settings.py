# SPDX-License-Identifier: Apache-2.0
"""All settings of the hub in one frozen value: flag over MADANG_… variable over default, read once at the start."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from madang.base.errors import InvalidInput
from madang.base.limits import TEMPORAL_INSTANCES_PER_ATTRIBUTE_MAX

VARIABLE_PREFIX: Final = "MADANG_"
STORE_IN_FOLDER: Final = "sqlite"


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
    store: str = field(
        default=STORE_IN_FOLDER, metadata=_about(_text, "where facts rest: sqlite (a file in the data folder)")
    )
    host: str = field(default="127.0.0.1", metadata=_about(_text, "address to listen on"))
    port: int = field(default=8080, metadata=_about(_whole(0, 65535), "port to listen on; 0 picks a free one"))
    workers: int = field(default=1, metadata=_about(_whole(1, 64), "serving processes; SQLite has one"))
    access: str = field(default="open", metadata=_about(_word("open"), "open: no log-in, on a loopback address only"))
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
        if self.store.startswith(("postgresql:", "postgres:")):
            raise SettingInvalid("store_later", "The PostgreSQL store comes with a later version", where="store")
        if self.store != STORE_IN_FOLDER:
            values = {"store": self.store[:80]}
            raise SettingInvalid("store_unknown", f"{self.store!r:.80} is no store", where="store", values=values)
        if self.workers > 1:
            raise SettingInvalid("workers_sqlite", "SQLite has one writing process: --workers 1", where="workers")
        if not is_loopback(self.host):
            raise SettingInvalid(
                "access_loopback",
                f"{self.host} can be reached from outside, and --access open is for loopback only",
                where="host",
                values={"host": self.host[:80]},
            )


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
