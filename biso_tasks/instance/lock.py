"""One run at a time an environment: a `flock` on the environment's own host, held by a process
that lives exactly as long as this controller and the link to it do. A laptop that is closed, a
`kill -9`, a cut cable: within a minute the lock is free again, and there is no stale one to judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from biso_tasks.config.model import Environment
from biso_tasks.errors import Locked, StepFailed
from biso_tasks.host.command import script
from biso_tasks.host.lease import Held, hold
from biso_tasks.host.protocol import Host
from biso_tasks.instance.layout import Layout

__all__ = ["lock", "lock_folder", "owner_of", "require_free"]

# The file is removed by its holder, under the lock; so whoever gets a lock on a file that is no
# longer the one at that path tries again, or two runs would each hold "the" lock.
_HOLD = r"""
umask 077
cd -- "$1" || { echo gone; exit 74; }
type -P flock >/dev/null || { echo 'the program flock is not there'; exit 69; }
while :; do
  exec 9>>lock
  if ! flock -n 9; then
    printf 'busy '; head -c 2000 owner 2>/dev/null | tr '\n' ' '; echo; exit 75
  fi
  [ lock -ef /proc/self/fd/9 ] && break
done
trap 'rm -f owner lock' EXIT
printf '%s\n' "$2" > owner
echo held
while IFS= read -r -t 60 line; do [ "$line" != release ] || break; done
"""


# Asked while planning: nothing is created, and a lock that is free is not kept.
_PEEK = r"""
cd -- "$1" 2>/dev/null || exit 0
[ -e lock ] && type -P flock >/dev/null || exit 0
flock -n lock true || { printf 'busy '; head -c 2000 owner 2>/dev/null | tr '\n' ' '; }
"""


def require_free(host: Host, environment: Environment, layout: Layout) -> None:
    """Raises Locked, naming the owner, where another run holds the environment now."""
    peek = script(_PEEK, layout.stage_dir).as_user(environment.host_user)
    answer = host.run(peek).text
    if answer.startswith("busy"):
        raise _locked(environment.name, answer)


@contextmanager
def lock(
    host: Host, environment: Environment, layout: Layout, owner: dict[str, str]
) -> Iterator[Held]:
    """Hold the environment. `owner` says who to a colleague: run, who, since.

    Raises Locked, naming the owner, where another run holds it.
    """
    folder, user = layout.stage_dir, environment.host_user
    with lock_folder(host, folder, owner, user=user, what=environment.name) as held:
        yield held


@contextmanager
def lock_folder(
    host: Host, folder: str, owner: dict[str, str], *, user: str | None, what: str
) -> Iterator[Held]:
    """Hold a folder that belongs to `user` (None: the login); `what` is how messages call it.

    Raises Locked, naming the owner, where another run holds it.
    """
    held = hold(host, script(_HOLD, folder, json.dumps(owner)).as_user(user))
    try:
        answer = held.line()
        if answer.startswith("busy"):
            raise _locked(what, answer)
        if answer != "held":
            held.wait(2)  # its output ends a moment before it does
            why = answer or held.failure().message
            raise StepFailed(
                f"{what}: no lock could be taken in {folder}: {why}",
                hint="is `flock` (util-linux) there, the directory writable, the disk not full?",
            )
        yield held
    finally:
        held.close()


def owner_of(text: str) -> str:
    """How messages name who holds a lock, by what was written down of it."""
    try:
        owner = json.loads(text)
        return f"run {owner['run']} of {owner['who']}, since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "another run"


def _locked(what: str, answer: str) -> Locked:
    return Locked(
        f"{what} is in use by {owner_of(answer.removeprefix('busy'))}",
        hint="wait until it has ended; one that was killed frees the lock within a minute",
    )
