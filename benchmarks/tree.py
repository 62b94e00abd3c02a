"""The files of a BISO of any size: attachments from bytes to megabytes in folders up to twelve
deep, the same for the same seed. A tree that grows only gains: what is there stays, byte for byte.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Shape", "add_small", "change", "grow", "path_sql", "sizes"]

_KINDS: Final = ("pdf", "jpg", "docx", "txt")
_BLOCK: Final = 4 << 20
_TIME: Final = 1_735_728_000  # 2025-01-01 10:40 UTC
_PIECE: Final = 1 << 20
_EACH: Final = 50  # one in so many files lies in a folder that is twelve deep
_DEEP: Final = "".join(f"Ebene {level}/" for level in range(1, 10))


@dataclass(frozen=True, slots=True)
class Shape:
    """How many files, and how many bytes in all of them."""

    files: int
    bytes: int
    seed: int = 1


def sizes(shape: Shape) -> list[int]:
    """The size of each file: most small, a few large, at least a byte; together about `bytes`."""
    rng = random.Random(shape.seed)
    weights = [rng.lognormvariate(0, 1.8) for _ in range(shape.files)]
    whole = sum(weights)
    return [max(1, round(shape.bytes * weight / whole)) for weight in weights]


def grow(datadir: Path, shape: Shape) -> None:
    """Make the tree below `datadir`, or make its files as long as `shape` says."""
    block = random.Random(shape.seed).randbytes(_BLOCK)
    for number, size in enumerate(sizes(shape), 1):
        path = datadir / _path(number)
        try:
            there = path.stat().st_size
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            there = 0
        if there < size:
            with path.open("ab") as file:
                for piece in _content(block, number, there, size):
                    file.write(piece)
            _date(path)


def change(datadir: Path, shape: Shape, share: float, turn: int) -> int:
    """Write other bytes, and a newer time, into `share` of the files; each `turn` takes others.
    Gives how many."""
    count = max(1, round(shape.files * share))
    rng = random.Random(shape.seed * 7919 + turn)
    for number in rng.sample(range(1, shape.files + 1), count):
        path = datadir / _path(number)
        with path.open("r+b") as file:
            file.write(rng.randbytes(min(64, path.stat().st_size)))
        os.utime(path, (_TIME + turn + 1, _TIME + turn + 1))
    return count


def add_small(datadir: Path, count: int) -> None:
    """`count` further files of 100 bytes in a folder of their own: hardly more bytes."""
    for number in range(count):
        path = datadir / "dateien" / "klein" / str(number // 500) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%099d\n" % number)
        _date(path)


def path_sql(number: str) -> str:
    """SQL for the path of the file with that number below the data dir."""
    kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
    return (
        f"'dateien/' || {number} % 10 || '/' || {number} / 10 % 100 || '/'"
        f" || CASE {number} % {_EACH} WHEN 0 THEN '{_DEEP}' ELSE '' END || {number} || '.'"
        f" || (ARRAY[{kinds}])[1 + {number} % {len(_KINDS)}]"
    )


def _path(number: int) -> str:
    deep = _DEEP if number % _EACH == 0 else ""
    kind = _KINDS[number % len(_KINDS)]
    return f"dateien/{number % 10}/{number // 10 % 100}/{deep}{number}.{kind}"


def _content(block: bytes, number: int, begin: int, end: int) -> Iterator[bytes]:
    """Bytes `begin` to `end` of the file: its number, then the block over and over from a place of
    its own, so that no two files are alike and no compressor gains anything."""
    head = b"%%PDF-1.4 %09d\n" % number
    if begin < len(head):
        yield head[begin:end]
        begin = len(head)
    start = number * 7919
    while begin < end:
        at = (start + begin) % _BLOCK
        piece = block[at : at + min(_PIECE, end - begin)]
        yield piece
        begin += len(piece)


def _date(path: Path) -> None:
    path.chmod(0o640)
    os.utime(path, (_TIME, _TIME))
