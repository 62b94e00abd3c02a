"""A database streamed from one server into an empty one of another: `pg_dump` into `psql`, nothing
in between on any disk.

Traps, and what answers them

- A dump cut inside COPY loads with exit 0, part of the rows and an empty stderr; `psql -f` exits 0
  after errors. So the source's script prints COMMIT and a nonce (as the database's comment) only
  after every pg_dump ended well, the loading session begins with BEGIN, and the nonce is asked for
  afterwards: a cut dump cannot commit, and nothing is believed that lacks the nonce.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from biso_tasks.database.admin import Admin, admin
from biso_tasks.database.client import LOAD, PREAMBLE, client_command, password_line
from biso_tasks.database.connect import connect
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import Snapshot
from biso_tasks.database.sqltext import compose, name, query
from biso_tasks.database.transfer import Leg, Route, transfer
from biso_tasks.database.wire import PLAIN, Wire, packed, unpacked
from biso_tasks.errors import StepFailed

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = [
    "DUMP",
    "HEAD",
    "Content",
    "Route",
    "comment_lost",
    "content",
    "copy",
    "grant_extension",
    "make_extensions",
]


@dataclass(frozen=True, slots=True)
class Content:
    """What of the source needs more than its owner's rights. `schemas` are by oid; extensions by
    (name, schema); the rest is what will be reported as left behind."""

    extensions: tuple[tuple[str, str], ...] = ()
    extension_comments: tuple[tuple[str, str], ...] = ()
    schemas: Mapping[str, int] = field(default_factory=dict)
    event_triggers: tuple[str, ...] = ()
    user_mappings: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    subscriptions: int = 0
    large_objects: bool = False
    comment: str | None = None


def content(snapshot: Snapshot) -> Content:
    """Read from the snapshot's own connection, so that it describes what is dumped."""
    ask = snapshot.connection.execute
    comment = ask(
        """SELECT shobj_description(oid, 'pg_database') FROM pg_database
            WHERE datname = current_database()"""
    ).fetchone()
    extensions = ask(
        """SELECT extname, nspname, obj_description(e.oid, 'pg_extension')
             FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
            WHERE extname <> 'plpgsql' ORDER BY e.oid"""
    ).fetchall()
    schemas = ask(
        "SELECT nspname, oid::bigint FROM pg_namespace WHERE nspname !~ '^pg_'"
    ).fetchall()
    subscriptions = ask(
        """SELECT count(*) FROM pg_stat_subscription s JOIN pg_database d
            ON d.datname = current_database()"""
    ).fetchone()
    objects = ask("SELECT EXISTS (SELECT FROM pg_largeobject_metadata)").fetchone()
    return Content(
        extensions=tuple((row[0], row[1]) for row in extensions),
        extension_comments=tuple((row[0], row[2]) for row in extensions if row[2] is not None),
        schemas={row[0]: row[1] for row in schemas},
        event_triggers=_names(ask("SELECT evtname FROM pg_event_trigger ORDER BY 1").fetchall()),
        user_mappings=_names(ask("SELECT srvname FROM pg_user_mappings ORDER BY 1").fetchall()),
        publications=_names(ask("SELECT pubname FROM pg_publication ORDER BY 1").fetchall()),
        subscriptions=int(subscriptions[0]) if subscriptions else 0,
        large_objects=bool(objects and objects[0]),
        comment=comment[0] if comment else None,
    )


