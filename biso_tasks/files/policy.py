"""Which files travel: asked before a byte of a file leaves production."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from biso_tasks.errors import ConfigError
from biso_tasks.files.listing import Entry, Listing
from biso_tasks.files.patterns import compile_pattern

__all__ = ["BUILT_IN_COPIES", "Decision", "FilePolicy", "Rule", "decide", "points_outside"]

FilePolicy = Literal["copy", "placeholder", "skip"]
Rule = tuple[str, FilePolicy]

_POLICIES: Final = ("copy", "placeholder", "skip")

# What makes letters and help work and holds no person: after the site's own rules.
BUILT_IN_COPIES: Final = (
    "brief_vorlagen/**",
    "hilfe/**",
    "help/**",
    "fonts/**",
    "**/*.ttf",
    "**/*.otf",
    "fop.xconf",
    "phpdocxconfig.ini",
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of each entry. Directories are always in `copy`, and so are symbolic links that
    are not skipped: a link has no content. `outside` are copied links that lead out of the tree,
    `special` are FIFOs, sockets and devices: never copied. Both are for the report."""

    copy: tuple[Entry, ...]
    placeholder: tuple[Entry, ...]
    skip: tuple[Entry, ...]
    outside: tuple[Entry, ...]
    special: tuple[Entry, ...]
    bytes_to_copy: int = field(init=False)  # once: it is asked for at every sign of progress

    def __post_init__(self) -> None:
        size = sum(entry.size for entry in self.copy if entry.kind == "file")
        object.__setattr__(self, "bytes_to_copy", size)


def decide(
    listing: Listing,
    rules: Sequence[Rule],
    ask: Callable[[str], str | None] | None = None,
    *,
    anonymize: bool = True,
) -> Decision:
    """Asks `ask` (a plugin's answer, None: no opinion), then `rules`, then what is built in; the
    first answer counts. What nobody names is a placeholder when anonymising, else copied.

    Patterns are those of `patterns.py`: anchored at the top, `**` crosses folders. Raises
    ConfigError when an answer is none of copy, placeholder, skip."""
    compiled: list[tuple[re.Pattern[str], FilePolicy]] = [
        (compile_pattern(pattern), policy) for pattern, policy in rules
    ]
    compiled += [(compile_pattern(pattern), "copy") for pattern in BUILT_IN_COPIES]
    rest: FilePolicy = "placeholder" if anonymize else "copy"
    kept: dict[FilePolicy, list[Entry]] = {"copy": [], "placeholder": [], "skip": []}
    outside: list[Entry] = []
    special: list[Entry] = []
    for entry in listing.entries:
        if entry.kind == "dir":
            kept["copy"].append(entry)
            continue
        if entry.kind == "special":
            special.append(entry)
            continue
        answer = _asked(ask, entry.path)
        if answer is None:
            answer = _first(compiled, entry.path, rest)
        if entry.kind == "link" and answer != "skip":
            answer = "copy"
            if points_outside(entry):
                outside.append(entry)
        kept[answer].append(entry)
    return Decision(
        tuple(kept["copy"]),
        tuple(kept["placeholder"]),
        tuple(kept["skip"]),
        tuple(outside),
        tuple(special),
    )


def _first(
    rules: Sequence[tuple[re.Pattern[str], FilePolicy]], path: str, otherwise: FilePolicy
) -> FilePolicy:
    for pattern, policy in rules:
        if pattern.fullmatch(path):
            return policy
    return otherwise


def _asked(ask: Callable[[str], str | None] | None, path: str) -> FilePolicy | None:
    answer = ask(path) if ask else None
    if answer is None:
        return None
    if answer not in _POLICIES:
        raise ConfigError(
            f"biso_file_policy answered {answer!r} for {path!r}",
            hint="a plugin's answer is copy, placeholder, skip, or None for no opinion",
        )
    return cast(FilePolicy, answer)


def points_outside(entry: Entry) -> bool:
    """Whether a symbolic link is absolute or climbs out of its tree, so that on the other side it
    leads somewhere else, or to the very thing that it leads to here."""
    if entry.target.startswith("/"):
        return True
    where = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.target))
    return where == ".." or where.startswith("../")
