"""The plugin under test, loaded and called as a site does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biso_tasks.errors import UsageError
from biso_tasks.hooks.calls import PluginError
from biso_tasks.hooks.loader import in_folders, installed
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.specs import POLICY, arguments

__all__ = ["Plugin", "load_plugin"]


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin. `source` is its file, or its distribution; `hooks` are those that it has,
    `section` what stands in its `[plugins.<name>]`."""

    name: str
    source: str
    hooks: tuple[str, ...]
    section: Mapping[str, Any]
    manager: PluginManager

    @property
    def config(self) -> Any:
        """The plugin's section as the dataclass that its `biso_config` gave; None without one."""
        return self.manager.config(self.name)

    def call(self, hook: str, **given: Any) -> Any:
        """Call the plugin's hook with these arguments, its `config` and `secret` added. Gives what
        a site would get: a tuple for a hook that gives several things, else the thing or None.

        What the plugin raises means what it means in a site: a failed check or finding, Refused, or
        the error itself; an observer's is a PluginError. Raises UsageError where the plugin does
        not have the hook, or the hook other arguments.
        """
        self._require(hook, given)
        policy = POLICY[hook]
        if policy.kind == "observe":
            failures = self.manager.observe(hook, **given)
            if failures:
                raise PluginError(failures[0].message, hint="an observer's failure ends with 75")
            return None
        if policy.kind == "first":
            return self.manager.first(hook, **given)
        found = [value for _, value in self.manager.collect(hook, **given)]
        return found[0] if found else () if policy.many else None

    def _require(self, hook: str, given: Mapping[str, Any]) -> None:
        if hook not in self.hooks:
            raise UsageError(
                f'plugin "{self.name}" has no {hook}', hint=f"it has: {', '.join(self.hooks)}"
            )
        wanted = [one for one in arguments(hook) if one not in ("config", "secret")]
        if sorted(given) != sorted(wanted):
            raise UsageError(
                f"{hook} is called with {', '.join(wanted) or 'no arguments'}, "
                f"not with {', '.join(given) or 'none'}",
                hint="`config` and `secret` are added; docs/plugins.md has every hook",
            )


def load_plugin(name: str, section: Mapping[str, Any], *, folders: Sequence[Path]) -> Plugin:
    """The plugin of that name from the first of `folders` that has it, else the installed one; its
    neighbours are left alone. Raises UsageError where there is none, ConfigError where it, or its
    section, is wrong."""
    there = [one for one in folders if one.is_dir()]
    beside = {folder: [one.name for one in in_folders([folder], folder)] for folder in there}
    folder = next((one for one, names in beside.items() if name in names), None)
    known = [*(beside[folder] if folder else ()), *(one.name for one in installed())]
    if name not in known:
        near = sorted({one for names in beside.values() for one in names} | set(known))
        raise UsageError(
            f'there is no plugin "{name}" in {" or ".join(map(str, folders))}',
            hint=f"there are: {', '.join(near)}" if near else "the test stands beside its plugin",
        )
    manager = PluginManager()
    manager.load(
        [folder] if folder else [],
        sorted(set(known) - {name}),
        root=folder,
        sections={name: section} if section else {},
    )
    info = next(one for one in manager.plugins() if one.name == name)
    if info.status == "broken":  # an installed one, which a site would go on without
        raise PluginError(info.error, hint=f"correct the plugin {name!r}")
    return Plugin(name, info.source, info.hooks, dict(section), manager)