def copy(
    source: Server,
    snapshot: Snapshot,
    target: Server,
    dbname: str,
    *,
    route: Route = "local",
    wire: Wire = PLAIN,
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
    caller until this returns. Gives notes on what was left behind, for the report. Raises
    StepFailed where a process failed or the end of the dump never arrived: then `dbname` is
    unusable and the caller drops it. Counts are compared by the caller (`snapshot.differences`).
    """
    what = content(snapshot)
    made = make_extensions(target, dbname, what.extensions, untrusted)
    nonce = f"biso-tasks {secrets.token_hex(16)}"
    tail = (
        "SET client_encoding = 'UTF8';\n"
        + compose("COMMENT ON DATABASE {} IS {}", name(dbname), nonce)
        + ";\n"
    )
    dump = source.client_words(
        "pg_dump",
        f"--snapshot={snapshot.id}",
        "--no-owner",
        "--no-privileges",
        "--no-tablespaces",
        "--no-publications",
        "--no-subscriptions",
        "--lock-wait-timeout=60s",
        *(f"--exclude-table-data={table}" for table in exclude_tables),
    )
    from_leg = Leg(
        source.host,
        client_command(
            source,
            DUMP,
            _left_out(what, [*made, *present]),
            source.program("pg_restore"),
            "none" if schema_only else "all",
            "yes" if what.large_objects and not schema_only else "no",
            tail,
            *dump,
        ),
        password_line(source.dsn),
    )
    stage = target.at(dbname)
    to_leg = Leg(
        target.host,
        client_command(stage, LOAD, HEAD, *stage.client_words("psql")),
        password_line(target.dsn),
    )
    legs = packed(from_leg, wire), unpacked(to_leg, wire)
    transfer(*legs, f"copying {source}", route=route, cancel=cancel, timeout=timeout)
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
        connection.execute(
            query(compose("COMMENT ON DATABASE {} IS {}", name(dbname), what.comment))
        )
        different = [
            compose("COMMENT ON EXTENSION {} IS {}", name(extension), wanted)
            for extension, wanted in what.extension_comments
            if extension not in (*made, *present)
            and _extension_comment(connection, extension) not in (wanted, None)
        ]
        for statement in different:
            connection.execute(query(statement))
        lost = [
            comment_lost(extension)
            for extension, wanted in what.extension_comments
            if _comment(connection, extension) not in (wanted, None)
        ]
    return [*_notes(what), *lost]


def comment_lost(extension: str) -> str:
    """The note on a comment that the source has and the copy has not: only the owner of an
    extension may change it."""
    return (
        f"left behind: the comment of the extension {extension!r}, which somebody had changed; its "
        "owner can set it (COMMENT ON EXTENSION)"
    )


def _comment(connection: Connection, extension: str) -> str | None:
    """None where there is no such extension."""
    row = connection.execute(
        "SELECT coalesce(obj_description(oid, 'pg_extension'), '') FROM pg_extension"
        " WHERE extname = %s",
        (extension,),
    ).fetchone()
    return None if row is None else str(row[0])


def _extension_comment(connection: Connection, extension: str) -> str | None:
    """Of an extension that this role owns; None where there is nothing to comment."""
    row = connection.execute(
        """SELECT coalesce(obj_description(oid, 'pg_extension'), '') FROM pg_extension
            WHERE extname = %s AND pg_has_role(extowner, 'USAGE')""",
        (extension,),
    ).fetchone()
    return None if row is None else str(row[0])


def _names(rows: Sequence[tuple[object, ...]]) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in rows)


def _left_out(what: Content, made: Sequence[str]) -> str:
    """A pattern of lines in pg_restore's list. `2615` is pg_namespace's own number."""
    patterns = [
        "^[0-9]+; 0 0 COMMENT - EXTENSION ",
        "^[0-9]+; 0 0 COMMENT - EVENT TRIGGER ",
        "^[0-9]+; 3466 [0-9]+ EVENT TRIGGER ",
        "^[0-9]+; 1418 [0-9]+ USER MAPPING ",
    ]
    taken = {schema for extension, schema in what.extensions if extension in made}
    for schema in sorted(taken):
        if schema in what.schemas and schema != "public":
            patterns.append(f"^[0-9]+; 2615 {what.schemas[schema]} SCHEMA ")
    return "|".join(patterns)


def make_extensions(
    target: Server,
    dbname: str,
    extensions: Sequence[tuple[str, str]],
    untrusted: Sequence[str],
) -> list[str]:
    """Those of `extensions` (name, schema) that are `untrusted`: made by the admin before the load,
    so that CREATE EXTENSION IF NOT EXISTS finds them there. Gives their names. Raises
    DatabaseFailed."""
    wanted = [(e, schema) for e, schema in extensions if e in untrusted]
    if not wanted:
        return []
    with admin(target, dbname) as superuser:
        for extension, schema in wanted:
            superuser.execute(
                compose(
                    "CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}",
                    name(schema),
                    name(target.dsn.user),
                ),
                compose("CREATE EXTENSION {} SCHEMA {}", name(extension), name(schema)),
            )
            superuser.execute(*grant_extension(superuser, extension, target.dsn.user))
    return [extension for extension, _ in wanted]


def grant_extension(superuser: Admin, extension: str, user: str) -> list[str]:
    """Statements that give `user` what a dump does with an extension that is somebody else's."""
    # rows of its configuration tables are in the dump (PostGIS: spatial_ref_sys)
    configured = superuser.rows(
        """SELECT n.nspname, c.relname
             FROM pg_extension e, unnest(e.extconfig) AS o(oid)
             JOIN pg_class c ON c.oid = o.oid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE e.extname = {}""",
        extension,
    )
    # foreign servers are in the dump, and belong to the application's role there
    wrappers = superuser.rows(
        """SELECT w.fdwname::text AS wrapper FROM pg_foreign_data_wrapper w
             JOIN pg_depend d ON d.classid = 'pg_foreign_data_wrapper'::regclass
              AND d.objid = w.oid AND d.deptype = 'e'
             JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = {}""",
        extension,
    )
    return [
        *(compose("GRANT ALL ON {} TO {}", name(*row), name(user)) for row in configured),
        *(
            compose("GRANT USAGE ON FOREIGN DATA WRAPPER {} TO {}", name(wrapper), name(user))
            for (wrapper,) in wrappers
        ),
    ]


def _notes(what: Content) -> list[str]:
    notes = []
    for kind, names in (
        ("event trigger (only a superuser may create one)", what.event_triggers),
        ("user mapping of the foreign server (it holds a password)", what.user_mappings),
        ("publication", what.publications),
    ):
        notes += [f"left behind: {kind} {name!r}" for name in names]
    if what.subscriptions:
        notes.append(f"left behind: {what.subscriptions} subscriptions")
    return notes


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

# "$1" pattern of entries to leave out, "$2" pg_restore, "$3" rows: all or none, "$4" large objects:
# yes or no, "$5" SQL for the end, then pg_dump and its words. pg_restore only turns the schema's
# archive into SQL; it must seek in it, so that lies on disk without a name, and holds no rows.
DUMP = (
    PREAMBLE
    + r"""omit=$1 restore=$2 rows=$3 objects=$4 tail=$5
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
schema pre-data "$@"
if [ "$rows" = all ]; then
    "$@" --section=data --no-blobs
fi
schema post-data "$@"
printf 'COMMIT;\n'
if [ "$objects" = yes ]; then
    "$@" --section=data --blobs --exclude-table-data='*.*'
fi
printf '%s' "$tail"
"""
)
