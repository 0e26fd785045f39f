# SPDX-License-Identifier: Apache-2.0
"""Who may call what: an entry for each method of each route, from which the tests and the reference page are made.

The right that an entry states is the one its request needs, as `tests/api/bad_input.py` has it: on entities that are
there, of any type, with attributes that are not personal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Final

API_ROOT: Final = "/ngsi-ld/v1"
HUB_ROOT: Final = "/madang/v1"

READ: Final = "read"
WRITE: Final = "write"
DELETE: Final = "delete"
SUBSCRIBE: Final = "subscribe"
SNAPSHOT: Final = "snapshot"
CONTEXTS: Final = "contexts"
ADMINISTER: Final = "administer"
RIGHTS: Final = (READ, WRITE, DELETE, SUBSCRIBE, SNAPSHOT, CONTEXTS, ADMINISTER)


class Door(StrEnum):
    """Who is let in where it is no right in a tenant that decides; the texts are those of the reference."""

    PUBLIC = "everybody, without a token"
    KNOWN = "every caller with a token, and the anonymous where they have a grant"
    GRANTED = "any right in the tenant"
    HUB = "`administer` in all tenants"
    METRICS = "`administer` in all tenants, or `read` of everything; with `MADANG_METRICS=public` everybody"


# Sets of rights of which one is enough.
Rights = tuple[frozenset[str], ...]


def rights(*alternatives: str) -> Rights:
    """Return what is needed: "read", or "read delete" for both, or several of which one is enough."""
    return tuple(frozenset(each.split()) for each in alternatives)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a request of one route needs, and what it then gets."""

    needs: Rights | Door
    status: int = 200
    query: str = ""
    remark: str = ""
    is_itemised: bool = False  # whoever may write or delete at all is told of each entity what is refused


READS: Final = rights(READ)
WRITES: Final = rights(WRITE)
DELETES: Final = rights(DELETE)
SUBSCRIBES: Final = rights(SUBSCRIBE)
SUBSCRIPTIONS: Final = rights(SUBSCRIBE, ADMINISTER)
SNAPSHOTS: Final = rights(SNAPSHOT, ADMINISTER)
FREEZES: Final = rights(f"{SNAPSHOT} {READ}", f"{ADMINISTER} {READ}")
ADMINISTERS: Final = rights(ADMINISTER)
AND_DELETE: Final = "and `delete` where it takes attributes away"
TAKES_NULL: Final = "and `delete` where it names `urn:ngsi-ld:null`"
OWN: Final = "those of others need `administer`"
SINCE: Final = "type=T&timerel=after&timeAt=2000-01-01T00:00:00Z"
NOT_ALLOWED: Final = "refused, as no entity is named"
NOT_OFFERED: Final = "not offered yet"

