# SPDX-License-Identifier: Apache-2.0
"""The tokens of a hub that runs, through its API."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from madang.cli.exit_codes import EXIT_FAILED, EXIT_REFUSED

if TYPE_CHECKING:
    from madang.model.entity import Json

_ROOT: Final = "/madang/v1"
_WAIT_S: Final = 30.0
_BYTES_MAX: Final = 64 * 1024 * 1024


class Refused(Exception):
    """The action is not carried out; `message` and `values` name the line that says why."""

    def __init__(self, message: str, code: int = EXIT_REFUSED, **values: object) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.values = values


class _Stay(urllib.request.HTTPRedirectHandler):
    """Nobody else gets to see the administrator's token."""

    def redirect_request(self, *_: Any) -> None:
        return None


class TokensOfHub:
    """Asks the hub at a URL with an administrator's token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/") + _ROOT
        self._token = token
        self._opener = urllib.request.build_opener(_Stay)

    async def create(self, body: Json) -> Json:
        return await asyncio.to_thread(self._ask, "POST", "/tokens", body)

    async def list(self) -> Sequence[Json]:
        found: Sequence[Json] = await asyncio.to_thread(self._ask, "GET", "/tokens")
        return found

    async def revoke(self, id: str) -> None:
        await asyncio.to_thread(self._ask, "DELETE", f"/tokens/{quote(id, safe='')}")

    def _ask(self, method: str, path: str, body: Json = None) -> Json:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 (checked)
        try:
            with self._opener.open(request, timeout=_WAIT_S) as response:
                text = response.read(_BYTES_MAX)
            return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:
                raise Refused("token_refused", reason=_reason(error)) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Refused("token_hub_away", EXIT_FAILED, reason=f"{reason}"[:200]) from None
        except ValueError:
            raise Refused("token_no_hub", EXIT_FAILED) from None


def _reason(error: urllib.error.HTTPError) -> str:
    """Return what the hub says is wrong."""
    try:
        problem = json.loads(error.read(_BYTES_MAX))
        reason = f"{problem['detail']} ({error.code})"
    except (ValueError, KeyError, TypeError, OSError):
        return f"the server answered with status {error.code}"
    return "".join(character if character.isprintable() else " " for character in reason)[:500]
