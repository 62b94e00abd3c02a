"""What the steps of a stage share, wherever its content comes from: a live instance or a set."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from biso_tasks.actions.target import TargetWork
from biso_tasks.config.model import Refresh as RefreshConfig
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.keep import check_names
from biso_tasks.database.pair import check_pair
from biso_tasks.database.server import Server
from biso_tasks.database.settings import Settings
from biso_tasks.database.snapshot import Counts
from biso_tasks.database.stage_role import left_role
from biso_tasks.database.wire import Wire, measured
from biso_tasks.errors import ProofFailed, Refused
from biso_tasks.files.sync import Method
from biso_tasks.host.protocol import Host
from biso_tasks.host.route import Route
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.serving import ask
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.inventory.model import Inventory
from biso_tasks.privacy.inventory.said import inventories_of
from biso_tasks.privacy.originals import Originals
from biso_tasks.privacy.prove import Proof
from biso_tasks.stage.model import Area, Stage, StagedDatabase
from biso_tasks.stage.own_role import without_roles
from biso_tasks.stage.swap import Swapped
from biso_tasks.stage.view import StageView

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = [
    "StageSurvey",
    "StageWork",
    "identity",
    "not_compared",
    "require_kept_tables",
    "require_known",
    "require_pair",
    "url_note",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSurvey:
    """What was looked at on the target before a plan was made. The plan rests on these facts; they
    are read again when execution starts. Facts are by the number of the stage's database."""

    target: Instance
    stage: Stage
    target_facts: tuple[ServerFacts, ...]
    route: Route
    method: Method
    services: tuple[str, ...]
    in_maintenance: bool
    previous: dict[str, Any] | None
    notes: tuple[str, ...]

    def fingerprint(self) -> dict[str, Any]:
        """The facts that the printed plan depends on."""
        return {
            self.target.name: identity(self.target),
            "route": self.route,
            "transfer": self.method,
            "services": self.services,
            "previous instance": self.previous,
            "stage directory": self.target.layout.stage_dir,
        }


@dataclass(slots=True)
class StageWork(TargetWork, ABC):
    """The work of whatever builds a stage and swaps it in: what the steps hand on. `lacking`: areas
    of the target of which there was nothing, so that it takes the place of a shell that was made
    for it; `fresh`: the live databases that were made so; `opens`: the run itself began the
    maintenance that the target is in, and a step ends it. `said`: what privacy.toml and plugins
    say of columns and files; `handed_over`: what will be served belongs to the application's role
    by now; `analyzed`: the live databases of whose stage the planner's statistics came along."""

    VALUES: ClassVar[Mapping[str, Callable[[Any], str]]] = {
        "run": lambda work: work.run_id,
        "stage.webroot": lambda work: work.stage.webroot,
        "stage.datadir": lambda work: work.stage.datadir,
        "stage.dbname": lambda work: work.stage.main.stage,
        "target.webroot": lambda work: work.target.layout.webroot,
        "target.datadir": lambda work: work.target.layout.datadir,
        "target.dbname": lambda work: work.target.facts.database.dbname,
    }

    lacking: frozenset[Area] = frozenset()
    fresh: frozenset[str] = frozenset()
    opens: bool = False
    anonymize: bool = True
    keep_stage: bool = False
    reading: ExitStack = field(default_factory=ExitStack)
    counts: tuple[Counts, ...] = ()
    inventories: tuple[tuple[Classified, ...], ...] = ()
    originals: tuple[Originals, ...] = ()
    proof: Proof | None = None
    staged: bool = False
    neutralized: bool = False
    handed_over: bool = False
    analyzed: set[str] = field(default_factory=set)
    swapped: Swapped | None = None
    access: dict[str, tuple[str, ...]] = field(default_factory=dict)
    said: tuple[Inventory, ...] = field(init=False, default=())
    _wire: Wire | None = field(init=False, default=None)
    _measuring: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # Before anything is contacted: what is wrong in privacy.toml is a matter of this machine.
        if self.anonymize:
            self.said = inventories_of(self.session.site, self.session.hooks)

    @property
    @abstractmethod
    def facts(self) -> StageSurvey:
        """What was surveyed."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """How plans and messages call what the stage's content comes from."""

    @property
    def raw(self) -> bool:
        """Whether personal data is served once the stage is."""
        return not self.anonymize

    @property
    def proven(self) -> dict[str, Any] | None:
        """What proved that no personal data is served then; None where nothing did."""
        return self.own_proof()

    def own_proof(self) -> dict[str, Any] | None:
        """Of this run: how much it looked for."""
        proof = self.proof
        if proof is None or proof.leaks:
            return None
        counts = {"columns": proof.columns, "values": proof.values, "files": proof.files}
        return {"run": self.run_id, **counts}

    @abstractmethod
    def source_facts(self, number: int) -> ServerFacts:
        """What database `number` of the stage was where it comes from."""

    @abstractmethod
    def source_settings(self, number: int) -> Settings:
        """The settings and access rights of that database as a whole."""

    @abstractmethod
    def original(self, number: int) -> AbstractContextManager[Connection]:
        """A connection, in a read-only transaction, to the values before anything is masked."""

    @abstractmethod
    def give_grants(self, number: int) -> list[str]:
        """Give the privileges inside database `number` of the stage; notes on what was left
        behind."""

    @abstractmethod
    def target_server(self, number: int) -> Server:
        """The server and live database that number `number` of the stage stands beside, as the
        application's role, with the clients to load it."""

    @abstractmethod
    def untrusted(self, number: int) -> tuple[str, ...]:
        """Extensions of database `number` that only a superuser may create on the target."""

    @property
    def copied(self) -> list[int]:
        """The numbers of the stage's databases whose content comes from the origin."""
        databases = enumerate(self.stage.databases)
        return [number for number, one in databases if one.content != "live-schema"]

    @property
    def kept(self) -> frozenset[Area]:
        """The areas of which the previous instance will consist."""
        return self.stage.areas - self.lacking

    @property
    def config(self) -> RefreshConfig:
        return self.session.site.refresh

    @property
    def target(self) -> Instance:
        return self.facts.target

    @property
    def stage(self) -> Stage:
        return without_roles(self.facts.stage) if self.handed_over else self.facts.stage

    def wire(self, source: Host, target: Host, size: int, cancel: threading.Event) -> Wire:
        """What `size` bytes are packed with on their way between the two hosts. The link is
        measured once: steps side by side would see half of it each. Raises HostError,
        Interrupted."""
        with self._measuring:
            if self._wire is not None:
                return self._wire
            wire = measured(source, target, size, route=self.facts.route, cancel=cancel)
            if wire.link:
                self._wire = wire
            return wire

    def filled_server(self, number: int) -> Server:
        """The stage's database `number`, as the role that owns it, with the clients to load it."""
        there = self.stage.databases[number].staged_server
        return replace(there, bindir=self.target_server(number).bindir)

    def accept_sample(self) -> None:
        """There are more originals than `[privacy] bound`, so the proof will know a sample of them.
        Raises Refused where that is not enough for what is made."""

    def require_proven(self) -> None:
        """Raises ProofFailed where what would be served was to be anonymised and is not proven: the
        last word, whatever a recipe says of the order of its steps."""
        if self.anonymize and (self.proof is None or self.proof.leaks):
            raise ProofFailed(
                f"{self.target.name}: nothing is served before the proof that no personal data "
                "survived",
                hint="the step `prove` comes before; look at the plan with --plan",
            )

    def bind_values(self) -> None:
        TargetWork.bind_values(self)
        self.notes = list(self.facts.notes)

    def stage_view(self) -> StageView | None:
        return StageView(self.stage, self.neutralized) if self.staged else None


