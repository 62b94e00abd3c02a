"""The hooks: their signatures, and what happens when an implementation raises (CONTRACT §6)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, get_args

import pluggy

from biso_tasks.hooks.types import (
    Action,
    Change,
    Check,
    ExtraDatabase,
    FilePolicy,
    Finding,
    HarmlessColumn,
    HarmlessFiles,
    Insert,
    Instance,
    PersonalColumn,
    PersonalFiles,
    PlannedStep,
    PlanView,
    RecipeText,
    RecipeView,
    Report,
    SecretFinder,
    Site,
    Stage,
    StepReport,
    Veto,
)
from biso_tasks.values import Secret

__all__ = [
    "POLICY",
    "PROJECT",
    "HookPolicy",
    "Hooks",
    "arguments",
    "hookimpl",
    "sentence",
    "signature",
]

PROJECT: Final = "biso_tasks"
hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)


class Hooks(Protocol):
    """An implementation takes the arguments that it needs, by name. `config` is the plugin's own
    section as the dataclass that its `biso_config` gave, None where it declares none; `secret`
    finds a secret by its name. `biso_secret` has none: it is what finds them."""

    @hookspec
    def biso_actions(self, site: Site, config: Any, secret: SecretFinder) -> Sequence[Action]:
        """Actions that the steps of recipes can name with `uses`."""

    @hookspec
    def biso_recipes(self, site: Site, config: Any, secret: SecretFinder) -> Sequence[RecipeText]:
        """Whole recipes; each becomes a task of its name."""

    @hookspec
    def biso_steps(
        self, recipe: RecipeView, site: Site, config: Any, secret: SecretFinder
    ) -> Sequence[Insert]:
        """Steps to put into a recipe, before it is planned."""

    @hookspec
    def biso_databases(
        self, instance: Instance, config: Any, secret: SecretFinder
    ) -> Sequence[ExtraDatabase]:
        """Further databases of an instance, such as a log database."""

    @hookspec
    def biso_checks(self, site: Site, config: Any, secret: SecretFinder) -> Sequence[Check]:
        """Checks for `doctor`: what the plugin needs before a run does."""

    @hookspec
    def biso_verify(self, stage: Stage, config: Any, secret: SecretFinder) -> Sequence[Finding]:
        """Findings about a stage that was restored or prepared."""

    @hookspec
    def biso_inventory(
        self, site: Site, config: Any, secret: SecretFinder
    ) -> Sequence[PersonalColumn | HarmlessColumn | PersonalFiles | HarmlessFiles]:
        """Columns and files that hold personal data, or that look so and do not."""

    @hookspec
    def biso_file_policy(
        self, path: str, site: Site, config: Any, secret: SecretFinder
    ) -> FilePolicy | None:
        """What becomes of a file of the data dir, asked before it travels; None: others decide."""

    @hookspec
    def biso_scrub(self, stage: Stage, config: Any, secret: SecretFinder) -> Sequence[Change]:
        """Remove personal data that the anonymiser leaves, from a stage's files or database."""

    @hookspec
    def biso_neutralize(self, stage: Stage, config: Any, secret: SecretFinder) -> Sequence[Change]:
        """Take from a stage what reaches the outside world, such as mail servers and interfaces."""

    @hookspec
    def biso_secret(self, name: str, config: Any) -> Secret | None:
        """A secret by its name, e.g. from a password store; None where it is not known."""

    @hookspec
    def biso_confirm(self, plan: PlanView, config: Any, secret: SecretFinder) -> Veto | None:
        """A veto against a plan, with its reason, before a person is asked."""

    @hookspec
    def biso_before_step(self, step: PlannedStep, config: Any, secret: SecretFinder) -> None:
        """A step is about to start."""

    @hookspec
    def biso_after_step(
        self, step: PlannedStep, result: StepReport, config: Any, secret: SecretFinder
    ) -> None:
        """A step has ended, well or not."""

    @hookspec
    def biso_run_started(self, plan: PlanView, config: Any, secret: SecretFinder) -> None:
        """A run is about to execute its plan."""

    @hookspec
    def biso_run_finished(self, report: Report, config: Any, secret: SecretFinder) -> None:
        """A run has ended, well or not, or a task failed before it could begin one."""

    @hookspec
    def biso_config(self) -> type[Any]:
        """A dataclass that describes the plugin's own section, `[plugins.<name>]` in biso.toml."""


