"""Text of XML and HTML, well-formed or not. Nothing is expanded and nothing is fetched: entities
that a document declares stand in its text as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Final

from biso_tasks.privacy.hashes import CELL

__all__ = ["is_markup", "markup"]

_TAG: Final = re.compile(r"<[^<>]*>")
_SOME: Final = re.compile(r"<[/!?]?[A-Za-z][^<>]*>")
# What parts words: paragraphs, cells, rows, breaks, in HTML, Word, Excel, PowerPoint, OpenDocument.
_BREAK: Final = re.compile(
    r"</?(?:w:(?:p|br|tab|cr|tc|ptab)|a:(?:p|br|tc)|text:(?:p|h|tab|s|line-break)|table:table-cell"
    r"|p|div|br|td|th|tr|li|dt|dd|option|h[1-6]|title|row|si|c|text|desc)(?=[\s/>])[^<>]*>",
    re.IGNORECASE,
)
_CDATA: Final = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
_VALUE: Final = re.compile(r"""=\s*(?:"([^"]*)"|'([^']*)')""")
_LETTER: Final = re.compile(r"[^\W\d_]{2}|\d{6}|@")


def is_markup(text: str) -> bool:
    return _SOME.search(text) is not None


def _escaped(match: re.Match[str]) -> str:
    return match[1].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markup(text: str) -> Iterator[str]:
    """What is written between tags, where runs within a word do not part it (`Mü<b/>ller`); the
    same where every tag parts words; and the values of attributes, a tag's together."""
    if "<![CDATA[" in text:
        text = _CDATA.sub(_escaped, text)
    if "<!--" in text:
        text = text.replace("<!--", " ").replace("-->", " ")
    tight = unescape(_TAG.sub("", _BREAK.sub(" ", text)))
    yield tight
    loose = unescape(_TAG.sub(" ", text))
    if loose.split() != tight.split():
        yield loose
    values = CELL.join(dict.fromkeys(_attributes(text)))
    if values:
        yield unescape(values)


def _attributes(text: str) -> Iterator[str]:
    for tag in dict.fromkeys(_TAG.findall(text)):
        if "=" in tag:
            found = (one or other for one, other in _VALUE.findall(tag))
            kept = [value for value in found if _LETTER.search(value)]
            if kept:
                yield " ".join(kept)
