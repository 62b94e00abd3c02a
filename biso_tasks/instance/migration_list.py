"""What `biso-cli migration list` means, whatever its words are: which migrations are pending.

CONTRACT §1 says that it prints the pending ones, not how. So a name counts wherever it stands, and
no sentence that sounds like "none" beside it takes it back: a list that is misread as empty would
let production's rows be served under a schema that is too old.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from biso_tasks.errors import plain

__all__ = ["MigrationList", "is_name", "is_text", "read_list"]


# What a heading says of the names below it.
_Section = Literal["", "pending", "applied"]


@dataclass(frozen=True, slots=True)
class MigrationList:
    """`pending` are the names (or, where there is none, the lines) of what is to be applied;
    `known` all names that the list holds, those that are marked as applied among them."""

    pending: tuple[str, ...]
    known: tuple[str, ...]


def read_list(text: str, none: str | None = None) -> MigrationList:
    """What the list says. `none` is a site's own expression: a line that it matches names no
    migration."""
    pending: list[str] = []
    known: list[str] = []
    counted: list[str] = []
    section: _Section = ""
    depth = 0
    for line in _lines(text):
        if none is not None and re.search(none, line.text):
            continue
        names = _names(line, section)
        if not names:
            heading = _heading(line)
            if heading:
                section, depth = heading, line.indent
                counted += [line.text] if (_count(line.text) or 0) > 0 else []
                continue
            if (_count(line.text) or 0) > 0:
                counted.append(line.text)
            elif section == "pending" and _is_entry(line, depth):
                names = (line.text,)
            elif line.indent <= depth and not line.bullet and not line.row:
                section = ""
        known += names
        if not _applied(line, names, section):
            pending += names
    return MigrationList(_unique(pending) or _unique(counted), _unique(known))


def is_name(word: str) -> bool:
    """Whether a word is surely the name of a migration: `0004_mail`, `2024_01_02_add_x.php`,
    `Version20240101`; a date, a time, a version or an amount is none."""
    base = re.split(r"[\\/]", word)[-1]
    return not _NO_NAME.fullmatch(base) and _SURE.fullmatch(base) is not None


def is_text(out: bytes) -> bool:
    """Whether a program printed text: colours are, NUL bytes and other control characters, or many
    bytes that are no UTF-8, are not."""
    read = out.decode("utf-8", "replace")
    # What plain() takes out beside colours and line ends is no text.
    bare = _COLOUR.sub("", read).replace("\r", "").replace("\t", "").replace("\b", "")
    return plain(bare) == bare and read.count("\ufffd") <= max(3, len(read) // 10)


_COLOUR: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\(B|\x0f")

# -- lines --


@dataclass(frozen=True, slots=True)
class _Line:
    """One line without colours, bullet and frame: its words, and how it stood in the output."""

    text: str
    words: tuple[str, ...]
    indent: int
    bullet: str
    row: bool


# A numbered list's "1." as well; "[x]" and "[ ]" say how it stands with what follows.
_BULLET: Final = re.compile(r"([-*•‣·–—+>»→#]+|\(?\d{1,3}[.)]|\[.?\])\s+")
_FRAME: Final = re.compile(r"[|│┃║╎]")
# What PHP itself prints between the lines.
_NOISE: Final = re.compile(
    r"(?i)(?:php\s+)?(?:deprecated|warning|notice|fatal error|strict standards)\b\s*:"
    r"|#\d+\s+\S+\(|stack trace|xdebug\b|using (?:config|migration|environment|seed)"
)


def _lines(text: str) -> Iterator[_Line]:
    for raw in plain(text).removeprefix("\ufeff").split("\n"):
        row = _FRAME.search(raw) is not None
        bare = _FRAME.sub("  ", raw).rstrip()
        body = bare.lstrip()
        if not re.search(r"\w", body) or _NOISE.match(body):
            continue
        bullet = _BULLET.match(body)
        said = body[bullet.end() :] if bullet else body
        words = tuple(word for word in map(_bare, re.split(r"[\s,;\"\[\]{}]+", said)) if word)
        mark = bullet[1] if bullet else ""
        yield _Line(said.strip(), words, len(bare) - len(body), mark, row)


def _bare(word: str) -> str:
    """Without quotes, brackets and the dots that lead to a status."""
    return word.strip("\"'`„“”‚‘’«»()[]{}<>*=…").rstrip(":.!?").lstrip(".:-–—")


# -- words --

_NO_NAME: Final = re.compile(
    r"""(?ix)
    \d{4}[-/]\d{2}[-/]\d{2} (?: [T_]\d{2}:?\d{2} (?: :?\d{2} )? \S* )?
    | \d{1,2}\.\d{1,2}\.(?:\d{4}|\d{2})?  |  \d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?
    | v?\d+(?:\.\d+)+
      (?: [-+~.]?(?:alpha|beta|rc|dev|pl?|deb|pgdg|ubuntu|final)[\w.+~-]* | [-+]\d\S* )?
    | \d+(?:[.,]\d+)?(?:ms|s|sek|sec|min|[kmg]?i?b|%)
    """
)
_SURE: Final = re.compile(
    r"""(?ix)
    [^\W_][^*]*\.(?:sql|php)(?:\.gz)?
    | \d{3,}[-_]\S*[^\W\d_]\S*  |  \d{1,2}_\S*[^\W\d_]\S*
    | (?:.*[._:-])?(?:version|migration|migrate|mig|m|v)[-_]?\d{4,}\w*
    | v\d+(?:[._]\d+)*__\w+
    | \d{8}(?:\d{4}(?:\d{2})?)?
    """
)
# A name where it stands alone or at the beginning: with a number in it, or put together.
_LIKELY: Final = re.compile(r"(?i)(?=.*[^\W\d_])(?:\S*\d{3,}\S*|\w+_\w+\S*|\w+-\w+\S*|\w+\\\S+)")
_NUMBER_FIRST: Final = re.compile(r"0\d{2,}|\d{6,}")
_PENDING: Final = re.compile(
    r"(?i)pending|offene?[nrsm]?|open|outstanding|ausstehende?[nrsm]?|unapplied|down|not|nicht|"
    r"noch|fehlt|fehlen|fehlende?|missing|todo|due|new|neue?|wird|werden|will|auszuführende?n?|"
    r"anzuwendende?n?|einzuspielende?n?"
)
_DONE: Final = re.compile(
    r"(?i)ok|okay|applied|done|up|y|yes|ja|ran|executed|migrated|installed|completed?|success\w*|"
    r"erledigte?|ausgeführte?|angewendete?|angewandte?|eingespielte?|installierte?|"
    r"abgeschlossene?|✓|✔|☑|✅"
)
_HAS_BEEN: Final = (
    r"(?i:\b(?:already|bereits|schon|was|wurden?|is|ist|are|sind|been|successfully|erfolgreich))"
)
# Before a name: where it stands now, not what is to be done.
_STANDING: Final = re.compile(
    r"(?i)aktuell\w*|current\w*|latest|letzte\w*|last|stand|already|bereits|neue?ste\w*|newest|"
    r"head|bis|since|seit|schema\S*|(?:db|datenbank)-?(?:version|stand)"
)
_KIND: Final = re.compile(
    r"(?i)migration\w*|migrate|list\w*|status|name|datum|date|batch|version|id|nr|file|datei|total|"
    r"gesamt|summe|count|anzahl|biso(?:-cli)?|database|datenbank|ran|up-to-date"
)
_NOTHING: Final = re.compile(
    r"(?i)(?:(?:es|there|gibt|sind|liegen|are|is|hier)\s+)*"
    r"(?:keine?[nrsm]?|no|none|nothing|nichts|leer|empty|n/a|null|nil|ok|okay|alles?|all|already|"
    r"bereits|aktuell|fertig|done|erledigt|-+)(?!\w)|.*(?:up[ -]to[ -]date|auf dem neue?sten stand)"
)


def _names(line: _Line, section: _Section) -> tuple[str, ...]:
    """The migrations that the line names."""
    sure = tuple(word for word in line.words if is_name(word))
    rest = [word for word in line.words if not _NO_NAME.fullmatch(word)]
    # A status may stand before it: "PENDING add_column", "[ok] db".
    lead = [word for word in rest if not _PENDING.fullmatch(word) and not _DONE.fullmatch(word)]
    said = [word for word in rest if word not in lead]
    if sure or not lead:
        return sure
    first, whole = lead[0], line.text
    if _NUMBER_FIRST.fullmatch(first):
        return (" ".join(lead),)
    if _is_plain(first) or _count(whole) is not None or _nothing(whole):
        # "PENDING db": only its status tells a plain word from any other.
        marked = len(lead) == 1 and said and line.words[0] in said and not _KIND.fullmatch(first)
        return (first,) if marked and _count(whole) is None else ()
    listed = line.bullet or line.row or section != ""
    if len(lead) == 1 or listed:
        return (first,)
    return ()


def _nothing(text: str) -> bool:
    """Whether a line without a name begins like "none", in whatever brackets."""
    return _NOTHING.match(text.lstrip("([<\"'")) is not None


def _is_plain(word: str) -> bool:
    """A word as any sentence has it: nobody's name for a migration unless a list makes it one."""
    camel = re.search(r"[a-zäöüß][A-ZÄÖÜ]", word) is not None
    likely = camel or _LIKELY.fullmatch(word) is not None
    return not likely or _KIND.fullmatch(word) is not None


