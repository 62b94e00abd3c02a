"""An answer of a host that is cut, wherever that is, is an error and never another answer: what is
moved, removed or given away is decided by it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import BisoError
from biso_tasks.files import capture
from biso_tasks.files.access import Access
from biso_tasks.files.discard import discard
from biso_tasks.files.keep import keep_files
from biso_tasks.files.listing import list_tree
from biso_tasks.files.names import ids_of
from biso_tasks.files.owners import owners_for
from biso_tasks.files.places import entry_slots, identities

POINTS = 24  # of a long answer; of a short one each byte


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("live", "stage", "previous"):
        (tmp_path / name / "briefe").mkdir(parents=True)
        (tmp_path / name / "briefe/a").write_text(name)
        (tmp_path / name / f"{name}.pdf").write_text(name)
    return tmp_path


def _slots(access: Access, tree: Path) -> object:
    places = [str(tree / name) for name in ("live", "stage", "previous", "moving")]
    return entry_slots(access, *places, without="stage")


def _identities(access: Access, tree: Path) -> object:
    return identities(access, [str(tree / name) for name in ("live", "none", "stage")])


def _still_there(access: Access, tree: Path) -> object:
    return capture._still_there(access, str(tree), ["live/live.pdf", "none", "stage/stage.pdf"])


def _ids(access: Access, _: Path) -> object:
    return ids_of(access.host, ["root", "daemon", "nobody-here"], ["root", "daemon"])


def _owners(access: Access, tree: Path) -> object:
    entry = list_tree(access, str(tree / "live")).entries[0]
    strangers = [entry._replace(owner=f"fremd{n}", group=f"fremde{n}") for n in range(3)]
    return owners_for(access, [*strangers, entry], None)


ASKED: tuple[Callable[[Access, Path], object], ...] = (
    _slots, _identities, _still_there, _ids, _owners,
)  # fmt: skip


def _sizes(answer: bytes) -> Sequence[int]:
    step = max(1, len(answer) // POINTS)
    ends = [at + 1 for at, byte in enumerate(answer[:-1]) if byte == 0]
    return sorted({*range(0, len(answer), step), *ends[:POINTS]})


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__.strip("_"))
def test_an_answer_that_is_cut_is_no_other_answer(
    cutting: Any, tree: Path, ask: Callable[[Access, Path], object]
) -> None:
    access = Access(cutting)
    whole = ask(access, tree)
    told, refused = list(cutting.answers), 0
    for at, answer in enumerate(told):
        for size in _sizes(answer):
            cutting.answers, cutting.at, cutting.size = [], at, size
            try:
                found = ask(access, tree)
            except BisoError:
                refused += 1
            else:
                assert found == whole, (at, answer[:size])
    assert refused, "no cut was noticed"


def test_a_tree_whose_list_is_cut_inside_an_entry_is_not_read(cutting: Any, tree: Path) -> None:
    access = Access(cutting)
    whole = list_tree(access, str(tree))
    cutting.began, noticed = True, 0
    for cutting.size in range(1, 400, 7):
        try:
            found = list_tree(access, str(tree))
        except BisoError:
            noticed += 1
        else:
            assert set(found.entries) <= set(whole.entries), "between two entries"
    assert noticed > 50


def test_what_is_removed_is_what_was_named_or_nothing(cutting: Any, tree: Path) -> None:
    """Beside it stands what a shorter name would lead to."""
    names = ["stage"[:size] for size in range(1, 5)]
    for name in names:
        (tree / name).mkdir()
    access = Access(cutting)
    commands = 4
    for at in range(commands):
        for size in range(len(str(tree)) * 2 + 20):
            cutting.answers, cutting.at, cutting.size = [], at, size
            with suppress(BisoError):
                discard(access, str(tree / "stage"), inside=str(tree))
            assert all((tree / name).is_dir() for name in (*names, "live", "previous"))
            (tree / "stage").mkdir(exist_ok=True)


def test_what_is_kept_is_whole_or_an_error(cutting: Any, tree: Path) -> None:
    (tree / "live/tief/er").mkdir(parents=True)
    (tree / "live/tief/er/eigen.xml").write_text("unseres")
    access = Access(cutting)

    def keep() -> bytes:
        keep_files(access, str(tree / "live"), str(tree / "stage"), ["tief/er/eigen.xml"])
        return (tree / "stage/tief/er/eigen.xml").read_bytes()

    for at in range(3):
        for size in range(12):
            cutting.answers, cutting.at, cutting.size = [], at, size
            subprocess.run(["rm", "-rf", tree / "stage/tief"], check=True)
            with suppress(BisoError):
                assert keep() == b"unseres"
