"""Without rsync: a listing, a difference, a local copy of what did not change, a tar stream of the
rest from one process into the other.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final

from biso_tasks.files.access import Access
from biso_tasks.files.crew import Crew
from biso_tasks.files.listing import Entry, FilesError, list_tree
from biso_tasks.files.owners import Owners, give
from biso_tasks.host.command import script

__all__ = ["copy_unchanged", "send", "unchanged"]

_PACK: Final = """
names=$(head -c "$2" | base64 -w0)
cd -- "$1"
printf %s "$names" | base64 -d |
  LC_ALL=C tar --create --file=- --format=posix --pax-option=delete=atime,delete=ctime \
    --sparse --no-recursion --null --files-from=-
"""
_UNPACK: Final = """
LC_ALL=C tar --extract --file=- --preserve-permissions --no-same-owner --directory="$1"
"""
# cp may meet a live tree that changes; what it could not copy is sent.
_COPY: Final = """
cd -- "$1"
xargs -0 -r cp --archive --reflink=auto --parents --target-directory="$2" -- 2>/dev/null || true
"""


def unchanged(
    entries: Sequence[Entry], basis: Sequence[Entry], owners: Owners | None
) -> tuple[Entry, ...]:
    """Files that the basis holds with equal size, time, mode and (unless `owners` is None) owner.
    Members of a hard-link group are never among them: the group must stay one."""
    there = {entry.path: entry for entry in basis if entry.kind == "file" and entry.readable}
    same = []
    for entry in entries:
        other = there.get(entry.path)
        if (
            other is not None
            and entry.kind == "file"
            and entry.links == 1
            and (entry.size, entry.mtime, entry.mode) == (other.size, other.mtime, other.mode)
            and (owners is None or owners.of(entry) == (other.owner, other.group))
        ):
            same.append(entry)
    return tuple(same)


def copy_unchanged(target: Access, basis: str, target_root: str, entries: Sequence[Entry]) -> None:
    """Copy from the live tree beside: new inodes, shared blocks where the filesystem can."""
    if entries:
        names = b"".join(_name(entry) for entry in entries)
        copy = target.reader(script(_COPY, basis, target_root))
        target.host.run(copy, stdin=names, timeout=None)


def send(
    source: Access,
    source_root: str,
    target: Access,
    target_root: str,
    entries: Sequence[Entry],
    *,
    basis: str | None,
    owners: Owners,
    crew: Crew,
) -> int:
    """Bring `entries` over; returns the bytes of the files that travelled. What vanished meanwhile
    is left out. Raises FilesError when either tar fails."""
    travelling = list(entries)
    if basis is not None:
        there = list_tree(target, basis, exclude=(), empty_ok=True).entries
        same = unchanged(entries, there, owners if target.gives_away else None)
        copy_unchanged(target, basis, target_root, same)
        arrived = {
            e.path for e in list_tree(target, target_root, exclude=(), empty_ok=True).entries
        }
        local = {entry.path for entry in same} & arrived
        # directories come last of all in tar's extraction, with the times that cp disturbed
        travelling = [entry for entry in entries if entry.path not in local]
    names = b"".join(_name(entry) for entry in travelling)
    to_source_read, to_source = crew.pipe()
    from_source, from_source_write = crew.pipe()
    crew.start(
        "target",
        target.host,
        target.reader(script(_UNPACK, target_root)),
        stdin=from_source,
        stdout=subprocess.DEVNULL,
    )
    crew.start(
        "source",
        source.host,
        source.reader(script(_PACK, source_root, str(len(names)))),
        stdin=to_source_read,
        stdout=from_source_write,
    )
    crew.feed(to_source, (names,))
    crew.close(to_source)
    codes = crew.wait()
    _judge(crew, codes)
    arrived = {e.path for e in list_tree(target, target_root, exclude=(), empty_ok=True).entries}
    give(target, target_root, [e for e in entries if e.path in arrived], owners)
    return sum(entry.size for entry in travelling if entry.kind == "file")


def _judge(crew: Crew, codes: dict[str, int]) -> None:
    lost = crew.lost(codes)
    if lost is not None:
        raise lost
    said = [line for line in crew.messages("source") if line.startswith("tar: ")]
    wrong = [line for line in said if not _vanished(line)]
    # 1: a file changed while it was read. 2 with nothing but vanished files is no failure either.
    if codes["source"] not in (0, 1) and (codes["source"] != 2 or wrong or not said):
        raise FilesError(
            f"tar on the source failed ({codes['source']}): "
            + " / ".join(wrong[:3] or crew.messages("source")[-3:]),
            hint="the user who reads must be able to read every file that is copied",
        )
    if codes["target"] != 0:
        raise FilesError(
            f"tar on the target failed ({codes['target']}): "
            + " / ".join(crew.messages("target")[-3:])
        )


def _vanished(line: str) -> bool:
    return line.endswith(
        (": No such file or directory", "previous errors", ": File removed before we read it")
    )


def _name(entry: Entry) -> bytes:
    """With ./ in front: tar and cp take a leading dash for an option."""
    return b"./" + entry.path.encode("utf-8", "surrogateescape") + b"\0"
