"""Copies of backup sets off the host, by the site's own restic or rclone: a sealed set is copied,
read back and compared; `biso offsite-fetch` brings a copy to a host, where `restore` finds it.

    [plugins.offsite]
    tool = "restic"                     # restic | rclone: installed on the host that keeps the sets
    repository = "s3:https://s3.example.ch/biso"  # or sftp:…, a path; rclone: "remote:path"
    environment_file = "/etc/biso/offsite.env"    # on the host, 0600: AWS_ACCESS_KEY_ID=… and such
    password_file = "/etc/biso/restic"  # on the host; left out: the secret named offsite_password
    read_back = "all"                   # all | sample: dumps, documents and 200 files
    keep_last = 30                      # restic: complete sets, and as many others; left out: all
    fetch_to = "prod"                   # where list and fetch run; left out: backup.environment

Without a `repository` (or `repository_file`, on the host, for one that holds a password) it does
nothing. rclone takes `config`, its own file on the host. What it cannot carry everywhere (empty
folders, symbolic links, owners, hard links) stands in the set's METADATA, and is made from there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import posixpath
import random
import re
import tomllib
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, Protocol

from biso_tasks.api import (
    Action,
    BisoError,
    Check,
    ConfigError,
    Effects,
    Insert,
    ProofFailed,
    RecipeText,
    RecipeView,
    Refused,
    SecretFinder,
    Site,
    StepContext,
    StepFailed,
    hookimpl,
)

SECRET: Final = "offsite_password"
WORD: Final = "BISO_SET"  # the environment variable that names the set to fetch
LONGEST: Final = 7 * 86400.0  # seconds: a first copy over a thin line; a step's timeout comes first
SAMPLE: Final = 200  # files, besides dumps and documents
SUMS: Final = "SHA256SUMS"
STATE: Final = "state.toml"
ANOTHER: Final = "`biso verify --all` says which sets are good, `biso offsite-list` which are kept"
_ID: Final = re.compile(r"([0-9]{8}_[0-9]{6})-([A-Za-z0-9][A-Za-z0-9_-]{0,39})", re.ASCII)


# -- settings --


@dataclass(frozen=True, slots=True)
class Settings:
    tool: Literal["restic", "rclone"] = "restic"
    repository: str = ""
    repository_file: str = ""
    environment_file: str = ""
    password_file: str = ""
    config: str = ""
    read_back: Literal["all", "sample"] = "all"
    keep_last: int | None = None
    fetch_to: str = ""

    def __post_init__(self) -> None:
        if self.repository and self.repository_file:
            raise ValueError("give `repository`, or `repository_file`, and not both")
        for key in ("repository_file", "environment_file", "password_file", "config"):
            if getattr(self, key) and not getattr(self, key).startswith("/"):
                raise ValueError(f"{key}: expected a path on the host that begins with /")
        foreign = ("repository_file", "password_file") if self.tool == "rclone" else ("config",)
        for key in foreign:
            if getattr(self, key):
                raise ValueError(f"{key} is not for {self.tool}")
        if self.repository.startswith("-"):
            raise ValueError("repository: begins with -")
        # It is an argument of a program, which everybody on the host can read.
        if re.search(r"://[^/@]*:[^/@]*@", self.repository):
            raise ValueError("repository: holds a password; write it to a `repository_file`")
        if self.tool == "rclone" and self.repository.startswith(":"):
            raise ValueError("repository: name a remote of rclone's own config file")
        if self.keep_last is not None and (self.tool == "rclone" or self.keep_last < 1):
            raise ValueError("keep_last is for restic, from 1; rclone: use the remote's own rules")

    @property
    def on(self) -> bool:
        return bool(self.repository or self.repository_file)

    @property
    def place(self) -> str:
        return self.repository or f"the repository of {self.repository_file}"


@hookimpl
def biso_config() -> type[Settings]:
    return Settings


# -- hooks --


@hookimpl
def biso_checks(config: Settings, secret: SecretFinder) -> Iterator[Check]:
    """The secret is looked for before a run needs it; no host is asked."""
    if not config.on or config.tool == "rclone" or config.password_file:
        return
    try:
        secret(SECRET)
    except BisoError as error:
        yield Check("", "offsite", False, error.message, error.hint)
    else:
        yield Check("", "offsite", True, f"the secret {SECRET!r} is there")


@hookimpl
def biso_steps(recipe: RecipeView, config: Settings) -> Sequence[Insert]:
    if not config.on or recipe.name != "backup":
        return ()
    return [Insert("offsite-copy", after="seal", on="source", uses="offsite-copy")]


@hookimpl
def biso_recipes(site: Site, config: Settings) -> Iterator[RecipeText]:
    if not config.on:
        return
    on = config.fetch_to or site.backup.environment
    for name, help in (
        ("offsite-list", "List the copies of backup sets off the host"),
        ("offsite-fetch", f"Fetch the copy of a backup set ({WORD}=ID, default: latest)"),
    ):
        text = f'name = "{name}"\nhelp = "{help}"\n[[steps]]\nname = "{name}"\nuses = "{name}"\n'
        yield RecipeText(f'{text}on = "{on}"\n', f"plugins/offsite.py: {name}")


@hookimpl
def biso_actions(site: Site, config: Settings, secret: SecretFinder) -> Iterator[Action]:
    if not config.on:
        return
    to = f"{config.place} with {config.tool}"

    def copying(context: StepContext) -> Effects:
        return Effects((f"copies the set to {to} and reads it back ({config.read_back})",))

    def fetching(context: StepContext) -> Effects:
        where = f"{site.backup.path}/sets of {context.environment.name}"
        return Effects((f"fetches the set {_wanted(context)} from {to} into {where}",))

    engine = partial(_engine, site, config, secret)
    yield Action(
        "offsite-copy",
        lambda context: _copy(engine(context), context, config),
        help="copies the sealed set off the host, and reads it back",
        describe=copying,
    )
    yield Action(
        "offsite-fetch",
        lambda context: _fetch(engine(context), context, site),
        help="fetches the copy of a set (parameter `set`) into the store of a host",
        describe=fetching,
    )
    yield Action(
        "offsite-list",
        lambda context: _list(engine(context), context),
        help="lists the copies of sets",
    )


# -- actions --


@dataclass(frozen=True, slots=True)
class Set:
    """A set on the host; `sums` are the SHA-256 of its files by path, of SHA256SUMS too."""

    id: str
    path: str
    kind: str
    sums: Mapping[str, str]

    @property
    def store(self) -> str:
        return posixpath.dirname(posixpath.dirname(self.path))


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy as the repository knows it. It counts once it was read back. `keys`: restic's
    snapshots, the set's own first."""

    id: str
    kind: str
    proven: bool
    keys: tuple[str, ...] = ()

    @property
    def whose(self) -> str:
        return _whose(self.id)


