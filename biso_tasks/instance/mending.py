"""What a maintenance of ours left behind when even its guard was ended: a reboot, a kill -9."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from biso_tasks.errors import NeedsPerson, StepFailed
from biso_tasks.host.answer import answered
from biso_tasks.host.command import script
from biso_tasks.instance.guard import forget
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.services import running, start

__all__ = ["RECORD", "Found", "look", "mend", "mend_outlook"]

RECORD: Final = "maintenance"  # the document of instance.state

_LOOK: Final = r"""# how maintenance stands
missing=''
for program in flock setsid timeout; do type -P "$program" >/dev/null || missing+=" $program"; done
flag=0; [ ! -e "$2" ] || flag=1
state=none
if cd -- "$1" 2>/dev/null && [ -e maintenance.json ]; then
  state=dead
  if [ -e maintenance.lock ] && ! flock -n maintenance.lock true; then state=live; fi
fi
echo "$state $flag $(date +%s)$missing"
"""


@dataclass(frozen=True, slots=True)
class Found:
    """`state`: "none"; "live", a guard holds the lease; "dead", a record without one. `epoch` is
    the host's clock, `missing` are programs that a guard needs."""

    state: str
    flagged: bool
    epoch: int
    missing: tuple[str, ...]


def look(instance: Instance) -> Found:
    """How maintenance stands there now, in one round trip."""
    layout = instance.layout
    ask = script(_LOOK, layout.stage_dir, f"{layout.datadir}/maintenance.on")
    answer = instance.host.run(ask.as_user(instance.environment.host_user)).text
    with answered(instance.host.name, "its maintenance"):
        state, flag, epoch, *missing = answer.split()
        return Found(state, flag == "1", int(epoch), tuple(missing))


def mend(instance: Instance) -> tuple[str, ...]:
    """End a maintenance whose guard is gone: off unless the site was in it before, services that
    were held started, the record removed. Lines of what was done, () where there is nothing; a
    lease that is alive is left alone, and said. The caller holds the environment's lock.

    Raises NeedsPerson where maintenance stays on or a service does not start; the record then
    stays as well."""
    found = look(instance)
    if found.state == "none":
        return ()
    record = instance.state.read(RECORD) or {}
    run = f"run {record.get('run', '?')} of {record.get('who', '?')}"
    if found.state == "live":
        return (f"in maintenance by {run}: its guard on that host is alive and ends it by itself",)
    done = []
    if found.flagged and record.get("was_on") is not True:
        _switch_off(instance, run)
        done.append(f"ended the maintenance of {run}{_rebooted(instance, record)}")
    started = _start(instance, record)
    done += [f"started {name} again, which {run} had stopped" for name in started]
    forget(instance)
    return tuple(done) or (f"removed the record of a maintenance of {run}, which was over",)


def mend_outlook(instance: Instance) -> str:
    """What `mend` would do, "" for nothing. Nothing is changed."""
    found = look(instance)
    if found.state != "dead":
        return ""
    record = instance.state.read(RECORD) or {}
    run = f"run {record.get('run', '?')} of {record.get('who', '?')}"
    if found.flagged and record.get("was_on") is not True:
        return f"ends the maintenance of {run}, and starts what it held"
    return f"removes the record of a maintenance of {run}, which is over"


def _switch_off(instance: Instance, run: str) -> None:
    why = "`biso-cli maintenance off` ended well, but maintenance.on is still in its data dir"
    try:
        instance.app.maintenance(False)
        left = instance.in_maintenance()
    except StepFailed as error:
        left, why = True, error.message
    if left:
        raise NeedsPerson(
            f"{instance.name} is still in maintenance, which {run} switched on: {why}",
            hint="switch it off there by hand, then run `biso recover` again",
        )


def _rebooted(instance: Instance, record: Mapping[str, Any]) -> str:
    return "" if record.get("machine") == instance.layout.machine else " (the host was restarted)"


def _start(instance: Instance, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of the held services that do not run. Without a way to ask, all are started."""
    services = instance.environment.services
    listed = record.get("services")
    held = tuple(name for name in listed if isinstance(name, str)) if listed else ()
    if services.kind == "none" or not held:
        return ()
    blind = services.kind == "command" and not services.status_command
    up = () if blind else running(instance.host, instance.environment, held)
    down = tuple(name for name in held if name not in up)
    try:
        start(instance.host, instance.environment, down)
    except StepFailed as error:
        raise NeedsPerson(
            error.message, hint=f"{error.hint}; then run `biso recover` again"
        ) from error
    return down
