"""What a refresh works on: the two instances as they are found, everything that is decided before
anything is changed, and what the steps hand to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from biso_tasks.actions.target import TargetWork
from biso_tasks.config.model import Refresh as RefreshConfig
from biso_tasks.database.admin import admin
from biso_tasks.database.facts import ServerFacts, probe
from biso_tasks.database.grants import Grant
from biso_tasks.database.pair import check_pair, pick_dump, pick_load, untrusted_extensions
from biso_tasks.database.server import Server
from biso_tasks.database.snapshot import Counts, Snapshot
from biso_tasks.errors import Refused
from biso_tasks.files.aside import Changes
from biso_tasks.files.sync import Method, method
from biso_tasks.instance import services
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import require_live
from biso_tasks.instance.mounts import require_fresh_binds
from biso_tasks.instance.serving import ask
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.prove import Proof
from biso_tasks.session import Session
from biso_tasks.stage import guards
from biso_tasks.stage.before import Before
from biso_tasks.stage.exposure import require_unserved_by_config
from biso_tasks.stage.in_place_needs import own_clients, require_in_place
from biso_tasks.stage.migrations import unknown_migrations
from biso_tasks.stage.model import Content, Stage, StagedDatabase, access, server, staged
from biso_tasks.stage.model import in_place as without_stage
from biso_tasks.stage.space import require_space
from biso_tasks.stage.swap import Swapped, require_no_intent
from biso_tasks.stage.view import InstanceView, StageView

__all__ = ["Refresh", "Survey", "survey"]

Route = Literal["local", "relay", "direct"]


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that was looked at before a plan was made. The plan rests on these facts; they
    are read again when execution starts.

    `sources` and both facts are by the number of the stage's database; the source of a stand-in is
    the target's live one."""

    source: Instance
    target: Instance
    stage: Stage
    sources: tuple[Server, ...]
    source_facts: tuple[ServerFacts, ...]
    target_facts: tuple[ServerFacts, ...]
    route: Route
    services: tuple[str, ...]
    in_maintenance: bool
    method: Method
    previous: dict[str, Any] | None
    notes: tuple[str, ...]

    def fingerprint(self) -> dict[str, Any]:
        """The facts that the printed plan depends on."""

        def of(instance: Instance) -> dict[str, Any]:
            layout, facts = instance.layout, instance.facts
            return {
                "env": facts.env,
                "database": (facts.database.host, facts.database.port, facts.database.dbname),
                "webroot": (layout.webroot, layout.webroot_id),
                "data dir": (layout.datadir, layout.datadir_id),
                "host": layout.machine,
            }

        return {
            self.source.name: of(self.source),
            self.target.name: of(self.target),
            "route": self.route,
            "transfer": self.method,
            "services": self.services,
            "previous instance": self.previous,
            "stage directory": self.target.layout.stage_dir,
        }