def _whose(id: str) -> str:
    """The environment that a set is of."""
    return id.partition("-")[2]


class Engine(Protocol):
    @property
    def shell(self) -> Shell: ...

    def copies(self) -> list[Copy]:
        """All of this site, the oldest first."""

    def store(self, one: Set, before: Sequence[Copy]) -> Copy:
        """Copy the set; it does not count yet."""

    def read_back(self, one: Set, copy: Copy, names: Sequence[str] | None) -> int:
        """Read files of the copy (None: all) and compare; how many. Raises ProofFailed."""

    def prove(self, one: Set, copy: Copy) -> None:
        """From now on the copy counts."""

    def forget(self, one: Set, keep: int) -> int:
        """Give up older copies of this kind; how many."""

    def fetch(self, copy: Copy, folder: str) -> None:
        """Bring the files of the copy into the empty folder."""


def _copy(engine: Engine, context: StepContext, config: Settings) -> Mapping[str, Any]:
    path = context.values.get("set.path", "")
    if not path:
        raise ConfigError(
            "the action offsite-copy has no set to copy here",
            hint="it belongs into the recipe backup, after the step seal",
        )
    try:
        one = _read(engine.shell, path)
        names = _sample(one.sums) if config.read_back == "sample" else None
        context.note(f"copying {one.id} to {config.place}")
        copy = engine.store(one, engine.copies())
        compared = engine.read_back(one, copy, names)
        engine.prove(one, copy)
    except BisoError as error:
        raise _not_copied(engine.shell, path, error) from error
    context.note(f"copied {one.id} to {config.place}: {compared} files read back")
    found = {"set": one.id, "place": config.place, "tool": config.tool}
    given = {"files": len(one.sums) + 1, "compared": compared, "read_back": config.read_back}
    if config.keep_last is not None:
        try:
            given["forgotten"] = engine.forget(one, config.keep_last)
        except StepFailed as error:
            # Others may be at work in the repository; the next backup does it.
            context.note(f"older copies were not given up: {error.message}")
    return {"offsite": {**found, **given}}


