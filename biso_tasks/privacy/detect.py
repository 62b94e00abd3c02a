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
    "SAYS_NOTHING",
    "fold",
    "identifier_spans",
    "identifiers",
    "is_ahv",
    "is_iban",
    "json_leaves",
    "leaves",
    "nothing_personal",
    "plain",
    "spoken",
    "words",
]

# The filler of masked long texts: its word sequences are nobody's.
FILLER: Final = "ohne Bezug zu einer wirklichen Person eingesetzter Ersatztext dieser Testinstanz. "

_PUNCTUATION: Final = str.maketrans(dict.fromkeys(map(chr, range(128)), " ") | {
    c: c for c in map(chr, range(128)) if c.isalnum()
})  # fmt: skip
_ACCENTS: Final = re.compile("[\u0300-\u036f]+")
_WORD: Final = re.compile(r"[^\W_]+")
_TAG: Final = re.compile(r"<[^<>\x1e]{1,400}>")
# Of a mail address: what may stand before the "@", and what must stand from it on.
_LOCAL: Final = re.compile(r"[^\s@<>\"'(),:;\[\]{}|=]{1,64}")
_DOMAIN: Final = re.compile(r"@[^\W_](?:[\w-]{0,62}\.)+[^\W\d_]{2,24}")
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
SAYS_NOTHING: Final = frozenset(NOTHING.split())
_COUNTRIES: Final = ("41", "43", "49")


def _written_out(text: str) -> str:
    return text.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")


def fold(text: str) -> str:
    """Lower case, white space to single blanks, umlauts written out, accents off."""
    text = text.casefold()
    if not text.isascii():
        text = _written_out(text)
        if not text.isascii():
            # File names of macOS arrive decomposed: compose first, or "ü" would fold to "u".
            text = _written_out(unicodedata.normalize("NFKC", text))
            text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
            if not text.isascii():
                text = "".join([c for c in text if c.isascii() or not unicodedata.combining(c)])
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
    return len(folded) < 2 or folded in SAYS_NOTHING or folded == folded[0] * len(folded)


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
    past = 0
    for hint in _MAYBE_IBAN.finditer(text):
        match = _IBAN.match(text, hint.start() - 2)
        if match is None or match.start() < past:
            continue
        groups = match.group().upper().split()
        # Followed by words of four letters, the pattern takes too much: shorten until it checks.
        for end in range(len(groups), 0, -1):
            compact = "".join(groups[:end])
            if is_iban(compact):
                past = match.start() + len(compact) + end - 1
                yield match.start(), past, compact
                break


def _numbers(text: str) -> Iterator[tuple[int, int, str, str]]:
    ibans = list(_ibans(text))
    for start, end, iban in ibans:
        yield start, end, "iban", iban
    ibans.reverse()
    at = 0
    while (hint := _MANY_DIGITS.search(text, at)) is not None:
        while ibans and ibans[-1][1] <= hint.start():
            ibans.pop()
        if ibans and ibans[-1][0] < hint.end():
            at = ibans.pop()[1]  # its groups of digits are no phone number
            continue
        match = _DIGITS.search(text, max(at, hint.start() - 3), hint.end() + 60)
        if match is None or match.start() > hint.end():
            at = _GROUP.match(text, hint.start()).end()  # type: ignore[union-attr]
            continue
        at = match.end()
        found = match.group()
        if _NO_PHONE.match(found):
            continue
        digits = _NO_DIGIT.sub("", found)
        if is_ahv(digits):
            yield match.start(), at, "ahv", digits
            continue
        phone = _phone(digits.replace("410", "41", 1) if "(0)" in found else digits, found)
        if phone:
            yield match.start(), at, "phone", phone


# Both begin with a digit, which the search jumps to: most texts are passed over at once.
_MANY_DIGITS: Final = re.compile(r"\d(?:[^\w\x1e]{0,3}\d){8}")
_NO_DIGIT: Final = re.compile(r"\D+")
_GROUP: Final = re.compile(r"\d+")
_MAYBE_IBAN: Final = re.compile(r"\d\d(?<=[A-Za-z]{2}\d\d)[ \u00a0]?[A-Za-z0-9]{4}")


def _mails(text: str) -> Iterator[tuple[int, int, str, str]]:
    # From one "@" to the next: a pattern that begins with what may stand before it would try at
    # every letter.
    past = 0
    for domain in _DOMAIN.finditer(text):
        at = domain.start()
        before = _LOCAL.match(text[max(past, at - 64) : at][::-1])
        if before is None:
            continue
        start = at - before.end()
        past = domain.end()
        whole = text[start:past]
        mail = whole.strip(".-_/\\*+")
        if len(mail) < len(whole) and not whole.startswith(mail):
            start += whole.index(mail)
        mail = mail.lower() if mail.isascii() else fold(mail)
        if not mail.endswith("@example.invalid"):
            yield start, past, "mail", mail


def identifier_spans(text: str) -> Iterator[tuple[int, int, str, str]]:
    """(start, end, kind, canonical form) of each mail address, phone, AHV number and IBAN within
    `text`, which may be a block of many cells parted by control characters. Values of our own masks
    are not found."""
    if "@" in text:
        yield from _mails(text)
    if len(text) >= 9:
        yield from _numbers(text)


def identifiers(text: str) -> Iterator[tuple[str, str]]:
    """(kind, canonical form) of each of `identifier_spans`; the kind is `mail`, `phone`, `ahv` or
    `iban`."""
    for _, _, kind, canonical in identifier_spans(text):
        yield kind, canonical


def leaves(value: Any, *, keys: bool = False) -> list[str]:
    """Every text, and every number of nine digits or more, in a parsed JSON document; with `keys`
    the names of its members too."""
    found: list[str] = []
    _take(value, keys, found)
    return found


def _take(value: Any, keys: bool, found: list[str]) -> None:
    kind = type(value)
    if kind is str:
        found.append(value)
    elif kind is dict:
        for key, inner in value.items():
            if keys:
                found.append(key)
            if type(inner) is str:
                found.append(inner)
            elif inner is not None:
                _take(inner, keys, found)
    elif kind is list:
        for inner in value:
            _take(inner, keys, found)
    elif kind is int or kind is float:
        text = str(value)
        # Smaller numbers are counts, codes and references; these may be phones and AHV numbers.
        if len(text) >= 9 and text.isdigit():
            found.append(spoken(text))


def spoken(digits: str) -> str:
    """A number as people write it: where one was stored with its country in front, a "+" shows
    that it is a phone number."""
    return f"+{digits}" if len(digits) >= 11 and digits[:2] in _COUNTRIES else digits


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def json_leaves(text: str, *, keys: bool = False) -> list[str]:
    """The `leaves` of a JSON document as text. What does not parse is one leaf."""
    return leaves(_parse(text), keys=keys)
