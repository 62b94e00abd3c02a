"""The reference of the hooks: for `biso hooks`, and in docs/plugins.md, whose chapters of hooks and
types `python -m biso_tasks.hooks.reference docs/plugins.md` writes anew. Examples there stay.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any, Final

from biso_tasks.hooks import types
from biso_tasks.hooks.specs import POLICY, sentence, signature

__all__ = ["markdown", "page"]

_HOOKS: Final = "\n## The hooks\n"
_WRITTEN: Final = """
<!-- From here on written by `python -m biso_tasks.hooks.reference docs/plugins.md`, from specs.py
     and types.py: change those. The examples are kept as they stand. -->
"""
_KINDS: Final = """
Every hook but `biso_config` may also take `config`, the plugin's own section, and every hook but
`biso_config` and `biso_secret` may take `secret`, a `SecretFinder`.

**collect** hooks ask every plugin, **first** hooks ask until one answers, **observe** hooks tell
each plugin by itself. The order: site plugins (folder by folder, by name), installed plugins by
name, the built-in ones; `@hookimpl(tryfirst=True)` and `trylast=True` change it.
"""
_ELSEWHERE: Final = """
docs/plugins.md has an example of each with its test; `biso plugin-new NAME` writes one.
"""
_EXAMPLES: Final = """
Each example is a plugin and its test, which stands in `plugins/tests` below the line
`pytest_plugins = ["biso_tasks.testing"]`. Our own tests run all of them.
"""


def markdown() -> str:
    """The reference alone: each hook with signature, purpose and failure policy, then the types."""
    hooks = "\n".join(map(_hook, POLICY))
    return f"# The hooks\n{_KINDS}{_ELSEWHERE}\n{hooks}\n{_types()}"


def page(text: str) -> str:
    """docs/plugins.md with what the specifications say now; the guide and the examples are those of
    `text`. A hook that has no example yet is there without one."""
    guide, _, rest = text.partition(_HOOKS)
    hooks = "".join(f"\n{_hook(one)}{_example(rest, one)}" for one in POLICY)
    return f"{guide}{_HOOKS}{_WRITTEN}{_KINDS}{_EXAMPLES}{hooks}\n{_types()}"


def _hook(hook: str) -> str:
    shown = signature(hook)
    if len(shown) > 96:
        shown = shown.replace(" -> ", "\n    -> ", 1)
    policy = POLICY[hook]
    return (
        f"### {hook}\n\n```python\n{shown}\n```\n\n{sentence(hook)}\n\n"
        f"Kind: {policy.kind}. When it raises: {policy.failure}.\n"
    )


def _example(rest: str, hook: str) -> str:
    """What follows the policy of the hook in the page, up to the next heading."""
    found = re.search(
        rf"^### {hook}\n.*?^Kind: [^\n]*\n(.*?)\n?^##", rest, re.DOTALL | re.MULTILINE
    )
    return found[1] if found else ""


def _types() -> str:
    return "## The types\n\n" + "\n".join(_type(name) for name in types.__all__)


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
    file = Path(sys.argv[1])
    file.write_text(page(file.read_text("utf-8")), "utf-8")
