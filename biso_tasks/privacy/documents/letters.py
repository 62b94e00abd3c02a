"""Bytes as text: of whatever encoding, and the runs of letters within what is no text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from biso_tasks.privacy.documents.parts import Raw
from biso_tasks.privacy.hashes import CELL

__all__ = ["decoded", "encoding_of", "is_text", "strings"]

_HEAD: Final = 4096
_CONTROLS: Final = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1b\x1e"))
_NEAR: Final = 8  # bytes between two runs of one record

_BOMS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# With what stands between the words of one record: tabs, ends of lines and of cells.
_RUNS: Final = re.compile(rb"[\x20-\x7e\x80-\xff\t\r\n\x07\x0b]{3,}")
_WRITTEN: Final = re.compile(rb"(?:[\x20-\x7e\t\r\n]|[\xc2-\xc5][\x80-\xbf]){16,}")
# Latin letters, those of western and of eastern Europe, and typographic marks.
_LITTLE: Final = re.compile(rb"(?:[\x07\t\r\n\x20-\x7e\xa0-\xff]\x00|[\x00-\x7f]\x01|.\x20){3,}")
_BIG: Final = re.compile(rb"(?:\x00[\x07\t\r\n\x20-\x7e\xa0-\xff]|\x01[\x00-\x7f]|\x20.){3,}")
_OLD: Final = ("cp850", "mac_roman")


def encoding_of(data: bytes) -> str:
    """Of text of two or four bytes a letter, or with a mark in front; "" for any other."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    head = data[:_HEAD]
    head = head[: len(head) - len(head) % 4]
    if head.count(0) * 3 < len(head) or len(head) < 8:
        return ""
    # Which bytes of four are zero tells the width of letters and their order.
    empty = [head[at::4].count(0) * 8 > len(head) for at in range(4)]
    full = [not head[at::4].count(0) * 8 > len(head) // 2 for at in range(4)]
    for zero, name in (
        ((1, 2, 3), "utf-32-le"),
        ((0, 1, 2), "utf-32-be"),
        ((1, 3), "utf-16-le"),
        ((0, 2), "utf-16-be"),
    ):
        rest = [at for at in range(4) if at not in zero]
        if all(empty[at] for at in zero) and all(full[at] for at in rest):
            return name
    return ""


def is_text(data: bytes) -> bool:
    """Whether it is text in one piece: hardly a control character in its beginning, or letters of
    two or four bytes."""
    head = data[:_HEAD]
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return (b"\0" not in head and controls * 50 <= len(head)) or bool(encoding_of(data))


def decoded(data: bytes) -> Iterator[str]:
    """The text, more than once where nothing tells its encoding."""
    known = encoding_of(data)
    if known:
        yield data.decode(known, "replace")
        return
    try:
        yield data.decode("utf-8")
        return
    except UnicodeDecodeError:
        pass
    # Line by line: logs and mailboxes have several encodings.
    lines = data.splitlines(keepends=True)
    yield "".join(_line(line, "cp1252") for line in lines)
    for old in _OLD:
        yield "".join(_line(line, old) for line in lines)


def _line(line: bytes, otherwise: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode(otherwise, "replace")


def strings(data: bytes) -> Iterator[str | Raw]:
    """The runs of letters, of one byte or two, in what is no text. Runs that stand side by side, as
    the cells of a record do, are one text; those far apart are parted by `CELL`. What was written
    as text for certain comes as such, too."""
    narrow = _joined(data, _RUNS)
    if narrow:
        yield Raw(next(decoded(narrow)))
    for pattern, name in ((_LITTLE, "utf-16-le"), (_BIG, "utf-16-be")):
        wide = _joined(data, pattern, name)
        if wide:
            yield Raw(wide.decode("utf-8", "replace"))
    written = _joined(data, _WRITTEN)
    if written:
        yield written.decode("utf-8", "replace")


def _joined(data: bytes, pattern: re.Pattern[bytes], encoding: str = "") -> bytes:
    parts: list[bytes] = []
    past = -1
    for match in pattern.finditer(data):
        if parts:
            parts.append(b" " if match.start() - past <= _NEAR else CELL.encode())
        run = match.group()
        if encoding:
            run = run.decode(encoding, "replace").encode("utf-8", "replace")
        parts.append(run)
        past = match.end()
    return b"".join(parts)
