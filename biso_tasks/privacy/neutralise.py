"""Neutralising as data: what the site declares in `[neutralize]` is executed in the stage, and the
database is marked as a copy, outside the application's own rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from biso_tasks.errors import StepFailed
from biso_tasks.privacy.sqltext import execute, ident, query, quiet

if TYPE_CHECKING:
    import psycopg

__all__ = ["MARK", "mark", "marked", "neutralise"]

MARK: Final = "biso-tasks: "


def neutralise(
    stage: psycopg.Connection[Any],
    statements: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    *,
    table: str = "params",
    name: str = "",
    value: str = "",
) -> int:
    """Executes the site's SQL in order and sets its params (name → value) in `table`, all in one
    transaction; which of its columns hold names and values is told by what they are called, unless
    that is given. Gives the number of rows of `table` that were set. Raises StepFailed naming the
    statement by its number or the param by its name; a param that no row has is an error, for a
    misspelt one would leave the real one in force."""
    from psycopg import sql

    done = 0
    with stage.transaction():
        for number, statement in enumerate(statements, 1):
            quiet(
                f"neutralising: statement {number} of [neutralize] sql", execute, stage, statement
            )
        if params:
            name, value = _columns(stage, table, name, value)
        for key, setting in (params or {}).items():
            update = sql.SQL("UPDATE {} SET {} = %s WHERE {} = %s").format(
                sql.Identifier(*table.split(".")), sql.Identifier(value), sql.Identifier(name)
            )
            if not isinstance(setting, str):
                setting = json.dumps(setting)  # the column may be text: let the server convert it
            doing = f"neutralising: {table} {key}"
            count = quiet(doing, stage.execute, update, (setting, key)).rowcount
            if count == 0:
                raise StepFailed(
                    f"neutralising: table {table} has no row named {key}",
                    hint="correct the name under [neutralize] params in biso.toml",
                )
            done += count
    return done


_NAMES: Final = ("name", "schluessel", "schlüssel", "key", "param", "parameter")
_VALUES: Final = ("value", "wert", "val", "inhalt")


def _columns(stage: psycopg.Connection[Any], table: str, name: str, value: str) -> tuple[str, str]:
    """The columns of names and of values. Raises StepFailed where they cannot be told."""
    doing = f"neutralising: table {table}"
    found = quiet(
        doing,
        query,
        stage,
        "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 "
        "AND NOT a.attisdropped AND a.attrelid = to_regclass(%s)",
        (ident(*table.split(".")),),
    )
    there = [column for (column,) in found]
    if not there:
        raise StepFailed(
            f"{doing} is not there",
            hint="[neutralize] table in biso.toml says where the params are",
        )
    picked = []
    for key, given, known in (("name", name, _NAMES), ("value", value, _VALUES)):
        fit = [c for c in there if (c == given if given else c.casefold() in known)]
        if len(fit) != 1:
            raise StepFailed(
                f"{doing} has {'no' if not fit else 'more than one'} column for the {key}: it has "
                f"{', '.join(there)}",
                hint=f"write it as [neutralize] {key} in biso.toml",
            )
        picked.append(fit[0])
    return picked[0], picked[1]


def mark(stage: psycopg.Connection[Any], text: str) -> None:
    """Puts `biso-tasks: <text>` as the comment of the database that `stage` is connected to; it is
    seen by `\\l+`, goes with a rename, and is no row of the application."""
    from psycopg import sql

    name = query(stage, "SELECT current_database()")[0][0]
    comment = sql.SQL("COMMENT ON DATABASE {} IS {}").format(
        sql.Identifier(name), sql.Literal(MARK + text)
    )
    quiet(f"marking database {name}", stage.execute, comment)


def marked(conn: psycopg.Connection[Any]) -> str | None:
    """The mark of the database that `conn` is connected to, without its prefix, or None."""
    text = query(
        conn,
        "SELECT shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database "
        "WHERE datname = current_database()",
    )[0][0]
    return text[len(MARK) :] if text and text.startswith(MARK) else None
