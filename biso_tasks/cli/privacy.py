"""`privacy-scan`: which columns and files of an instance hold what, as a table, as JSON, and as the
file that a person edits and commits."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import Any

from biso_tasks.actions.live.privacy import Looked, look
from biso_tasks.cli.call import Call
from biso_tasks.errors import Refused, UsageError
from biso_tasks.files.space import human
from biso_tasks.privacy.classify import Classified
from biso_tasks.privacy.inventory.model import type_name
from biso_tasks.privacy.inventory.write import propose, render
from biso_tasks.ui.table import Cell, table

__all__ = ["privacy_scan"]


def privacy_scan(call: Call, env: str = "", write: bool = False, check: bool = False) -> None:
    if write and check:
        raise UsageError("--write and --check exclude each other", hint="write, then check")
    session = call.session(observed=False)
    session.mends = False  # production is looked at, and nothing else
    name = env or session.site.refresh.from_
    session.environment(name)
    file = Path(session.site.privacy.inventory)
    if call.options.plan:
        _plan(call, name, file if write else None)
        return
    found = look(session, name, new=write)
    proposals = propose(
        found.columns, [one.rule for one in found.files], found.inventory, found.partitions
    )
    call.document |= {
        "columns": [_column(one) for one in found.columns],
        "files": [
            {"pattern": one.rule.pattern, "verdict": one.rule.verdict, "reason": one.rule.reason,
             "decided": one.decided, "files": one.files, "bytes": one.bytes}
            for one in found.files
        ],
        "drift": found.drift.as_json(),
        "inventory": str(file) if found.inventory is not None else None,
        "written": False,
    }  # fmt: skip
    _show(call, found)
    if write and proposals:
        _write(file, render(proposals, _text(file) if found.inventory is not None else None))
        call.document |= {"written": True, "inventory": str(file)}
        call.text(f"{len(proposals)} lines proposed in {file}: look at them, then commit the file")
    elif write:
        call.text(f"{file} says something of every column and file: nothing was written")
    elif found.inventory is None:
        call.text(f"There is no {file.name} yet: `biso privacy-scan --write` proposes one")
    if check:
        _check(name, file, found)


def _plan(call: Call, name: str, file: Path | None) -> None:
    changes = ["nothing: reads the database in one snapshot, lists the data dir, looks into a few "
               "of its files"]  # fmt: skip
    if file is not None:
        changes.append(f"adds what {file} does not name yet; no line of it is changed")
    call.document["plan"] = [
        {"name": "look", "on": name, "uses": "privacy-scan", "needs": [], "changes": changes,
         "destroys": []}
    ]  # fmt: skip
    for line in changes:
        call.text(f"{name}: {line}")


def _column(one: Classified) -> dict[str, Any]:
    return {
        "name": one.column.label,
        "type": type_name(one.column),
        "verdict": "personal" if one.personal else "harmless",
        "kind": one.kind if one.personal else None,
        "reason": one.reason,
        "decided": one.decided,
    }


def _show(call: Call, found: Looked) -> None:
    rows: list[tuple[Cell, ...]] = []
    for relation, group in groupby(found.columns, key=lambda one: one.column.relation):
        first: Cell = (relation, "strong")
        for one in group:
            verdict: Cell = (one.kind, "bad") if one.personal else ("harmless", "good")
            rows.append((first, one.column.name, type_name(one.column), verdict, _why(one)))
            first = ""
    call.text(table(rows, head=("table", "column", "type", "holds", "because")))
    files: list[tuple[Cell, ...]] = [
        (one.rule.pattern, (one.rule.verdict, "bad" if one.rule.personal else "good"),
         str(one.files), human(one.bytes), one.rule.reason or f"declared in {one.rule.place}")
        for one in found.files
    ]  # fmt: skip
    call.text(table(files, head=("files", "hold", "", "", "because")))
    for what, drifted in (
        ("not classified", found.drift.unclassified),
        ("changed", found.drift.changed),
        ("matches nothing", found.drift.unused),
    ):
        for each in drifted:
            call.text(f"! {what}: {each}")


def _why(one: Classified) -> str:
    return one.reason if one.decided == "scan" else f"{one.decided}: {one.reason}"


def _check(name: str, file: Path, found: Looked) -> None:
    """Raises Refused (exit 3), for cron and CI."""
    hint = "`biso privacy-scan --write` proposes what is missing; look at it, and commit the file"
    if found.inventory is None:
        raise Refused(f"there is no {file}: nothing was decided of {name}'s columns", hint=hint)
    drift = found.drift
    if drift:
        counts = (len(drift.unclassified), len(drift.changed), len(drift.unused))
        raise Refused(
            f"{file.name} does not fit {name}: {counts[0]} column(s) not classified, {counts[1]} "
            f"changed, {counts[2]} rule(s) match nothing",
            hint=hint,
        )


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8-sig")


def _write(file: Path, text: str) -> None:
    """Whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_text(text, "utf-8")
        os.replace(partial, file)  # noqa: PTH105
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Refused(
            f"{file} cannot be written: {error.strerror}",
            hint="make it a file that you may write, in a folder with room for it",
        ) from error
