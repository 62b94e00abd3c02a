"""Which files of the data dir are being written right now: maintenance keeps new requests out, and
the ones that were let in before may still be writing."""

from __future__ import annotations

import re
from typing import Final

from biso_tasks.host.answer import fields
from biso_tasks.host.command import script
from biso_tasks.instance.instance import Instance
from biso_tasks.instance.mounts import inside_paths

__all__ = ["busy_files"]

# The path of a descriptor is the one that its own container sees, so the device is compared too.
# Logs are open for writing as long as the web server runs, and no set holds them.
_BUSY: Final = r"""# files open for writing
device=$(stat -c %d -- "$1"); shift
for place in "$@"; do
  find /proc/[0-9]*/fd -mindepth 1 -maxdepth 1 -lname "$place/*" ! -lname "$place/tmp/*" \
    ! -lname '*.log' ! -lname '* (deleted)' ! -lname "$place/maintenance.on" -print0 2>/dev/null |
  while IFS= read -r -d '' fd; do
    flags=0
    { while read -r key value; do [ "$key" != flags: ] || flags=$value; done
    } 2>/dev/null <"${fd/\/fd\//\/fdinfo\/}" || continue
    (( (8#$flags & 3) == 0 )) || [ "$(stat -L -c %d -- "$fd" 2>/dev/null)" != "$device" ] ||
      { readlink -z -- "$fd" || :; }
  done || :
done
"""


def busy_files(instance: Instance) -> tuple[str, ...]:
    """Paths, as their processes see them, of files below the data dir that are open for writing;
    logs and `tmp/` left out. One round trip.

    It sees what the application's user may look into: not the workers that a web server or php-fpm
    started as root, unless the login is root. So an empty answer is no proof."""
    layout = instance.layout
    places = {layout.datadir} | inside_paths(layout.datadir, instance.mounts)
    patterns = sorted(re.sub(r"([*?\[\]\\])", r"\\\1", place) for place in places)
    ask = script(_BUSY, layout.datadir, *patterns)
    if instance.host.login != "root":
        ask = ask.as_user(instance.environment.host_user)
    found = fields(instance.host.name, "files that are open", instance.host.run(ask).out)
    return tuple(sorted(set(found)))
