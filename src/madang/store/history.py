# SPDX-License-Identifier: Apache-2.0
"""The history part of the Store port: the change log read as the evolution of entities over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from madang.model.temporal.history import (
    AggregatedEvolution,
    HistoryFound,
    HistoryPage,
    HistoryQuestion,
    HistoryReading,
    HistoryState,
    HistoryVersion,
)
from madang.model.temporal.query import Aggregation


class HistoryStore(Protocol):
    """Reading of the history; it is written with the change log (`Writes`). An unknown tenant has no history."""

    async def history_find(self, tenant: str, question: HistoryQuestion) -> HistoryFound:
        """Return the page of entities, with or without a current state, that have history as asked."""

    async def history_read(self, tenant: str, ids: Sequence[str], reading: HistoryReading) -> HistoryPage:
        """Return the instances in the window, each in its latest version."""

    async def history_aggregate(
        self, tenant: str, ids: Sequence[str], reading: HistoryReading, aggregation: Aggregation
    ) -> list[AggregatedEvolution]:
        """Return aggregated values as `madang.model.temporal.aggregation` defines them."""

    async def history_state(self, tenant: str, id: str) -> HistoryState | None:
        """Return what is known of the history of an entity; None when it has none."""

    async def history_version(self, tenant: str, id: str, attribute: str, instance: int) -> HistoryVersion | None:
        """Return the version in force of an instance; None when the attribute has no such instance."""

    async def history_sequences(
        self, tenant: str, id: str, attribute: str, *, dataset: str | None = None, all_datasets: bool = False
    ) -> tuple[list[int], bool]:
        """Return the sequences of the instances of an attribute, and whether it has instances of any dataset."""

    async def history_same(self, tenant: str, id: str, keys: Sequence[tuple[str, str | None, int]]) -> list[int]:
        """Return the sequences of the instances with one of the given (attribute, dataset, observed_us)."""
