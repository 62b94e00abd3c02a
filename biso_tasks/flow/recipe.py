"""Recipes: read from TOML, and changed by a site or a plugin before they are planned."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from biso_tasks.errors import ConfigError
from biso_tasks.flow.spec import (
    NAME,
    SETTABLE,
    BadRecipe,
    Problem,
    Recipe,
    StepSpec,
    between_sealed,
    core_order,
    did_you_mean,
    graph_problems,
    read_step,
    resolved,
)

__all__ = [
    "BadRecipe",
    "InsertLike",
    "Problem",
    "Recipe",
    "StepSpec",
    "apply",
    "build",
    "parse",
]

_TEXTS: Final = ("name", "help", "confirm", "variant_of")


class InsertLike(Protocol):
    """A step to put in: exactly one of `after` and `before` names the anchor. The insert of
    biso.toml and that of a plugin both fit, without this folder knowing either."""

    @property
    def name(self) -> str: ...
    @property
    def after(self) -> str | None: ...
    @property
    def before(self) -> str | None: ...
    @property
    def on(self) -> str: ...
    @property
    def run(self) -> tuple[str, ...]: ...
    @property
    def uses(self) -> str: ...
    @property
    def params(self) -> Mapping[str, Any] | tuple[tuple[str, Any], ...]: ...
    @property
    def timeout(self) -> float | None: ...


def parse(text: str, source: str) -> Recipe:
    """The recipe in `text`: keys `name`, `help`, `confirm`, `variant_of`, `[[steps]]`. Errors call
    it `source`. Raises ConfigError with every finding, one a line."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{source}: no valid TOML: {error}", hint="correct it there, or disable the plugin"
        ) from None
    problems = [
        f'{source}: unknown key "{key}"{did_you_mean(key, (*_TEXTS, "steps"))}'
        for key in data
        if key not in (*_TEXTS, "steps")
    ]
    for key in _TEXTS:
        if not isinstance(data.get(key, ""), str):
            problems.append(f"{source}: {key}: expected a text")
    steps = data.get("steps", [])
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        problems.append(f"{source}: steps: expected tables, each written as [[steps]]")
    if problems:
        raise ConfigError("\n".join(problems), hint="docs/recipes.md shows how a recipe is written")
    lines = [n for n, line in enumerate(text.splitlines(), 1) if _opens_step(line)]
    # Written in another way (inline tables), the steps have no line of their own.
    places = [f"{source}:{n}" for n in lines] if len(lines) == len(steps) else []
    recipe = build(
        data.get("name", ""),
        steps,
        source=source,
        help=data.get("help", ""),
        confirm=data.get("confirm", ""),
        places=places,
    )
    return replace(recipe, variant_of=data.get("variant_of", ""))


def build(
    name: str,
    steps: Sequence[Mapping[str, Any]],
    *,
    source: str,
    help: str = "",
    confirm: str = "",
    places: Sequence[str] = (),
) -> Recipe:
    """A recipe from tables that were read elsewhere, such as a site's own in biso.toml. `places`
    are file:line of each step. Raises BadRecipe with every finding, one a line."""
    problems: list[str] = []
    if not NAME.fullmatch(name):
        problems.append(
            f'{source}: name: expected lower-case letters, digits, "-" and "_", got "{name}"'
        )
    if not steps:
        problems.append(f"{source}: the recipe has no steps")
    specs: list[StepSpec] = []
    for position, table in enumerate(steps):
        place = places[position] if position < len(places) else source
        label = table.get("name") if isinstance(table.get("name"), str) else None
        found: list[str] = []
        spec = read_step(table, found)
        problems += [
            f"{place}: step {label or f'number {position + 1}'}: {problem}" for problem in found
        ]
        specs.append(spec)
    if problems:
        raise ConfigError("\n".join(problems), hint="docs/recipes.md shows how a recipe is written")
    if wrong := graph_problems(specs):
        raise BadRecipe(source, wrong)
    return Recipe(name, help, resolved(specs), (confirm,) if confirm else ())


def apply(
    recipe: Recipe,
    inserts: Iterable[InsertLike] = (),
    skips: Iterable[str] = (),
    sets: Iterable[tuple[str, Mapping[str, Any] | tuple[tuple[str, Any], ...]]] = (),
) -> Recipe:
    """The recipe with steps put in, left out and set.

    An insert comes between its anchor and what followed (or preceded) it; several at one anchor
    run in the order given. A skipped step hands its needs on. A set changes `timeout`, `retries`,
    `when`, `confirm`, `on`, `run`, `uses`, `needs`; any other key is a parameter of the step's
    action. Raises BadRecipe with every finding: unknown anchor or step, a name used twice, a core
    step touched.
    """
    where = f"recipe {recipe.name}"
    before = core_order(resolved(recipe.steps))
    steps = {step.name: step for step in resolved(recipe.steps)}
    if len(steps) != len(recipe.steps):
        raise ConfigError(
            f"{where}: a step name is used twice: {', '.join(recipe.names())}",
            hint="give each its own name",
        )
    problems: list[Problem] = []
    last_at: dict[str, str] = {}
    for number, insert in enumerate(inserts):
        try:
            steps = _insert(steps, insert, last_at)
        except _Wrong as wrong:
            problems.append(wrong.problem(("insert", number)))
    for name, changes in sets:
        try:
            steps[name] = _set(_known(steps, name), dict(changes))
        except _Wrong as wrong:
            problems.append(wrong.problem(("set", name)))
    for number, name in enumerate(skips):
        try:
            _skip(steps, name)
        except _Wrong as wrong:
            problems.append(wrong.problem(("skip", number)))
    problems = problems or graph_problems(list(steps.values()))
    if problems:
        raise BadRecipe(where, problems)
    changed = replace(recipe, steps=tuple(steps.values()))
    lost = sorted(before - core_order(changed.steps))
    if lost:
        first, then = lost[0]
        cause = (
            f'step "{then}" would no longer wait for "{first}": their order is part of the safety '
            "of this recipe"
        )
        remedy = "leave the needs of the steps between them as they are"
        raise BadRecipe(where, [Problem(cause, remedy)])
    if broken := between_sealed(changed.steps):
        name, first = broken[0]
        cause = f'step "{name}" would come after "{first}" and change what that has proven'
        remedy = f'put it before "{first}", or after "{_last_sealed(changed)}"'
        raise BadRecipe(where, [Problem(cause, remedy)])
    return changed


