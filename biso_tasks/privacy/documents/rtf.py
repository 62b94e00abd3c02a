"""Rich text: words between control words, escapes in the document's encoding, embedded objects."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from biso_tasks.privacy.documents.letters import decoded
from biso_tasks.privacy.documents.parts import Inner, Part, Room

__all__ = ["read_rtf"]

_TOKEN: Final = re.compile(
    rb"\\'(?P<hex>[0-9A-Fa-f]{2})|\\(?P<word>[A-Za-z]{1,32})(?P<number>-?\d{1,10})?[ ]?"
    rb"|\\(?P<mark>[^A-Za-z'])|(?P<brace>[{}])|[\r\n]+|(?P<text>[^\\{}\r\n]+)",
    re.DOTALL,
)
_BLANK: Final = frozenset(
    b"par line tab cell row page sect nestcell nestrow softline column enspace emspace".split()
)
_LONG: Final = re.compile(rb"(?:[0-9A-Fa-f\s]{2}){32,}")
_QUOTES: Final = {
    b"lquote": "‘",
    b"rquote": "’",
    b"ldblquote": "“",
    b"rdblquote": "”",
    b"emdash": "—",
    b"endash": "–",
    b"bullet": "•",
}


def read_rtf(name: str, data: bytes, room: Room) -> Iterator[Part]:
    yield from decoded(data)
    out: list[str] = []
    encoding = "cp1252"
    skips = [1]  # how many letters stand for one of \u, in each group
    pending = 0
    for match in _TOKEN.finditer(data):
        kind = match.lastgroup
        if match["hex"]:
            if pending:
                pending -= 1
            else:
                out.append(bytes.fromhex(match["hex"].decode()).decode(encoding, "replace"))
        elif match["word"]:
            word, number = match["word"], int(match["number"] or 0)
            if word == b"u" and match["number"]:
                out.append(chr(number % 65536))
                pending = skips[-1]
            elif word == b"uc":
                skips[-1] = number
            elif word == b"ansicpg":
                encoding = _known(f"cp{number}", encoding)
            elif word in _BLANK:
                out.append("\n")
            elif word in _QUOTES:
                out.append(_QUOTES[word])
        elif kind == "brace":
            pending = 0
            if match["brace"] == b"{":
                skips.append(skips[-1])
            elif len(skips) > 1:
                skips.pop()
        elif match["mark"]:
            out.append({b"~": "\u00a0", b"_": "-", b"-": "", b"*": ""}.get(
                match["mark"], match["mark"].decode("cp1252", "replace")))  # fmt: skip
        elif match["text"]:
            text = match["text"]
            out.append(text[pending:].decode(encoding, "replace"))
            pending = max(0, pending - len(text))
    yield "".join(out).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    for run in _LONG.finditer(data):  # pictures and objects
        digits = re.sub(rb"\s", b"", run[0])
        yield Inner("", room.take(bytes.fromhex(digits[: len(digits) // 2 * 2].decode())))


def _known(encoding: str, otherwise: str) -> str:
    try:
        codecs.lookup(encoding)
    except LookupError:
        return otherwise
    return encoding
