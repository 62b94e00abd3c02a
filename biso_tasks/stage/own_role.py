"""The databases of a test instance's stage belong to roles of their own until they are served:
nobody else may connect, the test instance and whoever knows its password included.

A production's own stage holds what its application reads anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from biso_tasks.config.model import Environment
from biso_tasks.database.admin import admin
from biso_tasks.database.stage_role import (
    extend_role,
    give_over,
    make_role,
    stage_role,
    why_none,
)
from biso_tasks.stage.model import Stage, StagedDatabase
from biso_tasks.stage.webroot import wrap_config

__all__ = ["extend_roles", "hand_over", "make_roles", "with_roles", "without_roles"]

_A_RUN: Final = 86400.0
"""No run takes longer than that, in seconds; whatever becomes of it, nobody logs in after that."""


def with_roles(
    environment: Environment, databases: Sequence[StagedDatabase]
) -> tuple[tuple[StagedDatabase, ...], tuple[str, ...]]:
    """The same databases, each with a role that is not made yet, where there can be one; and what a
    plan says of those that have none. Nothing is changed."""
    if environment.role != "test":
        return tuple(databases), ()
    found, notes = [], []
    for database in databases:
        why = why_none(database.server)
        if why:
            notes.append(
                f"{database.stage} belongs to the application's role while it is prepared, so that "
                f"whoever has its password can read it before the proof: {why}"
            )
        found.append(database if why else replace(database, role=stage_role(database.server)))
    return tuple(found), tuple(notes)


def make_roles(stage: Stage) -> None:
    """Make the roles of an empty stage. Raises Refused where a name is taken."""
    for database in stage.databases:
        if database.role is not None:
            with admin(database.server) as role:
                make_role(role, database.server, database.role, seconds=_A_RUN)


def extend_roles(stage: Stage, seconds: float) -> None:
    """For so long whoever reads the stage's config.php may look into it."""
    for database in stage.databases:
        if database.role is not None:
            with admin(database.server) as role:
                extend_role(role, database.role, seconds=seconds)


def hand_over(stage: Stage, extensions: Callable[[int], Sequence[str]]) -> None:
    """Give what is about to be served to the application's role, and lead the stage's config.php
    there. `extensions` are those that an admin made, by the number of the database. Where it is
    interrupted, the stage can only be discarded."""
    for number, database in enumerate(stage.databases):
        if database.role is not None and database.swapped:
            give_over(database.server, database.stage, database.role, extensions(number))
    if without_roles(stage) != stage:
        wrap_config(without_roles(stage))


def without_roles(stage: Stage) -> Stage:
    """The stage once it was handed over. What goes with it keeps its role."""
    databases = (replace(one, role=None) if one.swapped else one for one in stage.databases)
    return replace(stage, databases=tuple(databases))
