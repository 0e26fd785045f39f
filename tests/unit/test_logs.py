# SPDX-License-Identifier: Apache-2.0
"""The log in both forms: what is in a line, and what never is."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from madang.base import logs
from madang.base.logs import REQUEST, JsonFormatter, RequestNote, TextFormatter, mark, note_caller

SECRET = "kim-minsu-010"


def record(name: str, words: str, *args: object, fault: bool = False) -> logging.LogRecord:
    info = None
    if fault:
        try:
            os.environ[SECRET]
        except KeyError:
            info = sys.exc_info()
    return logging.LogRecord(name, logging.WARNING, "place.py", 12, words, args, info)


@pytest.fixture
def request_note() -> Iterator[RequestNote]:
    note = RequestNote("abc-1")
    token = REQUEST.set(note)
    yield note
    REQUEST.reset(token)


FORMATTERS = [TextFormatter(), JsonFormatter(3)]


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_of_an_exception_only_class_and_places_are_written(formatter: logging.Formatter) -> None:
    line = formatter.format(record("madang.core", "it failed", fault=True))
    assert "KeyError" in line
    assert "test_logs.py" in line
    assert SECRET not in line
    assert "\n" not in line


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("name", ["asyncio", "httpcore.http11", "madangx", "py.warnings"])
def test_of_a_library_only_the_place_is_written(formatter: logging.Formatter, name: str) -> None:
    line = formatter.format(record(name, f"sent {SECRET} to %s", SECRET, fault=True))
    assert SECRET not in line
    assert "place.py:12" in line


def test_a_json_line_is_an_object_with_all_that_belongs_to_the_record(request_note: RequestNote) -> None:
    about = record("madang.requests", "request")
    about.values = {"status": 200, "route": "/entities/{entity_id}"}
    line = json.loads(JsonFormatter(3).format(about))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "madang.requests",
        "message": "request",
        "worker": 3,
        "status": 200,
        "route": "/entities/{entity_id}",
        "request_id": request_note.id,
    }
    assert "status=200 route=/entities/{entity_id} request_id=abc-1" in TextFormatter().format(about)


def test_the_kind_of_caller_is_kept_with_the_request_and_lost_without_one(request_note: RequestNote) -> None:
    note_caller("token")
    assert request_note.caller == "token"
    token = REQUEST.set(None)
    note_caller("oidc")
    REQUEST.reset(token)
    assert request_note.caller == "token"


def test_a_mark_tells_things_apart_and_does_not_name_them() -> None:
    assert mark("t", SECRET) == mark("t", SECRET)
    assert len({mark("t", SECRET), mark("t" + SECRET), mark("", SECRET), mark(SECRET, "t")}) == 4
    assert SECRET not in mark("t", SECRET)


@pytest.fixture
def own_logging() -> Iterator[None]:
    root, hub = logging.getLogger(), logging.getLogger("madang")
    handlers, level, hub_level = root.handlers[:], root.level, hub.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    hub.setLevel(hub_level)


@pytest.mark.usefixtures("own_logging")
def test_configured_for_debug_the_hub_says_all_and_libraries_only_complain(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logs.configure("debug", "json", worker=2)
    logging.getLogger("madang.core").debug("said")
    logging.getLogger("httpcore").info("unsaid %s", SECRET)
    logging.getLogger("httpcore").warning("complained %s", SECRET)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["logger"], line["worker"]) for line in lines] == [("madang.core", 2), ("httpcore", 2)]
    assert SECRET not in out.getvalue()


async def test_a_task_that_fails_with_nobody_waiting_is_told_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    logs.follow_loop(loop)
    loop.call_exception_handler({"message": SECRET, "exception": ValueError(SECRET)})
    loop.call_exception_handler({"message": SECRET})
    said = [JsonFormatter(1).format(each) for each in caplog.records]
    assert len(said) == 2
    assert "ValueError" in said[0]
    assert SECRET not in "".join(said)
