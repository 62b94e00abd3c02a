"""What a backup works on: the instance as it is found, the store, and what its steps hand on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from biso_tasks.actions.staged.work import identity
from biso_tasks.actions.target import TargetWork
from biso_tasks.backup.ids import SetId, new_id
from biso_tasks.backup.manifest import AREAS
from biso_tasks.backup.metadata import TREES
from biso_tasks.backup.store import BackupSet, Store, StoredSet
from biso_tasks.database.dumps import Dumped
from biso_tasks.database.facts import ServerFacts, probe
from biso_tasks.database.pair import check_whole, pick_dump
from biso_tasks.database.server import Server
from biso_tasks.database.settings import Settings
from biso_tasks.database.snapshot import Counts, Snapshot
from biso_tasks.errors import Refused, UsageError
from biso_tasks.files.access import Access
from biso_tasks.files.capture import Captured
from biso_tasks.files.listing import Listing
from biso_tasks.files.space import require_space
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import inside, require_live
from biso_tasks.instance.maintenance import Window
from biso_tasks.session import Session
from biso_tasks.stage import guards
from biso_tasks.stage.model import staged
from biso_tasks.stage.space import tree_size
from biso_tasks.stage.swap import require_no_intent
from biso_tasks.stage.view import InstanceView

__all__ = ["Backup", "Part", "read_areas", "require_outside", "survey_backup"]

# Of the set before; what changed since is not known yet.
_GROWTH = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """One database that is backed up: `stem` is its dump's name without stamp and suffix, `server`
    has the clients that dump it."""

    key: str
    stem: str
    server: Server
    facts: ServerFacts


@dataclass(frozen=True, slots=True)
class BackupSurvey:
    """What a backup rests on. `watched`: the databases whose writers are waited for; `former`: the
    good sets before, the newest first; `proven`: which run proved that no personal data is in it,
    None where none did."""

    instance: Instance
    areas: tuple[str, ...]
    parts: tuple[Part, ...]
    watched: tuple[Server, ...]
    former: tuple[StoredSet, ...]
    in_maintenance: bool
    proven: Mapping[str, Any] | None
    personal: bool
    notes: tuple[str, ...]

    @property
    def previous(self) -> dict[str, StoredSet]:
        """For each tree that is backed up, the set whose unchanged files are shared: the newest
        that has it. A set of one area between two whole ones is no reason to copy all."""
        found = {area: _newest_with(self.former, area) for area in TREES if area in self.areas}
        return {area: one for area, one in found.items() if one is not None}

    def fingerprint(self) -> dict[str, Any]:
        return {
            self.instance.name: identity(self.instance),
            "databases": [(part.key, part.server.dsn.dbname) for part in self.parts],
            "maintenance": "on" if self.in_maintenance else "off",
            "the sets before": {area: one.id for area, one in self.previous.items()},
        }


@dataclass(slots=True)
class Backup(TargetWork):
    """The work of `backup`. `maintenance` is what is done in this run: short, whole or none;
    `label` what a person calls the set."""

    PLACES: ClassVar[tuple[str, ...]] = ("source",)
    CONDITIONS: ClassVar[Mapping[str, Callable[[Any], bool]]] = {
        "database": lambda work: "database" in work.areas
    }
    VALUES: ClassVar[Mapping[str, Callable[[Any], str]]] = {
        "run": lambda work: work.run_id,
        "set.id": lambda work: work.id,
        "set.path": lambda work: work.sets.set_path(work.id),
        "set.store": lambda work: work.sets.path,
        "source.webroot": lambda work: work.target.layout.webroot,
        "source.datadir": lambda work: work.target.layout.datadir,
        "source.dbname": lambda work: work.target.facts.database.dbname,
    }

    areas: tuple[str, ...] = AREAS
    maintenance: str = "short"
    label: str = ""
    store: Store | None = None
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    survey: BackupSurvey | None = None
    storing: ExitStack = field(default_factory=ExitStack)
    reading: ExitStack = field(default_factory=ExitStack)
    holding: ExitStack = field(default_factory=ExitStack)
    building: bool = False
    window: Window | None = None
    maintenance_seconds: float = 0.0
    drained: tuple[str, ...] = ()
    listings: dict[str, Listing] = field(default_factory=dict)
    captured: dict[str, Captured] = field(default_factory=dict)
    vanished: list[str] = field(default_factory=list)
    snapshots: tuple[Snapshot, ...] = ()
    counts: tuple[Counts, ...] = ()
    dumped: tuple[Dumped, ...] = ()
    settings: tuple[Settings, ...] = ()
    identities: tuple[str | None, ...] = ()
    missing: tuple[str, ...] = ()
    sealed: BackupSet | None = None

    @property
    def facts(self) -> BackupSurvey:
        assert self.survey is not None
        return self.survey

    @property
    def target(self) -> Instance:
        return self.facts.instance

    @property
    def sets(self) -> Store:
        assert self.store is not None
        return self.store

    @property
    def id(self) -> str:
        return new_id(self.moment, self.places["source"])

    @property
    def stamp(self) -> str:
        return SetId.at(self.moment)

    @property
    def trees(self) -> tuple[str, ...]:
        return tuple(area for area in TREES if area in self.areas)

    @property
    def keeper(self) -> Access:
        """The login, to whom all sets belong."""
        return Access(self.target.host)

    def fingerprint(self) -> Mapping[str, Any]:
        return self.facts.fingerprint()

    def look_again(self) -> None:
        self.survey = survey_backup(
            self.session, self.places["source"], self.areas, self.sets, self.require_free
        )

    def bind_values(self) -> None:
        TargetWork.bind_values(self)
        self.notes = list(self.facts.notes)


def read_areas(only: str) -> tuple[str, ...]:
    """The areas that `--only` names, all for "". Raises UsageError."""
    if not only:
        return AREAS
    wanted = {word.strip() for word in only.split(",") if word.strip()}
    unknown = sorted(wanted - set(AREAS))
    if unknown or not wanted:
        raise UsageError(
            f"--only: there is no area {', '.join(unknown) or only!r}",
            hint=f"areas are: {', '.join(AREAS)}; several with commas between",
        )
    return tuple(area for area in AREAS if area in wanted)


def survey_backup(
    session: Session,
    name: str,
    areas: Sequence[str],
    store: Store,
    require_free: Callable[[Instance], None],
) -> BackupSurvey:
    """Look at the instance and refuse what cannot be backed up. Nothing is changed. Raises
    Refused."""
    instance = session.instance(name)
    require_live(instance.layout, instance.environment)
    require_free(instance)
    guards.env_fits(instance, anonymize=False)
    require_no_intent(instance)
    require_outside(instance, store)
    store.require_place()
    with ThreadPoolExecutor(4) as pool:
        personal = _personal(instance)
        former = pool.submit(store.former, name, personal=personal)
        in_maintenance = pool.submit(instance.in_maintenance)
        parts = tuple(pool.map(_part, _databases(session, instance) if "database" in areas else ()))
        shared = {area for area in TREES if _newest_with(former.result(), area) is not None}
        notes = _require_space(instance, store, areas, parts, shared)
        if in_maintenance.result():
            notes += (f"{name} is in maintenance now, and stays so",)
        return BackupSurvey(
            instance=instance,
            areas=tuple(areas),
            parts=parts,
            watched=_watched(instance, areas, parts),
            former=former.result(),
            in_maintenance=in_maintenance.result(),
            personal=personal,
            proven=None if personal else _current(instance).get("proven"),
            notes=notes,
        )


def _newest_with(former: Sequence[StoredSet], area: str) -> StoredSet | None:
    return next((one for one in former if area in one.areas), None)


def _watched(instance: Instance, areas: Sequence[str], parts: Sequence[Part]) -> tuple[Server, ...]:
    """Whose writers are waited for. Who uploads a file has a session in the application's database,
    also where that is not backed up."""
    if parts:
        return tuple(part.server for part in parts)
    return (staged(instance)[0].server,) if "data" in areas else ()


def _personal(instance: Instance) -> bool:
    """Whether there is personal data in it: in all that is not known to have been anonymised."""
    if instance.environment.role == "production":
        return True
    return _current(instance).get("raw") is not False


def _current(instance: Instance) -> Mapping[str, Any]:
    return (instance.state.read("instance") or {}).get("current") or {}


def require_outside(instance: Instance, store: Store) -> None:
    """Raises Refused where the store lies in what it shall hold."""
    for what, tree in (
        ("webroot", instance.layout.webroot),
        ("data dir", instance.layout.datadir),
    ):
        if store.path.rstrip("/") == tree or inside(store.path, tree):
            raise Refused(
                f"{instance.name}: the backups at {store.path} would lie in the {what} {tree}: "
                "the web server could serve them, and each set would hold all others",
                hint="set path in [backup] to a directory outside both",
            )


def _databases(session: Session, instance: Instance) -> list[tuple[str, str, Server]]:
    """Key, stem and server of each database that is backed up. Raises Refused for a log database
    that nothing handles."""
    main = instance.environment.key("gaia.db")
    log = instance.environment.key("log.db")
    handled = {main: "biso"}
    for _, extras in session.hooks.collect("biso_databases", instance=InstanceView(instance)):
        for extra in extras:
            if extra.backup:
                handled[extra.key] = f"biso_{extra.label}"
    known = staged(instance, dict.fromkeys(handled, "copy"))
    unhandled = instance.facts.dsn(log) is not None and log not in handled
    if session.site.backup.log_database == "ignore":
        handled.pop(log, None)
    elif unhandled and any(one.key == log for one in known):
        raise Refused(
            f"{instance.name}: config.php names a log database ({log}), and no plugin backs it up",
            hint="put the plugin log_database.py into a folder of `plugins`, or say log_database = "
            '"ignore" in [backup]',
        )
    return [(one.key, handled[one.key], one.server) for one in known if one.key in handled]


def _part(given: tuple[str, str, Server]) -> Part:
    key, stem, server = given
    facts = probe(server)
    client = pick_dump(facts, facts)
    if client is None:
        raise Refused(
            f"{server.host.name} has no pg_dump that can dump {server} (PostgreSQL {facts.major})",
            hint=f"install postgresql-client-{facts.major} there",
        )
    for why in check_whole(facts):
        cause, _, remedy = why.partition(": ")
        raise Refused(cause, hint=remedy)
    return Part(key, stem, replace(server, bindir=client.bindir), facts)


def _require_space(
    instance: Instance,
    store: Store,
    areas: Sequence[str],
    parts: Sequence[Part],
    shared: Collection[str],
) -> tuple[str, ...]:
    """Raises Refused where the set has no room: of trees that are `shared` with sets before, only
    what changed is new."""
    needed, inodes = sum(part.facts.bytes for part in parts), 0
    for area in areas:
        if area in TREES:
            layout = instance.layout
            size, count = tree_size(
                instance, layout.webroot if area == "webroot" else layout.datadir
            )
            needed += int(size * _GROWTH) if area in shared else size
            inodes += count
    require_space(
        Access(instance.host),
        store.path,
        bytes_needed=needed,
        inodes_needed=inodes,
        purpose="a backup set",
    )
    return ()
