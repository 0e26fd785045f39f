# SPDX-License-Identifier: Apache-2.0
"""The writing verbs over a writer that keeps everything in a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from madang.base.clock import FixedClock
from madang.base.errors import AlreadyExists, NotFound, TenantNotFound
from madang.base.times import format_date_time
from madang.core.permits import Permits
from madang.core.provision import Provision
from madang.core.writer import Writer
from madang.model.change import Change, Operation, creation_changes
from madang.model.entity import Document
from madang.model.query import match
from madang.model.query.model import EntityQuery, EntitySelector, Found, TypeSelection

PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"


class _View:
    def attempt(self, act: Callable[[], Any]) -> Any:
        return act()

    def __init__(self, documents: dict[str, Document], keys: Sequence[str], now_us: int) -> None:
        self.documents = dict(documents)
        self.keys = keys
        self.now_us = now_us
        self.now = format_date_time(now_us)
        self.log: list[tuple[str, Sequence[Change]]] = []

    def entity(self, id: str) -> Document | None:
        assert id in self.keys
        return self.documents.get(id)

    def create(self, document: Document) -> None:
        self.put(None, document, creation_changes(document))

    def put(self, before: Document | None, after: Document, changes: Sequence[Change]) -> None:
        assert self.entity(after["id"]) is before
        assert changes
        self.documents[after["id"]] = after
        self.log.append((after["id"], changes))

    def delete(self, before: Document, changes: Sequence[Change]) -> None:
        assert self.documents.pop(before["id"]) is before
        self.log.append((before["id"], changes))


class _Writer:
    def __init__(self) -> None:
        self.permits = Permits()
        self.clock = FixedClock()
        self.documents: dict[str, Document] = {}
        self.tenants = {""}
        self.writes: list[list[tuple[str, Sequence[Change]]]] = []

    async def write(
        self,
        tenant: str,
        keys: Sequence[str],
        decide: Callable[[Any], Any],
        *,
        create_tenant: bool = False,
        itemised: bool = False,
    ) -> Any:
        del itemised  # this writer refuses nothing
        if tenant not in self.tenants:
            if not create_tenant:
                raise TenantNotFound("none")
            self.tenants.add(tenant)
        self.clock.advance(1)
        view = _View(self.documents, keys, self.clock.now_us())
        result = decide(view)
        self.documents = view.documents
        self.writes.append(view.log)
        return result

    async def find(self, _tenant: str, query: EntityQuery) -> Found:
        ids = [id for id, document in self.documents.items() if match.matches(query, document)]
        page = ids[query.offset : query.offset + min(query.limit, 2)]
        return Found(page, more=query.offset + len(page) < len(ids))


@pytest.fixture
def writer() -> _Writer:
    return _Writer()


@pytest.fixture
def provision(writer: _Writer) -> Provision:
    return Provision(cast("Writer", writer), writer.find)


def entity(id: str, **members: Any) -> Document:
    return {"id": id, "type": "T", **members}


def prop(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **more}


def operations(writer: _Writer) -> list[Operation]:
    return [change.operation for _, changes in writer.writes[-1] for change in changes]


async def test_create_makes_the_tenant_and_refuses_a_second_one(writer: _Writer, provision: Provision) -> None:
    await provision.create("new", entity("urn:1", a=prop(1)))
    assert "new" in writer.tenants
    with pytest.raises(AlreadyExists):
        await provision.create("new", entity("urn:1"))
    with pytest.raises(TenantNotFound):
        await provision.batch_upsert("other", [entity("urn:1")])


async def test_an_entity_whose_time_is_over_is_not_there(writer: _Writer, provision: Provision) -> None:
    await provision.create("", entity("urn:1", a=prop(1), expiresAt=PAST))
    for attempt in (
        provision.delete("", "urn:1"),
        provision.update("", "urn:1", {"a": prop(2)}),
        provision.merge("", "urn:1", {"expiresAt": FUTURE}),
    ):
        with pytest.raises(NotFound):
            await attempt
    await provision.create("", entity("urn:1", b=prop(1)))
    assert operations(writer) == [
        Operation.ENTITY_DELETED,
        Operation.ENTITY_CREATED,
        Operation.ATTRIBUTE_CREATED,
    ]
    assert set(writer.documents["urn:1"]) == {"id", "type", "createdAt", "modifiedAt", "b"}


async def test_an_attribute_whose_time_is_over_is_not_there(writer: _Writer, provision: Provision) -> None:
    await provision.create("", entity("urn:1", a=prop(1, expiresAt=PAST), b=prop(1, expiresAt=FUTURE)))
    with pytest.raises(NotFound):
        await provision.partial_update("", "urn:1", "a", [prop(2)])
    await provision.update("", "urn:1", {"a": prop(2)})
    assert operations(writer) == [Operation.ATTRIBUTE_DELETED, Operation.ATTRIBUTE_CREATED]
    assert "expiresAt" not in writer.documents["urn:1"]["a"]


async def test_remove_expired(writer: _Writer, provision: Provision) -> None:
    await provision.create("", entity("urn:1", expiresAt=PAST))
    await provision.create("", entity("urn:2", a=prop(1, expiresAt=PAST), b=prop(1)))
    await provision.create("", entity("urn:3", a=prop(1, expiresAt=FUTURE)))
    assert await provision.remove_expired("", ["urn:1", "urn:2", "urn:3", "urn:4"]) == 2
    assert set(writer.documents) == {"urn:2", "urn:3"}
    assert "a" not in writer.documents["urn:2"]
    assert operations(writer) == [Operation.ENTITY_DELETED, Operation.ATTRIBUTE_DELETED]


async def test_the_type_has_to_fit(writer: _Writer, provision: Provision) -> None:
    await provision.create("", entity("urn:1", a=prop(1)))
    other, same = TypeSelection((("U",),)), TypeSelection((("U",), ("T",)))
    for attempt in (
        provision.delete("", "urn:1", types=other),
        provision.append("", "urn:1", {"b": prop(1)}, types=other),
        provision.update("", "urn:1", {"b": prop(1)}, types=other),
        provision.merge("", "urn:1", {"b": prop(1)}, types=other),
        provision.replace("", "urn:1", entity("urn:1"), types=other),
        provision.partial_update("", "urn:1", "a", [prop(2)], types=other),
        provision.replace_attribute("", "urn:1", "a", [prop(2)], types=other),
        provision.delete_attribute("", "urn:1", "a", types=other),
    ):
        with pytest.raises(NotFound):
            await attempt
    await provision.delete("", "urn:1", types=same)
    assert writer.documents == {}


async def test_a_merge_may_read_the_fragment_with_the_entity_at_hand(writer: _Writer, provision: Provision) -> None:
    await provision.create("", entity("urn:1", a=prop(1)))
    result = await provision.merge("", "urn:1", lambda current: {"a": prop(current["a"]["value"] + 1)})
    assert writer.documents["urn:1"]["a"]["value"] == 2
    assert result.updated == ("a",)


async def test_what_changes_nothing_writes_nothing(writer: _Writer, provision: Provision) -> None:
    await provision.create("", entity("urn:1", a=prop(1)))
    before = writer.documents["urn:1"]
    result = await provision.append("", "urn:1", {"a": prop(2)}, overwrite=False)
    assert [name for name, _ in result.not_updated] == ["a"]
    assert writer.writes[-1] == []
    assert writer.documents["urn:1"] is before


class TestBatch:
    async def test_create_reports_the_second_of_one_id(self, writer: _Writer, provision: Provision) -> None:
        result = await provision.batch_create("new", [entity("urn:1"), entity("urn:2"), entity("urn:1")])
        assert result.created == ("urn:1", "urn:2")
        assert [(each.entity, type(each.error)) for each in result.errors] == [("urn:1", AlreadyExists)]
        assert len(writer.writes) == 1

    async def test_upsert_applies_one_id_in_order(self, writer: _Writer, provision: Provision) -> None:
        await provision.create("", entity("urn:2", x=prop(1), y=prop(1)))
        batch = [
            entity("urn:1", a=prop(1), b=prop(1)),
            entity("urn:2", x=prop(2)),
            entity("urn:1", a=prop(2)),
        ]
        result = await provision.batch_upsert("", batch)
        assert (result.created, result.updated, result.errors) == (("urn:1",), ("urn:2",), ())
        assert [id for id, _ in writer.writes[-1]] == ["urn:1", "urn:2", "urn:1"]
        assert writer.documents["urn:1"]["a"]["value"] == 2
        assert "b" not in writer.documents["urn:1"]
        assert "y" not in writer.documents["urn:2"]

    async def test_upsert_with_update_keeps_other_attributes(self, writer: _Writer, provision: Provision) -> None:
        batch = [entity("urn:1", a=prop(1), b=prop(1)), entity("urn:1", a=prop(2))]
        assert (await provision.batch_upsert("", batch, update=True)).created == ("urn:1",)
        values = {name: writer.documents["urn:1"][name]["value"] for name in "ab"}
        assert values == {"a": 2, "b": 1}

    async def test_update_without_overwrite(self, writer: _Writer, provision: Provision) -> None:
        await provision.create("", entity("urn:1", a=prop(1)))
        batch = [entity("urn:1", a=prop(2), b=prop(2)), entity("urn:2")]
        result = await provision.batch_update("", batch, overwrite=False)
        assert [(each.entity, type(each.error)) for each in result.errors] == [
            ("urn:1", AlreadyExists),
            ("urn:2", NotFound),
        ]
        values = {name: writer.documents["urn:1"][name]["value"] for name in "ab"}
        assert values == {"a": 1, "b": 2}
        assert (await provision.batch_update("", [entity("urn:1", a=prop(2))])).updated == ("urn:1",)

    async def test_merge_and_delete(self, writer: _Writer, provision: Provision) -> None:
        await provision.create("", entity("urn:1", a=prop({"x": 1})))
        result = await provision.batch_merge("", [entity("urn:1", a=prop({"y": 2})), entity("urn:2")])
        assert result.updated == ("urn:1",)
        assert [each.entity for each in result.errors] == ["urn:2"]
        assert writer.documents["urn:1"]["a"]["value"] == {"x": 1, "y": 2}
        result = await provision.batch_delete("", ["urn:1", "urn:1"])
        assert result.updated == ("urn:1",)
        assert [(each.entity, type(each.error)) for each in result.errors] == [("urn:1", NotFound)]
        assert writer.documents == {}


class TestPurge:
    @pytest.fixture
    async def five(self, provision: Provision) -> None:
        await provision.batch_create(
            "", [{"id": f"urn:{n}", "type": "AB"[n % 2], "a": prop(n), "b": prop(n)} for n in range(5)]
        )

    @pytest.mark.usefixtures("five")
    async def test_deletes_all_pages_of_matches(self, writer: _Writer, provision: Provision) -> None:
        query = EntityQuery(selectors=(EntitySelector(types=TypeSelection((("A",),))),))
        assert await provision.purge("", query) == 3
        assert set(writer.documents) == {"urn:1", "urn:3"}

    @pytest.mark.usefixtures("five")
    async def test_drops_and_keeps_attributes(self, writer: _Writer, provision: Provision) -> None:
        assert await provision.purge("", EntityQuery(), drop={"a"}) == 5
        assert all("a" not in document and "b" in document for document in writer.documents.values())
        await provision.purge("", EntityQuery(), keep={"a"})
        assert all("b" not in document for document in writer.documents.values())

    async def test_of_an_unknown_tenant(self, provision: Provision) -> None:
        with pytest.raises(TenantNotFound):
            await provision.purge("unknown", EntityQuery())
