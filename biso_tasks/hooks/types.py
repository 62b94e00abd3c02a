"""What hooks receive and give. Every name is public: plugins import it from `biso_tasks.api`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from biso_tasks.values import Secret

__all__ = [
    "Action",
    "BackupStore",
    "Change",
    "Check",
    "Effects",
    "Environment",
    "ErrorReport",
    "ExtraDatabase",
    "FilePolicy",
    "Finding",
    "HarmlessColumn",
    "HarmlessFiles",
    "Insert",
    "Instance",
    "PersonalColumn",
    "PersonalFiles",
    "PlanView",
    "PlannedStep",
    "RecipeText",
    "RecipeView",
    "Report",
    "SecretFinder",
    "Site",
    "Stage",
    "StepContext",
    "StepReport",
    "Veto",
]

FilePolicy = Literal["copy", "placeholder", "skip"]


# -- what hooks receive --


class Environment(Protocol):
    """One environment of biso.toml."""

    @property
    def name(self) -> str:
        """As biso.toml calls it, e.g. "prod"."""

    @property
    def role(self) -> Literal["production", "test"]:
        """What it may be used for: a production environment is never anonymised or overwritten."""

    @property
    def webroot(self) -> str:
        """The folder with `config.php`, on the environment's host."""


class BackupStore(Protocol):
    """`[backup]` of biso.toml: where backup sets are kept."""

    @property
    def environment(self) -> str:
        """The name of the environment that is backed up."""

    @property
    def path(self) -> str:
        """The store, on that environment's host; sets lie in its `sets`."""


class Site(Protocol):
    """The whole biso.toml, read and checked."""

    @property
    def name(self) -> str:
        """The site's name."""

    @property
    def root(self) -> Path:
        """The folder with biso.toml, on this machine."""

    @property
    def state(self) -> Path:
        """The folder with journals and reports, on this machine."""

    @property
    def backup(self) -> BackupStore:
        """Where backup sets are kept."""

    @property
    def environments(self) -> Sequence[Environment]:
        """All environments, in the order of biso.toml."""

    def environment(self, name: str) -> Environment:
        """The environment of that name. Raises KeyError."""


class Instance(Protocol):
    """An instance as its `config.php` describes it."""

    @property
    def environment(self) -> Environment:
        """The environment it belongs to."""

    @property
    def webroot(self) -> str:
        """Its code, on its host."""

    @property
    def datadir(self) -> str:
        """Its data dir, on its host."""

    @property
    def dbname(self) -> str:
        """Its database."""

    @property
    def keys(self) -> Sequence[str]:
        """The keys that `config.php` sets, e.g. "log.db"; never their values."""


class Stage(Protocol):
    """A complete instance beside the live one. Nothing done here reaches what is served: it shares
    no database, no file and no inode with it."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def environment(self) -> Environment:
        """The environment that it stands beside."""

    @property
    def webroot(self) -> str:
        """The stage's code, on the environment's host."""

    @property
    def datadir(self) -> str:
        """The stage's data dir, on the environment's host."""

    @property
    def dbname(self) -> str:
        """The stage's database."""

    @property
    def databases(self) -> Mapping[str, str]:
        """All databases of the stage by the config.php key that names them, stand-ins included."""

    @property
    def neutralized(self) -> bool:
        """Whether the step `neutralize` has run: it does wherever a copy is made to be served on
        test or handed out, not in a drill, nor where a production environment is restored."""

    def host_run(self, argv: Sequence[str], *, stdin: bytes = b"") -> bytes:
        """Run a command on the host, as the owner of the stage; what it printed. Nothing goes
        through a shell. Raises StepFailed when it ends with another code than 0."""

    def connect(self, key: str = "") -> AbstractContextManager[Any]:
        """A psycopg connection to the stage's database (or the one of another `key`), as the
        application's role: committed when the `with` block ends well, rolled back when it raises.
        """

    def files(self) -> Iterator[str]:
        """The paths of the regular files in the data dir, relative to it."""


class StepContext(Protocol):
    """What an action is given while it runs, and while it is planned."""

    @property
    def site(self) -> Site:
        """The site."""

    @property
    def on(self) -> str:
        """The name of the environment that the step names with `on`; "" where it names none."""

    @property
    def environment(self) -> Environment:
        """That environment. Raises UsageError where the step names none."""

    @property
    def params(self) -> Mapping[str, Any]:
        """The step's parameters, as recipe and site set them."""

    @property
    def values(self) -> Mapping[str, str]:
        """What `{set.path}` and its like stand for in a site's own commands, as far as the run has
        come. The recipe `backup` has `set.id`, `set.path` and `set.store`, `release` the first two.
        """

    @property
    def stage(self) -> Stage | None:
        """The stage, where the recipe has built one before this step; None while planning."""

    @property
    def cancelled(self) -> bool:
        """Whether the step shall stop: a long action looks now and then, and raises StepFailed.
        A command that it waits for is ended after five seconds, and fails."""

    def run(
        self,
        argv: Sequence[str],
        on: str | None = None,
        *,
        stdin: bytes = b"",
        login: bool = False,
        timeout: float | None = None,
    ) -> bytes:
        """Run a command on the environment's host (or another's, with `on`); what it printed, up to
        64 MiB. It runs as the application's user, with `login` as the one who connects, to whom
        backup sets belong. Nothing goes through a shell; a secret travels on `stdin` and nowhere
        else. It may take `timeout` seconds (an hour), unless the step itself has a `timeout`.
        Raises StepFailed when it ends with another code than 0."""

    def note(self, text: str) -> None:
        """A line for the screen and the journal: no secrets, no personal data."""

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """How far the action is; `total` is None where it is not known."""


