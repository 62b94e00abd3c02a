"""What a line says to write, written there, is right: the remedies that a program can apply."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from config_mistakes import MISTAKES

Wrong = Callable[..., list[str]]

# What is in the way, and what to write instead: both as they stand in the line.
_FORMS = (
    r"got (?P<old>.+) \(without quotes: (?P<new>.+)\)$",
    r'got (?P<old>.+) \((?:write|add the unit:) (?P<new>["\[].+)\)$',
    r': (?P<old>".+") is (?:no user|a URL|no URL) \(write (?P<new>".+")\)$',
    r'(?P<old>".+"): never matches.* \(write (?P<new>".+")\)$',
    r'got (?P<old>".+") \(did you mean (?P<new>".+")\?\)$',
    r'no environment is called (?P<old>".+") \(did you mean (?P<new>".+")\?\)$',
)
_KEY = r'(?P<old>[a-z_]+): unknown key \(did you mean "(?P<new>.+)"\?\)$'
_HEADER = r"\(write (?P<new>\[.+\]), (?:one bracket|two brackets)\)$"


def fix(text: str, line: str) -> str | None:
    """`text` with what the line says; None where that takes a person."""
    if header := re.search(_HEADER, line):
        return re.sub(r"\[+[^\]]+\]+", header["new"], text, count=1)
    for form in _FORMS:
        if found := re.search(form, line):
            return text.replace(found["old"], found["new"])
    found = re.search(_KEY, line)
    return re.sub(rf"\b{found['old']}\b", found["new"], text) if found else None


FIXED = {name: fix(text, line) for name, (text, line) in MISTAKES.items()}
BY_A_PROGRAM = [name for name, text in FIXED.items() if text is not None]


def test_there_are_thirty_of_them_and_more() -> None:
    assert len(BY_A_PROGRAM) >= 30


@pytest.mark.parametrize("name", BY_A_PROGRAM)
def test_what_the_line_says_to_write_is_right(name: str, wrong: Wrong) -> None:
    text, line = MISTAKES[name]
    assert FIXED[name] != text
    key = line.partition(": ")[2].partition(": ")[0]
    found = wrong(FIXED[name])
    assert not [one for one in found if one.partition(": ")[2].startswith(f"{key}: ")], found
