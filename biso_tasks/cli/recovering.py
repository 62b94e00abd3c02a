"""`recover`: what was interrupted put right everywhere; with --plan what would be done."""

from __future__ import annotations

from collections.abc import Mapping

from biso_tasks.actions.outlook import foresee
from biso_tasks.actions.recover import recover as recover_one
from biso_tasks.cli.call import Call
from biso_tasks.errors import BisoError, Locked, NeedsPerson
from biso_tasks.host.protocol import Unreachable
from biso_tasks.session import Session

__all__ = ["recover"]


def recover(call: Call, env: str) -> None:
    session = call.session(recipes=False)
    session.mends = False  # what is mended is told as done
    names = [env] if env else [e.name for e in session.site.environments]
    errors: dict[str, BisoError] = {}
    told = call.document["environments"] = []
    for name in names:
        done, error = _look(call, session, name) if call.options.plan else _do(call, session, name)
        if error is not None:
            errors[name] = error
        told.append(
            {
                "environment": name,
                "done": list(done),
                "error": None if error is None else error.message,
            }
        )
    _raise_worst(call, session, errors, everywhere=not env)


def _do(call: Call, session: Session, name: str) -> tuple[tuple[str, ...], BisoError | None]:
    found = recover_one(session, name, call.run_id)
    for line in found.done or (["nothing to recover"] if found.error is None else []):
        call.text(f"{name}: {line}")
    return found.done, found.error


def _look(call: Call, session: Session, name: str) -> tuple[tuple[str, ...], BisoError | None]:
    found = foresee(session, name)
    call.outlook(
        "recover",
        on=name,
        changes=found.changes,
        destroys=[f"removes {one}" for one in found.destroys],
    )
    if found.error is None and not found.changes and not found.destroys:
        call.text(f"{name}: nothing to recover")
    return (), found.error


def _raise_worst(
    call: Call, session: Session, errors: Mapping[str, BisoError], *, everywhere: bool
) -> None:
    """Raise what decides the exit code; where all were asked, a production out of reach does not:
    who may not reach it can still put test right."""
    bad = []
    for name, error in errors.items():
        production = session.environment(name).role == "production"
        if everywhere and production and isinstance(error, Unreachable):
            call.text(f"{name} was not asked: {error.message}")
        else:
            bad.append(error)
    # Whoever needs a person comes before whoever has to wait.
    for error in sorted(bad, key=lambda one: isinstance(one, Locked)):
        if error.exit_code == 1:
            raise NeedsPerson(
                error.message, hint=error.hint or "mend it and run `biso recover` again"
            )
        raise error
