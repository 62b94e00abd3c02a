"""`restore` where something of the target is missing: config.php with its webroot, the data dir, a
database, or all of it. What the plan says rests on the target's own config.php, or where that is
gone on the set's, run on the host as it will stand there.

A part that is there is the target's own, and stays as the previous instance. Where no config.php
leads to it, it has to be recognised for that: biso.toml names it, or the set is this environment's,
and the set knows some of what is in it.
"""

from __future__ import annotations

import posixpath
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from biso_tasks.actions.sets.missing import (
    data_is_there,
    missing_notes,
    needed,
    require_covered,
    require_makeable_here,
)
from biso_tasks.actions.sets.restore import (
    FromSet,
    SetSurvey,
    contents,
    dump_of,
    left_out,
    usable_set,
)
from biso_tasks.actions.staged.absent import absent_note
from biso_tasks.backup.manifest import DatabaseDump, Manifest
from biso_tasks.backup.sealed import Sealed
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.database import bare as grounds
from biso_tasks.database.bare import Ground
from biso_tasks.database.facts import ServerFacts
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry
from biso_tasks.files.sync import method
from biso_tasks.host.route import choose_route
from biso_tasks.instance import services
from biso_tasks.instance.app import App
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import read_layout
from biso_tasks.instance.mounts import real_path
from biso_tasks.session import Session
from biso_tasks.stage import bare as shell
from biso_tasks.stage import guards
from biso_tasks.stage.bare_config import BareConfig, plan_config
from biso_tasks.stage.exposure import require_unserved_by_config
from biso_tasks.stage.lost import require_none_lost
from biso_tasks.stage.model import AREAS, Area, Stage, StagedDatabase, access, staged
from biso_tasks.stage.neutral import settings_of
from biso_tasks.stage.shell import require_no_shell
from biso_tasks.stage.swap import require_no_intent

