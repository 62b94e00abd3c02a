"""What a run takes for personal: privacy.toml and plugins before this run's own classification, and
the gate that stops it where the three have drifted apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from biso_tasks.actions.staged.work import StageWork
from biso_tasks.database.connect import connect
from biso_tasks.files.listing import Listing
from biso_tasks.files.patterns import compile_pattern
from biso_tasks.files.policy import Rule as PolicyRule
from biso_tasks.privacy.classify import MIGRATIONS, Classified, classify, extend, spare
from biso_tasks.privacy.columns import partitions, read_columns
from biso_tasks.privacy.inventory.drift import (
    Drift,
    column_drift,
    require_none,
    unused_files,
    unused_paths,
    unused_places,
)
from biso_tasks.privacy.inventory.match import apply, file_rules
from biso_tasks.privacy.schema_texts import places
from biso_tasks.stage.migrations import migration_columns

if TYPE_CHECKING:
    from biso_tasks.database.connect import Connection

__all__ = ["extend_inventories", "judge_source", "policy_rules", "require_files"]


def judge_source(work: StageWork, connection: Connection, number: int) -> tuple[Classified, ...]:
    """The judgement of each column of the source's database. Of the first, the application's own,
    raises Refused where privacy.toml does not know a column, or knows it as something else."""
    found = classify(connection)
    if number != 0:
        return found
    found = spare(found, migration_columns(connection, work.target.app), MIGRATIONS)
    parts = partitions(connection)
    columns = [one.column for one in found]
    drift = column_drift(work.said, columns, parts)
    # A rule that matches nothing yet may speak of what test's migrations will add.
    require_none(Drift(drift.unclassified, (), drift.changed), work.origin)
    return apply(work.said, found, parts)


def extend_inventories(work: StageWork) -> None:
    """The inventories as the stage's databases have their columns now. What was judged before
    keeps its judgement, so it can be called again. Raises Refused, naming them, where migrations
    added columns that privacy.toml does not know, or a rule matches nothing even now."""
    extended = []
    for number, database in enumerate(work.stage.databases[: len(work.inventories)]):
        known = work.inventories[number]
        with connect(database.staged_server, autocommit=True) as connection:
            if number != 0:
                extended.append(extend(known, connection))
                continue
            before = [one.column for one in known]
            parts = partitions(connection)
            drift = column_drift(work.said, read_columns(connection), parts, before=before)
            rules = [rule for said in work.said for rule in said.schema]
            unused = (
                *drift.unused,
                *(unused_places(rules, places(connection)) if rules else ()),
                *unused_paths(connection, work.said, read_columns(connection), parts),
            )
            require_none(replace(drift, unused=unused), work.stage.called)
            found = extend(known, connection)
        extended.append(_with_new(work, known, found, parts))
    work.inventories = tuple(extended)


def _with_new(
    work: StageWork,
    known: Sequence[Classified],
    found: Sequence[Classified],
    parts: dict[tuple[str, str], str],
) -> tuple[Classified, ...]:
    """What was said, for columns that are new: of the others a step may know more by now."""
    families = {one.column.label: one.column.type.family for one in known}
    new = [one for one in found if families.get(one.column.label) != one.column.type.family]
    said = {one.column.label: one for one in apply(work.said, new, parts)}
    return tuple(said.get(one.column.label, one) for one in found)


def policy_rules(work: StageWork) -> tuple[PolicyRule, ...]:
    """`[refresh.files]`, then what was said of files: what is personal becomes a placeholder."""
    rules: list[PolicyRule] = list(work.config.files)
    if work.anonymize:
        rules += [
            (rule.pattern, "placeholder" if rule.personal else "copy")
            for rule in file_rules(work.said)
        ]
    return tuple(rules)


def require_files(work: StageWork, listing: Listing) -> list[str]:
    """Raises Refused where a rule for files, of privacy.toml or a plugin, matches none of the
    source; gives a note for each pattern of `[refresh.files]` that does not."""
    require_none(
        Drift(unused=unused_files(file_rules(work.said), listing.entries)),
        f"the files of {work.origin}",
    )
    paths = [f"{one.path}/" if one.kind == "dir" else one.path for one in listing.entries]
    return [
        f"[refresh.files]: {pattern!r} matches no file of {work.origin}"
        for pattern, _ in work.config.files
        if not any(map(compile_pattern(pattern).fullmatch, paths))
    ]
