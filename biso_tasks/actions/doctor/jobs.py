"""What `doctor` says of BISO's jobs: which crontabs and units of the host start its scheduler and
its queue runner, and whether they stand still during a swap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from biso_tasks.actions.doctor.checklist import Sheet
from biso_tasks.host.command import script
from biso_tasks.instance.instance import Instance

__all__ = ["CRON", "check_jobs"]

CRON: Final = ("cron", "crond", "cronie")
_CRONTABS: Final = ("/etc/crontab", "/etc/cron.d")
_UNITS: Final = ("/etc/systemd/system", "/usr/local/lib/systemd/system")

# What names the webroot: "cron" and where, or "unit", its name and whether it runs. $1 and $2 are
# patterns, $3 how many places of crontabs follow; the rest are places of units.
_LOOK = r"""
names=(-e "$1" -e "$2") count=$3; shift 3
for (( ; count > 0; count-- )); do
  grep -rnHE "${names[@]}" -- "$1" 2>/dev/null | grep -vE '^[^:]*:[0-9]+:[[:space:]]*#' |
    while IFS=: read -r file line _; do printf 'cron\0%s line %s\0\0' "$file" "$line"; done || true
  shift
done
if crontab -l 2>/dev/null | grep -vE '^[[:space:]]*#' | grep -qE "${names[@]}"; then
  printf 'cron\0the crontab of %s\0\0' "$(id -un)"
fi
for folder; do
  grep -rlE --include='*.service' "${names[@]}" -- "$folder" 2>/dev/null |
    while IFS= read -r file; do
      unit=${file##*/}; unit=${unit%.service}
      state=$(systemctl is-active -- "$unit" 2>/dev/null || true)
      printf 'unit\0%s\0%s\0' "$unit" "$state"
    done || true
done
"""


def check_jobs(
    sheet: Sheet,
    instance: Instance,
    *,
    writes: bool,
    crontabs: Sequence[str] = _CRONTABS,
    units: Sequence[str] = _UNITS,
) -> None:
    """One line of what was found, with `writes` also of what a swap would not stop: that is no
    complaint, for a site may want it so. Of a container's jobs nothing is said: they are not the
    host's."""
    environment = instance.environment
    if environment.services.kind == "compose":
        return
    # As biso.toml writes it, and without links.
    given, real = environment.webroot, instance.layout.webroot
    look = script(_LOOK, _pattern(given), _pattern(real), str(len(crontabs)), *crontabs, *units)
    out = instance.host.run(look.as_user(environment.host_user), ok=None).out
    words = out.decode("utf-8", "replace").split("\0")
    found = list(zip(words[0::3], words[1::3], words[2::3], strict=False))
    stops = {one.removesuffix(".service") for one in environment.services.stop}
    by_cron = [place for kind, place, _ in found if kind == "cron"]
    by_unit = {name: state for kind, name, state in found if kind == "unit"}
    told = [*by_cron, *(f"the service {name}" for name in sorted(by_unit))]
    if not told:
        sheet.good("jobs", "no crontab and no service that can be read here names the webroot")
        return
    going_on = [one for one in sorted(by_unit) if by_unit[one] == "active" and one not in stops]
    if by_cron and not stops & set(CRON):
        going_on.insert(0, "cron")
    note = f"; not in `services.stop`, so not stopped for a swap: {', '.join(going_on)}"
    sheet.good("jobs", f"started by {', '.join(told)}{note if writes and going_on else ''}")


def _pattern(path: str) -> str:
    """An extended regular expression for `path` and what is below it: /srv/biso-old is another."""
    return re.sub(r"[][.{}()*+?^$|\\]", r"\\\g<0>", path) + r"([^[:alnum:]_.-]|$)"
