# SPDX-License-Identifier: Apache-2.0
"""One request to one answer: errors, preconditions, echoed headers, adapters."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from madang.base import errors
from madang.base.limits import BODY_BYTES_MAX
from madang.testing.client import Client
from madang.wire import health
from madang.wire.application import Application
from madang.wire.asgi import AsgiApplication
from madang.wire.authentication import everybody
from madang.wire.http import Request, Response, Route
from madang.wire.problems import Refusal, problem_details


async def echo(request: Request) -> Response:
    return Response(200, await request.body(), [("content-type", "text/plain")])


async def fail(request: Request) -> Response:
    raise {
        "input": errors.BadRequestData("The value is wrong", where="/speed"),
        "slow": errors.ContextNotAvailable("Not now", retry_after_s=2.4),
        "refusal": Refusal(Response(415)),
        "fault": KeyError("a person's name"),
    }[request.parameters["how"]]


async def no_faults() -> list[str]:
    return []


TABLE = [
    Route(("GET", "POST", "DELETE"), "/echo", echo),
    Route(("GET",), "/fail/{how}", fail),
    *health.routes("1.2.3", no_faults),
]
APPLICATION = Application(TABLE, admit=everybody, echoed=("ngsild-tenant",))
CLIENT = Client(APPLICATION, root="")


def all_errors(kind: type[errors.HubError] = errors.HubError) -> list[type[errors.HubError]]:
    return [found for child in kind.__subclasses__() for found in (child, *all_errors(child))]


async def test_an_error_becomes_a_problem_document() -> None:
    response = await CLIENT.get("/fail/input", headers={"NGSILD-Tenant": "t"})
    assert response.status == 400
    assert response.headers.pop("x-request-id")
    assert response.headers == {"content-type": "application/json", "ngsild-tenant": "t"}
    assert response.json() == {
        "type": "https://uri.etsi.org/ngsi-ld/errors/BadRequestData",
        "title": "The request contains data that is not allowed",
        "detail": "The value is wrong",
        "status": 400,
        "where": "/speed",
    }


async def test_a_hint_to_wait_becomes_a_header() -> None:
    response = await CLIENT.get("/fail/slow")
    assert (response.status, response.headers["retry-after"]) == (504, "2")


async def test_a_refusal_of_http_has_no_body_but_the_echo() -> None:
    response = await CLIENT.get("/fail/refusal", headers={"ngsild-tenant": "t"})
    assert response.headers.pop("x-request-id")
    assert (response.status, response.content, response.headers) == (415, b"", {"ngsild-tenant": "t"})


async def test_a_fault_is_a_logged_500_that_names_no_person(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = await CLIENT.get("/fail/fault")
    assert response.status == 500
    assert response.json()["type"].endswith("/InternalError")
    id = response.json()["instance"].removeprefix("urn:uuid:").replace("-", "")
    assert id in caplog.text
    assert "KeyError" in caplog.text
    assert "person" not in caplog.text
    assert "person" not in response.content.decode()


def test_every_class_of_the_tree_has_a_row() -> None:
    for kind in all_errors():
        if kind.__module__ == errors.__name__:
            details = problem_details(kind("x"))
            assert 400 <= details["status"] < 600
            assert details["type"].startswith("https://uri.etsi.org/ngsi-ld/errors/")


@pytest.mark.parametrize("method", ["POST"])
async def test_a_body_without_a_length_is_a_bare_411(method: str) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/echo", "query_string": b"", "headers": []}
    await AsgiApplication(APPLICATION)(scope, receive, send)
    assert sent[0]["status"] == 411
    assert sent[1]["body"] == b""
    await AsgiApplication(APPLICATION)({**scope, "method": "DELETE"}, receive, send)
    assert (sent[2]["status"], sent[3]["body"]) == (200, b"x")


async def test_a_body_above_the_limit_is_413() -> None:
    assert (await CLIENT.post("/echo", content=b"x" * (BODY_BYTES_MAX + 1))).status == 413
    assert (await CLIENT.post("/echo", content=b"x", headers={"content-length": "9" * 14})).status == 413
    assert (await CLIENT.post("/echo", content=b"x", headers={"content-length": "-1"})).status == 400
    assert len((await CLIENT.post("/echo", content=b"x" * BODY_BYTES_MAX)).content) == BODY_BYTES_MAX


async def test_other_methods_are_405_with_allow() -> None:
    response = await CLIENT.patch("/echo")
    assert (response.status, response.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, POST")
    assert response.json()["type"].endswith("/OperationNotSupported")
    response = await CLIENT.request("OPTIONS", "/echo")
    assert (response.status, response.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, POST")
    response = await CLIENT.request("HEAD", "/version")
    assert (response.status, response.content) == (200, b"")


async def test_an_unknown_path_is_404() -> None:
    response = await CLIENT.get("/nowhere/\ud800")
    assert response.status == 404
    assert response.json()["type"].endswith("/ResourceNotFound")


async def test_probes_are_answered() -> None:
    assert (await CLIENT.get("/health/live")).json()["status"] == "live"
    assert (await CLIENT.get("/health/ready/")).status == 200
    assert (await CLIENT.get("/version")).json()["version"] == "1.2.3"

    async def faults() -> list[str]:
        return ["The disk is full"]

    ill = Client(Application(health.routes("1", faults), admit=everybody), root="")
    response = await ill.get("/health/ready")
    assert (response.status, response.json()["faults"]) == (503, ["The disk is full"])


async def test_the_asgi_adapter_says_what_the_application_says() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/version", "query_string": b"", "headers": []}
    await AsgiApplication(APPLICATION)(scope, receive, send)
    assert json.loads(sent[1]["body"])["name"] == "madang"
    assert (b"content-length", str(len(sent[1]["body"])).encode()) in sent[0]["headers"]
