# SPDX-License-Identifier: Apache-2.0
"""The tables of the value index: the values of attributes that were declared as indexed."""

from __future__ import annotations

from typing import Final

VALUE_TABLES: Final = """
    -- A key is never given twice, so that what a worker still holds of a dropped index finds nothing of another one.
    CREATE TABLE value_attribute (
        key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant integer NOT NULL, attribute text NOT NULL);
    CREATE UNIQUE INDEX value_attribute_name ON value_attribute (tenant, md5(attribute));

    -- kind: what a row may answer, see index_rows.py. value: NaN, which comes after all numbers, for a first instance
    -- that is something else. rest: what a large integer has more than the double next to it.
    CREATE TABLE value_number (
        tenant integer NOT NULL, id text COLLATE "C" NOT NULL, attribute integer NOT NULL,
        value double precision NOT NULL, rest smallint NOT NULL, kind smallint NOT NULL,
        PRIMARY KEY (attribute, value, rest, kind, id));
    -- value: the beginning of a text; kind -1 where U+0000, which no column can hold, ended it.
    CREATE TABLE value_text (
        tenant integer NOT NULL, id text COLLATE "C" NOT NULL, attribute integer NOT NULL,
        value text COLLATE "C" NOT NULL, kind smallint NOT NULL, PRIMARY KEY (attribute, value, kind, id));
    -- value: microseconds since 1970 UTC
    CREATE TABLE value_time (
        tenant integer NOT NULL, id text COLLATE "C" NOT NULL, attribute integer NOT NULL,
        value bigint NOT NULL, kind smallint NOT NULL, PRIMARY KEY (attribute, value, kind, id));
    -- place: the box of a place in degrees, moved to the east by the attribute's key, so that one tree serves all
    -- attributes (value_index.py)
    CREATE TABLE value_box (
        tenant integer NOT NULL, id text COLLATE "C" NOT NULL, attribute integer NOT NULL, number integer NOT NULL,
        place box NOT NULL, PRIMARY KEY (attribute, id, number));
    CREATE INDEX value_box_place ON value_box USING gist (place);
"""