# -- sentences --

_PENDING_HEAD: Final = re.compile(
    r"(?i)\b(?:pending|offene?n?|ausstehende?n?|outstanding|unapplied|auszuführende?n?|"
    r"anzuwendende?n?|einzuspielende?n?|to be|not (?:yet )?applied|nicht ausgeführte?n?)\b"
)
_APPLIED_HEAD: Final = re.compile(
    r"(?i)(?:bereits |already |alle |all )*(?:applied|executed|ausgeführte|angewendete|angewandte|"
    r"eingespielte|erledigte?|done|installed|installierte|completed|abgeschlossene)"
    r"(?: migration\w*)?\W*"
)


def _heading(line: _Line) -> _Section:
    """What the names below this line are, where it is a heading."""
    if line.bullet or line.row or _nothing(line.text) or _count(line.text) == 0:
        return ""
    if _APPLIED_HEAD.fullmatch(line.text):
        return "applied"
    if _PENDING_HEAD.search(line.text):
        return "pending"
    if line.text.endswith(":") and re.search(r"(?i)migration", line.text):
        return "pending"
    return ""


def _is_entry(line: _Line, depth: int) -> bool:
    """Whether this line of a list, which holds no name that looks like one, is one all the same."""
    if not (line.bullet or line.indent > depth) or line.row or _nothing(line.text):
        return False
    if all(_KIND.fullmatch(word) or _NO_NAME.fullmatch(word) for word in line.words):
        return False
    hint = re.search(r"(?i)biso-cli|migration (?:exec|list)", line.text)
    return hint is None and not _STANDING.match(line.text)


