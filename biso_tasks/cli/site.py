"""The site of the working directory: its biso.toml and its plugins."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from biso_tasks.actions import builtin
from biso_tasks.cli.output import say
from biso_tasks.config.findings import BadConfig
from biso_tasks.config.load import FILE, find, load
from biso_tasks.config.model import Site
from biso_tasks.errors import BisoError, ConfigError
from biso_tasks.hooks.manager import PluginManager

__all__ = ["demo_path", "find_site", "load_hooks", "sites_here", "state_here", "watching"]


def find_site() -> Site:
    """The site of the working directory. Raises ConfigError."""
    file = find(Path.cwd(), os.environ)
    if file is None:
        raise ConfigError(
            "there is no biso.toml here or above",
            hint="`biso init` writes one, `./biso demo` builds a site to try; or set BISO_CONFIG",
        )
    if sites := sites_here():
        raise ConfigError(
            f"{file.parent} holds {len(sites)} sites, and this task is about one",
            hint=f"choose it: BISO_CONFIG={sites[0].parent}",
        )
    site = load(file)
    demo_path(site.state)
    return site


def sites_here() -> tuple[Path, ...]:
    """Where BISO_CONFIG is a folder of folders with a biso.toml each, and has none itself: these,
    by name; else nothing."""
    if not os.environ.get("BISO_CONFIG"):
        return ()
    file = find(Path.cwd(), os.environ)
    if file is None or os.path.lexists(file):
        return ()
    try:
        folders = [one for one in file.parent.iterdir() if not one.name.startswith(".")]
    except OSError:
        return ()
    # os.path, as Path.is_file raises where a folder may not be entered.
    found = [one / FILE for one in folders if os.path.isfile(one / FILE)]  # noqa: PTH113
    return tuple(sorted(found))


def state_here() -> Path:
    """Where the runs are journaled: the site's, or beside the sites of a folder. Raises
    ConfigError."""
    sites = sites_here()
    return sites[0].parent.parent / ".biso" if sites else find_site().state


def load_hooks(site: Site) -> PluginManager:
    """The site's plugins. Raises ConfigError naming file and line."""
    hooks = PluginManager(say=say)
    hooks.load(
        site.plugins,
        site.disable,
        [builtin],
        root=site.root,
        sections=dict(site.plugin_sections),
        where=partial(_where, site),
    )
    return hooks


def watching(error: BadConfig) -> PluginManager | None:
    """The plugins of a site whose config is wrong, to be told so; None where they cannot be
    loaded."""
    part = error.plugins
    if part is None:
        return None
    hooks = PluginManager(say=say)
    try:
        hooks.load(part.folders, part.disable, [builtin], root=part.root, sections=part.sections)
    except BisoError:
        return None  # a plugin or its section is among what is wrong
    return hooks


def _where(site: Site, plugin: str, key: str) -> str:
    """File and line of a plugin's section, or of a key in it."""
    found = site.finding(("plugins", plugin, *([key] if key else [])), "", "")
    return f"{found.file}:{found.line}" if found.line else found.file


def demo_path(state: Path) -> None:
    """The demo's client programs, where the machine has none: first on the PATH of ours."""
    programs = state / "demo" / "bin"
    if (state / "demo" / "MADE_BY_BISO_DEMO").exists() and programs.is_dir():
        os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
