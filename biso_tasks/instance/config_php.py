"""What config.php says, by running it: PHP is the only parser that sees what BISO sees.

The file holds comments, switched-off lines, computed values, a closing tag or a `return`; so a
stub `Config` class is put in front of it, on the host, as the user that BISO runs as.
"""

from __future__ import annotations

import base64
import json
import posixpath
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from biso_tasks.config.model import Environment
from biso_tasks.errors import Refused, StepFailed
from biso_tasks.host.command import Result, script
from biso_tasks.host.protocol import Host
from biso_tasks.instance.app import App
from biso_tasks.instance.unanswered import ANSWER, closed_config, require_ran
from biso_tasks.values import Dsn, Secret

__all__ = ["Facts", "leaves", "read_facts", "read_planned"]

Value = str | int | float | bool | None | dict[str, "Value"]

_LONGEST = 100  # characters of what a config.php printed

# A config.php that is nowhere yet, run where it will stand, below a folder that is gone again when
# this ends: what it derives from __DIR__ then begins with that folder's path, which is printed
# first. In memory where that can be, since it holds passwords. On stdin the files, then PHP's own.
# $1 the webroot, $2 a folder that realpath() may ask for, $3 how many files, then name and length
# of each, the config's name, PHP's words.
_PLANNED = r"""
umask 077
memory=/dev/shm
[ -d "$memory" ] && [ -w "$memory" ] || memory=${TMPDIR:-/tmp}
at=$(mktemp -d "$memory/.biso.XXXXXXXX")
trap 'rm -rf -- "$at"' EXIT
trap 'exit 143' HUP INT TERM
webroot=$1 n=$3
mkdir -p -- "$at$webroot" "$at$2"
shift 3
for (( ; n > 0; n-- )); do
  mkdir -p -- "$(dirname -- "$at$webroot/$1")"
  head -c "$2" > "$at$webroot/$1"
  shift 2
done
config=$at$webroot/$1
shift
printf '%s\0' "$at"
cd -- "$at$webroot"
words=()
for word; do
  [ "$word" != @config@ ] || word=$config
  words+=("$word")
done
"${words[@]}"
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one config.php evaluates to. `datadir` is as PHP sees it, `log` is None where there is
    no log database. `exits`: the file ends the program, so that nothing can follow it. `values` is
    the whole tree, passwords included: never print it."""

    env: str
    datadir: str
    database: Dsn
    log: Dsn | None
    php: str
    pgsql: bool
    values: Mapping[str, Value] = field(repr=False)
    exits: bool = False

    def dsn(self, key: str) -> Dsn | None:
        """The database that config.php names under `key`, or None."""
        return _dsn(self.values.get(key))

    @property
    def is_production(self) -> bool:
        """PROD, prod, Production, live: anything that is not plainly a test instance's env."""
        return self.env.strip().lower().startswith(("prod", "live"))


def read_facts(app: App, environment: Environment, *, overrides: bool = True) -> Facts:
    """Evaluate the config.php of `app`, live or stage. With `overrides`, what biso.toml says of the
    database wins; a stage is looked at without, since only what PHP sees counts there.

    Raises Refused where the file is missing, unreadable, broken, or lacks a key, naming it.
    """
    where = f"{environment.name}: {app.webroot}/{environment.config}"
    word = secrets.token_hex(8)
    arguments = _arguments(environment, f"{app.inside}/{environment.config}", word)
    result = app.php(*arguments, stdin=_stub(), ok=None)
    if result.code == 66 and b"biso-unreadable" in result.err:
        raise closed_config(app)
    require_ran(app, result, *arguments)
    remedy = "mend the file; biso-cli cannot run with it either"
    facts = _judge(result, word, environment, where, overrides, "", remedy)
    if facts.datadir.startswith("/"):
        return facts
    # Relative, and not there: PHP cannot say where it would be.
    return replace(facts, datadir=posixpath.normpath(posixpath.join(app.inside, facts.datadir)))


def read_planned(
    host: Host,
    environment: Environment,
    webroot: str,
    texts: Mapping[str, bytes],
    *,
    beside: str = "/",
) -> Facts:
    """Evaluate a config.php that is not there yet, as if it stood in `webroot` of `host`: `texts`
    are the files, by their paths below the webroot, the config's own among them. `beside` is a
    folder that it may look for. What biso.toml says of the database is left aside. Nothing stays on
    the host. A data dir that is relative is one below the webroot.

    Raises as `read_facts`. Not for a container's PHP, which sees no such folder.
    """
    where = f"{environment.name}: {webroot}/{environment.config}, as it would be"
    word = secrets.token_hex(8)
    given = [each for path, text in texts.items() for each in (path, str(len(text)))]
    run = script(
        _PLANNED, webroot, beside, str(len(texts)), *given, environment.config, *environment.php,
        *_arguments(environment, "@config@", word),
    )  # fmt: skip
    stdin = b"".join(texts.values()) + _stub()
    result = host.run(run.as_user(environment.run_as), stdin=stdin, ok=None, timeout=60)
    at, nul, out = result.out.partition(b"\0")
    prefix = at.decode("utf-8", "surrogateescape") if nul else ""
    facts = _judge(
        Result(result.code, out if nul else b"", result.err),
        word,
        environment,
        where,
        False,
        prefix,
        "does it need other files? Put a config.php of this environment's own into the webroot, "
        "and make its database: an existing target keeps its own",
    )
    datadir = posixpath.normpath(posixpath.join(webroot, facts.datadir))
    return replace(facts, datadir=datadir)


