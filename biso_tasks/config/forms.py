"""The forms that values of biso.toml take: paths, names, commands, durations. Each check gives the
value as the model holds it, or raises Wrong with the cause and the remedy.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import warnings
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from biso_tasks.config.duration import duration
from biso_tasks.config.findings import CONTROL, shown
from biso_tasks.config.moment import moment
from biso_tasks.config.schema import Form, Wrong

__all__ = [
    "ARGV",
    "COUNT",
    "DATABASE_HOST",
    "DATABASE_NAME",
    "DESTINATION",
    "DURATION",
    "ENVIRONMENT_NAME",
    "GLOB",
    "HOST_PATH",
    "LOCAL_PATH",
    "MOMENT",
    "NAME",
    "OWNER",
    "PATTERN",
    "PORT",
    "REGEX",
    "RELATIVE_PATH",
    "SCALAR",
    "SECONDS",
    "SQL",
    "TASK_NAME",
    "URL",
    "USER",
    "VALUES",
    "WORD",
    "words_of",
]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)
_TASK_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
# What OpenSSH itself refuses in a host or user name, and "/" (an rsync or scp habit).
_NOT_IN_DESTINATION: Final = re.compile(r"[\s'\"`$\\;&<>|(){}/,]")


def _plain(value: str) -> str:
    if not value:
        raise Wrong("is empty", "leave the key out for its default")
    if found := CONTROL.search(value):
        raise Wrong(
            f"holds the control character U+{ord(found[0]):04X}",
            "write it as one line of printable characters",
        )
    return value


def _word(value: str, root: Path) -> str:
    del root
    return _plain(value)


def _name(value: str, root: Path) -> str:
    del root
    if _plain(value)[0] == "-" or re.search(r"\s", value):
        raise Wrong(f"{shown(value)} is no name", 'no spaces, and no "-" at its beginning')
    return value


def _environment_name(value: str, root: Path) -> str:
    del root
    if not _NAME.fullmatch(value) or len(value) > 40:
        raise Wrong(
            f"{shown(value)} is no name for it",
            'use up to 40 letters (a to z), digits, "-" and "_", beginning with a letter or digit',
        )
    return value


def _task_name(value: str, root: Path) -> str:
    del root
    if not _TASK_NAME.fullmatch(value):
        raise Wrong(
            f"{shown(value)} is no name for it",
            'use lower-case letters (a to z), digits, "-" and "_", beginning with a letter',
        )
    return value


def _no_parents(value: str) -> None:
    if ".." in value.split("/"):
        raise Wrong('must not contain ".."', "write where it really is")


def _host_path(value: str, root: Path) -> str:
    _plain(value)
    _no_parents(value)
    if value.startswith("~"):
        raise Wrong(f"{shown(value)} depends on who logs in", "write the absolute path")
    if value.startswith("./"):
        value = _plain(posixpath.join(root.as_posix(), value))
    elif not value.startswith("/"):
        raise Wrong(
            f"{shown(value)} is not absolute",
            f"write {shown('/' + value)}, or {shown('./' + value)} for a path beside biso.toml",
        )
    # normpath keeps two leading slashes, which POSIX leaves open and Linux does not tell apart.
    path = "/" + posixpath.normpath(value).lstrip("/")
    if path == "/":
        raise Wrong('must not be "/"', "write the folder itself")
    return path


def _local_path(value: str, root: Path) -> str:
    _plain(value)
    if value.startswith("~/"):
        # Not Path.expanduser: that raises where there is no home, and nobody may need this file.
        path = root / os.path.expanduser(value)  # noqa: PTH111
    elif value.startswith("~"):
        raise Wrong(f"{shown(value)} is somebody else's home", 'write "~/…" or the absolute path')
    else:
        path = root / value
    return _plain(posixpath.normpath(path.as_posix()))


def _relative_path(value: str, root: Path) -> str:
    del root
    _plain(value)
    _no_parents(value)
    if value.startswith(("/", "~")):
        raise Wrong(
            f"{shown(value)} is absolute",
            f"write it relative, such as {shown(posixpath.basename(value.rstrip('/')) or 'name')}",
        )
    return posixpath.normpath(value)


def _glob(value: str, root: Path) -> str:
    del root
    _plain(value)
    _no_parents(value)
    if value.startswith(("/", "./", "~")):
        raise Wrong(
            "never matches, as paths are relative to the data dir",
            f"write {shown(value.lstrip('~./') or '**')}",
        )
    if value.endswith("/"):
        raise Wrong("never matches, as it ends in a slash", f"write {shown(value + '**')}")
    return value


def _pattern(value: str, root: Path) -> str:
    del root
    _plain(value)
    _no_parents(value)
    return value


def _argv(value: list[Any], root: Path) -> tuple[str, ...]:
    if not value:
        raise Wrong("is empty", "give the program and its arguments")
    for number, word in enumerate(value):
        if not isinstance(word, str):
            raise Wrong(
                f"word {number + 1} is {shown(word)}, not a string",
                f"write {shown(shown(word))}"
                if isinstance(word, int | float)
                else "one string a word",
            )
        if "\0" in word:
            raise Wrong(f"word {number + 1} holds a NUL character", "no argument can hold one")
    program = value[0]
    if not program or program.startswith("-") or CONTROL.search(program):
        raise Wrong(f"{shown(program)} is no program", "begin with the program's name or path")
    if program.startswith("./"):
        program = _host_path(program, root)
    return (program, *value[1:])


def _destination(value: str, root: Path) -> str | None:
    del root
    if not value:
        return None
    _plain(value)
    if value.startswith("ssh://"):
        raise Wrong(f"{shown(value)} is a URL", f"write {shown(value[6:].rstrip('/'))}")
    user, _, host = value.rpartition("@")
    # A destination that begins with "-" is an option to ssh, and -oProxyCommand runs anything.
    if value.startswith("-") or host.startswith("-"):
        raise Wrong(f'{shown(value)} begins with "-"', "ssh would take it for an option")
    if found := _NOT_IN_DESTINATION.search(value):
        raise Wrong(
            f"{shown(value)} holds {shown(found[0])}", "write an ssh_config alias or user@host:port"
        )
    name, bracket, port = host.rpartition("]:") if "]" in host else host.partition(":")
    has_port = bool(bracket) and ":" not in port
    if not host or (has_port and (not name or not port.isascii() or not port.isdigit())):
        raise Wrong(
            f"{shown(value)} is no destination", "write an ssh_config alias or user@host:port"
        )
    if has_port and not 1 <= int(port[:9]) <= 65535:
        raise Wrong(f"port {port[:9]} does not exist", "ports are 1 to 65535")
    if "@" in value and not user:
        raise Wrong(f"{shown(value)} has no user", f"write {shown(host)} or user@host")
    return value


def _user(value: str, root: Path) -> str:
    if ":" in _name(value, root):
        raise Wrong(f"{shown(value)} is no user", f"write {shown(value.partition(':')[0])}")
    return value


def _owner(value: str, root: Path) -> str:
    user, colon, group = _name(value, root).partition(":")
    if not user or (colon and not group) or ":" in group:
        raise Wrong(
            f"{shown(value)} is no owner", 'write "user:group", such as "www-data:www-data"'
        )
    return value


def _url(value: str, root: Path) -> str:
    del root
    _plain(value)
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"\s", value):
        raise Wrong(f"{shown(value)} is no URL", 'write "https://host/path"')
    if parts.password is not None:
        raise Wrong("holds a password", "leave it out: the URL is shown in plans and reports")
    return value


def _regex(value: str, root: Path) -> str:
    del root
    if not value:
        raise Wrong("is empty, which matches everything", "leave the key out for its default")
    try:
        with warnings.catch_warnings():
            # "[[a]" is only warned about: on every run, and to stderr.
            warnings.simplefilter("error")
            re.compile(value)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise Wrong(
            f"is no regular expression: {error}",
            "write the text that is matched, \\ before special characters",
        ) from error
    return value


def _database_name(value: str, root: Path) -> str:
    del root
    _plain(value)
    if (size := len(value.encode())) > 63:
        raise Wrong(
            f"is {size} bytes long, and PostgreSQL cuts names to 63",
            "write the name that `psql -l` and `\\du` show",
        )
    return value


def _duration(value: object, root: Path) -> float:
    del root
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Wrong(
            f'expected a duration such as "10m", got {shown(value)}',
            f"add the unit: {shown(shown(value) + 's')}"
            if value >= 0
            else "write a number and s, m, h, d or w",
        )
    if not isinstance(value, str):
        raise Wrong(
            f'expected a duration such as "10m", got {shown(value)}',
            "write a number and s, m, h, d or w",
        )
    try:
        return duration(value)
    except ValueError:
        raise Wrong(
            f'expected a duration such as "10m", got {shown(value)}',
            'write one number and s, m, h, d or w, such as "90s", "12h", "3d"',
        ) from None


def _seconds(value: object, root: Path) -> float:
    seconds = _duration(value, root)
    if seconds <= 0:
        raise Wrong(f"{shown(value)} is no time at all", 'write a longer one, such as "10m"')
    return seconds


def _moment(value: str, root: Path) -> str:
    del root
    if not value:
        return value
    try:
        return str(moment(value))
    except ValueError as error:
        raise Wrong(
            f"{shown(value)} {error}",
            'write "02:30", "sun 05:00" or "15 05:00" (the 15th of each month), or "" for never',
        ) from error


def _database_host(value: str, root: Path) -> str:
    return _plain(value) if value.startswith("/") else _name(value, root)


def _between(low: int, high: int) -> Form:
    def check(value: int, root: Path) -> int:
        del root
        if not low <= value <= high:
            raise Wrong(
                f"expected a whole number from {low} to {high}, got {shown(value)}",
                f"the lowest is {low}" if value < low else f"the highest is {high}",
            )
        return value

    return Form(f"a whole number from {low} to {high}", check, int)


def _sql(value: str, root: Path) -> str:
    del root
    if not value.strip():
        raise Wrong("is empty", "leave it out, or write the statement")
    if "\0" in value:
        raise Wrong("holds a NUL character", "PostgreSQL takes none")
    return value


def _scalar(value: object, root: Path) -> object:
    del root
    if not isinstance(value, str | int | float):
        raise Wrong(f"expected a single value, got {shown(value)}", "write a string or a number")
    if isinstance(value, str) and "\0" in value:
        raise Wrong("holds a NUL character", "neither PHP nor PostgreSQL takes one here")
    return value


def words_of(value: object) -> str:
    """The array that somebody meant who wrote a command as one string."""
    try:
        words = shlex.split(value) if isinstance(value, str) else []
    except ValueError:
        words = []
    return f"[{', '.join(shown(word) for word in words or ['program', 'argument'])}]"


WORD: Final = Form("a string", _word)
NAME: Final = Form("a name", _name)
ENVIRONMENT_NAME: Final = Form("a name", _environment_name)
TASK_NAME: Final = Form("a name", _task_name)
HOST_PATH: Final = Form("a path on the host", _host_path)
LOCAL_PATH: Final = Form("a path on this machine", _local_path)
RELATIVE_PATH: Final = Form("a relative path", _relative_path)
GLOB: Final = Form("a pattern", _glob)
PATTERN: Final = Form("a pattern", _pattern)
ARGV: Final = Form("an array of words", _argv, list)
DESTINATION: Final = Form("an ssh_config alias or user@host:port", _destination)
USER: Final = Form("a user", _user)
OWNER: Final = Form("user:group", _owner)
URL: Final = Form("a URL", _url)
REGEX: Final = Form("a regular expression", _regex)
DATABASE_HOST: Final = Form("a name, an address or a socket directory", _database_host)
DATABASE_NAME: Final = Form("a name of at most 63 bytes", _database_name)
DURATION: Final = Form("a duration", _duration, object)
SECONDS: Final = Form("a duration", _seconds, object)
MOMENT: Final = Form("a time, with a day before it or without", _moment)
SCALAR: Final = Form("a single value", _scalar, object)
PORT: Final = _between(1, 65535)
COUNT: Final = _between(0, 1_000_000)
VALUES: Final = _between(1, 1_000_000_000)
SQL: Final = Form("an SQL statement", _sql)
