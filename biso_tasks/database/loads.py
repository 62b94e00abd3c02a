"""A dump of a backup set loaded into an empty database, perhaps on another host than the set's.

It is loaded as the application's role, so that everything belongs to it: through `sift`, which
leaves out what that role may not execute. Between hosts the file's own, compressed bytes travel,
and nothing of them is written on any disk but the server's.

A cut dump loads with exit 0 and some of the rows. The loading statements commit one by one, because
large objects bring a BEGIN and COMMIT of their own: so the database is one that nobody uses yet,
and whoever called drops it unless this returned. That happens when each process ended well, the
end of the text was seen, and the bytes that were read have the checksum that the set was sealed
with. The rows are counted by the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from biso_tasks.database.client import LOAD, PREAMBLE, client_command, password_line
from biso_tasks.database.copy import HEAD
from biso_tasks.database.dumps import Format
from biso_tasks.database.extensions import comment_lost, make_extensions
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.packer import UNPACKER
from biso_tasks.database.server import Server
from biso_tasks.database.sift import FOLDING, SIFT, left_behind, rules
from biso_tasks.database.transfer import Leg, Route, transfer
from biso_tasks.errors import ProofFailed, StepFailed
from biso_tasks.host.command import Command, command, script
from biso_tasks.host.protocol import Host

__all__ = ["load"]


def load(
    source: Host,
    path: str,
    format: Format,
    target: Server,
    dbname: str,
    *,
    recorded: ServerFacts,
    there: ServerFacts,
    sha256: str = "",
    route: Route = "local",
    jobs: int = 1,
    untrusted: Sequence[str] = (),
    pg_restore: str = "",
    cancel: threading.Event,
    timeout: float | None = None,
) -> list[str]:
    """Load the dump `path` of the host `source` into the empty database `dbname` of `target`.

    `recorded` are the facts of the dumped database, `there` those of `target`. `route` is "local"
    where both are one host. `sha256` is the file's as the set recorded it; "" (a directory) is not
    checked here. `jobs` counts for the formats "custom" and "directory" on one host. `untrusted`
    extensions (`pair.untrusted_extensions`) are made by the admin beforehand. `pg_restore` is the
    program on `source` that reads a directory; by default `target`'s, or the one on the PATH.
    `timeout` (seconds) is that of each of the few processes.

    Gives notes on what was left behind, for the report. Raises ProofFailed where the dump is not
    the one that was sealed, StepFailed where it is cut or a process failed: then `dbname` is
    unusable and the caller drops it.
    """
    extensions = [(one.name, one.schema) for one in recorded.extensions]
    made = make_extensions(target, dbname, extensions, untrusted)
    omit = rules(there, [schema for name, schema in extensions if name in made])
    # The dump has their comments, and sift leaves them out.
    lost = [comment_lost(one.name) for one in recorded.extensions if one.commented]
    stage = target.at(dbname)
    what = f"loading {path.rpartition('/')[2]} into {stage}"
    restore = pg_restore or (
        target.program("pg_restore") if route == "local" and not target.prefix else "pg_restore"
    )

    def run(one: Command) -> list[str]:
        """One process of the target's host, which speaks on stderr alone; its notes."""
        legs = Leg(target.host, one, password_line(target.dsn)), Leg(target.host, command("cat"))
        said = transfer(*legs, what, route="local", cancel=cancel, timeout=timeout)
        return left_behind(said.source_err)

    with _judged():
        if jobs > 1 and route == "local" and format != "plain" and _may_restore(target, there):
            schema = ("--section=pre-data", path)
            notes = run(script(_CHECK, path, sha256)) if sha256 else []
            notes += run(_fill(stage, omit, restore, *_AS_TEXT, *schema))
            return [*notes, *run(_parallel(stage, restore, path, jobs, there)), *lost]
        if format == "directory":
            send = command(restore, *_AS_TEXT, path)
            fill = _fill(stage, omit, "cat")
        else:
            send = script(_SEND, path, sha256)
            fill = _fill(stage, omit, *_opener(target, format))
        if route == "local":
            words = send.words(target.host.login)
            said = run(script(_BOTH, str(len(words)), *words, *fill.words(target.host.login)))
            return [*said, *lost]
        sent = transfer(
            # the line that each leg's prefix is: nobody reads the sender's
            Leg(source, send, b"\n"),
            Leg(target.host, fill, password_line(target.dsn)),
            what,
            route=route,
            cancel=cancel,
            timeout=timeout,
        )
        return [*left_behind(sent.source_err + b"\n" + sent.target_err), *lost]


@contextmanager
def _judged() -> Iterator[None]:
    """A dump that turned out to be another one is no program's failure."""
    try:
        yield
    except StepFailed as error:
        if _ANOTHER not in error.message:
            raise
        raise ProofFailed(
            error.message,
            hint="nothing was taken over; `biso verify --set` reads all of the set, take another",
        ) from error


_ANOTHER: Final = "is not the dump that the set was sealed with"
_AS_TEXT: Final = ("--no-owner", "--no-privileges", "--file=-")


def _opener(target: Server, format: Format) -> tuple[str, ...]:
    """What turns the file's bytes into SQL on the target's host."""
    if format == "plain":
        return ("unpack",)
    return (*target.prefix, target.program("pg_restore"), *_AS_TEXT)


