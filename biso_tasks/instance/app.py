"""The PHP side of one copy of BISO, live or stage: `biso-cli` and PHP, as the configured user, on
the host itself or in a Docker compose service that sees other paths.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from biso_tasks.config.model import Environment
from biso_tasks.errors import StepFailed, plain
from biso_tasks.host.command import Command, Result
from biso_tasks.host.explain import sudo_refusal
from biso_tasks.host.protocol import CommandFailed, Host
from biso_tasks.instance.migration_list import MigrationList, is_text, read_list

__all__ = ["App", "compose", "running_containers"]

_LONGEST: Final = 7 * 86_400.0  # seconds: as long as it takes, and yet with an end


def compose(environment: Environment, *words: str) -> tuple[str, ...]:
    """The words that start a Docker compose command of this environment."""
    return ("docker", "compose", "--project-directory", environment.services.directory, *words)


def running_containers(host: Host, environment: Environment) -> frozenset[str]:
    """The compose services that run now."""
    words = compose(environment, "ps", "--services", "--status", "running")
    return frozenset(host.run(Command(words).as_root(environment.sudo)).text.split())


@dataclass(frozen=True, slots=True)
class App:
    """`webroot` is the path on the host, `inside` the one that PHP sees: they differ only in a
    container. A stage is run in a container of its own, with `mounts` (host path, inside path)."""

    host: Host
    environment: Environment
    webroot: str
    inside: str
    mounts: tuple[tuple[str, str], ...] = ()

    def php(
        self,
        *arguments: str,
        stdin: bytes = b"",
        ok: Sequence[int] | None = (0,),
        timeout: float | None = 60,
    ) -> Result:
        """Run PHP in the webroot. Raises CommandFailed."""
        return self.host.run(self.php_command(*arguments), stdin=stdin, ok=ok, timeout=timeout)

    def cli(self, *arguments: str, timeout: float | None = 3600) -> Result:
        """Run `biso-cli` in the webroot; raises StepFailed with the first line that it printed."""
        command = self.cli_command(*arguments)
        try:
            return self.host.run(command, timeout=timeout)
        except CommandFailed as error:
            refused = sudo_refusal(self.host.name, self.host.login, command, error.result)
            if refused is not None:
                raise refused from error
            said = _said(error.result)
            raise StepFailed(
                f"{self.environment.name}: biso-cli {' '.join(arguments)} failed in {self.webroot} "
                f"(exit {error.result.code}): {said}",
                hint=self._by_hand(*arguments),
            ) from error

    def php_command(self, *arguments: str) -> Command:
        """What `php` starts."""
        return self._command((*self.environment.php, *arguments))

    def cli_command(self, *arguments: str) -> Command:
        """`biso-cli` as it would be run now, for a process on the host that runs it later."""
        return self._command((*self.environment.biso_cli, *arguments))

    def maintenance(self, on: bool) -> None:
        self.cli("maintenance", "on" if on else "off", timeout=120)

    def migrations(self) -> MigrationList:
        """What `migration list` says. A site whose words for "none" are its own sets
        `texts.no_migrations`, a regular expression: a line that it matches names no migration.
        Raises StepFailed where it prints no text."""
        out = self.cli("migration", "list").out
        text = out.decode("utf-8", "replace")
        if not is_text(out):
            raise StepFailed(
                f"{self.environment.name}: biso-cli migration list printed what is no text, in "
                f"{self.webroot}: {_short(text)!r}",
                hint=self._by_hand("migration", "list"),
            )
        return read_list(text, dict(self.environment.texts).get("no_migrations"))

    def pending_migrations(self) -> tuple[str, ...]:
        """The names of migrations that `migration list` says are to be applied."""
        return self.migrations().pending

    def migrate(self) -> int:
        """Apply pending migrations, and say how many there were. `migration exec` is asked whatever
        the list says: where nothing is pending it does nothing. Raises StepFailed where some still
        are afterwards."""
        before = self.pending_migrations()
        self.cli("migration", "exec")
        left = self.pending_migrations()
        if left:
            raise StepFailed(
                f"{self.environment.name}: {len(left)} migration(s) are still pending after "
                f"`migration exec`: {', '.join(left[:3])}",
                hint="run `biso-cli migration exec` there and read what it prints; where this is "
                "how it says that there is none, set `texts.no_migrations` of the environment",
            )
        return len(before)

    def anonymize(self) -> None:
        """BISO's own anonymizer; it refuses by itself wherever env is not dev."""
        self.cli("anonymizer", "anonymize", "--do-it", timeout=_LONGEST)

    def _by_hand(self, *arguments: str) -> str:
        words = shlex.join((*self.environment.biso_cli, *arguments))
        who = self.environment.run_as or self.host.login
        return (
            f"run it there as {who}: `cd {shlex.quote(self.inside)} && {words}`; it is started as "
            f"environments.{self.environment.name}.biso_cli says"
        )

    def _command(self, words: Sequence[str]) -> Command:
        environment = self.environment
        if environment.services.kind != "compose":
            return Command(tuple(words), cwd=self.webroot, user=environment.run_as)
        user = ("-u", environment.run_as) if environment.run_as else ()
        # A stopped service has no container to exec into, and a stage must not be mounted
        # into the one that serves: both get a container of their own. It has the service's own
        # mounts as well: compose keeps them over what -v says of the same path, so what a stage
        # reaches is decided by its config.php (see stage/isolation.py).
        mounts = tuple(w for at, inside in self.mounts for w in ("-v", f"{at}:{inside}"))
        start = (
            ("run", "--rm", "--no-deps", "-T", *mounts)
            if self.mounts
            or environment.services.web not in running_containers(self.host, environment)
            else ("exec", "-T")
        )
        command = Command(
            compose(environment, *start, *user, "-w", self.inside, environment.services.web)
            + tuple(words)
        )
        return command.as_root(environment.sudo)


def _said(result: Result) -> str:
    """The last line of what it complained about, or of what it printed: of libpq's lines the one
    that says what went wrong."""
    for text in (result.error, result.out.decode("utf-8", "replace")):
        faults = [line for line in text.splitlines() if "FATAL:" in line or "ERROR:" in line]
        said = _short(faults[0] if faults else text, last=True)
        if said:
            return said
    return "it printed nothing"


def _short(text: str, *, last: bool = False) -> str:
    """Its first or last line that holds anything, in what can be shown of it."""
    lines = [line.strip() for line in plain(text).splitlines() if line.strip()]
    return lines[-1 if last else 0][:300] if lines else ""
