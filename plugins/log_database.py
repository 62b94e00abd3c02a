"""The log database: where an instance's config.php names one, a backup holds it, a refresh does
with it what is set here, and a verification looks whether the stage's own answers.

    [plugins.log_database]
    key = "log.db"          # where config.php has it
    refresh = "skip"        # skip | schema | copy; default: what [refresh] log_database says
    backup = true
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from biso_tasks.api import ExtraDatabase, Finding, Instance, Stage, StepFailed, hookimpl


@dataclass(frozen=True, slots=True)
class Settings:
    key: str = "log.db"
    refresh: Literal["skip", "schema", "copy"] | None = None
    backup: bool = True


@hookimpl
def biso_config() -> type[Settings]:
    return Settings


@hookimpl
def biso_databases(instance: Instance, config: Settings) -> Sequence[ExtraDatabase]:
    if config.key not in instance.keys:
        return []
    return [ExtraDatabase(config.key, "log", refresh=config.refresh, backup=config.backup)]


@hookimpl
def biso_verify(stage: Stage, config: Settings) -> Sequence[Finding]:
    """A stage has no log database where its config.php names none: nothing to find then."""
    name = stage.databases.get(config.key)
    if name is None:
        return []
    try:
        with stage.connect(config.key) as connection:
            connection.execute("SELECT 1")
    except StepFailed as error:
        return [Finding(False, "log database", error.message, error.hint or _REMEDY)]
    return [Finding(True, "log database", f"{name} answers")]


_REMEDY = "look at the log database's entry in config.php, and whether its server runs"
