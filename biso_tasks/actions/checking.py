"""What a site or a plugin has put into a recipe, looked over before anything is contacted: actions,
places, conditions, placeholders, names to be typed. What was shipped is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from biso_tasks.actions.fitting import NEEDED, Fit, work_of
from biso_tasks.actions.kit import PLACEHOLDER, Work
from biso_tasks.actions.own import HOLDING, OwnWork
from biso_tasks.config.findings import Finding, KeyPath, closest, one_of
from biso_tasks.config.model import Site
from biso_tasks.flow.plan import CycleError, Plan, Step
from biso_tasks.flow.recipe import Recipe, StepSpec
from biso_tasks.flow.spec import SETTABLE
from biso_tasks.hooks.types import Action

__all__ = ["Origins", "Sheet", "check"]

Origins = dict[tuple[str, str], KeyPath | str]
"""Where a step (key "") or one key of it was written: in biso.toml, or by which plugin. A step
that is not here is as it was shipped."""

_COMMAND: Final = "write `run` for a command of your own, or `uses` for an action of a plugin"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One recipe, as it will be planned, and what it may name."""

    recipe: Recipe
    origins: Origins
    site: Site
    actions: Mapping[str, Action]
    fit: Fit

    @property
    def work(self) -> type[Work]:
        return work_of(self.recipe.name)

    @property
    def places(self) -> tuple[str, ...]:
        return (*self.work.PLACES, *(one.name for one in self.site.environments))

    def wrong(
        self, step: str, key: str, cause: str, remedy: str, *more: str | int
    ) -> list[Finding]:
        """The finding, at the line of the key; none where that is as it was shipped."""
        at = self.origins.get((step, key))
        if at is None:
            whole = self.origins.get((step, ""))
            at = (*whole, key) if isinstance(whole, tuple) else whole
        if at is None:
            return []
        if isinstance(at, str):
            where = f"recipe {self.recipe.name}, step {step}" if step else self.recipe.name
            return [Finding(at, 0, where, cause, remedy)]
        return [self.site.finding((*at, *more), cause, remedy)]


def check(sheet: Sheet) -> Iterator[Finding]:
    """Every mistake in what was put in or changed, with its place and a remedy."""
    for spec in sheet.recipe.steps:
        yield from _uses(sheet, spec)
        yield from _params(sheet, spec)
        yield from _run(sheet, spec)
        yield from _when(sheet, spec)
        if spec.run and not spec.on:
            yield from sheet.wrong(
                spec.name, "on", "is missing: a command runs on the host of an environment",
                f"write {_choice(sheet.places)}",
            )  # fmt: skip
        yield from _place(sheet, spec.name, "on", spec.on)
        yield from _place(sheet, spec.name, "confirm", spec.confirm)
    for name in sheet.recipe.confirm:
        yield from _place(sheet, "", "confirm", name)
    yield from _held(sheet)
    yield from _cycle(sheet)


def _uses(sheet: Sheet, spec: StepSpec) -> Iterator[Finding]:
    name, recipe = spec.uses, sheet.recipe.name
    if not name:
        return
    usable = [one for one in sheet.actions if sheet.fit.fits(one, recipe)]
    if name not in sheet.actions:
        meant = closest(name, usable)
        yield from sheet.wrong(
            spec.name, "uses", f'there is no action "{name}"',
            f'did you mean "{meant}"?' if meant
            else f"actions are: {', '.join(sorted(usable))}; `biso plugins` shows what is loaded",
        )  # fmt: skip
    elif not sheet.fit.fits(name, recipe):
        parts = sheet.fit.part_of(name)
        where = f"step {spec.name} of {recipe}"
        yield from sheet.wrong(
            spec.name, "uses",
            f'the action "{name}" cannot be named in {where}: it is a part of {parts}, '
            + ("whose safety rests on where it stands" if issubclass(sheet.work, NEEDED[name])
               else "and works on what these have made"),
            f"change {parts.split(',')[0].split(' and ')[0]} with insert, skip and set; here, "
            f"{_COMMAND}",
        )  # fmt: skip


def _params(sheet: Sheet, spec: StepSpec) -> Iterator[Finding]:
    """Only actions of plugins have parameters: a misspelt key would be one that nobody reads."""
    if spec.uses and (spec.uses not in NEEDED or spec.uses not in sheet.actions):
        return
    for key in spec.params:
        meant = closest(key, SETTABLE)
        more = () if (spec.name, key) in sheet.origins else (key,)
        yield from sheet.wrong(
            spec.name, "params" if more else key,
            f'"{key}" is no key of a step, and {spec.uses or "a command"} takes no parameters',
            f'did you mean "{meant}"?' if meant else f"known here: {', '.join(SETTABLE)}", *more,
        )  # fmt: skip


def _run(sheet: Sheet, spec: StepSpec) -> Iterator[Finding]:
    known = tuple(sheet.work.VALUES)
    for number, word in enumerate(spec.run):
        for found in PLACEHOLDER.finditer(word):
            if found[1] in known:
                continue
            meant = closest(found[1], known)
            braced = ", ".join(f"{{{one}}}" for one in known)
            yield from sheet.wrong(
                spec.name, "run", f"{{{found[1]}}} is not known in {sheet.recipe.name}",
                f"did you mean {{{meant}}}?" if meant else f"known here: {braced}", number,
            )  # fmt: skip


def _when(sheet: Sheet, spec: StepSpec) -> Iterator[Finding]:
    name = spec.when.removeprefix("not ").strip()
    if name and name not in sheet.work.CONDITIONS:
        known = _choice(sheet.work.CONDITIONS) if sheet.work.CONDITIONS else ""
        yield from sheet.wrong(
            spec.name, "when", f'{sheet.recipe.name} has no condition "{name}"',
            f'write {known}, or "not …"' if known else "it has none: remove the key",
        )  # fmt: skip


def _place(sheet: Sheet, step: str, key: str, name: str) -> Iterator[Finding]:
    if not name or name in sheet.places:
        return
    meant = closest(name, sheet.places)
    yield from sheet.wrong(
        step, key, f'no environment is called "{name}"',
        f'did you mean "{meant}"?' if meant else f"write {_choice(sheet.places)}",
    )  # fmt: skip


def _held(sheet: Sheet) -> Iterator[Finding]:
    """A recipe of one's own holds one environment, and has to say which."""
    if sheet.work is not OwnWork:
        return
    first = ""
    for spec in sheet.recipe.steps:
        if spec.uses not in HOLDING or spec.uses not in sheet.actions:
            continue
        if not spec.on:
            yield from sheet.wrong(
                spec.name, "on", f'is missing: "{spec.uses}" is about one environment',
                f"write {_choice(sheet.places)}",
            )  # fmt: skip
        first = first or spec.on
        if spec.on not in ("", first):
            yield from sheet.wrong(
                spec.name, "on", f'is "{spec.on}", but this recipe holds "{first}" already',
                "make two recipes of it: one holds one environment",
            )  # fmt: skip


def _cycle(sheet: Sheet) -> Iterator[Finding]:
    def nothing(scope: object) -> None:
        return None

    steps = tuple(
        Step(spec.name, nothing, needs=spec.needs or (), always=spec.always)
        for spec in sheet.recipe.steps
    )
    try:
        Plan(sheet.recipe.name, "", steps).order()
    except CycleError as error:
        for name in error.path:
            if found := sheet.wrong(name, "needs", error.message, error.hint):
                yield from found
                return


def _choice(names: Iterable[str]) -> str:
    return one_of(dict.fromkeys(names))
