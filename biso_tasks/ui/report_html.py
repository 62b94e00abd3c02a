"""The report of a run as one HTML file: no script, nothing fetched, everything from the journal
escaped."""

from __future__ import annotations

import html as markup
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from biso_tasks.ui.report import Report
from biso_tasks.ui.report_privacy import PersonalData
from biso_tasks.ui.report_step import ReportError, ReportStep
from biso_tasks.ui.report_style import CSS
from biso_tasks.ui.text import clean, clean_lines, duration, fact, size

__all__ = ["html"]

# A second wall: even a text that was not escaped could load and run nothing.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CLASSES: Final[Mapping[str, str]] = {
    "ok": "ok",
    "failed": "failed",
    "unfinished": "failed",
    "cancelled": "warn",
    "undone": "warn",
    "interrupted": "warn",
}
OPEN_UP_TO: Final = 12  # facts; a step with more is folded
_PAGE: Final = "report"  # the fact that names another run's page on this machine
CHART: Final = 1000  # the width of the drawing, in units of its own


def html(report: Report) -> str:
    """The page as text, to be written as UTF-8."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    title = f"{_text(report.task)}: {_text(report.status)}"
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{markup.escape(POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{title} ({report.started:%Y-%m-%d %H:%M})</title>"
    yield f"<style>{CSS}</style>"
    yield "</head>"
    yield "<body>"
    yield "<main>"
    yield f"<h1>{_text(report.task)}: {_status(report.status)}</h1>"
    yield (
        f'<p class="soft">{_time(report)} · <span class="run">{_text(report.run)}</span>'
        + (f" · exit code {report.exit_code}" if report.exit_code is not None else "")
        + "</p>"
    )
    yield from _cards(report)
    if report.error:
        yield from _box("What went wrong", "failed", _error(report.error))
    if report.status == "unfinished":
        yield from _box(
            "This run has no end",
            "warn",
            ["<p>It is still going on, or was cut off. <code>invoke recover</code> puts right what "
             "a run that was cut off has left.</p>"],
        )  # fmt: skip
    if report.personal is not None:
        yield from _personal(report.personal)
    yield from _listed("Residual risk", "warn", report.risks)
    yield from _listed("Observers that failed", "warn", report.observers)
    if report.header:
        yield "<h2>Where</h2>"
        yield from _table(report.header)
    if report.proof is not None:
        yield "<h2>Proof</h2>"
        yield from _table((_label(key), fact(key, one)) for key, one in report.proof.items())
    yield from _gathered(report)
    if report.notes:
        yield "<h2>Notes</h2>"
        yield from _list(report.notes)
    yield from _gantt(report)
    yield from _served(report)
    yield from _past(report)
    yield "<h2>Steps</h2>"
    for step in report.steps:
        yield from _step(step)
    yield "<footer>Made by biso-tasks from the journal of the run.</footer>"
    yield "</main>"
    yield "</body>"
    yield "</html>"


def _personal(personal: PersonalData) -> Iterator[str]:
    yield "<h2>Personal data</h2>"
    yield from _table(personal.said)
    if personal.columns:
        yield "<details>"
        yield f"<summary><h3>Changed columns</h3> {len(personal.columns)}</summary>"
        yield from _table((place, str(count)) for place, count in personal.columns)
        yield "</details>"


def _time(report: Report) -> str:
    return (
        f'<time datetime="{report.started:%Y-%m-%dT%H:%M:%SZ}">'
        f"{report.started:%Y-%m-%d %H:%M:%S} UTC</time>"
    )


def _cards(report: Report) -> Iterator[str]:
    ran = sum(step.status == "ok" for step in report.steps)
    cards = [("took", duration(report.seconds)), ("steps done", f"{ran} of {len(report.steps)}")]
    cards += [
        (_label(key), "none" if value in ([], ()) else fact(key, value))
        for key, value in report.facts.items()
        if not (value and isinstance(value, Mapping | list | tuple))
    ]
    yield '<dl class="cards">'
    for label, value in cards:
        yield f"<div><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>"
    yield "</dl>"


def _gathered(report: Report) -> Iterator[str]:
    """What of the run's facts is more than one: sets that are kept and why, sets that are gone."""
    for key, value in report.facts.items():
        if key == "proof" or not value or not isinstance(value, Mapping | list | tuple):
            continue
        yield f"<h2>{_text(_label(key).capitalize())}</h2>"
        if isinstance(value, Mapping):
            yield from _table((str(name), fact(str(name), one)) for name, one in value.items())
        else:
            yield from _list(fact("", one) for one in value)