@dataclass(frozen=True, slots=True)
class HookPolicy:
    """How a hook is called. `collect` asks all; `first` asks until one answers; `observe` tells
    each by itself.

    `gives` are the types that an implementation may return (of each item, where `many`), empty
    for any; `choices` the texts it may choose from. `on_error` is what a raising implementation
    does: abort (nothing ran, or the run fails), refuse, count as a failed check (`failed` makes it
    from the plugin's name and the message), or be isolated (the rest goes on, exit 75). `discreet`:
    the text of an exception that is no BisoError may quote what nobody may read, and is not shown.
    """

    kind: Literal["collect", "first", "observe"]
    on_error: Literal["abort", "refuse", "failed check", "fail the run", "isolate"]
    failure: str
    gives: tuple[type, ...] = ()
    many: bool = False
    failed: Callable[[str, str], object] | None = None
    choices: tuple[str, ...] = ()
    discreet: bool = False


def failed_check(plugin: str, message: str) -> Check:
    return Check("", f"plugin {plugin}", False, message, "correct the plugin, or disable it")


def failed_finding(plugin: str, message: str) -> Finding:
    return Finding(False, f"plugin {plugin}", message, "correct the plugin, or disable it")


_NOT_ITS_OWN: Final = ("self", "config", "secret")
_ABORT: Final = "the task ends before anything ran"
_IN_STAGE: Final = "the run fails and the stage is discarded"
_ISOLATED: Final = "it is logged, the others are still told, and the exit code is 75"
_INVENTORY: Final = (PersonalColumn, HarmlessColumn, PersonalFiles, HarmlessFiles)

POLICY: Final[Mapping[str, HookPolicy]] = {
    "biso_actions": HookPolicy("collect", "abort", _ABORT, (Action,), many=True),
    "biso_recipes": HookPolicy("collect", "abort", _ABORT, (RecipeText,), many=True),
    "biso_steps": HookPolicy("collect", "abort", _ABORT, (Insert,), many=True),
    "biso_databases": HookPolicy("collect", "abort", _ABORT, (ExtraDatabase,), many=True),
    "biso_checks": HookPolicy(
        "collect", "failed check", "it is a failed check", (Check,), True, failed_check
    ),
    "biso_verify": HookPolicy(
        "collect", "failed check", "it is a failed finding", (Finding,), True, failed_finding
    ),
    "biso_inventory": HookPolicy("collect", "abort", _ABORT, _INVENTORY, many=True),
    "biso_file_policy": HookPolicy(
        "first", "abort", "the run fails; no file travels", (str,), choices=get_args(FilePolicy)
    ),
    "biso_scrub": HookPolicy("collect", "fail the run", _IN_STAGE, (Change,), many=True),
    "biso_neutralize": HookPolicy("collect", "fail the run", _IN_STAGE, (Change,), many=True),
    "biso_secret": HookPolicy(
        "first", "abort", "what asked for the secret fails", (Secret,), discreet=True
    ),
    "biso_confirm": HookPolicy("collect", "refuse", "the plan is refused, exit 3", (Veto,)),
    "biso_before_step": HookPolicy("observe", "isolate", _ISOLATED),
    "biso_after_step": HookPolicy("observe", "isolate", _ISOLATED),
    "biso_run_started": HookPolicy("observe", "isolate", _ISOLATED),
    "biso_run_finished": HookPolicy("observe", "isolate", _ISOLATED),
    "biso_config": HookPolicy("collect", "abort", _ABORT, (type,)),
}


def arguments(hook: str) -> tuple[str, ...]:
    """The names of the arguments that an implementation may take, including `config` and `secret`
    where the hook has them."""
    return tuple(inspect.signature(getattr(Hooks, hook)).parameters)[1:]


def signature(hook: str) -> str:
    """The hook as a plugin writes it, e.g. `biso_verify(stage: Stage) -> Sequence[Finding]`,
    without the `config` and `secret` that each may take."""
    whole = inspect.signature(getattr(Hooks, hook))
    own = [one for one in whole.parameters.values() if one.name not in _NOT_ITS_OWN]
    shown = ", ".join(f"{one.name}: {one.annotation}" for one in own)
    return f"{hook}({shown}) -> {whole.return_annotation}"


def sentence(hook: str) -> str:
    """What the hook is for, in one sentence."""
    return inspect.getdoc(getattr(Hooks, hook)) or ""
