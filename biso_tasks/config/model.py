"""biso.toml as frozen dataclasses: each key once, with its type, default and one-line doc
(CONTRACT §4). Paths are absolute once loaded, durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from biso_tasks.config import forms
from biso_tasks.config.findings import Finding, KeyPath, Places, closest, finding, one_of
from biso_tasks.config.schema import HEADER, Key
from biso_tasks.errors import UsageError

__all__ = [
    "Admin",
    "Backup",
    "Database",
    "Document",
    "Environment",
    "FilePolicy",
    "General",
    "Insert",
    "Keep",
    "MaxAge",
    "Neutralize",
    "Privacy",
    "RecipeChange",
    "Refresh",
    "Release",
    "Schedule",
    "Services",
    "Site",
    "Ssh",
    "Step",
    "UnknownEnvironment",
]

Argv = Annotated[tuple[str, ...], forms.ARGV]
HostPath = Annotated[str, forms.HOST_PATH]
LocalPath = Annotated[str, forms.LOCAL_PATH]
Name = Annotated[str, forms.NAME]
Slug = Annotated[str, forms.ENVIRONMENT_NAME]
TaskName = Annotated[str, forms.TASK_NAME]
User = Annotated[str, forms.USER]
Word = Annotated[str, forms.WORD]
Role = Literal["production", "test"]
FilePolicy = Literal["copy", "placeholder", "skip"]
Scalar = Annotated[Any, forms.SCALAR]
Table = tuple[tuple[Word, Any], ...]


class UnknownEnvironment(UsageError, KeyError):
    """No environment of this name. Exit 2."""


@dataclass(frozen=True, slots=True)
class Services:
    """How the web workers, scheduler and queue runner of an instance are stopped and started."""

    kind: Annotated[
        Literal["systemd", "compose", "command", "none"],
        Key("How services are stopped."),
    ] = "none"
    stop: Annotated[
        tuple[Name, ...],
        Key("Stopped in this order, started in reverse; what did not run before stays stopped."),
    ] = ()
    stop_command: Annotated[Argv, Key('kind = "command": {service} is the name from `stop`.')] = ()
    start_command: Annotated[Argv, Key('kind = "command": starts {service}.')] = ()
    status_command: Annotated[
        Argv,
        Key('kind = "command": exits 0 where {service} runs; default: all run.'),
    ] = ()
    directory: Annotated[HostPath, Key('kind = "compose": the folder of its compose file.')] = ""
    web: Annotated[Name, Key('kind = "compose": the service in which PHP runs.')] = ""
    database: Annotated[
        Name, Key('kind = "compose": the service in which psql and pg_dump run.')
    ] = ""


@dataclass(frozen=True, slots=True)
class Admin:
    """A role that may create databases where the application's may not."""

    user: Annotated[
        str, forms.DATABASE_NAME, Key("The database role; psql must connect as it without asking.")
    ] = "postgres"
    run_as: Annotated[
        User | None, Key("Run psql on the host as this user, by sudo -n -u, not over a tunnel.")
    ] = None


@dataclass(frozen=True, slots=True)
class Database:
    """Overrides what config.php says; None means: as config.php says."""

    host: Annotated[
        str | None,
        forms.DATABASE_HOST,
        Key("Name, address, or socket directory, as seen from the environment's host."),
    ] = None
    port: Annotated[int | None, forms.PORT, Key("The server's port.")] = None
    dbname: Annotated[str | None, forms.DATABASE_NAME, Key("The database.")] = None
    user: Annotated[str | None, forms.DATABASE_NAME, Key("The application's role.")] = None
    admin: Annotated[
        Admin | None, Key("Creates databases where the application's role may not.")
    ] = None
    locale: Annotated[
        Name | None, Key("Locale of the stage database; default: the source's own.")
    ] = None
    migrations: Annotated[
        Name | None,
        Key("The table that remembers applied migrations; default: one that looks like it."),
    ] = None


# Key names in config.php that a site may have renamed: name in biso.toml, name in a plain BISO.
_CONFIG_KEYS = (
    ("env", "env"),
    ("datadir", "datadir"),
    ("database", "gaia.db"),
    ("log_database", "log.db"),
)


