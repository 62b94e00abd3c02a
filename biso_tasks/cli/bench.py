"""`bench`: the benchmarks of the checkout, which are no part of the installed package."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import biso_tasks
from biso_tasks.cli.call import Call
from biso_tasks.cli.output import say
from biso_tasks.errors import Interrupted, StepFailed, UsageError

__all__ = ["bench"]


def bench(
    call: Call, database: str, files: str, files_mb: str, rounds: str, only: str, clean: bool
) -> None:
    """Measure our way and the documented one on the same data. Raises UsageError where there are no
    benchmarks, StepFailed where not all of them could be finished: what was measured is written."""
    command = _benchmarks()
    if clean:
        if call.options.plan:
            call.outlook("bench", changes=(), destroys=[f"{command.HOME / 'site'}, its servers"])
            return
        command.tidy()
        call.text("Nothing of the benchmarks is left but their results.")
        return
    asked = command.asked(database, files, files_mb, rounds, only)
    if call.options.plan:
        call.outlook("bench", changes=command.outlook(asked))
        return
    try:
        report, page = command.play(asked, say)
    except KeyboardInterrupt:
        raise Interrupted("the benchmarks were interrupted; what they had built is gone") from None
    call.document["bench"] = report.as_json()
    call.document["written"] = [str(page), str(page.with_suffix(".json"))]
    call.text(f"{report.markdown()}\n{page}\n{page.with_suffix('.json')}")
    if report.failed:
        raise StepFailed(
            f"not all was measured: {', '.join(report.failed)}",
            hint="the reasons are below the table; the figures in it stand",
        )


def _benchmarks() -> Any:
    """The module that does it, from the checkout that we run in."""
    package = Path(biso_tasks.__file__).resolve().parent
    root = package.parent
    if not (root / "benchmarks" / "command.py").is_file():
        raise UsageError(
            f"the installed package ({package}) comes without its benchmarks",
            hint="run ./biso bench in a checkout of the repository",
        )
    if str(root) not in sys.path:
        sys.path.append(str(root))
    return import_module("benchmarks.command")
