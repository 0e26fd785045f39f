"""One PostgreSQL cluster for each process of tests; a test makes a database of its own in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from madang.testing.postgres import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster().start()
    yield cluster
    cluster.close()