@dataclass(slots=True)
class Refresh(TargetWork):
    """The work of `refresh-test`: what was surveyed, and what the steps hand on."""

    anonymize: bool = True
    keep_stage: bool = False
    in_place: bool = False
    survey: Survey | None = None
    snapshots: tuple[Snapshot, ...] = ()
    reading: ExitStack = field(default_factory=ExitStack)
    counts: tuple[Counts, ...] = ()
    copied: tuple[str, ...] = ()
    inventories: tuple[tuple[Classified, ...], ...] = ()
    originals: tuple[Originals, ...] = ()
    proof: Proof | None = None
    staged: bool = False
    swapped: Swapped | None = None
    grants: dict[int, tuple[Grant, ...]] = field(default_factory=dict)
    access: dict[str, tuple[str, ...]] = field(default_factory=dict)
    before: Before | None = None
    changes: Changes | None = None
    kept_rows: dict[str, Any] | None = None
    offline_since: float = 0.0
    away: float | None = None

    @property
    def config(self) -> RefreshConfig:
        return self.session.site.refresh

    @property
    def facts(self) -> Survey:
        assert self.survey is not None
        return self.survey

    @property
    def source(self) -> Instance:
        return self.facts.source

    @property
    def target(self) -> Instance:
        return self.facts.target

    @property
    def stage(self) -> Stage:
        return self.facts.stage

    def stage_view(self) -> StageView | None:
        return StageView(self.stage) if self.staged else None

    def fingerprint(self) -> Mapping[str, Any]:
        return self.facts.fingerprint()

    def look_again(self) -> None:
        self.survey = survey(
            self.session,
            self.places["source"],
            self.places["target"],
            run=self.run_id,
            anonymize=self.anonymize,
            require_free=self.require_free,
            in_place=self.in_place,
        )

    def bind_values(self) -> None:
        """What a recipe's `when` and a site's own commands may name."""
        self.conditions = {"anonymize": self.anonymize}
        self.notes = list(self.facts.notes)
        stage = self.stage
        self.values = {
            "run": self.run_id,
            "stage.webroot": stage.webroot,
            "stage.datadir": stage.datadir,
            "stage.dbname": stage.main.stage,
        }
        for name, one in (("source", self.source), ("target", self.target)):
            self.values |= {
                f"{name}.webroot": one.layout.webroot,
                f"{name}.datadir": one.layout.datadir,
                f"{name}.dbname": one.facts.database.dbname,
            }

    def source_server(self, number: int) -> Server:
        """Where database `number` of the stage is copied from, with the clients to dump it."""
        return replace(self.facts.sources[number], bindir=_clients(self.facts, number)[0])

    def own_server(self, number: int) -> Server:
        """The target's live database `number`, with the clients to dump it."""
        return own_clients(self.stage.databases[number].server)[0]

    def target_server(self, number: int) -> Server:
        """The server of database `number` of the stage, with the clients to load it."""
        return replace(self.stage.databases[number].server, bindir=_clients(self.facts, number)[1])


def survey(
    session: Session,
    source_name: str,
    target_name: str,
    *,
    run: str,
    anonymize: bool,
    require_free: Callable[[Instance], None],
    in_place: bool = False,
) -> Survey:
    """Look at both instances and refuse what must not, or cannot, be refreshed. A test instance may
    be its own source (`anonymize`). `in_place`: without a stage.

    Nothing is changed. Raises Refused (exit 3) naming the cause and the remedy.
    """
    target_environment = session.environment(target_name)
    guards.not_production(target_environment, "refresh-test")
    # What does not depend on each other is asked at the same time: each question is a round trip.
    with ThreadPoolExecutor(8) as pool:
        source, target = pool.map(session.instance, (source_name, target_name))
        require_live(source.layout, source.environment)
        require_live(target.layout, target.environment)
        require_free(target)
        guards.env_fits(source, anonymize=False)
        guards.env_fits(target, anonymize=anonymize)
        require_no_intent(target)
        databases = staged(target, _contents(session, source, target))
        if in_place:
            databases = without_stage(databases)
        sources = tuple(_source_of(source, target, database) for database in databases)
        if source_name != target_name:
            # All that either config.php names, copied or not: a stand-in is made beside the
            # target's log database, which must not be production's.
            theirs = [database.server for database in staged(source)]
            guards.distinct(source, target, theirs, [database.server for database in databases])
        unserved = pool.submit(require_unserved_by_config, target)
        unknown = pool.submit(unknown_migrations, sources[0], databases[0].server, target.app)
        route = pool.submit(_route, source, target, session.site.refresh.route)
        way = pool.submit(method, access(source), access(target))
        if session.site.refresh.strategy == "swap":
            require_fresh_binds(target.host, target.environment, target.layout)
        running = pool.submit(services.running, target.host, target.environment)
        in_maintenance = pool.submit(target.in_maintenance)
        record = pool.submit(target.state.read, "instance")
        url_notes = pool.submit(_url_note, target)
        source_facts = tuple(pool.map(probe, sources))
        target_facts = tuple(pool.map(probe, [database.server for database in databases]))
        unserved.result()
        if in_place:
            notes = require_in_place(target, databases, source_facts, target_facts)
        else:
            _require_pair(target, databases, source_facts, target_facts)
            notes = require_space(source, target, source_facts[0])
        _require_known(source, target, unknown.result())
        return Survey(
            source=source,
            target=target,
            stage=Stage(target, run, databases, in_place),
            sources=sources,
            source_facts=source_facts,
            target_facts=target_facts,
            route=route.result(),
            method=way.result(),
            services=running.result(),
            in_maintenance=in_maintenance.result(),
            previous=(record.result() or {}).get("previous"),
            notes=(*notes, *url_notes.result()),
        )


