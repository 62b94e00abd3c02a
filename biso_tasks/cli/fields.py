"""What `--json` says, field by field: for the reference, and for the tests, which let no task say
anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["COMMON", "FIELDS"]

COMMON: Final[Mapping[str, str]] = {
    "ok": "Whether all was done: `exit_code` is 0.",
    "task": "The task's name.",
    "run": "The run's id, such as `20261128_113347-refresh-test-dff8`.",
    "exit_code": "As the program's own.",
    "seconds": "From start to end.",
    "steps": "Of each step `name`, `on` (the environment), `status`, `seconds`; empty where no "
    "recipe ran.",
    "error": "null, or `kind`, `message` (one line), `hint`.",
    "plan": "With `--plan`, and where a recipe ran: of each step `name`, `on`, `uses`, `needs`, "
    "`changes`, `destroys`.",
    "report": "The path of the run's report as HTML; of `report` the report itself.",
    "installations": "Where several are meant: of each `name`, `environment`, `file`, `exit_code`, "
    "`seconds`, `run`, `report`, `error`, `result` (what its own document says beyond these), and "
    "`plan` with `--plan`.",
}
"""Of every task; the last three where there is a plan, a run, several installations."""

_SET: Final[Mapping[str, str]] = {
    "set": "The id of the set that was made, null where none was.",
    "path": "Where it lies on its host.",
    "bytes": "Its size: files as they are, dumps as they are packed.",
}
_SWAPPED: Final[Mapping[str, str]] = {
    "source": '"live", "previous", or the id of the set that it was made of.',
    "downtime_seconds": "How long the instance was away, null where nothing was exchanged.",
    "previous": "What `rollback` brings back: a database, or a folder; null where there is none.",
}
_PROOF: Final[Mapping[str, str]] = {
    "proof": "null, or `columns`, `values`, `files` that were searched, and `leaks`.",
}
_FINDINGS: Final[Mapping[str, str]] = {
    "sets": "The ids that were looked at.",
    "findings": "What is wrong: of each `set`, `kind`, `path`, `text`.",
    "drilled": "Whether all of them were restored, and compared.",
    "runs": "With several sets to drill: of each `set`, `run`, `exit_code`, `drilled`, `error`.",
}
_ENTRY: Final[Mapping[str, str]] = {
    "id": "The set's id.",
    "state": "`partial`, `complete`, `good`, `verified`, `drilled` or `damaged`.",
    "created": "When it was made.",
    "bytes": "What it holds.",
    "areas": "`webroot`, `data`, `database`, as far as they are in it.",
    "released": "Whether it is anonymised, proven and may be handed out.",
    "verified": "When it was last verified, or null.",
    "drilled": "When it was last restored for a test, or null.",
    "pinned": "Whether the retention keeps its hands off it now.",
    "pin": "null, or `reason` and `until`.",
    "why": 'Why it is damaged, or "".',
}
_RESTORED: Final[Mapping[str, str]] = {
    "restored": "With `--table` or `--path`: what was put back.",
    "rows": "How many rows of a table.",
    "replaced": "Where what stood there before is kept, or null.",
}

FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "refresh-test": {
        **_SWAPPED,
        **_PROOF,
        "release": "From a release: the proof that came with it.",
        "baseline": "Where a baseline is kept after each refresh: its id, or null.",
    },
    "anonymize": {**_SWAPPED, **_PROOF},
    "rollback": _SWAPPED,
    "reset-test": {**_SWAPPED, **_PROOF},
    "restore": {**_SWAPPED, **_PROOF, **_RESTORED},
    "backup": {**_SET, "maintenance_seconds": "How long production was in maintenance."},
    "baseline": {
        **_SET,
        "name": "The baseline's name.",
        "maintenance_seconds": "How long the instance was in maintenance.",
    },
    "release": {**_SET, **_PROOF, "gate": "With `--gate`: the script for the host's SSH key."},
    "verify": _FINDINGS,
    "list": {
        "sets": "Of each set " + ", ".join(f"`{one}`" for one in _ENTRY) + ".",
        "stale": "What is too old, a line each: no good, verified or drilled set for too long.",
    },
    "show": {
        "set": "Its id.",
        "path": "Where it lies on its host.",
        **_ENTRY,
        "counts": "Rows of each table, by database.",
        "versions": "Of what made it: biso-tasks, PostgreSQL, pg_dump, PHP.",
        "manifest": "The manifest, whole.",
    },
    "pin": {
        "set": "Its id.",
        "pinned": "Whether it is pinned now.",
        "reason": "Why.",
        "until": "Until when, or null.",
    },
    "unpin": {"set": "Its id.", "pinned": "Whether it is pinned now."},
    "prune": {
        "removed": "The ids of sets, stages and previous instances that went.",
        "in_use": "What would have gone, and is in use.",
        "kept": "Of each set that stays, by which rules.",
    },
    "recover": {"environments": "Of each `environment`, `done` (lines), `error` (or null)."},
    "doctor": {"checks": "Of each `host` (empty: here), `name`, `ok`, `detail`, `remedy`."},
    "privacy-scan": {
        "columns": "Of each `name`, `type`, `verdict`, `kind`, `reason`, `decided`.",
        "files": "Of each `pattern`, `verdict`, `reason`, `decided`, `files`, `bytes`.",
        "drift": "What privacy.toml does not name, or names in vain.",
        "inventory": "The path of privacy.toml, or null.",
        "written": "Whether it was written.",
    },
    "schedule": {
        "kind": '"systemd" or "cron".',
        "where": "In which folder, or whose crontab.",
        "jobs": "Of each `name`, `at`, `command`.",
        "pieces": "What is, or would be, installed: `name` and `text`.",
        "notes": "What an administrator should know.",
        "installed": "Whether it is installed as it is shown.",
        "changed": "Whether this run changed it.",
    },
    "init": {
        "file": "The biso.toml.",
        "written": "The files that were written.",
        "kept": "Those that were there, and stay.",
        "environments": "What was found of each installation.",
        "checks": "As `doctor` says them, where both instances are there.",
        "text": "With `--plan`: the biso.toml.",
    },
    "plugins": {
        "plugins": "Of each `name`, `kind`, `source`, `status`, `hooks`, `warnings`, `error`."
    },
    "hooks": {"hooks": "The reference of the hooks, as Markdown."},
    "runs": {"runs": "Of each what `biso runs` shows, the newest first."},
    "report": {},
    "plugin-new": {"plugin": "Its name.", "written": "The files that were written."},
    "demo": {
        **_SWAPPED,
        **_PROOF,
        "ssh": "Whether its hosts are reached by SSH.",
        "set": "The id of the backup set that it made.",
    },
    "bench": {"bench": "All that was measured.", "written": "The files that were written."},
    "test": {"tests": "pytest's closing line."},
}
"""By task: what it says beyond COMMON. A recipe of the site's own says nothing more."""
