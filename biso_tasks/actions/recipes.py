"""All recipes of a site: built in, from plugins, and what biso.toml changes or adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from biso_tasks.config.model import RecipeChange, Site
from biso_tasks.errors import ConfigError
from biso_tasks.flow.recipe import Recipe, apply, build, parse
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.types import Action

__all__ = ["actions", "recipes", "site_recipes"]


def actions(site: Site, hooks: PluginManager) -> dict[str, Action]:
    """Every action by name. Raises ConfigError where two plugins give the same one."""
    found: dict[str, Action] = {}
    owners: dict[str, str] = {}
    for plugin, given in hooks.collect("biso_actions", site=site):
        for action in given:
            if action.name in found:
                raise ConfigError(
                    f"plugins {owners[action.name]} and {plugin} both give an action "
                    f"{action.name!r}",
                    hint="rename one of them, or disable a plugin",
                )
            found[action.name], owners[action.name] = action, plugin
    return found


def recipes(site: Site, hooks: PluginManager) -> dict[str, Recipe]:
    """Every recipe by name, with the site's and the plugins' changes. Raises ConfigError."""
    found: dict[str, Recipe] = {}
    for plugin, given in hooks.collect("biso_recipes", site=site):
        for text in given:
            recipe = parse(text.text, text.source)
            if recipe.name in found:
                raise ConfigError(
                    f"{text.source} ({plugin}): there is a recipe {recipe.name!r} already"
                )
            found[recipe.name] = recipe
    changes = {change.name: change for change in site.recipes}
    found |= site_recipes(site, known=frozenset(found))
    for name in changes:
        if name not in found:
            raise ConfigError(
                f"recipes.{name}: there is no such recipe to change",
                hint="its recipes are: " + ", ".join(sorted(found)),
            )
    return {name: _changed(recipe, changes, site, hooks) for name, recipe in found.items()}


def site_recipes(site: Site, known: frozenset[str] = frozenset()) -> dict[str, Recipe]:
    """The recipes that biso.toml declares whole."""
    found = {}
    for change in site.recipes:
        if not change.steps:
            continue
        if change.name in known:
            raise ConfigError(
                f"recipes.{change.name}: a built-in recipe cannot be declared anew",
                hint="change it with insert, skip and set, or give your own another name",
            )
        tables = [dict(step) for step in change.steps]
        found[change.name] = build(
            change.name, tables, source=f"recipes.{change.name}", help=change.help
        )
    return found


def _changed(
    recipe: Recipe, changes: Mapping[str, RecipeChange], site: Site, hooks: PluginManager
) -> Recipe:
    """With what biso.toml and the plugins change of it; of a variant, of what it is one of too."""
    for name in filter(None, (recipe.variant_of, recipe.name)):
        change = changes.get(name)
        if change is not None:
            recipe = apply(recipe, change.insert, change.skip, change.set)
        for _, inserts in hooks.collect("biso_steps", recipe=replace(recipe, name=name), site=site):
            recipe = apply(recipe, inserts)
    return recipe
