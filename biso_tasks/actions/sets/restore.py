"""What is made of a backup set: a restore, a refresh, a drill. What was looked at before, and what
the steps hand on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from biso_tasks.actions.staged.absent import absent_note, part_absent
from biso_tasks.actions.staged.apart import require_apart
from biso_tasks.actions.staged.place import require_stage_place
from biso_tasks.actions.staged.work import (
    StageSurvey,
    StageWork,
    require_kept_tables,
    url_note,
)
from biso_tasks.backup.manifest import DatabaseDump, grants_file
from biso_tasks.backup.sealed import Sealed
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.backup.verify import Problem
from biso_tasks.database import grantfile
from biso_tasks.database.client import require_passable
from biso_tasks.database.connect import connect
from biso_tasks.database.facts import ServerFacts, probe
from biso_tasks.database.identity import database_identity
from biso_tasks.database.pair import check_dump, untrusted_extensions
from biso_tasks.database.server import Server
from biso_tasks.database.settings import Settings
from biso_tasks.database.snapshot import quiet
from biso_tasks.errors import ProofFailed, Refused
from biso_tasks.files.access import Access
from biso_tasks.files.sync import method
from biso_tasks.host.route import choose_route, route_note
from biso_tasks.instance import services
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import require_live
from biso_tasks.instance.mounts import require_fresh_binds
from biso_tasks.session import Session
from biso_tasks.stage import guards
from biso_tasks.stage.exchange import require_exchangeable
from biso_tasks.stage.exposure import require_unserved_by_config
from biso_tasks.stage.model import REFRESHED, Area, Content, Stage, StagedDatabase, access, staged
from biso_tasks.stage.neutral import require_neutral, settings_of
from biso_tasks.stage.own_role import with_roles
from biso_tasks.stage.shell import require_no_shell
from biso_tasks.stage.space import require_stage_space, tree_size
from biso_tasks.stage.swap import require_no_intent
from biso_tasks.stage.view import InstanceView

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = [
    "FromSet",
    "SetSurvey",
    "contents",
    "describe_target",
    "dump_of",
    "left_out",
    "require_undamaged",
    "survey_set",
    "usable_set",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSurvey(StageSurvey):
    """`dumps` are by the number of the stage's database, None for a stand-in; `source_facts` are
    what the dumped databases were, or what the live one is that a stand-in is like."""

    store: Store
    backup: BackupSet
    dumps: tuple[DatabaseDump | None, ...]
    source_facts: tuple[ServerFacts, ...]

    def fingerprint(self) -> dict[str, object]:
        return {
            **StageSurvey.fingerprint(self),
            "the set": (self.backup.path, self.backup.status.sums, self.backup.status.state),
        }


@dataclass(slots=True)
class FromSet(StageWork):
    """The work of `restore`, `refresh-test --source SET`, `reset-test` and `verify --drill`. With
    `whole`, all databases and files come as they are in the set; else what a refresh takes. With
    `template`, a database that is kept as the set's template is copied instead of loaded.
    `problems` is what is wrong with the set; `drilled`, that this was written down of it;
    `fetching`: it is just being brought to the target's host. `decided_on`: the set as it was when
    it was decided whether it has to be anonymised."""

    PLACES: ClassVar[tuple[str, ...]] = ("target",)
    CONDITIONS: ClassVar[Mapping[str, Callable[[Any], bool]]] = {
        "anonymize": lambda work: work.anonymize,
        "test": lambda work: work.target.environment.role == "test" and not work.drill,
    }
    VALUES: ClassVar[Mapping[str, Callable[[Any], str]]] = {
        **StageWork.VALUES,
        "set.id": lambda work: work.id,
        "set.path": lambda work: work.backup.path,
    }

    store: Store | None = None
    id: str = ""
    areas: frozenset[Area] = frozenset(("data", "database"))
    whole: bool = True
    drill: bool = False
    template: bool = False
    problems: tuple[Problem, ...] = ()
    drilled: bool = False
    fetching: bool = False
    decided_on: BackupSet | None = None
    survey: SetSurvey | None = None
    _sealed: Sealed | None = field(init=False, default=None)
    _reading: threading.Lock = field(init=False, default_factory=threading.Lock)

    @property
    def facts(self) -> SetSurvey:
        assert self.survey is not None
        return self.survey

    @property
    def backup(self) -> BackupSet:
        return self.facts.backup

    @property
    def sealed(self) -> Sealed:
        """What was sealed of the set, read when it is first asked for."""
        with self._reading:
            if self._sealed is None or self._sealed.backup is not self.backup:
                self._sealed = Sealed(self.facts.store, self.backup)
            return self._sealed

    @property
    def origin(self) -> str:
        return f"set {self.id}"

    @property
    def raw(self) -> bool:
        """What says that it is not, and has no proof of it, may be."""
        return not self.anonymize and (self.backup.manifest.personal or self.proven is None)

    @property
    def proven(self) -> dict[str, Any] | None:
        if self.anonymize:
            return self.own_proof()
        manifest = self.backup.manifest
        found = None if manifest.personal else manifest.proof or manifest.proven
        return None if found is None else dict(found)

    def why_off(self, condition: str) -> str:
        # That anonymize is off would be said of the site, which may well anonymise.
        if self.drill:
            return "what a drill makes is served to nobody"
        if self.target.environment.role == "production":
            done = {"anonymize": "anonymised", "test": "neutralised"}
            return f"a restore into production is not {done[condition]}"
        if not REFRESHED.intersection(self.areas):
            return "no database and no data dir is restored"
        if not self.backup.manifest.personal:
            return "the set says that it holds no personal data"
        return "a baseline comes back as it was kept" if self.template else ""

    @property
    def loaded(self) -> frozenset[str]:
        """The files of the set's dumps that this run loads, and so reads to their end. A drill says
        of each that it can be read, loaded or not."""
        if self.drill or self.template:
            return frozenset()
        return frozenset(dump.file for dump in self.facts.dumps if dump is not None)

    @property
    def keeper(self) -> Access:
        """Who reads the set: the login of its host."""
        return Access(self.facts.store.host)

    def fingerprint(self) -> Mapping[str, object]:
        return self.facts.fingerprint()

    def look_again(self) -> None:
        assert self.store is not None
        self.survey = survey_set(self.session, self, self.store)

    def source_facts(self, number: int) -> ServerFacts:
        return self.facts.source_facts[number]

    def source_settings(self, number: int) -> Settings:
        dump = self.facts.dumps[number]
        assert dump is not None
        return Settings.from_dict(dump.facts["settings"])

    @contextmanager
    def original(self, number: int) -> Iterator[Connection]:
        # Nothing is masked in the stage yet: its values are the set's.
        with connect(self.stage.databases[number].staged_server, autocommit=True) as connection:
            quiet(connection)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    def give_grants(self, number: int) -> list[str]:
        """By the set's own SQL, as the role that owns the new database."""
        dump = self.facts.dumps[number]
        assert dump is not None
        name = grants_file(dump.stem)
        text = self.sealed.file(name).decode("utf-8", "surrogateescape")
        notes: list[str] = []
        with connect(self.stage.databases[number].staged_server, autocommit=True) as connection:
            connection.add_notice_handler(
                lambda notice: (
                    notes.append(notice.message_primary or "")
                    if notice.severity_nonlocalized == "WARNING"
                    else None
                )
            )
            connection.execute(grantfile.parts(text)[0].encode())
        return notes

    def target_server(self, number: int) -> Server:
        facts = self.facts.target_facts[number]
        fit = [one for one in facts.clients if one.psql is not None]
        # The newest: it knows what an older one writes as well.
        client = max(fit, key=lambda one: one.psql or (0, 0))
        return replace(self.stage.databases[number].server, bindir=client.bindir)

    def untrusted(self, number: int) -> tuple[str, ...]:
        return untrusted_extensions(self.source_facts(number), self.facts.target_facts[number])


