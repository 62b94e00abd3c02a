"""Every error says what to do: by itself, or by its kind."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

import biso_tasks
from biso_tasks.config.findings import BadConfig
from biso_tasks.errors import BisoError, Refused, StepFailed
from biso_tasks.flow.plan import CycleError
from biso_tasks.flow.recipe import BadRecipe
from biso_tasks.ui.errors import as_json, show

ROOT = Path(__file__).parent.parent
# Each line of these has its remedy in it, or their constructor gives one.
IN_THE_LINES = {BadConfig, BadRecipe, CycleError}


def kinds() -> dict[str, type[BisoError]]:
    """Every class of errors of the package, by name."""
    found: dict[str, type[BisoError]] = {}
    for module in pkgutil.walk_packages(biso_tasks.__path__, "biso_tasks."):
        if not module.name.endswith(("cli.main", "hooks.reference", "config.reference")):
            for name, value in vars(import_module(module.name)).items():
                if inspect.isclass(value) and issubclass(value, BisoError):
                    found[name] = value
    return found


def bare(tree: ast.Module, known: dict[str, type[BisoError]]) -> Iterator[ast.Call]:
    """Errors that are made with a cause alone, of a kind that has no usual remedy either."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        kind = known.get(node.func.id)
        if kind is None or kind in IN_THE_LINES or kind.usual:
            continue
        hints = [one.value for one in node.keywords if one.arg in ("hint", None)]
        if not hints or any(isinstance(one, ast.Constant) and not one.value for one in hints):
            yield node


def test_no_error_is_raised_without_a_remedy() -> None:
    known = kinds()
    assert len(known) > 20
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:90]}"
        for folder in ("biso_tasks", "plugins")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in bare(ast.parse(path.read_text("utf-8")), known)
    ]
    assert found == []


def test_the_rule_sees_a_breach() -> None:
    known = kinds()
    for text, seen in (
        ("raise Refused('no')", 1),
        ("raise Refused('no', hint='')", 1),
        ("raise Refused('no', hint='do this')", 0),
        ("raise FilesError('no')", 0),
    ):
        assert len(list(bare(ast.parse(text), known))) == seen, text


@pytest.mark.parametrize("kind", sorted(kinds().values(), key=lambda one: one.__name__))
def test_a_kind_of_error_that_happens_by_itself_has_a_usual_remedy(kind: type[BisoError]) -> None:
    if issubclass(kind, StepFailed):
        assert kind.usual


def test_a_person_and_a_script_are_told_the_usual_remedy_where_nobody_said_more() -> None:
    out = StringIO()
    show(StepFailed("it broke"), out, {})
    assert f"error: it broke\n  → {StepFailed.usual}\n" == out.getvalue()
    assert as_json(StepFailed("it broke"))["hint"] == StepFailed.usual
    assert as_json(Refused("no", hint="do this"))["hint"] == "do this"
