# SPDX-License-Identifier: Apache-2.0
"""The embedded store keeps the contract of histories."""

from __future__ import annotations

from pathlib import Path

import pytest

from madang.store.sqlite.store import SqliteStore
from madang.testing.history_contract import HistoryContract
from madang.testing.store_contract import Opener


class TestSqliteHistory(HistoryContract):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        async def open_store() -> SqliteStore:
            store = SqliteStore(tmp_path)
            await store.open()
            return store

        return open_store
