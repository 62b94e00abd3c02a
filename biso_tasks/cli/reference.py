"""The reference: tasks with their options, keys of biso.toml, exit codes, fields of `--json`, all
from the code; `python -m biso_tasks.cli.reference docs/reference.md` writes it anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from invoke.tasks import Task

from biso_tasks import errors
from biso_tasks.cli.declare import CHANGING, HELP, flag
from biso_tasks.cli.fields import COMMON, FIELDS
from biso_tasks.cli.tasks import OWN
from biso_tasks.config.reference import KeyDoc, keys

__all__ = ["markdown"]

_HEAD = """# Reference

<!-- Written by `python -m biso_tasks.cli.reference docs/reference.md`, from the code. -->

The hooks of plugins, with an example of each, are in [plugins.md](plugins.md); the steps of recipes
and what they do in [recipes.md](recipes.md).
"""
_TASKS = """
## Tasks

`biso <task>`, `./biso <task>` and `invoke <task>` are the same. Each recipe that a site declares is
a task of its own. Every task takes these, and says where they mean nothing to it:
"""
_KEYS = """
## biso.toml

A key without a default is left out where nothing is meant. NAME, KEY and STEP are yours. Unknown
keys and impossible values are told all at once, with their lines. `biso.local.toml` beside it is
merged over it.
"""
_EXITS = """
## Exit codes

| code | kind | meaning |
|---|---|---|
| 0 | | Done. |
"""
_JSON = """
## `--json`

One document on stdout, whatever happens; all else goes to stderr. Of every task:
"""


def markdown() -> str:
    """The whole page."""
    return "".join((_HEAD, _TASKS, *_tasks(), _KEYS, *_keys(), _EXITS, *_exits(), _JSON, *_json()))


def _tasks() -> Iterator[str]:
    yield from ("\n| option | |\n|---|---|\n", *(
        f"| `--{name}{'' if default is False else ' TEXT'}` | {_sentence(text)} |\n"
        for name, (default, text) in CHANGING.items()
    ))  # fmt: skip
    for task in sorted(OWN, key=lambda one: str(one.name)):
        yield f"\n### {task.name}\n\n{_paragraph(task)}\n"
        texts = HELP[str(task.name)]
        own = [one for one in task.get_arguments() if one.name not in CHANGING]
        if own:
            yield "\n| option | |\n|---|---|\n"
        for one in own:
            value = "" if one.kind is bool else " TEXT"
            yield f"| `{flag(str(one.name))}{value}` | {_cell(_sentence(texts[str(one.name)]))} |\n"


def _paragraph(task: Task[Any]) -> str:
    return " ".join((task.__doc__ or "").split())


def _keys() -> Iterator[str]:
    sections: dict[str, list[KeyDoc]] = {}
    for key in keys():
        sections.setdefault(_section(key), []).append(key)
    for section, found in sections.items():
        yield f"\n### [{section}]\n\n| key | type | default | |\n|---|---|---|---|\n"
        for one in found:
            name = one.key.removeprefix(f"{section}.")
            default = "**required**" if one.required else f"`{one.default}`" if one.default else ""
            yield f"| `{name}` | {_cell(one.type)} | {_cell(default)} | {_cell(one.doc)} |\n"


def _section(key: KeyDoc) -> str:
    """The table that it stands in: all but its last part; what a site names itself, with that."""
    return key.key.rpartition(".")[0]


def _exits() -> Iterator[str]:
    kinds = {
        one.kind: one for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.BisoError)
        and one is not errors.BisoError
    }  # fmt: skip
    for kind, one in sorted(kinds.items(), key=lambda item: item[1].exit_code):
        text = re.sub(r"\s*Exit \d+\.", "", " ".join((one.__doc__ or "").split()))
        yield f"| {one.exit_code} | `{kind}` | {_cell(text)} |\n"


def _json() -> Iterator[str]:
    yield "\n| field | |\n|---|---|\n"
    yield from (f"| `{name}` | {_cell(text)} |\n" for name, text in COMMON.items())
    yield "\nBeyond these:\n\n| task | field | |\n|---|---|---|\n"
    for task, said in FIELDS.items():
        yield from (f"| {task} | `{name}` | {_cell(text)} |\n" for name, text in said.items())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), "utf-8")
