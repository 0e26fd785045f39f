# SPDX-License-Identifier: Apache-2.0
"""The files of deploy/: what can be held true without the programs that run them."""

from __future__ import annotations

import configparser
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from madang.base.limits import SHUTDOWN_DRAIN_S
from madang.base.settings import VARIABLE_PREFIX, Settings
from madang.cli.exit_codes import EXIT_REFUSED
from madang.cli.serve import KILL_AFTER_S
from tests.yaml_subset import read_yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS = {VARIABLE_PREFIX + item.name.upper(): item for item in fields(Settings)}
# What other programs read: PostgreSQL's client library, and the images of the other services.
OTHERS = {"PGPASSWORD", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS", "BROKER_PASSWORD"}
REFERENCE = re.compile(r"\$\{(\w+)(:?[-?][^}]*)?\}")
SECRETS = re.compile(r"PASSWORD|TOKEN|SECRET|KEY")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found = read_yaml((DEPLOY / "compose.yaml").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def test_the_composition_is_hub_database_and_broker(compose: dict[str, Any]) -> None:
    assert compose["services"].keys() == {"hub", "database", "mosquitto"}
    assert "postgis" in compose["services"]["database"]["image"]
    for name, service in compose["services"].items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        named = [volume.split(":")[0] for volume in service["volumes"] if not volume.startswith(".")]
        assert named, name
        assert set(named) <= compose["volumes"].keys(), name
    for service in compose["services"].values():
        for volume in service["volumes"]:
            if volume.startswith("."):
                assert (DEPLOY / volume.split(":")[0]).is_file(), volume
    assert compose["services"]["hub"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    build = compose["services"]["hub"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_every_variable_is_a_setting_that_the_hub_reads(compose: dict[str, Any]) -> None:
    environment = compose["services"]["hub"]["environment"]
    assert environment.keys() <= SETTINGS.keys() | {"PGPASSWORD"}
    for name, value in environment.items():
        if name in SETTINGS and not REFERENCE.search(value):
            SETTINGS[name].metadata["read"](value)
    for service in compose["services"].values():
        assert service.get("environment", {}).keys() <= SETTINGS.keys() | OTHERS


def test_nothing_starts_without_passwords_and_none_has_a_default(compose: dict[str, Any]) -> None:
    given = (DEPLOY / "env.example").read_text("utf-8")
    example = dict(re.findall(r"^(\w+)=(.*)$", given, re.MULTILINE))
    used: dict[str, str] = {}
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            references = REFERENCE.findall(value)
            if SECRETS.search(name):
                assert references, f"{name} has a value of its own"
                assert all(rule.startswith(":?") for _, rule in references), name
            used.update(references)
    assert used.keys() == example.keys()
    for name, rule in used.items():
        if rule.startswith(":?"):
            assert example[name] == "", f"{name} has a default"
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8080:8080"]
    assert re.search(r"^allow_anonymous false$", (DEPLOY / "mosquitto.conf").read_text("utf-8"), re.MULTILINE)


def seconds(text: str) -> int:
    assert text.endswith("s"), text
    return int(text[:-1])


def test_a_stop_leaves_the_time_that_the_hub_takes(compose: dict[str, Any]) -> None:
    assert seconds(compose["services"]["hub"]["stop_grace_period"]) > KILL_AFTER_S > SHUTDOWN_DRAIN_S
    assert int(unit()["Service"]["TimeoutStopSec"]) > KILL_AFTER_S


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "madang.service").read_text("utf-8"))
    return parser


def test_the_unit_restarts_the_hub_unless_it_refuses() -> None:
    service = unit()["Service"]
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(EXIT_REFUSED)
    assert (service["KillSignal"], service["KillMode"]) == ("SIGTERM", "mixed")
    assert service["ExecStart"].split()[1:] == ["serve"]
    names = [setting.split("=")[0] for setting in service["Environment"].split()]
    assert set(names) <= SETTINGS.keys()
    assert service["StateDirectory"] == "madang"
    for wanted in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "DynamicUser", "LockPersonality"):
        assert service[wanted] == "yes", wanted
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""


def test_the_image_is_made_of_checked_packages_and_runs_without_rights() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    lines = text.replace("\\\n", " ").splitlines()
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "-r requirements.lock" in installs[0]
    # What is installed last is the hub itself, with nothing fetched for it.
    assert "--no-deps --no-build-isolation ." in installs[1]
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["madang"]
    assert lines.index("USER madang") < next(n for n, line in enumerate(lines) if line.startswith("ENTRYPOINT"))
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
    set_here = re.findall(rf"({VARIABLE_PREFIX}\w+)=", text)
    assert set_here
    assert set(set_here) <= SETTINGS.keys()


def test_the_locked_build_tool_is_in_the_lock_file() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert re.search(r"^setuptools==", lock, re.MULTILINE)


def test_the_example_for_prometheus_asks_where_the_metrics_are() -> None:
    (job,) = read_yaml((DEPLOY / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["authorization"]["type"] == "Bearer"
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{Settings().port}"]}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'a: "b"\nc:\n  - 1\n  - "x: y"\nd: [a, "b, c"]\ne:\n',
            {"a": "b", "c": ["1", "x: y"], "d": ["a", "b, c"], "e": None},
        ),
        ("# c\na:\n  b:\n    c: d # e\n", {"a": {"b": {"c": "d"}}}),
        ('- a: "1"\n  b:\n    - c: d\n', [{"a": "1", "b": [{"c": "d"}]}]),
    ],
)
def test_the_reader_of_these_tests_reads_what_these_files_use(text: str, expected: Any) -> None:
    assert read_yaml(text) == expected


@pytest.mark.parametrize("text", ["a: &b c", "a: |\n  b", "a: {b: c}", "a: b\na: c", "\ta: b", "a"])
def test_the_reader_of_these_tests_refuses_what_it_does_not_know(text: str) -> None:
    with pytest.raises(ValueError, match="line"):
        read_yaml(text)
