"""`schedule`: shows the timers of this site for this machine, installs them, removes them again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from biso_tasks.actions.schedule.agenda import (
    Agenda,
    Timetable,
    agenda,
    program,
    require_starts,
)
from biso_tasks.actions.schedule.cron import Crontab
from biso_tasks.actions.schedule.since import forget_timers, note_timers
from biso_tasks.actions.schedule.systemd import Units, system_folder, user_folder
from biso_tasks.cli.call import Call
from biso_tasks.cli.site import find_site
from biso_tasks.config.model import Site
from biso_tasks.errors import Refused, UsageError
from biso_tasks.host.local import LocalHost
from biso_tasks.ui.table import table
from biso_tasks.ui.text import clean

__all__ = ["schedule"]


def schedule(call: Call, kind: str = "", user: bool = False, remove: bool = False) -> None:
    """Without --yes and with --plan, nothing is changed."""
    if kind not in ("", "systemd", "cron"):
        raise UsageError(f"--kind {kind!r} is no kind of timer", hint="--kind systemd, --kind cron")
    site = find_site()
    host = LocalHost("this machine")
    call.stack.callback(host.close)
    places: tuple[Timetable, ...] = (
        Units(host, system_folder(), user=False),
        Units(host, user_folder(), user=True),
        Crontab(host),
    )
    if remove:
        # Whatever biso.toml says now: what it said once is taken away.
        own = Agenda(site.name, str(site.file))
        _remove(call, own, places, kind)
        if not call.options.plan and not any(place.present(own) for place in places):
            forget_timers(site)
        return
    here = _kind_here()
    mine = _chosen(places, kind or here or "systemd", user)
    wanted = agenda(site, program())
    _show(call, site, wanted, mine, nowhere=not (kind or here))
    if call.options.plan and mine.present(wanted) != mine.planned(wanted):
        changes = [f"installs {one.name} in {mine.where}" for one in mine.planned(wanted)]
        call.outlook("schedule", changes=changes)
    if call.options.plan or not call.options.yes:
        return
    if not (kind or here):
        raise Refused(_NOWHERE, hint=_REMEDY)
    for other in places:
        if other is not mine and other.present(wanted):
            raise Refused(
                f"this site is scheduled already, in {other.where}: every job would run twice",
                hint="`biso schedule --remove` first",
            )
    if wanted.jobs:
        require_starts(host, wanted)
    changed = mine.present(wanted) != mine.planned(wanted)
    mine.install(wanted)
    if any(job.name == "backup" for job in wanted.jobs):
        note_timers(site)
    else:
        forget_timers(site)
    call.document |= {"installed": bool(wanted.jobs), "changed": changed}
    call.text(f"{'Installed' if changed else 'Installed already, and active'}: {mine.where}")


def _remove(call: Call, wanted: Agenda, places: tuple[Timetable, ...], kind: str) -> None:
    found = [
        (place, pieces)
        for place in places
        if kind in ("", place.kind) and (pieces := place.present(wanted))
    ]
    call.document |= {
        "installed": bool(found) and call.options.plan,
        "changed": bool(found) and not call.options.plan,
        "pieces": [
            {"where": place.where, "name": piece.name, "text": piece.text}
            for place, pieces in found
            for piece in pieces
        ],
    }
    for place, pieces in found:
        if call.options.plan:
            names = [f"{piece.name} in {place.where}" for piece in pieces]
            call.outlook("schedule", changes=(), destroys=names)
            continue
        place.remove(wanted)
        call.text(f"Removed from {place.where}: {', '.join(piece.name for piece in pieces)}")
    if not found:
        call.text("Nothing of this site is scheduled here by this user.")


_SYSTEMD: Final = Path("/run/systemd/system")  # where systemd runs the machine
_NOWHERE: Final = "neither systemd nor cron runs on this machine: nothing can be installed here"
_REMEDY: Final = "apt install cron; or install it on the machine that makes the backups"


def _kind_here() -> str:
    """systemd where it runs this machine, else cron where that is, else ""."""
    if _SYSTEMD.is_dir():
        return "systemd"
    return "cron" if shutil.which("crontab") else ""


def _chosen(places: tuple[Timetable, ...], kind: str, user: bool) -> Timetable:
    system, own, crontab = places
    if kind == "cron":
        return crontab
    return own if user or os.geteuid() != 0 else system


def _show(call: Call, site: Site, wanted: Agenda, mine: Timetable, *, nowhere: bool) -> None:
    """`nowhere`: there is nothing on this machine that could run it."""
    planned, present = mine.planned(wanted), mine.present(wanted)
    notes = [*mine.notes(), *_notes(site)] if planned else []
    if nowhere:
        notes.append(f"{_NOWHERE}. {_REMEDY}; --kind cron shows the other form")
    call.document |= {
        "kind": mine.kind,
        "where": mine.where,
        "jobs": [
            {"name": job.name, "at": str(job.at), "command": list(wanted.command(job))}
            for job in wanted.jobs
        ],
        "pieces": [{"name": piece.name, "text": piece.text} for piece in planned],
        "notes": notes,
        "installed": bool(planned) and present == planned,
        "changed": False,
    }
    for piece in planned:
        call.text(f"--- {piece.name}")
        call.text("".join(f"{clean(line)}\n" for line in piece.text.splitlines()))
    if not planned:
        call.text("Nothing is to run by itself: every time in [schedule] is empty.")
    else:
        call.text(table([(str(job.at), f"biso {' '.join(job.words)}") for job in wanted.jobs]))
    for note in notes:
        call.text(f"Note: {note}")
    if present == planned:
        state = "installed as shown" if planned else "not installed"
    else:
        state = "installed, but not as shown" if present else "not installed"
    hint = "" if present == planned or call.options.yes or nowhere else ": --yes installs it"
    call.text(f"{mine.where}: {state}{hint}")


def _notes(site: Site) -> list[str]:
    """root runs what lies in the site's folder: whoever may write there is root."""
    if os.geteuid() != 0:
        return []
    owner = site.root.stat().st_uid
    if owner == 0:
        return []
    return [
        f"root would run the plugins in {site.root}, which belongs to another user (uid {owner}): "
        "whoever writes there acts as root. Install it as that user, without sudo"
    ]
