# SPDX-License-Identifier: Apache-2.0
"""The tables of the value index: the values of attributes that were declared as indexed."""

from __future__ import annotations

from typing import Final

VALUE_TABLES: Final = """
    CREATE TABLE value_attribute (
        key integer PRIMARY KEY, tenant integer NOT NULL, attribute text NOT NULL, UNIQUE (tenant, attribute));
"""