def leaves(value: Value, path: str = "") -> Iterator[tuple[str, str | int | float | bool | None]]:
    """Every scalar below `value` with its key path, such as `gaia.db.dbname`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _arguments(environment: Environment, config: str, word: str) -> tuple[str, ...]:
    """PHP's own, which reads the stub on stdin; its answer stands between lines with `word`."""
    settings = ("-d", "display_errors=stderr", "-d", "log_errors=0")
    keys = [environment.key(name) for name in ("datadir", "env", "gaia.db", "log.db")]
    return (*settings, "--", config, word, *keys)


def _stub() -> bytes:
    return files("biso_tasks.instance").joinpath("read_config.php").read_bytes()


def _judge(
    result: Result,
    word: str,
    environment: Environment,
    where: str,
    overrides: bool,
    prefix: str,
    remedy: str,
) -> Facts:
    """`prefix` is no part of any path; `remedy` is for what PHP cannot run."""
    before, _, rest = (b"\n" + result.out).partition(f"\n{ANSWER} {word}\n".encode())
    text, found, after = rest.partition(f"\n{ANSWER}-end {word}\n".encode())
    answer = _read(text) if found else None
    if answer is None:
        raise StepFailed(
            f"{where}: PHP did not evaluate it (exit {result.code}): {_first_line(result.error)}",
            hint=f"run there: {' '.join(environment.php)} -v, and set `php` in biso.toml if needed",
        )
    values = _untag(answer["values"])
    values = _without(values, prefix) if prefix else values
    assert isinstance(values, dict)
    said = str(answer["error"])
    if said == "exit":
        answer["printed"] = _printed(before + after, values, prefix)
    elif said:
        said = said.replace(prefix, "") if prefix else said
        raise Refused(f"{where} is broken PHP: {said}", hint=remedy)
    return _facts(values, answer, environment, where, overrides)


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _printed(printed: bytes, values: dict[str, Value], prefix: str) -> str:
    """The first line that it printed, often why it ended, such as "no direct access", without
    anything that it had set: it may print a password."""
    lines = printed.decode("utf-8", "replace").split("\n")
    said = next((line.strip() for line in lines if line.strip()), "")
    said = said.replace(prefix, "") if prefix else said
    for _, value in leaves(values):
        if isinstance(value, str) and len(value) >= 4:
            said = said.replace(value, "…")
    return said[:_LONGEST]


def _without(value: Value, prefix: str) -> Value:
    if isinstance(value, dict):
        return {key: _without(item, prefix) for key, item in value.items()}
    return value.replace(prefix, "") if isinstance(value, str) else value


def _facts(
    values: dict[str, Value],
    answer: Mapping[str, Any],
    environment: Environment,
    where: str,
    overrides: bool,
) -> Facts:
    def text(name: str) -> str:
        key = environment.key(name)
        value = values.get(key)
        if not isinstance(value, str) or not value:
            if answer["error"]:
                raise _ended(where, key, answer["printed"])
            raise Refused(
                f"{where} does not set '{key}'{_unset(answer)}",
                hint=f"set it there, or name the key that this BISO uses: "
                f"environments.{environment.name}.config_keys in biso.toml",
            )
        return value

    key = environment.key("gaia.db")
    database = _dsn(values.get(key))
    if database is None:
        if answer["error"]:
            raise _ended(where, key, answer["printed"])
        raise Refused(
            f"{where} does not set '{key}' with a dbname{_unset(answer)}",
            hint=f"set it there, or environments.{environment.name}.config_keys in biso.toml",
        )
    if overrides:
        said = environment.database
        database = Dsn(
            host=database.host if said.host is None else said.host,
            port=database.port if said.port is None else said.port,
            dbname=database.dbname if said.dbname is None else said.dbname,
            user=database.user if said.user is None else said.user,
            password=database.password,
        )
    datadir = text("datadir")
    if not datadir.startswith("/"):
        # Relative to where PHP runs, which for us is the webroot as for biso-cli.
        real = _untag(answer["realpath"])
        datadir = real if isinstance(real, str) else datadir
    return Facts(
        env=text("env"),
        datadir=datadir.rstrip("/") or "/",
        database=database,
        log=_dsn(values.get(environment.key("log.db"))),
        php=str(answer["php"]),
        pgsql=bool(answer["pgsql"]),
        values=values,
        exits=bool(answer["error"]),
    )


def _ended(where: str, key: str, printed: str) -> Refused:
    return Refused(
        f"{where} ends with `exit` or `die` before it sets '{key}'"
        + (f", saying: {printed}" if printed else ""),
        hint="take that out; where it waits for a constant of BISO's, give PHP a file that defines "
        'it: php = ["php", "-d", "auto_prepend_file=/path/on/the/host.php"] in biso.toml',
    )


def _unset(answer: Mapping[str, Any]) -> str:
    """What a web server sets for its own processes is not there for PHP on the command line."""
    names = ", ".join(str(name) for name in answer["unset"])
    return f" (it asks the environment for {names}, not set on the command line)" if names else ""


def _dsn(value: Value | None) -> Dsn | None:
    if not isinstance(value, dict) or not value.get("dbname"):
        return None

    def text(key: str) -> str:
        item = value.get(key)
        return "" if item is None or isinstance(item, dict | bool) else str(item)

    port = text("port")
    return Dsn(
        host=text("host"),
        port=int(port) if port.isdigit() else 5432,
        dbname=text("dbname"),
        user=text("user"),
        password=Secret(text("password")),
    )


def _untag(tagged: list[Any]) -> Value:
    tag, value = tagged
    if tag == "s":
        return base64.b64decode(value).decode("utf-8", "surrogateescape")
    if tag == "a":
        return {
            base64.b64decode(key).decode("utf-8", "surrogateescape"): _untag(item)
            for key, item in value
        }
    scalar: int | float | bool | None = value
    return scalar


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else "no output"
