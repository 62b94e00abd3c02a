"""A test instance uses its own addresses: what names production in its settings (base URLs, mail
servers, senders) is rewritten in the stage, and what still names production is found before anybody
works with it.

    [plugins.instance_settings]
    columns = ["params.wert"]               # where it is rewritten and looked for
    production = ["stelle.example"]         # domains and hosts that test's settings must not name
    mail = "biso-test@it.example"           # instead of each mail address of those domains
    [plugins.instance_settings.addresses]   # production's, and test's in its place
    "https://biso.stelle.example" = "https://biso-test.stelle.example"
    "smtp.stelle.example" = "localhost"

Without a section it does nothing. An address is found whole, in capitals as well: neither
`https://biso.stelle.example.org` nor `old-smtp.stelle.example` is one of those above. What stands
on the right of `addresses`, and `mail`, may name a domain of production's. A single setting that
shall have a value of its own is set by `[neutralize] params`, and config.php by `[neutralize]
config`. This writes to the database of the stage and to nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from biso_tasks.api import Change, Finding, Stage, StepFailed, hookimpl

_COLUMN: Final = re.compile(r"[^.]+(\.[^.]+){1,2}")
_MAIL: Final = re.compile(r"[^@\s\\]+@[^@\s\\]+")
# An address is whole where no further letter, digit or domain stands beside it. These are patterns
# for PostgreSQL and for Python.
_BEGINS: Final = r"(?<![\w.%+-])"
_ENDS: Final = r"(?![\w-]|\.\w)"


def _whole(address: str) -> str:
    return f"{_BEGINS}{_escaped(address)}{_ENDS}"


def _escaped(address: str) -> str:
    """PHP's json_encode writes / as \\/."""
    return re.escape(address).replace("/", r"\\?/")


# -- settings --


@dataclass(frozen=True, slots=True)
class Settings:
    columns: tuple[str, ...] = ("params.wert",)
    production: tuple[str, ...] = ()
    mail: str = ""
    addresses: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in self.columns:
            if not _COLUMN.fullmatch(column):
                raise ValueError(f'columns: "{column}" is not like "table.column"')
        if not all((*self.production, *self.addresses, *self.addresses.values())):
            raise ValueError("production, addresses: an address is empty")
        if self.mail and not _MAIL.fullmatch(self.mail):
            raise ValueError(f'mail: "{self.mail}" is not a mail address')
        if self.mail and not self.production:
            raise ValueError("mail: `production` names the domains whose mail addresses it is for")
        for new in (self.mail, *self.addresses.values()):
            for old in self.addresses:
                # A second run would rewrite what the first has written.
                if re.search(_whole(old), new, re.IGNORECASE):
                    raise ValueError(f'"{new}" names "{old}", which is production\'s')

    @property
    def on(self) -> bool:
        return bool(self.production or self.addresses)


@hookimpl
def biso_config() -> type[Settings]:
    return Settings


@hookimpl
def biso_neutralize(stage: Stage, config: Settings) -> list[Change]:
    if not config.on:
        return []
    with stage.connect() as database:
        return [
            Change(f"{column} rewritten to test's addresses", _rewritten(database, column, config))
            for column in config.columns
        ]


@hookimpl
def biso_verify(stage: Stage, config: Settings) -> list[Finding]:
    """Of a stage that was neutralised: in a restored production, or a drill, all is as it was."""
    if not (config.on and stage.neutralized):
        return []
    with stage.connect() as database:
        return [_finding(database, column, config) for column in config.columns]


# -- rewriting --


def _rewritten(database: Any, column: str, config: Settings) -> int:
    """How many rows of `column` changed. Raises StepFailed where there is no such column."""
    table, name, kind = _found(database, column)
    new, given = f"{name}::text", []
    for pattern, instead in _replacements(config):
        new = f"regexp_replace({new}, %s, %s, 'gi')"
        given += [pattern, instead.replace("\\", r"\\")]
    done = database.execute(
        f"UPDATE {table} SET {name} = ({new})::{kind} WHERE {name}::text IS DISTINCT FROM {new}",
        [*given, *given],
    )
    return int(done.rowcount)


def _replacements(config: Settings) -> Iterator[tuple[str, str]]:
    """Each pattern with what stands instead. Mail addresses first: what an address became is never
    taken for one of production's. The longest first, for one may be the beginning of another."""
    if config.mail:
        domains = "|".join(re.escape(one) for one in config.production)
        ours = rf"(?!{re.escape(config.mail)}{_ENDS})"
        yield rf"{_BEGINS}{ours}[\w.%+-]+@(?:{domains}){_ENDS}", config.mail
    for old in sorted(config.addresses, key=len, reverse=True):
        yield _whole(old), config.addresses[old]


# -- verification --


def _finding(database: Any, column: str, config: Settings) -> Finding:
    table, name, _ = _found(database, column)
    own = sorted({config.mail, *config.addresses.values()} - {""}, key=len, reverse=True)
    words = (*config.production, *config.addresses)
    left = f"{name}::text"
    for _ in own:
        left = f"regexp_replace({left}, %s, '', 'gi')"
    query = f"SELECT count(*) FROM {table} WHERE {left} ~* %s"
    named = {}
    for word in words:
        given = [*map(_whole, own), rf"(?<![\w-]){_escaped(word)}{_ENDS}"]
        (named[word],) = database.execute(query, given).fetchone()
    still = [f"{word} ({count})" for word, count in named.items() if count]
    what = f"settings in {column}"
    if not still:
        return Finding(True, what, f"name none of {len(words)} addresses of production")
    return Finding(
        False,
        what,
        f"still name production, in so many rows: {', '.join(still)}",
        "write what they become under [plugins.instance_settings.addresses] in biso.toml, or set "
        "them by [neutralize] params",
    )


# -- the database --


def _found(database: Any, column: str) -> tuple[str, str, str]:
    """Table, column and type of `column`, written for a statement with parameters. Raises
    StepFailed where there is none."""
    *table, name = column.split(".")
    row = database.execute(
        "SELECT format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
        "WHERE attrelid = to_regclass(%s) AND attname = %s AND attnum > 0 AND NOT attisdropped",
        [".".join(map(_quoted, table)), name],
    ).fetchone()
    if row is None:
        raise StepFailed(
            f"the database has no column {column}",
            hint="correct plugins.instance_settings.columns in biso.toml",
        )
    return (
        ".".join(map(_quoted, table)).replace("%", "%%"),
        _quoted(name).replace("%", "%%"),
        row[0],
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
