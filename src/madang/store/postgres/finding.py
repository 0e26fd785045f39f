# SPDX-License-Identifier: Apache-2.0
"""How the store finds entities, and what it keeps so that it finds them fast."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from madang.base.errors import BadRequestData, TenantNotFound
from madang.model.query.model import EntityQuery, Found
from madang.store.index_lookups import is_sendable
from madang.store.postgres.attribute_uses import AttributeUses, attribute_uses
from madang.store.postgres.connections import as_store_failed
from madang.store.postgres.narrow import narrow, ordered, page_sql, type_names
from madang.store.postgres.reading import Reading
from madang.store.postgres.schema import TAKE_POSITION
from madang.store.postgres.sql import numbered

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

    from madang.store.postgres.connections import Connections
    from madang.store.postgres.names import Names, Tenants
    from madang.store.postgres.narrow import Narrowed
    from madang.store.postgres.value_index import ValueIndex

_TYPES: Final = "SELECT type, count(*) FROM entity_type WHERE tenant = $1 GROUP BY type"
_NEXT_GENERATION: Final = "UPDATE log_position SET generation = generation + 1 WHERE id = 1"


class PostgresFinding:
    """A part of `PostgresStore`."""

    connections: Connections
    names: Names
    tenant_names: Tenants
    value_index: ValueIndex

    async def find(self, tenant: str, query: EntityQuery) -> Found:
        key = await self.tenant_names.key(tenant)
        narrowed = None if key is None else narrow(query, key, await self.names.keys(type_names(query)))
        if key is None or narrowed is None:
            return Found([], 0 if query.count else None)
        page = await self._page_by_form(narrowed)
        if page is not None:
            return page
        async with self._snapshot() as connection:
            indexed: Mapping[str, int] = {}
            if narrowed.parts or query.geo is not None or query.order:
                indexed = await self._indexed(connection, key)
            return await Reading(connection, narrowed, indexed).find()

    async def _page_by_form(self, narrowed: Narrowed) -> Found | None:
        """Answer a question about ids and types, the commonest of all, with one statement; None when it is another."""
        query, place = narrowed.query, narrowed.place
        order = ordered(query.order, place.tenant, {})
        if narrowed.asks_more or narrowed.parts or narrowed.pattern is not None or query.count or order is None:
            return None
        text, parameters = numbered(page_sql(place.rows(bodies=False), order, query.limit + 1, query.offset))
        ids = [id for (id,) in await self.connections.fetch(text, *parameters)]
        return Found(ids[: query.limit], None, len(ids) > query.limit)

    async def type_names(self, tenant: str) -> list[tuple[str, int]]:
        key = await self.tenant_names.key(tenant)
        rows = [] if key is None else await self.connections.fetch(_TYPES, key)
        names = await self.names.texts({type_ for type_, _ in rows})
        return sorted((names[type_], count) for type_, count in rows)

    async def attribute_uses(self, tenant: str) -> tuple[int, AttributeUses]:
        """Return the sequence of the last change counted, and (types, attribute, attribute type, instances) rows."""
        key = await self.tenant_names.key(tenant)
        async with self._snapshot() as connection:
            return await attribute_uses(connection, 0 if key is None else key, self.names)

    @contextlib.asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection on which all statements see the same state."""
        async with (
            self.connections.reading() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    # ------------------------------------------------------------------ declared indexes

    async def _indexed(self, connection: asyncpg.Connection, tenant: int) -> Mapping[str, int]:
        """Return the declared attributes as the snapshot has them: another worker may have dropped one just now."""
        declared = self.value_index.declared(tenant)
        if not declared:
            return declared
        rows = await connection.fetch("SELECT key FROM value_attribute WHERE tenant = $1", tenant)
        there = {key for (key,) in rows}
        return {name: key for name, key in declared.items() if key in there}

    async def indexes(self, tenant: str) -> list[str]:
        key = await self.tenant_names.key(tenant)
        return [] if key is None else sorted(self.value_index.declared(key))

    async def declare_index(self, tenant: str, attribute: str) -> None:
        if not is_sendable(attribute):
            raise BadRequestData("The name of an attribute holds the character U+0000 or half a surrogate pair")
        async with self._changing_indexes(tenant) as (connection, key):
            if await self.value_index.declare(connection, key, attribute):
                await connection.execute(_NEXT_GENERATION)

    async def drop_index(self, tenant: str, attribute: str) -> None:
        async with self._changing_indexes(tenant) as (connection, key):
            if is_sendable(attribute) and await self.value_index.drop(connection, key, attribute):
                await connection.execute(_NEXT_GENERATION)

    @contextlib.asynccontextmanager
    async def _changing_indexes(self, tenant: str) -> AsyncIterator[tuple[asyncpg.Connection, int]]:
        """Keep the writers of all workers waiting, and look the declarations up again afterwards."""
        key = await self.tenant_names.key(tenant)
        if key is None:
            raise TenantNotFound(f"There is no tenant {tenant!r}")
        connection = self.connections.observed(await self.connections.connect("index"))
        try:
            with as_store_failed():
                async with connection.transaction():
                    await connection.fetchrow(TAKE_POSITION)
                    await connection.execute("SET LOCAL statement_timeout = 0")
                    yield connection, key
        finally:
            await connection.close()
        await self.value_index.read(self.connections)