def _not_copied(shell: Shell, path: str, error: BisoError) -> BisoError:
    """What became of the copy, and that the set stands where it was sealed."""
    well = "is good"
    if isinstance(error, ProofFailed):
        try:
            shell.bash(_AS_SEALED, path)
        except ProofFailed:
            well = "is itself NOT WHAT WAS SEALED"
    kinds = (ProofFailed, ConfigError, Refused)
    return (type(error) if type(error) in kinds else StepFailed)(
        f"the set {well}, at {path}; its copy to {shell.config.place} does not count: "
        f"{error.message}",
        hint=error.hint,
    )


def _fetch(engine: Engine, context: StepContext, site: Site) -> Mapping[str, Any]:
    shell, store = engine.shell, site.backup.path
    copy = _chosen(engine.copies(), _wanted(context), site.backup.environment, shell.config.place)
    if not copy.proven:
        context.note(f"the copy of {copy.id} was never read back: it is looked at now")
    target, folder = f"{store}/sets/{copy.id}", f"{store}/sets/.offsite-{copy.id}"
    shell.bash(_MAKE_FOLDER, store, target, folder)
    try:
        engine.fetch(copy, folder)
        one = _read(shell, folder, id=copy.id)
        metadata = _documents(shell, folder, "METADATA")[0]
        given = b"".join(_made_from(metadata))
        files = int(shell.bash(_COMPLETE, folder, stdin=given).split()[-1])
        if files != len(one.sums) + 1:  # and state.toml
            raise ProofFailed(
                f"the copy of {copy.id} has {files} files where {SUMS} has {len(one.sums) - 1}",
                hint="fetch another one: `biso offsite-list`",
            )
        shell.bash(_PLACE, folder, target)
    finally:
        shell.bash(_AWAY_WITH, folder)
    context.note(f"{copy.id} is at {target} of {shell.on}: `biso restore {copy.id}` takes it")
    return {"set": copy.id, "path": target, "files": files}


def _list(engine: Engine, context: StepContext) -> Mapping[str, Any]:
    copies = engine.copies()
    if not copies:
        context.note(f"no copies in {engine.shell.config.place}")
    for one in copies:
        context.note(f"{one.id}  {one.kind}  {'read back' if one.proven else 'NOT READ BACK'}")
    return {"copies": [{"id": c.id, "kind": c.kind, "read_back": c.proven} for c in copies]}


def _wanted(context: StepContext) -> str:
    word = os.environ.get(WORD) or str(context.params.get("set", "latest"))
    if word != "latest" and not _ID.fullmatch(word):
        raise Refused(f"{word!r} is not the id of a backup set", hint=f"{WORD} is one, or latest")
    return word


