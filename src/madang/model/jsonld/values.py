# SPDX-License-Identifier: Apache-2.0
"""What may be said as a value: NGSI-LD Null, typed times, nesting (ETSI CIM 009 clauses 4.5.0, 4.6.3, 4.6.5, 4.18)."""

from __future__ import annotations

import re
from typing import Final

from madang.base.errors import BadRequestData
from madang.base.limits import JSON_DEPTH_MAX
from madang.base.times import is_date, parse_date_time, try_date_time
from madang.model.entity import NGSI_LD_NULL, Json, one_or_list
from madang.model.jsonld.names import is_plain_name

# All days but 29 February are decided here; the rest is for the slower, exact function.
DATE_TIME: Final = re.compile(
    r"(?!0000)\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z",
    re.ASCII,
)
_TIME: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d{1,9})?Z", re.ASCII)
_LANGUAGE_TAG: Final = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*", re.ASCII)
_SCALARS: Final = frozenset({str, int, float, bool})
NO_LANGUAGE: Final = "@none"
TIME_TYPES: Final = frozenset({"DateTime", "Date", "Time"})


def check_date_time(text: Json) -> str:
    """Return the DateTime of clause 4.6.3, with the decimal point that answers always have.

    Raises: BadRequestData: it is not a string, not of that form, or no such moment exists.
    """
    if text.__class__ is str and DATE_TIME.fullmatch(text) is not None:
        return str(text)
    parse_date_time(text)
    return str(text).replace(",", ".")


def check_typed_value(type: Json, value: Json) -> None:
    """Refuse a text that is not of the time type it claims to be; other types are not looked at.

    Raises: BadRequestData: the type is DateTime, Date or Time, and the text is none.
    """
    if type.__class__ is not str or type not in TIME_TYPES:
        return
    if value.__class__ is str:
        if type == "DateTime" and try_date_time(value) is not None:
            return
        if type == "Date" and is_date(value):
            return
        if type == "Time" and _TIME.fullmatch(value) is not None:
            return
    raise BadRequestData(f"{value!r:.80} is not a {type} as in 2026-01-31T08:30:00Z, 2026-01-31 or 08:30:00Z")


def check_compound(value: Json, *, nulls: bool) -> None:
    """Look through a compound value for typed times and, unless they are allowed, for NGSI-LD Nulls (clause 5.5.4).

    The value has been through `expand_value`, which bounds its depth.

    Raises: BadRequestData: a Null stands where it may not, or a typed time is none.
    """
    if value.__class__ is list:
        if _SCALARS.issuperset(map(type, value)):
            return
        for item in value:
            if item.__class__ is dict or item.__class__ is list:
                check_compound(item, nulls=nulls)
    elif value.__class__ is dict:
        _check_object(value, nulls=nulls)


def _check_object(value: dict[str, Json], *, nulls: bool) -> None:
    if "@context" in value:
        raise BadRequestData("An @context inside an attribute is not allowed (clause 5.5.7)")
    if "@value" in value:
        check_typed_value(value.get("@type", value.get("type")), value["@value"])
    for item in value.values():
        if item.__class__ is dict or item.__class__ is list:
            check_compound(item, nulls=nulls)
        elif item == NGSI_LD_NULL and not nulls:
            raise null_refused()


def null_refused() -> BadRequestData:
    return BadRequestData(f"{NGSI_LD_NULL} is allowed only in updates, where it deletes what it stands for")


def check_depth(value: Json, depth: int = 0) -> None:
    """Refuse JSON that is nested more deeply than any part of the hub can store.

    Raises: BadRequestData: more than JSON_DEPTH_MAX levels.
    """
    if value.__class__ is dict:
        value = value.values()
    elif value.__class__ is not list:
        return
    if depth >= JSON_DEPTH_MAX:
        raise BadRequestData(f"The value is nested too deeply; allowed are {JSON_DEPTH_MAX} levels")
    for item in value:
        if item.__class__ is dict or item.__class__ is list:
            check_depth(item, depth + 1)


def check_language_map(value: Json, *, nulls: bool) -> dict[str, Json]:
    """Return the language map without JSON nulls: tags of RFC 5646 or "@none", each with one or more strings.

    Raises: BadRequestData: a tag or a text is none, or an NGSI-LD Null stands where it may not.
    """
    if value.__class__ is not dict:
        raise BadRequestData("A languageMap is an object of texts by language tag")
    texts = {tag: text for tag, text in value.items() if text is not None}
    for tag, text in texts.items():
        if tag != NO_LANGUAGE and _LANGUAGE_TAG.fullmatch(tag) is None:
            raise BadRequestData(f"{tag!r:.80} is not a language tag (RFC 5646) nor @none")
        if text.__class__ is list:
            if not all(item.__class__ is str for item in text) or NGSI_LD_NULL in text:
                raise BadRequestData(f"The texts of language {tag} are not all strings")
        elif text.__class__ is not str:
            raise BadRequestData(f"The text of language {tag} is neither a string nor a list of strings")
        elif text == NGSI_LD_NULL and not nulls:
            raise null_refused()
    return texts


def check_scope(value: Json, *, nulls: bool) -> Json:
    """Return the scope, or the list of two or more without duplicates (clause 4.18).

    Raises: BadRequestData: it breaks the grammar, or is an NGSI-LD Null where that is not allowed.
    """
    if value == NGSI_LD_NULL:
        if nulls:
            return value
        raise null_refused()
    scopes = value if value.__class__ is list else [value]
    for scope in scopes:
        if scope.__class__ is not str or not all(map(is_plain_name, scope.removeprefix("/").split("/"))):
            raise BadRequestData(
                f"{scope!r:.80} is not a scope; allowed are names joined by /, such as /Madrid/Gardens"
            )
    if not scopes:
        raise BadRequestData("A list of scopes has at least one")
    return one_or_list(list(dict.fromkeys(scopes)))
