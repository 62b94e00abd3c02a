"""A run's report, written beside its journal."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from biso_tasks.ui.history import past_runs
from biso_tasks.ui.report import load
from biso_tasks.ui.report_html import html
from biso_tasks.ui.report_markdown import markdown

__all__ = ["write_report"]


def write_report(state: Path, run: str) -> Path:
    """Write report.html and report.md of a run that has ended, readable for us alone; gives the
    page. Raises JournalError, OSError."""
    folder = state / "runs" / run
    report = load(folder / "journal.jsonl")
    report = replace(report, past=past_runs(state, report))
    _write(folder / "report.html", html(report))
    _write(folder / "report.md", markdown(report))
    return folder / "report.html"


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
