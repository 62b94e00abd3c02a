from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from biso_tasks.errors import StepFailed
from biso_tasks.flow.journal import Journal
from biso_tasks.flow.plan import Plan, Scope, Step
from biso_tasks.flow.run import execute

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e<script>alert(1)</script>|`x`\n# [a](http://evil.example/)"


@pytest.fixture
def hostile() -> str:
    """What a remote host might say: a terminal title, C1, a bidi override, tags, marks."""
    return HOSTILE


@pytest.fixture
def without_colours() -> Callable[[str], str]:
    return lambda text: re.sub(r"\x1b\[[0-9;]*m", "", text)


def nothing(scope: Scope) -> None:
    return None


@pytest.fixture
def refresh() -> Plan:
    """A plan with all there is to show."""
    return Plan(
        "refresh-test",
        "20250301_142530-refresh-test-9f3c",
        (
            Step("probe", nothing, on="prod"),
            Step(
                "stage-database",
                nothing,
                on="test",
                needs=("probe",),
                changes=('database "biso_test__stage" is created',),
                destroys=('the previous instance, "biso_test__previous"',),
            ),
            Step("anonymize", nothing, on="test", needs=("stage-database",), skip="not asked for"),
            Step(
                "swap",
                nothing,
                on="test",
                needs=("probe", "anonymize"),
                changes=("services are stopped and started", "database and data dir exchanged"),
            ),
            Step("unlock", nothing, on="test", always=True),
        ),
        confirm=("test",),
        notes=("The stage is raw.",),
    )


@pytest.fixture
def ran(tmp_path: Path) -> Callable[..., Path]:
    """The journal of a real run: of these steps, or of ones that fail and are undone."""

    def run(*steps: Step, before: Callable[[Journal], None] = lambda journal: None) -> Path:
        plan = Plan("refresh-test", "20250301_142530-refresh-test-9f3c", steps)
        with Journal.open(tmp_path, plan.run_id) as journal:
            before(journal)
            execute(plan, journal, [], cancel=threading.Event(), parallel=1)
            return journal.path

    return run


@pytest.fixture
def failing_steps() -> tuple[Step, ...]:
    def stage(scope: Scope) -> dict[str, Any]:
        scope.note("direct: test pulls from prod")
        return {"bytes": 1_234_567, "tables": {"person": 12, "beratungsfall": 7}}

    def swap(scope: Scope) -> None:
        raise StepFailed("test: the site answers 500\nafter the swap", hint="look into its log")

    return (
        Step("stage", stage, on="test", undo=nothing, changes=("a stage",)),
        Step("anonymize", nothing, on="test", needs=("stage",), skip="--no-anonymize"),
        Step("swap", swap, on="test", needs=("anonymize",), destroys=("the <old> one",)),
        Step("never", nothing, on="test", needs=("swap",)),
        Step("unlock", nothing, on="test", always=True),
    )
