"""From the user who reads a live tree to the login that keeps the backup sets, on one host: files
never pass through this machine, and rsync is given only names that are not there yet.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from biso_tasks.files.access import Access
from biso_tasks.files.carry_tar import tar_words
from biso_tasks.files.crew import Crew, Progress
from biso_tasks.files.ends import listed
from biso_tasks.files.listing import FilesError
from biso_tasks.files.relay import FLAGS
from biso_tasks.files.tartree import MANY
from biso_tasks.host.command import Command, script

__all__ = ["Way", "carry", "keeps_owners", "way_between"]

_RSYNC: Final = (
    *("rsync", FLAGS, "--modify-window=-1", "--ignore-missing-args"),
    *("--no-human-readable", "--stats", "--info=progress2", "--from0", "--files-from=-"),
)
# The login can always enter, read and remove what lies in its store.
_OPEN: Final = "--chmod=Du+rwx,Fu+rw"
# $1 the set's tree, $2 bytes of names to remove, $3 bytes of names to bring, $4 "root" where root
# removes and rsync gives all to the login, $5 what brings them by tar, $6 "tar" where that goes
# first; then the rsync command (behind sudo, its first option is $11), for what that left. Says
# which names did not arrive: they vanished meanwhile. One process on the host for all of it:
# production may be waiting. tar removes what it archives, into nothing, and reads the names. rm has
# them among its words, for whoever lists processes and for the log of sudo: it gets only what the
# login cannot remove, a folder that root's rsync had not given away when it was killed.
_CARRY: Final = r"""
cd -- "$1"
there() {
  while IFS= read -r -d '' name; do
    [ ! -e "$name" ] && [ ! -L "$name" ] || printf '%s\0' "$name"
  done
}
if [ "$2" != 0 ]; then
  away=$(head -c "$2" | base64 -w0)
  given() { printf %s "$away" | base64 -d; }
  given | tar --create --file=/dev/null --remove-files --ignore-failed-read --null \
      --files-from=- 2>/dev/null ||
    given | there | xargs -0 -r ${4:+sudo -n} rm -rf --
fi
names=$(head -c "$3" | base64 -w0)
[ -z "$4" ] || set -- "${@:1:10}" "--chown=$(id -u):$(id -g)" "${@:11}"
by_tar=(bash --norc -euo pipefail -c "$5") first=$6
shift 6
[ -n "$names" ] || exit 0
missing() {
  printf %s "$names" | base64 -d | while IFS= read -r -d '' name; do
    [ -e "$name" ] || [ -L "$name" ] || printf '%s\0' "$name"
  done | base64 -w0
}
type -P rsync >/dev/null || { set -- "${by_tar[@]}"; first=; }
left=$names code=0
if [ -n "$first" ] && printf %s "$names" | base64 -d | "${by_tar[@]}" >&2; then
  left=$(missing)
