# SPDX-License-Identifier: Apache-2.0
"""What a cache tells about itself to whoever watches the hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class CacheCounts:
    """Since the process began; `size_bytes` is what the cache holds now, as it estimates."""

    size_bytes: Callable[[], int]
    hits: int = 0
    misses: int = 0