NGSI_LD: Final[Mapping[str, Entry]] = {
    "GET /entities": Entry(READS, query="type=T"),
    "POST /entities": Entry(WRITES, 201),
    "DELETE /entities": Entry(rights(f"{DELETE} {READ}"), 204, "type=Gone"),
    "GET /entities/{entity_id}": Entry(READS),
    "PUT /entities/{entity_id}": Entry(WRITES, 204, remark=AND_DELETE),
    "PATCH /entities/{entity_id}": Entry(WRITES, 204, remark=TAKES_NULL),
    "DELETE /entities/{entity_id}": Entry(DELETES, 204),
    "POST /entities/{entity_id}/attrs": Entry(WRITES, 204),
    "PATCH /entities/{entity_id}/attrs": Entry(WRITES, 204, remark=TAKES_NULL),
    "PATCH /entities/{entity_id}/attrs/{attribute}": Entry(WRITES, 204, remark=TAKES_NULL),
    "PUT /entities/{entity_id}/attrs/{attribute}": Entry(WRITES, 204),
    "DELETE /entities/{entity_id}/attrs/{attribute}": Entry(DELETES, 204),
    "PATCH /entities": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "PUT /entities": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "POST /entities//attrs": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "PATCH /entities//attrs": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "PATCH /entities//attrs/{attribute}": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "PUT /entities//attrs/{attribute}": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "DELETE /entities//attrs/{attribute}": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "POST /entityOperations/create": Entry(WRITES, 201, is_itemised=True),
    "POST /entityOperations/upsert": Entry(WRITES, 204, remark=AND_DELETE, is_itemised=True),
    "POST /entityOperations/update": Entry(WRITES, 204, remark=TAKES_NULL, is_itemised=True),
    "POST /entityOperations/merge": Entry(WRITES, 204, remark=TAKES_NULL, is_itemised=True),
    "POST /entityOperations/delete": Entry(DELETES, 204, is_itemised=True),
    "POST /entityOperations/query": Entry(READS),
    "GET /types": Entry(READS),
    "GET /types/{type}": Entry(READS),
    "GET /attributes": Entry(READS),
    "GET /attributes/{attribute}": Entry(READS),
    "GET /entityMaps": Entry(READS, 201, "type=T"),
    "POST /entityMaps": Entry(READS, 201),
    "GET /entityMaps/{entity_map_id}": Entry(READS, remark="of the caller's own maps"),
    "PATCH /entityMaps/{entity_map_id}": Entry(READS, 204, remark="of the caller's own maps"),
    "DELETE /entityMaps/{entity_map_id}": Entry(READS, 204, remark="of the caller's own maps"),
    "POST /snapshots": Entry(FREEZES, 201),
    "DELETE /snapshots": Entry(SNAPSHOTS, 204, "q=snapshotPriority==3", OWN),
    "GET /snapshots/{snapshot_id}": Entry(SNAPSHOTS, remark=OWN),
    "PATCH /snapshots/{snapshot_id}": Entry(SNAPSHOTS, remark=OWN),
    "DELETE /snapshots/{snapshot_id}": Entry(SNAPSHOTS, 204, remark=OWN),
    "POST /snapshots/{snapshot_id}/clone": Entry(FREEZES, 201, remark=OWN),
    "GET /temporal/entities": Entry(READS, query=SINCE),
    "POST /temporal/entities": Entry(WRITES, 201),
    "GET /temporal/entities/{entity_id}": Entry(READS),
    "DELETE /temporal/entities/{entity_id}": Entry(DELETES, 204),
    "POST /temporal/entityOperations/query": Entry(READS),
    "GET /temporal/entityMaps": Entry(READS, 201, SINCE),
    "POST /temporal/entityMaps": Entry(READS, 201),
    "POST /temporal/entities/{entity_id}/attrs": Entry(WRITES, 204),
    "DELETE /temporal/entities/{entity_id}/attrs/{attribute}": Entry(DELETES, 204),
    "PATCH /temporal/entities/{entity_id}/attrs/{attribute}/{instance_id}": Entry(WRITES, 204),
    "DELETE /temporal/entities/{entity_id}/attrs/{attribute}/{instance_id}": Entry(DELETES, 204),
    "POST /temporal/entities//attrs": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "DELETE /temporal/entities//attrs/{attribute}": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "PATCH /temporal/entities//attrs/{attribute}/{instance_id}": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "DELETE /temporal/entities//attrs/{attribute}/{instance_id}": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "DELETE /temporal/entities/{entity_id}/attrs//{instance_id}": Entry(Door.GRANTED, 400, remark=NOT_ALLOWED),
    "GET /subscriptions": Entry(SUBSCRIPTIONS, remark=OWN),
    "POST /subscriptions": Entry(SUBSCRIBES, 201, remark="it tells what its owner may `read`"),
    "GET /subscriptions/{subscription_id}": Entry(SUBSCRIPTIONS, remark=OWN),
    "PATCH /subscriptions/{subscription_id}": Entry(SUBSCRIPTIONS, 204, remark=OWN),
    "DELETE /subscriptions/{subscription_id}": Entry(SUBSCRIPTIONS, 204, remark=OWN),
    "GET /jsonldContexts": Entry(rights(CONTEXTS)),
    "POST /jsonldContexts": Entry(rights(CONTEXTS), 201),
    "GET /jsonldContexts/{context_id}": Entry(Door.GRANTED, remark="`details=true` needs `contexts`"),
    "DELETE /jsonldContexts/{context_id}": Entry(rights(CONTEXTS), 204),
    "GET /csourceRegistrations": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "POST /csourceRegistrations": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "GET /csourceRegistrations/{id}": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "PATCH /csourceRegistrations/{id}": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "DELETE /csourceRegistrations/{id}": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "GET /csourceSubscriptions": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "POST /csourceSubscriptions": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "GET /csourceSubscriptions/{id}": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "PATCH /csourceSubscriptions/{id}": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "DELETE /csourceSubscriptions/{id}": Entry(Door.GRANTED, 422, remark=NOT_OFFERED),
    "GET /info/sourceIdentity": Entry(Door.GRANTED),
}
HUB: Final[Mapping[str, Entry]] = {
    "GET /madang/v1/me": Entry(Door.KNOWN),
    "GET /madang/v1/tokens": Entry(Door.HUB),
    "POST /madang/v1/tokens": Entry(Door.HUB, 201),
    "DELETE /madang/v1/tokens/{token_id}": Entry(Door.HUB, 204),
    "GET /madang/v1/roles": Entry(Door.HUB),
    "GET /madang/v1/roles/{role}": Entry(Door.HUB),
    "PUT /madang/v1/roles/{role}": Entry(Door.HUB, 204),
    "DELETE /madang/v1/roles/{role}": Entry(Door.HUB, 204),
    "GET /madang/v1/personal-attributes": Entry(ADMINISTERS),
    "PUT /madang/v1/personal-attributes/{attribute}": Entry(ADMINISTERS, 204),
    "DELETE /madang/v1/personal-attributes/{attribute}": Entry(ADMINISTERS, 204),
    "GET /madang/v1/indexes": Entry(ADMINISTERS),
    "POST /madang/v1/indexes": Entry(ADMINISTERS, 204),
    "DELETE /madang/v1/indexes/{attribute}": Entry(ADMINISTERS, 204),
    "GET /madang/v1/first-administrator/{secret}": Entry(Door.PUBLIC, 410, remark="who has the link; it works once"),
    "POST /madang/v1/first-administrator/{secret}": Entry(Door.PUBLIC, 410, remark="who has the link; it works once"),
    "GET /health/live": Entry(Door.PUBLIC),
    "GET /health/ready": Entry(Door.PUBLIC),
    "GET /version": Entry(Door.PUBLIC),
    "GET /metrics": Entry(Door.METRICS),
}