@dataclass(frozen=True, slots=True)
class Environment:
    name: Annotated[Slug, HEADER]
    role: Annotated[Role, Key("A production one is never the target of a refresh or anonymiser.")]
    webroot: Annotated[HostPath, Key("Where BISO's code lies.")]
    ssh: Annotated[
        str | None,
        forms.DESTINATION,
        Key('An ssh_config alias or user@host:port; left out or "": this machine.'),
    ] = None
    config: Annotated[
        str, forms.RELATIVE_PATH, Key("BISO's configuration, relative to the webroot.")
    ] = "config.php"
    datadir: Annotated[HostPath | None, Key("The data dir; default: what config.php says.")] = None
    biso_cli: Annotated[
        Argv, Key('How biso-cli is started in the webroot; "./" first means: beside biso.toml.')
    ] = ("php", "biso-cli")
    php: Annotated[Argv, Key("PHP's command line program.")] = ("php",)
    run_as: Annotated[User | None, Key("biso-cli and PHP run as this user, by sudo -n -u.")] = None
    owner: Annotated[
        str | None, forms.OWNER, Key("For files whose recorded owner does not exist here.")
    ] = None
    sudo: Annotated[bool, Key("sudo -n for what needs root: services, owners.")] = False
    url: Annotated[str | None, forms.URL, Key("Asked after a swap; a bad answer swaps back.")] = (
        None
    )
    copy_of: Annotated[
        Slug | None,
        Key("What a refresh of this test environment copies; default: refresh.from."),
    ] = None
    stage_dir: Annotated[
        HostPath | None,
        Key("Where stages stand; default: a hidden directory beside what they will replace."),
    ] = None
    config_keys: Annotated[
        tuple[tuple[str, Word], ...],
        Key(
            "What config.php calls env, datadir, gaia.db (here: database), log.db (log_database).",
            names=tuple(name for name, _ in _CONFIG_KEYS),
        ),
    ] = ()
    texts: Annotated[
        tuple[tuple[str, Annotated[str, forms.REGEX]], ...],
        Key("Regular expressions for texts that biso-cli prints.", names=("no_migrations",)),
    ] = ()
    services: Annotated[Services, Key("Web workers, scheduler, queue runner.")] = field(
        default_factory=Services
    )
    database: Annotated[Database, Key("Overrides what config.php says.")] = field(
        default_factory=Database
    )

    @property
    def host_user(self) -> str | None:
        """Who looks at files on the host; None is the login itself. `run_as` is a user of the
        container where there is one, which the host need not know: there the login does it, or
        root where `sudo` is set."""
        if self.services.kind != "compose":
            return self.run_as
        return "root" if self.sudo else None

    def key(self, name: str) -> str:
        """What this site's config.php calls `env`, `datadir`, `gaia.db` or `log.db`.

        `config_keys` calls the last two `database` and `log_database`; both names are understood.
        """
        renames = dict(self.config_keys)
        for ours, theirs in _CONFIG_KEYS:
            if name in {ours, theirs}:
                return renames.get(ours) or renames.get(theirs) or theirs
        return name


@dataclass(frozen=True, slots=True)
class Ssh:
    config: Annotated[LocalPath, Key("The ssh_config that knows the aliases.")] = "~/.ssh/config"
    known_hosts: Annotated[LocalPath, Key("Unknown or changed host keys are refused.")] = (
        "~/.ssh/known_hosts"
    )


@dataclass(frozen=True, slots=True)
class Keep:
    last: Annotated[int, forms.COUNT, Key("The newest good sets.")] = 7
    daily: Annotated[int, forms.COUNT, Key("One a day, for so many days.")] = 14
    weekly: Annotated[int, forms.COUNT, Key("One a week, for so many weeks.")] = 8
    monthly: Annotated[int, forms.COUNT, Key("One a month, for so many months.")] = 12
    max_age: Annotated[float, forms.SECONDS, Key("Older ones go, but never the last good one.")] = (
        400 * 86400.0
    )


