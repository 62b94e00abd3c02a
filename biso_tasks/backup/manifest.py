"""What a set says of itself: manifest.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast, get_args

from biso_tasks.backup.ids import BadSet, parse_id
from biso_tasks.backup.metadata import TREES
from biso_tasks.backup.toml import Table, dump, load
from biso_tasks.database.dumps import Format
from biso_tasks.database.facts import ServerFacts
from biso_tasks.database.snapshot import Counts
from biso_tasks.errors import Refused

__all__ = [
    "AREAS",
    "MANIFEST",
    "DatabaseDump",
    "Manifest",
    "Options",
    "Places",
    "Tree",
    "grants_file",
]

MANIFEST: Final = "manifest.toml"
AREAS: Final = ("webroot", "data", "database")
_FORMAT: Final = 1
_FORMATS: Final = get_args(Format)
_MODES: Final = ("short", "whole", "none")


@dataclass(frozen=True, slots=True)
class Options:
    """How the set was made. `maintenance_seconds`: how long users were kept out, as measured.
    `drained`: notes on writers that were still at work when the window closed."""

    format: Format
    maintenance: str
    maintenance_seconds: float = 0.0
    exclude: tuple[str, ...] = ()
    drained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Where things were on the source. `config`: the path of config.php; `datadir_in_webroot`: the
    data dir's path below the webroot, "" where it lies outside."""

    webroot: str
    datadir: str
    config: str
    datadir_in_webroot: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """One area that is a tree: regular files and their bytes."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DatabaseDump:
    """One database of the set. `key`: the key of config.php that names it (`gaia.db`); `file`: its
    path in the set, `sha256` the file's ("" for a directory); `facts`: the server's and the
    database's (`ServerFacts.as_document`), for whoever creates it again; `counts`: of the very
    snapshot."""

    key: str
    dbname: str
    role: str
    file: str
    format: Format
    bytes: int
    sha256: str
    pg_dump: str
    facts: Mapping[str, Any]
    counts: Counts

    @property
    def stem(self) -> str:
        """The dump's name without stamp and suffix: "biso", "biso_log"."""
        return re.sub(r"_[0-9]{8}_[0-9]{6}[.].*$", "", self.file.removeprefix("db/"))


def grants_file(stem: str) -> str:
    """Where a set keeps the privileges of the database whose dump has this stem: db/grants.sql for
    the application's own."""
    return f"db/grants{stem.removeprefix('biso')}.sql"


@dataclass(frozen=True, slots=True)
class Manifest:
    """`created` is ISO 8601 with its zone; `label` what a person calls the set; `env` is what
    config.php said; `proof` is there on a set that was prepared to be handed out, `proven` on one
    of a test instance that a proven run had made: which run. `databases`: the application's own is
    the first. `vanished`: paths (as in METADATA) that went while they were read; `missing`: what
    rights did not allow."""

    id: str
    environment: str
    role: str
    site: str
    created: str
    tool: str
    run: str
    machine: str
    areas: tuple[str, ...]
    personal: bool
    options: Options
    places: Places
    label: str = ""
    env: str | None = None
    proof: Mapping[str, Any] | None = None
    proven: Mapping[str, Any] | None = None
    trees: Mapping[str, Tree] = field(default_factory=dict)
    databases: tuple[DatabaseDump, ...] = ()
    vanished: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """ "full" where all three areas are in it, else "areas"."""
        return "full" if set(self.areas) == set(AREAS) else "areas"

    @property
    def released(self) -> bool:
        """Whether it was anonymised and proven to be handed out: it never stands for production."""
        return self.proof is not None

    @property
    def size(self) -> int:
        """Bytes of trees and dumps, whatever they share with other sets."""
        return sum(tree.bytes for tree in self.trees.values()) + sum(
            one.bytes for one in self.databases
        )

    def as_toml(self) -> bytes:
        return dump(self.as_dict(), "A backup set of BISO. Read RESTORE.md beside this file.")

    def as_dict(self) -> dict[str, Any]:
        """The document, for TOML (and JSON); what is None is left out there."""
        return {
            "format": _FORMAT,
            "id": self.id,
            "kind": self.kind,
            "environment": self.environment,
            "role": self.role,
            "site": self.site,
            "label": self.label or None,
            "created": self.created,
            "tool": self.tool,
            "run": self.run,
            "machine": self.machine,
            "areas": list(self.areas),
            "personal": self.personal,
            "env": self.env,
            "vanished": list(self.vanished),
            "missing": list(self.missing),
            "proof": None if self.proof is None else dict(self.proof),
            "proven": None if self.proven is None else dict(self.proven),
            "options": {
                "format": self.options.format,
                "maintenance": self.options.maintenance,
                "maintenance_seconds": self.options.maintenance_seconds,
                "exclude": list(self.options.exclude),
                "drained": list(self.options.drained),
            },
            "places": {
                "webroot": self.places.webroot,
                "datadir": self.places.datadir,
                "config": self.places.config,
                "datadir_in_webroot": self.places.datadir_in_webroot,
            },
            "trees": {
                area: {"files": tree.files, "bytes": tree.bytes}
                for area, tree in self.trees.items()
            },
            "databases": [_database_dict(one) for one in self.databases],
        }

    @staticmethod
    def from_toml(content: bytes, name: str = MANIFEST) -> Manifest:
        """The manifest that `as_toml` wrote. Raises BadSet naming file (`name`) and key."""
        table = load(content, name)
        number = table.number("format")
        if number != _FORMAT:
            raise BadSet(
                f"{name}: format {number} is not known",
                hint="the set was made by a newer version of this tool: install that one",
            )
        found = _manifest(table)
        if found.kind != table.text("kind"):
            raise table.wrong("kind", f"does not fit the areas {', '.join(found.areas)}")
        for area in TREES:
            if (area in found.areas) != (area in found.trees):
                raise table.wrong(f"trees.{area}", "does not fit the areas")
        if ("database" in found.areas) != bool(found.databases):
            raise table.wrong("databases", "do not fit the areas")
        return found


