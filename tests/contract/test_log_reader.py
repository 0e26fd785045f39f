"""What a reader of the log is told is what the writer told its own process, however far the reader is behind."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from madang.app import open_hub
from madang.base.settings import Settings
from madang.core.changes import LogReader
from madang.model.change import EntityCommit
from madang.model.subscription_matching import delta_of
from madang.testing.client import Client
from madang.testing.postgres import Cluster

Json = dict[str, Any]
NAMES = ("a", "b", "c")


def _attribute(chance: random.Random) -> Any:
    plain: Json = {"type": "Property", "value": chance.randint(0, 3)}
    other: Json = {"type": "Property", "value": chance.randint(0, 3), "datasetId": "urn:d:1"}
    choices: list[Any] = [plain, plain, other, [plain, other]]
    return chance.choice(choices)


def _step(chance: random.Random) -> tuple[str, str, Json | None]:
    id = f"urn:e:{chance.randint(0, 5)}"
    some = {name: _attribute(chance) for name in chance.sample(NAMES, chance.randint(1, 2))}
    whole = {"id": id, "type": "T", **some, **({"scope": "/x"} if chance.random() < 0.3 else {})}
    steps: list[tuple[str, str, Json | None]] = [
        ("POST", "/entities", whole),
        ("POST", f"/entities/{id}/attrs", some),
        ("PATCH", f"/entities/{id}", some),
        ("PATCH", f"/entities/{id}", {"type": ["T", "U"]}),
        ("PATCH", f"/entities/{id}", {"expiresAt": "2099-01-01T00:00:00Z"}),
        ("PUT", f"/entities/{id}", whole),
        ("DELETE", f"/entities/{id}/attrs/{chance.choice(NAMES)}?deleteAll=true", None),
        ("DELETE", f"/entities/{id}", None),
    ]
    return chance.choice(steps)


def _told(commit: EntityCommit) -> Json:
    """Return of a commit what a notification may depend on."""
    delta = delta_of(commit)
    if delta is None:
        return {"commit": commit.commit}
    return {
        "commit": commit.commit,
        "last": commit.sequence_last,
        "entity": commit.entity,
        "kinds": (delta.types, delta.created, delta.updated, delta.deleted, delta.entity_created, delta.entity_deleted),
        # What the scope was before is nowhere told of.
        "previous": [
            (one.operation, one.attribute, one.dataset, None if one.attribute == "scope" else one.previous)
            for one in commit.changes
        ],
        "written": [one.value for one in commit.changes if one.attribute is not None],
        "gone": None if commit.after is not None else _plain(commit.before),
    }


def _plain(document: Json | None) -> Json | None:
    """Return what is known of a deleted entity, without when it was changed last, and would have expired."""
    unknown = ("modifiedAt", "expiresAt")
    return None if document is None else {name: value for name, value in document.items() if name not in unknown}


@pytest.mark.parametrize("seed", range(4))
async def test_previous_values_and_what_is_gone_are_the_same(cluster: Cluster, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same steps each time
    settings = Settings(access="open", data=tmp_path, store=cluster.database(), allow_private_addresses=True)
    async with open_hub(settings) as hub:
        client, store = Client(hub.application), hub.core.store
        written: list[EntityCommit] = []
        hub.core.writer.subscribe(written.extend)
        found: list[EntityCommit] = []
        also_found: list[EntityCommit] = []
        near, helped = LogReader(store), LogReader(store)
        hub.core.writer.subscribe(lambda commits: helped.hear(commits) if chance.random() < 0.5 else None)
        start = near_position = helped_position = await store.last_sequence()
        for _ in range(120):
            method, path, body = _step(chance)
            await client.request(method, path, json=body)
            if chance.random() < 0.4:
                near_position = await _read(near, near_position, found)
            if chance.random() < 0.4:
                helped_position = await _read(helped, helped_position, also_found)
        await _read(near, near_position, found)
        await _read(helped, helped_position, also_found)
        assert len(written) > 30
        expected = [_told(commit) for commit in written]
        assert [_told(commit) for commit in found] == expected
        assert [_told(commit) for commit in also_found] == expected
        far: list[EntityCommit] = []
        await _read(LogReader(store), start, far)
        for one, other in zip(far, written, strict=True):
            mine, theirs = _told(one), _told(other)
            assert mine.get("written") == theirs.get("written")
            assert mine.get("previous") == theirs.get("previous")


async def _read(reader: LogReader, position: int, found: list[EntityCommit]) -> int:
    while (own := reader.next_own(position)) is not None:
        found.append(own)
        position = own.sequence_last
    async for last, commits in reader.pages(position):
        found += commits
        position = last
    return position
