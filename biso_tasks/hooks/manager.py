"""The plugin manager: loads plugins, gives each its section, calls hooks by their failure policy.

Order of calls: site plugins (folder by folder, by name), installed ones by name, built-in ones;
pluggy's `tryfirst` and `trylast` change it. BISO_TRACE=hooks tells every call on stderr: hook,
plugin, time, and of the result how many of which types; never an argument or a value, which may be
personal or secret.
"""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

import pluggy

from biso_tasks.errors import ConfigError
from biso_tasks.hooks.calls import (
    Implementation,
    PluginError,
    call,
    explain,
    failed,
    implementation,
    policy,
    told,
)
from biso_tasks.hooks.inspection import inspect_plugin
from biso_tasks.hooks.loader import Candidate, attempt, in_folders, installed, line_of
from biso_tasks.hooks.output import Diversion
from biso_tasks.hooks.secrets import on_this_machine, require_name
from biso_tasks.hooks.settings import read_section
from biso_tasks.hooks.specs import POLICY, PROJECT, Hooks
from biso_tasks.values import Secret

__all__ = ["ObserverFailure", "PluginError", "PluginInfo", "PluginManager"]

SECTION: Final = "biso_config"
SECRET: Final = "biso_secret"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin as `invoke plugins` lists it. `source` is its file or distribution; `warnings`
    are what it does that has no effect; `error` says why it is broken."""

    name: str
    kind: Literal["folder", "installed", "built in"]
    source: str
    status: Literal["loaded", "disabled", "broken"]
    hooks: tuple[str, ...] = ()
    error: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObserverFailure:
    """An observer that raised: to be journaled; the run ends with exit code 75."""

    plugin: str
    hook: str
    message: str


class PluginManager:
    """Load once, then call. Calls may come from several threads."""

    def __init__(self, *, say: Callable[[str], None] | None = None) -> None:
        self._say = say or _to_stderr
        self._trace = "hooks" in os.environ.get("BISO_TRACE", "").split(",")
        self._stdout = Diversion()
        self._infos: dict[str, PluginInfo] = {}
        self._calls: dict[str, tuple[Implementation, ...]] = {}
        self._configs: dict[str, Any] = {}
        self._found: dict[str, Secret] = {}

    def load(
        self,
        folders: Sequence[str | Path] = (),
        disable: Sequence[str] = (),
        builtin: Sequence[ModuleType] = (),
        *,
        root: Path | None = None,
        sections: Mapping[str, Mapping[str, Any]] | None = None,
        where: Callable[[str, str], str] | None = None,
    ) -> None:
        """Find, look over, import and register all plugins, then read their sections.

        Relative `folders` start at `root`; a missing one is an error unless it is "plugins".
        `sections` are the tables `[plugins.<name>]`; where(plugin, key) gives their file:line.
        Raises ConfigError with every finding of site plugins and sections. An installed plugin
        that is broken is listed as such, and is an error only where the site has a section for it.
        """
        candidates = _unique(
            [
                *in_folders(folders, root or Path()),
                *installed(),
                *(_built_in(module) for module in builtin),
            ]
        )
        _check_disabled(disable, candidates)
        opened: list[tuple[Candidate, object]] = []
        for one in candidates:
            self._infos[one.name] = PluginInfo(one.name, one.kind, one.source, "disabled")
            if one.name not in disable:
                self._open(one, opened)
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(Hooks)
        # pluggy calls what was registered last first.
        for one, plugin in reversed(opened):
            _, error = attempt(lambda: manager.register(plugin, one.name))  # noqa: B023 (called here)
            if error is not None:
                self._broken(one, f'plugin "{one.name}" cannot be registered: {error}')
        broken = [info for info in self._infos.values() if info.status == "broken"]
        fatal = [info.error for info in broken if info.kind != "installed"]
        if fatal:
            raise ConfigError("\n".join(fatal), hint="correct the plugin, or disable it")
        manager.check_pending()
        sources = {one.name: _file_of(plugin, one.source) for one, plugin in opened}
        self._calls = {
            hook: tuple(
                implementation(each, sources)
                for each in reversed(getattr(manager.hook, hook).get_hookimpls())
            )
            for hook in POLICY
        }
        self._read_sections(dict(sections or {}), where or _nowhere)

    def plugins(self) -> tuple[PluginInfo, ...]:
        """All that were found, disabled and broken ones included."""
        return tuple(self._infos.values())

    def implementers(self, hook: str) -> tuple[str, ...]:
        """The plugins that implement the hook, in the order of calls."""
        return tuple(one.plugin for one in self._calls.get(hook, ()))

    def config(self, plugin: str) -> Any:
        """The plugin's own section as its dataclass, or None."""
        return self._configs.get(plugin)

    def collect(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """What each plugin gives, with its name; None is left out. For a hook that gives several
        things the result is a tuple of them. An implementation that raises, or gives something
        else than the hook asks for, ends it by the hook's policy: BisoError (PluginError, or what
        the plugin raised), Refused for `biso_confirm`, or it counts as a failed check."""
        policy(hook, "collect")
        answers = ((one, self._answer(hook, one, arguments)) for one in self._calls[hook])
        return [(one.plugin, value) for one, value in answers if value is not None]

    def first(self, hook: str, **arguments: Any) -> Any:
        """The first answer that is not None, or None. Raises as `collect` does."""
        policy(hook, "first")
        answers = (self._answer(hook, one, arguments) for one in self._calls[hook])
        return next((value for value in answers if value is not None), None)

    def observe(self, hook: str, **arguments: Any) -> list[ObserverFailure]:
        """Tell each plugin by itself. Never raises for a plugin's Exception: gives what failed."""
        policy(hook, "observe")
        failures: list[ObserverFailure] = []
        for one in self._calls[hook]:
            _, error = self._call(hook, one, arguments)
            if error is not None:
                failures.append(ObserverFailure(one.plugin, hook, explain(hook, one, error)))
        return failures

    def secret(self, name: str) -> Secret:
        """The secret of that name: from the plugins' `biso_secret`, else from this machine (see
        `SecretFinder`). Raises ConfigError where it is not there, and what a raising plugin means.
        """
        require_name(name)
        found: Secret | None = self.first(SECRET, name=name)
        if found is None:
            found = on_this_machine(name, asked=self.implementers(SECRET))
        self._found[name] = found
        return found

    def found_secrets(self) -> tuple[Secret, ...]:
        """All that `secret` gave so far: to be kept out of what is written."""
        return tuple(self._found.values())

    def _answer(self, hook: str, one: Implementation, arguments: Mapping[str, Any]) -> Any:
        value, error = self._call(hook, one, arguments)
        return value if error is None else failed(hook, one, error)

    def _call(
        self, hook: str, one: Implementation, arguments: Mapping[str, Any]
    ) -> tuple[Any, Exception | None]:
        # One by one and not through pluggy's loop: each gets its own `config`, each is isolated,
        # and one that raises is known by name.
        given = {**arguments, "config": self._configs.get(one.plugin), "secret": self.secret}
        began = time.monotonic()
        with self._stdout.inside():
            value, error = call(hook, one, given)
        if self._trace:
            took = (time.monotonic() - began) * 1000
            ended = f"raised {type(error).__name__}" if error is not None else f"gave {told(value)}"
            _to_stderr(f"hooks: {hook} ← {one.plugin} {ended} after {took:.1f} ms")
        return value, error

    def _open(self, one: Candidate, opened: list[tuple[Candidate, object]]) -> None:
        """Import one and look it over; what is usable is added to `opened`."""
        with self._stdout.inside():
            plugin, error = attempt(one.load)
        if error is not None or plugin is None:
            place = one.source if error is None else line_of(error, one.source)
            what = "it is None" if error is None else f"{type(error).__name__}: {error}"
            self._broken(one, f'plugin "{one.name}" ({place}) cannot be imported: {what}')
            return
        twin = next((other.name for other, known in opened if known is plugin), "")
        if twin:
            self._broken(one, f'plugin "{one.name}" is the same as plugin "{twin}"')
            return
        found = inspect_plugin(plugin, one.source)
        self._infos[one.name] = PluginInfo(
            one.name, one.kind, one.source, "loaded", found.hooks, warnings=found.warnings
        )
        for warning in found.warnings:
            self._say(f'plugin "{one.name}": {warning}')
        if found.errors:
            lines = [f'plugin "{one.name}": {problem}' for problem in found.errors]
            self._broken(one, "\n".join(lines))
        else:
            opened.append((one, plugin))

    def _broken(self, one: Candidate, text: str) -> None:
        self._infos[one.name] = replace(self._infos[one.name], status="broken", error=text)
        if one.kind == "installed":
            self._say(text)

    def _read_sections(
        self, sections: dict[str, Mapping[str, Any]], where: Callable[[str, str], str]
    ) -> None:
        problems: list[str] = []

        def problem(plugin: str, key: str, text: str) -> None:
            place = where(plugin, key)
            dotted = f"plugins.{plugin}.{key}" if key else f"plugins.{plugin}"
            problems.append(f"{place}: {dotted}: {text}" if place else f"{dotted}: {text}")

        for plugin, kind in self.collect(SECTION):
            if not is_dataclass(kind) or not isinstance(kind, type):
                problem(plugin, "", f"its {SECTION} gave {kind!r}, which is no dataclass")
                continue
            self._configs[plugin] = read_section(
                kind,
                sections.pop(plugin, {}),
                lambda key, text, plugin=plugin: problem(plugin, key, text),  # type: ignore[misc]
            )
        for name in sections:
            info = self._infos.get(name)
            if info is None:
                problem(name, "", f"no plugin of this name was found{_mean(name, self._infos)}")
            elif info.status == "broken":
                problem(name, "", f"the plugin is broken: {info.error}")
            elif info.status == "loaded" and SECTION not in info.hooks:
                problem(name, "", "the plugin takes no settings")
        if problems:
            raise ConfigError(
                "\n".join(problems),
                hint="`biso plugins` lists what is found; the head of a plugin says what it takes",
            )


def _file_of(plugin: object, source: str) -> str:
    module = plugin if isinstance(plugin, ModuleType) else sys.modules.get(type(plugin).__module__)
    return getattr(module, "__file__", None) or source


def _built_in(module: ModuleType) -> Candidate:
    name = module.__name__.rsplit(".", 1)[-1]
    return Candidate(
        f"biso:{name}", "built in", getattr(module, "__file__", None) or name, lambda: module
    )


def _unique(candidates: Sequence[Candidate]) -> list[Candidate]:
    """An installed plugin that has the name of another is told apart by its distribution."""
    out: dict[str, Candidate] = {}
    for one in candidates:
        name = one.name
        if name in out:
            name = f"{one.source.split()[0]}:{one.name}"
        out[name] = Candidate(name, one.kind, one.source, one.load)
    return list(out.values())


def _check_disabled(disable: Sequence[str], candidates: Sequence[Candidate]) -> None:
    known = {one.name: one for one in candidates}
    problems = []
    for name in disable:
        if name not in known:
            problems.append(f'site.disable: there is no plugin "{name}"{_mean(name, known)}')
        elif known[name].kind == "built in":
            problems.append(f'site.disable: "{name}" is part of biso-tasks')
    if problems:
        raise ConfigError("\n".join(problems), hint="`invoke plugins` lists what is found")


def _mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def _nowhere(plugin: str, key: str) -> str:
    return ""


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")
