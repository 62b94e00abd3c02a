"""`restore` onto a bare host: what is looked at where there is no instance yet. What the plan says
rests on the config.php of the set, run on the host as it will stand there.
"""

from __future__ import annotations

import posixpath
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from biso_tasks.actions.sets.restore import (
    FromSet,
    SetSurvey,
    contents,
    dump_of,
    left_out,
    usable_set,
)
from biso_tasks.backup.manifest import Manifest
from biso_tasks.backup.sealed import sealed_file, sealed_tree
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.database import bare as grounds
from biso_tasks.database.bare import Ground
from biso_tasks.database.facts import ServerFacts
from biso_tasks.errors import Refused
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
from biso_tasks.stage.model import AREAS, Stage, access, staged
from biso_tasks.stage.neutral import settings_of
from biso_tasks.stage.swap import require_no_intent

__all__ = ["Bare", "BareSurvey", "describe_bare", "survey_bare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BareSurvey(SetSurvey):
    """`config` is what becomes of the set's config.php, `like` what the set recorded of it;
    `grounds` what is there of each database, by its number. The target's facts are not known
    yet."""

    config: BareConfig
    like: Entry | None
    grounds: tuple[Ground, ...]

    def fingerprint(self) -> dict[str, object]:
        return {**SetSurvey.fingerprint(self), "servers": self.grounds}


@dataclass(slots=True)
class Bare(FromSet):
    """The work of a `restore` onto a bare host. `missing` are the folders that were not there
    before anything was made."""

    bare: bool = True
    plan: BareSurvey | None = None
    missing: tuple[str, ...] | None = None
    furnished: bool = False
    laid: shell.Laid = field(default_factory=shell.Laid)
    made: grounds.Made = field(default_factory=grounds.Made)

    @property
    def planned(self) -> BareSurvey:
        assert self.plan is not None
        return self.plan

    def look_again(self) -> None:
        assert self.store is not None
        self.survey = self.plan = survey_bare(self.session, self, self.store)
        if self.missing is None:
            self.missing = shell.missing_folders(self.plan.target)


def survey_bare(session: Session, work: Bare, store: Store) -> BareSurvey:
    """Look at the set and at a host that is bare, and refuse what cannot be. Nothing is changed.
    Raises Refused, naming what is not bare."""
    name = work.places["target"]
    host, environment = session.host(name), session.environment(name)
    backup = usable_set(work, store)
    if work.areas != set(AREAS):
        raise Refused(
            f"{name} is bare (there is no {environment.webroot}/{environment.config}), and a bare "
            f"host needs all of {', '.join(AREAS)}; this would bring "
            f"{', '.join(area for area in AREAS if area in work.areas)}",
            hint="restore a complete set, without --only",
        )
    if environment.services.kind == "compose":
        raise Refused(
            f"{name}: there is no {environment.webroot}/{environment.config}, and in containers "
            "not everything can be made from here",
            hint="put webroot and config.php there by hand, start the database's container, make "
            "role and database (RESTORE.md of the set says how); then restore",
        )
    webroot = real_path(host, environment.webroot)
    config = plan_config(
        host,
        environment,
        webroot,
        sealed_file(store, backup, "config/config.php"),
        beside=_beside(webroot, backup.manifest),
        keys=[one.key for one in backup.manifest.databases],
        settings=settings_of(session.site, environment),
    )
    facts = config.facts
    session.keep_secret(facts.database, facts.log)
    layout = read_layout(host, environment, environment.datadir or facts.datadir)
    app = App(host, environment, environment.webroot, environment.webroot)
    target = Instance(environment, host, facts, layout, app, ())
    work.require_free(target)
    guards.env_fits(target, anonymize=work.anonymize)
    require_no_intent(target)
    shell.require_bare(target)
    databases = staged(target, contents(session, work, target, backup), areas=work.areas)
    dumps = tuple(dump_of(one, backup) for one in databases)
    with ThreadPoolExecutor(4) as pool:
        unserved = pool.submit(require_unserved_by_config, target)
        route = pool.submit(choose_route, store.host, host, session.site.refresh.route)
        way = pool.submit(method, Access(store.host), access(target))
        running = pool.submit(services.running, host, environment)
        there = tuple(pool.map(lambda one: grounds.look(one.server, name), databases))
        unserved.result()
        main = ServerFacts.from_document(backup.manifest.databases[0].facts)
        return BareSurvey(
            target=target,
            stage=Stage(
                target,
                work.run_id,
                databases,
                areas=work.areas,
                settings=settings_of(session.site, environment),
            ),
            target_facts=(),
            route=route.result(),
            method=way.result(),
            services=running.result(),
            in_maintenance=True,
            previous=None,
            notes=(*left_out(target, backup, databases), *_notes(target, config)),
            store=store,
            backup=backup,
            dumps=dumps,
            # One that the set lacks is made like the main one.
            source_facts=tuple(
                main if dump is None else ServerFacts.from_document(dump.facts) for dump in dumps
            ),
            config=config,
            like=_recorded(store, backup, environment.config),
            grounds=there,
        )


def _beside(webroot: str, manifest: Manifest) -> str:
    """Where the data dir would be if it lay to the webroot as in the set."""
    places = manifest.places
    way = posixpath.relpath(places.datadir or "/", places.webroot or "/")
    return posixpath.normpath(posixpath.join(webroot, way))


def _recorded(store: Store, backup: BackupSet, config: str) -> Entry | None:
    entries = sealed_tree(store, backup, "webroot")
    return next((entry for entry in entries if entry.path == config), None)


def _notes(target: Instance, config: BareConfig) -> list[str]:
    environment = target.environment
    notes = [f"{environment.webroot} is bare: all is made, with the config.php of the set"]
    if config.changed:
        notes.append(
            f"biso.toml says otherwise of {', '.join(config.changed)} than the set's config.php: "
            "a config.php that says so requires the set's"
        )
    if environment.url:
        notes.append(
            f"{environment.url} has to show BISO's maintenance page before anything is served: set "
            "up the web server for it first, or leave `url` out"
        )
    return notes


def describe_bare(work: Bare) -> tuple[tuple[str, str], ...]:
    """What is confirmed with the name: where config.php leads."""
    target = work.target
    dsn, layout = target.facts.database, target.layout
    return (
        ("database", f"{dsn.dbname} at {dsn.host or 'the socket'}:{dsn.port}, role {dsn.user}"),
        ("data dir", layout.datadir),
    )
