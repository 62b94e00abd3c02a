"""Client programs (psql, pg_dump, …) on the host, with the password in no argv, no environment
and no file that has a name.

The password travels as the first line of stdin, already in pgpass form. A constant POSIX sh script
makes a 0600 file in memory where it can, opens it, **removes it before anything is written**, and
points PGPASSFILE at the open descriptor: libpq wants a regular file with mode 0600 and gets one,
and `kill -9` at any moment leaves nothing behind but, at the very worst, an empty file. The script
is sh and not bash because with `prefix` it runs in a container.
"""

from __future__ import annotations

from biso_tasks.database.server import Server
from biso_tasks.errors import Refused
from biso_tasks.host.command import Command
from biso_tasks.values import Dsn

__all__ = [
    "APPEND",
    "LOAD",
    "PREAMBLE",
    "client_command",
    "password_line",
    "require_passable",
]

# Inherited variables would override or leak into the connection; encodings come as SQL.
PREAMBLE = r"""set -eu
umask 077
file=
# Its name is known before it is there, or a TERM at the wrong moment would leave it behind.
named() {
  trap 'rm -f -- "$file"' EXIT
  trap 'exit 143' HUP INT TERM
  file=$(mktemp -u "$1/.biso.XXXXXXXX")
  set -C
}
nameless() {
  rm -f -- "$file"
  set +C
  trap - EXIT HUP INT TERM
}
memory=/dev/shm
[ -d "$memory" ] && [ -w "$memory" ] || memory=${TMPDIR:-/tmp}
named "$memory"
exec 3>"$file" 4<"$file"
nameless
IFS= read -r line || exit 64
printf '%s\n' "$line" >&3
line=
exec 3>&-
unset PGPASSWORD PGSERVICE PGSERVICEFILE PGHOSTADDR PGOPTIONS PGCLIENTENCODING PGDATABASE PGAPPNAME
if [ -e /proc/self/fd/4 ]; then PGPASSFILE=/proc/self/fd/4; else PGPASSFILE=/dev/fd/4; fi
export PGPASSFILE
"""


def client_command(server: Server, text: str, *args: str) -> Command:
    """Run `text` (constant sh that begins with PREAMBLE) where the clients are; `args` arrive as
    "$1", "$2", ... Its stdin must begin with `password_line`."""
    return Command((*server.prefix, "sh", "-c", text, "sh", *args))


def require_passable(server: Server) -> None:
    """Asked while planning: raises Refused where the programs could not be given the password. What
    libpq reads besides pgpass (a service file, a terminal) ends at a line break as well; what would
    carry one, an argument or a variable of the environment, is seen by others."""
    if not _passable(server.dsn):
        raise Refused(f"{server.host.name}: {_UNPASSABLE.format(server.dsn.user)}", hint=_REMEDY)


def password_line(dsn: Dsn) -> bytes:
    """The pgpass line, newline included; an empty line where there is no password. Raises Refused
    for a password that pgpass cannot carry."""
    secret = dsn.password.reveal()
    if not secret:
        return b"\n"
    if not _passable(dsn):
        raise Refused(_UNPASSABLE.format(dsn.user), hint=_REMEDY)
    escaped = secret.replace("\\", "\\\\").replace(":", "\\:")
    return b"*:*:*:*:" + escaped.encode("utf-8", "surrogateescape") + b"\n"


_UNPASSABLE = (
    "the password of the database role {!r} holds a line break, which psql and pg_dump cannot be "
    "given in secret"
)
_REMEDY = "give the role a password without line breaks, there and in config.php"


def _passable(dsn: Dsn) -> bool:
    secret = dsn.password.reveal()
    # A carriage return at the end is taken for one of the line.
    return not any(c in secret for c in "\n\0") and not secret.endswith("\r")


# "$1" SQL to begin with, then psql and its words; the rest of stdin is what it loads.
# --output: set_config() and the like print rows nobody wants to see.
LOAD = (
    PREAMBLE
    + """head=$1
shift
exec "$@" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --output=/dev/null --command="$head" --file=-
"""
)

# "$1" SQL that is printed behind the program's output, only if that ended well.
APPEND = (
    PREAMBLE
    + r"""tail=$1
shift
"$@" </dev/null
printf '%s' "$tail"
"""
)