def identity(instance: Instance) -> dict[str, Any]:
    """What an instance is, as a plan depends on it."""
    layout, facts = instance.layout, instance.facts
    return {
        "env": facts.env,
        "database": (facts.database.host, facts.database.port, facts.database.dbname),
        "webroot": (layout.webroot, layout.webroot_id),
        "data dir": (layout.datadir, layout.datadir_id),
        "host": layout.machine,
    }


def require_known(origin: str, target: Instance, unknown: tuple[str, ...]) -> None:
    """Raises Refused where the target's code does not know migrations that the origin has."""
    if unknown:
        raise Refused(
            f"{origin} has {len(unknown)} migration(s) that the code of {target.name} does "
            f"not know: {', '.join(unknown[:5])}",
            hint=f"deploy the same version of BISO on {target.name} first",
        )


def require_kept_tables(target: Instance, main: Server, config: RefreshConfig) -> None:
    """Raises Refused where `keep_tables` or `keep_rows` names what the test instance lacks."""
    rows = [table for table, _ in config.keep_rows]
    if not config.keep_tables and not rows:
        return
    with connect(main) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        problems = check_names(connection, config.keep_tables)
        problems += check_names(connection, rows, key="keep_rows")
    if problems:
        raise Refused(f"{target.name}: {'; '.join(problems)}", hint="correct it in [refresh]")


def not_compared(origin: str, target: str) -> str:
    """What a plan says where nothing tells which migrations were applied."""
    return (
        f"the migrations of {origin} and {target} could not be compared: no table of {origin} "
        f"remembers them (name it: environments.{target}.database.migrations), and not both "
        "webroots have a folder of them"
    )


def require_pair(
    target: Instance,
    databases: tuple[StagedDatabase, ...],
    sources: tuple[ServerFacts, ...],
    targets: tuple[ServerFacts, ...],
) -> None:
    """Raises Refused, with every reason, where the databases cannot come to the target's server."""
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
    """A stage that a killed run left is dropped under the lock, if it belongs to the application's
    role or to one of ours."""
    if database.stage not in facts.databases:
        return facts
    with admin(database.server) as role:
        owners = role.rows(
            "SELECT pg_get_userbyid(datdba)::text AS r FROM pg_database WHERE datname = {}",
            database.stage,
        )
        ours = (database.server.dsn.user, left_role(role, database.server))
    if owners and owners[0][0] not in ours:
        return facts
    return replace(facts, databases=facts.databases - {database.stage})


def url_note(target: Instance) -> list[str]:
    """What to say of the site's address before a swap."""
    url = target.environment.url
    if not url:
        return [f"{target.name} has no `url`: nobody asks the site after the swap"]
    answer = ask(url, target.app)
    if answer.good(maintenance=True):
        return []
    return [
        f"{url} does not answer well now ({answer.detail}); if that stays so, it is swapped back"
    ]
