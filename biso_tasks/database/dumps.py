"""A database as it was in a snapshot, dumped into a file (or directory) of a backup set on its own
host.

The file belongs to the login, in plain SQL, gzip: `zcat | psql` loads it by hand. What must not
pass for a dump: `kill -9 pg_dump` in `pg_dump | gzip` leaves exit 0 and a file that `gzip -t`
passes; a full disk leaves a short one. So each process's status is looked at, the end of the text
is looked for and the checksum is taken while it streams: the file is never read again.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from biso_tasks.database.client import PREAMBLE, client_command, password_line
from biso_tasks.database.packer import PACKER
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import Snapshot
from biso_tasks.database.transfer import Leg, transfer
from biso_tasks.errors import ConfigError, StepFailed
from biso_tasks.host.command import Command, command, script

__all__ = ["SUFFIXES", "Dumped", "Format", "dump", "suspicious"]

Format = Literal["plain", "custom", "directory"]

SUFFIXES: Final[Mapping[Format, str]] = {"plain": ".sql.gz", "custom": ".dump", "directory": ".dir"}

_SHRUNK = 0.5  # of the bytes for each row of the set before


@dataclass(frozen=True, slots=True)
class Dumped:
    """A dump: `file` is its name in its folder, `bytes` its size on disk, `sha256` of the file (""
    for a directory), `pg_dump` the version of the program that wrote it."""

    file: str
    format: Format
    bytes: int
    sha256: str
    pg_dump: str


def dump(
    server: Server,
    snapshot: Snapshot,
    folder: str,
    stem: str,
    *,
    format: Format,
    jobs: int = 1,
    cancel: threading.Event,
    timeout: float | None = None,
) -> Dumped:
    """Dump `server`'s database, as `snapshot` sees it, into `folder`/`stem` + the format's suffix
    on the server's host, 0600, as the login; on disk (fsync) when this returns. `jobs` counts for
    "directory" alone. Privileges and owners are not in it (see `grants.as_sql`), tablespaces
    neither: they are this machine's.

    `snapshot` must be held until this returns. Raises ConfigError for a format that cannot be,
    StepFailed naming the process that failed."""
    if format == "directory" and server.prefix:
        raise ConfigError(
            f'{server}: format = "directory" needs pg_dump on the host, and the one here runs in '
            "a container, whose files are not the host's",
            hint='set format = "plain" or "custom" under [backup]',
        )
    name = stem + SUFFIXES[format]
    path = f"{folder}/{name}"
    version = _version(server)
    words = server.client_words(
        "pg_dump",
        f"--snapshot={snapshot.id}",
        *("--no-owner", "--no-privileges", "--no-tablespaces", "--lock-wait-timeout=60s"),
        *_OPTIONS[format],
        *((f"--jobs={max(1, jobs)}", f"--file={path}") if format == "directory" else ()),
    )
    reader = client_command(server, _RUN, *words).words(server.host.login)
    size = (str(snapshot.bytes()),) if format == "plain" else ()
    both = script(_WRITERS[format], path, *size, *reader)
    said = transfer(
        Leg(server.host, both, password_line(server.dsn)),
        Leg(server.host, command("cat")),
        f"dumping {server}",
        route="local",
        cancel=cancel,
        timeout=timeout,
    ).source_err
    # the last: a warning of pg_dump may hold a name that looks like it
    found = re.findall(rb"^biso-dumped ([0-9a-f]{64}|-) ([0-9]+)$", said, re.MULTILINE)
    if not found:
        raise StepFailed(
            f"dumping {server}: the host did not say what it wrote",
            hint=f"what lies in {path} is not a dump; run the backup again",
        )
    checksum, size = found[-1]
    digest = "" if checksum == b"-" else checksum.decode()
    return Dumped(name, format, int(size), digest, version)


def suspicious(bytes_now: int, rows_now: int, bytes_before: int, rows_before: int) -> str | None:
    """Why a dump is too small to be believed next to the one before, or None. Rows are counted in
    the dump's own snapshot: a database that was emptied on purpose has fewer rows as well, one that
    lost its content on the way has as many rows and fewer bytes. A row may need half the bytes it
    needed before (it was compressed otherwise, a large column was dropped), not less."""
    if not bytes_before or not rows_before:
        return None
    expected = bytes_before * min(1.0, rows_now / rows_before)
    if bytes_now >= expected * _SHRUNK:
        return None
    return (
        f"the dump has {bytes_now} bytes for {rows_now} rows, and the one before had "
        f"{bytes_before} bytes for {rows_before} rows"
    )


def _version(server: Server) -> str:
    """As pg_dump says it: "15.18"."""
    asked = Command((*server.prefix, server.program("pg_dump"), "--version"))
    said = server.host.run(asked, ok=None)
    found = re.search(r"\(PostgreSQL\) (\S+)", said.text)
    if found is None:
        raise StepFailed(
            f"{server.host.name}: there is no usable pg_dump ({asked})",
            hint="install postgresql-client there, or set pg_bindir for the environment",
        )
    return found[1]


# --clean is for a load by hand; pg_restore has it on its own
_OPTIONS: Final[Mapping[Format, tuple[str, ...]]] = {
    "plain": ("--clean", "--if-exists"),
    "custom": ("--format=custom", "--compress=3"),
    "directory": ("--format=directory", "--compress=3"),
}

_RUN = PREAMBLE + 'exec "$@" </dev/null\n'

# "$1" the file, then pg_dump's reader and its words. `blame` names who failed; who was ended by a
# broken pipe (141) is a victim.
_COMMON = r"""umask 077
IFS= read -r line
file=$1
shift
blame() {
  local code name
  shift  # the printf
  for name in "${names[@]}"; do
    code=$1
    shift
    case $code in 0 | 141) continue ;; esac
    case $name in
      file) echo "error: $file could not be written (tee ended with $code): is the disk full?" ;;
      *) echo "error: $name ended with $code" ;;
    esac
  done >&2
  return 1
}
written() {
  sync -- "$file"
  printf 'biso-dumped %s %s\n' "${1%% *}" "$(stat -c %s -- "$file")" >&2
}
"""

# "$1" the database's size. The text goes past `tail` on descriptor 7, the checksum leaves on 8.
_PLAIN = (
    _COMMON
    + PACKER
    + r"""packer "$1"
