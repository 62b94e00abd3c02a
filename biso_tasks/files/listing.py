"""What a tree holds: every entry below its root with all that a copy must preserve."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final, Literal, NamedTuple

from biso_tasks.errors import Refused, StepFailed
from biso_tasks.files.access import Access
from biso_tasks.files.names import Names, names_of
from biso_tasks.files.patterns import Matcher, is_literal
from biso_tasks.host.answer import answered, by_half
from biso_tasks.host.command import Command, script
from biso_tasks.host.endable import endable
from biso_tasks.host.process import Tail, end_group

__all__ = ["DATA_EXCLUDES", "Entry", "FilesError", "Kind", "Listing", "list_tree", "named"]

Kind = Literal["file", "dir", "link", "special"]

# CONTRACT §1: never copied. Anchored, or a `tmp` deeper down would be lost as well; what is in
# the top `tmp` is left out, the directory itself travels (it must exist, empty and writable).
DATA_EXCLUDES: Final = ("/tmp/**", "**/*.log", "/maintenance.on")

_KINDS: Final[dict[str, Kind]] = {"f": "file", "d": "dir", "l": "link"}
_FIELDS: Final = 13
_NAMED: Final = 10
# %P is relative to the root. One NUL after each field: names hold anything else, newlines too.
_FORMAT: Final = r"%y\0%s\0%T@\0%C@\0%m\0%U\0%G\0%D\0%i\0%n\0%l\0%P\0"
# $1 the root. Says what the clock is, before anything of the tree is looked at.
_ROOT: Final = r"""
[ -e "$1" ] || exit 10
[ -d "$1" ] || exit 11
[ -r "$1" ] && [ -x "$1" ] || exit 12
date +%s.%N
"""


class FilesError(StepFailed):
    """Something about a tree: the message names host and path."""

    usual = "look at these files there: can run_as read and write them, is there room?"


class Entry(NamedTuple):
    """`path` is relative to the root, "" for the root itself; not UTF-8 means surrogateescape.
    `mtime` is in nanoseconds, `mode` holds permission bits only, `owner` and `group` are names, or
    digits where the id has none. `readable`: by the user who listed. `ctime`, in nanoseconds, is
    when anything about it last changed: no program can set it, as `cp -p` and unpackers set the
    mtime. 0 where it is not known."""

    # A tuple: there are as many as a site has files; a frozen dataclass takes four times as long.
    path: str
    kind: Kind
    size: int
    mtime: int
    mode: int
    owner: str
    group: str
    device: int
    inode: int
    links: int
    target: str
    readable: bool
    ctime: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """A tree at one moment. `entries` are sorted by path. `vanished` counts what was deleted while
    it was read; `mounts` are directories inside that lie on another filesystem; `began` is when the
    reading began by the host's own clock, in nanoseconds."""

    root: str
    top: Entry
    entries: tuple[Entry, ...]
    vanished: int
    mounts: tuple[str, ...]
    began: int = 0

    @property
    def size(self) -> int:
        """Bytes of all regular files, a hard link counted once."""
        seen: set[tuple[int, int]] = set()
        total = 0
        for entry in self.entries:
            if entry.kind == "file":
                if entry.links > 1:
                    if (entry.device, entry.inode) in seen:
                        continue
                    seen.add((entry.device, entry.inode))
                total += entry.size
        return total

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Files that whoever listed the tree may not read; only root could copy them."""
        return tuple(e.path for e in self.entries if e.kind == "file" and not e.readable)


def named(paths: Sequence[str]) -> str:
    """The first ten of these, as a message names them, and how many more there are."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(repr(path) for path in paths[:_NAMED]) + more


