"""`restore --table` and `restore --path`: single pieces of a backup set."""

from __future__ import annotations

from typing import Any, Final

from biso_tasks.actions.sets.path_piece import OnePath
from biso_tasks.actions.sets.restore import describe_target
from biso_tasks.actions.sets.table_piece import OneTable
from biso_tasks.backup.store import BackupSet, Store
from biso_tasks.cli.call import Call
from biso_tasks.database.snapshot import label
from biso_tasks.errors import UsageError
from biso_tasks.files.piece import read_piece_path
from biso_tasks.session import Session

__all__ = ["read_piece", "restore_path", "restore_table"]

# What every restore says: with a piece the site is not away, and nothing is swapped.
_STAYED: Final = {"downtime_seconds": 0.0, "previous": None}


def read_piece(only: str, table: str, path: str) -> str:
    """The path as it will be used, "" where there is none. Raises UsageError for options that
    exclude each other, before anything is contacted."""
    given = [
        f"--{name}" for name, value in (("only", only), ("table", table), ("path", path)) if value
    ]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} exclude each other", hint="restore one piece after the other"
        )
    return read_piece_path(path) if path else ""


def restore_table(
    call: Call, session: Session, name: str, store: Store, backup: BackupSet, table: str
) -> None:
    work = OneTable(
        session,
        "restore",
        call.run_id,
        places={"target": name},
        anonymize=False,
        store=store,
        id=backup.id,
        decided_on=backup,
        wanted=table,
    )

    def said() -> dict[str, Any]:
        done = [".".join(work.place.parts)] if work.restored else []
        return {**_STAYED, "restored": done, "rows": work.rows if done else 0}

    _run(call, session, work, name, "restore-table", said)
    if work.restored:
        call.text(
            f"{label(work.table)} of {backup.id} is in {work.target.facts.database.dbname} of "
            f"{name} as {label(work.place)}: {work.rows} rows, as they were backed up. What is "
            "live was not touched; drop that schema when it is not needed any more."
        )


def restore_path(
    call: Call, session: Session, name: str, store: Store, backup: BackupSet, path: str
) -> None:
    work = OnePath(
        session,
        "restore",
        call.run_id,
        places={"target": name},
        anonymize=False,
        store=store,
        id=backup.id,
        decided_on=backup,
        path=path,
    )

    def said() -> dict[str, Any]:
        if not work.restored:
            return {**_STAYED, "restored": [], "replaced": None}
        return {**_STAYED, "restored": [path], "replaced": work.replaced or None}

    _run(call, session, work, name, "restore-path", said)
    if work.restored:
        kept = f" What stood there is kept: {work.replaced}" if work.replaced else ""
        call.text(f"{path} of {backup.id} is in the data dir of {name}.{kept}")


def _run(
    call: Call, session: Session, work: OneTable | OnePath, name: str, recipe: str, said: Any
) -> None:
    work.look_again()
    work.bind_values()
    call.document["source"] = work.id
    call.run_recipe(
        session,
        work,
        recipe=recipe,
        header=describe_target(work),
        facts=said,
    )
