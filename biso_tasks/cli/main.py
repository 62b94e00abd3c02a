"""The console program `biso`: the same tasks as `invoke`, from anywhere below the site's folder."""

from __future__ import annotations

import shlex
import sys
from typing import Final

from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from biso_tasks.cli.completion import SCRIPTS, candidates
from biso_tasks.cli.tasks import namespace, site_here
from biso_tasks.version import tool_version

__all__ = ["main"]


class _Program(Program):
    """invoke's own answer to a wrong command line is 1, which means a failed step here."""

    def parse_tasks(self) -> None:
        try:
            super().parse_tasks()
        except ParseError as error:
            raise Exit(
                f"{error}\n  → biso --list shows the tasks, biso --help TASK its options", 2
            ) from error

    def parse_core_args(self) -> None:
        super().parse_core_args()
        shell = self.args["print-completion-script"].value
        if shell in SCRIPTS:
            sys.stdout.write(SCRIPTS[shell])
            raise Exit
        if shell:
            raise ParseError(f"no completion for {shell!r}: there are {', '.join(SCRIPTS)}")

    def parse_core(self, argv: list[str] | None) -> None:
        try:
            super().parse_core(argv)
        except ParseError as error:
            raise Exit(f"{error}\n  → biso --help shows the options", 2) from error


_OURS: Final = ("--plan", "--yes", "--json")


def main() -> None:
    """Exit codes are those of CONTRACT §3; a wrong command line is 2."""
    program = _Program(version=tool_version(), namespace=namespace(), name="biso", binary="biso")
    given = sys.argv[1:]
    try:
        if given[:1] == ["--complete"]:
            words = given[2:] if given[1:2] == ["--"] else given[1:]
            found = candidates(words, namespace(), program.initial_context, site_here())
            sys.stdout.write("".join(f"{one}\n" for one in found))
            return
        program.run(["biso", *_arguments(given)])
    except KeyboardInterrupt:
        sys.exit(130)


def _arguments(given: list[str]) -> list[str]:
    """`biso` alone lists the tasks; what follows `biso test` is pytest's, but for the options that
    every task has (-v is both's), and a task's arguments cannot be optional positionals."""
    if given[:1] == ["test"] and len(given) > 1 and given[1] not in ("--args", "-a", "--help"):
        ours = [word for word in given[1:] if word in _OURS]
        theirs = [word for word in given[1:] if word not in _OURS]
        return ["test", *ours, *(["--args", shlex.join(theirs)] if theirs else [])]
    return given or ["--list"]


if __name__ == "__main__":
    main()