def _last_sealed(recipe: Recipe) -> str:
    return [step.name for step in recipe.steps if step.sealed][-1]


class _Wrong(Exception):
    """One change that cannot be made; `key` is the key of its table that is wrong."""

    def __init__(self, cause: str, remedy: str, key: str = "") -> None:
        super().__init__(cause)
        self.cause, self.remedy, self.key = cause, remedy, key

    def problem(self, at: tuple[str | int, ...]) -> Problem:
        return Problem(self.cause, self.remedy, (*at, self.key) if self.key else at)


def _insert(
    steps: dict[str, StepSpec], insert: InsertLike, last_at: dict[str, str]
) -> dict[str, StepSpec]:
    if not NAME.fullmatch(insert.name):
        raise _Wrong(
            f'"{insert.name}" is no name for a step',
            'use lower-case letters, digits, "-" and "_"',
            "name",
        )
    if insert.name in steps:
        raise _Wrong(
            f'there is a step "{insert.name}" already', "give the insert another name", "name"
        )
    if (insert.after is None) == (insert.before is None):
        raise _Wrong(
            f'insert "{insert.name}": give either `after` or `before`, with a step\'s name',
            f"the steps are: {', '.join(steps)}",
        )
    if bool(insert.run) == bool(insert.uses):
        raise _Wrong(
            f'insert "{insert.name}": give either `run` or `uses`',
            "`run` is a command, `uses` an action",
        )
    key = "before" if insert.after is None else "after"
    anchor = _known(steps, insert.after or insert.before or "", key)
    if insert.after is not None:
        # A second insert after the same step follows the first: the order in the file counts.
        while anchor.name in last_at:
            anchor = steps[last_at[anchor.name]]
        last_at[anchor.name] = insert.name
        needs: tuple[str, ...] = (anchor.name,)
    else:
        needs = anchor.needs or ()
    new = StepSpec(
        name=insert.name,
        uses=insert.uses,
        run=tuple(insert.run),
        on=insert.on,
        needs=needs,
        params=dict(insert.params),
        # What waits for a step that runs at the end runs at the end itself.
        always=any(steps[need].always for need in needs),
        timeout=insert.timeout,
    )
    result: dict[str, StepSpec] = {}
    for step in steps.values():
        if insert.after is not None:
            needs = _replaced(step.needs or (), anchor.name, (new.name,))
            result[step.name] = replace(step, needs=needs)
            if step.name == anchor.name:
                result[new.name] = new
        elif step.name == anchor.name:
            result[new.name] = new
            result[step.name] = replace(step, needs=(new.name,))
        else:
            result[step.name] = step
    return result


def _skip(steps: dict[str, StepSpec], name: str) -> None:
    if _known(steps, name).core:
        raise _safety(name, "skipped")
    gone = steps.pop(name)
    for other in steps.values():
        steps[other.name] = replace(
            other, needs=_replaced(other.needs or (), name, gone.needs or ())
        )


def _set(step: StepSpec, changes: dict[str, Any]) -> StepSpec:
    fields: dict[str, Any] = {}
    params = dict(step.params)
    for key, value in changes.items():
        if key in ("name", "always", "core", "sealed", "params"):
            raise _Wrong(
                f'step "{step.name}": `{key}` cannot be set', f"set: {', '.join(SETTABLE)}", key
            )
        if key in SETTABLE:
            if step.core and key not in ("timeout", "retries"):
                raise _safety(step.name, f"given another `{key}`", key)
            try:
                fields[key] = SETTABLE[key](value)
            except ValueError as error:
                raise _Wrong(
                    f'step "{step.name}": {key}: {error}', "write what is expected", key
                ) from None
        else:
            params[key] = value
    if fields.get("run"):
        fields.setdefault("uses", "")
    elif fields.get("uses"):
        fields.setdefault("run", ())
    return replace(step, params=params, **fields)


def _known(steps: Mapping[str, StepSpec], name: str, key: str = "") -> StepSpec:
    if name not in steps:
        raise _Wrong(
            f'there is no step "{name}"{did_you_mean(name, steps)}',
            f"its steps are: {', '.join(steps)}",
            key,
        )
    return steps[name]


def _safety(name: str, deed: str, key: str = "") -> _Wrong:
    return _Wrong(
        f'step "{name}" cannot be {deed}: it is part of the safety of this recipe',
        "leave it as it is; its `timeout` and `retries` may be set",
        key,
    )


def _replaced(needs: tuple[str, ...], old: str, new: tuple[str, ...]) -> tuple[str, ...]:
    out = [one for need in needs for one in (new if need == old else (need,))]
    return tuple(dict.fromkeys(out))


def _opens_step(line: str) -> bool:
    return re.match(r"\s*\[\[\s*steps\s*\]\]", line) is not None
