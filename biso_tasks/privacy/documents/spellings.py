"""The ways in which one text is written within another: escaped, encoded, folded, broken."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from email.errors import HeaderParseError
from email.header import decode_header
from html import unescape
from typing import Final
from urllib.parse import unquote_to_bytes

from biso_tasks.privacy.documents.letters import decoded

__all__ = ["encoded_words", "runs", "spelled_names", "spellings"]

_PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_ESCAPED: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}|x([0-9A-Fa-f]{2}))")
_ENTITY: Final = re.compile(r"&(?:#\w{1,8}|[A-Za-z]\w{1,24});")
_QUOTED: Final = re.compile(r"(?:=[0-9A-F]{2})+")
_SOFT: Final = re.compile(r"=[ \t]*\r?\n")
_HYPHEN: Final = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\s*\n\s*(?=[^\W\d_])")
_FOLDED: Final = re.compile(r"(?m)^[A-Za-z][A-Za-z0-9-]{0,60}[:;][^\n]*\n[ \t]")
_UNSEEN: Final = re.compile("[\u200b-\u200f\u2060\ufeff]")
_WORDS: Final = re.compile(r"=\?[\w*-]+\?[BbQq]\?[^?\s]*\?=(?:\s+=\?[\w*-]+\?[BbQq]\?[^?\s]*\?=)*")
_PUNY: Final = re.compile(r"(?i)\bxn--([a-z0-9-]{2,60})")
_TWICE: Final = re.compile("[\u00c2-\u00f4][^\x00-\x7f]{1,3}")
_BASE64: Final = re.compile(
    r"[A-Za-z0-9+/_-]{20,}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]{20,})*"
    r"(?:\r?\n[ \t]*[A-Za-z0-9+/_-]+={0,2}(?![^\s\"'<]))?={0,2}"
)
_HEX: Final = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}){12,}(?![0-9A-Fa-f])")
_OLD_NAME: Final = re.compile("[\udc80-\udcff]")
_ENDING: Final = re.compile(r"(?<=.)(?:\.tar)?\.[A-Za-z0-9]{1,10}$")
_MARKS: Final = re.compile(r"[_.+-]+")
_HUMP: Final = re.compile(r"(?<=[^\W\d_A-ZÄÖÜ])(?=[A-ZÄÖÜ])")
_RUN: Final = 67_108_864  # letters of one run that is decoded


def _bytes(raw: bytes) -> str:
    return next(decoded(raw))


def _percent(text: str) -> str:
    return _PERCENT.sub(lambda run: _bytes(unquote_to_bytes(run[0])), text)


def _escapes(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = int(match[1] or match[2] or match[3], 16)
        return chr(code) if code <= 0x10FFFF else match[0]

    made = _ESCAPED.sub(one, text)
    # Two halves of a letter beyond 16 bits.
    return made.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _entities(text: str) -> str:
    return unescape(unescape(text))


def _quoted(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        return _bytes(bytes.fromhex(match[0].replace("=", "")))

    return _QUOTED.sub(one, _SOFT.sub("", text))


def encoded_words(text: str) -> str:
    """The encoded words of mail headers (`=?utf-8?Q?…?=`) as text; what cannot be read stays."""

    def one(match: re.Match[str]) -> str:
        try:
            parts = decode_header(match[0])
        except (HeaderParseError, ValueError):
            return match[0]
        made = []
        for raw, charset in parts:
            if isinstance(raw, str):
                made.append(raw)
                continue
            try:
                made.append(raw.decode(charset or "ascii"))
            except (LookupError, ValueError):
                made.append(_bytes(raw))
        return "".join(made)

    return _WORDS.sub(one, text)


def _puny(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        try:
            return match[1].encode("ascii").decode("punycode")
        except ValueError:
            return match[0]

    return _PUNY.sub(one, text)


def _twice(text: str) -> str:
    """UTF-8 that was taken for Windows' encoding: `MÃ¼ller`."""

    def one(match: re.Match[str]) -> str:
        run = match[0]
        for end in range(len(run), 1, -1):
            for encoding in ("cp1252", "latin-1"):
                try:
                    return run[:end].encode(encoding).decode("utf-8") + run[end:]
                except ValueError:
                    continue
        return run

    return _TWICE.sub(one, text)


# What shows that a spelling may be there, and how it is read.
_SPELLINGS: Final[tuple[tuple[re.Pattern[str], Callable[[str], str]], ...]] = (
    (_ENTITY, _entities),
    (_PERCENT, _percent),
    (_ESCAPED, _escapes),
    (_WORDS, encoded_words),
    (re.compile(r"=(?:[0-9A-F]{2}|\r?\n)"), _quoted),
    (_FOLDED, lambda text: re.sub(r"\r?\n[ \t]", "", text)),
    (_HYPHEN, lambda text: _HYPHEN.sub("", text)),
    (_UNSEEN, lambda text: _UNSEEN.sub("", text)),
    (_PUNY, _puny),
    (_TWICE, _twice),
)


def spellings(text: str) -> Iterator[str]:
    """`text`, then each other way to read it, and all ways one after the other."""
    yield text
    seen = {text}
    all_ways = text
    for sign, read in _SPELLINGS:
        if not sign.search(text):
            continue
        made = read(text)
        all_ways = read(all_ways)
        if made not in seen:
            seen.add(made)
            yield made
    if all_ways not in seen:
        yield all_ways


def spelled_names(path: str) -> Iterator[str]:
    """The ways in which a path may name somebody, its parts as words: as it is, without the endings
    of its parts (`anna@example.ch.pdf`), and with the words parted that a name runs together
    (`AnnaMeier`); where it is escaped or of an older encoding, what that stands for."""
    if _OLD_NAME.search(path):
        path = path.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    # As unzip writes what the file system could not.
    for one in spellings(path.replace("#U", "\\u")):
        bare = " ".join(_ENDING.sub("", part) for part in one.split("/"))
        for words in (one.replace("/", " "), bare):
            yield words
            yield _HUMP.sub(" ", _MARKS.sub(" ", words))


def runs(text: str) -> Iterator[bytes]:
    """What long runs of base64 and of hexadecimal digits stand for."""
    for match in _BASE64.finditer(text):
        run = re.sub(r"\s", "", match[0])[:_RUN]
        if run.isdigit() or (run.isalpha() and (run.islower() or run.isupper())):
            continue
        run = run.rstrip("=").replace("-", "+").replace("_", "/")
        run = run[: len(run) - 1] if len(run) % 4 == 1 else run
        try:
            yield base64.b64decode(run + "=" * (-len(run) % 4))
        except (binascii.Error, ValueError):
            continue
    for match in _HEX.finditer(text):
        yield bytes.fromhex(match[0])
