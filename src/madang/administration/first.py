# SPDX-License-Identifier: Apache-2.0
"""The page behind the one-time link: a button, and behind it the first administrator's token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from madang.administration.manners import answer, without_body
from madang.wire.http import Request, Response, Route

if TYPE_CHECKING:
    from madang.core.first_administrator import FirstAdministrator

# The page loads nothing, runs nothing, and nobody keeps a copy of it or of its address.
_HEADERS: Final = [
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
]
_PAGE: Final = """<!doctype html>
<html lang="ko">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>마당 · Madang</title>
<style>
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 38rem; margin: 4rem auto; padding: 0 1rem; }}
button {{ font: inherit; padding: .6rem 1.2rem; }}
code {{ display: block; padding: 1rem; background: #eee; color: #000; overflow-wrap: anywhere; user-select: all; }}
</style>
</head>
<body>
<main>
{content}
</main>
</body>
</html>
"""
_ASK: Final = """<h1>첫 관리자</h1>
<p>단추를 누르면 이 허브의 첫 관리자 토큰을 만듭니다. 토큰은 한 번만 보여 주고, 이 링크는 그때 끝납니다.</p>
<p lang="en">The button makes the token of this hub's first administrator. It is shown once, and ends this link.</p>
<form method="post"><button>토큰 만들기 · <span lang="en">Make the token</span></button></form>"""
_SHOW: Final = """<h1>관리자 토큰</h1>
<p>지금 안전한 곳에 적어 두세요. 다시 볼 수 없습니다.</p>
<p lang="en">Keep it in a safe place now: it cannot be shown again.</p>
<code id="token">{token}</code>
<p><span lang="en">Use:</span> <code>Authorization: Bearer {token}</code></p>"""


def routes(first: FirstAdministrator) -> list[Route]:
    """Return the routes of the link; whoever has it is let in."""

    async def ask(request: Request) -> Response:
        await first.check(request.parameters["secret"])
        return Response(200, _PAGE.format(content=_ASK).encode(), list(_HEADERS))

    async def make(request: Request) -> Response:
        await without_body(request)
        secret, token = await first.use(request.parameters["secret"])
        if _wants_json(request):
            return answer(201, {"token": secret, "id": token.id, "roles": list(token.roles)})
        return Response(201, _PAGE.format(content=_SHOW.format(token=secret)).encode(), list(_HEADERS))

    return [
        Route(("GET",), "/first-administrator/{secret}", ask, public=True),
        Route(("POST",), "/first-administrator/{secret}", make, public=True),
    ]


def _wants_json(request: Request) -> bool:
    accept = request.header("accept") or ""
    return "application/json" in accept and "text/html" not in accept