def _fill(stage: Server, omit: Sequence[str], *opener: str) -> Command:
    loader = client_command(stage, LOAD, _SESSION, *stage.client_words("psql"))
    words = loader.words(stage.host.login)
    return script(
        UNPACKER + FOLDING + _FILL, SIFT, str(len(omit)), *omit, str(len(opener)), *opener, *words
    )


def _parallel(stage: Server, restore: str, path: str, jobs: int, there: ServerFacts) -> Command:
    # what a role or database may have set would end the sessions that wait for the others
    options = "-c idle_session_timeout=0" if there.major >= 14 else ""
    words = stage.client_words(
        "pg_restore",
        *("--no-owner", "--no-privileges", "--no-tablespaces", "--exit-on-error"),
        *("--section=data", "--section=post-data", f"--jobs={jobs}"),
        "--use-list=/proc/self/fd/8",
        path,
    )
    return client_command(stage, _PARALLEL, restore, path, options, *words)


def _may_restore(target: Server, there: ServerFacts) -> bool:
    """Whether pg_restore may speak to the server itself: a newer one SETs what that does not know,
    and one in a container does not see the file."""
    versions = [one.pg_dump for one in there.clients if one.bindir == target.bindir]
    return not target.prefix and any(one and one[0] <= there.major for one in versions)


# No transaction around it: large objects bring their own.
_SESSION: Final = HEAD.removesuffix("BEGIN;\n")

# "$1" the file, "$2" its checksum or "". sshd may give a socket for stdout, which cannot be opened
# by a name like /dev/fd/1: so it is the checksum's pipe that has one.
_SEND: Final = r"""exec 5>&1
sum=$(tee /dev/fd/6 <"$1" 6>&1 >&5 5>&- | sha256sum 5>&-)
if [ -n "$2" ] && [ "${sum%% *}" != "$2" ]; then
  echo "error: $1 @ANOTHER@: its checksum differs" >&2
  exit 67
fi
""".replace("@ANOTHER@", _ANOTHER)

# "$1" the file, "$2" its checksum
_CHECK: Final = r"""sum=$(sha256sum <"$1")
if [ "${sum%% *}" != "$2" ]; then
  echo "error: $1 @ANOTHER@: its checksum differs" >&2
  exit 67
fi
""".replace("@ANOTHER@", _ANOTHER)

# "$1" how many words the sender has, then those and the loader's, which reads a password line first
_BOTH: Final = r"""IFS= read -r line
n=$1
shift
{ printf '%s\n' "$line"; "${@:1:n}" </dev/null; } | "${@:n+1}"
"""

# "$1" SIFT, "$2" how many rules follow, then those, how many words the opener has (`unpack` is
# one), those, and psql's. On stdin the password line, then the dump. The text goes past `tail` on
# descriptor 7. Who was ended by a broken pipe (141) is a victim.
_FILL: Final = (
    UNPACKER
    + FOLDING
    + r"""IFS= read -r line
sift=$1 n=$2
shift 2
export LC_ALL=C
rules=("${@:1:n}")
shift "$n"
n=$1
shift
open=("${@:1:n}")
shift "$n"
blame() {
  local code name
  for name in "${open[0]##*/}" tee fold awk; do
    code=$1
    shift
    case $code in 0 | 141) ;; *) echo "error: $name ended with $code" >&2 ;; esac
  done
  return 1
}
code=0
{
  {
    printf '%s\n' "$line"
    "${open[@]}" 7>&- | tee /dev/fd/7 | fold 7>&- | awk "$sift" "${rules[@]}" 7>&- ||
      blame "${PIPESTATUS[@]}"
  } | "$@" 7>&- >/dev/null
} 7>&1 | tail -c 4096 | {
  IFS= read -r -d '' end || :
  case $end in *$'\n-- PostgreSQL database dump complete\n'*) ;; *) exit 65 ;; esac
} || code=$?
[ "$code" != 65 ] || echo "error: the dump ends before its end" >&2
exit "$code"
"""
)

# "$1" pg_restore, "$2" the dump, "$3" options of the session, then pg_restore's words. By catalogue
# numbers: event triggers, publications with their tables and schemas, subscriptions.
_PARALLEL: Final = (
    PREAMBLE
    + r"""restore=$1 archive=$2 PGOPTIONS=$3
shift 3
export PGOPTIONS
exec </dev/null
named "${TMPDIR:-/tmp}"
exec 7>"$file" 8<"$file"
nameless
kinds='EVENT TRIGGER|PUBLICATION|SUBSCRIPTION'
entries=$("$restore" --list "$archive")
printf '%s\n' "$entries" | sed -E -e "/^[0-9]+; 0 0 COMMENT - ($kinds) /d" \
    -e '/^[0-9]+; (3466|6104|6106|6237|6100) [0-9]+ /d' >&7
exec 7>&-
printf '%s\n' "$entries" |
    sed -n -E "s/^[0-9]+; (3466|6104|6100) [0-9]+ ($kinds) - (.*) .*/biso-left \2 \3/p" >&2
exec "$@"
"""
)
