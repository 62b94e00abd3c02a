"""Trees by tar: what did not change is copied from the tree beside, on its own host, the rest goes
as one stream from one process into the other. The whole way where a host has no rsync; where both
have it, the fast part of the way (see `ahead`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from biso_tasks.files.access import Access
from biso_tasks.files.crew import Crew, Progress
from biso_tasks.files.ends import Ends, listed, tree_of
from biso_tasks.files.listing import Entry, FilesError
from biso_tasks.files.owners import Owners, give
from biso_tasks.host.command import script

__all__ = [
    "MANY",
    "PACK",
    "SIGNS",
    "Owned",
    "as_wanted",
    "copy_within",
    "send",
    "stream",
    "unchanged",
]

MANY: Final = 500  # files from which on it is worth another listing and another process

# Whose the files are that were unpacked: theirs who unpacked, and given away later; kept by whom
# they belonged to, where root unpacked; or theirs who unpacked, and opened to them.
Owned = Literal["later", "kept", "opened"]

# A member for each name, without what is in a folder, to the nanosecond, holes as holes.
PACK: Final = (
    "tar --create --file=- --format=posix --pax-option=delete=atime,delete=ctime --sparse "
    "--no-recursion --null"
)
# $1 the root, $2 bytes of names, then more options.
_PACK: Final = """
names=$(head -c "$2" | base64 -w0)
cd -- "$1"
shift 2
export LC_ALL=C
printf %s "$names" | base64 -d | @PACK@ "$@" --files-from=-
""".replace("@PACK@", PACK)
# $1 the root, $2 whose the files are. A folder gets its mode and time last, for one that is closed
# must be filled; one that no member names is nobody else's.
_UNPACK: Final = """
umask 077
LC_ALL=C tar --extract --file=- --preserve-permissions --delay-directory-restore "$2" \
  --directory="$1"
"""
# $1 a tree of this host, $2 the root, $3 bytes of names for cp, $4 whose the files are, then more
# options. Where the filesystem shares blocks, so does cp; elsewhere it takes far longer than tar,
# and names stand among its words. Names that are one file here may be two where they come from.
# What a live tree changes meanwhile is looked for afterwards.
_COPY: Final = """
umask 077
tree=$1 root=$2 long=$3 owner=$4
shift 4
shares() {
  local probe code=0
  probe=$(mktemp -p "$root" .biso-XXXXXXXXXX) || return
  printf x >"$probe"
  cp --reflink=always -- "$probe" "$probe.copy" 2>/dev/null || code=$?
  rm -f -- "$probe" "$probe.copy"
  return "$code"
}
large() {
  xargs -0 -r cp --archive --no-preserve=links --reflink=auto --parents \
    --target-directory="$root" -- || true
}
cd -- "$tree"
export LC_ALL=C
{
  if [ "$long" != 0 ] && shares; then head -c "$long" | large; fi
  cat
} |
  @PACK@ --ignore-failed-read --hard-dereference "$@" --files-from=- |
  tar --extract --file=- --preserve-permissions --delay-directory-restore "$owner" \
    --directory="$root"
