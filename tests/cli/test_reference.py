"""docs/reference.md is what the code says, and names all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import biso_tasks.cli
from biso_tasks import errors
from biso_tasks.cli.declare import HELP
from biso_tasks.cli.fields import COMMON, FIELDS
from biso_tasks.cli.reference import markdown
from biso_tasks.cli.tasks import OWN
from biso_tasks.config.reference import keys

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_code_says() -> None:
    written = (ROOT / "docs/reference.md").read_text("utf-8")
    assert written == markdown(), (
        "run: .venv/bin/python -m biso_tasks.cli.reference docs/reference.md"
    )


def test_every_task_option_key_and_exit_code_is_on_it() -> None:
    page = markdown()
    for task in OWN:
        assert f"\n### {task.name}\n" in page
        for argument in task.get_arguments():
            flag = str(argument.name).rstrip("_").replace("_", "-")
            assert f"| `--{flag}" in page, f"{task.name} --{flag}"
            assert HELP[str(task.name)][str(argument.name)], f"{task.name} --{flag} says nothing"
    for key in keys():
        assert f"`{key.key.rpartition('.')[2]}`" in page, key.key
    codes = {one.exit_code for one in vars(errors).values() if isinstance(one, type)
             and issubclass(one, errors.BisoError)}  # fmt: skip
    assert codes == {1, 2, 3, 4, 5, 6, 75, 130}
    assert all(f"\n| {code} | `" in page for code in codes)


def test_every_task_says_which_fields_it_has() -> None:
    assert set(FIELDS) == {str(one.name) for one in OWN}
    for said in (COMMON, *FIELDS.values()):
        assert all(text.endswith(".") and text.isprintable() for text in said.values())


def said_in(tree: ast.AST) -> Iterator[str]:
    """Keys that are put into a command's document: `….document["x"] = …`, `….document |= {"x": …}`,
    and what a function called `said` or `facts` gives."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if not isinstance(target, ast.Subscript):
                    continue
                if "document" in ast.unparse(target.value) and isinstance(
                    target.slice, ast.Constant
                ):
                    yield str(target.slice.value)
        if isinstance(node, ast.AugAssign) and "document" in ast.unparse(node.target):
            yield from keys_of(node.value)
        if isinstance(node, ast.FunctionDef) and node.name in ("said", "facts"):
            for one in ast.walk(node):
                if isinstance(one, ast.Return) and one.value is not None:
                    yield from keys_of(one.value)


def keys_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Dict):
        yield from (str(key.value) for key in node.keys if isinstance(key, ast.Constant))


def test_no_command_says_a_field_that_is_in_no_reference() -> None:
    known = set(COMMON) | {name for said in FIELDS.values() for name in said}
    found: set[str] = set()
    for path in sorted(Path(biso_tasks.cli.__path__[0]).glob("*.py")):
        found |= set(said_in(ast.parse(path.read_text("utf-8"))))
    assert found <= known
    assert len(found) > 30


def test_the_scan_sees_a_field() -> None:
    text = 'call.document["new"] = 1\ncall.document |= {"other": 2}\ndef said():\n return {"a": 1}'
    assert set(said_in(ast.parse(text))) == {"new", "other", "a"}
