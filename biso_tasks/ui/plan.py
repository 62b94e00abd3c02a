"""A plan as a person reads it before saying yes: each step, where it runs, what it changes and what
it destroys. Plain text, at most 100 columns, the same in a log and on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from biso_tasks.flow.plan import Plan, Step
from biso_tasks.ui.history import Last
from biso_tasks.ui.terminal import Line, Style, join, line
from biso_tasks.ui.text import cells, clean, duration, pad, wrap

__all__ = ["WIDTH", "render"]

WIDTH: Final = 100
LONGEST_NAME: Final = 36
LONGEST_PLACE: Final = 20
SHORTEST: Final = 0.1  # seconds: less is not worth a word
LABELS: Final[tuple[tuple[str, Style], ...]] = (
    ("   changes   ", ""),
    (" ! destroys  ", "bad"),
    ("   skipped   ", "dim"),
)


def render(
    plan: Plan,
    *,
    header: Iterable[tuple[str, str]] = (),
    last: Last | None = None,
    colour: bool = False,
    width: int = WIDTH,
) -> str:
    """The plan as text. `header` says what source and target are, as (label, value); with `last`
    each step says how long it took then. With `colour` the text is the same, with escape sequences
    between. Raises what `Plan.order()` raises."""
    return join(_lines(plan, tuple(header), last, width), colour=colour)


def _lines(
    plan: Plan, header: tuple[tuple[str, str], ...], last: Last | None, width: int
) -> Iterator[Line]:
    steps = plan.order()
    yield line("Plan: ", (clean(plan.name), "strong"))
    yield ()
    if header:
        labels = max(cells(clean(label)) for label, _ in header)
        for label, value in header:
            front = f"  {pad(clean(label), labels)}   "
            yield from _hanging(((front, "dim"),), clean(value), "", width)
        yield ()
    yield from _table(steps, last, width)
    yield ()
    if plan.notes:
        yield line(("Notes", "strong"))
        for note in plan.notes:
            yield from _hanging((("  - ", ""),), clean(note), "", width)
        yield ()
    for sentence in _summary(plan, steps, last):
        yield from _hanging((), *sentence, width)


def _table(steps: tuple[Step, ...], last: Last | None, width: int) -> Iterator[Line]:
    number = {step.name: index for index, step in enumerate(steps, 1)}
    digits = len(str(len(steps)))
    name = min(max((cells(clean(step.name)) for step in steps), default=0), LONGEST_NAME)
    place = min(max((cells(clean(step.on)) for step in steps), default=0), LONGEST_PLACE)
    for step in steps:
        style: Style = "dim" if step.skip else "strong"
        front: Line = (
            (f"  {number[step.name]:>{digits}}  ", "dim"),
            (pad(clean(step.name), name) + "   ", style),
            (pad(clean(step.on), place) + "   ", "dim" if step.skip else ""),
        )
        yield from _hanging(front, _when(step, number, last), "dim", width)
        yield from _details(step, " " * (digits + 4), width)


def _when(step: Step, number: dict[str, int], last: Last | None) -> str:
    took = None if last is None or step.skip else last.of(step)
    said = [f"{duration(took)} last time"] if took is not None and took >= SHORTEST else []
    if step.always:
        said.insert(0, "at the end, whatever happened")
    elif step.needs:
        needs = sorted(number[need] for need in step.needs)
        said.insert(0, "after " + ", ".join(str(one) for one in needs))
    return "; ".join(said)


def _details(step: Step, indent: str, width: int) -> Iterator[Line]:
    """The branches below a step. What is skipped changes and destroys nothing."""
    changes, destroys, skipped = LABELS
    if step.skip:
        branches = [(skipped, step.skip)]
    else:
        branches = [(changes, text) for text in step.changes]
        branches += [(destroys, text) for text in step.destroys]
    for index, ((label, style), text) in enumerate(branches, 1):
        last = index == len(branches)
        front: Line = ((indent + ("└─" if last else "├─"), "dim"), (label, style))
        rest: Line = ((indent + ("  " if last else "│ ") + " " * len(label), "dim"),)
        yield from _hanging(front, clean(text), style, width, rest)


def _summary(plan: Plan, steps: tuple[Step, ...], last: Last | None) -> Iterator[tuple[str, Style]]:
    runs = [step for step in steps if not step.skip]
    skipped = len(steps) - len(runs)
    yield _count(len(runs), "step") + (f", {skipped} skipped" if skipped else "") + ".", ""
    if last is not None:
        when = last.started.astimezone()
        yield f"Took {duration(last.seconds)} last time, on {when:%Y-%m-%d at %H:%M}.", ""
    destroys = sum(len(step.destroys) for step in runs)
    if destroys:
        places = sorted({clean(step.on) for step in runs if step.destroys and step.on})
        where = f" on {' and '.join(places)}" if places else ""
        yield f"Destroys {_count(destroys, 'thing')}{where}, marked with !", "bad"
    elif any(step.changes for step in runs):
        yield "Destroys nothing.", ""
    else:
        yield "Changes nothing.", ""
    if plan.confirm:
        names = " and ".join(f'"{clean(name)}"' for name in plan.confirm)
        yield f"Before it starts, the name {names} has to be typed.", ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _hanging(
    front: Line, text: str, style: Style, width: int, rest: Line | None = None
) -> Iterator[Line]:
    """The text after `front`, wrapped so that further lines stand below its beginning."""
    used = sum(cells(part) for part, _ in front)
    first, *more = wrap(text, max(width - used, 20))
    yield (*front, (first, style))
    for part in more:
        yield (*(rest or ((" " * used, ""),)), (part, style))
