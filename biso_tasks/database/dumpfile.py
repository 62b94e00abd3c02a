"""A dump of a live database in a file on its own host, checked before anybody relies on it, and put
back into the emptied database.

The dump is plain SQL, gzip: `zcat | psql` loads it by hand. What it must withstand: `kill -9
pg_dump` in `pg_dump | gzip` leaves exit 0 and a file that `gzip -t` passes; a dump cut inside COPY
loads with exit 0. So each process's status is looked at, the end of the file is looked for, its
checksum is kept elsewhere, and it loads in a transaction that only its own last lines commit.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from biso_tasks.database.client import APPEND, LOAD, client_command, password_line
from biso_tasks.database.connect import connect
from biso_tasks.database.copy import DUMP, HEAD
from biso_tasks.database.empty import staying
from biso_tasks.database.keep import around, find_tables
from biso_tasks.database.packer import PACKER, UNPACKER
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import Snapshot, export, label
from biso_tasks.database.transfer import Leg, transfer
from biso_tasks.errors import NeedsPerson, Refused, StepFailed
from biso_tasks.host.answer import answered, whole
from biso_tasks.host.command import Command, command, script
from biso_tasks.host.protocol import CommandFailed, HostError

__all__ = ["Dumped", "dump", "dump_rows", "load", "load_rows", "verify"]

_ALL = "pre-data data post-data"
_MARK = "-- biso-tasks: this dump is complete\n"
_TRAILER = b"-- PostgreSQL database dump complete"

# $1 how many words the reader has. The password is a line of its own stdin, in no argv.
_OUT = r"""IFS= read -r line
n=$1
shift
printf '%s\n' "$line" | "${@:1:n}" | "${@:n+1}" || {
  codes=("${PIPESTATUS[@]}")
  echo "the dump ended with ${codes[1]}, the program that writes the file with ${codes[2]}" >&2
  exit 1
}
"""
_WRITE = (
    PACKER
    + r"""umask 077
packer "$2"
"${pack[@]}" >"$1"
sync -- "$1"
"""
)
# $1 how many words the file's reader has, $2 SQL behind the file's.
_IN = r"""IFS= read -r line
n=$1 tail=$2
shift 2
{ printf '%s\n' "$line"; "${@:1:n}"; printf '%s' "$tail"; } | "${@:n+1}"
"""
# The whole file is read: a cut one has a beginning that is well.
_LOOK = (
    UNPACKER
    + r"""[ -f "$1" ] || exit 66
sha256sum <"$1" | cut -c1-64
stat -c %s -- "$1"
unpack "$1" | tail -c 4096
printf '\0end'
"""
)


@dataclass(frozen=True, slots=True)
class Dumped:
    """A dump in the file `path`, of `bytes` bytes."""

    path: str
    sha256: str
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.path, "sha256": self.sha256, "bytes": self.bytes}

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> Dumped:
        return Dumped(str(document["path"]), str(document["sha256"]), int(document["bytes"]))


def dump(
    server: Server,
    snapshot: Snapshot,
    path: str,
    *,
    user: str | None,
    cancel: threading.Event,
    timeout: float | None = None,
) -> Dumped:
    """Dump `server`'s live database, as `snapshot` sees it, into `path` (0600) as the login `user`,
    without the extensions that stay when it is emptied. Privileges are not in it. Raises StepFailed
    where a process failed or the file is not whole."""
    kept = staying(snapshot.connection)
    omit = "|".join(
        [
            "^[0-9]+; 0 0 COMMENT - EXTENSION ",
            "^[0-9]+; 0 0 COMMENT - EVENT TRIGGER ",
            "^[0-9]+; 3466 [0-9]+ EVENT TRIGGER ",
            *(f"^[0-9]+; 2615 {one.schema_oid} SCHEMA " for one in kept if one.schema != "public"),
        ]
    )
    words = server.client_words(
        "pg_dump",
        f"--snapshot={snapshot.id}",
        *("--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions"),
        "--lock-wait-timeout=60s",
        *(f"--exclude-table-data={table}" for one in kept for table in one.tables),
    )
    found = snapshot.connection.execute(
        "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"
    ).fetchone()
    objects = "yes" if found and found[0] else "no"
    program = server.program("pg_restore")
    source = client_command(server, DUMP, _MARK, omit, program, _ALL, objects, *words)
    return _out(server, source, path, snapshot.bytes(), user, cancel, timeout)


def verify(server: Server, dumped: Dumped, *, user: str | None) -> None:
    """Raises NeedsPerson where the file is not the one that was written, before anything is done
    with it; HostError where its host did not answer."""
    try:
        found = _look(server, dumped.path, user)
    except HostError:
        raise  # of the link, or an answer that came by half: nothing against the file
    except StepFailed as error:
        raise _unfit(server, dumped, error.message) from error
    if found != dumped:
        said = f"its checksum or size has changed ({found.bytes} bytes, {dumped.bytes} expected)"
        raise _unfit(server, dumped, said)


def load(
    server: Server,
    dumped: Dumped,
    *,
    user: str | None,
    cancel: threading.Event,
    timeout: float | None = None,
) -> None:
    """Load the dump into `server`'s live database, which must be empty (`empty`) and the file
    `verify`'d. Rows are compared by the caller. Raises StepFailed."""
    _in(server, dumped, HEAD, "", user, cancel, timeout)


