# SPDX-License-Identifier: Apache-2.0
"""The log on standard error, as text or as JSON lines, without a value that somebody sent or that names somebody.

What the hub logs is made of constant words, numbers, route templates and names of classes. Three rules keep the rest
out, whoever logs: of an exception only the class and the places in the code are written, never its text; of libraries
only warnings are written, and only where they come from; and what has to be told apart without being named, such as
subscriptions, is written as a mark.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from types import TracebackType

OWN: Final = "madang"


@dataclass(slots=True)
class RequestNote:
    """What the log tells of the request that a task works for."""

    id: str
    caller: str = ""  # its kind, once it is known


REQUEST: Final[ContextVar[RequestNote | None]] = ContextVar("request", default=None)

_MARK_KEY: Final = secrets.token_bytes(16)


def note_caller(kind: str) -> None:
    """Have the line of the request at hand tell what kind of caller it was."""
    note = REQUEST.get()
    if note is not None:
        note.caller = kind


def mark(*names: str) -> str:
    """Return what tells a thing apart from others in this process's log without saying which it is.

    The key is made anew by each process and kept nowhere, so that a mark cannot be turned back by trying names.
    """
    return blake2b("\0".join(names).encode("utf-8", "surrogatepass"), key=_MARK_KEY, digest_size=6).hexdigest()


def configure(level: str, form: str, *, worker: int = 1) -> None:
    """Log to standard error from now on.

    Args:
        level: of the hub's own records; of libraries only warnings and errors are written.
        form: "text" or "json".
        worker: which of the hub's serving processes this is.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(worker) if form == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN).setLevel(level.upper())
    logging.captureWarnings(capture=True)


def fault_of(kind: type[BaseException] | None, trace: TracebackType | None) -> str:
    """Return the class of an exception and the places it came through, innermost first; nothing of its text."""
    places = traceback.extract_tb(trace)
    frames = [f"{place.filename.rpartition('/')[2]}:{place.lineno} {place.name}" for place in places]
    name = "nothing" if kind is None else kind.__name__
    return f"{name} at {' < '.join(reversed(frames))}" if frames else name


class Loop(Protocol):
    """The part of an event loop that reports what went wrong."""

    def set_exception_handler(self, handler: Callable[[Any, dict[str, Any]], object] | None, /) -> None: ...


def follow_loop(loop: Loop) -> None:
    """Have the loop report what nobody waited for through this log: its own words would quote exceptions."""

    def report(_: object, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        info = (type(error), error, error.__traceback__) if isinstance(error, BaseException) else None
        logging.getLogger(OWN).error("a task failed and nobody waited for it", exc_info=info)

    loop.set_exception_handler(report)


class TextFormatter(logging.Formatter):
    """One line for a person: time, level, logger, words, then what belongs to the record as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        values = "".join(f" {name}={value}" for name, value in _values(record).items())
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{moment}.{int(record.msecs):03d}Z {record.levelname} {record.name}: {_words(record)}{values}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, worker, and what belongs to the record."""

    def __init__(self, worker: int) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _words(record),
            "worker": self._worker,
            **_values(record),
        }
        return json.dumps(line, ensure_ascii=False)


def _words(record: logging.LogRecord) -> str:
    if record.name == OWN or record.name.startswith(OWN + "."):
        return record.getMessage()
    # What a library has to say may quote anything that came in.
    return f"a library reported something at {record.filename}:{record.lineno}"


def _values(record: logging.LogRecord) -> dict[str, object]:
    values: dict[str, object] = dict(getattr(record, "values", ()))
    note = REQUEST.get()
    if note is not None:
        values["request_id"] = note.id
    if record.exc_info and record.exc_info[0] is not None:
        values["fault"] = fault_of(record.exc_info[0], record.exc_info[2])
    return values