def survey_set(session: Session, work: FromSet, store: Store) -> SetSurvey:
    """Look at set and target, and refuse what cannot be. Nothing is changed. Raises Refused, and
    ProofFailed for a set that cannot be relied on."""
    name = work.places["target"]
    backup = usable_set(work, store)
    with ThreadPoolExecutor(8) as pool:
        target = session.instance(name)
        environment = target.environment
        require_live(target.layout, environment)
        work.require_free(target)
        guards.env_fits(target, anonymize=work.anonymize)
        guards.config_goes_on(target)
        # A drill is served to nobody.
        settings = () if work.drill else settings_of(session.site, environment)
        require_neutral(target.facts, settings, target.name)
        require_no_intent(target)
        require_no_shell(target, work.run_id)
        require_exchangeable(target, work.areas)
        wanted = staged(target, contents(session, work, target, backup), areas=work.areas)
        databases, absent = part_absent(target, wanted)
        for database in databases:
            require_passable(database.server)
        dumps = tuple(dump_of(one, backup) for one in databases)
        not_asked = require_apart(session, target, databases)
        if not_asked:
            _require_other_database(target, databases[0], backup)
        # What a template is a copy of, the test instance has served before.
        roles = pool.submit(with_roles, environment, () if work.template else databases)
        unserved = pool.submit(require_unserved_by_config, target)
        place = pool.submit(require_stage_place, session, target, () if work.drill else work.areas)
        route = pool.submit(choose_route, store.host, target.host, session.site.refresh.route)
        way = pool.submit(method, Access(store.host), access(target))
        require_fresh_binds(target.host, environment, target.layout)
        running = pool.submit(services.running, target.host, environment)
        in_maintenance = pool.submit(target.in_maintenance)
        record = pool.submit(target.state.read, "instance")
        url_notes = pool.submit(url_note, target) if not work.drill else None
        if not work.whole:
            require_kept_tables(target, databases[0].server, session.site.refresh)
        there = tuple(pool.map(probe, [database.server for database in databases]))
        sources = tuple(
            facts if dump is None else ServerFacts.from_document(dump.facts)
            for dump, facts in zip(dumps, there, strict=True)
        )
        unserved.result()
        place.result()
        own, unowned = roles.result()
        _require_fit(target, databases, sources, there)
        _require_room(work, target, backup, sources)
        return SetSurvey(
            target=target,
            stage=Stage(
                target,
                work.run_id,
                own or databases,
                areas=work.areas,
                absent=absent,
                settings=settings,
            ),
            target_facts=there,
            route=route.result(),
            method=way.result(),
            services=running.result(),
            in_maintenance=in_maintenance.result(),
            previous=(record.result() or {}).get("previous"),
            notes=(
                *route_note(store.host, target.host, session.site.refresh.route),
                *not_asked,
                *unowned,
                *(absent_note(target, one) for one in absent),
                *left_out(target, backup, databases),
                *(url_notes.result() if url_notes else ()),
            ),
            store=store,
            backup=backup,
            dumps=dumps,
            source_facts=sources,
        )


