"""RESTORE.md of a set: how to put it back with standard tools alone. The commands are meant
literally: a test extracts and runs them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from biso_tasks.backup import guide_text as text
from biso_tasks.backup.manifest import DatabaseDump, Manifest, grants_file
from biso_tasks.database.create import locale_words
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.settings import Settings, assignment
from biso_tasks.database.sift import FOLD, SIFT, rules
from biso_tasks.database.snapshot import Counts
from biso_tasks.database.sqltext import compose, name

__all__ = ["GUIDE", "guide"]

GUIDE: Final = "RESTORE.md"


def guide(manifest: Manifest, path: str) -> bytes:
    """RESTORE.md for the set that `manifest` describes and that is sealed at `path`."""
    return "".join(_parts(manifest, path)).encode("utf-8", "surrogateescape")


def _parts(manifest: Manifest, path: str) -> Iterator[str]:
    yield _head(manifest)
    yield _variables(manifest, path)
    yield text.CHECK
    if manifest.databases:
        yield text.SERVER
    if "webroot" in manifest.areas:
        yield text.WEBROOT
        yield text.CONFIG.replace("@CONFIG@", shlex.quote(_config(manifest)))
    if "data" in manifest.areas:
        yield text.DATA
    if manifest.trees:
        yield text.RECORDED
    for number, dump in enumerate(manifest.databases, 1):
        yield from _database(dump, number)
    if "webroot" in manifest.areas:
        yield text.MIGRATIONS
    yield text.LAST


def _head(manifest: Manifest) -> str:
    personal = (
        "It holds personal data: keep it as safe as the installation itself."
        if manifest.personal
        else "It was anonymised."
    )
    missing = "".join(f"\n- {_line(one)}" for one in manifest.missing)
    lacks = f"\nWhat is **not** in it, since rights did not allow it:\n{missing}\n"
    return f"""# Restoring the backup set {manifest.id} by hand

This set of `{_line(manifest.site)}` (environment `{manifest.environment}`, {manifest.role}) was
begun at {manifest.created} on `{_line(manifest.machine)}` and holds: {", ".join(manifest.areas)}.
{personal} With the tool that made it, all below is
`biso restore {manifest.id} --to ENVIRONMENT`. Without it, bash, coreutils, util-linux, gzip,
sed, awk and the PostgreSQL client are enough.
{lacks if manifest.missing else ""}{text.HEAD}"""


def _variables(manifest: Manifest, path: str) -> str:
    places = manifest.places
    given = {"SET": shlex.quote(path), "WEBROOT": shlex.quote(places.webroot)}
    given["DATADIR"] = shlex.quote(places.datadir)
    if places.datadir_in_webroot:
        given["DATADIR"] = f'"$WEBROOT"/{shlex.quote(places.datadir_in_webroot)}'
    told, export = "", []
    if manifest.databases:
        told = """ `PGUSER` is the application's role,
`PGADMIN` one that may create roles and databases. Passwords come from `~/.pgpass`, or from the file
that `PGPASSFILE` names."""
        given |= _server(manifest.databases[0]) | {"PGADMIN": "postgres"}
        export = ["export PGHOST PGPORT"]
    for number, dump in enumerate(manifest.databases, 1):
        if number > 1:
            first, own = _server(manifest.databases[0]), _server(dump)
            for key, value in own.items():
                given[_named(key, number)] = f'"${key}"' if value == first[key] else value
        given[_named("PGUSER", number)] = shlex.quote(dump.role)
        given[_named("PGDATABASE", number)] = shlex.quote(dump.dbname)
    lines = [f'[ -n "${{{key}:-}}" ] || {key}={value}' for key, value in given.items()]
    # Without history expansion: "!" in a path is meant as it stands.
    block = "\n".join(["```sh", "set -o pipefail +o histexpand", *lines, *export, "```"])
    return f"""
## Where things were, and where they shall be

Correct the values, or set the variables before.{told}

{block}
"""


def _server(dump: DatabaseDump) -> dict[str, str]:
    """Where the database was, as config.php says, quoted for a shell."""
    host = dump.facts["host"] or "/var/run/postgresql"
    return {"PGHOST": shlex.quote(host), "PGPORT": str(dump.facts["port"])}


def _config(manifest: Manifest) -> str:
    """config.php's path below the webroot."""
    places = manifest.places
    inside = places.config.removeprefix(places.webroot.rstrip("/") + "/")
    return "config.php" if inside.startswith("/") else inside