class RecipeView(Protocol):
    """A recipe that is about to be planned."""

    @property
    def name(self) -> str:
        """The recipe's name, which is the task's name."""

    def names(self) -> tuple[str, ...]:
        """The names of its steps."""


class PlannedStep(Protocol):
    """One step of a plan."""

    @property
    def name(self) -> str:
        """The step's name."""

    @property
    def on(self) -> str:
        """The environment, or ""."""

    @property
    def uses(self) -> str:
        """The action, or "" for a plain command."""

    @property
    def changes(self) -> tuple[str, ...]:
        """What it will change, in words."""

    @property
    def destroys(self) -> tuple[str, ...]:
        """What it will destroy, in words."""


class PlanView(Protocol):
    """A whole plan, before anything of it has run."""

    @property
    def name(self) -> str:
        """The task."""

    @property
    def run_id(self) -> str:
        """The run's id: names its journal and its report."""

    @property
    def steps(self) -> Sequence[PlannedStep]:
        """The steps."""


class SecretFinder(Protocol):
    """Finds a secret by its name, as in `secret("smtp").reveal()`: what the first plugin with an
    answer to `biso_secret` says, else `$CREDENTIALS_DIRECTORY/<name>` (systemd's LoadCredential),
    else `~/.config/biso-tasks/secrets/<name>`, which must belong to the user who runs this, mode
    0600 or stricter; of a file, one trailing newline is removed. A name has letters, digits and
    `-_.`. Raises ConfigError with the places and what to do where it is not there. May be called
    from any thread."""

    def __call__(self, name: str, /) -> Secret: ...


@dataclass(frozen=True, slots=True)
class StepReport:
    """How a step ended. `status` is ok, failed, skipped, cancelled, undone or not run."""

    name: str
    on: str
    status: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """Why a run failed. `kind` is the error's kind as in the JSON output."""

    kind: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended, without personal data: it may be sent by mail. `html` is the report's file
    on this machine, where there is one. A task that was refused, found its environment locked or
    could not be planned had no run: it has no `steps`, no `environments` and no `html`."""

    task: str
    run: str
    ok: bool
    exit_code: int
    seconds: float
    environments: tuple[str, ...] = ()
    steps: tuple[StepReport, ...] = ()
    error: ErrorReport | None = None
    html: Path | None = None


# -- what hooks give --


@dataclass(frozen=True, slots=True)
class Effects:
    """What an action will do, in words, for the plan."""

    changes: tuple[str, ...] = ()
    destroys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """What a step can name with `uses`. `run`, `undo`, `describe` and `done` each take a
    StepContext.

    `run` gives facts for the journal (JSON values, no secrets, no personal data) or None. `undo`
    puts back what `run` did, also when it got only half way. `describe` gives Effects while the
    plan is made; `done` says that there is nothing to do. Both may read, and change nothing.
    """

    name: str
    # Any: the built-in actions take a context with more in it than plugins are promised.
    run: Callable[[Any], Mapping[str, Any] | None]
    help: str = ""
    describe: Callable[[Any], Effects] | None = None
    undo: Callable[[Any], None] | None = None
    done: Callable[[Any], bool] | None = None


@dataclass(frozen=True, slots=True)
class RecipeText:
    """A recipe as TOML: `name`, `help`, `[[steps]]`. Errors call it `source`."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Insert:
    """A step to put into a recipe, after or before a step of it: a command (`run`) or an action
    (`uses`). `timeout` is in seconds."""

    name: str
    after: str | None = None
    before: str | None = None
    on: str = ""
    run: tuple[str, ...] = ()
    uses: str = ""
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ExtraDatabase:
    """A further database of an instance. `key` is where config.php has it, e.g. "log.db"; `refresh`
    what a refresh of the test instance does with it (None: what `refresh.log_database` says);
    `backup` whether a backup set holds it."""

    key: str
    label: str
    refresh: Literal["skip", "schema", "copy"] | None = None
    backup: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `doctor`. `host` is an environment's name, "" for this machine; `remedy` says
    what to do when it is not ok."""

    host: str
    name: str
    ok: bool
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a verification. One that is not ok fails it."""

    ok: bool
    name: str
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class PersonalColumn:
    """A column that holds personal data. `kind` says which, and so how it is masked: "name",
    "given", "family", "mail", "phone", "identifier" (AHV number, IBAN), "address", "place",
    "birth", "text", "file", or what its type is ("date", "json", "bytea", …). `table` and `column`
    may be patterns, as in privacy.toml, whose word counts first. One that matches no column stops
    the run."""

    table: str
    column: str
    kind: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HarmlessColumn:
    """A column that looks personal and is not: `reason` says why. Patterns as in PersonalColumn."""

    table: str
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class PersonalFiles:
    """Files of the data dir that hold personal data: a pattern as in `[refresh.files]`. They become
    placeholders, also where they belong to what is copied by default, unless `[refresh.files]` or
    `biso_file_policy` says otherwise. A pattern that matches no file stops the run."""

    pattern: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HarmlessFiles:
    """Files of the data dir that hold no personal data, and so are copied: `reason` says why."""

    pattern: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """What was scrubbed or neutralised in the stage, for the report: `what` in words, and how many
    rows or files. No personal data."""

    what: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class Veto:
    """A plugin's no to a plan."""

    reason: str
