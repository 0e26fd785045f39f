# SPDX-License-Identifier: Apache-2.0
"""The query language of clause 4.9: the front door of its tree, parser, renderer and evaluation."""

from __future__ import annotations

from madang.model.query.q_match import LinkedDocuments, matches
from madang.model.query.q_parse import parse, parse_path
from madang.model.query.q_render import render
from madang.model.query.q_tree import (
    And,
    Expression,
    Kind,
    Link,
    Literal,
    Node,
    Or,
    Path,
    Range,
    Term,
    attribute_names,
    conjunction,
    link_depth,
    names_attribute,
    separate_links,
    terms_of,
)

__all__ = [
    "And",
    "Expression",
    "Kind",
    "Link",
    "LinkedDocuments",
    "Literal",
    "Node",
    "Or",
    "Path",
    "Range",
    "Term",
    "attribute_names",
    "conjunction",
    "link_depth",
    "matches",
    "names_attribute",
    "parse",
    "parse_path",
    "render",
    "separate_links",
    "terms_of",
]
