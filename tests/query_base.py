# SPDX-License-Identifier: Apache-2.0
"""A database with nothing but entities, for questions in SQL."""

from __future__ import annotations

import apsw
import orjson

from madang.model.entity import Document, types_of
from madang.store.sqlite import functions
from madang.store.sqlite.schema import migrate
from madang.store.sqlite.value_index import ValueIndex


class QueryBase:
    """A database that is filled anew for every example."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        functions.register(self.connection)
        migrate(self.connection)
        self.index = ValueIndex()
        self.index.open(self.connection)

    def fill(self, found: list[Document]) -> None:
        self.connection.execute("DELETE FROM entity; DELETE FROM entity_type")
        # A neighbour with the same documents, of which nothing may be seen.
        for tenant, first in ((2, 1000), (1, 1)):
            for key, document in enumerate(found, first):
                self.put(tenant, key, document)
        self.connection.execute("INSERT INTO entity VALUES (999, 1, 'urn:x:gone', NULL, NULL)")

    def put(self, tenant: int, key: int, document: Document) -> None:
        body = orjson.dumps(document).decode()
        self.connection.execute(
            "INSERT OR REPLACE INTO entity VALUES (?, ?, ?, jsonb(?), NULL)", (key, tenant, document["id"], body)
        )
        self.connection.execute("DELETE FROM entity_type WHERE key = ?", (key,))
        for name in types_of(document):
            self.connection.execute("INSERT INTO entity_type VALUES (?, ?, ?, ?)", (tenant, name, key, document["id"]))

    def declare(self, names: list[str]) -> None:
        for tenant in (1, 2):
            for name in names:
                self.index.declare(self.connection, tenant, name)

    def forget(self) -> None:
        for tenant in (1, 2):
            for name in list(self.index.declared(tenant)):
                self.index.drop(self.connection, tenant, name)
        left = "SELECT (SELECT count(*) FROM value_number) + (SELECT count(*) FROM value_text) + "
        left += (
            "(SELECT count(*) FROM value_time) + (SELECT count(*) FROM value_box) + (SELECT count(*) FROM value_place)"
        )
        assert self.connection.execute(left).get == 0