def _chosen(copies: Sequence[Copy], word: str, environment: str, place: str) -> Copy:
    """The copy that a person means: of two of one set, the one that was read back; "latest": the
    newest complete one of the environment that is backed up, or of the only one there is."""
    fit = [one for one in copies if one.id == word]
    if word == "latest":
        fit = [one for one in copies if one.proven and one.kind == "full"]
        own = [one for one in fit if one.whose == environment]
        if own or len({one.whose for one in fit}) == 1:
            fit = own or fit
        elif fit:
            raise Refused(
                f"{place} has copies of several environments, and none of {environment}",
                hint=f"say which one: {WORD}={fit[-1].id}",
            )
    if not fit:
        known = ", ".join(one.id for one in copies[-3:]) or "none"
        raise Refused(f"{place} has no copy of {word}", hint=f"the newest copies: {known}")
    return max(fit, key=lambda one: (one.id, one.proven))


def _engine(site: Site, config: Settings, secret: SecretFinder, context: StepContext) -> Engine:
    shell = Shell(context, config, context.environment.name, secret)
    label = f"site={urllib.parse.quote(site.name, safe='')}"  # a comma would part it in two
    return Restic(shell, label) if config.tool == "restic" else Rclone(shell)


# -- sets --


def _read(shell: Shell, path: str, id: str = "") -> Set:
    """The set at `path`, by its documents. Raises ProofFailed where they do not fit together."""
    manifest, state, sums = _documents(shell, path, "manifest.toml", STATE, SUMS)
    id = id or posixpath.basename(path)
    try:
        said = tomllib.loads(manifest.decode())
        sealed = tomllib.loads(state.decode())["sums"]
        known = dict(_sums(sums))
        if said["id"] != id:
            raise ValueError(f"its manifest calls it {said['id']}")
        areas = set(said["areas"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProofFailed(
            f"the documents of the set {id} cannot be relied on: {error}", hint=ANOTHER
        ) from error
    found = hashlib.sha256(sums).hexdigest()
    if found != sealed:
        raise ProofFailed(f"{SUMS} of the set {id} is not the one that was sealed", hint=ANOTHER)
    kind = "full" if areas == {"webroot", "data", "database"} else "areas"
    return Set(id, path, kind, {**known, SUMS: found})


def _documents(shell: Shell, path: str, *names: str) -> list[bytes]:
    return [base64.b64decode(line) for line in shell.bash(_READ, path, *names).splitlines()]


def _sums(content: bytes) -> Iterator[tuple[str, str]]:
    """Paths and sums as `sha256sum` writes them. Raises ValueError."""
    for line in os.fsdecode(content).removesuffix("\n").split("\n"):
        match = re.fullmatch(r"(\\?)([0-9a-f]{64})  (.+)", line)
        if match is None:
            raise ValueError(f"a line of {SUMS} is none")
        path = match[3]
        if match[1]:
            path = re.sub(r"\\(.)", lambda one: {"n": "\n", "r": "\r"}.get(one[1], one[1]), path)
        # The file comes from elsewhere, and what it names is read.
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise ValueError(f"{SUMS} names {path!r}")
        yield path, match[2]


def _sample(sums: Mapping[str, str]) -> list[str]:
    """Dumps, documents, and some of the other files."""
    always = [name for name in sums if name.startswith(("db/", "config/")) or "/" not in name]
    others = sorted(set(sums) - set(always))
    return always + random.sample(others, min(SAMPLE, len(others)))


def _made_from(metadata: bytes) -> Iterator[bytes]:
    """Folders and symbolic links that METADATA records: type, path, target, each with a NUL byte.
    Raises ProofFailed for a path that leads out of the set, or through a link."""
    fields = metadata.split(b"\0")
    kinds: dict[bytes, bytes] = {b"": b"d"}
    for at in range(0, len(fields) - 1, 6):
        path, kind, *_, target = fields[at : at + 6]
        parts = path.split(b"/")
        if {b"", b".", b".."} & set(parts) or kinds.get(b"/".join(parts[:-1])) != b"d":
            raise ProofFailed(
                f"METADATA names {os.fsdecode(path)!r}, which is in no folder", hint=ANOTHER
            )
        kinds[path] = kind
        if kind in (b"d", b"l"):
            yield kind + b"\0" + path + b"\0" + target + b"\0"


def _compare(found: Mapping[str, str], expected: Mapping[str, str], whose: str) -> None:
    """Raises ProofFailed naming what the copy lacks, holds otherwise, or has besides."""
    lacking = sorted(expected.keys() - found.keys())
    more = sorted(found.keys() - expected.keys() - {STATE})
    other = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    parts = ((lacking, "not there"), (other, "different"), (more, "not of the set"))
    told = [f"{len(names)} {word} ({_names(names)})" for names, word in parts if names]
    if told:
        raise _differs(whose, "; ".join(told))


def _differs(whose: str, what: str) -> ProofFailed:
    return ProofFailed(
        f"the copy of {whose} is not what was sealed: {what}",
        hint="look at the repository (`restic check --read-data`), and at the storage behind it",
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (", …" if len(names) > 3 else "")


# -- restic --


@dataclass(frozen=True, slots=True)
class Restic:
    """Each set is a snapshot whose root is the set. One more, of SHA256SUMS alone, says that it was
    read back: unlike a changed tag it needs no lock, nor the right to delete."""

    shell: Shell
    label: str

    def copies(self) -> list[Copy]:
        told = self._run("/", "snapshots", "--json", "--tag", f"biso-tasks,{self.label}")
        sets: list[Copy] = []
        proofs: list[tuple[str, str]] = []
        for snapshot in json.loads(told) or ():
            tags = dict(tag.partition("=")[::2] for tag in snapshot["tags"])
            if "of" in tags:
                proofs.append((tags["of"], snapshot["id"]))
            elif _ID.fullmatch(tags.get("set", "")):
                kind = tags.get("kind", "areas")
                sets.append(Copy(tags["set"], kind, False, (snapshot["id"],)))
        for at, one in enumerate(sets):
            keys = [key for of, key in proofs if one.keys[0].startswith(of)]
            sets[at] = replace(one, proven=bool(keys), keys=(*one.keys, *keys))
        return sorted(sets, key=lambda one: one.id)

    def store(self, one: Set, before: Sequence[Copy]) -> Copy:
        # What is the same file as in an earlier set is not read again; ctime is that of the link.
        own = [copy for copy in before if copy.proven and copy.whose == _whose(one.id)]
        parent = ("--parent", own[-1].keys[0], "--ignore-ctime") if own else ()
        key = self._backup(one, *parent, ".")
        return Copy(one.id, one.kind, False, (key,))

    def read_back(self, one: Set, copy: Copy, names: Sequence[str] | None) -> int:
        if names is None:
            told = self._stream(_HASH_ALL, "dump", "--archive", "tar", copy.keys[0], "/")
            found = dict(_records(told))
            if STATE not in found:
                raise _differs(one.id, f"it has no {STATE}")
            _compare(found, one.sums, one.id)
            return len(found)
        included = [f"--include=/{_literally(name)}" for name in names]
        told = self._stream(_HASH_SOME, "restore", *included, copy.keys[0], into=one.store)
        expected = {name: one.sums[name] for name in names}
        found = dict(_records(told))
        _compare({name: found[name] for name in found.keys() & expected.keys()}, expected, one.id)
        return len(expected)

    def prove(self, one: Set, copy: Copy) -> None:
        self._backup(one, "--tag", f"of={copy.keys[0]}", SUMS)

    def forget(self, one: Set, keep: int) -> int:
        of = (_whose(one.id), one.kind)
        own = [copy for copy in self.copies() if (copy.whose, copy.kind) == of]
        kept = sorted({copy.id for copy in own if copy.proven})[-keep:]
        old = [copy for copy in own if copy.id < min(kept, default="")]
        if old:
            self._run("/", "forget", *(key for copy in old for key in copy.keys))
        return len(old)

    def fetch(self, copy: Copy, folder: str) -> None:
        self._run("/", "restore", "--target", folder, copy.keys[0])

    def _backup(self, one: Set, *more: str) -> str:
        tags = (f"biso-tasks,{self.label},set={one.id},kind={one.kind}",)
        words = ("backup", "--json", "--quiet", "--host", "biso-tasks", "--tag", *tags, *more)
        for line in self._run(one.path, *words).splitlines():
            said = json.loads(line)
            if said.get("message_type") == "summary":
                return str(said["snapshot_id"])
        raise StepFailed(f"{self.shell.on}: restic named no snapshot of {one.id}")

    def _run(self, folder: str, *words: str) -> bytes:
        return self._stream(_RESTIC, *words, into=folder)

    def _stream(self, text: str, *words: str, into: str = "/") -> bytes:
        config = self.shell.config
        where = (
            ("--repository-file", config.repository_file)
            if config.repository_file
            else ("--repo", config.repository)
        )
        password = b"" if config.password_file else self.shell.secret(SECRET).reveal().encode()
        file = config.password_file or "/dev/stdin"
        words = (*where, "--password-file", file, *words)
        return self.shell.bash(text, into, *words, stdin=password)


def _literally(name: str) -> str:
    """As a pattern that matches this name alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", name)


def _records(told: bytes) -> Iterator[tuple[str, str]]:
    for record in told.split(b"\0")[:-1]:
        digest, _, name = os.fsdecode(record).partition("  ")
        yield name, digest


# -- rclone --

# What `rclone check --combined` writes before a path that is not the same at both ends.
_MARKS: Final = (
    *(("+", "not there"), ("*", "different"), ("-", "not of the set"), ("!", "not readable")),
)


def _marked(lines: Sequence[str]) -> str:
    """What these lines of `rclone check` say, "" where there are none."""
    found = {word: [line[2:] for line in lines if line[:1] == mark] for mark, word in _MARKS}
    told = [f"{len(names)} {word} ({_names(names)})" for word, names in found.items() if names]
    return "; ".join(told) or ", ".join(map(repr, lines[:3]))


@dataclass(frozen=True, slots=True)
class Rclone:
    """Each set is a folder of its name; a file beside it says that it was read back. Symbolic links
    are not followed, nor carried: a file that a remote turns into one could lead anywhere."""

    shell: Shell

    def copies(self) -> list[Copy]:
        folders = self._run(_MAYBE, "lsf", "--dirs-only", self._at("")).decode().split("\n")
        marks = self._run(_MAYBE, "cat", "--include", "/*.read-back.json", self._at(""))
        told = [json.loads(line) for line in marks.splitlines()]
        kinds = {one["set"]: one["kind"] for one in told}
        names = [name.rstrip("/") for name in folders]
        return [
            Copy(name, kinds.get(name, "unknown"), name in kinds)
            for name in sorted(names)
            if _ID.fullmatch(name)
        ]

    def store(self, one: Set, before: Sequence[Copy]) -> Copy:
        self._run(_RCLONE, "copy", "--skip-links", one.path, self._at(one.id))
        return Copy(one.id, one.kind, False)

    def read_back(self, one: Set, copy: Copy, names: Sequence[str] | None) -> int:
        words: tuple[str, ...] = ()
        given = b""
        expected = len(one.sums) + 1  # and state.toml
        if names is not None:
            # A list of lines cannot name what holds a line's end.
            names = [name for name in names if not re.search(r"[\x00-\x1f\x7f]", name)]
            words = ("--one-way", "--files-from-raw", "-")
            given = b"".join(os.fsencode(name) + b"\n" for name in names)
            expected = len(names)
        words = ("check", "--download", "--skip-links", "--combined", "-", *words)
        out = self._run(_CHECK, one.path, *words, one.path, self._at(one.id), stdin=given)
        lines = os.fsdecode(out).splitlines()
        if told := _marked([line for line in lines if not line.startswith("= ")]):
            raise _differs(one.id, told)
        if len(lines) != expected:
            raise _differs(one.id, f"{len(lines)} files were compared, and not {expected}")
        return expected

    def prove(self, one: Set, copy: Copy) -> None:
        mark = {"set": one.id, "kind": one.kind, "sums": one.sums[SUMS], "files": len(one.sums)}
        name = self._at(f"{one.id}.read-back.json")
        self._run(_RCLONE, "rcat", name, stdin=json.dumps(mark).encode() + b"\n")

    def forget(self, one: Set, keep: int) -> int:
        return 0

    def fetch(self, copy: Copy, folder: str) -> None:
        self._run(_RCLONE, "copy", "--skip-links", self._at(copy.id), folder)

    def _at(self, name: str) -> str:
        root = self.shell.config.repository
        return f"{root}{name}" if root.endswith((":", "/")) else f"{root}/{name}".rstrip("/")

    def _run(self, text: str, *words: str, stdin: bytes = b"") -> bytes:
        config = self.shell.config
        own = ("--config", config.config) if config.config else ()
        return self.shell.bash(text, *words, *own, "--quiet", stdin=stdin)


# -- on the host: constant bash, as the one who connects --


@dataclass(frozen=True, slots=True)
class Shell:
    context: StepContext
    config: Settings
    on: str
    secret: SecretFinder

    def bash(self, text: str, *args: str, stdin: bytes = b"") -> bytes:
        """Run it; errors say what restic and rclone mean. Raises StepFailed, or ProofFailed."""
        tool = (self.config.tool, self.config.environment_file)
        words = ("bash", "--norc", "-euo", "pipefail", "-c", _TOOL + text, "biso", *tool, *args)
        try:
            return self.context.run(words, self.on, stdin=stdin, login=True, timeout=LONGEST)
        except StepFailed as error:
            raise self._explained(error) from error

    def _explained(self, error: StepFailed) -> BisoError:
        _, ours, said = error.message.partition("`# offsite` ")
        if not ours:
            return error
        if "offsite: not as sealed" in error.message:
            return ProofFailed(f"{self.on}: files are not what {SUMS} says: {said}", hint=ANOTHER)
        for pattern, what, hint in _TROUBLES:
            if re.search(pattern, error.message, re.IGNORECASE):
                names = {"tool": self.config.tool, "place": self.config.place}
                names["env"] = self.config.environment_file or "`environment_file`"
                message = f"{self.on}: {what.format(**names)}: {said}"
                return StepFailed(message, hint=hint.format(**names))
        return StepFailed(f"{self.on}: {self.config.tool} {said}", hint=error.hint)


# What they say, what it means, what to do. The first counts: restic asks whether there is a
# repository whatever has gone wrong.
_TROUBLES: Final = (
    (r"offsite: not installed", "there is no {tool}", "on that host: apt install {tool}"),
    (r"offsite: unsafe", "the file with the keys is open to others",
     "chown it to the one who connects (or to root), and: chmod 600 {env}"),
    (r"wrong password", "restic's password is another one",
     f"compare `password_file`, or the secret {SECRET}, with what the repository was made with"),
    (r"already locked|unable to create lock", "{place} is locked",
     "wait for who works in it; if nobody does: `restic unlock`"),
    (r"no space left|quota exceeded", "there is no room left",
     "make room in {place}, or on the host (TMPDIR, ~/.cache/restic)"),
    (r"signature|access ?denied|InvalidAccessKey|forbidden|credential", "{place} refuses the keys",
     "look at the keys in {env}"),
    (r"connection refused|no such host|i/o timeout|dial tcp|unreachable", "{place} is not reached",
     "look at the address, and at the network between"),
    (r"Is there a repository|repository does not exist", "there is no repository at {place}",
     "make it once, on that host, with the same password: restic --repo {place} init"),
    (r"didn't find section in config", "rclone does not know the remote of {place}",
     "look at `config`, or run `rclone config` on that host as the one who connects"),
    (r"offsite: there already", "the set is there already", "look at it: biso verify --set ID"),
    (r"offsite: not ours", "the store belongs to another user", "connect as that user"),
)  # fmt: skip

# $1 the tool, $2 its environment file. The keys in there reach no other program, nor any argument.
_TOOL: Final = r"""# offsite
tool=$1 env=$2
shift 2
umask 077
command -v -- "$tool" >/dev/null || { echo 'offsite: not installed' >&2; exit 1; }
use() (
  if [ -n "$env" ]; then
    odd=$(find -L "$env" -maxdepth 0 \( -perm /027 -o ! \( -uid 0 -o -uid "$(id -u)" \) \))
    [ -z "$odd" ] || { echo 'offsite: unsafe' >&2; exit 1; }
    set -a
    . "$env"
    set +a
  fi
  exec "$tool" "$@"
)
as_sealed() {
  (cd -- "$1" && sha256sum --quiet --strict -c SHA256SUMS >&2) </dev/null ||
    { echo 'offsite: not as sealed' >&2; exit 1; }
}
away() {
  [ -d "$1" ] || return 0
  find "$1" -type d ! -perm -u+rwx -exec chmod u+rwx {} \; || true
  rm -rf --one-file-system -- "$1"
}
"""

# cat: /dev/stdin cannot be opened where it is a socket, as sshd gives it, or another user's.
_RESTIC: Final = r"""
cd -- "$1"
shift
cat | use "$@"
"""

_HASH_ALL: Final = r"""
shift
cat | use "$@" | tar -xf - --to-command='
  sum=$(sha256sum) && printf "%s  %s\0" "${sum%% *}" "$TAR_FILENAME"'
"""

_HASH_SOME: Final = r"""
work=$(mktemp -d -p "$1" .offsite-XXXXXXXX)
trap 'away "$work"' EXIT
trap 'exit 1' HUP INT TERM PIPE
shift
cat | use "$@" --target "$work" >/dev/null
cd -- "$work"
find . -type f -printf '%P\0' | xargs -0 -r sha256sum -z --
"""

_RCLONE: Final = r"""
use "$@"
"""

# 3: the folder is not there, as before the first copy.
_MAYBE: Final = r"""
use "$@" || [ $? = 3 ]
"""

# $1 the set. What is compared with the copy is what was sealed. Code 1 without a line about a file
# is another failure, which stderr explains.
_CHECK: Final = r"""
as_sealed "$1"
shift
code=0
told=$(use "$@") || code=$?
[ "$code" = 0 ] || grep -q '^[*+!-] ' <<<"$told" || exit "$code"
[ -z "$told" ] || printf '%s\n' "$told"
"""

_READ: Final = r"""
cd -- "$1"
shift
for f; do
  base64 -w0 -- "$f"
  echo
done
"""

# $1 the store, $2 the set, $3 the folder that it is fetched into.
_MAKE_FOLDER: Final = r"""
[ -e "$1" ] || { (umask 022; mkdir -p -- "${1%/*}/"); mkdir -m 0700 -- "$1"; }
[ -e "$1/sets" ] || mkdir -m 0700 -- "$1/sets"
[ -O "$1/sets" ] || { echo 'offsite: not ours' >&2; exit 1; }
[ ! -e "$2" ] || { echo 'offsite: there already' >&2; exit 1; }
away "$3"
mkdir -m 0700 -- "$3"
"""

# $1 the folder; stdin: type, path, target. Parents come first, and links lead nowhere that is made.
_COMPLETE: Final = r"""
cd -- "$1"
while IFS= read -r -d '' kind && IFS= read -r -d '' path && IFS= read -r -d '' target; do
  if [ "$kind" = l ]; then
    [ -L "./$path" ] || ln -s -- "$target" "./$path"
  elif [ -L "./$path" ] || [ ! -d "./$path" ]; then
    mkdir -- "./$path"
  fi
done
as_sealed .
find . -type f -printf x | wc -c
"""

_AS_SEALED: Final = r"""
as_sealed "$1"
"""

_PLACE: Final = r"""
sync -f -- "$1"
mv -T -n -- "$1" "$2"
[ ! -e "$1" ] || { echo 'offsite: there already' >&2; exit 1; }
sync -- "${2%/*}"
"""

_AWAY_WITH: Final = r"""
away "$1"
"""
