"""What was said of columns and files before the run looked: by privacy.toml, then by plugins, which
say it with `biso_inventory` and get the same rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from biso_tasks.config.findings import one_of
from biso_tasks.config.model import Site
from biso_tasks.errors import ConfigError
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.types import HarmlessColumn, HarmlessFiles, PersonalColumn, PersonalFiles
from biso_tasks.privacy.classify import Kind
from biso_tasks.privacy.inventory.model import KINDS, FileRule, Inventory, Rule
from biso_tasks.privacy.inventory.read import find_inventory

__all__ = ["inventories_of", "inventory_of"]

Entry = PersonalColumn | HarmlessColumn | PersonalFiles | HarmlessFiles

_ALIASES: Final[Mapping[str, Kind]] = {"address": "street", "date of birth": "birth"}


def inventories_of(site: Site, hooks: PluginManager, *, new: bool = False) -> tuple[Inventory, ...]:
    """Everything that was said, in the order in which it counts. `new`: the site's own file need
    not be there yet. Raises ConfigError."""
    own = find_inventory(site, new=new)
    said = hooks.collect("biso_inventory", site=site)
    plugins = tuple(inventory_of(plugin, entries) for plugin, entries in said)
    return plugins if own is None else (own, *plugins)


def inventory_of(plugin: str, entries: Iterable[Entry]) -> Inventory:
    """The entries of one plugin. Raises ConfigError for a kind that there is not."""
    place = f"plugin {plugin}"
    columns: list[Rule] = []
    files: list[FileRule] = []
    for one in entries:
        if isinstance(one, PersonalColumn | HarmlessColumn):
            pattern = f"{one.table}.{one.column}".removeprefix("public.")
            kind = _kind(one.kind, pattern, place) if isinstance(one, PersonalColumn) else None
            columns.append(Rule(pattern, kind, one.reason, place=place))
        else:
            files.append(FileRule(one.pattern, isinstance(one, PersonalFiles), one.reason, place))
    return Inventory(place, "plugin", tuple(columns), files=tuple(files))


def _kind(said: str, pattern: str, place: str) -> Kind:
    kind = _ALIASES.get(said, said)
    if kind not in KINDS:
        raise ConfigError(
            f"{place}: biso_inventory calls {pattern} {said!r}, which is no kind of personal data",
            hint=f"kinds are {one_of((*KINDS, *_ALIASES))}",
        )
    return kind