def _gantt(report: Report) -> Iterator[str]:
    """One bar a step."""
    drawn = [step for step in report.steps if step.began is not None]
    whole = max([report.seconds, *((step.began or 0) + (step.seconds or 0) for step in drawn)])
    if not drawn or whole <= 0:
        return
    grid = "".join(
        f'<line class="grid" x1="{x}" y1="0" x2="{x}" y2="10"></line>'
        for x in range(0, CHART + 1, CHART // 4)
    )
    yield "<h2>When</h2>"
    yield '<ol class="gantt">'
    for step in drawn:
        began, took = step.began or 0.0, step.seconds or 0.0
        says = f"{step.name}: {step.status}, begins after {duration(began)}, takes {duration(took)}"
        bar = _bar(CLASSES.get(step.status, ""), began / whole, took / whole)
        yield _row(_text(step.name), says, grid + bar, duration(took))
    yield (
        '<li aria-hidden="true" class="soft"><span></span><span class="scale"><span>0 s</span>'
        f"<span>{duration(whole / 2)}</span><span>{duration(whole)}</span></span>"
        "<span></span></li>"
    )
    yield "</ol>"


def _served(report: Report) -> Iterator[str]:
    """A bar an environment, as long as the run, with what it was away cut out."""
    if not report.served:
        return
    whole = max(report.seconds, 0.001)
    yield "<h2>What was up when</h2>"
    yield '<ol class="gantt">'
    for one in report.served:
        bars = _bar("up", 0, 1)
        for away in one.away:
            took = whole - away.since if away.seconds is None else away.seconds
            bars += _bar("failed", away.since / whole, took / whole)
        yield _row(_text(one.environment), f"{one.environment}: {one}", bars, _text(str(one)))
    yield "</ol>"


def _past(report: Report) -> Iterator[str]:
    """A bar for the time that each of the last runs took, this one first."""
    if len(report.past) < 2:
        return
    longest = max(*(one.seconds for one in report.past), 0.001)
    yield "<h2>The last runs</h2>"
    yield '<ol class="gantt">'
    for one in report.past:
        moved = f" · {size(one.bytes)}" if one.bytes else ""
        says = f"{one.started:%Y-%m-%d %H:%M}: {one.status}, takes {duration(one.seconds)}"
        bar = _bar(CLASSES.get(one.status, ""), 0, one.seconds / longest)
        name = f"{one.started:%Y-%m-%d %H:%M} {_status(one.status)}"
        yield _row(name, says, bar, duration(one.seconds) + moved)
    yield "</ol>"


def _row(name: str, says: str, drawing: str, took: str) -> str:
    """Names and times, which are markup, stand beside the drawing, which alone is stretched; it
    `says` to whoever cannot see it what it shows."""
    return (
        f'<li><span class="name">{name}</span>'
        f'<svg viewBox="0 0 {CHART} 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{_text(says)}">{drawing}</svg>'
        f'<span class="took">{took}</span></li>'
    )


def _bar(shade: str, left: float, wide: float) -> str:
    """Parts of the drawing's width; what is too short to be seen is made a little longer."""
    width = min(max(wide * CHART, 3.0), CHART)
    x = min(max(left * CHART, 0.0), CHART - width)
    return f'<rect class="{shade}" x="{x:.1f}" y="1" width="{width:.1f}" height="8"></rect>'


def _step(step: ReportStep) -> Iterator[str]:
    took = "" if step.seconds is None else f" · {duration(step.seconds)}"
    where = f" · on {_text(step.on)}" if step.on else ""
    rows = sum(len(one) if isinstance(one, Mapping) else 1 for one in step.facts.values())
    unfolded = " open" if rows <= OPEN_UP_TO else ""
    yield f"<details{unfolded}>"
    yield (
        f"<summary><h3>{_text(step.name)}</h3> {_status(step.status)}"
        f'<span class="soft">{where}{took}</span></summary>'
    )
    yield from _list(
        (
            *((f"skipped: {step.reason}",) if step.reason else ()),
            *(f"changes: {one}" for one in step.changes),
            *(f"destroys: {one}" for one in step.destroys),
            *((f"tried again: {step.retries} ×",) if step.retries else ()),
            *step.notes,
        )
    )
    if step.error:
        yield from _box("Error", "failed", _error(step.error))
    if step.undo_error:
        yield from _box("It could not be undone", "failed", _error(step.undo_error))
    yield from _facts(step.facts)
    yield "</details>"


def _facts(facts: Mapping[str, Any]) -> Iterator[str]:
    """Plain facts in one table; one that is itself a mapping becomes a table below it."""
    plain = {key: one for key, one in facts.items() if not isinstance(one, Mapping)}
    page = plain.pop(_PAGE, None)
    yield from _table((_label(key), fact(key, one)) for key, one in plain.items())
    if isinstance(page, str) and page.startswith("/"):
        yield f'<p><a href="{markup.escape(Path(page).as_uri())}">its own report</a></p>'
    for key, one in facts.items():
        if isinstance(one, Mapping):
            yield f'<p class="soft">{_text(_label(key))}</p>'
            yield from _table((str(name), fact(str(name), value)) for name, value in one.items())


def _error(error: ReportError) -> list[str]:
    lines = [f"<p>{_text(one)}</p>" for one in clean_lines(error.message)]
    return [*lines, *(f"<p>→ {_text(one)}</p>" for one in clean_lines(error.hint))]


def _box(title: str, shade: str, inner: Iterable[str]) -> Iterator[str]:
    yield f'<div class="box {shade}"><strong>{title}</strong>'
    yield from inner
    yield "</div>"


def _listed(title: str, shade: str, texts: tuple[str, ...]) -> Iterator[str]:
    if texts:
        yield from _box(title, shade, _list(texts))


def _list(texts: Iterable[str]) -> Iterator[str]:
    items = [f"<li>{_text(text)}</li>" for text in texts]
    if items:
        yield f"<ul>{''.join(items)}</ul>"


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    cells = [
        f'<tr><th scope="row">{_text(label)}</th><td>{_text(value)}</td></tr>'
        for label, value in rows
    ]
    if cells:
        yield f"<table>{''.join(cells)}</table>"


def _status(status: str) -> str:
    return f'<span class="status {CLASSES.get(status, "still")}">{_text(status)}</span>'


def _label(key: str) -> str:
    return key.removesuffix("_seconds").replace("_", " ")


def _text(text: str) -> str:
    return markup.escape(clean(text))
