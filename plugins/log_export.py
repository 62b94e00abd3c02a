"""A release hands out the log database by itself: one archive with the rows of the log as CSV and
with attachments, for whoever looks into an error and shall see nobody's case.

    [plugins.log_export]
    folder = "/srv/biso-exports"            # on the host where releases are made
    attachments = ["dateien/**"]            # files of the data dir that go along; left out: none
    without = ["log_eintrag.benutzer"]      # columns that do not go along
    keep = 7                                # the newest archives that stay
    key = "log.db"                          # where config.php has the log database

Without a `folder` it does nothing. `biso release` then writes `log-<set>.tar.gz` there, 0600. What
is in it comes from the stage of the release once that was anonymised, scrubbed and verified; the
archive gets its name only after the proof and the seal, and is removed where either fails. Of the
attachments those go along that a release holds the content of; placeholders stay behind. Properties
that name a person are taken out of them by attachment_scrub.py, so leave that plugin on.

The rows must be in the stage: `[plugins.log_database] refresh = "copy"`.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from biso_tasks.api import (
    Action,
    Effects,
    Insert,
    RecipeView,
    Refused,
    Stage,
    StepContext,
    StepFailed,
    compile_pattern,
    hookimpl,
    placeholder,
)

_PIECE: Final = 8 << 20  # bytes of rows in one exchange with the host
_ABOUT: Final = """\
The log of a BISO installation, from the release {name}: anonymised, and proven to hold no personal
data of clients.

