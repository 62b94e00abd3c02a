"""How each installation ended: in a line of the one table, and for --json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from biso_tasks.cli.fields import COMMON
from biso_tasks.cli.fleet.child import Ended
from biso_tasks.cli.fleet.members import Member
from biso_tasks.errors import BisoError
from biso_tasks.files.space import human
from biso_tasks.flow.outcome import StepResult
from biso_tasks.ui.errors import as_json
from biso_tasks.ui.table import Cell
from biso_tasks.ui.terminal import Style
from biso_tasks.ui.text import duration

__all__ = ["entry", "figures", "row"]

_WORDS: Final[Mapping[int, tuple[str, Style]]] = {
    3: ("refused", "warn"),
    5: ("locked", "warn"),
    6: ("a person", "bad"),
    75: ("not told", "warn"),
    130: ("stopped", "warn"),
}


def row(member: Member, answer: Ended | None, result: StepResult) -> tuple[Cell, ...]:
    """Of the table: who, how it ended, how long it took, what there is to say."""
    ran, error = result.status != "not run", result.error
    if error is not None:
        what = f"{error.message} → {error.remedy}" if error.remedy else error.message
    else:
        what = figures(answer) if answer is not None else ""
    took = duration(result.seconds) if ran else ""
    return member.name, _verdict(error, ran=ran), took, what


def entry(
    member: Member, answer: Ended | None, error: BisoError | None, seconds: float = 0.0
) -> dict[str, Any]:
    """The same for --json. `result` is what the task says beyond what each says."""
    document = {} if answer is None else answer.document
    code = error.exit_code if error else answer.code if answer else None
    return {
        "name": member.name,
        "environment": member.environment,
        "file": str(member.file),
        "exit_code": code,
        "seconds": round(seconds, 3),
        "run": document.get("run"),
        "report": None if answer is None else answer.report,
        "error": None if error is None else as_json(error),
        "result": {key: value for key, value in document.items() if key not in COMMON},
    }


def _verdict(error: BisoError | None, *, ran: bool) -> tuple[str, Style]:
    """One word, and how it looks."""
    if error is not None:
        return _WORDS.get(error.exit_code, ("failed", "bad"))
    return ("ok", "good") if ran else ("not run", "dim")


def figures(ended: Ended) -> str:
    """What its document says, as far as a reader of many wants to know."""
    said = ended.document
    parts = [
        *_set(said),
        *_seconds(said, "maintenance_seconds", "in maintenance"),
        *_seconds(said, "downtime_seconds", "away"),
        *_proof(said),
        *_listed(said),
    ]
    return ", ".join(parts)


def _set(said: Mapping[str, Any]) -> list[str]:
    if not isinstance(said.get("set"), str):
        return []
    size = said.get("bytes")
    return [said["set"] + (f" ({human(size)})" if isinstance(size, int) else "")]


def _seconds(said: Mapping[str, Any], key: str, what: str) -> list[str]:
    value = said.get(key)
    return [f"{duration(value)} {what}"] if isinstance(value, int | float) else []


def _proof(said: Mapping[str, Any]) -> list[str]:
    proof = said.get("proof")
    return [f"{proof['values']:,} values proven"] if isinstance(proof, Mapping) else []


def _listed(said: Mapping[str, Any]) -> list[str]:
    """Of lists what they hold; the newest set of those that a store has."""
    found: list[str] = []
    sets = said.get("sets")
    if isinstance(sets, list) and sets and isinstance(sets[-1], Mapping):
        found.append(f"{_count(sets, 'set')}, newest {sets[-1]['id']} ({sets[-1]['state']})")
    elif isinstance(sets, list):
        found.append(_count(sets, "set"))
    found += [str(one) for one in said.get("stale") or ()]
    for key, what in (("findings", "finding"), ("removed", "thing")):
        if isinstance(said.get(key), list):
            found.append(_count(said[key], what) + (" removed" if key == "removed" else ""))
    checks = said.get("checks")
    if isinstance(checks, list):
        bad = [one for one in checks if not one["ok"]]
        found.append(f"{len(checks) - len(bad)} of {len(checks)} checks are good")
        found += [f"{one['name']}: {one['detail']}" for one in bad[:1]]
    for one in said.get("environments") or ():
        if isinstance(one, Mapping):
            found += one.get("done") or ["nothing to recover"]
    return found


def _count(things: list[Any], what: str) -> str:
    return f"{len(things)} {what}" + ("" if len(things) == 1 else "s")