fi
[ -n "$left" ] || exit 0
printf %s "$left" | base64 -d | "$@" >&2 || code=$?
missing
exit "$code"
"""
# What rsync says beside the reason of a failure.
_NOISE: Final = re.compile(
    r"rsync error: |rsync: connection unexpectedly closed|(Number of|Total|Literal|Matched) |"
    r"(File list|total size|sent|sending|receiving) "
)


@dataclass(frozen=True, slots=True)
class Way:
    """rsync's words with its options, and its two ends; `tree` that it reads, and how to `become`
    who may read it. `keeps`: files keep owner and mode. `by_root`: root reads and writes, and gives
    what it writes to the login."""

    words: tuple[str, ...]
    ends: tuple[str, ...]
    tree: str
    become: tuple[str, ...] = ()
    keeps: bool = False
    by_root: bool = False


def keeps_owners(target: Access) -> bool:
    """Whether files of a set keep their owners and modes: no other login can give files away."""
    return target.host.login == "root"


def way_between(source: Access, root: str, target: Access, target_root: str) -> Way:
    """How the tree `root` gets into `target_root` on the same host: who reads, who writes."""
    here = target_root.rstrip("/") + "/"
    ends = ("--", root.rstrip("/") + "/", here)
    if keeps_owners(target):
        return Way(_RSYNC, ends, root, keeps=True)
    if source.root:
        return Way(("sudo", "-n", "--", *_RSYNC, _OPEN), ends, root, ("sudo", "-n"), by_root=True)
    words = (*_RSYNC, "--no-owner", "--no-group", _OPEN)
    if source.user in (None, target.host.login):
        return Way(words, ends, root)
    # Two users of one host: rsync's "remote shell" makes the one become the other, and the bytes
    # stay there. `env` takes the "host" for a variable, and goes to the tree first: rsync would
    # write a far path for a shell that is not there, and take [ in it for a wildcard.
    become = ("sudo", "-n", "-u", source.user or "", "--", "env", "-C", root)
    shell = " ".join("'" + word.replace("'", "''") + "'" for word in become)
    far = ("-e", shell, "--", "BISO=1:./", here)
    return Way(words, far, root, ("sudo", "-n", "-u", source.user or ""))


def carry(
    target: Access,
    target_root: str,
    way: Way,
    *,
    remove: Sequence[str],
    bring: Sequence[str],
    link_dest: str | None = None,
    by_content: bool = False,
    fresh: bool = False,
    cancel: threading.Event | None,
    progress: Progress | None = None,
) -> tuple[tuple[str, ...], int]:
    """Remove the paths `remove` of the set's tree, then copy or link the paths `bring`, which by
    then are not there, or directories. A file is a hard link into `link_dest` where size, mtime and
    (but for a login that keeps none) owner and mode are the same there, `by_content` the bytes as
    well. `fresh`: nothing of it is there yet, nor in a set before. One round trip. Gives the paths
    that vanished at the source, and the bytes that were copied. Raises FilesError, Interrupted."""
    options = [] if link_dest is None else [f"--link-dest={link_dest}"]
    options += ["--checksum"] if by_content else []
    away, names = listed(remove), listed(bring)
    without = Command(tar_words(way.become, way.tree, link_dest, keeps=way.keeps)).shell()
    # root may run rsync, and no tar
    tar = fresh and len(bring) >= MANY and not way.by_root
    words = (
        *(str(len(away)), str(len(names)), "root" if way.by_root else ""),
        *(without, "tar" if tar else ""),
    )
    what = f"the copy into {target_root} on {target.host.name}"
    with Crew(cancel, what) as crew:
        told, telling = crew.pipe()
        given, giving = crew.pipe()
        crew.start(
            "rsync",
            target.host,
            script(_CARRY, target_root, *words, *way.words, *options, *way.ends),
            stdin=told,
            stdout=giving,
            progress=progress,
        )
        answer = crew.listen(given)
        crew.feed(telling, (away, names))
        crew.close(telling)
        codes = crew.wait()
        lines = crew.messages("rsync")
        lost = crew.lost(codes)
        if lost is not None:
            raise lost
        _judge(what, codes["rsync"], lines)
        missing = base64.b64decode("".join(answer.lines()))
    paths = missing.decode("utf-8", "surrogateescape").split("\0")
    return tuple(path.removeprefix("./") for path in paths if path), _copied(lines)


def _judge(what: str, code: int, lines: Sequence[str]) -> None:
    if code in (0, 24):  # 24: files vanished, as they do on a live tree
        return
    reasons = [line for line in lines if not _NOISE.match(line)] or list(lines)[-3:]
    raise FilesError(
        f"{what} failed ({code}): " + " / ".join(dict.fromkeys(reasons[:4])),
        hint="a file that cannot be read needs `sudo = true` or another `run_as` on its host"
        if code == 23
        else "",
    )


def _copied(lines: Sequence[str]) -> int:
    found = (re.fullmatch(r"Total transferred file size: ([\d,.]+) bytes", one) for one in lines)
    return sum(int(re.sub(r"\D", "", one[1])) for one in found if one)
