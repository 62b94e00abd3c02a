"""The one module that a plugin imports: what it marks its functions with, what hooks receive and
give, what it may raise, and two helpers that keep plugins to the core's own meaning of things.

- `hookimpl` marks a function as the implementation of the hook of its name (docs/plugins.md).
- Received: Site, BackupStore, Environment, Instance, Stage, StepContext, RecipeView, PlanView,
  PlannedStep, Report with StepReport and ErrorReport; SecretFinder, which every hook may take as
  `secret`.
- Given: Action with Effects, RecipeText, Insert, ExtraDatabase, Check, Finding, PersonalColumn,
  HarmlessColumn, PersonalFiles, HarmlessFiles, Change, Veto, FilePolicy, Secret.
- Raised, each with a message and a `hint`: BisoError (exit 1) and its kinds StepFailed (1),
  ConfigError (2), Refused (3), ProofFailed (4). Anything else that is raised names the plugin and
  counts as the failure that the hook's page states.
- `compile_pattern(pattern)`: a pattern as in `[refresh.files]`, as a regular expression for
  `fullmatch`. `placeholder(path)`: the content that stands for a file of this name.

It is light: no database driver, no SSH library, nothing of the screen.
"""

from __future__ import annotations

from biso_tasks.errors import BisoError, ConfigError, ProofFailed, Refused, StepFailed
from biso_tasks.files.patterns import compile_pattern
from biso_tasks.files.placeholders import placeholder
from biso_tasks.hooks.specs import hookimpl
from biso_tasks.hooks.types import (
    Action,
    BackupStore,
    Change,
    Check,
    Effects,
    Environment,
    ErrorReport,
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
    StepContext,
    StepReport,
    Veto,
)
from biso_tasks.values import Secret

__all__ = [
    "Action",
    "BackupStore",
    "BisoError",
    "Change",
    "Check",
    "ConfigError",
    "Effects",
    "Environment",
    "ErrorReport",
    "ExtraDatabase",
    "FilePolicy",
    "Finding",
    "HarmlessColumn",
    "HarmlessFiles",
    "Insert",
    "Instance",
    "PersonalColumn",
    "PersonalFiles",
    "PlanView",
    "PlannedStep",
    "ProofFailed",
    "RecipeText",
    "RecipeView",
    "Refused",
    "Report",
    "Secret",
    "SecretFinder",
    "Site",
    "Stage",
    "StepContext",
    "StepFailed",
    "StepReport",
    "Veto",
    "compile_pattern",
    "hookimpl",
    "placeholder",
]
