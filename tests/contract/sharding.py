"""What a database that is spread over many machines by entity id can do with a statement.

The rules are those of Citus for tables that are distributed by one column and lie side by side: a statement either
names entity ids, or every shard can do its part alone (https://docs.citusdata.com, "SQL support and workarounds").
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

import sqlglot
from sqlglot import exp

# The column by which each table that grows with the city would be spread.
DISTRIBUTED: Final = {"entity": "id", "entity_type": "id", "change": "entity"}
VALUES: Final = "value_"
SMALL: Final = frozenset(
    {"tenant", "name", "record", "bookmark", "lease", "log_position", "value_attribute", "version"}
)

# What asyncpg sends by itself: the start of a transaction, and a look at the catalogue for the types of parameters.
_OF_THE_DRIVER: Final = ("BEGIN ISOLATION LEVEL", "WITH RECURSIVE typeinfo_tree")


@cache
def faults_of(sql: str) -> tuple[str, ...]:
    """Return what a spread database could not do with the statement, one sentence each."""
    if sql.lstrip().startswith(_OF_THE_DRIVER):
        return ()
    if "pg_catalog." in sql or "pg_inherits" in sql or sql.lstrip().startswith(("ALTER ", "CREATE ")):
        return ()  # about the database itself, or tables made by a migration
    try:
        statement = sqlglot.parse_one(sql, dialect="postgres")
    except sqlglot.errors.ParseError as error:
        return (f"it cannot be read: {error}",)
    if isinstance(statement, exp.Select | exp.Insert | exp.Update | exp.Delete | exp.SetOperation):
        return tuple(_faults(statement))
    return ()  # BEGIN, COMMIT, SET, LOCK, tables made by a migration


def copy_faults(table: str, columns: list[str]) -> tuple[str, ...]:
    """Return what keeps a COPY from being routed row by row."""
    column = spread_by(table)
    return () if column is None or {"tenant", column} <= set(columns) else (f"COPY {table} lacks its key",)


def spread_by(table: str) -> str | None:
    if table in SMALL:
        return None
    return DISTRIBUTED.get(table) or ("id" if table.startswith(VALUES) else None)


def _faults(statement: exp.Expression) -> Iterator[str]:
    names = {table.name for table in statement.find_all(exp.Table)}
    spread = {name for name in names if spread_by(name) is not None}
    small = names & SMALL
    if spread and small:
        yield f"it joins what is spread ({', '.join(sorted(spread))}) with what is not ({', '.join(sorted(small))})"
    if spread:
        yield from _apart(statement)
        yield from _writing(statement)
        yield from _limited_laterals(statement)
        if any(True for _ in statement.find_all(exp.Lock)):
            yield "it locks rows of several machines"


def _apart(statement: exp.Expression) -> Iterator[str]:
    """Name the tables whose rows would have to meet without being on one machine."""
    aliases = {
        table.alias_or_name: spread_by(table.name)
        for table in statement.find_all(exp.Table)
        if spread_by(table.name) is not None and not _in_union(table)
    }
    if len(aliases) < 2:
        return
    groups = _Groups()
    for equal in statement.find_all(exp.EQ):
        groups.join(_key(equal.left), _key(equal.right))
    for one_of in statement.find_all(exp.In):
        query = one_of.args.get("query")
        if query is not None:
            for select in query.find_all(exp.Select):
                groups.join(_key(one_of.this), _key(select.expressions[0]))
    roots = {groups.root(f"{alias}.{column}") for alias, column in aliases.items()}
    if len(roots) > 1:
        yield f"{', '.join(sorted(aliases))} are not joined on the entity id"


def _in_union(table: exp.Expression) -> bool:
    """Arms of a UNION are statements of their own, and a subquery in FROM that is only counted or read meets nobody."""
    return table.find_ancestor(exp.SetOperation) is not None


def _writing(statement: exp.Expression) -> Iterator[str]:
    if isinstance(statement, exp.Insert):
        schema = statement.this
        column = spread_by(schema.this.name if isinstance(schema, exp.Schema) else schema.name)
        columns = {name.name for name in schema.expressions} if isinstance(schema, exp.Schema) else set()
        if column is not None and not {"tenant", column} <= columns:
            yield "it inserts rows without their key"
        conflict = statement.args.get("conflict")
        keys = {key.name for key in (conflict.args.get("conflict_keys") or [])} if conflict is not None else set()
        if column is not None and keys and not {"tenant", column} <= keys:
            yield "its conflict is not decided by the key"
    if isinstance(statement, exp.Update):
        column = spread_by(statement.this.name)
        changed = {equal.left.name for equal in statement.expressions if isinstance(equal, exp.EQ)}
        if column is not None and changed & {"tenant", column}:
            yield "it moves rows from one machine to another"


def _limited_laterals(statement: exp.Expression) -> Iterator[str]:
    """A limit for each row of a list is only possible where the list itself is spread like the rows."""
    for lateral in statement.find_all(exp.Lateral):
        if lateral.find(exp.Limit) is None:
            continue
        inner = {table.alias_or_name for table in lateral.find_all(exp.Table)}
        outer = {
            table.alias_or_name
            for table in statement.find_all(exp.Table)
            if spread_by(table.name) is not None and table.alias_or_name not in inner
        }
        for column in lateral.find_all(exp.Column):
            if column.table and column.table not in inner and column.table not in outer:
                yield f"its limit for each {column.table} cannot be carried out by the shards"
                return


def _key(side: exp.Expr) -> str:
    if isinstance(side, exp.Column):
        return f"{side.table}.{side.name}"
    if isinstance(side, exp.Alias):
        return _key(side.this)
    return side.sql()


class _Groups:
    """What is equal to what."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def root(self, key: str) -> str:
        while key in self._above:
            key = self._above[key]
        return key

    def join(self, one: str, other: str) -> None:
        first, second = self.root(one), self.root(other)
        if first != second:
            self._above[first] = second
