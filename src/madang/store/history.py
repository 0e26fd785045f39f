# SPDX-License-Identifier: Apache-2.0
"""The history part of the Store port: the change log read as the evolution of entities over time."""

from __future__ import annotations

from typing import Protocol


class HistoryStore(Protocol):
    """CONTRACT: owned by the temporal work; add the methods the temporal API needs."""
