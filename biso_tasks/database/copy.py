"""A database streamed from one server into an empty one of another: `pg_dump` into `psql`, nothing
in between on any disk.

Traps, and what answers them

- A dump cut inside COPY loads with exit 0, part of the rows and an empty stderr; `psql -f` exits 0
  after errors. So the source's script prints COMMIT and a nonce (as the database's comment) only
  after every pg_dump ended well, the loading session begins with BEGIN, and the nonce is asked for
  afterwards: a cut dump cannot commit, and nothing is believed that lacks the nonce.
- In several streams each is such a transaction of its own: one that is cut has not committed, and
  its rows are missing when they are counted.
- Where there are large objects, plain pg_dump writes BEGIN and COMMIT of its own, which would end
  our transaction early (`psql -1` has that hole): their contents come last, behind our COMMIT, and
  the nonce behind them.
- Everything must belong to the application's role: it loads, with --no-owner. But only its owner
  may comment an extension, only a superuser may create an untrusted extension or an event trigger.
  So the schema goes through pg_restore on the *source's* host, and those entries are left out by
  their catalogue numbers, never by looking for words in a text that holds other people's functions.
- User mappings hold passwords for other servers: they would take test into production. Left out.
- Publications and subscriptions must not come through, tablespaces are the other machine's.
- Row level security: pg_dump fails rather than dumps fewer rows; so does `snapshot.count`.
- Timeouts of role or database end a load while the source thinks: switched off in the session.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from biso_tasks.database.client import LOAD, PREAMBLE, client_command, password_line
from biso_tasks.database.connect import connect
from biso_tasks.database.content import content, left_behind, left_out
from biso_tasks.database.extensions import comment_extensions, make_extensions
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import Snapshot
from biso_tasks.database.sqltext import compose, name, query
from biso_tasks.database.streams import at_once, shares
from biso_tasks.database.transfer import Leg, Route, transfer
from biso_tasks.database.wire import PLAIN, Wire, packed, unpacked
from biso_tasks.errors import StepFailed

__all__ = ["DUMP", "HEAD", "copy"]


def copy(
    source: Server,
    snapshot: Snapshot,
    target: Server,
    dbname: str,
    *,
    route: Route = "local",
    wire: Wire = PLAIN,
    streams: int = 1,
    cancel: threading.Event,
    timeout: float | None = None,
    exclude_tables: Sequence[str] = (),
    schema_only: bool = False,
    untrusted: Sequence[str] = (),
    present: Sequence[str] = (),
) -> list[str]:
    """Load `source`'s database, as `snapshot` sees it, into the empty database `dbname` of
    `target`. Everything there will belong to the application's role.

    Of `exclude_tables` (as `Counts.tables` names them) the rows are left behind, the structure
    comes. `untrusted` extensions are made by the admin beforehand; those `present` are there
    already, each in the schema that it has in the source. `snapshot` must be held by the
    caller until this returns. The rows come in so many `streams` side by side. Gives notes on what
    was left behind, for the report. Raises StepFailed where a process failed or the end of the dump
    never arrived: then `dbname` is unusable and the caller drops it. Counts are compared by the
    caller (`snapshot.differences`).
    """
    what = content(snapshot)
    made = make_extensions(target, dbname, what.extensions, untrusted)
    nonce = f"biso-tasks {secrets.token_hex(16)}"
    tail = (
        "SET client_encoding = 'UTF8';\n"
        + compose("COMMENT ON DATABASE {} IS {}", name(dbname), nonce)
        + ";\n"
    )
    stage = target.at(dbname)
    omit = left_out(what, [*made, *present])
    road = _Road(source, snapshot, stage, omit, tuple(exclude_tables), route, wire, timeout)
    objects = what.large_objects and not schema_only
    if streams > 1 and not schema_only:
        road.send(cancel, "pre-data")
        road.send_rows(cancel, streams)
        road.send(cancel, "post-data", tail=tail, objects=objects)
    else:
        rows = () if schema_only else ("data",)
        road.send(cancel, "pre-data", *rows, "post-data", tail=tail, objects=objects)
    with connect(stage, autocommit=True) as connection:
        found = connection.execute(
            """SELECT shobj_description(oid, 'pg_database') FROM pg_database
                WHERE datname = current_database()"""
        ).fetchone()
        if found is None or found[0] != nonce:
            raise StepFailed(
                f"the dump of {source} ended before its end: nothing of it was taken over",
                hint="the connection was lost, or pg_dump was ended; run it again",
            )
        comment = compose("COMMENT ON DATABASE {} IS {}", name(dbname), what.comment)
        connection.execute(query(comment))
        lost = comment_extensions(connection, what.extension_comments, [*made, *present])
    return [*left_behind(what), *lost]


@dataclass(frozen=True, slots=True)
class _Road:
    """From the source's database into the stage's: each `send` is one pg_dump after the other into
    one session of psql, one transaction."""

    source: Server
    snapshot: Snapshot
    stage: Server
    omit: str
    exclude: tuple[str, ...]
    route: Route
    wire: Wire
    timeout: float | None

    def send(
        self,
        cancel: threading.Event,
        *sections: str,
        tables: Sequence[str] = (),
        exclude: Sequence[str] = (),
        tail: str = "",
        objects: bool = False,
    ) -> None:
        """These sections, of these `tables` alone, or without the rows of those in `exclude`; the
        contents of large objects and `tail` behind the COMMIT."""
        source, stage = self.source, self.stage
        dump = source.client_words(
            "pg_dump",
            f"--snapshot={self.snapshot.id}",
            *("--no-owner", "--no-privileges", "--no-tablespaces"),
            *("--no-publications", "--no-subscriptions", "--lock-wait-timeout=60s"),
            *(f"--table={table}" for table in tables),
            *(f"--exclude-table-data={table}" for table in (*self.exclude, *exclude)),
        )
        with_objects = "yes" if objects else "no"
        program = source.program("pg_restore")
        words = (tail, self.omit, program, " ".join(sections), with_objects, *dump)
        send = client_command(source, DUMP, *words)
        load = client_command(stage, LOAD, HEAD, *stage.client_words("psql"))
        legs = (
            packed(Leg(source.host, send, password_line(source.dsn)), self.wire),
            unpacked(Leg(stage.host, load, password_line(stage.dsn)), self.wire),
        )
        what = f"copying {source}"
        transfer(*legs, what, route=self.route, cancel=cancel, timeout=self.timeout)

    def send_rows(self, cancel: threading.Event, streams: int) -> None:
        """Side by side. That one is cut shows: it has not committed, and the rows are missing."""
        others = shares(self.snapshot, streams, self.exclude)
        large = [table for share in others for table in share]

        def one(share: Sequence[str], stop: threading.Event) -> None:
            self.send(stop, "data", tables=share, exclude=() if share else large)

        at_once([partial(one, share) for share in ([], *others)], cancel)


# Sent before the dump. set_config over pg_settings: not every version has every timeout. An index
# is built in as much memory as the server has to share, up to a gigabyte, by up to four workers.
HEAD = """SET client_min_messages = warning;
SET synchronous_commit = off;
SELECT set_config(work.name,
  least(1048576, greatest(work.setting::int8, shared.setting::int8 * 8))::text, false)
  FROM pg_settings AS work, pg_settings AS shared
  WHERE work.name = 'maintenance_work_mem' AND shared.name = 'shared_buffers';
