"""The work of a refresh from a live instance: what was surveyed, and what its steps hand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from biso_tasks.actions.live.survey import Survey, survey
from biso_tasks.actions.staged.work import StageWork
from biso_tasks.database import settings
from biso_tasks.database.admin import admin
from biso_tasks.database.connect import connect
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.grants import Grant
from biso_tasks.database.grants import apply as give
from biso_tasks.database.pair import untrusted_extensions
from biso_tasks.database.server import Server
from biso_tasks.database.settings import Settings
from biso_tasks.database.snapshot import Snapshot, quiet
from biso_tasks.files.aside import Changes
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.before import Before
from biso_tasks.stage.in_place_needs import own_clients

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["Refresh"]


@dataclass(slots=True)
class Refresh(StageWork):
    """The work of `refresh-test` from a live instance, and of `anonymize`."""

    PLACES: ClassVar[tuple[str, ...]] = ("source", "target")
    CONDITIONS: ClassVar[Mapping[str, Callable[[Any], bool]]] = {
        "anonymize": lambda work: work.anonymize
    }
    VALUES: ClassVar[Mapping[str, Callable[[Any], str]]] = {
        **StageWork.VALUES,
        "source.webroot": lambda work: work.source.layout.webroot,
        "source.datadir": lambda work: work.source.layout.datadir,
        "source.dbname": lambda work: work.source.facts.database.dbname,
    }

    in_place: bool = False
    survey: Survey | None = None
    snapshots: tuple[Snapshot, ...] = ()
    grants: dict[int, tuple[Grant, ...]] = field(default_factory=dict)
    before: Before | None = None
    changes: Changes | None = None
    kept_rows: dict[str, Any] | None = None
    offline_since: float = 0.0
    away: float | None = None

    @property
    def facts(self) -> Survey:
        assert self.survey is not None
        return self.survey

    @property
    def source(self) -> Instance:
        return self.facts.source

    @property
    def origin(self) -> str:
        return self.source.name

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

    def source_facts(self, number: int) -> ServerFacts:
        return self.facts.source_facts[number]

    def source_settings(self, number: int) -> Settings:
        source = self.source_server(number)
        with admin(source) as theirs:
            return settings.read(theirs, source.dsn.dbname)

    @contextmanager
    def original(self, number: int) -> Iterator[Connection]:
        snapshot = self.snapshots[self.copied.index(number)]
        with connect(self.source_server(number), autocommit=True) as connection:
            quiet(connection)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot.id}'".encode())
            yield connection

    def give_grants(self, number: int) -> list[str]:
        return give(
            self.target_server(number),
            self.stage.databases[number].stage,
            self.grants.get(number, ()),
            source_role=self.source_facts(number).role,
        )

    def source_server(self, number: int) -> Server:
        """Where database `number` of the stage is copied from, with the clients to dump it."""
        return replace(self.facts.sources[number], bindir=self.facts.clients(number)[0])

    def own_server(self, number: int) -> Server:
        """The target's live database `number`, with the clients to dump it."""
        return own_clients(self.stage.databases[number].server)[0]

    def target_server(self, number: int) -> Server:
        return replace(self.stage.databases[number].server, bindir=self.facts.clients(number)[1])

    def untrusted(self, number: int) -> tuple[str, ...]:
        return untrusted_extensions(self.source_facts(number), self.facts.target_facts[number])
