"""Strategy "in-place": the target filled where it stands, for a site that cannot stage.

What was is written down on the host before anything changes, and a dump of the databases and copies
of the files that change lie in `<stage_dir>/in-place` until all is well. Phases, in the intent:

- `offline`    nothing is changed yet: what was is served again
- `replacing`  the old content goes: only putting back leads out of here
- `proven`     the new content is complete, migrated and proven: it only has to be served
- `restored`   the old content is back: it only has to be served

Until `proven` nothing is called good: the target stays in maintenance, its services stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from biso_tasks.database import grants, settings
from biso_tasks.database.admin import Admin, admin, flush
from biso_tasks.database.connect import connect
from biso_tasks.database.create import oid
from biso_tasks.database.dumpfile import dump, load, verify
from biso_tasks.database.empty import empty
from biso_tasks.database.sessions import end_sessions, refuse_unmovable
from biso_tasks.database.snapshot import count, differences, export
from biso_tasks.database.sqltext import Raw, compose, name
from biso_tasks.errors import NeedsPerson
from biso_tasks.files.aside import put_back as put_files_back
from biso_tasks.files.discard import discard
from biso_tasks.files.listing import DATA_EXCLUDES
from biso_tasks.instance import services
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.before import Before, DatabaseBefore, Phase, misfit, read_before
from biso_tasks.stage.in_place_needs import own_clients
from biso_tasks.stage.insist import write_down
from biso_tasks.stage.model import StagedDatabase, access, in_place, own_directory, staged
from biso_tasks.stage.swap import SiteAnswersBadly, go_live

__all__ = [
    "conclude",
    "dump_target",
    "in_place_outlook",
    "look",
    "move_to",
    "put_back",
    "recover_in_place",
    "serve",
    "take_offline",
]


def look(
    databases: Sequence[StagedDatabase],
    *,
    run: str,
    running: tuple[str, ...],
    in_maintenance: bool,
    record: Mapping[str, Any],
) -> Before:
    """What there is, in the phase `offline`. Nothing is changed."""
    found = []
    for database in databases:
        with admin(database.server) as role:
            comments = role.rows(
                """SELECT shobj_description(oid, 'pg_database') AS said FROM pg_database
                    WHERE datname = {}""",
                database.live,
            )
            given = settings.read(role, database.live)
        found.append(DatabaseBefore(database.live, given, comments[0][0] if comments else None))
    return Before(run, "offline", running, in_maintenance, tuple(found), dict(record))


def move_to(
    instance: Instance,
    before: Before,
    phase: Phase,
    *,
    filled: Sequence[StagedDatabase] = (),
) -> Before:
    """Write the intent, with its new phase: that the databases `filled` have the content of it. So
    that is on the disk first, and no crash of the server takes a part of it back."""
    for database in filled:
        with admin(database.server) as role:
            flush(role)
    changed = replace(before, phase=phase)
    instance.state.write("intent", changed.as_dict())
    return changed


def take_offline(instance: Instance, databases: Sequence[StagedDatabase], before: Before) -> None:
    """Maintenance on, services stopped, the application's role alone may connect, every session
    ended. Can be called again. Raises BisoError."""
    if not instance.in_maintenance():
        instance.app.maintenance(True)
    running = services.running(instance.host, instance.environment)
    services.stop(instance.host, instance.environment, running)
    for database, was in _pairs(instance, databases, before):
        with admin(database.server) as role:
            number = oid(role, database.live)
            assert number is not None
            refuse_unmovable(role, {database.live: number})
            role.execute(*_closing(database, was))
            end_sessions(role, {database.live: number}, 10.0)


def dump_target(
    instance: Instance,
    databases: Sequence[StagedDatabase],
    before: Before,
    *,
    cancel: threading.Event,
) -> Before:
    """The databases dumped into `<stage_dir>/in-place`, checked; what to write down about them."""
    done = []
    for number, (database, was) in enumerate(_pairs(instance, databases, before)):
        dumping, _ = own_clients(database.server)
        path = f"{instance.layout.in_place}/database-{number}.sql.gz"
        with export(dumping) as snapshot:
            given = grants.read(snapshot.connection)
            dumped = dump(dumping, snapshot, path, user=_user(instance), cancel=cancel)
            counts = snapshot.counts()
        done.append(replace(was, dump=dumped, counts=counts, grants=given))
    return replace(before, databases=tuple(done))


def put_back(
    instance: Instance, databases: Sequence[StagedDatabase], before: Before
) -> tuple[str, ...]:
    """The old content, from the dump and the files kept aside; the phase is `restored` then. Can be
    called again. Raises NeedsPerson where a dump is not the one that was written (nothing is
    touched then) or where what came back is not what was."""
    pairs = _pairs(instance, databases, before)
    for database, was in pairs:
        if was.dump is None or was.counts is None:
            raise misfit(instance, f"no dump of {was.live} is noted")
        if not was.dump.path.startswith(f"{instance.layout.in_place}/"):
            raise misfit(instance, f"it names {was.dump.path}")
        verify(database.server, was.dump, user=_user(instance))
    take_offline(instance, databases, before)
    notes = []
    for database, was in pairs:
        assert was.dump is not None
        assert was.counts is not None
        _, loading = own_clients(database.server)
        empty(loading)
        load(loading, was.dump, user=_user(instance), cancel=threading.Event())
        with connect(loading) as connection:
            problems = differences(was.counts, count(connection))
        if problems:
            raise NeedsPerson(
                f"{instance.name}: {was.live} was put back from {was.dump.path}, but it is not "
                f"what was dumped: {'; '.join(problems[:5])}",
                hint="it stays in maintenance; look at these tables, then run `biso recover` again",
            )
        notes += grants.apply(loading, was.live, was.grants)
        with admin(database.server) as role:
            _settings_back(role, was)
        notes.append(f"{was.live} is what it was: {was.counts.rows} rows")
    files = put_files_back(
        access(instance),
        instance.layout.datadir,
        instance.layout.in_place,
        exclude=(*DATA_EXCLUDES, *own_directory(instance)),
    )
    notes.append(f"{files} file(s) of {instance.layout.datadir} were put back")
    move_to(instance, before, "restored", filled=[database for database, _ in pairs])
    return tuple(notes)


def serve(
    instance: Instance,
    databases: Sequence[StagedDatabase],
    before: Before,
    *,
    record: bool,
) -> tuple[str, ...]:
    """Let clients in, start what ran before, ask the site, end maintenance; `conclude` comes after.
    `record`: the new content is what is served now. Raises SiteAnswersBadly where it is and the
    site answers badly, back in maintenance with its services stopped."""
    notes: list[str] = []
    for database, was in _pairs(instance, databases, before):
        with admin(database.server) as role:
            role.execute(*settings.access_statements(role, was.live, was.settings))
    answer = go_live(instance, before.services, before.in_maintenance, notes)
    if answer is not None and record:
        take_offline(instance, databases, before)
        raise SiteAnswersBadly(
            f"{instance.environment.url or instance.name} answers badly: {answer.detail}",
            hint="look at the web server's log",
        )
    if answer is not None:
        raise NeedsPerson(
            f"{instance.name}: the old content is back and its services run, but the site answers "
            f"badly: {answer.detail}",
            hint="look at the web server's log, then run `biso recover` again",
        )
    return tuple(notes)


def conclude(instance: Instance, before: Before, *, record: bool) -> None:
    """Write down that it is served, with `record` as the new content, and forget what was kept.
    Raises StepFailed."""

    def write() -> None:
        if record:
            instance.state.write("instance", before.record)
        instance.state.remove("intent")

    write_down(instance, write)
    discard(access(instance), instance.layout.in_place, inside=instance.layout.stage_dir)


def recover_in_place(instance: Instance, document: Mapping[str, Any]) -> list[str]:
    """Put an interrupted in-place refresh right, from any machine: served as it was, or as it
    became where all was proven. Gives what was done. Raises BisoError; calling it again goes on."""
    before = read_before(instance, document)
    names = {one.live for one in before.databases}
    databases = tuple(one for one in _all_in_place(instance) if one.live in names)
    notes = [f"the in-place refresh of run {before.run} was interrupted (phase {before.phase})"]
    if before.phase == "proven":
        try:
            notes += serve(instance, databases, before, record=True)
        except SiteAnswersBadly as error:
            notes.append(f"{error.message}: so the old content is put back")
            before = move_to(instance, before, "replacing")
        else:
            conclude(instance, before, record=True)
            return [*notes, "the new content is complete and proven: it is served"]
    if before.phase == "replacing":
        notes += put_back(instance, databases, before)
    notes += serve(instance, databases, before, record=False)
    conclude(instance, before, record=False)
    return [*notes, "what was served before the refresh is served again"]


def in_place_outlook(instance: Instance, document: Mapping[str, Any]) -> str:
    """What `recover_in_place` would do. Nothing is changed. Raises NeedsPerson as it does."""
    before = read_before(instance, document)
    what = f"the in-place refresh of run {before.run} (phase {before.phase})"
    if before.phase == "proven":
        return f"finishes {what}: the new content is proven and served"
    if before.phase == "replacing":
        return f"takes back {what}: databases from the dump, files that were kept aside"
    return f"takes back {what}: what was served before is served again"


def _all_in_place(instance: Instance) -> tuple[StagedDatabase, ...]:
    """Every database of the instance, without a stage."""
    return in_place([replace(one, content="copy") for one in staged(instance)])


def _pairs(
    instance: Instance, databases: Sequence[StagedDatabase], before: Before
) -> list[tuple[StagedDatabase, DatabaseBefore]]:
    by_live = {database.live: database for database in databases}
    missing = [one.live for one in before.databases if one.live not in by_live]
    if missing:
        raise misfit(instance, f"it names the database {missing[0]!r}")
    return [(by_live[one.live], one) for one in before.databases]


def _closing(database: StagedDatabase, was: DatabaseBefore) -> list[str]:
    """SQL: nobody but the owner, which is the application's role, may connect. Raw data is in there
    until it is anonymised."""
    given = was.settings.access or ()
    others = {role for role, privilege, _ in given if role and privilege == "CONNECT"}
    return [
        compose("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name(database.live)),
        *(
            compose(
                "REVOKE CONNECT ON DATABASE {} FROM {} CASCADE", name(database.live), name(other)
            )
            for other in sorted(others)
        ),
    ]


def _settings_back(role: Admin, was: DatabaseBefore) -> None:
    """`ALTER DATABASE … SET` and the comment, which no dump holds."""
    kept = {(who, setting) for who, setting, _ in was.settings.values}
    for who, setting, _ in settings.read(role, was.live).values:
        if (who, setting) not in kept:
            database = compose("DATABASE {}", name(was.live))
            on = compose("ROLE {} IN {}", name(who), Raw(database)) if who else database
            role.execute(compose("ALTER {} RESET {}", Raw(on), name(*setting.split("."))))
    settings.apply(role, was.live, was.settings)
    role.execute(compose("COMMENT ON DATABASE {} IS {}", name(was.live), was.comment))


def _user(instance: Instance) -> str | None:
    return instance.environment.host_user
