# SPDX-License-Identifier: Apache-2.0
"""Entities and whole answers kept as ready bytes, and dropped the moment a commit touches what they say.

Two things are kept. *Entity bytes*: one entity in one representation, from which lists are joined. *Answers*: what the
very same request (path, parameters, headers) got before; it is found without reading the request any further.
Nothing is kept of an entity that expires, and nothing that is an error. A commit reaches this cache before its writer
gets an answer, so no read that starts after an acknowledged write can see what was before it; what other workers commit
reaches it before the next request is handled (`madang.core.tail`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from madang.base.limits import RENDERED_CACHE_BYTES_MAX
from madang.core.caches import CacheCounts
from madang.model.entity import types_of
from madang.wire.http import Request, Response

if TYPE_CHECKING:
    from madang.core.tail import Tail
    from madang.model.change import EntityCommit

AnswerKey: TypeAlias = tuple[str | None, ...]

# What an entry costs beside its bytes: keys, dictionary slots, objects.
_ENTRY_BYTES: Final = 400
_COUNTERS_MAX: Final = 10_000
# The counter of commits of other workers, of which the types are not known. No type has this name.
_ELSEWHERE: Final = ""
# Where they stand in an AnswerKey.
_TENANT: Final = 2
_LINK: Final = 4


class Commits(Protocol):
    """The part of the Writer that caches need."""

    def subscribe(self, listener: Callable[[Sequence[EntityCommit]], None]) -> None: ...


@dataclass(slots=True)
class Kept:
    """Everything kept of one entity. Whoever fills it must have taken it before reading the entity."""

    valid: bool = True
    variants: dict[Hashable, bytes] = field(default_factory=dict)
    weight_bytes: int = _ENTRY_BYTES


@dataclass(slots=True)
class Counter:
    """Counts the commits that touched entities of one type of one tenant (or of the whole tenant)."""

    commits: int = 0


@dataclass(frozen=True, slots=True)
class Stamp:
    """The state of the counters an answer depends on, taken before the entities were looked for."""

    counters: tuple[Counter, ...]
    commits: tuple[int, ...]

    def holds(self) -> bool:
        for counter, commits in zip(self.counters, self.commits, strict=True):  # noqa: SIM110 (on the hottest path)
            if counter.commits != commits:
                return False
        return True


@dataclass(frozen=True, slots=True)
class _Answer:
    response: Response
    depends: Kept | Stamp
    context: object
    weight_bytes: int


class Rendered:
    """The cache of the consumption face; one per process.

    Args:
        exclusive: whether all writes pass through this process's writer.
        tail: tells what others wrote; without it and not exclusive nothing is kept.
        context_of: gives the context that a Link header means to a tenant, when it is at hand; an answer is kept only
            as long as that stays the same object.
    """

    def __init__(
        self,
        writer: Commits,
        *,
        exclusive: bool,
        tail: Tail | None = None,
        context_of: Callable[[str, str], object | None] | None = None,
        bytes_max: int = RENDERED_CACHE_BYTES_MAX,
    ) -> None:
        self.counts = CacheCounts(lambda: self._entity_bytes + self._answer_bytes)
        self._entities: dict[tuple[str, str], Kept] = {}
        self._answers: dict[AnswerKey, _Answer] = {}
        self._counters: dict[tuple[str, str | None], Counter] = {}
        self._context_of = context_of
        self._keeps = exclusive or tail is not None
        self._bytes_max = bytes_max
        self._entity_bytes = 0
        self._answer_bytes = 0
        if self._keeps:
            writer.subscribe(self._committed)
            if tail is not None:
                tail.on_entities(self._written_elsewhere)

    # ---------------------------------------------------------------- whole answers

    def key(self, request: Request) -> AnswerKey:
        """Return all of a GET request that its answer may depend on."""
        header = request.header
        return (
            request.path,
            request.query_string,
            header("ngsild-tenant"),
            header("accept"),
            header("link"),
            header("prefer"),
            header("ngsild-snapshot"),
            header("ngsild-entitymap"),
        )

    def answer(self, key: AnswerKey) -> Response | None:
        """Return the kept answer to a request with that key, if it still holds."""
        kept = self._answers.get(key)
        if kept is None:
            self.counts.misses += 1
            return None
        depends = kept.depends
        holds = depends.valid if depends.__class__ is Kept else depends.holds()  # type: ignore[union-attr]
        if holds and (kept.context is None or self._context(key) is kept.context):
            response = kept.response
            self.counts.hits += 1
            # A copy, as an answer may be given more headers on its way out.
            return Response(response.status, response.body, response.headers)
        self._forget(key)
        self.counts.misses += 1
        return None

    def keep(self, key: AnswerKey, response: Response, depends: Kept | Stamp) -> None:
        """Keep the answer to a request, for as long as what it depends on is not touched by a commit."""
        weight = len(response.body) + 2 * _ENTRY_BYTES
        if not self._keeps or response.status != 200 or not _holds(depends) or weight > self._bytes_max // 16:
            return
        context = self._context(key)
        if context is None and key[_LINK] is not None:
            return
        self._forget(key)
        copy = Response(response.status, response.body, list(response.headers))
        self._answers[key] = _Answer(copy, depends, context, weight)
        self._answer_bytes += weight
        while self._answer_bytes > self._bytes_max // 2:
            self._forget(next(iter(self._answers)))

    def stamp(self, tenant: str, type_names: Iterable[str] = ()) -> Stamp:
        """Return the present state of what an answer about these types depends on; without types, the whole tenant."""
        if len(self._counters) > _COUNTERS_MAX:
            self._break_stamps()
        # A commit of another worker may be about any type: it breaks all stamps of its tenant.
        names: Iterable[str | None] = (*(tuple(type_names) or (None,)), _ELSEWHERE)
        counters = tuple(self._counters.setdefault((tenant, name), Counter()) for name in names)
        return Stamp(counters, tuple(counter.commits for counter in counters))

    # ---------------------------------------------------------------- entities

    def entity(self, tenant: str, id: str) -> Kept:
        """Return what is kept of one entity; take it **before** reading the entity, then fill it with `put`."""
        kept = self._entities.get((tenant, id))
        if kept is None:
            kept = Kept(valid=self._keeps)
            if self._keeps:
                self._entities[tenant, id] = kept
                self._entity_bytes += kept.weight_bytes
                self._shrink()
        return kept

    def put(self, kept: Kept, variant: Hashable, body: bytes) -> None:
        """Keep the bytes of one entity in one representation, unless a commit came in between."""
        if not kept.valid or variant in kept.variants or len(body) > self._bytes_max // 16:
            return
        kept.variants[variant] = body
        weight = len(body) + _ENTRY_BYTES
        kept.weight_bytes += weight
        self._entity_bytes += weight
        self._shrink()

    def drop(self, tenant: str, id: str) -> None:
        """Forget one entity, as when it turned out not to exist."""
        kept = self._entities.pop((tenant, id), None)
        if kept is not None:
            kept.valid = False
            self._entity_bytes -= kept.weight_bytes

    def clear(self) -> None:
        """Forget everything."""
        self._break_stamps()
        for kept in self._entities.values():
            kept.valid = False
        self._entities.clear()
        self._answers.clear()
        self._entity_bytes = self._answer_bytes = 0

    def _shrink(self) -> None:
        while self._entity_bytes > self._bytes_max // 2:
            tenant, id = next(iter(self._entities))
            self.drop(tenant, id)

    def _forget(self, key: AnswerKey) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._answer_bytes -= answer.weight_bytes

    def _context(self, key: AnswerKey) -> object:
        link = key[_LINK]
        return None if link is None or self._context_of is None else self._context_of(key[_TENANT] or "", link)

    def _break_stamps(self) -> None:
        for counter in self._counters.values():
            counter.commits += 1
        self._counters.clear()

    def _written_elsewhere(self, entities: Sequence[tuple[str, str]] | None) -> None:
        """Forget what others wrote (None: everything)."""
        if entities is None:
            self.clear()
            return
        for tenant, id in entities:
            self.drop(tenant, id)
        for tenant in {tenant for tenant, _ in entities}:
            counter = self._counters.get((tenant, _ELSEWHERE))
            if counter is not None:
                counter.commits += 1

    def _committed(self, commits: Sequence[EntityCommit]) -> None:
        entities, counters = self._entities, self._counters
        for commit in commits:
            tenant = commit.tenant
            if entities:
                kept = entities.pop((tenant, commit.entity), None)
                if kept is not None:
                    kept.valid = False
                    self._entity_bytes -= kept.weight_bytes
            if counters:
                whole = counters.get((tenant, None))
                if whole is not None:
                    whole.commits += 1
                for document in (commit.before, commit.after):
                    if document is not None:
                        for name in types_of(document):
                            counter = counters.get((tenant, name))
                            if counter is not None:
                                counter.commits += 1


def _holds(depends: Kept | Stamp) -> bool:
    return depends.valid if isinstance(depends, Kept) else depends.holds()