def dump_rows(
    server: Server,
    wanted: Sequence[str],
    path: str,
    *,
    user: str | None,
    cancel: threading.Event,
    timeout: float | None = None,
) -> dict[str, Any]:
    """The rows of the tables `wanted` (see `keep.check_tables`) into a file, with what `load_rows`
    needs to put them into the next content of the same database: a JSON document. Raises Refused
    where there is no such table, StepFailed."""
    with export(server) as snapshot:
        ask = snapshot.connection.execute
        kept = []
        for word in wanted:
            found = find_tables(snapshot.connection, word)
            if sum(one.root for one in found) != 1:
                what = "more than one table" if found else "no table"
                raise Refused(
                    f"keep_tables: {word!r} means {what} of {server.host.name}",
                    hint="correct keep_tables in [refresh]",
                )
            kept += found
        sequences = [one for table in kept for one in table.sequences]
        words = server.client_words(
            "pg_dump",
            f"--snapshot={snapshot.id}",
            *("--data-only", "--no-owner", "--no-privileges", "--lock-wait-timeout=60s"),
            *(f"--table={label(table.table)}" for table in kept),
            # setval() is not undone when the transaction fails: that comes afterwards
            *(f"--exclude-table-data={label(one)}" for one in sequences),
        )
        source = client_command(server, APPEND, _MARK, *words)
        dumped = _out(server, source, path, 0, user, cancel, timeout)
        rows, last = {}, {}
        for table in kept:
            row = ask(f"SELECT count(*) FROM ONLY {label(table.table)}".encode()).fetchone()
            rows[label(table.table)] = int(row[0]) if row else 0
        for one in sequences:
            row = ask(f"SELECT last_value, is_called FROM {label(one)}".encode()).fetchone()
            assert row is not None
            last[label(one)] = [int(row[0]), bool(row[1])]
        return {
            "wanted": list(wanted),
            "dump": dumped.as_dict(),
            "columns": {label(table.table): sorted(table.columns) for table in kept},
            "rows": rows,
            "sequences": last,
        }


def load_rows(
    server: Server,
    document: Mapping[str, Any],
    *,
    user: str | None,
    cancel: threading.Event,
    timeout: float | None = None,
) -> dict[str, int]:
    """Replace the rows of those tables in `server`'s live database by the ones that `dump_rows`
    kept: all or none. The rows by table. Raises StepFailed where a table or column is missing now,
    or a foreign key does not hold."""
    dumped = Dumped.from_dict(document["dump"])
    verify(server, dumped, user=user)
    with connect(server, autocommit=True) as connection:
        connection.execute("SELECT set_config('search_path', '', false)")  # qualified definitions
        kept = [one for word in document["wanted"] for one in find_tables(connection, word)]
        there = {label(table.table): table.columns for table in kept}
        for table, columns in document["columns"].items():
            missing = sorted(set(columns) - there.get(table, frozenset()))
            if missing:
                raise StepFailed(
                    f"keep_tables: {table} has no column {missing[0]!r} any more",
                    hint="take the table out of keep_tables in [refresh]",
                )
        before, after = around(connection, kept)
        _in(server, dumped, before, f"{after}COMMIT;\n", user, cancel, timeout)
        for sequence, (last, called) in document["sequences"].items():
            connection.execute("SELECT setval(%s::regclass, %s, %s)", (sequence, last, called))
        result = {}
        for table, rows in document["rows"].items():
            row = connection.execute(f"SELECT count(*) FROM ONLY {table}".encode()).fetchone()
            if row is None or row[0] != rows:
                raise StepFailed(f"{table} has {row and row[0]} rows now, {rows} were kept")
            result[table] = rows
        return result


def _out(
    server: Server,
    source: Command,
    path: str,
    size: int,
    user: str | None,
    cancel: threading.Event,
    timeout: float | None,
) -> Dumped:
    host = server.host
    reader = source.words(host.login)
    writer = script(_WRITE, path, str(size)).as_user(user).words(host.login)
    both = script(_OUT, str(len(reader)), *reader, *writer)
    legs = Leg(host, both, password_line(server.dsn)), Leg(host, command("cat"))
    transfer(*legs, f"dumping {server}", route="local", cancel=cancel, timeout=timeout)
    return _look(server, path, user)


def _in(
    server: Server,
    dumped: Dumped,
    head: str,
    tail: str,
    user: str | None,
    cancel: threading.Event,
    timeout: float | None,
) -> None:
    host = server.host
    reader = Command(("gzip", "-dc", "--", dumped.path)).as_user(user).words(host.login)
    loader = client_command(server, LOAD, head, *server.client_words("psql")).words(host.login)
    both = script(_IN, str(len(reader)), tail, *reader, *loader)
    legs = Leg(host, both, password_line(server.dsn)), Leg(host, command("cat"))
    transfer(*legs, f"loading {server}", route="local", cancel=cancel, timeout=timeout)


def _look(server: Server, path: str, user: str | None) -> Dumped:
    """What the file is. Raises StepFailed where it is not a whole dump."""
    what = f"the dump {path}"
    try:
        out = server.host.run(script(_LOOK, path).as_user(user), timeout=None).out
    except CommandFailed as error:
        gone = error.result.code == 66
        said = "is not there" if gone else f"cannot be read to its end ({error.result.error})"
        raise StepFailed(f"{server.host.name}: {what} {said}") from error
    with answered(server.host.name, what):
        checksum, size, end = whole(server.host.name, what, out).split(b"\n", 2)
        length = int(size)
    if _TRAILER not in end or not end.endswith(_MARK.encode()):
        raise StepFailed(f"{server.host.name}: {what} ends before its end")
    return Dumped(path, checksum.decode(), length)


def _unfit(server: Server, dumped: Dumped, why: str) -> NeedsPerson:
    return NeedsPerson(
        f"{server.host.name}: the dump {dumped.path}, from which {server} is to be put back, "
        f"cannot be relied on: {why}",
        hint="nothing was changed; put back the file whose sha256 is "
        f"{dumped.sha256}, or a backup of this database, and run `biso recover` again",
    )
