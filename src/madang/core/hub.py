# SPDX-License-Identifier: Apache-2.0
"""The core as one value: what the roof builds and every room is handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from madang.base.clock import Clock
    from madang.core.caches import CacheCounts
    from madang.core.consumption import Consumption
    from madang.core.contexts import Contexts
    from madang.core.discovery import Discovery
    from madang.core.entity_maps import EntityMaps
    from madang.core.history import History
    from madang.core.provision import Provision
    from madang.core.snapshots import Snapshots
    from madang.core.subscriptions import Subscriptions
    from madang.core.writer import Writer
    from madang.store.port import Store


@dataclass(slots=True)
class Core:
    """All verbs of the hub. Each is a class of its own module with constructor arguments, joined in `madang.app`."""

    store: Store
    clock: Clock
    writer: Writer
    contexts: Contexts
    provision: Provision
    consumption: Consumption
    discovery: Discovery
    history: History
    subscriptions: Subscriptions
    entity_maps: EntityMaps
    snapshots: Snapshots
    caches: dict[str, CacheCounts] = field(default_factory=dict)  # by what they hold, for whoever watches the hub
