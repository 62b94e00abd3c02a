"""The lines that a run leaves behind, the same in a log and on a terminal: how each step ended,
its notes, its error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from biso_tasks.errors import BisoError
from biso_tasks.flow.listen import Status
from biso_tasks.flow.plan import Plan, Step
from biso_tasks.ui.terminal import Line, Style, line
from biso_tasks.ui.text import clean, clean_lines, duration, fact, pad, size

__all__ = ["STYLES", "StepLines"]

STYLES: Final[Mapping[str, Style]] = {
    "ok": "good",
    "failed": "bad",
    "skipped": "dim",
    "cancelled": "warn",
    "undone": "warn",
    "not run": "dim",
    "interrupted": "warn",
    "running": "strong",
    "unfinished": "bad",
    "unreadable": "bad",
}
LABEL: Final = max(len(status) for status in ("skipped", "cancelled", "not run"))
INDENT: Final = " " * 6
LONGEST_NAME: Final = 32
LONGEST_TIME: Final = len("59 min 59 s")
_TELLING: Final = 2.0  # seconds from which a rate says more than how long a start takes


@final
class StepLines:
    """Formats the events of one run; `plan` gives the columns their widths."""

    def __init__(self, plan: Plan | None = None, *, verbose: bool = False) -> None:
        steps = plan.steps if plan else ()
        names = [len(clean(step.name)) for step in steps]
        self._name = min(max(names, default=16), LONGEST_NAME)
        self._on = max((len(clean(step.on)) for step in steps), default=4)
        self._verbose = verbose

    def head(self, step: Step) -> str:
        """The step's name and place, in columns."""
        return f"{pad(clean(step.name), self._name)}   {pad(clean(step.on), self._on)}"

    def started(self, step: Step) -> list[Line]:
        """Only where much is wanted: else a step's line comes when it ends."""
        return [self._line("started", "dim", step, "", "")] if self._verbose else []

    def busy(self, step: Step, seconds: float, how_far: str) -> list[Line]:
        return [self._line("...", "dim", step, duration(seconds), how_far)]

    def note(self, step: Step, text: str) -> list[Line]:
        """Named, as the notes of parallel steps come between each other."""
        first, *more = clean_lines(text) or [""]
        lines = [line(INDENT, (f"{clean(step.name)}: ", "dim"), first)]
        return [*lines, *(line(INDENT, "  ", one) for one in more)]

    def finished(
        self,
        step: Step,
        status: Status,
        seconds: float,
        facts: Mapping[str, Any],
        error: BisoError | None,
        moved: str,
    ) -> list[Line]:
        """`moved` is the amount that the step reported last. A step that was asked to stop says no
        more than that: why it had to is the error of another."""
        if status == "skipped":
            return [self._line(status, "dim", step, "", clean(str(facts.get("reason", ""))))]
        count = facts.get("bytes")
        if not moved and isinstance(count, int):
            moved = size(count)
            if seconds >= _TELLING:
                moved += f", {size(count / seconds)}/s"
        lines = [self._line(status, STYLES[status], step, duration(seconds), moved)]
        if error is not None and status != "cancelled":
            first, *more = clean_lines(error.message) or [""]
            lines.append(line(INDENT, (first, "bad")))
            lines += [line(INDENT, (one, "bad")) for one in more]
            lines += [line(INDENT, f"{arrow} {one}") for arrow, one in hints(error.hint)]
        if self._verbose:
            lines += [
                line(INDENT, (f"{clean(key)} = {fact(key, value)}", "dim"))
                for key, value in facts.items()
            ]
        return lines

    def _line(self, label: str, style: Style, step: Step, took: str, what: str) -> Line:
        return line(
            "  ",
            (pad(label, LABEL), style),
            f"  {self.head(step)}   {pad(took, LONGEST_TIME)}  ",
            (what, "dim" if label == "skipped" else ""),
        )


def hints(hint: str) -> list[tuple[str, str]]:
    """The lines of a hint, the first with an arrow before it."""
    return [("→" if number == 0 else " ", one) for number, one in enumerate(clean_lines(hint))]
