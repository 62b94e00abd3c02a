"""All recipes of a site: built in, from plugins, and what biso.toml changes or adds; and all that
is wrong with them. Nothing is contacted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from biso_tasks.actions.checking import Origins, Sheet, check
from biso_tasks.actions.fitting import WORKS, fit_of
from biso_tasks.config.findings import BadConfig, Finding, closest
from biso_tasks.config.model import RecipeChange, Site
from biso_tasks.errors import ConfigError
from biso_tasks.flow.recipe import BadRecipe, Recipe, apply, build, parse
from biso_tasks.hooks.manager import PluginManager
from biso_tasks.hooks.types import Action

__all__ = ["Book", "read_book"]


@dataclass(frozen=True, slots=True)
class Book:
    """`findings` are what is wrong in biso.toml and plugins; `of_variants` what is wrong only where
    a variant of a recipe (see `Recipe`) is to run, by its name."""

    recipes: Mapping[str, Recipe]
    actions: Mapping[str, Action]
    findings: tuple[Finding, ...]
    of_variants: Mapping[str, tuple[Finding, ...]]

    def require_right(self, variant: str = "") -> None:
        """Raises BadConfig with every finding, those of `variant` among them."""
        found = (*self.findings, *self.of_variants.get(variant, ()))
        if found:
            raise BadConfig(sorted(found, key=lambda one: (one.file, one.line)))


class _Changed(NamedTuple):
    recipe: Recipe
    origins: Origins
    findings: list[Finding]


def read_book(site: Site, hooks: PluginManager) -> Book:
    """Raises ConfigError for what a plugin gives that is no recipe, or is there twice."""
    actions = _actions(site, hooks)
    findings: list[Finding] = []
    given = _given(site, hooks)
    given |= _own(site, given, findings)
    fit = fit_of({name: recipe for name, (recipe, _) in given.items()})
    recipes, of_variants = {}, {}
    for name, (recipe, source) in given.items():
        changed = _changed(recipe, source, site, hooks)
        recipes[name] = changed.recipe
        found = [
            *changed.findings,
            *check(Sheet(changed.recipe, changed.origins, site, actions, fit)),
        ]
        if recipe.variant_of:
            of_variants[name] = tuple(found)
        else:
            findings += found
    return Book(recipes, actions, tuple(findings), of_variants)


def _actions(site: Site, hooks: PluginManager) -> dict[str, Action]:
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


def _given(site: Site, hooks: PluginManager) -> dict[str, tuple[Recipe, str]]:
    """Those that are built in, and those of plugins, each with where it is from."""
    found: dict[str, tuple[Recipe, str]] = {}
    for plugin, given in hooks.collect("biso_recipes", site=site):
        for text in given:
            recipe = parse(text.text, text.source)
            if recipe.name in found:
                raise ConfigError(
                    f"{text.source} ({plugin}): there is a recipe {recipe.name!r} already",
                    hint="give it another name, or disable the plugin",
                )
            found[recipe.name] = (recipe, text.source)
    return found


def _own(
    site: Site, known: Mapping[str, object], findings: list[Finding]
) -> dict[str, tuple[Recipe, str]]:
    """The recipes that biso.toml declares whole."""
    found: dict[str, tuple[Recipe, str]] = {}
    whole = [change.name for change in site.recipes if change.steps]
    for change in site.recipes:
        path = ("recipes", change.name)
        if change.name not in known and not change.steps:
            names = (*known, *whole)
            meant = closest(change.name, names)
            findings.append(
                site.finding(
                    path,
                    "there is no such recipe to change, and no step that would make one",
                    f'did you mean "{meant}"?' if meant else f"there are: {', '.join(names)}",
                )
            )
        elif change.steps and change.name in known:
            findings.append(
                site.finding(
                    (*path, "step"),
                    "a built-in recipe cannot be declared anew",
                    "change it with insert, skip and set, or give your own another name",
                )
            )
        elif change.steps:
            tables = [dict(step) for step in change.steps]
            try:
                built = build(change.name, tables, source=change.name, help=change.help)
            except BadRecipe as error:
                at = {str(table["name"]): number for number, table in enumerate(tables)}
                for one in error.problems:
                    where = (*path, "step", at[one.step], "needs")
                    findings.append(site.finding(where, one.cause, one.remedy))
            else:
                found[change.name] = (built, "")
    return found


def _changed(recipe: Recipe, source: str, site: Site, hooks: PluginManager) -> _Changed:
    """With what biso.toml and the plugins change of it; of a variant, of what it is one of too."""
    changes = {change.name: change for change in site.recipes}
    origins: Origins = {}
    findings: list[Finding] = []
    if recipe.name not in WORKS:
        for number, step in enumerate(recipe.steps):
            origins[step.name, ""] = source or ("recipes", recipe.name, "step", number)
    for name in filter(None, (recipe.variant_of, recipe.name)):
        change = changes.get(name)
        if change is not None:
            recipe = _apply(recipe, change, site, findings, origins)
        for plugin, inserts in hooks.collect(
            "biso_steps", recipe=replace(recipe, name=name), site=site
        ):
            try:
                recipe = apply(recipe, inserts)
            except BadRecipe as error:
                who = f'plugin "{plugin}"'
                findings += [Finding(who, 0, "", one.cause, one.remedy) for one in error.problems]
            else:
                origins |= {(one.name, ""): f'plugin "{plugin}"' for one in inserts}
    return _Changed(recipe, origins, findings)


def _apply(
    recipe: Recipe, change: RecipeChange, site: Site, findings: list[Finding], origins: Origins
) -> Recipe:
    path = ("recipes", change.name)
    try:
        recipe = apply(recipe, change.insert, change.skip, change.set)
    except BadRecipe as error:
        where = f" (in {recipe.name}, a variant)" if recipe.name != change.name else ""
        for one in error.problems:
            findings.append(site.finding((*path, *one.at), one.cause + where, one.remedy))
        return recipe
    for number, insert in enumerate(change.insert):
        origins[insert.name, ""] = (*path, "insert", number)
    for name, pairs in change.set:
        for key, _ in pairs:
            origins[name, key] = (*path, "set", name, key)
    if change.confirm:
        origins["", "confirm"] = (*path, "confirm")
        recipe = replace(recipe, confirm=(*recipe.confirm, change.confirm))
    return recipe
