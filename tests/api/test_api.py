from __future__ import annotations

import ast
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from biso_tasks import api
from biso_tasks.hooks import specs, types

ROOT = Path(__file__).parents[2]
HEAVY = ("psycopg", "rich", "paramiko", "fabric", "invoke", "cryptography", "asyncio")


def test_the_api_imports_nothing_heavy() -> None:
    program = "import sys, biso_tasks.api; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded & set(HEAVY) == set()
    assert "pluggy" in loaded  # the look itself works


def test_every_type_that_a_hook_receives_or_gives_is_exported() -> None:
    assert set(types.__all__) <= set(api.__all__)
    for hook in specs.POLICY:
        hints = typing.get_type_hints(getattr(specs.Hooks, hook))
        named = {word for hint in hints.values() for word in re.findall(r"\w+", str(hint))}
        ours = {word for word in named if hasattr(types, word) and word[0].isupper()}
        assert ours - {"Any", "Literal", "Sequence", "Mapping", "Path"} <= set(api.__all__), hook


@pytest.mark.parametrize("name", api.__all__)
def test_every_name_is_told_of_at_the_head_of_the_module(name: str) -> None:
    assert getattr(api, name) is not None
    assert re.search(rf"\b{name}\b", api.__doc__ or "")


@pytest.mark.parametrize("file", sorted(ROOT.glob("plugins/*.py")), ids=lambda file: file.name)
def test_a_shipped_plugin_imports_the_api_and_nothing_else_of_the_package(file: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name.partition(".")[0] == "biso_tasks"}
    assert ours == {"biso_tasks.api"}
    top = {name.partition(".")[0] for name in imported} - {"biso_tasks"}
    # What an extra brings is imported where it is used, and done without elsewhere.
    optional = {"apprise"} if file.name == "notify.py" else set()
    assert top - optional <= set(sys.stdlib_module_names)
    assert not re.search(r"^(?:import|from) (?:apprise)", file.read_text(), re.MULTILINE)


def test_an_error_of_the_api_carries_its_exit_code_and_its_remedy() -> None:
    codes = {"BisoError": 1, "StepFailed": 1, "ConfigError": 2, "Refused": 3, "ProofFailed": 4}
    for name, code in codes.items():
        error = getattr(api, name)("what happened", hint="what to do")
        assert (error.exit_code, error.hint) == (code, "what to do")
        assert isinstance(error, api.BisoError)