@dataclass(frozen=True, slots=True)
class Backup:
    environment: Annotated[
        Name, Key("What is backed up; default: the only production environment.")
    ] = "prod"
    path: Annotated[HostPath, Key("Where sets are kept, on the environment's host.")] = (
        "/var/backups/biso"
    )
    format: Annotated[
        Literal["plain", "custom", "directory"], Key("The dump: .sql.gz, or pg_dump's own formats.")
    ] = "plain"
    maintenance: Annotated[
        Literal["short", "whole", "none"],
        Key("Maintenance only while the snapshot is taken, for the whole backup, or not at all."),
    ] = "short"
    max_maintenance: Annotated[
        float, forms.SECONDS, Key('A "whole" backup that runs into it is no good set.')
    ] = 600.0
    hold: Annotated[
        tuple[Word, ...],
        Key("Services held still in the maintenance window, such as a queue runner."),
    ] = ()
    exclude: Annotated[
        tuple[Annotated[str, forms.PATTERN], ...],
        Key("Further patterns of the webroot and data dir, anchored."),
    ] = ()
    keep: Annotated[Keep, Key("How many good sets prune leaves.")] = field(default_factory=Keep)
    log_database: Annotated[
        Literal["backup", "ignore"], Key("What happens to a configured log database.")
    ] = "backup"


@dataclass(frozen=True, slots=True)
class Refresh:
    from_: Annotated[
        Name, Key("The source; default: the only production environment.", name="from")
    ] = "prod"
    to: Annotated[Name, Key("The target; default: the only test environment.")] = "test"
    source: Annotated[Word, Key('"live", or a backup set: "latest", "released" or its id.')] = (
        "live"
    )
    sources_allowed: Annotated[
        tuple[Literal["live", "latest", "released", "set"], ...],
        Key('Which sources may be asked for; "set" is any set by its id.'),
    ] = ("live", "latest", "released", "set")
    strategy: Annotated[
        Literal["swap", "in-place"], Key("Staged and swapped in, or the documented procedure.")
    ] = "swap"
    route: Annotated[
        Literal["direct", "relay", "auto"],
        Key("The target pulls from the source, or all goes through this machine."),
    ] = "auto"
    anonymize: Annotated[
        Literal[True, False, "required"], Key('"required": no flag of the command line beats it.')
    ] = True
    log_database: Annotated[
        Literal["skip", "schema", "copy"], Key("What happens to a configured log database.")
    ] = "skip"
    keep_tables: Annotated[
        tuple[Word, ...], Key("The target's own rows of these tables survive.")
    ] = ()
    keep_rows: Annotated[
        tuple[tuple[Word, Annotated[str, forms.SQL]], ...],
        Key("The target's own rows that survive, by table: an SQL condition."),
    ] = ()
    keep_files: Annotated[
        tuple[Annotated[str, forms.RELATIVE_PATH], ...],
        Key("The target's own files of the data dir that survive."),
    ] = ("fop.xconf", "phpdocxconfig.ini")
    keep_previous: Annotated[
        float, forms.DURATION, Key("How long rollback stays possible; prune removes it then.")
    ] = 3 * 86400.0
    baseline: Annotated[bool, Key("Keep each proven refresh as the baseline.")] = False
    files: Annotated[
        tuple[tuple[Annotated[str, forms.GLOB], FilePolicy], ...],
        Key("Which files of the data dir travel; the first match counts."),
    ] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """Sets that were anonymised and proven, to be handed out."""

    environment: Annotated[
        Name, Key("In whose stage a release is made; default: the only test environment.")
    ] = "test"
    path: Annotated[
        HostPath | None,
        Key("Where releases lie on its host, and fetched ones; default: below backup.path."),
    ] = None
    ssh: Annotated[
        str | None,
        forms.DESTINATION,
        Key("The restricted account that releases are fetched from; default: that host itself."),
    ] = None
    sign: Annotated[
        LocalPath | None, Key("The SSH key that signs a release, or its public half in an agent.")
    ] = None
    allowed_signers: Annotated[
        LocalPath | None, Key("Whose signature a release must have; as ssh-keygen reads it.")
    ] = None
    max_age: Annotated[
        float, forms.SECONDS, Key("How old production's data in a release may be.")
    ] = 8 * 86400.0
    keep: Annotated[int, forms.COUNT, Key("The newest good releases that stay.")] = 7


