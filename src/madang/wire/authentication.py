# SPDX-License-Identifier: Apache-2.0
"""Who calls is asked before anything else of a request is looked at; what he may do is decided by core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from madang.base.errors import Denied, Unauthenticated
from madang.base.logs import note_caller
from madang.model.access import ANONYMOUS, OPEN, Caller, reaches
from madang.wire.http import Request

if TYPE_CHECKING:
    from madang.core.access import Access

_TENANT_HEADER: Final = "ngsild-tenant"


class Admit(Protocol):
    """Says for whom a request is carried out."""

    async def __call__(self, request: Request, *, tenantless: bool) -> Caller:
        """Return the caller.

        Args:
            request: of which only the headers count.
            tenantless: any grant in any tenant is enough, as the resource is about no tenant.

        Raises: Unauthenticated, Denied, TooManyRequests: the request is not carried out.
        """


async def everybody(request: Request, *, tenantless: bool) -> Caller:  # noqa: ARG001 (everybody is everybody)
    """Admit whoever comes to everything: `--access open`, and applications that have nothing to guard."""
    return OPEN


class Gate:
    """Admits callers that `Access` knows, as often as they may come."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._rates = access.rates

    async def admit(self, request: Request, *, tenantless: bool) -> Caller:
        """Return who calls, if the caller has a grant in the tenant that the request is for.

        Raises: Unauthenticated, Denied, TooManyRequests. Upstream: the issuer is needed and was never reached.
        """
        try:
            who = await self._access.authenticate(request.header("authorization"))
        except Unauthenticated:
            # Trying out tokens costs as much as what a caller without one does.
            note_caller(ANONYMOUS.kind)
            self._rates.count(ANONYMOUS, request.address)
            raise
        note_caller(who.kind)
        self._rates.count(who, request.address)
        if reaches(who, request.header(_TENANT_HEADER) or "") or (tenantless and who.grants):
            return who
        if who.kind == ANONYMOUS.kind:
            raise Unauthenticated("This hub is closed; send a token in the header Authorization: Bearer TOKEN")
        if tenantless:
            return who
        raise Denied("You have no grant in this tenant", where="NGSILD-Tenant")
