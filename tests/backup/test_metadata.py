"""METADATA: what it says of a tree comes back, and nothing else is taken for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.backup.ids import BadSet
from biso_tasks.backup.metadata import decode, encode
from biso_tasks.files.access import Access
from biso_tasks.files.listing import Entry, Kind, Listing, list_tree
from biso_tasks.host.local import LocalHost

TOP = Entry("", "dir", 0, 0, 0o755, "root", "root", 1, 1, 2, "", True)

raw = st.binary(min_size=1, max_size=6).map(lambda b: os.fsdecode(b.replace(b"\0", b"x")))
part = raw.map(lambda text: text.replace("/", "~")).filter(lambda text: text not in (".", ".."))
owner = st.from_regex(r"[A-Za-z_0-9][\w. \\$-]{0,8}", fullmatch=True)


@st.composite
def listings(draw: st.DrawFn) -> Listing:
    found: dict[str, Entry] = {}
    folders = [""]
    owners = {"owner": draw(owner), "group": draw(owner)}
    for number in range(draw(st.integers(0, 12))):
        parent = draw(st.sampled_from(folders))
        name = draw(part)
        path = f"{parent}/{name}" if parent else name
        kind: Kind = draw(st.sampled_from(("file", "file", "dir", "link", "special")))
        if path in found:
            continue
        inode = draw(st.integers(10, 13)) if kind == "file" else 100 + number
        found[path] = Entry(
            path=path,
            kind=kind,
            size=0,
            mtime=draw(st.integers(-(10**18), 10**19)),
            mode=draw(st.integers(0, 0o7777)),
            device=draw(st.integers(0, 1)),
            inode=inode,
            links=1,
            target=draw(raw) if kind == "link" else "",
            readable=True,
            **owners,
        )
        if kind == "dir":
            folders.append(path)
    # names of one file have one owner, mode and time
    by_inode: dict[tuple[int, int], list[Entry]] = {}
    for entry in found.values():
        by_inode.setdefault((entry.device, entry.inode), []).append(entry)
    for same in by_inode.values():
        for entry in same:
            found[entry.path] = same[0]._replace(path=entry.path, links=len(same))
    entries = tuple(sorted(found.values(), key=lambda entry: entry.path))
    top = TOP._replace(mtime=draw(st.integers(-(10**10), 10**10)))
    return Listing("/tree", top, entries, 0, ())


def groups(entries: tuple[Entry, ...]) -> set[frozenset[str]]:
    found: dict[tuple[int, int], set[str]] = {}
    for entry in entries:
        if entry.kind == "file" and entry.links > 1:
            found.setdefault((entry.device, entry.inode), set()).add(entry.path)
    return {frozenset(paths) for paths in found.values()}


def bare(entry: Entry) -> Entry:
    links = entry.links if entry.kind == "file" else 1
    return entry._replace(device=0, inode=0, links=links, size=0)


@given(listings(), listings())
def test_everything_recorded_comes_back(webroot: Listing, data: Listing) -> None:
    content = encode({"webroot": webroot, "data": data})
    found = decode(content)
    for area, listing in (("webroot", webroot), ("data", data)):
        entries = tuple(e for e in (listing.top, *listing.entries) if e.kind != "special")
        assert [bare(one) for one in found[area]] == [bare(one) for one in entries]
        assert groups(found[area]) == groups(entries)
    again = {
        area: Listing("/tree", entries[0], entries[1:], 0, ()) for area, entries in found.items()
    }
    assert encode(again) == content


@given(listings(), st.data())
def test_a_cut_one_is_refused_or_ends_between_two_entries(
    data: Listing, draw: st.DataObject
) -> None:
    content = encode({"data": data})
    at = draw.draw(st.integers(0, len(content) - 1))
    try:
        found = decode(content[:at])
    except BadSet:
        return
    assert content.startswith(content[:at])
    assert sum(map(len, found.values())) < len(data.entries) + 1


def test_a_real_tree_is_recorded_as_stat_and_find_see_it(here: LocalHost, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o500)
    one = tmp_path / "a\nb"
    one.write_text("x")
    (tmp_path / "z").hardlink_to(one)
    (tmp_path / "link").symlink_to("a b")
    os.utime(one, ns=(0, -1_500_000_000))
    (tmp_path / "pipe").parent.chmod(0o2750)
    os.mkfifo(tmp_path / "pipe")
    fields = encode({"data": list_tree(Access(here), str(tmp_path))}).split(b"\0")[:-1]
    rows = [tuple(fields[at : at + 6]) for at in range(0, len(fields), 6)]
    assert [row[0] for row in rows] == [
        b"data", b"data/a\nb", b"data/empty", b"data/link", b"data/z",
    ]  # fmt: skip
    assert [row[1] for row in rows] == [b"d", b"f", b"d", b"l", b"h"]
    assert rows[0][2] == b"2750"
    assert rows[1][4] == b"-1.500000000"  # as `touch -d @…` takes it
    assert rows[3][5] == b"a b"
    assert rows[4][5] == b"data/a\nb"
    user = tmp_path.owner()
    assert rows[0][3] == f"{user}:{tmp_path.group()}".encode()


def row(path: str, letter: str = "f", target: str = "", **more: str) -> bytes:
    given = {"mode": "0644", "owner": "a:b", "time": "1.000000000"} | more
    fields = (path, letter, given["mode"], given["owner"], given["time"], target)
    return b"".join(os.fsencode(field) + b"\0" for field in fields)


ROOT = row("data", "d")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ROOT[:-1], "cut"),
        (ROOT + b"data/x\0f\0", "cut"),
        (ROOT + row("data/x", "s"), "unknown type"),
        (row("/etc", "d"), "neither of"),
        (row("etc", "d"), "neither of"),
        (row("data"), "root of an area is a directory"),
        (ROOT + row("data/../x"), r"\. or \.\."),
        (ROOT + row("data/."), r"\. or \.\."),
        (ROOT + row("data//x"), "empty part"),
        (ROOT + row("data/x") + row("data/x"), "twice"),
        (ROOT + row("data/y") + row("data/x"), "not in order"),
        (row("data/x"), "does not lie in a directory"),
        (ROOT + row("data/l", "l", "/etc") + row("data/l/passwd"), "does not lie in a directory"),
        (ROOT + row("data/x", mode="644"), "no mode"),
        (ROOT + row("data/x", mode="0888"), "no mode"),
        (ROOT + row("data/x", owner="a"), "no user:group"),
        (ROOT + row("data/x", owner="-R:b"), "no user:group"),
        (ROOT + row("data/x", owner="a:b:c"), "no user:group"),
        (ROOT + row("data/x", time="1"), "no time"),
        (ROOT + row("data/x", time="now"), "no time"),
        (ROOT + row("data/x", "l"), "link without a target"),
        (ROOT + row("data/x", "f", "y"), "target without a link"),
        (ROOT + row("data/x", "h", "data/y"), "no earlier file"),
        (ROOT + row("data/x", "h", "data"), "no earlier file"),
        (ROOT + row("data/x") + row("webroot", "d") + row("webroot/y", "h", "data/x"),
         "no earlier file"),
    ],
)  # fmt: skip
def test_what_no_backup_writes_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(BadSet, match=said):
        decode(content)
