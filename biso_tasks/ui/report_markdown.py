"""The report of a run as Markdown: for an issue, a wiki page, a mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from biso_tasks.ui.report import Report
from biso_tasks.ui.report_privacy import PersonalData
from biso_tasks.ui.report_step import ReportStep
from biso_tasks.ui.text import clean, duration, fact, size

__all__ = ["markdown"]

# What could become a mark, a tag, an entity, a table's edge, a link.
_MARKS: Final = re.compile(r"[\\`*_{}\[\]<>#|~&!@]|://")
# What at the beginning of a text would make it a list of its own.
_LIST: Final = re.compile(r"^(\d*)([-+.)])(?=\s|$)")


def markdown(report: Report) -> str:
    """The whole report, every text of it escaped."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {_text(report.task)}: {_text(report.status)}"
    yield ""
    yield f"- run: {_text(report.run)}"
    yield f"- started: {report.started:%Y-%m-%d %H:%M:%S} UTC"
    yield f"- took: {duration(report.seconds)}"
    if report.exit_code is not None:
        yield f"- exit code: {report.exit_code}"
    for label, value in report.header:
        yield f"- {_text(label)}: {_text(value)}"
    for key, value in report.facts.items():
        yield f"- {_label(key)}: {_text(fact(key, value))}"
    if report.error:
        yield from ("", "## What went wrong", "", _text(report.error.message))
        if report.error.hint:
            yield from ("", f"→ {_text(report.error.hint)}")
    if report.personal is not None:
        yield from _personal(report.personal)
    yield from _list("Residual risk", report.risks)
    yield from _list("Notes", report.notes)
    yield from _list("Observers that failed", report.observers)
    yield from ("", "## Steps", "", "| step | on | status | took |", "|---|---|---|---:|")
    for step in report.steps:
        took = "" if step.seconds is None else duration(step.seconds)
        yield f"| {_text(step.name)} | {_text(step.on)} | {_text(step.status)} | {took} |"
    if report.served:
        yield from ("", "## What was up when", "")
        yield from (f"- {_text(one.environment)}: {_text(str(one))}" for one in report.served)
    for step in report.steps:
        details = list(_details(step))
        if details:
            yield from ("", f"### {_text(step.name)}", "", *details)
    if len(report.past) > 1:
        yield from ("", "## The last runs", "", "| started | status | took | moved |")
        yield "|---|---|---:|---:|"
        for one in report.past:
            moved = size(one.bytes) if one.bytes else ""
            yield (
                f"| {one.started:%Y-%m-%d %H:%M} | {_text(one.status)} | {duration(one.seconds)} "
                f"| {moved} |"
            )


def _personal(personal: PersonalData) -> Iterator[str]:
    yield from ("", "## Personal data", "")
    yield from (f"- **{title}**: {_text(text)}" for title, text in personal.said)
    if personal.columns:
        yield from ("", "### Changed columns", "", "| column | values |", "|---|---:|")
        yield from (f"| {_text(place)} | {count} |" for place, count in personal.columns)


def _details(step: ReportStep) -> Iterator[str]:
    for label, texts in (
        ("skipped", (step.reason,) if step.reason else ()),
        ("changes", step.changes),
        ("**destroys**", step.destroys),
        ("note", step.notes),
    ):
        yield from (f"- {label}: {_text(text)}" for text in texts)
    if step.retries:
        yield f"- tried again: {step.retries} ×"
    for label, error in (("error", step.error), ("undo failed", step.undo_error)):
        if error:
            yield f"- {label}: {_text(error.message)}" + (
                f" → {_text(error.hint)}" if error.hint else ""
            )
    yield from (f"- {_label(key)}: {_text(fact(key, value))}" for key, value in step.facts.items())


def _list(title: str, texts: tuple[str, ...]) -> Iterator[str]:
    if texts:
        yield from ("", f"## {title}", "", *(f"- {_text(text)}" for text in texts))


def _label(key: str) -> str:
    return _text(key.removesuffix("_seconds").replace("_", " "))


def _text(text: str) -> str:
    """On one line: a line of its own could begin a heading or a list."""
    flat = " ".join(clean(line) for line in text.split("\n")).strip()
    marked = _MARKS.sub(lambda match: r":\//" if match[0] == "://" else "\\" + match[0], flat)
    return _LIST.sub(r"\1\\\2", marked)
