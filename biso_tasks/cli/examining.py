"""`doctor`: what a run needs, as far as it can be looked at: a biso.toml that is wrong included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from biso_tasks.actions.doctor.checks import checks
from biso_tasks.actions.recipes import read_book
from biso_tasks.cli.call import Call
from biso_tasks.cli.site import find_site
from biso_tasks.config.findings import BadConfig
from biso_tasks.errors import ConfigError, Refused
from biso_tasks.hooks.types import Check
from biso_tasks.session import Session
from biso_tasks.ui.table import Cell, table

__all__ = ["doctor", "examined", "rows"]


def doctor(call: Call, for_: str, env: str = "") -> None:
    """Raises Refused where a check failed, ConfigError where biso.toml itself is wrong."""
    try:
        find_site()
    except ConfigError as error:
        _document(call, _of_config(error, "biso.toml"))
        raise
    try:
        # A person looks for what is missing: no run has failed.
        session = call.session(on=env, observed=False)
    except ConfigError as error:
        _document(call, _of_config(error, "plugins"))
        raise
    mistakes: ConfigError | None = None
    try:
        read_book(session.site, session.hooks).require_right()
    except ConfigError as error:
        mistakes = error
    # What is raised is shown anyway.
    found = examined(call, session, for_, _of_config(mistakes, "biso.toml") if mistakes else ())
    call.text(table(rows(found)))
    if mistakes is not None:
        raise mistakes
    bad = sum(not one.ok for one in found)
    if bad:
        raise Refused(
            f"{bad} of {len(found)} checks failed", hint="do what each line says after the arrow"
        )


def examined(call: Call, session: Session, for_: str, before: Iterable[Check] = ()) -> list[Check]:
    """The checks of what `for_` needs, which --json shows behind `before`."""
    found = list(checks(session, for_))
    _document(call, [*before, *found])
    return found


def _of_config(error: ConfigError, name: str) -> list[Check]:
    """One for each finding; of an error that has none, for each of its lines."""
    if isinstance(error, BadConfig):
        return [Check("", name, False, one.what, one.remedy) for one in error.findings]
    return [Check("", name, False, line, error.hint) for line in error.message.splitlines()]


def _document(call: Call, found: Sequence[Check]) -> None:
    call.document["checks"] = [
        {"host": c.host, "name": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy}
        for c in found
    ]


def rows(found: Sequence[Check]) -> list[tuple[Cell, ...]]:
    """For `table`: host, verdict, what was looked at, what was found."""
    return [
        (c.host or "here", ("ok", "good") if c.ok else ("no", "bad"), c.name,
         c.detail if c.ok or not c.remedy else f"{c.detail} → {c.remedy}")
        for c in found
    ]  # fmt: skip
