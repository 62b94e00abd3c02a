"""METADATA of a set: owner, mode, time and link of every entry, whatever the files of the set
themselves could keep. Six NUL-terminated fields an entry, sorted by the bytes of the path, so that
`read -d ''` of bash is enough to apply it by hand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from biso_tasks.backup.ids import BadSet
from biso_tasks.files.listing import Entry, Kind, Listing

__all__ = ["METADATA", "TREES", "decode", "encode"]

METADATA: Final = "METADATA"
TREES: Final = ("data", "webroot")  # the areas that are trees, as the file sorts them
_FIELDS: Final = 6
_LETTERS: Final[dict[Kind, str]] = {"file": "f", "dir": "d", "link": "l"}
_KINDS: Final[dict[str, Kind]] = {"f": "file", "d": "dir", "l": "link", "h": "file"}
_MODE: Final = re.compile(r"[0-7]{4}", re.ASCII)
_OWNER: Final = re.compile(r"[^:\n-][^:\n]*:[^:\n-][^:\n]*")
_TIME: Final = re.compile(r"(-?)([0-9]{1,19})\.([0-9]{9})", re.ASCII)
_SECOND: Final = 1_000_000_000
_DOTS: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")


def encode(areas: Mapping[str, Listing]) -> bytes:
    """METADATA of the trees in `areas` (keys of TREES). Sockets, pipes and devices are left out, as
    they are in the set."""
    rows: list[str] = []
    for area, listing in sorted(areas.items()):
        if area not in TREES:
            raise ValueError(f"{area} is no tree")
        entries = [entry for entry in (listing.top, *listing.entries) if entry.kind != "special"]
        paths = [entry.path for entry in entries]
        raw = "\0".join(paths).encode("utf-8", "surrogateescape").split(b"\0")
        order = dict(zip(paths, raw, strict=True))
        entries.sort(key=lambda entry: order[entry.path])
        names = Counter((e.device, e.inode) for e in entries if e.kind == "file" and e.links > 1)
        first: dict[tuple[int, int], str] = {}
        for entry in entries:
            path = f"{area}/{entry.path}" if entry.path else area
            letter, target = _LETTERS[entry.kind], entry.target if entry.kind == "link" else ""
            if entry.kind == "file" and names[entry.device, entry.inode] > 1:
                earlier = first.setdefault((entry.device, entry.inode), path)
                if earlier != path:
                    letter, target = "h", earlier
            time = _time_text(entry.mtime)
            rows.append(
                f"{path}\0{letter}\0{entry.mode:04o}\0{entry.owner}:{entry.group}\0{time}\0{target}\0"
            )
    return "".join(rows).encode("utf-8", "surrogateescape")


def decode(content: bytes) -> dict[str, tuple[Entry, ...]]:
    """The entries of each area that METADATA holds, sorted as a Listing is, the area's root first
    with the path "". Sizes are not recorded: 0. Names of one file share an `inode` and count in
    `links`; these numbers, and `device`, mean nothing else.

    Raises BadSet for anything that `encode` does not write: a path that leads out of its area, or
    through a symbolic link, must never be applied."""
    fields = content.decode("utf-8", "surrogateescape").split("\0")
    if fields.pop() != "" or len(fields) % _FIELDS:
        raise BadSet("METADATA is cut: its last entry is not whole")
    found: dict[str, tuple[str, Entry]] = {}
    names: Counter[int] = Counter()
    before = b""
    known = _Known({}, {})
    columns = (fields[column::_FIELDS] for column in range(_FIELDS))
    raws = content.split(b"\0")[::_FIELDS]
    for number, (raw, path, *rest) in enumerate(zip(raws, *columns, strict=False), 1):
        try:
            if raw <= before:
                raise ValueError("the path is there twice, or not in order")
            area, entry = _entry(path, *rest, found=found, number=number, known=known)
        except ValueError as error:
            raise BadSet(f"METADATA, entry {number} ({path!r}): {error}") from error
        found[path] = (area, entry)
        names[entry.inode] += 1
        before = raw
    areas: dict[str, list[Entry]] = {}
    for area, entry in found.values():
        whole = entry if names[entry.inode] == 1 else entry._replace(links=names[entry.inode])
        areas.setdefault(area, []).append(whole)
    return {area: tuple(sorted(all_, key=lambda e: e.path)) for area, all_ in areas.items()}


class _Known(NamedTuple):
    """What was read of modes and owners: few of them are many entries' own."""

    modes: dict[str, int]
    owners: dict[str, tuple[str, str]]

    def mode(self, text: str) -> int:
        if text not in self.modes:
            if not _MODE.fullmatch(text):
                raise ValueError(f"{text!r} is no mode of four octal digits")
            self.modes[text] = int(text, 8)
        return self.modes[text]

    def owner(self, text: str) -> tuple[str, str]:
        if text not in self.owners:
            if not _OWNER.fullmatch(text):
                raise ValueError(f"{text!r} is no user:group")
            user, group = text.split(":")
            self.owners[text] = user, group
        return self.owners[text]


def _entry(
    path: str,
    letter: str,
    mode: str,
    owner: str,
    time: str,
    target: str,
    *,
    found: Mapping[str, tuple[str, Entry]],
    number: int,
    known: _Known,
) -> tuple[str, Entry]:
    area, _, inner = path.partition("/")
    _check_path(path, area, inner, found)
    if letter not in _KINDS:
        raise ValueError(f"unknown type {letter!r}")
    if not inner and letter != "d":
        raise ValueError("the root of an area is a directory")
    bits = known.mode(mode)
    user, group = known.owner(owner)
    if (letter in "lh") != bool(target):
        raise ValueError("a link without a target, or a target without a link")
    inode = _first_name(area, target, found) if letter == "h" else number
    link = target if letter == "l" else ""
    return area, Entry(
        inner, _KINDS[letter], 0, _time(time), bits, user, group, 0, inode, 1, link, True
    )


def _check_path(path: str, area: str, inner: str, found: Mapping[str, tuple[str, Entry]]) -> None:
    if area not in TREES:
        raise ValueError(f"the path is in neither of {', '.join(TREES)}")
    if path != area and _DOTS.search(inner):
        raise ValueError("the path holds an empty part, . or ..")
    if inner:
        parent = found.get(path.rpartition("/")[0])
        if parent is None or parent[1].kind != "dir":
            raise ValueError("it does not lie in a directory of the set")


def _first_name(area: str, target: str, found: Mapping[str, tuple[str, Entry]]) -> int:
    other = found.get(target)
    if other is None or other[0] != area or other[1].kind != "file":
        raise ValueError(f"a hard link to {target!r}, which is no earlier file of its area")
    return other[1].inode


# A true decimal, as stat and touch have it, and not as find prints it: half a second before 1970 is
# -0.500000000 here, and -1.5 there.
def _time_text(mtime: int) -> str:
    seconds, rest = divmod(abs(mtime), _SECOND)
    return f"{'-' if mtime < 0 else ''}{seconds}.{rest:09d}"


def _time(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time in seconds.nanoseconds")
    value = int(match[2]) * _SECOND + int(match[3])
    return -value if match[1] else value
