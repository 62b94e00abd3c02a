"""What the files of a data dir hold: a proposal per folder and ending, after a look into a few."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from biso_tasks.files.listing import Entry
from biso_tasks.files.patterns import compile_pattern
from biso_tasks.files.policy import BUILT_IN_COPIES
from biso_tasks.privacy.detect import identifiers
from biso_tasks.privacy.documents import Unreadable, texts
from biso_tasks.privacy.inventory.model import FileRule
from biso_tasks.privacy.words import FAMILY_NAMES, GIVEN_NAMES

__all__ = ["FileFound", "chosen", "count", "judge"]

_A_GROUP: Final = 8  # files of one pattern that are looked into
_ONE: Final = 1_048_576  # bytes of the largest of them
_ALL: Final = 33_554_432
# Not in mixed case: "Bericht.Meier" ends in a name.
_ENDING: Final = re.compile(r"[a-z0-9]{1,5}|[A-Z0-9]{1,5}")
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_GLOB: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class FileFound:
    """One rule or proposal, and the files of the listing that answer to it."""

    rule: FileRule
    decided: str
    files: int
    bytes: int


def count(
    rules: Sequence[FileRule], entries: Sequence[Entry], decided: str
) -> tuple[list[FileFound], list[Entry]]:
    """How much of the listing each rule speaks of, the first that matches; and the rest."""
    compiled = [compile_pattern(rule.pattern) for rule in rules]
    numbers, sizes = [0] * len(rules), [0] * len(rules)
    rest = []
    for entry in entries:
        if entry.kind != "file":
            continue
        at = next((n for n, one in enumerate(compiled) if one.fullmatch(entry.path)), None)
        if at is None:
            rest.append(entry)
        else:
            numbers[at] += 1
            sizes[at] += entry.size
    found = [
        FileFound(rule, decided, number, size)
        for rule, number, size in zip(rules, numbers, sizes, strict=True)
    ]
    return found, rest


def _groups(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.kind == "file":
            groups.setdefault(_pattern(entry.path), []).append(entry)
    return dict(sorted(groups.items()))


def _pattern(path: str) -> str:
    """`folder/**/*.ending`. Neither part of it names a person: the file is for everybody."""
    folder, slash, _ = path.partition("/")
    name, dot, ending = path.rpartition("/")[2].rpartition(".")
    ends = name and dot and _ENDING.fullmatch(ending) and not _names_somebody(ending)
    kind = f"*.{ending}" if ends else "*"
    if not slash:
        return kind
    # A folder that is called after somebody stands for all folders, as one does whose name is no
    # text that a file of TOML could hold.
    if _names_somebody(folder) or not folder.isprintable():
        folder = "*"
    else:
        folder = _GLOB.sub(lambda mark: f"[{mark[0]}]", folder)
    return f"{folder}/**" if kind == "*" else f"{folder}/**/{kind}"


def _names_somebody(text: str) -> bool:
    folded = _LETTERS.findall(text.casefold())
    return any(word in GIVEN_NAMES or word in FAMILY_NAMES for word in folded) or any(
        True for _ in identifiers(text)
    )


def chosen(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The paths that are worth a look: some of each group, spread over it, within bounds."""
    left = _ALL
    found: list[str] = []
    for group in _groups(entries).values():
        usable = [e for e in group if 0 < e.size <= _ONE and e.readable and "\n" not in e.path]
        step = max(1, len(usable) // _A_GROUP)
        for entry in usable[::step][:_A_GROUP]:
            if entry.size <= left:
                left -= entry.size
                found.append(entry.path)
    return tuple(found)


def judge(entries: Sequence[Entry], contents: Mapping[str, bytes]) -> tuple[FileFound, ...]:
    """A proposal per group of `entries`. What is not provably harmless is personal: harmless are
    only letter templates, help texts, fonts and the like in which nobody is named."""
    built_in = [compile_pattern(pattern) for pattern in BUILT_IN_COPIES]
    found = []
    for pattern, group in _groups(entries).items():
        looked = [(e.path, contents[e.path]) for e in group if e.path in contents]
        held = [kind for path, data in looked if (kind := _held(path, data))]
        named = sum(_names_somebody(entry.path.rpartition("/")[2]) for entry in group)
        known = all(any(one.fullmatch(e.path) for one in built_in) for e in group)
        rule = FileRule(pattern, True)
        if held:
            what = ", ".join(sorted(set(held)))
            reason = f"content: {len(held)} of {len(looked)} that were looked into hold {what}"
        elif named:
            reason = f"name: {named} of {len(group)} are called after people"
        elif known and looked:
            rule = replace(rule, personal=False)
            reason = f"belongs to the software; nobody is named in {len(looked)} of {len(group)}"
        else:
            reason = "not provably harmless"
        size = sum(entry.size for entry in group)
        found.append(FileFound(replace(rule, reason=reason), "scan", len(group), size))
    return tuple(found)


def _held(path: str, data: bytes) -> str:
    """What points to a person within one file, or ""."""
    try:
        for _, text in texts(path.rpartition("/")[2], data):
            for kind, _ in identifiers(text):
                return {"mail": "mail addresses", "phone": "phone numbers"}.get(kind, "identifiers")
    except Unreadable:
        return "what cannot be read"
    return ""
