"""The stage as plugins see it: enough to scrub and to neutralise, no way to what is live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from biso_tasks.config.model import Environment
from biso_tasks.database.connect import connect
from biso_tasks.errors import StepFailed
from biso_tasks.files.listing import list_tree
from biso_tasks.host.command import Command
from biso_tasks.instance.instance import Instance
from biso_tasks.stage.model import Stage, access

__all__ = ["InstanceView", "StageView"]


@dataclass(frozen=True, slots=True)
class InstanceView:
    """Implements the `Instance` of `biso_tasks.api`: places and key names, never values."""

    instance: Instance

    @property
    def environment(self) -> Environment:
        return self.instance.environment

    @property
    def webroot(self) -> str:
        return self.instance.layout.webroot

    @property
    def datadir(self) -> str:
        return self.instance.layout.datadir

    @property
    def dbname(self) -> str:
        return self.instance.facts.database.dbname

    @property
    def keys(self) -> Sequence[str]:
        return tuple(self.instance.facts.values)


@dataclass(frozen=True, slots=True)
class StageView:
    """Implements the `Stage` of `biso_tasks.api` for one stage."""

    stage: Stage
    neutralized: bool

    @property
    def name(self) -> str:
        name = self.stage.instance.name
        return f"{name}, in place" if self.stage.in_place else f"the stage of {name}"

    @property
    def environment(self) -> Environment:
        return self.stage.instance.environment

    @property
    def webroot(self) -> str:
        return self.stage.webroot

    @property
    def datadir(self) -> str:
        return self.stage.datadir

    @property
    def dbname(self) -> str:
        return self.stage.main.stage

    @property
    def databases(self) -> Mapping[str, str]:
        return {database.key: database.stage for database in self.stage.databases}

    def host_run(self, argv: Sequence[str], *, stdin: bytes = b"") -> bytes:
        command = Command(tuple(argv), cwd=self.datadir).as_user(self.environment.host_user)
        return self.stage.instance.host.run(command, stdin=stdin, timeout=3600).out

    def connect(self, key: str = "") -> AbstractContextManager[Any]:
        for database in self.stage.databases:
            if key in ("", database.key):
                return connect(database.staged_server)
        known = ", ".join(database.key for database in self.stage.databases)
        raise StepFailed(f"{self.name} has no database {key!r}; there are: {known}")

    def files(self) -> Iterator[str]:
        stage = self.stage
        files = access(stage.instance)
        listing = list_tree(files, self.datadir, exclude=stage.excludes, empty_ok=True)
        return (entry.path for entry in listing.entries if entry.kind == "file")
