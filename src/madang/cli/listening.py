# SPDX-License-Identifier: Apache-2.0
"""The address a hub listens on, held by the parent and served by the children of `madang serve`."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from madang.base.messages import Messages
    from madang.base.settings import Settings

BACKLOG_CONNECTIONS: Final = 2048


class Refused(Exception):
    """The address cannot be had; the text is the line for the user."""


def listen(settings: Settings, messages: Messages) -> socket.socket:
    """Return the listening socket, inheritable by the child. Raises: Refused: the address cannot be had."""
    host, port = settings.host, settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG_CONNECTIONS)
    except OSError as error:
        listener.close()
        key = {errno.EADDRINUSE: "port_busy", errno.EACCES: "port_denied"}.get(error.errno or 0, "address_unusable")
        raise Refused(messages.line(key, host=host, port=port, reason=error.strerror or error)) from error
    listener.set_inheritable(True)
    return listener


@contextlib.contextmanager
def listening(settings: Settings, messages: Messages) -> Iterator[list[socket.socket]]:
    """Hold a listening socket for each worker, all on one address. Raises: Refused: the address cannot be had.

    The kernel gives each new connection to one of the sockets, evenly, and it stays there until the worker takes it.
    """
    with contextlib.ExitStack() as closing:
        first = closing.enter_context(listen(settings, messages))
        listeners = [first]
        # Shared only now that it listens: a stranger's server on the port has been found out, and none can join later,
        # as every hub begins with a socket that does not share.
        if settings.workers > 1 and sys.platform == "linux":
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        while len(listeners) < settings.workers:
            # Elsewhere the kernel does not spread connections over sockets; there the workers take turns at one.
            another = _another(first) if sys.platform == "linux" else first.dup()
            another.set_inheritable(True)
            listeners.append(closing.enter_context(another))
        yield listeners


def _another(first: socket.socket) -> socket.socket:
    listener = socket.socket(first.family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(first.getsockname()[:2])
    listener.listen(BACKLOG_CONNECTIONS)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL under which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
