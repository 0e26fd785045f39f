"""One PostgreSQL cluster for each process of tests; a test makes a database of its own in it.

Every statement that a test of this folder makes the store send is looked at (`sharding`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from madang.store.postgres.connections import Connections
from madang.testing.postgres import Cluster
from tests.contract.sharding import copy_faults, faults_of


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster().start()
    yield cluster
    cluster.close()


@pytest.fixture(autouse=True)
def look_at_statements(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.node.get_closest_marker("unwatched") is not None:
        yield
        return
    faulty: dict[str, tuple[str, ...]] = {}

    def look(sql: str, copied: list[str] | None = None) -> None:
        faults = faults_of(sql) if copied is None else copy_faults(sql, copied)
        if faults:
            faulty[sql] = faults

    monkeypatch.setattr(Connections, "observe", staticmethod(look))
    yield
    assert faulty == {}
