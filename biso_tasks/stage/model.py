"""The stage: a complete instance beside the live one, under other names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from biso_tasks.config.model import Environment
from biso_tasks.database.names import previous_name, stage_name
from biso_tasks.database.server import Server
from biso_tasks.database.stage_role import StageRole
from biso_tasks.files.access import Access
from biso_tasks.files.listing import DATA_EXCLUDES
from biso_tasks.host.protocol import Host
from biso_tasks.instance.app import App
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.layout import inside
from biso_tasks.values import Dsn

__all__ = [
    "AREAS",
    "MOUNTED_AT",
    "REFRESHED",
    "Area",
    "Content",
    "Stage",
    "StagedDatabase",
    "access",
    "access_to",
    "in_place",
    "own_directory",
    "server",
    "staged",
]

MOUNTED_AT = "/biso-stage"
"""Where a stage is mounted in a container of its own."""

Area = Literal["webroot", "data", "database"]
"""What an instance is made of, and what can be exchanged by itself."""

AREAS: Final[tuple[Area, ...]] = get_args(Area)
REFRESHED: Final[frozenset[Area]] = frozenset(("data", "database"))
"""What a refresh exchanges. It leaves the webroot."""

Content = Literal["copy", "schema", "live-schema"]
"""What a staged database is filled with: all of the source's, the source's schema, or the schema of
the target's live one (a stand-in that is thrown away with the stage)."""


@dataclass(frozen=True, slots=True)
class StagedDatabase:
    """One database of the stage; `key` is the config.php key that names it. `in_place`: there is no
    stage, the live database itself is filled. `role` owns it until it is served; None: the
    application's role does."""

    key: str
    server: Server
    content: Content
    in_place: bool = False
    role: StageRole | None = None

    @property
    def live(self) -> str:
        return self.server.dsn.dbname

    @property
    def stage(self) -> str:
        return self.live if self.in_place else stage_name(self.live)

    @property
    def previous(self) -> str:
        return previous_name(self.live)

    @property
    def swapped(self) -> bool:
        """Whether it takes the live one's place, or goes with the stage."""
        return self.content != "live-schema"

    @property
    def staged_server(self) -> Server:
        """The stage's database, as the role that owns it."""
        there = self.server.at(self.stage)
        if self.role is None:
            return there
        dsn = replace(there.dsn, user=self.role.name, password=self.role.password)
        return replace(there, dsn=dsn)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of `instance`, made by `run`. Paths are the host's. `in_place`: the live instance
    itself stands for its stage, since the site cannot stage (strategy "in-place"). `areas` take the
    live ones' place; what else the stage is made of goes with it. `absent` are named by config.php
    and are not there: the stage's names others, which are not there either. `settings` are keys of
    config.php that a test instance must have so."""

    instance: Instance
    run: str
    databases: tuple[StagedDatabase, ...]
    in_place: bool = False
    areas: frozenset[Area] = REFRESHED
    absent: tuple[StagedDatabase, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def called(self) -> str:
        """How plans and messages call it."""
        return f"{self.instance.name} itself, in place" if self.in_place else "the stage"

    @property
    def main(self) -> StagedDatabase:
        return self.databases[0]

    @property
    def swapped(self) -> tuple[StagedDatabase, ...]:
        """The databases that take the live ones' place."""
        return tuple(one for one in self.databases if one.swapped)

    @property
    def webroot(self) -> str:
        layout = self.instance.layout
        return layout.webroot if self.in_place else layout.stage_webroot

    @property
    def datadir(self) -> str:
        layout = self.instance.layout
        return layout.datadir if self.in_place else layout.stage_datadir

    @property
    def excludes(self) -> tuple[str, ...]:
        """Patterns of what lies in the data dir and was not brought there: nothing in a stage."""
        return (*DATA_EXCLUDES, *own_directory(self.instance)) if self.in_place else ()

    @property
    def inside(self) -> str:
        """The stage's directory as PHP sees it."""
        if self.instance.environment.services.kind == "compose":
            return MOUNTED_AT
        return self.instance.layout.stage

    @property
    def app(self) -> App:
        instance = self.instance
        if self.in_place:
            return instance.app
        compose = instance.environment.services.kind == "compose"
        # Not their folder: it is 0700 and the host's, and PHP's user has to pass through.
        both = ((self.webroot, "webroot"), (self.datadir, "data"))
        mounts = tuple((at, f"{MOUNTED_AT}/{name}") for at, name in both) if compose else ()
        return App(
            instance.host, instance.environment, self.webroot, f"{self.inside}/webroot", mounts
        )


def access(instance: Instance) -> Access:
    """How files of this instance are touched: by root where biso.toml grants sudo."""
    return access_to(instance.host, instance.environment)


def access_to(host: Host, environment: Environment) -> Access:
    """The same of an environment whose instance cannot be read, since its webroot is away."""
    return Access(
        host,
        user=environment.host_user,
        root=environment.sudo,
        knows_owners=environment.services.kind != "compose",
    )


def own_directory(instance: Instance) -> tuple[str, ...]:
    """Patterns for our own directory, where the data dir is a mount point and holds it."""
    own = inside(instance.layout.stage_dir, instance.layout.datadir)
    return (f"/{own}/**", f"/{own}") if own else ()


def server(instance: Instance, dsn: Dsn) -> Server:
    """The PostgreSQL server behind one of the instance's databases."""
    environment = instance.environment
    admin = environment.database.admin
    prefix: tuple[str, ...] = ()
    if environment.services.database:
        sudo = ("sudo", "-n") if environment.sudo and instance.host.login != "root" else ()
        services = environment.services
        prefix = (*sudo, "docker", "compose", "--project-directory", services.directory,
                  "exec", "-T", services.database)  # fmt: skip
        # Its clients run beside the server; the service's name need not resolve there.
        dsn = Dsn("127.0.0.1", dsn.port, dsn.dbname, dsn.user, dsn.password)
    return Server(
        instance.host,
        dsn,
        prefix,
        admin_user=admin.user if admin else None,
        admin_run_as=admin.run_as if admin else None,
    )


def staged(
    instance: Instance,
    contents: Mapping[str, Content] | None = None,
    *,
    areas: Collection[Area] = REFRESHED,
) -> tuple[StagedDatabase, ...]:
    """The databases of a stage of `instance`, the main one first, then the log database and those
    of `contents` (by config.php key): as many as config.php names. One that nobody handles gets a
    stand-in, so that the stage never writes into the live one; without "database" among `areas`,
    all do."""
    facts, environment = instance.facts, instance.environment
    wanted = contents or {}
    key = environment.key("gaia.db")
    main: Content = "copy" if "database" in areas else "live-schema"
    found = [StagedDatabase(key, server(instance, facts.database), main)]
    seen = {_place(facts.database)}
    for key in dict.fromkeys((environment.key("log.db"), *wanted)):
        dsn = facts.dsn(key)
        if dsn is not None and _place(dsn) not in seen:
            seen.add(_place(dsn))
            content = wanted.get(key, "live-schema") if "database" in areas else "live-schema"
            found.append(StagedDatabase(key, server(instance, dsn), content))
    return tuple(found)


def in_place(databases: Sequence[StagedDatabase]) -> tuple[StagedDatabase, ...]:
    """The same databases without a stage: those that would only be stood in for are left alone."""
    return tuple(replace(one, in_place=True) for one in databases if one.swapped)


def _place(dsn: Dsn) -> tuple[str, int, str]:
    return (dsn.host, dsn.port, dsn.dbname)
