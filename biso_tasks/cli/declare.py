"""How a task is declared: a signature and a docstring. What it does is in `commands`, imported only
when a task runs, so that `--list` stays quick.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from biso_tasks.cli.fleet.kinds import JOBS, JOBS_HELP, KINDS, PATTERN_HELP

__all__ = ["CHANGING", "HELP", "READING", "declare", "flag", "run"]

CHANGING: Final[Mapping[str, tuple[Any, str]]] = {
    "confirm": ("", "the target's name, instead of typing it"),
    "plan": (False, "print what would be done, and change nothing"),
    "yes": (False, "do not ask (production: give --confirm NAME as well)"),
    "json": (False, "one JSON document on stdout, all else on stderr"),
    "verbose": (False, "show more"),
}
"""The options that every task has: default and help."""

READING: Final[Mapping[str, tuple[Any, str]]] = {
    **CHANGING,
    "confirm": ("", "accepted, as by every task: nothing is asked here"),
    "plan": (False, "accepted, as by every task: nothing is changed here"),
    "yes": (False, "accepted, as by every task: nothing is asked here"),
}
"""The same for a task that changes nothing, so that a script can give them to any."""


HELP: Final[dict[str, Mapping[str, str]]] = {}
"""What each task says of its options: invoke takes these texts away when it is asked for them."""


def flag(argument: str) -> str:
    """The option by which a task's argument is given: `from_` by --from."""
    return f"--{argument.rstrip('_').replace('_', '-')}"


def run(command: str, **arguments: Any) -> None:
    """Run a command; its exit code becomes the program's."""
    # invoke has turned it off for what is imported from here on, which is most of us: without, each
    # command compiles 350 modules again.
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    # Paramiko, psycopg and rich belong to what a task does, not to naming it.
    code = import_module("biso_tasks.cli.commands").run(command, arguments)
    if code:
        raise Exit(code=code)


def declare(
    *,
    called: str = "",
    common: Mapping[str, tuple[Any, str]] = CHANGING,
    fixed: Mapping[str, Any] | None = None,
    **help: str,
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a task of a function that has only a signature and a docstring: its parameters, then the
    `common` options, go to the command of the task's name, or `fixed["command"]`. The task is
    `called` like the function; `help` is by parameter."""

    def made(function: Callable[..., None]) -> Task[Any]:
        own = called or function.__name__.replace("_", "-")
        extra = dict(fixed or {})
        command = extra.pop("command", own)

        def body(c: Context, **arguments: Any) -> None:
            run(command, **extra, **arguments)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        many = KINDS.get(own)
        parameters = [
            inspect.Parameter("c", kind),
            *inspect.signature(function).parameters.values(),
            *([] if many is None else [inspect.Parameter("jobs", kind, default=JOBS)]),
            *(
                inspect.Parameter(option, kind, default=default)
                for option, (default, _) in common.items()
            ),
        ]
        body.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        body.__doc__ = function.__doc__
        texts = {**help, **{option: text for option, (_, text) in common.items()}}
        if many is not None:
            texts |= {many.option: texts[many.option] + PATTERN_HELP, "jobs": JOBS_HELP}
        HELP[own] = texts
        result: Task[Any] = task(name=own, help=texts)(body)
        return result

    return made
