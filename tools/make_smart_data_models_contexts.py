# SPDX-License-Identifier: Apache-2.0
"""Makes the term maps of the Smart Data Models subjects from their JSON Schemas.

    python tools/make_smart_data_models_contexts.py FOLDER

FOLDER holds one folder per subject, in it one per model with its schema.json, and common-schema.json beside them.
The rule is that of the published contexts: a name that the common schema defines belongs to https://smartdatamodels.org/,
every other name, and the type itself, to the subject. Terms of the NGSI-LD core are left out: the core always wins.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from madang.model.jsonld.core_context import CORE_IRIS

TARGET = Path(__file__).parent.parent / "src/madang/model/jsonld/smart_data_models"
ROOT = "https://smartdatamodels.org/"
LEFT_OUT = {*CORE_IRIS, "id", "type"}


def property_names(schema: Any) -> Iterator[str]:
    """Yield the names of all properties defined anywhere in a schema."""
    if isinstance(schema, list):
        for item in schema:
            yield from property_names(item)
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
            for definition in properties.values():
                yield from property_names(definition)
        for key, value in schema.items():
            if key != "properties":
                yield from property_names(value)


def referenced(schema: Any) -> Iterator[str]:
    """Yield the targets of all references in a schema."""
    if isinstance(schema, list):
        for item in schema:
            yield from referenced(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from referenced(value)


def pointed_at(pointer: str, schema: Any) -> Any:
    """Return what a JSON pointer fragment such as "#/definitions/a" names, with the last name around it."""
    names = pointer.strip("/").split("/")
    for name in names:
        schema = schema[name]
    return {"properties": {names[-1]: schema}} if len(names) > 1 and names[-2] == "properties" else schema


@cache
def shared_schema(source: Path, address: str) -> Any:
    """Return the shared schema of an address that ends in dataModel.Subject/name or data-models/name."""
    *_, repository, name = address.split("/")
    if repository == "master":
        repository = address.split("/")[-3]
    subject = repository.partition("dataModel.")[2]
    return json.loads((source / subject / name).read_text("utf-8"))


def follow(source: Path, schema: Any) -> Iterator[str]:
    """Yield the names of the properties that a schema takes from shared ones, references of references included."""
    seen = set()
    waiting = [(schema, reference) for reference in referenced(schema)]
    while waiting:
        base, reference = waiting.pop()
        address, _, pointer = reference.partition("#")
        if (id(base), reference) in seen or not pointer:
            continue
        seen.add((id(base), reference))
        document = shared_schema(source, address) if address else base
        part = pointed_at(pointer, document)
        yield from property_names(part)
        waiting.extend((document, onward) for onward in referenced(part))


def main(source: Path) -> None:
    common = json.loads((source / "common-schema.json").read_text("utf-8"))
    common_names = {*property_names(common), *(name for name in common["definitions"] if name[0].islower())}
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        terms: set[str] = set()
        for model in sorted(folder.glob("*/schema.json")):
            schema = json.loads(model.read_text("utf-8"))
            terms.add(model.parent.name)
            terms.update(property_names(schema), follow(source, schema))
        context = {
            term: ROOT + (term if term in common_names else f"dataModel.{folder.name}/{term}")
            for term in sorted(terms - LEFT_OUT)
            if not term.startswith("@")
        }
        text = json.dumps({"@context": context}, indent=1, ensure_ascii=False)
        (TARGET / f"{folder.name}.jsonld").write_text(text + "\n", "utf-8")
        print(f"{folder.name}: {len(context)} terms")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
