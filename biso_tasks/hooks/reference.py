"""Writes docs/hooks.md from the specifications: `python -m biso_tasks.hooks.reference`."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import Any, Final

from biso_tasks.hooks import types
from biso_tasks.hooks.specs import POLICY, sentence, signature

__all__ = ["markdown"]

HEAD: Final = '''# Hooks

<!-- Written by `python -m biso_tasks.hooks.reference` from specs.py and types.py: change those. -->

A plugin is a module in a folder named by `site.plugins` in `biso.toml`, or an installed package
with an entry point in the group `biso_tasks`. It imports `biso_tasks.api` and nothing else of this
package.

```python
"""plugins/rooms.py: room numbers are personal here."""

from dataclasses import dataclass

from biso_tasks.api import Change, hookimpl


@dataclass(frozen=True)
class Settings:
    placeholder: str = ""


@hookimpl
def biso_config():
    return Settings


@hookimpl
def biso_scrub(stage, config):
    with stage.connect() as connection:
        done = connection.execute("UPDATE room SET number = %s", [config.placeholder])
    return [Change("room numbers replaced", done.rowcount)]
```

- A function takes the arguments that it needs, by name. Every hook but `biso_config` may also take
  `config`: the plugin's own section `[plugins.<name>]` of `biso.toml` as the dataclass that its
  `biso_config` gave, with types checked and defaults filled in; None for a plugin without one.
- Every hook but `biso_config` and `biso_secret` may also take `secret`: `secret("smtp")` gives the
  `Secret` of that name, `.reveal()` its text (see `SecretFinder`). A section names secrets and
  holds none.
- **collect** hooks ask every plugin, **first** hooks ask until one answers, **observe** hooks tell
  each plugin by itself. The order: site plugins (folder by folder, by name), installed plugins by
  name, the built-in ones; `@hookimpl(tryfirst=True)` and `trylast=True` change it.
- A misspelt hook or argument is an error that names file and line. A `biso_…` function without
  `@hookimpl` is never called, and a warning says so.
- What a plugin prints goes to stderr.
- A plugin's name is its file's name, or its entry point's. `site.disable` turns plugins off;
  `invoke plugins` lists all; `BISO_TRACE=hooks` tells every call on stderr.
'''


def markdown() -> str:
    """The whole page: each hook with signature, purpose and failure policy, then the types."""
    parts = [HEAD, "## The hooks\n"]
    for hook, policy in POLICY.items():
        shown = signature(hook)
        if len(shown) > 96:
            shown = shown.replace(" -> ", "\n    -> ", 1)
        parts.append(
            f"### {hook}\n\n```python\n{shown}\n```\n\n{sentence(hook)}\n\n"
            f"Kind: {policy.kind}. When it raises: {policy.failure}.\n"
        )
    parts.append("## The types\n")
    parts += [_type(name) for name in types.__all__]
    return "\n".join(parts)


def _type(name: str) -> str:
    kind = getattr(types, name)
    if not inspect.isclass(kind):
        values = " · ".join(f'`"{one}"`' for one in kind.__args__)
        return f"### {name}\n\nOne of {values}.\n"
    text = inspect.cleandoc(kind.__doc__ or "")
    if dataclasses.is_dataclass(kind):
        fields = ",\n".join(f"    {_field(one)}" for one in dataclasses.fields(kind))
        return f"### {name}\n\n{text}\n\n```python\n{name}(\n{fields},\n)\n```\n"
    if "__call__" in vars(kind):
        called = inspect.signature(kind.__call__)
        own_ones = [one for one in called.parameters.values() if one.name != "self"]
        shown = ", ".join(f"{one.name}: {one.annotation}" for one in own_ones)
        return f"### {name}\n\n{text}\n\nCalled as `({shown}) -> {called.return_annotation}`.\n"
    members = "\n".join(_member(one, value) for one, value in vars(kind).items() if _shown(one))
    return f"### {name}\n\n{text}\n\n{members}\n"


def _field(one: dataclasses.Field[Any]) -> str:
    if one.default is not dataclasses.MISSING:
        return f"{one.name}: {one.type} = {one.default!r}"
    if one.default_factory is not dataclasses.MISSING:
        return f"{one.name}: {one.type} = {one.default_factory()!r}"
    return f"{one.name}: {one.type}"


def _member(name: str, value: Any) -> str:
    function: Any = value.fget if isinstance(value, property) else value
    whole = inspect.signature(function)
    text = " ".join((inspect.getdoc(function) or "").split())
    if isinstance(value, property):
        return f"- `{name}: {whole.return_annotation}` · {text}"
    own: list[str] = []
    for one in whole.parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in own:
            own.append("*")
        if one.name != "self":
            default = "" if one.default is one.empty else f" = {one.default!r}"
            own.append(f"{one.name}: {one.annotation}{default}")
    return f"- `{name}({', '.join(own)}) -> {whole.return_annotation}` · {text}"


def _shown(name: str) -> bool:
    return not name.startswith("_")


if __name__ == "__main__":
    sys.stdout.write(markdown())
