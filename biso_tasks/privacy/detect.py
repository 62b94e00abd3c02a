"""What in a text points to one person: mail, phone, AHV number, IBAN, and the words of which names
and long texts are made. Values are folded first, so that `MÜLLER`, `Müller` and `Mueller` meet."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

__all__ = [
    "FILLER",
    "NOTHING",
    "fold",
    "identifiers",
    "is_ahv",
    "is_iban",
    "json_leaves",
    "nothing_personal",
    "plain",
    "words",
]

# The filler of masked long texts: its word sequences are nobody's.
FILLER: Final = "ohne Bezug zu einer wirklichen Person eingesetzter Ersatztext dieser Testinstanz. "

_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_PUNCTUATION: Final = str.maketrans(dict.fromkeys(map(chr, range(128)), " ") | {
    c: c for c in map(chr, range(128)) if c.isalnum()
})  # fmt: skip
_WORD: Final = re.compile(r"[^\W_]+")
_TAG: Final = re.compile(r"<[^<>]{1,400}>")
_MAIL: Final = re.compile(
    r"[^\s@<>\"'(),:;\[\]{}|=]{1,64}@[^\W_](?:[\w-]{0,62}\.)+[^\W\d_]{2,24}", re.UNICODE
)
_DIGITS: Final = re.compile(r"(?<![\w.,])(?:\+|\(\+)?\(?\d[\d \t./()'\u00a0\u2011-]{7,24}\d(?!\w)")
# Dates and decimal fractions begin like numbers of the home country.
_NO_PHONE: Final = re.compile(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d)|\d[.]\d+$|[\d.]+[.]\d{3,}$")
# In one piece, or in groups of four as it is printed.
_IBAN: Final = re.compile(
    r"(?<!\w)[A-Za-z]{2}\d\d(?:[A-Za-z0-9]{11,30}(?!\w)"
    r"|(?:[ \u00a0][A-Za-z0-9]{4}){2,7}(?:[ \u00a0][A-Za-z0-9]{1,3})?(?!\w))"
)
# What people enter where there is nothing to say.
NOTHING: Final = (
    "infinity -infinity true false null none n/a unbekannt unknown keine keiner kein nein leer "
    "test anonym anonymisiert herr frau"
)
_EMPTY: Final = frozenset(NOTHING.split())


def fold(text: str) -> str:
    """Lower case, white space to single blanks, umlauts written out, accents off."""
    text = text.casefold()
    if not text.isascii():
        # File names of macOS arrive decomposed: compose first, or "ü" would fold to "u".
        text = unicodedata.normalize("NFKC", text).translate(_UMLAUTS)
        if not text.isascii():
            text = "".join(
                c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
            )
    return " ".join(text.split())


def plain(text: str) -> str:
    """`text` without HTML tags: a name may be half bold."""
    return _TAG.sub(" ", text) if "<" in text else text


def words(folded: str) -> list[str]:
    """The words of a folded text; underscores and hyphens part words, as in file names."""
    if folded.isascii():  # five times the speed of the pattern
        return folded.translate(_PUNCTUATION).split()
    return _WORD.findall(folded)


def nothing_personal(folded: str) -> bool:
    """Whether a folded value says nothing of anybody: one character, "---", "unbekannt"."""
    return len(folded) < 2 or folded in _EMPTY or folded == folded[0] * len(folded)


def is_ahv(digits: str) -> bool:
    """A Swiss social security number: 756, 13 digits, EAN-13 check digit."""
    if len(digits) != 13 or not digits.startswith("756"):
        return False
    total = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits[:12]))
    return (10 - total % 10) % 10 == int(digits[12])


def is_iban(compact: str) -> bool:
    """An IBAN without blanks, in upper case: its check is modulo 97."""
    if not 15 <= len(compact) <= 34 or not compact.isalnum() or not compact.isascii():
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _phone(digits: str, written: str) -> str | None:
    if written.lstrip("(").startswith("+") and 9 <= len(digits) <= 15:
        number = "00" + digits
    elif digits.startswith("00") and not digits.startswith("000"):
        number = digits
    elif digits.startswith("0") and not digits.startswith("00"):
        return digits if 9 <= len(digits) <= 13 else None
    else:
        return None
    if not 11 <= len(number) <= 17:
        return None
    for home in ("0041", "0049", "0043"):
        if number.startswith(home):
            return "0" + number[4:].lstrip("0")
    return number


def _ibans(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _IBAN.finditer(text):
        groups = match.group().upper().split()
        # Followed by words of four letters, the pattern takes too much: shorten until it checks.
        for end in range(len(groups), 0, -1):
            compact = "".join(groups[:end])
            if is_iban(compact):
                yield match.start(), match.end(), compact
                break


def _numbers(text: str) -> Iterator[tuple[str, str]]:
    for start, end, iban in list(_ibans(text)) if _MAYBE_IBAN.search(text) else ():
        yield "iban", iban
        # Its groups of digits are no phone number.
        text = text[:start] + "x" * (end - start) + text[end:]
    for match in _DIGITS.finditer(text):
        found = match.group()
        if _NO_PHONE.match(found):
            continue
        digits = "".join(c for c in found if c.isdigit())
        if is_ahv(digits):
            yield "ahv", digits
            continue
        phone = _phone(digits.replace("410", "41", 1) if "(0)" in found else digits, found)
        if phone:
            yield "phone", phone


# Both begin with a digit, which the search jumps to: most texts are passed over at once.
_MANY_DIGITS: Final = re.compile(r"\d(?:[^\w]{0,3}\d){8}")
_MAYBE_IBAN: Final = re.compile(r"\d\d(?<=[A-Za-z]{2}\d\d)[ \u00a0]?[A-Za-z0-9]{4}")


def identifiers(text: str) -> Iterator[tuple[str, str]]:
    """(kind, canonical form) of each mail address, phone, AHV number and IBAN within `text`;
    the kind is `mail`, `phone`, `ahv` or `iban`. Values of our own masks are not found."""
    if "@" in text:
        for match in _MAIL.finditer(text):
            mail = fold(match.group().strip(".-_/\\*+"))
            if not mail.endswith("@example.invalid"):
                yield "mail", mail
    if len(text) >= 9 and (_MANY_DIGITS.search(text) or _MAYBE_IBAN.search(text)):
        yield from _numbers(text)


def _leaves(value: Any, keys: bool) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if keys:
                yield key
            yield from _leaves(inner, keys)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, keys)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = str(value)
        # Smaller numbers are counts, codes and references; these may be phones and AHV numbers.
        if len(text) >= 9 and text.isdigit():
            yield text


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def json_leaves(text: str, *, keys: bool = False) -> list[str]:
    """Every text, and every number of nine digits or more, in a JSON document; with `keys` the
    names of its members too. What does not parse is one leaf."""
    return list(_leaves(_parse(text), keys))