shift
names=(pg_dump tee "${pack[0]}" file sha256sum)
sum=$(
  exec 8>&1
  {
    printf '%s\n' "$line" | "$@" 7>&- 8>&- | tee /dev/fd/7 | "${pack[@]}" 7>&- |
      tee -- "$file" 7>&- | sha256sum >&8 7>&- || blame "${PIPESTATUS[@]}"
  } 7>&1 | tail -c 4096 | {
    IFS= read -r -d '' end || :
    case $end in
      *$'\n-- PostgreSQL database dump complete\n'*) ;;
      *) exit 65 ;;
    esac
  }
) || { echo "error: what pg_dump wrote has no end" >&2; exit 65; }
written "$sum"
"""
)

_CUSTOM = (
    _COMMON
    + r"""names=(pg_dump file sha256sum)
sum=$(printf '%s\n' "$line" | "$@" | tee -- "$file" | sha256sum || blame "${PIPESTATUS[@]}")
written "$sum"
"""
)

# pg_dump itself waits until its files are on disk
_DIRECTORY = (
    _COMMON
    + r"""names=(pg_dump)
printf '%s\n' "$line" | "$@" || blame "${PIPESTATUS[@]}"
bytes=$(find "$file" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.0f", sum }')
printf 'biso-dumped - %s\n' "$bytes" >&2
"""
)

_WRITERS: Final[Mapping[Format, str]] = {
    "plain": _PLAIN,
    "custom": _CUSTOM,
    "directory": _DIRECTORY,
}
