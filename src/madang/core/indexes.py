# SPDX-License-Identifier: Apache-2.0
"""Declared indexes: attributes whose values can be filtered and ordered without a scan."""

from __future__ import annotations

from madang.base.errors import LimitExceeded, NotFound, TenantNotFound
from madang.base.limits import INDEXED_ATTRIBUTES_MAX
from madang.core.writer import Writer
from madang.model.access import Right
from madang.store.port import Store


class Indexes:
    """The verbs over declared indexes of a tenant, for its administrators. Names of attributes are canonical."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def listed(self, tenant: str) -> list[str]:
        """Return the attributes with an index, by name. Raises: TenantNotFound. Denied (all verbs)."""
        self._know(tenant)
        return await self._store.indexes(tenant)

    async def declare(self, tenant: str, attribute: str) -> None:
        """Index the attribute's values and positions, of what is stored and what is to come.

        Raises:
            LimitExceeded: INDEXED_ATTRIBUTES_MAX attributes are indexed already; each index costs on every write.
        """
        self._know(tenant)
        declared = await self._store.indexes(tenant)
        if attribute in declared:
            return
        if len(declared) >= INDEXED_ATTRIBUTES_MAX:
            raise LimitExceeded(f"{len(declared)} attributes are indexed already; drop one before declaring another")
        await self._store.declare_index(tenant, attribute)

    async def drop(self, tenant: str, attribute: str) -> None:
        """Forget the index. Raises: NotFound: it is not declared."""
        if attribute not in await self.listed(tenant):
            raise NotFound(f"No index is declared over the attribute {attribute!r}", where="attribute")
        await self._store.drop_index(tenant, attribute)

    def _know(self, tenant: str) -> None:
        self._writer.permits.require(Right.ADMINISTER, tenant)
        if not self._writer.has_tenant(tenant):
            raise TenantNotFound(f"There is no tenant {tenant!r}")
