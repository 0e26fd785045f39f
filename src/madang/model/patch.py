# SPDX-License-Identifier: Apache-2.0
"""What each writing operation makes of an entity: the new document and the rows for the change log.

Everything here is a pure function on canonical documents. The given documents stay as they are; the result shares
the parts that did not change, and each change row shares the instance it tells of with the new document.

Three ways to put an attribute instance over one that is there already:

- *replace* (clauses 5.6.2, 5.6.3, 5.5.8): the new instance takes the place of the old one; what is not sent is lost.
- *overlay* (clause 5.6.4): the members that are named replace those of the old instance; the others stay.
- *merge* (clauses 5.6.17, 5.5.12): like overlay, but going down into sub-attributes and JSON values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, TypeAlias

from madang.base.errors import BadRequestData, NotFound
from madang.base.times import try_date_time
from madang.model.change import Change, Operation
from madang.model.entity import (
    ENTITY_MEMBERS,
    INSTANCE_MEMBERS,
    NGSI_LD_NULL,
    VALUE_MEMBERS,
    Document,
    Instance,
    Json,
    as_list,
    one_or_list,
    types_of,
)

_CREATED: Operation = Operation.ATTRIBUTE_CREATED
_UPDATED: Operation = Operation.ATTRIBUTE_UPDATED
_DELETED: Operation = Operation.ATTRIBUTE_DELETED
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEFAULT = "@none"
# NGSI-LD Null as it stands for a scalar, a language map and a list (clause 4.5.0).
_NULL_VALUES: Final = (NGSI_LD_NULL, {_DEFAULT: NGSI_LD_NULL}, [NGSI_LD_NULL])

_holds_no_sub_attributes = INSTANCE_MEMBERS.issuperset
_VALUE_MEMBER_NAMES = frozenset(VALUE_MEMBERS.values())
# Members that say something about the value, so that they go when the type of the attribute changes.
_MEMBERS_OF_TYPE = frozenset(
    {*_VALUE_MEMBER_NAMES, "unitCode", "valueType", "objectType", "lang", "entity", "entityList"}
)
# Value members whose JSON objects a merge goes into (clause 5.5.12); a geometry is replaced as a whole.
_MERGED_MEMBERS = frozenset({"value", "json", "languageMap"})

# Makes the instance to store of the one that is there (None: there is none) and the one that was sent.
Combine: TypeAlias = "Callable[[Instance | None, Instance, str], Instance]"
ScopeRule: TypeAlias = Literal["set", "only_if_present", "add"]


class _Target(NamedTuple):
    """What instances are written to; `changes` is None for sub-attributes, which have no rows of their own."""

    id: str
    now: str
    changes: list[Change] | None


class NotUpdated(NamedTuple):
    """A part of a fragment that was left out (5.2.19)."""

    name: str
    reason: str


class Patched(NamedTuple):
    """What a fragment made of an entity. Without changes, `document` is the one that was given."""

    document: Document
    changes: list[Change]
    updated: list[str]  # names of attributes that were written or deleted
    not_updated: list[NotUpdated]


# --- Whole entities -----------------------------------------------------------------------------------------------


def create(document: Document, now: str) -> Document:
    """Return the entity as it is to be stored (5.6.1); its rows are those of `change.creation_changes`."""
    after = {**document, "createdAt": now, "modifiedAt": now}
    for name, value in document.items():
        if name not in ENTITY_MEMBERS:
            if type(value) is list:
                after[name] = [_stamped(instance, now, now) for instance in value]
            else:
                after[name] = _stamped(value, now, now)
    return after


def replace(before: Document, document: Document, now: str) -> Patched:
    """Return the entity with wholly new content; only its own createdAt stays (5.6.18, upsert in 5.6.8)."""
    id = before["id"]
    after: Document = {**document, "id": id, "createdAt": before["createdAt"], "modifiedAt": now}
    changes = _member_changes(before, after, now)
    updated = []
    for name, value in document.items():
        if name in ENTITY_MEMBERS:
            continue
        updated.append(name)
        existing = before.get(name)
        if type(value) is dict and type(existing) is dict:
            dataset = value.get("datasetId")
            if existing.get("datasetId") == dataset:  # the commonest case: one instance before and after
                after[name] = stamped = _stamped(value, now, now)
                changes.append(Change(_UPDATED, id, name, dataset, _observed_us(value), stamped, existing))
                continue
        old = _by_dataset(existing)
        instances = []
        for instance in value if type(value) is list else [value]:
            stamped = _stamped(instance, now, now)
            instances.append(stamped)
            changes.append(_written(id, name, old.pop(stamped.get("datasetId"), None), stamped))
        changes += [_deleted(id, name, instance, now) for instance in old.values()]
        after[name] = one_or_list(instances)
    for name, value in before.items():
        if name not in ENTITY_MEMBERS and name not in document:
            changes += [_deleted(id, name, instance, now) for instance in as_list(value)]
    if not changes:
        changes.append(_touched(after))
    return Patched(after, changes, updated, [])


def delete(before: Document) -> list[Change]:
    """Return the row that says that the entity is gone (5.6.6)."""
    return [Change(Operation.ENTITY_DELETED, before["id"], None, None, None, None, None)]


def reduce(before: Document, names: Collection[str], now: str, *, keep: bool) -> Patched:
    """Return the entity without the named members, or with no others when `keep` (5.6.21)."""
    changes: list[Change] = []
    updated: list[str] = []
    after: Document = {}
    for name, value in before.items():
        stays = (name in names) is keep
        if stays or (name in ENTITY_MEMBERS and name != "scope"):
            after[name] = value
        elif name == "scope":
            changes.append(_scope_deleted(before, now))
            updated.append(name)
        else:
            changes += [_deleted(before["id"], name, instance, now) for instance in as_list(value)]
            updated.append(name)
    return _patched(before, after, changes, now, updated)


def expire(before: Document, valid: Document, now: str) -> tuple[Document, list[Change]]:
    """Return the entity without what has expired, and the rows that tell of it (4.22).

    `valid` is what `madang.model.transient.live` left of the entity.
    """
    changes: list[Change] = []
    for name, value in before.items():
        if name in ENTITY_MEMBERS or valid.get(name) is value:
            continue
        left = {instance.get("datasetId") for instance in as_list(valid.get(name))}
        for instance in as_list(value):
            if instance.get("datasetId") not in left:
                gone = _deleted(before["id"], name, instance, now)
                # The tombstone expires with the history of the instance, so that it does not outlive what it ends.
                assert gone.value is not None
                changes.append(gone._replace(value={**gone.value, "expiresAt": instance["expiresAt"]}))
    after = {**valid, "modifiedAt": now}
    return after, changes or [_touched(after)]


# --- Fragments of entities ----------------------------------------------------------------------------------------


def append(before: Document, fragment: Document, now: str, *, overwrite: bool = True) -> Patched:
    """Return the entity with the attributes of the fragment added, or replacing those that exist (5.6.3)."""
    return _patch(before, fragment, now, _replaced, overwrite=overwrite, scope="set" if overwrite else "add")


def update(before: Document, fragment: Document, now: str) -> Patched:
    """Return the entity with the attributes of the fragment replaced, added or, by an NGSI-LD Null, deleted (5.6.2)."""
    return _patch(before, fragment, now, _replaced, overwrite=True, scope="only_if_present")


def merge(
    before: Document, fragment: Document, now: str, *, observed_at: str | None = None, lang: str | None = None
) -> Patched:
    """Return the entity with the fragment merged into it at every depth (5.6.17, 5.5.12).

    Merged attributes that have an observedAt and are not sent one get `observed_at`; `lang` is the language of text
    that is sent for a LanguageProperty.

    Raises: BadRequestData: an attribute would be left without a value.
    """

    def combine(existing: Instance | None, instance: Instance, now: str) -> Instance:
        if lang is not None:
            instance = _in_language(existing, instance, lang)
        if observed_at is not None and existing is not None and "observedAt" in existing:
            instance = {"observedAt": observed_at, **instance}
        return _merged(existing, instance, now)

    special = lang is not None or observed_at is not None
    return _patch(before, fragment, now, combine if special else _merged, overwrite=True, scope="set")


def _patch(
    before: Document, fragment: Document, now: str, combine: Combine, *, overwrite: bool, scope: ScopeRule
) -> Patched:
    id = before["id"]
    after = before.copy()
    _patch_members(after, fragment, scope, overwrite=overwrite)
    changes = _member_changes(before, after, now)
    updated: list[str] = []
    not_updated: list[NotUpdated] = []
    if scope == "only_if_present" and "scope" in fragment and "scope" not in before:
        not_updated.append(NotUpdated("scope", "The entity has no scope, and an update does not give it one"))
    target = _Target(id, now, changes)
    for name, sent in fragment.items():
        if name in ENTITY_MEMBERS:
            continue
        value = before.get(name)
        if not overwrite and value is not None:
            kept = _by_dataset(value)
            left = [instance for instance in as_list(sent) if instance.get("datasetId") not in kept]
            if len(left) < len(as_list(sent)):
                reason = "The entity has this attribute already, and noOverwrite keeps it"
                not_updated.append(NotUpdated(name, reason))
            if not left:
                continue
            sent = one_or_list(left)
        result = _write(target, name, value, sent, combine)
        if result is None:
            after.pop(name, None)
        else:
            after[name] = result
        updated.append(name)
    return _patched(before, after, changes, now, updated, not_updated)


def _patched(
    before: Document,
    after: Document,
    changes: list[Change],
    now: str,
    updated: list[str],
    not_updated: list[NotUpdated] | None = None,
) -> Patched:
    if not changes:
        return Patched(before, changes, updated, not_updated or [])
    after["modifiedAt"] = now
    return Patched(after, changes, updated, not_updated or [])


# --- Single attributes --------------------------------------------------------------------------------------------


def partial_update(before: Document, name: str, instances: Sequence[Instance], now: str) -> Patched:
    """Return the entity with members of attribute instances replaced; an NGSI-LD Null deletes (5.6.4).

    Raises:
        NotFound: the entity does not have one of the instances.
        BadRequestData: the type or the value member is not that of the instance.
    """
    return _patch_instances(before, name, instances, now, _overlaid)


def replace_attribute(before: Document, name: str, instances: Sequence[Instance], now: str) -> Patched:
    """Return the entity with attribute instances replaced by new ones (5.6.19).

    Raises: NotFound: the entity does not have one of the instances.
    """
    return _patch_instances(before, name, instances, now, _replaced)


def _patch_instances(before: Document, name: str, instances: Sequence[Instance], now: str, combine: Combine) -> Patched:
    value = before.get(name)
    existing = _by_dataset(value)
    for instance in instances:
        if instance.get("datasetId") not in existing:
            raise _no_instance(before["id"], name, instance.get("datasetId"))
    changes: list[Change] = []
    after = before.copy()
    result = _write(_Target(before["id"], now, changes), name, value, list(instances), combine)
    if result is None:
        after.pop(name, None)
    else:
        after[name] = result
    return _patched(before, after, changes, now, [name])


def delete_attribute(
    before: Document, name: str, now: str, *, dataset: str | None = None, delete_all: bool = False
) -> Patched:
    """Return the entity without one instance of an attribute, or without all of them (5.6.5).

    `name` may be "scope"; `dataset` None or "@none" means the default instance.

    Raises: NotFound: the entity has no such attribute or instance.
    """
    after = before.copy()
    value = after.pop(name, None)
    if name == "scope" and value is not None:
        return _patched(before, after, [_scope_deleted(before, now)], now, [name])
    existing = _by_dataset(value)
    dataset = None if dataset == _DEFAULT else dataset
    if not existing or not (delete_all or dataset in existing):
        raise _no_instance(before["id"], name, dataset)
    gone = list(existing.values()) if delete_all else [existing.pop(dataset)]
    if existing and not delete_all:
        after = {**before, name: one_or_list(list(existing.values()))}
    return _patched(before, after, [_deleted(before["id"], name, each, now) for each in gone], now, [name])


def _no_instance(id: str, name: str, dataset: str | None) -> NotFound:
    if dataset is None:
        return NotFound(f"The entity {id} has no attribute {name} without a datasetId", where=name)
    return NotFound(f"The entity {id} has no attribute {name} with the datasetId {dataset}", where=name)


# --- Members of the entity itself ---------------------------------------------------------------------------------


def _patch_members(after: Document, fragment: Document, scope: ScopeRule, *, overwrite: bool) -> None:
    if "type" in fragment:
        types = types_of(after)
        more = [name for name in types_of(fragment) if name not in types]
        if more:
            after["type"] = [*types, *more]
    if "scope" in fragment:
        _patch_scope(after, fragment["scope"], scope)
    if "expiresAt" in fragment and (overwrite or "expiresAt" not in after):
        if fragment["expiresAt"] == NGSI_LD_NULL:
            after.pop("expiresAt", None)
        else:
            after["expiresAt"] = fragment["expiresAt"]


def _patch_scope(after: Document, sent: Json, rule: ScopeRule) -> None:
    present = "scope" in after
    if sent == NGSI_LD_NULL:
        after.pop("scope", None)
    elif rule == "add" and present:
        scopes = as_list(after["scope"])
        after["scope"] = one_or_list([*scopes, *(each for each in as_list(sent) if each not in scopes)])
    elif rule != "only_if_present" or present:
        after["scope"] = sent


def _member_changes(before: Document, after: Document, now: str) -> list[Change]:
    """Return rows for the members that differ: the types, the scope, or else the time of expiry."""
    changes = []
    id = before["id"]
    if before["type"] != after["type"]:
        changes.append(Change(Operation.TYPE_CHANGED, id, value={"type": after["type"]}))
    if before.get("scope") != after.get("scope"):
        if "scope" in after:
            scope, previous = _scope_of(after), _scope_of(before)
            changes.append(Change(Operation.SCOPE_CHANGED, id, "scope", value=scope, previous=previous))
        else:
            changes.append(_scope_deleted(before, now))
    if before.get("expiresAt") != after.get("expiresAt"):
        changes.append(_touched(after))
    return changes


def _scope_of(document: Document) -> Instance | None:
    return {"type": "Property", "value": document["scope"]} if "scope" in document else None


def _scope_deleted(before: Document, now: str) -> Change:
    value = {"type": "Property", "value": NGSI_LD_NULL, "deletedAt": now}
    return Change(Operation.SCOPE_CHANGED, before["id"], "scope", value=value, previous=_scope_of(before))


def _touched(after: Document) -> Change:
    value = {"expiresAt": after["expiresAt"]} if "expiresAt" in after else None
    return Change(Operation.ENTITY_TOUCHED, after["id"], value=value)


# --- Attribute instances ------------------------------------------------------------------------------------------


def is_null(instance: Json) -> bool:
    """Tell whether what was sent for an attribute means that the instance is to be deleted (clause 4.5.0)."""
    if instance == NGSI_LD_NULL:
        return True
    member = VALUE_MEMBERS.get(instance.get("type"))
    if member is not None:
        return _is_null_value(instance.get(member))
    # A partial update may leave out the type.
    return any(_is_null_value(instance.get(member)) for member in _VALUE_MEMBER_NAMES)


def _is_null_value(value: Json) -> bool:
    return value in _NULL_VALUES


def _write(target: _Target, name: str, value: Json, sent: Json, combine: Combine) -> Json:
    """Return the new value of an attribute, None when no instance is left; only the instances sent are touched.

    `value` is the attribute as it is, None when there is none.
    """
    id, now, changes = target
    slots = _by_dataset(value)
    for instance in sent if type(sent) is list else [sent]:
        dataset = None if instance == NGSI_LD_NULL else instance.get("datasetId")
        existing = slots.get(dataset)
        if is_null(instance):
            if existing is not None:
                del slots[dataset]
                if changes is not None:
                    changes.append(_deleted(id, name, existing, now))
            continue
        slots[dataset] = written = combine(existing, instance, now)
        if changes is not None:
            changes.append(_written(id, name, existing, written))
    if not slots:
        return None
    if None in slots and next(iter(slots)) is not None:  # the default instance comes first
        slots = {None: slots.pop(None), **slots}
    return one_or_list(list(slots.values()))


def _by_dataset(value: Json) -> dict[str | None, Instance]:
    if value is None:
        return {}
    if type(value) is list:
        return {instance.get("datasetId"): instance for instance in value}
    return {value.get("datasetId"): value}


def _written(id: str, name: str, existing: Instance | None, instance: Instance) -> Change:
    operation = _CREATED if existing is None else _UPDATED
    return Change(operation, id, name, instance.get("datasetId"), _observed_us(instance), instance, existing)


def _deleted(id: str, name: str, instance: Instance, now: str) -> Change:
    """Return the tombstone of an instance: its type with an NGSI-LD Null as value (clauses 4.5.0, 4.5.7)."""
    kind = instance["type"]
    value: Instance = {"type": kind, VALUE_MEMBERS[kind]: _null_value(kind), "deletedAt": now}
    dataset = instance.get("datasetId")
    if dataset is not None:
        value["datasetId"] = dataset
    return Change(_DELETED, id, name, dataset, None, value, instance)


def _null_value(kind: str) -> Json:
    return {_DEFAULT: NGSI_LD_NULL} if kind == "LanguageProperty" else NGSI_LD_NULL


def _observed_us(instance: Instance) -> int | None:
    text = instance.get("observedAt")
    if text is None:
        return None
    try:
        since = datetime.fromisoformat(text) - _EPOCH
    except ValueError:
        return try_date_time(text)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _stamped(instance: Instance, created: str, now: str) -> Instance:
    """Return a new instance with its system timestamps, and those of its sub-attributes."""
    result = {**instance, "createdAt": created, "modifiedAt": now}
    if not _holds_no_sub_attributes(instance):
        for name, value in instance.items():
            if name not in INSTANCE_MEMBERS:
                result[name] = (
                    [_stamped(each, now, now) for each in value] if type(value) is list else _stamped(value, now, now)
                )
    return result


def _replaced(existing: Instance | None, instance: Instance, now: str) -> Instance:
    """Return the instance that was sent; createdAt stays, of the sub-attributes too (5.6.2, 5.6.3, 5.6.19)."""
    created = now if existing is None else existing.get("createdAt", now)
    result = {**instance, "createdAt": created, "modifiedAt": now}
    for name, value in instance.items():
        if name not in INSTANCE_MEMBERS:
            old = None if existing is None else existing.get(name)
            _set(result, name, _rebuilt(old, value, now))
        elif value == NGSI_LD_NULL:
            del result[name]
        elif type(value) is dict:
            _refuse_nulls(name, value)
    return result


def _rebuilt(value: Json, sent: Json, now: str) -> Json:
    """Return a sub-attribute made of what was sent alone; instances that were there keep their createdAt."""
    old = _by_dataset(value)
    instances = [_replaced(old.get(each.get("datasetId")), each, now) for each in as_list(sent) if not is_null(each)]
    return one_or_list(instances) if instances else None


def _overlaid(existing: Instance | None, instance: Instance, now: str) -> Instance:
    """Return the existing instance with the members that were sent (5.6.4 with 5.5.8)."""
    assert existing is not None  # partial_update has looked
    kind = existing["type"]
    if not instance.keys() - {"datasetId"}:
        raise BadRequestData("The fragment names nothing that is to be updated", where="")
    if instance.get("type", kind) != kind:
        raise BadRequestData(
            f"A partial update cannot change the type of the attribute from {kind} to {instance['type']}", where="/type"
        )
    result = {**existing, "modifiedAt": now}
    for name, value in instance.items():
        if name not in INSTANCE_MEMBERS:
            _set(result, name, _write(_Target("", now, None), name, existing.get(name), value, _replaced))
        elif value == NGSI_LD_NULL:
            result.pop(name, None)
        elif name in _VALUE_MEMBER_NAMES and name != VALUE_MEMBERS[kind]:
            raise BadRequestData(
                f"A {kind} has no member {name}; its value is in the member {VALUE_MEMBERS[kind]}", where=f"/{name}"
            )
        else:
            _refuse_nulls(name, value)
            result[name] = value
    return result


def _refuse_nulls(name: str, value: Json) -> None:
    """Raise BadRequestData when an NGSI-LD Null stands inside a value, which only a merge goes into (5.5.4)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner == NGSI_LD_NULL:
                raise BadRequestData(
                    f"{key!r:.80} cannot be deleted from a value here; only a merge goes into values", where=f"/{name}"
                )
            _refuse_nulls(name, inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_nulls(name, inner)


def _merged(existing: Instance | None, instance: Instance, now: str) -> Instance:
    """Return the existing instance with the sent one merged into it at every depth (5.5.12)."""
    if existing is None:
        existing = {}
    kind = instance.get("type", existing.get("type"))
    if existing and kind != existing["type"]:
        result = {name: value for name, value in existing.items() if name not in _MEMBERS_OF_TYPE}
    else:
        result = existing.copy()
    result["type"] = kind
    for name, value in instance.items():
        if name not in INSTANCE_MEMBERS:
            _set(result, name, _write(_Target("", now, None), name, existing.get(name), value, _merged))
        elif value == NGSI_LD_NULL:
            result.pop(name, None)
        elif name in _MERGED_MEMBERS and kind != "GeoProperty":
            result[name] = merge_json(result.get(name), value)
        else:
            result[name] = value
    if kind not in VALUE_MEMBERS or VALUE_MEMBERS[kind] not in result:
        raise BadRequestData("An attribute needs a type and a value when the entity does not have it yet")
    result["createdAt"] = existing.get("createdAt", now)
    result["modifiedAt"] = now
    return result


def merge_json(target: Json, patch: Json) -> Json:
    """Return the value that a JSON Merge Patch (RFC 7396) makes, with NGSI-LD Null in the place of null."""
    if not isinstance(patch, dict):
        return patch
    result = target.copy() if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value == NGSI_LD_NULL:
            result.pop(name, None)
        else:
            result[name] = merge_json(result.get(name), value)
    return result


def _in_language(existing: Instance | None, instance: Instance, lang: str) -> Instance:
    """Return text sent for a LanguageProperty as a language map with that one language (5.6.17)."""
    text = instance.get("value")
    is_text = isinstance(text, str) or (isinstance(text, list) and all(isinstance(each, str) for each in text))
    if existing is None or existing["type"] != "LanguageProperty" or not is_text:
        return instance
    rest = {name: value for name, value in instance.items() if name != "value"}
    return {**rest, "type": "LanguageProperty", "languageMap": {lang: text}}


def _set(instance: Instance, name: str, value: Json) -> None:
    if value is None:
        instance.pop(name, None)
    else:
        instance[name] = value
