"""What of a database needs more than its owner's rights to be copied, read in the snapshot that is
dumped; which entries of a dump are left out for it, and what is said of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from biso_tasks.database.snapshot import Snapshot

__all__ = ["Content", "content", "left_behind", "left_out"]


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


def left_out(what: Content, made: Sequence[str]) -> str:
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


def left_behind(what: Content) -> list[str]:
    """What will not come along, a sentence each."""
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


def _names(rows: Sequence[tuple[object, ...]]) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in rows)