def matrix() -> dict[tuple[str, str], Entry]:
    """Return the entries by method and path; those of NGSI-LD stand below both of its mounts."""
    found = {_key(name): entry for name, entry in HUB.items()}
    for root, (name, entry) in product((API_ROOT, ""), NGSI_LD.items()):
        method, path = _key(name)
        found[method, root + path] = entry
    return found


def _key(name: str) -> tuple[str, str]:
    method, _, path = name.partition(" ")
    return method, path


# ---- who calls

GRANTED: Final = "songpa"
TENANTS: Final = (GRANTED, "mapo", "")  # the one that most roles are granted in, another one, the default one


@dataclass(frozen=True, slots=True)
class Role:
    """A role as it is given to somebody: "reader@songpa". `tenant` None: it counts in all of them."""

    text: str
    rights: frozenset[str]
    tenant: str | None = GRANTED
    is_built_in: bool = False

    @property
    def name(self) -> str:
        return self.text.partition("@")[0]

    def in_tenant(self, tenant: str) -> frozenset[str]:
        """Return the rights the role gives in a tenant."""
        return self.rights if self.tenant in (None, tenant) else frozenset()


def _given(text: str, rights: Iterable[str], *, is_built_in: bool = False) -> Role:
    return Role(text, frozenset(rights), GRANTED if "@" in text else None, is_built_in)


