# SPDX-License-Identifier: Apache-2.0
"""The tables of the embedded store, as numbered forward-only steps."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import apsw

from madang.base.errors import Unsupported

APPLICATION_ID = 0x4D414447  # "MADG", so that `file` and sqlite3 can tell whose database this is

# Each step brings the schema from number i to i + 1; a released step is never changed, only followed by another.
STEPS: tuple[str, ...] = (
    """
    CREATE TABLE tenant (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    INSERT INTO tenant (key, name) VALUES (1, '');

    -- attribute names and dataset ids, so that a change row holds small numbers in place of long texts
    CREATE TABLE name (key INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

    -- body: JSONB of the canonical document; NULL when only history is left.
    -- expires_us: the earliest expiresAt of the entity and its attributes.
    CREATE TABLE entity (
        key INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, id TEXT NOT NULL, body BLOB, expires_us INTEGER,
        UNIQUE (tenant, id));
    CREATE INDEX entity_tenant ON entity (tenant, key) WHERE body IS NOT NULL;
    CREATE INDEX entity_past ON entity (tenant) WHERE body IS NULL;
    CREATE INDEX entity_expires ON entity (expires_us) WHERE expires_us IS NOT NULL;

    -- only entities that have a current state; the id is kept here too so that a page of ids is one index walk
    CREATE TABLE entity_type (
        tenant INTEGER NOT NULL, type TEXT NOT NULL, key INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (tenant, type, key)) WITHOUT ROWID;

    -- the change log, which is also the history. batch: the first sequence of the rows that one request
    -- wrote about one entity. value: JSON of the whole canonical instance. number: its value where that is a number.
    CREATE TABLE change (
        sequence INTEGER PRIMARY KEY, batch INTEGER NOT NULL, tenant INTEGER NOT NULL, time_us INTEGER NOT NULL,
        operation INTEGER NOT NULL, entity INTEGER, attribute INTEGER, dataset INTEGER, observed_us INTEGER,
        number REAL, value TEXT, who TEXT, package TEXT, hidden INTEGER NOT NULL DEFAULT 0, instance INTEGER);
    -- An entity's creation is one row with the whole document as value; the sequences of its changes are set aside.
    -- The index holds all that an aggregation needs, so that one over 100,000 points never touches the table.
    CREATE INDEX change_history ON change (entity, attribute, observed_us, number, dataset)
        WHERE hidden = 0 AND entity IS NOT NULL;

    -- every other thing that is kept: subscriptions, contexts, registrations, snapshots …
    CREATE TABLE record (
        key INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
        UNIQUE (tenant, kind, id));

    CREATE TABLE bookmark (reader TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;

    -- the values of attributes that were declared as indexed; see value_index.py
    CREATE TABLE value_attribute (
        key INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, attribute TEXT NOT NULL, UNIQUE (tenant, attribute));
    CREATE TABLE value_number (
        attribute INTEGER NOT NULL, value NOT NULL, kind INTEGER NOT NULL, entity INTEGER NOT NULL,
        PRIMARY KEY (attribute, value, kind, entity)) WITHOUT ROWID;
    CREATE TABLE value_text (
        attribute INTEGER NOT NULL, value TEXT NOT NULL, kind INTEGER NOT NULL, entity INTEGER NOT NULL,
        PRIMARY KEY (attribute, value, kind, entity)) WITHOUT ROWID;
    CREATE TABLE value_time (
        attribute INTEGER NOT NULL, value INTEGER NOT NULL, kind INTEGER NOT NULL, entity INTEGER NOT NULL,
        PRIMARY KEY (attribute, value, kind, entity)) WITHOUT ROWID;
    -- the attribute is a third dimension of the tree, so that one tree serves all of them
    CREATE VIRTUAL TABLE value_box USING rtree (
        id, west, east, south, north, attribute_low, attribute_high, +entity);
    -- which rows of the tree belong to an entity: a tree is searched by place only
    CREATE TABLE value_place (
        id INTEGER PRIMARY KEY, attribute INTEGER NOT NULL, entity INTEGER NOT NULL, place TEXT NOT NULL,
        UNIQUE (attribute, entity, place));
    """,
)


def look(path: str) -> None:
    """Look into the file alone, if there is one; this touches nothing at all, not even what lies beside it.

    Raises: what `check_owner` raises; apsw.Error: it is no database.
    """
    if not Path(path).exists():
        return
    connection = apsw.Connection(
        f"file:{quote(path)}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    try:
        check_owner(connection)
    finally:
        connection.close()


def check_owner(connection: apsw.Connection) -> None:
    """Read whose database it is.

    Raises: Unsupported: it was written by a newer version, or is some other program's database.
    """
    version = connection.pragma("user_version")
    application = connection.pragma("application_id")
    if application not in (0, APPLICATION_ID) or (application == 0 and _has_tables(connection)):
        raise Unsupported("The file is an SQLite database, but not one of Madang; name another data folder")
    if version > len(STEPS):
        raise Unsupported(
            f"The data was written by a newer version of Madang (schema {version}, this version knows up to "
            f"{len(STEPS)}); install that version or name another data folder"
        )


def migrate(connection: apsw.Connection) -> None:
    """Bring the database, whose owner was checked, to the schema of this version, in one transaction."""
    version = connection.pragma("user_version")
    if version == len(STEPS):
        return
    with connection:
        for step in STEPS[version:]:
            connection.execute(step)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", len(STEPS))


def _has_tables(connection: apsw.Connection) -> bool:
    return connection.execute("SELECT count(*) FROM sqlite_schema").fetchall() != [(0,)]
