"""Every statement that the PostgreSQL store sends could be carried out by a database spread over many machines.

The other tests of this folder run with the same look at each statement (conftest.py); here the look itself is tested.
"""

from __future__ import annotations

import pytest

from tests.contract.sharding import copy_faults, faults_of


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, body FROM entity WHERE tenant = $1 AND id = ANY($2::text[]) AND body IS NOT NULL",
        "SELECT type, count(*) FROM entity_type WHERE tenant = $1 GROUP BY type",
        "SELECT e.id FROM entity_type t JOIN entity e ON e.tenant = t.tenant AND e.id = t.id WHERE t.tenant = $1",
        "SELECT e.id FROM entity e WHERE e.tenant = $1 "
        "AND e.id IN (SELECT v.id FROM value_number v WHERE v.tenant = $1)",
        "DELETE FROM entity e WHERE e.tenant = $1 AND e.id = $2 "
        "AND NOT EXISTS (SELECT 1 FROM change c WHERE c.tenant = $1 AND c.entity = $2)",
        "INSERT INTO entity (tenant, id, body) SELECT * FROM unnest($1::int[], $2::text[], $3::text[]) "
        "ON CONFLICT (tenant, id) DO UPDATE SET body = excluded.body",
        "SELECT e.id, c.value FROM entity e CROSS JOIN LATERAL (SELECT c.value FROM change c WHERE c.tenant = e.tenant "
        "AND c.entity = e.id ORDER BY c.sequence DESC LIMIT 1) c WHERE e.tenant = $1",
        "SELECT sequence FROM log_position WHERE id = 1 FOR UPDATE",
        "SELECT max(sequence) FROM change WHERE sequence <= $1",
        "COMMIT",
    ],
)
def test_what_each_shard_can_do_alone_passes(sql: str) -> None:
    assert faults_of(sql) == ()


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("SELECT e.id FROM entity e JOIN tenant t ON t.key = e.tenant", "joins what is spread"),
        (
            "SELECT e.id FROM entity e JOIN change c ON c.tenant = e.tenant WHERE e.id = $1",
            "not joined on the entity id",
        ),
        ("SELECT e.id FROM entity e, entity_type t WHERE e.tenant = t.tenant AND e.key = t.key", "not joined"),
        ("SELECT id FROM entity WHERE tenant = $1 FOR UPDATE", "locks rows"),
        ("INSERT INTO change (tenant, sequence) VALUES ($1, $2)", "without their key"),
        ("INSERT INTO entity (tenant, id) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING", "not decided by the key"),
        ("UPDATE entity SET id = $1 WHERE tenant = $2", "moves rows"),
        (
            "SELECT u.id, c.value FROM unnest($1::text[]) AS u(id) CROSS JOIN LATERAL "
            "(SELECT c.value FROM change c WHERE c.tenant = $2 AND c.entity = u.id LIMIT 1) c",
            "its limit for each",
        ),
        ("SELECT FROM WHERE (", "cannot be read"),
    ],
)
def test_what_would_need_rows_of_several_shards_is_refused(sql: str, fault: str) -> None:
    assert any(fault in one for one in faults_of(sql)), faults_of(sql)


def test_a_copy_has_to_bring_the_key() -> None:
    assert copy_faults("change", ["tenant", "entity", "value"]) == ()
    assert copy_faults("change", ["tenant", "value"]) != ()
    assert copy_faults("record", ["kind"]) == ()