def _database(dump: DatabaseDump, number: int) -> Iterator[str]:
    facts = ServerFacts.from_document(dump.facts)
    yield f"\n## The database `{_line(dump.dbname)}` ({_line(dump.key)})\n"
    if number > 1:
        keys = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE")
        lines = "".join(f"{key}=${_named(key, number)}\n" for key in keys)
        yield f"\n```sh\n{lines}```\n"
    yield "\n```sh\nexport PGUSER PGDATABASE\n```\n"
    yield text.ROLES
    words = [compose("ENCODING {}", facts.encoding), *locale_words(facts, None, facts.version)]
    yield text.CREATE.replace("@LOCALE@", " ".join(words))
    yield from _extensions(facts)
    yield _load(dump, facts)
    if facts.event_triggers:
        listed = ", ".join(f"`{_line(one)}`" for one in facts.event_triggers)
        yield f"\nOnly a superuser may create event triggers; take them from the dump: {listed}.\n"
    yield text.GRANTS.replace("@GRANTS@", shlex.quote(grants_file(dump.stem)))
    yield from _settings(dump)
    yield text.ANALYZE
    yield _counts(dump.counts)


def _settings(dump: DatabaseDump) -> Iterator[str]:
    """What belongs to the database as a whole, once more as the administrator: the owner may not
    set all of it."""
    lines = []
    for who, setting, value in Settings.from_dict(dump.facts["settings"]).values:
        start = (
            "ALTER DATABASE" if not who else f"ALTER ROLE {compose('{}', name(who))} IN DATABASE"
        )
        if who == dump.role:
            start = 'ALTER ROLE :"role" IN DATABASE'
        line = f'{start} :"db" {assignment(setting, value)};'
        if _line(line) == line:
            lines.append(line)
    if lines:
        yield text.SETTINGS.replace("@SETTINGS@", "\n".join(lines))


def _extensions(facts: ServerFacts) -> Iterator[str]:
    """What only a superuser may create."""
    lines = []
    for one in facts.extensions:
        if not one.trusted:
            if one.schema not in ("public", "pg_catalog"):
                lines.append(
                    compose("CREATE SCHEMA IF NOT EXISTS {}", name(one.schema))
                    + ' AUTHORIZATION :"role";'
                )
            made = compose(
                "CREATE EXTENSION IF NOT EXISTS {} SCHEMA {};", name(one.name), name(one.schema)
            )
            lines.append(made)
    if lines:
        start = """as_admin -v role="$PGUSER" <<'SQL'"""
        block = "\n".join(["```sh", start, *lines, "SQL", "```"])
        yield f"\nExtensions that the application's role may not create:\n\n{block}\n"


def _load(dump: DatabaseDump, facts: ServerFacts) -> str:
    file = shlex.quote(dump.file)
    made = [one.schema for one in facts.extensions if not one.trusted]
    if dump.format != "plain":
        omit = ["; 0 0 COMMENT - (EXTENSION|EVENT TRIGGER) ", "; 3466 [0-9]+ EVENT TRIGGER "]
        omit += [f"; 2615 [0-9]+ SCHEMA - {re.escape(one)} " for one in made]
        filled = text.ARCHIVE.replace("@OMIT@", shlex.quote("|".join(omit)))
        return filled.replace("@FILE@", file)
    # a dump with large objects brings transactions of its own
    single = "" if dump.counts.large_objects else " -1"
    return (
        text.SIFTED.replace("@SIFT@", SIFT.strip("\n"))
        .replace("@RULES@", " ".join(shlex.quote(one) for one in rules(facts, made)))
        .replace("@FOLD@", FOLD)
        .replace("@SINGLE@", single)
        .replace("@FILE@", file)
    )


def _counts(counts: Counts) -> str:
    rows = [
        f"SELECT {compose('{}', table)} AS what, count(*) AS found, {expected} AS expected"
        f" FROM ONLY {table}"
        for table, expected in sorted(counts.tables.items())
        if _line(table) == table
    ]
    objects = f"SELECT 'large objects', count(*), {counts.large_objects}"
    rows.append(f"{objects} FROM pg_largeobject_metadata")
    return "\n".join(
        (
            "\n```sh",
            "psql -X -q -t -v ON_ERROR_STOP=1 <<'SQL'",
            "SELECT * FROM (",
            "\nUNION ALL\n".join(rows),
            ") AS counted WHERE found <> expected;",
            "SQL",
            "```\n",
        )
    )


def _named(variable: str, number: int) -> str:
    return variable if number == 1 else f"{variable}{number}"


def _line(words: str) -> str:
    """In one line: a line break in a name could begin a block, or end the text psql is given."""
    return " ".join(words.splitlines())
