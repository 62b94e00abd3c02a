"""The first and the last step of whatever writes to an environment: lock, guard, unlock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from biso_tasks.actions.kit import Context
from biso_tasks.actions.target import TargetWork
from biso_tasks.errors import Refused
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.instance.lock import lock
from biso_tasks.session import lock_owner

__all__ = ["ACTIONS"]


def _lock(context: Context[TargetWork]) -> None:
    work = context.work
    target = work.target
    target.state.prepare()
    owner = lock_owner(work.run_id)
    work.held = work.locked.enter_context(
        lock(target.host, target.environment, target.layout, owner)
    )


def _describe_lock(context: Context[TargetWork]) -> Effects:
    return Effects(changes=(f"nobody else can change {context.work.target.name} meanwhile",))


def _guard(context: Context[TargetWork]) -> None:
    """What the plan showed is what runs: the facts it rests on are read again, now under the lock,
    and so are the guards."""
    work = context.work
    before = work.fingerprint()
    work.look_again()
    changed = list(_differences(before, work.fingerprint()))
    if changed:
        raise Refused(
            "the facts have changed since the plan was made: " + "; ".join(changed),
            hint="nothing was touched; look at the new plan and start again",
        )


def _describe_guard(context: Context[TargetWork]) -> Effects:
    return Effects(changes=("nothing: looks again whether the plan still holds",))


def _unlock(context: Context[TargetWork]) -> None:
    work = context.work
    if work.held is not None:
        work.held = None
        work.locked.close()
    work.target.state.tidy()


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    found: list[str] = []
    for key in before:
        one, other = before[key], now.get(key)
        where = f"{path} {key}".strip()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += _differences(one, other, where)
        elif one != other:
            found.append(f"{where} was {one!r} and is {other!r}")
    return found


ACTIONS = (
    Action("lock", _lock, "Hold the environment on its own host", _describe_lock),
    Action("guard", _guard, "Read the facts of the plan again, under the lock", _describe_guard),
    Action("unlock", _unlock, "Let the environment go"),
)
