"""What `doctor` says of source and target together: whether the one can become the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from biso_tasks.actions.doctor.checklist import Looked, Sheet
from biso_tasks.actions.doctor.environment import dotted
from biso_tasks.actions.staged.work import not_compared, require_known
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.pair import check_pair, pick_dump, pick_load
from biso_tasks.database.server import Server
from biso_tasks.files.space import free_space, human
from biso_tasks.files.sync import method
from biso_tasks.host.protocol import Host
from biso_tasks.host.route import choose_route, route_note
from biso_tasks.instance.instance import Instance
from biso_tasks.session import Session
from biso_tasks.stage import guards
from biso_tasks.stage.in_place_needs import require_in_place
from biso_tasks.stage.migrations import Compared, compare_migrations
from biso_tasks.stage.model import access, in_place, server, staged
from biso_tasks.stage.space import require_space, stage_size

__all__ = ["compare", "topic"]

MOST_CLOCK_DIFFERENCE: Final = 60.0


def compare(sheet: Sheet, session: Session, source: Looked, target: Looked) -> None:
    """The lines about the copy from `source` to `target`; a test instance may be its own source."""
    one, other = source.instance, target.instance
    two = source.environment.name != target.environment.name
    if two and source.host is not None and target.host is not None:
        _clocks(sheet, source.clock, target.clock)
        sheet.attempt("route", partial(_route, session, source.host, target.host), str)
    if one is None or other is None:
        return
    if two and source.root_granted and target.root_granted:
        sheet.attempt("transfer", partial(method, access(one), access(other)), _METHODS.__getitem__)
    if not (source.databases and target.databases):
        return
    main = server(one, one.facts.database)
    sources = [each.server for each in staged(one)][: len(source.databases)]
    databases = staged(other)[: len(target.databases)]
    if two:
        sheet.guard(
            "two instances",
            partial(guards.distinct, one, other, sources, [each.server for each in databases]),
            f"{one.name} and {other.name} share no database, webroot or data dir",
        )
    if session.site.refresh.strategy == "in-place":
        main_only = in_place(databases[:1])
        sheet.guard(
            "in place",
            partial(require_in_place, other, main_only, source.databases, target.databases),
            f"{other.name} can be emptied, filled and put back where it stands",
        )
        if target.answers:
            _code(sheet, one, other, main, databases[0].server)
        return
    for number, database in enumerate(databases):
        _database(sheet, session, source, target, number, database.stage)
    if target.answers:
        _code(sheet, one, other, main, databases[0].server)
    if one.layout.datadir_id and other.layout.webroot_id:
        sheet.attempt(
            "room for a second copy",
            partial(_require_room, one, other, source.databases[0]),
            lambda needed: _room(other, needed, source.databases[0]),
        )


_METHODS: Final = {
    "rsync": "rsync on both ends: only changes travel",
    "tar": "a tar stream, as one end may not run rsync: what changed travels as whole files",
}


def _clocks(sheet: Sheet, source: float | None, target: float | None) -> None:
    if source is None or target is None:
        return
    apart = abs(source - target)
    if apart < MOST_CLOCK_DIFFERENCE:
        sheet.good("clocks", f"{apart:.1f} s apart")
    else:
        remedy = "let both hosts keep time: timedatectl set-ntp true"
        sheet.bad("clocks", f"{apart:.0f} s apart", remedy)


def _route(session: Session, source: Host, target: Host) -> str:
    wanted = session.site.refresh.route
    found = choose_route(source, target, wanted)
    if found == "local":
        return "both are on one host: nothing travels over the network"
    if found == "direct":
        return f"direct: {target.name} reaches {source.name} by SSH"
    if note := route_note(source, target, wanted):
        return note[0]
    if wanted == "relay" or not source.address or not target.address:
        return "relay: through this machine, nothing is written to its disk"
    return f"relay: {target.name} cannot reach {source.name}, so all goes through this machine"


def _code(sheet: Sheet, one: Instance, other: Instance, main: Server, target: Server) -> None:
    def said(found: Compared) -> str:
        if found.unknown:
            return ""
        if not found.by:
            return not_compared(one.name, other.name)
        return f"{other.name} knows every migration of {one.name}, by {found.by}"

    found = sheet.attempt(
        "code", lambda: compare_migrations(main, target, other.app, one.app), said
    )
    if found is not None:
        sheet.guard("code", partial(require_known, one.name, other, found.unknown), "")


_TOPICS: Final = (
    ("extensions", r"the extension"),
    ("locale", r"\blocales?\b|\bICU\b"),
    ("right to create databases", r"may not create databases|may not rename it"),
    ("versions", r"PostgreSQL|pg_dump|\bpsql\b"),
    ("stage database", r"exists already|the stage would carry"),
    ("connections", r"connections left"),
    ("prepared transactions", r"prepared transactions"),
)


def _database(
    sheet: Sheet, session: Session, source: Looked, target: Looked, number: int, stage: str
) -> None:
    """Whether this database can travel: a line for each problem, and for each topic without."""
    facts, locale = target.databases[number], target.environment.database.locale
    copied = not number or session.site.refresh.log_database != "skip"
    # A stand-in for the log database is made like the target's own.
    like = source.databases[number] if copied and number < len(source.databases) else facts
    problems = check_pair(like, facts, stage=stage, locale=locale)
    of = " of the log database" if number else ""
    topics = {topic(problem) for problem in problems}
    for name, text in _fits(like, facts, locale) if copied else ():
        if name not in topics:
            sheet.good(name + of, text)
    for problem in problems:
        cause, _, remedy = problem.rpartition(": ")
        sheet.bad(topic(problem) + of, cause or problem, remedy if cause else "")


def topic(problem: str) -> str:
    """What a problem that `check_pair` found is about."""
    # Names of databases and roles may hold any word.
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", problem)
    return next((name for name, pattern in _TOPICS if re.search(pattern, bare)), "database")


def _fits(
    source: ServerFacts, target: ServerFacts, locale: str | None
) -> Iterator[tuple[str, str]]:
    dump = pick_dump(source, target)
    load = pick_load(target, dump) if dump is not None else None
    tools = ""
    if dump is not None and load is not None and dump.pg_dump is not None and load.psql is not None:
        tools = "; pg_dump {}.{} into psql {}.{}".format(*dump.pg_dump, *load.psql)
    servers = f"PostgreSQL {dotted(source.version)} into {dotted(target.version)}"
    yield "versions", servers + tools
    yield "locale", f"{locale or source.icu_locale or source.collate}, encoding {source.encoding}"
    names = ", ".join(one.name for one in source.extensions)
    yield "extensions", f"{names}: all can be had" if names else "none are needed"
    who = "the admin role" if target.has_admin else target.role
    yield "right to create databases", f"{who} has it"


def _require_room(source: Instance, target: Instance, facts: ServerFacts) -> int:
    """The bytes of files that a stage needs."""
    size = stage_size(source, target)
    require_space(target, size, facts)
    return size[0]


def _room(target: Instance, needed: int, facts: ServerFacts) -> str:
    space = free_space(access(target), target.layout.stage_dir)
    return (
        f"{human(space.bytes)} free in {space.filesystem}, {human(needed)} needed; the database "
        f"has {human(facts.bytes)}"
    )