def _require_other_database(target: Instance, main: StagedDatabase, backup: BackupSet) -> None:
    """Where production cannot be asked: raises Refused where test's database is the very one that
    the set was made of, as far as the set knows. A cloned machine looks the same until its first
    refresh, and then production has to be asked."""
    manifest = backup.manifest
    if manifest.role != "production" or target.environment.role == "production":
        return
    recorded = next((one for one in manifest.databases if one.key == main.key), None)
    known = None if recorded is None else recorded.facts.get("identity")
    with connect(main.server) as connection:
        own = database_identity(connection)
    if known is not None and own is not None and known == own:
        raise Refused(
            f"{target.name}'s database {main.live!r} looks like the one that {manifest.id} was "
            f"made of, and {manifest.environment} cannot be asked",
            hint=f"correct the database in {target.environment.webroot}/"
            f"{target.environment.config}; where {target.name} is a clone of "
            f"{manifest.environment}, run this once from a machine that reaches both",
        )


def usable_set(work: FromSet, store: Store) -> BackupSet:
    """The set, by its documents. Raises ProofFailed where it was found damaged, Refused where it
    lacks an area that is wanted, or is another one than that which was decided on."""
    backup = store.read(work.id)
    decided = work.decided_on
    # The sums alone are not enough: a manifest can be exchanged and leave them.
    if decided is not None and (decided.status.sums, decided.manifest) != (
        backup.status.sums,
        backup.manifest,
    ):
        raise Refused(
            f"{work.id} is not the set any more that was looked at a moment ago",
            hint="nothing was changed; who writes into the store? Run it again",
        )
    damaged = backup.status.damaged
    if damaged is not None:
        text = f"was found damaged at {damaged.when} by run {damaged.run}: {damaged.text}"
        work.problems = (Problem("state", "", text),)
    require_undamaged(backup)
    held = backup.manifest.areas
    missing = sorted(work.areas - set(held))
    if missing:
        raise Refused(
            f"{work.id} has no {', '.join(missing)}: it holds {', '.join(held)}",
            hint="say with --only what of it is wanted, or take another set",
        )
    return backup


