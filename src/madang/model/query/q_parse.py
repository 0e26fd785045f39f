# SPDX-License-Identifier: Apache-2.0
"""The query language of clause 4.9: from text to tree."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Final, NoReturn

from madang.base.errors import BadRequestData, TooComplexQuery
from madang.base.limits import QUERY_CHARACTERS_MAX, QUERY_NESTING_MAX, QUERY_TERMS_MAX, REGEX_CHARACTERS_MAX
from madang.base.times import is_date, try_date_time
from madang.model.query import regex
from madang.model.query.names import CORE_MEMBERS, IRI, NAME, PREFIXED_NAME, Names, canonical, is_iri, is_unicode
from madang.model.query.q_tree import And, Expression, Kind, Link, Literal, Node, Or, Path, Range, Term, Value
from madang.model.query.values import try_time

_OPERATOR: Final = re.compile(r"==|!=|>=|<=|!~=|~=|>|<")
_TYPE_HINT: Final = re.compile(rf"((?:{NAME}|<[^<>,]*>)(?:,(?:{NAME}|<[^<>,]*>))*):(?!//)")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_UNQUOTED: Final = re.compile(r"[^\s;|,()\"\[\]{}=<>!~]+(?:[^\s;|,()\"\[\]{}]*)")
_MEMBER: Final = re.compile(r"[^\s.;|,()\"\[\]{}=<>!~]+")
_QUOTED: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_INTEGER_DIGITS_MAX: Final = 300

_TERM_ALLOWED: Final = (
    "an attribute name, optionally followed by an operator (==, !=, >, >=, <, <=, ~=, !~=) and a value"
)
_VALUE_ALLOWED: Final = (
    "a number, true, false, a text in quotation marks, a URI, a date, a time or a DateTime such as 2026-01-31T08:30:00Z"
)


def parse(
    text: str,
    names: Names,
    *,
    json_keys: Iterable[str] = (),
    expand_values: Iterable[str] = (),
    where: str = "q",
) -> Node:
    """Return the tree of a query; attribute names become canonical names of the request's context.

    `json_keys` and `expand_values` are canonical names of attributes: those whose members in brackets are not expanded,
    and those whose values are terms of the context. `where` names the parameter in error messages.

    Raises:
        BadRequestData: the text is not a query; the message names the position. TooComplexQuery: it is too large.
    """
    if len(text) > QUERY_CHARACTERS_MAX:
        raise TooComplexQuery(f"{where} has {len(text)} characters; allowed are {QUERY_CHARACTERS_MAX}", where=where)
    reader = _Reader(text, names, where)
    reader.json_keys = frozenset(json_keys)
    reader.expand_values = frozenset(expand_values)
    node = reader.disjunction(0)
    reader.end()
    return node


def parse_path(text: str, names: Names, *, where: str) -> Path:
    """Return the path of one attribute, without links: `a.b[c.d]`."""
    if len(text) > QUERY_CHARACTERS_MAX:
        raise TooComplexQuery(f"{where} has {len(text)} characters; allowed are {QUERY_CHARACTERS_MAX}", where=where)
    reader = _Reader(text, names, where)
    path = reader.value_path(())
    reader.end()
    return path


class _Reader:
    """A recursive descent over one text; nesting is bounded, so the stack is too."""

    def __init__(self, text: str, names: Names, where: str) -> None:
        self.text = text
        self.position = 0
        self.names = names
        self.where = where
        self.terms = 0
        self.json_keys: frozenset[str] = frozenset()
        self.expand_values: frozenset[str] = frozenset()

    # ------------------------------------------------------------------ characters

    def fail(self, what: str, allowed: str) -> NoReturn:
        rest = self.text[self.position : self.position + 20]
        found = f"before {rest!r}" if rest else "at the end"
        raise BadRequestData(
            f"{self.where}, character {self.position + 1}, {found}: {what}; allowed is {allowed}", where=self.where
        )

    def at(self, character: str) -> bool:
        return self.text.startswith(character, self.position)

    def take(self, character: str) -> bool:
        self.skip_spaces()
        if not self.at(character):
            return False
        self.position += len(character)
        return True

    def skip_spaces(self) -> None:
        while self.at(" "):
            self.position += 1

    def match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return found[0]

    def end(self) -> None:
        self.skip_spaces()
        if self.position < len(self.text):
            self.fail("the query should end or go on with ; or | here", "one query; parentheses come in pairs")

    # ------------------------------------------------------------------ terms and their combination

    def disjunction(self, depth: int) -> Node:
        parts = [self.conjunction(depth)]
        while self.take("|"):
            parts.append(self.conjunction(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def conjunction(self, depth: int) -> Node:
        # Clause 4.9: AND takes precedence over OR.
        parts = [self.operand(depth)]
        while self.take(";"):
            parts.append(self.operand(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def operand(self, depth: int) -> Node:
        if not self.take("("):
            return self.term()
        if depth >= QUERY_NESTING_MAX:
            raise TooComplexQuery(
                f"{self.where} has more than {QUERY_NESTING_MAX} parentheses inside each other", where=self.where
            )
        node = self.disjunction(depth + 1)
        if not self.take(")"):
            self.fail("a parenthesis is not closed", "; | or )")
        return node

    def term(self) -> Term:
        self.terms += 1
        if self.terms > QUERY_TERMS_MAX:
            raise TooComplexQuery(
                f"{self.where} has more than {QUERY_TERMS_MAX} terms, which is the limit", where=self.where
            )
        self.skip_spaces()
        if self.take("!"):
            return Term(self.path(), "!")
        path = self.path()
        self.skip_spaces()
        operator = self.match(_OPERATOR)
        if operator is None:
            return Term(path)
        self.skip_spaces()
        return Term(path, operator, self.value(path, operator))

    # ------------------------------------------------------------------ paths

    def path(self) -> Path:
        links: list[Link] = []
        hint: tuple[str, ...] = ()
        while True:
            start = self.position
            name = self.name()
            if not self.at("{"):
                self.position = start
                break
            if len(links) >= QUERY_NESTING_MAX:
                raise TooComplexQuery(f"{self.where} follows more than {QUERY_NESTING_MAX} links", where=self.where)
            self.position += 1
            hint = self.type_hint()
            links.append(Link(name, hint))
        path = self.value_path(tuple(links))
        for _ in links:
            if not self.at("}"):
                self.fail("a linked query is not closed", "} after the path inside the braces")
            self.position += 1
        return path

    def type_hint(self) -> tuple[str, ...]:
        found = _TYPE_HINT.match(self.text, self.position)
        if found is None:
            return ()
        self.position = found.end()
        return tuple(canonical(term.strip("<>"), self.names, self.where) for term in found[1].split(","))

    def name(self) -> str:
        if self.at("<"):
            return self.bracketed_iri()
        iri = self.match(IRI)
        if iri is not None:
            return self.names.expand(iri)
        term = self.match(PREFIXED_NAME)
        if term is None:
            self.fail("an attribute name is missing", _TERM_ALLOWED)
        return term if term in CORE_MEMBERS else self.names.expand(term)

    def bracketed_iri(self) -> str:
        """Return the name of an IRI in angle brackets, an extension: it shows where the IRI ends and a path goes on."""
        end = self.text.find(">", self.position)
        iri = self.text[self.position + 1 : end]
        if end < 0 or not is_iri(iri):
            self.fail("an IRI in angle brackets is not one", _TERM_ALLOWED)
        self.position = end + 1
        return self.names.expand(iri)

    def value_path(self, links: tuple[Link, ...]) -> Path:
        names = [self.name()]
        while self.at(".") and not self.at(".."):
            self.position += 1
            names.append(self.name())
        members: list[str] = []
        if self.at("["):
            self.position += 1
            members.append(self.member())
            while self.at("."):
                self.position += 1
                members.append(self.member())
            if not self.at("]"):
                self.fail("the member path is not closed", "] after member names separated by dots")
            self.position += 1
            if self.at("[") or self.at("."):
                self.fail("a path goes on after its brackets", "one pair of brackets, at the end of the path")
        opaque = names[0] in self.json_keys
        keys = tuple(members) if opaque else tuple(self.key(member) for member in members)
        return Path(tuple(names), tuple(members), keys, links, opaque)

    def member(self) -> str:
        member = self.match(_MEMBER)
        if member is None:
            self.fail("a member name is missing", "member names separated by dots, a language tag, or *")
        return member

    def key(self, member: str) -> str:
        return self.names.expand(member) if PREFIXED_NAME.fullmatch(member) else member

    # ------------------------------------------------------------------ values

    def value(self, path: Path, operator: str) -> Value:
        if operator in ("~=", "!~="):
            text = self.expression()
            return Expression(text, regex.compile(text, self.where))
        expanded = path.names[0] in self.expand_values
        first = self.literal(expanded=expanded)
        if isinstance(first, Range):
            if operator not in ("==", "!="):
                self.fail(f"a range cannot stand after {operator}", "a range after == and != only")
            return first
        if operator not in ("==", "!="):
            if first.kind in (Kind.BOOLEAN, Kind.URI, Kind.WORD):
                self.fail(
                    f"{first.text!r:.40} has no order, so it cannot stand after {operator}",
                    "a number, a text in quotation marks, a date, a time or a DateTime",
                )
            return (first,)
        literals = [first]
        while self.take(","):
            self.skip_spaces()
            following = self.literal(expanded=expanded)
            if isinstance(following, Range):
                self.fail("a range stands in a list of values", "either one range or a list of values")
            literals.append(following)
            if len(literals) > QUERY_TERMS_MAX:
                raise TooComplexQuery(f"{self.where} lists more than {QUERY_TERMS_MAX} values", where=self.where)
        return tuple(literals)

    def literal(self, *, expanded: bool) -> Literal | Range:
        if self.at('"'):
            low = self.quoted(expanded=expanded)
            if not self.at(".."):
                return low
            self.position += 2
            high = self.quoted(expanded=expanded) if self.at('"') else self.unquoted(expanded=expanded)
            return self.range(low, high)
        start = self.position
        token = self.match(_UNQUOTED)
        if token is None:
            self.fail("a value is missing", _VALUE_ALLOWED)
        low_text, dots, high_text = token.partition("..")
        if dots:
            range_low, range_high = _plain(low_text), _plain(high_text)
            if range_low is not None and range_high is not None:
                return self.range(range_low, range_high)
        self.position = start
        return self.unquoted(expanded=expanded)

    def range(self, low: Literal, high: Literal | Range) -> Range:
        if isinstance(high, Range) or low.kind != high.kind or high.kind in (Kind.BOOLEAN, Kind.URI, Kind.WORD):
            self.fail("the two ends of a range differ in type", "two numbers, texts, dates, times or DateTimes")
        return Range(low, high)

    def quoted(self, *, expanded: bool) -> Literal:
        start = self.position
        token = self.match(_QUOTED)
        try:
            text = json.loads(token or "", strict=False)
        except ValueError:
            self.position = start
            self.fail(
                "a text in quotation marks is not a JSON string", 'a closed text, with a backslash before " and \\'
            )
        return self.text_literal(Kind.TEXT, text, expanded=expanded)

    def unquoted(self, *, expanded: bool) -> Literal:
        start = self.position
        token = self.match(_UNQUOTED)
        if token is None:
            self.fail("a value is missing", _VALUE_ALLOWED)
        literal = _plain(token)
        if literal is not None:
            return literal
        if PREFIXED_NAME.fullmatch(token) and ":" not in token:
            return self.text_literal(Kind.WORD, token, expanded=expanded)
        if not is_iri(token):
            self.position = start
            self.fail("this is not a value", _VALUE_ALLOWED)
        return self.text_literal(Kind.URI, token, expanded=expanded)

    def text_literal(self, kind: Kind, text: str, *, expanded: bool) -> Literal:
        if not is_unicode(text):
            self.fail("the text holds half of a surrogate pair", "Unicode text")
        if expanded and (PREFIXED_NAME.fullmatch(text) or is_iri(text)):
            name = self.names.expand(text)
            return Literal(Kind.URI, self.names.iri(name), text, name)
        return Literal(kind, text, text, self.names.expand(text) if is_iri(text) else None)

    def expression(self) -> str:
        """Return a regular expression, in quotation marks or up to the next ; | or ) outside its own parentheses."""
        if not self.at('"'):
            return self.bare_expression()
        token = self.match(_QUOTED)
        if token is None:
            self.fail("a regular expression is not closed", "an expression between two quotation marks")
        # JSON would have every backslash doubled; \d and the like are taken as they are meant.
        return re.sub(r'\\(["\\/])', r"\1", token[1:-1])

    def bare_expression(self) -> str:
        open_parentheses = 0
        index = self.position
        while index < len(self.text):
            character = self.text[index]
            if character == "\\":
                index += 2
                continue
            if not open_parentheses and character in ";|)":
                break
            open_parentheses += (character == "(") - (character == ")")
            index += 1
        text = self.text[self.position : index]
        if not text:
            self.fail("a regular expression is missing", f"one of at most {REGEX_CHARACTERS_MAX} characters")
        self.position = min(index, len(self.text))
        return text


def _plain(token: str) -> Literal | None:
    """Return the literal of a token that is a number, boolean, date, time or DateTime; None for any other."""
    if token in ("true", "false"):
        return Literal(Kind.BOOLEAN, int(token[0] == "t"), token)
    if _NUMBER.fullmatch(token):
        number = _number(token)
        return None if number is None else Literal(Kind.NUMBER, number, token)
    moment = try_date_time(token)
    if moment is not None:
        return Literal(Kind.DATE_TIME, moment, token)
    if is_date(token):
        return Literal(Kind.DATE, token, token)
    time_us = try_time(token)
    return None if time_us is None else Literal(Kind.TIME, time_us, token)


def _number(token: str) -> int | float | None:
    if len(token) > _INTEGER_DIGITS_MAX:
        return None
    if token.lstrip("-").isdigit():
        return int(token)
    number = float(token)
    return number if math.isfinite(number) else None
