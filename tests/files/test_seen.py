"""What is remembered of files: by it the next copy knows which are still what was copied."""

from __future__ import annotations

import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biso_tasks.files.listing import Entry, Listing
from biso_tasks.files.seen import Seen, decode, encode, seen

SECOND = 10**9
FILE = Entry(
    "a", "file", 5, 7 * SECOND, 0o640, "w", "w", 1, 42, 1, "", True, ctime=100 * SECOND
)  # fmt: skip
TOP = FILE._replace(path="", kind="dir")


def listing(*entries: Entry, began: int = 200 * SECOND) -> Listing:
    return Listing("/x", TOP, entries, 0, (), began)


def test_a_file_is_the_same_by_inode_and_ctime_and_alike_by_size_and_mtime() -> None:
    known = seen(listing(FILE))
    assert known.same(FILE)
    assert known.same(FILE._replace(mode=0o600, device=9)), "a device has another number next time"
    for other in (FILE._replace(ctime=FILE.ctime + 1), FILE._replace(inode=43)):
        assert not known.same(other)
        assert known.alike(other)
    for other in (FILE._replace(size=6), FILE._replace(mtime=8 * SECOND), FILE._replace(path="b")):
        assert not known.same(other)
        assert not known.alike(other)


@pytest.mark.parametrize("age", [0.0, 1.9, -30.0])
def test_what_changed_just_before_it_was_listed_may_have_changed_again_at_the_same_tick(
    age: float,
) -> None:
    late = FILE._replace(ctime=int((200 - age) * SECOND))
    known = seen(listing(late))
    assert not known.same(late)
    assert known.alike(late)
    assert seen(listing(late, began=late.ctime + 3 * SECOND)).same(late)


def test_what_will_be_removed_is_not_remembered_nor_what_lies_in_it() -> None:
    paths = ("a", "a b", "b/c", "bc", "d")
    known = seen(
        listing(
            *(FILE._replace(path=path) for path in paths), FILE._replace(path="e", kind="link")
        ),
        without=["a", "b"],
    )
    assert set(known.files) == {"a b", "bc", "d"}


names = st.binary(min_size=1, max_size=8).filter(lambda b: b"\0" not in b).map(os.fsdecode)
numbers = st.integers(0, 2**63)
entries = st.builds(
    lambda path, size, mtime, ctime, inode: FILE._replace(
        path=path, size=size, mtime=mtime, ctime=ctime, inode=inode
    ),
    names, numbers, st.integers(-(2**40), 2**63), numbers, numbers,
)  # fmt: skip


@given(st.lists(entries, max_size=8))
def test_it_comes_back_equal_and_is_the_same_bytes_each_time(files: list[Entry]) -> None:
    known = seen(listing(*files, began=2**64))
    assert decode(encode(known)) == known
    assert encode(known) == encode(known)


HEAD = b"biso-tasks seen 1\0"
UNREADABLE = {
    "nothing": None,
    "empty": b"",
    "no gzip": b"x",
    "empty text": gzip.compress(b""),
    "another head": gzip.compress(b"something else\0"),
    "cut in its end": encode(seen(listing(FILE)))[:-9],
    "cut in its text": encode(seen(listing(FILE)))[:20],
    "a path alone": gzip.compress(HEAD + b"a\0"),
    "too few numbers": gzip.compress(HEAD + b"a\0" + b"1 2 3\0"),
    "no number": gzip.compress(HEAD + b"a\0" + b"1 2 3 x\0"),
    "no end": gzip.compress(HEAD + b"a\0" + b"1 2 3 4"),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_nothing_known(content: bytes | None) -> None:
    assert decode(content) is None
    assert decode(encode(Seen({}))) == Seen({})