def _require_known(source: Instance, target: Instance, unknown: tuple[str, ...]) -> None:
    if unknown:
        raise Refused(
            f"{source.name} has {len(unknown)} migration(s) that the code of {target.name} does "
            f"not know: {', '.join(unknown[:5])}",
            hint=f"deploy the same version of BISO on {target.name} first",
        )


def _contents(session: Session, source: Instance, target: Instance) -> dict[str, Content]:
    """What each further database of the target is filled with, by its config.php key: as plugins
    and `refresh.log_database` say. One that the source does not have gets a stand-in."""
    said = session.site.refresh.log_database
    wanted: dict[str, str] = {target.environment.key("log.db"): said}
    view = InstanceView(target)
    for _, extras in session.hooks.collect("biso_databases", instance=view):
        for extra in extras:
            wanted[extra.key] = extra.refresh or said
    fill: dict[str, Content] = {"skip": "live-schema", "schema": "schema", "copy": "copy"}
    return {
        key: fill[how] if source.facts.dsn(key) is not None else "live-schema"
        for key, how in wanted.items()
    }


def _source_of(source: Instance, target: Instance, database: StagedDatabase) -> Server:
    if database.key == target.environment.key("gaia.db"):
        return server(source, source.facts.database)
    dsn = source.facts.dsn(database.key)
    if database.swapped and dsn is not None:
        return server(source, dsn)
    return database.server


def _require_pair(
    target: Instance,
    databases: tuple[StagedDatabase, ...],
    sources: tuple[ServerFacts, ...],
    targets: tuple[ServerFacts, ...],
) -> None:
    locale = target.environment.database.locale
    problems: list[str] = []
    for number, database in enumerate(databases):
        there = _without_leftover(database, targets[number])
        problems += check_pair(sources[number], there, stage=database.stage, locale=locale)
    if problems:
        raise Refused(
            f"{target.name} cannot take this database: " + "; ".join(dict.fromkeys(problems)),
            hint="nothing was touched; `biso doctor --for refresh-test` lists everything at once",
        )


def _without_leftover(database: StagedDatabase, facts: ServerFacts) -> ServerFacts:
    """A stage that a killed run left is dropped under the lock, if it is the application's own."""
    if database.stage not in facts.databases:
        return facts
    with admin(database.server) as role:
        owners = role.rows(
            "SELECT pg_get_userbyid(datdba)::text AS r FROM pg_database WHERE datname = {}",
            database.stage,
        )
    if owners and owners[0][0] != database.server.dsn.user:
        return facts
    return replace(facts, databases=facts.databases - {database.stage})


def _route(source: Instance, target: Instance, wanted: str) -> Route:
    if source.host.address == target.host.address:
        return "local"
    if wanted == "relay" or not source.host.address or not target.host.address:
        return "relay"
    reachable = source.host.reachable_from(target.host)
    if wanted == "direct" and not reachable:
        raise Refused(
            f'route = "direct", but {target.name}\'s host cannot open an SSH connection to '
            f"{source.name}'s ({source.host.address})",
            hint='give it a key and the host key, or use route = "relay" (through this machine)',
        )
    return "direct" if reachable else "relay"


def _url_note(target: Instance) -> list[str]:
    url = target.environment.url
    if not url:
        return [f"{target.name} has no `url`: nobody asks the site after the swap"]
    answer = ask(url, target.app)
    if answer.good(maintenance=True):
        return []
    return [
        f"{url} does not answer well now ({answer.detail}); if that stays so, it is swapped back"
    ]


def _clients(survey: Survey, number: int) -> tuple[str, str]:
    """The directories of the client programs to dump and to load database `number` with."""
    source, target = survey.source_facts[number], survey.target_facts[number]
    dump = pick_dump(source, target)
    assert dump is not None
    load = pick_load(target, dump)
    assert load is not None
    return dump.bindir, load.bindir


def untrusted(survey: Survey, number: int) -> tuple[str, ...]:
    return untrusted_extensions(survey.source_facts[number], survey.target_facts[number])
