# SPDX-License-Identifier: Apache-2.0
"""The address a hub listens on, held by the parent and served by the child of `madang serve`."""

from __future__ import annotations

import errno
import socket
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


def url_of(listener: socket.socket) -> str:
    """Return the URL under which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
