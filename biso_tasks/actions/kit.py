"""From a recipe to a plan: every step's action is bound to what this command works on.

An action is described while planning and run while executing, with the same `Context`; so what the
plan says is what runs. Built-in actions and those of plugins are the same type and come by the same
hook; a built-in one just finds more in its context: the command's `work`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Generic, TypeVar

from biso_tasks.config.model import Environment, Site
from biso_tasks.database.connect import lost_told
from biso_tasks.errors import ConfigError, UsageError, plain
from biso_tasks.flow.plan import Plan, Scope, Step
from biso_tasks.flow.recipe import Recipe, StepSpec
from biso_tasks.hooks.types import Action, Effects
from biso_tasks.host.command import Command
from biso_tasks.session import Session
from biso_tasks.stage.view import StageView

__all__ = ["PLACEHOLDER", "Context", "Work", "bind_recipe"]

PLACEHOLDER: Final = re.compile(r"\{([a-z]+\.[a-z_]+|run)\}")


@dataclass(slots=True)
class Work:
    """What the steps of one command share. `places` maps the names that recipes use (`source`,
    `target`) to environments; `conditions` are what `when` may name, evaluated while planning;
    `values` what `{stage.datadir}` and its like stand for in a site's own commands. What is entered
    into `open` is closed when the run has ended, in whatever way.

    The names of all three are the class's own, so that a recipe can be checked before anything is
    contacted."""

    PLACES: ClassVar[tuple[str, ...]] = ()
    CONDITIONS: ClassVar[Mapping[str, Callable[[Any], bool]]] = {}
    VALUES: ClassVar[Mapping[str, Callable[[Any], str]]] = {"run": lambda work: work.run_id}

    session: Session
    task: str
    run_id: str
    places: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, bool] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    open: ExitStack = field(default_factory=ExitStack)

    def bind_values(self) -> None:
        """What a recipe's `when` and a site's own commands may name, as it is now."""
        self.conditions = {name: value(self) for name, value in self.CONDITIONS.items()}
        self.values = {name: value(self) for name, value in self.VALUES.items()}

    def environment_name(self, on: str) -> str:
        return self.places.get(on, on)

    def why_off(self, condition: str) -> str:
        """Why a condition does not hold, where its name alone would mislead; "" where it says it
        all. The plan says it of each step that waits for the condition."""
        return ""

    def stage_view(self) -> StageView | None:
        """The stage, once one was built."""
        return None


W_co = TypeVar("W_co", bound=Work, covariant=True)


@dataclass(frozen=True, slots=True)
class Context(Generic[W_co]):
    """What an action is given (see `StepContext`); `scope` is None while planning."""

    work: W_co
    spec: StepSpec
    scope: Scope | None = None

    @property
    def site(self) -> Site:
        return self.work.session.site

    @property
    def on(self) -> str:
        return self.work.environment_name(self.spec.on)

    @property
    def environment(self) -> Environment:
        if not self.on:
            raise UsageError(
                f"step {self.spec.name!r} does not say where it runs",
                hint="set its `on` to an environment's name",
            )
        return self.work.session.environment(self.on)

    @property
    def params(self) -> Mapping[str, Any]:
        return self.spec.params

    @property
    def values(self) -> Mapping[str, str]:
        return self.work.values

    @property
    def stage(self) -> StageView | None:
        return None if self.scope is None else self.work.stage_view()

    @property
    def cancel(self) -> threading.Event:
        """Set when the step shall stop. For whatever waits or streams."""
        return threading.Event() if self.scope is None else self.scope.cancel

    @property
    def cancelled(self) -> bool:
        return self.cancel.is_set()

    def run(
        self,
        argv: Sequence[str],
        on: str | None = None,
        *,
        stdin: bytes = b"",
        login: bool = False,
        timeout: float | None = None,
    ) -> bytes:
        name = self.work.environment_name(on) if on else self.environment.name
        environment = self.work.session.environment(name)
        command = Command(tuple(argv)).as_user(None if login else environment.host_user)
        longest = self.spec.timeout or timeout or 3600
        return self.work.session.host(name).run(command, stdin=stdin, timeout=longest).out

    def note(self, text: str) -> None:
        if self.scope is not None:
            self.scope.note(text)

    def progress(self, done: int, total: int | None, unit: str) -> None:
        if self.scope is not None:
            self.scope.progress(done, total, unit)

    def bytes_of(self, total: int) -> Callable[[int], None]:
        """Takes how many of `total` bytes are done (0: nobody knows how many there will be), and
        tells. What is compared may be counted otherwise on the other side: never more than all."""
        return lambda done: self.progress(min(done, total or done), total or None, "B")


def bind_recipe(
    recipe: Recipe, work: Work, actions: Mapping[str, Action], *, confirm: Sequence[str] = ()
) -> Plan:
    """The plan of `recipe`; to be typed before it runs: what the recipe, its steps and `confirm`
    name. Raises ConfigError where a step names what does not exist."""
    steps = tuple(_bind(recipe, spec, work, actions) for spec in recipe.steps)
    said = [*recipe.confirm]
    said += [spec.confirm for spec, step in zip(recipe.steps, steps, strict=True) if not step.skip]
    names = [work.session.environment(work.environment_name(one)).name for one in said if one]
    typed = tuple(dict.fromkeys((*confirm, *names)))
    return Plan(work.task, work.run_id, steps, confirm=typed, notes=tuple(map(plain, work.notes)))


def _bind(recipe: Recipe, spec: StepSpec, work: Work, actions: Mapping[str, Action]) -> Step:
    where = f"recipe {recipe.name}, step {spec.name}"
    planning = Context(work, spec)
    if planning.on:
        work.session.environment(planning.on)
    skip = _condition(spec, work, where)
    if spec.run:
        action = _command(spec, work, where, planning.on)
    elif spec.uses in actions:
        action = actions[spec.uses]
    else:
        raise ConfigError(
            f"{where}: there is no action {spec.uses!r}",
            hint="`biso plugins` shows what is loaded; actions are: " + ", ".join(sorted(actions)),
        )
    effects = action.describe(planning) if action.describe and not skip else Effects()
    undo, done = action.undo, action.done

    def run(scope: Scope) -> Mapping[str, Any] | None:
        with lost_told(planning.on or spec.name):
            return action.run(Context(work, spec, scope))

    return Step(
        name=spec.name,
        run=run,
        uses=spec.uses,
        on=planning.on,
        needs=spec.needs or (),
        changes=tuple(map(plain, effects.changes)),
        destroys=tuple(map(plain, effects.destroys)),
        undo=None if undo is None else lambda scope: undo(Context(work, spec, scope)),
        always=spec.always,
        timeout=spec.timeout,
        retries=spec.retries,
        skip=skip,
        done=None if done is None else lambda: done(planning),
    )


def _condition(spec: StepSpec, work: Work, where: str) -> str:
    if not spec.when:
        return ""
    negated, name = spec.when.startswith("not "), spec.when.removeprefix("not ").strip()
    if name not in work.conditions:
        known = ", ".join(sorted(work.conditions)) or "none"
        raise ConfigError(
            f"{where}: `when` names {name!r}, which is no condition here",
            hint=f"the conditions are: {known}",
        )
    if work.conditions[name] != negated:
        return ""
    return f"{name} is on" if negated else work.why_off(name) or f"{name} is off"


def _command(spec: StepSpec, work: Work, where: str, on: str) -> Action:
    """A site's own command: run on the step's host as the application's user."""
    if not on:
        raise ConfigError(
            f"{where}: it does not say where it runs", hint="set `on` to an environment's name"
        )
    words = tuple(_filled(word, work.values, where) for word in spec.run)

    def run(context: Context[Work]) -> None:
        context.run(words)

    def describe(context: Context[Work]) -> Effects:
        return Effects(changes=(f"runs {Command(words)}",))

    return Action(spec.name, run, describe=describe)


def _filled(word: str, values: Mapping[str, str], where: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            known = ", ".join(sorted(values)) or "none here"
            raise ConfigError(f"{where}: {{{found[1]}}} is not known", hint=f"there are: {known}")
        return values[found[1]]

    return PLACEHOLDER.sub(value, word)