def _manifest(table: Table) -> Manifest:
    created = table.text("created")
    try:
        if datetime.fromisoformat(created).tzinfo is None:
            raise table.wrong("created", f"{created!r} has no time zone")
    except ValueError as error:
        raise table.wrong("created", f"{created!r} is no moment") from error
    try:
        id = parse_id(table.text("id"))
    except Refused as error:
        raise table.wrong("id", error.message) from error
    environment = table.text("environment")
    if environment != id.env:
        raise table.wrong("environment", f"{environment!r} does not fit the id {id}")
    options, places = table.table("options"), table.table("places")
    trees = table.table("trees")
    for key in trees.names():
        if key not in TREES:
            raise trees.wrong(key, "is no area")
    return Manifest(
        id=str(id),
        environment=environment,
        role=table.text("role", one_of=("production", "test")),
        site=table.text("site"),
        created=created,
        tool=table.text("tool"),
        run=table.text("run"),
        machine=table.text("machine"),
        areas=table.texts("areas", one_of=AREAS),
        personal=table.flag("personal"),
        options=Options(
            cast("Format", options.text("format", one_of=_FORMATS)),
            options.text("maintenance", one_of=_MODES),
            options.seconds("maintenance_seconds"),
            options.texts("exclude"),
            options.texts("drained"),
        ),
        places=Places(
            places.text("webroot"),
            places.text("datadir"),
            places.text("config"),
            places.text("datadir_in_webroot"),
        ),
        label=table.maybe_text("label") or "",
        env=table.maybe_text("env"),
        proof=table.plain("proof") if table.has("proof") else None,
        proven=table.plain("proven") if table.has("proven") else None,
        trees={key: _tree(trees.table(key)) for key in trees.names()},
        databases=tuple(_database(one) for one in table.tables("databases")),
        vanished=table.texts("vanished"),
        missing=table.texts("missing"),
    )


def _tree(table: Table) -> Tree:
    return Tree(table.number("files"), table.number("bytes"))


def _database(table: Table) -> DatabaseDump:
    form, file = table.text("format", one_of=_FORMATS), table.text("file")
    # it becomes part of a path
    name = file.removeprefix("db/")
    if name == file or "/" in name or name in ("", ".", ".."):
        raise table.wrong("file", f"{file!r} is no file of db/")
    table.made("facts", ServerFacts.from_document)
    return DatabaseDump(
        key=table.text("key"),
        dbname=table.text("dbname"),
        role=table.text("role"),
        file=file,
        format=cast("Format", form),
        bytes=table.number("bytes"),
        sha256="" if form == "directory" else table.sha256("sha256"),
        pg_dump=table.text("pg_dump"),
        facts=table.plain("facts"),
        counts=table.made("counts", Counts.from_dict),
    )


def _database_dict(one: DatabaseDump) -> dict[str, Any]:
    return {
        "key": one.key,
        "dbname": one.dbname,
        "role": one.role,
        "file": one.file,
        "format": one.format,
        "bytes": one.bytes,
        "sha256": one.sha256,
        "pg_dump": one.pg_dump,
        "facts": dict(one.facts),
        "counts": one.counts.as_dict(),
    }
