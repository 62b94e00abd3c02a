"""What `doctor` checks: everything that a run needs, on every host, before it is needed.

Nothing is changed. No problem hides the next one; what cannot be looked at because of an earlier
problem is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

from biso_tasks.actions.doctor.beginning import check_refresh
from biso_tasks.actions.doctor.checklist import Looked, Sheet
from biso_tasks.actions.doctor.environment import look
from biso_tasks.actions.doctor.pair import compare
from biso_tasks.actions.doctor.sets import (
    check_ages,
    check_backup,
    check_kept,
    check_released,
    check_wanted,
)
from biso_tasks.errors import UsageError
from biso_tasks.hooks.types import Check
from biso_tasks.session import Session
from biso_tasks.stage import guards

__all__ = ["checks"]


def checks(session: Session, for_task: str) -> Iterator[Check]:
    """What `for_task` needs, one line each, host by host; "" is a refresh, and what there is of
    backup sets. Raises UsageError where there is no such task."""
    scope = _scope(session, for_task or "refresh-test")
    here = Sheet("")
    _here(here, session, scope)
    yield from here.checks
    known = [e.name for e in session.site.environments]
    names = [n for n in dict.fromkeys((*scope.reads, *scope.writes)) if n in known]
    if not names:
        return
    with ThreadPoolExecutor(len(names)) as pool:
        see = [
            pool.submit(
                look,
                session,
                name,
                scope.task,
                writes=name in scope.writes,
                anonymize=scope.anonymize and name in scope.writes,
            )
            for name in names
        ]
        looked = {}
        for name, future in zip(names, see, strict=True):
            looked[name] = future.result()
            yield from looked[name].sheet.checks
    if scope.pair is not None and all(name in looked for name in scope.pair):
        source, target = (looked[name] for name in scope.pair)
        between = Sheet(target.environment.name)
        compare(between, session, source, target)
        seen = [*source.sheet.checks, *target.sheet.checks, *between.checks]
        live = scope.task == "refresh-test" and session.site.refresh.source == "live"
        if live and all(one.ok for one in seen):
            check_refresh(between, session, *scope.pair, anonymize=scope.anonymize)
        yield from between.checks
    how = scope.sets if for_task or scope.sets == "released" else "old"
    yield from _sets(session, looked, how, scope.wanted)
    for _, found in session.hooks.collect("biso_checks", site=session.site):
        yield from found


# Of the backup sets: nothing; whether one could be made; which there are; whether the one that is
# wanted is there; whether they are too old; whether there is a release that would be taken.
_Sets = Literal["", "made", "kept", "wanted", "old", "released"]


@dataclass(frozen=True, slots=True)
class _Scope:
    """Environments that are read, those that are changed, and which is copied to which; what to say
    of backup sets."""

    task: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    pair: tuple[str, str] | None = None
    anonymize: bool = False
    sets: _Sets = ""
    wanted: str = "latest"


def _sets(
    session: Session, looked: Mapping[str, Looked], how: _Sets, wanted: str
) -> Iterator[Check]:
    """Of the environment that is backed up, where it could be looked at; of releases, where the one
    that takes them could."""
    target = session.site.refresh.to
    if how == "released":
        if target in looked:
            sheet = Sheet(target)
            check_released(sheet, session, target)
            yield from sheet.checks
        return
    name = session.site.backup.environment
    if not how or name not in looked or looked[name].instance is None:
        return
    sheet = Sheet(name)
    if how == "made":
        check_backup(sheet, session, name)
    if how == "old":
        check_ages(sheet, session, name)
    elif how == "wanted":
        check_wanted(sheet, session, wanted)
    else:
        check_kept(sheet, session, name)
    yield from sheet.checks


def _scope(session: Session, task: str) -> _Scope:
    site = session.site
    source, target = site.refresh.from_, site.refresh.to
    if task == "refresh-test":
        anonymize = bool(site.refresh.anonymize)
        live = site.refresh.source == "live"
        if site.refresh.source == "released":
            # Production is not looked at: it need not be reached.
            return _Scope(task, (), (target,), anonymize=anonymize, sets="released")
        return _Scope(
            task, (source,), (target,), (source, target), anonymize,
            sets="" if live else "wanted", wanted=site.refresh.source,
        )  # fmt: skip
    if task == "release":
        made = site.release.environment
        return _Scope(task, (source,), (made,), (source, made), True)
    if task == "anonymize":
        return _Scope(task, (), (target,), (target, target), True)
    about: dict[str, _Sets] = {"backup": "made", "verify": "wanted", "prune": "kept"}
    if task in about:
        return _Scope(task, (site.backup.environment,), sets=about[task])
    if task == "restore":
        # Without --to into what was backed up, as a rule production; with it mostly into test.
        there = [each.name for each in site.environments if each.name == target]
        places = dict.fromkeys((site.backup.environment, *there))
        return _Scope(
            task, (), tuple(places), anonymize=bool(site.refresh.anonymize), sets="wanted"
        )
    if task in ("reset-test", "baseline"):
        return _Scope(task, (), (target,))
    if task == "rollback":
        return _Scope(task, (), (target,))
    if task == "recover":
        return _Scope(task, (), tuple(e.name for e in site.environments))
    own = tuple(change.name for change in site.recipes if change.steps)
    if task in own:
        return _Scope(task, tuple(e.name for e in site.environments))
    known = ", ".join((*_KNOWN, *own))
    raise UsageError(
        f"doctor does not know what the task {task!r} needs", hint=f"--for can be: {known}"
    )


_KNOWN = (
    *("refresh-test", "release", "anonymize", "rollback", "recover"),
    *("backup", "verify", "prune", "restore", "baseline", "reset-test"),
)


def _here(sheet: Sheet, session: Session, scope: _Scope) -> None:
    """This machine: the config, the plugins, ssh, the place for journals."""
    site = session.site
    listed = ", ".join(f"{e.name} ({e.role})" for e in site.environments)
    sheet.good("biso.toml", f"{site.file}: {listed or 'no environment'}")
    known = {e.name: e for e in site.environments}
    for name in dict.fromkeys((*scope.reads, *scope.writes)):
        if name not in known:
            sheet.bad(
                "environments",
                f"{scope.task} needs the environment {name!r}, and biso.toml has none of that name",
                f"add [environments.{name}], or name another one in [refresh]",
            )
        elif name in scope.writes and scope.task not in ("recover", "rollback", "restore"):
            guard = partial(guards.not_production, known[name], scope.task)
            sheet.guard("roles", guard, f"{scope.task} changes {name}, a test environment")
    _plugins(sheet, session)
    if any(environment.ssh for environment in site.environments):
        _ssh(sheet)
    folder = site.state
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        sheet.good("journals", f"are kept in {site.state}")
    else:
        remedy = f"make {folder} a folder that you may write to, or set site.state"
        sheet.bad("journals", f"{site.state} cannot be written", remedy)


def _plugins(sheet: Sheet, session: Session) -> None:
    found = session.hooks.plugins()
    loaded = [one.name for one in found if one.status == "loaded" and one.kind != "built in"]
    sheet.good("plugins", ", ".join(loaded) or "none but the built-in ones")
    for one in found:
        name = f"plugin {one.name}"
        if one.status == "broken":
            sheet.bad(name, one.error, f"correct or update {one.source}, or disable it")
        for warning in one.warnings:
            sheet.bad(name, warning, f"correct {one.source}")


def _ssh(sheet: Sheet) -> None:
    program = shutil.which("ssh")
    if program is None:
        sheet.bad("ssh", "OpenSSH's client is not there", "apt install openssh-client")
        return
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    sheet.good("ssh", said.partition(",")[0].strip() or program)
