"""Asks once before something is destroyed: the target's name has to be typed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from biso_tasks.errors import Interrupted, Refused
from biso_tasks.ui.terminal import Stream, line
from biso_tasks.ui.text import clean

__all__ = ["confirm", "confirm_all", "must_ask"]


def confirm_all(
    names: Sequence[tuple[str, bool]],
    *,
    yes: bool,
    interactive: bool,
    given: str | None = None,
    read: Callable[[str], str] = input,
) -> None:
    """As `confirm`, for each environment that a plan is about, with whether it is a production one;
    `given` stands for one of them."""
    known = [name for name, _ in names]
    if known and given is not None and given not in known:
        must_ask(known[0], yes=yes, interactive=interactive, given=given)
    for name, production in names:
        confirm(
            name,
            yes=yes,
            interactive=interactive,
            read=read,
            production=production,
            given=given if given == name else None,
        )


def confirm(
    name_to_type: str,
    *,
    yes: bool,
    interactive: bool,
    read: Callable[[str], str] = input,
    production: bool = False,
    given: str | None = None,
    stream: TextIO | None = None,
    kind: str = "",
) -> None:
    """Return where the person agreed; "" as the name needs no agreement. `kind` says what is named,
    where it is not an environment.

    `yes` is --yes, `given` the value of --confirm. Into a production environment `yes` is not
    enough: its name is given or typed. Raises Refused for another name, and where nobody can be
    asked; Interrupted for Ctrl-C. The question goes to `stream` (default: stderr).
    """
    name = name_to_type
    if not must_ask(name, yes=yes, interactive=interactive, production=production, given=given):
        return
    kind = kind or f"the name of the {'production ' if production else ''}environment"
    Stream(stream or sys.stderr).put(
        [line("To go on, type ", kind, " that will be changed: ", (name, "strong"))]
    )
    try:
        typed = read("> ").strip()
    except EOFError:
        typed = ""
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted at the question: nothing was changed") from error
    if typed != name:
        what = f'"{clean(typed)}" was typed, not "{name}"' if typed else "no name was typed"
        raise Refused(
            f"{what}: nothing was changed", hint="start again, and read the plan once more"
        )


def must_ask(
    name: str, *, yes: bool, interactive: bool, production: bool = False, given: str | None = None
) -> bool:
    """Whether the name has to be typed still. Raises Refused where what was given is another name,
    or nobody can be asked: that needs no plan, so it can be known before anything is contacted."""
    if not name:
        return False
    if given is not None:
        if given != name:
            raise Refused(
                f'--confirm says "{clean(given)}", but the target is "{name}": nothing was changed',
                hint=f"if {name} is meant: --confirm {name}",
            )
        return False
    if yes and not production:
        return False
    if not interactive:
        raise _nobody(name, yes=yes, production=production)
    return True


def _nobody(name: str, *, yes: bool, production: bool) -> Refused:
    if production:
        enough = f"--yes is not enough for the production environment {name}" if yes else ""
        return Refused(
            f"{enough or f'the change of {name} was not confirmed'}, and there is no terminal to "
            "ask on: nothing was changed",
            hint=f"look at the plan with --plan, then add --confirm {name}",
        )
    return Refused(
        f"the change of {name} was not confirmed, and there is no terminal to ask on: nothing was "
        "changed",
        hint="look at the plan with --plan, then add --yes",
    )