__all__ = ["Bare", "BareSurvey", "describe_bare", "survey_bare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BareSurvey(SetSurvey):
    """`config` is what becomes of the set's config.php, None where the target has its own; `like`
    what the set recorded of it; `grounds` what is there of each database, by its number. `missing`
    are the areas of which something has to be made, `lacking` those of which there is nothing at
    all; `closed`: maintenance was on before. Of databases no more is known yet."""

    config: BareConfig | None
    like: Entry | None
    grounds: tuple[Ground, ...]
    missing: frozenset[Area]
    lacking: frozenset[Area]
    closed: bool

    def fingerprint(self) -> dict[str, object]:
        return {
            **SetSurvey.fingerprint(self),
            "servers": self.grounds,
            "what is missing": sorted(self.missing),
            "maintenance": self.closed,
        }


@dataclass(slots=True)
class Bare(FromSet):
    """The work of a `restore` where something is missing. `folders` are those that were not there
    before anything was made."""

    plan: BareSurvey | None = None
    folders: tuple[str, ...] | None = None
    furnished: bool = False
    laid: shell.Laid = field(default_factory=shell.Laid)
    made: grounds.Made = field(default_factory=grounds.Made)

    @property
    def planned(self) -> BareSurvey:
        assert self.plan is not None
        return self.plan

    def look_again(self) -> None:
        assert self.store is not None
        found = survey_bare(self.session, self, self.store)
        self.survey = self.plan = found
        self.lacking, self.opens = found.lacking, not found.closed
        self.fresh = frozenset(
            one.live
            for one, ground in zip(found.stage.databases, found.grounds, strict=True)
            if ground.database != "held"
        )
        if self.folders is None:
            self.folders = shell.missing_folders(found.target)


def survey_bare(session: Session, work: Bare, store: Store) -> BareSurvey:
    """Look at the set and at a target of which something is missing, and refuse what cannot be.
    Nothing is changed. Raises Refused, naming what is in the way."""
    name = work.places["target"]
    host, environment = session.host(name), session.environment(name)
    backup = usable_set(work, store)
    config: BareConfig | None = None
    if shell.is_bare(host, environment):
        require_makeable_here(work, "webroot", f"{environment.webroot}/{environment.config}")
        target, config = _planned(session, work, store, backup)
    else:
        target = session.instance(name)
        require_no_shell(target, work.run_id)
        if not target.layout.datadir_id:
            require_makeable_here(work, "data", target.layout.datadir)
    session.keep_secret(target.facts.database, target.facts.log)
    work.require_free(target)
    guards.env_fits(target, anonymize=work.anonymize)
    guards.config_goes_on(target)
    require_no_intent(target)
    shell.require_makeable(target)
    lacking: set[Area] = set() if config is None else {"webroot"}
    if not data_is_there(target, config, store, backup):
        lacking.add("data")
    wanted = staged(target, contents(session, work, target, backup), areas=work.areas)
    databases, absent = needed(wanted, config)
    dumps = tuple(dump_of(one, backup) for one in databases)
    main = environment.key("gaia.db")

    def ground(database: StagedDatabase) -> Ground:
        said = database.key == main and environment.database.dbname is not None
        dump = next((one for one in backup.manifest.databases if one.key == database.key), None)
        vouched = said or backup.manifest.environment == name
        known = dump.counts.tables if vouched and dump is not None else ()
        # What the set has nothing of is not exchanged either.
        own = config is None or (vouched and dump is None)
        return grounds.look(database.server, name, own=own, known=known)

    with ThreadPoolExecutor(4) as pool:
        unserved = pool.submit(require_unserved_by_config, target)
        route = pool.submit(choose_route, store.host, host, session.site.refresh.route)
        way = pool.submit(method, Access(store.host), access(target))
        running = pool.submit(services.running, host, environment)
        there = tuple(pool.map(ground, databases))
        unserved.result()
        missing = set(lacking)
        if any(one.database == "missing" or not one.role for one in there):
            missing.add("database")
        if not any(
            at.database == "held" for one, at in zip(databases, there, strict=True) if one.swapped
        ):
            lacking.add("database")
        require_covered(work, missing)
        return BareSurvey(
            target=target,
            stage=Stage(
                target,
                work.run_id,
                databases,
                areas=work.areas,
                absent=absent,
                settings=settings_of(session.site, environment),
            ),
            target_facts=(),
            route=route.result(),
            method=way.result(),
            services=running.result(),
            in_maintenance=True,
            previous=(target.state.read("instance") or {}).get("previous"),
            notes=(
                *(absent_note(target, one) for one in absent),
                *left_out(target, backup, databases),
                *missing_notes(target, config, missing, databases, there),
            ),
            store=store,
            backup=backup,
            dumps=dumps,
            source_facts=_sources(backup, dumps),
            config=config,
            like=None if config is None else _recorded(store, backup, environment.config),
            grounds=there,
            missing=frozenset(missing),
            lacking=frozenset(lacking),
            closed=target.in_maintenance(),
        )


def _planned(
    session: Session, work: Bare, store: Store, backup: BackupSet
) -> tuple[Instance, BareConfig]:
    """The target as it will be with the set's config.php."""
    name = work.places["target"]
    host, environment = session.host(name), session.environment(name)
    require_none_lost(host, environment)
    webroot = real_path(host, environment.webroot)
    config = plan_config(
        host,
        environment,
        webroot,
        Sealed(store, backup).file("config/config.php"),
        beside=_beside(webroot, backup.manifest),
        keys=[one.key for one in backup.manifest.databases],
        settings=settings_of(session.site, environment),
    )
    layout = read_layout(host, environment, environment.datadir or config.facts.datadir)
    app = App(host, environment, environment.webroot, environment.webroot)
    return Instance(environment, host, config.facts, layout, app, ()), config


def _sources(backup: BackupSet, dumps: tuple[DatabaseDump | None, ...]) -> tuple[ServerFacts, ...]:
    """What the dumped databases were. One that the set lacks is made like the main one, and none
    where it has no database at all."""
    if not backup.manifest.databases:
        return ()
    main = backup.manifest.databases[0]
    return tuple(ServerFacts.from_document((dump or main).facts) for dump in dumps)


def _beside(webroot: str, manifest: Manifest) -> str:
    """Where the data dir would be if it lay to the webroot as in the set."""
    places = manifest.places
    way = posixpath.relpath(places.datadir or "/", places.webroot or "/")
    return posixpath.normpath(posixpath.join(webroot, way))


def _recorded(store: Store, backup: BackupSet, config: str) -> Entry | None:
    entries = Sealed(store, backup).tree("webroot")
    return next((entry for entry in entries if entry.path == config), None)


def describe_bare(work: Bare) -> tuple[tuple[str, str], ...]:
    """What is confirmed with the name: where config.php leads, and what is missing there."""
    target = work.target
    dsn, layout = target.facts.database, target.layout
    missing = [area for area in AREAS if area in work.planned.missing]
    return (
        ("missing", ", ".join(missing) or "biso-cli in the webroot"),
        ("database", f"{dsn.dbname} at {dsn.host or 'the socket'}:{dsn.port}, role {dsn.user}"),
        ("data dir", layout.datadir),
    )
