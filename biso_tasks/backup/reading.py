"""A set that is being read is not removed. Each reader leaves a mark beside the set, a file that it
holds locked (ADR 3): it lives as long as the reader does, and one that nobody holds says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from biso_tasks.backup.store import Store
from biso_tasks.errors import Refused, StepFailed
from biso_tasks.host.command import script
from biso_tasks.host.lease import hold

__all__ = ["reading"]

# First the mark, then a look at the set: who removes one looks for marks again when it is away. A
# mark that somebody took for a left one, before we held it, is made again.
_HOLD: Final = r"""
umask 077
cd -- "$1"
mark=
trap '[ -z "$mark" ] || rm -f -- "$mark"' EXIT
why=
type -P flock >/dev/null || why='the program flock is not there'
while [ -z "$why" ]; do
  mark=$(mktemp -- ".reading-$2.XXXXXXXX" 2>&1) || { why=$mark mark=; break; }
  exec 9>>"$mark"
  flock -w 10 9 || { why="$mark cannot be locked"; break; }
  [ ! "$mark" -ef /proc/self/fd/9 ] || break
done
[ -n "$why" ] || printf '%s\n' "$3" 2>/dev/null >&9 || : # who reads can be told by a full disk too
[ -d "$2" ] || { echo gone; exit 0; }
[ -z "$why" ] || { echo "unmarked $why"; exit 0; }
echo held
while IFS= read -r -t 60 line; do [ "$line" != release ] || break; done
"""


@contextmanager
def reading(store: Store, id: str, owner: dict[str, str]) -> Iterator[str]:
    """While inside, `Store.remove` leaves the set where it is, and names `owner` (run, who, since).
    Others may read it as well. Gives why there is no mark, "" where there is one: a medium that
    cannot be written to, or is full, must not keep anybody from restoring.

    Raises Refused where the set is not there any more."""
    if not store.managed:
        yield ""  # a copy: nobody removes sets there
        return
    held = hold(store.host, script(_HOLD, f"{store.path}/sets", id, json.dumps(owner)))
    try:
        answer = held.line()
        if answer == "gone":
            raise Refused(
                f"{id} is not in {store} any more",
                hint="was it removed meanwhile? `biso list` shows what is there",
            )
        if not answer.startswith(("held", "unmarked ")):
            held.wait(2)  # its output ends a moment before it does
            raise StepFailed(
                f"{store}: {id} could not be marked as being read: "
                f"{answer or held.failure().message}",
                hint="is the store still there?",
            )
        yield answer.removeprefix("held").removeprefix("unmarked ")
    finally:
        held.close()