def require_undamaged(backup: BackupSet) -> None:
    """Raises ProofFailed where the set was found damaged."""
    if backup.status.state == "damaged":
        damaged = backup.status.damaged
        raise ProofFailed(
            f"{backup.id} is damaged: {damaged.text if damaged else 'it was found so'}",
            hint="take another set (`biso list`); `biso verify --set` looks at this one again",
        )


def contents(
    session: Session, work: FromSet, target: Instance, backup: BackupSet
) -> dict[str, Content]:
    """What each further database of the target is filled with, by its config.php key."""
    held = {one.key for one in backup.manifest.databases}
    if work.whole:
        return dict.fromkeys(held, "copy")
    said = session.site.refresh.log_database
    wanted = {target.environment.key("log.db"): said}
    for _, extras in session.hooks.collect("biso_databases", instance=InstanceView(target)):
        for extra in extras:
            wanted[extra.key] = extra.refresh or said
    # A set has no schema without its rows: the live one's does as well.
    return {
        key: "copy" if how == "copy" and key in held else "live-schema"
        for key, how in wanted.items()
    }


def dump_of(database: StagedDatabase, backup: BackupSet) -> DatabaseDump | None:
    """The dump that a database of the stage is loaded from, None for a stand-in. Raises Refused."""
    if database.content == "live-schema":
        return None
    found = [one for one in backup.manifest.databases if one.key == database.key]
    if not found:
        raise Refused(
            f"{backup.id} holds no database of the key {database.key!r}",
            hint="config_keys of the environment say how config.php calls its databases",
        )
    return found[0]


def _require_fit(
    target: Instance,
    databases: tuple[StagedDatabase, ...],
    sources: tuple[ServerFacts, ...],
    there: tuple[ServerFacts, ...],
) -> None:
    locale = target.environment.database.locale
    problems: list[str] = []
    for database, source, facts in zip(databases, sources, there, strict=True):
        known = replace(facts, databases=facts.databases - {database.stage})
        problems += check_dump(source, known, stage=database.stage, locale=locale)
    if problems:
        raise Refused(
            f"{target.name} cannot take this set: " + "; ".join(dict.fromkeys(problems)),
            hint="nothing was touched; `biso doctor` lists what else is missing",
        )


def _require_room(
    work: FromSet, target: Instance, backup: BackupSet, sources: tuple[ServerFacts, ...]
) -> None:
    """The set's trees of the areas that are wanted, and the live webroot where that is copied."""
    trees = [tree for area, tree in backup.manifest.trees.items() if area in work.areas]
    code, entries = (0, 0)
    if "webroot" not in work.areas:
        code, entries = tree_size(target, target.layout.webroot)
    require_stage_space(
        target,
        sum(tree.bytes for tree in trees) + code,
        sum(tree.files for tree in trees) + entries,
        sources[0] if "database" in work.areas else None,
        work.id,
    )


def left_out(
    target: Instance, backup: BackupSet, databases: tuple[StagedDatabase, ...]
) -> tuple[str, ...]:
    """Notes on databases of the set that this target has no place for."""
    named = {one.key for one in databases if one.content == "copy"}
    left = [one for one in backup.manifest.databases if one.key not in named]
    return tuple(
        f"{one.dbname} ({one.key}) of the set is left out"
        for one in left
        if target.facts.dsn(one.key) is None
    )


def describe_target(work: FromSet) -> tuple[tuple[str, str], ...]:
    """What stands above the plan."""
    target, manifest = work.target, work.backup.manifest
    return (
        ("set", f"{work.id}, made {manifest.created} of {manifest.environment}"),
        (
            "to",
            f"{target.name}: {target.host.address or 'this machine'}, database "
            f"{target.facts.database.dbname}, {target.layout.webroot}",
        ),
    )