SELECT set_config(one.name, greatest(one.setting::int, least(4, bound.setting::int))::text, false)
  FROM pg_settings AS one, pg_settings AS bound
  WHERE one.name = 'max_parallel_maintenance_workers' AND bound.name = 'max_parallel_workers';
SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout',
  'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
  'transaction_timeout');
BEGIN;
"""

# "$1" SQL for the end, "$2" pattern of entries to leave out, "$3" pg_restore, "$4" the sections,
# "$5" large objects: yes or no, then pg_dump and its words. pg_restore only turns the schema's
# archive into SQL; it must seek in it, so that lies on disk without a name, and holds no rows.
DUMP = (
    PREAMBLE
    + r"""tail=$1 omit=$2 restore=$3 sections=$4 objects=$5
shift 5
exec </dev/null
schema() {
    section=$1
    shift
    named "${TMPDIR:-/tmp}"
    exec 5>"$file" 6<"$file"
    nameless
    named "${TMPDIR:-/tmp}"
    exec 7>"$file" 8<"$file"
    nameless
    "$@" --format=custom --compress=0 --section="$section" >&5
    entries=$("$restore" --list /proc/self/fd/6)
    printf '%s\n' "$entries" | sed -E -e "/$omit/d" >&7
    exec 5>&- 7>&-
    "$restore" --use-list=/proc/self/fd/8 --no-owner --no-privileges --file=- /proc/self/fd/6
    exec 6<&- 8<&-
}
for one in $sections; do
    case $one in
        data) "$@" --section=data --no-blobs ;;
        *) schema "$one" "$@" ;;
    esac
done
printf 'COMMIT;\n'
if [ "$objects" = yes ]; then
    "$@" --section=data --blobs --exclude-table-data='*.*'
fi
printf '%s' "$tail"
"""
)