ROLES: Final = (
    _given("administrator", RIGHTS, is_built_in=True),
    _given("administrator@songpa", RIGHTS, is_built_in=True),
    _given("editor@songpa", set(RIGHTS) - {ADMINISTER}, is_built_in=True),
    _given("reader", (READ, SUBSCRIBE), is_built_in=True),
    _given("reader@songpa", (READ, SUBSCRIBE), is_built_in=True),
    *(_given(f"only-{right}@songpa", (right,)) for right in RIGHTS),
    _given("sweeper@songpa", (READ, DELETE)),
    _given("keeper@songpa", (READ, SNAPSHOT)),
    _given("only-administer-everywhere", (ADMINISTER,)),
    _given("gone", ()),  # a role that no longer exists
)


class Kind(StrEnum):
    """How somebody shows who it is."""

    TOKEN = "hub token"
    LOG_IN = "log-in"
    ANONYMOUS = "no token, while the role is given to the anonymous"
    NONE = "no token"
    EXPIRED = "expired hub token"
    REVOKED = "revoked hub token"
    MISTYPED = "mistyped hub token"
    UNKNOWN = "unknown hub token"
    LOG_IN_EXPIRED = "expired log-in"
    LOG_IN_FOREIGN = "log-in with a stranger's signature"


COUNTING: Final = (Kind.TOKEN, Kind.LOG_IN, Kind.ANONYMOUS)
BAD: Final = tuple(kind for kind in Kind if kind not in (*COUNTING, Kind.NONE))
ALLOWED: Final = 0


def outcome(entry: Entry, role: Role, tenant: str, kind: Kind) -> int:
    """Return ALLOWED or the status with which a request is refused; 207 says for each entity that it is."""
    needs = entry.needs
    if needs is Door.PUBLIC:
        return ALLOWED
    if kind in BAD:
        return 401
    has = frozenset[str]() if kind is Kind.NONE else role.in_tenant(tenant)
    stranger = kind in (Kind.NONE, Kind.ANONYMOUS)
    if needs in (Door.KNOWN, Door.HUB, Door.METRICS):
        if stranger and (kind is Kind.NONE or not role.rights):
            return 401
        everywhere = role.rights if role.tenant is None else frozenset[str]()
        enough = ADMINISTER in everywhere or (needs is Door.METRICS and READ in everywhere)
        return ALLOWED if needs is Door.KNOWN or enough else 403
    if not has:
        return 401 if stranger else 403
    if needs is Door.GRANTED:
        return ALLOWED
    assert not isinstance(needs, Door)
    if any(each <= has for each in needs):
        return ALLOWED
    return 207 if entry.is_itemised and not has.isdisjoint((WRITE, DELETE)) else 403


# ---- the page for officers


def reference_page() -> str:
    """Return the page that says which right each route needs."""
    parts = [
        '# Who may call what\n\nThe right, in the tenant that `NGSILD-Tenant` names, that each request needs; "or" says'
        " that one is enough. [Access](access.md) says what else counts: types, attributes, areas and personal"
        " attributes narrow what a right lets one see and change. `make test` sends each of these requests"
        " for all roles, tenants and kinds of token.\n",
        f"## NGSI-LD\n\nBelow `{API_ROOT}`, and the same below `/`.\n\n{_table(NGSI_LD)}",
        f"## The hub itself\n\n{_table(HUB)}",
    ]
    return "\n".join(parts)


def _table(entries: Mapping[str, Entry]) -> str:
    rows = ["| Request | Needs | Remark |", "|---|---|---|"]
    for name, entry in sorted(entries.items(), key=lambda item: item[0].split(" ")[::-1]):
        rows.append(f"| `{name}` | {_needs(entry.needs)} | {entry.remark} |")
    return "\n".join(rows) + "\n"


def _needs(needs: Rights | Door) -> str:
    if isinstance(needs, Door):
        return needs.value
    order = {right: index for index, right in enumerate(RIGHTS)}
    return ", or ".join(" and ".join(f"`{right}`" for right in sorted(each, key=order.__getitem__)) for each in needs)
