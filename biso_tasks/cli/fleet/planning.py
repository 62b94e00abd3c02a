"""The plans of all, and the one plan that they make: a step an installation."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from biso_tasks.cli.fleet.child import Ended, end, words
from biso_tasks.cli.fleet.kinds import Kind
from biso_tasks.cli.fleet.members import Member, Members
from biso_tasks.cli.fleet.verdicts import figures
from biso_tasks.flow.plan import Plan, Scope, Step, fingerprint
from biso_tasks.host.process import Lifeline

__all__ = ["Wish", "look", "make_plan"]

_OWN: Final = "what its own plan says, which its own report keeps"

Start = Callable[[Member, Scope, str], Ended]
"""Run a member's command, which refuses another plan than that of the fingerprint."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: `task` with `arguments` for each of `members`, `jobs` at once."""

    task: str
    kind: Kind
    arguments: Mapping[str, Any]
    members: Members
    jobs: int

    def words(self, member: Member, last: str) -> tuple[str, ...]:
        """The member's own command."""
        return (*words(self.task, self.kind.option, member, self.arguments), last)


def look(wish: Wish, lifeline: Lifeline) -> dict[str, Ended]:
    """What each says to --plan, by name. Nothing is written into the site, as long as nobody
    agreed."""
    cancel = threading.Event()

    def ask(member: Member, folder: Path) -> Ended:
        step = Step(member.name, lambda scope: None)
        scope = Scope(step, cancel, lambda done, total, unit: None, lambda text: None)
        return end(lifeline, member, wish.words(member, "--plan"), folder, scope)

    with (
        tempfile.TemporaryDirectory(prefix="biso-plans-") as folder,
        ThreadPoolExecutor(wish.jobs, thread_name_prefix="plan") as pool,
    ):
        asked = {one.name: pool.submit(ask, one, Path(folder)) for one in wish.members.chosen}
        try:
            return {name: future.result() for name, future in asked.items()}
        finally:  # after Ctrl-C: who was asked is to stop, nobody else is asked
            cancel.set()
            pool.shutdown(cancel_futures=True)


def make_plan(
    wish: Wish, run: str, planned: Mapping[str, Ended], start: Start, confirm: str
) -> Plan:
    """The plan of the run `run`, a step a member; whose plan could not be made fails. `confirm` is
    what has to be typed, if anything."""
    return Plan(
        wish.task,
        run,
        tuple(
            _step(wish, member, planned.get(member.name), start) for member in wish.members.chosen
        ),
        (confirm,) if confirm else (),
        tuple(_notes(wish, planned)),
        independent=True,
    )


def _notes(wish: Wish, planned: Mapping[str, Ended]) -> Iterator[str]:
    for name, answer in planned.items():
        if answer.error is not None:
            yield f"{name} cannot be planned, and will be told as failed: {answer.error.message}"
    if wish.members.left_out:
        role, rest = ("production", ", if at all") if wish.kind.test_only else ("test", "")
        names = ", ".join(wish.members.left_out)
        yield f"left out, as {role}: {names}; {wish.task} takes such by their own names{rest}"
    held = [thing for member in wish.members.chosen for thing in member.holds]
    if len(set(held)) < len(held):
        yield "those that use the same store, or the same test environment, wait in turn"


def _step(wish: Wish, member: Member, planned: Ended | None, start: Start) -> Step:
    steps = [] if planned is None else list(planned.document.get("plan") or [])

    def run(scope: Scope) -> dict[str, Any]:
        if planned is not None and planned.error is not None:
            raise planned.error
        answer = start(member, scope, fingerprint(steps) if steps else "")
        if answer.error is not None:
            if answer.report is not None:
                scope.note(f"its report: {answer.report}")
            raise answer.error
        report = {} if answer.report is None else {"report": answer.report}
        return {"run": answer.document.get("run"), "result": figures(answer), **report}

    return Step(
        member.name,
        run,
        uses=wish.task,
        on=member.environment if member.environment != member.name else "",
        changes=_branches(steps, "changes") or (() if wish.kind.reads else (_OWN,)),
        destroys=_branches(steps, "destroys"),
    )


def _branches(steps: Iterable[Mapping[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(
        f"{step['name']}: {text}" for step in steps if not step.get("skip") for text in step[key]
    )
