# SPDX-License-Identifier: Apache-2.0
"""The route table: a walk over the path's segments through dictionaries, no pattern matching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from madang.base.limits import ROUTE_CHARACTERS_REMEMBERED_MAX, ROUTES_REMEMBERED_MAX
from madang.wire.http import Handler, Route

NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class Endpoint:
    """A resource: its methods, and the names of its parameters in the order of the path."""

    names: tuple[str, ...]
    path: str = ""
    """The template, with its parameters in braces; of two that differ in nothing but those, the first."""
    handlers: dict[str, Handler] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)

    def route(self, method: str) -> Route | None:
        """Return the row of the route table for a method; for HEAD it is that of GET."""
        route = self.routes.get(method)
        return self.routes.get("GET") if route is None and method == "HEAD" else route

    def is_public(self, method: str) -> bool:
        """Tell whether nobody is asked who he is; for a method that is not there, whether that holds for all others."""
        route = self.route(method)
        return all(each.public for each in self.routes.values()) if route is None else route.public

    def allowed(self) -> list[str]:
        """Return the methods the resource answers, for the Allow header."""
        methods = {*self.handlers, "OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        return sorted(methods)


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    endpoint: Endpoint | None = None


Found: TypeAlias = tuple[Endpoint, Mapping[str, str]]


class Router:
    """Finds the endpoint of a path.

    Paths come decoded from the servers, so an identifier that is itself a URL brings slashes of its own. A parameter
    is therefore first tried as one segment and, when that leads nowhere, as the shortest run of segments that fits:
    "/entities/http://a.org/b/attrs/speed" is the attribute "speed" of the entity "http://a.org/b".
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._found: dict[str, Found | None] = {}
        for route in routes:
            self._add(route)

    def find(self, path: str) -> Found | None:
        """Return the endpoint and the parameters of a decoded path, or None. A trailing slash makes no difference."""
        try:
            return self._found[path]
        except KeyError:
            found = self._walk(path)
            if len(self._found) >= ROUTES_REMEMBERED_MAX:
                self._found.clear()
            if len(path) <= ROUTE_CHARACTERS_REMEMBERED_MAX:
                self._found[path] = found
            return found

    def _walk(self, path: str) -> Found | None:
        segments = path.split("/")
        del segments[0]
        trailing = len(segments) > 1 and not segments[-1]
        if trailing:
            segments.pop()
        node: _Node | None = self._root
        values: list[str] = []
        for segment in segments:
            deeper = node.literals.get(segment)  # type: ignore[union-attr]
            if deeper is None:
                deeper = node.parameter if segment else None  # type: ignore[union-attr]
                values.append(segment)
            node = deeper
            if node is None:
                break
        else:
            endpoint = node.endpoint  # type: ignore[union-attr]
            if endpoint is not None:
                return endpoint, (dict(zip(endpoint.names, values, strict=True)) if values else NO_PARAMETERS)
        return self._find_long(segments, trailing=trailing) if values else None

    def _find_long(self, segments: list[str], *, trailing: bool) -> Found | None:
        for endpoint, values in _runs(self._root, segments, 0):
            # A slash at the end of a URL that is the last parameter belongs to the URL.
            if trailing and endpoint.names and segments[-1] and values[-1].endswith(segments[-1]) and "/" in values[-1]:
                values[-1] += "/"
            return endpoint, dict(zip(endpoint.names, values, strict=True))
        return None

    def _add(self, route: Route) -> None:
        node = self._root
        names: list[str] = []
        for segment in route.path.strip("/").split("/"):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        if node.endpoint is None:
            node.endpoint = Endpoint(tuple(names), route.path)
        assert node.endpoint.names == tuple(names), f"{route.path} names its parameters differently from its siblings"
        for method in route.methods:
            assert method not in node.endpoint.handlers, f"{method} {route.path} is in the route table twice"
            node.endpoint.handlers[method] = route.handler
            node.endpoint.routes[method] = route


def _runs(node: _Node, segments: list[str], start: int) -> Iterator[tuple[Endpoint, list[str]]]:
    if start == len(segments):
        if node.endpoint is not None:
            yield node.endpoint, []
        return
    literal = node.literals.get(segments[start])
    if literal is not None:
        yield from _runs(literal, segments, start + 1)
    if node.parameter is not None and segments[start]:
        for end in range(start + 1, len(segments) + 1):
            value = "/".join(segments[start:end])
            for endpoint, values in _runs(node.parameter, segments, end):
                yield endpoint, [value, *values]


def mounted(prefix: str, routes: Iterable[Route]) -> list[Route]:
    """Return the routes moved below a prefix such as "/ngsi-ld/v1"."""
    return [replace(route, path=prefix + route.path) for route in routes]
