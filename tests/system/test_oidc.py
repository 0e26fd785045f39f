# SPDX-License-Identifier: Apache-2.0
"""Log-ins of a real issuer at a real hub: a person logs in there, and the hub believes what the issuer says."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from madang.testing.served import WAIT_S, Served, wait_until

CLIENT = "madang"
BACK = "http://localhost/back"
TYPES = "/ngsi-ld/v1/types"
ENTITY = {"id": "urn:ngsi-ld:T:1", "type": "T", "p": {"type": "Property", "value": 1}}


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class IssuerProcess:
    """The small issuer of the package oidc-provider-mock, in a process of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._open = urllib.request.build_opener(_Stay).open
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(self._port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, "the issuer did not start")
        return process

    def _answers(self) -> bool:
        try:
            self._open(self.url + "/.well-known/openid-configuration", timeout=WAIT_S).close()
        except OSError:
            return False
        return True

    def person(self, subject: str, **claims: Any) -> None:
        body = json.dumps(claims).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/users/{subject}", body, {"Content-Type": "application/json"}, method="PUT"
        )
        self._open(request, timeout=WAIT_S).close()

    def log_in(self, subject: str, client: str = CLIENT) -> str:
        """Log in as a person does in a browser, and return the ID token that the application gets."""
        question = {"client_id": client, "redirect_uri": BACK, "response_type": "code", "scope": "openid"}
        address = f"{self.url}/oauth2/authorize?{urllib.parse.urlencode(question)}"
        with pytest.raises(urllib.error.HTTPError) as sent_back:
            self._open(address, urllib.parse.urlencode({"sub": subject}).encode(), timeout=WAIT_S)
        with sent_back.value as answer:
            location = answer.headers["location"]
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["code"][0]
        wanted = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": BACK,
            "client_id": client,
            "client_secret": "any",
        }
        with self._open(f"{self.url}/oauth2/token", urllib.parse.urlencode(wanted).encode(), timeout=WAIT_S) as answer:
            token: str = json.load(answer)["id_token"]
        return token

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(WAIT_S)


@pytest.fixture(scope="module")
def issuer() -> Iterator[IssuerProcess]:
    issuer = IssuerProcess()
    yield issuer
    issuer.end()


@pytest.fixture(scope="module")
def hub(issuer: IssuerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = started(tmp_path_factory.mktemp("hub"), issuer)
    yield served
    assert served.stop() == 0
    assert served.errors() == ""
    served.end()


def started(data: Path, issuer: IssuerProcess) -> Served:
    served = Served.start(
        data,
        *("--port", "0", "--access", "closed"),
        MADANG_OIDC_ISSUER=issuer.url,
        MADANG_OIDC_AUDIENCE=CLIENT,
        MADANG_OIDC_ROLES_CLAIM="realm_access.roles",
    )
    served.await_ready()
    return served


def test_a_person_may_do_what_the_roles_say(issuer: IssuerProcess, hub: Served) -> None:
    issuer.person("reader", realm_access={"roles": ["reader", "offline_access"]})
    issuer.person("editor", realm_access={"roles": ["editor@songpa"]})
    reader, editor = issuer.log_in("reader"), issuer.log_in("editor")
    assert hub.request("GET", TYPES, token=reader)[0] == 200
    assert hub.request("POST", "/ngsi-ld/v1/entities", ENTITY, token=reader)[0] == 403
    assert hub.request("GET", TYPES, token=editor)[0] == 403
    status, me = hub.request("GET", "/madang/v1/me", token=editor)
    assert status == 200
    assert me["kind"] == "oidc"
    assert me["id"].startswith("oidc:")
    assert "editor" not in me["id"]
    assert [grant["tenants"] for grant in me["grants"]] == [["songpa"]]


def test_an_administrator_may_come_from_the_issuer(issuer: IssuerProcess, hub: Served) -> None:
    issuer.person("chief", realm_access={"roles": ["administrator"]})
    chief = issuer.log_in("chief")
    status, made = hub.request("POST", "/madang/v1/tokens", {"label": "gate", "roles": ["reader"]}, token=chief)
    assert status == 201
    assert made["createdBy"].startswith("oidc:")
    assert hub.request("GET", TYPES, token=made["token"])[0] == 200


def test_who_has_no_role_may_do_nothing(issuer: IssuerProcess, hub: Served) -> None:
    issuer.person("stranger", realm_access={"roles": ["offline_access"]})
    stranger = issuer.log_in("stranger")
    assert hub.request("GET", TYPES, token=stranger)[0] == 403
    assert hub.request("GET", "/madang/v1/me", token=stranger)[1]["grants"] == []


def test_tokens_for_other_applications_or_that_were_changed_do_not_count(issuer: IssuerProcess, hub: Served) -> None:
    issuer.person("chief", realm_access={"roles": ["administrator"]})
    assert hub.request("GET", TYPES, token=issuer.log_in("chief", client="another"))[0] == 401
    head, body, signature = issuer.log_in("chief").split(".")
    assert hub.request("GET", TYPES, token=f"{head}.{body}.{signature}")[0] == 200
    assert hub.request("GET", TYPES, token=f"{head}.{body[:-4]}AAAA.{signature}")[0] == 401
    assert hub.request("GET", TYPES, token=f"{head}.{body}.{signature[:-8]}AAAAAAAA")[0] == 401
    assert hub.request("GET", TYPES, token=f"{head}.{body}.")[0] == 401


def test_a_hub_outlives_its_issuer(tmp_path: Path) -> None:
    issuer = IssuerProcess()
    hub = None
    try:
        issuer.person("reader", realm_access={"roles": ["reader"]})
        first, second = issuer.log_in("reader"), issuer.log_in("reader")
        hub = started(tmp_path, issuer)
        assert hub.request("GET", TYPES, token=first)[0] == 200
        issuer.end()
        assert hub.request("GET", TYPES, token=first)[0] == 200
        assert hub.request("GET", TYPES, token=second)[0] == 200
        hub.stop()
        hub.end()
        # A hub that starts without its issuer cannot tell, says so, and serves everybody else.
        hub = started(tmp_path, issuer)
        assert hub.request("GET", TYPES, token=first)[0] == 502
        assert hub.request("GET", "/health/ready")[0] == 200
        assert hub.first_link
    finally:
        issuer.end()
        if hub is not None:
            hub.end()