""".replace("@PACK@", PACK)
_LONG: Final = 1 << 20  # bytes of a file that is worth cp's trouble
_OPEN: Final = ("--mode=u+rwX",)
# A sign of progress each ten megabytes: `crew` knows what a record is.
SIGNS: Final = ("--checkpoint=1000", "--checkpoint-action=echo=%u records")


def unchanged(
    entries: Sequence[Entry], basis: Sequence[Entry], owners: Owners | None
) -> tuple[Entry, ...]:
    """Files that the basis holds with equal size, time, mode and (unless `owners` is None) owner.
    Members of a hard-link group are never among them: the group must stay one."""
    there = {entry.path: entry for entry in basis if entry.readable}
    return tuple(
        entry
        for entry in entries
        if entry.kind == "file"
        and entry.links == 1
        and as_wanted(entry, there.get(entry.path), owners, opened=False)
    )


def as_wanted(entry: Entry, other: Entry | None, owners: Owners | None, *, opened: bool) -> bool:
    """Whether `other` is a whole copy of `entry`, by all but its content. `opened`: owners do not
    count, nor modes, as long as the owner may do everything. Names of one file are not compared."""
    if other is None or entry.kind != other.kind or entry.mtime != other.mtime:
        return False
    if entry.kind == "link":
        if entry.target != other.target:
            return False
    elif entry.kind == "file" and entry.size != other.size:
        return False
    if opened:
        need = {"file": 0o600, "dir": 0o700}.get(entry.kind, 0)
        return other.mode & need == need
    if entry.kind != "link" and entry.mode != other.mode:
        return False
    return owners is None or owners.of(entry) == (other.owner, other.group)


def copy_within(
    target: Access,
    tree: str,
    target_root: str,
    entries: Sequence[Entry],
    *,
    shared: bool,
    owned: Owned,
    crew: Crew,
    progress: Progress | None = None,
) -> int:
    """Copy from another tree of the target's host, which the same user can read: new inodes, with
    `shared` blocks of large files where the filesystem can. Not all of it may arrive; 0 where
    nothing was said of that. Raises FilesError where the connection was lost."""
    large = [e for e in entries if shared and e.kind == "file" and e.size >= _LONG]
    chosen = {entry.path for entry in large}
    long = listed(entry.path for entry in large)
    rest = listed(entry.path for entry in entries if entry.path not in chosen)
    words = (str(len(long)), _owner(target, owned), *_options(owned, progress))
    told, feeding = crew.pipe()
    crew.start(
        "target",
        target.host,
        target.reader(script(_COPY, tree, target_root, *words)),
        stdin=told,
        stdout=subprocess.DEVNULL,
        progress=progress,
    )
    crew.feed(feeding, (long, rest))
    crew.close(feeding)
    codes = crew.wait()
    lost = crew.lost(codes)
    if lost is not None:
        raise lost
    return codes["target"]


def _options(owned: Owned, progress: Progress | None) -> tuple[str, ...]:
    return (*(_OPEN if owned == "opened" else ()), *(() if progress is None else SIGNS))


def _owner(target: Access, owned: Owned) -> str:
    by_root = target.host.login == "root" and target.user in (None, "root")
    return "--same-owner" if owned == "kept" and by_root else "--no-same-owner"


def stream(
    ends: Ends,
    entries: Iterable[Entry],
    *,
    owned: Owned,
    crew: Crew,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Send `entries` by tar; gives the exit codes of "source" and "target". Raises FilesError where
    a connection was lost."""
    names = listed(entry.path for entry in entries)
    options = _options(owned, progress)
    source, target = ends.source, ends.target
    to_source_read, to_source = crew.pipe()
    from_source, from_source_write = crew.pipe()
    crew.start(
        "target",
        target.host,
        target.reader(script(_UNPACK, ends.target_root, _owner(target, owned))),
        stdin=from_source,
        stdout=subprocess.DEVNULL,
    )
    crew.start(
        "source",
        source.host,
        source.reader(script(_PACK, ends.source_root, str(len(names)), *options)),
        stdin=to_source_read,
        stdout=from_source_write,
        progress=progress,
    )
    crew.feed(to_source, (names,))
    crew.close(to_source)
    codes = crew.wait()
    lost = crew.lost(codes)
    if lost is not None:
        raise lost
    return codes


def send(
    ends: Ends,
    entries: Sequence[Entry],
    *,
    basis: str | None,
    owners: Owners,
    crew: Crew,
) -> int:
    """Bring `entries` over; returns the bytes of the files that travelled. What vanished meanwhile
    is left out. Raises FilesError when either tar fails."""
    target, root = ends.target, ends.target_root
    travelling = list(entries)
    if basis is not None:
        given = owners if target.gives_away else None
        same = unchanged(entries, tuple(tree_of(target, basis).values()), given)
        if same:
            copy_within(target, basis, root, same, shared=True, owned="later", crew=crew)
        arrived = ends.arrived()
        local = {
            entry.path
            for entry in same
            if as_wanted(entry, arrived.get(entry.path), None, opened=False)
        }
        # directories come last of all in tar's extraction, with the times that were disturbed
        travelling = [entry for entry in entries if entry.path not in local]
    _judge(crew, stream(ends, travelling, owned="later", crew=crew))
    arrived = ends.arrived()
    give(target, root, [e for e in entries if e.path in arrived], owners)
    return sum(entry.size for entry in travelling if entry.kind == "file")


def _judge(crew: Crew, codes: Mapping[str, int]) -> None:
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
