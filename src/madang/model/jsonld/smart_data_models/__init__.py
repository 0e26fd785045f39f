# SPDX-License-Identifier: Apache-2.0
"""The contexts of Smart Data Models subjects that are built in; SOURCE.md says where they come from."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

import orjson

from madang.model.entity import Json

SUBJECTS: Final = frozenset(
    {
        *("Alert", "Building", "DCAT-AP", "Device", "Environment", "Parking", "ParksAndGardens", "PointOfInterest"),
        *("Streetlighting", "Transportation", "UrbanMobility", "WasteManagement", "Weather"),
    }
)
_URL = re.compile(
    r"https://(?:raw\.githubusercontent\.com/smart-data-models/dataModel\.(?P<raw>[\w-]+)/(?:refs/heads/)?master"
    r"|smart-data-models\.github\.io/dataModel\.(?P<page>[\w-]+))/context\.jsonld",
    re.ASCII,
)


def smart_data_model_url(subject: str) -> str:
    """Return the address under which the context of a subject is published."""
    return f"https://raw.githubusercontent.com/smart-data-models/dataModel.{subject}/master/context.jsonld"


def smart_data_model_document(url: str) -> dict[str, Json] | None:
    """Return the built-in context document for the address of a published one; None when there is none."""
    found = _URL.fullmatch(url)
    subject = found and (found["raw"] or found["page"])
    return _document(subject) if subject in SUBJECTS else None


@cache
def _document(subject: str) -> dict[str, Json]:
    document: dict[str, Json] = orjson.loads((files(__package__) / f"{subject}.jsonld").read_bytes())
    return document