@dataclass(frozen=True, slots=True)
class MaxAge:
    good: Annotated[float, forms.SECONDS, Key("How old the newest good set may be.")] = 26 * 3600.0
    verified: Annotated[
        float, forms.SECONDS, Key("How long ago a set may have been verified for the last time.")
    ] = 8 * 86400.0
    drilled: Annotated[
        float, forms.SECONDS, Key("How long ago a set may have been drilled for the last time.")
    ] = 35 * 86400.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """What `schedule` installs on this machine; "" is never. Texts that `moment` reads."""

    backup: Annotated[str, forms.MOMENT, Key("When `backup` runs.")] = "02:30"
    prune: Annotated[str, forms.MOMENT, Key("When `prune` runs.")] = "04:00"
    verify: Annotated[str, forms.MOMENT, Key("When `verify --drill` runs.")] = "sun 05:00"
    refresh: Annotated[str, forms.MOMENT, Key("When `refresh-test` runs.")] = ""
    release: Annotated[str, forms.MOMENT, Key("When `release` runs.")] = ""
    max_age: Annotated[MaxAge, Key("From when on `list` and `doctor` complain.")] = field(
        default_factory=MaxAge
    )


@dataclass(frozen=True, slots=True)
class Neutralize:
    """What keeps a stage from acting on the world: mails, interfaces, payment."""

    sql: Annotated[
        tuple[Annotated[str, forms.SQL], ...], Key("Statements, run in the stage database.")
    ] = ()
    params: Annotated[
        tuple[tuple[Word, Scalar], ...], Key("Values for rows of the table params.")
    ] = ()
    config: Annotated[
        tuple[tuple[Word, Scalar], ...],
        Key("Keys that test's config.php must have like this; the stage has them anyway."),
    ] = ()
    table: Annotated[Word, Key("Where `params` are: a table of names and values.")] = "params"
    name: Annotated[Word, Key("Its column with the names; default: the one that looks so.")] = ""
    value: Annotated[Word, Key("Its column with the values; default: the one that looks so.")] = ""


@dataclass(frozen=True, slots=True)
class Privacy:
    """Which columns and files are personal, and how far the proof goes."""

    inventory: Annotated[
        LocalPath, Key("What each column and file holds; `privacy-scan --write` proposes it.")
    ] = "privacy.toml"
    own: Annotated[
        tuple[Word, ...], Key("The house's own mail addresses and phone numbers: nobody's secret.")
    ] = ()
    bound: Annotated[
        int, forms.VALUES, Key("Original values that the proof knows; beyond it, it samples.")
    ] = 10_000_000
    rewrite: Annotated[
        Literal["never", "auto"],
        Key('"auto": tables that were masked are rewritten: no dead row keeps an original.'),
    ] = "never"
    keep_stage: Annotated[
        float, forms.DURATION, Key("How long a stage that was kept after a failure may stay.")
    ] = 86400.0


@dataclass(frozen=True, slots=True)
class Insert:
    """A step that a site or a plugin puts into a recipe: a command, or an action by name."""

    name: Annotated[TaskName, Key("The new step's name.")]
    after: Annotated[Name | None, Key("Runs after this step; see `--plan` for names.")] = None
    before: Annotated[Name | None, Key("Runs before this step.")] = None
    on: Annotated[Word, Key("The environment on whose host it runs.")] = ""
    run: Annotated[Argv, Key("A command, one string a word.")] = ()
    uses: Annotated[Name, Key("An action by name.")] = ""
    params: Annotated[Table, Key("What the action is given.")] = ()
    timeout: Annotated[float | None, forms.SECONDS, Key("It is ended after this time.")] = None


@dataclass(frozen=True, slots=True)
class Step:
    """The keys of a step of a site's own recipe. Recipes are data: RecipeChange keeps the plain
    tables, with only the keys that were written, durations in seconds."""

    name: Annotated[TaskName, Key("The step's name.")]
    uses: Annotated[Name, Key("An action by name.")] = ""
    run: Annotated[Argv, Key("A command, one string a word.")] = ()
    on: Annotated[Word, Key("The environment on whose host it runs.")] = ""
    needs: Annotated[tuple[Name, ...], Key("Steps that must be done before.")] = ()
    params: Annotated[dict[str, Any], Key("What the action is given.")] = field(
        default_factory=dict
    )
    when: Annotated[Word, Key("A condition, evaluated while planning.")] = ""
    confirm: Annotated[Word, Key("Ask before this step.")] = ""
    timeout: Annotated[float | None, forms.SECONDS, Key("It is ended after this time.")] = None
    retries: Annotated[int, forms.COUNT, Key("Tried so many times more.")] = 0
    always: Annotated[bool, Key("Runs whatever happened before.")] = False