def list_tree(
    access: Access,
    root: str,
    *,
    exclude: Sequence[str] = DATA_EXCLUDES,
    empty_ok: bool = False,
    closed_only: bool = False,
    folders_only: bool = False,
) -> Listing:
    """Every entry below `root` that no pattern of `exclude` names. Symbolic links are not followed;
    mounts below the root belong to the tree. With `closed_only` just those that cannot be read,
    with `folders_only` just the directories.

    Raises Refused when the root is no directory, or holds nothing (unless `empty_ok`): an unmounted
    source would make an empty copy. Raises FilesError when a directory cannot be read."""
    began = _check_root(access, root)
    prune = [p.strip("/") for p in exclude if is_literal(p)]
    prune += [p.removesuffix("/**").strip("/") for p in exclude if _is_contents(p)]
    excluded = Matcher(exclude) if exclude else None
    entries: list[Entry] = []
    top: Entry | None = None
    finder = access.host.start(
        access.reader(_find(prune, closed_only, folders_only)).within(root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    messages = Tail(finder.stderr)
    try:
        with endable(lambda: end_group(finder)):
            for entry in _entries(finder.stdout, names_of(access.host), access.host.name):
                if not entry.path:
                    top = entry
                elif entry.path == "tmp" and "/tmp/**" in exclude and entry.kind != "dir":
                    continue  # a link to the site's scratch space would be shared by both
                elif excluded is None or not excluded(entry.path):
                    entries.append(entry)
            code = finder.wait()
    finally:
        end_group(finder)
    vanished = _judge(access, root, code, messages.text())
    if top is None:
        raise FilesError(f"{access.host.name}: {root}: reading the tree gave nothing")
    if not entries and not (empty_ok or closed_only):
        raise Refused(
            f"{access.host.name}: {root} is empty",
            hint="is its filesystem mounted? An empty source would make an empty copy",
        )
    entries.sort(key=lambda entry: entry.path)
    device = top.device
    mounts = tuple(e.path for e in entries if e.kind == "dir" and e.device != device)
    return Listing(root, top, tuple(entries), vanished, mounts, began)


def _check_root(access: Access, root: str) -> int:
    """What the host's clock says, in nanoseconds."""
    result = access.host.run(access.reader(script(_ROOT, root)), ok=(0, 10, 11, 12))
    code = result.code
    who = access.user or access.host.login
    if code == 10:
        raise Refused(
            f"{access.host.name}: {root} does not exist, or {who} may not see it",
            hint="check `datadir`, `webroot` and `run_as` of the environment",
        )
    if code == 11:
        raise Refused(
            f"{access.host.name}: {root} is not a directory",
            hint="check `datadir` and `webroot` of the environment, and what config.php says",
        )
    if code == 12:
        raise Refused(
            f"{access.host.name}: {who} may not read {root}",
            hint="set `run_as` to a user who may",
        )
    with answered(access.host.name, "its clock"):
        return _nanoseconds(result.text)


def _is_contents(pattern: str) -> bool:
    return pattern.endswith("/**") and is_literal(pattern.removesuffix("/**"))


def _find(prune: Sequence[str], closed_only: bool, folders_only: bool) -> Command:
    """Prunes what a pattern names literally: nobody may be able to read a site's tmp."""
    words = ["env", "LC_ALL=C", "find", "."]
    for path in dict.fromkeys(prune):
        escaped = "".join(f"\\{c}" if c in "\\*?[" else c for c in path)
        words += ["(", "-path", f"./{escaped}", "-prune", "-o", "-true", ")"]
    if closed_only:
        words += ["(", "-path", ".", "-o", "-not", "-readable", "-not", "-type", "l", ")"]
    if folders_only:
        words += ["-type", "d"]
    # Each branch prints a whole record: -readable does not notice that a file is gone, -printf does
    # and prints nothing then, so that a record in two parts would shift all that follow.
    readable = (
        "(",
        "-readable",
        "-printf",
        rf"r\0{_FORMAT}",
        "-o",
        "-printf",
        rf"-\0{_FORMAT}",
        ")",
    )
    return Command((*words, *readable))


def _entries(stream: IO[bytes] | None, names: Names, host: str) -> Iterator[Entry]:
    if stream is None:
        return
    rest, fields = b"", []
    with stream:
        while chunk := stream.read(1 << 20):
            # Production may be waiting: text is decoded by the megabyte, not by the field.
            ended, found, rest = (rest + chunk).rpartition(b"\0")
            if found:
                fields += ended.decode("utf-8", "surrogateescape").split("\0")
            whole = len(fields) // _FIELDS * _FIELDS
            yield from _parsed(fields[:whole], names)
            del fields[:whole]
    if rest or fields:
        raise by_half(host, "a tree")


def _parsed(fields: list[str], names: Names) -> Iterator[Entry]:
    """The entries that whole records are, column by column: what few values there are is made once
    for all that have them."""
    readable, kinds, sizes, mtimes, ctimes, modes, owners, groups, *rest = (
        fields[column::_FIELDS] for column in range(_FIELDS)
    )
    devices, inodes, links, targets, paths = rest
    octal = {mode: int(mode, 8) for mode in set(modes)}
    names.learn(set(owners), set(groups))
    return map(
        Entry,
        paths,
        [_KINDS.get(letter, "special") for letter in kinds],
        map(int, sizes),
        map(_nanoseconds, mtimes),
        [octal[mode] for mode in modes],
        [names.users[number] for number in owners],
        [names.groups[number] for number in groups],
        map(int, devices),
        map(int, inodes),
        map(int, links),
        targets,
        [letter == "r" for letter in readable],
        map(_nanoseconds, ctimes),
    )


def _nanoseconds(text: str) -> int:
    # What find prints: ten digits, of which the last is always 0.
    if text[-11:-10] == "." and text[0] != "-":
        return int(text[:-11] + text[-10:-1])
    # before 1970 the fraction still counts upwards: "-2.5" is a second and a half before
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))


def _judge(access: Access, root: str, code: int, messages: str) -> int:
    """How many entries vanished under find's hands; whatever else it complains of is raised."""
    if code == 0:
        return 0
    lines = [line for line in messages.splitlines() if line.startswith("find: ")]
    gone = [line for line in lines if line.endswith(": No such file or directory")]
    if lines and len(lines) == len(gone):
        return len(gone)
    wrong = [line for line in lines if line not in gone] or [messages or f"exit code {code}"]
    raise FilesError(
        f"{access.host.name}: {root} cannot be read completely: {wrong[0]}"
        + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
        hint=f"{access.user or access.host.login} must be able to enter every directory",
    )