log/            one CSV file a table, with a line of column names
attachments/    files of the data dir whose content was released
"""


# -- settings --


@dataclass(frozen=True, slots=True)
class Settings:
    folder: str = ""
    attachments: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    keep: int = 7
    key: str = "log.db"

    def __post_init__(self) -> None:
        if self.folder and not self.folder.startswith("/"):
            raise ValueError("folder: expected a path on the host that begins with /")
        if self.keep < 1:
            raise ValueError(f"keep: at least 1, got {self.keep}")
        for column in self.without:
            if "." not in column:
                raise ValueError(f'without: "{column}" is not like "table.column"')


@hookimpl
def biso_config() -> type[Settings]:
    return Settings


# -- hooks --


@hookimpl
def biso_steps(recipe: RecipeView, config: Settings) -> list[Insert]:
    """Only into the recipe that always anonymises and always proves."""
    if not config.folder or recipe.name != "release":
        return []
    return [
        Insert("log-export", after="verify", on="target", uses="log-export"),
        Insert("log-hand-out", after="seal-release", on="target", uses="log-hand-out"),
    ]


@hookimpl
def biso_actions(config: Settings) -> list[Action]:
    def describe(step: StepContext) -> Effects:
        _require_outside(step, config)
        return Effects(changes=(f"writes the log into {_partial(step, config)}, unnamed as yet",))

    def described(step: StepContext) -> Effects:
        return Effects(
            changes=(f"names it {_archive(step, config)}",),
            destroys=(f"exports in {config.folder} beyond the newest {config.keep}",),
        )

    return [
        Action(
            "log-export",
            lambda step: _export(step, config),
            help="Write the log database of the stage, with attachments, into an archive",
            describe=describe,
            undo=lambda step: _clear(step, config),
        ),
        Action(
            "log-hand-out",
            lambda step: _hand_out(step, config),
            help="Name the archive of the log, and remove old ones",
            describe=described,
        ),
    ]


# -- the two steps --


def _export(step: StepContext, config: Settings) -> dict[str, int]:
    stage = step.stage
    assert stage is not None  # while a step of a release runs, there is one
    _require_outside(step, config)
    folder = _partial(step, config)
    stage.host_run(["mkdir", "-p", "-m", "0700", "--", config.folder])
    _clear(step, config)
    stage.host_run(["mkdir", "-m", "0700", "--", folder])
    stage.host_run(["mkdir", "--", f"{folder}/log"])
    rows = _write_rows(stage, config, f"{folder}/log")
    about = _ABOUT.format(name=step.values["set.id"]).encode()
    _append(stage, f"{folder}/README.txt", about)
    files = _released(stage, config)
    _pack(stage, folder, files)
    step.note(f"{rows} rows of the log, {len(files)} attachments")
    return {"rows": rows, "attachments": len(files)}


def _hand_out(step: StepContext, config: Settings) -> dict[str, str]:
    archive = _archive(step, config)
    step.run(["mv", "-T", "--", f"{_partial(step, config)}/packed", archive])
    _clear(step, config)
    there = _found(step, config, "f", "log-*.tar.gz")
    for old in sorted(there)[: -config.keep]:
        step.run(["rm", "-f", "--", old])
    step.note(f"the log was exported to {archive}")
    return {"archive": archive}


# -- rows --


def _write_rows(stage: Stage, config: Settings, folder: str) -> int:
    """How many there are. Raises StepFailed where the log was not copied into the stage."""
    if config.key not in stage.databases:
        raise StepFailed(
            f"{stage.name} has no log database: config.php of {stage.environment.name} names none "
            f"under {config.key!r}",
            hint='name it there, or turn the plugin off: site.disable = ["log_export"]',
        )
    done = 0
    with stage.connect(config.key) as database:
        tables = _columns(database, config.without)
        for table, columns in tables.items():
            picked = ", ".join(map(_quoted, columns))
            query = f"COPY (SELECT {picked} FROM {table}) TO STDOUT (FORMAT csv, HEADER)"
            cursor = database.cursor()
            with cursor.copy(query) as copy:
                for piece in _pieces(copy):
                    _append(stage, f"{folder}/{_file_name(table)}", piece)
            done += cursor.rowcount
    if not done:
        raise StepFailed(
            f"the log database of {stage.name} holds no row: it was not copied",
            hint='set refresh = "copy" under [plugins.log_database], or turn the plugin off: '
            'site.disable = ["log_export"]',
        )
    return done


def _columns(database: Any, without: Sequence[str]) -> dict[str, list[str]]:
    """The columns of each table that go along. Raises StepFailed where `without` names one that is
    not there: misspelt, it would go along."""
    found: dict[str, list[str]] = {}
    left = set(without)
    query = """
        SELECT c.oid::regclass::text, c.relname, a.attname
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
          AND NOT a.attisdropped AND c.relnamespace NOT IN
              (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_|^information_schema$')
        ORDER BY 1, a.attnum"""
    for table, name, column in database.execute(query):
        columns = found.setdefault(table, [])
        if f"{name}.{column}" in without:
            left.discard(f"{name}.{column}")
        else:
            columns.append(column)
    if left:
        raise StepFailed(
            f"the log database has no column {', '.join(sorted(left))}",
            hint="correct plugins.log_export.without in biso.toml",
        )
    return {table: columns for table, columns in found.items() if columns}


def _pieces(copy: Any) -> Iterator[bytes]:
    held = bytearray()
    for data in copy:
        held += data
        if len(held) >= _PIECE:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def _append(stage: Stage, path: str, data: bytes) -> None:
    words = ["dd", f"of={path}", "oflag=append", "conv=notrunc", "bs=1M", "status=none"]
    stage.host_run(words, stdin=data)


def _file_name(table: str) -> str:
    return table.replace('"', "").replace("/", "_") + ".csv"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# -- attachments --


def _released(stage: Stage, config: Settings) -> list[str]:
    """Those whose content a release holds. What is compared is the host's own checksum: the files
    need not come here."""
    patterns = [compile_pattern(one) for one in config.attachments]
    paths = [path for path in stage.files() if any(one.fullmatch(path) for one in patterns)]
    # "./": a name may begin with -, and \ at the line's head is how names are escaped without -z.
    said = stage.host_run(["xargs", "-0", "-r", "sha256sum", "-z", "--"], stdin=_listed(paths))
    sums = dict(_sum(line) for line in said.split(b"\0") if line)
    return [one for one in paths if sums[one] != hashlib.sha256(placeholder(one)).hexdigest()]


def _sum(line: bytes) -> tuple[str, str]:
    digest, _, path = line.partition(b"  ./")
    return path.decode("utf-8", "surrogateescape"), digest.decode()


def _pack(stage: Stage, folder: str, files: Sequence[str]) -> None:
    """Owners and groups are accounts of the host and go nowhere."""
    words = ["tar", "--owner=0", "--group=0", "--numeric-owner", "--hard-dereference", "-czf"]
    # The first -C counts from the data dir, where commands begin; the list is relative to the last.
    named = [f"{folder}/packed", "-C", folder, "README.txt", "log", "-C", stage.datadir]
    moved = ["--transform=flags=r;s,^\\./,attachments/,", "--null", "--files-from=-"]
    stage.host_run([*words, *named, *moved], stdin=_listed(files))
    stage.host_run(["chmod", "0600", "--", f"{folder}/packed"])


def _listed(paths: Sequence[str]) -> bytes:
    return b"".join(f"./{path}".encode("utf-8", "surrogateescape") + b"\0" for path in paths)


# -- places --


def _partial(step: StepContext, config: Settings) -> str:
    return posixpath.join(config.folder, f".log-export-{step.values['run']}")


def _archive(step: StepContext, config: Settings) -> str:
    return posixpath.join(config.folder, f"log-{step.values['set.id']}.tar.gz")


def _clear(step: StepContext, config: Settings) -> None:
    """Remove what this run, or one that was killed, has left without a name. The environment is
    locked, so no other run is at work there."""
    for left in _found(step, config, "d", ".log-export-*"):
        step.run(["rm", "-rf", "--", left])


def _found(step: StepContext, config: Settings, kind: str, pattern: str) -> list[str]:
    words = ["find", config.folder, "-maxdepth", "1", "-type", kind, "-name", pattern, "-print0"]
    return [one.decode("utf-8", "surrogateescape") for one in step.run(words).split(b"\0") if one]


def _require_outside(step: StepContext, config: Settings) -> None:
    """Raises Refused where a web server would hand the archive out."""
    words = ["realpath", "-m", "-z", "--", config.folder, step.environment.webroot]
    folder, webroot, _ = step.run(words).split(b"\0")
    if folder == webroot or folder.startswith(webroot + b"/"):
        raise Refused(
            f"{step.on}: {config.folder} lies in the webroot, so a web server may serve it",
            hint="name another folder in plugins.log_export.folder",
        )