@dataclass(frozen=True, slots=True)
class RecipeChange:
    """What a site changes in a recipe, or a whole recipe of its own (`steps` is then not empty)."""

    name: Annotated[TaskName, HEADER]
    help: Annotated[Word, Key("What the task does, in one line.")] = ""
    insert: Annotated[tuple[Insert, ...], Key("Further steps.")] = ()
    skip: Annotated[tuple[Name, ...], Key("Steps that are left out.")] = ()
    set: Annotated[tuple[tuple[Word, Table], ...], Key("Parameters of a step.")] = ()
    steps: Annotated[
        tuple[dict[str, Any], ...],
        Key("The steps of an own recipe.", name="step", rows=Step),
    ] = ()
    confirm: Annotated[
        Word, Key("Own recipe: this environment's name is typed before it runs.")
    ] = ""


@dataclass(frozen=True, slots=True)
class General:
    """The section [site]."""

    name: Annotated[Word, Key("In reports and messages; default: the folder's name.")] = ""
    plugins: Annotated[
        tuple[LocalPath, ...], Key("Folders with site plugins; installed ones are found as well.")
    ] = ("plugins",)
    disable: Annotated[tuple[Name, ...], Key("Plugins that are not loaded.")] = ()
    state: Annotated[LocalPath, Key("Where journals and reports lie, on this machine.")] = ".biso"


@dataclass(frozen=True, slots=True)
class Document:
    """The sections of the file; `Site` is what becomes of them."""

    site: Annotated[General, Key("The site.")] = field(default_factory=General)
    environments: Annotated[tuple[Environment, ...], Key("One table an environment.")] = ()
    ssh: Annotated[Ssh, Key("How hosts are reached.")] = field(default_factory=Ssh)
    backup: Annotated[Backup, Key("Backup sets.")] = field(default_factory=Backup)
    refresh: Annotated[Refresh, Key("The refresh of test.")] = field(default_factory=Refresh)
    release: Annotated[Release, Key("Proven sets that are handed out.")] = field(
        default_factory=Release
    )
    schedule: Annotated[Schedule, Key("What runs by itself, and when.")] = field(
        default_factory=Schedule
    )
    neutralize: Annotated[Neutralize, Key("What is made harmless in a stage.")] = field(
        default_factory=Neutralize
    )
    privacy: Annotated[Privacy, Key("What is personal, and how it is proven gone.")] = field(
        default_factory=Privacy
    )
    plugins: Annotated[tuple[tuple[Word, dict[str, Any]], ...], Key("A plugin's own section.")] = ()
    recipes: Annotated[tuple[RecipeChange, ...], Key("Changed or own recipes.")] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """One biso.toml. `root` is its folder; journals and reports lie in `state`, on this machine."""

    name: str
    root: Path
    file: Path
    state: Path
    environments: tuple[Environment, ...]
    plugins: tuple[str, ...] = ("plugins",)
    disable: tuple[str, ...] = ()
    ssh: Ssh = field(default_factory=Ssh)
    backup: Backup = field(default_factory=Backup)
    refresh: Refresh = field(default_factory=Refresh)
    recipes: tuple[RecipeChange, ...] = ()
    plugin_sections: tuple[tuple[str, dict[str, Any]], ...] = ()
    neutralize: Neutralize = field(default_factory=Neutralize)
    privacy: Privacy = field(default_factory=Privacy)
    schedule: Schedule = field(default_factory=Schedule)
    release: Release = field(default_factory=Release)
    places: Places = field(default_factory=dict, repr=False, compare=False)

    def finding(self, path: KeyPath, cause: str, remedy: str) -> Finding:
        """What is wrong at a key, e.g. ("recipes", "nightly", "step", 0, "uses"), with its line."""
        return finding(self.places, path, cause, remedy, file=self.file.name)

    def environment(self, name: str) -> Environment:
        """Raises UnknownEnvironment (a KeyError too), naming those that there are."""
        for environment in self.environments:
            if environment.name == name:
                return environment
        names = [environment.name for environment in self.environments]
        meant = closest(name, names)
        raise UnknownEnvironment(
            f"no environment is called {one_of([name])}",
            hint=f'did you mean "{meant}"?' if meant else f"{self.file.name} has {one_of(names)}",
        )

    def plugin_section(self, name: str) -> dict[str, Any]:
        """[plugins.NAME] as it stands in the file; empty where it does not."""
        return dict(self.plugin_sections).get(name, {})