_OF_THEM: Final = r"(?:pending|offene?n?|outstanding|ausstehende?n?|unapplied|auszuführende?n?)"
_COUNTS: Final = (
    re.compile(rf"(?i)\b(\d+)\s+(?:\w+\s+)?{_OF_THEM}\b"),
    re.compile(rf"(?i)\b{_OF_THEM}(?:\s+\w+)?\W+(\d+)(?![\w.-])"),
)
_PLAIN_COUNTS: Final = (
    re.compile(r"(?i)\b(\d+)\s+migration\w*"),
    re.compile(r"(?i)\bmigration\w*\W+(\d+)(?![\w.-])"),
)


def _count(text: str) -> int | None:
    """How many are pending, where the line says a number."""
    found = [int(one[1]) for one in (pattern.search(text) for pattern in _COUNTS) if one]
    if not found and not any(_DONE.fullmatch(_bare(word)) for word in text.split()):
        found = [int(one[1]) for one in (p.search(text) for p in _PLAIN_COUNTS) if one]
    return max(found) if found else None


def _applied(line: _Line, names: Sequence[str], section: _Section) -> bool:
    """Whether what the line names is marked as applied, or only says where the database stands."""
    if not names:
        return False
    words = [word for word in line.words if word not in names and not _NO_NAME.fullmatch(word)]
    if any(_PENDING.fullmatch(word) for word in words):
        return False
    if line.bullet.lower() in ("[x]", "[✓]", "[✔]"):
        return True
    at = next((n for n, word in enumerate(line.words) if word in names), 0)
    if any(_STANDING.fullmatch(word) for word in line.words[:at]):
        return True
    if not words:
        return section == "applied"
    if _DONE.fullmatch(words[0]) and line.words[0] == words[0]:
        return True
    # At the end it may be a word of a description, unless it stands apart.
    last = words[-1]
    ending = rf"(?:\s{{2,}}|[.…:]\s*|[(\[][^()\[\]]*|{_HAS_BEEN}\s+){re.escape(last)}\W*$"
    apart = re.search(ending, line.text) is not None
    alone = all(_DONE.fullmatch(word) or word.isdigit() for word in words)
    if _DONE.fullmatch(last) and (apart or alone or line.row):
        return True
    if line.row and any(_DONE.fullmatch(word) for word in words):
        return True
    return section == "applied"


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
